//! `toolwarden alert verdicts`.

use std::io::{BufWriter, IsTerminal, Write, stdout};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::alert::{ConfigArg, configured, whole_topic};
use crate::cli::exit::{Exit, Failure};
use crate::cli::settings;
use crate::deliver::escape;
use crate::pipeline::clock;
use crate::pipeline::verdict_book::{Standing, VerdictBook};
use crate::policy::Acceptance;

/// What `alert verdicts` is told.
#[derive(Debug, Args)]
pub(crate) struct VerdictsArgs {
    /// List this file of verdicts instead of the topic; `-` is standard input.
    #[arg(long)]
    verdicts: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArg,
    /// How they are written; a table on a terminal, else NDJSON, which `replay --verdicts` reads.
    #[arg(long, short)]
    output: Option<Output>,
    /// List those too that no longer apply.
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// One JSON object a line.
    Ndjson,
}

pub(crate) fn list(args: &VerdictsArgs) -> Result<Exit, Failure> {
    let book = match &args.verdicts {
        Some(path) => settings::verdicts(path)?,
        None => from_topic(args)?,
    };
    let output = args.output.unwrap_or(match stdout().is_terminal() {
        true => Output::Table,
        false => Output::Ndjson,
    });
    let mut out = BufWriter::new(stdout());
    let written = write(&book, (args.all, output), &mut out).and_then(|()| out.flush());
    match written {
        // The reader had enough (`| head`).
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Exit::Done),
    }
}

fn from_topic(args: &VerdictsArgs) -> Result<VerdictBook, Failure> {
    let config = configured(args.config.config.as_deref())?;
    let topic = &config.topics.verdicts;
    let mut book = VerdictBook::new(config.limits.verdicts);
    whole_topic(&config, topic, &mut |record| {
        let key = String::from_utf8_lossy(&record.key);
        match record.payload.as_deref().map(Acceptance::parse) {
            None => drop(book.withdraw(&key)),
            Some(Ok(acceptance)) => {
                book.take(acceptance, clock::wall()).map_err(anyhow::Error::from)?;
            }
            // What the instances do not use either.
            Some(Err(error)) => {
                tracing::error!(?key, %error, "a record of `{topic}` is no verdict");
            }
        }
        Ok(())
    })?;
    Ok(book)
}

fn write(
    book: &VerdictBook,
    (all, output): (bool, Output),
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let applies = |standing| matches!(standing, Standing::InForce | Standing::Later);
    let listed: Vec<_> =
        book.standing(clock::wall()).filter(|(_, standing)| all || applies(*standing)).collect();
    if output == Output::Ndjson {
        return listed.iter().try_for_each(|(it, _)| writeln!(out, "{}", it.to_json()));
    }
    let head = ["STANDING", "VERDICT", "WHO", "WHAT", "FROM", "UNTIL", "BY", "WHY"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(listed.iter().map(|(it, standing)| row(it, *standing)));
    crate::cli::columns(&rows, out)
}

fn row(acceptance: &Acceptance, standing: Standing) -> [String; 8] {
    let raw = acceptance.raw();
    let (kind, hash) = (raw.subject.kind.as_str(), raw.subject.hash);
    let shown =
        if raw.subject.shown.is_empty() { hash.to_string() } else { raw.subject.shown.clone() };
    [
        standing.as_str().to_owned(),
        raw.verdict.as_str().to_owned(),
        escape(&format!("{}: {} {}", raw.tenant_id, raw.scope.word(), raw.scope.name())),
        escape(&format!("{kind} {shown}")),
        acceptance.at().to_string(),
        acceptance.expires().map_or_else(|| "-".to_owned(), |time| time.to_string()),
        escape(&raw.author),
        escape(&raw.reason),
    ]
}
