//! The same call again and again: a runaway loop.
//!
//! Equal means tool, server and arguments. Calls whose record carries no arguments are not taken to
//! be equal: nobody knows whether they are.
//!
//! Two things must be rare: the run itself, given how often the agent repeats itself, and its
//! length, against the longest run of each day before. An agent that gets stuck every other day is
//! a habit and not news.

use crate::alert::{Evidence, Expected};
use crate::baseline::identity::tool_hash;
use crate::baseline::maxima::{MaximumModel, Prior};
use crate::baseline::repeats::{Run, silent_count, usual_count};
use crate::detect::agent::{AgentState, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::shadow::LOWEST;
use crate::detect::{Judgement, Verdict, subjects, words};
use crate::event::ToolCall;
use crate::policy::{Detector, RepeatParameters, Rule};

/// Evidence from which on the run-up of a loop is kept: the fourth or fifth equal call.
const TRAIL_FROM: f64 = 1e-3;

/// What is believed of the longest run of equal calls of a day: three, seldom more than five, as in
/// the logs of agents at work.
pub(crate) const LONGEST_RUN: Prior =
    Prior { maximum: 3.0, deviation: 0.3, days: 4.0, deviation_min: 0.3 };

/// Judges one call.
pub(crate) fn observe(judgement: &Judgement<'_>, state: &mut AgentState, verdict: &mut Verdict) {
    let (Some(rule), call) = (&judgement.rules.repeat, judgement.call) else { return };
    if call.arguments.digest == 0 {
        return;
    }
    let key = key(judgement.tool, call);
    let (known, day) = (state.share, state.history.usual_day);
    let odds = || {
        let share = known.upper(rule.parameters.share_floor);
        (rule.words.budget / day.calls(), share)
    };
    let run = state.live().repeats.add(key, call.time, odds);
    if !state.is_open(Detector::Repeat) {
        state.share.learn(run.count > 1);
    }
    if run.evidence >= TRAIL_FROM {
        keep_trail(judgement, state, key);
    }
    if run.evidence >= 1.0 && judgement.said.is_expected_level(Detector::Repeat, run.count) {
        // Neither told nor learned: taken back, it fires as before.
        state.audit_level(judgement, (Detector::Repeat, f64::from(run.count)), verdict);
        return;
    }
    state.longest_run = state.longest_run.max(u16::try_from(run.count).unwrap_or(u16::MAX));
    if run.evidence < LOWEST {
        return;
    }
    let longest = state.runs.model(&LONGEST_RUN);
    let ratio = run.evidence.min(rule.words.budget / longest.tail(run.count).max(1e-12));
    state.weigh(judgement, (Detector::Repeat, ratio), verdict);
    if ratio < 1.0 {
        return;
    }
    let (mass, share) = odds();
    let silent = f64::from(silent_count(mass, share)).max(longest.limit(rule.words.budget) - 1.0);
    state.report(judgement, (&rule.words, ratio), verdict, |state| {
        describe(judgement, rule, state, (key, run, silent, longest))
    });
}

/// The evidence of the run that `call` belongs to, which `state` has seen.
pub(crate) fn evidence(state: &AgentState, call: &ToolCall<'_>) -> f64 {
    let tool = tool_hash(call.tool_server.as_deref(), &call.tool_name);
    let key = key(tool, call);
    state.live.as_ref().map_or(0.0, |live| live.repeats.evidence(key))
}

/// What equal calls share.
const fn key(tool: u64, call: &ToolCall<'_>) -> u64 {
    tool ^ call.arguments.digest.rotate_left(17)
}

fn keep_trail(judgement: &Judgement<'_>, state: &mut AgentState, key: u64) {
    state.live().trails.keep_loop(key, judgement.call);
}

fn describe(
    judgement: &Judgement<'_>,
    rule: &Rule<RepeatParameters>,
    state: &AgentState,
    (key, run, silent, longest): (u64, Run, f64, MaximumModel),
) -> Description {
    let call = judgement.call;
    let share = state.share.upper(rule.parameters.share_floor);
    let usual = usual_count(share).max(longest.usual().1);
    let trail: &[Evidence] = state.live.as_ref().map_or(&[], |live| live.trails.of_loop(key));
    let basis = if state.share.upper(0.0) > rule.parameters.share_floor {
        format!("{:.0} % of this agent's calls repeat one of the last 5 min", share * 100.0)
    } else {
        format!("a share of repeats of at most {:.0} %", share * 100.0)
    };
    Description {
        summary: format!(
            "{} made the same call of {} {} times in {}; {usual:.0} in a row is the most that is usual.",
            words::quote(&state.agent_id),
            words::quote(&call.tool_name),
            run.count,
            words::span(call.time.secs_since(run.first)),
        ),
        expected: Expected {
            low: 1.0,
            high: usual,
            unit: "equal calls, at most 5 min apart".to_owned(),
            basis,
        },
        observed: f64::from(run.count),
        start: run.first,
        counterfactual: format!("silent if at most {silent:.0} equal calls in a row"),
        evidence: with_trigger(trail, call),
        evidence_total: u64::from(run.count),
        subjects: vec![subjects::level(
            Detector::Repeat,
            run.count,
            &format!("{} equal calls in a row", run.count),
        )],
    }
}
