//! One worker: a thread that polls, judges and commits for the partitions it owns.
//!
//! The loop never blocks on anything but the poll. What has to wait (peers of another partition,
//! acknowledgements) is held by its partition's judge, and the partition is paused when it holds too
//! much; the others go on. For the broker's answers to commits another thread waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::event::Timestamp;
use crate::kafka::{GroupMember, Ledger, Outbox, Polled};
use crate::kill_point::{self, Point};
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::committing::Committing;
use crate::pipeline::desk::{Desk, Source};
use crate::pipeline::export::{Question, Taught};
use crate::pipeline::judge::Shared;
use crate::pipeline::keeping::Keeping;
use crate::pipeline::lane::Lane;
use crate::pipeline::lease::Lease;
use crate::pipeline::past::Learned;
use crate::state::PartitionId;
use crate::telemetry::Metrics;

mod hold;
pub mod keep;
mod pace;
mod rebalance;

use hold::{Arrival, arrival};
use keep::{Durable, Leaving};
use pace::Pace;
use rebalance::rebalance;

/// Records taken in one go before they are judged: few enough that what was decoded is still in the
/// processor's cache then.
const BATCH_MAX: usize = 256;

/// How long a poll waits when there is nothing to do: the most an alert on the newest call waits
/// for a later one.
const IDLE_POLL: Duration = Duration::from_millis(10);

/// How often gauges, idleness and backpressure are looked at.
const HOUSEKEEPING: Duration = Duration::from_millis(200);

/// How one worker works.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Its number, from 0.
    pub index: usize,
    /// How many there are.
    pub workers: usize,
    /// Where it puts alerts.
    pub alerts: Arc<str>,
    /// Where it puts what it cannot read.
    pub dead_letter: Arc<str>,
    /// Where it puts what changed in what is known of agents.
    pub audit: Arc<str>,
    /// How often it commits.
    pub commit_interval: Duration,
    /// How long a partition waits for the peers of another one.
    pub peers_wait: Duration,
    /// After how long without a record a partition counts as idle, if it is at its end.
    pub idle_after: Duration,
    /// Calls a partition may hold before it is paused.
    pub held_max: usize,
    /// After how long a partition that does not move is stalled.
    pub stalled_after: Duration,
    /// How long calls are held for older ones that may still come.
    pub reorder: Duration,
    /// How much of its history a partition learns from before it goes live.
    pub learn_from: Option<Duration>,
    /// How long the group waits for a member that says nothing.
    pub session_timeout: Duration,
    /// How long the last flush may take.
    pub flush_timeout: Duration,
}

/// What the workers of an instance tell the others.
#[derive(Debug, Default)]
pub struct Signals {
    /// Set to make them stop.
    pub stop: AtomicBool,
    /// How many of them are done with their last commit.
    committed: AtomicUsize,
    /// What each worker last knew of itself.
    reports: std::sync::Mutex<BTreeMap<usize, Report>>,
    /// The open offsets of every partition this instance has owned: an alert that a worker sent
    /// holds back the commits of the worker that has the partition after it.
    ledgers: std::sync::Mutex<BTreeMap<PartitionId, Ledger>>,
    /// What an export asks of them.
    pub question: Question,
}

/// What a worker knows of itself.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// When it said this: after a poll, so long ago was the last one.
    pub at: Option<Moment>,
    /// Whether the group has told it its share.
    pub joined: bool,
    /// Whether a broker can be reached.
    pub connected: bool,
    /// Why the brokers do not let it in, when they do not.
    pub trouble: Option<&'static str>,
    /// Partitions owned that have had no leader for a while.
    pub leaderless: usize,
    /// Partitions owned.
    pub partitions: Vec<PartitionId>,
    /// Calls held back.
    pub held: usize,
    /// Partitions that hold unread records while nothing of them is judged.
    pub stalled: bool,
    /// Whether any partition still learns from its history.
    pub learning: bool,
    /// Partitions whose baselines are not back yet.
    pub restoring: usize,
    /// Whether every partition owned has been read and judged to its end.
    pub caught_up: bool,
    /// The oldest event-time watermark of each topic.
    pub watermarks: BTreeMap<u16, crate::event::Timestamp>,
}

