//! `toolwarden bench judgement`.

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::cli::exit::{Exit, Failure};
use crate::cli::settings;
use crate::config::RuleSource;
use crate::generate::corpora::Corpus;
use crate::pipeline::bench_judgement::{
    BurstRow, DelayRow, JudgementReport, Options, Part, QuietRow, RampRow, ReleaseRow, Row, measure,
};

/// What `bench judgement` is told.
#[derive(Debug, Args)]
pub(crate) struct JudgementArgs {
    /// Agents of each corpus.
    #[arg(long, default_value_t = 1_000)]
    agents: u32,
    /// Days that count, after fourteen that are learned from.
    #[arg(long, default_value_t = 60)]
    days: u32,
    /// Only the false alarms on this corpus; may be given again. All of them and what changes make of
    /// them otherwise.
    #[arg(long, value_parser = corpus)]
    corpus: Vec<Corpus>,
    /// Only this part: quiet, delays, ramps, burst or releases; may be given again.
    #[arg(long, value_parser = part)]
    part: Vec<Part>,
    /// The seed: the same one gives the same figures.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads at work.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Take rules from this directory.
    #[arg(long)]
    rules: Option<PathBuf>,
    /// Write every figure as one JSON object, instead of a table.
    #[arg(long)]
    json: bool,
}

fn corpus(word: &str) -> Result<Corpus, String> {
    Corpus::ALL.into_iter().find(|corpus| corpus.as_str() == word).ok_or_else(|| {
        let words: Vec<&str> = Corpus::ALL.map(Corpus::as_str).to_vec();
        format!("a corpus is one of {}", words.join(", "))
    })
}

fn part(word: &str) -> Result<Part, String> {
    Part::ALL.into_iter().find(|part| part.as_str() == word).ok_or_else(|| {
        let words: Vec<&str> = Part::ALL.map(Part::as_str).to_vec();
        format!("a part is one of {}", words.join(", "))
    })
}

fn parts(args: &JudgementArgs) -> Vec<Part> {
    match (args.part.is_empty(), args.corpus.is_empty()) {
        (false, _) => args.part.clone(),
        (true, false) => vec![Part::Quiet],
        (true, true) => Part::ALL.to_vec(),
    }
}

pub(crate) fn judgement(args: &JudgementArgs) -> Result<Exit, Failure> {
    let rules = settings::load_rules(&RuleSource { directory: args.rules.clone() })?.rules;
    let chosen = if args.corpus.is_empty() { Corpus::ALL.to_vec() } else { args.corpus.clone() };
    let options = Options {
        agents: args.agents,
        days: args.days,
        corpora: chosen,
        parts: parts(args),
        seed: args.seed,
        threads: args.threads,
    };
    let mut out = stdout();
    let mut written = Ok(());
    let report = measure(&rules, &options, &mut |row| {
        if !args.json && written.is_ok() {
            written = write_row(&mut out, row);
        }
    });
    written?;
    if args.json {
        let json = serde_json::to_string_pretty(&report).context("cannot write the report")?;
        writeln!(out, "{json}")?;
    }
    Ok(if misses(&report) == 0 { Exit::Done } else { Exit::Found })
}

/// Pages over agents that a release may come to.
const PAGES_MAX: f64 = 0.01;

/// What one wild hour may move a learned level by.
const MOVED_MAX: f64 = 0.05;

/// Figures that miss their bar.
fn misses(report: &JudgementReport) -> usize {
    let quiet = report.quiet.iter().filter(|row| row.worst > 1.0).count();
    let late = report.delays.iter().filter(|row| !row.is_ok()).count();
    let ramps = report.ramps.iter().filter(|row| row.noticed < row.runs).count();
    let burst = report.burst.iter().filter(|row| row.moved >= MOVED_MAX).count();
    let releases = report.releases.iter();
    let crowded = releases.clone().filter(|row| row.paged() > PAGES_MAX).count();
    let untold = releases.filter(|row| row.findings != 1).count();
    quiet + late + ramps + burst + crowded + untold
}

