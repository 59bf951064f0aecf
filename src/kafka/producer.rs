//! The outbox: records on their way to a topic.
//!
//! Every record carries a [`Ticket`] of the source offset that caused it, which is settled only when
//! the broker has acknowledged the record. A record that the broker refused is kept and sent again,
//! unchanged; but for one that is too large ([`WhenTooLarge`]).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as LibraryError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer,
};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Message};

use crate::kafka::client::code_of;
use crate::kafka::context::lock;
use crate::kafka::too_large::WhenTooLarge;
use crate::kafka::{ClientSettings, KafkaError, Ticket, log};
use crate::kill_point::{self, Point};
use crate::telemetry::{AlertProduceFailed, Event, Metrics, RecordTooLarge};

/// A record to produce.
#[derive(Clone, Debug, Default)]
pub struct OutgoingRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition; by the key where it is none.
    pub partition: Option<i32>,
    /// The key; records of one key keep their order.
    pub key: Vec<u8>,
    /// The value; without one, what stands under the key is deleted.
    pub payload: Option<Vec<u8>>,
    /// Headers, all of them text.
    pub headers: Vec<(&'static str, String)>,
    /// What to do when the cluster finds it too large.
    pub when_too_large: WhenTooLarge,
}

impl OutgoingRecord {
    /// The bytes of its key and value.
    fn bytes(&self) -> usize {
        self.key.len() + self.payload.as_ref().map_or(0, Vec::len)
    }
}

/// A record and its claim.
#[derive(Debug)]
struct Pending {
    /// Shared for as long as it is handed over, which needs both the record and what is pending.
    record: Arc<OutgoingRecord>,
    ticket: Ticket,
    /// Whether it is sent in a batch of its own.
    alone: bool,
}

/// Records are waiting, so no more can be taken just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} records could not be flushed in time")]
pub struct OutboxError(usize);

/// What takes records to a cluster where librdkafka does not.
pub trait Carrier: std::fmt::Debug + Send + Sync {
    /// Takes a record on its way.
    fn carry(&self, parcel: Parcel);

    /// Records that have neither arrived nor been refused.
    fn in_flight(&self) -> usize;

    /// Waits at most `timeout` until there are none.
    fn flush(&self, timeout: Duration);
}

/// A record on its way with a [`Carrier`]. Dropped, it is lost, and nobody hears of it.
#[derive(Debug)]
pub struct Parcel {
    pending: Box<Pending>,
    context: Arc<OutboxContext>,
}

impl Parcel {
    /// The record.
    #[must_use]
    pub fn record(&self) -> &OutgoingRecord {
        &self.pending.record
    }

    /// The cluster has it, at `offset` of its partition, and this is heard of.
    pub fn arrived(self, offset: i64) {
        self.context.arrived(*self.pending, offset);
    }

    /// The cluster did not take it, as far as is heard; it is sent again.
    pub fn refused(self, code: &str) {
        self.context.refused(*self.pending, code);
    }
}

#[derive(Clone)]
struct OutboxContext {
    metrics: Metrics,
    /// Where an acknowledgement stands among the places a test may let the process die.
    acked: Point,
    /// Records that have arrived.
    arrived: Arc<AtomicU64>,
    refused: Arc<Mutex<VecDeque<Pending>>>,
}

impl std::fmt::Debug for OutboxContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OutboxContext")
    }
}

impl OutboxContext {
    fn new(metrics: &Metrics, acked: Point) -> Self {
        Self { metrics: metrics.clone(), acked, arrived: Arc::default(), refused: Arc::default() }
    }

    fn arrived(&self, pending: Pending, offset: i64) {
        pending.ticket.settle_at(offset);
        self.arrived.fetch_add(1, Ordering::Relaxed);
        kill_point::hit(self.acked);
    }

    fn refused(&self, pending: Pending, code: &str) {
        AlertProduceFailed { code }.emit(&self.metrics);
        lock(&self.refused).push_back(pending);
    }

    /// The cluster found a batch too large that `pending` was in.
    fn too_large(&self, pending: Pending) {
        if pending.alone {
            self.reduce(pending);
        } else {
            lock(&self.refused).push_back(Pending { alone: true, ..pending });
        }
    }

