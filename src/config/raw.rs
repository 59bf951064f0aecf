//! The configuration file as written. The doc comments are its manual: they become the schema's
//! descriptions, `docs/configuration.md` and the text of `toolwarden config init`.
//!
//! Nothing here is checked beyond its type; that is `checking`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::checked::{KeyedBy, Start};
use crate::config::groups::RawGroup;
use crate::config::limits::RawLimits;
use crate::config::receivers::RawReceiver;
use crate::config::server::RawServer;
use crate::config::state::RawState;
use crate::config::units::{FriendlyDuration, FriendlySize};
use crate::decode::Format;

/// What toolwarden reads, how it reads it and whom it tells.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "toolwarden configuration", extend("patternProperties" = {"^x-": true}))]
pub(crate) struct RawConfig {
    /// The version of this file's shape.
    #[schemars(extend("enum" = [1], "x-expects" = "`1`"))]
    pub(crate) version: u64,
    /// The cluster and how to consume from it.
    pub(crate) kafka: RawKafka,
    /// The topics to read.
    #[schemars(length(min = 1))]
    pub(crate) sources: Vec<RawSource>,
    /// The topics written.
    #[serde(default)]
    pub(crate) topics: RawTopics,
    /// How event time is treated.
    #[serde(default)]
    pub(crate) event_time: RawEventTime,
    /// How peer knowledge is exchanged between partitions.
    #[serde(default)]
    pub(crate) peers: RawPeers,
    /// How what is known of agents is kept.
    #[serde(default)]
    pub(crate) state: RawState,
    /// Agents that are peers, whatever their ids or records say; the first entry that fits counts.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub(crate) groups: Vec<RawGroup>,
    /// The bounds of everything that could grow.
    #[serde(default)]
    pub(crate) limits: RawLimits,
    /// What is kept of values in arguments, and what is shown of them.
    #[serde(default)]
    pub(crate) privacy: RawPrivacy,
    /// Where the rules come from.
    #[serde(default)]
    pub(crate) rules: RawRules,
    /// Whom to tell. Without a receiver, alerts go to the alerts topic only.
    #[serde(default)]
    pub(crate) receivers: Vec<RawReceiver>,
    /// The admin listener: metrics, health, the API and the page.
    #[serde(default)]
    pub(crate) server: RawServer,
}

/// The cluster and how to consume from it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-refused" = {
    "topics": "topics to read are `sources`, topics to write are `topics`, both at the top of the file",
    "tls": "write `security.protocol: ssl` and the files of `security`",
    "sasl": "write `security.sasl`",
    "librdkafka": "write `properties`",
}))]
#[schemars(rename = "Kafka")]
pub(crate) struct RawKafka {
    /// The brokers to start from, each `host:port`.
    #[schemars(length(min = 1))]
    pub(crate) brokers: Vec<String>,
    /// The consumer group that judges. Sources that are not keyed by agent are read by the group
    /// of the same name with `-ingest`, and each receiver has one with `-deliver-` and its name.
    #[serde(default = "RawKafka::group_id")]
    #[schemars(length(min = 1, max = 200))]
    pub(crate) group_id: String,
    /// A name of this instance alone that stays the same over restarts, such as `${POD_NAME}` in a
    /// StatefulSet. While it restarts its partitions wait for it, for at most
    /// `session.timeout.ms` (a property, 6 s), and the other instances judge on undisturbed; after
    /// a crash, or when it goes for good, they wait as long. Another process under the same name
    /// ends the first one. Without it an instance leaves its groups when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    #[schemars(extend("x-expects" = "letters, digits, `.`, `_` and `-`"))]
    pub(crate) group_instance_id: Option<String>,
    /// Where to begin a partition that the group never committed: `earliest` lets the history in
    /// the topic teach the baselines, `latest` begins with what comes next.
    #[serde(default)]
    pub(crate) start: Start,
    /// Threads that consume and judge.
    #[serde(default = "RawKafka::workers")]
    #[schemars(range(min = 1, max = 256))]
    pub(crate) workers: usize,
    /// The largest amount of records fetched ahead, for each worker; 1MiB to 1GiB.
    #[serde(default = "RawKafka::prefetch")]
    pub(crate) prefetch: FriendlySize,
    /// How often offsets are committed; 100ms to 1m.
    #[serde(default = "RawKafka::commit_interval")]
    pub(crate) commit_interval: FriendlyDuration,
    /// After how long a worker that does not poll, or a partition that has records and does not move,
    /// counts as stalled: the instance is not ready then, and says why; 10s to 1h.
    #[serde(default = "RawKafka::stalled_after")]
    pub(crate) stalled_after: FriendlyDuration,
    /// How long work in progress may take to finish after SIGTERM; 1s to 10m.
    #[serde(default = "RawKafka::shutdown_timeout")]
    pub(crate) shutdown_timeout: FriendlyDuration,
    /// Encryption and login. Without it the connection is plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) security: Option<RawSecurity>,
    /// Further librdkafka properties, for example `client.rack: eu-1a`. Those that toolwarden sets
    /// itself, and secrets, are refused.
    #[serde(default)]
    pub(crate) properties: BTreeMap<String, RawProperty>,
}

