//! What the cluster does not take. Rows 12, 17 and 18.

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Code};
use toolwarden::kafka::{ClientSettings, Ledger, Outbox, OutgoingRecord, WhenTooLarge};
use toolwarden::pipeline::cut;
use toolwarden::telemetry::{BuildInfo, Metrics};

use crate::faults::oracle::{Operator, Truth, seed};
use crate::kafka_broker::Broker;
use crate::mock::{Cluster, a_loop, at_once, case, holds, offset, started};
use crate::running::{PATIENCE, Running, Settings, produce, read, wait_for, wait_until_committed};

fn metrics() -> Metrics {
    let (version, revision) = ("0".to_owned(), String::new());
    Metrics::new(&BuildInfo { version, revision, librdkafka: String::new() })
}

fn too_large(metrics: &Metrics, outcome: &str) -> u64 {
    let name = format!("toolwarden_records_too_large_total{{outcome=\"{outcome}\"}} ");
    let text = metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |value| value.parse().unwrap())
}

/// Sends `records` while the cluster finds the next `batches` too large, and what arrived.
fn refused(
    cluster: &Cluster,
    (settings, records): (&Settings, &[OutgoingRecord]),
    batches: usize,
) -> (Metrics, Vec<Vec<u8>>) {
    let (metrics, ledger) = (metrics(), Ledger::default());
    let mut client = ClientSettings::plain(&settings.bootstrap);
    client.properties.insert("linger.ms".to_owned(), "200".to_owned());
    let outbox = Outbox::new(&client, 1_000, &metrics).unwrap();
    let errors = vec![Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; batches];
    cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    for record in records {
        outbox.send(record.clone(), ledger.ticket(7));
    }
    wait_for("nothing is open any more", || {
        outbox.flush(PATIENCE).unwrap();
        ledger.is_empty().then_some(())
    });
    let arrived = read(&settings.bootstrap, &settings.alerts());
    (metrics, arrived.into_iter().filter_map(|it| it.payload).collect())
}

/// An alert as an instance writes it.
fn alert() -> OutgoingRecord {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("calls.ndjson");
    let calls = a_loop("loop", 10);
    let lines: Vec<String> = calls.iter().map(|it| it.json().to_string()).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let mut replay = std::process::Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    let said = crate::support::succeed(replay.args(["replay", "--output", "ndjson"]).arg(file));
    let firing = said.lines().find(|line| line.contains("\"detector\":\"repeat\"")).unwrap();
    OutgoingRecord {
        payload: Some(firing.as_bytes().to_vec()),
        when_too_large: WhenTooLarge::Cut(cut::alert),
        ..OutgoingRecord::default()
    }
}

#[test]
fn row_18_an_alert_that_is_too_large_is_cut_and_marked_and_keeps_its_id() {
    let Some((cluster, settings)) = case("too-large-alert", 1, 1) else { return };
    let alert = OutgoingRecord { topic: settings.alerts().as_str().into(), ..alert() };
    // Once in a batch, once alone, and once without its samples.
    let (metrics, arrived) = refused(&cluster, (&settings, std::slice::from_ref(&alert)), 3);
    assert_eq!(arrived.len(), 1);
    let parse = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    let (whole, cut) = (parse(alert.payload.as_ref().unwrap()), parse(&arrived[0]));
    for field in ["alert_id", "revision", "dedup_key", "time", "severity", "agent_id", "score"] {
        assert_eq!(cut[field], whole[field], "{field}");
    }
    assert_eq!(cut["is_cut"], true);
    assert_eq!(whole.get("is_cut"), None);
    assert!(cut["evidence"].as_array().unwrap().is_empty());
    assert_eq!(cut["evidence_total"], whole["evidence_total"]);
    assert_eq!((too_large(&metrics, "cut"), too_large(&metrics, "left_out")), (2, 0));
}

#[test]
fn row_18_what_cannot_be_made_small_enough_is_left_out_and_counted_and_holds_nothing_back() {
    let Some((cluster, settings)) = case("too-large-for-ever", 1, 1) else { return };
    let alert = OutgoingRecord { topic: settings.alerts().as_str().into(), ..alert() };
    let (metrics, arrived) = refused(&cluster, (&settings, &[alert]), 10);
    assert!(arrived.is_empty());
    assert_eq!(too_large(&metrics, "left_out"), 1);
}

#[test]
fn row_18_records_that_were_only_in_a_batch_too_large_arrive_whole() {
    let Some((cluster, settings)) = case("too-large-batch", 1, 1) else { return };
    let topic: std::sync::Arc<str> = settings.alerts().as_str().into();
    let record = |value: &str| OutgoingRecord {
        topic: std::sync::Arc::clone(&topic),
        payload: Some(value.as_bytes().to_vec()),
        ..OutgoingRecord::default()
    };
    let records = ["a", "b", "c"].map(record);
    let (metrics, mut arrived) = refused(&cluster, (&settings, &records), 1);
    arrived.sort();
    assert_eq!(arrived, [b"a", b"b", b"c"]);
    assert_eq!(too_large(&metrics, "left_out"), 0);
}

