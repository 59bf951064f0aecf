//! What peers teach crosses instances: several of them judge a log that is spread over partitions
//! as one process judges it whole, and whoever starts later knows what they know.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use serde_json::{Value, json};
use toolwarden::decode::{self, Format, Item};
use toolwarden::event::Position;
use toolwarden::event::{Timestamp, ToolCall};
use toolwarden::generate::{Anomaly, Planted, Scenario, Traffic, Work};

use crate::calls::create_topics;
use crate::kafka_broker::Broker;
use crate::running::{PATIENCE, Running, Settings, Stored, logs, now, produce, read, wait_for};
use crate::support::succeed;

const PARTITIONS: i32 = 4;

/// Four agents of one product over four days; on the last one something happens to each of four.
/// At the end somebody in each partition makes one more call, so that all are done with the rest.
pub(crate) fn calls() -> Vec<(i32, String)> {
    let planted = [
        (Anomaly::RunawayLoop, "code-assistant-0@0000", 13 * 60 + 5),
        (Anomaly::OffHours, "code-assistant-0@0001", 2 * 60 + 10),
        (Anomaly::NewTools, "code-assistant-0@0002", 10 * 60 + 20),
        (Anomaly::ErrorStorm, "code-assistant-0@0003", 11 * 60),
    ];
    let mut quiet = Scenario::company(4, 4, 5);
    if let Traffic::Products(products) = &mut quiet.traffic {
        for product in products {
            product.work = Work::Sessions { a_day: 3, calls: 50.0 };
        }
    }
    let scenario = planted.into_iter().fold(quiet, |scenario, (kind, agent, minute)| {
        let (tenant_id, agent_id) = ("acme".to_owned(), agent.to_owned());
        scenario.with(Planted { kind, tenant_id, agent_id, day: 3, minute })
    });
    let mut calls: Vec<(i32, String)> = Vec::new();
    let mut newest = Timestamp::MIN;
    for generated in scenario.events() {
        let mut line = Vec::new();
        generated.event.write_json(&mut line);
        let (agent, time) = agent_and_time(&line);
        newest = newest.max(time);
        // The four are numbered.
        let number = i32::from(*agent.as_bytes().last().unwrap() - b'0');
        calls.push((number % PARTITIONS, String::from_utf8(line).unwrap()));
    }
    for partition in 0..PARTITIONS {
        let call = json!({
            "ts": newest.plus_secs(10 * 3_600).to_string(), "tenant_id": "acme",
            "agent_id": format!("last-{partition}"), "session_id": "s", "call_id": "c",
            "tool_name": "end", "status": "ok",
        });
        calls.push((partition, call.to_string()));
    }
    calls
}

/// The calls as records.
pub(crate) fn records(calls: &[(i32, String)]) -> Vec<Stored> {
    let stored = |(partition, line): &(i32, String)| Stored::new(*partition, "acme", &**line);
    calls.iter().map(stored).collect()
}

fn agent_and_time(line: &[u8]) -> (String, Timestamp) {
    let options = decode::Options { format: Format::Native, ..decode::Options::default() };
    let record = decode::Record {
        position: Position { topic: "calls", partition: 0, offset: 0, index: 0 },
        append_time: Timestamp::MAX,
        key: None,
        content_type: None,
        payload: Some(line),
    };
    let mut found = None;
    decode::decode(&record, &options, &mut |item| match item {
        Item::Call(ToolCall { agent_id, time, .. }) => found = Some((agent_id.to_string(), time)),
        other => panic!("{other:?}"),
    });
    found.unwrap()
}

/// The alerts that fired, by id, without where their calls were read.
pub(crate) fn fired(alerts: impl Iterator<Item = Value>) -> BTreeMap<String, Value> {
    let firing = alerts.filter(|alert| alert["status"] == "firing");
    let placeless = |mut alert: Value| {
        let id = alert["alert_id"].as_str().unwrap().to_owned();
        let evidence = alert["evidence"].as_array().cloned().unwrap_or_default();
        let calls = evidence.iter().map(|call| call["call_id"].clone()).collect();
        alert["evidence"] = Value::Array(calls);
        alert["trigger"] = alert["trigger"]["call_id"].clone();
        (id, alert)
    };
    firing.map(placeless).collect()
}

pub(crate) fn replayed(calls: &[(i32, String)]) -> BTreeMap<String, Value> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("calls.ndjson");
    let lines: Vec<&str> = calls.iter().map(|(_, line)| line.as_str()).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let mut replay = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    let said = succeed(replay.args(["replay", "--output", "ndjson"]).arg(file));
    fired(said.lines().map(|line| serde_json::from_str(line).unwrap()))
}

