//! Puts calls in order of their time before they are judged.
//!
//! A call is held until a later one (by more than the reordering span) has been seen, so that calls
//! of one moment are judged in one order however they arrived: by time, then agent, then call id.
//! With a span of 0 that holds back the last call only. A call that comes too late for that comes
//! behind all those whose turn has come, whether they were judged meanwhile or wait for something: so
//! the order is that of the log, however long anything waits and wherever reading begins again. Slots
//! are used again, so that holding a call copies its texts but rarely allocates.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::VecDeque;

use crate::event::{Position, Timestamp, ToolCall};

/// Slots kept for reuse.
const SPARE_MAX: usize = 1_024;

/// A held call.
pub type Slot = Box<ToolCall<'static>>;

/// Calls waiting for their turn.
#[derive(Debug, Default)]
pub struct Sequencer {
    /// How far behind the newest call a call must lie before it is released, in nanoseconds.
    span_ns: i64,
    newest: Option<Timestamp>,
    /// First those whose turn has come, as it came, then the others by their time.
    held: VecDeque<Held>,
    /// How many of them have their turn.
    due: usize,
    spare: Vec<Slot>,
}

/// A call that is held.
#[derive(Debug)]
struct Held {
    /// Boxed, because a call is 280 bytes and moves four times.
    call: Slot,
    /// The newest time before it came.
    after: Option<Timestamp>,
}

impl Sequencer {
    /// A sequencer that orders within `span_ns` nanoseconds.
    #[must_use]
    pub fn new(span_ns: i64) -> Self {
        Self { span_ns, ..Self::default() }
    }

    /// Calls held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The lowest offset among the calls held.
    #[must_use]
    pub fn lowest_offset(&self) -> Option<i64> {
        self.held().map(|call| call.position.offset).min()
    }

    /// Where the calls held were read: offset, and place in the record.
    pub fn positions(&self) -> impl Iterator<Item = (i64, u32)> {
        self.held().map(|call| (call.position.offset, call.position.index))
    }

    /// The calls held, in no order that means anything.
    pub fn held(&self) -> impl Iterator<Item = &ToolCall<'static>> {
        self.held.iter().map(|held| &*held.call)
    }

    /// The newest time taken in before the first of the calls held, as they were read: from there on
    /// they come in the same order once more.
    #[must_use]
    pub fn newest_before_held(&self) -> Option<Timestamp> {
        let first = self
            .held
            .iter()
            .min_by_key(|Held { call, .. }| (call.position.offset, call.position.index));
        first.map_or(self.newest, |held| held.after)
    }

    /// A call of that time was taken in, here or by whoever this goes on from: those that are old
    /// enough have their turn.
    pub fn note(&mut self, time: Option<Timestamp>) {
        self.newest = self.newest.max(time);
        let Some(newest) = self.newest.map(Timestamp::as_nanos) else { return };
        let is_due =
            |Held { call, .. }: &Held| call.time.as_nanos().saturating_add(self.span_ns) < newest;
        while self.held.get(self.due).is_some_and(is_due) {
            self.due += 1;
        }
    }

    /// Holds a call.
    pub fn push(&mut self, call: &ToolCall<'_>) {
        let mut slot = self.spare.pop().unwrap_or_default();
        refill(&mut slot, call);
        // Calls arrive nearly in order, so the place is found from the back in a step or two.
        let mut place = self.held.len();
        while place > self.due
            && self.held.get(place - 1).is_some_and(|it| order(&slot, &it.call).is_lt())
        {
            place -= 1;
        }
        self.held.insert(place, Held { after: self.newest, call: slot });
        self.note(Some(call.time));
    }

    /// The next call whose turn has come.
    #[must_use]
    pub fn due(&self) -> Option<&ToolCall<'static>> {
        self.first().filter(|_| self.due > 0)
    }

    /// The next call, whether its turn has come or not: nothing newer is on its way.
    #[must_use]
    pub fn first(&self) -> Option<&ToolCall<'static>> {
        self.held.front().map(|held| &*held.call)
    }

    /// Takes the first call out; give it back with [`Self::recycle`].
    pub fn pop(&mut self) -> Option<Slot> {
        self.due = self.due.saturating_sub(1);
        self.held.pop_front().map(|held| held.call)
    }

    /// Keeps a judged call's slot for the next one.
    pub fn recycle(&mut self, slot: Slot) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(slot);
        }
    }
}

