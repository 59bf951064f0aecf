//! The alert that tells the other receivers what one of them could not be told.

use crate::alert::{Alert, AlertId, AlertStatus, Expected, crowd};
use crate::deliver::id_of;
use crate::event::Timestamp;

/// The rule that such alerts name; there is no file of it.
pub const RULE: &str = "undelivered";

/// What their tag begins with; the receiver's name follows.
const TAG: &str = "undelivered:";

/// An hour in seconds.
const HOUR: i64 = 3_600;

/// Whether `alert` is one of them: nothing is told of its own fate, or it would never end.
#[must_use]
pub fn is_one(alert: &Alert) -> bool {
    alert.rule_id == RULE
}

/// Whether `alert` says that `receiver` itself could not be told.
#[must_use]
pub fn is_about(alert: &Alert, receiver: &str) -> bool {
    is_one(alert) && alert.tags.iter().any(|tag| tag.strip_prefix(TAG) == Some(receiver))
}

/// What the others are told when `receiver` could not be told of `lost`. The same whenever it is
/// written, and one incident a receiver and hour.
#[must_use]
pub fn alert(lost: &Alert, receiver: &str) -> Alert {
    let time = lost.time.parse().unwrap_or(Timestamp::from_secs(0));
    let word = id_of(&lost.alert_id, lost.revision);
    let id = AlertId::derive(RULE, &lost.tenant_id, receiver, (time, &word));
    Alert {
        alert_id: id.to_string(),
        revision: 0,
        status: AlertStatus::Firing,
        dedup_key: crowd(RULE, &lost.tenant_id, receiver, time.as_secs().div_euclid(HOUR)),
        duplicate_of: None,
        rule_id: RULE.to_owned(),
        detector: "delivery".to_owned(),
        title: format!("An alert could not be delivered to {receiver}"),
        summary: format!(
            "{receiver} was not told of `{}` (alert {}, revision {}); it is in the dead-letter topic",
            lost.title, lost.alert_id, lost.revision
        ),
        expected: Expected {
            low: 0.0,
            high: 0.0,
            unit: "undelivered alerts".to_owned(),
            basis: "every alert reaches every receiver".to_owned(),
        },
        observed: 1.0,
        probability: 0.0,
        calibration: None,
        trigger: None,
        subjects: Vec::new(),
        counterfactual: "silent if the receiver had taken it".to_owned(),
        tags: vec![format!("{TAG}{receiver}")],
        runbook_url: "docs/runbooks/operations/ToolwardenDeadLetters.md".to_owned(),
        ..lost.clone()
    }
}
