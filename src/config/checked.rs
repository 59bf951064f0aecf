//! The configuration in force: every field has its final value.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use crate::decode::{Format, HashKey};
use crate::policy::GroupPattern;

/// Everything an instance is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster and how to consume from it.
    pub kafka: Kafka,
    /// What to read.
    pub sources: Vec<Source>,
    /// What to write.
    pub topics: Topics,
    /// How event time is treated.
    pub event_time: EventTime,
    /// How peer knowledge is exchanged.
    pub peers: Peers,
    /// How what is known of agents is kept.
    pub state: State,
    /// Agents that are peers, whatever their ids or records say.
    pub groups: Vec<GroupPattern>,
    /// The bounds of everything that could grow.
    pub limits: Limits,
    /// What is kept of values in arguments, and what is shown of them.
    pub privacy: Privacy,
    /// Where the rules come from.
    pub rules: RuleSource,
    /// Whom to tell.
    pub receivers: Vec<Receiver>,
    /// The admin listener.
    pub server: Server,
}

impl Config {
    /// The sources that ingest reads: those not keyed by agent.
    pub fn unkeyed(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.keyed_by == KeyedBy::None)
    }

    /// The topics that are judged: sources that are keyed by agent, and the calls topic where some
    /// source is not.
    #[must_use]
    pub fn judged_topics(&self) -> Vec<&str> {
        let keyed = self.sources.iter().filter(|source| source.keyed_by == KeyedBy::Agent);
        let mut topics: Vec<&str> = keyed.map(|source| source.topic.as_str()).collect();
        topics.extend(self.unkeyed().next().map(|_| self.topics.calls.as_str()));
        topics
    }
}

/// The cluster and how to consume from it.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// `host:port` of the brokers to start from.
    pub brokers: Vec<String>,
    /// The consumer group that judges; delivery uses the same name with `-deliver`.
    pub group_id: String,
    /// The name this instance keeps over restarts; its consumers add their numbers to it.
    pub group_instance_id: Option<String>,
    /// Where to begin a partition that the group never committed.
    pub start: Start,
    /// Threads that consume and judge.
    pub workers: usize,
    /// The largest amount of prefetched records, in bytes, for each worker.
    pub prefetch_bytes: usize,
    /// How often offsets are committed.
    pub commit_interval: Duration,
    /// After how long a worker that does not poll, or a partition that does not move, is stalled.
    pub stalled_after: Duration,
    /// How long a drain may take on SIGTERM.
    pub shutdown_timeout: Duration,
    /// Further librdkafka properties, checked against the ones toolwarden owns.
    pub properties: BTreeMap<String, String>,
    /// librdkafka properties whose values are secret (`sasl.password`), read from file or
    /// environment.
    pub secrets: BTreeMap<String, SecretString>,
}

impl Kafka {
    /// The name that consumer `index` of a group keeps over restarts; `None` for one that leaves its
    /// group when it ends.
    #[must_use]
    pub fn member(&self, index: usize) -> Option<String> {
        self.group_instance_id.as_ref().map(|id| format!("{id}-{index}"))
    }
}

/// Where to begin a partition that the group never committed.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the oldest record there is: history teaches the baselines.
    #[default]
    Earliest,
    /// At what comes next.
    Latest,
}

/// One source topic.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub topic: String,
    /// How its records are written.
    pub format: Format,
    /// The tenant of records that name none.
    pub tenant: Option<String>,
    /// What its records are keyed by.
    pub keyed_by: KeyedBy,
}

/// What the records of a topic are keyed by.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum KeyedBy {
    /// By agent, or by tenant and agent: all calls of an agent are in one partition.
    #[default]
    Agent,
    /// By something else or nothing: calls are written to the calls topic again, keyed by agent.
    None,
}

