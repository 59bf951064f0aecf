//! What an agent's peers do, shared as immutable snapshots of event-time epochs.
//!
//! A partition knows only its own agents. What they discover is therefore not shared by memory but
//! published: the [`Fact`]s of one hour of event time make that epoch's [`GroupSummary`], and the
//! merge of all summaries up to epoch `k` judges the events of epoch `k + 2` ([`EPOCHS_BEHIND`]).
//! Merging is a union of sets and integer sums: the same in any order, however agents are spread.

mod families;
mod lessons;
mod tools;
mod written;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::baseline::ancestry::{Ancestry, PARENTS_PER_TENANT};
use crate::baseline::group_versions::{GroupVersions, VERSIONS_PER_GROUP};
use crate::baseline::habits::Habits;
use crate::baseline::kinds::{KINDS_PER_TENANT, Kinds, ToolSketch};
use crate::baseline::pulse::{PulseSums, Rhythm};
use crate::baseline::realised::Realised;
use crate::baseline::session::LearnedSession;
use crate::baseline::usage::{GroupUsage, UsageBatch};
use crate::event::HOUR_NS;

pub use families::Family;
pub use lessons::SESSION_BYTES_PER_EPOCH;
pub use tools::ToolUse;

use families::Families;
use lessons::Lessons;
use tools::Tools;

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

/// What is remembered of one group, and what of one epoch that is not merged yet. Together 128 KiB:
/// what is known, and two epochs.
#[derive(Clone, Copy, Debug)]
struct Room {
    tools: usize,
    /// Agents with sub-agents, an hour of each.
    families: usize,
    /// Agents whose parent is remembered, a day of each.
    children: usize,
    versions: usize,
    kinds: usize,
}

/// What one epoch may teach. Of more, what has the smallest hashes, or the latest hours and days,
/// stays, so that any order of facts and merges keeps the same.
const EPOCH: Room =
    Room { tools: TOOLS_PER_EPOCH, families: 384, children: 384, versions: 32, kinds: 24 };

/// What is known of a group after all epochs.
const GROUP: Room = Room {
    tools: TOOLS_PER_GROUP,
    families: FAMILIES_PER_TENANT,
    children: PARENTS_PER_TENANT,
    versions: VERSIONS_PER_GROUP,
    kinds: KINDS_PER_TENANT,
};

/// Tools that one epoch may teach.
pub const TOOLS_PER_EPOCH: usize = 96;

/// Tools remembered of one group.
pub const TOOLS_PER_GROUP: usize = 256;

/// Hours of agents with sub-agents remembered of one tenant, all agents together.
pub const FAMILIES_PER_TENANT: usize = 1_280;

