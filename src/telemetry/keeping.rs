//! What happens to what is known as it is written down and taken up again.

use crate::telemetry::{Event, Metrics};

/// What can happen to a source's log; the label of a metric.
pub const LOG_CHANGES: [&str; 3] = ["overtaken", "replaced", "repartitioned"];

/// A partition's baselines were written down.
#[derive(Clone, Copy, Debug)]
pub struct StateFlushed {
    /// Records.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Event for StateFlushed {
    fn emit(self, metrics: &Metrics) {
        let it = metrics.families();
        it.state_flushes.inc();
        it.state_flush_duration.observe(self.seconds);
        it.state_records_written.inc_by(self.records);
        it.state_bytes_written.inc_by(self.bytes);
        tracing::debug!(records = self.records, bytes = self.bytes, "baselines written");
    }
}

/// A flush begins before its time, for the memory of what it writes.
#[derive(Clone, Copy, Debug)]
pub struct StateFlushedEarly;

impl Event for StateFlushedEarly {
    fn emit(self, metrics: &Metrics) {
        metrics.families().state_flushes_early.inc();
    }
}

/// Some of a partition's baselines could not be written.
#[derive(Clone, Copy, Debug)]
pub struct StateUnwritten<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// How many agents; none when it was the marker.
    pub agents: u64,
    /// Why the first of them could not.
    pub why: &'a str,
}

impl Event for StateUnwritten<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { topic, partition, agents, why } = self;
        metrics.families().state_unwritten.inc_by(agents.max(1));
        tracing::error!(topic, partition, agents, why, "baselines could not be written");
    }
}

/// A partition's baselines could not be read.
#[derive(Clone, Copy, Debug)]
pub struct RestoreFailed<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// Why.
    pub why: &'a str,
}

impl Event for RestoreFailed<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { topic, partition, why } = self;
        metrics.families().state_restore_failures.inc();
        tracing::warn!(topic, partition, why, "baselines cannot be read yet, asked again");
    }
}

/// A partition's baselines were read back.
#[derive(Clone, Copy, Debug)]
pub struct StateRestored<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// Agents.
    pub agents: usize,
    /// Records read.
    pub records: u64,
    /// Records that could not be used.
    pub refused: u64,
    /// Why the first of them could not.
    pub why: &'a str,
    /// Agents that were expected and not found.
    pub missing: u64,
    /// The offset at which reading goes on.
    pub from: i64,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Event for StateRestored<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { topic, partition, agents, records, refused, why, missing, from, seconds } = self;
        let it = metrics.families();
        it.state_restores.inc();
        it.state_restore_duration.observe(seconds);
        it.state_records_refused.inc_by(refused);
        it.state_agents_missing.inc_by(missing);
        if refused > 0 || missing > 0 {
            tracing::error!(
                topic,
                partition,
                agents,
                records,
                refused,
                why,
                missing,
                from,
                seconds,
                "baselines came back incomplete: the agents concerned are learned anew"
            );
        } else {
            tracing::info!(topic, partition, agents, records, from, seconds, "baselines are back");
        }
    }
}

/// Somebody else wrote to a partition of the state topic that is ours.
#[derive(Clone, Copy, Debug)]
pub struct StateForeignWrites<'a> {
    /// The source topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// Records, all of them written anew by their owner.
    pub records: u64,
    /// The number of the owner that wrote the first of them; none for a deletion or no record.
    pub writer: Option<u64>,
    /// Where the first of them stands.
    pub offset: i64,
}

impl Event for StateForeignWrites<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { topic, partition, records, writer, offset } = self;
        metrics.families().state_foreign_writes.inc_by(records);
        tracing::warn!(
            topic,
            partition,
            records,
            writer,
            offset,
            "another process wrote baselines of a partition it does not own; they are written anew"
        );
    }
}

/// Somebody who took a partition over later has written: it is not ours.
#[derive(Clone, Copy, Debug)]
pub struct StateSuperseded<'a> {
    /// The source topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The number of the owner that wrote.
    pub writer: u64,
    /// Where its record stands.
    pub offset: i64,
}

impl Event for StateSuperseded<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { topic, partition, writer, offset } = self;
        metrics.families().state_superseded.inc();
        tracing::error!(
            topic,
            partition,
            writer,
            offset,
            "a later owner writes baselines of this partition; what is known here is dropped and read \
             again if the group still gives it to this instance"
        );
    }
}

/// A worker has not polled for half the session's timeout.
#[derive(Clone, Copy, Debug)]
pub struct LeaseLapsed {
    /// The worker's number.
    pub worker: usize,
}

impl Event for LeaseLapsed {
    fn emit(self, metrics: &Metrics) {
        metrics.families().leases_lapsed.inc();
        tracing::warn!(
            worker = self.worker,
            "was frozen or stuck for more than half the session's timeout: nothing is written or \
             committed until the group confirms its partitions"
        );
    }
}

/// A source's log is not as it was left.
#[derive(Clone, Copy, Debug)]
pub struct SourceLogChanged<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// What happened; one of [`LOG_CHANGES`].
    pub change: &'static str,
    /// The offset, or number of partitions, that was expected.
    pub expected: i64,
    /// The one that was found.
    pub found: i64,
    /// Offsets that nobody judged.
    pub lost: i64,
}

impl Event for SourceLogChanged<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { topic, partition, change, expected, found, lost } = self;
        let it = metrics.families();
        it.source_log_changes.with_label_values(&[topic, change]).inc();
        let offsets = u64::try_from(lost).unwrap_or(0);
        it.records_lost.with_label_values(&[topic]).inc_by(offsets);
        tracing::error!(
            topic,
            partition,
            change,
            expected,
            found,
            lost,
            "the source's log is not as it was left; see \
             docs/runbooks/operations/ToolwardenSourceLogChanged.md"
        );
    }
}

impl Metrics {
    /// Records written to the state topic.
    #[must_use]
    pub fn state_records_written(&self) -> u64 {
        self.families().state_records_written.get()
    }

    /// Whether what is known is written to the state topic.
    pub fn durable(&self, durable: bool) {
        self.families().state_durable.set(i64::from(durable));
    }

    /// Partitions that wait for their baselines.
    pub fn restoring(&self, partitions: usize) {
        self.families().partitions_restoring.set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }

    pub(super) fn seed_keeping(&self, topics: &[&str]) {
        for topic in topics {
            self.families().records_lost.with_label_values(&[topic]);
            for change in LOG_CHANGES {
                self.families().source_log_changes.with_label_values(&[topic, change]);
            }
        }
    }
}
