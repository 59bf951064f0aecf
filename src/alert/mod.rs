//! What people are told: one [`Alert`], its severity, its identity and the life of its episode.
//!
//! An alert is data. It is the same JSON object on the alerts topic, in a webhook's body, in the
//! output of `replay` and in the API. Texts in it that an agent wrote are hostile: JSON escapes
//! them here, every other rendering escapes them for its reader.

mod audit;
mod cut;
mod episode;
pub mod exact;
mod identity;
mod score;
mod subject;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::ToolCall;

pub use audit::{AUDIT_SCHEMA, AuditKind, AuditPosition, AuditRecord};
pub use episode::{EPISODE_GAP_SECS, EVIDENCE_MAX, Episode, Step};
pub use identity::{AlertId, crowd, incident};
pub use score::{LEARNING_SCORE_MAX, PAGE_SCORE, score};
pub use subject::{ParseHashError, SHOWN_MAX, SUBJECTS_MAX, Subject, SubjectHash, SubjectKind};

/// The version of the alert's JSON shape.
pub const SCHEMA: &str = "toolwarden/alert/1";

/// How bad it is if the alert is right.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth listing; nobody is woken.
    Info,
    /// Worth a look this week.
    Low,
    /// Worth a look today.
    Medium,
    /// Worth waking somebody.
    High,
    /// Worth waking everybody.
    Critical,
}

impl Severity {
    /// Every severity, mildest first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// One step milder; `info` stays what it is.
    #[must_use]
    pub const fn lowered(self) -> Self {
        match self {
            Self::Critical => Self::High,
            Self::High => Self::Medium,
            Self::Medium => Self::Low,
            Self::Low | Self::Info => Self::Info,
        }
    }

    /// The word used in JSON, configuration and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Where an alert is in its life.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AlertStatus {
    /// The first word on an episode.
    Firing,
    /// The episode goes on and has got worse, or it is a while since the last word.
    Updated,
    /// Nothing more was seen for the length of an episode's gap.
    Resolved,
}

impl AlertStatus {
    /// The word used in JSON and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Updated => "updated",
            Self::Resolved => "resolved",
        }
    }
}

/// How much is known of the agent whose call was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LearningState {
    /// Too little history: judged and listed, never paged.
    Learning,
    /// Judged in full.
    Active,
    /// At work for long enough, but its records give this detector too little to judge by.
    Starved,
    /// Back after a silence of thirty days or more: what is known of it may be out of date.
    Stale,
}

/// The learning state behind an alert, so that nobody takes a guess for knowledge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Learning {
    /// The state.
    pub state: LearningState,
    /// How much of what the detector needs is there, 0 to 1.
    pub progress: f64,
    /// When the agent was first seen (RFC 3339).
    pub since: String,
    /// Active days of history.
    pub active_days: u32,
    /// How many peers the agent has; below 2, novelty is judged with a reduced budget.
    pub peers: u32,
    /// How well the version of the agent is known; null where its records name none.
    #[serde(default)]
    pub version: Option<VersionLearning>,
    /// Who the agent's peers are, and why.
    #[serde(default)]
    pub group: PeerGroup,
}

/// On what it rests who an agent's peers are.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PeerBasis {
    /// The operator's configuration.
    Configured,
    /// What the records say.
    Declared,
    /// The product in the agent's id.
    #[default]
    Id,
    /// The tools it uses.
    Inferred,
}

/// The group of an agent's peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerGroup {
    /// Its name within the tenant.
    pub name: String,
    /// On what it rests that the agent is one of it.
    pub basis: PeerBasis,
}

/// How well the version of an agent is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// It runs for longer than a few active days.
    Known,
    /// It came in the last few active days. Nothing is judged more mildly for that.
    Probation,
    /// The agent names so many versions that none is told apart from the others.
    Unsettled,
}

/// The version behind an alert, `agent_version`, and how well it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionLearning {
    /// The state.
    pub state: VersionState,
    /// Since when the agent runs it (RFC 3339, to the minute); null where that is not known.
    #[serde(default)]
    pub since: Option<String>,
}

/// Why an alert is one step less severe than its rule says: in its group the detector comes near to
/// an alert more often than its budget allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Calibration {
    /// How near: the ratio of budget to chance that was reached; at 1 an alert is due.
    pub tier: f64,
    /// The active agent-days of the last one to two months on which it was.
    pub observed: u64,
    /// The most that the budget allows.
    pub allowed: f64,
    /// Of how many active agent-days.
    pub agent_days: u64,
    /// The severity that the rule says.
    pub rule_severity: Severity,
}

