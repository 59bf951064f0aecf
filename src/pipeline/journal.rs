//! What has changed in a partition since it was last written down, and the flush that writes it.
//!
//! Cheap where nothing is written: a judge without a journal keeps none of this.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::sync::Arc;
use std::vec::IntoIter;

use crate::baseline::peers::{Fact, GroupKey};
use crate::state::admission::{Gate, Passage, Passages, note_passage};
use crate::state::changelog::{
    Dead, Lesson, MARKERS, Marker, Restored, Stamp, Taught, agent_key, dead_to_bytes, lesson_key,
    lesson_to_bytes, marker_key, marker_to_bytes, snapshot_in,
};
use crate::state::codec::StateError;
use crate::state::marks::Marks;
use crate::state::reached::{Judged, Place, Reached};
use crate::state::{AgentKey, Agents};

/// About what the lessons of one agent take until its partition is flushed early, in bytes: an agent's
/// record holds its own, and must stay below what a broker takes.
pub const LESSONS_SOFT: usize = 192 << 10;

/// The same, at which nothing more is judged before the flush under way has ended.
pub const LESSONS_HARD: usize = 384 << 10;

/// The lessons of all agents of a partition count as this part of them: 12 MiB are the soft bound.
const LESSONS_OF_ALL: usize = 64;

/// What agents taught since the last flush.
#[derive(Debug, Default)]
struct Lessons {
    /// In the order in which they were taught. A list for each agent would be somewhere else in
    /// memory for each call.
    told: Vec<(AgentKey, Lesson)>,
    /// About what those of each agent take, in bytes.
    of_each: BTreeMap<AgentKey, usize>,
    /// The most that those of one agent take.
    of_one: usize,
    /// What all of them take.
    of_all: usize,
}

impl Lessons {
    fn push(&mut self, agent: AgentKey, lessons: impl Iterator<Item = Lesson>) {
        let own = self.of_each.entry(agent).or_default();
        let before = *own;
        self.told.extend(lessons.map(|lesson| {
            *own += weight(&lesson.fact);
            (agent, lesson)
        }));
        self.of_all += *own - before;
        self.of_one = self.of_one.max(*own);
    }

    /// The lessons of one agent after the other, by their keys.
    fn by_agent(mut self) -> ByAgent {
        // Stable: those of one agent stay in their order.
        self.told.sort_by_key(|(agent, _)| *agent);
        ByAgent { told: self.told.into_iter().peekable(), own: Vec::new() }
    }
}

/// Gives the lessons of agents, asked for in the order of their keys.
struct ByAgent {
    told: Peekable<IntoIter<(AgentKey, Lesson)>>,
    own: Vec<Lesson>,
}

impl ByAgent {
    /// Those of `agent`, until the next is asked for.
    fn of(&mut self, agent: AgentKey) -> &[Lesson] {
        self.own.clear();
        while let Some((whose, lesson)) = self.told.next_if(|(whose, _)| *whose <= agent) {
            if whose == agent {
                self.own.push(lesson);
            }
        }
        &self.own
    }
}

/// One record to write: its key, and its value or nothing to delete what stands there.
pub type StateRecord = (Vec<u8>, Option<Vec<u8>>);

/// Calls that were taken in and not judged, by their agents, each list in order.
pub type Held = BTreeMap<AgentKey, Vec<Place>>;

/// One flush: what it writes, and what may be committed when all of it is acknowledged.
#[derive(Debug)]
pub struct Flush {
    /// Agents and lessons, to be acknowledged before the marker is sent.
    pub records: Vec<StateRecord>,
    /// The end of the flush.
    pub marker: StateRecord,
    /// The offset below which every alert must be acknowledged before any of it is sent.
    pub cut: i64,
    /// Where reading would go on after it.
    pub commit: i64,
    /// Agents whose state could not be written, with the reason of the first.
    pub unwritten: u64,
    /// Why the first of them could not.
    pub first_unwritten: Option<StateError>,
}

