//! `toolwarden generate`.

use std::fs::File;
use std::io::{BufWriter, Write, stderr, stdout};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};

use crate::cli::exit::{Exit, Failure};
use crate::generate::{Scenario, write_events};
use crate::kafka::{ClientSettings, Feeder};

/// What can be generated.
#[derive(Debug, Subcommand)]
pub(crate) enum GenerateCommand {
    /// Tool calls of invented agents, to a file or a topic.
    Events(EventsArgs),
}

/// What `generate events` is told.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Whose calls.
    #[arg(long, default_value = "working-day")]
    scenario: ScenarioName,
    /// The seed: the same one gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Agents, for `company` and `bench`.
    #[arg(long, default_value_t = 100)]
    agents: u32,
    /// Days, for `company`.
    #[arg(long, default_value_t = 14)]
    days: u32,
    /// Calls, for `bench`.
    #[arg(long, default_value_t = 100_000)]
    calls: u64,
    /// The file to write; `-` is standard output.
    #[arg(long, short, default_value = "-", conflicts_with = "topic")]
    out: PathBuf,
    /// The truth about planted anomalies, one JSON object a line.
    #[arg(long)]
    truth: Option<PathBuf>,
    /// The topic to produce to, keyed by tenant and agent.
    #[arg(long, requires = "brokers")]
    topic: Option<String>,
    /// The brokers of the topic.
    #[arg(long)]
    brokers: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScenarioName {
    /// Two weeks of a small company, with four anomalies on the last day.
    WorkingDay,
    /// The same two weeks without them.
    Quiet,
    /// A fleet of any size over any number of days.
    Company,
    /// Plain load within one hour.
    Bench,
}

pub(crate) fn generate(command: &GenerateCommand) -> Result<Exit, Failure> {
    let GenerateCommand::Events(args) = command;
    let scenario = match args.scenario {
        ScenarioName::WorkingDay => Scenario::working_day(args.seed),
        ScenarioName::Quiet => Scenario::quiet_day(args.seed),
        ScenarioName::Company => Scenario::company(args.agents, args.days, args.seed),
        ScenarioName::Bench => Scenario::bench(args.agents, args.calls, args.seed),
    };
    let written = match (&args.topic, &args.brokers) {
        (Some(topic), Some(brokers)) => to_topic(&scenario, topic, brokers)?,
        _ => to_file(&scenario, &args.out)?,
    };
    if let Some(path) = &args.truth {
        let mut file = BufWriter::new(create(path)?);
        for truth in scenario.truth() {
            let line = serde_json::to_string(&truth).context("cannot write the truth")?;
            writeln!(file, "{line}")?;
        }
        file.flush()?;
    }
    writeln!(stderr(), "{written} calls")?;
    Ok(Exit::Done)
}

fn to_file(scenario: &Scenario, path: &std::path::Path) -> anyhow::Result<u64> {
    let file: Box<dyn Write> = if path == std::path::Path::new("-") {
        Box::new(stdout())
    } else {
        Box::new(create(path)?)
    };
    let mut file = BufWriter::new(file);
    let mut written = 0;
    let all = write_events(scenario, |_, json| {
        written += 1;
        file.write_all(json)?;
        file.write_all(b"\n")
    });
    match all.and_then(|()| file.flush()) {
        // The reader had enough (`| head`).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(written),
        other => other.map(|()| written).context("cannot write the calls"),
    }
}

fn to_topic(scenario: &Scenario, topic: &str, brokers: &str) -> anyhow::Result<u64> {
    let feeder = Feeder::new(&ClientSettings::plain(brokers), topic)?;
    let mut written: u64 = 0;
    write_events(scenario, |key, json| {
        written += 1;
        if written.is_multiple_of(1_000) {
            feeder.poll();
        }
        feeder.send(key.as_bytes(), json)
    })?;
    feeder.flush(Duration::from_secs(60))?;
    Ok(written)
}

fn create(path: &std::path::Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}
