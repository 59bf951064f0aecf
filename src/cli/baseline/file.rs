//! `toolwarden baseline export` and `toolwarden baseline import`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write, stderr, stdout};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::cli::engine::{self, EngineArgs};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{running, settings};
use crate::deliver::escape;
use crate::pipeline::baselines::Baselines;
use crate::pipeline::replay::{Replay, open};

/// What `export` is told.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  toolwarden baseline export --output baseline.twb \
calls-*.ndjson.gz\n  toolwarden baseline export --output baseline.twb --url http://localhost:9464 \
--token-file token\n  toolwarden run --config config.yaml --baseline baseline.twb")]
pub(crate) struct ExportArgs {
    /// Files of calls, as for `replay`; `-` is standard input.
    #[arg(required_unless_present = "url")]
    files: Vec<PathBuf>,
    /// Take it from a running instance instead, at its admin address.
    #[arg(
        long,
        requires = "token_file",
        conflicts_with_all = ["files", "config", "rules", "verdicts", "baseline", "tenant", "reorder"]
    )]
    url: Option<String>,
    /// A file that holds the token which the instance's `server.export_token_file` holds.
    #[arg(long, requires = "url", env = "TOOLWARDEN_EXPORT_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Where it is written; `-` is standard output.
    #[arg(long, short, default_value = "-")]
    output: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
}

/// What `import` is told.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Files that `baseline export` wrote.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Where all of them together are written, for `run --baseline`; only checked when absent.
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// Check against the limits and the key of this configuration.
    #[arg(long, short)]
    config: Option<PathBuf>,
}

pub(crate) fn export(args: &ExportArgs) -> Result<Exit, Failure> {
    if let (Some(url), Some(token_file)) = (&args.url, &args.token_file) {
        let (url, token) = (running::address(url, &["baselines"])?, running::token(token_file)?);
        let take = |out: &mut dyn Write| running::ask(&url, Some(&token), u64::MAX, out);
        let bytes = whole(&args.output, take)?;
        writeln!(stderr(), "{bytes} bytes; `toolwarden baseline import` says what is in them")?;
        return Ok(Exit::Done);
    }
    let engine = args.engine.build(None)?;
    let hash_key = engine.hash_key();
    let mut replay = engine.replay()?;
    for file in &args.files {
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
        replay.read(&name, &mut *open(file)?, &mut |_| {})?;
    }
    write(&replay, hash_key, &args.output)?;
    let summary = replay.finish(&mut |_| {});
    let (judged, agents) = (summary.judged, summary.agents);
    writeln!(stderr(), "{judged} calls of {agents} agents are in it")?;
    Ok(Exit::Done)
}

pub(crate) fn import(args: &ImportArgs) -> Result<Exit, Failure> {
    let config = args.config.as_deref().map(settings::load).transpose()?;
    let bounds = engine::bounds(config.as_ref());
    let ours = config.as_ref().map(|config| config.privacy.hash_key.fingerprint());
    let mut key = ours;
    let mut files: Vec<Baselines> = Vec::new();
    for path in &args.files {
        let read = engine::read_baselines(path, bounds, key.as_deref())?;
        key.get_or_insert_with(|| read.header.hash_key.clone());
        let upto = read.header.upto.map_or_else(|| "-".to_owned(), |time| time.to_string());
        writeln!(
            stderr(),
            "{}: {} agents, {} groups, up to {upto}, by toolwarden {}",
            escape(&path.display().to_string()),
            read.header.agents,
            read.header.groups,
            escape(&read.header.version),
        )?;
        files.push(read);
    }
    let Some(output) = &args.output else { return Ok(Exit::Done) };
    let merged = Baselines::merged(files);
    let agents = merged.header.agents;
    let mut replay = engine::empty(bounds)?;
    replay.go_on(merged).map_err(engine::limit)?;
    write(&replay, key.unwrap_or_default(), output)?;
    writeln!(stderr(), "{agents} agents together")?;
    Ok(Exit::Done)
}

fn write(replay: &Replay, hash_key: String, path: &Path) -> Result<(), Failure> {
    whole(path, |out| Ok(replay.export(hash_key, out).map_err(anyhow::Error::new)?))
}

/// Writes a file whole or not at all: what stands there stays until the new one is complete.
fn whole<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if path == Path::new("-") {
        if stdout().is_terminal() {
            let words = "the file is not for a terminal; name one with `--output FILE`";
            return Err(Failure::new(Exit::Usage, anyhow::anyhow!(words)));
        }
        return write(&mut stdout());
    }
    let beside = path.with_added_extension("part");
    let place = || format!("cannot write {}", path.display());
    let file = File::create(&beside).with_context(place)?;
    let mut out = BufWriter::new(&file);
    let written = write(&mut out).and_then(|written| {
        out.flush().with_context(place)?;
        file.sync_all().with_context(place)?;
        std::fs::rename(&beside, path).with_context(place)?;
        Ok(written)
    });
    if written.is_err() {
        drop(std::fs::remove_file(&beside));
    }
    written
}
