//! An alert for encodings that do not name their fields, such as the snapshots of states.
//!
//! The JSON shape leaves absent fields out, which such an encoding cannot do. This one writes every
//! field, and numbers to the last bit. The compiler holds it to the fields of [`Alert`].

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::alert::{
    Alert, AlertStatus, Calibration, Evidence, Expected, Learning, Severity, Subject, SubjectHash,
    SubjectKind, Window,
};

/// Every field of an alert.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Alert")]
struct Whole {
    schema: String,
    alert_id: String,
    revision: u32,
    status: AlertStatus,
    dedup_key: String,
    duplicate_of: Option<String>,
    time: String,
    rule_id: String,
    detector: String,
    severity: Severity,
    score: f64,
    tenant_id: String,
    agent_id: String,
    agent_version: Option<String>,
    title: String,
    summary: String,
    expected: Expected,
    observed: f64,
    probability: f64,
    window: Window,
    learning: Learning,
    calibration: Option<Calibration>,
    trigger: Option<Evidence>,
    // Never of what is kept: an alert is cut on its way.
    #[serde(skip)]
    is_cut: bool,
    evidence: Vec<Evidence>,
    evidence_total: u64,
    #[serde(with = "subjects")]
    subjects: Vec<Subject>,
    counterfactual: String,
    tags: Vec<String>,
    runbook_url: String,
    links: Vec<String>,
}

/// Writes an alert.
///
/// # Errors
///
/// Those of the encoding.
pub fn serialize<S: Serializer>(alert: &Alert, serializer: S) -> Result<S::Ok, S::Error> {
    Whole::serialize(alert, serializer)
}

/// Reads an alert.
///
/// # Errors
///
/// Those of the encoding.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<Alert>, D::Error> {
    Whole::deserialize(deserializer).map(Box::new)
}

/// Every field of a subject.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Subject")]
struct WholeSubject {
    kind: SubjectKind,
    hash: SubjectHash,
    shown: String,
    level: Option<f64>,
}

/// One subject in full.
pub mod subject {
    use super::{Deserializer, Serializer, Subject, WholeSubject};

    /// Writes a subject.
    ///
    /// # Errors
    ///
    /// Those of the encoding.
    pub fn serialize<S: Serializer>(subject: &Subject, serializer: S) -> Result<S::Ok, S::Error> {
        WholeSubject::serialize(subject, serializer)
    }

    /// Reads a subject.
    ///
    /// # Errors
    ///
    /// Those of the encoding.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Subject, D::Error> {
        WholeSubject::deserialize(deserializer)
    }
}

/// Subjects in full.
mod subjects {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Subject};

    #[derive(Serialize)]
    struct Borrowed<'a>(#[serde(with = "super::subject")] &'a Subject);

    #[derive(Deserialize)]
    struct Owned(#[serde(with = "super::subject")] Subject);

    pub(super) fn serialize<S: Serializer>(
        subjects: &[Subject],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(subjects.iter().map(Borrowed))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Subject>, D::Error> {
        let subjects = Vec::<Owned>::deserialize(deserializer)?;
        Ok(subjects.into_iter().map(|owned| owned.0).collect())
    }
}
