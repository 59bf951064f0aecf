//! Appending to a log of one partition that the same process reads back.
//!
//! Unlike the outbox it sends nothing again by itself: whoever appends sees in the log what has
//! arrived, and a record must not come twice under one key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer,
};

use crate::kafka::client::code_of;
use crate::kafka::{CODE_HEADER, ClientSettings, KafkaError, log};

/// Notes whether anything may be lost.
#[derive(Debug, Default)]
struct LogContext {
    lost: AtomicBool,
}

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log::forward(level, facility, message);
    }
}

impl ProducerContext for LogContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            tracing::warn!(code = code_of(error), "the broker did not take an entry of a log");
            self.lost.store(true, Ordering::Relaxed);
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
            tracing::warn!(code = code_of(&error), "an entry of a log could not be sent");
            self.producer.client().context().lost.store(true, Ordering::Relaxed);
        }
    }

    /// Whether anything may have been lost since this was last asked.
    #[must_use]
    pub fn take_lost(&self) -> bool {
        self.producer.client().context().lost.swap(false, Ordering::Relaxed)
    }
}
