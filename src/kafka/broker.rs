//! The cluster itself: making sure our topics exist, and the embedded one of the demo.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::kafka::handshake::Asking;
use crate::kafka::{ClientSettings, KafkaError};

/// How long the cluster may take to answer at the start.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long between two looks for a topic that was just created.
const LOOK: Duration = Duration::from_millis(50);

/// What a compacted topic is made with, where the cluster allows that. The newest segment is never
/// compacted and all of it is read back: at the cluster's own defaults it may hold a gigabyte, or a
/// week, of records that were written over.
const COMPACTED_SOON: [(&str, &str); 3] = [
    ("segment.bytes", "67108864"),
    ("segment.ms", "3600000"),
    ("min.cleanable.dirty.ratio", "0.2"),
];

/// A topic that must be there.
#[derive(Clone, Copy, Debug)]
pub struct Topic<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many partitions it gets if it is made.
    pub partitions: i32,
    /// Whether it keeps the latest record of each key instead of a span of time.
    pub is_compacted: bool,
    /// Whether the broker stamps its records with the time at which it takes them, whatever their
    /// producers say.
    pub is_stamped: bool,
}

impl<'a> Topic<'a> {
    /// A topic that keeps a span of time, as long as the cluster's default says.
    #[must_use]
    pub const fn plain(name: &'a str, partitions: i32) -> Self {
        Self { name, partitions, is_compacted: false, is_stamped: false }
    }

    /// A topic that keeps the latest record of each key, beside another one's partitions.
    #[must_use]
    pub const fn beside(name: &'a str, partitions: i32) -> Self {
        Self { name, partitions, is_compacted: true, is_stamped: false }
    }

    /// A topic of one partition that keeps the latest record of each key.
    #[must_use]
    pub const fn compacted(name: &'a str) -> Self {
        Self { name, partitions: 1, is_compacted: true, is_stamped: false }
    }

    /// A topic that keeps a span of time, and of each record when the broker took it.
    #[must_use]
    pub const fn stamped(name: &'a str, partitions: i32) -> Self {
        Self { name, partitions, is_compacted: false, is_stamped: true }
    }
}

/// Creates those of `topics` that are missing, with the cluster's own defaults for replication, waits
/// until the cluster shows them, and tells which ones it created.
///
/// # Errors
///
/// When the cluster does not answer, or a topic is missing and may not be created.
pub async fn ensure_topics(
    settings: &ClientSettings,
    topics: &[Topic<'_>],
) -> Result<Vec<String>, KafkaError> {
    let admin = admin(settings)?;
    let asking = Asking::client(settings)?;
    let missing = missing(&asking, topics)?;
    let mut created = Vec::new();
    for topic in &missing {
        match create(&admin, topic, &COMPACTED_SOON).await? {
            // Some clusters let nobody choose these.
            Err(RDKafkaErrorCode::InvalidConfig | RDKafkaErrorCode::PolicyViolation)
                if topic.is_compacted =>
            {
                created.extend(made(create(&admin, topic, &[]).await?)?);
            }
            outcome => created.extend(made(outcome)?),
        }
    }
    // A broker may answer that it has created a topic before it shows it to those who ask for it.
    for _ in 0..ANSWER_TIMEOUT.as_millis() / LOOK.as_millis() {
        if self::missing(&asking, &missing)?.is_empty() {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(created)
}

fn admin(settings: &ClientSettings) -> Result<AdminClient<DefaultClientContext>, KafkaError> {
    settings.config(&[]).create().map_err(KafkaError::when("create an admin client"))
}

/// Asks for one topic, a compacted one with `more` settings. Tells its name or the broker's refusal.
async fn create(
    admin: &AdminClient<DefaultClientContext>,
    topic: &Topic<'_>,
    more: &[(&str, &str)],
) -> Result<Result<String, RDKafkaErrorCode>, KafkaError> {
    let mut wanted = NewTopic::new(topic.name, topic.partitions, TopicReplication::Fixed(-1));
    if topic.is_compacted {
        wanted = wanted.set("cleanup.policy", "compact");
        wanted = more.iter().fold(wanted, |wanted, (name, value)| wanted.set(name, value));
    }
    if topic.is_stamped {
        wanted = wanted.set("message.timestamp.type", "LogAppendTime");
    }
    let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT));
    let results = admin
        .create_topics([&wanted], &options)
        .await
        .map_err(KafkaError::when("create a missing topic"))?;
    let first = results.into_iter().next();
    Ok(first.unwrap_or(Err((String::new(), RDKafkaErrorCode::Unknown))).map_err(|(_, code)| code))
}

/// Deletes a topic.
///
/// # Errors
///
/// When the cluster does not answer or does not let us.
pub async fn delete_topic(settings: &ClientSettings, name: &str) -> Result<(), KafkaError> {
    let admin = admin(settings)?;
    let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT));
    let when = KafkaError::when("delete a topic");
    match admin.delete_topics(&[name], &options).await.map(|results| results.into_iter().next()) {
        Ok(Some(Err((_, code)))) => Err(when(rdkafka::error::KafkaError::AdminOp(code))),
        Ok(_) => Ok(()),
        Err(error) => Err(when(error)),
    }
}