/// What is the same for every flush of a partition.
#[derive(Clone, Debug)]
pub struct Lineage {
    /// The source topic.
    pub topic: Arc<str>,
    /// How often the source's log was replaced.
    pub log: u32,
    /// The wall time at which the partition was taken over, in milliseconds, and more than the number
    /// of every owner before.
    pub owner: u64,
    /// Partitions of the source topic.
    pub partitions: i32,
}

/// The journal of one partition.
#[derive(Debug)]
pub struct Journal {
    lineage: Lineage,
    next_flush: u64,
    /// Calls of the log that were judged, by every owner there was.
    judged: u64,
    changed: Vec<AgentKey>,
    lessons: Lessons,
    /// When agents came and went since the last flush.
    passages: BTreeMap<AgentKey, Passages>,
    /// The names of agents that were forgotten since the last flush.
    gone: BTreeMap<AgentKey, (Box<str>, Box<str>)>,
    /// Agents whose record says that they were forgotten, and the flush that wrote it.
    dead: BTreeMap<AgentKey, u64>,
    /// Groups that were taught something since the last flush.
    touched: BTreeSet<GroupKey>,
    /// Which of its two keys each lesson was last written under.
    turns: BTreeMap<(i64, GroupKey), bool>,
    /// The last epoch that the last flush knew to be closed: its lessons can be deleted now.
    closed_before: Option<i64>,
    /// Agents whose state is ahead of the partition, until it has caught up.
    ahead: BTreeMap<AgentKey, Judged>,
    /// Nothing is flushed before everything below this offset is judged.
    floor: Option<i64>,
    /// The last record taken in.
    last: Option<(i64, u64)>,
    /// How far the partition had come at the last flush.
    flushed: Option<Reached>,
    /// So many of the next flushes write their marker even when nothing has changed.
    renewals: u64,
    /// Groups whose lessons are written under both of their keys meanwhile.
    renewed: BTreeSet<GroupKey>,
}

impl Journal {
    /// The journal of a partition that goes on from `restored`; its agents are taken from it by
    /// whoever calls.
    #[must_use]
    pub fn new(lineage: Lineage, restored: &Restored) -> Self {
        let same_log = restored.marker.as_ref().is_none_or(|it| it.stamp.log == lineage.log);
        let reached = restored.marker.as_ref().map(|marker| &marker.reached);
        let mut ahead = BTreeMap::new();
        let mut lessons = Lessons::default();
        let mut passages: BTreeMap<AgentKey, Passages> = BTreeMap::new();
        let known = restored.agents.iter().map(|it| {
            let names = (&it.state.tenant_id, &it.state.agent_id);
            (names, &it.ahead, &it.lessons, &it.passages)
        });
        let dead = restored
            .dead
            .iter()
            .map(|it| ((&it.tenant_id, &it.agent_id), &it.ahead, &it.lessons, &it.passages));
        for ((tenant_id, agent_id), judged, taught, came) in known.chain(dead).filter(|_| same_log)
        {
            let key = AgentKey::from_ids(tenant_id, agent_id);
            if let Some(judged) = judged {
                ahead.insert(key, judged.clone());
            }
            if !taught.is_empty() {
                lessons.push(key, taught.iter().cloned());
            }
            if !came.is_empty() {
                passages.insert(key, came.clone());
            }
        }
        let dead = restored.dead.iter();
        let dead =
            dead.map(|it| (AgentKey::from_ids(&it.tenant_id, &it.agent_id), it.flush)).collect();
        let touched: BTreeSet<GroupKey> =
            lessons.told.iter().map(|(_, lesson)| lesson.group).collect();
        Self {
            next_flush: restored.next_flush,
            judged: restored.marker.as_ref().filter(|_| same_log).map_or(0, |it| it.stamp.judged),
            changed: Vec::new(),
            lessons,
            passages,
            gone: BTreeMap::new(),
            dead,
            touched,
            turns: restored.turns.clone(),
            closed_before: reached.and_then(|reached| reached.closed),
            ahead,
            floor: restored.floor.filter(|_| same_log),
            last: restored.marker.as_ref().and_then(|marker| marker.last).filter(|_| same_log),
            flushed: None,
            renewals: 0,
            renewed: BTreeSet::new(),
            lineage,
        }
    }

