//! Peer knowledge taken apart to be written, and put together again when it was read.

use std::sync::Arc;

use crate::baseline::peers::{EPOCH, GROUP, Group, GroupKey, GroupSummary, Peers, Room};

impl Peers {
    /// The groups that are known otherwise than in `before`, an earlier version of the same.
    pub fn changed_since<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (GroupKey, &'a Group)> {
        let is_same = |key: &GroupKey, group: &Arc<Group>| {
            before.groups.get(key).is_some_and(|known| Arc::ptr_eq(known, group))
        };
        self.groups
            .iter()
            .filter(move |(key, group)| !is_same(key, group))
            .map(|(key, group)| (*key, group.as_ref()))
    }

    /// The same knowledge up to `epoch`, with `groups` in place of what was known of them.
    #[must_use]
    pub fn with_groups(
        &self,
        epoch: i64,
        groups: impl IntoIterator<Item = (GroupKey, Group)>,
    ) -> Self {
        let mut all = self.groups.clone();
        all.extend(groups.into_iter().map(|(key, group)| (key, Arc::new(group))));
        Self { epoch, groups: all }
    }

    /// Puts `group` in the place of what was known of it.
    pub fn put(&mut self, key: GroupKey, group: Group) {
        self.groups.insert(key, Arc::new(group));
    }

    /// Groups known.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }
}

impl Group {
    /// Bytes it takes, its own and on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.summary.heap_bytes()
            + self.rolled.heap_bytes()
            + self.rhythm.heap_bytes()
            + size_of_val(&*self.habits)
            + self.habits.heap_bytes()
    }

    /// Which of its tables had more to hold than they may, by name.
    pub(super) fn full(&self) -> impl Iterator<Item = (&'static str, bool)> {
        let sessions = [("sessions", self.are_sessions_full)];
        self.summary.full().into_iter().chain(self.habits.full()).chain(sessions)
    }

    /// Whether it holds no more than a group may.
    #[must_use]
    pub fn is_within_bounds(&self) -> bool {
        self.summary.is_within(&GROUP)
            && self.rolled.len() <= GROUP.families
            && self.habits.is_within_bounds()
            && self.rhythm.is_within_bounds()
    }
}

impl GroupSummary {
    /// Whether it holds no more than what one epoch may teach.
    #[must_use]
    pub fn is_within_bounds(&self) -> bool {
        self.is_within(&EPOCH)
    }

    fn is_within(&self, room: &Room) -> bool {
        self.tools.len() <= room.tools
            && self.families.len() <= room.families
            && self.ancestry.len() <= room.children
            && self.versions.len() <= room.versions
            && self.kinds.len() <= room.kinds
            && self.sessions.is_within_bounds()
            && self.usage.is_within_bounds()
            && self.realised.is_within_bounds()
    }
}
