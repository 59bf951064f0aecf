//! `toolwarden bench`.

use std::io::{Write, stderr, stdout};
use std::path::Path;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::cli::bench_judgement::{self, JudgementArgs};
use crate::cli::exit::{Exit, Failure};
use crate::cli::settings;
use crate::config::{Config, RuleSource, load_text};
use crate::pipeline::bench::{self, BenchOptions};
use crate::pipeline::bench_memory::{self, MemoryOptions};
use crate::pipeline::bench_restore::{self, RestoreOptions};

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// The whole way of a call, against bare librdkafka on the same topic in the same run.
    Pipeline(PipelineArgs),
    /// False alarms and delays on generated, service-like traffic.
    Judgement(JudgementArgs),
    /// What agents take in memory, in groups of peers and with ten tools each.
    Memory(MemoryArgs),
    /// How long it takes to read baselines back from the state topic.
    Restore(RestoreArgs),
}

/// Where and how often something is measured beside a Kafka.
#[derive(Debug, Args)]
struct Beside {
    /// The brokers to measure on.
    #[arg(long, default_value = "127.0.0.1:9092")]
    broker: String,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 8)]
    partitions: i32,
    /// Worker threads.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// How often it is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// What `bench restore` is told.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    beside: Beside,
    /// Agents to read back.
    #[arg(long, default_value_t = 1_000_000)]
    agents: u32,
    /// Read back what an earlier run has written, by the beginning of its topics' names.
    #[arg(long)]
    again: Option<String>,
}

/// What `bench memory` is told.
#[derive(Debug, Args)]
pub(crate) struct MemoryArgs {
    /// Agents in memory.
    #[arg(long, default_value_t = 1_000_000)]
    agents: u32,
    /// How many of them are in a session at the end.
    #[arg(long, default_value_t = 50_000)]
    live: u32,
}

/// What `bench pipeline` is told.
#[derive(Debug, Args)]
pub(crate) struct PipelineArgs {
    #[command(flatten)]
    beside: Beside,
    /// Calls in the topic.
    #[arg(long, default_value_t = 5_000_000)]
    calls: u64,
    /// Agents that make them.
    #[arg(long, default_value_t = 100_000)]
    agents: u32,
    /// Measure in each round, too, what it does without writing down what it knows.
    #[arg(long)]
    without_state: bool,
}

pub(crate) fn bench(command: &BenchCommand) -> Result<Exit, Failure> {
    match command {
        BenchCommand::Pipeline(args) => pipeline(args),
        BenchCommand::Judgement(args) => bench_judgement::judgement(args),
        BenchCommand::Memory(args) => memory(args),
        BenchCommand::Restore(args) => restore(args),
    }
}

fn memory(args: &MemoryArgs) -> Result<Exit, Failure> {
    let rules = settings::load_rules(&RuleSource::default())?.rules;
    let options = MemoryOptions { agents: args.agents, live: args.live.min(args.agents) };
    let mut say = |words: &str| drop(writeln!(stderr(), "{words}"));
    let report = bench_memory::memory(rules, &options, &mut say)?;
    let json = serde_json::to_string_pretty(&report).context("cannot write the report")?;
    writeln!(stdout(), "{json}")?;
    Ok(Exit::Done)
}

/// A configuration that says no more than where the cluster is.
fn configuration(broker: &str) -> Result<Config, Failure> {
    let text = format!(
        "version: 1\nkafka:\n  brokers: [{}]\nsources:\n  - topic: bench\n    format: native\n",
        serde_json::to_string(broker).context("cannot quote the broker's address")?
    );
    let environment = std::collections::BTreeMap::new();
    let loaded = load_text("bench", &text, Path::new(""), &environment)
        .map_err(|problems| Failure::configuration(&problems))?;
    Ok(loaded.config)
}

fn restore(args: &RestoreArgs) -> Result<Exit, Failure> {
    let config = configuration(&args.beside.broker)?;
    let rules = settings::load_rules(&RuleSource::default())?.rules;
    let options = RestoreOptions {
        agents: args.agents,
        partitions: args.beside.partitions,
        workers: args.beside.workers,
        rounds: args.beside.rounds,
        again: args.again.clone(),
    };
    let mut say = |words: &str| drop(writeln!(stderr(), "{words}"));
    let measured = bench_restore::restore(&config, &options, (&rules, &mut say));
    let report = crate::cli::runtime()?.block_on(measured)?;
    let json = serde_json::to_string_pretty(&report).context("cannot write the report")?;
    writeln!(stdout(), "{json}")?;
    Ok(Exit::Done)
}

fn pipeline(args: &PipelineArgs) -> Result<Exit, Failure> {
    let config = configuration(&args.beside.broker)?;
    let rules = settings::load_rules(&RuleSource::default())?.rules;
    let options = BenchOptions {
        calls: args.calls,
        agents: args.agents,
        partitions: args.beside.partitions,
        workers: args.beside.workers,
        rounds: args.beside.rounds,
        without_state: args.without_state,
        seed: 1,
    };
    let mut say = |words: &str| drop(writeln!(stderr(), "{words}"));
    let measured = bench::pipeline(&config, &options, (&rules, &mut say));
    let report = crate::cli::runtime()?.block_on(measured)?;
    let json = serde_json::to_string_pretty(&report).context("cannot write the report")?;
    writeln!(stdout(), "{json}")?;
    Ok(Exit::Done)
}
