//! What an agent's peers do, shared as immutable snapshots of event-time epochs.
//!
//! A partition knows only its own agents. What they discover is therefore not shared by memory but
//! published: the [`Fact`]s of one hour of event time make that epoch's [`GroupSummary`], and the
//! merge of all summaries up to epoch `k` judges the events of epoch `k + 2` ([`EPOCHS_BEHIND`]).
//! Merging is a union of sets and integer sums: the same in any order, however agents are spread.

mod family;
mod written;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::baseline::ancestry::Ancestry;
use crate::baseline::group_versions::GroupVersions;
use crate::baseline::habits::Habits;
use crate::baseline::kinds::{Kinds, ToolSketch};
use crate::baseline::pulse::{PulseSums, Rhythm};
use crate::baseline::realised::Realised;
use crate::baseline::session::LearnedSession;
use crate::baseline::usage::{GroupUsage, UsageBatch};
use crate::event::HOUR_NS;

use family::FAMILY_HOURS;
pub use family::Family;

/// How many epochs the peers an event is judged against lie behind the event's own.
pub const EPOCHS_BEHIND: i64 = 2;

/// The identity of a peer group: a keyed hash of tenant and group name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupKey(pub u64);

/// One thing learned about a peer group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// A session ended, or a part of a long one.
    Session(Arc<LearnedSession>),
    /// An agent used a tool with arguments of a shape it had not used before.
    Shape {
        /// The tool's hash, server included.
        tool: u64,
        /// The shape's place among 64.
        place: u8,
    },
    /// A sub-agent was at work: told once an hour of each, to the whole tenant.
    SubAgent {
        /// The hash of the agent that started it, or of the user it works for.
        root: u64,
        /// The epoch hour.
        hour: i64,
    },
    /// An agent was started by another: told with it.
    Child {
        /// The agent's hash.
        agent: u64,
        /// The hash of the one that started it.
        parent: u64,
        /// The day, since the Unix epoch.
        day: i32,
    },
    /// An agent did what it and its peers are told apart by.
    Usage(UsageBatch),
    /// An agent whose name says nothing uses these tools; told to the whole tenant.
    Kind {
        /// The agent's id.
        name: Arc<str>,
        /// A sketch of its tools.
        sketch: ToolSketch,
    },
    /// A known agent began an active day.
    JudgedDay {
        /// The day, since the Unix epoch.
        day: i32,
    },
    /// A detector's ratio of budget to chance reached a tier for the first time on such a day.
    Crossing {
        /// The detector's place.
        detector: u8,
        /// The tier's place.
        tier: u8,
        /// The epoch hour.
        hour: i64,
    },
    /// An agent knows how much it usually does in an hour.
    Levelled,
    /// Such an agent is at work: told once an hour of each.
    AtWork {
        /// The smallest one speaks for the group.
        rank: u64,
    },
    /// Such an agent has done so much more of it in this hour.
    Pulse {
        /// Quarters of its level.
        quarters: u8,
        /// Whether that makes it a busy one.
        is_busy: bool,
    },
    /// An agent took a version up.
    Version {
        /// What the version is known by.
        version: u32,
        /// The day, since the Unix epoch.
        day: i32,
    },
}

impl Fact {
    /// The epoch it belongs to, where that is not the one of the call that gave it: a session
    /// belongs to the hour of its end and a silence to that of its alert, whenever that is noticed.
    #[must_use]
    pub fn epoch(&self) -> Option<i64> {
        match self {
            Self::Session(session) => Some(session.end.as_nanos().div_euclid(HOUR_NS)),
            Self::Crossing { hour, .. } => Some(*hour),
            _ => None,
        }
    }
}

/// Sessions of one group told of one epoch. Of more, those with the smallest hashes stay.
pub const SESSIONS_PER_EPOCH: usize = 512;

/// Tools remembered of one group. Of more, those with the smallest hashes stay, so that any order
/// of merges keeps the same ones.
pub const TOOLS_PER_GROUP: usize = 4_096;

/// Agents with sub-agents remembered of one tenant; again, the smallest hashes stay.
pub const FAMILIES_PER_TENANT: usize = 1_024;

/// Agents named for one tool: enough to tell none, one and several apart after leaving one out.
const AGENTS_PER_TOOL: usize = 3;

/// Who uses one tool. Bounded, and merged without counting anyone twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolUse {
    /// The smallest agent hashes among those who ever used the tool, ascending.
    users: Vec<u64>,
    /// The latest adopters that had a history before, latest first: epoch hour and agent hash.
    adopters: Vec<(i64, u64)>,
    /// The shapes of arguments that anybody used, one bit for each 64th of them.
    shapes: u64,
}

