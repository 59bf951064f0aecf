//! Agents in memory: who is known, how many at most, and when event time has something for them.
//!
//! The map is shared by all workers, because a partition moves between them and the API reads it;
//! each agent is only ever changed by the worker that owns its partition.

use std::hash::{BuildHasherDefault, Hasher};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::detect::AgentState;
use crate::event::ToolCall;

/// The identity of an agent in memory: 128 bits of SipHash over tenant and agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentKey(u128);

/// The key is a hash already.
impl std::hash::Hash for AgentKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0.to_le_bytes();
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl AgentKey {
    /// The key of the agent that made `call`.
    #[must_use]
    pub fn of(call: &ToolCall<'_>) -> Self {
        Self::from_ids(&call.tenant_id, &call.agent_id)
    }

    /// The key of an agent by its names.
    #[must_use]
    pub fn from_ids(tenant_id: &str, agent_id: &str) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(tenant_id.as_bytes());
        hasher.write_u8(0xff);
        hasher.write(agent_id.as_bytes());
        Self(hasher.finish128().as_u128())
    }
}

/// Passes an [`AgentKey`]'s own bits on.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        debug_assert!(false, "an agent key hashes as one word");
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// One agent and the partition that feeds it.
#[derive(Debug)]
struct Resident {
    partition: PartitionId,
    state: AgentState,
}

/// A source partition, by the index of its topic in the configuration and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionId {
    /// The index of the topic.
    pub topic: u16,
    /// The partition's number.
    pub partition: i32,
}

/// The agents in memory.
#[derive(Debug)]
pub struct Agents {
    map: DashMap<AgentKey, Box<Resident>, BuildHasherDefault<KeyHasher>>,
    capacity: usize,
}

/// There is no room for one more agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Agents {
    /// Room for `capacity` agents.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { map: DashMap::default(), capacity }
    }

    /// Agents in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// The most agents there may be.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many agents `matches` holds for.
    pub fn count(&self, matches: impl Fn(&AgentState) -> bool) -> usize {
        self.map.iter().filter(|resident| matches(&resident.state)).count()
    }

    /// Whether none is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Changes the agent that made `call`, which is made known first if need be.
    ///
    /// # Errors
    ///
    /// [`Full`] when the agent is unknown and there is no room: known agents are never evicted by
    /// new ones.
    pub fn update<T>(
        &self,
        key: AgentKey,
        partition: PartitionId,
        call: &ToolCall<'_>,
        change: impl FnOnce(&mut AgentState) -> T,
    ) -> Result<T, Full> {
        if let Some(mut resident) = self.map.get_mut(&key) {
            return Ok(change(&mut resident.state));
        }
        if self.map.len() >= self.capacity {
            return Err(Full);
        }
        match self.map.entry(key) {
            Entry::Occupied(mut resident) => Ok(change(&mut resident.get_mut().state)),
            Entry::Vacant(place) => {
                let state = AgentState::new(call);
                let mut resident = place.insert(Box::new(Resident { partition, state }));
                Ok(change(&mut resident.state))
            }
        }
    }

    /// Changes an agent that is known.
    pub fn update_known<T>(
        &self,
        key: AgentKey,
        change: impl FnOnce(&mut AgentState) -> T,
    ) -> Option<T> {
        self.map.get_mut(&key).map(|mut resident| change(&mut resident.state))
    }

    /// Reads an agent that is known.
    pub fn read<T>(&self, key: AgentKey, read: impl FnOnce(&AgentState) -> T) -> Option<T> {
        self.map.get(&key).map(|resident| read(&resident.state))
    }

    /// Forgets the agents of a partition that another instance owns now.
    pub fn forget(&self, partition: PartitionId) {
        self.map.retain(|_, resident| resident.partition != partition);
    }
}