    /// `pending` is too large by itself.
    fn reduce(&self, pending: Pending) {
        let Pending { record, ticket, .. } = pending;
        let (instead, outcome) = record.when_too_large.decide(&record);
        let key = String::from_utf8_lossy(&record.key);
        let (topic, bytes) = (&*record.topic, record.bytes());
        RecordTooLarge { topic, key: &key, bytes, outcome }.emit(&self.metrics);
        match instead {
            Some(record) => {
                let record = Arc::new(record);
                lock(&self.refused).push_back(Pending { record, ticket, alone: true });
            }
            // It has not arrived, and never will: whoever waits for it waits no longer.
            None => ticket.settle(),
        }
    }
}

fn is_too_large(error: &LibraryError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

impl ClientContext for OutboxContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log::forward(level, facility, message);
    }
}

impl ProducerContext for OutboxContext {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        match result {
            Ok(message) => self.arrived(*pending, message.offset()),
            Err((error, _)) if is_too_large(error) => self.too_large(*pending),
            Err((error, _)) => self.refused(*pending, &code_of(error)),
        }
    }
}

type LibraryProducer = ThreadedProducer<OutboxContext, NoCustomPartitioner>;

/// Makes each record a batch of its own. It is there once something was too large.
struct Loner {
    config: ClientConfig,
    producer: Mutex<Option<Arc<LibraryProducer>>>,
}

impl Loner {
    fn known(&self) -> Option<Arc<LibraryProducer>> {
        lock(&self.producer).clone()
    }

    fn get(&self, context: &OutboxContext) -> Result<Arc<LibraryProducer>, LibraryError> {
        let mut producer = lock(&self.producer);
        if let Some(known) = &*producer {
            return Ok(Arc::clone(known));
        }
        let new = Arc::new(self.config.create_with_context(context.clone())?);
        *producer = Some(Arc::clone(&new));
        Ok(new)
    }
}

/// What takes the records of an outbox.
#[derive(Clone)]
enum Way {
    Library(Arc<LibraryProducer>, Arc<Loner>),
    Carrier(Arc<dyn Carrier>),
}

/// How often a flush goes on with what was too large: a batch, a record, and each cut of it.
const PASSES_MAX: usize = 24;

/// The producer of alerts and dead letters.
#[derive(Clone)]
pub struct Outbox {
    way: Way,
    context: Arc<OutboxContext>,
    capacity: usize,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outbox")
    }
}

impl Outbox {
    /// A producer that holds at most about `capacity` records the broker has not acknowledged.
    ///
    /// # Errors
    ///
    /// When a property is not one librdkafka knows.
    pub fn new(
        settings: &ClientSettings,
        capacity: usize,
        metrics: &Metrics,
    ) -> Result<Self, KafkaError> {
        Self::with(settings, capacity, metrics, Point::AlertAcked)
    }

    /// An outbox whose records `carrier` takes.
    #[must_use]
    pub fn by(carrier: Arc<dyn Carrier>, capacity: usize, metrics: &Metrics) -> Self {
        let context = Arc::new(OutboxContext::new(metrics, Point::AlertAcked));
        Self { way: Way::Carrier(carrier), context, capacity }
    }

    fn with(
        settings: &ClientSettings,
        capacity: usize,
        metrics: &Metrics,
        acked: Point,
    ) -> Result<Self, KafkaError> {
        let mut config = settings.config(&[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            // Java's partitioner, so that other producers' keys land beside ours.
            ("partitioner", "murmur2_random"),
            ("statistics.interval.ms", "0"),
        ]);
        for (key, value) in [("linger.ms", "2"), ("message.timeout.ms", "30000")] {
            if !settings.properties.contains_key(key) {
                config.set(key, value);
            }
        }
        let context = OutboxContext::new(metrics, acked);
        let producer: LibraryProducer = config
            .create_with_context(context.clone())
            .map_err(KafkaError::when("create a producer"))?;
        config.set("batch.num.messages", "1");
        let loner = Arc::new(Loner { config, producer: Mutex::default() });
        Ok(Self {
            way: Way::Library(Arc::new(producer), loner),
            context: Arc::new(context),
            capacity,
        })
    }

