//! What a partition's judge writes down so that another one can go on in its place, as records of a
//! compacted topic: pure bytes and rules, no Kafka.
//!
//! A *flush* writes, for one partition: the agents that changed, what open epochs taught, and at the
//! end a marker. Each agent's record says up to which call it reflects the partition, so records of
//! a flush that was cut off are of use: its calls are passed over when they are read again (the
//! page LSN of ARIES, Mohan et al. 1992). What an agent taught its peers since the marker before
//! stands in its record too, because the marker that would hold it may never have been written.
//!
//! Of several records of one agent the one that reflects most counts, not the last: a process that
//! was frozen and lost the partition may still write.

mod keys;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::baseline::peers::{Fact, GroupKey, GroupSummary};
use crate::detect::AgentState;
use crate::state::AgentKey;
use crate::state::admission::{Gate, Passage, Passages};
use crate::state::codec::{Envelope, Kind, StateError, check_agent, open, seal};
use crate::state::foreign::Foreign;
use crate::state::reached::{Judged, Place, Reached};

use keys::Named;
pub use keys::{Touched, agent_key, lesson_key, marker_key, read_stamp};

/// Markers are written under so many keys in turn, so that the one before outlives a bad one.
pub const MARKERS: u64 = 4;

/// What a partition's agents taught in epochs that are not over.
pub type Taught = BTreeMap<i64, BTreeMap<GroupKey, GroupSummary>>;

/// When a record was written, in the order of its partition's history.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Stamp {
    /// How often the source's log was replaced by another one under the same name.
    pub log: u32,
    /// The offset after the last record that is reflected.
    pub cut: i64,
    /// How many calls below the cut were held and are not reflected. Of two that came as far, the
    /// one that held fewer reflects more, whoever wrote it.
    pub held: Reverse<u64>,
    /// The number of the flush.
    pub flush: u64,
    /// Who wrote it: when it took over, in milliseconds of wall time, and above every owner before.
    pub owner: u64,
}

/// One thing an agent taught its peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lesson {
    /// The call that it was learned from.
    pub place: Place,
    /// The epoch it belongs to.
    pub epoch: i64,
    /// Who may learn it.
    pub group: GroupKey,
    /// What.
    pub fact: Fact,
}

/// An agent's record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Up to where the state reflects the partition.
    pub stamp: Stamp,
    /// The agent's calls below that which it does not reflect, in their order.
    pub held: Vec<Place>,
    /// What the agent taught since the marker before.
    pub lessons: Vec<Lesson>,
    /// When it came and went since then.
    pub passages: Passages,
    /// The state.
    pub state: AgentState,
}

/// The record of an agent that was forgotten.
///
/// It stands there before the agent's key is deleted, because a key that is gone says nothing of the
/// calls that are read again: they would make a new agent out of half of its history. It is deleted
/// when no marker from before it is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dead {
    /// Up to where the partition was read.
    pub stamp: Stamp,
    /// The agent's calls below that which were not judged, in their order.
    pub held: Vec<Place>,
    /// What the agent taught since the marker before.
    pub lessons: Vec<Lesson>,
    /// When it came and went since then.
    pub passages: Passages,
    /// The tenant.
    pub tenant_id: Box<str>,
    /// The agent.
    pub agent_id: Box<str>,
}

/// The record that ends a flush.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The flush.
    pub stamp: Stamp,
    /// How far the judge had come.
    pub reached: Reached,
    /// The partition's agents.
    pub agents: u64,
    /// Partitions of the source topic.
    pub partitions: i32,
    /// The last record taken in: its offset and a digest of its bytes, by which the log is known
    /// again.
    pub last: Option<(i64, u64)>,
    /// What is remembered of agents that were not let in.
    pub gate: Gate,
}

/// What one open epoch taught about one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LessonRecord {
    /// The flush that wrote it.
    pub stamp: Stamp,
    /// The epoch.
    pub epoch: i64,
    /// The group.
    pub group: GroupKey,
    /// Everything taught so far.
    pub summary: GroupSummary,
}

/// An agent's record as bytes.
///
/// # Errors
///
/// [`StateError::TooLarge`] for a state beyond every bound.
pub fn snapshot_to_bytes(
    stamp: Stamp,
    held: &[Place],
    (lessons, passages): (&[Lesson], &Passages),
    state: &AgentState,
) -> Result<Vec<u8>, StateError> {
    seal(Kind::Snapshot, &(stamp, held, lessons, passages, state))
}

