//! Raw to checked: what a file means, with every mistake of meaning reported.
//!
//! Reads the files that a configuration names, and no network.

mod kafka;
mod privacy;
mod receivers;
mod secrets;
mod server;
mod state;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::checked::{
    Config, EventTime, KeyedBy, Limits, Peers, RuleSource, Source, Topics,
};
use crate::config::document::{Document, Fault};
use crate::config::environment::Environment;
use crate::config::groups::RawGroup;
use crate::config::problem::Code;
use crate::config::raw::RawConfig;
use crate::config::units::{FriendlyDuration, FriendlySize, format_duration, format_size};

/// One second.
const SECOND: Duration = Duration::from_secs(1);

/// One hour.
const HOUR: Duration = Duration::from_secs(3_600);

/// What checking needs and what it found.
pub(super) struct Checker<'a> {
    /// Where relative paths begin.
    directory: &'a Path,
    environment: &'a dyn Environment,
    document: &'a Document,
    faults: Vec<Fault>,
}

/// Checks a whole file. `None` when something cannot even be filled in; that was reported.
pub(super) fn check(
    raw: &RawConfig,
    document: &mut Document,
    directory: &Path,
    environment: &dyn Environment,
) -> Option<Config> {
    let mut checker = Checker { directory, environment, document, faults: Vec::new() };
    let config = checker.config(raw);
    let faults = checker.faults;
    document.report(faults);
    config
}

