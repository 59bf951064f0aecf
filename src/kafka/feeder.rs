//! Filling a topic and emptying it again as fast as the client can: for the demo's player, for
//! `generate events --topic`, and as the bare measure that the pipeline's speed is held against.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as LibraryError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::kafka::{ClientSettings, KafkaError};

/// How long a full local queue is waited for before it is tried again.
const QUEUE_WAIT: Duration = Duration::from_millis(20);

/// A producer of keyed records that waits when the cluster is slower than it is.
pub struct Feeder {
    producer: BaseProducer,
    topic: String,
}

impl std::fmt::Debug for Feeder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feeder").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Feeder {
    /// A feeder of `topic`.
    ///
    /// # Errors
    ///
    /// When a property is not one librdkafka knows.
    pub fn new(settings: &ClientSettings, topic: &str) -> Result<Self, KafkaError> {
        let producer = settings
            .config(&[
                ("acks", "all"),
                ("linger.ms", "5"),
                ("batch.size", "1000000"),
                ("queue.buffering.max.messages", "200000"),
                ("partitioner", "murmur2_random"),
            ])
            .create()
            .map_err(KafkaError::when("create a producer"))?;
        Ok(Self { producer, topic: topic.to_owned() })
    }

    /// Sends one record; its place in the partition is decided by `key`.
    ///
    /// # Errors
    ///
    /// When the record can never be sent: it is too large, say.
    pub fn send(&self, key: &[u8], payload: &[u8]) -> Result<(), KafkaError> {
        let mut record = BaseRecord::to(&self.topic).key(key).payload(payload);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((LibraryError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.producer.poll(QUEUE_WAIT);
                    record = back;
                }
                Err((error, _)) => {
                    return Err(KafkaError::when(
                        "produce a record to the topic, which must exist",
                    )(error));
                }
            }
        }
    }

    /// Serves acknowledgements; to be called now and then.
    pub fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until the cluster has everything.
    ///
    /// # Errors
    ///
    /// When `timeout` passes first.
    pub fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.producer.flush(timeout).map_err(KafkaError::when("flush the producer"))
    }
}

/// A consumer that does nothing with what it reads.
pub struct BareConsumer(BaseConsumer);

impl std::fmt::Debug for BareConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BareConsumer")
    }
}

impl BareConsumer {
    /// Reads `topic` from its oldest record, in a group of its own, with the fetch settings the
    /// workers use.
    ///
    /// # Errors
    ///
    /// When a property is not one librdkafka knows, or the topic cannot be subscribed to.
    pub fn new(settings: &ClientSettings, group: &str, topic: &str) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer = settings
            .config(&[
                ("group.id", group),
                ("auto.offset.reset", "earliest"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("queued.min.messages", "100000"),
                ("queued.max.messages.kbytes", "131072"),
                ("fetch.message.max.bytes", "4194304"),
                ("fetch.queue.backoff.ms", "2"),
            ])
            .create()
            .map_err(KafkaError::when("create a consumer"))?;
        consumer.subscribe(&[topic]).map_err(KafkaError::when("subscribe to the topic"))?;
        Ok(Self(consumer))
    }

    /// The size of the next record's value, or `None` when none comes within `timeout`.
    #[must_use]
    pub fn next_bytes(&self, timeout: Duration) -> Option<usize> {
        let message = self.0.poll(timeout)?.ok()?;
        Some(message.payload_len())
    }
}
