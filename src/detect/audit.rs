//! Every change of what is known of an agent, written down: what was adopted, what was forgotten,
//! and where a person's word kept the judgement silent.
//!
//! Whoever wants to steer what is learned must be adopted, and each adoption names the call that
//! caused it. What an agent does while it is being learned is not written call by call. A day has
//! a bounded number of records, and what an agent can bring about at will has a share of them, so
//! that it cannot crowd out the rest.

use serde::{Deserialize, Serialize};

use crate::alert::{AUDIT_SCHEMA, AuditKind, AuditPosition, AuditRecord, Subject, SubjectKind};
use crate::baseline::tools::Use;
use crate::detect::agent::AgentState;
use crate::detect::{Bound, Judgement, Verdict, level_hash, subjects, words};
use crate::event::{Target, Timestamp};
use crate::policy::{Detector, Stance};

/// The most records of one agent's active day.
pub(crate) const RECORDS_A_DAY: u8 = 32;

/// The most of them that tell of forgotten tools, and of words of people.
const SHARES: (u8, u8) = (8, 16);

/// What was written of an agent today; only where something was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditDay {
    told: u8,
    forgotten: u8,
    /// The subjects of people's words that were told, by their hashes.
    applied: Vec<u64>,
}

impl AuditDay {
    /// Bytes on the heap.
    pub(crate) const fn heap_bytes(&self) -> usize {
        self.applied.capacity() * size_of::<u64>()
    }

    /// Takes one record of today's. `None` when there is no room, else whether it was the last.
    fn take(&mut self, kind: AuditKind) -> Option<bool> {
        let applied = u8::try_from(self.applied.len()).unwrap_or(u8::MAX);
        let (used, share) = match kind {
            AuditKind::ToolForgotten => (self.forgotten, SHARES.0),
            AuditKind::VerdictApplied => (applied, SHARES.1),
            _ => (self.told, RECORDS_A_DAY),
        };
        if used >= share || self.told >= RECORDS_A_DAY {
            return None;
        }
        self.told += 1;
        self.forgotten += u8::from(kind == AuditKind::ToolForgotten);
        Some(used + 1 == share || self.told == RECORDS_A_DAY)
    }
}

/// How an agent stood before a call was counted.
pub(crate) struct Before {
    is_known: bool,
    newest: Timestamp,
}

impl Before {
    /// As it stands now.
    pub(crate) const fn of(state: &AgentState) -> Self {
        Self { is_known: !state.is_learning(), newest: state.newest }
    }
}

impl AgentState {
    /// Writes one change down, while there is room today.
    pub(crate) fn audit(
        &mut self,
        judgement: &Judgement<'_>,
        (kind, detector): (AuditKind, Option<Detector>),
        verdict: &mut Verdict,
        describe: impl FnOnce(&Self) -> (Option<Subject>, String),
    ) {
        let Some(is_last) = self.rare.audits_or_new().take(kind) else {
            verdict.bounds.note(Bound::Audits);
            return;
        };
        let (subject, mut reason) = describe(self);
        if is_last {
            reason.push_str(" The last record of this kind today: more are left out.");
        }
        verdict.audits.push(AuditRecord {
            schema: AUDIT_SCHEMA.to_owned(),
            time: judgement.call.time.to_string(),
            tenant_id: self.tenant_id.to_string(),
            agent_id: self.agent_id.to_string(),
            kind,
            detector: detector.map(|detector| detector.as_str().to_owned()),
            subject,
            reason,
            position: AuditPosition::of(&judgement.call.source()),
        });
    }

    /// Writes down that a person's word keeps a level of a detector out of the judgement.
    pub(crate) fn audit_level(
        &mut self,
        judgement: &Judgement<'_>,
        (detector, level): (Detector, f64),
        verdict: &mut Verdict,
    ) {
        self.audit_word(judgement, (detector, level_hash(detector)), verdict, || {
            subjects::amount(detector, words::tenth(level), detector.as_str())
        });
    }

    /// Writes down that a person's word keeps something out of the judgement, once a day for each
    /// subject.
    pub(crate) fn audit_word(
        &mut self,
        judgement: &Judgement<'_>,
        (detector, hash): (Detector, u64),
        verdict: &mut Verdict,
        subject: impl FnOnce() -> Subject,
    ) {
        if self.rare.audits().is_some_and(|day| day.applied.contains(&hash)) {
            return;
        }
        let told = verdict.audits.len();
        let kind = (AuditKind::VerdictApplied, Some(detector));
        self.audit(judgement, kind, verdict, |state| {
            let subject = subject();
            let reason = format!(
                "A person has said that {} is expected of {}: {} is silent about it.",
                named(&subject),
                words::quote(&state.agent_id),
                detector.as_str(),
            );
            (Some(subject), reason)
        });
        if verdict.audits.len() > told
            && let Some(day) = self.rare.audits_mut()
        {
            day.applied.push(hash);
        }
    }
}

