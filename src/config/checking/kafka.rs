//! The cluster: brokers, login and encryption as librdkafka properties, and the properties that
//! are not to be set by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

use crate::config::checked::Kafka;
use crate::config::checking::secrets::Origin;
use crate::config::checking::{Checker, SECOND, is_loopback};
use crate::config::document::{Fault, join};
use crate::config::problem::Code;
use crate::config::raw::{RawKafka, RawMechanism, RawProperty, RawProtocol, RawSasl, RawSecurity};
use crate::config::shape::nearest;

/// librdkafka properties that toolwarden sets, and what to do instead.
const OWNED: [(&str, &str); 32] = [
    ("bootstrap.servers", "write `kafka.brokers`"),
    ("metadata.broker.list", "write `kafka.brokers`"),
    ("group.id", "write `kafka.group_id`"),
    ("group.instance.id", "write `kafka.group_instance_id`"),
    ("group.protocol", "the order of assignment and restore rests on the classic protocol"),
    ("partition.assignment.strategy", "restore rests on cooperative-sticky assignment"),
    ("auto.offset.reset", "write `kafka.start`"),
    (
        "enable.auto.commit",
        "offsets are committed after alerts are acknowledged, never by a timer alone",
    ),
    ("enable.auto.offset.store", "offsets are stored after a record was judged"),
    ("auto.commit.interval.ms", "write `kafka.commit_interval`"),
    ("auto.commit.enable", "offsets are committed after alerts are acknowledged"),
    ("enable.partition.eof", "the end of a partition tells which peers are idle"),
    ("statistics.interval.ms", "metrics rest on it"),
    ("queued.max.messages.kbytes", "write `kafka.prefetch`"),
    ("queued.min.messages", "write `kafka.prefetch`"),
    ("allow.auto.create.topics", "topics are created by people, with the partitions they chose"),
    ("enable.idempotence", "alerts must not be lost or reordered by a retry"),
    ("acks", "an alert counts as written when all in-sync replicas have it"),
    ("request.required.acks", "an alert counts as written when all in-sync replicas have it"),
    ("transactional.id", "correctness does not rest on transactions"),
    ("isolation.level", "records of aborted transactions are never judged"),
    ("check.crcs", "broken records must be noticed"),
    ("security.protocol", "write `kafka.security.protocol`"),
    ("sasl.mechanism", "write `kafka.security.sasl.mechanism`"),
    ("sasl.mechanisms", "write `kafka.security.sasl.mechanism`"),
    ("sasl.username", "write `kafka.security.sasl.username`"),
    ("sasl.password", "write `kafka.security.sasl.password_file` or `password_env`"),
    ("ssl.ca.location", "write `kafka.security.ca_file`"),
    ("ssl.certificate.location", "write `kafka.security.certificate_file`"),
    ("ssl.key.location", "write `kafka.security.key_file`"),
    ("ssl.key.password", "write `kafka.security.key_password_file` or `key_password_env`"),
    (
        "enable.ssl.certificate.verification",
        "a connection that trusts anybody is not encrypted to anybody; give the authority as `kafka.security.ca_file`",
    ),
];

/// Whether a property's value is a secret that has no field of its own.
fn is_secret_property(name: &str) -> bool {
    ["password", "secret", ".pem", "private.key", "oauthbearer.config", "token"]
        .iter()
        .any(|part| name.contains(part))
        && !name.ends_with(".location")
        && !name.ends_with(".url")
}

/// The host of `host:port`; `None` if it is not of that form.
fn broker_host(broker: &str) -> Option<&str> {
    let (host, port) = broker.rsplit_once(':')?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = !host.contains([':', '/', ',', ' ', '@']);
    let good = !host.is_empty() && (bracketed || plain) && port.parse::<u16>().is_ok_and(|p| p > 0);
    good.then_some(host)
}