    /// Whether the state of an agent reflects the call at `place` already.
    #[must_use]
    pub fn is_ahead(&self, agent: AgentKey, place: Place) -> bool {
        !self.ahead.is_empty() && self.ahead.get(&agent).is_some_and(|judged| judged.covers(place))
    }

    /// A call was judged, or passed over because its agent reflects it already.
    pub const fn judged(&mut self) {
        self.judged += 1;
    }

    /// An agent has changed for the first time since it was last written.
    pub fn changed(&mut self, agent: AgentKey) {
        self.changed.push(agent);
    }

    /// An agent has come in with the call at `place`.
    pub fn came(&mut self, agent: AgentKey, place: Place, passage: Passage) {
        note_passage(self.passages.entry(agent).or_default(), place, passage);
        self.gone.remove(&agent);
        self.dead.remove(&agent);
    }

    /// An agent was forgotten with the call at `place`.
    pub fn went(&mut self, agent: AgentKey, place: Place, names: (Box<str>, Box<str>)) {
        note_passage(self.passages.entry(agent).or_default(), place, Passage::Ended);
        self.gone.insert(agent, names);
        self.changed.push(agent);
    }

    /// An agent has taught a group something.
    pub fn taught(
        &mut self,
        agent: AgentKey,
        group: GroupKey,
        lessons: impl Iterator<Item = Lesson>,
    ) {
        self.touched.insert(group);
        self.lessons.push(agent, lessons);
    }

    /// What open epochs taught about `group` is written at the next flush, whatever happens.
    pub fn teach_anew(&mut self, group: GroupKey) {
        self.touched.insert(group);
    }

    /// The next flush writes its marker even when nothing has changed.
    pub fn mark_anew(&mut self) {
        self.flushed = None;
    }

    /// So many flushes follow that no marker from before them is left, no record of an agent that was
    /// forgotten, and no lesson of a group that is written anew.
    pub fn renew(&mut self) {
        self.renewals = MARKERS + 2;
        self.renewed.clone_from(&self.touched);
    }

    /// The record at `offset`, whose bytes have this digest, was taken in.
    pub const fn took(&mut self, offset: i64, digest: u64) {
        self.last = Some((offset, digest));
    }

    /// About how many bytes the lessons take that are not written yet: those of the agent that taught
    /// most, or a part of all of them if that is more.
    #[must_use]
    pub fn lessons_bytes(&self) -> usize {
        self.lessons.of_one.max(self.lessons.of_all / LESSONS_OF_ALL)
    }

