//! The bounds of everything that could grow, as they are written in the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::FriendlySize;

/// The bounds of everything that could grow.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Limits")]
pub(crate) struct RawLimits {
    /// Agents held in memory. New agents cannot push out known ones.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub(crate) agents: usize,
    /// Agents of one partition. Who is let in then depends on the partition's calls alone, as long as
    /// `agents` leaves room for all partitions of the instance.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub(crate) agents_per_partition: usize,
    /// Agents of one tenant in one partition, so that one tenant's flood leaves room for others.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub(crate) agents_per_tenant: usize,
    /// Tools remembered of one agent.
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) tools_per_agent: usize,
    /// The largest record read; 1KiB to 64MiB. Larger ones go to the dead-letter topic unread.
    pub(crate) record_bytes: FriendlySize,
    /// Calls a partition may hold back while it waits (reordering, peers).
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(crate) held_calls: usize,
    /// Alerts waiting for the broker's acknowledgement; reading pauses at the bound.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) pending_alerts: usize,
    /// Verdicts of people kept in memory. Of more, the later ones do not apply until older ones
    /// have expired.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) verdicts: usize,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            agents: 1_000_000,
            agents_per_partition: 500_000,
            agents_per_tenant: 250_000,
            tools_per_agent: 40,
            record_bytes: FriendlySize(8 << 20),
            held_calls: 50_000,
            pending_alerts: 10_000,
            verdicts: 100_000,
        }
    }
}
