//! The metrics of one instance: a registry, the hot-path handles and the plain setters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::process_collector::ProcessCollector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

use crate::alert::{AlertStatus, AuditKind, Severity};
use crate::event::Timestamp;
use crate::telemetry::kafka::KafkaMetrics;
use crate::telemetry::notifications::FailureReason;
use crate::telemetry::table::Families;
use crate::telemetry::{DeadLetterKind, GroupEntryFate, TooLarge, VerdictChange};

/// Which build runs: the labels of `toolwarden_build_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildInfo {
    /// The version of toolwarden.
    pub version: String,
    /// The revision it was built from; empty when unknown.
    pub revision: String,
    /// The version of librdkafka it is linked with.
    pub librdkafka: String,
}

/// One rule, as far as metrics name it.
#[derive(Clone, Copy, Debug)]
pub struct KnownRule<'a> {
    /// The rule's id.
    pub rule_id: &'a str,
    /// Its title.
    pub title: &'a str,
    /// Its severity.
    pub severity: Severity,
    /// The detector it uses.
    pub detector: &'a str,
}

/// The label values that are known at start: their series begin at 0 rather than with the first
/// mishap, so that a rate sees the first one too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// The source topics.
    pub topics: &'a [&'a str],
    /// Why items are rejected.
    pub rejected: &'a [&'a str],
    /// Why items are ignored.
    pub ignored: &'a [&'a str],
    /// The receivers.
    pub receivers: &'a [&'a str],
    /// The rules in force.
    pub rules: &'a [KnownRule<'a>],
}

/// When a log line was last written, and how many were kept back since.
#[derive(Clone, Copy, Debug)]
struct Said {
    at: Timestamp,
    kept_back: u64,
}

/// What happens and where to the last line about it; the first is a closed set, topics are
/// configured.
type SaidOf = BTreeMap<&'static str, BTreeMap<String, Said>>;

#[derive(Debug)]
struct Inner {
    registry: Registry,
    families: Families,
    kafka: KafkaMetrics,
    said: Mutex<SaidOf>,
    /// The time in nanoseconds, as it was last told; 0 before that.
    told_time: AtomicI64,
}

/// The metrics of one instance. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
}

/// How often a line that repeats is written to the log, in seconds.
const REPEAT_SECS: i64 = 10;

