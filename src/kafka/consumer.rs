//! One worker's consumer: it polls, it pauses, it commits only what is finished.
//!
//! A `BaseConsumer` on the worker's own thread, with two more that wait for the broker's answers:
//! one to commits, one to questions. The asynchronous consumer and split partition queues are
//! avoided on purpose: both have lost wake-ups that stall a partition for good.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError as LibraryError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::client::{HEARTBEAT_INTERVAL_MS, SESSION_TIMEOUT_MS, code_of};
use crate::kafka::committer::Committer;
use crate::kafka::context::{WorkerContext, is_out_of_reach};
use crate::kafka::ends::{EndAsker, Ends};
use crate::kafka::{
    ClientSettings, Commits, GaveUp, GivingUp, GroupMember, History, KafkaError, Rebalanced,
    TopicPartition,
};
use crate::telemetry::{CommitFailed, ConsumerError, Event, Metrics, OffsetsCommitted};

/// How one worker consumes.
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    /// How to reach the cluster.
    pub client: ClientSettings,
    /// The group.
    pub group_id: String,
    /// The name this consumer keeps over restarts, so that the group waits for it as long as a
    /// session may last; `None` for a member that leaves when it ends.
    pub member: Option<String>,
    /// Where it says that it can never go on.
    pub giving_up: GivingUp,
    /// The topics.
    pub topics: Vec<String>,
    /// Whether a partition without a committed offset begins at its oldest record.
    pub from_earliest: bool,
    /// The bound of the local queue of fetched records, in bytes.
    pub prefetch_bytes: usize,
}

/// A consumer owned by one thread.
pub struct PartitionConsumer {
    pub(super) consumer: Arc<BaseConsumer<WorkerContext>>,
    committer: Committer,
    ends: EndAsker,
    metrics: Metrics,
    from_earliest: bool,
    giving_up: GivingUp,
}

/// How long the broker may take to tell the ends of a partition, while the worker waits.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long it may take while nobody waits.
const ENDS_TIMEOUT: Duration = Duration::from_secs(5);

impl std::fmt::Debug for PartitionConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PartitionConsumer")
    }
}

/// One record.
#[derive(Debug)]
pub struct Consumed<'a>(Held<'a>);

/// Where its bytes are.
#[derive(Debug)]
enum Held<'a> {
    /// In librdkafka's hands.
    Fetched(BorrowedMessage<'a>),
    /// In memory.
    Plain(Arc<PlainRecord>),
}

/// A record in memory, that no librdkafka has fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// When it was appended, in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
}

impl PlainRecord {
    /// What this record is known again by ([`Consumed::digest`]).
    #[must_use]
    pub fn digest(&self) -> u64 {
        digest(self.timestamp_ms, self.key.as_deref(), self.payload.as_deref())
    }
}

impl From<Arc<PlainRecord>> for Consumed<'_> {
    fn from(record: Arc<PlainRecord>) -> Self {
        Self(Held::Plain(record))
    }
}

/// What one poll brought.
#[derive(Debug)]
pub enum Polled<'a> {
    /// A record.
    Record(Consumed<'a>),
    /// An error was met and counted; polling goes on.
    Error,
    /// Nothing within the timeout, or a callback was served.
    Nothing,
}

impl Consumed<'_> {
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        match &self.0 {
            Held::Fetched(it) => it.topic(),
            Held::Plain(it) => &it.topic,
        }
    }

    /// The partition's number.
    #[must_use]
    pub fn partition(&self) -> i32 {
        match &self.0 {
            Held::Fetched(it) => it.partition(),
            Held::Plain(it) => it.partition,
        }
    }

    /// The offset.
    #[must_use]
    pub fn offset(&self) -> i64 {
        match &self.0 {
            Held::Fetched(it) => it.offset(),
            Held::Plain(it) => it.offset,
        }
    }

    /// When the record was appended (or made, on a topic with `CreateTime`), in milliseconds since
    /// the Unix epoch.
    #[must_use]
    pub fn timestamp_ms(&self) -> Option<i64> {
        match &self.0 {
            Held::Fetched(it) => it.timestamp().to_millis(),
            Held::Plain(it) => it.timestamp_ms,
        }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        match &self.0 {
            Held::Fetched(it) => it.key(),
            Held::Plain(it) => it.key.as_deref(),
        }
    }

    /// The value; `None` is a tombstone.
    #[must_use]
    pub fn payload(&self) -> Option<&[u8]> {
        match &self.0 {
            Held::Fetched(it) => it.payload(),
            Held::Plain(it) => it.payload.as_deref(),
        }
    }

    /// What this record is known again by: when it was appended, its key and its length.
    #[must_use]
    pub fn digest(&self) -> u64 {
        digest(self.timestamp_ms(), self.key(), self.payload())
    }

    /// The text of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let Held::Fetched(it) = &self.0 else { return None };
        let headers = it.headers()?;
        let header = headers.iter().find(|header| header.key.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value?).ok()
    }
}

/// What a record is known again by: when it was appended, its key and its length.
pub(super) fn digest_of(record: &BorrowedMessage<'_>) -> u64 {
    digest(record.timestamp().to_millis(), record.key(), record.payload())
}

