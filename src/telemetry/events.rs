//! What happens inside an instance: each event logs and counts in one place.
//!
//! ERROR means data was lost or an operator is needed; WARN means that we recovered; INFO is
//! lifecycle; what happens for each record is at most DEBUG. Texts that an agent or a record wrote
//! are logged escaped, never as they are.

use crate::alert::{Alert, AlertStatus, AuditKind, Severity};
use crate::event::Timestamp;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::set_flag;

/// Something that happened.
pub trait Event {
    /// Writes the log line and moves the metrics.
    fn emit(self, metrics: &Metrics);
}

/// An item of a record could not be read.
///
/// Logged at most once in ten seconds for each topic and reason.
#[derive(Clone, Copy, Debug)]
pub struct RecordRejected<'a> {
    /// The topic it was read from.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The closed reason.
    pub reason: &'static str,
    /// Words for the person who mends the source.
    pub detail: &'a str,
    /// The time now, which decides whether it is logged.
    pub now: Timestamp,
}

impl Event for RecordRejected<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { topic, partition, offset, reason, detail, now } = self;
        metrics.families().events_rejected.with_label_values(&[topic, reason]).inc();
        if let Some(kept_back) = metrics.may_log(reason, topic, now) {
            tracing::warn!(topic, partition, offset, reason, ?detail, kept_back, "record rejected");
        }
    }
}

/// An alert or a finding was decided.
#[derive(Clone, Copy, Debug)]
pub struct AlertDecided<'a> {
    /// What was decided.
    pub alert: &'a Alert,
}

impl Event for AlertDecided<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { alert } = self;
        let (severity, status) = (alert.severity.as_str(), alert.status.as_str());
        let families = metrics.families();
        families.alerts.with_label_values(&[alert.rule_id.as_str(), severity, status]).inc();
        if alert.status != AlertStatus::Resolved {
            families.anomaly_score.with_label_values(&[&alert.detector]).observe(alert.score);
        }
        let (alert_id, rule_id, score) = (&alert.alert_id, &alert.rule_id, alert.score);
        let (tenant_id, agent_id) = (&alert.tenant_id, &alert.agent_id);
        if alert.severity == Severity::Info {
            tracing::debug!(%alert_id, %rule_id, status, score, ?tenant_id, ?agent_id, "finding");
        } else {
            tracing::info!(
                %alert_id, %rule_id, severity, status, score, ?tenant_id, ?agent_id, "alert"
            );
        }
    }
}

/// The broker did not take an alert.
#[derive(Clone, Copy, Debug)]
pub struct AlertProduceFailed<'a> {
    /// librdkafka's error code.
    pub code: &'a str,
}

impl Event for AlertProduceFailed<'_> {
    fn emit(self, metrics: &Metrics) {
        metrics.families().alerts_produce_failures.inc();
        tracing::error!(code = self.code, "the broker did not take an alert");
    }
}

/// What became of a record that was too large for its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLarge {
    /// Less of it is sent in its place.
    Cut,
    /// It is not sent.
    LeftOut,
    /// It is not sent, and was a baseline.
    BaselineLeftOut,
    /// It is sent in smaller parts.
    Split,
    /// It is sent again until the cluster takes it.
    Kept,
}

impl TooLarge {
    /// Each of them.
    pub const ALL: [Self; 5] =
        [Self::Cut, Self::LeftOut, Self::BaselineLeftOut, Self::Split, Self::Kept];

    /// The word used in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::LeftOut => "left_out",
            Self::BaselineLeftOut => "baseline_left_out",
            Self::Split => "split",
            Self::Kept => "kept",
        }
    }
}

/// A record is too large for its topic.
#[derive(Clone, Copy, Debug)]
pub struct RecordTooLarge<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The record's key.
    pub key: &'a str,
    /// The bytes of its key and value.
    pub bytes: usize,
    /// What becomes of it.
    pub outcome: TooLarge,
}

