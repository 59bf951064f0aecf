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