    /// Agents that have changed since the last flush.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.changed.len()
    }

    /// Whether a partition of which every call below `judged` has been judged may be flushed. It is
    /// not enough that they were taken in: a call that is held now, and was judged before the stop,
    /// would stand in the flush as one that its agent does not reflect, and be judged twice.
    #[must_use]
    pub fn may_flush(&self, judged: i64) -> bool {
        self.floor.is_none_or(|floor| judged >= floor)
    }

    /// Everything that changed, to be written. `held` are the calls that were taken in and not
    /// judged, `open` what open epochs taught, `count` the agents there are, `gate` what is
    /// remembered of others and `marks` how far sources were seen.
    ///
    /// # Errors
    ///
    /// When the marker itself is larger than a record may be.
    pub fn flush(
        &mut self,
        agents: &Agents,
        reached: Reached,
        (held, open): (&Held, &Taught),
        (count, gate, marks): (usize, &Gate, &Marks),
    ) -> Result<Option<Flush>, StateError> {
        let Some(cut) = reached.next_offset else { return Ok(None) };
        // An idle partition writes nothing.
        let is_renewed = self.renewals == 0;
        if self.changed.is_empty() && self.flushed.as_ref() == Some(&reached) && is_renewed {
            return Ok(None);
        }
        self.renewals = self.renewals.saturating_sub(1);
        if self.renewals >= MARKERS {
            self.touched.extend(&self.renewed);
        }
        self.flushed = Some(reached.clone());
        if self.floor.take_if(|floor| cut >= *floor).is_some() {
            self.ahead.clear();
        }
        let flush = self.next_flush;
        let Lineage { log, owner, .. } = self.lineage;
        let stamp = Stamp { log, judged: self.judged, cut, flush, owner };
        let marker = Marker {
            stamp,
            agents: u64::try_from(count).unwrap_or(u64::MAX),
            partitions: self.lineage.partitions,
            last: self.last,
            reached,
            gate: gate.clone(),
            marks: marks.clone(),
        };
        let topic = Arc::clone(&self.lineage.topic);
        let sealed = marker_to_bytes(&marker)?;
        let mut out = Flush {
            records: Vec::with_capacity(self.changed.len()),
            marker: (marker_key(&topic, flush), Some(sealed)),
            cut,
            commit: marker.reached.read_from().unwrap_or(cut),
            unwritten: 0,
            first_unwritten: None,
        };
        self.write_agents(agents, stamp, held, &mut out);
        self.write_lessons(stamp, open, marker.reached.closed, &mut out);
        self.next_flush += 1;
        Ok(Some(out))
    }

    fn write_agents(&mut self, agents: &Agents, stamp: Stamp, held: &Held, out: &mut Flush) {
        let mut lessons = std::mem::take(&mut self.lessons).by_agent();
        let mut passages = std::mem::take(&mut self.passages);
        let mut gone = std::mem::take(&mut self.gone);
        let mut changed = std::mem::take(&mut self.changed);
        let mut room = Vec::new();
        changed.sort_unstable();
        // Who went and came back has changed twice.
        changed.dedup();
        for key in changed {
            let taught = lessons.of(key);
            let passages = passages.remove(&key).unwrap_or_default();
            let own = held.get(&key).map_or(&[][..], Vec::as_slice);
            let sealed = if let Some((tenant_id, agent_id)) = gone.remove(&key) {
                self.dead.insert(key, stamp.flush);
                let (held, lessons) = (own.to_vec(), taught.to_vec());
                Some(dead_to_bytes(&Dead { stamp, held, lessons, passages, tenant_id, agent_id }))
            } else {
                agents.write_down(key, |state| {
                    snapshot_in(&mut room, (stamp, own), (taught, &passages), state)
                })
            };
            match sealed {
                Some(Ok(bytes)) => {
                    out.records.push((agent_key(&self.lineage.topic, key), Some(bytes)));
                }
                Some(Err(error)) => {
                    out.unwritten += 1;
                    out.first_unwritten.get_or_insert(error);
                }
                None => {}
            }
        }
        self.delete_dead(stamp.flush, out);
    }

    /// Deletes what stands of agents that were forgotten, once no marker from before that is left:
    /// whoever goes on from one of those must know that their calls are passed over.
    fn delete_dead(&mut self, flush: u64, out: &mut Flush) {
        let is_over = |_: &AgentKey, written: &mut u64| written.saturating_add(MARKERS) < flush;
        for (key, _) in self.dead.extract_if(.., is_over) {
            out.records.push((agent_key(&self.lineage.topic, key), None));
        }
    }

    fn write_lessons(&mut self, stamp: Stamp, open: &Taught, closed: Option<i64>, out: &mut Flush) {
        let topic = Arc::clone(&self.lineage.topic);
        let touched = std::mem::take(&mut self.touched);
        for (epoch, groups) in open {
            for (group, summary) in groups.iter().filter(|(group, _)| touched.contains(group)) {
                let place = (*epoch, *group);
                match lesson_to_bytes(stamp, place, summary) {
                    Ok(bytes) => {
                        let turn = self.turns.entry(place).or_insert(true);
                        *turn = !*turn;
                        out.records.push((lesson_key(&topic, place, *turn), Some(bytes)));
                    }
                    Err(error) => {
                        out.unwritten += 1;
                        out.first_unwritten.get_or_insert(error);
                    }
                }
            }
        }
        // What was handed out before its hour was over is nobody's to take up again.
        let is_gone = |(epoch, group): &&(i64, GroupKey)| {
            closed.is_none_or(|closed| *epoch > closed)
                && open.get(epoch).is_none_or(|groups| !groups.contains_key(group))
        };
        let gone: Vec<(i64, GroupKey)> = self.turns.keys().filter(is_gone).copied().collect();
        for place in gone {
            self.turns.remove(&place);
            out.records.push((lesson_key(&topic, place, false), None));
            out.records.push((lesson_key(&topic, place, true), None));
        }
        // The marker before knew these to be over, so nobody reads them any more.
        if let Some(over) = self.closed_before {
            let still_open = self.turns.split_off(&(over.saturating_add(1), GroupKey(0)));
            for (place, _) in std::mem::replace(&mut self.turns, still_open) {
                out.records.push((lesson_key(&topic, place, false), None));
                out.records.push((lesson_key(&topic, place, true), None));
            }
        }
        self.closed_before = closed;
    }
}

