//! Agents in memory: who is known, how many at most, and when event time has something for them.
//!
//! The map is shared by all workers, because a partition moves between them and the API reads it;
//! each agent is only ever changed by the worker that owns its partition.

pub mod admission;
pub mod changelog;
pub mod codec;
pub mod foreign;
mod key;
pub mod mac;
pub mod marks;
pub mod reached;
mod resident;

use std::collections::BTreeMap;
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::detect::AgentState;
use crate::event::{Timestamp, ToolCall};
use crate::state::admission::Room;

pub use key::{AgentKey, KeyHasher};
pub use resident::{Span, Spans};

use resident::Resident;

/// Far more shards than workers, so that two of them rarely take turns on one lock's cache line.
const SHARDS: usize = 1_024;

/// What came of an agent whose time may have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken<T> {
    /// There is nothing to do before then, if ever.
    NotYet(Option<Timestamp>),
    /// It was changed.
    Changed {
        /// What came of it.
        updated: Updated<T>,
        /// When to look after it again.
        next: Option<Timestamp>,
    },
}

/// An agent that was forgotten.
#[derive(Debug)]
pub struct Removed {
    /// What was known of it.
    pub state: AgentState,
    /// When it would have been looked after.
    pub wakes: Option<Timestamp>,
    /// Whether it waits to be written as it is.
    pub is_due: bool,
}

/// When a judge looks after an agent: not then any more, but then.
pub type Moved = (Option<Timestamp>, Option<Timestamp>);

/// What came of changing an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Updated<T> {
    /// What the change said.
    pub value: T,
    /// Whether it is the first change since the agent was last written down.
    pub is_first: bool,
    /// Whether the agent belongs to its partition only since then.
    pub arrival: Arrival,
    /// When the judge that brought the call looks after it, if that has changed.
    pub moved: Option<Moved>,
}

/// Since when an agent belongs to its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It did before.
    Known,
    /// It was made known with the change.
    New,
    /// It was learned elsewhere, and this is its first call.
    Claimed,
    /// It does not: another partition of the same topic feeds it.
    Astray,
}

/// A source partition, by the index of its topic in the configuration and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionId {
    /// The index of the topic.
    pub topic: u16,
    /// The partition's number.
    pub partition: i32,
}

/// Where an agent belongs that was taken in from elsewhere, until a partition brings a call of it.
const UNCLAIMED: PartitionId = PartitionId { topic: u16::MAX, partition: -1 };

/// The agents in memory.
#[derive(Debug)]
pub struct Agents {
    map: DashMap<AgentKey, Box<Resident>, BuildHasherDefault<KeyHasher>>,
    /// How many are in `map`, which would ask every shard. One that comes counts before it is there
    /// and one that goes until it is gone, so that it is never less than there are.
    count: AtomicUsize,
    /// The last span that was begun.
    span: AtomicU64,
    room: Room,
    handovers: Mutex<Handovers>,
}

/// Which worker owned a partition when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim(u64);

/// What a worker takes over with a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Records below this offset have been judged by the worker before.
    pub judged_below: i64,
    /// What waits for time: each agent's deadline.
    pub deadlines: Vec<(Timestamp, AgentKey)>,
}

/// Partitions on their way between workers.
#[derive(Debug, Default)]
struct Handovers {
    claims: u64,
    owners: BTreeMap<PartitionId, Claim>,
    orphans: BTreeMap<PartitionId, Orphan>,
}

/// A partition between two workers.
#[derive(Clone, Copy, Debug)]
struct Orphan {
    /// Where its next reader must go on for its agents to be of use.
    next_offset: Option<i64>,
    /// How often [`Agents::forget_orphans`] has seen it.
    age: u32,
}

/// There is no room for one more agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are more agents than `limits.agents` allows; raise it")]
pub struct Full;