impl RawProtocol {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    const fn is_encrypted(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    const fn has_login(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

impl Checker<'_> {
    /// Checks `kafka`.
    pub(super) fn kafka(&mut self, raw: &RawKafka) -> Kafka {
        self.brokers(&raw.brokers);
        let mut properties = self.properties(&raw.properties);
        let mut secrets = BTreeMap::new();
        if let Some(security) = &raw.security {
            self.security(security, &mut properties, &mut secrets);
        }
        self.warn_of_plaintext(raw);
        Kafka {
            brokers: raw.brokers.clone(),
            group_id: raw.group_id.clone(),
            group_instance_id: raw.group_instance_id.clone(),
            start: raw.start,
            workers: raw.workers,
            prefetch_bytes: self.size("/kafka/prefetch", raw.prefetch, (1 << 20, 1 << 30)),
            commit_interval: self.duration(
                "/kafka/commit_interval",
                raw.commit_interval,
                (SECOND / 10, 60 * SECOND),
            ),
            stalled_after: self.duration(
                "/kafka/stalled_after",
                raw.stalled_after,
                (10 * SECOND, Duration::from_secs(3_600)),
            ),
            shutdown_timeout: self.duration(
                "/kafka/shutdown_timeout",
                raw.shutdown_timeout,
                (SECOND, Duration::from_secs(600)),
            ),
            properties,
            secrets,
        }
    }

    fn brokers(&mut self, brokers: &[String]) {
        for (at, broker) in brokers.iter().enumerate() {
            if broker_host(broker).is_none() {
                let message = format!(
                    "a broker is `host:port`, found `{}`",
                    crate::config::snippet::quote(broker)
                );
                let help = if broker.contains(',') {
                    "write a list: `[kafka-0:9092, kafka-1:9092]`"
                } else {
                    "for example `kafka-0:9092` or `[2001:db8::1]:9092`"
                };
                self.fault(Code::Malformed, format!("/kafka/brokers/{at}"), message, Some(help));
            }
        }
    }

    fn warn_of_plaintext(&mut self, raw: &RawKafka) {
        let protocol = raw.security.as_ref().map_or(RawProtocol::Plaintext, |s| s.protocol);
        let remote =
            raw.brokers.iter().filter_map(|b| broker_host(b)).find(|host| !is_loopback(host));
        let Some(host) = remote.filter(|_| !protocol.is_encrypted()) else { return };
        let what = if protocol.has_login() { "records and the login" } else { "records" };
        let host = crate::config::snippet::quote(host);
        let message = format!("{what} to and from `{host}` can be read and changed on the way");
        let (pointer, help) = match raw.security {
            Some(_) if protocol.has_login() => ("/kafka/security/protocol", "use `sasl_ssl`"),
            Some(_) => ("/kafka/security/protocol", "use `ssl` or `sasl_ssl`"),
            None => ("/kafka/brokers", "set `kafka.security`"),
        };
        self.fault(Code::Plaintext, pointer, message, Some(help));
    }

    fn properties(&mut self, raw: &BTreeMap<String, RawProperty>) -> BTreeMap<String, String> {
        let owned: Vec<&str> = OWNED.iter().map(|(name, _)| *name).collect();
        let mut out = BTreeMap::new();
        for (name, RawProperty(value)) in raw {
            let pointer = join("/kafka/properties", name);
            let shown = crate::config::snippet::quote(name);
            if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| owned == name) {
                let message = format!("the property `{shown}` is set by toolwarden");
                self.fault_at_key(Code::OwnedProperty, pointer, message, Some(instead));
            } else if is_secret_property(name) {
                let message = format!("the property `{shown}` is a secret");
                let help = "a secret does not belong in this file; `kafka.security` takes secrets by file or variable";
                self.fault_at_key(Code::LiteralSecret, pointer, message, Some(help));
            } else if !name.contains('.') && name.contains('_') {
                let dotted = name.replace('_', ".");
                let near = nearest(&dotted, &owned).unwrap_or(&dotted);
                let message =
                    format!("`{shown}` is no librdkafka property, did you mean `{near}`?");
                self.fault_at_key(
                    Code::OwnedProperty,
                    pointer,
                    message,
                    Some("librdkafka writes names with dots"),
                );
            } else {
                let text = match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                out.insert(name.clone(), text);
            }
        }
        out
    }

    fn security(
        &mut self,
        raw: &RawSecurity,
        properties: &mut BTreeMap<String, String>,
        secrets: &mut BTreeMap<String, SecretString>,
    ) {
        let mut set = |name: &str, value: String| properties.insert(name.to_owned(), value);
        set("security.protocol", raw.protocol.as_str().to_owned());
        for (field, property, file) in [
            ("ca_file", "ssl.ca.location", &raw.ca_file),
            ("certificate_file", "ssl.certificate.location", &raw.certificate_file),
            ("key_file", "ssl.key.location", &raw.key_file),
        ] {
            let Some(file) = file else { continue };
            let path = self.path(file);
            set(property, path.display().to_string());
            let pointer = format!("/kafka/security/{field}");
            if !raw.protocol.is_encrypted() {
                let message =
                    format!("`{field}` is of no use with `protocol: {}`", raw.protocol.as_str());
                self.fault(Code::Conflict, pointer, message, Some("use `ssl` or `sasl_ssl`"));
            } else if let Err(error) = std::fs::File::open(&path) {
                let message = format!("`{}` cannot be read: {error}", path.display());
                let help = "relative paths begin at the directory of the configuration file";
                self.fault(Code::Unreadable, pointer, message, Some(help));
            }
        }
        self.certificate_pair(raw);
        let key_password = self.secret(Origin {
            pointer: "/kafka/security",
            name: "key_password",
            file: raw.key_password_file.as_deref(),
            env: raw.key_password_env.as_deref(),
        });
        secrets.extend(key_password.map(|secret| ("ssl.key.password".to_owned(), secret)));
        if let Some(sasl) = &raw.sasl {
            let mechanism = match sasl.mechanism {
                RawMechanism::Plain => "PLAIN",
                RawMechanism::ScramSha256 => "SCRAM-SHA-256",
                RawMechanism::ScramSha512 => "SCRAM-SHA-512",
            };
            set("sasl.mechanism", mechanism.to_owned());
            set("sasl.username", sasl.username.clone());
            secrets.extend(self.password(sasl).map(|secret| ("sasl.password".to_owned(), secret)));
        }
        self.login(raw);
    }

    /// A certificate and its key come together.
    fn certificate_pair(&mut self, raw: &RawSecurity) {
        let (has, lacks) = match (&raw.certificate_file, &raw.key_file) {
            (Some(_), None) => ("certificate_file", "key_file"),
            (None, Some(_)) => ("key_file", "certificate_file"),
            _ => return,
        };
        let message = format!("`{has}` needs `{lacks}`");
        self.fault(Code::Conflict, format!("/kafka/security/{has}"), message, None);
    }

    /// A login needs a protocol that logs in, and the other way round.
    fn login(&mut self, raw: &RawSecurity) {
        let protocol = raw.protocol.as_str();
        if raw.sasl.is_some() && !raw.protocol.has_login() {
            let message = format!("`sasl` is of no use with `protocol: {protocol}`");
            let help = if raw.protocol.is_encrypted() {
                "use `sasl_ssl`"
            } else {
                "use `sasl_ssl` (or `sasl_plaintext` on this machine)"
            };
            self.fault(Code::Conflict, "/kafka/security/protocol", message, Some(help));
        } else if raw.sasl.is_none() && raw.protocol.has_login() {
            let message = format!("`protocol: {protocol}` needs `sasl`");
            let help =
                "write `sasl: {mechanism: SCRAM-SHA-512, username: NAME, password_file: PATH}`";
            self.fault(Code::Conflict, "/kafka/security/protocol", message, Some(help));
        }
    }

    fn password(&mut self, raw: &RawSasl) -> Option<SecretString> {
        let pointer = "/kafka/security/sasl";
        if raw.password_file.is_none() && raw.password_env.is_none() {
            let literal = format!("{pointer}/password");
            if !self.is_secret_settled(&literal) {
                let place = Some(self.document.place(pointer).name());
                let message = "`sasl` needs `password_file` or `password_env`".to_owned();
                let (code, help) = (Code::MissingField, None);
                self.faults.push(Fault { code, pointer: literal, place, message, help });
            }
            return None;
        }
        self.secret(Origin {
            pointer,
            name: "password",
            file: raw.password_file.as_deref(),
            env: raw.password_env.as_deref(),
        })
    }
}
