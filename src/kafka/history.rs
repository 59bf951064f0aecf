//! Where a partition's history of some days begins and where it ends, asked of the cluster.
//!
//! Every question has a bounded wait and none is asked in a rebalance callback. An answer that is
//! missing is an error and never a default: taking an unread commit for none would make live
//! records history.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::{KafkaError, PartitionConsumer, TopicPartition};

/// How long the cluster may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What the cluster knows of a partition's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// The offset of the first record appended at or after the time asked for; `None` when there
    /// is none.
    pub begins: Option<i64>,
    /// The oldest offset there is.
    pub oldest: i64,
    /// The offset the next record will get.
    pub end: i64,
    /// What the group has committed.
    pub committed: Option<i64>,
}

impl PartitionConsumer {
    pub(super) fn past_of(
        &self,
        partition: &TopicPartition,
        since_ms: i64,
    ) -> Result<History, KafkaError> {
        let (topic, number) = (&*partition.topic, partition.partition);
        let mut asked = TopicPartitionList::new();
        asked.add_partition(topic, number);
        let answer = self
            .consumer
            .committed_offsets(asked, ANSWER_TIMEOUT)
            .map_err(KafkaError::when("read what is committed"))?;
        let committed = offset_of(&answer, partition, "read what is committed")?;
        let (oldest, end) = self
            .consumer
            .fetch_watermarks(topic, number, ANSWER_TIMEOUT)
            .map_err(KafkaError::when("read the ends of a partition"))?;
        let mut asked = TopicPartitionList::new();
        asked
            .add_partition_offset(topic, number, Offset::Offset(since_ms))
            .map_err(KafkaError::when("find the beginning of the history"))?;
        let answer = self
            .consumer
            .offsets_for_times(asked, ANSWER_TIMEOUT)
            .map_err(KafkaError::when("find the beginning of the history"))?;
        let begins = offset_of(&answer, partition, "find the beginning of the history")?;
        Ok(History { begins, oldest, end, committed })
    }

    pub(super) fn go_to(&self, partition: &TopicPartition, offset: i64) -> Result<(), KafkaError> {
        let (topic, number) = (&*partition.topic, partition.partition);
        self.consumer
            .seek(topic, number, Offset::Offset(offset), ANSWER_TIMEOUT)
            .map_err(KafkaError::when("go to an offset"))
    }
}

/// The offset in an answer about one partition.
fn offset_of(
    answer: &TopicPartitionList,
    partition: &TopicPartition,
    what: &'static str,
) -> Result<Option<i64>, KafkaError> {
    let Some(element) = answer.find_partition(&partition.topic, partition.partition) else {
        return Ok(None);
    };
    element.error().map_err(KafkaError::when(what))?;
    match element.offset() {
        Offset::Offset(offset) => Ok(Some(offset)),
        _ => Ok(None),
    }
}
