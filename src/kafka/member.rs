//! What a worker wants of its consumer group and its partitions, whoever answers: librdkafka, or a
//! simulation.

use std::time::Duration;

use crate::kafka::{Commits, History, KafkaError, Polled, Rebalanced, TopicPartition};

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

    /// Partitions of ours that have had no leader for a while, so that nothing of them can be read.
    #[must_use]
    fn leaderless(&self) -> usize {
        0
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

    /// Whether partitions that are assigned are read from nowhere until [`Self::go_on_from`] says from
    /// where, and not from where the group stands. Such a place must not be looked up beside that: the
    /// client would go there when the answer comes, however far it has read by then.
    fn begin_nowhere(&self, _is_so: bool) {}

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

    /// Asks for a commit of what is finished, and waits for nothing. Returns the number by which
    /// [`Self::commits`] tells how it ended. What is committed is what is finished when the broker is
    /// asked, of partitions that are ours then.
    fn begin_commit(&self) -> u64;

    /// How the commits ended that were asked for.
    #[must_use]
    fn commits(&self) -> Commits;

    /// Commits what is finished, and waits for the broker's answer. Returns whether it is done.
    #[must_use]
    fn commit(&self) -> bool;

    /// Whether the group has given our partitions to others, which the next poll will tell.
    #[must_use]
    fn is_lost(&self) -> bool;

    /// Whether anything is finished, so that the group can be asked by a commit whether it still
    /// takes us for the owner.
    #[must_use]
    fn has_finished(&self) -> bool;

    /// Stops fetching a partition until [`Self::resume`].
    fn pause(&self, partition: &TopicPartition);

    /// Fetches a paused partition again.
    fn resume(&self, partition: &TopicPartition);

    /// Asks the broker where a partition ends, and what is committed of it if `with_commit`, and
    /// waits for nothing; an earlier answer is forgotten.
    fn ask_for_end(&self, partition: &TopicPartition, with_commit: bool);

    /// Whether there was nothing left to read of a partition when the broker answered the last
    /// [`Self::ask_for_end`]; `None` before. `next_offset` is where reading goes on; where that is
    /// not known, it is at what is committed, which must have been asked for.
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
