//! Runs begun within two hours, against the most of each day before: an agent that is set to work far
//! more often than it is used to be.
//!
//! For whoever works in runs and is no service. Where an agent has a handful of runs a day, their calls
//! say little more than that there was one, and the busiest minute is as busy as ever. Services are
//! judged by the rate at which their runs begin ([`crate::detect::rate_shift`]). While a loop or a flood
//! is open this is silent: that alert says the same.

use crate::alert::Expected;
use crate::baseline::peaks::{Measure, Scale, Seen, Standing};
use crate::detect::agent::{AgentState, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::peaks::{self, Reading};
use crate::detect::{Judgement, Verdict, subjects, words};
use crate::event::Timestamp;
use crate::policy::{Detector, RunRateParameters};

/// The deviation of the root without history, and the least with it: of counts that do not know of each
/// other it is a half, and that of the most of a day less.
pub(crate) const DEVIATION: (f64, f64) = (0.4, 0.35);

/// How its daily maxima are measured.
pub(crate) const fn measure(usual_maximum: f64) -> Measure {
    peaks::measure(Scale::Root, usual_maximum, DEVIATION)
}

/// Judges one call, which begins a run when `begins_run`.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    begins_run: bool,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    if !begins_run {
        return;
    }
    let runs = state.starts.add(judgement.moment.hour);
    if runs < 2 && !state.peaks.knows_run_rate() {
        return;
    }
    state.begin_peak(Detector::RunRate);
    let (value, hour) = (f64::from(runs), judgement.moment.hour_of_day);
    let Some(rule) = &judgement.rules.run_rate else {
        // Learned all the same: what is learned of a service begins with it.
        state.pass(Detector::RunRate, Seen { value, hour });
        return;
    };
    let RunRateParameters { runs_min, factor_min, usual_maximum } = rule.parameters;
    let is_told = state.is_open(Detector::Repeat) || state.is_open(Detector::CallRate);
    let is_many = runs >= runs_min && value >= factor_min * state.peaks.usual_run_rate();
    let standing = state.stand(
        judgement,
        &Reading {
            detector: Detector::RunRate,
            value,
            least: f64::from(runs_min),
            may_fire: is_many && !is_told && state.service.is_none(),
            measure: measure(usual_maximum),
            budget: rule.words.budget,
        },
        verdict,
    );
    if let Some(standing) = standing {
        state.report(judgement, (&rule.words, standing.ratio), verdict, |state| {
            describe(judgement, state, (runs, standing, rule.parameters))
        });
    }
}

fn describe(
    judgement: &Judgement<'_>,
    state: &AgentState,
    (runs, standing, parameters): (u32, Standing, RunRateParameters),
) -> Description {
    let call = judgement.call;
    let (low, high) = (libm::round(standing.usual.0), libm::round(standing.usual.1));
    let twice = libm::ceil(parameters.factor_min * state.peaks.usual_run_rate());
    let least = twice.max(f64::from(parameters.runs_min));
    let silent = libm::floor(standing.silent).max(least - 1.0);
    let start = Timestamp::from_hour(call.time.hour() - 1);
    Description {
        summary: format!(
            "{} began {} since {:02}:00 UTC; of two hours of its day the most usually is {low:.0} to {high:.0}.",
            words::quote(&state.agent_id),
            words::count(runs, "run"),
            start.hour_of_day(),
        ),
        expected: Expected {
            low,
            high,
            unit: "runs begun in two hours".to_owned(),
            basis: state.basis(Detector::RunRate, "the most"),
        },
        observed: f64::from(runs),
        start,
        counterfactual: format!("silent if at most {silent:.0} runs begun in two hours"),
        evidence: with_trigger(&[], call),
        evidence_total: u64::from(runs),
        subjects: vec![subjects::level(
            Detector::RunRate,
            runs,
            &words::count(u64::from(runs), "run"),
        )],
    }
}