/// What the agents of one group have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSummary {
    /// Agents seen.
    pub agents: u64,
    /// Active days of all agents together.
    pub active_days: u64,
    /// Bursts of discoveries of all agents together.
    pub discoveries: u64,
    tools: Tools,
    /// Sessions that ended in the epoch.
    sessions: Lessons,
    /// Only the summary of a tenant knows families.
    families: Families,
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
    /// Adds one fact. Returns whether anything is known otherwise now. A fact that changes nothing
    /// would not change what is known later either, for what says it already stays or makes room
    /// for what says more; those that are counted always change something.
    pub fn add(&mut self, fact: Fact) -> bool {
        match fact {
            Fact::Agent => self.agents += 1,
            Fact::ActiveDay => self.active_days += 1,
            Fact::Discovery => self.discoveries += 1,
            Fact::Usage(batch) => self.usage.add(&batch),
            Fact::Child { agent, parent, day } => {
                self.ancestry.add(day, (agent, parent), EPOCH.children);
            }
            Fact::Kind { name, sketch } => self.kinds.add(name, sketch, EPOCH.kinds),
            Fact::JudgedDay { day } => self.realised.add_day(day),
            Fact::Crossing { detector, tier, hour } => {
                let day = i32::try_from(hour.div_euclid(24)).unwrap_or(i32::MAX);
                self.realised.add_crossing(detector, tier, day);
            }
            Fact::Levelled => self.levelled += 1,
            Fact::AtWork { rank } => self.pulse.add_agent(rank),
            Fact::Pulse { quarters, is_busy } => self.pulse.add(quarters, is_busy),
            Fact::Version { version, day } => self.versions.add((day, version), 1, EPOCH.versions),
            Fact::Tool { tool, agent, hour, began } => {
                return self.tools.change(tool, EPOCH.tools, |it| it.add(agent, hour, began));
            }
            Fact::Session(session) => return self.sessions.add(session),
            Fact::Shape { tool, place } => {
                return self.tools.change(tool, EPOCH.tools, |it| it.add_shape(place));
            }
            Fact::SubAgent { root, hour } => {
                let hour = i32::try_from(hour).unwrap_or(i32::MAX);
                self.families.add(root, hour, 1, EPOCH.families);
            }
        }
        true
    }

    /// Adds everything `other` taught in the same epoch; the order of merges does not matter.
    pub fn merge(&mut self, other: &Self) {
        self.merge_within(other, &EPOCH);
    }

    fn merge_within(&mut self, other: &Self, room: &Room) {
        self.agents = self.agents.saturating_add(other.agents);
        self.active_days = self.active_days.saturating_add(other.active_days);
        self.discoveries = self.discoveries.saturating_add(other.discoveries);
        self.levelled = self.levelled.saturating_add(other.levelled);
        self.pulse.merge(&other.pulse);
        self.usage.merge(&other.usage);
        self.realised.merge(&other.realised);
        self.versions.merge(&other.versions, room.versions);
        self.kinds.merge(&other.kinds, room.kinds);
        self.ancestry.merge(&other.ancestry, room.children);
        self.families.merge(&other.families, room.families);
        self.sessions.merge(&other.sessions);
        self.tools.merge(&other.tools, room.tools);
    }

    /// The sessions of the epoch, by their hash.
    pub fn sessions(&self) -> impl Iterator<Item = &LearnedSession> {
        self.sessions.iter()
    }

    /// Bytes it takes, its own and on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.heap_bytes()
    }

    fn heap_bytes(&self) -> usize {
        self.tools.heap_bytes()
            + self.sessions.heap_bytes()
            + self.families.heap_bytes()
            + self.ancestry.heap_bytes()
            + self.usage.heap_bytes()
            + self.realised.heap_bytes()
            + self.versions.heap_bytes()
            + self.kinds.heap_bytes()
    }

    /// Which of its tables had more to hold than they may, by name.
    #[must_use]
    pub const fn full(&self) -> [(&'static str, bool); 6] {
        [
            ("tools", self.tools.is_full()),
            ("sessions", self.sessions.is_full()),
            ("families", self.families.is_full()),
            ("parents", self.ancestry.is_full()),
            ("versions", self.versions.is_full()),
            ("kinds", self.kinds.is_full()),
        ]
    }

    /// Who uses a tool.
    #[must_use]
    pub fn tool(&self, tool: u64) -> Option<&ToolUse> {
        self.tools.get(tool)
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
        self.tools.iter()
    }
}

