//! The manual that the schema already is: the example of `config init` and the tables of
//! `docs/configuration.md`.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value};

use crate::config::groups::RawGroup;
use crate::config::limits::RawLimits;
use crate::config::outline::{self, Note};
use crate::config::raw::{
    RawConfig, RawEventTime, RawKafka, RawMechanism, RawPeers, RawPrivacy, RawProperty,
    RawProtocol, RawRules, RawSasl, RawSecurity, RawSource, RawTopics,
};
use crate::config::receivers::{RawReceiver, RawReceiverKind, RawUrl};
use crate::config::scalar::{plain, words};
use crate::config::schema::{resolve, schema};
use crate::config::server::RawServer;
use crate::config::state::RawState;
use crate::config::units::{FriendlyDuration, FriendlySize};
use crate::config::yaml::{Data, Node};
use crate::decode::Format;

/// Parts of the example that are commented out: they need files, or have a default that differs
/// from the example.
const OFF: [&str; 10] = [
    "/kafka/group_instance_id",
    "/kafka/security",
    "/kafka/properties",
    "/sources/0/tenant",
    "/state/mac_key_file",
    "/groups",
    "/privacy/hash_key_file",
    "/rules",
    "/receivers",
    "/server/export_token_file",
];

/// Fields that exclude one that the example shows, and those of a change under way.
const LEFT_OUT: [&str; 10] = [
    "/kafka/security/key_password_env",
    "/kafka/security/sasl/password_env",
    "/state/mac_key_env",
    "/privacy/hash_key_env",
    "/receivers/0/url_file",
    "/receivers/0/url_env",
    "/receivers/0/signing_secret_env",
    "/receivers/0/previous_signing_secret_file",
    "/receivers/0/previous_signing_secret_env",
    "/server/export_token_env",
];

/// The width that comments are wrapped to, in characters.
const COMMENT_WIDTH: usize = 88;

fn example_state() -> RawState {
    RawState {
        mac_key_file: Some("/run/secrets/toolwarden-state-key".to_owned()),
        mac_key_env: Some("TOOLWARDEN_STATE_KEY".to_owned()),
        ..RawState::default()
    }
}

/// Every field there is, with a value that explains it.
fn example() -> RawConfig {
    let text = |text: &str| Some(text.to_owned());
    RawConfig {
        version: 1,
        kafka: RawKafka {
            brokers: vec!["127.0.0.1:9092".to_owned()],
            group_id: "toolwarden".to_owned(),
            group_instance_id: text("toolwarden-0"),
            start: crate::config::checked::Start::Earliest,
            workers: 2,
            prefetch: FriendlySize(64 << 20),
            commit_interval: FriendlyDuration::secs(1),
            stalled_after: FriendlyDuration::secs(300),
            shutdown_timeout: FriendlyDuration::secs(12),
            security: Some(RawSecurity {
                protocol: RawProtocol::SaslSsl,
                ca_file: text("/etc/toolwarden/ca.pem"),
                certificate_file: text("/etc/toolwarden/client.pem"),
                key_file: text("/etc/toolwarden/client.key"),
                key_password_file: text("/run/secrets/kafka-key-password"),
                key_password_env: text("KAFKA_KEY_PASSWORD"),
                sasl: Some(RawSasl {
                    mechanism: RawMechanism::ScramSha512,
                    username: "toolwarden".to_owned(),
                    password_file: text("/run/secrets/kafka-password"),
                    password_env: text("KAFKA_PASSWORD"),
                }),
            }),
            properties: BTreeMap::from([("client.rack".to_owned(), RawProperty("eu-1a".into()))]),
        },
        sources: vec![RawSource {
            topic: "agent.calls".to_owned(),
            format: Format::Auto,
            tenant: text("acme"),
            keyed_by: crate::config::checked::KeyedBy::Agent,
        }],
        topics: RawTopics::default(),
        event_time: RawEventTime::default(),
        peers: RawPeers::default(),
        state: example_state(),
        groups: vec![RawGroup {
            name: "payments".to_owned(),
            tenant: "acme".to_owned(),
            agents: "pay-*".to_owned(),
        }],
        limits: RawLimits::default(),
        privacy: RawPrivacy {
            hash_key_file: text("/run/secrets/toolwarden-hash-key"),
            hash_key_env: text("TOOLWARDEN_HASH_KEY"),
            show_targets: true,
        },
        rules: RawRules { directory: text("/etc/toolwarden/rules") },
        receivers: vec![receiver()],
        server: RawServer {
            export_token_file: text("/run/secrets/toolwarden-export-token"),
            export_token_env: text("TOOLWARDEN_EXPORT_TOKEN"),
            ..RawServer::default()
        },
    }
}

/// A receiver, with every field there is.
fn receiver() -> RawReceiver {
    let text = |text: &str| Some(text.to_owned());
    RawReceiver {
        name: "on-call".to_owned(),
        kind: RawReceiverKind::Webhook,
        url: Some(RawUrl("https://hooks.example.com/toolwarden".to_owned())),
        url_file: text("/run/secrets/on-call-url"),
        url_env: text("ON_CALL_URL"),
        signing_secret_file: text("/run/secrets/on-call-signing-secret"),
        signing_secret_env: text("ON_CALL_SIGNING_SECRET"),
        previous_signing_secret_file: text("/run/secrets/on-call-previous-secret"),
        previous_signing_secret_env: text("ON_CALL_PREVIOUS_SECRET"),
        min_score: 40.0,
        send_resolved: true,
        timeout: FriendlyDuration::secs(10),
        retry_for: FriendlyDuration::secs(3 * 86_400),
        dedup_for: FriendlyDuration::secs(86_400),
        catch_up_rate: 10,
        allow_networks: RawReceiver::allow_networks(),
    }
}

