//! The command line: what is asked, what it answers, and the exit code. Standard output is data,
//! standard error is talk.

mod alert;
mod baseline;
mod bench;
mod bench_judgement;
pub mod check;
pub mod config_cmd;
mod demo;
mod engine;
mod exit;
mod explain;
mod generate;
mod output;
mod replay;
mod rule_tests;
mod run;
mod running;
mod settings;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::exit::{Exit, Failure};
use crate::telemetry::{LogFormat, init_logging};

/// Watches what AI agents do: learns what is normal for each, from Kafka, and alerts people when
/// one stops looking like itself.
#[derive(Debug, Parser)]
#[command(name = "toolwarden", version, about, max_term_width = 100)]
#[command(after_help = exit::HELP)]
struct Cli {
    /// How much is logged to standard error, as in `info` or `info,librdkafka=debug`.
    #[arg(long, global = true, env = "TOOLWARDEN_LOG_LEVEL", default_value = "info")]
    log_level: String,
    /// How the log is written.
    #[arg(long, global = true, env = "TOOLWARDEN_LOG_FORMAT", default_value = "text")]
    log_format: LogFormatName,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormatName {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads Kafka, judges, and tells people, until it is told to stop.
    Run(run::RunArgs),
    /// Plays a company's days through the whole product on an embedded Kafka.
    Demo(demo::DemoArgs),
    /// Checks configuration and rules, and reports every mistake.
    Check(settings::CheckArgs),
    /// Runs the tests that rules carry.
    Test(rule_tests::TestArgs),
    /// Judges recorded calls from files.
    Replay(replay::ReplayArgs),
    /// Says why a call was told, or why it was not: every detector's reading of it.
    Explain(Box<explain::ExplainArgs>),
    /// Shows what is known of an agent, and writes and reads what was learned.
    #[command(subcommand)]
    Baseline(baseline::BaselineCommand),
    /// Says what is expected, and lists what was said.
    #[command(subcommand)]
    Alert(alert::AlertCommand),
    /// Prints the configuration's schema, an example, or what is in force.
    #[command(subcommand)]
    Config(settings::ConfigCommand),
    /// Makes traffic to try things on.
    #[command(subcommand)]
    Generate(generate::GenerateCommand),
    /// Measures.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Prints the versions of everything in this program.
    Version,
}

/// Does what the command line asks.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = match cli.log_format {
        LogFormatName::Text => LogFormat::Text,
        LogFormatName::Json => LogFormat::Json,
    };
    // The demo and the one-shot commands talk in their own words; only errors are logged.
    let level = match (&cli.command, cli.log_level.as_str()) {
        (Command::Run(_), level) => level,
        (_, "info") => "error",
        (_, level) => level,
    };
    if let Err(error) = init_logging(level, format) {
        return report(&Failure::new(Exit::Usage, anyhow::Error::new(error)));
    }
    match dispatch(cli.command) {
        Ok(exit) => exit.into(),
        Err(failure) => report(&failure),
    }
}

fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::Check(args) => settings::check(&args),
        Command::Test(args) => rule_tests::test(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Baseline(command) => baseline::baseline(&command),
        Command::Alert(command) => alert::alert(&command),
        Command::Config(command) => settings::config(&command),
        Command::Generate(command) => generate::generate(&command),
        Command::Bench(command) => bench::bench(&command),
        Command::Version => version(),
    }
}

fn report(failure: &Failure) -> ExitCode {
    // Nobody is left to tell when standard error is gone.
    drop(writeln!(std::io::stderr(), "{failure}"));
    failure.exit.into()
}

/// The exit code as a number, once it is said what failed.
fn told(ended: &Result<Exit, Failure>) -> i32 {
    let exit = match ended {
        Ok(exit) => *exit,
        Err(failure) => {
            report(failure);
            failure.exit
        }
    };
    exit.code().into()
}

fn version() -> Result<Exit, Failure> {
    let mut out = std::io::stdout();
    writeln!(out, "toolwarden {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "librdkafka {}", crate::kafka::librdkafka_version())?;
    Ok(Exit::Done)
}

/// Whether to colour what goes to `stream`.
fn colored(stream: &impl IsTerminal) -> bool {
    let asked = |name| crate::config::Environment::get(&crate::config::ProcessEnvironment, name);
    stream.is_terminal() && asked("NO_COLOR").is_none() && asked("TERM").as_deref() != Some("dumb")
}

/// Writes rows of cells as columns; the first row is the head.
fn columns<const N: usize>(rows: &[[String; N]], out: &mut dyn Write) -> std::io::Result<()> {
    let width = |column: usize| {
        let widths = rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// A runtime for the commands that need one.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Environment, error.into()))
}