/// The one order calls are judged in.
fn order(a: &ToolCall<'_>, b: &ToolCall<'_>) -> Ordering {
    a.time
        .cmp(&b.time)
        .then_with(|| a.tenant_id.cmp(&b.tenant_id))
        .then_with(|| a.agent_id.cmp(&b.agent_id))
        .then_with(|| a.call_id.cmp(&b.call_id))
}

/// Copies `call` into `slot`, using the slot's buffers. The topic is left to the partition's owner.
fn refill(slot: &mut ToolCall<'static>, call: &ToolCall<'_>) {
    slot.position = Position { topic: "", ..call.position };
    slot.origin.clone_from(&call.origin);
    slot.time = call.time;
    copy(&mut slot.tenant_id, &call.tenant_id);
    copy(&mut slot.agent_id, &call.agent_id);
    copy_optional(&mut slot.agent_version, call.agent_version.as_deref());
    copy_optional(&mut slot.agent_group, call.agent_group.as_deref());
    copy(&mut slot.session_id, &call.session_id);
    copy(&mut slot.call_id, &call.call_id);
    copy(&mut slot.tool_name, &call.tool_name);
    copy_optional(&mut slot.tool_server, call.tool_server.as_deref());
    slot.operation = call.operation;
    slot.arguments = call.arguments;
    copy_list(&mut slot.targets, &call.targets);
    copy_list(&mut slot.words, &call.words);
    copy_optional(&mut slot.user_id, call.user_id.as_deref());
    copy_optional(&mut slot.parent_agent_id, call.parent_agent_id.as_deref());
    slot.status = call.status;
    slot.duration_ms = call.duration_ms;
    slot.bytes_in = call.bytes_in;
    slot.bytes_out = call.bytes_out;
    slot.quality = call.quality;
}

fn copy(slot: &mut Cow<'static, str>, text: &str) {
    if let Cow::Owned(buffer) = slot {
        buffer.clear();
        buffer.push_str(text);
    } else {
        *slot = Cow::Owned(text.to_owned());
    }
}

fn copy_optional(slot: &mut Option<Cow<'static, str>>, text: Option<&str>) {
    match (slot.as_mut(), text) {
        (Some(slot), Some(text)) => copy(slot, text),
        (_, text) => *slot = text.map(|text| Cow::Owned(text.to_owned())),
    }
}

