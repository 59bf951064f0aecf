//! `toolwarden bench judgement`.

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::cli::exit::{Exit, Failure};
use crate::cli::settings;
use crate::config::RuleSource;
use crate::generate::corpora::Corpus;
use crate::pipeline::bench_judgement::{Options, QuietRow, measure};

/// What `bench judgement` is told.
#[derive(Debug, Args)]
pub(crate) struct JudgementArgs {
    /// Agents of each corpus.
    #[arg(long, default_value_t = 1_000)]
    agents: u32,
    /// Days that count, after fourteen that are learned from.
    #[arg(long, default_value_t = 60)]
    days: u32,
    /// Only this corpus; may be given again. All of them otherwise.
    #[arg(long, value_parser = corpus)]
    corpus: Vec<Corpus>,
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

pub(crate) fn judgement(args: &JudgementArgs) -> Result<Exit, Failure> {
    let rules = settings::load_rules(&RuleSource { directory: args.rules.clone() })?.rules;
    let chosen = if args.corpus.is_empty() { Corpus::ALL.to_vec() } else { args.corpus.clone() };
    let options = Options {
        agents: args.agents,
        days: args.days,
        corpora: chosen,
        seed: args.seed,
        threads: args.threads,
    };
    let mut out = stdout();
    let mut written = Ok(());
    let report = measure(&rules, &options, &mut |row| {
        if !args.json && written.is_ok() {
            written = write_quiet(&mut out, row);
        }
    });
    written?;
    if args.json {
        let json = serde_json::to_string_pretty(&report).context("cannot write the report")?;
        writeln!(out, "{json}")?;
    }
    Ok(Exit::Done)
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
    writeln!(
        out,
        "{} {:<62} {:6.3}  <= 1     {}; {} calls, {} active days, {:.0} s",
        if row.worst <= 1.0 { "ok  " } else { "MISS" },
        format!("{}: false alarms of any detector over its budget", row.corpus),
        row.worst,
        if by.is_empty() { "none".to_owned() } else { by.join(", ") },
        row.calls,
        row.active_days,
        row.seconds,
    )
}
