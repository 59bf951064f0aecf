//! Calls that come in another partition than their agent's, or under another agent's key: counted by
//! what shows it, told, and without a trace in agents that have nothing to do with them.

use rdkafka::mocking::MockCluster;
use serde_json::{Value, json};

use crate::calls::{create_topics, looping};
use crate::running::{Running, Settings, Stored, produce};

/// The same calls in one partition, under one key.
fn under(calls: Vec<Stored>, partition: i32, key: Option<&str>) -> Vec<Stored> {
    let key = key.unwrap_or_default().as_bytes().to_vec();
    calls.into_iter().map(|call| Stored { partition, key: key.clone(), ..call }).collect()
}

fn misplaced(running: &Running) -> Value {
    let status: Value = serde_json::from_str(&running.get("/api/v1/status").1).unwrap();
    status["misplaced"].clone()
}

#[test]
fn row_39_a_forged_key_or_wrong_partition_is_told_and_other_baselines_stay_as_they_are() {
    let cluster = MockCluster::new(1).unwrap();
    // The calls are old: a partition that counts as idle would let time pass for its agents.
    let settings = Settings {
        more: "peers: {idle_after: 1h}".to_owned(),
        ..Settings::new(&cluster.bootstrap_servers(), "row-39")
    };
    create_topics(&cluster, &settings, 2);
    let running = Running::start(&settings);
    let honest = |agent: &str, partition| {
        let calls = looping(agent, "2026-03-02T10:00:00Z", 6);
        under(calls, partition, Some(&format!("acme/{agent}")))
    };
    let both = [honest("victim", 0), honest("bystander", 1)].concat();
    produce(&settings.bootstrap, settings.calls(), &both);
    running.wait_until_judged(12);
    assert_eq!(running.metrics().count("events_misplaced_total"), 0, "{}", running.log());
    assert_eq!(misplaced(&running), json!([]));
    let portrait = |agent: &str| running.get(&format!("/api/v1/agents/{agent}?tenant=acme"));
    let before = portrait("bystander");
    assert_eq!(before.0, 200, "{}", before.1);

    // Six calls of one agent under another one's key in its partition, then four without any key.
    let forged = under(looping("victim", "2026-03-02T10:05:00Z", 6), 1, Some("acme/bystander"));
    let keyless = under(looping("victim", "2026-03-02T10:06:00Z", 4), 0, None);
    produce(&settings.bootstrap, settings.calls(), &[forged, keyless].concat());
    let metrics = running.wait_until("all are taken in", |it| {
        it.count("events_processed_total") + it.count("events_duplicate_total") >= 22
            && it.count("events_misplaced_total") >= 16
    });
    for (reason, calls) in [("no_key", 4), ("other_key", 6), ("two_partitions", 6)] {
        let label = format!("reason=\"{reason}\"");
        assert_eq!(metrics.count_of("events_misplaced_total", &[&label]), calls, "{reason}");
    }
    let topic = settings.calls();
    let expected = json!([
        {"topic": topic, "reason": "no_key", "calls": 4},
        {"topic": topic, "reason": "other_key", "calls": 6},
        {"topic": topic, "reason": "two_partitions", "calls": 6},
    ]);
    assert_eq!(misplaced(&running), expected);
    assert!(running.log().contains("the source is not keyed by agent"), "{}", running.log());
    assert_eq!(portrait("bystander"), before, "nobody wrote in its name");
}
