//! Judging files: the same engine on the same path, on event time alone.
//!
//! A replay is one partition. It ends by letting event time run out, so that every episode is told
//! to its end. Same file, same bytes, whatever way it is read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::alert::{Alert, AlertStatus};
use crate::decode::{self, Item, Record};
use crate::event::{Position, Timestamp};
use crate::pipeline::baselines::{self, Baselines};
use crate::pipeline::judge::watch::Explanation;
use crate::pipeline::judge::{Decision, Judge, Shared};
use crate::pipeline::self_check::Row;
use crate::state::codec::StateError;
use crate::state::{Full, PartitionId};

/// The one partition of a replay.
const PARTITION: PartitionId = PartitionId { topic: 0, partition: 0 };

/// What a replay came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Lines read.
    pub records: u64,
    /// Calls judged.
    pub judged: u64,
    /// Calls later than allowed.
    pub late: u64,
    /// Calls seen before.
    pub duplicate: u64,
    /// Calls not judged because the limit of agents was reached.
    pub unjudged: u64,
    /// Records or parts of them that are no tool calls.
    pub ignored: u64,
    /// What could not be read, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// The first thing that could not be read: line, counted from 1, and words.
    pub first_rejected: Option<(i64, String)>,
    /// Agents seen.
    pub agents: usize,
    /// Active agent-days of known agents.
    pub agent_days: u64,
    /// What each detector promised of them, and what came of it.
    pub self_check: Vec<Row>,
    /// Episodes that opened, by rule, with those that pages were due for.
    pub opened: BTreeMap<String, (u64, u64)>,
    /// Why the audit could not be written, if it could not.
    pub audit_failed: Option<String>,
    /// The span of event time judged.
    pub span: Option<(Timestamp, Timestamp)>,
}

/// A replay under way.
#[derive(Debug)]
pub struct Replay {
    judge: Judge,
    shared: Shared,
    options: decode::Options,
    scratch: decode::Scratch,
    /// No call happened after this: the moment the replay began.
    started: Timestamp,
    summary: Summary,
    audit: AuditFile,
}

/// Where records of changes go, and whether that went well.
struct AuditFile {
    out: Option<Box<dyn Write>>,
    written: std::io::Result<()>,
}

impl std::fmt::Debug for AuditFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditFile")
    }
}

impl AuditFile {
    /// Writes what `judge` has to tell, until the first failure.
    fn write(&mut self, judge: &mut Judge) {
        let Some(out) = &mut self.out else {
            judge.take_audits().clear();
            return;
        };
        for audited in judge.take_audits() {
            if self.written.is_ok() {
                self.written = writeln!(out, "{}", audited.record.to_json());
            }
        }
    }

    fn finish(self) -> std::io::Result<()> {
        self.written.and_then(|()| self.out.map_or(Ok(()), |mut out| out.flush()))
    }
}

impl Replay {
    /// A replay with an engine of its own; `started` bounds stamps from the future.
    #[must_use]
    pub fn new(shared: Shared, options: decode::Options, started: Timestamp) -> Self {
        let judge = Judge::new(shared.clone(), PARTITION, Arc::from(""));
        let audit = AuditFile { out: None, written: Ok(()) };
        let scratch = decode::Scratch::new();
        Self { judge, shared, options, scratch, started, summary: Summary::default(), audit }
    }

    /// From now on, records of what changed in what is known of agents go to `out`, one a line.
    pub fn audit_to(&mut self, out: Box<dyn Write>) {
        self.audit.out = Some(out);
    }

    /// Goes on where what `baselines` were learned from ended.
    ///
    /// # Errors
    ///
    /// When there are more agents than there may be.
    pub fn go_on(&mut self, baselines: Baselines) -> Result<(), Full> {
        baselines.into_judge(&self.shared, &mut self.judge)
    }

    /// Explains the first call with this id when its turn comes.
    pub fn watch(&mut self, call_id: &str) {
        self.judge.watch(call_id);
    }

    /// What was explained, once.
    pub fn explanation(&mut self) -> Option<Explanation> {
        self.judge.explanation()
    }

