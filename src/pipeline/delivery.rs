//! From the alerts topic to the receivers: a consumer group of its own.
//!
//! An alert's offset is committed once every receiver has it, has no use for it, or has it in the
//! dead-letter topic. Each receiver has its own queues; alerts of one episode go through one of
//! them, so that `resolved` never overtakes `firing`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::alert::Alert;
use crate::deliver::{Delivery, Webhook};
use crate::kafka::{
    Consumed, Ledger, Outbox, OutgoingRecord, PartitionConsumer, Polled, Rebalanced, Ticket,
    TopicPartition,
};
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::desk::DEAD_LETTER_BYTES_MAX;
use crate::pipeline::pager::{Page, Pager, as_duplicate};
use crate::telemetry::{
    DeadLetterKind, DeadLettered, Event, Metrics, NotificationDeadLettered,
    NotificationDeduplicated,
};

/// Queues of one receiver: so many episodes are told side by side.
const QUEUES: usize = 4;

/// Alerts of one partition that may be on their way at a time.
const WINDOW: usize = 1_000;

/// How long a poll waits.
const POLL: Duration = Duration::from_millis(50);

/// How often offsets are committed and gauges set.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// How long deliveries under way may take at the end.
const GRACE: Duration = Duration::from_secs(2);

/// One alert on its way to one receiver.
#[derive(Debug)]
struct Job {
    alert: Arc<Alert>,
    body: Arc<[u8]>,
    ticket: Ticket,
    number: u64,
}

/// One receiver and what waits for it.
#[derive(Debug)]
struct Receiver {
    name: String,
    webhook: Arc<Webhook>,
    /// What it was told lately.
    pager: Pager,
    /// Unbounded in themselves; the partitions are paused at [`WINDOW`] open alerts.
    queues: Vec<mpsc::UnboundedSender<Job>>,
    waiting: Arc<Mutex<BTreeMap<u64, Moment>>>,
}

/// Where dead letters go.
#[derive(Clone, Debug)]
struct Graveyard {
    outbox: Outbox,
    topic: Arc<str>,
    metrics: Metrics,
}

/// What the delivery tells the others.
#[derive(Debug, Default)]
pub struct DeliverySignals {
    /// Set to make it stop.
    pub stop: AtomicBool,
    /// Whether everything on the topic has been told.
    pub caught_up: AtomicBool,
    /// Alerts on their way.
    pub open: AtomicUsize,
}

/// Tells receivers of alerts; to be run on a thread of its own.
#[derive(Debug)]
pub struct Delivering {
    consumer: PartitionConsumer,
    receivers: Vec<Receiver>,
    graveyard: Graveyard,
    partitions: BTreeMap<TopicPartition, Reading>,
    signals: Arc<DeliverySignals>,
    next_number: u64,
    /// Whether anything was finished that is not committed.
    moved: bool,
}

/// One partition of the alerts topic.
#[derive(Debug, Default)]
struct Reading {
    ledger: Ledger,
    next_offset: Option<i64>,
    committed: Option<i64>,
    paused: bool,
}

impl Delivering {
    /// A delivery from `consumer` to `webhooks`, each of which is not paged twice for an incident
    /// within its span; their requests run on `runtime`.
    #[must_use]
    pub fn new(
        consumer: PartitionConsumer,
        webhooks: Vec<(Webhook, Duration)>,
        (outbox, dead_letter): (Outbox, Arc<str>),
        (runtime, signals): (&tokio::runtime::Handle, Arc<DeliverySignals>),
        metrics: &Metrics,
    ) -> Self {
        let graveyard = Graveyard { outbox, topic: dead_letter, metrics: metrics.clone() };
        let receivers =
            webhooks.into_iter().map(|webhook| receiver(webhook, &graveyard, runtime)).collect();
        let partitions = BTreeMap::new();
        Self { consumer, receivers, graveyard, partitions, signals, next_number: 0, moved: false }
    }

    /// Works until told to stop.
    pub fn run(mut self) {
        let mut last_housekeeping = Moment::now();
        while !self.signals.stop.load(Ordering::Relaxed) {
            let record = match self.consumer.poll(POLL) {
                Polled::Record(record) => Some(Self::read(&record)),
                Polled::Error | Polled::Nothing => None,
            };
            if let Some((name, offset, alert)) = record {
                self.spread(&name, offset, alert);
            }
            while let Some(note) = self.consumer.next_rebalance() {
                self.rebalance(note);
            }
            if last_housekeeping.elapsed() >= HOUSEKEEPING {
                last_housekeeping = Moment::now();
                self.housekeep();
            }
        }
        self.finish();
    }

