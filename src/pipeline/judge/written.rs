//! How far a judge may be ahead of what is written down.
//!
//! Whoever goes on from there judges again what came after, and must do so by the peers that were
//! known then, or tell the same alerts in other words. So the board keeps the past versions that are
//! needed for it, and no judge runs so far ahead that they would be too many.

use std::sync::Arc;

use crate::baseline::peers::{EPOCHS_BEHIND, Peers};
use crate::event::Timestamp;
use crate::pipeline::epochs::board::Needs;
use crate::pipeline::judge::Judge;
use crate::state::reached::Reached;

/// Hours of event time that may be judged beyond what is written down: a small part of the past
/// versions that are kept while they are needed, since other partitions may be elsewhere.
const HOURS_AHEAD_MAX: i64 = 16;

/// A late call is at most so many hours older than the newest one.
const LATE_HOURS: i64 = 1;

/// What is written down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// The hour of the newest call that is judged with it, or of the first one before there is any.
    hour: i64,
    /// The offset that is read next after a stop, if anything is written.
    offset: Option<i64>,
}

/// Whether peers of the time of calls are no longer known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// They are, as far as that was asked.
    None,
    /// They are not: what this judge goes on from is older than what somebody has written since.
    Found,
    /// What is written was read again, and so it is.
    Accepted,
}

impl Judge {
    /// The peers of calls of `epoch`, when they are known. Where they are known no longer, somebody has
    /// written down what came after and said what he needs from then on, after what is known here was
    /// read: none until that is read again.
    pub(super) fn peers_on_board(&mut self, epoch: i64) -> Option<Arc<Peers>> {
        let wanted = epoch - EPOCHS_BEHIND;
        let peers = self.shared.board.peers(wanted)?;
        // Before anything was learned it is the epoch 0. A call that comes late by hours finds none
        // either, and nobody has said that he needs them.
        let is_needed = self.log.needs.is_some_and(|needs| needs.epoch <= wanted);
        let is_gap = self.journal.is_some() && is_needed && peers.epoch > wanted.max(0);
        if is_gap && self.gap != Gap::Accepted {
            self.gap = Gap::Found;
            return None;
        }
        Some(peers)
    }