    /// Writes what was learned so far.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn export(&self, hash_key: String, out: impl std::io::Write) -> Result<(), StateError> {
        baselines::write(&self.shared, &[&self.judge], hash_key, out)
    }

    /// Judges every line of `input`, which goes by `name` in positions.
    ///
    /// # Errors
    ///
    /// When the input cannot be read.
    pub fn read(
        &mut self,
        name: &str,
        input: &mut dyn BufRead,
        sink: &mut dyn FnMut(Alert),
    ) -> anyhow::Result<()> {
        self.judge.set_topic(Arc::from(name));
        let mut line = Vec::new();
        let bound = u64::try_from(self.options.record_bytes_max).unwrap_or(u64::MAX);
        for offset in 0.. {
            line.clear();
            // One byte more than a record may have, so that a longer one is seen to be longer.
            let read = input.take(bound.saturating_add(2)).read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            if line.last() != Some(&b'\n') && line.len() > self.options.record_bytes_max {
                skip_line(input)?;
            }
            self.line(name, offset, line.trim_ascii_end(), sink);
        }
        // The calls still held belong to this file's name.
        let Self { judge, summary, audit, .. } = self;
        judge.judge_all(&mut |decision| told(summary, decision, sink));
        audit.write(judge);
        Ok(())
    }

    /// Lets event time run out and tells what the replay came to.
    pub fn finish(mut self, sink: &mut dyn FnMut(Alert)) -> Summary {
        let Self { judge, summary, audit, .. } = &mut self;
        judge.judge_all(&mut |decision| told(summary, decision, sink));
        audit.write(judge);
        let end = judge.watermark();
        judge.advance(Timestamp::MAX, &mut |decision| told(summary, decision, sink));
        let counted = self.judge.take_counted();
        self.summary.agent_days = counted.days;
        self.summary.self_check = counted.rows(&self.shared.rules);
        self.summary.audit_failed = self.audit.finish().err().map(|error| error.to_string());
        let tally = self.judge.tally();
        self.summary.judged = tally.judged;
        self.summary.late = tally.late;
        self.summary.duplicate = tally.duplicate;
        self.summary.unjudged = tally.unjudged;
        self.summary.agents = self.shared.agents.len();
        self.summary.span = self.summary.span.map(|(start, _)| (start, end.unwrap_or(start)));
        self.summary
    }

    fn line(&mut self, name: &str, offset: i64, line: &[u8], sink: &mut dyn FnMut(Alert)) {
        self.summary.records += 1;
        let position = Position { topic: name, partition: 0, offset, index: 0 };
        let record = Record {
            position,
            append_time: self.started,
            key: None,
            content_type: None,
            payload: Some(line),
        };
        let Self { judge, summary, options, scratch, audit, .. } = self;
        decode::decode_with(scratch, &record, options, &mut |item| match item {
            Item::Call(call) => {
                summary.span.get_or_insert((call.time, call.time));
                judge.hold(&call);
            }
            Item::Ignored(_) => summary.ignored += 1,
            Item::Rejected(error) => {
                *summary.rejected.entry(error.reason.as_str()).or_default() += 1;
                summary.first_rejected.get_or_insert((offset + 1, error.to_string()));
            }
        });
        judge.record_done(offset);
        judge.judge_due(&mut |decision| told(summary, decision, sink));
        audit.write(judge);
    }
}

fn told(summary: &mut Summary, decision: Decision, sink: &mut dyn FnMut(Alert)) {
    let alert = decision.alert;
    if alert.status == AlertStatus::Firing {
        let (opened, paged) = summary.opened.entry(alert.rule_id.clone()).or_default();
        *opened += 1;
        *paged += u64::from(alert.score >= crate::alert::PAGE_SCORE);
    }
    sink(alert);
}

/// Reads on to the end of a line that is too long to keep.
fn skip_line(input: &mut dyn BufRead) -> std::io::Result<()> {
    loop {
        let chunk = input.fill_buf()?;
        let (used, ended) = match chunk.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (chunk.len(), chunk.is_empty()),
        };
        input.consume(used);
        if ended {
            return Ok(());
        }
    }
}

/// Opens a file for replay: plain, gzip or zstd by its first bytes, `-` for standard input.
///
/// # Errors
///
/// When the file cannot be opened or read.
pub fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    let file: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?)
    };
    let mut input = BufReader::with_capacity(1 << 16, file);
    let magic = input.fill_buf().with_context(|| format!("cannot read {}", path.display()))?;
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(input))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(BufReader::new(zstd::stream::read::Decoder::with_buffer(input)?))
        }
        _ => Box::new(input),
    })
}
