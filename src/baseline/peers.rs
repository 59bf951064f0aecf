//! What an agent's peers do, shared as immutable snapshots of event-time epochs.
//!
//! A partition knows only its own agents. What they discover is therefore not shared by memory but
//! published: the [`Fact`]s of one hour of event time make that epoch's [`GroupSummary`], and the
//! merge of all summaries up to epoch `k` judges the events of epoch `k + 2`
//! ([`EPOCHS_BEHIND`]). Merging is a union of sets and integer sums, so it gives the same result
//! in any order and for any number of partitions, workers or instances.

use std::collections::BTreeMap;
use std::sync::Arc;

/// How many epochs the peers an event is judged against lie behind the event's own.
pub const EPOCHS_BEHIND: i64 = 2;

/// The identity of a peer group: a keyed hash of tenant and group name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey(pub u64);

/// One thing learned about a peer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// An agent was seen for the first time.
    Agent,
    /// An agent completed an active day.
    ActiveDay,
    /// An agent made a burst of discoveries that did not alert.
    Discovery,
    /// An agent used a tool for the first time.
    Tool {
        /// The tool's hash, server included.
        tool: u64,
        /// The agent's hash.
        agent: u64,
        /// The epoch hour of the first use.
        hour: i64,
        /// Whether the agent already had a history, so that this is a change and not its beginning.
        began: bool,
    },
}

/// What the agents of one group have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSummary {
    /// Agents seen.
    pub agents: u64,
    /// Active days of all agents together.
    pub active_days: u64,
    /// Bursts of discoveries of all agents together.
    pub discoveries: u64,
}

impl GroupSummary {
    /// Adds one fact.
    pub fn add(&mut self, fact: Fact) {
        match fact {
            Fact::Agent => self.agents += 1,
            Fact::ActiveDay => self.active_days += 1,
            Fact::Discovery => self.discoveries += 1,
            Fact::Tool { .. } => {}
        }
    }

    /// Adds everything `other` knows; the order of merges does not matter.
    pub fn merge(&mut self, other: &Self) {
        self.agents += other.agents;
        self.active_days += other.active_days;
        self.discoveries += other.discoveries;
    }
}

/// Everything known of all groups up to and including one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// The last epoch merged, in hours since the Unix epoch.
    pub epoch: i64,
    groups: BTreeMap<GroupKey, Arc<GroupSummary>>,
}

impl Peers {
    /// What is known of one group.
    #[must_use]
    pub fn group(&self, key: GroupKey) -> Option<&GroupSummary> {
        self.groups.get(&key).map(AsRef::as_ref)
    }

    /// The same knowledge with the summaries of `epoch` merged in.
    #[must_use]
    pub fn with_epoch<'a>(
        &self,
        epoch: i64,
        summaries: impl IntoIterator<Item = (GroupKey, &'a GroupSummary)>,
    ) -> Self {
        let mut groups = self.groups.clone();
        for (key, summary) in summaries {
            Arc::make_mut(groups.entry(key).or_default()).merge(summary);
        }
        Self { epoch, groups }
    }
}
