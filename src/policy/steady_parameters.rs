//! What the detectors of steady, service-like agents, and of slow drift, can be told. Which agents are
//! steady is learned; here it is only said what is asked of them.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::policy::parameters::{InRange, outside};

/// Parameters of `rate_shift`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RateShiftParameters {
    /// Hours of the UTC day with a call, on one day at least, for an agent to be taken for a
    /// service at all, 1 to 24. 16: work in sessions does not fill two thirds of a day.
    pub hours_min: u32,
    /// Fewer calls since the shift began never fire.
    pub calls_min: u32,
}

impl Default for RateShiftParameters {
    fn default() -> Self {
        Self { hours_min: 16, calls_min: 4 }
    }
}

/// Parameters of `silence`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SilenceParameters {
    /// So many calls must at least have been expected in the pause. 5: with less nothing is
    /// certain.
    pub calls_min: f64,
}

impl Default for SilenceParameters {
    fn default() -> Self {
        Self { calls_min: 5.0 }
    }
}

/// Parameters of `drift`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DriftParameters {
    /// The recent level must be so many times the anchor, or that part of it, 1.2 to 100. 2: less is
    /// growth that nobody needs to look at.
    pub ratio_min: f64,
}

impl Default for DriftParameters {
    fn default() -> Self {
        Self { ratio_min: 2.0 }
    }
}

/// Parameters of `common_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommonModeParameters {
    /// Agents a group needs, and, where it does too much, at work in the hour, 10 to 10,000. 20: of
    /// fewer each could be named.
    pub agents_min: u32,
    /// The share of them that must be above half of what nine of ten of their hours stay below, 0 to 1.
    pub share_min: f64,
    /// The group must do at least so many times its usual work of the hour, or at most that part of
    /// it, 1.1 to 100. 1.5: less is nobody's business, however unlikely.
    pub factor_min: f64,
}

impl Default for CommonModeParameters {
    fn default() -> Self {
        Self { agents_min: 20, share_min: 0.3, factor_min: 1.5 }
    }
}

impl InRange for CommonModeParameters {
    fn mistake(&self) -> Option<String> {
        outside("agents_min", f64::from(self.agents_min), 10.0, 10_000.0)
            .or_else(|| outside("share_min", self.share_min, 0.0, 1.0))
            .or_else(|| outside("factor_min", self.factor_min, 1.1, 100.0))
    }
}

impl InRange for DriftParameters {
    fn mistake(&self) -> Option<String> {
        outside("ratio_min", self.ratio_min, 1.2, 100.0)
    }
}

impl InRange for RateShiftParameters {
    fn mistake(&self) -> Option<String> {
        outside("hours_min", f64::from(self.hours_min), 1.0, 24.0)
            .or_else(|| outside("calls_min", f64::from(self.calls_min), 1.0, 60_000.0))
    }
}

impl InRange for SilenceParameters {
    fn mistake(&self) -> Option<String> {
        outside("calls_min", self.calls_min, 1.0, 1e6)
    }
}