impl RawKafka {
    fn group_id() -> String {
        "toolwarden".to_owned()
    }

    const fn workers() -> usize {
        2
    }

    const fn prefetch() -> FriendlySize {
        FriendlySize(64 << 20)
    }

    const fn commit_interval() -> FriendlyDuration {
        FriendlyDuration::secs(1)
    }

    const fn stalled_after() -> FriendlyDuration {
        FriendlyDuration::secs(300)
    }

    const fn shutdown_timeout() -> FriendlyDuration {
        FriendlyDuration::secs(12)
    }
}

/// The value of a librdkafka property.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("type" = ["string", "integer", "number", "boolean"], "x-expects" = "a text, a number, `true` or `false`"))]
#[schemars(rename = "Property")]
pub(crate) struct RawProperty(pub(crate) Value);

/// Encryption and login.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-refused" = {
    "key_password": "a secret does not belong in this file: write `key_password_file: PATH` or `key_password_env: NAME`",
    "username": "write it under `sasl`",
    "password": "write `sasl.password_file` or `sasl.password_env`",
    "mechanism": "write it under `sasl`",
}))]
#[schemars(rename = "Security")]
pub(crate) struct RawSecurity {
    /// How to connect: `ssl` and `sasl_ssl` are encrypted, the others are not.
    pub(crate) protocol: RawProtocol,
    /// The certificates (PEM) that sign the brokers'; the system's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<String>,
    /// The client's certificate (PEM), for mutual TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate_file: Option<String>,
    /// The client certificate's key (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<String>,
    /// A file that holds the password of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_password_file: Option<String>,
    /// The environment variable that holds the password of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_password_env: Option<String>,
    /// Who logs in; needed by `sasl_plaintext` and `sasl_ssl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sasl: Option<RawSasl>,
}

/// How to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Protocol")]
pub(crate) enum RawProtocol {
    /// No encryption, no login.
    Plaintext,
    /// TLS.
    Ssl,
    /// A login without encryption.
    SaslPlaintext,
    /// A login over TLS.
    SaslSsl,
}

/// Who logs in.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-refused" = {
    "password": "a secret does not belong in this file: write `password_file: PATH` or `password_env: NAME`",
}))]
#[schemars(rename = "Sasl")]
pub(crate) struct RawSasl {
    /// How the login is proven.
    pub(crate) mechanism: RawMechanism,
    /// The user.
    #[schemars(length(min = 1))]
    pub(crate) username: String,
    /// A file that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<String>,
    /// The environment variable that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password_env: Option<String>,
}