/// About how many bytes a lesson takes when it is written, or in memory if that is more.
fn weight(fact: &Fact) -> usize {
    size_of::<(AgentKey, Lesson)>()
        + match fact {
            Fact::Session(session) => {
                32 * session.values.len() + 5 * session.tokens.len() + 10 * session.suspects.len()
            }
            Fact::Kind { name, .. } => name.len(),
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::session::LiveSession;
    use crate::baseline::usage::{Usage, UsageKind};
    use crate::event::{Target, Timestamp};
    use proptest::prelude::*;

    fn lesson(fact: Fact) -> Lesson {
        Lesson { place: Place::default(), epoch: i64::MAX, group: GroupKey(u64::MAX), fact }
    }

    fn session(values: u64) -> Fact {
        let time = Timestamp::from_secs(1_790_000_000);
        let mut live = LiveSession::new(u64::MAX, time);
        for value in 0..values {
            let target = Target { value: u64::MAX - value, is_whole: true, ..Target::default() };
            live.add(time, u64::MAX - value, &[target], &[]);
        }
        Fact::Session(Arc::new(live.learned(u64::MAX, live.deadline())))
    }

    fn fact() -> impl Strategy<Value = Fact> {
        prop_oneof![
            Just(Fact::Agent),
            any::<[u64; 24]>().prop_map(|hashes| {
                Fact::Usage(hashes.map(|hash| Usage::of(UsageKind::Command, hash)))
            }),
            (any::<u64>(), any::<u64>(), any::<i64>(), any::<bool>())
                .prop_map(|(tool, agent, hour, began)| Fact::Tool { tool, agent, hour, began }),
            (any::<u64>(), any::<i64>()).prop_map(|(root, hour)| Fact::SubAgent { root, hour }),
            (0_u64..40).prop_map(session),
        ]
    }

    proptest! {
        #[test]
        fn a_lesson_takes_no_more_than_it_is_thought_to(fact in fact()) {
            let written = postcard::to_allocvec(&lesson(fact.clone())).unwrap().len();
            prop_assert!(written <= weight(&fact), "{written} bytes of {fact:?}");
        }

        #[test]
        fn each_agent_gets_its_own_lessons_in_their_order(
            told in prop::collection::vec((0_u128..6, 0_i64..1_000), 0..60),
            asked in prop::collection::btree_set(0_u128..6, 0..6),
        ) {
            let mut lessons = Lessons::default();
            for (agent, hour) in &told {
                let fact = Fact::SubAgent { root: 1, hour: *hour };
                lessons.push(AgentKey::from_number(*agent), std::iter::once(lesson(fact)));
            }
            let of = |agent: u128| {
                let own = told.iter().filter(move |(whose, _)| *whose == agent);
                own.map(|(_, hour)| lesson(Fact::SubAgent { root: 1, hour: *hour }))
                    .collect::<Vec<_>>()
            };
            let weight = weight(&Fact::Agent);
            prop_assert_eq!(lessons.of_all, told.len() * weight);
            prop_assert_eq!(lessons.of_one, (0..6).map(|it| of(it).len()).max().unwrap() * weight);
            let mut lessons = lessons.by_agent();
            for agent in asked {
                prop_assert_eq!(lessons.of(AgentKey::from_number(agent)), of(agent));
            }
        }
    }
}
