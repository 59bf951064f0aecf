//! What happens between sources that are not keyed by agent and the calls topic.

use prometheus::IntCounter;

use crate::telemetry::{Event, Metrics};

/// The counters of ingest: an atomic addition each.
#[derive(Clone, Debug)]
pub struct IngestMetrics {
    /// Calls sent to the calls topic.
    pub calls: IntCounter,
}

/// A producer of ingest was thrown away because the broker refused something; reading begins again
/// at what was acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct IngestBeganAgain<'a> {
    /// librdkafka's error code.
    pub code: &'a str,
}

impl Event for IngestBeganAgain<'_> {
    fn emit(self, metrics: &Metrics) {
        metrics.families().ingest_restarts.inc();
        tracing::error!(
            code = self.code,
            "the broker refused a call on its way to the calls topic; begun again where the last one arrived"
        );
    }
}

/// Calls of a partition of the calls topic that were seen before, and what came of their sources.
#[derive(Clone, Copy, Debug)]
pub struct RepeatsPassedOver<'a> {
    /// The calls topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// Calls that ingest wrote again.
    pub calls: u64,
    /// Source partitions that began again at a lower offset: their topic was replaced.
    pub replaced: u64,
    /// Source partitions that were forgotten because there were too many.
    pub forgotten: u64,
}

impl Event for RepeatsPassedOver<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { topic, partition, calls, replaced, forgotten } = self;
        if calls == 0 && replaced == 0 && forgotten == 0 {
            return;
        }
        let families = metrics.families();
        families.events_repeated.inc_by(calls);
        families.source_marks_forgotten.inc_by(forgotten);
        if replaced > 0 {
            tracing::warn!(topic, partition, replaced, "a source topic began again at its start");
        }
        if forgotten > 0 {
            tracing::warn!(
                topic,
                partition,
                forgotten,
                "too many source partitions to know repeats of all"
            );
        }
        tracing::debug!(topic, partition, calls, "calls that ingest wrote again were passed over");
    }
}

impl Metrics {
    /// The counters of ingest.
    #[must_use]
    pub fn ingest(&self) -> IngestMetrics {
        IngestMetrics { calls: self.families().ingest_calls.clone() }
    }

    /// Calls on their way to the calls topic that the broker has not acknowledged.
    pub fn ingest_unacknowledged(&self, calls: usize) {
        self.families().ingest_unacknowledged.set(i64::try_from(calls).unwrap_or(i64::MAX));
    }
}
