//! What each detector can be told. The defaults are what the shipped budgets were measured with.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::policy::{
    ArgumentShapeParameters, BytesReadParameters, BytesSentParameters, CommonModeParameters,
    DenialsParameters, DormantToolParameters, DriftParameters, ErrorsParameters, FanOutParameters,
    RateShiftParameters, RunRateParameters, RunSizeParameters, SilenceParameters,
    VersionParameters,
};

/// Parameters of `repeat`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RepeatParameters {
    /// The share of repeats assumed of every agent at least, .05 to .6. Lower fires earlier.
    pub share_floor: f64,
}

impl Default for RepeatParameters {
    fn default() -> Self {
        Self { share_floor: 0.25 }
    }
}

/// Parameters of `call_rate`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CallRateParameters {
    /// Fewer acting calls in a minute than this never fire.
    pub calls_min: u32,
    /// The busiest minute assumed of an agent that has no history.
    pub usual_maximum: f64,
    /// No agent is taken to be steadier than this deviation of the logarithm, .05 to 2.
    pub deviation_min: f64,
    /// After so many active days a day counts half.
    pub half_life_days: f64,
}

impl Default for CallRateParameters {
    fn default() -> Self {
        Self { calls_min: 10, usual_maximum: 10.0, deviation_min: 0.35, half_life_days: 20.0 }
    }
}

/// Parameters of `new_tool`: what one use of a tool new to the agent weighs, and from where on a
/// burst is one.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewToolParameters {
    /// A burst weighs at least this much.
    pub weight_min: f64,
    /// One peer uses the tool.
    pub one_peer: f64,
    /// Two or more peers use the tool.
    pub several_peers: f64,
    /// Two or more peers took the tool up in the last `upgrade_days`: the product has changed.
    pub upgrade: f64,
    /// How long an upgrade takes to reach everybody, in days.
    pub upgrade_days: u32,
    /// The agent has fewer than two peers, and the tool is one its product ships with.
    pub catalogue: f64,
    /// Factor when the agent has adopted another tool of the same MCP server.
    pub known_server: f64,
    /// Factor within twelve hours of an alert on the same tool.
    pub after_alert: f64,
    /// Factor when the call failed and names no MCP server: weak models invent names of tools.
    pub failed: f64,
    /// Factor on the budget for an agent with fewer than two peers and no catalogue.
    pub lonely_budget: f64,
}

impl Default for NewToolParameters {
    fn default() -> Self {
        Self {
            weight_min: 2.0,
            one_peer: 0.7,
            several_peers: 0.55,
            upgrade: 0.05,
            upgrade_days: 21,
            catalogue: 0.05,
            known_server: 0.3,
            after_alert: 0.2,
            failed: 0.5,
            lonely_budget: 0.25,
        }
    }
}

/// Parameters of `first_use`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FirstUseParameters {
    /// At most so many first uses of one agent are listed, and told to its peers, a day.
    pub listed_a_day: u32,
}

impl Default for FirstUseParameters {
    fn default() -> Self {
        Self { listed_a_day: 100 }
    }
}

/// Parameters of `unusual_hour`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UnusualHourParameters {
    /// Active days of history needed.
    pub days_min: u32,
    /// Calls in the hour needed.
    pub calls_min: u32,
}

impl Default for UnusualHourParameters {
    fn default() -> Self {
        Self { days_min: 3, calls_min: 4 }
    }
}

/// Parameters of `injected_session`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InjectedSessionParameters {
    /// The surprise of a call, in nats, at which somebody is told; each nat more is rarer by a
    /// factor of 2.7.
    pub surprise: f64,
    /// The surprise of a call's targets, in nats, from which on nothing is learned from a session.
    pub gate: f64,
    /// Days after which a group's sessions are known. Until then all of them are learned from, and
    /// nobody is told.
    pub learn_days: u32,
}

impl Default for InjectedSessionParameters {
    fn default() -> Self {
        Self { surprise: 1.9, gate: 1.0, learn_days: 14 }
    }
}

/// Parameters of `look_alike`: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LookAlikeParameters {}

/// Parameters of `session_fit`. Evidence is in natural logarithms: 3 is twenty times likelier under
/// another hand.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionFitParameters {
    /// What every call takes from the evidence of its session, 0 to 2. Higher forgets sooner.
    pub drift: f64,
    /// Evidence up to this never fires.
    pub evidence_min: f64,
    /// The highest evidence of a day assumed of an agent that has no history.
    pub usual_peak: f64,
    /// No agent is taken to be steadier than this deviation of its daily peaks, .1 to 20.
    pub deviation_min: f64,
}

impl Default for SessionFitParameters {
    fn default() -> Self {
        Self { drift: 0.4, evidence_min: 3.0, usual_peak: 3.0, deviation_min: 2.0 }
    }
}

