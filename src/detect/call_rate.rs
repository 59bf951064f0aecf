//! The busiest minute of a day, against the busiest minutes of the days before: a flood.
//!
//! Acting calls only: reading calls come in bursts of fifty by nature. While a flood or a loop is
//! open nothing is learned of the day's maximum.

use crate::alert::Expected;
use crate::baseline::maxima::{BlockMaxima, MaximumModel, Prior, whole};
use crate::detect::agent::{AgentState, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::trails::Trail;
use crate::detect::{Judgement, Verdict, subjects, words};
use crate::policy::{CallRateParameters, Detector, Rule};

/// The window in seconds, for the words.
const WINDOW_SECS: i64 = 60;

/// Share of the budget at which the run-up of a flood is kept.
const TRAIL_FROM: f64 = 0.25;

/// Judges one call.
pub(crate) fn observe(judgement: &Judgement<'_>, state: &mut AgentState, verdict: &mut Verdict) {
    let (Some(rule), call) = (&judgement.rules.call_rate, judgement.call) else { return };
    if !call.operation.is_acting() {
        return;
    }
    let calls = state.live().minute.add(call.time);
    if calls >= rule.parameters.calls_min {
        let model = model(&state.minutes, &rule.parameters);
        let ratio = rule.words.budget / model.tail(calls).max(1e-12);
        keep_trail(judgement, state, ratio);
        if ratio >= 1.0 && judgement.said.is_expected_level(Detector::CallRate, calls) {
            // Neither told nor learned: taken back, it fires as before.
            state.audit_level(judgement, (Detector::CallRate, f64::from(calls)), verdict);
            return;
        }
        state.weigh(judgement, (Detector::CallRate, ratio), verdict);
        if ratio >= 1.0 {
            // The run-up of a flood is no usual minute: its day teaches what most days do.
            let (_, high) = model.usual_at();
            state.busiest = state.busiest.min(whole(libm::exp(high)));
            state.report(judgement, (&rule.words, ratio), verdict, |state| {
                describe(judgement, rule, state, (calls, model))
            });
            return;
        }
    }
    if !state.is_open(Detector::CallRate) && !state.is_open(Detector::Repeat) {
        state.busiest = state.busiest.max(calls);
    }
}

pub(crate) fn model(minutes: &BlockMaxima, parameters: &CallRateParameters) -> MaximumModel {
    minutes.model(&Prior {
        maximum: parameters.usual_maximum,
        deviation: 0.45,
        days: 4.0,
        deviation_min: parameters.deviation_min,
    })
}

fn keep_trail(judgement: &Judgement<'_>, state: &mut AgentState, ratio: f64) {
    let trails = &mut state.live().trails;
    if ratio >= TRAIL_FROM {
        trails.keep(Trail::Flood, judgement.call);
    } else {
        trails.forget(Trail::Flood);
    }
}

fn describe(
    judgement: &Judgement<'_>,
    rule: &Rule<CallRateParameters>,
    state: &AgentState,
    (calls, model): (u32, MaximumModel),
) -> Description {
    let call = judgement.call;
    let (low, high) = model.usual();
    let silent =
        (model.limit(rule.words.budget) - 1.0).max(f64::from(rule.parameters.calls_min) - 1.0);
    let trail = state.live.as_ref().map_or(&[][..], |live| live.trails.of(Trail::Flood));
    let days = state.history.days;
    let basis = if days < 2 {
        "what is usual of agents; this one has less than 2 active days".to_owned()
    } else {
        format!("the busiest minute of each of {days} active days")
    };
    Description {
        summary: format!(
            "{} made {calls} acting calls in {WINDOW_SECS} s, {} the latest; the busiest minute of its day usually has {low:.0} to {high:.0}.",
            words::quote(&state.agent_id),
            words::quote(&call.tool_name),
        ),
        expected: Expected { low, high, unit: "acting calls in 60 s".to_owned(), basis },
        observed: f64::from(calls),
        start: call.time.plus_secs(-WINDOW_SECS),
        counterfactual: format!("silent if at most {silent:.0} acting calls in 60 s"),
        evidence: with_trigger(trail, call),
        evidence_total: u64::from(calls),
        subjects: vec![subjects::level(
            Detector::CallRate,
            calls,
            &format!("{calls} acting calls in 60 s"),
        )],
    }
}
