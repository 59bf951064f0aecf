//! Bytes in ten minutes, against the most of each day before, in both directions.
//!
//! `bytes_sent` counts what goes into tools (`bytes_in` of the record, or else the size of the
//! arguments): that is how anything leaves, into a mail, a web page or a table of somebody else.
//! All calls count, not only acting ones: a `fetch` looks like reading and carries data away in its
//! address. `bytes_read` counts what comes out of tools (`bytes_out` of the record): data gathered
//! before it leaves. Sizes differ by orders of magnitude, so both are judged by their logarithm.

use crate::alert::Expected;
use crate::baseline::peaks::{Seen, Standing};
use crate::baseline::window::{Sums, TenMinutes};
use crate::detect::agent::{AgentState, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::peaks::{self, Reading};
use crate::detect::{Judgement, Verdict, subjects, words};
use crate::policy::{BytesReadParameters, BytesSentParameters, Detector, Rule, Words};

/// The deviation of the logarithm without history, and the least with it.
pub(crate) const DEVIATION: (f64, f64) = (1.5, 0.6);

/// One direction.
struct Way<'a> {
    rule: &'a Words,
    bytes: u64,
    bytes_min: u64,
    usual_maximum: f64,
    /// How it is said.
    verb: &'static str,
    unit: &'static str,
}

/// Judges one call; `sums` are those of the last ten minutes with it.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    sums: &Sums,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let rules = judgement.rules;
    let few = |bytes: u64| Seen { value: size(bytes), hour: judgement.moment.hour_of_day };
    match &rules.bytes_sent {
        Some(rule) if sums.sent < rule.parameters.bytes_min => {
            state.pass(Detector::BytesSent, few(sums.sent));
        }
        Some(rule) => judge(judgement, &sent(rule, sums), (state, verdict), sums.calls),
        None => {}
    }
    match &rules.bytes_read {
        Some(rule) if sums.read < rule.parameters.bytes_min => {
            state.pass(Detector::BytesRead, few(sums.read));
        }
        Some(rule) => judge(judgement, &read(rule, sums), (state, verdict), sums.calls),
        None => {}
    }
}

fn sent<'a>(rule: &'a Rule<BytesSentParameters>, sums: &Sums) -> Way<'a> {
    Way {
        rule: &rule.words,
        bytes: sums.sent,
        bytes_min: rule.parameters.bytes_min,
        usual_maximum: rule.parameters.usual_maximum,
        verb: "sent",
        unit: "bytes into tools in 10 min",
    }
}

fn read<'a>(rule: &'a Rule<BytesReadParameters>, sums: &Sums) -> Way<'a> {
    Way {
        rule: &rule.words,
        bytes: sums.read,
        bytes_min: rule.parameters.bytes_min,
        usual_maximum: rule.parameters.usual_maximum,
        verb: "read",
        unit: "bytes from tools in 10 min",
    }
}

fn judge(
    judgement: &Judgement<'_>,
    way: &Way<'_>,
    (state, verdict): (&mut AgentState, &mut Verdict),
    calls: u32,
) {
    let standing = state.stand(
        judgement,
        &Reading {
            detector: way.rule.detector,
            value: size(way.bytes),
            least: size(way.bytes_min),
            may_fire: true,
            measure: peaks::measure(peaks::BYTES, way.usual_maximum, DEVIATION),
            budget: way.rule.budget,
        },
        verdict,
    );
    if let Some(standing) = standing {
        state.report(judgement, (way.rule, standing.ratio), verdict, |state| {
            describe(judgement, way, state, (standing, calls))
        });
    }
}

/// Bytes as a float: beyond 2^53 they are a hostile record's, and all alike.
fn size(bytes: u64) -> f64 {
    crate::baseline::float(bytes.min(1 << 53))
}

fn describe(
    judgement: &Judgement<'_>,
    way: &Way<'_>,
    state: &AgentState,
    (standing, calls): (Standing, u32),
) -> Description {
    let call = judgement.call;
    let (low, high) = (libm::round(standing.usual.0), libm::round(standing.usual.1));
    let silent = libm::floor(standing.silent).max(size(way.bytes_min) - 1.0);
    let preposition = if way.rule.detector == Detector::BytesSent { "into" } else { "from" };
    Description {
        summary: format!(
            "{} {} {} {preposition} tools in 10 min, with {} the latest; the most of its day usually is {} to {}.",
            words::quote(&state.agent_id),
            way.verb,
            words::bytes(size(way.bytes)),
            words::quote(&call.tool_name),
            words::bytes(low),
            words::bytes(high),
        ),
        expected: Expected {
            low,
            high,
            unit: way.unit.to_owned(),
            basis: state.basis(way.rule.detector, "the fullest 10 min"),
        },
        observed: size(way.bytes),
        start: call.time.plus_secs(-TenMinutes::SECS),
        counterfactual: format!("silent if at most {} in 10 min", words::bytes(silent)),
        evidence: with_trigger(&[], call),
        evidence_total: u64::from(calls),
        subjects: vec![subjects::amount(
            way.rule.detector,
            size(way.bytes),
            &words::bytes(size(way.bytes)),
        )],
    }
}
