//! A tool comes back that the agent did not use for two months, while it was at work: listed.
//!
//! A credential or a plug-in that nobody removed is used again, by a yearly job or by somebody who
//! looks around. One object each, no episode, and a score that wakes nobody; an acting call scores
//! higher. Days in which the agent itself was silent do not count, or a holiday would list all its
//! tools. Tools that had to make room for others are not seen.

use crate::alert::{Evidence, Expected, LEARNING_SCORE_MAX, score};
use crate::baseline::float;
use crate::baseline::tools::Use;
use crate::detect::agent::AgentState;
use crate::detect::episodes::Description;
use crate::detect::{Judgement, Verdict, subjects, words};

/// Tools that come back, an active day, believed of every agent: one in fifty days of work.
/// Too rare to learn, so it is given.
const RATE: f64 = 0.02;

/// How much rarer an acting call is than a reading one among them, as it is believed.
const ACTING_FACTOR: f64 = 0.25;

/// Judges one call, of whose tool `used` tells.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    used: Use,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let (Some(rule), call) = (&judgement.rules.dormant_tool, judgement.call) else { return };
    let idle_days_min = rule.parameters.idle_days_min;
    if used.idle_days < idle_days_min {
        return;
    }
    let days_around = state.days_around(used.idle_days, call.time);
    if days_around < i64::from(idle_days_min) {
        return;
    }
    if judgement.said.is_expected_tool(judgement.tool) {
        let key = (rule.words.detector, judgement.tool);
        return state.audit_word(judgement, key, verdict, || subjects::tool(judgement));
    }
    let chance = if call.operation.is_acting() { RATE * ACTING_FACTOR } else { RATE };
    let ratio = rule.words.budget / chance;
    let score = score(ratio).min(LEARNING_SCORE_MAX);
    let description = describe(judgement, state, (used.idle_days, idle_days_min));
    verdict.alerts.push(state.alert(judgement, &rule.words, (score, ratio), description));
}

fn describe(
    judgement: &Judgement<'_>,
    state: &AgentState,
    (idle_days, idle_days_min): (u32, u32),
) -> Description {
    let call = judgement.call;
    Description {
        summary: format!(
            "{} used {} again, which it had not used for {} while it was at work.",
            words::quote(&state.agent_id),
            words::quote(&call.tool_name),
            words::count(idle_days, "day"),
        ),
        expected: Expected {
            low: 0.0,
            high: f64::from(idle_days_min),
            unit: "days between two uses of a tool it uses".to_owned(),
            basis: words::count(state.history.days, "active day"),
        },
        observed: float(u64::from(idle_days)),
        start: call.time,
        counterfactual: format!("silent if it had used the tool in the last {idle_days_min} days"),
        evidence: vec![Evidence::of(call)],
        evidence_total: 1,
        subjects: vec![subjects::tool(judgement)],
    }
}
