//! The table is what is gathered, the lag of a lost partition is gone, events count once.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::alert::Severity;
use crate::event::Timestamp;

const RULE: KnownRule<'_> = KnownRule {
    rule_id: "call-rate",
    title: "Far more calls than usual",
    severity: Severity::High,
    detector: "call_rate",
};

fn seeded() -> Metrics {
    let metrics = Metrics::new(&BuildInfo::default());
    metrics.seed(&Known {
        topics: &["calls"],
        rejected: &["parse"],
        ignored: &["tombstone"],
        receivers: &["pager"],
        rules: &[RULE],
    });
    metrics
}

fn owned(topic: &str, partition: i32, lag: i64) -> PartitionSnapshot {
    PartitionSnapshot {
        topic: topic.into(),
        partition,
        lag: Some(lag),
        fetching: true,
        assigned: true,
        position: Some(10),
        committed: Some(9),
        high_watermark: Some(10 + lag),
        last_append_ms: Some(1_000),
    }
}

fn snapshot(partitions: Vec<PartitionSnapshot>) -> KafkaSnapshot {
    let broker = |up, rtt| BrokerSnapshot { name: "b:9092/1".into(), up, rtt_seconds: Some(rtt) };
    KafkaSnapshot {
        taken_ms: 3_500,
        partitions,
        brokers: vec![broker(true, 0.002)],
        fetch_queue_messages: 3,
        fetch_queue_bytes: 300,
        rebalances: 2,
    }
}

fn series(metrics: &Metrics, start: &str) -> Vec<String> {
    metrics.encode().lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
}

#[test]
fn what_is_gathered_is_the_table() {
    let metrics = seeded();
    metrics.config("abc");
    ConsumerError { code: "_TRANSPORT", fatal: false }.emit(&metrics);
    metrics.kafka().set_assignment(0, vec![("calls".into(), 0)]);
    metrics.kafka().update(0, snapshot(vec![owned("calls", 0, 5)]));
    let gathered = metrics.gathered();
    let names: BTreeSet<&str> =
        gathered.iter().map(prometheus::proto::MetricFamily::name).collect();
    assert_eq!(names, METRICS.iter().map(|metric| metric.name).collect::<BTreeSet<_>>());
    for metric in METRICS {
        let family = gathered.iter().find(|family| family.name() == metric.name).unwrap();
        assert_eq!(family.help(), metric.help);
        assert_eq!(
            format!("{:?}", family.get_field_type()).to_lowercase(),
            metric.kind.as_str(),
            "{}",
            metric.name
        );
        let labels: BTreeSet<&str> = family.get_metric()[0]
            .get_label()
            .iter()
            .map(prometheus::proto::LabelPair::name)
            .collect();
        assert_eq!(labels, metric.labels.iter().copied().collect(), "{}", metric.name);
    }
}

#[test]
fn names_follow_the_habits_of_prometheus() {
    for metric in METRICS {
        let (name, counter) = (metric.name, metric.kind == MetricKind::Counter);
        assert_eq!(name.ends_with("_total"), counter, "{name}");
        assert_eq!(metric.unit == "info", name.ends_with("_info"), "{name}");
        assert_eq!(metric.unit == "seconds", name.contains("_seconds"), "{name}");
        assert_eq!(metric.kind == MetricKind::Histogram, !metric.buckets.is_empty(), "{name}");
        assert!(metric.help.ends_with('.') && !metric.help.contains('|'), "{name}");
    }
}

