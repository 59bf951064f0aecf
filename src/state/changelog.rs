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
mod lessons;
mod restoring;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::baseline::peers::{Fact, GroupKey, GroupSummary};
use crate::detect::AgentState;
use crate::state::admission::{Gate, Passages};
use crate::state::codec::{Kind, StateError, seal, seal_in};
use crate::state::foreign::Foreign;
use crate::state::marks::Marks;
use crate::state::reached::{Judged, Place, Reached};

pub use keys::{Touched, agent_key, lesson_key, marker_key, read_stamp};
pub use restoring::Restoring;

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
    /// How many calls of the log were judged: whoever judged more reflects more, however many it had
    /// taken in and held.
    pub judged: u64,
    /// The offset after the last record taken in.
    pub cut: i64,
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
    /// How far the sources of calls that ingest wrote were seen.
    pub marks: Marks,
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

/// The same for one agent after the other, each written in `room` first.
///
/// # Errors
///
/// [`StateError::TooLarge`] for a state beyond every bound.
pub fn snapshot_in(
    room: &mut Vec<u8>,
    (stamp, held): (Stamp, &[Place]),
    (lessons, passages): (&[Lesson], &Passages),
    state: &AgentState,
) -> Result<Vec<u8>, StateError> {
    seal_in(room, Kind::Snapshot, &(stamp, held, lessons, passages, state))
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
    /// How many calls of the log its partition had judged when it was written.
    pub judged: u64,
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
    /// What is to be written anew because its record should not be the last one under its key: it
    /// could not be used, or is signed with a key that is to go.
    pub stale: Vec<Touched>,
    /// The highest number of an owner that wrote any of it.
    pub owner: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Records read.
    pub records: u64,
}
