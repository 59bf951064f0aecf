//! `toolwarden check` and `toolwarden config`, and reading configuration for the other commands.

use std::io::{stderr, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::check::{Check, CheckOutput};
use crate::cli::config_cmd::{self, SchemaOf, ShowOutput};
use crate::cli::exit::{Exit, Failure};
use crate::config::{self, Config, LoadedRules, ProcessEnvironment, RuleSource};
use crate::decode::Format;

/// What `check` is told.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Configuration files, rule files and directories of rule files.
    paths: Vec<PathBuf>,
    /// One more configuration file, named as for `run`.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// How the result is written.
    #[arg(long, short, default_value = "text")]
    output: CheckFormat,
    /// Fail on warnings too.
    #[arg(long)]
    deny_warnings: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CheckFormat {
    /// For people.
    Text,
    /// For editors and CI.
    Json,
}

/// What can be asked about the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Prints a JSON Schema.
    Schema {
        /// Of what.
        #[arg(default_value = "config")]
        of: SchemaName,
    },
    /// Prints a first configuration, every field explained.
    Init,
    /// Prints the configuration in force, defaults filled in and secrets masked.
    Show {
        /// The configuration.
        #[arg(long, short)]
        config: PathBuf,
        /// Print JSON instead of YAML.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SchemaName {
    /// The configuration file.
    Config,
    /// An alert.
    Alert,
    /// A rule file.
    Rule,
}

pub(crate) fn check(args: &CheckArgs) -> Result<Exit, Failure> {
    let mut paths = args.paths.clone();
    paths.extend(args.config.clone());
    if paths.is_empty() {
        let words =
            "nothing to check; name a configuration with --config FILE, or a rule directory";
        return Err(Failure::new(Exit::Usage, anyhow::anyhow!(words)));
    }
    let check = Check {
        paths: &paths,
        environment: &ProcessEnvironment,
        rules: &|name, text| {
            let file = [(PathBuf::from(name), text.to_owned())];
            config::read_rules(&file).map(|_| Vec::new())
        },
        output: match args.output {
            CheckFormat::Text => CheckOutput::Text,
            CheckFormat::Json => CheckOutput::Json,
        },
        deny_warnings: args.deny_warnings,
    };
    Ok(exit(crate::cli::check::check(&check, &mut stdout())?))
}

pub(crate) fn config(command: &ConfigCommand) -> Result<Exit, Failure> {
    let out = &mut stdout();
    let code = match command {
        ConfigCommand::Schema { of: SchemaName::Config } => {
            config_cmd::schema(SchemaOf::Config, out)?
        }
        ConfigCommand::Schema { of: SchemaName::Alert } => {
            config_cmd::schema(SchemaOf::Alert, out)?
        }
        ConfigCommand::Schema { of: SchemaName::Rule } => config_cmd::schema(SchemaOf::Rule, out)?,
        ConfigCommand::Init => config_cmd::init(out)?,
        ConfigCommand::Show { config, json } => {
            let output = if *json { ShowOutput::Json } else { ShowOutput::Yaml };
            config_cmd::show(config, &ProcessEnvironment, output, (out, &mut stderr()))?
        }
    };
    Ok(exit(code))
}

/// Reads a configuration; warnings are logged.
pub(crate) fn load(path: &Path) -> Result<Config, Failure> {
    let loaded = config::load(path, &ProcessEnvironment)
        .map_err(|problems| Failure::configuration(&problems))?;
    for warning in &loaded.warnings {
        tracing::warn!("{}:{}: {}", warning.file, warning.line, warning.message);
    }
    Ok(loaded.config)
}

/// Reads rules.
pub(crate) fn load_rules(source: &RuleSource) -> Result<LoadedRules, Failure> {
    config::load_rules(source).map_err(|problems| Failure::rules(&problems))
}

/// Reads a format by its name in the configuration.
pub(crate) fn format(name: &str) -> Result<Format, String> {
    serde_json::from_value(serde_json::Value::from(name))
        .map_err(|_| "expected auto, native, otlp_json, otlp_proto or cloudevents".to_owned())
}

/// Reads a duration such as `30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    config::parse_duration(text)
        .ok_or_else(|| "expected a duration such as 30s, 5m or 1h30m".to_owned())
}

fn exit(code: u8) -> Exit {
    match code {
        crate::cli::check::EXIT_OK => Exit::Done,
        crate::cli::check::EXIT_FINDINGS => Exit::Found,
        crate::cli::check::EXIT_RULES => Exit::Rules,
        _ => Exit::Configuration,
    }
}
