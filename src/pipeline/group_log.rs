//! The groups topic: every instance reads all of it, in one order, and what an instance says counts
//! when it is read back ([`crate::pipeline::epochs`]).
//!
//! The topic is compacted. Whoever's entry makes a snapshot due writes one, and deletes, when it is
//! whole, what the one before reflects. Whoever starts reads everything there is before any of its
//! partitions is judged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::baseline::peers::Peers;
use crate::kafka::{ClientSettings, LogWriter, TopicReader, TopicRecord};
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::epochs::PeerBoard;
use crate::pipeline::epochs::board::Outcome;
use crate::pipeline::epochs::entry::{Entry, PART_BYTES, SourceId};
use crate::pipeline::epochs::follower::{Follower, Step, Taken};
use crate::pipeline::epochs::kept::Kept;
use crate::pipeline::epochs::link::Link;
use crate::pipeline::epochs::snapshot::{FROM_ELSEWHERE, Snapshot, SnapshotPart};
use crate::pipeline::restore::LogChange;
use crate::state::mac::MacKeys;
use crate::telemetry::{
    Event, GroupEntryBad, GroupEntryFate, GroupEntryRead, GroupSnapshotWritten, GroupsRead,
    Metrics, PeerLeftOut, RecordTooLarge, TooLarge, TopicUnreadable,
};

mod vouching;

use vouching::{Signing, Vouching};

/// How long a poll waits; stopping waits as long.
const POLL: Duration = Duration::from_millis(200);

/// How long everything there is may take to be read at the start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often the end of the topic is asked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often partitions are counted, so that new ones are waited for.
const COUNT_EVERY: Duration = Duration::from_secs(20);

/// An instance that has more records than this to read is behind.
const BEHIND: i64 = 1_000;

/// What the monitor asks.
#[derive(Debug, Default)]
pub struct GroupLogStatus {
    following: AtomicBool,
}

impl GroupLogStatus {
    /// Of a board without a log.
    #[must_use]
    pub fn without_log(metrics: &Metrics) -> Arc<Self> {
        metrics.groups_following(true);
        Arc::new(Self { following: AtomicBool::new(true) })
    }

    /// Whether the topic is read to its end, or nearly.
    #[must_use]
    pub fn is_following(&self) -> bool {
        self.following.load(Ordering::Relaxed)
    }
}

/// Reads the groups topic for one instance, and keeps it short.
#[derive(Debug)]
pub struct GroupLog {
    reader: TopicReader,
    board: PeerBoard,
    topic: String,
    sources: Arc<[Arc<str>]>,
    status: Arc<GroupLogStatus>,
    metrics: Metrics,
    writer: u64,
    /// What was learned elsewhere, for a topic in which nothing was ever learned.
    elsewhere: Kept,
    looked: Moment,
    counted: Moment,
    /// Partitions of each source topic, when they were last counted.
    counts: BTreeMap<Arc<str>, i32>,
    lag: i64,
    /// The topic is another one than was read.
    replaced: bool,
    vouching: Vouching,
}

impl GroupLog {
    /// Makes `board` follow `topic`; partitions of `sources` go by their place in that list. `group`
    /// is the name the reader goes by at the cluster. Records are signed with `keys`, if there are any.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer, or the topic does not have exactly one partition.
    pub fn new(
        client: &ClientSettings,
        (group, topic): (&str, &str),
        (board, sources, keys): (PeerBoard, Arc<[Arc<str>]>, &MacKeys),
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let reader = TopicReader::new(client, group, topic)?;
        match reader.partitions() {
            1 => {}
            0 => {
                bail!("the topic `{topic}` does not exist; create it with one partition, compacted")
            }
            many => bail!(
                "the topic `{topic}` has {many} partitions and must have one: instances would read \
                 it in different orders; create another one and name it in `topics.groups`"
            ),
        }
        let keys = keys.for_groups();
        let sink = Box::new(Signing { writer: LogWriter::new(client, topic)?, keys: keys.clone() });
        // Two processes that start at the same moment must not go by the same number.
        let writer = fastrand::u64(1..);
        let elsewhere =
            board.follow(Link::new(sink, writer, Arc::clone(&sources)), Follower::default());
        let now = Moment::now();
        Ok(Self {
            reader,
            board,
            topic: topic.to_owned(),
            sources,
            status: Arc::default(),
            metrics: metrics.clone(),
            writer,
            elsewhere,
            looked: now,
            counted: now,
            counts: BTreeMap::new(),
            lag: 0,
            replaced: false,
            vouching: Vouching::new(keys),
        })
    }

