//! What the detectors that judge a day by the days before can be told. Each has a floor, below
//! which it never fires, and what is assumed of an agent without history; how much a history
//! weighs is the same for all and not for rules to say.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::policy::parameters::{InRange, outside};

/// Parameters of `run_size`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunSizeParameters {
    /// Runs of fewer calls never fire. 50: jobs of that size are common even where ten are usual.
    pub calls_min: u32,
    /// The largest run of a day assumed of an agent without history, in calls.
    pub usual_maximum: f64,
}

impl Default for RunSizeParameters {
    fn default() -> Self {
        Self { calls_min: 50, usual_maximum: 60.0 }
    }
}

/// Parameters of `run_rate`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunRateParameters {
    /// Fewer runs begun in two hours never fire. 6: of fewer each could be somebody's whim.
    pub runs_min: u32,
    /// There must be at least so many times the usual most of a day, 1 to 100. 2: less is nobody's
    /// business, however unlikely.
    pub factor_min: f64,
    /// The most runs begun in two hours of a day assumed of an agent without history.
    pub usual_maximum: f64,
}

impl Default for RunRateParameters {
    fn default() -> Self {
        Self { runs_min: 6, factor_min: 2.0, usual_maximum: 4.0 }
    }
}

/// Parameters of `errors`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ErrorsParameters {
    /// Fewer failed calls in 10 min never fire. 15: agents try, fail and try again by nature.
    pub calls_min: u32,
    /// The share of the calls in these 10 min that must have failed, 0 to 1. Half: a few failures
    /// among much work are a part of the work.
    pub share_min: f64,
    /// The most failed calls in 10 min of a day assumed of an agent without history.
    pub usual_maximum: f64,
}

impl Default for ErrorsParameters {
    fn default() -> Self {
        Self { calls_min: 15, share_min: 0.5, usual_maximum: 6.0 }
    }
}

/// Parameters of `denials`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DenialsParameters {
    /// Fewer denied calls in 10 min never fire. 5: one task that lacks a permission asks some
    /// times before it gives up.
    pub calls_min: u32,
    /// The share of the calls in these 10 min that must have been denied, 0 to 1. A tenth: whoever
    /// probes for what is allowed also does what is.
    pub share_min: f64,
    /// The most denied calls in 10 min of a day assumed of an agent without history.
    pub usual_maximum: f64,
}

impl Default for DenialsParameters {
    fn default() -> Self {
        Self { calls_min: 5, share_min: 0.1, usual_maximum: 2.0 }
    }
}

/// Parameters of `bytes_sent`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BytesSentParameters {
    /// Fewer bytes sent into tools in 10 min never fire. 100 kB: a long document.
    pub bytes_min: u64,
    /// The most bytes sent in 10 min of a day assumed of an agent without history.
    pub usual_maximum: f64,
}

impl Default for BytesSentParameters {
    fn default() -> Self {
        Self { bytes_min: 100_000, usual_maximum: 50_000.0 }
    }
}

/// Parameters of `bytes_read`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BytesReadParameters {
    /// Fewer bytes read from tools in 10 min never fire. 2 MB: a busy agent reads a tenth of that.
    pub bytes_min: u64,
    /// The most bytes read in 10 min of a day assumed of an agent without history.
    pub usual_maximum: f64,
}

impl Default for BytesReadParameters {
    fn default() -> Self {
        Self { bytes_min: 2_000_000, usual_maximum: 300_000.0 }
    }
}

/// Parameters of `argument_shape`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ArgumentShapeParameters {
    /// A burst weighs at least this much: new shapes, reading calls half. 4: optional arguments
    /// come in twos and threes.
    pub weight_min: f64,
    /// Only tools in use on so many active days are judged. 5: by then the usual shapes were seen.
    pub days_min: u8,
    /// Factor on the budget for an agent with fewer than two peers, 0 to 1.
    pub lonely_budget: f64,
}