    fn read(record: &Consumed<'_>) -> (TopicPartition, i64, Parsed) {
        let name = TopicPartition { topic: record.topic().into(), partition: record.partition() };
        let body: Arc<[u8]> = record.payload().unwrap_or_default().into();
        let parsed = match serde_json::from_slice::<Alert>(&body) {
            Ok(alert) => Parsed::Alert(Arc::new(alert), body),
            Err(error) => Parsed::Broken(error.to_string(), body),
        };
        (name, record.offset(), parsed)
    }

    /// Queues one record's alert for every receiver.
    fn spread(&mut self, name: &TopicPartition, offset: i64, parsed: Parsed) {
        let reading = self.partitions.entry(name.clone()).or_default();
        reading.next_offset = Some(offset + 1);
        let (alert, body) = match parsed {
            Parsed::Alert(alert, body) => (alert, body),
            Parsed::Broken(detail, body) => {
                let letter =
                    Letter { receiver: "", reason: "parse", status: None, detail: &detail };
                self.graveyard.bury(&letter, &body, reading.ledger.ticket(offset));
                return;
            }
        };
        for receiver in &mut self.receivers {
            self.next_number += 1;
            let (alert, body) = receiver.word_on(&alert, &body, &self.graveyard.metrics);
            let job = Job {
                alert,
                body,
                ticket: reading.ledger.ticket(offset),
                number: self.next_number,
            };
            receiver.queue(job);
        }
    }

    fn rebalance(&mut self, note: Rebalanced) {
        match note {
            Rebalanced::Assigned(names) => {
                for name in names {
                    self.partitions.insert(name, Reading::default());
                }
            }
            // Not asked for here: what is finished is committed as a partition goes.
            Rebalanced::Revoking(_) => {}
            Rebalanced::Revoked(names) | Rebalanced::Lost(names) => {
                for name in names {
                    self.partitions.remove(&name);
                }
            }
        }
        let owned = self.partitions.keys().map(|name| (name.topic.to_string(), name.partition));
        self.graveyard.metrics.kafka().set_assignment(WORKER, owned.collect());
    }

    fn housekeep(&mut self) {
        let mut caught_up = !self.partitions.is_empty();
        let mut open_total = 0;
        for (name, reading) in &mut self.partitions {
            let open = reading.ledger.len();
            open_total += open;
            if !reading.paused && open >= WINDOW {
                self.consumer.pause(name);
                reading.paused = true;
            } else if reading.paused && open <= WINDOW / 3 {
                self.consumer.resume(name);
                reading.paused = false;
            }
            caught_up &=
                open == 0 && self.consumer.is_at_end(name, reading.next_offset) == Some(true);
            let finished = reading.ledger.lowest_open().or(reading.next_offset);
            if let Some(finished) = finished.filter(|offset| reading.committed != Some(*offset)) {
                self.consumer.finish(name, finished);
                self.moved = true;
                reading.committed = Some(finished);
            }
        }
        if self.moved {
            self.moved = !self.consumer.commit();
        }
        self.signals.open.store(open_total, Ordering::Relaxed);
        self.signals.caught_up.store(caught_up, Ordering::Relaxed);
        for receiver in &self.receivers {
            receiver.measure(&self.graveyard.metrics);
        }
    }

    /// Lets deliveries under way end, for a little while, so that few are told twice.
    fn finish(mut self) {
        let began = Moment::now();
        while began.elapsed() < GRACE && self.partitions.values().any(|r| !r.ledger.is_empty()) {
            std::thread::sleep(POLL);
        }
        self.housekeep();
    }
}

/// The delivery's number among the consumers of an instance, for its statistics.
pub const WORKER: usize = 10_000;

enum Parsed {
    Alert(Arc<Alert>, Arc<[u8]>),
    Broken(String, Arc<[u8]>),
}

