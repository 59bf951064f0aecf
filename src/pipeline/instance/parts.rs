//! What an instance is made of, by its configuration.

use std::sync::Arc;

use anyhow::Context as _;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use crate::config::{Config, KeyedBy};
use crate::decode::{self, Ignored, Reason};
use crate::kafka::{ClientSettings, Outbox};
use crate::pipeline::desk::Source;
use crate::pipeline::restore::Restorer;
use crate::pipeline::worker::keep::Durable;
use crate::policy::Rules;
use crate::state::mac::MacKeys;
use crate::telemetry::{Known, KnownRule, Metrics};

/// Threads that read partitions back.
const RESTORERS: usize = 2;

/// How many agents of a flush are written before more calls are judged: a few milliseconds' work.
const AGENTS_A_TURN: usize = 128;

/// How what is known is kept, if it is.
pub(super) fn durable(
    config: &Config,
    client: &ClientSettings,
    metrics: &Metrics,
) -> anyhow::Result<Option<Durable>> {
    metrics.durable(config.state.durable);
    if !config.state.durable {
        return Ok(None);
    }
    let state: Arc<str> = config.topics.state.as_str().into();
    let restorer = Restorer::start(
        client,
        (&config.kafka.group_id, Arc::clone(&state), mac_keys(config)),
        config.limits.tools_per_agent,
        RESTORERS,
    )
    .context("cannot start a thread")?;
    // Nothing waits for its room: a flush ends before the next begins.
    let outbox = Outbox::bulk(client, metrics)?;
    Ok(Some(Durable {
        restorer,
        outbox,
        state,
        interval: config.state.flush_interval,
        agents_a_turn: AGENTS_A_TURN,
        lessons_bytes: config.state.lessons_bytes / config.kafka.workers.max(1),
    }))
}

/// The keys that records of the state and the groups topic are signed with.
pub(super) fn mac_keys(config: &Config) -> MacKeys {
    let known = config.state.mac_keys.iter().map(ExposeSecret::expose_secret);
    MacKeys::new(known, config.state.accept_unsigned)
}

/// The topics that are judged.
pub(super) fn sources(config: &Config, metrics: &Metrics) -> Arc<[Source]> {
    let keyed = config.sources.iter().filter(|source| source.keyed_by == KeyedBy::Agent);
    let mut sources: Vec<Source> =
        keyed.map(|it| source(config, (&it.topic, it), metrics)).collect();
    let origins: Arc<[Arc<str>]> = config.unkeyed().map(|it| it.topic.as_str().into()).collect();
    if let Some(first) = config.unkeyed().next() {
        let calls = source(config, (&config.topics.calls, first), metrics);
        sources.push(Source { origins: Some(origins), ..calls });
    }
    sources.into()
}

/// The topics that ingest reads.
pub(super) fn unkeyed(config: &Config, metrics: &Metrics) -> Arc<[Source]> {
    config.unkeyed().map(|it| source(config, (&it.topic, it), metrics)).collect()
}

fn source(
    config: &Config,
    (topic, like): (&str, &crate::config::Source),
    metrics: &Metrics,
) -> Source {
    Source {
        topic: topic.into(),
        options: decode::Options {
            format: like.format,
            default_tenant: like.tenant.clone(),
            record_bytes_max: config.limits.record_bytes,
            hash_key: config.privacy.hash_key,
            show_targets: config.privacy.show_targets,
        },
        metrics: metrics.source(topic),
        origins: None,
    }
}

/// A short digest of the configuration in force, so that instances that differ can be told apart.
pub(super) fn digest(config: &Config) -> String {
    let shown = crate::config::show_json(config).to_string();
    Sha256::digest(shown).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Makes every series that can be known from the start.
pub(super) fn seed(metrics: &Metrics, config: &Config, rules: &Rules) {
    let mut topics = config.judged_topics();
    topics.extend(config.unkeyed().map(|source| source.topic.as_str()));
    let receivers: Vec<&str> = config.receivers.iter().map(|it| it.name.as_str()).collect();
    let known_rule = |words: &crate::policy::Words| (words.id.clone(), words.title.clone());
    let names: Vec<(String, String)> = rules.words().map(known_rule).collect();
    let rules: Vec<KnownRule<'_>> = rules
        .words()
        .zip(&names)
        .map(|(words, (rule_id, title))| KnownRule {
            rule_id,
            title,
            severity: words.severity,
            detector: words.detector.as_str(),
        })
        .collect();
    metrics.seed(&Known {
        topics: &topics,
        rejected: &Reason::ALL.map(Reason::as_str),
        ignored: &Ignored::ALL.map(Ignored::as_str),
        receivers: &receivers,
        rules: &rules,
    });
    metrics.held_calls_limit(config.limits.held_calls);
}
