//! What says that a source topic is not keyed by agent.

use crate::event::Timestamp;
use crate::telemetry::{Event, Metrics};

/// Why calls of a record may be in a partition that is not their agent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMisfit {
    /// The record has no key.
    NoKey,
    /// Its key names neither the agent nor tenant and agent.
    OtherKey,
    /// Another partition of the topic, in this instance, brought calls of the agent before.
    TwoPartitions,
}

impl KeyMisfit {
    /// Every misfit.
    pub const ALL: [Self; 3] = [Self::NoKey, Self::OtherKey, Self::TwoPartitions];

    /// The word used in metrics and in the status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::OtherKey => "other_key",
            Self::TwoPartitions => "two_partitions",
        }
    }
}

/// Calls came in a partition that may not be their agent's.
#[derive(Clone, Copy, Debug)]
pub struct CallsMisplaced<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// What says so.
    pub misfit: KeyMisfit,
    /// How many calls.
    pub calls: u64,
    /// The time now, which decides whether it is logged.
    pub now: Timestamp,
}

impl Event for CallsMisplaced<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { topic, partition, misfit, calls, now } = self;
        let reason = misfit.as_str();
        metrics.families().events_misplaced.with_label_values(&[topic, reason]).inc_by(calls);
        if let Some(kept_back) = metrics.may_log(reason, topic, now) {
            tracing::warn!(
                topic,
                partition,
                reason,
                calls,
                kept_back,
                "the source is not keyed by agent; see docs/runbooks/operations/ToolwardenSourceNotKeyed.md"
            );
        }
    }
}

impl Metrics {
    /// Calls of `topic` that came in a partition that may not be their agent's, since the start.
    #[must_use]
    pub fn misplaced(&self, topic: &str, misfit: KeyMisfit) -> u64 {
        self.families().events_misplaced.with_label_values(&[topic, misfit.as_str()]).get()
    }

    pub(super) fn seed_keys(&self, topics: &[&str]) {
        for topic in topics {
            for misfit in KeyMisfit::ALL {
                self.families().events_misplaced.with_label_values(&[topic, misfit.as_str()]);
            }
        }
    }
}
