//! What the program says of itself: one struct an internal event, every metric name in one table.
//!
//! [`Event::emit`] writes the log line and moves the counter together, so that the two cannot
//! drift apart. No agent, tool, session or URL is ever a label. Nothing is global but the log
//! subscriber, which [`init_logging`] installs once: an instance owns its [`Metrics`].

mod bounds;
mod events;
mod family;
mod groups;
mod ingest;
mod kafka;
mod keeping;
mod keys;
mod logging;
mod metrics;
mod notifications;
mod reference;
mod self_check;
mod table;
#[cfg(test)]
mod tests;
mod verdicts;

pub use bounds::{AGENT_TABLES, GROUP_TABLES};
pub use events::{
    AgentRefused, AlertDecided, AlertProduceFailed, Audit, CommitFailed, ConsumerError,
    DeadLetterKind, DeadLettered, EpisodeClosed, EpisodeOpened, Event, OffsetsCommitted,
    PartitionPaused, PartitionsAssigned, PartitionsLost, PartitionsRevoked, ReadyChanged,
    RecordRejected, RecordTooLarge, ShutdownFinished, ShutdownStarted, StallDetected, StallEnded,
    TooLarge, TopicUnreadable,
};
pub use family::{MetricKind, MetricSpec};
pub use groups::{
    GroupEntryBad, GroupEntryFate, GroupEntryRead, GroupSnapshotWritten, GroupsRead, PeerLeftOut,
    PeerVersionsLost, PeersMerged,
};
pub use ingest::{IngestBeganAgain, IngestMetrics, RepeatsPassedOver};
pub use kafka::{BrokerSnapshot, KafkaMetrics, KafkaSnapshot, PartitionSnapshot};
pub use keeping::{
    LOG_CHANGES, LeaseLapsed, RestoreFailed, SourceLogChanged, StateFlushed, StateFlushedEarly,
    StateForeignWrites, StateRestored, StateSuperseded, StateUnwritten,
};
pub use keys::{CallsMisplaced, KeyMisfit};
pub use logging::{LogError, LogFormat, init_logging};
pub use metrics::{BuildInfo, Known, KnownRule, Metrics, SourceMetrics};
pub use notifications::{
    BreakerMoved, FailureReason, NotificationAttemptFailed, NotificationBlocked,
    NotificationDeadLettered, NotificationDeduplicated, NotificationDelivered, NotificationFailed,
    NotificationKnown, NotificationPassedOver, NotificationsOvertaken,
};
pub use reference::metrics_reference;
pub use self_check::TIER_LABELS;
pub use table::METRICS;
pub use verdicts::{VerdictChange, VerdictChanged, VerdictRefused, VerdictsRead};
