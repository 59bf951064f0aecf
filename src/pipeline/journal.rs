//! What has changed in a partition since it was last written down, and the flush that writes it.
//!
//! Cheap where nothing is written: a judge without a journal keeps none of this.

mod lessons;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::baseline::peers::GroupKey;
use crate::detect::AgentState;
use crate::pipeline::journal::lessons::Lessons;
use crate::pipeline::journal::writing::Writing;
use crate::state::admission::{Gate, Passage, Passages, note_passage};
use crate::state::changelog::{
    Lesson, MARKERS, Marker, Restored, Stamp, Taught, agent_key, lesson_key, lesson_to_bytes,
    marker_key, marker_to_bytes,
};
use crate::state::codec::StateError;
use crate::state::marks::Marks;
use crate::state::reached::{Judged, Place, Reached};
use crate::state::{AgentKey, Agents, Span, Spans};

/// What the lessons of one agent take until its partition is flushed early, in bytes: an agent's record
/// holds its own, and must stay below what a broker takes.
const LESSONS_OF_ONE: usize = 192 << 10;

/// One record to write: its key, and its value or nothing to delete what stands there.
pub type StateRecord = (Vec<u8>, Option<Vec<u8>>);

/// Calls that were taken in and not judged, by their agents, each list in order.
pub type Held = BTreeMap<AgentKey, Vec<Place>>;

/// One flush: what it writes beside its agents, and what may be committed when all of it is
/// acknowledged.
#[derive(Debug)]
pub struct Flush {
    /// Lessons and deletions, to be acknowledged with the agents before the marker is sent.
    pub records: Vec<StateRecord>,
    /// The end of the flush.
    pub marker: StateRecord,
    /// The offset below which every alert must be acknowledged before any of it is sent.
    pub cut: i64,
    /// Where reading would go on after it.
    pub commit: i64,
}

/// What could not be written down.
#[derive(Debug, Default)]
pub struct Unwritten {
    /// Agents, and lessons of groups.
    pub count: u64,
    /// Why the first of them could not.
    pub first: Option<StateError>,
}

impl Unwritten {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.take().or(other.first);
    }

    /// Gives what was written, and keeps why it was not.
    fn note<T>(&mut self, written: Result<T, StateError>) -> Option<T> {
        written
            .map_err(|error| {
                self.count += 1;
                self.first.get_or_insert(error);
            })
            .ok()
    }
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
    /// In which agents change now.
    span: Span,
    /// The flush whose agents are being written.
    writing: Option<Writing>,
    /// Calls of the log that were judged, by every owner there was.
    judged: u64,
    changed: Vec<AgentKey>,
    lessons: Lessons,
    /// What could not be packed of it, or written.
    unwritten: Unwritten,
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
    /// whoever calls, and change in `span`.
    #[must_use]
    pub fn new(lineage: Lineage, restored: &Restored, span: Span) -> Self {
        let same_log = restored.marker.as_ref().is_none_or(|it| it.stamp.log == lineage.log);
        let reached = restored.marker.as_ref().map(|marker| &marker.reached);
        let mut ahead = BTreeMap::new();
        let mut lessons = Lessons::default();
        let (mut touched, mut unwritten) = (BTreeSet::new(), Unwritten::default());
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
                touched.extend(taught.iter().map(|lesson| lesson.group));
                unwritten.note(lessons.push(key, taught.iter().cloned()));
            }
            if !came.is_empty() {
                passages.insert(key, came.clone());
            }
        }
        let dead = restored.dead.iter();
        let dead =
            dead.map(|it| (AgentKey::from_ids(&it.tenant_id, &it.agent_id), it.flush)).collect();
        Self {
            next_flush: restored.next_flush,
            span,
            writing: None,
            judged: restored.marker.as_ref().filter(|_| same_log).map_or(0, |it| it.stamp.judged),
            changed: Vec::new(),
            lessons,
            unwritten,
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

    /// The spans in which agents change and wait to be written.
    #[must_use]
    pub fn spans(&self) -> Spans {
        let due = self.writing.as_ref().map_or(Span::default(), |writing| writing.spans.due);
        Spans { now: self.span, due }
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

    /// Calls of the log that were judged, by every owner there was.
    #[must_use]
    pub const fn judged_calls(&self) -> u64 {
        self.judged
    }

    /// An agent that waits to be written is about to change, or to be forgotten.
    pub fn write_first(&mut self, agent: AgentKey, state: &AgentState) {
        if let Some(writing) = &mut self.writing {
            writing.write(agent, state);
        }
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
        let packed = self.lessons.push(agent, lessons);
        self.unwritten.note(packed);
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

    /// Whether the lessons that are not written yet take so many times `bytes` in memory, or those of
    /// one agent so many times what they may in its record.
    #[must_use]
    pub fn is_full(&self, bytes: usize, times: usize) -> bool {
        self.lessons.of_one() >= LESSONS_OF_ONE.saturating_mul(times)
            || self.lessons.of_all() >= bytes.saturating_mul(times)
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

    /// Begins to write everything that changed; its agents follow with [`Self::write_on`]. The flush
    /// before must be written. `held` are the calls that were taken in and not
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
        (held, open): (Held, &Taught),
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
            records: Vec::new(),
            marker: (marker_key(&topic, flush), Some(sealed)),
            cut,
            commit: marker.reached.read_from().unwrap_or(cut),
        };
        self.begin_agents(agents, stamp, held);
        self.delete_dead(flush, &mut out);
        self.write_lessons(stamp, open, marker.reached.closed, &mut out);
        self.next_flush += 1;
        Ok(Some(out))
    }

    /// The next records of the flush that was begun: of at most `agents_max` agents, and of those that
    /// have changed again meanwhile. `None` when all are written.
    pub fn write_on(&mut self, agents: &Agents, agents_max: usize) -> Option<Vec<StateRecord>> {
        let records = self.writing.as_mut()?.next(agents, agents_max);
        if records.is_none() {
            let unwritten = self.writing.take().map(|writing| writing.unwritten);
            self.unwritten.add(unwritten.unwrap_or_default());
        }
        records
    }

    /// What could not be written since this was last asked.
    #[must_use]
    pub fn take_unwritten(&mut self) -> Unwritten {
        std::mem::take(&mut self.unwritten)
    }

    fn begin_agents(&mut self, agents: &Agents, stamp: Stamp, held: Held) {
        debug_assert!(self.writing.is_none(), "one flush at a time");
        let now = agents.begin_span();
        let spans = Spans { now, due: std::mem::replace(&mut self.span, now) };
        let gone = std::mem::take(&mut self.gone);
        self.dead.extend(gone.keys().map(|key| (*key, stamp.flush)));
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        // Who went and came back has changed twice.
        changed.dedup();
        self.writing = Some(Writing {
            topic: Arc::clone(&self.lineage.topic),
            stamp,
            spans,
            held,
            lessons: std::mem::take(&mut self.lessons),
            passages: std::mem::take(&mut self.passages),
            gone,
            waiting: changed.into_iter(),
            ready: Vec::new(),
            unwritten: Unwritten::default(),
            room: Vec::new(),
        });
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
                let sealed = lesson_to_bytes(stamp, place, summary);
                let Some(bytes) = self.unwritten.note(sealed) else { continue };
                let turn = self.turns.entry(place).or_insert(true);
                *turn = !*turn;
                out.records.push((lesson_key(&topic, place, *turn), Some(bytes)));
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