/// How a login is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "Mechanism")]
pub(crate) enum RawMechanism {
    /// The password itself is sent.
    #[serde(rename = "PLAIN")]
    Plain,
    /// SCRAM with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// SCRAM with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// One topic to read.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Source")]
pub(crate) struct RawSource {
    /// Its name.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,249}$"), extend("x-expects" = "a topic name: letters, digits, `.`, `_` and `-`, at most 249"))]
    pub(crate) topic: String,
    /// How its records are written. `auto` finds out from each record.
    #[serde(default)]
    pub(crate) format: Format,
    /// The tenant of records that name none. Without it such records go to the dead-letter topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub(crate) tenant: Option<String>,
    /// What its records are keyed by: `agent`, so that all calls of an agent are in one partition,
    /// or `none`, where a key is something else or missing. Calls of the latter are first written to
    /// `topics.calls` again, keyed by tenant and agent, which costs a second trip through the broker.
    #[serde(default)]
    pub(crate) keyed_by: KeyedBy,
}

/// The topics written.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Topics")]
pub(crate) struct RawTopics {
    /// Calls of sources that are not keyed by agent, decoded and keyed by tenant and agent. Only
    /// toolwarden may write it; used where a source has `keyed_by: none`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,249}$"), extend("x-expects" = "a topic name: letters, digits, `.`, `_` and `-`, at most 249"))]
    pub(crate) calls: String,
    /// Alerts, keyed by incident (`dedup_key`).
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,249}$"), extend("x-expects" = "a topic name: letters, digits, `.`, `_` and `-`, at most 249"))]
    pub(crate) alerts: String,
    /// What each receiver has, so that nobody is told twice after a restart. Compacted; as many
    /// partitions as the alerts topic.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,249}$"), extend("x-expects" = "a topic name: letters, digits, `.`, `_` and `-`, at most 249"))]
    pub(crate) deliveries: String,
    /// What could not be read, and what could not be delivered.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,249}$"), extend("x-expects" = "a topic name: letters, digits, `.`, `_` and `-`, at most 249"))]
    pub(crate) dead_letter: String,
    /// What changed in what is known of an agent, and where the word of a person kept the judgement
    /// silent. Not compacted: keep it for as long as anybody may ask, such as a year.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,249}$"), extend("x-expects" = "a topic name: letters, digits, `.`, `_` and `-`, at most 249"))]
    pub(crate) audit: String,
    /// What people said of alerts and their subjects: `toolwarden alert verdict` writes it, every
    /// instance reads all of it. Compacted.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,249}$"), extend("x-expects" = "a topic name: letters, digits, `.`, `_` and `-`, at most 249"))]
    pub(crate) verdicts: String,
    /// What is known of agents, so that it survives a restart and follows a partition to another
    /// instance. Compacted; as many partitions as the source topic that has the most.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,249}$"), extend("x-expects" = "a topic name: letters, digits, `.`, `_` and `-`, at most 249"))]
    pub(crate) state: String,
    /// What the agents of each partition taught their peers, and who is waited for: every instance
    /// reads all of it, so all judge alike. Compacted, with exactly one partition.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,249}$"), extend("x-expects" = "a topic name: letters, digits, `.`, `_` and `-`, at most 249"))]
    pub(crate) groups: String,
}

impl Default for RawTopics {
    fn default() -> Self {
        Self {
            calls: "toolwarden.calls".to_owned(),
            alerts: "toolwarden.alerts".to_owned(),
            deliveries: "toolwarden.deliveries".to_owned(),
            dead_letter: "toolwarden.dead-letter".to_owned(),
            audit: "toolwarden.audit".to_owned(),
            verdicts: "toolwarden.verdicts".to_owned(),
            state: "toolwarden.state".to_owned(),
            groups: "toolwarden.groups".to_owned(),
        }
    }
}

/// How event time is treated.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "EventTime")]
pub(crate) struct RawEventTime {
    /// A call older than its agent's newest by more than this is counted and not judged; at most
    /// 1h: an hour is judged by what peers did two hours before.
    pub(crate) lateness: FriendlyDuration,
    /// Calls are put in order of their time within this span before they are judged; alerts wait
    /// as long. At most 1h; `0s` judges in the order of arrival.
    pub(crate) reorder: FriendlyDuration,
}

impl Default for RawEventTime {
    fn default() -> Self {
        Self { lateness: FriendlyDuration::secs(30), reorder: FriendlyDuration::secs(0) }
    }
}

/// How peer knowledge is exchanged between partitions.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Peers")]
pub(crate) struct RawPeers {
    /// A partition that has records to read is waited for at most this long, then left out; at
    /// most 1h.
    pub(crate) wait: FriendlyDuration,
    /// A partition that has none is no longer waited for after this long; 100ms to 1h.
    pub(crate) idle_after: FriendlyDuration,
}

impl Default for RawPeers {
    fn default() -> Self {
        Self { wait: FriendlyDuration::secs(30), idle_after: FriendlyDuration::secs(2) }
    }
}

/// What is kept of values in arguments, and what is shown of them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-refused" = {
    "hash_key": "a secret does not belong in this file: write `hash_key_file: PATH` or `hash_key_env: NAME`",
}))]
#[schemars(rename = "Privacy")]
pub(crate) struct RawPrivacy {
    /// A file that holds the key of the hashes that recipients, hosts, accounts and files are known
    /// by: at least 16 characters. Instances of one group need the same key. Without one a key that
    /// is in the source is used, and whoever sees a hash can find out values that are easily
    /// guessed, such as telephone numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hash_key_file: Option<String>,
    /// The environment variable that holds the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hash_key_env: Option<String>,
    /// Whether alerts show recipients, hosts and files in short, at most 23 bytes each. Of an
    /// account only the end is shown, and what is below a key such as `password` never is.
    pub(crate) show_targets: bool,
}

impl Default for RawPrivacy {
    fn default() -> Self {
        Self { hash_key_file: None, hash_key_env: None, show_targets: true }
    }
}

/// Where the rules come from.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Rules")]
pub(crate) struct RawRules {
    /// A directory of rule files (`*.yaml`, `*.yml`); the rules shipped with the program when
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) directory: Option<String>,
}
