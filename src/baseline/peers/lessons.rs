//! The sessions that ended in one epoch, bounded by bytes.
//!
//! Of more than there is room for, those with the smallest ids stay. Ids are hashes, so that is a
//! sample: what a group learns of an hour with a thousand sessions is learned from some of them. The
//! smallest id that was ever refused is kept, and nothing above it is taken afterwards: so the same
//! sessions stay in whatever order they come.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::baseline::session::LearnedSession;

/// Bytes that the sessions of one epoch may take.
pub const SESSION_BYTES_PER_EPOCH: usize = 7 * 1_024;

/// The sessions of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lessons {
    /// Ascending by their ids.
    sessions: Vec<Arc<LearnedSession>>,
    /// The smallest id there was no room for.
    cut: Option<u64>,
}

impl Lessons {
    /// The sessions, by their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = &LearnedSession> {
        self.sessions.iter().map(AsRef::as_ref)
    }

    /// Adds a session. Returns whether that changed anything.
    pub(super) fn add(&mut self, session: Arc<LearnedSession>) -> bool {
        let place = self.sessions.partition_point(|it| it.id < session.id);
        let is_known = self.sessions.get(place).is_some_and(|it| it.id == session.id);
        if is_known || self.cut.is_some_and(|cut| session.id >= cut) {
            return false;
        }
        self.sessions.reserve_exact(1);
        self.sessions.insert(place, session);
        while self.heap_bytes() > SESSION_BYTES_PER_EPOCH {
            let Some(last) = self.sessions.pop() else { break };
            self.cut = Some(last.id);
        }
        true
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let cut = [self.cut, other.cut].into_iter().flatten().min();
        self.cut = cut;
        self.sessions.retain(|it| cut.is_none_or(|cut| it.id < cut));
        for session in &other.sessions {
            self.add(Arc::clone(session));
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether there were more than there was room for.
    pub(super) const fn is_full(&self) -> bool {
        self.cut.is_some()
    }

    pub(super) fn is_within_bounds(&self) -> bool {
        self.heap_bytes() <= SESSION_BYTES_PER_EPOCH
            && self.sessions.iter().all(|it| it.is_within_bounds())
    }

    /// Bytes on the heap: those of the sessions, whatever the list has room for.
    pub(super) fn heap_bytes(&self) -> usize {
        self.sessions.iter().map(|it| size_of::<Arc<LearnedSession>>() + it.memory_bytes()).sum()
    }
}