impl Event for RecordTooLarge<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { topic, key, bytes, outcome } = self;
        let (families, outcome_word) = (metrics.families(), outcome.as_str());
        families.records_too_large.with_label_values(&[outcome_word]).inc();
        match outcome {
            TooLarge::Cut => {
                tracing::warn!(topic, ?key, bytes, "a record was too large and is sent cut");
            }
            TooLarge::LeftOut => {
                tracing::error!(topic, ?key, bytes, "a record was too large and is left out");
            }
            TooLarge::BaselineLeftOut => {
                families.state_unwritten.inc();
                tracing::error!(topic, ?key, bytes, "a baseline was too large and is left out");
            }
            TooLarge::Split => {
                tracing::warn!(
                    topic,
                    ?key,
                    bytes,
                    "a record was too large and is sent in smaller parts: raise the topic's max.message.bytes"
                );
            }
            TooLarge::Kept => {
                tracing::error!(
                    topic,
                    ?key,
                    bytes,
                    "a record that must arrive is too large: raise the topic's max.message.bytes"
                );
            }
        }
    }
}

/// What a dead letter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterKind {
    /// A record that could not be read.
    Record,
    /// An alert that could not be delivered.
    Delivery,
}

impl DeadLetterKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Record, Self::Delivery];

    /// The word used in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Delivery => "delivery",
        }
    }
}

/// A change of what is known of an agent was written to the audit topic.
#[derive(Clone, Copy, Debug)]
pub struct Audit {
    /// What kind of change it was.
    pub kind: AuditKind,
}

impl Event for Audit {
    fn emit(self, metrics: &Metrics) {
        let kind = self.kind.as_str();
        metrics.families().audit_records.with_label_values(&[kind]).inc();
        tracing::debug!(kind, "audit record written");
    }
}

/// A record was written to the dead-letter topic.
#[derive(Clone, Copy, Debug)]
pub struct DeadLettered {
    /// What it is about.
    pub kind: DeadLetterKind,
}

impl Event for DeadLettered {
    fn emit(self, metrics: &Metrics) {
        let kind = self.kind.as_str();
        metrics.families().dead_letters.with_label_values(&[kind]).inc();
        tracing::debug!(kind, "dead letter written");
    }
}

/// Partitions of a topic were assigned to this instance.
#[derive(Clone, Copy, Debug)]
pub struct PartitionsAssigned<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partitions.
    pub partitions: &'a [i32],
}

impl Event for PartitionsAssigned<'_> {
    fn emit(self, _: &Metrics) {
        tracing::info!(topic = self.topic, partitions = ?self.partitions, "partitions assigned");
    }
}

/// Partitions of a topic were handed over in good order.
#[derive(Clone, Copy, Debug)]
pub struct PartitionsRevoked<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partitions.
    pub partitions: &'a [i32],
}

impl Event for PartitionsRevoked<'_> {
    fn emit(self, _: &Metrics) {
        tracing::info!(topic = self.topic, partitions = ?self.partitions, "partitions revoked");
    }
}

/// Partitions of a topic were taken away without asking: another instance may own them already.
#[derive(Clone, Copy, Debug)]
pub struct PartitionsLost<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partitions.
    pub partitions: &'a [i32],
}

impl Event for PartitionsLost<'_> {
    fn emit(self, _: &Metrics) {
        tracing::warn!(topic = self.topic, partitions = ?self.partitions, "partitions lost");
    }
}

/// Offsets were committed.
#[derive(Clone, Copy, Debug)]
pub struct OffsetsCommitted;

impl Event for OffsetsCommitted {
    fn emit(self, metrics: &Metrics) {
        metrics.families().kafka_commits.with_label_values(&["ok"]).inc();
        tracing::debug!("offsets committed");
    }
}

/// Offsets could not be committed; the next commit covers them.
#[derive(Clone, Copy, Debug)]
pub struct CommitFailed<'a> {
    /// librdkafka's error code.
    pub code: &'a str,
}

impl Event for CommitFailed<'_> {
    fn emit(self, metrics: &Metrics) {
        metrics.families().kafka_commits.with_label_values(&["error"]).inc();
        tracing::warn!(code = self.code, "offsets not committed; the next commit covers them");
    }
}

/// The Kafka client reported an error.
///
/// One that it goes on after is logged at most once in ten seconds for each code.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerError<'a> {
    /// librdkafka's error code.
    pub code: &'a str,
    /// Whether the client gave up for good.
    pub fatal: bool,
}

impl Event for ConsumerError<'_> {
    fn emit(self, metrics: &Metrics) {
        metrics.families().kafka_errors.with_label_values(&[self.code]).inc();
        if self.fatal {
            tracing::error!(code = self.code, "the Kafka client gave up; restart the instance");
        } else if let Some(kept_back) = metrics.may_log_now("kafka_error", self.code) {
            let code = self.code;
            tracing::warn!(code, kept_back, "the Kafka client reported an error and goes on");
        }
    }
}