impl Checker<'_> {
    /// Reports a mistake at a field.
    fn fault(
        &mut self,
        code: Code,
        pointer: impl Into<String>,
        message: String,
        help: Option<&str>,
    ) {
        let (pointer, help) = (pointer.into(), help.map(str::to_owned));
        self.faults.push(Fault { code, pointer, place: None, message, help });
    }

    /// Reports a mistake at a field's key.
    fn fault_at_key(&mut self, code: Code, pointer: String, message: String, help: Option<&str>) {
        let place = Some(self.document.place(&pointer).name());
        self.faults.push(Fault { code, pointer, place, message, help: help.map(str::to_owned) });
    }

    /// Whether a secret's field, or one that names its file or variable, was complained about.
    fn is_secret_settled(&self, pointer: &str) -> bool {
        ["", "_file", "_env"].iter().any(|end| self.document.is_settled(&format!("{pointer}{end}")))
    }

    /// A path of the file, seen from the file's directory.
    fn path(&self, text: &str) -> PathBuf {
        self.directory.join(text)
    }

    fn config(&mut self, raw: &RawConfig) -> Option<Config> {
        self.topics(raw);
        let kafka = self.kafka(&raw.kafka);
        let receivers = self.receivers(&raw.receivers);
        let event_time = EventTime {
            lateness: self.duration(
                "/event_time/lateness",
                raw.event_time.lateness,
                (Duration::ZERO, HOUR),
            ),
            reorder: self.duration(
                "/event_time/reorder",
                raw.event_time.reorder,
                (Duration::ZERO, HOUR),
            ),
        };
        let peers = Peers {
            wait: self.duration("/peers/wait", raw.peers.wait, (Duration::ZERO, HOUR)),
            idle_after: self.duration(
                "/peers/idle_after",
                raw.peers.idle_after,
                (SECOND / 10, HOUR),
            ),
        };
        let state = self.state(&raw.state);
        let record_bytes =
            self.size("/limits/record_bytes", raw.limits.record_bytes, (1 << 10, 64 << 20));
        let privacy = self.privacy(&raw.privacy);
        let rules = self.rules(raw);
        let server = self.server(&raw.server);
        Some(Config {
            kafka,
            sources: raw
                .sources
                .iter()
                .map(|source| Source {
                    topic: source.topic.clone(),
                    format: source.format,
                    tenant: source.tenant.clone(),
                    keyed_by: source.keyed_by,
                })
                .collect(),
            topics: Topics {
                calls: raw.topics.calls.clone(),
                alerts: raw.topics.alerts.clone(),
                deliveries: raw.topics.deliveries.clone(),
                dead_letter: raw.topics.dead_letter.clone(),
                audit: raw.topics.audit.clone(),
                verdicts: raw.topics.verdicts.clone(),
                state: raw.topics.state.clone(),
                groups: Some(raw.topics.groups.clone()),
            },
            event_time,
            peers,
            state,
            groups: raw.groups.iter().map(RawGroup::pattern).collect(),
            limits: Limits {
                agents: raw.limits.agents,
                agents_per_partition: raw.limits.agents_per_partition,
                agents_per_tenant: raw.limits.agents_per_tenant,
                tools_per_agent: raw.limits.tools_per_agent,
                record_bytes,
                held_calls: raw.limits.held_calls,
                pending_alerts: raw.limits.pending_alerts,
                verdicts: raw.limits.verdicts,
            },
            privacy,
            rules,
            receivers: receivers?,
            server: server?,
        })
    }

    /// No topic may be read twice, or read and written.
    fn topics(&mut self, raw: &RawConfig) {
        let mut seen: BTreeMap<&str, String> = BTreeMap::new();
        for (at, source) in raw.sources.iter().enumerate() {
            let pointer = format!("/sources/{at}/topic");
            if [".", ".."].contains(&source.topic.as_str()) {
                let message = format!("`{}` cannot be a topic's name", source.topic);
                self.fault(Code::Malformed, pointer, message, None);
            } else if let Some(first) = seen.get(source.topic.as_str()) {
                let message = format!("the topic `{}` is already `{first}`", source.topic);
                self.fault(Code::Duplicate, pointer, message, Some("a topic is read once"));
            } else {
                seen.insert(&source.topic, format!("sources[{at}].topic"));
            }
        }
        let topics = &raw.topics;
        let written = [
            ("alerts", &topics.alerts),
            ("deliveries", &topics.deliveries),
            ("dead_letter", &topics.dead_letter),
            ("audit", &topics.audit),
            ("verdicts", &topics.verdicts),
            ("state", &topics.state),
            ("groups", &topics.groups),
        ];
        let has_unkeyed = raw.sources.iter().any(|source| source.keyed_by == KeyedBy::None);
        let calls = has_unkeyed.then_some(("calls", &topics.calls));
        for (name, topic) in calls.into_iter().chain(written) {
            let first = seen.insert(topic, format!("topics.{name}"));
            let Some(first) = first else { continue };
            let help = if first.starts_with("sources") {
                "toolwarden would read what it writes"
            } else {
                "give each its own topic"
            };
            let pointer = format!("/topics/{name}");
            if self.document.value.pointer(&pointer).is_some() {
                let message = format!("the topic `{topic}` is already `{first}`");
                self.fault(Code::Duplicate, pointer, message, Some(help));
            } else {
                let message = format!("the topic `{topic}` is `topics.{name}` by default");
                self.fault(Code::Duplicate, pointer_of(&first), message, Some(help));
            }
        }
    }

    fn rules(&mut self, raw: &RawConfig) -> RuleSource {
        let directory = raw.rules.directory.as_deref().map(|text| self.path(text));
        if let Some(path) = directory.as_deref().filter(|path| !path.is_dir()) {
            let message = format!("`{}` is not a directory that can be read", path.display());
            let help = "remove `rules.directory` to use the rules shipped with the program";
            self.fault(Code::Unreadable, "/rules/directory", message, Some(help));
        }
        RuleSource { directory }
    }

    /// A duration within its range.
    fn duration(
        &mut self,
        pointer: &str,
        value: FriendlyDuration,
        (low, high): (Duration, Duration),
    ) -> Duration {
        if !(low..=high).contains(&value.0) {
            let (low, high) = (format_duration(low), format_duration(high));
            self.out_of_range(pointer, &format_duration(value.0), (&low, &high));
        }
        value.0
    }

    /// A size within its range.
    fn size(&mut self, pointer: &str, value: FriendlySize, (low, high): (usize, usize)) -> usize {
        if !(low..=high).contains(&value.0) {
            let (low, high) = (format_size(low), format_size(high));
            self.out_of_range(pointer, &format_size(value.0), (&low, &high));
        }
        value.0
    }

    fn out_of_range(&mut self, pointer: &str, found: &str, (low, high): (&str, &str)) {
        let name = crate::config::document::dotted(pointer);
        let message = format!("`{name}` must be from `{low}` to `{high}`, found `{found}`");
        self.fault(Code::OutOfRange, pointer, message, None);
    }
}

/// `sources[0].topic` as a JSON pointer.
fn pointer_of(path: &str) -> String {
    format!("/{}", path.replace('[', "/").replace(']', "").replace('.', "/"))
}

/// Whether a host is this machine.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
