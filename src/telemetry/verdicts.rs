//! What people said, and what became of it: the audit of verdicts.

use crate::alert::Subject;
use crate::telemetry::{Event, Metrics};

/// What happened to a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerdictChange {
    /// Something is expected from now on.
    Accepted,
    /// Something is not expected.
    Revoked,
    /// An acceptance has run out.
    Expired,
    /// Its record was deleted from the topic.
    Withdrawn,
    /// A record is no verdict.
    Rejected,
    /// There was no room for it.
    Refused,
}

impl VerdictChange {
    /// Every change.
    pub const ALL: [Self; 6] = [
        Self::Accepted,
        Self::Revoked,
        Self::Expired,
        Self::Withdrawn,
        Self::Rejected,
        Self::Refused,
    ];

    /// The word used in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
        }
    }
}

/// A verdict began or ended to apply.
#[derive(Clone, Copy, Debug)]
pub struct VerdictChanged<'a> {
    /// What happened.
    pub change: VerdictChange,
    /// The tenant.
    pub tenant_id: &'a str,
    /// `agent` or `group`, and its name.
    pub scope: (&'a str, &'a str),
    /// What it is about.
    pub subject: &'a Subject,
    /// Who said it.
    pub author: &'a str,
    /// Why.
    pub reason: &'a str,
    /// The alert it came from; empty when there is none.
    pub alert_id: &'a str,
}

impl Event for VerdictChanged<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { change, tenant_id, scope, subject, author, reason, alert_id } = self;
        metrics.families().verdict_changes.with_label_values(&[change.as_str()]).inc();
        let (change, kind, hash) = (change.as_str(), subject.kind.as_str(), subject.hash);
        let (scope, name, shown) = (scope.0, scope.1, &subject.shown);
        tracing::info!(
            change, ?tenant_id, scope, ?name, kind, %hash, ?shown, ?author, ?reason, ?alert_id,
            "verdict"
        );
    }
}

/// A record of the verdicts topic brought none, or took one away.
#[derive(Clone, Copy, Debug)]
pub struct VerdictRefused<'a> {
    /// What happened.
    pub change: VerdictChange,
    /// Words, or the key of what is gone.
    pub detail: &'a str,
}

impl Event for VerdictRefused<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { change, detail } = self;
        metrics.families().verdict_changes.with_label_values(&[change.as_str()]).inc();
        let word = change.as_str();
        match change {
            VerdictChange::Withdrawn => tracing::info!(change = word, ?detail, "verdict"),
            VerdictChange::Refused => tracing::error!(change = word, ?detail, "verdict"),
            _ => tracing::warn!(change = word, ?detail, "verdict"),
        }
    }
}

/// Everything on the verdicts topic was read at the start.
#[derive(Clone, Copy, Debug)]
pub struct VerdictsRead {
    /// How many there are.
    pub count: usize,
}

impl Event for VerdictsRead {
    fn emit(self, metrics: &Metrics) {
        metrics.verdicts(self.count);
        tracing::info!(count = self.count, "verdicts read");
    }
}