impl Agents {
    /// Room for `capacity` agents, whatever their partition and tenant.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::within(Room::only(capacity))
    }

    /// As much room as `room` says.
    #[must_use]
    pub fn within(room: Room) -> Self {
        let map = DashMap::with_hasher_and_shard_amount(BuildHasherDefault::default(), SHARDS);
        let (count, span) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { map, count, span, room, handovers: Mutex::default() }
    }

    /// How much room there is.
    #[must_use]
    pub const fn room(&self) -> Room {
        self.room
    }

    /// Agents in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The most agents there may be.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.room.agents
    }

    /// How many agents `matches` holds for.
    pub fn count(&self, matches: impl Fn(&AgentState) -> bool) -> usize {
        self.map.iter().filter(|resident| matches(&resident.state)).count()
    }

    /// Shows every agent, in no order.
    pub fn each(&self, mut look: impl FnMut(&AgentState)) {
        self.map.iter().for_each(|resident| look(&resident.state));
    }

    /// Whether none is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows every agent of a partition, in no order.
    pub fn each_of(&self, partition: PartitionId, mut look: impl FnMut(AgentKey, &AgentState)) {
        for resident in self.map.iter().filter(|resident| resident.partition == partition) {
            look(*resident.key(), &resident.state);
        }
    }

    /// A span begins in which agents of a partition change.
    #[must_use]
    pub fn begin_span(&self) -> Span {
        Span::numbered(self.span.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Forgets one agent.
    pub fn remove(&self, key: AgentKey, spans: Spans) -> Option<Removed> {
        let (_, mut resident) = self.map.remove(&key)?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        let (wakes, is_due) = (resident.look_at(None), resident.is_due(spans));
        Some(Removed { state: resident.state, wakes, is_due })
    }

    /// Changes the agent that made `call`. One that is not known is made known first, if `admit`
    /// lets it in. `change` is told whether the agent waits to be written as it was before.
    ///
    /// # Errors
    ///
    /// What `admit` says of an agent that is not let in.
    pub fn update<T, E>(
        &self,
        (key, partition, spans): (AgentKey, PartitionId, Spans),
        call: &ToolCall<'_>,
        admit: impl FnOnce() -> Result<(), E>,
        change: impl FnOnce(&mut AgentState, bool) -> T,
    ) -> Result<Updated<T>, E> {
        if let Some(mut resident) = self.map.get_mut(&key) {
            let home = resident.partition;
            if home != UNCLAIMED && home.topic == partition.topic && home != partition {
                let before = resident.state.deadline();
                let updated = resident.change_abroad(spans, change);
                let after = resident.state.deadline();
                let moved = (before != after).then_some((before, after));
                return Ok(Updated { arrival: Arrival::Astray, moved, ..updated });
            }
            let updated = resident.change_at_home(spans, change);
            if home != UNCLAIMED {
                return Ok(updated);
            }
            resident.partition = partition;
            return Ok(Updated { arrival: Arrival::Claimed, ..updated });
        }
        admit()?;
        match self.map.entry(key) {
            Entry::Occupied(mut resident) => Ok(resident.get_mut().change_at_home(spans, change)),
            Entry::Vacant(place) => {
                let resident = Resident::new(partition, AgentState::new(call));
                self.count.fetch_add(1, Ordering::Relaxed);
                let updated = place.insert(Box::new(resident)).change_at_home(spans, change);
                Ok(Updated { arrival: Arrival::New, ..updated })
            }
        }
    }

    /// Writes an agent down that waits for it: from now on it has not changed. `None` for one that
    /// does not wait, or is not there.
    pub fn write_down<T>(
        &self,
        key: AgentKey,
        spans: Spans,
        write: impl FnOnce(&AgentState) -> T,
    ) -> Option<T> {
        let mut resident = self.map.get_mut(&key).filter(|resident| resident.is_due(spans))?;
        resident.changed_in = Span::default();
        Some(write(&resident.state))
    }

    /// Marks an agent of `partition` as changed, so that it is written down anew. Returns whether it
    /// is to be written with what changes now; false for one that waits for it already, and one that
    /// is not there.
    #[must_use]
    pub fn touch(&self, key: AgentKey, partition: PartitionId, spans: Spans) -> bool {
        let resident = self.map.get_mut(&key).filter(|it| it.partition == partition);
        resident.is_some_and(|mut resident| resident.touch(spans))
    }

    /// Takes in an agent that was learned elsewhere. `partition` is the one that feeds it, where
    /// that is known; else the first partition that brings a call of it.
    ///
    /// # Errors
    ///
    /// [`Full`] when there is no room.
    pub fn take_in(&self, partition: Option<PartitionId>, state: AgentState) -> Result<(), Full> {
        self.take_in_all(partition, [state])
    }

    /// Takes in many of them; for each for which there is no room, the others still are.
    ///
    /// # Errors
    ///
    /// [`Full`] when there was no room for some.
    pub fn take_in_all(
        &self,
        partition: Option<PartitionId>,
        states: impl IntoIterator<Item = AgentState>,
    ) -> Result<(), Full> {
        let partition = partition.unwrap_or(UNCLAIMED);
        let mut outcome = Ok(());
        for state in states {
            let key = AgentKey::from_ids(&state.tenant_id, &state.agent_id);
            if self.len() >= self.room.agents && !self.map.contains_key(&key) {
                outcome = Err(Full);
                continue;
            }
            let mut resident = Box::new(Resident::new(partition, state));
            if partition != UNCLAIMED {
                let deadline = resident.state.deadline();
                resident.look_at(deadline);
            }
            self.count.fetch_add(1, Ordering::Relaxed);
            if self.map.insert(key, resident).is_some() {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
        }
        outcome
    }

    /// The keys of the agents that `matches` holds for, in their order, at most `max` of them.
    #[must_use]
    pub fn find(&self, max: usize, matches: impl Fn(&AgentState) -> bool) -> Vec<AgentKey> {
        let found = self.map.iter().filter(|resident| matches(&resident.state));
        let mut keys: Vec<AgentKey> = found.take(max).map(|resident| *resident.key()).collect();
        keys.sort_unstable();
        keys
    }

    /// What waits for time in a partition: each agent's deadline. That is when whoever asks looks
    /// after it.
    #[must_use]
    pub fn deadlines(&self, partition: PartitionId) -> Vec<(Timestamp, AgentKey)> {
        let mut deadlines = Vec::new();
        for mut resident in self.map.iter_mut().filter(|it| it.partition == partition) {
            let deadline = resident.state.deadline();
            resident.look_at(deadline);
            deadlines.extend(deadline.map(|deadline| (deadline, *resident.key())));
        }
        deadlines
    }

    /// The agents that a partition feeds, in the order of their keys; without one, those that no
    /// partition has claimed.
    #[must_use]
    pub fn keys(&self, partition: Option<PartitionId>) -> Vec<AgentKey> {
        let partition = partition.unwrap_or(UNCLAIMED);
        let mut keys: Vec<AgentKey> = self
            .map
            .iter()
            .filter(|resident| resident.partition == partition)
            .map(|resident| *resident.key())
            .collect();
        keys.sort_unstable();
        keys
    }

    /// Changes an agent whose deadline has come at `now`; it was looked after because of `entry`,
    /// which may lie before the deadline. `None` for an agent that is not there. `change` is told
    /// whether the agent waits to be written as it was before.
    pub fn wake<T>(
        &self,
        key: AgentKey,
        (entry, now, spans): (Timestamp, Timestamp, Spans),
        change: impl FnOnce(&mut AgentState, bool) -> T,
    ) -> Option<Woken<T>> {
        let mut resident = self.map.get_mut(&key)?;
        let is_own = resident.wakes == entry || resident.wakes == Timestamp::MAX;
        let deadline = resident.state.deadline();
        if deadline.is_none_or(|deadline| deadline > now) {
            // Of what another partition noted nothing is left.
            let next = deadline.filter(|_| is_own);
            if is_own {
                resident.look_at(next);
            }
            return Some(Woken::NotYet(next));
        }
        let updated = resident.change(spans, change);
        // An engine that does not move its deadline would be asked for ever.
        let next = resident.state.deadline().filter(|next| *next > now);
        if is_own {
            resident.look_at(next);
        }
        Some(Woken::Changed { updated, next })
    }

    /// Reads an agent that is known.
    pub fn read<T>(&self, key: AgentKey, read: impl FnOnce(&AgentState) -> T) -> Option<T> {
        self.map.get(&key).map(|resident| read(&resident.state))
    }

    /// A worker takes a partition over; the claim tells it from the workers before it.
    pub fn claim(&self, partition: PartitionId) -> Claim {
        let mut handovers = self.handovers();
        handovers.claims += 1;
        let claim = Claim(handovers.claims);
        handovers.owners.insert(partition, claim);
        claim
    }

    /// A partition leaves the worker of `claim`, its calls judged up to `next_offset`. Its agents
    /// stay for a while: mostly it moves to another worker of the same instance.
    pub fn orphan(&self, partition: PartitionId, claim: Claim, next_offset: Option<i64>) {
        let mut handovers = self.handovers();
        // Another worker may have been faster than the word of the one before it.
        if handovers.owners.get(&partition) == Some(&claim) {
            handovers.owners.remove(&partition);
            handovers.orphans.insert(partition, Orphan { next_offset, age: 0 });
        }
    }

    /// The worker that claimed a partition reads it from `next_offset`. Agents are kept if reading
    /// goes on where it stopped here or before, so that nothing happened to them elsewhere; they
    /// are forgotten otherwise.
    pub fn adopt(&self, partition: PartitionId, next_offset: i64) -> Adopted {
        let left_at = self.handovers().orphans.remove(&partition).map(|it| it.next_offset);
        let judged_below = left_at.flatten().filter(|left_at| next_offset <= *left_at);
        if left_at.is_some() && judged_below.is_none() {
            self.forget(partition);
        }
        let deadlines = self.deadlines(partition);
        Adopted { judged_below: judged_below.unwrap_or(next_offset), deadlines }
    }

    /// Forgets the agents of partitions that left and have not come back between two calls of
    /// this.
    pub fn forget_orphans(&self) {
        let mut gone = Vec::new();
        self.handovers().orphans.retain(|partition, orphan| {
            orphan.age += 1;
            let stays = orphan.age < 2;
            if !stays {
                gone.push(*partition);
            }
            stays
        });
        for partition in gone {
            self.forget(partition);
        }
    }

    /// Forgets the agents of a partition.
    pub fn forget(&self, partition: PartitionId) {
        self.handovers().orphans.remove(&partition);
        self.map.retain(|_, resident| {
            let stays = resident.partition != partition;
            if !stays {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            stays
        });
    }

    fn handovers(&self) -> MutexGuard<'_, Handovers> {
        self.handovers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: PartitionId = PartitionId { topic: 0, partition: 0 };

    fn call(agent: &str) -> ToolCall<'_> {
        ToolCall { tenant_id: "acme".into(), agent_id: agent.into(), ..ToolCall::default() }
    }

    fn agents(names: &[&str]) -> Agents {
        let agents = Agents::new(2);
        for name in names {
            let call = call(name);
            let key = (AgentKey::of(&call), HERE, Spans::default());
            agents.update(key, &call, || Ok::<(), Full>(()), |_, _| ()).unwrap();
        }
        agents
    }

    #[test]
    fn an_agent_that_is_not_let_in_leaves_no_trace() {
        let agents = agents(&["a", "b"]);
        let refused = |name: &str| {
            let call = call(name);
            let key = (AgentKey::of(&call), HERE, Spans::default());
            agents.update(key, &call, || Err(Full), |_, _| ()).map(|it| it.arrival)
        };
        assert_eq!(refused("c"), Err(Full));
        assert_eq!(refused("a"), Ok(Arrival::Known));
        assert_eq!(agents.len(), 2);
    }

    #[test]
    fn a_partition_that_goes_on_where_it_stopped_keeps_its_agents() {
        let agents = agents(&["a"]);
        agents.orphan(HERE, agents.claim(HERE), Some(7));
        agents.claim(HERE);
        assert_eq!(agents.adopt(HERE, 7).judged_below, 7);
        agents.forget_orphans();
        agents.forget_orphans();
        assert_eq!(agents.len(), 1);
    }

    #[test]
    fn records_that_are_read_again_are_known_to_be_judged() {
        let agents = agents(&["a"]);
        agents.orphan(HERE, agents.claim(HERE), Some(7));
        assert_eq!(agents.adopt(HERE, 5).judged_below, 7);
        assert_eq!(agents.len(), 1);
    }

    #[test]
    fn a_partition_that_was_read_elsewhere_begins_anew() {
        let agents = agents(&["a"]);
        agents.orphan(HERE, agents.claim(HERE), Some(7));
        agents.adopt(HERE, 9);
        assert!(agents.is_empty());
    }

    #[test]
    fn a_partition_that_does_not_come_back_is_forgotten_in_time() {
        let agents = agents(&["a"]);
        agents.orphan(HERE, agents.claim(HERE), Some(7));
        agents.forget_orphans();
        assert_eq!(agents.len(), 1);
        agents.forget_orphans();
        assert!(agents.is_empty());
    }

    #[test]
    fn a_worker_that_leaves_late_takes_nothing_from_the_next_one() {
        let agents = agents(&["a"]);
        let first = agents.claim(HERE);
        agents.claim(HERE);
        agents.orphan(HERE, first, Some(7));
        agents.forget_orphans();
        agents.forget_orphans();
        assert_eq!(agents.len(), 1);
    }
}