/// Whether the client can never be used again.
fn is_fatal(error: &LibraryError) -> bool {
    matches!(error, LibraryError::MessageConsumptionFatal(_))
        || error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
}

fn digest(timestamp_ms: Option<i64>, key: Option<&[u8]>, payload: Option<&[u8]>) -> u64 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&timestamp_ms.unwrap_or(-1).to_le_bytes());
    hash.update(key.unwrap_or_default());
    let length = payload.map_or(u32::MAX, |it| u32::try_from(it.len()).unwrap_or(0));
    u64::from(hash.finalize()) << 32 | u64::from(length)
}

impl PartitionConsumer {
    /// Joins the group and subscribes.
    ///
    /// # Errors
    ///
    /// When a property is not one librdkafka knows, or the topics cannot be subscribed to.
    pub fn new(
        settings: &ConsumerSettings,
        worker: usize,
        metrics: &Metrics,
    ) -> Result<Self, KafkaError> {
        let start = if settings.from_earliest { "earliest" } else { "latest" };
        let prefetch_kib = (settings.prefetch_bytes / 1024).clamp(64, 2_097_151).to_string();
        let mut config = settings.client.config(&[
            ("group.id", &settings.group_id),
            ("auto.offset.reset", start),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("statistics.interval.ms", "5000"),
            ("queued.max.messages.kbytes", &prefetch_kib),
            // At its default of 1 s the fetcher sleeps whenever the local queue is full.
            ("fetch.queue.backoff.ms", "2"),
        ]);
        let defaults = [
            ("queued.min.messages", "100000"),
            ("fetch.message.max.bytes", "4194304"),
            ("max.poll.interval.ms", "120000"),
            ("session.timeout.ms", &SESSION_TIMEOUT_MS.to_string()),
            ("heartbeat.interval.ms", &HEARTBEAT_INTERVAL_MS.to_string()),
            ("topic.metadata.refresh.interval.ms", "60000"),
            ("allow.auto.create.topics", "false"),
            ("socket.keepalive.enable", "true"),
        ];
        for (key, value) in defaults {
            if !settings.client.properties.contains_key(key) {
                config.set(key, value);
            }
        }
        if let Some(member) = &settings.member {
            config.set("group.instance.id", member);
        }
        // Without its warnings nobody learns that it goes on elsewhere.
        config.set_log_level(RDKafkaLogLevel::Warning);
        let consumer: BaseConsumer<WorkerContext> = config
            .create_with_context(WorkerContext::new(worker, metrics.clone()))
            .map_err(KafkaError::when("create a consumer"))?;
        let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(KafkaError::when("subscribe to the source topics"))?;
        let consumer = Arc::new(consumer);
        let (committing, counting) = (Arc::clone(&consumer), metrics.clone());
        let committer = Committer::start(move || commit(&committing, &counting))
            .map_err(KafkaError::no_thread("start the thread that commits"))?;
        let asking = Arc::clone(&consumer);
        let ends =
            EndAsker::start(move |partition, with_commit| ends_of(&asking, partition, with_commit))
                .map_err(KafkaError::no_thread(
                    "start the thread that asks where partitions end",
                ))?;
        let from_earliest = settings.from_earliest;
        let giving_up = settings.giving_up.clone();
        Ok(Self { consumer, committer, ends, metrics: metrics.clone(), from_earliest, giving_up })
    }

    /// Counts an error, and gives up after one that librdkafka never gets over.
    fn failed(&self, error: &LibraryError) {
        // Counted by the callback, once.
        if is_out_of_reach(error) {
            return;
        }
        let fatal = is_fatal(error);
        ConsumerError { code: &code_of(error), fatal }.emit(&self.metrics);
        if fatal {
            // What is reported is only that there was one.
            let cause = self.consumer.client().fatal_error().map(|(code, _)| code);
            let replaced = cause == Some(RDKafkaErrorCode::FencedInstanceId);
            self.giving_up.say(if replaced { GaveUp::Replaced } else { GaveUp::Broken });
        }
    }

    /// Unassigns what was let go of or lost, once no commit is under way that may speak of it: a
    /// commit that began before and is sent after the group has formed again would be taken, and
    /// would put back who has the partition by then. The group waits for this.
    fn unassign_gone(&self) {
        let context = self.consumer.context();
        if context.has_gone() && !self.committer.is_under_way() {
            context.unassign_gone(&self.consumer);
        }
    }

    fn steer(
        &self,
        partition: &TopicPartition,
        act: impl FnOnce(
            &BaseConsumer<WorkerContext>,
            &TopicPartitionList,
        ) -> Result<(), rdkafka::error::KafkaError>,
    ) {
        let mut list = TopicPartitionList::new();
        list.add_partition(&partition.topic, partition.partition);
        if let Err(error) = act(&self.consumer, &list) {
            ConsumerError { code: &code_of(&error), fatal: false }.emit(&self.metrics);
        }
    }
}

