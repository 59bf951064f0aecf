//! From source topics that are not keyed by agent to the calls topic, which is: each call is decoded
//! and written again under its agent's key.
//!
//! A consumer group of its own reads the sources; an offset is committed when everything its record
//! caused is acknowledged. A source partition's calls arrive in its order and without a gap, so that
//! what is written twice is known by its place (`crate::state::marks`). Whatever the broker refuses
//! therefore ends the round: consumer and producer are thrown away, and a new pair begins at what is
//! committed. What no broker takes goes to the dead-letter topic in the next round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::kafka::{
    ConsumerSettings, Forwarder, GroupMember, KafkaError, Outbox, PartitionConsumer, Polled,
    Rebalanced, Refusal, TopicPartition,
};
use crate::kill_point::{self, Point};
use crate::pipeline::clock::Moment;
use crate::pipeline::committing::Committing;
use crate::pipeline::desk::Source;
use crate::telemetry::{Event, IngestBeganAgain, IngestMetrics, Metrics};

mod reading;
mod taking;

use reading::Reading;
use taking::take;

/// The first ingest's number among the consumers of an instance, for their statistics.
pub const WORKER: usize = 20_000;

/// Records taken in one go.
const BATCH_MAX: usize = 256;

/// How long a poll waits when there is nothing to do.
const IDLE_POLL: Duration = Duration::from_millis(20);

/// How often gauges, idleness and backpressure are looked at.
const HOUSEKEEPING: Duration = Duration::from_millis(200);

/// The most calls remembered that no broker takes; of more, some are refused once more.
const UNFIT_MAX: usize = 1_000;

/// How long between two rounds.
const PAUSE: Duration = Duration::from_secs(1);

/// How long calls may be on their way, none of them acknowledged, before that is told.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// How one ingest works.
#[derive(Clone, Debug)]
pub struct IngestSettings {
    /// Its number, from 0.
    pub index: usize,
    /// How it consumes.
    pub consumer: ConsumerSettings,
    /// The topics it reads.
    pub sources: Arc<[Source]>,
    /// Where it puts calls.
    pub calls: Arc<str>,
    /// Where it puts what it cannot read.
    pub dead_letter: Arc<str>,
    /// Calls on their way at which it reads no further.
    pub in_flight_max: usize,
    /// How often it commits.
    pub commit_interval: Duration,
    /// How long the last calls may take to arrive.
    pub flush_timeout: Duration,
}

/// What the ingests of an instance tell the others.
#[derive(Debug, Default)]
pub struct IngestSignals {
    /// Set to make them stop.
    pub stop: AtomicBool,
    reports: std::sync::Mutex<BTreeMap<usize, IngestReport>>,
}

/// What an ingest knows of itself.
#[derive(Clone, Debug, Default)]
pub struct IngestReport {
    /// Whether the group has told it its share.
    pub joined: bool,
    /// Whether a broker can be reached.
    pub connected: bool,
    /// Why the brokers do not let it in, when they do not.
    pub trouble: Option<&'static str>,
    /// Source partitions owned that have had no leader for a while.
    pub leaderless: usize,
    /// Source partitions owned.
    pub partitions: Vec<TopicPartition>,
    /// Calls that are not acknowledged.
    pub in_flight: usize,
    /// Whether calls are on their way and none was acknowledged for long.
    pub stalled: bool,
    /// Whether everything there was is in the calls topic.
    pub caught_up: bool,
}

impl IngestSignals {
    /// What every ingest last knew of itself.
    #[must_use]
    pub fn reports(&self) -> Vec<IngestReport> {
        let reports = self.reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        reports.values().cloned().collect()
    }

    fn report(&self, index: usize, report: IngestReport) {
        let mut reports = self.reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        reports.insert(index, report);
    }
}

/// A call by its place: topic, partition, offset, and place in the record.
type Name = (Arc<str>, i32, i64, u32);

/// One ingest, to be run on a thread of its own.
#[derive(Debug)]
pub struct Ingest {
    settings: IngestSettings,
    outbox: Outbox,
    signals: Arc<IngestSignals>,
    metrics: Metrics,
    counters: IngestMetrics,
    /// Calls that no broker takes.
    unfit: BTreeSet<Name>,
    /// Whether calls are sent one by one, to find the one that is refused.
    one_by_one: bool,
}

