//! What a person said of a tool, a target, a level or an hour: that it is expected, or that it is
//! not.
//!
//! Written by `toolwarden alert verdict` or by hand, one JSON object a record or a line; read by
//! every instance and by `replay`. Raw to checked: an [`Acceptance`] that exists is valid. What it
//! does to the judgement is the business of `detect`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alert::{SHOWN_MAX, Subject, SubjectKind};
use crate::event::Timestamp;

/// The version of the JSON shape.
pub const VERDICT_SCHEMA: &str = "toolwarden/verdict/1";

/// The longest name of a tenant, an agent or a group, in bytes; decoders take no longer ones.
const NAME_MAX: usize = 256;

/// The longest reason, in characters.
const REASON_MAX: usize = 500;

/// The longest name of an author, in characters.
const AUTHOR_MAX: usize = 128;

/// What a person says of a subject.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Stance {
    /// It belongs here: it is no longer told.
    Expected,
    /// It does not belong here: takes back an acceptance, and is not learned either.
    NotExpected,
}

impl Stance {
    /// The word used in JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::NotExpected => "not_expected",
        }
    }
}

/// For whom it is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Scope {
    /// One agent.
    Agent(String),
    /// Every agent of one product: those whose ids begin alike, up to `@` or the last `/`.
    Group(String),
}

impl Scope {
    /// The name of the agent or the group.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Agent(name) | Self::Group(name) => name,
        }
    }

    /// `agent` or `group`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Agent(_) => "agent",
            Self::Group(_) => "group",
        }
    }
}

/// One verdict as written: a record of the verdicts topic, a line of `replay --verdicts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "toolwarden verdict")]
pub struct RawAcceptance {
    /// The version of this shape: `toolwarden/verdict/1`.
    pub schema: String,
    /// The customer or organisation.
    pub tenant_id: String,
    /// For whom it is said: `{"agent": "billing@1"}` or `{"group": "billing"}`.
    pub scope: Scope,
    /// What it is said of, as it stands in the `subjects` of an alert.
    pub subject: Subject,
    /// What is said.
    pub verdict: Stance,
    /// Why.
    pub reason: String,
    /// Who says it.
    pub author: String,
    /// From when on it applies, by the time of calls (RFC 3339).
    pub at: String,
    /// From when on it no longer applies (RFC 3339); never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// The alert it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_id: Option<String>,
}

/// One verdict, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Acceptance {
    raw: RawAcceptance,
    at: Timestamp,
    expires: Option<Timestamp>,
}

/// Why something is no verdict, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AcceptanceError(String);

impl Acceptance {
    /// Reads one JSON object.
    ///
    /// # Errors
    ///
    /// What is wrong and what to write instead.
    pub fn parse(json: &[u8]) -> Result<Self, AcceptanceError> {
        let raw = serde_json::from_slice(json).map_err(|e| AcceptanceError(e.to_string()))?;
        Self::from_raw(raw)
    }

    /// Checks one verdict.
    ///
    /// # Errors
    ///
    /// What is wrong and what to write instead.
    pub fn from_raw(raw: RawAcceptance) -> Result<Self, AcceptanceError> {
        if let Some(mistake) = mistake(&raw) {
            return Err(AcceptanceError(mistake));
        }
        let time = |field: &str, text: &str| {
            let read = text.parse::<Timestamp>();
            read.map_err(|error| AcceptanceError(format!("`{field}`: {error}")))
        };
        let at = time("at", &raw.at)?;
        let expires = raw.expires.as_deref().map(|text| time("expires", text)).transpose()?;
        if expires.is_some_and(|expires| expires <= at) {
            let words = "`expires` is not after `at`: it would never apply";
            return Err(AcceptanceError(words.to_owned()));
        }
        Ok(Self { raw, at, expires })
    }

    /// As it was written.
    #[must_use]
    pub const fn raw(&self) -> &RawAcceptance {
        &self.raw
    }

    /// What it is said of.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.raw.subject
    }

    /// What is said.
    #[must_use]
    pub const fn stance(&self) -> Stance {
        self.raw.verdict
    }

    /// From when on it applies, by the time of calls.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// From when on it no longer applies.
    #[must_use]
    pub const fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// The key of its record: tenant, scope and subject. A later verdict with the same key takes
    /// the place of an earlier one.
    #[must_use]
    pub fn key(&self) -> String {
        let RawAcceptance { tenant_id, scope, subject, .. } = &self.raw;
        let hash = subject.hash.to_string();
        let parts = [tenant_id.as_str(), scope.word(), scope.name(), subject.kind.as_str(), &hash];
        // A list of texts: there is nothing in it that JSON cannot say.
        serde_json::to_string(&parts).unwrap_or_default()
    }

    /// The verdict as one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.raw).unwrap_or_default()
    }
}