#[test]
fn known_series_exist_before_anything_happens() {
    let text = seeded().encode();
    for line in [
        r#"toolwarden_records_received_total{topic="calls"} 0"#,
        r#"toolwarden_events_rejected_total{reason="parse",topic="calls"} 0"#,
        r#"toolwarden_alerts_total{rule_id="call-rate",severity="high",status="firing"} 0"#,
        r#"toolwarden_notifications_failed_total{reason="timeout",receiver="pager"} 0"#,
        r#"toolwarden_kafka_assigned_partitions{topic="calls"} 0"#,
        r#"toolwarden_dead_letters_total{kind="delivery"} 0"#,
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
}

#[test]
fn the_lag_of_a_revoked_partition_is_gone_from_the_next_scrape() {
    let metrics = seeded();
    let kafka = metrics.kafka();
    kafka.set_assignment(0, vec![("calls".into(), 0), ("calls".into(), 1)]);
    kafka.update(0, snapshot(vec![owned("calls", 0, 5), owned("calls", 1, 900)]));
    assert_eq!(
        series(&metrics, "toolwarden_kafka_consumer_lag{"),
        [
            r#"toolwarden_kafka_consumer_lag{partition="0",topic="calls"} 5"#,
            r#"toolwarden_kafka_consumer_lag{partition="1",topic="calls"} 900"#,
        ]
    );
    kafka.set_assignment(0, vec![("calls".into(), 0)]);
    let left = r#"toolwarden_kafka_consumer_lag{partition="0",topic="calls"} 5"#;
    assert_eq!(series(&metrics, "toolwarden_kafka_consumer_lag{"), [left]);
    // The client's statistics still speak of the lost partition, for one interval or for ever.
    kafka.update(0, snapshot(vec![owned("calls", 0, 5), owned("calls", 1, 900)]));
    assert_eq!(series(&metrics, "toolwarden_kafka_consumer_lag{"), [left]);
    assert!(!metrics.encode().contains(r#"partition="1""#));
    assert!(metrics.encode().contains(r#"assigned_partitions{topic="calls"} 1"#));
}

#[test]
fn a_lag_that_is_unknown_or_not_fetched_is_not_shown() {
    let metrics = seeded();
    let partitions = vec![
        PartitionSnapshot { lag: Some(-1), ..owned("calls", 0, 0) },
        PartitionSnapshot { lag: None, ..owned("calls", 1, 0) },
        PartitionSnapshot { fetching: false, ..owned("calls", 2, 7) },
        PartitionSnapshot { assigned: false, ..owned("calls", 3, 7) },
        PartitionSnapshot { position: Some(-1001), ..owned("calls", -1, 7) },
    ];
    let assignment = (-1..4).map(|partition| ("calls".to_owned(), partition)).collect();
    metrics.kafka().set_assignment(0, assignment);
    metrics.kafka().update(0, snapshot(partitions));
    assert_eq!(series(&metrics, "toolwarden_kafka_consumer_lag"), Vec::<String>::new());
    assert!(!metrics.encode().contains("-1"));
}

#[test]
fn lag_in_seconds_is_the_age_of_the_last_record_and_0_without_lag() {
    let metrics = seeded();
    metrics.kafka().set_assignment(0, vec![("calls".into(), 0), ("calls".into(), 1)]);
    metrics.kafka().update(0, snapshot(vec![owned("calls", 0, 0), owned("calls", 1, 4)]));
    assert_eq!(
        series(&metrics, "toolwarden_kafka_consumer_lag_seconds{"),
        [
            r#"toolwarden_kafka_consumer_lag_seconds{partition="0",topic="calls"} 0"#,
            r#"toolwarden_kafka_consumer_lag_seconds{partition="1",topic="calls"} 2.5"#,
        ]
    );
}

#[test]
fn workers_are_added_up_and_the_worst_broker_is_told() {
    let metrics = seeded();
    metrics.kafka().update(0, snapshot(Vec::new()));
    let mut other = snapshot(Vec::new());
    other.brokers[0] =
        BrokerSnapshot { up: false, rtt_seconds: Some(0.5), ..other.brokers[0].clone() };
    metrics.kafka().update(1, other);
    let text = metrics.encode();
    for line in [
        "toolwarden_kafka_fetch_queue_messages 6",
        "toolwarden_kafka_fetch_queue_bytes 600",
        "toolwarden_kafka_rebalances_total 4",
        r#"toolwarden_kafka_broker_up{broker="b:9092/1"} 0"#,
        r#"toolwarden_kafka_broker_rtt_seconds{broker="b:9092/1"} 0.5"#,
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
}

#[test]
fn a_rejection_counts_each_time_and_is_logged_once_in_ten_seconds() {
    let metrics = seeded();
    let at = |secs| RecordRejected {
        topic: "calls",
        partition: 0,
        offset: 7,
        reason: "parse",
        detail: "expected an object",
        now: Timestamp::from_secs(secs),
    };
    for secs in [100, 100, 109] {
        at(secs).emit(&metrics);
    }
    assert_eq!(
        series(&metrics, "toolwarden_events_rejected_total"),
        [r#"toolwarden_events_rejected_total{reason="parse",topic="calls"} 3"#]
    );
    let now = Timestamp::from_secs;
    assert_eq!(metrics.may_log("parse", "calls", now(109)), None);
    assert_eq!(metrics.may_log("utf8", "calls", now(109)), Some(0));
    assert_eq!(metrics.may_log("parse", "other", now(109)), Some(0));
    assert_eq!(metrics.may_log("parse", "calls", now(110)), Some(3));
    assert_eq!(metrics.may_log("parse", "calls", now(50)), Some(0));
}

#[test]
fn where_there_is_no_clock_lines_are_kept_back_by_the_time_that_was_last_told() {
    let metrics = Metrics::new(&BuildInfo::default());
    let lines = || metrics.may_log_now("kafka_error", "_TRANSPORT");
    assert_eq!([lines(), lines()], [Some(0); 2], "nobody has told the time");
    metrics.time_is(Timestamp::from_secs(100));
    assert_eq!([lines(), lines()], [Some(0), None]);
    metrics.time_is(Timestamp::from_secs(110));
    assert_eq!(lines(), Some(1));
}

#[test]
fn a_notification_moves_its_requests_its_result_and_its_latency() {
    let metrics = seeded();
    let receiver = "pager";
    let reason = FailureReason::ServerError;
    NotificationAttemptFailed { receiver, reason }.emit(&metrics);
    NotificationDelivered { receiver, latency: Duration::from_millis(70) }.emit(&metrics);
    NotificationAttemptFailed { receiver, reason }.emit(&metrics);
    NotificationFailed { receiver, reason }.emit(&metrics);
    NotificationDeadLettered { receiver }.emit(&metrics);
    let text = metrics.encode();
    for line in [
        r#"notification_requests_total{receiver="pager"} 3"#,
        r#"notification_request_failures_total{receiver="pager"} 2"#,
        r#"notifications_total{receiver="pager"} 2"#,
        r#"notifications_failed_total{reason="server_error",receiver="pager"} 1"#,
        r#"notification_dead_letters_total{receiver="pager"} 1"#,
        r#"notification_latency_seconds_bucket{receiver="pager",le="0.1"} 1"#,
        r#"notification_latency_seconds_bucket{receiver="pager",le="0.05"} 0"#,
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
}

#[test]
fn a_new_configuration_replaces_the_label_of_the_old_one() {
    let metrics = seeded();
    metrics.config("old");
    metrics.config("new");
    assert_eq!(
        series(&metrics, "toolwarden_config_info"),
        [r#"toolwarden_config_info{hash="new"} 1"#]
    );
}

#[test]
fn episodes_and_states_are_gauges_that_return() {
    let metrics = seeded();
    EpisodeOpened { severity: Severity::High }.emit(&metrics);
    EpisodeOpened { severity: Severity::High }.emit(&metrics);
    EpisodeClosed { severity: Severity::High }.emit(&metrics);
    ReadyChanged { ready: true, reason: "" }.emit(&metrics);
    StallDetected { why: "a worker" }.emit(&metrics);
    let text = metrics.encode();
    assert!(text.contains(r#"alerts_active{severity="high"} 1"#), "{text}");
    assert!(text.contains("toolwarden_ready 1") && text.contains("toolwarden_kafka_stalled 1"));
    StallEnded.emit(&metrics);
    assert!(metrics.encode().contains("toolwarden_kafka_stalled 0"));
}

#[test]
fn of_several_groups_on_one_partition_the_one_furthest_behind_is_shown() {
    let metrics = Metrics::new(&BuildInfo::default());
    for (worker, lag) in [(1, 5), (2, 70), (3, 0)] {
        metrics.kafka().set_assignment(worker, vec![("alerts".into(), 0)]);
        metrics.kafka().update(worker, snapshot(vec![owned("alerts", 0, lag)]));
    }
    let lag = series(&metrics, "toolwarden_kafka_consumer_lag{");
    assert_eq!(lag, [r#"toolwarden_kafka_consumer_lag{partition="0",topic="alerts"} 70"#]);
}
