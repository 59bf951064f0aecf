//! Reading a partition's changelog back: which of several records counts, and which none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::baseline::peers::GroupKey;
use crate::state::AgentKey;
use crate::state::admission::Passage;
use crate::state::changelog::keys::Named;
use crate::state::changelog::lessons::Versions;
use crate::state::changelog::{
    Dead, LessonRecord, MARKERS, Marker, Restored, RestoredAgent, RestoredDead, Snapshot, Stamp,
    Touched, agent_key,
};
use crate::state::codec::{Kind, StateError, beginning, check_agent, contents, open, take};
use crate::state::foreign::Foreign;
use crate::state::mac::Checked;
use crate::state::reached::Judged;

/// An agent's record whose checksum holds and which is not taken apart yet: most of those that are
/// read are not the last of their agent.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) stamp: Stamp,
    is_dead: bool,
    content: Box<[u8]>,
}

impl Packed {
    pub(super) fn of(value: &[u8]) -> Result<Self, StateError> {
        let (kind, content) = contents(value)?;
        let is_dead = kind == Kind::Dead;
        if !is_dead && kind != Kind::Snapshot {
            return Err(StateError::Misplaced { found: kind, wanted: Kind::Snapshot });
        }
        Ok(Self { stamp: beginning(kind, content)?, is_dead, content: content.into() })
    }

    /// What it says of `agent`, which may remember `tools_max` tools.
    fn unpack(&self, agent: AgentKey, tools_max: usize) -> Result<Recorded, StateError> {
        let (kind, recorded) = if self.is_dead {
            (Kind::Dead, Recorded::Dead(take(Kind::Dead, Kind::Dead, &self.content)?))
        } else {
            let kind = Kind::Snapshot;
            let snapshot: Snapshot = take(kind, kind, &self.content)?;
            let state = check_agent(snapshot.state, tools_max)?;
            (kind, Recorded::Known(Box::new(Snapshot { state, ..snapshot })))
        };
        let (tenant_id, agent_id) = recorded.names();
        if AgentKey::from_ids(tenant_id, agent_id) != agent {
            let words = "it stands under another agent's key".to_owned();
            return Err(StateError::Unfit { kind, words });
        }
        Ok(recorded)
    }
}

/// What an agent's record says.
#[derive(Debug)]
enum Recorded {
    Known(Box<Snapshot>),
    Dead(Box<Dead>),
}