impl ToolUse {
    /// How many agents other than `agent` used the tool: 0, 1, or 2 for two and more.
    #[must_use]
    pub fn others(&self, agent: u64) -> usize {
        self.users.iter().filter(|user| **user != agent).count().min(2)
    }

    /// How many agents other than `agent` took the tool up, after a history without it, in or
    /// after the epoch hour `since`: 0, 1, or 2 for two and more.
    #[must_use]
    pub fn adopters_since(&self, agent: u64, since: i64) -> usize {
        let others = self.adopters.iter().filter(|(hour, user)| *user != agent && *hour >= since);
        others.count().min(2)
    }

    /// The smallest agent hashes among those who ever used the tool, at most three, ascending.
    #[must_use]
    pub fn users(&self) -> &[u64] {
        &self.users
    }

    /// The latest adopters, at most three, latest first: epoch hour and agent hash.
    #[must_use]
    pub fn adopters(&self) -> &[(i64, u64)] {
        &self.adopters
    }

    /// What [`ToolUse::users`] and [`ToolUse::adopters`] gave, put together again.
    #[must_use]
    pub fn from_parts(users: &[u64], adopters: &[(i64, u64)]) -> Self {
        let mut tool_use = Self::default();
        users.iter().for_each(|user| tool_use.add_user(*user));
        adopters.iter().for_each(|adopter| tool_use.add_adopter(*adopter));
        tool_use
    }

    /// Whether anybody used arguments of the shape at `place`.
    #[must_use]
    pub const fn knows_shape(&self, place: u8) -> bool {
        self.shapes & shape_bit(place) != 0
    }

    fn add_user(&mut self, agent: u64) {
        if let Err(place) = self.users.binary_search(&agent) {
            self.users.insert(place, agent);
            self.users.truncate(AGENTS_PER_TOOL);
        }
    }

    fn add_adopter(&mut self, (hour, agent): (i64, u64)) {
        match self.adopters.iter_mut().find(|(_, known)| *known == agent) {
            Some(known) => known.0 = known.0.max(hour),
            None => self.adopters.push((hour, agent)),
        }
        self.adopters.sort_unstable_by(|a, b| b.cmp(a));
        self.adopters.truncate(AGENTS_PER_TOOL);
    }

    fn merge(&mut self, other: &Self) {
        other.users.iter().for_each(|user| self.add_user(*user));
        other.adopters.iter().for_each(|adopter| self.add_adopter(*adopter));
        self.shapes |= other.shapes;
    }
}

const fn shape_bit(place: u8) -> u64 {
    1 << (place & 63)
}

/// What the agents of one group have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSummary {
    /// Agents seen.
    pub agents: u64,
    /// Active days of all agents together.
    pub active_days: u64,
    /// Bursts of discoveries of all agents together.
    pub discoveries: u64,
    /// Whether more tools were seen than are remembered.
    pub is_full: bool,
    tools: BTreeMap<u64, ToolUse>,
    /// Sessions that ended in the epoch, by their hash.
    sessions: BTreeMap<u64, Arc<LearnedSession>>,
    families: BTreeMap<u64, Family>,
    ancestry: Ancestry,
    usage: GroupUsage,
    realised: Realised,
    versions: GroupVersions,
    /// Only the summary of a tenant knows kinds.
    kinds: Kinds,
    /// Agents whose level is known.
    levelled: u64,
    /// What its agents did in the epoch.
    pulse: PulseSums,
}

impl GroupSummary {
    /// Adds one fact.
    pub fn add(&mut self, fact: Fact) {
        match fact {
            Fact::Agent => self.agents += 1,
            Fact::ActiveDay => self.active_days += 1,
            Fact::Discovery => self.discoveries += 1,
            Fact::Usage(batch) => self.usage.add(&batch),
            Fact::Child { agent, parent, day } => self.ancestry.add(day, agent, parent),
            Fact::Kind { name, sketch } => self.kinds.add(name, sketch),
            Fact::JudgedDay { day } => self.realised.add_day(day),
            Fact::Crossing { detector, tier, hour } => {
                let day = i32::try_from(hour.div_euclid(24)).unwrap_or(i32::MAX);
                self.realised.add_crossing(detector, tier, day);
            }
            Fact::Levelled => self.levelled += 1,
            Fact::AtWork { rank } => self.pulse.add_agent(rank),
            Fact::Pulse { quarters, is_busy } => self.pulse.add(quarters, is_busy),
            Fact::Version { version, day } => self.versions.add((day, version), 1),
            Fact::Tool { tool, agent, hour, began } => {
                let tool_use = self.tools.entry(tool).or_default();
                tool_use.add_user(agent);
                if began {
                    tool_use.add_adopter((hour, agent));
                }
                self.shrink();
            }
            Fact::Session(session) => self.add_session(session),
            Fact::Shape { tool, place } => {
                self.tools.entry(tool).or_default().shapes |= shape_bit(place);
                self.shrink();
            }
            Fact::SubAgent { root, hour } => {
                self.families.entry(root).or_default().add((hour, 1));
                self.shrink();
            }
        }
    }