fn named(subject: &Subject) -> String {
    match subject.kind {
        SubjectKind::Level => format!("a level of {}", words::quote(&subject.shown)),
        kind => format!("the {} {}", kind.as_str(), words::quote(&subject.shown)),
    }
}

/// What a call that is not late changed for the agent as a whole, once it is counted.
pub(crate) fn of_agent(
    judgement: &Judgement<'_>,
    before: &Before,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    if !before.is_known {
        of_learning(judgement, before, state, verdict);
    }
    let time = judgement.call.time;
    let returned = state.rare.returned().map(|it| (it.day, it.silent_days));
    if let Some((day, silent_days)) = returned
        && day == time.day()
        && before.newest.day() < day
    {
        let days = words::count(silent_days.unsigned_abs(), "day");
        state.audit(judgement, (AuditKind::KnowledgeResumed, None), verdict, |state| {
            let agent = words::quote(&state.agent_id);
            (None, format!("{agent} is back after {days} and is judged by what it did before."))
        });
    }
    if verdict.left.is_some() {
        state.audit(judgement, (AuditKind::GroupChanged, None), verdict, |state| {
            let (agent, group) = (words::quote(&state.agent_id), words::quote(state.group_name()));
            (None, format!("{agent} is compared with the group {group} from now on."))
        });
    }
    of_targets(judgement, state, verdict);
}

/// Whether the call completed what is needed to know the agent.
pub(crate) fn of_learning(
    judgement: &Judgement<'_>,
    before: &Before,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    if before.is_known || state.is_learning() {
        return;
    }
    state.audit(judgement, (AuditKind::LearningCompleted, None), verdict, |state| {
        let reason = format!(
            "{} counts as known after {} on {}; its {} are its own.",
            words::quote(&state.agent_id),
            words::count(state.history.calls, "call"),
            words::count(state.history.days, "whole active day"),
            words::count(u64::try_from(state.tools.adopted()).unwrap_or(0), "tool"),
        );
        (None, reason)
    });
}

/// What the use of a tool changed, and whether a person's word made it known.
pub(crate) fn of_tool(
    judgement: &Judgement<'_>,
    (used, stance): (Use, Option<Stance>),
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    if let Some(hash) = used.forgot
        && !state.is_learning()
    {
        let kind = (AuditKind::ToolForgotten, Some(Detector::NewTool));
        state.audit(judgement, kind, verdict, |state| {
            let reason = format!(
                "{} has used {} since; the one unused longest was forgotten to make room for {}.",
                words::quote(&state.agent_id),
                words::count(u64::try_from(state.tools.len()).unwrap_or(0), "other tool"),
                words::quote(&judgement.call.tool_name),
            );
            let subject = Subject::new(SubjectKind::Tool, hash, "");
            (Some(subject), reason)
        });
    }
    if stance == Some(Stance::Expected) && !used.is_adopted {
        let key = (Detector::NewTool, judgement.tool);
        state.audit_word(judgement, key, verdict, || subjects::tool(judgement));
    }
    if stance.is_some() || (used.adopted_after == 0 && !used.is_remembered) {
        return;
    }
    let kind = (AuditKind::ToolAdopted, Some(Detector::NewTool));
    state.audit(judgement, kind, verdict, |state| {
        let (agent, tool) =
            (words::quote(&state.agent_id), words::quote(&judgement.call.tool_name));
        let reason = if used.is_remembered {
            format!("{agent} uses {tool} again, which was forgotten to make room: it is known.")
        } else {
            let days = words::count(used.adopted_after, "active day");
            format!("{agent} has used {tool} on {days}: it is adopted.")
        };
        (Some(subjects::tool(judgement)), reason)
    });
}

/// Targets that are out of the judgement because a person expects them.
fn of_targets(judgement: &Judgement<'_>, state: &mut AgentState, verdict: &mut Verdict) {
    let call = judgement.call;
    if judgement.said.is_nothing()
        || judgement.rules.injected_session.is_none()
        || !call.operation.is_acting()
    {
        return;
    }
    let is_expected = |target: &&Target| judgement.said.is_expected(target);
    for target in call.targets.iter().filter(is_expected) {
        let key = (Detector::InjectedSession, target.value);
        state.audit_word(judgement, key, verdict, || subjects::target(target));
    }
}
