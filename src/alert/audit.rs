//! What changed in what is known of an agent: a record for whoever has to answer for it later.
//!
//! What was adopted stops being news, so each adoption and each loss of knowledge is written down,
//! with the call that caused it. Not an alert: nobody is told, nothing is open, nothing ends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alert::Subject;
use crate::event::Position;

/// The version of the record's JSON shape.
pub const AUDIT_SCHEMA: &str = "toolwarden/audit/1";

/// What kind of change it was.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    /// A tool became the agent's own by use on several days, or is known again.
    ToolAdopted,
    /// A known tool was forgotten because its place was needed.
    ToolForgotten,
    /// An hour of work counts as usual after it alerted on several days.
    HourAccepted,
    /// The agent counts as known from now on.
    LearningCompleted,
    /// A new version of the agent is no longer on probation.
    VersionSettled,
    /// What was known is used again after a long silence.
    KnowledgeResumed,
    /// The agent is compared with another group from now on.
    GroupChanged,
    /// The first fortnight is over, and later days are held to it.
    AnchorSet,
    /// What days are held to has moved to a level that a person accepted.
    AnchorMoved,
    /// The agent is at work around the clock, and its rate is learned from now on.
    ServiceBegun,
    /// It no longer is, and what was learned of its rate is forgotten.
    ServiceForgotten,
    /// A person's word kept something out of the judgement, for the first time that day.
    VerdictApplied,
}

impl AuditKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::ToolAdopted,
        Self::ToolForgotten,
        Self::HourAccepted,
        Self::LearningCompleted,
        Self::VersionSettled,
        Self::KnowledgeResumed,
        Self::GroupChanged,
        Self::AnchorSet,
        Self::AnchorMoved,
        Self::ServiceBegun,
        Self::ServiceForgotten,
        Self::VerdictApplied,
    ];

    /// The word used in JSON and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ToolAdopted => "tool_adopted",
            Self::ToolForgotten => "tool_forgotten",
            Self::HourAccepted => "hour_accepted",
            Self::LearningCompleted => "learning_completed",
            Self::VersionSettled => "version_settled",
            Self::KnowledgeResumed => "knowledge_resumed",
            Self::GroupChanged => "group_changed",
            Self::AnchorSet => "anchor_set",
            Self::AnchorMoved => "anchor_moved",
            Self::ServiceBegun => "service_begun",
            Self::ServiceForgotten => "service_forgotten",
            Self::VerdictApplied => "verdict_applied",
        }
    }
}

/// Where the call that caused a change is to be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditPosition {
    /// The topic it was read from.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl AuditPosition {
    /// The position of a call.
    #[must_use]
    pub fn of(position: &Position<'_>) -> Self {
        let Position { topic, partition, offset, .. } = *position;
        Self { topic: topic.to_owned(), partition, offset }
    }
}

/// One change: a line of `replay --audit`, a record of the audit topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// The version of this shape.
    pub schema: String,
    /// The event time of the call that caused it (RFC 3339).
    pub time: String,
    /// The tenant.
    pub tenant_id: String,
    /// The agent.
    pub agent_id: String,
    /// What kind of change it was.
    pub kind: AuditKind,
    /// The detector that judges otherwise from now on; absent when all of them do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<String>,
    /// What it is about; absent when it is the agent as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// What happened and why, in words. Names that agents wrote are quoted.
    pub reason: String,
    /// The call that caused it.
    pub position: AuditPosition,
}

impl AuditRecord {
    /// One line of JSON. Keys stand in the order of the fields.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, numbers and enums only: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_written_as_its_word() {
        for kind in AuditKind::ALL {
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{}\"", kind.as_str()));
        }
    }
}
