//! What is known survives: an instance that is killed, replaced or sent away goes on as if nothing
//! had been. Beside a real Kafka.

use std::time::Duration;

use rdkafka::mocking::MockCluster;

use crate::calls::{create_topics, looping};
use crate::kafka_broker::Broker;
use crate::running::{
    Running, Settings, Stored, alerts_once, committed, produce, read, wait_for,
    wait_until_committed,
};

/// Settings of an instance that writes what it knows ten times a second.
fn settings(bootstrap: &str, name: &str) -> Settings {
    Settings { more: "state: {flush_interval: 100ms}".to_owned(), ..Settings::new(bootstrap, name) }
}

#[test]
fn an_episode_that_was_open_when_it_was_killed_is_updated_and_resolved_by_the_next() {
    let Some(broker) = Broker::shared() else { return };
    let settings = settings(broker.bootstrap(), "killed-open");
    // The calls are old, and a partition without any lets wall time pass, which ends an episode.
    let patient = Settings {
        more: "state: {flush_interval: 100ms}\npeers: {idle_after: 1h}".to_owned(),
        ..settings.clone()
    };
    broker.create_topic(settings.calls(), 4, &[]);
    let calls = looping("loop", "2026-03-02T10:00:00Z", 400);
    let (first, second) = calls.split_at(20);
    let running = Running::start(&patient);
    produce(broker.bootstrap(), settings.calls(), first);
    running.wait_until_judged(first.len());
    wait_until_committed(&settings, &[]);
    running.kill();
    produce(broker.bootstrap(), settings.calls(), second);

    let running = Running::start(&settings);
    running.wait_until_judged(second.len());
    let repeat = |alerts: &[Stored]| -> Vec<(String, String)> {
        let alerts = alerts_once(alerts, &[]).into_values().map(Stored::json);
        let repeat = alerts.filter(|alert| alert["detector"] == "repeat");
        let word = |json: &serde_json::Value| json.as_str().unwrap().to_owned();
        repeat.map(|alert| (word(&alert["alert_id"]), word(&alert["status"]))).collect()
    };
    let told = wait_for("the loop is resolved", || {
        let told = repeat(&read(&settings.bootstrap, &settings.alerts()));
        told.iter().any(|(_, status)| status == "resolved").then_some(told)
    });
    let ids: std::collections::BTreeSet<&String> = told.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 1, "one episode: {told:?}");
    assert_eq!(told.iter().filter(|(_, status)| status == "firing").count(), 1, "{told:?}");
}

#[test]
fn a_baseline_follows_its_partition_to_another_instance_and_back() {
    let Some(broker) = Broker::shared() else { return };
    let settings = settings(broker.bootstrap(), "follows");
    broker.create_topic(settings.calls(), 4, &[]);
    let days: Vec<Stored> = (1..=9)
        .flat_map(|day| looping(&format!("agent-{day}"), "2026-03-02T10:00:00Z", 6))
        .collect();
    produce(broker.bootstrap(), settings.calls(), &days);
    let first = Running::start(&settings);
    first.wait_until_judged(days.len());
    let agents = |running: &Running| running.metrics().count("agents");
    wait_for("all are counted", || (agents(&first) == 9).then_some(()));

    let mut second = Running::start(&settings);
    wait_for("both have a share", || {
        let shares = [first.partitions().len(), second.partitions().len()];
        let agents = [agents(&first), agents(&second)];
        // The agents of two partitions went with them.
        (shares == [2, 2] && agents[1] > 0 && agents[0] + agents[1] == 9).then_some(())
    });
    let (status, _) = second.terminate();
    assert!(status.success());
    wait_for("all are back", || (agents(&first) == 9).then_some(()));
}

#[test]
fn nothing_is_written_or_committed_while_an_alert_before_it_is_not_acknowledged() {
    if Broker::shared().is_none() {
        return;
    }
    let cluster = MockCluster::new(1).unwrap();
    let settings = settings(&cluster.bootstrap_servers(), "unacknowledged");
    create_topics(&cluster, &settings, 1);
    let running = Running::start(&settings);
    running.wait_until("it is ready", |it| it.sum("ready", &[]) > 0.0);
    let agents = || {
        let records = read(&settings.bootstrap, &settings.state());
        records.iter().filter(|it| it.key.starts_with(b"agent/")).count()
    };
    assert_eq!(agents(), 0);
    let calls = looping("loop", "2026-03-02T10:01:00Z", 20);
    // Nobody leads the partition of the alerts. Frozen, so that all calls are judged at once.
    cluster.partition_leader(&settings.alerts(), 0, None).unwrap();
    running.signal("STOP");
    produce(&settings.bootstrap, settings.calls(), &calls);
    running.signal("CONT");
    let more = looping("other", "2026-03-02T11:01:00Z", 20);
    running.wait_until_judged(calls.len());
    std::thread::sleep(Duration::from_secs(2));
    let offset = committed(&settings.bootstrap, &settings.name, settings.calls())[&0].0;
    assert!(offset < 20, "{offset} is committed past an open alert");
    assert_eq!(agents(), 0);
    cluster.partition_leader(&settings.alerts(), 0, Some(1)).unwrap();
    produce(&settings.bootstrap, settings.calls(), &more);
    running.wait_until_judged(calls.len() + more.len());
    wait_until_committed(&settings, &[]);
    assert!(agents() > 0);
}
