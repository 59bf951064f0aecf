//! Who is let in: how many agents a partition may have, and each tenant in it, and who goes when
//! there is no room.
//!
//! A new agent is let in as long as there is room. When there is none it may take the place only of
//! one that is still being learned and has long made no call, and only with its second call, so that
//! ids that are used once replace nobody. An agent that is known goes when it has made no call for
//! much longer, whether there is room or not.
//!
//! All of it is decided by event time and by the calls of the partition, in their order, so another
//! judge that reads the same calls decides the same. One that takes a partition over finds agents
//! that are written already in the state of a later call; what happened to them until then, their
//! [`Passage`]s, is written with them and comes to pass again with the calls that caused it.

mod doorkeeper;
mod idle;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use siphasher::sip128::SipHasher13;

use crate::detect::no_room::{Crowd, Limit};
use crate::event::{HOUR_NS, Timestamp, ToolCall};
use crate::state::admission::doorkeeper::Doorkeeper;
use crate::state::admission::idle::{Idle, may_yield};
use crate::state::reached::Place;
use crate::state::{AgentKey, Agents, PartitionId};

/// Tenants without room that are told of in one hour and partition. The calls of more are counted.
pub const CROWDS_MAX: usize = 32;

/// Passages of one agent that are remembered until they are written. With more, a judge that takes over
/// may count one agent too few for a while.
const PASSAGES_MAX: usize = 16;

/// Nanoseconds of a day.
const DAY_NS: i64 = 24 * HOUR_NS;

/// How much room there is, and who gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Agents in memory, of all partitions of the instance.
    pub agents: usize,
    /// Agents of a partition.
    pub per_partition: usize,
    /// Agents of a tenant in a partition.
    pub per_tenant: usize,
    /// An agent that is still being learned may give its place after this long without a call, in
    /// seconds of event time; longer than any episode lasts.
    pub yield_after_secs: i64,
    /// Any agent is forgotten after this long without a call, in seconds of event time.
    pub forget_after_secs: i64,
}

impl Room {
    /// Room for `agents`, whatever their partition and tenant.
    #[must_use]
    pub const fn only(agents: usize) -> Self {
        Self {
            agents,
            per_partition: agents,
            per_tenant: agents,
            yield_after_secs: 86_400,
            forget_after_secs: 90 * 86_400,
        }
    }
}

/// What happens to an agent as far as the count of a partition's agents is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Passage {
    /// It was let in.
    Born,
    /// A call of it was the first of an agent that was learned elsewhere.
    Claimed,
    /// It was forgotten.
    Ended,
}

/// What happened to one agent, and with which call, in the order of the calls.
pub type Passages = Vec<(Place, Passage)>;

/// What admission remembers of agents that it did not let in, to be written with a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    door: Doorkeeper,
    crowds: BTreeMap<String, Crowd>,
}

impl Gate {
    /// Whether it is within its bounds.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.door.is_sound() && self.crowds.len() <= CROWDS_MAX
    }
}

/// Why an agent is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// The bound that was met.
    pub limit: Limit,
    /// Whether the agent was not seen lately.
    pub is_new: bool,
}

/// An agent that was written ahead of the calls that are read.
#[derive(Debug)]
struct Ahead {
    tenant: u64,
    is_present: bool,
    passages: Passages,
}

/// Who is let in to one partition.
#[derive(Debug)]
pub struct Admission {
    room: Room,
    partition: PartitionId,
    agents: usize,
    tenants: BTreeMap<u64, usize>,
    gate: Gate,
    idle: Option<Idle>,
    ahead: BTreeMap<AgentKey, Ahead>,
    /// Agents of `ahead` that are forgotten with a call.
    ending: BTreeMap<Place, Vec<AgentKey>>,
}

/// The key a tenant is counted under.
#[must_use]
pub fn tenant_key(tenant_id: &str) -> u64 {
    SipHasher13::new_with_keys(2, 0).hash(tenant_id.as_bytes()).h1
}

impl Admission {
    /// Nobody is in `partition` yet.
    #[must_use]
    pub const fn new(room: Room, partition: PartitionId) -> Self {
        Self {
            room,
            partition,
            agents: 0,
            tenants: BTreeMap::new(),
            gate: Gate { door: Doorkeeper::new(), crowds: BTreeMap::new() },
            idle: None,
            ahead: BTreeMap::new(),
            ending: BTreeMap::new(),
        }
    }

    /// Counts the agents that are there already, and goes on with what was remembered.
    pub fn go_on(&mut self, agents: &Agents, gate: Gate) {
        self.begin(gate);
        agents.each_of(self.partition, |_, state| self.add(tenant_key(&state.tenant_id)));
    }