/// What is known of one group, to be written and read as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Counts and tools; its sessions are in the habits.
    summary: GroupSummary,
    habits: Arc<Habits>,
    rhythm: Rhythm,
    /// Families with those of everybody below them, where anybody is.
    rolled: Families,
    /// An epoch told of more sessions than there was room for.
    are_sessions_full: bool,
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

    /// How many groups have more to hold in a table than they may, by the table's name.
    #[must_use]
    pub fn full(&self) -> BTreeMap<&'static str, usize> {
        let mut full = BTreeMap::new();
        for group in self.groups.values() {
            for (table, is_full) in group.full() {
                *full.entry(table).or_default() += usize::from(is_full);
            }
        }
        full
    }

    /// Bytes that what is known of one group takes.
    #[must_use]
    pub fn group_bytes(&self, key: GroupKey) -> usize {
        self.groups.get(&key).map_or(0, |group| group.memory_bytes())
    }

    /// What is known of one group.
    #[must_use]
    pub fn group(&self, key: GroupKey) -> Option<&GroupSummary> {
        self.groups.get(&key).map(|group| &group.summary)
    }

    /// The sub-agents of one agent of a tenant, those of its sub-agents included.
    #[must_use]
    pub fn family(&self, tenant: GroupKey, root: u64) -> Option<Family> {
        let group = self.groups.get(&tenant)?;
        group.rolled.of(root).or_else(|| group.summary.families.of(root))
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
        // All that the epoch taught, before the least supported makes room.
        let room = Room { tools: GROUP.tools + EPOCH.tools, ..GROUP };
        self.summary.merge_within(summary, &room);
        self.summary.tools.keep_supported(GROUP.tools);
        self.are_sessions_full |= self.summary.sessions.is_full();
        self.summary.sessions.clear();
        self.summary.pulse = PulseSums::default();
        self.rhythm.learn(epoch, &summary.pulse, self.summary.levelled);
        self.rolled = self.summary.families.rolled_up(&self.summary.ancestry, GROUP.families);
        if summary.sessions.iter().next().is_some() {
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
        for fact in facts {
            summary.add(fact.clone());
        }
        summary
    }

    fn merged<'a>(parts: impl IntoIterator<Item = &'a GroupSummary>) -> GroupSummary {
        let mut whole = GroupSummary::default();
        parts.into_iter().for_each(|part| whole.merge(part));
        whole
    }

    #[test]
    fn an_epoch_teaches_a_bounded_number_of_tools_in_any_order() {
        let tools: Vec<Fact> =
            (0..6_000).map(|tool| Fact::Tool { tool, agent: 1, hour: 0, began: false }).collect();
        let backwards: Vec<Fact> = tools.iter().rev().cloned().collect();
        let whole = summary(&tools);
        assert_eq!(whole.full()[0], ("tools", true));
        assert_eq!(whole.tools().count(), TOOLS_PER_EPOCH);
        assert_eq!(whole, summary(&backwards));
    }

    #[test]
    fn a_group_keeps_the_tools_that_several_agents_use() {
        let key = GroupKey(1);
        let mut peers = Peers::default();
        let tool = |tool, agent, hour| Fact::Tool { tool, agent, hour, began: false };
        let shared: Vec<Fact> =
            (0..60).flat_map(|n| [tool(u64::MAX - n, 1, 0), tool(u64::MAX - n, 2, 0)]).collect();
        peers = peers.with_epoch(0, [(key, &summary(&shared))]);
        for hour in 1..20_u64 {
            let names = (0..100).map(|n| tool(hour * 1_000 + n, 7, i64::try_from(hour).unwrap()));
            let flood: Vec<Fact> = names.collect();
            peers = peers.with_epoch(i64::try_from(hour).unwrap(), [(key, &summary(&flood))]);
        }
        let group = peers.group(key).unwrap();
        assert_eq!(group.tools().count(), TOOLS_PER_GROUP);
        assert!((0..60).all(|n| group.tool(u64::MAX - n).is_some_and(|it| it.others(9) == 2)));
        assert!(group.tool(19_000).is_some() && group.tool(1_000).is_none());
        assert_eq!(peers.full()["tools"], 1);
    }

    #[test]
    fn a_tenant_remembers_the_latest_hours_of_families() {
        let key = GroupKey(1);
        let mut peers = Peers::default();
        for hour in 0..9_i64 {
            let facts: Vec<Fact> = (0..300).map(|root| Fact::SubAgent { root, hour }).collect();
            peers = peers.with_epoch(hour, [(key, &summary(&facts))]);
        }
        let hours = peers.family(key, 299).unwrap().hours().to_vec();
        assert_eq!(hours[..3], [(8, 1), (7, 1), (6, 1)]);
        assert!(hours.len() == 5 && peers.full()["families"] == 1);
    }

    #[test]
    fn an_epoch_tells_sessions_within_bytes_in_any_order() {
        let sessions: Vec<Fact> = (0..2_000).map(|n| session(n, 1)).collect();
        let backwards: Vec<Fact> = sessions.iter().rev().cloned().collect();
        let whole = summary(&sessions);
        let count = whole.sessions().count();
        assert!((20..60).contains(&count), "{count}");
        assert_eq!(whole, summary(&backwards));
        let peers = Peers::default().with_epoch(3, [(GroupKey(1), &whole)]);
        assert_eq!(usize::try_from(peers.habits(GroupKey(1)).unwrap().sessions()).unwrap(), count);
        assert_eq!(peers.group(GroupKey(1)).unwrap().sessions().count(), 0);
        assert_eq!(peers.full()["sessions"], 1);
    }

    /// What is kept of facts, or makes room, by what it says: enough of it that there is no room.
    fn kept_fact() -> impl Strategy<Value = Fact> {
        prop_oneof![
            (0_u64..120, 0_u64..9, 0_i64..9, any::<bool>())
                .prop_map(|(tool, agent, hour, began)| Fact::Tool { tool, agent, hour, began }),
            (0_u64..120, 0_u8..4).prop_map(|(tool, place)| Fact::Shape { tool, place }),
            (0_u64..60, 0_u64..4).prop_map(|(n, agent)| session(n, agent)),
            (0_u64..4).prop_map(|rank| Fact::AtWork { rank }),
        ]
    }

    proptest! {
        #[test]
        fn what_changed_nothing_may_be_left_out_wherever_the_rest_comes_from(
            told in prop::collection::vec((kept_fact(), 0_usize..3), 0..600),
        ) {
            let mut whole = GroupSummary::default();
            let mut parts: [GroupSummary; 3] = Default::default();
            let mut left_out = 0;
            for (fact, part) in told.iter().rev() {
                if whole.add(fact.clone()) {
                    parts[*part].add(fact.clone());
                } else {
                    left_out += 1;
                }
            }
            prop_assert!(told.len() < 400 || left_out > 0, "none of {}", told.len());
            prop_assert_eq!(&merged(&parts), &whole);
            let all: Vec<Fact> = told.into_iter().map(|(fact, _)| fact).collect();
            prop_assert_eq!(&summary(&all), &whole);
        }

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
