//! Every metric there is: the one place where a metric gets its name, labels and help.
//!
//! Dashboards, alert rules, the chart and `docs/metrics.md` are held against this table by tests.

use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Registry,
};

use crate::telemetry::family::{
    CALL_BUCKETS, END_TO_END_BUCKETS, Family, MetricSpec, NOTIFICATION_BUCKETS, SCORE_BUCKETS,
    SnapshotCounter, SnapshotGauge,
};

/// Buckets of what is not a histogram.
const NONE: &[f64] = &[];

/// Writes the table once as data ([`METRICS`]) and once as typed, registered families.
macro_rules! table {
    ($($field:ident: $type:ty = $name:literal, $unit:literal, $labels:expr, $buckets:expr, $help:literal;)*) => {
        /// Every metric of toolwarden, in the order of the documentation. The `process_*` metrics
        /// of the Prometheus client come on top.
        pub const METRICS: &[MetricSpec] = &[$(MetricSpec {
            name: concat!("toolwarden_", $name),
            kind: <$type as Family>::KIND,
            help: $help,
            unit: $unit,
            labels: &$labels,
            buckets: $buckets,
        }),*];

        /// The live families, one for each row of the table.
        #[derive(Debug)]
        pub(super) struct Families {
            $(pub(super) $field: $type,)*
        }

        impl Families {
            /// Creates and registers every row.
            pub(super) fn register(registry: &Registry) -> Self {
                Self {$(
                    $field: {
                        static SPEC: MetricSpec = MetricSpec {
                            name: concat!("toolwarden_", $name),
                            kind: <$type as Family>::KIND,
                            help: $help,
                            unit: $unit,
                            labels: &$labels,
                            buckets: $buckets,
                        };
                        <$type as Family>::register(&SPEC, registry)
                    },
                )*}
            }
        }
    };
}

