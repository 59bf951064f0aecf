//! The subjects of alerts: what a person can accept, made from what a detector found.

use crate::alert::{Subject, SubjectKind};
use crate::detect::{Judgement, hour_hash, level_hash};
use crate::event::Target;
use crate::policy::Detector;

/// The tool of the call that is judged.
pub(crate) fn tool(judgement: &Judgement<'_>) -> Subject {
    let call = judgement.call;
    let shown = match call.tool_server.as_deref() {
        Some(server) => format!("{server}/{}", call.tool_name),
        None => call.tool_name.to_string(),
    };
    Subject::new(SubjectKind::Tool, judgement.tool, &shown)
}

/// A level of a detector.
pub(crate) fn level(detector: Detector, count: u32, shown: &str) -> Subject {
    amount(detector, f64::from(count), shown)
}

/// A level of a detector that measures something else than calls.
pub(crate) fn amount(detector: Detector, amount: f64, shown: &str) -> Subject {
    Subject::new(SubjectKind::Level, level_hash(detector), shown).with_level(amount)
}

/// A target, and the tool that reached for it.
pub(crate) fn target(target: &Target) -> Subject {
    Subject::new(SubjectKind::Target(target.kind), target.value, target.shown.as_str())
}

/// An hour of the UTC day, 0 to 23.
pub(crate) fn hour(hour: u8) -> Subject {
    let shown = format!("{hour:02}:00 to {:02}:00 UTC", (hour + 1) % 24);
    Subject::new(SubjectKind::Hour, hour_hash(hour), &shown)
}