/// What would have been usual.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expected {
    /// The low end of the usual range.
    pub low: f64,
    /// The high end of the usual range.
    pub high: f64,
    /// What is counted, as it follows the number: `acting calls in 60 s`.
    pub unit: String,
    /// What the range rests on: `9 active days of history`.
    pub basis: String,
}

/// The span of event time an alert speaks of (RFC 3339).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// Its start.
    pub start: String,
    /// Its end.
    pub end: String,
}

/// One call that an alert rests on, and where to find its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// When the call happened (RFC 3339).
    pub time: String,
    /// The call's id.
    pub call_id: String,
    /// The session it belongs to.
    pub session_id: String,
    /// The tool.
    pub tool_name: String,
    /// The topic it was read from.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl Evidence {
    /// The evidence that one call gives.
    #[must_use]
    pub fn of(call: &ToolCall<'_>) -> Self {
        let source = call.source();
        Self {
            time: call.time.to_string(),
            call_id: call.call_id.to_string(),
            session_id: call.session_id.to_string(),
            tool_name: call.tool_name.to_string(),
            topic: source.topic.to_owned(),
            partition: source.partition,
            offset: source.offset,
        }
    }
}

/// One alert: a line of `replay`, a record of the alerts topic, the body of a webhook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// The version of this shape.
    pub schema: String,
    /// The episode's identity: the same in `firing`, `updated` and `resolved`, and the same again
    /// when the same calls are read twice.
    pub alert_id: String,
    /// Which word of the episode this is, counted from 0. `alert_id` and `revision` together name
    /// one body.
    pub revision: u32,
    /// Where the episode is in its life.
    pub status: AlertStatus,
    /// The incident it belongs to: one tool or target that is new to a whole group is one incident,
    /// whichever agents and sessions it turns up in, and so is more work than usual by agents of one
    /// group in one hour, whatever the rules that tell it. The `alert_id` where nothing is shared.
    #[serde(default)]
    pub dedup_key: String,
    /// The alert that the same incident was told by before; set on the way to a receiver, never on
    /// the alerts topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<String>,
    /// The event time of the decision (RFC 3339).
    pub time: String,
    /// The rule that decided.
    pub rule_id: String,
    /// The detector the rule uses.
    pub detector: String,
    /// How bad it is if it is right.
    pub severity: Severity,
    /// How surprising it is: `20 * (log10 R + 2)`, clamped to 0..=100. At 40 the rule's budget is
    /// just spent; each 20 more is ten times rarer.
    pub score: f64,
    /// The customer or organisation.
    pub tenant_id: String,
    /// The agent.
    pub agent_id: String,
    /// The agent's version, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// The rule's title.
    pub title: String,
    /// One sentence: who did what, how far from usual.
    pub summary: String,
    /// What would have been usual.
    pub expected: Expected,
    /// What was seen, in the unit of `expected`.
    pub observed: f64,
    /// The chance of something at least this extreme in one active day of this agent, 0 to 1.
    pub probability: f64,
    /// The span of event time it speaks of.
    pub window: Window,
    /// How much is known of the agent.
    pub learning: Learning,
    /// Why it is one step less severe than its rule says; absent when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// The call on which this was decided; absent when no call caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Evidence>,
    /// Whether the alert was too large for the alerts topic, and samples, explanations or the
    /// trigger were left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
    /// Sample calls, oldest first, bounded.
    pub evidence: Vec<Evidence>,
    /// How many calls there are in all, samples included.
    pub evidence_total: u64,
    /// What a person would have to accept for it to be silent, the most telling one first; at most
    /// 8.
    #[serde(default)]
    pub subjects: Vec<Subject>,
    /// What would have kept it silent.
    pub counterfactual: String,
    /// ATT&CK, ATLAS and OWASP tags of the rule.
    pub tags: Vec<String>,
    /// What to do now.
    pub runbook_url: String,
    /// Commands and links that show more.
    pub links: Vec<String>,
}

impl Alert {
    /// The alert as one line of JSON: the bytes that go everywhere.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers, texts and lists only: there is nothing in an alert that JSON cannot say.
        serde_json::to_string(self).unwrap_or_default()
    }
}
