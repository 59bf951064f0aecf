//! Failed calls, and denied calls apart, in ten minutes, against the most of each day before.
//!
//! A burst of failures is an outage, a broken release or somebody who does not know the tools. A
//! burst of denials is somebody who tries what is allowed, which is the more telling one: it needs
//! fewer calls and a smaller share. Among much work that succeeds a few failures are no burst.

use crate::alert::{Evidence, Expected};
use crate::baseline::peaks::Standing;
use crate::baseline::window::{Sums, TenMinutes};
use crate::detect::agent::{AgentState, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::peaks::{self, Reading};
use crate::detect::trails::Trail;
use crate::detect::{Judgement, Verdict, subjects, words};
use crate::event::{Status, ToolCall};
use crate::policy::{Detector, Words};

/// The deviation of the logarithm without history, and the least with it.
pub(crate) const DEVIATION: (f64, f64) = (0.8, 0.5);

/// What is counted.
struct Kind<'a> {
    rule: &'a Words,
    calls_min: u32,
    share_min: f64,
    usual_maximum: f64,
    /// How it is said: as an adjective, of some calls, and of what is usual.
    word: &'static str,
    verb: &'static str,
    usually: &'static str,
}

/// Judges one call; `sums` are those of the last ten minutes with it.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    sums: &Sums,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let kind = match judgement.call.status {
        Status::Error | Status::Timeout => failures(judgement),
        Status::Denied => denials(judgement),
        Status::Ok | Status::Cancelled | Status::Unknown => return,
    };
    if let Some(kind) = kind {
        judge(judgement, &kind, (state, sums), verdict);
    }
}

fn failures<'a>(judgement: &Judgement<'a>) -> Option<Kind<'a>> {
    let rule = judgement.rules.errors.as_ref()?;
    let p = rule.parameters;
    Some(Kind {
        rule: &rule.words,
        calls_min: p.calls_min,
        share_min: p.share_min,
        usual_maximum: p.usual_maximum,
        word: "failed",
        verb: "failed",
        usually: "usually do",
    })
}

fn denials<'a>(judgement: &Judgement<'a>) -> Option<Kind<'a>> {
    let rule = judgement.rules.denials.as_ref()?;
    let p = rule.parameters;
    Some(Kind {
        rule: &rule.words,
        calls_min: p.calls_min,
        share_min: p.share_min,
        usual_maximum: p.usual_maximum,
        word: "denied",
        verb: "were denied",
        usually: "usually are",
    })
}

fn judge(
    judgement: &Judgement<'_>,
    kind: &Kind<'_>,
    (state, sums): (&mut AgentState, &Sums),
    verdict: &mut Verdict,
) {
    let detector = kind.rule.detector;
    let count = if detector == Detector::Denials { sums.denied } else { sums.failed };
    keep_trail(state, trail_of(detector), judgement.call, (count, kind.calls_min));
    // A loop of failures is told as a loop; one of denials is worth a word of its own.
    let is_told = detector == Detector::Errors && state.is_open(Detector::Repeat);
    let is_share = f64::from(count) >= kind.share_min * f64::from(sums.calls);
    let standing = state.stand(
        judgement,
        &Reading {
            detector,
            value: f64::from(count),
            least: f64::from(kind.calls_min),
            may_fire: count >= kind.calls_min && is_share && !is_told,
            measure: peaks::measure(peaks::COUNT, kind.usual_maximum, DEVIATION),
            budget: kind.rule.budget,
        },
        verdict,
    );
    if let Some(standing) = standing {
        state.report(judgement, (kind.rule, standing.ratio), verdict, |state| {
            describe(judgement, kind, state, (count, sums.calls, standing))
        });
    }
}

fn trail_of(detector: Detector) -> Trail {
    if detector == Detector::Denials { Trail::Denials } else { Trail::Failures }
}

/// Keeps the calls of what is half a burst already; single failures cost nothing.
fn keep_trail(
    state: &mut AgentState,
    trail: Trail,
    call: &ToolCall<'_>,
    (count, calls_min): (u32, u32),
) {
    if count <= 1 {
        state.live().trails.forget(trail);
    } else if count.saturating_mul(2) >= calls_min {
        state.live().trails.keep(trail, call);
    }
}

fn describe(
    judgement: &Judgement<'_>,
    kind: &Kind<'_>,
    state: &AgentState,
    (count, calls, standing): (u32, u32, Standing),
) -> Description {
    let (call, word, detector) = (judgement.call, kind.word, kind.rule.detector);
    let (low, high) = (libm::round(standing.usual.0), libm::round(standing.usual.1));
    let silent = libm::floor(standing.silent).max(f64::from(kind.calls_min) - 1.0);
    let trail: &[Evidence] =
        state.live.as_ref().map_or(&[], |live| live.trails.of(trail_of(detector)));
    Description {
        summary: format!(
            "{count} of {} of {} in 10 min {}, {} the latest; in the worst 10 min of its day {low:.0} to {high:.0} {}.",
            words::count(calls, "call"),
            words::quote(&state.agent_id),
            kind.verb,
            words::quote(&call.tool_name),
            kind.usually,
        ),
        expected: Expected {
            low,
            high,
            unit: format!("{word} calls in 10 min"),
            basis: state.basis(detector, "the worst 10 min"),
        },
        observed: f64::from(count),
        start: call.time.plus_secs(-TenMinutes::SECS),
        counterfactual: format!(
            "silent if at most {silent:.0} {word} calls in 10 min, or less than {:.0} % of all calls",
            kind.share_min * 100.0
        ),
        evidence: with_trigger(trail, call),
        evidence_total: u64::from(count),
        subjects: vec![subjects::level(detector, count, &words::count(u64::from(count), "call"))],
    }
}
