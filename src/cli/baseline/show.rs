//! `toolwarden baseline show`.

use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::cli::engine::EngineArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::Output;
use crate::cli::running;
use crate::deliver::escape;
use crate::pipeline::portraits;
use crate::pipeline::replay::open;

/// The longest answer that is taken, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// What `show` is told.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  toolwarden baseline show billing@eu --from calls.ndjson\n  \
toolwarden baseline show billing@eu --tenant acme --url http://localhost:9464")]
pub(crate) struct ShowArgs {
    /// The agent.
    agent: String,
    /// Learn from these files of calls, as for `replay`.
    #[arg(long, num_args = 1.., conflicts_with = "url")]
    from: Vec<PathBuf>,
    /// Ask a running instance, at its admin address.
    #[arg(long, conflicts_with = "baseline")]
    url: Option<String>,
    /// How it is written; a table on a terminal, else JSON.
    #[arg(long, short)]
    output: Option<Output>,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn show(args: &ShowArgs) -> Result<Exit, Failure> {
    let json = match &args.url {
        Some(url) => ask(url, args)?,
        None if args.from.is_empty() && args.engine.baseline.is_none() => {
            let words = "say where it is known from: `--from FILES`, `--baseline FILE` or `--url`";
            return Err(Failure::new(Exit::Usage, anyhow::anyhow!(words)));
        }
        None => learn(args)?,
    };
    let mut out = BufWriter::new(stdout());
    match Output::or_fitting(args.output) {
        Output::Json => writeln!(out, "{json}")?,
        Output::Table => {
            let shown: Value = serde_json::from_str(&json).map_err(anyhow::Error::from)?;
            table(&shown, &mut out)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn learn(args: &ShowArgs) -> Result<String, Failure> {
    let engine = args.engine.build(None)?;
    let shared = engine.shared.clone();
    let mut replay = engine.replay()?;
    for file in &args.from {
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
        replay.read(&name, &mut *open(file)?, &mut |_| {})?;
    }
    let found = portraits::json(&shared, args.engine.tenant.as_deref(), &args.agent);
    found.map_err(|error| {
        let words = format!("`{}`: {}", escape(&args.agent), escape(&error.to_string()));
        Failure::new(Exit::Usage, anyhow::anyhow!(words))
    })
}

/// Asks a running instance.
fn ask(url: &str, args: &ShowArgs) -> Result<String, Failure> {
    let Some(tenant) = args.engine.tenant.as_deref() else {
        let words = "say whose agent it is, with `--tenant`";
        return Err(Failure::new(Exit::Usage, anyhow::anyhow!(words)));
    };
    let mut url = running::address(url, &["agents", &args.agent])?;
    url.query_pairs_mut().append_pair("tenant", tenant);
    let mut body = Vec::new();
    running::ask(&url, None, ANSWER_BYTES_MAX, &mut body)?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => escape(text),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn table(it: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let of = |name: &str| text(it.get(name).unwrap_or(&Value::Null));
    let at = |pointer: &str| text(it.pointer(pointer).unwrap_or(&Value::Null));
    writeln!(out, "{}/{}", of("tenant_id"), of("agent_id"))?;
    writeln!(out, "  seen      {} to {}, {} calls", of("since"), of("newest"), of("calls"))?;
    let usual = it.get("usual_day_calls").and_then(Value::as_f64).unwrap_or_default();
    let days = of("active_days");
    writeln!(out, "  days      {days} active, {usual:.0} calls on a usual one")?;
    writeln!(out, "  hours     {}", of("hours"))?;
    let (known, new) = (at("/tools/known"), at("/tools/quarantined"));
    writeln!(out, "  tools     {known} known, {new} in quarantine")?;
    let (peers, sessions) = (of("peers"), of("group_sessions"));
    writeln!(out, "  peers     {peers}; {sessions} sessions of its group are known")?;
    let open = it.get("open").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for episode in open {
        let of = |name: &str| text(episode.get(name).unwrap_or(&Value::Null));
        let (id, detector, since) = (of("alert_id"), of("detector"), of("since"));
        writeln!(out, "  open      {detector} since {since}, score {}, {id}", of("score"))?;
    }
    writeln!(out)?;
    let head = ["DETECTOR", "STATE", "KNOWN", "RESTS ON", "USUAL", "SILENT UP TO", "OF"];
    let mut rows = vec![head.map(str::to_owned)];
    let detectors = it.get("detectors").and_then(Value::as_array);
    rows.extend(detectors.into_iter().flatten().map(row));
    crate::cli::columns(&rows, out)
}

fn row(detector: &Value) -> [String; 7] {
    let at = |pointer: &str| detector.pointer(pointer);
    let number = |pointer: &str| at(pointer).and_then(Value::as_f64);
    let band = number("/usual/low").zip(number("/usual/high"));
    [
        text(at("/detector").unwrap_or(&Value::Null)),
        text(at("/learning/state").unwrap_or(&Value::Null)),
        number("/learning/progress").map_or_else(String::new, |it| format!("{:.0} %", it * 100.0)),
        text(at("/grounds").unwrap_or(&Value::Null)),
        band.map_or_else(|| "-".to_owned(), |(low, high)| format!("{low:.0} to {high:.0}")),
        number("/usual/silent_upto").map_or_else(|| "-".to_owned(), |most| format!("{most:.0}")),
        text(at("/usual/unit").unwrap_or(&Value::Null)),
    ]
}
