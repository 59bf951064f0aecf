//! The exchange of peer knowledge between the partitions of one instance.
//!
//! Each partition publishes what its agents taught about their groups, one summary an event-time
//! hour. A call of hour `e` is judged against everything published up to hour `e - 2`, by every
//! partition: so the judgement does not depend on how agents are spread over partitions or workers.
//! The price is that a partition that runs ahead has to wait for the slowest one that still has
//! records to read. The wait is bounded: who lags too long, or has nothing to read, is left out.

pub mod kept;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::baseline::peers::{Fact, GroupKey, GroupSummary, Peers};
use crate::event::{HOUR_NS, Timestamp};
use crate::state::PartitionId;

/// How many past versions stay at hand, for partitions that come back from being left out.
const VERSIONS_MAX: usize = 16;

/// What one partition's agents taught, not yet published.
#[derive(Debug, Default)]
pub struct EpochLog {
    open: BTreeMap<i64, BTreeMap<GroupKey, GroupSummary>>,
    closed: Option<i64>,
}

impl EpochLog {
    /// Notes facts learned from a call of `epoch`. When that epoch is closed already they count in
    /// the oldest one still open.
    pub fn note(&mut self, epoch: i64, group: GroupKey, facts: &[Fact]) {
        for fact in facts {
            let epoch = fact.epoch().unwrap_or(epoch);
            let epoch = self.closed.map_or(epoch, |closed| epoch.max(closed + 1));
            let summary = self.open.entry(epoch).or_default().entry(group).or_default();
            summary.add(fact.clone());
        }
    }

    /// Closes every epoch that no call within `lateness_ns` of `watermark` can fall in, and hands
    /// out what they hold; `None` when that closes nothing new.
    pub fn close(&mut self, watermark: Timestamp, lateness_ns: i64) -> Option<Closed> {
        let oldest_ns = watermark.as_nanos().saturating_sub(lateness_ns);
        let upto = oldest_ns.div_euclid(HOUR_NS) - 1;
        if self.closed.is_some_and(|closed| upto <= closed) {
            return None;
        }
        self.closed = Some(upto);
        let still_open = self.open.split_off(&(upto + 1));
        let summaries = std::mem::replace(&mut self.open, still_open);
        Some(Closed { upto: Some(upto), summaries })
    }

    /// Hands out everything, closed or not, without closing more: calls of the open epochs may
    /// still come.
    pub fn hand_out(&mut self) -> Closed {
        Closed { upto: self.closed, summaries: std::mem::take(&mut self.open) }
    }
}

/// Epochs a partition is done with.
#[derive(Debug)]
pub struct Closed {
    /// Every epoch up to and including this one is done with; `None` when none is.
    pub upto: Option<i64>,
    /// What they taught.
    pub summaries: BTreeMap<i64, BTreeMap<GroupKey, GroupSummary>>,
}

/// One partition, as the others see it.
#[derive(Debug, Default)]
struct Member {
    /// The last epoch it is done with; `None` before its first call.
    closed: Option<i64>,
    /// Nothing to read: not waited for.
    idle: bool,
    /// Waited for too long: not waited for until it has caught up.
    left_out: bool,
}

#[derive(Debug, Default)]
struct Board {
    members: BTreeMap<PartitionId, Member>,
    pending: BTreeMap<i64, BTreeMap<GroupKey, GroupSummary>>,
    merged: Option<i64>,
    versions: VecDeque<Arc<Peers>>,
    merges: u64,
}

/// The board on which partitions publish, shared by the workers of an instance.
#[derive(Clone, Debug, Default)]
pub struct PeerBoard(Arc<Mutex<Board>>);

impl PeerBoard {
    /// A partition takes part from now on, and is waited for.
    pub fn join(&self, partition: PartitionId) {
        self.lock().members.insert(partition, Member::default());
    }

    /// A partition is somebody else's now.
    pub fn leave(&self, partition: PartitionId) {
        self.lock().members.remove(&partition);
    }

