//! `toolwarden alert verdict`.

use std::fs::OpenOptions;
use std::io::{BufRead, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::alert::Alert;
use crate::cli::alert::{ConfigArg, configured, is_dash, whole_topic};
use crate::cli::exit::{Exit, Failure};
use crate::cli::settings;
use crate::config::{Config, Environment, ProcessEnvironment};
use crate::deliver::escape;
use crate::kafka::{Feeder, Topic, ensure_topics};
use crate::pipeline::clock;
use crate::pipeline::instance::client_settings;
use crate::pipeline::replay::open;
use crate::pipeline::verdict_order::{self as order, OrderError, Saying};
use crate::policy::{Acceptance, Detector, Scope, Stance};

/// How long the cluster may take to take a verdict.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The detectors that find a level usual, and so one that can be expected.
const LEVELLED: [Detector; 13] = [
    Detector::Repeat,
    Detector::CallRate,
    Detector::RunSize,
    Detector::RunRate,
    Detector::Errors,
    Detector::Denials,
    Detector::BytesSent,
    Detector::BytesRead,
    Detector::FanOut,
    Detector::SessionFit,
    Detector::RateShift,
    Detector::Silence,
    Detector::Drift,
];

/// Words on alerts that fit an id, at most: an episode has far fewer.
const WORDS_MAX: usize = 100_000;

/// What `alert verdict` is told.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct VerdictArgs {
    /// The alert (its id or the beginning of it, unless a subject is named) and the verdict:
    /// `expected` or `not_expected`.
    #[arg(required = true, num_args = 1..=2, value_names = ["ALERT_ID", "VERDICT"])]
    what: Vec<String>,
    /// Why.
    #[arg(long)]
    reason: String,
    /// Who says it; the user that runs this when absent.
    #[arg(long, env = "TOOLWARDEN_AUTHOR")]
    author: Option<String>,
    /// For whom it holds: the alert's agent, or every agent of its group.
    #[arg(long)]
    scope: Option<ScopeName>,
    /// How long it holds (`90d`); for good when absent.
    #[arg(long, value_parser = settings::duration)]
    expires: Option<Duration>,
    /// From when on it holds, by the time of calls (RFC 3339). An acceptance of an alert holds from
    /// right after the alert, everything else from now.
    #[arg(long)]
    at: Option<String>,
    /// Find the alert in this file of alerts, one JSON object a line, instead of the alerts topic;
    /// `-` is standard input.
    #[arg(long)]
    alerts: Option<PathBuf>,
    /// Add the verdicts to this file, one JSON object a line, instead of the verdicts topic; `-` is
    /// standard output.
    #[arg(long, short)]
    output: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    ahead: Ahead,
}

