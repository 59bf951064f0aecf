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
    /// Event time has reached `now`: whatever falls due until then does.
    pub(super) fn let_pass(&mut self, now: Timestamp, sink: &mut dyn FnMut(Decision)) {
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
    use crate::event::Timestamp;
    use crate::pipeline::judge::Judge;
    use crate::pipeline::judge::tests::{call, durable, shared};
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
}