impl Signals {
    /// What every worker last knew of itself.
    #[must_use]
    pub fn reports(&self) -> BTreeMap<usize, Report> {
        self.reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn ledger(&self, partition: PartitionId) -> Ledger {
        let mut ledgers = self.ledgers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ledgers.entry(partition).or_default().clone()
    }

    fn report(&self, worker: usize, report: Report) {
        let mut reports = self.reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        reports.insert(worker, Report { at: Some(Moment::now()), ..report });
    }
}

/// A worker, to be run on a thread of its own.
#[derive(Debug)]
pub struct Worker {
    consumer: Box<dyn GroupMember>,
    desk: Desk,
    lanes: BTreeMap<PartitionId, Lane>,
    shared: Shared,
    settings: WorkerSettings,
    signals: Arc<Signals>,
    metrics: Metrics,
    joined: bool,
    /// How what is known is kept; without it, it goes with the process.
    durable: Option<Durable>,
    /// Partitions that are to go and are being written down.
    leaving: Option<Leaving>,
    /// What is to be committed.
    committing: Committing,
    /// The commit by which the group is asked whether it still takes this worker for the owner, and
    /// which doubt that was.
    question: Option<(u64, u64)>,
    /// Whether its partitions are still its own.
    lease: Lease,
    pace: Pace,
    last_housekeeping: Moment,
    last_commit: Moment,
}

impl Worker {
    /// A worker around `consumer`.
    #[must_use]
    pub fn new(
        consumer: Box<dyn GroupMember>,
        (shared, sources): (Shared, Arc<[Source]>),
        outbox: Outbox,
        (settings, signals): (WorkerSettings, Arc<Signals>),
        metrics: &Metrics,
    ) -> Self {
        let desk = Desk::new(&settings, sources, outbox, metrics);
        let now = Moment::now();
        let lease = Lease::new(settings.session_timeout, clock::wall());
        // What is finished is committed before partitions go, and that is waited for outside of the
        // callback.
        consumer.defer_revoking(true);
        Self {
            consumer,
            desk,
            lanes: BTreeMap::new(),
            shared,
            settings,
            signals,
            metrics: metrics.clone(),
            joined: false,
            durable: None,
            leaving: None,
            committing: Committing::default(),
            question: None,
            lease,
            pace: Pace::new(),
            last_housekeeping: now,
            last_commit: now,
        }
    }

    /// The same worker, which keeps what it knows.
    #[must_use]
    pub fn with(self, durable: Option<Durable>) -> Self {
        self.consumer.begin_nowhere(durable.is_some());
        Self { durable, ..self }
    }

    /// Works until told to stop, then flushes and commits.
    pub fn run(mut self) {
        while !self.signals.stop.load(Ordering::Relaxed) {
            self.turn();
        }
        self.finish();
    }

    /// Goes once through all there is to do.
    pub fn turn(&mut self) {
        let idle = self.take_batch();
        self.polled();
        self.hear_commit();
        self.keep();
        self.look_back();
        self.judge(idle);
        // A rebalance in the next poll commits what is finished by then.
        self.note_finished();
        if self.last_housekeeping.elapsed() >= HOUSEKEEPING {
            self.housekeep();
        }
    }