impl Recorded {
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
    agents: BTreeMap<AgentKey, Packed>,
    markers: BTreeMap<Stamp, Marker>,
    lessons: BTreeMap<(i64, GroupKey), Versions>,
    /// What an older record was written over, with that record's stamp.
    overwritten: BTreeMap<Touched, Stamp>,
    /// What should be written anew, as far as the last record under its key says so.
    stale: BTreeSet<Touched>,
    /// Records that nobody vouches for, after the last good one under their key. Before it they are
    /// of no account: they are what a key that has gone signed once.
    unvouched: BTreeMap<Touched, u64>,
    /// Whether any of them has a code.
    is_forged: bool,
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
            stale: BTreeSet::new(),
            unvouched: BTreeMap::new(),
            is_forged: false,
            outcome: Restored::default(),
        }
    }

    /// Takes one record of the state topic; those of other sources are passed over. A record that
    /// is damaged, or of another version, is counted and explained, and never used.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.take_checked(key, value, Checked::Current);
    }

    /// The same of a record whose code says `checked`: it is never used when that is not good.
    pub fn take_checked(&mut self, key: &[u8], value: Option<&[u8]>, checked: Checked) {
        self.outcome.records += 1;
        self.outcome.bytes += u64::try_from(value.map_or(0, <[u8]>::len)).unwrap_or(0);
        let Some(named) = Named::of(key) else {
            self.refuse(format!("a record has the unknown key {:?}", String::from_utf8_lossy(key)));
            return;
        };
        if named.topic != &*self.topic {
            return;
        }
        if !checked.is_good() {
            *self.unvouched.entry(named.what).or_default() += 1;
            self.stale.insert(named.what);
            self.is_forged |= checked == Checked::Wrong;
            return;
        }
        if !self.unvouched.is_empty() {
            self.unvouched.remove(&named.what);
        }
        let taken = match named.what {
            Touched::Agent(agent) => self.take_agent(agent, value),
            Touched::Marker => self.take_marker(value),
            Touched::Lesson { epoch, group, second } => {
                self.take_lesson((epoch, group), second, value)
            }
        };
        match &taken {
            // It stays as long as it can: the version that wrote it may come back.
            Err(StateError::Newer { .. }) => {}
            // Compaction will leave no other record under this key.
            Err(_) => drop(self.stale.insert(named.what)),
            Ok(()) if checked == Checked::Stale => drop(self.stale.insert(named.what)),
            Ok(()) => drop(self.stale.remove(&named.what)),
        }
        if let Err(error) = taken {
            self.refuse(format!("{}: {error}", String::from_utf8_lossy(key)));
        }
    }

    /// What the records say together.
    #[must_use]
    pub fn finish(mut self) -> Restored {
        let unvouched: u64 = self.unvouched.values().sum();
        if unvouched > 0 {
            let why = if self.is_forged { StateError::Forged } else { StateError::Unsigned };
            self.refuse(why.to_string());
            self.outcome.refused += unvouched - 1;
        }
        let marker = self.markers.pop_last().map(|(_, marker)| marker);
        let nothing = Marker::default();
        let known = marker.as_ref().unwrap_or(&nothing);
        let mut out = self.outcome;
        let mut flush = known.stamp.flush;
        for ((epoch, group), versions) in self.lessons {
            let Some((second, summary)) = versions.known_to(known.stamp) else { continue };
            out.turns.insert((epoch, group), second);
            if known.reached.closed.is_none_or(|closed| epoch > closed) {
                out.taught.entry(epoch).or_default().insert(group, summary);
            }
        }
        let mut found = 0_u64;
        for (agent, packed) in self.agents {
            flush = flush.max(packed.stamp.flush);
            match packed.unpack(agent, self.tools_max) {
                Ok(recorded) => found += out.take_up(known, recorded),
                Err(error) => {
                    let key = agent_key(&self.topic, agent);
                    out.refuse(format!("{}: {error}", String::from_utf8_lossy(&key)));
                }
            }
        }
        out.missing = known.agents.saturating_sub(found);
        out.next_flush = if marker.is_some() || flush > 0 { flush + 1 } else { 0 };
        let older = self.overwritten.into_iter();
        out.overwritten = older
            .map(|(touched, stamp)| Foreign { offset: -1, touched, stamp: Some(stamp) })
            .collect();
        out.stale = self.stale.into_iter().collect();
        out.marker = marker;
        out
    }

    fn take_agent(&mut self, agent: AgentKey, value: Option<&[u8]>) -> Result<(), StateError> {
        let Some(value) = value else {
            self.agents.remove(&agent);
            return Ok(());
        };
        let packed = Packed::of(value)?;
        let (known, stamp) = (self.agents.get(&agent).map(|it| it.stamp), packed.stamp);
        let is_newer = known.is_none_or(|known| known <= stamp);
        self.note_order(Touched::Agent(agent), stamp, is_newer);
        if is_newer {
            self.agents.insert(agent, packed);
        }
        Ok(())
    }

    fn take_marker(&mut self, value: Option<&[u8]>) -> Result<(), StateError> {
        let Some(value) = value else { return Ok(()) };
        let marker: Marker = open(Kind::Marker, value)?;
        if !marker.gate.is_sound() || !marker.marks.is_sound() {
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
            if let Some(versions) = self.lessons.get_mut(&place) {
                versions.delete(second);
            }
            return Ok(());
        };
        let record: LessonRecord = open(Kind::Lesson, value)?;
        if !record.summary.is_within_bounds() {
            let words = "it holds more than one may".to_owned();
            return Err(StateError::Unfit { kind: Kind::Lesson, words });
        }
        let LessonRecord { stamp, summary, .. } = record;
        let is_newer = self.lessons.entry(place).or_default().take(second, (stamp, summary));
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
        self.outcome.refuse(words);
    }
}

impl Restored {
    fn refuse(&mut self, words: String) {
        self.refused += 1;
        self.first_refused.get_or_insert(words);
    }

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
        // What the marker reflects stands in its own lessons. Of a call it holds, those of the time
        // that passed with it were handed out with the hours that it closed.
        let closed = known.reached.closed;
        lessons.retain(|lesson| {
            is_ahead
                && !known.reached.covers(lesson.place)
                && closed.is_none_or(|closed| lesson.epoch > closed)
        });
        passages.retain(|(place, _)| is_ahead && !known.reached.covers(*place));
        if is_ahead {
            self.floor = self.floor.max(Some(stamp.cut));
        }
        for lesson in &lessons {
            let groups = self.taught.entry(lesson.epoch).or_default();
            groups.entry(lesson.group).or_default().add(lesson.fact.clone());
        }
        let ahead = is_ahead.then(|| Judged::new(stamp.cut, held));
        let was_there = passages.first().map(|(_, passage)| *passage == Passage::Ended);
        match of {
            Ok(state) => {
                let judged = stamp.judged;
                self.agents.push(RestoredAgent { state, ahead, judged, lessons, passages });
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