/// Two instances judge, and a third one starts later.
fn two_instances_and_one_more(settings: &Settings) {
    let calls = calls();
    let expected = replayed(&calls);
    for rule in ["repeat.loop", "new_tool.burst"] {
        let has = |alert: &Value| alert["rule_id"] == rule;
        assert!(expected.values().any(has), "{rule} is not planted: {expected:?}");
    }
    let one = Running::start(settings);
    let two = Running::start(settings);
    wait_for("each has its share", || {
        let shares = [&one, &two].map(|it| it.partitions().len());
        (shares.iter().sum::<usize>() == 4 && shares.iter().all(|it| *it > 0)).then_some(())
    });
    let records = records(&calls);
    produce(&settings.bootstrap, settings.calls(), &records);
    wait_for("everything is judged", || {
        let judged = [&one, &two].map(|it| it.metrics().count("events_processed_total"));
        assert!(judged.iter().sum::<usize>() <= calls.len(), "{judged:?}");
        (judged.iter().sum::<usize>() == calls.len()).then_some(())
    });
    assert_all_told(settings, &expected, &[&one, &two]);
    for (running, metrics) in [(&one, one.metrics()), (&two, two.metrics())] {
        assert_eq!(metrics.count("peers_left_out_total"), 0, "{}", running.log());
        for outcome in ["refused", "lost", "overlapping", "stale"] {
            let outcome = format!("outcome=\"{outcome}\"");
            assert_eq!(metrics.count_of("groups_entries_total", &[&outcome]), 0, "{outcome}");
        }
        assert_eq!(metrics.count("groups_following"), 1);
    }
    assert!(merged_at_start(&Running::start(settings)) > 0);
}

/// Waits until as many alerts are told as are expected, and looks at each.
fn assert_all_told(
    settings: &Settings,
    expected: &BTreeMap<String, Value>,
    instances: &[&Running],
) {
    let began = now();
    loop {
        let alerts = read(&settings.bootstrap, &settings.alerts());
        let told = fired(alerts.iter().map(Stored::json));
        let wrong = expected.iter().find(|(id, alert)| told.get(*id) != Some(alert));
        let Some((id, alert)) = wrong else { return };
        assert!(
            began.elapsed() < PATIENCE,
            "{:?} instead of {alert}\n{}",
            told.get(id),
            logs(instances)
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The last hour that was known in an instance before it read its first call; 0 for none.
fn merged_at_start(running: &Running) -> i64 {
    let said = running.log();
    let read = said.lines().find(|line| line.contains("what peers do was read")).unwrap();
    let read: Value = serde_json::from_str(read).unwrap();
    let fields = read.get("fields").unwrap_or(&read);
    let merged = fields["merged"].as_i64().unwrap_or(0);
    assert_eq!(merged > 0, fields["groups"].as_u64().unwrap() > 0, "{read}");
    merged
}

/// Nobody is idle or left out while the test is slow.
pub(crate) fn patient(settings: Settings) -> Settings {
    Settings { more: "peers: {wait: 10m, idle_after: 10m}\n".to_owned(), ..settings }
}

#[test]
fn two_instances_judge_as_one_process_does() {
    let cluster = MockCluster::new(1).unwrap();
    let settings = patient(Settings::new(&cluster.bootstrap_servers(), "peers"));
    create_topics(&cluster, &settings, PARTITIONS);
    two_instances_and_one_more(&settings);
}

#[test]
fn two_instances_judge_as_one_process_does_on_a_real_kafka() {
    let Some(broker) = Broker::shared() else { return };
    let settings = patient(Settings::new(broker.bootstrap(), "peers-shared"));
    broker.create_topic(settings.calls(), 4, &["retention.ms=-1"]);
    two_instances_and_one_more(&settings);
}

/// Kills an instance again and again: whoever starts next knows what was known, and no alert is
/// another one.
#[test]
fn an_instance_that_is_killed_knows_its_peers_when_it_starts_again() {
    let Some(broker) = Broker::shared() else { return };
    let settings = patient(Settings::new(broker.bootstrap(), "peers-killed"));
    broker.create_topic(settings.calls(), 4, &["retention.ms=-1"]);
    let calls = calls();
    let records = records(&calls);
    let mut known = 0;
    for part in records.chunks(records.len().div_ceil(3)) {
        let running = Running::start(&settings);
        let merged = merged_at_start(&running);
        assert!(merged >= known, "{merged} < {known}");
        let before = running.metrics().count("events_processed_total");
        produce(&settings.bootstrap, settings.calls(), part);
        running.wait_until("most of it is judged", |it| {
            it.count("events_processed_total") >= before + part.len() / 2
        });
        running.wait_until("hours are merged", |it| it.count("peers_epochs_total") > 0);
        known = known.max(merged);
        running.signal("KILL");
    }
    let last = Running::start(&settings);
    assert!(merged_at_start(&last) > 0);
    assert_all_told(&settings, &replayed(&calls), &[&last]);
    for outcome in ["refused", "lost", "overlapping"] {
        let outcome = format!("outcome=\"{outcome}\"");
        assert_eq!(last.metrics().count_of("groups_entries_total", &[&outcome]), 0, "{outcome}");
    }
}

#[test]
fn a_groups_topic_of_several_partitions_is_refused_with_words() {
    let cluster = MockCluster::new(1).unwrap();
    let settings = Settings::new(&cluster.bootstrap_servers(), "wide");
    for topic in &settings.written() {
        cluster.create_topic(topic, 2, 1).unwrap();
    }
    cluster.create_topic(&settings.state(), 1, 1).unwrap();
    cluster.create_topic(settings.calls(), 1, 1).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.yaml");
    std::fs::write(&config, settings.yaml()).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    let said = crate::support::fail(run.args(["run", "--config"]).arg(config));
    assert!(said.contains("`wide.groups` has 2 partitions and must have one"), "{said}");
}