impl Receiver {
    /// What this receiver is sent of an alert: its bytes as they are, or as the update of an
    /// incident it was told of before.
    fn word_on(
        &mut self,
        alert: &Arc<Alert>,
        body: &Arc<[u8]>,
        metrics: &Metrics,
    ) -> (Arc<Alert>, Arc<[u8]>) {
        // What it is not told of, it was not told of.
        let (page, forgotten) =
            if self.webhook.wants(alert) { self.pager.decide(alert) } else { (Page::AsIs, 0) };
        let is_duplicate = page != Page::AsIs;
        NotificationDeduplicated { receiver: &self.name, forgotten, is_duplicate }.emit(metrics);
        match page {
            Page::AsIs => (Arc::clone(alert), Arc::clone(body)),
            Page::Duplicate(first) => {
                let alert = as_duplicate(alert, first);
                let body = alert.to_json().into_bytes().into();
                (Arc::new(alert), body)
            }
        }
    }

    fn queue(&self, job: Job) {
        lock(&self.waiting).insert(job.number, Moment::now());
        // One episode, one queue.
        let place = job.alert.alert_id.bytes().fold(0_usize, |sum, byte| sum + usize::from(byte));
        if let Some(queue) = self.queues.get(place % self.queues.len().max(1)) {
            // The other end only goes away with the whole process.
            drop(queue.send(job));
        }
    }

    fn measure(&self, metrics: &Metrics) {
        let waiting = lock(&self.waiting);
        let oldest =
            waiting.first_key_value().map_or(0.0, |(_, since)| since.elapsed().as_secs_f64());
        metrics.notification_queue(&self.name, waiting.len(), oldest);
        metrics.notification_incidents(&self.name, self.pager.len());
    }
}

/// Starts the queues of one receiver.
fn receiver(
    (webhook, dedup_for): (Webhook, Duration),
    graveyard: &Graveyard,
    runtime: &tokio::runtime::Handle,
) -> Receiver {
    let name = webhook.name().to_owned();
    let webhook = Arc::new(webhook);
    let waiting: Arc<Mutex<BTreeMap<u64, Moment>>> = Arc::default();
    let queues = (0..QUEUES).map(|_| {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (webhook, waiting) = (Arc::clone(&webhook), Arc::clone(&waiting));
        runtime.spawn(serve_queue(receiver, webhook, waiting, graveyard.clone()));
        sender
    });
    let queues = queues.collect();
    Receiver { name, webhook, pager: Pager::new(dedup_for), queues, waiting }
}

/// Tells one queue's alerts, one after the other.
async fn serve_queue(
    mut jobs: mpsc::UnboundedReceiver<Job>,
    webhook: Arc<Webhook>,
    waiting: Arc<Mutex<BTreeMap<u64, Moment>>>,
    graveyard: Graveyard,
) {
    while let Some(job) = jobs.recv().await {
        match webhook.deliver(&job.alert, &job.body, &clock::wall).await {
            Delivery::Delivered { .. } | Delivery::Skipped => job.ticket.settle(),
            Delivery::Dead(dead) => {
                let letter = Letter {
                    receiver: webhook.name(),
                    reason: dead.reason.as_str(),
                    status: dead.status,
                    detail: &dead.detail,
                };
                NotificationDeadLettered { receiver: webhook.name() }.emit(&graveyard.metrics);
                graveyard.bury(&letter, &job.body, job.ticket);
            }
        }
        lock(&waiting).remove(&job.number);
    }
}

/// Why an alert was not told.
struct Letter<'a> {
    receiver: &'a str,
    reason: &'a str,
    status: Option<u16>,
    detail: &'a str,
}

impl Graveyard {
    /// Sends an alert that could not be told to the dead-letter topic.
    fn bury(&self, letter: &Letter<'_>, body: &[u8], ticket: Ticket) {
        let status = letter.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let record = OutgoingRecord {
            topic: Arc::clone(&self.topic),
            partition: None,
            key: letter.receiver.as_bytes().to_vec(),
            // What somebody else wrote to the alerts topic may be as large as that takes.
            payload: Some(body.get(..DEAD_LETTER_BYTES_MAX).unwrap_or(body).to_vec()),
            headers: vec![
                ("toolwarden-kind", DeadLetterKind::Delivery.as_str().to_owned()),
                ("toolwarden-receiver", letter.receiver.to_owned()),
                ("toolwarden-reason", letter.reason.to_owned()),
                ("toolwarden-http-status", status),
                ("toolwarden-detail", letter.detail.to_owned()),
            ],
        };
        self.outbox.send(record, ticket);
        DeadLettered { kind: DeadLetterKind::Delivery }.emit(&self.metrics);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