/// The topics written.
#[derive(Clone, Debug)]
pub struct Topics {
    /// Calls of sources that are not keyed by agent, keyed by tenant and agent.
    pub calls: String,
    /// Alerts, keyed by incident (`dedup_key`).
    pub alerts: String,
    /// What each receiver has, compacted, beside the alerts.
    pub deliveries: String,
    /// What could not be read, and what could not be delivered.
    pub dead_letter: String,
    /// What changed in what is known of an agent.
    pub audit: String,
    /// What people said, compacted.
    pub verdicts: String,
    /// What is known of agents, compacted.
    pub state: String,
    /// What the agents of each partition taught their peers; without it, partitions of one process
    /// exchange that in memory.
    pub groups: Option<String>,
}

/// How event time is treated.
#[derive(Clone, Copy, Debug)]
pub struct EventTime {
    /// A call older than its agent's newest by more than this is counted and not judged.
    pub lateness: Duration,
    /// Calls are put in order of their time within this span before they are judged; alerts wait as
    /// long.
    pub reorder: Duration,
}

/// How what is known of agents is kept.
#[derive(Clone, Debug)]
pub struct State {
    /// Whether it is written to the state topic.
    pub durable: bool,
    /// How often a partition's changes are written.
    pub flush_interval: Duration,
    /// How much memory what agents taught may take until it is written.
    pub lessons_bytes: usize,
    /// An agent that made no call for this long is forgotten.
    pub forget_after: Duration,
    /// One that is still being learned gives its place to a new one after this long.
    pub yield_after: Duration,
    /// What records of the state and the groups topic are signed with: the first signs, all are taken. Without any,
    /// nothing is signed.
    pub mac_keys: Vec<SecretString>,
    /// Whether records that are not signed are taken, too.
    pub accept_unsigned: bool,
}

/// How peer knowledge is exchanged between partitions.
#[derive(Clone, Copy, Debug)]
pub struct Peers {
    /// A partition that has records to read is waited for at most this long, then left out.
    pub wait: Duration,
    /// A partition that has none is no longer waited for after this long.
    pub idle_after: Duration,
}

/// The bounds of everything that could grow.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Agents held in memory.
    pub agents: usize,
    /// Agents of one partition.
    pub agents_per_partition: usize,
    /// Agents of one tenant in one partition.
    pub agents_per_tenant: usize,
    /// Tools remembered of one agent.
    pub tools_per_agent: usize,
    /// The largest record read, in bytes.
    pub record_bytes: usize,
    /// Calls a partition may hold back while it waits (reordering, peers).
    pub held_calls: usize,
    /// Alerts waiting for the broker's acknowledgement.
    pub pending_alerts: usize,
    /// Verdicts of people kept in memory.
    pub verdicts: usize,
}

/// What is kept of values in arguments, and what is shown of them.
#[derive(Clone, Copy, Debug)]
pub struct Privacy {
    /// The key of the hashes that targets are known by.
    pub hash_key: HashKey,
    /// Whether targets have short forms for people.
    pub show_targets: bool,
}

impl Default for Privacy {
    fn default() -> Self {
        Self { hash_key: HashKey::BUILT_IN, show_targets: true }
    }
}

/// Where the rules come from.
#[derive(Clone, Debug, Default)]
pub struct RuleSource {
    /// A directory of rule files; the shipped ones when absent.
    pub directory: Option<PathBuf>,
}

/// One receiver of alerts: a webhook signed per Standard Webhooks.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Its name, in metrics and dead letters.
    pub name: String,
    /// Where to post; secret, because tokens travel in paths.
    pub url: SecretString,
    /// The signing secret (`whsec_...`).
    pub signing_secret: SecretString,
    /// The one before it, while both sign.
    pub previous_signing_secret: Option<SecretString>,
    /// Alerts below this score are not sent.
    pub min_score: f64,
    /// Whether the end of an episode is told.
    pub send_resolved: bool,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How long an alert is tried before it goes to the dead-letter topic.
    pub retry_for: Duration,
    /// How long an incident that was told is not paged for again, in event time.
    pub dedup_for: Duration,
    /// Notifications a second, at most; 1 to 1,000.
    pub catch_up_rate: u32,
    /// Where it may be, beside the public internet.
    pub allow_networks: Vec<IpNet>,
}

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Server {
    /// The address it listens on.
    pub listen: SocketAddr,
    /// The token of who may have everything that was learned; nobody may without one.
    pub export_token: Option<SecretString>,
}