/// The record of an agent that was forgotten, as bytes.
///
/// # Errors
///
/// [`StateError::TooLarge`] for more lessons than anybody gives.
pub fn dead_to_bytes(dead: &Dead) -> Result<Vec<u8>, StateError> {
    seal(Kind::Dead, dead)
}

/// A marker as bytes.
///
/// # Errors
///
/// [`StateError::TooLarge`] when more calls are held than any configuration allows.
pub fn marker_to_bytes(marker: &Marker) -> Result<Vec<u8>, StateError> {
    seal(Kind::Marker, marker)
}

/// What an epoch taught about a group, as bytes.
///
/// # Errors
///
/// [`StateError::TooLarge`] for a summary beyond every bound.
pub fn lesson_to_bytes(
    stamp: Stamp,
    (epoch, group): (i64, GroupKey),
    summary: &GroupSummary,
) -> Result<Vec<u8>, StateError> {
    seal(Kind::Lesson, &(stamp, epoch, group, summary))
}

/// An agent as it is taken up again.
#[derive(Clone, Debug, PartialEq)]
pub struct RestoredAgent {
    /// Its state.
    pub state: AgentState,
    /// What its state reflects beyond the marker: these calls are passed over.
    pub ahead: Option<Judged>,
    /// What it taught beyond the marker. It must stand in its next record too, in case the next
    /// marker is never written either.
    pub lessons: Vec<Lesson>,
    /// When it came and went beyond the marker.
    pub passages: Passages,
}

/// An agent that was forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct RestoredDead {
    /// The tenant.
    pub tenant_id: Box<str>,
    /// The agent.
    pub agent_id: Box<str>,
    /// The flush that wrote it.
    pub flush: u64,
    /// Its calls that are passed over, when it was forgotten beyond the marker.
    pub ahead: Option<Judged>,
    /// What it taught beyond the marker.
    pub lessons: Vec<Lesson>,
    /// When it came and went beyond the marker.
    pub passages: Passages,
}

/// Everything a partition's judge needs to go on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// The newest marker; `None` when nothing was ever flushed.
    pub marker: Option<Marker>,
    /// The agents, in the order of their keys.
    pub agents: Vec<RestoredAgent>,
    /// Agents that were forgotten and whose records are still there, in the order of their keys.
    pub dead: Vec<RestoredDead>,
    /// What open epochs taught, with what agents taught since the marker.
    pub taught: Taught,
    /// Which of its two keys each lesson was last written under.
    pub turns: BTreeMap<(i64, GroupKey), bool>,
    /// The highest cut of any record: nothing may be flushed before all below is judged, or what
    /// agents taught beyond the marker would count twice.
    pub floor: Option<i64>,
    /// Records that could not be used, with the reason of the first.
    pub refused: u64,
    /// Why the first of them could not.
    pub first_refused: Option<String>,
    /// Agents that the marker counts and that were not found.
    pub missing: u64,
    /// The number of the next flush.
    pub next_flush: u64,
    /// Records that an older one was written over: they would be gone after compaction.
    pub overwritten: Vec<Foreign>,
    /// The highest number of an owner that wrote any of it.
    pub owner: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Records read.
    pub records: u64,
}

/// What an agent's record says.
#[derive(Debug)]
enum Recorded {
    Known(Box<Snapshot>),
    Dead(Box<Dead>),
}

impl Recorded {
    fn read(value: &[u8]) -> Result<Self, StateError> {
        let envelope = Envelope::of(value)?;
        if envelope.kind == Kind::Dead {
            return envelope.take(Kind::Dead).map(Self::Dead);
        }
        envelope.take(Kind::Snapshot).map(Self::Known)
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Known(_) => Kind::Snapshot,
            Self::Dead(_) => Kind::Dead,
        }
    }

    fn stamp(&self) -> Stamp {
        match self {
            Self::Known(snapshot) => snapshot.stamp,
            Self::Dead(dead) => dead.stamp,
        }
    }

    fn names(&self) -> (&str, &str) {
        match self {
            Self::Known(it) => (&it.state.tenant_id, &it.state.agent_id),
            Self::Dead(it) => (&it.tenant_id, &it.agent_id),
        }
    }
}