    /// What the monitor asks.
    #[must_use]
    pub fn status(&self) -> Arc<GroupLogStatus> {
        Arc::clone(&self.status)
    }

    /// Reads everything there is, and sees to it that every partition is waited for.
    ///
    /// # Errors
    ///
    /// When that takes too long: judging without it would judge otherwise than the others.
    pub fn catch_up(&mut self) -> anyhow::Result<()> {
        let began = Moment::now();
        self.read_until(began, TopicReader::is_caught_up)?;
        let step = self.board.read_to_end();
        self.tell(&step);
        let loaded = self.board.with_log(|_, _, follower| follower.loaded()).unwrap_or(0);
        self.vouching.read_all(loaded).into_iter().for_each(|it| self.tell_passed(it));
        self.bring_elsewhere(began)?;
        loop {
            let missing = self.count_members()?;
            if !missing {
                break;
            }
            self.read_one(began)?;
        }
        let read = self.board.with_log(|board, _, follower| {
            let groups = Peers::groups(&board.newest());
            GroupsRead { position: follower.next(), groups, merged: board.merged() }
        });
        if let Some(read) = read {
            read.emit(&self.metrics);
        }
        self.renew();
        self.set_following(true);
        Ok(())
    }

    /// Follows the topic until told to stop.
    pub fn run(mut self, stop: &Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            match self.reader.next(POLL) {
                Ok(Some(record)) => self.take(&record),
                Ok(None) => {}
                Err(error) => {
                    let (topic, why, now) = (&self.topic, error.to_string(), clock::wall());
                    TopicUnreadable { topic, why: &why, now }.emit(&self.metrics);
                    self.set_following(false);
                    std::thread::sleep(POLL);
                }
            }
            self.tend();
            if self.looked.elapsed() >= LOOK_EVERY {
                self.look();
            }
            if self.counted.elapsed() >= COUNT_EVERY {
                self.counted = Moment::now();
                if let Err(error) = self.count_members() {
                    tracing::debug!(%error, "partitions are counted again later");
                }
            }
        }
    }

    /// Sees to what was lost on its way, or too large for the topic.
    fn tend(&self) {
        let told = self.board.with_log(|board, link, _| link.tend(board));
        for (entry, is_split) in told.unwrap_or_default() {
            let outcome = if is_split { TooLarge::Split } else { TooLarge::Kept };
            let key = String::from_utf8_lossy(&entry.key);
            RecordTooLarge { topic: &self.topic, key: &key, bytes: entry.bytes, outcome }
                .emit(&self.metrics);
        }
    }

    fn take(&mut self, record: &TopicRecord) {
        if !self.vouching.takes(record) {
            let step = self.board.pass_over(record.offset);
            self.tell(&step);
            if self.vouching.passed(record.offset) {
                self.tell_passed(record.offset);
            }
            return;
        }
        let step = self.board.read(record.offset, &record.key, record.payload.as_deref());
        self.tell(&step);
        if step.due == Some(self.writer) {
            self.write_snapshot();
        }
        if step.whole.is_some_and(|(_, writer)| writer == self.writer) {
            self.board.with_log(|_, link, follower| {
                for key in follower.outdated() {
                    link.append_record(&key, None);
                }
            });
        }
    }

    /// Counts and logs what came of a record.
    fn tell(&mut self, step: &Step) {
        let now = clock::wall();
        for taken in &step.taken {
            self.tell_one(taken);
        }
        let bad = |detail| GroupEntryBad { fate: GroupEntryFate::Lost, detail, now };
        if step.lost {
            bad("entries are missing; keep the groups topic compacted, and not shorter than that")
                .emit(&self.metrics);
        }
        if step.replaced && !self.replaced {
            self.replaced = true;
            bad("the groups topic was replaced by another one; restart every instance")
                .emit(&self.metrics);
        }
    }

    fn tell_passed(&self, offset: i64) {
        let detail = format!(
            "nobody vouches for the record at offset {offset}: all instances need the same \
             `state.mac_key_file`, or somebody else writes to the topic"
        );
        let (fate, now) = (GroupEntryFate::Refused, clock::wall());
        GroupEntryBad { fate, detail: &detail, now }.emit(&self.metrics);
    }

    fn tell_one(&self, taken: &Taken) {
        let now = clock::wall();
        let bad = |fate, detail: &str| GroupEntryBad { fate, detail, now }.emit(&self.metrics);
        let fate = match &taken.outcome {
            Outcome::Refused(words) => return bad(GroupEntryFate::Refused, words),
            Outcome::Overlapping => {
                let named = taken.source.as_ref().map(|it| (&*it.topic, it.partition));
                let words = format!(
                    "what {named:?} taught may have been counted before, so it was not counted"
                );
                return bad(GroupEntryFate::Overlapping, &words);
            }
            Outcome::LeftOut(sources) => {
                self.tell_left_out(taken.writer, sources);
                GroupEntryFate::Applied
            }
            Outcome::Applied => GroupEntryFate::Applied,
            Outcome::Repeated => GroupEntryFate::Repeated,
            Outcome::Stale => GroupEntryFate::Stale,
            Outcome::Early => GroupEntryFate::Early,
        };
        GroupEntryRead { fate }.emit(&self.metrics);
    }

    /// Every instance reads it; the one that said it counts it.
    fn tell_left_out(&self, writer: u64, sources: &[SourceId]) {
        if writer != self.writer {
            return;
        }
        let merged = self.board.with_log(|board, _, _| board.merged()).flatten();
        for source in sources {
            let (topic, partition) = (&*source.topic, source.partition);
            PeerLeftOut { topic, partition, epoch: merged.unwrap_or(0) }.emit(&self.metrics);
        }
    }

    /// Writes a snapshot in the place of what will not be taken any more.
    fn renew(&mut self) {
        if self.vouching.is_to_renew() {
            self.write_snapshot();
        }
    }

    fn write_snapshot(&mut self) {
        let taken = self.board.with_log(|board, _, follower| follower.snapshot(board));
        let Some((position, snapshot)) = taken else { return };
        self.append_snapshot(position, &snapshot);
    }

    fn append_snapshot(&self, position: i64, snapshot: &Snapshot) {
        let part_bytes = self.board.with_log(|_, link, _| link.part_bytes()).unwrap_or(PART_BYTES);
        let parts = match snapshot.to_parts(part_bytes) {
            Ok(parts) => parts,
            Err(error) => {
                tracing::error!(%error, "a snapshot of what peers do cannot be written");
                return;
            }
        };
        let bytes = parts.iter().map(Vec::len).sum();
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        self.board.with_log(|_, link, _| {
            for (index, bytes) in (0_u32..).zip(parts) {
                let part = SnapshotPart { name: (position, self.writer), index, count, bytes };
                match part.to_bytes() {
                    Ok(bytes) => link.append_record(&part.key(), Some(&bytes)),
                    Err(error) => tracing::error!(%error, "a part of a snapshot cannot be written"),
                }
            }
        });
        GroupSnapshotWritten { position, bytes }.emit(&self.metrics);
    }

    /// Brings what was learned elsewhere, if nothing was ever learned here.
    fn bring_elsewhere(&mut self, began: Moment) -> anyhow::Result<()> {
        let kept = std::mem::take(&mut self.elsewhere);
        if kept == Kept::default() {
            return Ok(());
        }
        let is_new = self
            .board
            .with_log(|board, _, _| board.is_blank() && board.members().is_empty())
            .unwrap_or(false);
        if !is_new {
            tracing::warn!(
                topic = self.topic,
                "peers are known from the groups topic; those of the baseline are left out"
            );
            return Ok(());
        }
        self.append_snapshot(FROM_ELSEWHERE, &Snapshot { kept, ..Snapshot::default() });
        while self.board.with_log(|board, _, _| board.is_blank()).unwrap_or(false) {
            self.read_one(began)?;
        }
        Ok(())
    }

    /// Asks for the partitions of the source topics to be waited for, those that are not yet.
    /// Returns whether there are any.
    fn count_members(&mut self) -> anyhow::Result<bool> {
        let mut counts = Vec::new();
        for topic in &*self.sources {
            let count = self.reader.partitions_of(topic)?;
            counts.push((Arc::clone(topic), i32::try_from(count).unwrap_or(i32::MAX)));
        }
        self.tell_added(&counts);
        let missing = self.board.with_log(|board, link, _| {
            let is_missing = |(topic, count): &(Arc<str>, i32)| {
                (0..*count).any(|partition| {
                    let source = SourceId { topic: Arc::clone(topic), partition };
                    board.member(&source).is_none()
                })
            };
            counts.retain(is_missing);
            let missing = !counts.is_empty();
            if missing {
                link.append(Entry::Members(counts));
            }
            missing
        });
        Ok(missing.unwrap_or(false))
    }

    /// Says so when a topic has more partitions than when this instance last counted them.
    fn tell_added(&mut self, counts: &[(Arc<str>, i32)]) {
        for (topic, now) in counts {
            let before = self.counts.insert(Arc::clone(topic), *now).unwrap_or(*now);
            if before > 0 && *now > before {
                self.tell_one_added(topic, (before, *now));
            }
        }
    }

    fn tell_one_added(&self, topic: &str, (before, now): (i32, i32)) {
        LogChange::Repartitioned { before, now }.in_partition(topic, before).emit(&self.metrics);
    }

    fn read_one(&mut self, began: Moment) -> anyhow::Result<()> {
        let next = self.board.with_log(|_, _, follower| follower.next());
        let board = self.board.clone();
        self.read_until(began, |_| board.with_log(|_, _, follower| follower.next()) != next)
    }

    fn read_until(
        &mut self,
        began: Moment,
        mut is_done: impl FnMut(&TopicReader) -> bool,
    ) -> anyhow::Result<()> {
        let mut trouble = None;
        while !is_done(&self.reader) {
            match self.reader.next(POLL) {
                Ok(Some(record)) => self.take(&record),
                Ok(None) => {}
                Err(error) => trouble = Some(error),
            }
            if began.elapsed() > START_TIMEOUT {
                let words = format!("the topic `{}` could not be read to its end", self.topic);
                return match trouble {
                    Some(error) => Err(error).context(words),
                    None => Err(anyhow::anyhow!(words)),
                };
            }
        }
        Ok(())
    }

    /// Finds out how far behind the reader is.
    fn look(&mut self) {
        let end = self.reader.end();
        self.looked = Moment::now();
        self.renew();
        let seen = self.board.with_log(|_, link, follower| {
            (follower.next(), follower.is_following(), link.waiting())
        });
        let Some((next, is_following, waiting)) = seen else { return };
        match end {
            Ok(end) => {
                self.lag = (end - next).max(0);
                if self.lag == 0 && !is_following {
                    let step = self.board.read_to_end();
                    self.tell(&step);
                }
                self.set_following(self.lag <= BEHIND && !self.replaced);
            }
            Err(error) => {
                tracing::debug!(%error, "the end of the groups topic is asked for again later");
                self.set_following(false);
            }
        }
        self.metrics.groups_log((next, self.lag), waiting);
    }

    fn set_following(&self, is_following: bool) {
        self.status.following.store(is_following, Ordering::Relaxed);
        self.metrics.groups_following(is_following);
    }
}
