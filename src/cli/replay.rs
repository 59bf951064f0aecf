//! `toolwarden replay`.

use std::io::{BufWriter, IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::alert::{Alert, AlertStatus, PAGE_SCORE};
use crate::cli::exit::{Exit, Failure};
use crate::cli::settings;
use crate::config::{Config, RuleSource};
use crate::decode::{self, Format};
use crate::deliver::render_text;
use crate::pipeline::clock;
use crate::pipeline::epochs::PeerBoard;
use crate::pipeline::judge::Shared;
use crate::pipeline::replay::{Replay, Summary, open};
use crate::pipeline::verdicts::VerdictBoard;
use crate::policy::{self, Groups};
use crate::state::Agents;

/// What `replay` is told.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Files of calls, one record a line: plain, gzip or zstd; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How alerts are written; a table on a terminal, else NDJSON.
    #[arg(long, short)]
    output: Option<Output>,
    /// Alerts below this score are not written, and whatever reaches it is; at 40 somebody would be
    /// told. Without it: what `run` writes.
    #[arg(long)]
    alert_score: Option<f64>,
    /// Take limits, event time, privacy and rules from this configuration.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Take rules from this directory.
    #[arg(long)]
    rules: Option<PathBuf>,
    /// Take what people have said from this file: verdicts, one JSON object a line, as
    /// `toolwarden alert verdicts --output ndjson` writes them.
    #[arg(long)]
    verdicts: Option<PathBuf>,
    /// How the records are written.
    #[arg(long, default_value = "auto", value_parser = settings::format)]
    format: Format,
    /// The tenant of records that name none.
    #[arg(long)]
    tenant: Option<String>,
    /// Calls are put in order of their time within this span (`0s`, `30s`).
    #[arg(long, value_parser = settings::duration)]
    reorder: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// One JSON object a line, as on the alerts topic.
    Ndjson,
}

pub(crate) fn replay(args: &ReplayArgs) -> Result<Exit, Failure> {
    let config = args.config.as_deref().map(settings::load).transpose()?;
    let shared = engine(args, config.as_ref())?;
    let options = options(args, config.as_ref());
    let output = args.output.unwrap_or(match stdout().is_terminal() {
        true => Output::Table,
        false => Output::Ndjson,
    });
    let mut out = BufWriter::new(stdout());
    let color = crate::cli::colored(&stdout());
    // A reader that went away (`| head`) ends the writing, and is no failure.
    let mut written: std::io::Result<()> = Ok(());
    let mut write = |alert: Alert| {
        if alert.score >= args.alert_score.unwrap_or(0.0) && written.is_ok() {
            written = match output {
                Output::Ndjson => writeln!(out, "{}", alert.to_json()),
                Output::Table => write_row(&mut out, &alert, color),
            };
        }
    };
    let mut replay = Replay::new(shared, options, clock::wall());
    for file in &args.files {
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
        replay.read(&name, &mut *open(file)?, &mut write)?;
    }
    let summary = replay.finish(&mut write);
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    sum_up(&summary, &mut stderr())?;
    Ok(Exit::Done)
}

/// What the decoder is told, by the configuration if there is one.
fn options(args: &ReplayArgs, config: Option<&Config>) -> decode::Options {
    let default = decode::Options::default();
    let privacy = config.map(|config| config.privacy).unwrap_or_default();
    decode::Options {
        format: args.format,
        default_tenant: args.tenant.clone(),
        record_bytes_max: config.map_or(default.record_bytes_max, |it| it.limits.record_bytes),
        hash_key: privacy.hash_key,
        show_targets: privacy.show_targets,
    }
}

/// The engine, by the configuration if there is one.
fn engine(args: &ReplayArgs, config: Option<&Config>) -> Result<Shared, Failure> {
    let source = match (&args.rules, config) {
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
    let listed_score = args.alert_score.unwrap_or(limits.listed_score);
    let limits = policy::Limits { listed_score, ..limits };
    // A file has no one waiting for it, so it is put in order as far as calls may be late.
    let reorder = args.reorder.unwrap_or(limits.lateness);
    let said = args.verdicts.as_deref().map(settings::verdicts).transpose()?;
    let verdicts =
        said.map_or_else(VerdictBoard::default, |book| VerdictBoard::of(book.expectations()));
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    Ok(Shared {
        rules: Arc::new(rules.with_limits(limits).with_groups(groups)),
        agents: Arc::new(Agents::new(config.map_or(1_000_000, |it| it.limits.agents))),
        board: PeerBoard::default(),
        verdicts,
        reorder_ns: nanos(reorder),
        lateness_ns: nanos(limits.lateness),
    })
}

/// Pages in full, findings in a line, ends not at all.
fn write_row(out: &mut dyn Write, alert: &Alert, color: bool) -> std::io::Result<()> {
    if alert.score >= PAGE_SCORE {
        return writeln!(out, "{}\n", render_text(alert, color));
    }
    if alert.status == AlertStatus::Resolved {
        return Ok(());
    }
    let text = crate::deliver::escape(&alert.summary);
    writeln!(out, "{}  listed {:>3.0}  {}  {text}", alert.time, alert.score, alert.rule_id)
}

fn sum_up(summary: &Summary, talk: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        talk,
        "{} records, {} calls judged, {} agents",
        summary.records, summary.judged, summary.agents
    )?;
    if let Some((start, end)) = summary.span {
        writeln!(talk, "from {start} to {end}")?;
    }
    let aside = [
        (summary.late, "came too late"),
        (summary.duplicate, "had been seen before"),
        (summary.unjudged, "found no room for their agent"),
        (summary.ignored, "are no tool calls"),
    ];
    for (count, what) in aside.iter().filter(|(count, _)| *count > 0) {
        writeln!(talk, "{count} {what}")?;
    }
    for (reason, count) in &summary.rejected {
        writeln!(talk, "{count} could not be read: {reason}")?;
    }
    if let Some((line, words)) = &summary.first_rejected {
        writeln!(talk, "the first of them in line {line}: {}", crate::deliver::escape(words))?;
    }
    for (rule, (opened, paged)) in &summary.opened {
        writeln!(talk, "{rule}: {paged} to be told, {} listed", opened - paged)?;
    }
    Ok(())
}
