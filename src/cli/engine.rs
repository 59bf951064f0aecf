//! The engine for the commands that judge files: what they are told alike, and what that makes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::cli::exit::{Exit, Failure};
use crate::cli::settings;
use crate::config::{Config, RuleSource};
use crate::decode::{self, Format};
use crate::pipeline::baselines::{self, Baselines, BaselinesError, Bounds};
use crate::pipeline::clock;
use crate::pipeline::epochs::PeerBoard;
use crate::pipeline::judge::Shared;
use crate::pipeline::replay::Replay;
use crate::pipeline::verdicts::VerdictBoard;
use crate::policy::{self, Groups};
use crate::state::Agents;
use crate::state::admission::Room;

/// What the commands that judge files are told alike.
#[derive(Debug, Args)]
pub(crate) struct EngineArgs {
    /// Take limits, event time, privacy and rules from this configuration.
    #[arg(long, short)]
    pub(crate) config: Option<PathBuf>,
    /// Take rules from this directory.
    #[arg(long)]
    rules: Option<PathBuf>,
    /// Take what people have said from this file: verdicts, one JSON object a line, as
    /// `toolwarden alert verdicts --output ndjson` writes them.
    #[arg(long)]
    verdicts: Option<PathBuf>,
    /// Go on from what was learned before: a file that `toolwarden baseline export` wrote.
    #[arg(long)]
    pub(crate) baseline: Option<PathBuf>,
    /// How the records are written.
    #[arg(long, default_value = "auto", value_parser = settings::format)]
    format: Format,
    /// The tenant of records that name none.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Calls are put in order of their time within this span (`0s`, `30s`).
    #[arg(long, value_parser = settings::duration)]
    reorder: Option<Duration>,
}

/// An engine that is ready to judge.
pub(crate) struct Engine {
    /// What its parts share.
    pub(crate) shared: Shared,
    options: decode::Options,
    baselines: Option<Baselines>,
}

impl EngineArgs {
    /// Makes the engine. Alerts from `listed_score` on are made although nobody would be told.
    pub(crate) fn build(&self, listed_score: Option<f64>) -> Result<Engine, Failure> {
        let config = self.config.as_deref().map(settings::load).transpose()?;
        let shared = self.shared(config.as_ref(), listed_score)?;
        let options = self.options(config.as_ref());
        let fingerprint = options.hash_key.fingerprint();
        let bounds = bounds(config.as_ref());
        let read = |path: &PathBuf| read_baselines(path, bounds, Some(&fingerprint));
        let baselines = self.baseline.as_ref().map(read).transpose()?;
        Ok(Engine { shared, options, baselines })
    }

    /// What the decoder is told, by the configuration if there is one.
    fn options(&self, config: Option<&Config>) -> decode::Options {
        let default = decode::Options::default();
        let privacy = config.map(|config| config.privacy).unwrap_or_default();
        decode::Options {
            format: self.format,
            default_tenant: self.tenant.clone(),
            record_bytes_max: config.map_or(default.record_bytes_max, |it| it.limits.record_bytes),
            hash_key: privacy.hash_key,
            show_targets: privacy.show_targets,
        }
    }

    fn shared(&self, config: Option<&Config>, listed: Option<f64>) -> Result<Shared, Failure> {
        let source = match (&self.rules, config) {
            (Some(directory), _) => RuleSource { directory: Some(directory.clone()) },
            (None, Some(config)) => config.rules.clone(),
            (None, None) => RuleSource::default(),
        };
        let rules = settings::load_rules(&source)?.rules;
        let limits = config.map_or_else(policy::Limits::default, |config| policy::Limits {
            tools_per_agent: config.limits.tools_per_agent,
            lateness: config.event_time.lateness,
            ..policy::Limits::default()
        });
        let groups = config.map_or_else(Groups::default, |it| Groups::new(it.groups.clone()));
        let listed_score = listed.unwrap_or(limits.listed_score);
        let limits = policy::Limits { listed_score, ..limits };
        // A file has no one waiting for it, so it is put in order as far as calls may be late.
        let reorder = self.reorder.unwrap_or(limits.lateness);
        let said = self.verdicts.as_deref().map(settings::verdicts).transpose()?;
        let verdicts =
            said.map_or_else(VerdictBoard::default, |book| VerdictBoard::of(book.expectations()));
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Ok(Shared {
            rules: Arc::new(rules.with_limits(limits).with_groups(groups)),
            agents: Arc::new(Agents::within(room(config))),
            board: PeerBoard::default(),
            verdicts,
            reorder_ns: nanos(reorder),
            lateness_ns: nanos(limits.lateness),
        })
    }
}

impl Engine {
    /// The fingerprint of the key that targets are hashed with.
    pub(crate) fn hash_key(&self) -> String {
        self.options.hash_key.fingerprint()
    }

    /// A replay by this engine, which goes on from the baseline if there is one.
    pub(crate) fn replay(self) -> Result<Replay, Failure> {
        let mut replay = Replay::new(self.shared, self.options, clock::wall());
        if let Some(baselines) = self.baselines {
            replay.go_on(baselines).map_err(limit)?;
        }
        Ok(replay)
    }
}

/// How much room there is: a recording has no partitions, so only the bound on all agents counts.
fn room(config: Option<&Config>) -> Room {
    let room = Room::only(bounds(config).agents);
    let Some(config) = config else { return room };
    let secs = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Room {
        yield_after_secs: secs(config.state.yield_after),
        forget_after_secs: secs(config.state.forget_after),
        ..room
    }
}

/// How much may be taken in, by the configuration if there is one.
pub(crate) fn bounds(config: Option<&Config>) -> Bounds {
    Bounds {
        agents: config.map_or(1_000_000, |it| it.limits.agents),
        tools: config
            .map_or(policy::Limits::default().tools_per_agent, |it| it.limits.tools_per_agent),
    }
}

/// A replay that knows nothing and judges by the shipped rules.
pub(crate) fn empty(bounds: Bounds) -> Result<Replay, Failure> {
    let rules = settings::load_rules(&RuleSource::default())?.rules;
    let shared = Shared {
        rules: Arc::new(rules),
        agents: Arc::new(Agents::new(bounds.agents)),
        board: PeerBoard::default(),
        verdicts: VerdictBoard::default(),
        reorder_ns: 0,
        lateness_ns: 0,
    };
    Ok(Replay::new(shared, decode::Options::default(), clock::wall()))
}

/// Reads a file of baselines for an engine whose key of targets has this fingerprint, if that
/// matters yet.
pub(crate) fn read_baselines(
    path: &Path,
    bounds: Bounds,
    hash_key: Option<&str>,
) -> Result<Baselines, Failure> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let read = baselines::read(file, bounds).map_err(|error| {
        let exit = match &error {
            BaselinesError::TooManyAgents { .. } => Exit::Configuration,
            BaselinesError::State(_) => Exit::Environment,
        };
        Failure::new(exit, anyhow::Error::new(error).context(path.display().to_string()))
    })?;
    if let Some(hash_key) = hash_key.filter(|key| *key != read.header.hash_key) {
        let words = format!(
            "{}: its targets were hashed with the key {}, and here they are with {hash_key}; set \
             `privacy.hash_key` to the one it was learned with, or every target would be new",
            path.display(),
            crate::deliver::escape(&read.header.hash_key),
        );
        return Err(Failure::new(Exit::Configuration, anyhow::anyhow!(words)));
    }
    Ok(read)
}

/// There is no room for the agents of a baseline.
pub(crate) fn limit(full: crate::state::Full) -> Failure {
    Failure::new(Exit::Configuration, anyhow::Error::new(full))
}