#[test]
fn row_18_baselines_and_alerts_larger_than_a_record_may_be_hold_no_partition_back() {
    let Some((_cluster, settings)) = case("too-large", 1, 1) else { return };
    let properties = "message.max.bytes: 1000, ".to_owned();
    let settings = Settings { properties, ..settings };
    let running = started(&settings);
    produce(&settings.bootstrap, settings.calls(), &a_loop("loop", 10));
    wait_until_committed(&settings, &[&running]);
    let metrics = running.metrics();
    let outcome = |outcome: &str| {
        metrics.count_of("records_too_large_total", &[&format!("outcome=\"{outcome}\"")])
    };
    assert!(outcome("cut") > 0, "{}", running.log());
    assert!(outcome("left_out") + outcome("baseline_left_out") > 0, "{}", running.log());
    assert_eq!(metrics.count("state_unwritten_total"), outcome("baseline_left_out"));
    assert!(running.log().contains("too large"), "{}", running.log());
}

/// A groups topic that takes less than a report is long.
#[test]
fn row_18_reports_larger_than_the_groups_topic_takes_are_split_counted_and_hold_nothing_back() {
    let Some(broker) = Broker::shared() else { return };
    let name = format!("small-groups-{}", seed());
    let settings = crate::faults::kill::settings(broker.bootstrap(), &name);
    let operator = Operator::of(broker.bootstrap());
    operator.create(settings.calls(), 4, &["retention.ms=-1"]);
    let small = ["cleanup.policy=compact", "max.message.bytes=700"];
    operator.create(&settings.groups(), 1, &small);
    let truth = Truth::new();
    let running = Running::start(&settings);
    truth.trickle(&settings, 1, || ());
    truth.holds(&settings, &[&running]);
    let metrics = running.metrics();
    let outcome = |it| metrics.count_of("records_too_large_total", &[it]);
    assert!(outcome("outcome=\"split\"") > 0, "{}", running.log());
    assert_eq!(outcome("outcome=\"kept\""), 0, "{}", running.log());
}

#[test]
fn row_17_what_replicas_and_connections_refuse_is_sent_again_under_the_same_id_before_any_commit() {
    let Some((cluster, settings)) = case("refused", 1, 1) else { return };
    let running = started(&settings);
    let calls = a_loop("loop", 10);
    at_once(&running, &settings, &calls, || {
        let errors = [
            Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            Code::RD_KAFKA_RESP_ERR__TRANSPORT,
            Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            Code::RD_KAFKA_RESP_ERR__TRANSPORT,
        ];
        cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    });
    running.wait_until_judged(calls.len());
    holds(&settings, &[&running], &["loop"]);
}

#[test]
fn row_17_an_outage_longer_than_a_message_may_wait_loses_nothing_and_commits_nothing() {
    let Some((cluster, settings)) = case("outage", 1, 1) else { return };
    let properties = "message.timeout.ms: 1000, ".to_owned();
    let settings = Settings { properties, ..settings };
    let running = started(&settings);
    let calls = a_loop("loop", 10);
    at_once(&running, &settings, &calls, || {
        cluster.partition_leader(&settings.alerts(), 0, None).unwrap();
    });
    running.wait_until("its alert was given up and sent again, twice", |it| {
        it.count("alerts_produce_failures_total") >= 2
    });
    assert!(offset(&settings) < 20, "committed past an open alert");
    assert!(running.metrics().sum("alerts_unacknowledged", &[]) > 0.0);
    cluster.partition_leader(&settings.alerts(), 0, Some(1)).unwrap();
    holds(&settings, &[&running], &["loop"]);
    running.wait_until("nothing waits", |it| it.sum("alerts_unacknowledged", &[]) < 1.0);
}

#[test]
fn row_12_partitions_whose_leader_moves_are_read_and_written_on_and_nothing_is_told_twice() {
    let Some((cluster, settings)) = case("leader-moves", 2, 1) else { return };
    let topics = [settings.calls().to_owned(), settings.alerts(), settings.state()];
    let lead = |broker| {
        for topic in &topics {
            cluster.partition_leader(topic, 0, Some(broker)).unwrap();
        }
    };
    lead(1);
    let running = started(&settings);
    produce(&settings.bootstrap, settings.calls(), &a_loop("before", 10));
    holds(&settings, &[&running], &["before"]);
    at_once(&running, &settings, &a_loop("during", 11), || lead(2));
    running.wait_until_judged(40);
    produce(&settings.bootstrap, settings.calls(), &a_loop("after", 12));
    holds(&settings, &[&running], &["before", "during", "after"]);
}