/// Reads one partition's records back.
#[derive(Debug)]
pub struct Restoring {
    topic: Arc<str>,
    tools_max: usize,
    agents: BTreeMap<AgentKey, Recorded>,
    markers: BTreeMap<Stamp, Marker>,
    lessons: BTreeMap<(i64, GroupKey), BTreeMap<bool, (Stamp, GroupSummary)>>,
    /// What an older record was written over, with that record's stamp.
    overwritten: BTreeMap<Touched, Stamp>,
    outcome: Restored,
}

impl Restoring {
    /// For a partition of `topic`, whose records stand in the partition of the same number.
    /// `tools_max` is how many tools an agent may remember.
    #[must_use]
    pub fn new(topic: Arc<str>, tools_max: usize) -> Self {
        Self {
            topic,
            tools_max,
            agents: BTreeMap::new(),
            markers: BTreeMap::new(),
            lessons: BTreeMap::new(),
            overwritten: BTreeMap::new(),
            outcome: Restored::default(),
        }
    }

    /// Takes one record of the state topic; those of other sources are passed over. A record that
    /// is damaged, or of another version, is counted and explained, and never used.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.outcome.records += 1;
        self.outcome.bytes += u64::try_from(value.map_or(0, <[u8]>::len)).unwrap_or(0);
        let Some(named) = Named::of(key) else {
            self.refuse(format!("a record has the unknown key {:?}", String::from_utf8_lossy(key)));
            return;
        };
        if named.topic != &*self.topic {
            return;
        }
        let taken = match named.what {
            Touched::Agent(agent) => self.take_agent(agent, value),
            Touched::Marker => self.take_marker(value),
            Touched::Lesson { epoch, group, second } => {
                self.take_lesson((epoch, group), second, value)
            }
        };
        if let Err(error) = taken {
            self.refuse(format!("{}: {error}", String::from_utf8_lossy(key)));
        }
    }

    /// What the records say together.
    #[must_use]
    pub fn finish(mut self) -> Restored {
        let marker = self.markers.pop_last().map(|(_, marker)| marker);
        let nothing = Marker::default();
        let known = marker.as_ref().unwrap_or(&nothing);
        let mut out = self.outcome;
        let mut flush = known.stamp.flush;
        for ((epoch, group), turns) in self.lessons {
            // What was written after the marker belongs to a flush that never ended.
            let at_marker = turns.into_iter().filter(|(_, (stamp, _))| *stamp <= known.stamp);
            let newest = at_marker.max_by_key(|(_, (stamp, _))| *stamp);
            let Some((second, (_, summary))) = newest else { continue };
            out.turns.insert((epoch, group), second);
            if known.reached.closed.is_none_or(|closed| epoch > closed) {
                out.taught.entry(epoch).or_default().insert(group, summary);
            }
        }
        let mut found = 0_u64;
        for recorded in self.agents.into_values() {
            flush = flush.max(recorded.stamp().flush);
            found += out.take_up(known, recorded);
        }
        out.missing = known.agents.saturating_sub(found);
        out.next_flush = if marker.is_some() || flush > 0 { flush + 1 } else { 0 };
        let older = self.overwritten.into_iter();
        out.overwritten = older
            .map(|(touched, stamp)| Foreign { offset: -1, touched, stamp: Some(stamp) })
            .collect();
        out.marker = marker;
        out
    }

    fn take_agent(&mut self, agent: AgentKey, value: Option<&[u8]>) -> Result<(), StateError> {
        let Some(value) = value else {
            self.agents.remove(&agent);
            return Ok(());
        };
        let mut recorded = Recorded::read(value)?;
        if let Recorded::Known(snapshot) = recorded {
            let state = check_agent(snapshot.state, self.tools_max)?;
            recorded = Recorded::Known(Box::new(Snapshot { state, ..*snapshot }));
        }
        let (tenant_id, agent_id) = recorded.names();
        if AgentKey::from_ids(tenant_id, agent_id) != agent {
            let words = "it stands under another agent's key".to_owned();
            return Err(StateError::Unfit { kind: recorded.kind(), words });
        }
        let (known, stamp) = (self.agents.get(&agent).map(Recorded::stamp), recorded.stamp());
        let is_newer = known.is_none_or(|known| known <= stamp);
        self.note_order(Touched::Agent(agent), stamp, is_newer);
        if is_newer {
            self.agents.insert(agent, recorded);
        }
        Ok(())
    }

    fn take_marker(&mut self, value: Option<&[u8]>) -> Result<(), StateError> {
        let Some(value) = value else { return Ok(()) };
        let marker: Marker = open(Kind::Marker, value)?;
        if !marker.gate.is_sound() {
            let words = "it holds more than one may".to_owned();
            return Err(StateError::Unfit { kind: Kind::Marker, words });
        }
        self.outcome.owner = self.outcome.owner.max(marker.stamp.owner);
        self.markers.insert(marker.stamp, marker);
        while self.markers.len() > usize::try_from(MARKERS).unwrap_or(1) {
            self.markers.pop_first();
        }
        Ok(())
    }

    fn take_lesson(
        &mut self,
        place: (i64, GroupKey),
        second: bool,
        value: Option<&[u8]>,
    ) -> Result<(), StateError> {
        let Some(value) = value else {
            if let Some(turns) = self.lessons.get_mut(&place) {
                turns.remove(&second);
            }
            return Ok(());
        };
        let record: LessonRecord = open(Kind::Lesson, value)?;
        if !record.summary.is_within_bounds() {
            let words = "it holds more than one may".to_owned();
            return Err(StateError::Unfit { kind: Kind::Lesson, words });
        }
        let turns = self.lessons.entry(place).or_default();
        let is_newer = turns.get(&second).is_none_or(|(stamp, _)| *stamp <= record.stamp);
        let stamp = record.stamp;
        if is_newer {
            turns.insert(second, (stamp, record.summary));
        }
        let (epoch, group) = place;
        self.note_order(Touched::Lesson { epoch, group, second }, stamp, is_newer);
        Ok(())
    }

    /// Notes who wrote a record, and whether it is older than the one of its key before it.
    fn note_order(&mut self, touched: Touched, stamp: Stamp, is_newer: bool) {
        self.outcome.owner = self.outcome.owner.max(stamp.owner);
        if !is_newer {
            self.overwritten.insert(touched, stamp);
        } else if !self.overwritten.is_empty() {
            self.overwritten.remove(&touched);
        }
    }

    fn refuse(&mut self, words: String) {
        self.outcome.refused += 1;
        self.outcome.first_refused.get_or_insert(words);
    }
}