    /// Whether what is written of the partition must be read again before it is judged on.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.gap == Gap::Found
    }

    /// What is written was read again, or tells nothing of these calls: they are judged by the oldest
    /// peers that are known.
    pub const fn makes_do(&mut self) {
        self.gap = Gap::Accepted;
    }

    /// A flush has ended: what was judged by the hour `hour` is written down, and what comes from
    /// `offset` on is read again after a stop. `is_idle` tells whether the partition has nothing to
    /// read, which was said.
    pub fn is_written(&mut self, hour: Option<i64>, offset: i64, is_idle: bool) {
        let Some(hour) = hour else { return };
        self.written = Some(Written { hour, offset: Some(offset) });
        let before = self.log.needs;
        self.note_needs(is_idle);
        if is_idle && self.log.needs != before {
            self.shared.board.rest_on(self.post, &self.log);
        }
    }

    /// Whether the first call held waits for a flush.
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        self.order.first().is_some_and(|call| self.is_far_ahead(call.time.hour()))
    }

    /// Whether it needs no past version of peers but that of its last call, or none.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.log.needs.is_none_or(|needs| !needs.and_later)
    }

    /// It goes on from there.
    pub(super) fn takes_up(&mut self, reached: &Reached) {
        let hour = reached.watermark.map(Timestamp::hour);
        self.written = hour.map(|hour| Written { hour, offset: reached.read_from() });
    }

    /// The first call ever is of the hour `hour`.
    pub(super) fn begins_in(&mut self, hour: i64) {
        if self.journal.is_some() {
            self.written = Some(Written { hour, offset: None });
            self.note_needs(false);
        }
    }

    /// Notes what is to be said of the past versions that it needs.
    pub(super) fn note_needs(&mut self, is_idle: bool) {
        let is_at_rest = is_idle && self.order.first().is_none();
        self.log.needs = self.written.map(|it| {
            // Then time alone may pass again, by the peers of the newest call.
            let and_later = !(is_at_rest && it.offset.is_some() && it.offset == self.next_offset);
            let late = if and_later { LATE_HOURS } else { 0 };
            Needs { epoch: it.hour - late - EPOCHS_BEHIND, and_later }
        });
    }

    /// Whether a call of the hour `hour` is too far ahead of what is written down: not if all that
    /// was judged is.
    pub(super) fn is_far_ahead(&self, hour: i64) -> bool {
        let Some(it) = self.written.filter(|it| hour >= it.hour + HOURS_AHEAD_MAX) else {
            return false;
        };
        let judged = self.judged_offset();
        let may_flush = self.journal.as_ref().zip(judged).is_some_and(|(it, at)| it.may_flush(at));
        may_flush && it.offset != judged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::HOUR_NS;
    use crate::pipeline::epochs::PeerBoard;
    use crate::pipeline::epochs::board::Room;
    use crate::pipeline::judge::Shared;
    use crate::pipeline::judge::tests::{call, durable, shared};
    use crate::state::PartitionId;

    /// Takes in a call of each of these hours, at their offsets, and judges those that may be.
    fn take(judge: &mut Judge, calls: &[(i64, i64)]) -> u64 {
        for (offset, hour) in calls {
            judge.hold(&call(*offset, Timestamp::from_nanos(hour * HOUR_NS)));
            judge.record_done(*offset);
        }
        judge.judge_all(&mut |_| {});
        judge.tally().judged
    }

    /// Writes everything down.
    fn flush(judge: &mut Judge, is_idle: bool) {
        let hour = judge.watermark().map(Timestamp::hour);
        if let Some(flush) = judge.flush().unwrap() {
            judge.is_written(hour, flush.commit, is_idle);
        }
    }

    #[test]
    fn nobody_judges_far_ahead_of_what_is_written_down() {
        let mut judge = durable(shared(), 0);
        assert_eq!(take(&mut judge, &[(0, 100), (1, 115), (2, 116), (3, 140)]), 2);
        assert!(judge.is_held_back());
        assert_eq!(judge.waits_for(), None, "for no peers");
        flush(&mut judge, false);
        // All that was judged is written: the next call may be of any time.
        assert_eq!(take(&mut judge, &[]), 3);
        assert!(judge.is_held_back());
        flush(&mut judge, false);
        assert_eq!(take(&mut judge, &[]), 4);
        assert!(!judge.is_held_back());
    }

    #[test]
    fn without_a_journal_nobody_waits_for_a_flush() {
        let mut judge =
            Judge::new(shared(), PartitionId { topic: 0, partition: 0 }, "calls".into());
        assert_eq!(take(&mut judge, &[(0, 100), (1, 1_000)]), 2);
        assert_eq!(judge.log.needs, None);
    }

    #[test]
    fn what_is_needed_is_what_calls_are_judged_again_by() {
        let mut judge = durable(shared(), 0);
        take(&mut judge, &[(0, 100), (1, 102)]);
        assert_eq!(judge.log.needs, Some(Needs { epoch: 97, and_later: true }));
        flush(&mut judge, false);
        assert_eq!(judge.log.needs, Some(Needs { epoch: 99, and_later: true }));
        judge.set_idle(true);
        let at_rest = Some(Needs { epoch: 100, and_later: false });
        assert_eq!(judge.log.needs, at_rest);
        assert!(judge.is_at_rest());
        judge.set_idle(false);
        take(&mut judge, &[(2, 103)]);
        judge.set_idle(true);
        assert_eq!(judge.log.needs, Some(Needs { epoch: 99, and_later: true }), "not written");
        assert!(!judge.is_at_rest());
        flush(&mut judge, true);
        assert_eq!(judge.log.needs, Some(Needs { epoch: 101, and_later: false }));
    }

    #[test]
    fn where_the_peers_of_its_time_are_gone_what_is_written_is_read_again_once() {
        let board = PeerBoard::with(Room { always: 1, needed: 8 });
        let shared = Shared { board, ..shared() };
        let [mut behind, mut ahead] = [0, 1].map(|it| durable(shared.clone(), it));
        behind.set_idle(true);
        for (offset, hour) in (0..).zip(100..110) {
            assert_eq!(take(&mut ahead, &[(offset, hour)]), u64::try_from(offset + 1).unwrap());
            flush(&mut ahead, false);
        }
        assert!(!ahead.is_outdated(), "nothing that it needs is gone");
        behind.set_idle(false);
        take(&mut behind, &[(0, 104)]);
        assert!(behind.is_outdated() && behind.held() == 1);
        behind.makes_do();
        take(&mut behind, &[]);
        assert!(!behind.is_outdated() && behind.held() == 0);
    }

    #[test]
    fn time_passes_by_the_peers_of_the_newest_call_after_a_late_one() {
        let mut judge = durable(shared(), 0);
        take(&mut judge, &[(0, 100)]);
        take(&mut judge, &[(1, 99)]);
        assert_eq!(judge.peers.as_ref().map(|it| it.0), Some(100));
    }
}