    /// Takes in what there is, at most a batch. Returns whether there was nothing.
    fn take_batch(&mut self) -> bool {
        let mut wait = IDLE_POLL;
        let mut taken = 0;
        while taken < BATCH_MAX {
            let began = (!wait.is_zero()).then(Moment::now);
            let polled = self.consumer.poll(wait);
            self.pace.waited(began.map_or(Duration::ZERO, Moment::elapsed));
            match polled {
                Polled::Record(record) => {
                    let id = self.desk.id_of(record.topic(), record.partition());
                    if !self.lanes.contains_key(&id) {
                        // The poll that brought this record served the rebalance before it.
                        while let Some(note) = self.consumer.next_rebalance() {
                            self.joined = true;
                            self.desk.count(&self.shared.rules, &mut self.lanes);
                            self.leaving = rebalance(
                                &mut self.lanes,
                                (&self.shared, &self.signals, &self.desk),
                                (&*self.consumer, self.durable.as_ref()),
                                (note, self.settings.learn_from),
                            )
                            .or(self.leaving.take());
                        }
                    }
                    if let Some(lane) = self.lanes.get_mut(&id) {
                        match arrival(lane, &*self.consumer, record.offset(), &self.metrics) {
                            Arrival::Again => lane.received.again += 1,
                            Arrival::CutOff => self.lease.doubt(clock::wall()),
                            Arrival::Due => self.desk.take(&record, lane),
                        }
                    }
                    kill_point::hit(Point::Polled);
                    taken += 1;
                    wait = Duration::ZERO;
                }
                Polled::Error => taken += 1,
                Polled::Nothing => break,
            }
        }
        while let Some(note) = self.consumer.next_rebalance() {
            self.joined = true;
            // What a lane has judged must be counted before it goes.
            self.desk.count(&self.shared.rules, &mut self.lanes);
            self.leaving = rebalance(
                &mut self.lanes,
                (&self.shared, &self.signals, &self.desk),
                (&*self.consumer, self.durable.as_ref()),
                (note, self.settings.learn_from),
            )
            .or(self.leaving.take());
            self.assignment_changed();
        }
        taken == 0
    }

    fn assignment_changed(&mut self) {
        let owned =
            self.lanes.values().map(|lane| (lane.name.topic.to_string(), lane.name.partition));
        self.metrics.kafka().set_assignment(self.settings.index, owned.collect());
        self.last_housekeeping = Moment::now();
        self.housekeep();
    }

    fn judge(&mut self, idle: bool) {
        for lane in self.lanes.values_mut().filter(|lane| lane.may_judge()) {
            // Within the reordering span an older call may still be on its way.
            let settled = idle && lane.has_rested(self.settings.reorder);
            self.desk.judge(lane, settled);
            if let Some(epoch) = lane.overdue(self.settings.peers_wait) {
                let laggards = self.shared.board.leave_out_laggards(epoch);
                self.desk.left_out(&laggards, epoch);
            }
        }
    }

    fn housekeep(&mut self) {
        self.last_housekeeping = Moment::now();
        self.pace.look(self.last_housekeeping);
        self.desk.outbox.retry();
        self.confirm();
        if let Some(durable) = self.durable.as_ref().filter(|_| self.may_write()) {
            durable.outbox.retry();
        }
        let full = self.desk.outbox.is_full();
        let mut report = Report {
            joined: self.joined,
            connected: self.consumer.is_connected(),
            trouble: self.consumer.trouble(),
            leaderless: self.consumer.leaderless(),
            caught_up: true,
            ..Report::default()
        };
        for (id, lane) in &mut self.lanes {
            lane.mind_pressure(&*self.consumer, (full, self.settings.held_max), &self.metrics);
            if let Some(learned) = lane.go_live() {
                say_learned(lane, learned);
                // What cannot be read below where the group stands must not hold it there; while
                // no broker answers nobody knows whether it can.
                if let Some(offset) = learned.go_on.filter(|_| self.consumer.is_connected()) {
                    self.consumer.go_on_from(&lane.name, offset);
                }
            }
            if lane.mind_idleness(&*self.consumer, self.settings.idle_after) {
                self.desk.let_time_pass(lane);
            }
            report.partitions.push(*id);
            report.held += lane.judge.held();
            report.stalled |= lane.is_stalled(self.settings.stalled_after);
            report.learning |= !lane.past.is_live();
            report.restoring +=
                usize::from(lane.keeping.as_ref().is_some_and(Keeping::is_restoring));
            report.caught_up &= lane.is_idle();
            if let Some(watermark) = lane.judge.watermark() {
                let oldest = report.watermarks.entry(id.topic).or_insert(watermark);
                *oldest = (*oldest).min(watermark);
            }
        }
        self.desk.count(&self.shared.rules, &mut self.lanes);
        self.signals.report(self.settings.index, report);
        self.answer();
        let in_doubt = self.durable.is_some() && !self.may_write();
        let is_due = self.last_commit.elapsed() >= self.settings.commit_interval;
        if is_due && !in_doubt && !self.committing.is_under_way() {
            self.commit();
        }
    }

    /// Tells an export what the partitions taught in hours that are not over.
    fn answer(&self) {
        let Some(round) = self.signals.question.open_to(self.settings.index) else { return };
        let mut taught = Taught::default();
        self.lanes.values().for_each(|lane| taught.add(&lane.judge));
        self.signals.question.answer(self.settings.index, round, taught);
    }