impl Ingest {
    /// An ingest whose dead letters go out by `outbox`.
    #[must_use]
    pub fn new(
        settings: IngestSettings,
        outbox: Outbox,
        signals: Arc<IngestSignals>,
        metrics: &Metrics,
    ) -> Self {
        let counters = metrics.ingest();
        let metrics = metrics.clone();
        let unfit = BTreeSet::new();
        Self { settings, outbox, signals, metrics, counters, unfit, one_by_one: false }
    }

    /// Works until told to stop.
    pub fn run(mut self) {
        while !self.signals.stop.load(Ordering::Relaxed) {
            let refusal = match Round::begin(&self) {
                Ok(round) => round.run(),
                Err(error) => {
                    tracing::error!(%error, "ingest cannot begin");
                    None
                }
            };
            if let Some(refusal) = refusal {
                self.begin_again(refusal);
            }
            self.signals.report(self.settings.index, IngestReport::default());
            self.wait(PAUSE);
        }
        self.metrics.kafka().set_assignment(WORKER + self.settings.index, Vec::new());
    }

    /// A round has ended because the broker refused something.
    fn begin_again(&mut self, refusal: Refusal<Name>) {
        let Refusal { code, unfit } = refusal;
        IngestBeganAgain { code: &code }.emit(&self.metrics);
        // A batch is refused as a whole: which call it was is known when it comes alone.
        let is_found = self.one_by_one && !unfit.is_empty();
        self.one_by_one = !is_found && !unfit.is_empty();
        if is_found {
            self.unfit.extend(unfit);
        }
        while self.unfit.len() > UNFIT_MAX {
            self.unfit.pop_first();
        }
    }

    fn wait(&self, span: Duration) {
        let began = Moment::now();
        while began.elapsed() < span && !self.signals.stop.load(Ordering::Relaxed) {
            std::thread::sleep(IDLE_POLL);
        }
    }
}

/// One consumer and one producer, until something is refused.
#[derive(Debug)]
struct Round<'i> {
    ingest: &'i Ingest,
    consumer: PartitionConsumer,
    forwarder: Forwarder<Name>,
    partitions: BTreeMap<TopicPartition, Reading>,
    joined: bool,
    committing: Committing,
    paused: bool,
    /// What was on its way when that last changed, and since when.
    progress: (usize, Moment),
    last_housekeeping: Moment,
    last_commit: Moment,
}

impl<'i> Round<'i> {
    fn begin(ingest: &'i Ingest) -> Result<Self, KafkaError> {
        let settings = &ingest.settings;
        let forwarder = Forwarder::new(&settings.consumer.client, ingest.one_by_one)?;
        let number = WORKER + settings.index;
        let consumer = PartitionConsumer::new(&settings.consumer, number, &ingest.metrics)?;
        let now = Moment::now();
        Ok(Self {
            ingest,
            consumer,
            forwarder,
            partitions: BTreeMap::new(),
            joined: false,
            committing: Committing::default(),
            paused: false,
            progress: (0, now),
            last_housekeeping: now,
            last_commit: now,
        })
    }

    /// Works until told to stop, or until something is refused, which is returned.
    fn run(mut self) -> Option<Refusal<Name>> {
        while !self.ingest.signals.stop.load(Ordering::Relaxed) {
            self.take_batch();
            self.hear_commit();
            if let Some(refusal) = self.forwarder.refusal() {
                // What arrived before it may be committed.
                self.commit_last(Moment::now());
                return Some(refusal);
            }
            if self.last_housekeeping.elapsed() >= HOUSEKEEPING {
                self.housekeep();
            }
        }
        self.finish();
        None
    }

    fn take_batch(&mut self) {
        let mut wait = IDLE_POLL;
        for _ in 0..BATCH_MAX {
            if self.is_full() || self.forwarder.refusal().is_some() {
                self.mind_pressure();
            }
            // Rebalances are served by polling, however much is on its way.
            match self.consumer.poll(wait) {
                Polled::Record(record) => {
                    let notes = std::iter::from_fn(|| self.consumer.next_rebalance());
                    let notes: Vec<Rebalanced> = notes.collect();
                    rebalance_all(notes, &mut self.partitions, &mut self.joined);
                    let taken = take(
                        (self.ingest, &self.forwarder, &self.consumer),
                        &record,
                        &mut self.partitions,
                    );
                    if taken {
                        self.committing.moved();
                    }
                    wait = Duration::ZERO;
                }
                Polled::Error => wait = Duration::ZERO,
                Polled::Nothing => break,
            }
        }
        let mut is_changed = false;
        while let Some(note) = self.consumer.next_rebalance() {
            is_changed = true;
            rebalance_all(vec![note], &mut self.partitions, &mut self.joined);
        }
        if is_changed {
            let owned = self.partitions.keys();
            let owned = owned.map(|it| (it.topic.to_string(), it.partition)).collect();
            let number = WORKER + self.ingest.settings.index;
            self.ingest.metrics.kafka().set_assignment(number, owned);
            // The pause of an earlier assignment would be kept.
            let act = if self.paused { GroupMember::pause } else { GroupMember::resume };
            self.partitions.keys().for_each(|name| act(&self.consumer, name));
        }
    }

