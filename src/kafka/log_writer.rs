//! Appending to a log of one partition that the same process reads back.
//!
//! Unlike the outbox it sends nothing again by itself: whoever appends sees in the log what has
//! arrived, and a record must not come twice under one key. What is too large for the log is told to
//! whoever appended it: sent again as it is, it would be refused for ever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as LibraryError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer,
};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Message as _};

use crate::kafka::client::code_of;
use crate::kafka::context::lock;
use crate::kafka::{CODE_HEADER, ClientSettings, KafkaError, log};

/// The most records that are too large and not asked for; of more, the rest counts as lost.
const REFUSED_MAX: usize = 1_000;

/// A record that the log does not take because of its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedEntry {
    /// Its key.
    pub key: Vec<u8>,
    /// The bytes of its value.
    pub bytes: usize,
}

/// Notes whether anything may be lost, and what is too large.
#[derive(Debug, Default)]
struct LogContext {
    lost: AtomicBool,
    refused: Mutex<Vec<RefusedEntry>>,
}

impl LogContext {
    fn not_taken(&self, error: &LibraryError, (key, bytes): (&[u8], usize)) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
            let mut refused = lock(&self.refused);
            if refused.len() < REFUSED_MAX {
                refused.push(RefusedEntry { key: key.to_vec(), bytes });
                return;
            }
        }
        tracing::warn!(code = code_of(error), "the broker did not take an entry of a log");
        self.lost.store(true, Ordering::Relaxed);
    }
}

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log::forward(level, facility, message);
    }
}

impl ProducerContext for LogContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let bytes = message.payload().map_or(0, <[u8]>::len);
            self.not_taken(error, (message.key().unwrap_or_default(), bytes));
        }
    }
}

/// Appends to one topic's first partition.
pub struct LogWriter {
    producer: ThreadedProducer<LogContext, NoCustomPartitioner>,
    topic: Arc<str>,
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl LogWriter {
    /// A writer to `topic`.
    ///
    /// # Errors
    ///
    /// When a property is not one librdkafka knows.
    pub fn new(settings: &ClientSettings, topic: &str) -> Result<Self, KafkaError> {
        let mut config = settings.config(&[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            // Whoever waits for an entry waits for it to be read back.
            ("linger.ms", "0"),
            // What is refused as too large is a record and no batch.
            ("batch.num.messages", "1"),
            ("statistics.interval.ms", "0"),
        ]);
        if !settings.properties.contains_key("message.timeout.ms") {
            config.set("message.timeout.ms", "30000");
        }
        let producer = config
            .create_with_context(LogContext::default())
            .map_err(KafkaError::when("create a producer"))?;
        Ok(Self { producer, topic: topic.into() })
    }

    /// Appends a record; `None` deletes what stands under the key once the log is compacted. `code`
    /// is what vouches for it, if anything does.
    pub fn append(&self, key: &[u8], payload: Option<&[u8]>, code: Option<&str>) {
        let mut record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&self.topic).key(key).partition(0);
        record.payload = payload;
        record.headers = code.map(|code| {
            OwnedHeaders::new_with_capacity(1)
                .insert(Header { key: CODE_HEADER, value: Some(code) })
        });
        if let Err((error, _)) = self.producer.send(record) {
            let bytes = payload.map_or(0, <[u8]>::len);
            self.producer.client().context().not_taken(&error, (key, bytes));
        }
    }

    /// The records that were too large since this was last asked.
    #[must_use]
    pub fn take_refused(&self) -> Vec<RefusedEntry> {
        std::mem::take(&mut *lock(&self.producer.client().context().refused))
    }

    /// Whether anything may have been lost since this was last asked.
    #[must_use]
    pub fn take_lost(&self) -> bool {
        self.producer.client().context().lost.swap(false, Ordering::Relaxed)
    }
}