impl Restored {
    /// Takes up one agent's record beside the newest marker. Returns how many agents of the marker
    /// it is.
    fn take_up(&mut self, known: &Marker, recorded: Recorded) -> u64 {
        let (stamp, held, mut lessons, mut passages, of) = match recorded {
            Recorded::Known(it) => {
                let Snapshot { stamp, held, lessons, passages, state } = *it;
                (stamp, held, lessons, passages, Ok(state))
            }
            Recorded::Dead(it) => {
                let Dead { stamp, held, lessons, passages, tenant_id, agent_id } = *it;
                (stamp, held, lessons, passages, Err((tenant_id, agent_id)))
            }
        };
        let is_ahead = stamp > known.stamp;
        // What the marker reflects stands in its own lessons.
        lessons.retain(|lesson| is_ahead && !known.reached.covers(lesson.place));
        passages.retain(|(place, _)| is_ahead && !known.reached.covers(*place));
        if is_ahead {
            self.floor = self.floor.max(Some(stamp.cut));
        }
        for lesson in &lessons {
            let open = known.reached.closed.map_or(i64::MIN, |closed| closed.saturating_add(1));
            let groups = self.taught.entry(lesson.epoch.max(open)).or_default();
            groups.entry(lesson.group).or_default().add(lesson.fact.clone());
        }
        let ahead = is_ahead.then(|| Judged::new(stamp.cut, held));
        let was_there = passages.first().map(|(_, passage)| *passage == Passage::Ended);
        match of {
            Ok(state) => {
                self.agents.push(RestoredAgent { state, ahead, lessons, passages });
                u64::from(was_there.unwrap_or(true))
            }
            Err((tenant_id, agent_id)) => {
                let flush = stamp.flush;
                self.dead.push(RestoredDead {
                    tenant_id,
                    agent_id,
                    flush,
                    ahead,
                    lessons,
                    passages,
                });
                u64::from(was_there.unwrap_or(false))
            }
        }
    }
}
