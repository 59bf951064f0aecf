//! What happens to the log of groups.

use crate::event::Timestamp;
use crate::telemetry::metrics::set_flag;
use crate::telemetry::{Event, Metrics};

/// What an entry of the groups topic came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupEntryFate {
    /// It took effect.
    Applied,
    /// It said what was said before.
    Repeated,
    /// Somebody else speaks for the partition.
    Stale,
    /// One before it is missing.
    Early,
    /// What it taught may have been counted before, and was not counted again.
    Overlapping,
    /// It could not be used.
    Refused,
    /// It is missing, or the topic is another one.
    Lost,
}

impl GroupEntryFate {
    /// Every fate.
    pub const ALL: [Self; 7] = [
        Self::Applied,
        Self::Repeated,
        Self::Stale,
        Self::Early,
        Self::Overlapping,
        Self::Refused,
        Self::Lost,
    ];

    /// The word used in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Repeated => "repeated",
            Self::Stale => "stale",
            Self::Early => "early",
            Self::Overlapping => "overlapping",
            Self::Refused => "refused",
            Self::Lost => "lost",
        }
    }
}

/// An entry of the groups topic was read.
#[derive(Clone, Copy, Debug)]
pub struct GroupEntryRead {
    /// What it came to.
    pub fate: GroupEntryFate,
}

impl Event for GroupEntryRead {
    fn emit(self, metrics: &Metrics) {
        metrics.families().groups_entries.with_label_values(&[self.fate.as_str()]).inc();
    }
}

/// Something on the groups topic is not as it should be: peers are known less well than they could
/// be, and perhaps not alike by all instances.
///
/// Logged at most once in ten seconds for each fate.
#[derive(Clone, Copy, Debug)]
pub struct GroupEntryBad<'a> {
    /// What it came to.
    pub fate: GroupEntryFate,
    /// Words for the operator.
    pub detail: &'a str,
    /// The time now, which decides whether it is logged.
    pub now: Timestamp,
}

impl Event for GroupEntryBad<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { fate, detail, now } = self;
        let outcome = fate.as_str();
        metrics.families().groups_entries.with_label_values(&[outcome]).inc();
        if let Some(kept_back) = metrics.may_log(outcome, "groups", now) {
            tracing::error!(outcome, ?detail, kept_back, "an entry of the groups topic");
        }
    }
}

/// Everything on the groups topic was read at the start.
#[derive(Clone, Copy, Debug)]
pub struct GroupsRead {
    /// The next offset.
    pub position: i64,
    /// Groups known.
    pub groups: usize,
    /// The last epoch that all partitions were done with.
    pub merged: Option<i64>,
}

impl Event for GroupsRead {
    fn emit(self, _: &Metrics) {
        let Self { position, groups, merged } = self;
        tracing::info!(position, groups, merged, "what peers do was read");
    }
}

/// A snapshot of what peers taught was written to the groups topic.
#[derive(Clone, Copy, Debug)]
pub struct GroupSnapshotWritten {
    /// Its place.
    pub position: i64,
    /// Its size.
    pub bytes: usize,
}

impl Event for GroupSnapshotWritten {
    fn emit(self, metrics: &Metrics) {
        let Self { position, bytes } = self;
        metrics.families().groups_snapshots.inc();
        tracing::info!(position, bytes, "a snapshot of what peers do was written");
    }
}

impl Metrics {
    /// How far the groups topic was read: the next offset, the records after it, and own reports
    /// not read back.
    pub fn groups_log(&self, (position, lag): (i64, i64), waiting: usize) {
        self.families().groups_position.set(position);
        self.families().groups_lag.set(lag);
        self.families().groups_reports_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Whether everything on the groups topic is known.
    pub fn groups_following(&self, is_following: bool) {
        set_flag(&self.families().groups_following, is_following);
    }
}

/// Peer epochs were merged.
#[derive(Clone, Copy, Debug)]
pub struct PeersMerged {
    /// How many.
    pub epochs: u64,
}

impl Event for PeersMerged {
    fn emit(self, metrics: &Metrics) {
        metrics.families().peers_epochs.inc_by(self.epochs);
        tracing::debug!(epochs = self.epochs, "peer epochs merged");
    }
}

/// A partition was no longer waited for when a peer epoch was merged.
#[derive(Clone, Copy, Debug)]
pub struct PeerLeftOut<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The epoch: hours since the Unix epoch.
    pub epoch: i64,
}

impl Event for PeerLeftOut<'_> {
    fn emit(self, metrics: &Metrics) {
        let Self { topic, partition, epoch } = self;
        metrics.families().peers_left_out.inc();
        tracing::warn!(topic, partition, epoch, "peers merged without a partition that is behind");
    }
}

/// Past versions of what peers do are no longer kept for partitions that are too far behind.
#[derive(Clone, Copy, Debug)]
pub struct PeerVersionsLost {
    /// For how many.
    pub partitions: u64,
}

impl Event for PeerVersionsLost {
    fn emit(self, metrics: &Metrics) {
        let Self { partitions } = self;
        metrics.families().peers_versions_lost.inc_by(partitions);
        tracing::warn!(
            partitions,
            "partitions are so far behind that they will be compared with later peers than those of their time"
        );
    }
}