/// A sign, what it is, the figure, its bar and a note: the form of `scripts/judgement`.
fn write_line(
    out: &mut dyn Write,
    (is_ok, what): (bool, &str),
    (figure, bar): (&str, &str),
    note: &str,
) -> std::io::Result<()> {
    let sign = if is_ok { "ok  " } else { "MISS" };
    writeln!(out, "{sign} {what:<62} {figure:>6}  {bar:<8} {note}")
}

fn write_row(out: &mut dyn Write, row: Row<'_>) -> std::io::Result<()> {
    match row {
        Row::Quiet(row) => write_quiet(out, row),
        Row::Delay(row) => write_delay(out, row),
        Row::Ramp(row) => write_ramp(out, row),
        Row::Burst(row) => write_burst(out, row),
        Row::Release(row) => write_release(out, row),
    }
}

fn write_delay(out: &mut dyn Write, row: &DelayRow) -> std::io::Result<()> {
    let change = if row.factor > 0.0 { format!("x{}", row.factor) } else { "silence".to_owned() };
    let what = format!("{}, {} a minute, {change}: median minutes", row.corpus, row.a_minute);
    let minutes = |minutes: Option<f64>| {
        minutes.map_or_else(|| "never".to_owned(), |minutes| format!("{minutes:.2}"))
    };
    let bar = row.bar.map_or_else(|| "best".to_owned(), |bar| format!("<= {bar}"));
    let by: Vec<String> = row.by.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let (noticed, runs) = (row.noticed, row.runs);
    let note = format!("p90 {}; {noticed} of {runs}: {}", minutes(row.p90), by.join(", "));
    write_line(out, (row.is_ok(), &what), (&minutes(row.median), &bar), &note)
}

fn write_ramp(out: &mut dyn Write, row: &RampRow) -> std::io::Result<()> {
    let (growth, a_minute) = (row.growth_a_day * 100.0, row.a_minute);
    let what = format!("ramp of {growth} % a day, {a_minute} a minute: noticed before x3");
    let figure = format!("{}/{}", row.noticed, row.runs);
    let at = row.factor.map_or_else(String::new, |factor| format!("median at x{factor:.2}"));
    write_line(out, (row.noticed == row.runs, &what), (&figure, "all"), &at)
}

fn write_burst(out: &mut dyn Write, row: &BurstRow) -> std::io::Result<()> {
    let what = "one hour of x100: the most that a learned level moved";
    let figure = format!("{:.3}", row.moved);
    let note = format!("{}; {} runs", row.by, row.runs);
    write_line(out, (row.moved < MOVED_MAX, what), (&figure, "< 0.05"), &note)
}

fn write_release(out: &mut dyn Write, row: &ReleaseRow) -> std::io::Result<()> {
    let release = format!("release x3 for 2 h, {}", row.corpus);
    let by: Vec<String> = row.by.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let share = row.paged();
    let what = format!("{release}: pages over agents");
    let note = format!("{} pages, {} agents", row.pages, row.agents);
    write_line(out, (share <= PAGES_MAX, &what), (&format!("{share:.3}"), "<= 0.01"), &note)?;
    let what = format!("{release}: agents told of, mostly as updates of these");
    let note = format!("{} agents: {}", row.alarmed, by.join(", "));
    write_line(out, (true, &what), (&format!("{:.3}", row.told()), "no bar"), &note)?;
    let what = format!("{release}: group findings");
    write_line(out, (row.findings == 1, &what), (&row.findings.to_string(), "= 1"), "")
}

/// One row a corpus: the detector nearest to its budget, then every one that alarmed at all.
fn write_quiet(out: &mut dyn Write, row: &QuietRow) -> std::io::Result<()> {
    let alarmed = row.detectors.iter().filter(|it| it.alarms > 0);
    let by: Vec<String> = alarmed
        .map(|it| {
            let miss = if it.a_day > it.budget { " MISS" } else { "" };
            format!("{} {:.5} of {}{miss}", it.detector, it.a_day, it.budget)
        })
        .collect();
    let by = if by.is_empty() { "none".to_owned() } else { by.join(", ") };
    let what = format!("{}: false alarms of any detector over its budget", row.corpus);
    let note =
        format!("{by}; {} calls, {} active days, {:.0} s", row.calls, row.active_days, row.seconds);
    write_line(out, (row.worst <= 1.0, &what), (&format!("{:.3}", row.worst), "<= 1"), &note)
}