    /// Adds everything `other` knows; the order of merges does not matter.
    pub fn merge(&mut self, other: &Self) {
        self.agents = self.agents.saturating_add(other.agents);
        self.active_days = self.active_days.saturating_add(other.active_days);
        self.discoveries = self.discoveries.saturating_add(other.discoveries);
        self.is_full |= other.is_full;
        self.levelled = self.levelled.saturating_add(other.levelled);
        self.pulse.merge(&other.pulse);
        self.usage.merge(&other.usage);
        self.realised.merge(&other.realised);
        self.versions.merge(&other.versions);
        self.kinds.merge(&other.kinds);
        self.ancestry.merge(&other.ancestry);
        for session in other.sessions.values() {
            self.add_session(Arc::clone(session));
        }
        self.merge_tools(other);
    }

    /// The sessions of the epoch, by their hash.
    pub fn sessions(&self) -> impl Iterator<Item = &LearnedSession> {
        self.sessions.values().map(AsRef::as_ref)
    }

    fn add_session(&mut self, session: Arc<LearnedSession>) {
        self.sessions.entry(session.id).or_insert(session);
        if self.sessions.len() > SESSIONS_PER_EPOCH {
            self.sessions.pop_last();
        }
    }

    fn merge_tools(&mut self, other: &Self) {
        for (tool, tool_use) in &other.tools {
            self.merge_tool(*tool, tool_use);
        }
        for (root, family) in &other.families {
            let known = self.families.entry(*root).or_default();
            family.hours().iter().for_each(|hour| known.add(*hour));
        }
        self.shrink();
    }

    /// Adds what is known of one tool.
    pub fn merge_tool(&mut self, tool: u64, tool_use: &ToolUse) {
        self.tools.entry(tool).or_default().merge(tool_use);
        self.shrink();
    }

    /// Who uses a tool.
    #[must_use]
    pub fn tool(&self, tool: u64) -> Option<&ToolUse> {
        self.tools.get(&tool)
    }

    /// What the agents of the group do, and how often.
    #[must_use]
    pub const fn usage(&self) -> &GroupUsage {
        &self.usage
    }

    /// Which versions its agents took up.
    #[must_use]
    pub const fn versions(&self) -> &GroupVersions {
        &self.versions
    }

    /// What kinds of agents there are; only the summary of a tenant knows.
    #[must_use]
    pub const fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// How often its detectors came near to an alert, and how often they may have.
    #[must_use]
    pub const fn realised(&self) -> &Realised {
        &self.realised
    }

    /// Every tool remembered, by its hash.
    pub fn tools(&self) -> impl Iterator<Item = (u64, &ToolUse)> {
        self.tools.iter().map(|(tool, tool_use)| (*tool, tool_use))
    }

    /// The sub-agents of one agent, by its hash. Only the summary of a tenant knows families.
    #[must_use]
    pub fn family(&self, root: u64) -> Option<&Family> {
        self.families.get(&root)
    }

    /// The families of all that are above another family: with those of everybody below.
    fn rolled_up(&self) -> BTreeMap<u64, Family> {
        let mut rolled: BTreeMap<u64, Family> = BTreeMap::new();
        if self.families.is_empty() {
            return rolled;
        }
        let parents = self.ancestry.parents();
        for (root, family) in &self.families {
            for ancestor in parents.above(*root) {
                let own = || self.families.get(&ancestor).cloned().unwrap_or_default();
                let whole = rolled.entry(ancestor).or_insert_with(own);
                family.hours().iter().for_each(|hour| whole.add(*hour));
            }
        }
        rolled
    }

    fn shrink(&mut self) {
        while self.families.len() > FAMILIES_PER_TENANT {
            self.families.pop_last();
        }
        while self.tools.len() > TOOLS_PER_GROUP {
            self.tools.pop_last();
            self.is_full = true;
        }
    }
}

/// What is known of one group, to be written and read as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Counts and tools; its sessions are in the habits.
    summary: GroupSummary,
    habits: Arc<Habits>,
    rhythm: Rhythm,
    /// What [`GroupSummary::rolled_up`] gives.
    rolled: BTreeMap<u64, Family>,
}