table! {
    // The program.
    build_info: IntGaugeVec = "build_info", "info", ["version", "revision", "librdkafka"], NONE,
        "Always 1; the labels tell which build runs.";
    config_info: IntGaugeVec = "config_info", "info", ["hash"], NONE,
        "Always 1; the label is a digest of the configuration in force.";
    rule_info: IntGaugeVec = "rule_info", "info", ["rule_id", "title", "severity"], NONE,
        "Always 1; joins a rule's title and severity to its id.";
    rules_loaded: IntGauge = "rules_loaded", "rules", [], NONE,
        "Rules in force.";
    ready: IntGauge = "ready", "boolean", [], NONE,
        "1 while the instance does its work, 0 while it starts, stops or is stuck.";

    // Records in.
    records_received: IntCounterVec = "records_received_total", "records", ["topic"], NONE,
        "Kafka records received.";
    records_read_again: IntCounterVec = "records_read_again_total", "records", ["topic"], NONE,
        "Kafka records that the client handed out once more: passed over.";
    record_bytes_received: IntCounterVec = "record_bytes_received_total", "bytes", ["topic"], NONE,
        "Bytes of Kafka record values received.";
    events_processed: IntCounterVec = "events_processed_total", "calls", ["topic"], NONE,
        "Tool calls judged, each once.";
    events_late: IntCounterVec = "events_late_total", "calls", ["topic"], NONE,
        "Tool calls that came later than the allowed lateness: counted, not judged.";
    events_duplicate: IntCounterVec = "events_duplicate_total", "calls", ["topic"], NONE,
        "Tool calls seen before, by their call id: judged once.";
    events_unjudged: IntCounterVec = "events_unjudged_total", "calls", ["topic"], NONE,
        "Tool calls of agents for which there was no room (limits.agents*): nobody judged them.";
    events_ignored: IntCounterVec = "events_ignored_total", "items", ["topic", "reason"], NONE,
        "Items in records that are no tool calls and are not meant to be.";
    events_rejected: IntCounterVec = "events_rejected_total", "items", ["topic", "reason"], NONE,
        "Items in records that should have been tool calls and could not be read.";
    events_misplaced: IntCounterVec = "events_misplaced_total", "calls", ["topic", "reason"], NONE,
        "Tool calls in a partition that may not be their agent's: the record has no key, its key names another agent, or another partition brought the agent before. They are judged.";

    events_repeated: IntCounter = "events_repeated_total", "calls", [], NONE,
        "Tool calls that ingest wrote to the calls topic again, after a stop: known by their place in the source and passed over.";
    ingest_calls: IntCounter = "ingest_calls_total", "calls", [], NONE,
        "Tool calls of sources that are not keyed by agent, sent to the calls topic.";
    ingest_unacknowledged: IntGauge = "ingest_unacknowledged", "calls", [], NONE,
        "Tool calls on their way to the calls topic that the broker has not acknowledged.";
    ingest_restarts: IntCounter = "ingest_restarts_total", "times", [], NONE,
        "Times the broker refused a call on its way to the calls topic, and ingest began again where the last one arrived.";
    source_marks_forgotten: IntCounter = "source_marks_forgotten_total", "partitions", [], NONE,
        "Source partitions of which a partition of the calls topic forgot how far it had seen them, because it knew too many.";

    // What is known, kept.
    state_durable: IntGauge = "state_durable", "boolean", [], NONE,
        "1 when what is known of agents is written to the state topic.";
    state_flushes: IntCounter = "state_flushes_total", "flushes", [], NONE,
        "Times a partition's baselines were written to the state topic, marker included.";
    state_flush_duration: Histogram = "state_flush_duration_seconds", "seconds", [], NOTIFICATION_BUCKETS,
        "From the cut of a flush to the acknowledgement of its marker.";
    state_flushes_early: IntCounter = "state_flushes_early_total", "flushes", [], NONE,
        "Flushes begun before their time because what agents taught took its share of `state.lessons_bytes`.";
    state_records_written: IntCounter = "state_records_written_total", "records", [], NONE,
        "Records written to the state topic.";
    state_bytes_written: IntCounter = "state_bytes_written_total", "bytes", [], NONE,
        "Bytes written to the state topic, before compression.";
    state_unwritten: IntCounter = "state_unwritten_total", "agents", [], NONE,
        "Times an agent's baseline could not be written: after a restart it is as old as its last record.";
    state_restores: IntCounter = "state_restores_total", "partitions", [], NONE,
        "Partitions whose baselines were read back from the state topic.";
    state_restore_duration: Histogram = "state_restore_duration_seconds", "seconds", [], NOTIFICATION_BUCKETS,
        "Time to read one partition's baselines back.";
    state_restore_failures: IntCounter = "state_restore_failures_total", "tries", [], NONE,
        "Times a partition's baselines could not be read; it is not judged until they can.";
    state_records_refused: IntCounter = "state_records_refused_total", "records", [], NONE,
        "Records of the state topic that were damaged or of another version, and not used.";
    state_agents_missing: IntCounter = "state_agents_missing_total", "agents", [], NONE,
        "Agents that a partition's marker counts and whose baselines were not found.";
    state_foreign_writes: IntCounter = "state_foreign_writes_total", "records", [], NONE,
        "Records that another process wrote to a partition of the state topic that this one owns; they are written anew.";
    state_superseded: IntCounter = "state_superseded_total", "partitions", [], NONE,
        "Times a later owner's records showed that a partition is not this instance's; what it knew was dropped and read again.";
    leases_lapsed: IntCounter = "leases_lapsed_total", "times", [], NONE,
        "Times a worker was frozen for half the session's timeout and wrote nothing until the group confirmed its partitions.";
    partitions_restoring: IntGauge = "partitions_restoring", "partitions", [], NONE,
        "Partitions that wait for their baselines and are not judged yet.";
    source_log_changes: IntCounterVec = "source_log_changes_total", "changes", ["topic", "change"], NONE,
        "Times a source partition was not as it was left: overtaken by retention, replaced, repartitioned.";
    records_lost: IntCounterVec = "records_lost_total", "records", ["topic"], NONE,
        "Offsets that retention deleted before they were judged.";

    // Speed.
    end_to_end_latency: Histogram = "event_end_to_end_latency_seconds", "seconds", [], END_TO_END_BUCKETS,
        "From the broker's append to the verdict, sampled once a batch.";
    processing_duration: Histogram = "event_processing_duration_seconds", "seconds", [], CALL_BUCKETS,
        "Time to judge one call: a batch's time over its calls, sampled once a batch.";
    watermark_lag: GaugeVec = "watermark_lag_seconds", "seconds", ["topic"], NONE,
        "How far event time is behind wall time in the worst partition.";
    held_calls: IntGauge = "held_calls", "calls", [], NONE,
        "Calls held back while they wait for their order or for peers.";
    held_calls_limit: IntGauge = "held_calls_limit", "calls", [], NONE,
        "The most calls that may be held back.";

    // What is known.
    agents: IntGauge = "agents", "agents", [], NONE,
        "Agents in memory.";
    agents_limit: IntGauge = "agents_limit", "agents", [], NONE,
        "The most agents that may be in memory.";
    agents_refused: IntCounter = "agents_refused_total", "agents", [], NONE,
        "Times agents were turned away because there was no room for new ones.";
    agents_forgotten: IntCounterVec = "agents_forgotten_total", "agents", ["reason"], NONE,
        "Agents that were forgotten: idle, for longer than state.forget_after; no_room, not known yet, for a new one.";
    agents_learning: IntGauge = "agents_learning", "agents", [], NONE,
        "Agents with too little history to page for.";
    peers_epochs: IntCounter = "peers_epochs_total", "epochs", [], NONE,
        "Peer epochs merged.";
    peers_left_out: IntCounter = "peers_left_out_total", "partitions", [], NONE,
        "Times a partition was no longer waited for when a peer epoch was merged.";
    peers_versions_lost: IntCounter = "peers_versions_lost_total", "partitions", [], NONE,
        "Times past versions of what peers do were no longer kept for a partition, because it is too far behind.";
    groups_entries: IntCounterVec = "groups_entries_total", "entries", ["outcome"], NONE,
        "Entries of the groups topic read: what each came to.";
    groups_following: IntGauge = "groups_following", "boolean", [], NONE,
        "1 while this instance knows of the groups topic all that others do, 0 while it is behind or cannot read it.";
    groups_lag: IntGauge = "groups_lag", "records", [], NONE,
        "Records of the groups topic not yet read.";
    groups_position: IntGauge = "groups_position", "offset", [], NONE,
        "The next offset to be read of the groups topic.";
    groups_reports_waiting: IntGauge = "groups_reports_waiting", "reports", [], NONE,
        "Parts of reports on this instance's partitions that are not yet read back from the groups topic.";
    groups_snapshots: IntCounter = "groups_snapshots_total", "snapshots", [], NONE,
        "Snapshots of what peers taught that this instance wrote to the groups topic.";

    // What people said.
    verdicts: IntGauge = "verdicts", "verdicts", [], NONE,
        "Verdicts of people in memory (limits.verdicts).";
    verdict_changes: IntCounterVec = "verdict_changes_total", "verdicts", ["change"], NONE,
        "Verdicts that came, ended or could not be used, since the start.";

    // Judgement.
    anomaly_score: HistogramVec = "anomaly_score", "score", ["detector"], SCORE_BUCKETS,
        "Scores of alerts and findings when they were first told or got worse.";
    alerts: IntCounterVec = "alerts_total", "alerts", ["rule_id", "severity", "status"], NONE,
        "Alerts decided; findings have severity info.";
    self_check_crossings: IntCounterVec = "selfcheck_crossings_total", "agent-days", ["detector", "tier"], NONE,
        "Active agent-days on which a detector's ratio of budget to chance reached the tier; at 1 an alert is due.";
    self_check_allowed: CounterVec = "selfcheck_allowed_total", "agent-days", ["detector", "tier"], NONE,
        "The most such agent-days that the detector's budget allows.";
    agent_bounds_met: IntCounterVec = "agent_bounds_met_total", "calls", ["table"], NONE,
        "Calls at which something of an agent had to make room, or was left out, because its table was full.";
    peers_full: IntGaugeVec = "peers_tables_full", "groups", ["table"], NONE,
        "Peer groups that had more to hold in a table than one group may: what is least supported or oldest was forgotten, or a sample kept.";
    self_check_miscalibrated: IntGaugeVec = "selfcheck_groups_miscalibrated", "groups", ["detector"], NONE,
        "Peer groups in which a detector comes near to an alert more often than its budget allows: its alerts are one step milder there.";
    alerts_active: IntGaugeVec = "alerts_active", "episodes", ["severity"], NONE,
        "Open episodes.";
    alerts_produce_failures: IntCounter = "alerts_produce_failures_total", "alerts", [], NONE,
        "Alerts that the broker did not take.";
    records_too_large: IntCounterVec = "records_too_large_total", "records", ["outcome"], NONE,
        "Records that were too large for their topic, by what became of them: `cut` and sent with less in them, `left_out`, `baseline_left_out` (a baseline; after a restart it is as old as its last record), `split` into smaller parts, or `kept` and tried again.";
    alerts_unacknowledged: IntGauge = "alerts_unacknowledged", "alerts", [], NONE,
        "Alerts written and not yet acknowledged by the broker.";
    audit_records: IntCounterVec = "audit_records_total", "records", ["kind"], NONE,
        "Records of what changed in what is known of agents, written to the audit topic.";
    dead_letters: IntCounterVec = "dead_letters_total", "records", ["kind"], NONE,
        "Records written to the dead-letter topic.";

    // Telling people.
    notifications: IntCounterVec = "notifications_total", "notifications", ["receiver"], NONE,
        "Notifications finished: delivered or given up.";
    notifications_failed: IntCounterVec = "notifications_failed_total", "notifications", ["receiver", "reason"], NONE,
        "Notifications given up, by the reason of the last attempt.";
    notification_requests: IntCounterVec = "notification_requests_total", "requests", ["receiver"], NONE,
        "HTTP attempts at notifications.";
    notification_request_failures: IntCounterVec = "notification_request_failures_total", "requests", ["receiver"], NONE,
        "HTTP attempts at notifications that failed.";
    notification_requests_blocked: IntCounterVec = "notification_requests_blocked_total", "requests", ["receiver"], NONE,
        "Attempts at notifications that were not made: the receiver's name stood for addresses outside the public internet and its allow_networks.";
    notification_latency: HistogramVec = "notification_latency_seconds", "seconds", ["receiver"], NOTIFICATION_BUCKETS,
        "Time of the HTTP attempt that delivered a notification.";
    notifications_deduplicated: IntCounterVec = "notifications_deduplicated_total", "notifications", ["receiver"], NONE,
        "Firing alerts sent as updates of an incident that was told before (dedup_for).";
    notification_incidents: IntGaugeVec = "notification_incidents", "incidents", ["receiver"], NONE,
        "Incidents remembered so that they are not paged for twice.";
    notification_incidents_forgotten: IntCounterVec = "notification_incidents_forgotten_total", "incidents", ["receiver"], NONE,
        "Incidents forgotten early because too many were open: they may be paged for twice.";
    notification_queue_length: IntGaugeVec = "notification_queue_length", "notifications", ["receiver"], NONE,
        "Notifications that wait for their receiver.";
    notification_oldest_pending: GaugeVec = "notification_oldest_pending_seconds", "seconds", ["receiver"], NONE,
        "Age of the oldest notification that waits; 0 when none does.";
    notification_dead_letters: IntCounterVec = "notification_dead_letters_total", "notifications", ["receiver"], NONE,
        "Notifications handed to the dead-letter topic.";
    notifications_known: IntCounterVec = "notifications_known_total", "notifications", ["receiver"], NONE,
        "Alerts read again that the receiver has: not sent to it again.";
    notifications_passed_over: IntCounterVec = "notifications_passed_over_total", "alerts", ["receiver"], NONE,
        "Times that an alert was read and left for later because too many wait for the receiver; critical ones get ahead of it.";
    notifications_overtaken: IntCounterVec = "notifications_overtaken_total", "alerts", ["receiver"], NONE,
        "Alerts that went from the alerts topic before the receiver was told of them.";
    notification_breaker_state: IntGaugeVec = "notification_breaker_state", "state", ["receiver"], NONE,
        "The receiver's circuit breaker: 0 closed, 1 half open (one alert tries it), 2 open.";
    notification_breaker_opened: IntCounterVec = "notification_breaker_opened_total", "openings", ["receiver"], NONE,
        "Times that the receiver's circuit breaker opened.";
    notification_log_entries: IntGaugeVec = "notification_log_entries", "alerts", ["receiver"], NONE,
        "Alerts that the log of deliveries knows of for the receiver, of partitions that are ours.";
    notification_log_forgotten: IntCounterVec = "notification_log_forgotten_total", "alerts", ["receiver"], NONE,
        "Alerts that the log of deliveries forgot early because there were too many: read again, they are sent again.";

    // Kafka.
    kafka_consumer_lag: SnapshotGauge = "kafka_consumer_lag", "records", ["topic", "partition"], NONE,
        "Records not yet consumed, of partitions that are assigned and being fetched.";
    kafka_consumer_lag_seconds: SnapshotGauge = "kafka_consumer_lag_seconds", "seconds", ["topic", "partition"], NONE,
        "Age of the last record judged, of partitions that are assigned and being fetched; 0 without lag.";
    kafka_assigned_partitions: SnapshotGauge = "kafka_assigned_partitions", "partitions", ["topic"], NONE,
        "Partitions assigned to this instance.";
    kafka_committed_offset: SnapshotGauge = "kafka_committed_offset", "offset", ["topic", "partition"], NONE,
        "The group's committed offset in an assigned partition.";
    kafka_position: SnapshotGauge = "kafka_position", "offset", ["topic", "partition"], NONE,
        "The next offset to be read in an assigned partition.";
    kafka_high_watermark: SnapshotGauge = "kafka_high_watermark", "offset", ["topic", "partition"], NONE,
        "The end of an assigned partition, as the broker last told.";
    kafka_rebalances: SnapshotCounter = "kafka_rebalances_total", "rebalances", [], NONE,
        "Rebalances this instance's consumers took part in.";
    kafka_commits: IntCounterVec = "kafka_commits_total", "commits", ["result"], NONE,
        "Offset commits.";
    kafka_errors: IntCounterVec = "kafka_errors_total", "errors", ["code"], NONE,
        "Errors the Kafka client reported, by librdkafka's code.";
    kafka_fetch_queue_messages: SnapshotGauge = "kafka_fetch_queue_messages", "records", [], NONE,
        "Records fetched ahead and not yet taken.";
    kafka_fetch_queue_bytes: SnapshotGauge = "kafka_fetch_queue_bytes", "bytes", [], NONE,
        "Bytes fetched ahead and not yet taken.";
    kafka_broker_rtt: SnapshotGauge = "kafka_broker_rtt_seconds", "seconds", ["broker"], NONE,
        "Average round trip to a broker over the last statistics interval, worst consumer.";
    kafka_broker_up: SnapshotGauge = "kafka_broker_up", "boolean", ["broker"], NONE,
        "1 while every consumer that uses a broker is connected to it.";
    kafka_stalled: IntGauge = "kafka_stalled", "boolean", [], NONE,
        "1 while a worker does not poll, or an assigned partition has records to read or calls to judge and does not move, for longer than `kafka.stalled_after`.";
    partition_pauses: IntCounter = "partition_pauses_total", "times", [], NONE,
        "Times an assigned partition was read no further because too many alerts are not acknowledged or too many calls are held.";
}
