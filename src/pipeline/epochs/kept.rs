//! What stands on a board and in a log, taken down to be kept and put up again.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::baseline::peers::{GroupKey, GroupSummary, Peers};
use crate::pipeline::epochs::{EpochLog, PeerBoard, VERSIONS_MAX};

/// What epochs taught about groups.
pub type Lessons = BTreeMap<i64, BTreeMap<GroupKey, GroupSummary>>;

/// What stands on a board, apart from who takes part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// The last epoch merged.
    pub merged: Option<i64>,
    /// Past versions of what is known, the oldest first.
    pub versions: Vec<Arc<Peers>>,
    /// What was published and is not merged yet.
    pub pending: Lessons,
}

impl PeerBoard {
    /// What stands on the board now.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let board = self.lock();
        Kept {
            merged: board.merged,
            versions: board.versions.iter().cloned().collect(),
            pending: board.pending.clone(),
        }
    }

    /// Puts up what was kept, in the place of what stands there.
    pub fn restore(&self, kept: Kept) {
        let mut board = self.lock();
        board.merged = kept.merged;
        board.versions = kept.versions.into_iter().rev().take(VERSIONS_MAX).rev().collect();
        board.pending = kept.pending;
    }

    /// What was known up to and including `epoch`, if that was merged; merges nothing.
    #[must_use]
    pub fn known(&self, epoch: i64) -> Option<Arc<Peers>> {
        let board = self.lock();
        let is_merged = board.merged.is_some_and(|merged| epoch <= merged);
        is_merged.then(|| board.version(epoch))
    }

    /// The newest version of what is known.
    #[must_use]
    pub fn newest(&self) -> Arc<Peers> {
        self.lock().versions.back().cloned().unwrap_or_default()
    }
}

impl EpochLog {
    /// A log whose epochs up to `closed` are closed, with what the open ones taught.
    #[must_use]
    pub const fn from_parts(closed: Option<i64>, open: Lessons) -> Self {
        Self { open, closed }
    }

    /// The last epoch that is closed.
    #[must_use]
    pub const fn closed(&self) -> Option<i64> {
        self.closed
    }

    /// What the open epochs taught so far.
    #[must_use]
    pub const fn open(&self) -> &Lessons {
        &self.open
    }
}

/// Adds one set of lessons to another; the order does not matter.
pub fn merge(into: &mut Lessons, from: &Lessons) {
    for (epoch, groups) in from {
        let known = into.entry(*epoch).or_default();
        for (group, summary) in groups {
            known.entry(*group).or_default().merge(summary);
        }
    }
}
