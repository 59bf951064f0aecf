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
use crate::pipeline::bench_latency::{self, LatencyOptions};
use crate::pipeline::bench_memory::{self, MemoryOptions};
use crate::pipeline::bench_restore::{self, RestoreOptions};

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// The whole way of a call, against bare librdkafka on the same topic in the same run.
    Pipeline(PipelineArgs),
    /// From the broker's append of a call to the POST of the alert it causes, at an even rate; the
    /// brokers' clocks and this machine's must agree.
    Latency(LatencyArgs),
    /// False alarms and delays on generated, service-like traffic.
    Judgement(JudgementArgs),
    /// What agents take in memory, in groups of peers and with ten tools each.
    Memory(MemoryArgs),
    /// How long it takes to read baselines back from the state topic.
    Restore(RestoreArgs),
}

/// Where something is measured beside a Kafka.
#[derive(Debug, Args)]
struct Place {
    /// The brokers to measure on.
    #[arg(long, default_value = "127.0.0.1:9092")]
    broker: String,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 8)]
    partitions: i32,
    /// Worker threads.
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

/// Where and how often something is measured beside a Kafka.
#[derive(Debug, Args)]
struct Beside {
    #[command(flatten)]
    place: Place,
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

/// What `bench latency` is told.
#[derive(Debug, Args)]
pub(crate) struct LatencyArgs {
    #[command(flatten)]
    place: Place,
    /// Calls a second.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: u64,
    /// Agents that make them.
    #[arg(long, default_value_t = 100_000)]
    agents: u32,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Seconds of the same load before that.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    warm_up: u64,
    /// Alerts a second.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=500))]
    alerts: u32,
}

pub(crate) fn bench(command: &BenchCommand) -> Result<Exit, Failure> {
    match command {
        BenchCommand::Pipeline(args) => pipeline(args),
        BenchCommand::Latency(args) => latency(args),
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

fn latency(args: &LatencyArgs) -> Result<Exit, Failure> {
    let config = configuration(&args.place.broker)?;
    let rules = settings::load_rules(&RuleSource::default())?.rules;
    let options = LatencyOptions {
        rate: args.rate,
        agents: args.agents,
        partitions: args.place.partitions,
        workers: args.place.workers,
        warm_up_seconds: args.warm_up,
        seconds: args.seconds,
        alerts_a_second: args.alerts,
        seed: 1,
    };
    let mut say = |words: &str| drop(writeln!(stderr(), "{words}"));
    let measured = bench_latency::latency(&config, &options, (&rules, &mut say));
    let report = crate::cli::runtime()?.block_on(measured)?;
    let json = serde_json::to_string_pretty(&report).context("cannot write the report")?;
    writeln!(stdout(), "{json}")?;
    Ok(if report.alerts_arrived == report.alerts_expected { Exit::Done } else { Exit::Found })
}

fn restore(args: &RestoreArgs) -> Result<Exit, Failure> {
    let config = configuration(&args.beside.place.broker)?;
    let rules = settings::load_rules(&RuleSource::default())?.rules;
    let options = RestoreOptions {
        agents: args.agents,
        partitions: args.beside.place.partitions,
        workers: args.beside.place.workers,
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
    let config = configuration(&args.beside.place.broker)?;
    let rules = settings::load_rules(&RuleSource::default())?.rules;
    let options = BenchOptions {
        calls: args.calls,
        agents: args.agents,
        partitions: args.beside.place.partitions,
        workers: args.beside.place.workers,
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