/// Saying something ahead of any alert.
#[derive(Debug, Args)]
#[command(next_help_heading = "Ahead of an alert")]
struct Ahead {
    /// The tool that it is about.
    #[arg(long, group = "subject")]
    tool: Option<String>,
    /// The MCP server the tool belongs to.
    #[arg(long, requires = "tool")]
    server: Option<String>,
    /// The hour of the UTC day it is about, 0 to 23.
    #[arg(long, group = "subject", value_parser = clap::value_parser!(u8).range(0..24))]
    hour: Option<u8>,
    /// The level it is about, in the unit of the detector.
    #[arg(long, group = "subject", requires = "detector")]
    level: Option<f64>,
    /// The detector of the level, such as `call_rate`, `repeat`, `run_size` or `fan_out`.
    #[arg(long, requires = "level")]
    detector: Option<String>,
    /// The agent that it holds for.
    #[arg(long, requires = "subject", conflicts_with = "group")]
    agent: Option<String>,
    /// The group of agents that it holds for.
    #[arg(long, requires = "subject")]
    group: Option<String>,
    /// The tenant; the sources' own when the configuration has only one.
    #[arg(long, requires = "subject")]
    tenant: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScopeName {
    /// The alert's agent.
    Agent,
    /// Every agent of its group.
    Group,
}

const HELP: &str = "Examples:\n  toolwarden alert verdict 0f2c9a expected --reason \"our new \
bookkeeper\"\n  toolwarden alert verdict 0f2c9a expected --scope group --expires 90d --reason \
\"migration until April\"\n  toolwarden alert verdict 0f2c9a not_expected --reason \"it was \
an attack\"\n  toolwarden alert verdict --tool export_users --group billing --tenant acme \
expected --reason \"quarterly report\"\n  toolwarden alert verdict 0f2c9a expected --alerts \
alerts.ndjson --output - --reason \"tried in replay\"";

pub(crate) fn say(args: &VerdictArgs) -> Result<Exit, Failure> {
    let (id, saying) = read(args)?;
    let needs_config = (id.is_some() && args.alerts.is_none()) || args.output.is_none();
    let config = match &args.config.config {
        None if !needs_config => None,
        path => Some(configured(path.as_deref())?),
    };
    let verdicts = match (&id, &config) {
        (Some(id), _) => {
            let words = match (&args.alerts, &config) {
                (Some(path), _) => from_file(path, id)?,
                (None, Some(config)) => from_topic(config, id)?,
                (None, None) => Vec::new(),
            };
            let words = order::find(id, words).map_err(usage)?;
            order::on_alert(&words, &saying).map_err(usage)?
        }
        (None, config) => vec![ahead(&args.ahead, config.as_ref(), &saying)?],
    };
    match (&args.output, &config) {
        (Some(path), _) => to_file(path, &verdicts)?,
        (None, Some(config)) => to_topic(config, &verdicts)?,
        (None, None) => {}
    }
    for it in &verdicts {
        let raw = it.raw();
        let (who, what) = (raw.scope.name(), &raw.subject.shown);
        writeln!(
            stderr(),
            "{}: {} `{}` of {} `{}` from {}",
            raw.verdict.as_str(),
            raw.subject.kind.as_str(),
            escape(what),
            raw.scope.word(),
            escape(who),
            it.at(),
        )?;
    }
    Ok(Exit::Done)
}

/// The alert's id, if one is named, and what is said.
fn read(args: &VerdictArgs) -> Result<(Option<String>, Saying), Failure> {
    let names_subject =
        args.ahead.tool.is_some() || args.ahead.hour.is_some() || args.ahead.level.is_some();
    let (id, verdict) = match (args.what.as_slice(), names_subject) {
        ([verdict], true) => (None, verdict),
        ([id, verdict], false) => (Some(id.clone()), verdict),
        ([_], false) => {
            return Err(wrong(
                "name an alert and a verdict, as in `alert verdict 0f2c9a expected`",
            ));
        }
        _ => return Err(wrong("name either an alert or a subject such as `--tool`, not both")),
    };
    let stance = match verdict.as_str() {
        "expected" => Stance::Expected,
        "not_expected" => Stance::NotExpected,
        other => {
            let words = format!("the verdict is `expected` or `not_expected`, found `{other}`");
            return Err(wrong(&escape(&words)));
        }
    };
    let at = args.at.as_deref().map(str::parse).transpose();
    let user = || ProcessEnvironment.get("USER").filter(|name| !name.is_empty());
    let author = args.author.clone().or_else(user);
    let saying = Saying {
        stance,
        reason: args.reason.clone(),
        author: author.ok_or_else(|| wrong("say who you are with `--author`"))?,
        for_group: args.scope == Some(ScopeName::Group),
        at: at.map_err(|error| Failure::new(Exit::Usage, anyhow::Error::new(error)))?,
        expires_in: args.expires,
        now: clock::wall(),
    };
    Ok((id, saying))
}

fn ahead(ahead: &Ahead, config: Option<&Config>, saying: &Saying) -> Result<Acceptance, Failure> {
    let subject = match (&ahead.tool, ahead.hour, ahead.level) {
        (Some(tool), _, _) => order::tool_subject(ahead.server.as_deref(), tool),
        (_, Some(hour), _) => order::hour_subject(hour),
        (_, _, level) => {
            let name = ahead.detector.as_deref().unwrap_or_default();
            let detector = LEVELLED.into_iter().find(|it| it.as_str() == name);
            let detector = detector.ok_or_else(|| {
                let names = LEVELLED.map(|it| format!("`{}`", it.as_str()));
                wrong(&format!("the detector of a level is one of {}", names.join(", ")))
            })?;
            order::level_subject(detector, level.unwrap_or_default())
        }
    };
    let scope = match (&ahead.agent, &ahead.group) {
        (Some(agent), _) if saying.for_group => Scope::Group(order::group_of(agent).to_owned()),
        (Some(agent), _) => Scope::Agent(agent.clone()),
        (None, Some(group)) => Scope::Group(group.clone()),
        (None, None) => return Err(wrong("say for whom, with `--agent` or `--group`")),
    };
    let tenant = ahead.tenant.clone().or_else(|| only_tenant(config?));
    let tenant = tenant.ok_or_else(|| wrong("say whose agent it is, with `--tenant`"))?;
    order::on_subject((&tenant, &scope), subject, saying).map_err(usage)
}

/// The tenant of the sources, if all have the same one.
fn only_tenant(config: &Config) -> Option<String> {
    let mut tenants = config.sources.iter().map(|source| source.tenant.clone());
    let first = tenants.next()??;
    tenants.all(|tenant| tenant.as_ref() == Some(&first)).then_some(first)
}

fn from_file(path: &Path, id: &str) -> Result<Vec<Alert>, Failure> {
    let mut words = Vec::new();
    for (number, line) in (1..).zip(open(path)?.lines()) {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        if line.trim().is_empty() {
            continue;
        }
        let alert: Alert = serde_json::from_str(&line)
            .with_context(|| format!("{}:{number}: not an alert", path.display()))?;
        keep(alert, id, &mut words);
    }
    Ok(words)
}

pub(crate) fn from_topic(config: &Config, id: &str) -> Result<Vec<Alert>, Failure> {
    let mut words = Vec::new();
    whole_topic(config, &config.topics.alerts, &mut |record| {
        // What somebody else wrote to the topic is not looked for.
        let alert = record.payload.as_deref().map(serde_json::from_slice::<Alert>);
        if let Some(Ok(alert)) = alert {
            keep(alert, id, &mut words);
        }
        Ok(())
    })?;
    Ok(words)
}

fn keep(alert: Alert, id: &str, words: &mut Vec<Alert>) {
    if alert.alert_id.starts_with(id) && words.len() < WORDS_MAX {
        words.push(alert);
    }
}

fn to_file(path: &Path, verdicts: &[Acceptance]) -> Result<(), Failure> {
    let mut out: Box<dyn Write> = if is_dash(path) {
        Box::new(stdout())
    } else {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Box::new(file.with_context(|| format!("cannot write {}", path.display()))?)
    };
    verdicts.iter().try_for_each(|it| writeln!(out, "{}", it.to_json()))?;
    Ok(out.flush()?)
}

fn to_topic(config: &Config, verdicts: &[Acceptance]) -> Result<(), Failure> {
    let client = client_settings(&config.kafka);
    let topic = config.topics.verdicts.as_str();
    let made = crate::cli::runtime()?.block_on(ensure_topics(&client, &[Topic::compacted(topic)]));
    made.map_err(anyhow::Error::from)?;
    let feeder = Feeder::new(&client, topic).map_err(anyhow::Error::from)?;
    for it in verdicts {
        feeder.send(it.key().as_bytes(), it.to_json().as_bytes()).map_err(anyhow::Error::from)?;
    }
    Ok(feeder.flush(WRITE_TIMEOUT).map_err(anyhow::Error::from)?)
}

fn usage(error: OrderError) -> Failure {
    Failure::new(Exit::Usage, error.into())
}

fn wrong(words: &str) -> Failure {
    Failure::new(Exit::Usage, anyhow::anyhow!("{words}"))
}