impl Default for ArgumentShapeParameters {
    fn default() -> Self {
        Self { weight_min: 4.0, days_min: 5, lonely_budget: 0.25 }
    }
}

/// Parameters of `dormant_tool`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DormantToolParameters {
    /// Days a tool must lie idle while the agent does not. 60: longer than a quarter's routine.
    pub idle_days_min: u32,
}

impl Default for DormantToolParameters {
    fn default() -> Self {
        Self { idle_days_min: 60 }
    }
}

/// Parameters of `fan_out`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FanOutParameters {
    /// Fewer sub-agents in an hour never fire. 10: orchestrators start a handful at once.
    pub agents_min: u32,
    /// The most sub-agents in an hour of a day assumed of an agent without history.
    pub usual_maximum: f64,
}

impl Default for FanOutParameters {
    fn default() -> Self {
        Self { agents_min: 10, usual_maximum: 5.0 }
    }
}

/// Parameters of `version`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VersionParameters {
    /// Peers that took the same version up in the last so many days are told of.
    pub peer_days: u32,
}

impl Default for VersionParameters {
    fn default() -> Self {
        Self { peer_days: 14 }
    }
}

impl InRange for VersionParameters {
    fn mistake(&self) -> Option<String> {
        outside("peer_days", f64::from(self.peer_days), 1.0, 365.0)
    }
}

/// The range of a count.
fn count(name: &str, value: u32) -> Option<String> {
    outside(name, f64::from(value), 1.0, 1e6)
}

/// The range of a usual maximum.
fn usual(value: f64) -> Option<String> {
    outside("usual_maximum", value, 1.0, 1e12)
}

/// The range of a number of bytes.
fn bytes(value: u64) -> Option<String> {
    let fits = (1..=1 << 50).contains(&value);
    (!fits).then(|| format!("parameter `bytes_min` is {value}; write a number from 1 to 2^50"))
}

impl InRange for RunSizeParameters {
    fn mistake(&self) -> Option<String> {
        count("calls_min", self.calls_min).or_else(|| usual(self.usual_maximum))
    }
}

impl InRange for RunRateParameters {
    fn mistake(&self) -> Option<String> {
        count("runs_min", self.runs_min)
            .or_else(|| outside("factor_min", self.factor_min, 1.0, 100.0))
            .or_else(|| usual(self.usual_maximum))
    }
}

impl InRange for ErrorsParameters {
    fn mistake(&self) -> Option<String> {
        count("calls_min", self.calls_min)
            .or_else(|| outside("share_min", self.share_min, 0.0, 1.0))
            .or_else(|| usual(self.usual_maximum))
    }
}

impl InRange for DenialsParameters {
    fn mistake(&self) -> Option<String> {
        count("calls_min", self.calls_min)
            .or_else(|| outside("share_min", self.share_min, 0.0, 1.0))
            .or_else(|| usual(self.usual_maximum))
    }
}

impl InRange for BytesSentParameters {
    fn mistake(&self) -> Option<String> {
        bytes(self.bytes_min).or_else(|| usual(self.usual_maximum))
    }
}

impl InRange for BytesReadParameters {
    fn mistake(&self) -> Option<String> {
        bytes(self.bytes_min).or_else(|| usual(self.usual_maximum))
    }
}

impl InRange for ArgumentShapeParameters {
    fn mistake(&self) -> Option<String> {
        outside("weight_min", self.weight_min, 1.0, 1_000.0)
            .or_else(|| outside("days_min", f64::from(self.days_min), 1.0, 255.0))
            .or_else(|| outside("lonely_budget", self.lonely_budget, 0.0, 1.0))
    }
}

impl InRange for DormantToolParameters {
    fn mistake(&self) -> Option<String> {
        outside("idle_days_min", f64::from(self.idle_days_min), 7.0, 1_000.0)
    }
}

impl InRange for FanOutParameters {
    fn mistake(&self) -> Option<String> {
        count("agents_min", self.agents_min).or_else(|| usual(self.usual_maximum))
    }
}
