//! The producer of ingest: records of one source partition arrive in the order they were sent in,
//! without a gap, or the producer stops.
//!
//! Unlike the outbox it sends nothing again after the broker has refused it: what came after may
//! have arrived, and a record that comes later than its successors is taken for a repeat by whoever
//! reads. Nothing times out, and librdkafka's own promise of no gaps makes any refusal the end of
//! the producer; whoever owns it begins again where the last acknowledged record was.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::Message as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as LibraryError;
use rdkafka::producer::{
    BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer,
};
use rdkafka::types::RDKafkaErrorCode;

use crate::kafka::client::code_of;
use crate::kafka::context::lock;
use crate::kafka::{ClientSettings, KafkaError, OutgoingRecord, Ticket, log};
use crate::kill_point::{self, Point};

/// The most refusals whose records are named; of more, the rest is met again.
const UNFIT_MAX: usize = 1_000;

/// A record on its way.
#[derive(Debug)]
struct Sent<P> {
    ticket: Ticket,
    name: P,
}

/// Why a producer has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal<P> {
    /// librdkafka's code of the first refusal.
    pub code: String,
    /// Records that no broker of this cluster will take, by their names, when they were sent one
    /// by one.
    pub unfit: BTreeSet<P>,
}

#[derive(Debug)]
struct ForwarderContext<P> {
    refusal: Mutex<Option<Refusal<P>>>,
}

impl<P: Ord> ForwarderContext<P> {
    fn refused(&self, code: String, unfit: Option<P>) {
        let mut refusal = lock(&self.refusal);
        let refusal = refusal.get_or_insert_with(|| Refusal { code, unfit: BTreeSet::new() });
        if refusal.unfit.len() < UNFIT_MAX {
            refusal.unfit.extend(unfit);
        }
    }
}

impl<P: Send + Sync + 'static> ClientContext for ForwarderContext<P> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log::forward(level, facility, message);
    }
}

impl<P: Ord + Send + Sync + 'static> ProducerContext for ForwarderContext<P> {
    type DeliveryOpaque = Box<Sent<P>>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent<P>>) {
        match result {
            Ok(message) => {
                kill_point::hit(Point::IngestAcked);
                sent.ticket.settle_at(message.offset());
            }
            Err((error, _)) => {
                let name = is_for_good(error).then_some(sent.name);
                self.refused(code_of(error), name);
            }
        }
    }
}

/// Whether the record will be refused whenever it is sent.
fn is_for_good(error: &LibraryError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::InvalidRecord
        )
    )
}

/// The producer; `P` is what names a record.
pub struct Forwarder<P: Ord + Send + Sync + 'static> {
    producer: ThreadedProducer<ForwarderContext<P>, NoCustomPartitioner>,
    context: Arc<ForwarderContext<P>>,
}

impl<P: Ord + Send + Sync + 'static> std::fmt::Debug for Forwarder<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Forwarder")
    }
}

impl<P: Ord + Clone + Send + Sync + 'static> Forwarder<P> {
    /// A producer. With `one_by_one` no batch holds more than one record, so that one that is
    /// refused is refused alone.
    ///
    /// # Errors
    ///
    /// When a property is not one librdkafka knows.
    pub fn new(settings: &ClientSettings, one_by_one: bool) -> Result<Self, KafkaError> {
        let mut config = settings.config(&[
            ("enable.idempotence", "true"),
            ("enable.gapless.guarantee", "true"),
            ("acks", "all"),
            ("message.timeout.ms", "0"),
            // How much may be on its way is bounded by whoever sends.
            ("queue.buffering.max.messages", "0"),
            // Java's partitioner, so that other producers' keys land beside ours.
            ("partitioner", "murmur2_random"),
            ("statistics.interval.ms", "0"),
        ]);
        for (key, value) in [("linger.ms", "5"), ("compression.type", "zstd")] {
            if !settings.properties.contains_key(key) {
                config.set(key, value);
            }
        }
        if one_by_one {
            config.set("batch.num.messages", "1");
        }
        let context = ForwarderContext { refusal: Mutex::default() };
        let producer: ThreadedProducer<ForwarderContext<P>, NoCustomPartitioner> =
            config.create_with_context(context).map_err(KafkaError::when("create a producer"))?;
        let context = Arc::clone(producer.client().context());
        Ok(Self { producer, context })
    }

    /// Sends a record, unless one before it was refused. Returns whether it is so large that no
    /// producer may send it: then it is not on its way, and what comes after may be sent.
    #[must_use]
    pub fn send(&self, record: &OutgoingRecord, ticket: Ticket, name: P) -> bool {
        if lock(&self.context.refusal).is_some() {
            return false;
        }
        let mut outgoing: BaseRecord<'_, [u8], [u8], _> =
            BaseRecord::with_opaque_to(&record.topic, Box::new(Sent { ticket, name }))
                .key(record.key.as_slice());
        outgoing.payload = record.payload.as_deref();
        outgoing.partition = record.partition;
        let Err((error, outgoing)) = self.producer.send(outgoing) else {
            kill_point::hit(Point::IngestSent);
            return false;
        };
        if is_for_good(&error) {
            outgoing.delivery_opaque.ticket.settle();
            return true;
        }
        self.context.refused(code_of(&error), None);
        false
    }

    /// Records the broker has not acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.producer.in_flight_count()).unwrap_or(0)
    }

    /// Why nothing more is sent, if nothing is.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal<P>> {
        lock(&self.context.refusal).clone()
    }

    /// Waits until everything has arrived, at most `timeout`.
    pub fn flush(&self, timeout: Duration) {
        // What it says is seen in what is left open.
        drop(self.producer.flush(timeout));
    }
}
