//! What the detectors of steady, service-like agents can be told. Which agents those are is learned;
//! here it is only said what is asked of them.

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
