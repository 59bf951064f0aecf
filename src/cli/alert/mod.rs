//! `toolwarden alert`: saying what is expected, and listing what was said.

mod listing;
mod saying;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

pub(crate) use saying::from_topic;

use crate::cli::exit::{Exit, Failure};
use crate::cli::settings;
use crate::config::Config;
use crate::kafka::{TopicReader, TopicRecord};
use crate::pipeline::clock::Moment;
use crate::pipeline::instance::client_settings;

/// Where the configuration lies when nobody says.
const CONFIG: &str = "/etc/toolwarden/config.yaml";

/// How long a topic that is being read may bring nothing.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// How long a poll waits.
const POLL: Duration = Duration::from_millis(200);

/// What can be done about alerts.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertCommand {
    /// Says that what an alert is about is expected, or not; or says so ahead of time.
    Verdict(Box<saying::VerdictArgs>),
    /// Lists what was said: of whom, of what, by whom, why, and whether it applies.
    Verdicts(listing::VerdictsArgs),
}

pub(crate) fn alert(command: &AlertCommand) -> Result<Exit, Failure> {
    match command {
        AlertCommand::Verdict(args) => saying::say(args),
        AlertCommand::Verdicts(args) => listing::list(args),
    }
}

fn configured(path: Option<&Path>) -> Result<Config, Failure> {
    settings::load(path.unwrap_or(Path::new(CONFIG)))
}

/// Reads a topic from its oldest record to its end.
fn whole_topic(
    config: &Config,
    topic: &str,
    take: &mut dyn FnMut(TopicRecord) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let group = format!("{}-cli", config.kafka.group_id);
    let client = client_settings(&config.kafka);
    let mut reader = TopicReader::new(&client, &group, topic).map_err(anyhow::Error::from)?;
    let mut last = Moment::now();
    while !reader.is_caught_up() {
        match reader.next(POLL) {
            Ok(Some(record)) => {
                last = Moment::now();
                take(record)?;
            }
            Err(error) if last.elapsed() > SILENCE_MAX => {
                return Err(anyhow::Error::from(error).into());
            }
            Ok(None) if last.elapsed() > SILENCE_MAX => {
                return Err(anyhow::anyhow!("the topic `{topic}` does not answer").into());
            }
            Ok(None) | Err(_) => {}
        }
    }
    Ok(())
}

/// Whether a path stands for standard input or output.
fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

/// A configuration file, named as for `run`.
#[derive(Clone, Debug, clap::Args)]
struct ConfigArg {
    /// The configuration of the cluster; `/etc/toolwarden/config.yaml` when absent.
    #[arg(long, short, env = "TOOLWARDEN_CONFIG")]
    config: Option<PathBuf>,
}