fn mistake(raw: &RawAcceptance) -> Option<String> {
    if raw.schema != VERDICT_SCHEMA {
        return Some(format!("`schema` is not known; write `{VERDICT_SCHEMA}`"));
    }
    for (field, name) in [("tenant_id", raw.tenant_id.as_str()), ("scope", raw.scope.name())] {
        if name.is_empty() || name.len() > NAME_MAX {
            return Some(format!("`{field}` needs a name of 1 to {NAME_MAX} bytes"));
        }
    }
    for (field, text, max) in
        [("reason", &raw.reason, REASON_MAX), ("author", &raw.author, AUTHOR_MAX)]
    {
        if text.trim().is_empty() || text.chars().count() > max {
            return Some(format!("`{field}` needs 1 to {max} characters"));
        }
    }
    if raw.verdict == Stance::NotExpected && raw.expires.is_some() {
        return Some("what is not expected does not expire; remove `expires`".to_owned());
    }
    subject_mistake(&raw.subject)
}

fn subject_mistake(subject: &Subject) -> Option<String> {
    if subject.shown.chars().count() > SHOWN_MAX {
        return Some(format!("`subject.shown` has at most {SHOWN_MAX} characters"));
    }
    match (subject.kind, subject.level) {
        (SubjectKind::Level, Some(level)) if level.is_finite() && level >= 1.0 => None,
        (SubjectKind::Level, _) => {
            Some("a subject of kind `level` needs a `level` of 1 or more".to_owned())
        }
        (_, Some(_)) => Some("only a subject of kind `level` has a `level`".to_owned()),
        (_, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn good() -> Value {
        json!({
            "schema": VERDICT_SCHEMA,
            "tenant_id": "acme",
            "scope": {"agent": "billing@1"},
            "subject": {"kind": "email", "hash": "00000000000000ff", "shown": "a…@example.com"},
            "verdict": "expected",
            "reason": "our new bookkeeper",
            "author": "kim",
            "at": "2026-01-05T12:00:00Z",
            "expires": "2026-04-05T12:00:00Z",
            "alert_id": "0f2c9a",
        })
    }

    fn with(pointer: &str, value: Value) -> Result<Acceptance, AcceptanceError> {
        let mut json = good();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        json.pointer_mut(parent).unwrap()[field] = value;
        Acceptance::parse(json.to_string().as_bytes())
    }

    #[test]
    fn a_good_one_is_read_and_written_back() {
        let acceptance = Acceptance::parse(good().to_string().as_bytes()).unwrap();
        assert_eq!(acceptance.key(), r#"["acme","agent","billing@1","email","00000000000000ff"]"#);
        assert_eq!(Acceptance::parse(acceptance.to_json().as_bytes()), Ok(acceptance));
    }

    #[test]
    fn each_mistake_is_refused_with_words_that_name_the_field() {
        for (pointer, value, words) in [
            ("/schema", json!("toolwarden/verdict/2"), "schema"),
            ("/tenant_id", json!(""), "tenant_id"),
            ("/scope", json!({"agent": ""}), "scope"),
            ("/scope", json!({"team": "x"}), "unknown variant `team`"),
            ("/reason", json!("  "), "reason"),
            ("/author", json!("x".repeat(129)), "author"),
            ("/at", json!("yesterday"), "RFC 3339"),
            ("/expires", json!("2026-01-05T12:00:00Z"), "never apply"),
            ("/verdict", json!("not_expected"), "remove `expires`"),
            ("/verdict", json!("fine"), "unknown variant `fine`"),
            ("/expiry", json!("2027-01-05T12:00:00Z"), "unknown field `expiry`"),
            ("/subject/kind", json!("colour"), "one of tool"),
            ("/subject/hash", json!("ff"), "16 hexadecimal"),
            ("/subject/level", json!(3), "only a subject of kind `level`"),
            ("/subject/shown", json!("x".repeat(65)), "shown"),
        ] {
            let error = with(pointer, value).unwrap_err().to_string();
            assert!(error.contains(words), "{pointer}: {error}");
        }
    }

    #[test]
    fn a_level_needs_a_number() {
        let error = with("/subject/kind", json!("level")).unwrap_err().to_string();
        assert!(error.contains("`level` of 1 or more"), "{error}");
    }
}