/// The parameters of whichever detector a rule names, for the JSON Schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum AnyParameters {
    /// Of `repeat`.
    Repeat(RepeatParameters),
    /// Of `call_rate`.
    CallRate(CallRateParameters),
    /// Of `new_tool`.
    NewTool(NewToolParameters),
    /// Of `first_use`.
    FirstUse(FirstUseParameters),
    /// Of `unusual_hour`.
    UnusualHour(UnusualHourParameters),
    /// Of `injected_session`.
    InjectedSession(InjectedSessionParameters),
    /// Of `look_alike`.
    LookAlike(LookAlikeParameters),
    /// Of `run_size`.
    RunSize(RunSizeParameters),
    /// Of `errors`.
    Errors(ErrorsParameters),
    /// Of `denials`.
    Denials(DenialsParameters),
    /// Of `bytes_sent`.
    BytesSent(BytesSentParameters),
    /// Of `bytes_read`.
    BytesRead(BytesReadParameters),
    /// Of `argument_shape`.
    ArgumentShape(ArgumentShapeParameters),
    /// Of `dormant_tool`.
    DormantTool(DormantToolParameters),
    /// Of `fan_out`.
    FanOut(FanOutParameters),
    /// Of `version`.
    Version(VersionParameters),
    /// Of `session_fit`.
    SessionFit(SessionFitParameters),
    /// Of `rate_shift`.
    RateShift(RateShiftParameters),
    /// Of `silence`.
    Silence(SilenceParameters),
    /// Of `drift`.
    Drift(DriftParameters),
    /// Of `common_mode`.
    CommonMode(CommonModeParameters),
    /// Of `run_rate`.
    RunRate(RunRateParameters),
}

/// Names the parameter that is out of its range, with what it should be.
pub(crate) trait InRange {
    /// The first mistake, if any.
    fn mistake(&self) -> Option<String>;
}

pub(crate) fn outside(name: &str, value: f64, low: f64, high: f64) -> Option<String> {
    let fits = value >= low && value <= high;
    (!fits).then(|| format!("parameter `{name}` is {value}; write a number from {low} to {high}"))
}

impl InRange for RepeatParameters {
    fn mistake(&self) -> Option<String> {
        outside("share_floor", self.share_floor, 0.05, 0.6)
    }
}

impl InRange for CallRateParameters {
    fn mistake(&self) -> Option<String> {
        outside("calls_min", f64::from(self.calls_min), 1.0, 60_000.0)
            .or_else(|| outside("usual_maximum", self.usual_maximum, 1.0, 60_000.0))
            .or_else(|| outside("deviation_min", self.deviation_min, 0.05, 2.0))
            .or_else(|| outside("half_life_days", self.half_life_days, 1.0, 1_000.0))
    }
}

impl InRange for NewToolParameters {
    fn mistake(&self) -> Option<String> {
        let factors = [
            ("one_peer", self.one_peer),
            ("several_peers", self.several_peers),
            ("upgrade", self.upgrade),
            ("catalogue", self.catalogue),
            ("known_server", self.known_server),
            ("after_alert", self.after_alert),
            ("failed", self.failed),
            ("lonely_budget", self.lonely_budget),
        ];
        factors
            .iter()
            .find_map(|(name, value)| outside(name, *value, 0.0, 1.0))
            .or_else(|| outside("weight_min", self.weight_min, 1.0, 1_000.0))
            .or_else(|| outside("upgrade_days", f64::from(self.upgrade_days), 0.0, 1_000.0))
    }
}

impl InRange for FirstUseParameters {
    fn mistake(&self) -> Option<String> {
        outside("listed_a_day", f64::from(self.listed_a_day), 1.0, 10_000.0)
    }
}

impl InRange for UnusualHourParameters {
    fn mistake(&self) -> Option<String> {
        outside("days_min", f64::from(self.days_min), 1.0, 365.0)
            .or_else(|| outside("calls_min", f64::from(self.calls_min), 1.0, 60_000.0))
    }
}

impl InRange for InjectedSessionParameters {
    fn mistake(&self) -> Option<String> {
        outside("surprise", self.surprise, 0.1, 20.0)
            .or_else(|| outside("gate", self.gate, 0.1, 20.0))
            .or_else(|| outside("learn_days", f64::from(self.learn_days), 1.0, 365.0))
    }
}

impl InRange for LookAlikeParameters {
    fn mistake(&self) -> Option<String> {
        None
    }
}

impl InRange for SessionFitParameters {
    fn mistake(&self) -> Option<String> {
        outside("drift", self.drift, 0.0, 2.0)
            .or_else(|| outside("evidence_min", self.evidence_min, 0.0, 1_000.0))
            .or_else(|| outside("usual_peak", self.usual_peak, 0.0, 1_000.0))
            .or_else(|| outside("deviation_min", self.deviation_min, 0.1, 20.0))
    }
}
