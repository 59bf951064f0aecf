//! What a worker wants of its consumer group and its partitions, whoever answers: librdkafka, or a
//! simulation.

use std::time::Duration;

use crate::kafka::{History, KafkaError, Polled, Rebalanced, TopicPartition};

/// A member of a consumer group.
pub trait GroupMember: std::fmt::Debug + Send {
    /// Waits at most `timeout` for a record. Rebalances are served in here and leave notes.
    #[must_use]
    fn poll(&self, timeout: Duration) -> Polled<'_>;

    /// Whether a broker could be reached when last heard of.
    #[must_use]
    fn is_connected(&self) -> bool;

    /// Why the brokers do not let us in, when they are there and do not.
    #[must_use]
    fn trouble(&self) -> Option<&'static str> {
        None
    }

    /// Whether a partition without a committed offset begins at its oldest record.
    #[must_use]
    fn is_from_earliest(&self) -> bool;

    /// The oldest rebalance not yet acted on.
    #[must_use]
    fn next_rebalance(&self) -> Option<Rebalanced>;

    /// Whether partitions that are to go wait until [`Self::let_go`] is called, so that what is known
    /// of them can be written down. Must be off when the consumer is dropped, which would wait for
    /// ever.
    fn defer_revoking(&self, defers: bool);

    /// Hands over partitions that are to go ([`crate::kafka::Rebalanced::Revoking`]). Returns whether they were
    /// ours to the end: false when they were lost meanwhile.
    #[must_use]
    fn let_go(&self, partitions: &[TopicPartition]) -> bool;

    /// Reads `partition` from `offset` on, after it was paused. A place that cannot be gone to is an
    /// error that is counted; the partition stays where it is.
    fn go_on_from(&self, partition: &TopicPartition, offset: i64) {
        if let Err(error) = self.seek(partition, offset) {
            tracing::error!(topic = &*partition.topic, partition = partition.partition, offset,
                %error, "reading does not begin where it should");
        }
        self.resume(partition);
    }

    /// Everything of `partition` below `offset` is finished and may be committed.
    fn finish(&self, partition: &TopicPartition, offset: i64);

    /// The last judged record of `partition` was appended at `append_ms`, in milliseconds.
    fn appended(&self, partition: &TopicPartition, append_ms: i64);

    /// Commits what is finished, and waits for the broker's answer: librdkafka tells nobody how a
    /// commit ended that was not waited for. Returns whether it is done.
    #[must_use]
    fn commit(&self) -> bool;

    /// Whether the group has given our partitions to others, which the next poll will tell.
    #[must_use]
    fn is_lost(&self) -> bool;

    /// Whether the group still takes us for the owner: it is told again what is finished. `None` when
    /// nothing is.
    #[must_use]
    fn confirm(&self) -> Option<bool>;

    /// Stops fetching a partition until [`Self::resume`].
    fn pause(&self, partition: &TopicPartition);

    /// Fetches a paused partition again.
    fn resume(&self, partition: &TopicPartition);

    /// Whether there is nothing left to read of a partition, asked of the broker; `None` when it
    /// does not answer in time. `next_offset` is where reading goes on, where that is known.
    #[must_use]
    fn is_at_end(&self, partition: &TopicPartition, next_offset: Option<i64>) -> Option<bool>;

    /// How often reading went on elsewhere, in any partition, because what was to be read next is not
    /// there: retention took it, or the topic was made anew. Counted before the first record from
    /// there is polled.
    #[must_use]
    fn resets(&self) -> u64;

    /// The oldest offset there is of a partition, asked of the broker; `None` when it does not answer
    /// in time.
    #[must_use]
    fn oldest(&self, partition: &TopicPartition) -> Option<i64>;

    /// What there is of `partition` since `since_ms`, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer one of the questions in time.
    fn history(&self, partition: &TopicPartition, since_ms: i64) -> Result<History, KafkaError>;

    /// Reads `partition` from `offset` on; what was fetched ahead is thrown away.
    ///
    /// # Errors
    ///
    /// When the partition is not fetched yet; trying again is safe.
    fn seek(&self, partition: &TopicPartition, offset: i64) -> Result<(), KafkaError>;
}