    /// Says whether a partition has nothing to read.
    pub fn set_idle(&self, partition: PartitionId, idle: bool) {
        if let Some(member) = self.lock().members.get_mut(&partition) {
            member.idle = idle;
        }
    }

    /// Publishes what a partition is done with.
    pub fn publish(&self, partition: PartitionId, closed: Closed) {
        let mut board = self.lock();
        let merged = board.merged;
        for (epoch, groups) in closed.summaries {
            // What comes after its epoch was merged counts in the next one.
            let epoch = merged.map_or(epoch, |merged| epoch.max(merged + 1));
            let pending = board.pending.entry(epoch).or_default();
            for (group, summary) in groups {
                pending.entry(group).or_default().merge(&summary);
            }
        }
        if let Some(member) = board.members.get_mut(&partition) {
            member.closed = closed.upto;
            member.left_out &= merged.is_some_and(|merged| closed.upto < Some(merged));
        }
    }

    /// What is known up to and including `epoch`; `None` while a partition is waited for.
    #[must_use]
    pub fn peers(&self, epoch: i64) -> Option<Arc<Peers>> {
        let mut board = self.lock();
        if board.merged.is_none_or(|merged| epoch > merged) {
            let ready = board.members.values().all(|member| {
                member.idle || member.left_out || member.closed.is_some_and(|c| c >= epoch)
            });
            if !ready {
                return None;
            }
            board.merge(epoch);
        }
        Some(board.version(epoch))
    }

    /// Stops waiting for the partitions that have not reached `epoch`, and names them.
    #[must_use]
    pub fn leave_out_laggards(&self, epoch: i64) -> Vec<PartitionId> {
        let mut board = self.lock();
        let mut laggards = Vec::new();
        for (partition, member) in &mut board.members {
            if !member.idle && !member.left_out && member.closed.is_none_or(|c| c < epoch) {
                member.left_out = true;
                laggards.push(*partition);
            }
        }
        laggards
    }

