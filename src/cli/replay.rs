//! `toolwarden replay`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::alert::{Alert, AlertStatus, PAGE_SCORE};
use crate::cli::engine::EngineArgs;
use crate::cli::exit::{Exit, Failure};
use crate::deliver::render_text;
use crate::pipeline::replay::{Summary, open};

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
    /// Writes what changed in what is known of agents to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// One JSON object a line, as on the alerts topic.
    Ndjson,
}

pub(crate) fn replay(args: &ReplayArgs) -> Result<Exit, Failure> {
    let engine = args.engine.build(args.alert_score)?;
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
    let mut replay = engine.replay()?;
    if let Some(path) = &args.audit {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        replay.audit_to(Box::new(BufWriter::new(file)));
    }
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
    if let Some(error) = &summary.audit_failed {
        return Err(anyhow::anyhow!("the audit was not written in full: {error}").into());
    }
    Ok(Exit::Done)
}

/// Realised against promised: on how many agent-days a detector alerted, and came near to it.
fn check(summary: &Summary, talk: &mut dyn Write) -> std::io::Result<()> {
    if summary.agent_days == 0 {
        return Ok(());
    }
    writeln!(talk, "agent-days with an alert, realised and promised, of {}:", summary.agent_days)?;
    for row in &summary.self_check {
        let ([_, tenth, third, told], [_, tenths, thirds, promised]) = (row.realised, row.promised);
        write!(talk, "  {:<16} {told:>5} of {promised:<7.1}", row.detector)?;
        if thirds > 0.0 {
            write!(talk, " at R≥.3 {third:>5} of {thirds:<7.1} at R≥.1 {tenth:>5} of {tenths:.1}")?;
        }
        writeln!(talk)?;
    }
    Ok(())
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
    check(summary, talk)
}
