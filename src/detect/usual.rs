//! What each detector holds for usual of one agent now, and where it would fire. Only reads.

use serde::{Deserialize, Serialize};

use crate::baseline::peaks::{Measure, Scale};
use crate::detect::agent::AgentState;
use crate::detect::{bytes, call_rate, errors, fan_out, peaks, repeat, run_rate, run_size};
use crate::policy::{Detector, Rules};

/// A usual range and its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usual {
    /// The low end.
    pub low: f64,
    /// The high end.
    pub high: f64,
    /// The largest value that stays silent.
    pub silent_upto: f64,
    /// What is counted.
    pub unit: String,
}

/// What `detector` holds for usual; `None` where it compares with no range, or no rule uses it.
pub(crate) fn usual(rules: &Rules, state: &AgentState, detector: Detector) -> Option<Usual> {
    match detector {
        Detector::Repeat => repeat_usual(rules, state),
        Detector::CallRate => {
            let rule = rules.call_rate.as_ref()?;
            let model = call_rate::model(&state.minutes, &rule.parameters);
            let floor = f64::from(rule.parameters.calls_min) - 1.0;
            let silent = (model.limit(rule.words.budget) - 1.0).max(floor);
            Some(range(model.usual(), silent, "acting calls in 60 s"))
        }
        Detector::RunSize => {
            let rule = rules.run_size.as_ref()?;
            let p = rule.parameters;
            let given = (p.usual_maximum, run_size::DEVIATION, f64::from(p.calls_min));
            peak(state, (detector, rule.words.budget), (peaks::RUN_SIZE, given), "calls in one run")
        }
        Detector::Errors => {
            let rule = rules.errors.as_ref()?;
            let p = rule.parameters;
            let given = (p.usual_maximum, errors::DEVIATION, f64::from(p.calls_min));
            let unit = "failed calls in 10 min";
            peak(state, (detector, rule.words.budget), (peaks::COUNT, given), unit)
        }
        Detector::Denials => {
            let rule = rules.denials.as_ref()?;
            let p = rule.parameters;
            let given = (p.usual_maximum, errors::DEVIATION, f64::from(p.calls_min));
            let unit = "denied calls in 10 min";
            peak(state, (detector, rule.words.budget), (peaks::COUNT, given), unit)
        }
        Detector::BytesSent => {
            let rule = rules.bytes_sent.as_ref()?;
            let p = rule.parameters;
            let given = (p.usual_maximum, bytes::DEVIATION, crate::baseline::float(p.bytes_min));
            let unit = "bytes into tools in 10 min";
            peak(state, (detector, rule.words.budget), (peaks::BYTES, given), unit)
        }
        Detector::BytesRead => {
            let rule = rules.bytes_read.as_ref()?;
            let p = rule.parameters;
            let given = (p.usual_maximum, bytes::DEVIATION, crate::baseline::float(p.bytes_min));
            let unit = "bytes from tools in 10 min";
            peak(state, (detector, rule.words.budget), (peaks::BYTES, given), unit)
        }
        Detector::FanOut => {
            let rule = rules.fan_out.as_ref()?;
            let p = rule.parameters;
            let given = (p.usual_maximum, fan_out::DEVIATION, f64::from(p.agents_min));
            let unit = "sub-agents in an hour";
            peak(state, (detector, rule.words.budget), (peaks::COUNT, given), unit)
        }
        Detector::RunRate => {
            let rule = rules.run_rate.as_ref()?;
            let p = rule.parameters;
            let given = (p.usual_maximum, run_rate::DEVIATION, f64::from(p.runs_min));
            let unit = "runs begun in two hours";
            peak(state, (detector, rule.words.budget), (Scale::Root, given), unit)
        }
        _ => None,
    }
}

fn repeat_usual(rules: &Rules, state: &AgentState) -> Option<Usual> {
    use crate::baseline::repeats::{silent_count, usual_count};
    let rule = rules.repeat.as_ref()?;
    let share = state.share.upper(rule.parameters.share_floor);
    let longest = state.runs.model(&repeat::LONGEST_RUN);
    let mass = rule.words.budget / state.history.usual_day.calls();
    let silent = f64::from(silent_count(mass, share)).max(longest.limit(rule.words.budget) - 1.0);
    let high = usual_count(share).max(longest.usual().1);
    Some(range((1.0, high), silent, "equal calls, at most 5 min apart"))
}

/// The range of a statistic that is judged by daily maxima: its usual maximum without history, its
/// deviations, and the least that fires.
fn peak(
    state: &AgentState,
    (detector, budget): (Detector, f64),
    (scale, (maximum, deviation, least)): (Scale, (f64, (f64, f64), f64)),
    unit: &str,
) -> Option<Usual> {
    let measure: Measure = peaks::measure(scale, maximum, deviation);
    let (usual, silent) = state.peaks.range(detector, &measure, budget)?;
    Some(range(usual, silent.max(least - 1.0), unit))
}

fn range((low, high): (f64, f64), silent: f64, unit: &str) -> Usual {
    Usual {
        low: libm::round(low),
        high: libm::round(high),
        silent_upto: libm::floor(silent),
        unit: unit.to_owned(),
    }
}