/// The text of `toolwarden config init`: a configuration that works against a broker on this
/// machine, every field explained.
#[must_use]
pub fn init_text() -> String {
    let schema = schema();
    let notes = |pointer: &str| Note {
        comment: wrap(&described(&schema, pointer), COMMENT_WIDTH),
        is_off: OFF.contains(&pointer),
        is_left_out: LEFT_OUT.contains(&pointer),
    };
    let head = "# yaml-language-server: $schema=config.schema.json\n\
                # The schema for editors: toolwarden config schema > config.schema.json\n\
                # To check this file: toolwarden check FILE\n\n";
    outline::tree(&example())
        .map_or_else(String::new, |tree| format!("{head}{}", outline::write(&tree, &notes)))
}

/// The description of the field at a pointer.
fn described(schema: &Value, pointer: &str) -> String {
    let mut at = resolve(schema, schema);
    for segment in pointer.split('/').skip(1) {
        let next = at
            .get("properties")
            .and_then(|properties| properties.get(segment))
            .or_else(|| at.get("items"));
        // Keys of a free mapping (librdkafka properties) are nobody's to describe.
        let Some(next) = next else { return String::new() };
        at = resolve(schema, next);
    }
    at.get("description").and_then(Value::as_str).unwrap_or("").to_owned()
}

/// Breaks a text into lines at spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The tables of `docs/configuration.md`, one for each mapping, in Markdown.
#[must_use]
pub fn reference_text() -> String {
    let schema = schema();
    let mut out = String::new();
    if let Some(tree) = outline::tree(&example()) {
        section(&schema, &resolve(&schema, &schema), &tree, ("", &mut out));
    }
    out
}

/// One mapping, then the mappings in it.
fn section(
    root: &Value,
    schema: &Map<String, Value>,
    node: &Node,
    (path, out): (&str, &mut String),
) {
    let Data::Mapping(entries) = &node.data else { return };
    let title = if path.is_empty() { "The file".to_owned() } else { format!("`{path}`") };
    let about = schema.get("description").and_then(Value::as_str).unwrap_or("");
    out.push_str(&format!(
        "### {title}\n\n{about}\n\n| field | value | default | meaning |\n|---|---|---|---|\n"
    ));
    let mut inner: Vec<(String, Map<String, Value>, Rc<Node>)> = Vec::new();
    for (key, value) in entries {
        let Data::Scalar { text: name, .. } = &key.data else { continue };
        let field = schema.get("properties").and_then(|p| p.get(name));
        let Some(field) = field.map(|field| resolve(root, field)) else { continue };
        row(root, schema, (name, &field), out);
        let dot = if path.is_empty() { "" } else { "." };
        let below = format!("{path}{dot}{name}");
        match (&value.data, field.get("items")) {
            (Data::Mapping(_), _) if field.contains_key("properties") => {
                inner.push((below, field, Rc::clone(value)));
            }
            (Data::Sequence(items), Some(schema)) => {
                let mappings = items.first().filter(|item| matches!(item.data, Data::Mapping(_)));
                inner.extend(
                    mappings.map(|i| (format!("{below}[]"), resolve(root, schema), Rc::clone(i))),
                );
            }
            _ => {}
        }
    }
    out.push('\n');
    for (path, schema, node) in inner {
        section(root, &schema, &node, (&path, out));
    }
}

fn row(
    root: &Value,
    owner: &Map<String, Value>,
    (name, field): (&str, &Map<String, Value>),
    out: &mut String,
) {
    let required = owner
        .get("required")
        .and_then(Value::as_array)
        .is_some_and(|names| names.iter().any(|required| required == name));
    let default = match field.get("default") {
        _ if required => "required".to_owned(),
        Some(Value::Object(_) | Value::Array(_)) | None => String::new(),
        Some(value) => format!("`{}`", plain(value)),
    };
    let meaning = field.get("description").and_then(Value::as_str).unwrap_or("");
    let kind = kind(root, field);
    let meaning = meaning.replace("\n\n", " ");
    out.push_str(&format!("| `{name}` | {kind} | {default} | {meaning} |\n"));
}

/// What may be written for a field, in words.
fn kind(root: &Value, field: &Map<String, Value>) -> String {
    let words = words(root, field);
    if !words.is_empty() {
        let words: Vec<String> = words.iter().map(|word| format!("`{}`", plain(word))).collect();
        return words.join(", ");
    }
    if let Some(expects) = field.get("x-expects").and_then(Value::as_str) {
        let short = expects.split([':', ',']).next().unwrap_or(expects);
        return short.split(" such as").next().unwrap_or(short).to_owned();
    }
    let range = match (field.get("minimum"), field.get("maximum")) {
        (Some(low), Some(high)) => format!(", {low} to {high}"),
        _ => String::new(),
    };
    match field.get("type").and_then(Value::as_str) {
        Some("integer") => format!("whole number{range}"),
        Some("number") => format!("number{range}"),
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("array") => "list".to_owned(),
        Some("object") => "mapping".to_owned(),
        _ => "text".to_owned(),
    }
}