/// Everything known of all groups up to and including one epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peers {
    /// The last epoch merged, in hours since the Unix epoch.
    pub epoch: i64,
    groups: BTreeMap<GroupKey, Arc<Group>>,
}

impl Peers {
    /// What is known of every group, in the order of their keys.
    pub fn summaries(&self) -> impl Iterator<Item = &GroupSummary> {
        self.groups.values().map(|group| &group.summary)
    }

    /// What is known of one group.
    #[must_use]
    pub fn group(&self, key: GroupKey) -> Option<&GroupSummary> {
        self.groups.get(&key).map(|group| &group.summary)
    }

    /// The sub-agents of one agent of a tenant, those of its sub-agents included.
    #[must_use]
    pub fn family(&self, tenant: GroupKey, root: u64) -> Option<&Family> {
        let group = self.groups.get(&tenant)?;
        group.rolled.get(&root).or_else(|| group.summary.family(root))
    }

    /// What the sessions of one group look like; `None` before any was learned.
    #[must_use]
    pub fn habits(&self, key: GroupKey) -> Option<&Habits> {
        self.group_with_habits(key).1
    }

    /// [`Self::group`] and [`Self::habits`] with one look-up.
    #[must_use]
    pub fn group_with_habits(&self, key: GroupKey) -> (Option<&GroupSummary>, Option<&Habits>) {
        let Some(group) = self.groups.get(&key) else { return (None, None) };
        let habits = Some(group.habits.as_ref()).filter(|habits| habits.sessions() > 0);
        (Some(&group.summary), habits)
    }

    /// What the hours of one group usually have.
    #[must_use]
    pub fn rhythm(&self, key: GroupKey) -> Option<&Rhythm> {
        self.groups.get(&key).map(|group| &group.rhythm)
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
            Arc::make_mut(groups.entry(key).or_default()).learn(epoch, summary);
        }
        Self { epoch, groups }
    }
}