impl GroupMember for PartitionConsumer {
    fn poll(&self, timeout: Duration) -> Polled<'_> {
        let polled = self.consumer.poll(timeout);
        self.unassign_gone();
        match polled {
            Some(Ok(message)) => Polled::Record(Consumed(Held::Fetched(message))),
            Some(Err(error)) => {
                self.failed(&error);
                Polled::Error
            }
            None => Polled::Nothing,
        }
    }

    fn is_connected(&self) -> bool {
        self.consumer.context().is_connected()
    }

    fn trouble(&self) -> Option<&'static str> {
        self.consumer.context().trouble()
    }

    fn leaderless(&self) -> usize {
        self.consumer.context().leaderless()
    }

    fn is_from_earliest(&self) -> bool {
        self.from_earliest
    }

    fn next_rebalance(&self) -> Option<Rebalanced> {
        self.consumer.context().next_note()
    }

    fn defer_revoking(&self, defers: bool) {
        self.consumer.context().defer(defers);
    }

    fn begin_nowhere(&self, is_so: bool) {
        self.consumer.context().begin_nowhere(is_so);
    }

    fn let_go(&self, partitions: &[TopicPartition]) -> bool {
        // The flag is reset by unassign, so it must be read before.
        let lost = self.consumer.assignment_lost();
        self.consumer.context().go(partitions);
        self.unassign_gone();
        !lost
    }

    fn finish(&self, partition: &TopicPartition, offset: i64) {
        self.consumer.context().finish(partition, offset);
    }

    fn appended(&self, partition: &TopicPartition, append_ms: i64) {
        self.consumer.context().appended(partition, append_ms);
    }

    fn begin_commit(&self) -> u64 {
        self.committer.ask()
    }

    fn commits(&self) -> Commits {
        self.committer.commits()
    }

    fn commit(&self) -> bool {
        self.committer.wait(self.committer.ask())
    }

    fn is_lost(&self) -> bool {
        self.consumer.assignment_lost()
    }

    fn has_finished(&self) -> bool {
        let finished = self.consumer.context().finished_list(|_| true);
        finished.is_ok_and(|list| list.is_some())
    }

    fn pause(&self, partition: &TopicPartition) {
        self.steer(partition, rdkafka::consumer::Consumer::pause);
    }

    fn resume(&self, partition: &TopicPartition) {
        self.steer(partition, rdkafka::consumer::Consumer::resume);
    }

    fn ask_for_end(&self, partition: &TopicPartition, with_commit: bool) {
        self.ends.ask(partition, with_commit);
    }

    fn is_at_end(&self, partition: &TopicPartition, next_offset: Option<i64>) -> Option<bool> {
        let Ends { low, high, committed } = self.ends.answer(partition)?;
        let start = if self.from_earliest { low } else { high };
        Some(next_offset.or(committed).unwrap_or(start) >= high)
    }

    fn resets(&self) -> u64 {
        self.consumer.context().resets()
    }

    fn oldest(&self, partition: &TopicPartition) -> Option<i64> {
        let (topic, number) = (&*partition.topic, partition.partition);
        let ends = self.consumer.fetch_watermarks(topic, number, ANSWER_TIMEOUT);
        ends.ok().map(|(low, _)| low)
    }

    fn history(&self, partition: &TopicPartition, since_ms: i64) -> Result<History, KafkaError> {
        self.past_of(partition, since_ms)
    }

    fn seek(&self, partition: &TopicPartition, offset: i64) -> Result<(), KafkaError> {
        self.go_to(partition, offset)
    }
}

impl Drop for PartitionConsumer {
    /// The consumer is closed on this thread, which hands its partitions over: by then no other one
    /// may speak for it.
    fn drop(&mut self) {
        self.committer.end();
        self.ends.end();
        self.consumer.context().close(&self.consumer);
    }
}

/// Commits what is finished by now. Returns whether the broker has taken it.
fn commit(consumer: &BaseConsumer<WorkerContext>, metrics: &Metrics) -> bool {
    if consumer.assignment_lost() {
        CommitFailed { code: "AssignmentLost" }.emit(metrics);
        return false;
    }
    let committed = consumer
        .context()
        .finished_list(|_| true)
        .and_then(|list| list.map_or(Ok(()), |list| consumer.commit(&list, CommitMode::Sync)));
    match &committed {
        Ok(()) => OffsetsCommitted.emit(metrics),
        Err(error) => CommitFailed { code: &code_of(error) }.emit(metrics),
    }
    committed.is_ok()
}

/// Where a partition ends and, if that is wanted, what is committed of it, asked of the broker.
fn ends_of(
    consumer: &BaseConsumer<WorkerContext>,
    partition: &TopicPartition,
    with_commit: bool,
) -> Option<Ends> {
    let (topic, number) = (&*partition.topic, partition.partition);
    let (low, high) = consumer.fetch_watermarks(topic, number, ENDS_TIMEOUT).ok()?;
    if !with_commit {
        return Some(Ends { low, high, committed: None });
    }
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, number);
    let list = consumer.committed_offsets(list, ENDS_TIMEOUT).ok()?;
    let committed = match list.find_partition(topic, number)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    Some(Ends { low, high, committed })
}
