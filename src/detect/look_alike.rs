//! A target that is nearly a known one: the same letters at another host, the same mailbox at
//! another domain.
//!
//! Honest sessions do that too, by slips and moves; how often is learned from the group, and that
//! is what a look-alike is judged by. Acting calls only: reading a look-alike harms nobody yet.

use crate::alert::{Evidence, Expected, PAGE_SCORE, score};
use crate::baseline::float;
use crate::baseline::habits::{Habits, has_look_alikes};
use crate::baseline::session::{self, Named};
use crate::detect::agent::AgentState;
use crate::detect::episodes::{Decided, Description};
use crate::detect::{Judgement, Verdict, subjects, words};
use crate::event::Target;

/// Judges one call, before it is added to its session, in which its targets were looked up.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    named: &Named,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let (Some(rule), call) = (&judgement.rules.look_alike, judgement.call) else { return };
    let habits = judgement.habits.filter(|_| call.operation.is_acting());
    let Some(habits) = habits else { return };
    let live = state.live.as_ref().and_then(|live| live.sessions.newest());
    let is_named = |it: (usize, &Target)| live.is_some_and(|live| named.is_named(live, it));
    let targets = || call.targets.iter().enumerate();
    // Mostly the session has named all of them before, which is found sooner than what they are like.
    if named.are_all() || targets().filter(|(_, it)| may_be_one(it)).all(is_named) {
        return;
    }
    let Some((at, target)) = targets().find(|(_, it)| is_look_alike(habits, it)) else { return };
    if is_named((at, target)) {
        return;
    }
    if judgement.said.is_expected(target) {
        let key = (rule.words.detector, target.value);
        state.audit_word(judgement, key, verdict, || subjects::target(target));
        return;
    }
    let rate = habits.look_alike_rate();
    let days = judgement.group.map_or(0, |group| group.active_days);
    let sessions_a_day = float(habits.sessions().into()) / float(days.max(1));
    let ratio = rule.words.budget / (rate * sessions_a_day.max(1.0));
    state.weigh(judgement, (rule.words.detector, ratio), verdict);
    let score = state.cap(judgement, rule.words.detector, score(ratio));
    let describe = |state: &AgentState| describe(judgement, habits, state, (target, rate));
    if score >= PAGE_SCORE {
        let session = session::mix(target.value);
        let decided = Decided { rule: &rule.words, ratio, session };
        state.report_session(judgement, &decided, verdict, describe);
    } else if score >= judgement.rules.limits.listed_score {
        let description = describe(state);
        verdict.alerts.push(state.alert(judgement, &rule.words, (score, ratio), description));
    }
}

/// Whether a target is of a kind that has look-alikes.
const fn may_be_one(target: &Target) -> bool {
    has_look_alikes(target.kind) && !target.is_reserved
}

fn is_look_alike(habits: &Habits, target: &Target) -> bool {
    may_be_one(target) && habits.support(session::entity(target)) == 0 && habits.has_near(target)
}

fn describe(
    judgement: &Judgement<'_>,
    habits: &Habits,
    state: &AgentState,
    (target, rate): (&Target, f64),
) -> Description {
    let call = judgement.call;
    let known = words::count(habits.sessions(), "session");
    Description {
        summary: format!(
            "{} used {} on {}, which none of {known} of its group had, but nearly the same is known.",
            words::quote(&state.agent_id),
            words::quote(&call.tool_name),
            words::target(target),
        ),
        expected: Expected {
            low: 0.0,
            high: 0.0,
            unit: "targets that are nearly a known one".to_owned(),
            basis: format!("{known}, of which {:.1} % had one", rate * 100.0),
        },
        observed: 1.0,
        start: call.time,
        counterfactual: format!(
            "silent if a learned session of the group had named this {}",
            target.kind.as_str()
        ),
        evidence: vec![Evidence::of(call)],
        evidence_total: 1,
        subjects: vec![subjects::target(target)],
    }
}
