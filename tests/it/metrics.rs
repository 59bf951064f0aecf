//! The documentation of the metrics is the table, and Prometheus' own checker likes the output.

use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};

use toolwarden::alert::Severity;
use toolwarden::telemetry::{
    BuildInfo, KafkaSnapshot, Known, KnownRule, Metrics, PartitionSnapshot, metrics_reference,
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");

#[test]
fn the_page_of_the_metrics_is_written_from_the_table() {
    let wanted = metrics_reference();
    if std::env::var_os("TOOLWARDEN_BLESS").is_some() {
        std::fs::write(PAGE, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/metrics.md differs from the table: run TOOLWARDEN_BLESS=1 cargo test --test it metrics"
    );
}

#[test]
fn promtool_finds_nothing_to_say_about_the_output() {
    let metrics = filled();
    let checker = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut checker = match checker {
        Ok(checker) => checker,
        // Where Prometheus is not installed, the habits are held by the unit tests alone.
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => panic!("promtool: {error}"),
    };
    checker.stdin.take().unwrap().write_all(metrics.encode().as_bytes()).unwrap();
    let output = checker.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn a_hundred_thousand_different_records_add_no_series() {
    let metrics = filled();
    let before = metrics.encode().lines().count();
    let source = metrics.source("calls");
    for _ in 0..100_000 {
        source.records.inc();
        source.rejected("parse");
        source.ignored("tombstone");
    }
    assert_eq!(metrics.encode().lines().count(), before);
}

fn filled() -> Metrics {
    let build =
        BuildInfo { version: "0.1.0".into(), revision: "abc".into(), librdkafka: "2.12.1".into() };
    let metrics = Metrics::new(&build);
    metrics.seed(&Known {
        topics: &["calls"],
        rejected: &["parse"],
        ignored: &["tombstone"],
        receivers: &["pager"],
        rules: &[KnownRule {
            rule_id: "call-rate",
            title: "Far more calls than \"usual\"",
            severity: Severity::High,
            detector: "call_rate",
        }],
    });
    metrics.config("abc");
    metrics.kafka().set_assignment(0, vec![("calls".into(), 3)]);
    let partition = PartitionSnapshot {
        topic: "calls".into(),
        partition: 3,
        lag: Some(4),
        fetching: true,
        assigned: true,
        position: Some(6),
        committed: Some(5),
        high_watermark: Some(10),
        last_append_ms: Some(1_000),
    };
    let snapshot =
        KafkaSnapshot { taken_ms: 2_000, partitions: vec![partition], ..KafkaSnapshot::default() };
    metrics.kafka().update(0, snapshot);
    metrics
}