    /// Finds the history of a partition that wants it and begins to read it. One a turn, because
    /// each may have to wait for the cluster and polling must go on.
    fn look_back(&mut self) {
        let Some(span) = self.settings.learn_from else { return };
        let Some(lane) = self.lanes.values_mut().find(|lane| lane.past.is_due()) else { return };
        let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let since_ms = clock::wall().as_millis().saturating_sub(span_ms).max(0);
        let topic = &*lane.name.topic;
        let looked = self.consumer.history(&lane.name, since_ms).and_then(|history| {
            let plan = lane.past.plan(&history, self.consumer.is_from_earliest());
            plan.seek.map_or(Ok(()), |offset| self.consumer.seek(&lane.name, offset))?;
            Ok(plan)
        });
        let plan = match looked {
            Ok(plan) => plan,
            Err(error) => {
                tracing::debug!(topic, partition = lane.name.partition, %error, "asked again");
                lane.past.ask_later();
                return;
            }
        };
        lane.past.begin(plan, Timestamp::from_millis(since_ms));
        let partition = lane.name.partition;
        let Some(live_from) = plan.live_from else {
            tracing::warn!(topic, partition, "there is no history to learn from, live now");
            return;
        };
        tracing::info!(topic, partition, from = plan.seek, live_from, "learning from history");
        // Whoever stops from here on goes live at the same record.
        lane.pin(live_from);
        self.consumer.finish(&lane.name, live_from);
        self.committing.moved();
        self.commit();
    }

    fn note_finished(&mut self) {
        for lane in self.lanes.values_mut() {
            if let Some(offset) = lane.newly_finished() {
                self.consumer.finish(&lane.name, offset);
                self.committing.moved();
            }
        }
    }

    fn commit(&mut self) {
        self.last_commit = Moment::now();
        for lane in self.lanes.values() {
            if let Some(append_ms) = lane.last_append_ms {
                self.consumer.appended(&lane.name, append_ms);
            }
        }
        self.committing.ask(&*self.consumer);
    }

    /// Hears how the commit ended that was asked for.
    fn hear_commit(&mut self) {
        if self.committing.hear(&*self.consumer).is_some() {
            kill_point::hit(Point::Committed);
        }
    }

    /// Commits for the last time, at most until `patience` has passed since `began`.
    fn commit_last(&mut self, began: Moment, patience: Duration) {
        self.commit();
        let hit = |_| kill_point::hit(Point::Committed);
        self.committing.wait_for_last(&*self.consumer, (began, patience), hit);
    }

    /// Waits for the acknowledgements of what was sent, commits, and leaves the group.
    fn finish(mut self) {
        self.desk.count(&self.shared.rules, &mut self.lanes);
        let flushed = self.desk.outbox.flush(self.settings.flush_timeout);
        if let Err(error) = flushed {
            tracing::warn!(worker = self.settings.index, %error, "their records will be read again");
        }
        self.note_finished();
        // Whoever closes the consumer must not wait for a worker that is gone.
        self.consumer.defer_revoking(false);
        let began = Moment::now();
        let patience = self.settings.flush_timeout;
        self.confirm_last(began, patience);
        self.keep_last(began, patience);
        self.commit_last(began, patience);
        // Whoever leaves makes the others rebalance, so all commit before the first one leaves.
        self.signals.committed.fetch_add(1, Ordering::Relaxed);
        while self.signals.committed.load(Ordering::Relaxed) < self.settings.workers
            && began.elapsed() < patience
        {
            std::thread::sleep(IDLE_POLL);
        }
        self.desk.count(&self.shared.rules, &mut self.lanes);
        self.metrics.kafka().set_assignment(self.settings.index, Vec::new());
    }
}

fn say_learned(lane: &Lane, learned: Learned) {
    let (topic, partition) = (&*lane.name.topic, lane.name.partition);
    let since = learned.since.map(|since| since.to_string()).unwrap_or_default();
    let (calls, untold) = (lane.judge.tally().judged, learned.untold);
    tracing::info!(topic, partition, calls, since, untold, "learned from history, live now");
}
