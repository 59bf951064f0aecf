//! `toolwarden explain`.

use std::io::{BufWriter, Write, stdout};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::alert::Alert;
use crate::cli::engine::EngineArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::Output;
use crate::cli::{alert, settings};
use crate::deliver::{escape, render_text};
use crate::pipeline::judge::watch::Explanation;
use crate::pipeline::replay::open;
use crate::pipeline::verdict_order;

/// The least of an alert's id that is looked for, in characters.
const ID_MIN: usize = 6;

/// What `explain` is told.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  toolwarden explain call_81c2 calls.ndjson\n  toolwarden \
explain 0f2c9a calls-*.ndjson.gz --verdicts verdicts.ndjson\n  toolwarden explain 0f2c9a --config \
config.yaml")]
pub(crate) struct ExplainArgs {
    /// A call's id, or an alert's id or the beginning of it (6 characters at least).
    id: String,
    /// Files of calls, as for `replay`: with everything its agent did before. Without any the alert
    /// is looked up in the alerts topic of `--config`.
    files: Vec<PathBuf>,
    /// How it is written; a table on a terminal, else JSON.
    #[arg(long, short)]
    output: Option<Output>,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn explain(args: &ExplainArgs) -> Result<Exit, Failure> {
    if args.files.is_empty() {
        return look_up(args);
    }
    if args.files.iter().any(|file| file == Path::new("-")) {
        return Err(wrong("files are read twice, so standard input does not do; name a file"));
    }
    let call_id = trigger(args)?.unwrap_or_else(|| args.id.clone());
    let mut replay = args.engine.build(None)?.replay()?;
    replay.watch(&call_id);
    let mut found = None;
    for file in &args.files {
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
        replay.read(&name, &mut *open(file)?, &mut |_| {})?;
        found = replay.explanation();
        if found.is_some() {
            break;
        }
    }
    let Some(found) = found else {
        let words = format!("no call and no alert `{}` is in these files", escape(&args.id));
        return Err(wrong(&words));
    };
    let mut out = BufWriter::new(stdout());
    match Output::or_fitting(args.output) {
        Output::Json => {
            let json = serde_json::to_string(&found).map_err(anyhow::Error::from)?;
            writeln!(out, "{json}")?;
        }
        Output::Table => table(&found, &mut out)?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// The call on which the alert with this id was first told; `None` when there is no such alert.
fn trigger(args: &ExplainArgs) -> Result<Option<String>, Failure> {
    if args.id.len() < ID_MIN {
        return Ok(None);
    }
    let mut words: Vec<Alert> = Vec::new();
    let mut take = |alert: Alert| {
        if alert.revision == 0 && alert.alert_id.starts_with(&args.id) {
            words.push(alert);
        }
    };
    let mut replay = args.engine.build(None)?.replay()?;
    for file in &args.files {
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
        replay.read(&name, &mut *open(file)?, &mut take)?;
    }
    replay.finish(&mut take);
    if words.is_empty() {
        return Ok(None);
    }
    let words = verdict_order::find(&args.id, words)
        .map_err(|error| Failure::new(Exit::Usage, error.into()))?;
    let Some(first) = words.into_iter().next() else { return Ok(None) };
    match first.trigger {
        Some(trigger) => Ok(Some(trigger.call_id)),
        None => Err(wrong(&format!(
            "no call caused alert `{}`; it says: {}",
            first.alert_id,
            escape(&first.summary)
        ))),
    }
}

/// Finds an alert in the alerts topic and says how to have it explained.
fn look_up(args: &ExplainArgs) -> Result<Exit, Failure> {
    let Some(path) = &args.engine.config else {
        return Err(wrong("name files of calls, or `--config FILE` to find an alert in its topic"));
    };
    let config = settings::load(path)?;
    let words = alert::from_topic(&config, &args.id)?;
    let words = verdict_order::find(&args.id, words)
        .map_err(|error| Failure::new(Exit::Usage, error.into()))?;
    let mut out = stdout();
    if let Some(last) = words.last() {
        writeln!(out, "{}", render_text(last, crate::cli::colored(&out)))?;
        let (agent, id) = (escape(&last.agent_id), &last.alert_id);
        writeln!(
            out,
            "every detector's reading: save what {agent} did up to then, and run\n  toolwarden \
             explain {id} FILES --config {}",
            path.display()
        )?;
    }
    Ok(Exit::Done)
}

fn table(it: &Explanation, out: &mut dyn Write) -> std::io::Result<()> {
    let (tenant, agent) = (escape(&it.tenant_id), escape(&it.agent_id));
    writeln!(out, "{tenant}/{agent}  {}  {}", escape(&it.tool_name), it.time)?;
    let (call, session) = (escape(&it.call_id), escape(&it.session_id));
    writeln!(out, "  call {call}, session {session}, {}@{}", escape(&it.topic), it.offset)?;
    for detector in &it.detectors {
        let outcome = serde_json::to_value(detector.outcome).unwrap_or_default();
        let outcome = outcome.as_str().unwrap_or_default().to_owned();
        let score = detector.score.map_or_else(String::new, |score| format!(" {score:.0}"));
        writeln!(out, "\n{:<7}{score:>3}  {}", outcome, detector.rule_id)?;
        writeln!(out, "  because    {}", escape(&detector.reason))?;
        if let (Some(expected), Some(observed)) = (&detector.expected, detector.observed) {
            let (low, high) = (expected.low, expected.high);
            writeln!(out, "  seen       {observed} {}", escape(&expected.unit))?;
            writeln!(out, "  usual      {low} to {high}; from {}", escape(&expected.basis))?;
        }
        if let Some(terms) = &detector.terms {
            writeln!(out, "  score      {terms}")?;
        }
        if let Some(silent_if) = &detector.silent_if {
            writeln!(out, "  silent     {}", escape(silent_if.trim_start_matches("silent ")))?;
        }
        let learning = &detector.learning;
        let state = serde_json::to_value(learning.state).unwrap_or_default();
        let state = state.as_str().unwrap_or_default().to_owned();
        let (percent, days) = (learning.progress * 100.0, learning.active_days);
        writeln!(out, "  known      {state} {percent:.0} %, {days} active days")?;
    }
    Ok(())
}

fn wrong(words: &str) -> Failure {
    Failure::new(Exit::Usage, anyhow::anyhow!("{words}"))
}