    /// Epochs merged so far.
    #[must_use]
    pub fn merges(&self) -> u64 {
        self.lock().merges
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// Merges everything published up to and including `epoch`, in order of epochs.
    fn merge(&mut self, epoch: i64) {
        let later = self.pending.split_off(&(epoch + 1));
        let due = std::mem::replace(&mut self.pending, later);
        for (epoch, groups) in due {
            let base = self.versions.back().cloned().unwrap_or_default();
            let summaries = groups.iter().map(|(key, summary)| (*key, summary));
            self.versions.push_back(Arc::new(base.with_epoch(epoch, summaries)));
            self.merges += 1;
            if self.versions.len() > VERSIONS_MAX {
                self.versions.pop_front();
            }
        }
        self.merged = Some(epoch);
    }

    /// The newest version that holds nothing later than `epoch`, or the oldest there is.
    fn version(&self, epoch: i64) -> Arc<Peers> {
        let fitting = self.versions.iter().rev().find(|version| version.epoch <= epoch);
        match (fitting, self.versions.front(), self.versions.len() < VERSIONS_MAX) {
            (Some(version), _, _) => Arc::clone(version),
            // Versions fell out of the window: the oldest left is the nearest to what was known.
            (None, Some(oldest), false) => Arc::clone(oldest),
            (None, _, _) => Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::session::LiveSession;

    const GROUP: GroupKey = GroupKey(7);

    fn id(partition: i32) -> PartitionId {
        PartitionId { topic: 0, partition }
    }

    /// A board of two partitions, each of which has taught one agent in each of these epochs.
    fn board(taught: [&[i64]; 2]) -> PeerBoard {
        let board = PeerBoard::default();
        for (partition, epochs) in taught.iter().enumerate() {
            let partition = id(i32::try_from(partition).unwrap());
            board.join(partition);
            publish(&board, partition, epochs);
        }
        board
    }

    fn publish(board: &PeerBoard, partition: PartitionId, epochs: &[i64]) {
        let mut log = EpochLog::default();
        for epoch in epochs {
            log.note(*epoch, GROUP, &[Fact::Agent]);
        }
        let Some(last) = epochs.iter().max() else { return };
        let after = Timestamp::from_nanos((last + 1) * HOUR_NS);
        board.publish(partition, log.close(after, 0).unwrap());
    }

    fn agents(board: &PeerBoard, epoch: i64) -> Option<u64> {
        Some(board.peers(epoch)?.group(GROUP).map_or(0, |group| group.agents))
    }

    #[test]
    fn an_epoch_is_known_once_every_partition_is_done_with_it() {
        let board = board([&[1, 2], &[1]]);
        assert_eq!(agents(&board, 1), Some(2));
        assert_eq!(agents(&board, 2), None);
        publish(&board, id(1), &[2]);
        assert_eq!(agents(&board, 2), Some(4));
    }

    #[test]
    fn an_older_epoch_is_answered_as_it_was_known() {
        let board = board([&[1, 2], &[1, 2]]);
        assert_eq!(agents(&board, 2), Some(4));
        assert_eq!(agents(&board, 1), Some(2));
    }

    #[test]
    fn a_partition_with_nothing_to_read_is_not_waited_for() {
        let board = board([&[1, 2], &[]]);
        assert_eq!(agents(&board, 2), None);
        board.set_idle(id(1), true);
        assert_eq!(agents(&board, 2), Some(2));
    }

    #[test]
    fn what_an_idle_partition_taught_last_is_known_to_the_others() {
        let board = board([&[1, 2], &[]]);
        let mut log = EpochLog::default();
        log.note(2, GROUP, &[Fact::Agent]);
        board.publish(id(1), log.hand_out());
        board.set_idle(id(1), true);
        assert_eq!(agents(&board, 2), Some(3));
    }

    #[test]
    fn a_partition_that_lags_is_left_out_until_it_has_caught_up() {
        let board = board([&[1, 2, 3], &[1]]);
        assert_eq!(agents(&board, 3), None);
        assert_eq!(board.leave_out_laggards(3), [id(1)]);
        assert_eq!(agents(&board, 3), Some(4));
        // What it teaches late counts in the next epoch, and from then on it is waited for again.
        publish(&board, id(1), &[2, 3]);
        publish(&board, id(0), &[4]);
        assert_eq!(agents(&board, 4), None);
        publish(&board, id(1), &[4]);
        assert_eq!(agents(&board, 4), Some(8));
    }

    #[test]
    fn a_partition_that_leaves_is_not_waited_for() {
        let board = board([&[1, 2], &[1]]);
        board.leave(id(1));
        assert_eq!(agents(&board, 2), Some(3));
    }

    #[test]
    fn facts_of_a_closed_epoch_count_in_the_oldest_open_one() {
        let mut log = EpochLog::default();
        assert_eq!(log.close(Timestamp::from_nanos(5 * HOUR_NS), 0).unwrap().upto, Some(4));
        log.note(2, GROUP, &[Fact::Agent]);
        let closed = log.close(Timestamp::from_nanos(6 * HOUR_NS), 0).unwrap();
        assert_eq!(closed.summaries.keys().copied().collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn a_session_counts_in_the_hour_of_its_end() {
        let live = LiveSession::new(1, Timestamp::from_nanos(4 * HOUR_NS));
        let session = Fact::Session(Arc::new(live.learned(1, live.deadline())));
        let mut log = EpochLog::default();
        log.note(6, GROUP, &[session, Fact::Agent]);
        let closed = log.close(Timestamp::from_nanos(9 * HOUR_NS), 0).unwrap();
        assert_eq!(closed.summaries.keys().copied().collect::<Vec<_>>(), [4, 6]);
    }

    #[test]
    fn past_versions_are_bounded() {
        let epochs: Vec<i64> = (0..100).collect();
        let board = board([&epochs, &epochs]);
        assert_eq!(agents(&board, 99), Some(200));
        assert!(board.lock().versions.len() <= VERSIONS_MAX);
    }
}
