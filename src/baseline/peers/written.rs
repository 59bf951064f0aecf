//! Peer knowledge taken apart to be written, and put together again when it was read.

use std::sync::Arc;

use crate::baseline::peers::{
    AGENTS_PER_TOOL, FAMILIES_PER_TENANT, FAMILY_HOURS, Group, GroupKey, GroupSummary, Peers,
    SESSIONS_PER_EPOCH, TOOLS_PER_GROUP,
};

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
    /// Whether it holds no more than a group may.
    #[must_use]
    pub fn is_within_bounds(&self) -> bool {
        self.summary.is_within_bounds()
            && self.habits.is_within_bounds()
            && self.rhythm.is_within_bounds()
    }
}

impl GroupSummary {
    /// Whether it holds no more than a summary may.
    #[must_use]
    pub fn is_within_bounds(&self) -> bool {
        let has_few_agents = self
            .tools
            .values()
            .all(|tool_use| tool_use.users.len().max(tool_use.adopters.len()) <= AGENTS_PER_TOOL);
        has_few_agents
            && self.tools.len() <= TOOLS_PER_GROUP
            && self.families.len() <= FAMILIES_PER_TENANT
            && self.ancestry.is_bounded()
            && self.versions.is_bounded()
            && self.kinds.is_bounded()
            && self.families.values().all(|family| family.hours().len() <= FAMILY_HOURS)
            && self.sessions.len() <= SESSIONS_PER_EPOCH
            && self.sessions.values().all(|session| session.is_within_bounds())
            && self.usage.is_within_bounds()
            && self.realised.is_within_bounds()
    }
}
