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
    /// An agent is forgotten, whatever is known of it, once it has made no call for this long in event
    /// time, noticed with the first call of a day; 14d to 3650d.
    pub(crate) forget_after: FriendlyDuration,
    /// Where there is no room, a new agent takes the place of one that is still being learned and has
    /// made no call for this long in event time, with its second call; 12h to 90d.
    pub(crate) yield_after: FriendlyDuration,
}

impl Default for RawState {
    fn default() -> Self {
        Self {
            durable: true,
            flush_interval: FriendlyDuration::secs(5),
            forget_after: FriendlyDuration::secs(90 * 86_400),
            yield_after: FriendlyDuration::secs(86_400),
        }
    }
}
