//! The configuration in force, fit to print: every default filled in, every secret masked.

use std::collections::BTreeMap;
use std::path::Path;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::config::checked::{Config, Privacy, Receiver, Start, State, Topics};
use crate::config::groups::RawGroup;
use crate::config::limits::RawLimits;
use crate::config::outline::{self, Note};
use crate::config::raw::{RawEventTime, RawPeers, RawRules, RawSource, RawTopics};
use crate::config::snippet::is_secret_key;
use crate::config::units::{FriendlyDuration, FriendlySize};
use crate::decode::HashKey;

/// What stands for a secret.
const MASK: &str = "***";

#[derive(Serialize)]
struct Shown {
    version: u64,
    kafka: ShownKafka,
    sources: Vec<RawSource>,
    topics: RawTopics,
    event_time: RawEventTime,
    peers: RawPeers,
    state: ShownState,
    groups: Vec<RawGroup>,
    limits: RawLimits,
    privacy: ShownPrivacy,
    rules: RawRules,
    receivers: Vec<ShownReceiver>,
    server: ShownServer,
}

#[derive(Serialize)]
struct ShownKafka {
    brokers: Vec<String>,
    group_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_instance_id: Option<String>,
    start: Start,
    workers: usize,
    prefetch: FriendlySize,
    commit_interval: FriendlyDuration,
    stalled_after: FriendlyDuration,
    shutdown_timeout: FriendlyDuration,
    properties: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    secrets: BTreeMap<String, &'static str>,
}

#[derive(Serialize)]
struct ShownServer {
    listen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    export_token: Option<&'static str>,
}

#[derive(Serialize)]
struct ShownState {
    durable: bool,
    flush_interval: FriendlyDuration,
    lessons_bytes: FriendlySize,
    forget_after: FriendlyDuration,
    yield_after: FriendlyDuration,
    /// One mask a key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mac_keys: Vec<&'static str>,
    accept_unsigned: bool,
}

#[derive(Serialize)]
struct ShownPrivacy {
    /// The fingerprint of the key; absent for the one built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    hash_key: Option<String>,
    show_targets: bool,
}

#[derive(Serialize)]
struct ShownReceiver {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    url: String,
    signing_secret: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_signing_secret: Option<&'static str>,
    min_score: f64,
    send_resolved: bool,
    timeout: FriendlyDuration,
    retry_for: FriendlyDuration,
    dedup_for: FriendlyDuration,
    catch_up_rate: u32,
    allow_networks: Vec<String>,
}

/// Scheme, host and port of a URL; the rest may hold a token.
fn masked_url(url: &SecretString) -> String {
    let Ok(url) = Url::parse(url.expose_secret()) else { return MASK.to_owned() };
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    format!("{}://{}{port}/{MASK}", url.scheme(), url.host_str().unwrap_or(MASK))
}

fn receiver(receiver: &Receiver) -> ShownReceiver {
    ShownReceiver {
        name: receiver.name.clone(),
        kind: "webhook",
        url: masked_url(&receiver.url),
        signing_secret: MASK,
        previous_signing_secret: receiver.previous_signing_secret.as_ref().map(|_| MASK),
        min_score: receiver.min_score,
        send_resolved: receiver.send_resolved,
        timeout: FriendlyDuration(receiver.timeout),
        retry_for: FriendlyDuration(receiver.retry_for),
        dedup_for: FriendlyDuration(receiver.dedup_for),
        catch_up_rate: receiver.catch_up_rate,
        allow_networks: receiver.allow_networks.iter().map(ToString::to_string).collect(),
    }
}