    /// Goes on with what was remembered, and without agents.
    pub fn begin(&mut self, gate: Gate) {
        self.agents = 0;
        self.tenants.clear();
        self.idle = None;
        self.gate = gate;
    }

    /// An agent of `tenant_id` is there.
    pub fn count(&mut self, tenant_id: &str) {
        self.add(tenant_key(tenant_id));
    }

    /// The record of an agent was written ahead: `passages` come to pass again. `is_known` says whether
    /// its state is in memory.
    pub fn written_ahead(
        &mut self,
        agent: AgentKey,
        (tenant_id, is_known): (&str, bool),
        passages: Passages,
    ) {
        let Some((_, first)) = passages.first() else { return };
        let tenant = tenant_key(tenant_id);
        let is_present = *first == Passage::Ended;
        match (is_known, is_present) {
            (true, false) => self.remove(tenant),
            (false, true) => self.add(tenant),
            _ => {}
        }
        for (place, _) in passages.iter().filter(|(_, passage)| *passage == Passage::Ended) {
            self.ending.entry(*place).or_default().push(agent);
        }
        self.ahead.insert(agent, Ahead { tenant, is_present, passages });
    }

    /// The partition's agents.
    #[must_use]
    pub const fn agents(&self) -> usize {
        self.agents
    }

    /// What is remembered of agents that were not let in.
    #[must_use]
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The call at `place` comes next: whoever was forgotten with it goes.
    pub fn settle(&mut self, place: Place) {
        if self.ending.is_empty() {
            return;
        }
        for agent in self.ending.remove(&place).unwrap_or_default() {
            let Some(ahead) = self.ahead.get_mut(&agent).filter(|it| it.is_present) else {
                continue;
            };
            ahead.is_present = false;
            ahead.passages.remove(0);
            let tenant = ahead.tenant;
            self.remove(tenant);
        }
    }

    /// Whether an agent that was written ahead is not there at the call that is read, and if so,
    /// what happens to it with the call at `place`.
    pub fn absent(&mut self, agent: AgentKey, place: Place) -> Option<Option<Passage>> {
        if self.ahead.is_empty() {
            return None;
        }
        let ahead = self.ahead.get_mut(&agent).filter(|ahead| !ahead.is_present)?;
        if ahead.passages.first().is_none_or(|(at, _)| *at != place) {
            return Some(None);
        }
        ahead.is_present = true;
        let (_, passage) = ahead.passages.remove(0);
        Some(Some(passage))
    }

    /// Everything that was written ahead has come to pass.
    pub fn caught_up(&mut self) {
        self.ahead.clear();
        self.ending.clear();
    }

    /// Whether an agent of the tenant of `call` may come in, and in whose place. `now` is the
    /// partition's event time.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when it may not.
    pub fn ask(
        &mut self,
        agents: &Agents,
        (agent, call): (AgentKey, &ToolCall<'_>),
        now: Timestamp,
    ) -> Result<Option<AgentKey>, NoRoom> {
        let tenant = tenant_key(&call.tenant_id);
        let Some(limit) = self.full(agents, tenant) else { return Ok(None) };
        let is_new = !self.gate.door.knows(agent);
        let refused = NoRoom { limit, is_new };
        if is_new {
            self.gate.door.note(agent);
            return Err(refused);
        }
        // Who comes with a call that old would be the first to give way.
        if call.time < self.room.yields_before(now) {
            return Err(refused);
        }
        self.in_whose_place(agents, (limit, tenant), now).map(Some).ok_or(refused)
    }

    /// In whose place an agent came in that was written ahead.
    pub fn again(
        &mut self,
        agents: &Agents,
        call: &ToolCall<'_>,
        now: Timestamp,
    ) -> Option<AgentKey> {
        let tenant = tenant_key(&call.tenant_id);
        let limit = self.full(agents, tenant)?;
        self.in_whose_place(agents, (limit, tenant), now)
    }

    /// An agent has come in with `call`.
    pub fn came(&mut self, agent: AgentKey, call: &ToolCall<'_>) {
        let tenant = tenant_key(&call.tenant_id);
        self.add(tenant);
        if let Some(idle) = &mut self.idle {
            idle.put(agent, (tenant, call.time));
        }
    }

    /// An agent of a tenant has gone.
    pub fn went(&mut self, tenant_id: &str) {
        self.remove(tenant_key(tenant_id));
    }

    /// A call was not judged for want of room; the first of a tenant's hour is told. `now` is the
    /// partition's event time.
    pub fn turned_away(
        &mut self,
        call: &ToolCall<'_>,
        no_room: NoRoom,
        now: Timestamp,
    ) -> Option<&Crowd> {
        let limit = no_room.limit;
        let allowed = match limit {
            Limit::Tenant => self.room.per_tenant,
            Limit::Partition => self.room.per_partition,
            Limit::Instance => self.room.agents,
        };
        let crowds = &mut self.gate.crowds;
        if let Some(crowd) = crowds.get_mut(&*call.tenant_id) {
            crowd.turned_away(no_room.is_new);
            return None;
        }
        if crowds.len() >= CROWDS_MAX {
            return None;
        }
        let crowd = crowds
            .entry(call.tenant_id.to_string())
            .or_insert_with(|| Crowd::new(now.hour(), (limit, allowed), call));
        crowd.turned_away(no_room.is_new);
        Some(crowd)
    }

    /// Whether an hour is over at `now` of which something is to be told.
    #[must_use]
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.gate.crowds.values().any(|crowd| crowd.ends() <= now)
    }

