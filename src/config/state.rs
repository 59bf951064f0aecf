//! How what is known of agents is kept, as it is written in the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::FriendlyDuration;

/// How what is known of agents is kept.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "State")]
pub(crate) struct RawState {
    /// Whether it is written to the state topic. Without it every restart and every partition that
    /// moves begins to learn anew.
    pub(crate) durable: bool,
    /// How often a partition's changes are written; as much is read again after a crash. 100ms to
    /// 10m.
    pub(crate) flush_interval: FriendlyDuration,
}

impl Default for RawState {
    fn default() -> Self {
        Self { durable: true, flush_interval: FriendlyDuration::secs(5) }
    }
}