fn kafka(config: &Config) -> ShownKafka {
    let kafka = &config.kafka;
    let mask = |(name, value): (&String, &String)| {
        let value = if is_secret_key(name) { MASK.to_owned() } else { value.clone() };
        (name.clone(), value)
    };
    ShownKafka {
        brokers: kafka.brokers.clone(),
        group_id: kafka.group_id.clone(),
        group_instance_id: kafka.group_instance_id.clone(),
        start: kafka.start,
        workers: kafka.workers,
        prefetch: FriendlySize(kafka.prefetch_bytes),
        commit_interval: FriendlyDuration(kafka.commit_interval),
        stalled_after: FriendlyDuration(kafka.stalled_after),
        shutdown_timeout: FriendlyDuration(kafka.shutdown_timeout),
        properties: kafka.properties.iter().map(mask).collect(),
        secrets: kafka.secrets.keys().map(|name| (name.clone(), MASK)).collect(),
    }
}

fn privacy(privacy: Privacy) -> ShownPrivacy {
    let key = Some(privacy.hash_key).filter(|key| *key != HashKey::BUILT_IN);
    ShownPrivacy {
        hash_key: key.map(|key| format!("{MASK} (fingerprint {})", key.fingerprint())),
        show_targets: privacy.show_targets,
    }
}

fn state(state: &State) -> ShownState {
    ShownState {
        durable: state.durable,
        flush_interval: FriendlyDuration(state.flush_interval),
        lessons_bytes: FriendlySize(state.lessons_bytes),
        forget_after: FriendlyDuration(state.forget_after),
        yield_after: FriendlyDuration(state.yield_after),
        mac_keys: state.mac_keys.iter().map(|_| MASK).collect(),
        accept_unsigned: state.accept_unsigned,
    }
}

fn topics(topics: &Topics) -> RawTopics {
    RawTopics {
        calls: topics.calls.clone(),
        alerts: topics.alerts.clone(),
        deliveries: topics.deliveries.clone(),
        dead_letter: topics.dead_letter.clone(),
        audit: topics.audit.clone(),
        verdicts: topics.verdicts.clone(),
        state: topics.state.clone(),
        groups: topics.groups.clone().unwrap_or_default(),
    }
}

fn shown(config: &Config) -> Shown {
    let directory = config.rules.directory.as_deref().map(Path::display);
    Shown {
        version: 1,
        kafka: kafka(config),
        sources: config
            .sources
            .iter()
            .map(|source| RawSource {
                topic: source.topic.clone(),
                format: source.format,
                tenant: source.tenant.clone(),
                keyed_by: source.keyed_by,
            })
            .collect(),
        topics: topics(&config.topics),
        event_time: RawEventTime {
            lateness: FriendlyDuration(config.event_time.lateness),
            reorder: FriendlyDuration(config.event_time.reorder),
        },
        peers: RawPeers {
            wait: FriendlyDuration(config.peers.wait),
            idle_after: FriendlyDuration(config.peers.idle_after),
        },
        state: state(&config.state),
        groups: config.groups.iter().map(RawGroup::of).collect(),
        limits: RawLimits {
            agents: config.limits.agents,
            agents_per_partition: config.limits.agents_per_partition,
            agents_per_tenant: config.limits.agents_per_tenant,
            tools_per_agent: config.limits.tools_per_agent,
            record_bytes: FriendlySize(config.limits.record_bytes),
            held_calls: config.limits.held_calls,
            pending_alerts: config.limits.pending_alerts,
            verdicts: config.limits.verdicts,
        },
        privacy: privacy(config.privacy),
        rules: RawRules { directory: directory.map(|path| path.to_string()) },
        receivers: config.receivers.iter().map(receiver).collect(),
        server: ShownServer {
            listen: config.server.listen.to_string(),
            export_token: config.server.export_token.as_ref().map(|_| MASK),
        },
    }
}

/// The configuration as YAML, secrets masked.
#[must_use]
pub fn show_yaml(config: &Config) -> String {
    let tree = outline::tree(&shown(config));
    tree.map_or_else(String::new, |tree| outline::write(&tree, &|_| Note::default()))
}

/// The configuration as a JSON value, secrets masked.
#[must_use]
pub fn show_json(config: &Config) -> serde_json::Value {
    serde_json::to_value(shown(config)).unwrap_or_default()
}