    fn is_full(&self) -> bool {
        let max = self.ingest.settings.in_flight_max;
        self.forwarder.in_flight() >= max || self.ingest.outbox.is_full()
    }

    /// Reads no further while too much is on its way.
    fn mind_pressure(&mut self) {
        let max = self.ingest.settings.in_flight_max;
        if !self.paused && self.is_full() {
            self.partitions.keys().for_each(|name| self.consumer.pause(name));
            self.paused = true;
        } else if self.paused
            && self.forwarder.in_flight() <= max / 3
            && !self.ingest.outbox.is_full()
        {
            self.partitions.keys().for_each(|name| self.consumer.resume(name));
            self.paused = false;
        }
    }

    fn housekeep(&mut self) {
        self.last_housekeeping = Moment::now();
        self.ingest.outbox.retry();
        self.mind_pressure();
        self.finish_offsets();
        let is_due = self.last_commit.elapsed() >= self.ingest.settings.commit_interval;
        if is_due && !self.committing.is_under_way() {
            self.commit();
        }
        let in_flight = self.forwarder.in_flight();
        if in_flight != self.progress.0 || in_flight == 0 {
            self.progress = (in_flight, Moment::now());
        }
        let mut caught_up = true;
        for (name, reading) in &mut self.partitions {
            caught_up &= reading.is_caught_up(&self.consumer, name);
        }
        let report = IngestReport {
            joined: self.joined,
            connected: self.consumer.is_connected(),
            trouble: self.consumer.trouble(),
            leaderless: self.consumer.leaderless(),
            partitions: self.partitions.keys().cloned().collect(),
            in_flight,
            stalled: self.progress.1.elapsed() >= STALLED_AFTER,
            caught_up,
        };
        self.ingest.signals.report(self.ingest.settings.index, report);
    }

    /// Notes what may be committed.
    fn finish_offsets(&mut self) {
        for (name, reading) in &mut self.partitions {
            reading.compare(&self.consumer, name, &self.ingest.metrics);
            if reading.finish(&self.consumer, name) {
                self.committing.moved();
            }
        }
    }

    fn commit(&mut self) {
        self.last_commit = Moment::now();
        self.committing.ask(&self.consumer);
    }

    /// Hears how the commit ended that was asked for.
    fn hear_commit(&mut self) {
        if let Some(is_done) = self.committing.hear(&self.consumer) {
            committed(is_done);
        }
    }

    /// Waits for the acknowledgements of what was sent, and commits.
    fn finish(&mut self) {
        let began = Moment::now();
        let patience = self.ingest.settings.flush_timeout;
        self.forwarder.flush(patience);
        if let Err(error) = self.ingest.outbox.flush(patience.saturating_sub(began.elapsed())) {
            tracing::warn!(%error, "their records will be read again");
        }
        self.commit_last(began);
    }

    /// Commits for the last time, at most until the time for that has passed since `began`.
    fn commit_last(&mut self, began: Moment) {
        self.finish_offsets();
        let patience = self.ingest.settings.flush_timeout;
        self.committing.wait_for_last(&self.consumer, (began, patience), committed);
    }
}

/// A commit has ended.
fn committed(is_done: bool) {
    if is_done {
        kill_point::hit(Point::IngestCommitted);
    }
}

fn rebalance_all(
    notes: Vec<Rebalanced>,
    partitions: &mut BTreeMap<TopicPartition, Reading>,
    joined: &mut bool,
) {
    for note in notes {
        *joined = true;
        match note {
            Rebalanced::Assigned(names) => {
                tracing::info!(partitions = names.len(), "ingest: partitions assigned");
                partitions.extend(names.into_iter().map(|name| (name, Reading::new())));
            }
            // What is on its way of them arrives or does not: whoever has them next begins at what
            // was acknowledged, and what comes twice is known.
            Rebalanced::Revoked(names) | Rebalanced::Lost(names) | Rebalanced::Revoking(names) => {
                tracing::info!(partitions = names.len(), "ingest: partitions revoked");
                for name in names {
                    partitions.remove(&name);
                }
            }
        }
    }
}
