//! `toolwarden demo`.

use std::io::{stderr, stdout};
use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use crate::cli::exit::{Exit, Failure};
use crate::cli::settings;
use crate::config::RuleSource;
use crate::pipeline::demo::{self, Act, DemoOptions};

/// What `demo` is told.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// What is played.
    #[arg(long, default_value = "working-day")]
    scenario: ScenarioName,
    /// Stay until interrupted, so that there is something to look at.
    #[arg(long)]
    keep: bool,
    /// Where /metrics answers; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The seed the company is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScenarioName {
    /// A day on which four agents go wrong.
    WorkingDay,
    /// The same day on which none does: nobody must be told anything.
    Quiet,
}

pub(crate) fn demo(args: &DemoArgs) -> Result<Exit, Failure> {
    let rules = settings::load_rules(&RuleSource::default())?.rules;
    let options = DemoOptions {
        act: match args.scenario {
            ScenarioName::WorkingDay => Act::WorkingDay,
            ScenarioName::Quiet => Act::Quiet,
        },
        seed: args.seed,
        listen: args.listen,
        keep: args.keep,
        color: crate::cli::colored(&stdout()),
    };
    let runtime = crate::cli::runtime()?;
    let report = runtime.block_on(demo::run(&options, rules, (&mut stdout(), &mut stderr())))?;
    Ok(if report.is_good() { Exit::Done } else { Exit::Found })
}
