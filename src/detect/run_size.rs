//! The calls of one run, against the largest run of each day before: a task that does not end.
//!
//! A run is a session, or the calls between two rests of two minutes where records name none. It
//! is judged while it grows, so it need not end first. While a loop or a flood is open this is
//! silent: that alert says the same, and says why.

use crate::alert::Expected;
use crate::baseline::peaks::{Seen, Standing};
use crate::baseline::runs::Run;
use crate::detect::agent::{AgentState, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::peaks::{self, Reading};
use crate::detect::{Judgement, Verdict, subjects, words};
use crate::policy::{Detector, RunSizeParameters};

/// The deviation of the logarithm without history, and the least with it: a run of three and a
/// half times the usual size is within a mature agent's work.
pub(crate) const DEVIATION: (f64, f64) = (0.8, 0.4);

/// Counts one call in its run, which may begin with it.
pub(crate) fn count(judgement: &Judgement<'_>, state: &mut AgentState) -> Run {
    let call = judgement.call;
    let session = if call.session_id.is_empty() { 0 } else { judgement.session.max(1) };
    state.live().runs.add(session, call.time)
}

/// Judges one call of `run`.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    run: Run,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let Some(rule) = &judgement.rules.run_size else { return };
    let RunSizeParameters { calls_min, usual_maximum } = rule.parameters;
    if run.calls < calls_min {
        let (value, hour) = (f64::from(run.calls), judgement.moment.hour_of_day);
        state.pass(Detector::RunSize, Seen { value, hour });
        return;
    }
    let is_told = state.is_open(Detector::Repeat) || state.is_open(Detector::CallRate);
    let standing = state.stand(
        judgement,
        &Reading {
            detector: Detector::RunSize,
            value: f64::from(run.calls),
            least: f64::from(calls_min),
            may_fire: !is_told,
            measure: peaks::measure(peaks::RUN_SIZE, usual_maximum, DEVIATION),
            budget: rule.words.budget,
        },
        verdict,
    );
    if let Some(standing) = standing {
        state.report(judgement, (&rule.words, standing.ratio), verdict, |state| {
            describe(judgement, state, (run, standing, calls_min))
        });
    }
}

fn describe(
    judgement: &Judgement<'_>,
    state: &AgentState,
    (run, standing, calls_min): (Run, Standing, u32),
) -> Description {
    let call = judgement.call;
    let (low, high) = (libm::round(standing.usual.0), libm::round(standing.usual.1));
    let silent = libm::floor(standing.silent).max(f64::from(calls_min) - 1.0);
    let name = if call.session_id.is_empty() {
        "one run".to_owned()
    } else {
        format!("session {}", words::quote(&call.session_id))
    };
    Description {
        summary: format!(
            "{} made {} in {name}, for {} by now; the largest run of its day usually has {low:.0} to {high:.0}.",
            words::quote(&state.agent_id),
            words::count(run.calls, "call"),
            words::span(call.time.secs_since(run.started)),
        ),
        expected: Expected {
            low,
            high,
            unit: "calls in one run".to_owned(),
            basis: state.basis(Detector::RunSize, "the largest run"),
        },
        observed: f64::from(run.calls),
        start: run.started,
        counterfactual: format!("silent if at most {silent:.0} calls in one run"),
        evidence: with_trigger(&[], call),
        evidence_total: u64::from(run.calls),
        subjects: vec![subjects::level(
            Detector::RunSize,
            run.calls,
            &words::count(u64::from(run.calls), "call"),
        )],
    }
}