    /// A producer of many records at a time, which are compressed and sent in large batches.
    ///
    /// # Errors
    ///
    /// When a property is not one librdkafka knows.
    pub fn bulk(settings: &ClientSettings, metrics: &Metrics) -> Result<Self, KafkaError> {
        Self::with(&settings.bulk(), usize::MAX, metrics, Point::StateAcked)
    }

    /// Sends a record. It is kept until the broker has it, whatever that takes.
    pub fn send(&self, record: OutgoingRecord, ticket: Ticket) {
        self.produce(Box::new(Pending { record: Arc::new(record), ticket, alone: false }));
    }

    /// Sends again what the broker refused.
    pub fn retry(&self) {
        let refused = std::mem::take(&mut *lock(&self.context.refused));
        for pending in refused.into_iter().filter(|it| !it.ticket.is_void()) {
            self.produce(Box::new(pending));
        }
    }

    /// Records the broker has not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        let in_flight = match &self.way {
            Way::Library(producer, loner) => {
                let in_flight =
                    |it: &LibraryProducer| usize::try_from(it.in_flight_count()).unwrap_or(0);
                in_flight(producer) + loner.known().map_or(0, |it| in_flight(&it))
            }
            Way::Carrier(carrier) => carrier.in_flight(),
        };
        in_flight + lock(&self.context.refused).len()
    }

    /// Records the broker has acknowledged since the start.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.context.arrived.load(Ordering::Relaxed)
    }

    /// Whether nothing more should be judged until some records have arrived.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.unacknowledged() >= self.capacity
    }

    /// Waits until everything has arrived.
    ///
    /// # Errors
    ///
    /// When `timeout` passes first: what is left has not been settled.
    pub fn flush(&self, timeout: Duration) -> Result<(), OutboxError> {
        for _ in 0..PASSES_MAX {
            self.retry();
            match &self.way {
                // What it says is seen in what is left.
                Way::Library(producer, loner) => {
                    drop(producer.flush(timeout));
                    if let Some(loner) = loner.known() {
                        drop(loner.flush(timeout));
                    }
                }
                Way::Carrier(carrier) => carrier.flush(timeout),
            }
            if !lock(&self.context.refused).iter().any(|pending| pending.alone) {
                break;
            }
        }
        match self.unacknowledged() {
            0 => Ok(()),
            left => Err(OutboxError(left)),
        }
    }

    fn produce(&self, pending: Box<Pending>) {
        let producer = match &self.way {
            Way::Library(_, loner) if pending.alone => match loner.get(&self.context) {
                Ok(loner) => loner,
                Err(error) => return self.context.refused(*pending, &code_of(&error)),
            },
            Way::Library(producer, _) => Arc::clone(producer),
            Way::Carrier(carrier) => {
                let context = Arc::clone(&self.context);
                return carrier.carry(Parcel { pending, context });
            }
        };
        let record = Arc::clone(&pending.record);
        let mut outgoing: BaseRecord<'_, [u8], [u8], _> =
            BaseRecord::with_opaque_to(&record.topic, pending).key(record.key.as_slice());
        if !record.headers.is_empty() {
            outgoing = outgoing.headers(headers_of(&record));
        }
        // An empty value is not the same as none.
        outgoing.payload = record.payload.as_deref();
        outgoing.partition = record.partition;
        if let Err((error, outgoing)) = producer.send(outgoing) {
            let pending = *outgoing.delivery_opaque;
            match error {
                LibraryError::MessageProduction(RDKafkaErrorCode::QueueFull) => {
                    lock(&self.context.refused).push_back(pending);
                }
                // The library looks at each record by itself.
                LibraryError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    self.context.reduce(pending);
                }
                error => self.context.refused(pending, &code_of(&error)),
            }
        }
    }
}

fn headers_of(record: &OutgoingRecord) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(record.headers.len());
    record
        .headers
        .iter()
        .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}