/// A topic of our own that is followed cannot be read just now, and is asked again.
///
/// Logged at most once in ten seconds for each topic.
#[derive(Clone, Copy, Debug)]
pub struct TopicUnreadable<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Why it cannot.
    pub why: &'a str,
    /// The time now, which decides whether it is logged.
    pub now: Timestamp,
}

impl Event for TopicUnreadable<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { topic, why, now } = self;
        if let Some(kept_back) = metrics.may_log("topic_unreadable", topic, now) {
            tracing::warn!(topic, why, kept_back, "a topic cannot be read just now");
        }
    }
}

/// An agent was not known and there was no room for it: its call was not judged.
///
/// Logged at most once in ten seconds for each topic.
#[derive(Clone, Copy, Debug)]
pub struct AgentRefused<'a> {
    /// The topic its call was read from.
    pub topic: &'a str,
    /// The time now, which decides whether it is logged.
    pub now: Timestamp,
}

impl Event for AgentRefused<'_> {
    fn emit(self, metrics: &Metrics) {
        metrics.families().agents_refused.inc();
        if let Some(kept_back) = metrics.may_log("agent_refused", self.topic, self.now) {
            tracing::error!(
                topic = self.topic,
                kept_back,
                "no room for a new agent, its calls are not judged: see `limits.agents` and the two beside it"
            );
        }
    }
}

/// An episode opened.
#[derive(Clone, Copy, Debug)]
pub struct EpisodeOpened {
    /// Its severity.
    pub severity: Severity,
}

impl Event for EpisodeOpened {
    fn emit(self, metrics: &Metrics) {
        metrics.families().alerts_active.with_label_values(&[self.severity.as_str()]).inc();
    }
}

/// An episode ended.
#[derive(Clone, Copy, Debug)]
pub struct EpisodeClosed {
    /// The severity it opened with.
    pub severity: Severity,
}

impl Event for EpisodeClosed {
    fn emit(self, metrics: &Metrics) {
        metrics.families().alerts_active.with_label_values(&[self.severity.as_str()]).dec();
    }
}

/// The instance was asked to stop.
#[derive(Clone, Copy, Debug)]
pub struct ShutdownStarted;

impl Event for ShutdownStarted {
    fn emit(self, _: &Metrics) {
        tracing::info!("stopping: nothing more is taken, what was taken is finished");
    }
}

/// The instance has stopped.
#[derive(Clone, Copy, Debug)]
pub struct ShutdownFinished {
    /// Whether everything taken was finished and committed in time.
    pub clean: bool,
}

impl Event for ShutdownFinished {
    fn emit(self, _: &Metrics) {
        if self.clean {
            tracing::info!("stopped: everything taken was finished and committed");
        } else {
            tracing::warn!("stopped before all was finished; the rest is read again at the start");
        }
    }
}

/// The instance became ready, or no longer is.
#[derive(Clone, Copy, Debug)]
pub struct ReadyChanged<'a> {
    /// Whether it is ready now.
    pub ready: bool,
    /// All that it waits for when it is not.
    pub reason: &'a str,
}

impl Event for ReadyChanged<'_> {
    fn emit(self, metrics: &Metrics) {
        set_flag(&metrics.families().ready, self.ready);
        if self.ready {
            tracing::info!("ready");
        } else {
            tracing::info!(reason = self.reason, "not ready");
        }
    }
}

/// Records arrive and none is consumed.
#[derive(Clone, Copy, Debug)]
pub struct StallDetected<'a> {
    /// What stands still.
    pub why: &'a str,
}

impl Event for StallDetected<'_> {
    fn emit(self, metrics: &Metrics) {
        set_flag(&metrics.families().kafka_stalled, true);
        tracing::error!(why = self.why, "this instance stands still while there is work");
    }
}

/// Records are consumed again.
#[derive(Clone, Copy, Debug)]
pub struct StallEnded;

impl Event for StallEnded {
    fn emit(self, metrics: &Metrics) {
        set_flag(&metrics.families().kafka_stalled, false);
        tracing::info!("records are consumed again");
    }
}

/// A partition is read no further until what waits has become less.
#[derive(Clone, Copy, Debug)]
pub struct PartitionPaused<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// Calls of it that are held.
    pub held: usize,
}

impl Event for PartitionPaused<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { topic, partition, held } = self;
        metrics.families().partition_pauses.inc();
        tracing::debug!(topic, partition, held, "paused until less waits");
    }
}
