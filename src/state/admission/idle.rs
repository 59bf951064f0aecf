//! The agents of a partition that may give their place to new ones.

use std::collections::BTreeSet;

use crate::detect::AgentState;
use crate::event::Timestamp;
use crate::state::admission::tenant_key;
use crate::state::{AgentKey, Agents, PartitionId};

/// Whether an agent may ever give its place: one that is known does not.
pub(super) fn may_yield(state: &AgentState) -> bool {
    state.is_learning() && state.open_episodes() == 0
}

/// The agents that may give their place within an hour, the one idle longest first.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) hour: i64,
    before: Timestamp,
    all: BTreeSet<(Timestamp, AgentKey, u64)>,
    of_tenants: BTreeSet<(u64, Timestamp, AgentKey)>,
}

impl Idle {
    pub(super) fn of(
        agents: &Agents,
        partition: PartitionId,
        (hour, before): (i64, Timestamp),
        absent: impl Fn(AgentKey) -> bool,
    ) -> Self {
        let mut idle = Self { hour, before, all: BTreeSet::new(), of_tenants: BTreeSet::new() };
        agents.each_of(partition, |key, state| {
            if state.newest() < before && may_yield(state) && !absent(key) {
                idle.put(key, (tenant_key(&state.tenant_id), state.newest()));
            }
        });
        idle
    }

    pub(super) fn put(&mut self, agent: AgentKey, (tenant, newest): (u64, Timestamp)) {
        if newest < self.before {
            self.all.insert((newest, agent, tenant));
            self.of_tenants.insert((tenant, newest, agent));
        }
    }

    pub(super) fn take(&mut self, of_tenant: Option<u64>) -> Option<(Timestamp, AgentKey, u64)> {
        let (newest, agent, tenant) = match of_tenant {
            None => *self.all.first()?,
            Some(tenant) => {
                let from = (tenant, Timestamp::MIN, AgentKey::from_number(0));
                let (of, newest, agent) = *self.of_tenants.range(from..).next()?;
                (of == tenant).then_some((newest, agent, tenant))?
            }
        };
        self.all.remove(&(newest, agent, tenant));
        self.of_tenants.remove(&(tenant, newest, agent));
        Some((newest, agent, tenant))
    }
}
