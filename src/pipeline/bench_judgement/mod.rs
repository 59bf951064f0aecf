//! `toolwarden bench judgement`: how well the rules in force judge generated, service-like traffic.
//!
//! The calls go straight into the engine, in event time, without Kafka or a decoder. The same
//! options give the same figures on every machine, whatever the number of threads; only the seconds
//! differ.

mod delay;
mod poison;
mod quiet;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

use crate::generate::corpora::Corpus;
use crate::policy::Rules;

pub use delay::DelayRow;
pub use poison::{BurstRow, RampRow, ReleaseRow};
pub use quiet::{QuietRow, Realised};

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Agents of each corpus.
    pub agents: u32,
    /// Days that count, after fourteen that are learned from.
    pub days: u32,
    /// The corpora whose false alarms are counted.
    pub corpora: Vec<Corpus>,
    /// What is measured, of all that could be.
    pub parts: Vec<Part>,
    /// The seed of all traffic.
    pub seed: u64,
    /// Threads at work.
    pub threads: usize,
}

/// A part of what can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// False alarms, of each corpus.
    Quiet,
    /// How soon a change of rate is told.
    Delays,
    /// Slow ramps.
    Ramps,
    /// What one wild hour teaches.
    Burst,
    /// A release that triples a group's work.
    Releases,
}

impl Part {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 5] =
        [Self::Quiet, Self::Delays, Self::Ramps, Self::Burst, Self::Releases];

    /// The name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Delays => "delays",
            Self::Ramps => "ramps",
            Self::Burst => "burst",
            Self::Releases => "releases",
        }
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct JudgementReport {
    /// False alarms, one row a corpus.
    pub quiet: Vec<QuietRow>,
    /// Delays, one row a kind of change.
    pub delays: Vec<DelayRow>,
    /// Slow ramps.
    pub ramps: Vec<RampRow>,
    /// One wild hour.
    pub burst: Option<BurstRow>,
    /// A release that triples everybody.
    pub releases: Vec<ReleaseRow>,
}

/// One row of the report.
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// False alarms on a corpus.
    Quiet(&'a QuietRow),
    /// The delay of a change.
    Delay(&'a DelayRow),
    /// A slow ramp.
    Ramp(&'a RampRow),
    /// One wild hour.
    Burst(&'a BurstRow),
    /// A release.
    Release(&'a ReleaseRow),
}

/// Measures; `say` gets each row as soon as it is known.
pub fn measure(rules: &Rules, options: &Options, say: &mut dyn FnMut(Row<'_>)) -> JudgementReport {
    let mut report = JudgementReport::default();
    let is_asked = |part| options.parts.contains(&part);
    for corpus in options.corpora.iter().filter(|_| is_asked(Part::Quiet)) {
        let row = quiet::measure(rules, options, *corpus);
        say(Row::Quiet(&row));
        report.quiet.push(row);
    }
    if is_asked(Part::Delays) {
        report.delays = delay::measure(rules, options, &mut |row| say(Row::Delay(row)));
    }
    if is_asked(Part::Ramps) {
        report.ramps = poison::ramps(rules, options);
        report.ramps.iter().for_each(|row| say(Row::Ramp(row)));
    }
    if is_asked(Part::Burst) {
        let burst = poison::burst(rules, options);
        say(Row::Burst(&burst));
        report.burst = Some(burst);
    }
    if is_asked(Part::Releases) {
        report.releases = poison::releases(rules, options);
        report.releases.iter().for_each(|row| say(Row::Release(row)));
    }
    report
}

/// What `run` makes of every job, in their order, worked on by some threads.
fn in_parallel<J: Sync, R: Send>(
    jobs: &[J],
    threads: usize,
    run: impl Fn(&J) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(place) else { return done };
            done.push((place, run(job)));
        }
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let finished = workers.into_iter().map(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        finished.flatten().collect()
    });
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{RawRule, Rules};

    fn rules() -> Rules {
        let raw: RawRule = serde_json::from_value(serde_json::json!({
            "id": "call_rate.burst", "title": "t", "description": "d", "detector": "call_rate",
            "severity": "high", "budget": 0.04, "tags": [], "runbook": "r", "tests": []
        }))
        .unwrap();
        // Only the tests are missing, which are of no use here.
        let checked = Rules::from_raw(vec![RawRule { enabled: true, ..raw.clone() }]);
        assert!(checked.is_err(), "a rule without tests is refused");
        let mut raw = raw;
        raw.tests = serde_json::from_value(serde_json::json!([
            {"name": "a", "input": [{"at": "10:00:00", "tool": "t"}], "expect": "firing"},
            {"name": "b", "input": [{"at": "10:00:00", "tool": "t"}], "expect": "silent"}
        ]))
        .unwrap();
        Rules::from_raw(vec![raw]).unwrap()
    }

    #[test]
    fn the_number_of_threads_changes_no_figure() {
        let measured = |threads| {
            let options = Options {
                agents: 120,
                days: 2,
                corpora: vec![Corpus::Sessions],
                parts: vec![Part::Quiet],
                seed: 3,
                threads,
            };
            let mut report = measure(&rules(), &options, &mut |_| {});
            report.quiet.iter_mut().for_each(|row| row.seconds = 0.0);
            serde_json::to_string(&report).unwrap()
        };
        let one = measured(1);
        assert!(one.contains("\"detector\":\"call_rate\",\"budget\":0.04"), "{one}");
        assert_eq!(one, measured(4));
    }

    #[test]
    fn jobs_keep_their_order() {
        let jobs: Vec<u32> = (0..100).collect();
        assert_eq!(in_parallel(&jobs, 3, |job| job * 2), (0..200).step_by(2).collect::<Vec<_>>());
    }
}
