//! One agent in memory, and whether it is to be written down.
//!
//! What changes of a partition between two flushes changes in one *span*. While the agents of a span
//! are being written, those of the next one change already: an agent that does and was not written
//! yet is written first, as it was when the span ended.

use crate::detect::AgentState;
use crate::event::Timestamp;
use crate::state::{Arrival, PartitionId, Updated};

/// What lies between two flushes of a partition. No two are the same within an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span(u64);

impl Span {
    /// The span of this number; 0 for none.
    pub(super) const fn numbered(number: u64) -> Self {
        Self(number)
    }

    const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// The spans that a judge is in; neither where nothing is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// What changes does so in this one.
    pub now: Span,
    /// What changed in this one is being written.
    pub due: Span,
}

/// One agent and the partition that feeds it.
#[derive(Debug)]
pub(super) struct Resident {
    pub(super) partition: PartitionId,
    /// The span in which it changed since it was last written down.
    pub(super) changed_in: Span,
    /// When its partition's judge next looks after it, at or before its deadline; the end of time for
    /// never. A call mostly moves the deadline on, and this stays as it is.
    pub(super) wakes: Timestamp,
    pub(super) state: AgentState,
}

impl Resident {
    pub(super) const fn new(partition: PartitionId, state: AgentState) -> Self {
        Self { partition, changed_in: Span(0), wakes: Timestamp::MAX, state }
    }

    /// Whether it waits to be written as it is.
    pub(super) fn is_due(&self, spans: Spans) -> bool {
        self.changed_in == spans.due && !spans.due.is_none()
    }

    /// It is to be written. Returns whether that is news to whoever writes what changes now.
    pub(super) fn touch(&mut self, spans: Spans) -> bool {
        let is_news = !self.is_due(spans) && self.changed_in != spans.now;
        if is_news {
            self.changed_in = spans.now;
        }
        is_news
    }

    /// Changes it. `change` is told whether it waits to be written as it was.
    pub(super) fn change<T>(
        &mut self,
        spans: Spans,
        change: impl FnOnce(&mut AgentState, bool) -> T,
    ) -> Updated<T> {
        let is_due = self.is_due(spans);
        let is_first = std::mem::replace(&mut self.changed_in, spans.now) != spans.now;
        let value = change(&mut self.state, is_due);
        Updated { value, is_first, arrival: Arrival::Known, moved: None }
    }

    /// Changes it with a call of another partition than its own, which does not write what its own
    /// will write.
    pub(super) fn change_abroad<T>(
        &mut self,
        spans: Spans,
        change: impl FnOnce(&mut AgentState, bool) -> T,
    ) -> Updated<T> {
        let waits_at_home = !self.changed_in.is_none() && !self.is_due(spans);
        let spans = if waits_at_home { Spans { now: self.changed_in, ..spans } } else { spans };
        self.change(spans, change)
    }

    /// Changes it with a call of its own partition.
    pub(super) fn change_at_home<T>(
        &mut self,
        spans: Spans,
        change: impl FnOnce(&mut AgentState, bool) -> T,
    ) -> Updated<T> {
        let updated = self.change(spans, change);
        let sooner = self.state.deadline().filter(|deadline| *deadline < self.wakes);
        Updated {
            moved: sooner.map(|sooner| (self.look_at(Some(sooner)), Some(sooner))),
            ..updated
        }
    }

    /// Its judge looks after it then, and no longer when this says.
    pub(super) fn look_at(&mut self, next: Option<Timestamp>) -> Option<Timestamp> {
        let before = std::mem::replace(&mut self.wakes, next.unwrap_or(Timestamp::MAX));
        (before != Timestamp::MAX).then_some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ToolCall;

    const NOW: Spans = Spans { now: Span(3), due: Span(2) };

    fn resident(changed_in: u64) -> Resident {
        let home = PartitionId { topic: 0, partition: 0 };
        let state = AgentState::new(&ToolCall::default());
        Resident { changed_in: Span(changed_in), ..Resident::new(home, state) }
    }

    /// Whether it had to be written first, whether it is news, and the span it is in after.
    fn changed(mut resident: Resident, spans: Spans) -> (bool, bool, u64) {
        let Updated { value, is_first, .. } = resident.change(spans, |_, is_due| is_due);
        (value, is_first, resident.changed_in.0)
    }

    #[test]
    fn one_that_waits_to_be_written_is_written_before_it_changes() {
        assert_eq!(changed(resident(2), NOW), (true, true, 3));
        assert_eq!(changed(resident(3), NOW), (false, false, 3));
        assert_eq!(changed(resident(0), NOW), (false, true, 3));
        assert_eq!(changed(resident(1), NOW), (false, true, 3), "what another left behind");
    }

    #[test]
    fn where_nothing_is_written_nothing_waits() {
        assert_eq!(changed(resident(0), Spans::default()), (false, false, 0));
        assert!(!resident(0).is_due(Spans::default()));
    }

    #[test]
    fn what_waits_for_its_own_partition_is_not_anothers_to_write() {
        let abroad = |changed_in| {
            let mut resident = resident(changed_in);
            let updated = resident.change_abroad(NOW, |_, is_due| is_due);
            (updated.value, updated.is_first, resident.changed_in.0)
        };
        assert_eq!(abroad(7), (false, false, 7));
        assert_eq!(abroad(0), (false, true, 3));
        assert_eq!(abroad(2), (true, true, 3));
        assert_eq!(abroad(3), (false, false, 3));
    }

    #[test]
    fn one_that_is_touched_is_news_unless_it_waits() {
        let touched = |changed_in| resident(changed_in).touch(NOW);
        assert_eq!([0, 1, 2, 3].map(touched), [true, true, false, false]);
    }
}
