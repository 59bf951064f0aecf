//! What every client of the cluster is told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError as LibraryError;
use secrecy::{ExposeSecret, SecretString};

use crate::kafka::handshake::HandshakeFailure;

/// How long a member of a group may say nothing, in milliseconds. A process that is killed cannot
/// leave its group, so this is most of the time until its partitions are judged again. The least a
/// broker allows by default.
pub(crate) const SESSION_TIMEOUT_MS: u64 = 6_000;

/// How often a member says that it lives, in milliseconds; the others learn as late as that of
/// partitions to take over.
pub(crate) const HEARTBEAT_INTERVAL_MS: u64 = 1_000;

/// How to reach the cluster.
#[derive(Clone, Debug, Default)]
pub struct ClientSettings {
    /// `host:port` of the brokers to start from.
    pub brokers: Vec<String>,
    /// Further librdkafka properties.
    pub properties: BTreeMap<String, String>,
    /// librdkafka properties whose values are secret.
    pub secrets: BTreeMap<String, SecretString>,
}

/// The longest that a client waits before it connects once more, in milliseconds, as Apache Kafka's own
/// clients do. At librdkafka's 10 s a member whose connection is lost twice in a row would say nothing
/// for longer than [`SESSION_TIMEOUT_MS`].
const RECONNECT_WITHIN_MS: u64 = 1_000;

impl ClientSettings {
    /// Settings for a cluster that needs nothing but its address.
    #[must_use]
    pub fn plain(brokers: &str) -> Self {
        Self { brokers: brokers.split(',').map(str::to_owned).collect(), ..Self::default() }
    }

    /// How long the group waits for a member that says nothing before its partitions go to others.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        let known = self.properties.get("session.timeout.ms").and_then(|it| it.parse().ok());
        Duration::from_millis(known.unwrap_or(SESSION_TIMEOUT_MS))
    }

    /// The same, for records that are many, large and soon written anew.
    #[must_use]
    pub(super) fn bulk(&self) -> Self {
        let mut bulk = self.clone();
        // What a process that was frozen has queued must not outlive its right to write it.
        let session = self.session_timeout();
        let known = bulk.properties.get("message.timeout.ms").and_then(|it| it.parse().ok());
        let timeout =
            known.filter(|it| *it > 0).map_or(session, |it| session.min(Duration::from_millis(it)));
        bulk.properties.insert("message.timeout.ms".to_owned(), timeout.as_millis().to_string());
        // zstd at its fastest took the producer's thread longer than anything else it does, for records
        // that are a sixth smaller.
        let defaults = [("linger.ms", "5"), ("compression.type", "lz4")];
        for (key, value) in defaults {
            bulk.properties.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
        bulk
    }

    /// The librdkafka configuration: the operator's properties first, so that `owned` ones win.
    pub(crate) fn config(&self, owned: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        // An operator's shortest wait may be longer, which librdkafka would refuse.
        if !self.properties.contains_key("reconnect.backoff.ms") {
            config.set("reconnect.backoff.max.ms", RECONNECT_WITHIN_MS.to_string());
        }
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        for (key, value) in &self.secrets {
            config.set(key, value.expose_secret());
        }
        config.set("bootstrap.servers", self.brokers.join(","));
        config.set("client.id", "toolwarden");
        for (key, value) in owned {
            config.set(*key, *value);
        }
        config
    }
}

/// The cluster refused or could not be reached.
///
/// Only the code and librdkafka's own words: never a property, for some are secret.
#[derive(Clone, Debug, thiserror::Error)]
pub struct KafkaError {
    /// What was being done.
    doing: &'static str,
    /// Not as a source: its words are in this error's own, and a chain would say them again.
    cause: LibraryError,
    /// Why nobody answers, where the brokers told.
    failure: Option<HandshakeFailure>,
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.doing, self.cause)?;
        self.failure.map_or(Ok(()), |failure| write!(f, "; {}", failure.advice()))
    }
}

impl KafkaError {
    /// The cluster did not answer in time while this was being done.
    #[must_use]
    pub fn no_answer(doing: &'static str) -> Self {
        let code = rdkafka::types::RDKafkaErrorCode::OperationTimedOut;
        Self::when(doing)(LibraryError::Global(code))
    }

    /// Says what was being done when the system had no thread to give.
    pub(crate) fn no_thread(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |cause| Self::when(doing)(LibraryError::ClientCreation(cause.to_string()))
    }

    /// Says what was being done when `cause` happened.
    pub(crate) fn when(doing: &'static str) -> impl FnOnce(LibraryError) -> Self {
        move |cause| Self { doing, cause, failure: None }
    }

    /// The same, and why nobody answers, where that is known.
    pub(crate) fn because_of(self, failure: Option<HandshakeFailure>) -> Self {
        Self { failure, ..self }
    }
}

/// A short, closed name for an error, fit for a metric label.
pub(crate) fn code_of(error: &LibraryError) -> String {
    error.rdkafka_error_code().map_or_else(|| "client".to_owned(), |code| format!("{code:?}"))
}

/// The version of librdkafka in this program.
#[must_use]
pub fn librdkafka_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff_max(properties: &[(&str, &str)]) -> Option<String> {
        let properties = properties.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        let settings =
            ClientSettings { properties: properties.collect(), ..ClientSettings::plain("b:9092") };
        settings.config(&[]).get("reconnect.backoff.max.ms").map(str::to_owned)
    }

    #[test]
    fn a_client_connects_once_more_well_within_its_session_unless_the_operator_says_otherwise() {
        assert_eq!(backoff_max(&[]).unwrap(), "1000");
        assert_eq!(backoff_max(&[("reconnect.backoff.max.ms", "4000")]).unwrap(), "4000");
        assert_eq!(backoff_max(&[("reconnect.backoff.ms", "3000")]), None);
    }
}