fn copy_list<T: Copy>(slot: &mut Cow<'static, [T]>, list: &[T]) {
    if let Cow::Owned(buffer) = slot {
        buffer.clear();
        buffer.extend_from_slice(list);
    } else {
        *slot = Cow::Owned(list.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call(secs: i64, id: &str) -> ToolCall<'static> {
        ToolCall {
            time: Timestamp::from_secs(secs),
            agent_id: "bot".into(),
            call_id: id.to_owned().into(),
            ..ToolCall::default()
        }
    }

    fn drain_due(sequencer: &mut Sequencer, out: &mut Vec<String>) {
        while sequencer.due().is_some() {
            let call = sequencer.pop().unwrap();
            out.push(call.call_id.to_string());
            sequencer.recycle(call);
        }
    }

    #[test]
    fn the_newest_moment_is_held_until_a_later_one_is_seen() {
        let mut sequencer = Sequencer::new(0);
        let mut out = Vec::new();
        for (secs, id) in [(1, "b"), (1, "a"), (2, "c")] {
            sequencer.push(&call(secs, id));
            drain_due(&mut sequencer, &mut out);
        }
        assert_eq!(out, ["a", "b"]);
        assert_eq!(sequencer.first().map(|c| c.call_id.as_ref()), Some("c"));
    }

    #[test]
    fn what_comes_too_late_comes_behind_what_waits_as_behind_what_was_judged() {
        let arrival = [(10, "a"), (30, "b"), (20, "late"), (40, "c"), (5, "later"), (50, "d")];
        for judged_at_once in [true, false] {
            let mut sequencer = Sequencer::new(0);
            let mut out = Vec::new();
            for (secs, id) in arrival {
                sequencer.push(&call(secs, id));
                if judged_at_once {
                    drain_due(&mut sequencer, &mut out);
                }
            }
            drain_due(&mut sequencer, &mut out);
            assert_eq!(out, ["a", "late", "b", "later", "c"]);
        }
    }

    #[test]
    fn every_field_survives_a_used_slot() {
        let mut sequencer = Sequencer::new(0);
        sequencer.recycle(Box::new(ToolCall {
            tool_server: Some("old".into()),
            agent_version: Some("old".into()),
            ..call(9, "old")
        }));
        let new =
            ToolCall { tool_server: None, agent_version: Some("v2".into()), ..call(1, "new") };
        sequencer.push(&new);
        assert_eq!(sequencer.pop().as_deref(), Some(&new));
    }

    proptest! {
        #[test]
        fn any_arrival_within_the_span_is_released_in_one_order(
            times in prop::collection::vec(0_i64..10, 1..60),
            seed in any::<u64>(),
        ) {
            let calls: Vec<_> = times.iter().enumerate().map(|(i, t)| call(*t, &format!("{i:03}"))).collect();
            let mut shuffled = calls.clone();
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            let released = |calls: &[ToolCall<'static>]| {
                let mut sequencer = Sequencer::new(10_000_000_000);
                let mut out = Vec::new();
                for call in calls {
                    sequencer.push(call);
                    drain_due(&mut sequencer, &mut out);
                }
                while let Some(call) = sequencer.pop() {
                    out.push(call.call_id.to_string());
                }
                out
            };
            prop_assert_eq!(released(&calls), released(&shuffled));
        }

        #[test]
        fn any_arrival_is_judged_in_one_order_wherever_it_waits_and_begins_again(
            times in prop::collection::vec(0_i64..40, 1..60),
            turns in prop::collection::vec(any::<bool>(), 60),
            stop in 0_usize..60,
        ) {
            let calls: Vec<_> = (0_i64..).zip(&times).map(|(offset, secs)| {
                let position = Position { offset, ..Position::default() };
                ToolCall { position, ..call(*secs, &format!("{offset:03}")) }
            }).collect();
            let all = |sequencer: &mut Sequencer, out: &mut Vec<String>| {
                drain_due(sequencer, out);
                out.extend(std::iter::from_fn(|| sequencer.pop()).map(|it| it.call_id.to_string()));
            };
            let mut wanted = Vec::new();
            let mut sequencer = Sequencer::new(3_000_000_000);
            for call in &calls {
                sequencer.push(call);
                drain_due(&mut sequencer, &mut wanted);
            }
            all(&mut sequencer, &mut wanted);
            let mut out = Vec::new();
            let mut sequencer = Sequencer::new(3_000_000_000);
            for (call, is_judged) in calls.iter().zip(&turns).take(stop) {
                sequencer.push(call);
                if *is_judged {
                    drain_due(&mut sequencer, &mut out);
                }
            }
            let from = sequencer.lowest_offset().unwrap_or(i64::try_from(stop).unwrap());
            let mut again = Sequencer::new(3_000_000_000);
            again.note(sequencer.newest_before_held());
            for call in calls.iter().filter(|call| call.position.offset >= from) {
                if out.iter().any(|judged| *judged == call.call_id) {
                    again.note(Some(call.time));
                } else {
                    again.push(call);
                }
            }
            all(&mut again, &mut out);
            prop_assert_eq!(out, wanted);
        }
    }
}
