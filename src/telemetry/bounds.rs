//! Which tables of agents and groups had more to hold than they may.

use crate::telemetry::Metrics;

/// The tables of an agent.
pub const AGENT_TABLES: [&str; 7] = [
    "tools",
    "first_uses",
    "sessions",
    "session_values",
    "session_evidence",
    "episodes",
    "audit_records",
];

/// The tables of a group.
pub const GROUP_TABLES: [&str; 12] = [
    "classes", "domains", "entities", "families", "kinds", "near", "parents", "sessions",
    "sketches", "suspects", "tools", "versions",
];

impl Metrics {
    /// Begins the series of every table at 0.
    pub(super) fn seed_bounds(&self) {
        AGENT_TABLES.iter().for_each(|table| self.agent_bound(table, 0));
        self.agents_forgotten(0, 0);
        GROUP_TABLES.iter().for_each(|table| self.peers_full(table, 0));
    }

    /// Counts calls at which something of an agent had to make room in a table.
    pub fn agent_bound(&self, table: &str, calls: u64) {
        self.families().agent_bounds_met.with_label_values(&[table]).inc_by(calls);
    }

    /// Counts agents that were forgotten: after a long time without a call, or for want of room.
    pub fn agents_forgotten(&self, idle: u64, no_room: u64) {
        let forgotten = &self.families().agents_forgotten;
        forgotten.with_label_values(&["idle"]).inc_by(idle);
        forgotten.with_label_values(&["no_room"]).inc_by(no_room);
    }

    /// Peer groups that had more to hold in a table than they may.
    pub fn peers_full(&self, table: &str, groups: usize) {
        let groups = i64::try_from(groups).unwrap_or(i64::MAX);
        self.families().peers_full.with_label_values(&[table]).set(groups);
    }
}