    /// What was open and whose hour is over at `now`.
    pub fn ended(&mut self, now: Timestamp) -> Vec<Crowd> {
        let ended = |_: &String, crowd: &mut Crowd| crowd.ends() <= now;
        self.gate.crowds.extract_if(.., ended).map(|(_, crowd)| crowd).collect()
    }

    /// Agents that made no call for so long that they are forgotten, in the order of their keys.
    /// Nobody is on most days; `now` is the first call of one.
    #[must_use]
    pub fn forgotten(&self, agents: &Agents, now: Timestamp) -> Vec<AgentKey> {
        let day = Timestamp::from_nanos(now.day().saturating_mul(DAY_NS));
        let before = day.plus_secs(-self.room.forget_after_secs);
        let mut gone = Vec::new();
        agents.each_of(self.partition, |key, state| {
            if state.newest() < before && state.open_episodes() == 0 {
                gone.push(key);
            }
        });
        gone.sort_unstable();
        gone
    }

    fn full(&self, agents: &Agents, tenant: u64) -> Option<Limit> {
        let of_tenant = self.tenants.get(&tenant).copied().unwrap_or(0);
        if of_tenant >= self.room.per_tenant {
            return Some(Limit::Tenant);
        }
        if self.agents >= self.room.per_partition {
            return Some(Limit::Partition);
        }
        (agents.len() >= self.room.agents).then_some(Limit::Instance)
    }

    /// The agent that gives its place: of those that may, the one idle longest, and where the tenant
    /// has too many, one of the tenant.
    fn in_whose_place(
        &mut self,
        agents: &Agents,
        (limit, tenant): (Limit, u64),
        now: Timestamp,
    ) -> Option<AgentKey> {
        let hour = now.hour();
        if self.idle.as_ref().is_none_or(|idle| idle.hour != hour) {
            let (before, partition) = (self.room.yields_before(now), self.partition);
            // One that is in memory and yet to come, by its record.
            let absent = |agent: AgentKey| {
                let ahead = self.ahead.get(&agent);
                ahead.is_some_and(|ahead| !ahead.is_present && !ahead.passages.is_empty())
            };
            self.idle = Some(Idle::of(agents, partition, (hour, before), absent));
        }
        let idle = self.idle.as_mut()?;
        let of_tenant = (limit == Limit::Tenant).then_some(tenant);
        while let Some((newest, agent, tenant)) = idle.take(of_tenant) {
            let now = agents.read(agent, |state| (may_yield(state), state.newest()));
            match now {
                Some((true, known)) if known == newest => return Some(agent),
                Some((true, known)) => idle.put(agent, (tenant, known)),
                _ => {}
            }
        }
        None
    }

    fn add(&mut self, tenant: u64) {
        self.agents += 1;
        *self.tenants.entry(tenant).or_default() += 1;
    }

    fn remove(&mut self, tenant: u64) {
        self.agents = self.agents.saturating_sub(1);
        if let Some(agents) = self.tenants.get_mut(&tenant) {
            *agents = agents.saturating_sub(1);
            if *agents == 0 {
                self.tenants.remove(&tenant);
            }
        }
    }
}

impl Room {
    /// Agents whose newest call is older than this may give their place at `now`; by the hour, so
    /// that they are looked for once an hour.
    fn yields_before(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_hour(now.hour()).plus_secs(-self.yield_after_secs)
    }
}

/// An agent comes or goes once more.
pub fn note_passage(passages: &mut Passages, place: Place, passage: Passage) {
    if passages.len() >= PASSAGES_MAX {
        passages.remove(0);
    }
    passages.push((place, passage));
}
