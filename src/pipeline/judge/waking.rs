//! A judge and the agents that wait for nothing but time.
//!
//! Most calls move their agent's deadline on. So an agent is looked after at the earliest deadline
//! it had, and then again at the one it has by then: in the order of the deadlines that count, as if
//! each call had moved it.

use crate::detect::{self, Context};
use crate::event::Timestamp;
use crate::pipeline::judge::{Decision, Judge, hand_out, write_first};
use crate::state::{Updated, Woken};

impl Judge {
    /// Event time has reached `time` in this partition: deadlines fall due, epochs close.
    pub(super) fn pass(&mut self, time: Timestamp, sink: &mut dyn FnMut(Decision)) {
        if self.watermark.is_some_and(|watermark| time <= watermark) {
            return;
        }
        self.comes_to(time.hour());
        self.rouse();
        let before = self.watermark.replace(time);
        if self.deadlines.first().is_some_and(|(deadline, _)| *deadline <= time) {
            self.let_pass(time, sink);
        }
        self.end_crowds(time, sink);
        // What this partition is done with must be on the board before it asks for the peers of
        // `time`, or it would wait for itself.
        if let Some(closed) = self.log.close(time, self.shared.lateness_ns) {
            self.shared.board.publish(self.post, &mut self.log, closed, self.place.0);
        }
        if before.is_some_and(|before| before.day() < time.day()) {
            self.forget_idle(time);
        }
    }

    /// With the call at `offset` everything that was handed out before a stop has been read again,
    /// if it has: what is learned from now on is told.
    pub(super) fn end_retelling(&mut self, offset: i64, sink: &mut dyn FnMut(Decision)) {
        if let Some(until) = self.log.told_until(offset) {
            self.let_pass(until, sink);
            self.log.all_told();
        }
    }

    /// Agents that were written down after as many calls as are judged by now wait for time again.
    ///
    /// A call that comes late may leave its agent a deadline that is past. It falls due when time next
    /// passes in the partition, and in nobody's judgement before: not when time passes once more, up to
    /// where the agent was written down, because of calls that its partition judges again.
    fn rouse(&mut self) {
        if self.asleep.is_empty() {
            return;
        }
        let calls = self.journal.as_ref().map_or(u64::MAX, |journal| journal.judged_calls());
        // What retention took in front of this judge is never counted.
        let is_at_rest = self.order.first().is_none();
        let offset = if is_at_rest { self.next_offset.unwrap_or(0) } else { self.place.0 };
        while let Some(first) = self.asleep.first().copied() {
            let (judged, below, deadline, key) = first;
            if judged > calls && below > offset {
                break;
            }
            self.asleep.remove(&first);
            self.deadlines.insert((deadline, key));
        }
    }

    /// Event time has reached `now`: whatever falls due until then does.
    pub(super) fn let_pass(&mut self, now: Timestamp, sink: &mut dyn FnMut(Decision)) {
        self.rouse();
        self.said.refresh();
        self.advanced = self.advanced.max(Some(now));
        while let Some((entry, key)) = self.deadlines.first().copied() {
            if entry > now {
                break;
            }
            self.deadlines.remove(&(entry, key));
            let peers = self.known_peers();
            let context = Context {
                rules: &self.shared.rules,
                peers: &peers,
                expectations: self.said.known(),
            };
            let spans = self.spans();
            let journal = &mut self.journal;
            let woken = self.shared.agents.wake(key, (entry, now, spans), |state, is_due| {
                if is_due {
                    write_first(journal, key, state);
                }
                let deadline = state.deadline().unwrap_or(entry);
                (detect::tick(&context, state, now), deadline, state.group)
            });
            let (updated, next) = match woken {
                Some(Woken::Changed { updated, next }) => (Some(updated), next),
                Some(Woken::NotYet(next)) => (None, next),
                None => (None, None),
            };
            if let Some(Updated { value: (mut verdict, deadline, group), is_first, .. }) = updated {
                self.counted.note(&verdict.facts);
                self.changed(key, is_first);
                self.teach(key, (deadline.hour(), group), std::mem::take(&mut verdict.facts));
                let offset = self.next_offset.map_or(0, |next| next - 1);
                hand_out(verdict, offset, sink);
            }
            next.map(|next| self.deadlines.insert((next, key)));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::event::{Timestamp, ToolCall};
    use crate::pipeline::judge::Judge;
    use crate::pipeline::judge::tests::{call, durable, going_on, shared};
    use crate::state::changelog::Restoring;
    use crate::state::{AgentKey, Spans};

    #[test]
    fn an_agent_at_work_is_looked_after_at_its_first_deadline_and_changed_at_its_last() {
        let mut judge = durable(shared(), 0);
        let call = |secs| call(secs, Timestamp::from_secs(secs));
        let key = AgentKey::of(&call(0));
        let mut known = Vec::new();
        for secs in [0, 10, 60] {
            judge.hold(&call(secs));
            judge.judge_all(&mut |_| {});
            judge.record_done(secs);
            known.push(judge.shared.agents.read(key, |state| state.deadline().unwrap()).unwrap());
        }
        let (first, last) = (known[0], known[2]);
        assert!(known.is_sorted() && first < last, "{known:?}");
        assert_eq!(judge.deadlines, [(first, key)].into());
        let changed = |judge: &Judge| judge.journal().unwrap().waiting();
        judge.flush().unwrap().unwrap();
        judge.advance(first, &mut |_| {});
        assert_eq!(judge.deadlines, [(last, key)].into());
        assert_eq!(changed(&judge), 0);
        judge.advance(last, &mut |_| {});
        assert_eq!(changed(&judge), 1);
        assert!(judge.deadlines.iter().all(|(next, _)| *next > last), "{:?}", judge.deadlines);
        let none = Spans::default();
        judge.shared.agents.remove(key, none).unwrap();
        assert!(judge.shared.agents.wake(key, (last, last, none), |_, _| ()).is_none());
    }

    #[test]
    fn time_that_has_passed_for_an_agent_that_was_written_down_does_not_pass_for_it_again() {
        let late = ToolCall { agent_id: "late".into(), ..call(2, Timestamp::from_secs(11_000)) };
        let key = AgentKey::of(&late);
        let calls = [call(0, Timestamp::from_secs(0)), call(1, Timestamp::from_secs(20_000)), late];
        let take = |judge: &mut Judge, call: &ToolCall<'static>| {
            judge.hold(call);
            judge.judge_all(&mut |_| {});
            judge.record_done(call.position.offset);
            judge.shared.agents.read(key, Clone::clone)
        };
        let mut first = durable(shared(), 0);
        let known: Vec<_> = calls.iter().map(|call| take(&mut first, call)).collect();
        let written = known[2].clone().unwrap();
        assert!(written.deadline().unwrap() < first.watermark().unwrap(), "{written:?}");
        // All but the marker.
        let mut restoring = Restoring::new("calls".into(), 100);
        for (key, value) in first.flush().unwrap().unwrap().records {
            restoring.take(&key, value.as_deref());
        }
        let next = call(3, Timestamp::from_secs(20_001));
        let settled = take(&mut first, &next);
        assert_ne!(settled.as_ref(), Some(&written));

        let restored = restoring.finish();
        let mut second = going_on(shared(), 0, (restored.clone(), 0));
        for call in &calls {
            assert_eq!(take(&mut second, call).as_ref(), Some(&written));
        }
        assert_eq!(take(&mut second, &next), settled);
        // Retention took what is to be read again.
        assert_eq!(take(&mut going_on(shared(), 0, (restored, 3)), &next), settled);
    }
}