impl Metrics {
    /// A registry with every metric of [`crate::telemetry::METRICS`] and the process metrics.
    #[must_use]
    pub fn new(build: &BuildInfo) -> Self {
        let registry = Registry::new();
        let families = Families::register(&registry);
        let kafka = KafkaMetrics::default();
        let collectors: [Box<dyn prometheus::core::Collector>; 2] =
            [Box::new(kafka.collector(&families)), Box::new(ProcessCollector::for_self())];
        for collector in collectors {
            if let Err(error) = registry.register(collector) {
                tracing::error!(%error, "a group of metrics could not be registered");
            }
        }
        let labels = [build.version.as_str(), &build.revision, &build.librdkafka];
        families.build_info.with_label_values(&labels).set(1);
        let inner = Inner {
            registry,
            families,
            kafka,
            said: Mutex::default(),
            told_time: AtomicI64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Creates the series of every known label set at 0.
    pub fn seed(&self, known: &Known<'_>) {
        self.seed_sources(known);
        self.seed_keeping(known.topics);
        self.seed_keys(known.topics);
        self.seed_rules(known.rules);
        self.seed_receivers(known.receivers);
        self.seed_bounds();
        let it = self.families();
        for kind in DeadLetterKind::ALL {
            it.dead_letters.with_label_values(&[kind.as_str()]);
        }
        for outcome in TooLarge::ALL {
            it.records_too_large.with_label_values(&[outcome.as_str()]);
        }
        for kind in AuditKind::ALL {
            it.audit_records.with_label_values(&[kind.as_str()]);
        }
        for result in ["ok", "error"] {
            it.kafka_commits.with_label_values(&[result]);
        }
        for fate in GroupEntryFate::ALL {
            it.groups_entries.with_label_values(&[fate.as_str()]);
        }
        for change in VerdictChange::ALL {
            it.verdict_changes.with_label_values(&[change.as_str()]);
        }
        for severity in Severity::ALL {
            it.alerts_active.with_label_values(&[severity.as_str()]);
        }
    }

    fn seed_sources(&self, known: &Known<'_>) {
        self.inner.kafka.seed(known.topics);
        for topic in known.topics {
            drop(self.source(topic));
            self.families().watermark_lag.with_label_values(&[topic]);
            for reason in known.rejected {
                self.families().events_rejected.with_label_values(&[topic, reason]);
            }
            for reason in known.ignored {
                self.families().events_ignored.with_label_values(&[topic, reason]);
            }
        }
    }

    fn seed_rules(&self, rules: &[KnownRule<'_>]) {
        let it = self.families();
        it.rules_loaded.set(gauge(rules.len()));
        for rule in rules {
            let severity = rule.severity.as_str();
            it.rule_info.with_label_values(&[rule.rule_id, rule.title, severity]).set(1);
            it.anomaly_score.with_label_values(&[rule.detector]);
            self.seed_self_check(rule.detector);
            for status in [AlertStatus::Firing, AlertStatus::Updated, AlertStatus::Resolved] {
                for severity in [severity, Severity::Info.as_str()] {
                    it.alerts.with_label_values(&[rule.rule_id, severity, status.as_str()]);
                }
            }
        }
    }

    fn seed_receivers(&self, receivers: &[&str]) {
        let it = self.families();
        for receiver in receivers {
            let label = [*receiver];
            it.notifications.with_label_values(&label);
            it.notification_requests.with_label_values(&label);
            it.notification_request_failures.with_label_values(&label);
            it.notification_requests_blocked.with_label_values(&label);
            it.notification_latency.with_label_values(&label);
            it.notifications_deduplicated.with_label_values(&label);
            it.notification_incidents.with_label_values(&label);
            it.notification_incidents_forgotten.with_label_values(&label);
            it.notification_queue_length.with_label_values(&label);
            it.notification_oldest_pending.with_label_values(&label);
            it.notification_dead_letters.with_label_values(&label);
            it.notifications_known.with_label_values(&label);
            it.notifications_overtaken.with_label_values(&label);
            it.notifications_passed_over.with_label_values(&label);
            it.notification_breaker_state.with_label_values(&label);
            it.notification_breaker_opened.with_label_values(&label);
            it.notification_log_entries.with_label_values(&label);
            it.notification_log_forgotten.with_label_values(&label);
            for reason in FailureReason::ALL {
                it.notifications_failed.with_label_values(&[receiver, reason.as_str()]);
            }
        }
    }

    /// The counters of one source topic, resolved once for the hot path.
    #[must_use]
    pub fn source(&self, topic: &str) -> SourceMetrics {
        let it = self.families();
        let label = [topic];
        SourceMetrics {
            records: it.records_received.with_label_values(&label),
            again: it.records_read_again.with_label_values(&label),
            bytes: it.record_bytes_received.with_label_values(&label),
            processed: it.events_processed.with_label_values(&label),
            late: it.events_late.with_label_values(&label),
            duplicate: it.events_duplicate.with_label_values(&label),
            unjudged: it.events_unjudged.with_label_values(&label),
            rejected: it.events_rejected.clone(),
            ignored: it.events_ignored.clone(),
            topic: topic.into(),
        }
    }

    /// Kafka's part, fed by the consumers' statistics and assignments.
    #[must_use]
    pub fn kafka(&self) -> &KafkaMetrics {
        &self.inner.kafka
    }

    /// The digest of the configuration in force, replacing the one before.
    pub fn config(&self, hash: &str) {
        self.families().config_info.reset();
        self.families().config_info.with_label_values(&[hash]).set(1);
    }

    /// Agents in memory, and the most there may be.
    pub fn agents(&self, agents: usize, limit: usize) {
        self.families().agents.set(gauge(agents));
        self.families().agents_limit.set(gauge(limit));
    }

    /// Agents with too little history to page for.
    pub fn learning(&self, agents: usize) {
        self.families().agents_learning.set(gauge(agents));
    }

    /// Verdicts of people in memory.
    pub fn verdicts(&self, verdicts: usize) {
        self.families().verdicts.set(gauge(verdicts));
    }

    /// Calls held back, over all workers.
    pub fn held_calls(&self, calls: usize) {
        self.families().held_calls.set(gauge(calls));
    }

    /// The most calls that may be held back, over all workers.
    pub fn held_calls_limit(&self, calls: usize) {
        self.families().held_calls_limit.set(gauge(calls));
    }

    /// Alerts the broker has not acknowledged, over all workers.
    pub fn unacknowledged(&self, alerts: usize) {
        self.families().alerts_unacknowledged.set(gauge(alerts));
    }

    /// How far event time is behind wall time in the worst partition of `topic`, in seconds.
    pub fn watermark_lag(&self, topic: &str, seconds: f64) {
        self.families().watermark_lag.with_label_values(&[topic]).set(seconds);
    }

    /// Open episodes of one severity, counted afresh: after partitions were gained or lost, when
    /// the events that opened and closed them no longer add up.
    pub fn active_episodes(&self, severity: Severity, episodes: usize) {
        self.families().alerts_active.with_label_values(&[severity.as_str()]).set(gauge(episodes));
    }

    /// From the broker's append to the verdict, in seconds; once a batch.
    pub fn end_to_end_latency(&self, seconds: f64) {
        self.families().end_to_end_latency.observe(seconds);
    }

    /// A batch's wall time over its calls, in seconds; once a batch.
    pub fn processing_duration(&self, seconds_a_call: f64) {
        self.families().processing_duration.observe(seconds_a_call);
    }

    /// Notifications that wait for `receiver`, and the age of the oldest in seconds (0 for none).
    pub fn notification_queue(&self, receiver: &str, length: usize, oldest_secs: f64) {
        let it = self.families();
        it.notification_queue_length.with_label_values(&[receiver]).set(gauge(length));
        it.notification_oldest_pending.with_label_values(&[receiver]).set(oldest_secs);
    }

    /// Alerts that the log of deliveries knows of for `receiver`, and how many more it forgot early.
    pub fn notification_log(&self, receiver: &str, entries: usize, forgotten: u64) {
        let it = self.families();
        it.notification_log_entries.with_label_values(&[receiver]).set(gauge(entries));
        it.notification_log_forgotten.with_label_values(&[receiver]).inc_by(forgotten);
    }

    /// Incidents that `receiver` is remembered to have been told of.
    pub fn notification_incidents(&self, receiver: &str, incidents: usize) {
        let it = self.families();
        it.notification_incidents.with_label_values(&[receiver]).set(gauge(incidents));
    }

    /// Everything in Prometheus' text format 0.0.4.
    ///
    /// Takes no lock that the hot path holds for longer than one update.
    #[must_use]
    pub fn encode(&self) -> String {
        TextEncoder::new().encode_to_string(&self.inner.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "the metrics could not be encoded");
            String::new()
        })
    }

    /// The names, kinds, help texts and label names that are gathered now, `process_*` left out:
    /// for the tests that hold the table.
    #[cfg(test)]
    pub(super) fn gathered(&self) -> Vec<prometheus::proto::MetricFamily> {
        let mut families = self.inner.registry.gather();
        families.retain(|family| !family.name().starts_with("process_"));
        families
    }

    pub(super) fn families(&self) -> &Families {
        &self.inner.families
    }

    /// Tells the time, for lines from where there is no clock.
    pub fn time_is(&self, now: Timestamp) {
        self.inner.told_time.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// As [`Self::may_log`], at the time that was last told. Nothing is kept back before it was.
    pub(super) fn may_log_now(&self, what: &'static str, topic: &str) -> Option<u64> {
        match self.inner.told_time.load(Ordering::Relaxed) {
            0 => Some(0),
            now => self.may_log(what, topic, Timestamp::from_nanos(now)),
        }
    }

    /// Whether `what` may be logged of `topic` at `now`; if so, how many lines were kept back since
    /// the last one.
    pub(super) fn may_log(&self, what: &'static str, topic: &str, now: Timestamp) -> Option<u64> {
        let mut said = self.inner.said.lock().unwrap_or_else(PoisonError::into_inner);
        let topics = said.entry(what).or_default();
        let Some(last) = topics.get_mut(topic) else {
            topics.insert(topic.to_owned(), Said { at: now, kept_back: 0 });
            return Some(0);
        };
        // A clock that was set back must not silence the log until it has caught up.
        if now >= last.at && now < last.at.plus_secs(REPEAT_SECS) {
            last.kept_back += 1;
            return None;
        }
        let kept_back = last.kept_back;
        *last = Said { at: now, kept_back: 0 };
        Some(kept_back)
    }
}

/// The counters of one source topic: an atomic addition each.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    /// Kafka records.
    pub records: IntCounter,
    /// Records that were handed out once more.
    pub again: IntCounter,
    /// Bytes of their values.
    pub bytes: IntCounter,
    /// Calls judged.
    pub processed: IntCounter,
    /// Calls that came too late.
    pub late: IntCounter,
    /// Calls seen before.
    pub duplicate: IntCounter,
    /// Calls of agents for which there was no room.
    pub unjudged: IntCounter,
    rejected: IntCounterVec,
    ignored: IntCounterVec,
    topic: Box<str>,
}

impl SourceMetrics {
    /// Counts an item that could not be read, without a word in the log; see
    /// [`crate::telemetry::RecordRejected`] for the event that counts and logs. Use one of the two.
    pub fn rejected(&self, reason: &'static str) {
        self.rejected.with_label_values(&[&self.topic, reason]).inc();
    }

    /// Counts an item that is no tool call and is not meant to be one.
    pub fn ignored(&self, reason: &'static str) {
        self.ignored.with_label_values(&[&self.topic, reason]).inc();
    }
}

/// A count as an integer gauge holds it.
fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Sets a gauge to 1 or 0.
pub(super) fn set_flag(gauge: &IntGauge, flag: bool) {
    gauge.set(i64::from(flag));
}