impl Group {
    fn learn(&mut self, epoch: i64, summary: &GroupSummary) {
        self.summary.merge(summary);
        self.summary.sessions.clear();
        self.summary.pulse = PulseSums::default();
        self.rhythm.learn(epoch, &summary.pulse, self.summary.levelled);
        self.rolled = self.summary.rolled_up();
        if !summary.sessions.is_empty() {
            Arc::make_mut(&mut self.habits).learn(summary.sessions());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::session::LiveSession;
    use crate::baseline::usage::{Usage, UsageKind};
    use crate::event::{Target, Timestamp};
    use proptest::prelude::*;

    fn fact() -> impl Strategy<Value = Fact> {
        prop_oneof![
            Just(Fact::Agent),
            Just(Fact::ActiveDay),
            Just(Fact::Discovery),
            (0_i32..99).prop_map(|day| Fact::JudgedDay { day }),
            (0_u8..4, 0_u8..4, 0_i64..2_000).prop_map(|(detector, tier, hour)| Fact::Crossing {
                detector,
                tier,
                hour
            }),
            any::<[u64; 24]>().prop_map(|hashes| {
                Fact::Usage(hashes.map(|hash| Usage::of(UsageKind::Command, hash)))
            }),
            (0_u64..5, 0_u64..6, 0_i64..50, any::<bool>())
                .prop_map(|(tool, agent, hour, began)| Fact::Tool { tool, agent, hour, began }),
            (0_u64..5, 0_u8..64).prop_map(|(tool, place)| Fact::Shape { tool, place }),
            (0_u64..3, 0_i64..20).prop_map(|(root, hour)| Fact::SubAgent { root, hour }),
            (0_u64..4, 0_u64..4, 0_i32..3).prop_map(|(agent, parent, day)| Fact::Child {
                agent,
                parent,
                day
            }),
            Just(Fact::Levelled),
            (0_u64..9).prop_map(|rank| Fact::AtWork { rank }),
            (0_u8..13, any::<bool>())
                .prop_map(|(quarters, is_busy)| Fact::Pulse { quarters, is_busy }),
            (0_u32..3, 0_i32..5).prop_map(|(version, day)| Fact::Version { version, day }),
            (0_u64..3).prop_map(|n| Fact::Kind {
                name: n.to_string().into(),
                sketch: ToolSketch::of(&[n, n + 1, n + 2]).unwrap(),
            }),
            (0_u64..60, 0_u64..4).prop_map(|(n, agent)| session(n, agent)),
        ]
    }

    fn session(n: u64, agent: u64) -> Fact {
        let time = Timestamp::from_secs(i64::try_from(n).unwrap() * 600);
        let mut live = LiveSession::new(n, time);
        let target = Target { value: n % 7 + 1, is_whole: true, ..Target::default() };
        live.add(time, n % 3, &[target], &[]);
        Fact::Session(Arc::new(live.learned(agent, live.deadline())))
    }

    fn summary(facts: &[Fact]) -> GroupSummary {
        let mut summary = GroupSummary::default();
        facts.iter().for_each(|fact| summary.add(fact.clone()));
        summary
    }

    fn merged<'a>(parts: impl IntoIterator<Item = &'a GroupSummary>) -> GroupSummary {
        let mut whole = GroupSummary::default();
        parts.into_iter().for_each(|part| whole.merge(part));
        whole
    }

    #[test]
    fn an_agent_is_not_its_own_peer() {
        let tool = |agent| Fact::Tool { tool: 1, agent, hour: 5, began: true };
        let known = summary(&[tool(7), tool(8), tool(7)]);
        let tool_use = known.tool(1).unwrap();
        assert_eq!((tool_use.others(7), tool_use.others(9)), (1, 2));
        assert_eq!((tool_use.adopters_since(7, 5), tool_use.adopters_since(7, 6)), (1, 0));
    }

    #[test]
    fn a_group_remembers_a_bounded_number_of_tools_in_any_order() {
        let tools: Vec<Fact> =
            (0..6_000).map(|tool| Fact::Tool { tool, agent: 1, hour: 0, began: false }).collect();
        let backwards: Vec<Fact> = tools.iter().rev().cloned().collect();
        let whole = summary(&tools);
        assert!(whole.is_full);
        assert_eq!(whole.tools().count(), TOOLS_PER_GROUP);
        assert_eq!(whole, summary(&backwards));
    }

    #[test]
    fn a_tenant_remembers_a_bounded_number_of_families() {
        let facts: Vec<Fact> = (0..2_000).map(|root| Fact::SubAgent { root, hour: 1 }).collect();
        let whole = summary(&facts);
        assert!(whole.family(0).is_some() && whole.family(1_023).is_some());
        assert!(whole.family(1_024).is_none());
    }

    #[test]
    fn a_family_is_counted_by_the_hour() {
        let at = |hour| Fact::SubAgent { root: 7, hour };
        let known = summary(&[at(3), at(4), at(3)]);
        assert_eq!(known.family(7).unwrap().hours(), [(4, 1), (3, 2)]);
        let days = summary(&(0..40).map(at).collect::<Vec<_>>());
        assert_eq!(days.family(7).unwrap().hours().len(), FAMILY_HOURS);
    }

    #[test]
    fn an_epoch_tells_a_bounded_number_of_sessions_in_any_order() {
        let sessions: Vec<Fact> = (0..2_000).map(|n| session(n, 1)).collect();
        let backwards: Vec<Fact> = sessions.iter().rev().cloned().collect();
        let whole = summary(&sessions);
        assert_eq!(whole.sessions().count(), SESSIONS_PER_EPOCH);
        assert_eq!(whole, summary(&backwards));
        let peers = Peers::default().with_epoch(3, [(GroupKey(1), &whole)]);
        assert_eq!(peers.habits(GroupKey(1)).unwrap().sessions(), 512);
        assert_eq!(peers.group(GroupKey(1)).unwrap().sessions().count(), 0);
    }

    #[test]
    fn a_tool_use_survives_being_taken_apart() {
        let known = summary(&[Fact::Tool { tool: 1, agent: 7, hour: 5, began: true }]);
        let tool_use = known.tool(1).unwrap();
        assert_eq!(&ToolUse::from_parts(tool_use.users(), tool_use.adopters()), tool_use);
    }

    proptest! {
        #[test]
        fn merging_does_not_depend_on_order_or_grouping(
            a in prop::collection::vec(fact(), 0..40),
            b in prop::collection::vec(fact(), 0..40),
            c in prop::collection::vec(fact(), 0..40),
        ) {
            let (x, y, z) = (summary(&a), summary(&b), summary(&c));
            let whole = summary(&[a, b, c].concat());
            prop_assert_eq!(&merged([&x, &y, &z]), &whole);
            prop_assert_eq!(&merged([&z, &x, &y]), &whole);
            prop_assert_eq!(&merged([&x, &merged([&z, &y])]), &whole);
            let known = |summary: GroupSummary| Peers::default().with_epoch(1, [(GroupKey(1), &summary)]);
            prop_assert_eq!(known(merged([&z, &x, &y])), known(whole));
        }
    }
}