/// The name of a topic that was created; `None` when another instance was faster.
fn made(outcome: Result<String, RDKafkaErrorCode>) -> Result<Option<String>, KafkaError> {
    match outcome {
        Ok(name) => Ok(Some(name)),
        Err(RDKafkaErrorCode::TopicAlreadyExists) => Ok(None),
        Err(code) => {
            let error = rdkafka::error::KafkaError::AdminOp(code);
            Err(KafkaError::when("create a missing topic")(error))
        }
    }
}

/// Those of `topics` that the cluster does not show.
fn missing<'a>(
    asking: &BaseConsumer<Asking>,
    topics: &[Topic<'a>],
) -> Result<Vec<Topic<'a>>, KafkaError> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let metadata = asking
        .fetch_metadata(None, ANSWER_TIMEOUT)
        .map_err(|error| Asking::when(asking, "reach the cluster")(error))?;
    let shown = metadata.topics().iter().filter(|topic| !topic.partitions().is_empty());
    let shown: BTreeSet<&str> = shown.map(rdkafka::metadata::MetadataTopic::name).collect();
    Ok(topics.iter().filter(|topic| !shown.contains(topic.name)).copied().collect())
}

/// How many partitions each of `topics` has; 0 for one that does not exist.
///
/// # Errors
///
/// When the cluster does not answer.
pub fn partition_counts(
    settings: &ClientSettings,
    topics: &[&str],
) -> Result<Vec<i32>, KafkaError> {
    let consumer = Asking::client(settings)?;
    let metadata = consumer
        .fetch_metadata(None, ANSWER_TIMEOUT)
        .map_err(|error| Asking::when(&consumer, "reach the cluster")(error))?;
    let count = |name: &&str| {
        let topic = metadata.topics().iter().find(|topic| topic.name() == *name);
        topic.map_or(0, |topic| i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX))
    };
    Ok(topics.iter().map(count).collect())
}

/// How many records each of a topic's partitions holds, low end to high end.
///
/// # Errors
///
/// When the cluster does not answer.
pub fn record_count(settings: &ClientSettings, topic: &str) -> Result<i64, KafkaError> {
    let consumer = Asking::client(settings)?;
    let metadata = consumer
        .fetch_metadata(Some(topic), ANSWER_TIMEOUT)
        .map_err(|error| Asking::when(&consumer, "read the topic's metadata")(error))?;
    let mut total = 0;
    for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions)
    {
        let (low, high) = consumer
            .fetch_watermarks(topic, partition.id(), ANSWER_TIMEOUT)
            .map_err(KafkaError::when("read the ends of a partition"))?;
        total += high - low;
    }
    Ok(total)
}

/// librdkafka's in-process cluster: real protocol over loopback, nothing kept on disk.
///
/// It holds at most 5 MiB or 100,000 records a partition, so whoever fills it must keep pace with
/// whoever reads.
pub struct EmbeddedCluster(MockCluster<'static, DefaultProducerContext>);

impl std::fmt::Debug for EmbeddedCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EmbeddedCluster")
    }
}

impl EmbeddedCluster {
    /// Starts a cluster of one broker.
    ///
    /// # Errors
    ///
    /// When no loopback port can be had.
    pub fn start() -> Result<Self, KafkaError> {
        MockCluster::new(1).map(Self).map_err(KafkaError::when("start the embedded cluster"))
    }

    /// Where to reach it.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        self.0.bootstrap_servers()
    }

    /// Makes a topic.
    ///
    /// # Errors
    ///
    /// When the cluster refuses the name or the number.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), KafkaError> {
        self.0
            .create_topic(topic, partitions, 1)
            .map_err(KafkaError::when("create a topic in the embedded cluster"))
    }
}
