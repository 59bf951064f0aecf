//! Reading one topic whole, outside any group: every partition from its oldest record to its end
//! and on from there.
//!
//! For what every instance has to know all of. It commits nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as LibraryError;
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::kafka::changelog::code_in;
use crate::kafka::{ClientSettings, KafkaError};

/// How long the cluster may take to tell the topic's partitions.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take to tell where the topic ends, while others wait for the next record.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// A reader of one topic.
pub struct TopicReader {
    consumer: BaseConsumer,
    /// Partitions whose end was not reached yet.
    unread: BTreeSet<i32>,
    partitions: usize,
    topic: String,
}

/// One record of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// Its partition.
    pub partition: i32,
    /// Its stamp in milliseconds since the Unix epoch: when it was made, or when the broker took it,
    /// as the topic is set; `None` if it has none.
    pub stamp_ms: Option<i64>,
    /// Its place in its partition.
    pub offset: i64,
    /// The key.
    pub key: Vec<u8>,
    /// The value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// What stands in [`CODE_HEADER`](crate::kafka::CODE_HEADER); empty when that is no text.
    pub code: Option<String>,
}

impl std::fmt::Debug for TopicReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicReader").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

impl TopicReader {
    /// A reader of `topic` from its beginning. A topic that does not exist has no partitions.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer, or a property is not one librdkafka knows.
    pub fn new(settings: &ClientSettings, group: &str, topic: &str) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer = settings
            .config(&[
                // Needed to assign partitions by hand; nothing is ever committed to it.
                ("group.id", group),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("enable.partition.eof", "true"),
                ("auto.offset.reset", "earliest"),
                ("allow.auto.create.topics", "false"),
                // Whoever starts waits for the end of an empty topic as long as this.
                ("fetch.wait.max.ms", "100"),
            ])
            .create()
            .map_err(KafkaError::when("create a consumer"))?;
        let unread = partitions_of(&consumer, topic)?;
        let mut list = TopicPartitionList::new();
        for partition in &unread {
            list.add_partition_offset(topic, *partition, Offset::Beginning)
                .map_err(KafkaError::when("choose where to read"))?;
        }
        consumer.assign(&list).map_err(KafkaError::when("read the topic"))?;
        Ok(Self { consumer, partitions: unread.len(), unread, topic: topic.to_owned() })
    }

    /// The next record, or `None` when none comes within `timeout`.
    ///
    /// # Errors
    ///
    /// When the topic cannot be read; trying again is safe.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<TopicRecord>, KafkaError> {
        match self.consumer.poll(timeout) {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(TopicRecord {
                partition: message.partition(),
                stamp_ms: message.timestamp().to_millis(),
                offset: message.offset(),
                key: message.key().unwrap_or_default().to_vec(),
                payload: message.payload().map(<[u8]>::to_vec),
                code: code_in(&message).map(str::to_owned),
            })),
            Some(Err(LibraryError::PartitionEOF(partition))) => {
                self.unread.remove(&partition);
                Ok(None)
            }
            Some(Err(error)) => Err(KafkaError::when("read the topic")(error)),
        }
    }

    /// Whether the end of every partition has been reached once.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.unread.is_empty()
    }

    /// Partitions of the topic; 0 when it does not exist.
    #[must_use]
    pub const fn partitions(&self) -> usize {
        self.partitions
    }

    /// Partitions of another topic, as the cluster tells now; 0 when it does not exist.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer.
    pub fn partitions_of(&self, topic: &str) -> Result<usize, KafkaError> {
        partitions_of(&self.consumer, topic).map(|partitions| partitions.len())
    }

    /// The offset that the next record of the topic's first partition will get.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer.
    pub fn end(&self) -> Result<i64, KafkaError> {
        let ends = self.consumer.fetch_watermarks(&self.topic, 0, END_TIMEOUT);
        ends.map(|(_, end)| end).map_err(KafkaError::when("read the end of the topic"))
    }
}

fn partitions_of(consumer: &BaseConsumer, topic: &str) -> Result<BTreeSet<i32>, KafkaError> {
    let metadata = consumer
        .fetch_metadata(Some(topic), ANSWER_TIMEOUT)
        .map_err(KafkaError::when("read the topic's metadata"))?;
    let of_topic = metadata.topics().iter().filter(|it| it.name() == topic);
    Ok(of_topic.flat_map(MetadataTopic::partitions).map(MetadataPartition::id).collect())
}
