//! How far a judge may be ahead of what is written down.
//!
//! Whoever goes on from there judges again what came after, and must do so by the peers that were
//! known then, or tell the same alerts in other words. So the board keeps the past versions that are
//! needed for it, and no judge runs so far ahead that they would be too many.

use std::sync::Arc;

use crate::baseline::peers::{EPOCHS_BEHIND, Peers};
use crate::event::Timestamp;
use crate::pipeline::epochs::board::Needs;
use crate::pipeline::journal::Journal;
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
    /// The hour of the first call that was judged and is not written, if any was.
    since: Option<i64>,
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
        let later = self.log.needs.and_then(|needs| needs.later);
        let is_needed = later.is_some_and(|later| later <= wanted);
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
        let since = Some(hour).filter(|_| self.judged_offset() != Some(offset));
        self.written = Some(Written { hour, offset: Some(offset), since });
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
        self.log.needs.is_none_or(|needs| needs.later.is_none())
    }

    /// It goes on from there.
    pub(super) fn takes_up(&mut self, reached: &Reached) {
        let hour = reached.watermark.map(Timestamp::hour);
        let offset = reached.read_from();
        self.written = hour.map(|hour| Written { hour, offset, since: None });
    }

    /// A call of the hour `hour`, later than all before it, is to be judged.
    pub(super) fn comes_to(&mut self, hour: i64) {
        if self.journal.is_none() || self.written.is_some_and(|it| it.since.is_some()) {
            return;
        }
        let judged = self.judged_offset();
        // Late calls may have been judged since.
        let since = self.written.filter(|it| it.offset != judged).map_or(hour, |it| it.hour);
        let (hour, offset) = self.written.map_or((hour, None), |it| (it.hour, it.offset));
        self.written = Some(Written { hour, offset, since: Some(since) });
        self.note_needs(false);
    }

    /// Notes what is to be said of the past versions that it needs.
    pub(super) fn note_needs(&mut self, is_idle: bool) {
        let is_at_rest = is_idle && self.order.first().is_none();
        self.log.needs = self.written.map(|it| {
            let behind = |hour| hour - LATE_HOURS - EPOCHS_BEHIND;
            let is_at_rest = is_at_rest && it.offset.is_some() && it.offset == self.next_offset;
            match it.since {
                // Time alone may pass again, by the peers of the newest call.
                _ if is_at_rest => Needs { epoch: it.hour - EPOCHS_BEHIND, later: None },
                Some(since) if since > it.hour => {
                    Needs { epoch: it.hour - EPOCHS_BEHIND, later: Some(behind(since)) }
                }
                _ => Needs { epoch: behind(it.hour), later: Some(behind(it.hour)) },
            }
        });
    }

    /// Whether a call of the hour `hour` is too far ahead of what is written down: not if all that
    /// was judged is.
    pub(super) fn is_far_ahead(&self, hour: i64) -> bool {
        let since = self.written.and_then(|it| it.since);
        let is_far = since.is_some_and(|since| hour >= since + HOURS_AHEAD_MAX);
        let may_flush =
            |journal: &Journal| self.judged_offset().is_some_and(|it| journal.may_flush(it));
        is_far && self.journal.as_deref().is_some_and(may_flush)
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
        assert_eq!(judge.log.needs, Some(Needs { epoch: 97, later: Some(97) }));
        flush(&mut judge, false);
        assert_eq!(judge.log.needs, Some(Needs { epoch: 99, later: Some(99) }));
        judge.set_idle(true);
        let at_rest = Some(Needs { epoch: 100, later: None });
        assert_eq!(judge.log.needs, at_rest);
        assert!(judge.is_at_rest());
        judge.set_idle(false);
        take(&mut judge, &[(2, 103)]);
        judge.set_idle(true);
        assert_eq!(judge.log.needs, Some(Needs { epoch: 100, later: Some(100) }), "not written");
        assert!(!judge.is_at_rest());
        flush(&mut judge, true);
        assert_eq!(judge.log.needs, Some(Needs { epoch: 101, later: None }));
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
    fn peers_that_are_kept_for_another_partition_do_not_stand_in_for_those_of_its_time() {
        let board = PeerBoard::with(Room { always: 1, needed: 8 });
        let shared = Shared { board, ..shared() };
        let [mut resting, mut behind, mut ahead] = [0, 1, 2].map(|it| durable(shared.clone(), it));
        behind.set_idle(true);
        // Each waits for what the other has to say of the hours before.
        take(&mut resting, &[(0, 100)]);
        take(&mut ahead, &[(0, 100)]);
        assert_eq!([resting.held(), ahead.held()], [1, 0]);
        take(&mut resting, &[]);
        assert_eq!(resting.held(), 0);
        flush(&mut resting, true);
        resting.set_idle(true);
        assert_eq!(resting.log.needs, Some(Needs { epoch: 98, later: None }));
        for (offset, hour) in (1..).zip(101..110) {
            take(&mut ahead, &[(offset, hour)]);
            assert_eq!(ahead.held(), 0);
            flush(&mut ahead, false);
        }
        behind.set_idle(false);
        take(&mut behind, &[(0, 104)]);
        assert!(behind.is_outdated() && behind.held() == 1);
    }

    #[test]
    fn time_passes_by_the_peers_of_the_newest_call_after_a_late_one() {
        let mut judge = durable(shared(), 0);
        take(&mut judge, &[(0, 100)]);
        take(&mut judge, &[(1, 99)]);
        assert_eq!(judge.peers.as_ref().map(|it| it.0), Some(100));
    }
}
