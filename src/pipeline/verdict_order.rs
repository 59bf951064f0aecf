//! Making verdicts: from the words of an alert, or ahead of time from a name.
//!
//! Pure: reading alerts, the clock and writing records are the caller's business.

use std::borrow::Cow;
use std::time::Duration;

use crate::alert::{Alert, AlertStatus, Subject, SubjectKind};
use crate::baseline::identity::tool_hash;
use crate::detect::{hour_hash, level_hash};
use crate::event::{Timestamp, ToolCall};
use crate::policy::{
    Acceptance, AcceptanceError, Detector, RawAcceptance, Scope, Stance, VERDICT_SCHEMA,
};

/// What a person says, whatever it is about.
#[derive(Clone, Debug)]
pub struct Saying {
    /// What is said.
    pub stance: Stance,
    /// Why.
    pub reason: String,
    /// Who says it.
    pub author: String,
    /// Whether it holds for every agent of the group.
    pub for_group: bool,
    /// From when on it applies; when absent, from the millisecond after the alert, or from `now`
    /// where there is no alert or it is taken back.
    pub at: Option<Timestamp>,
    /// How long it applies.
    pub expires_in: Option<Duration>,
    /// The time now.
    pub now: Timestamp,
}

/// Why no verdict can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such alert.
    #[error("no alert `{0}` was found; name its `alert_id` or the beginning of it")]
    Unknown(String),
    /// The beginning of an id fits several alerts.
    #[error("`{0}` fits {1} alerts; write more of the `alert_id`")]
    Ambiguous(String, usize),
    /// The alert says nothing that could be accepted.
    #[error("alert `{0}` has nothing to accept: it has no `subjects`")]
    NoSubjects(String),
    /// What was said is no verdict.
    #[error(transparent)]
    Acceptance(#[from] AcceptanceError),
}

/// Finds one alert among the words of all: every word on the one episode whose id begins with `id`.
///
/// # Errors
///
/// When none or several episodes fit.
pub fn find(id: &str, words: impl IntoIterator<Item = Alert>) -> Result<Vec<Alert>, OrderError> {
    let mut fitting: Vec<Alert> =
        words.into_iter().filter(|alert| alert.alert_id.starts_with(id)).collect();
    fitting.sort_by(|a, b| (&a.alert_id, a.revision).cmp(&(&b.alert_id, b.revision)));
    fitting.dedup_by(|a, b| a.alert_id == b.alert_id && a.revision == b.revision);
    let mut ids: Vec<&str> = fitting.iter().map(|alert| alert.alert_id.as_str()).collect();
    ids.dedup();
    match ids.as_slice() {
        [] => Err(OrderError::Unknown(id.to_owned())),
        [_] => Ok(fitting),
        several => Err(OrderError::Ambiguous(id.to_owned(), several.len())),
    }
}

/// The verdicts on everything one alert is about; `words` are its words in their order.
///
/// # Errors
///
/// When the alert has no subjects, or what is said is no verdict.
pub fn on_alert(words: &[Alert], saying: &Saying) -> Result<Vec<Acceptance>, OrderError> {
    let Some(last) = words.last() else { return Err(OrderError::Unknown(String::new())) };
    let subjects = subjects_of(words);
    if subjects.is_empty() {
        return Err(OrderError::NoSubjects(last.alert_id.clone()));
    }
    let told = words.iter().rev().find(|word| word.status != AlertStatus::Resolved);
    let decided = told.unwrap_or(last).time.parse::<Timestamp>().ok();
    // An alert's time is cut to milliseconds: the next one is after the call that fired.
    let after = decided.map(|time| time.plus_millis(1));
    let at = match saying.stance {
        Stance::Expected => after.unwrap_or(saying.now),
        Stance::NotExpected => saying.now,
    };
    let scope = if saying.for_group {
        let named = last.learning.group.name.as_str();
        let group = if named.is_empty() { group_of(&last.agent_id) } else { named };
        Scope::Group(group.to_owned())
    } else {
        Scope::Agent(last.agent_id.clone())
    };
    let who = (last.tenant_id.as_str(), &scope);
    subjects
        .into_iter()
        .map(|subject| make(who, subject, saying, (at, Some(&last.alert_id))))
        .collect()
}

/// The verdict on one subject, ahead of any alert.
///
/// # Errors
///
/// When what is said is no verdict.
pub fn on_subject(
    who: (&str, &Scope),
    subject: Subject,
    saying: &Saying,
) -> Result<Acceptance, OrderError> {
    make(who, subject, saying, (saying.now, None))
}

/// A tool as a subject.
#[must_use]
pub fn tool_subject(server: Option<&str>, name: &str) -> Subject {
    let shown = server.map_or_else(|| name.to_owned(), |server| format!("{server}/{name}"));
    Subject::new(SubjectKind::Tool, tool_hash(server, name), &shown)
}

/// A detector's level as a subject.
#[must_use]
pub fn level_subject(detector: Detector, level: f64) -> Subject {
    let shown = format!("{} up to {level}", detector.as_str());
    Subject::new(SubjectKind::Level, level_hash(detector), &shown).with_level(level)
}

/// An hour of the UTC day as a subject.
#[must_use]
pub fn hour_subject(hour: u8) -> Subject {
    let shown = format!("{hour:02}:00 to {:02}:00 UTC", (hour + 1) % 24);
    Subject::new(SubjectKind::Hour, hour_hash(hour), &shown)
}

/// The group an agent belongs to, by its id.
#[must_use]
pub fn group_of(agent_id: &str) -> &str {
    let call = ToolCall { agent_id: Cow::Borrowed(agent_id), ..ToolCall::default() };
    let length = call.group().len();
    agent_id.get(..length).unwrap_or(agent_id)
}

/// Every subject of an alert's words once, levels at their highest.
fn subjects_of(words: &[Alert]) -> Vec<Subject> {
    let mut subjects: Vec<Subject> = Vec::new();
    for subject in words.iter().flat_map(|word| &word.subjects) {
        let same = |known: &&mut Subject| known.kind == subject.kind && known.hash == subject.hash;
        match subjects.iter_mut().find(same) {
            None => subjects.push(subject.clone()),
            Some(known) if subject.level > known.level => *known = subject.clone(),
            Some(_) => {}
        }
    }
    subjects
}

fn make(
    (tenant_id, scope): (&str, &Scope),
    subject: Subject,
    saying: &Saying,
    (at, alert_id): (Timestamp, Option<&str>),
) -> Result<Acceptance, OrderError> {
    let at = saying.at.unwrap_or(at);
    let expires = saying.expires_in.map(|span| at.plus(span).to_string());
    let raw = RawAcceptance {
        schema: VERDICT_SCHEMA.to_owned(),
        tenant_id: tenant_id.to_owned(),
        scope: scope.clone(),
        subject,
        verdict: saying.stance,
        reason: saying.reason.clone(),
        author: saying.author.clone(),
        at: at.to_string(),
        expires,
        alert_id: alert_id.map(str::to_owned),
    };
    Ok(Acceptance::from_raw(raw)?)
}
