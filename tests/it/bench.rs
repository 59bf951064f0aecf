//! What measures measures: each bench comes to its end and has counted what it was to count. How
//! fast anything was is no matter of tests.

use std::process::Command;

use serde_json::Value;

use crate::kafka_broker::Broker;

/// What a bench reports.
fn report(arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    let output = command.arg("bench").args(arguments).output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{talk}");
    assert!(!talk.contains(" stays: "), "a topic that was to be deleted: {talk}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a bench beside a broker reports.
fn beside(broker: &Broker, what: &str, arguments: &[&str]) -> Value {
    let place = [what, "--broker", broker.bootstrap(), "--partitions", "2"];
    report(&[&place[..], arguments].concat())
}

/// A list of measurements of one round each, above nothing.
fn was_measured(value: &Value) -> bool {
    let seconds = value.as_array().unwrap();
    seconds.len() == 1 && seconds.iter().all(|it| it.as_f64().unwrap() > 0.0)
}

#[test]
fn the_bench_of_memory_holds_all_agents() {
    let report = report(&["memory", "--agents", "400", "--live", "40"]);
    assert_eq!((&report["agents"], &report["live"]), (&400.into(), &40.into()), "{report}");
    assert!(report["resident_bytes"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn the_bench_of_restoring_reads_back_all_it_wrote() {
    let Some(broker) = Broker::shared() else { return };
    let report = beside(&broker, "restore", &["--agents", "400", "--rounds", "1"]);
    // Each agent twice, and more than the markers of two days in two partitions.
    assert!(report["records"].as_u64().unwrap() >= 804, "{report}");
    assert!(was_measured(&report["seconds"]), "{report}");
}

#[test]
fn the_bench_of_the_whole_way_judges_all_calls_with_and_without_state() {
    let Some(broker) = Broker::shared() else { return };
    let arguments = ["--calls", "20000", "--agents", "400", "--rounds", "1", "--without-state"];
    let report = beside(&broker, "pipeline", &arguments);
    for ratio in ["ratio", "state_ratio"] {
        assert!(report[ratio].as_f64().unwrap() > 0.0, "{ratio}: {report}");
    }
}

#[test]
fn the_bench_of_latency_sees_every_alert_arrive() {
    let Some(broker) = Broker::shared() else { return };
    let arguments = ["--rate", "200", "--agents", "400", "--seconds", "3", "--warm-up", "2"];
    let report = beside(&broker, "latency", &arguments);
    let [expected, arrived] = ["expected", "arrived"].map(|it| &report[format!("alerts_{it}")]);
    assert!(expected == arrived && expected.as_u64().unwrap() > 0, "{report}");
}
