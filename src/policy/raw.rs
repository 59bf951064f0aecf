//! A rule as it is written: the shape of a file in `rules/`, not yet checked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alert::Severity;
use crate::policy::RawTest;
use crate::policy::parameters::AnyParameters;

/// One rule file.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRule {
    /// The rule's id, which is its path: `repeat.loop` is `rules/repeat/loop.yaml`.
    pub id: String,
    /// A short title, as people read it on a phone.
    pub title: String,
    /// What the rule finds and why that matters.
    pub description: String,
    /// What judges.
    pub detector: Detector,
    /// Whether the rule is in force.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// How bad it is if it is right.
    pub severity: Severity,
    /// False alarms allowed an active agent-day: above 0, at most 1.
    pub budget: f64,
    /// What the detector is told; every parameter has a default.
    #[serde(default)]
    #[schemars(with = "Option<AnyParameters>")]
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// ATT&CK, ATLAS and OWASP tags: `attack.t1526`, `atlas.aml.t0053`, `owasp.asi02`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Where it stands what to do: a page of `docs/runbooks/` or a URL.
    pub runbook: String,
    /// What fires this rule and is harmless.
    #[serde(default)]
    pub false_positives: Vec<String>,
    /// What must fire and what must stay silent; at least one of each.
    #[serde(default)]
    pub tests: Vec<RawTest>,
}

const fn yes() -> bool {
    true
}

/// What judges.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// The same call again and again.
    Repeat,
    /// The busiest minute of a day.
    CallRate,
    /// A burst of tools never used.
    NewTool,
    /// Every first use of a tool, listed.
    FirstUse,
    /// Work in an hour of the day that never saw any.
    UnusualHour,
    /// A session that reaches for what its group's sessions do not reach for.
    InjectedSession,
    /// A target that is nearly a known one.
    LookAlike,
    /// The calls of one run, against the largest run of each day.
    RunSize,
    /// Failed calls in ten minutes, against the most of each day.
    Errors,
    /// Denied calls in ten minutes, likewise.
    Denials,
    /// Bytes sent into tools in ten minutes, likewise.
    BytesSent,
    /// Bytes read from tools in ten minutes, likewise.
    BytesRead,
    /// Arguments of shapes that a known tool was never given.
    ArgumentShape,
    /// A tool that comes back after a long time, listed.
    DormantTool,
    /// Sub-agents at work in an hour, against the most of each day.
    FanOut,
    /// Calls that do not fit their session.
    SessionFit,
    /// More or fewer calls than a steady agent makes at this hour.
    RateShift,
    /// A steady agent that has stopped.
    Silence,
    /// Days that have slowly become unlike those of the first fortnight.
    Drift,
    /// What a new version of the agent changed, listed.
    Version,
    /// What changes a whole group at once.
    CommonMode,
    /// Runs begun within two hours, against the most of each day.
    RunRate,
}

impl Detector {
    /// Every detector, in the order they judge.
    pub const ALL: [Self; 22] = [
        Self::Repeat,
        Self::CallRate,
        Self::NewTool,
        Self::FirstUse,
        Self::UnusualHour,
        Self::InjectedSession,
        Self::LookAlike,
        Self::RunSize,
        Self::Errors,
        Self::Denials,
        Self::BytesSent,
        Self::BytesRead,
        Self::ArgumentShape,
        Self::DormantTool,
        Self::FanOut,
        Self::SessionFit,
        Self::RateShift,
        Self::Silence,
        Self::Drift,
        Self::Version,
        Self::CommonMode,
        Self::RunRate,
    ];

    /// Its place among all detectors, 0 to 31: how groups count by detector.
    #[must_use]
    #[expect(clippy::as_conversions, reason = "the number of a variant, of which there are few")]
    pub const fn place(self) -> u8 {
        self as u8
    }

    /// The word used in rules, alerts and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repeat => "repeat",
            Self::CallRate => "call_rate",
            Self::NewTool => "new_tool",
            Self::FirstUse => "first_use",
            Self::UnusualHour => "unusual_hour",
            Self::InjectedSession => "injected_session",
            Self::LookAlike => "look_alike",
            Self::RunSize => "run_size",
            Self::Errors => "errors",
            Self::Denials => "denials",
            Self::BytesSent => "bytes_sent",
            Self::BytesRead => "bytes_read",
            Self::ArgumentShape => "argument_shape",
            Self::DormantTool => "dormant_tool",
            Self::FanOut => "fan_out",
            Self::SessionFit => "session_fit",
            Self::RateShift => "rate_shift",
            Self::Silence => "silence",
            Self::Drift => "drift",
            Self::Version => "version",
            Self::CommonMode => "common_mode",
            Self::RunRate => "run_rate",
        }
    }
}
