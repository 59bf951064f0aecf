//! What can be planted among natural traffic, and the record that says where it was.
//!
//! The splicing itself is `plant`'s.

use serde::{Deserialize, Serialize};

use crate::event::Timestamp;
use crate::generate::scenario::rfc3339;

/// A kind of anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anomaly {
    /// One call 80 to 150 times, about 0.4 s apart, while nothing else gets done.
    RunawayLoop,
    /// 60 to 150 of the agent's acting calls of the day again, ten times as fast.
    FastReplay,
    /// 6 to 8 calls of at least three tools that no agent of the product ever used.
    NewTools,
    /// 25 calls within an hour in which the agent never works.
    OffHours,
    /// 120 different acting calls in about a minute and a half.
    RateBurst,
    /// 30 calls of another product's tools in the agent's session.
    Masquerade,
    /// Two acting calls with a recipient nobody ever used, after something was read.
    NewTarget,
    /// The agent stops until the end of the day.
    Silence,
    /// 60 calls that all fail.
    ErrorStorm,
    /// 20 reading calls whose results are a hundred times the usual size.
    Exfiltration,
}

impl Anomaly {
    /// Every kind, in a fixed order.
    pub const ALL: [Self; 10] = [
        Self::RunawayLoop,
        Self::FastReplay,
        Self::NewTools,
        Self::OffHours,
        Self::RateBurst,
        Self::Masquerade,
        Self::NewTarget,
        Self::Silence,
        Self::ErrorStorm,
        Self::Exfiltration,
    ];
}

/// An anomaly to plant; one an agent and day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planted {
    /// What happens.
    pub kind: Anomaly,
    /// The organisation of the agent it happens to.
    pub tenant_id: String,
    /// The agent it happens to. It works on that day even if it would have had the day off.
    pub agent_id: String,
    /// The day, counted from 0.
    pub day: u32,
    /// When it begins, in minutes after midnight UTC. What would run past the end of the day is
    /// cut off.
    pub minute: u32,
}

/// The truth about a planted anomaly: what a detector should have found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// The organisation.
    pub tenant_id: String,
    /// The agent.
    pub agent_id: String,
    /// What was planted.
    pub attack: Anomaly,
    /// The first planted call; for silence the first call that did not come.
    #[serde(with = "rfc3339")]
    pub start: Timestamp,
    /// The last planted call; for silence the last call that did not come.
    #[serde(with = "rfc3339")]
    pub end: Timestamp,
    /// How many calls were planted; 0 for silence.
    pub calls: u64,
}
