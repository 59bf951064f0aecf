//! The program beside a real Kafka: every call is judged once, nothing is committed before it is
//! done, hostile records harm nobody, and partitions change hands without loss.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::mocking::MockCluster;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::runtime::Builder;

use crate::calls::{create_topics, looping};
use crate::decode::support::to_proto;
use crate::kafka_broker::Broker;
use crate::pipeline;
use crate::running::{
    Running, Settings, Stored, alerts_without_positions, committed, produce, read, wait_for,
    wait_until_committed,
};
use crate::support::{succeed, text};

/// How long a shutdown may take, whatever the cluster does.
const SHUTDOWN_MAX: Duration = Duration::from_secs(15);

/// The generated history, keyed by agent.
fn history() -> Vec<Stored> {
    let calls = pipeline::history().iter();
    calls.map(|(_, key, line)| Stored::new(-1, key.as_bytes(), line.as_slice())).collect()
}

/// What `replay` says of the same calls, read from a file.
pub(crate) fn replayed(calls: &[Stored], config: &std::path::Path) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("calls.ndjson");
    let lines: Vec<&[u8]> = calls.iter().map(|it| it.payload.as_deref().unwrap()).collect();
    std::fs::write(&file, lines.join(&b'\n')).unwrap();
    let mut replay = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    replay.args(["replay", "--output", "ndjson", "--config"]).arg(config).arg(&file);
    let said = succeed(&mut replay);
    alerts_without_positions(said.lines().map(|line| serde_json::from_str(line).unwrap()))
}

fn alerts(settings: &Settings) -> Vec<Stored> {
    read(&settings.bootstrap, &settings.alerts())
}

/// The agents that a topic holds a `firing` of.
fn fired(settings: &Settings) -> BTreeSet<String> {
    let alerts = alerts(settings).into_iter().map(|record| record.json());
    let firing =
        alerts.filter(|alert| alert["status"] == "firing" && alert["detector"] == "repeat");
    firing.map(|alert| alert["agent_id"].as_str().unwrap().to_owned()).collect()
}

/// Waits until an instance has judged all there is, written and told it, and time has passed for
/// those who only wait for time.
fn compare_with_replay(settings: &Settings, running: &Running, calls: &[Stored]) {
    running.wait_until_judged(calls.len());
    let expected = replayed(calls, &running.config());
    assert!(expected.len() > 20, "the history is meant to give alerts: {expected:?}");
    let mut found = Vec::new();
    running.wait_until("every episode has ended", |_| {
        found = alerts_without_positions(alerts(settings).iter().map(Stored::json));
        found.len() >= expected.len()
    });
    let (found_only, expected_only) = differences(&found, &expected);
    assert!(
        found == expected,
        "only on the topic: {found_only:#?}\nonly replayed: {expected_only:#?}"
    );
    let metrics = running.metrics();
    assert_eq!(metrics.count("events_processed_total"), calls.len(), "{}", running.log());
    for none in ["events_late_total", "events_duplicate_total", "events_rejected_total"] {
        assert_eq!(metrics.count(none), 0, "{none}");
    }
    wait_until_committed(settings, &[]);
}

/// What only one of two has, and what only the other.
pub(crate) fn differences<'a>(
    a: &'a [String],
    b: &'a [String],
) -> (Vec<&'a String>, Vec<&'a String>) {
    let only = |a: &'a [String], b: &'a [String]| a.iter().filter(|it| !b.contains(it)).collect();
    (only(a, b), only(b, a))
}

#[test]
fn records_produced_before_the_start_are_judged_once_and_as_a_replay_judges_them() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings::new(broker.bootstrap(), "before-start");
    broker.create_topic(settings.calls(), 8, &[]);
    let calls = history();
    produce(broker.bootstrap(), settings.calls(), &calls);
    let running = Running::start(&settings);
    compare_with_replay(&settings, &running, &calls);
}

#[test]
fn records_produced_while_it_runs_are_judged_once_and_as_a_replay_judges_them() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings {
        // A partition that has nothing yet is waited for as long as the producer may pause.
        more: "peers: {idle_after: 5s}".to_owned(),
        ..Settings::new(broker.bootstrap(), "while-running")
    };
    broker.create_topic(settings.calls(), 8, &[]);
    let running = Running::start(&settings);
    wait_for("both workers have their share", || (running.partitions().len() == 8).then_some(()));
    let calls = history();
    for part in calls.chunks(calls.len() / 10) {
        produce(broker.bootstrap(), settings.calls(), part);
    }
    compare_with_replay(&settings, &running, &calls);
}

#[test]
fn what_was_judged_before_a_drain_is_not_judged_again() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings {
        // Nothing is committed but by the drain.
        commit_interval: "1m",
        ..Settings::new(broker.bootstrap(), "drain")
    };
    broker.create_topic(settings.calls(), 8, &[]);
    let calls = history();
    produce(broker.bootstrap(), settings.calls(), &calls);
    let mut running = Running::start(&settings);
    running.wait_until_judged(calls.len());
    let (status, took) = running.terminate();
    assert!(status.success() && took < SHUTDOWN_MAX, "{status} after {took:?}\n{}", running.log());
    let committed = committed(broker.bootstrap(), "drain", settings.calls());
    assert!(
        committed.values().all(|(offset, end)| offset == end),
        "{committed:?}\n{}",
        running.log()
    );

    // A new instance judges what came since and nothing else.
    let since: Vec<Stored> =
        (0..8).map(|partition| Stored { partition, ..calls[0].clone() }).collect();
    produce(broker.bootstrap(), settings.calls(), &since);
    let running = Running::start(&settings);
    running.wait_until("what came since is there", |metrics| {
        metrics.count("records_received_total") >= 8
    });
    wait_for("everything is read", || {
        let (_, body) = running.get("/-/ready");
        (running.get("/-/ready").0 == 200).then_some(body)
    });
    assert_eq!(running.metrics().count("records_received_total"), 8);
}

/// A state topic made before its source would have too few partitions, and some agents would wait
/// for their baselines for ever.
#[test]
fn it_does_not_start_before_its_source_topic_exists_and_says_how_to_make_it() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings::new(broker.bootstrap(), "no-source-yet");
    let mut early = Running::spawn(&settings);
    let status = wait_for("it has ended", || early.ended());
    assert_eq!(status.code(), Some(5), "{}", early.log());
    let wanted = format!("the source topic `{}` does not exist", settings.calls());
    assert!(early.log().contains(&wanted), "{}", early.log());
    broker.create_topic(settings.calls(), 4, &[]);
    let running = Running::start(&settings);
    wait_for("it is ready", || (running.get("/-/ready").0 == 200).then_some(()));
    assert_eq!(running.partitions().len(), 4);
}

#[test]
fn it_ends_in_time_when_the_broker_is_gone() {
    let Some(mut broker) = Broker::start() else { return };
    let settings = Settings::new(broker.bootstrap(), "gone");
    broker.create_topic(settings.calls(), 8, &[]);
    let mut running = Running::start(&settings);
    produce(broker.bootstrap(), settings.calls(), &looping("first", "2026-03-02T10:00:00Z", 20));
    running.wait_until_judged(20);
    broker.crash();
    let (status, took) = running.terminate();
    assert!(status.success() && took < SHUTDOWN_MAX, "{status} after {took:?}\n{}", running.log());
}

#[test]
fn a_broker_that_comes_back_loses_no_alert() {
    let Some(mut broker) = Broker::start() else { return };
    let settings = Settings::new(broker.bootstrap(), "back");
    broker.create_topic(settings.calls(), 8, &[]);
    let mut running = Running::start(&settings);
    produce(broker.bootstrap(), settings.calls(), &looping("before", "2026-03-02T10:00:00Z", 20));
    running.wait_until_judged(20);
    broker.crash();
    broker.restart();
    produce(broker.bootstrap(), settings.calls(), &looping("after", "2026-03-02T11:00:00Z", 20));
    wait_for("both are told", || (fired(&settings).len() == 2).then_some(()));
    wait_until_committed(&settings, &[]);
    assert!(running.is_alive());
}

/// Gives a topic these settings and takes all others back.
fn set(broker: &Broker, topic: &str, settings: &[(&str, &str)]) {
    let config = ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).clone();
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let specifier = ResourceSpecifier::Topic(topic);
    let wanted =
        settings.iter().fold(AlterConfig::new(specifier), |it, (name, value)| it.set(name, value));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let altered = runtime.block_on(admin.alter_configs([&wanted], &AdminOptions::new()));
    assert!(altered.unwrap().iter().all(Result::is_ok), "{topic}: {settings:?}");
}

/// What is written down would wait for the alerts; tests/it/durable.rs has that.
fn in_memory(settings: Settings) -> Settings {
    Settings { more: "state: {durable: false}".to_owned(), ..settings }
}

/// Runs against a cluster that takes no alerts, until `accept` is called.
fn refuse_alerts(settings: &Settings, accept: impl FnOnce()) {
    let quiet = |agent: &str| looping(agent, "2026-03-02T10:00:00Z", 3);
    let calls = [quiet("one"), looping("loop", "2026-03-02T10:01:00Z", 20), quiet("two")].concat();
    produce(&settings.bootstrap, settings.calls(), &calls);
    let running = Running::start(settings);
    running.wait_until_judged(calls.len());
    running.wait_until("the alert waits", |it| it.sum("alerts_unacknowledged", &[]) > 0.0);
    // What came before the loop may be committed, and is; the loop may not.
    let (offset, _) = wait_for("what is finished is committed", || {
        let committed = committed(&settings.bootstrap, &settings.name, settings.calls())[&0];
        (committed.0 > 0).then_some(committed)
    });
    assert!(offset < 23, "{offset} is committed past an open alert");
    // Long enough for several commits, and still nothing more.
    std::thread::sleep(Duration::from_secs(2));
    let after = committed(&settings.bootstrap, &settings.name, settings.calls());
    assert_eq!(after[&0].0, offset);
    assert!(running.metrics().sum("alerts_unacknowledged", &[]) > 0.0, "nobody took it");
    accept();
    wait_for("the alert arrives", || (!fired(settings).is_empty()).then_some(()));
    wait_until_committed(settings, &[]);
    running.wait_until("nothing waits", |it| it.sum("alerts_unacknowledged", &[]) < 1.0);
}

#[test]
fn no_offset_is_committed_past_an_alert_the_cluster_cannot_take_just_now() {
    if Broker::shared().is_none() {
        return;
    }
    let cluster = MockCluster::new(1).unwrap();
    let settings = in_memory(Settings::new(&cluster.bootstrap_servers(), "busy"));
    create_topics(&cluster, &settings, 1);
    // The partition has lost its leader, and finds another one.
    cluster.partition_leader(&settings.alerts(), 0, None).unwrap();
    refuse_alerts(&settings, || {
        cluster.partition_leader(&settings.alerts(), 0, Some(1)).unwrap();
    });
}

#[test]
fn no_offset_is_committed_past_an_alert_the_cluster_refuses() {
    let Some(broker) = Broker::shared() else { return };
    let settings = in_memory(Settings::new(broker.bootstrap(), "refused"));
    broker.create_topic(settings.calls(), 1, &["retention.ms=-1"]);
    broker.create_topic(&settings.alerts(), 1, &["message.timestamp.before.max.ms=1"]);
    refuse_alerts(&settings, || {
        assert_eq!(fired(&settings), BTreeSet::new());
        set(&broker, &settings.alerts(), &[]);
    });
}

/// Values that are no calls, each with the reason it is set aside for.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let event = |field: &str, value: Value| {
        let mut event = json!({
            "ts": "2026-03-02T10:00:00Z", "tenant_id": "acme", "agent_id": "a", "session_id": "s",
            "call_id": "c", "tool_name": "t", "status": "ok"
        });
        event[field] = value;
        event.to_string().into_bytes()
    };
    let twice = br#"{"agent_id":"a","agent_id":"b","tool_name":"t","ts":"2026-03-02T10:00:00Z"}"#;
    vec![
        ("parse", b"{".to_vec()),
        ("parse", b"\x00\x01\x02".to_vec()),
        ("parse", b"[1, 2".to_vec()),
        ("utf8", b"{\"agent_id\": \"\xff\xfe\"}".to_vec()),
        ("too_deep", format!("{{\"arguments\": {}", "[".repeat(100_000)).into_bytes()),
        ("too_large", vec![b'x'; 10 << 20]),
        ("duplicate_field", twice.to_vec()),
        ("missing_agent", event("agent_id", Value::Null)),
        ("missing_tool", event("tool_name", Value::Null)),
        ("bad_time", event("ts", json!("yesterday"))),
        ("bad_identifier", event("agent_id", json!("\u{0}"))),
        ("bad_identifier", event("agent_id", json!("x".repeat(100_000)))),
    ]
}

#[test]
fn row_34_hostile_records_are_set_aside_as_they_came_and_their_neighbours_are_judged() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings::new(broker.bootstrap(), "hostile");
    broker.create_topic(settings.calls(), 4, &["max.message.bytes=20000000"]);
    let good = looping("neighbour", "2026-03-02T10:00:00Z", 40);
    let mut records = Vec::new();
    let mut good = good.into_iter().map(|call| Stored { partition: 1, ..call });
    for (number, (reason, value)) in hostile().into_iter().enumerate() {
        records.extend(good.by_ref().take(3));
        let partition = i32::try_from(number % 4).unwrap();
        // The key tells the test what to expect; the program has no use for it.
        records.push(Stored::new(partition, reason, value));
    }
    let tombstone = Stored { partition: 1, key: b"gone".to_vec(), ..Stored::default() };
    records.push(tombstone);
    // With a key this long, key and value do not fit into one record any more.
    let long_key = [b"too_deep".as_slice(), &[b'k'; 3 << 20]].concat();
    records.push(Stored::new(2, long_key, vec![b'{'; 800_000]));
    records.extend(good);
    produce(broker.bootstrap(), settings.calls(), &records);
    let mut running = Running::start(&settings);
    running.wait_until_judged(40);
    let bad = hostile().len() + 1;
    let metrics = running.wait_until("all are read", |metrics| {
        metrics.count("records_received_total") == records.len()
    });
    assert_eq!(metrics.count("events_processed_total"), 40);
    assert_eq!(metrics.count_of("events_ignored_total", &["reason=\"tombstone\""]), 1);
    assert_eq!(metrics.count_of("dead_letters_total", &["kind=\"record\""]), bad);
    wait_until_committed(&settings, &[]);
    assert!(running.is_alive());
    assert_eq!(fired(&settings), BTreeSet::from(["neighbour".to_owned()]));

    let sources: BTreeMap<(i32, i64), Stored> = read(broker.bootstrap(), settings.calls())
        .into_iter()
        .map(|record| ((record.partition, record.offset), record))
        .collect();
    let letters = read(broker.bootstrap(), &settings.dead_letter());
    let mut seen = BTreeSet::new();
    let mut rejected = 0;
    for letter in &letters {
        let header = |name: &str| letter.headers[&format!("toolwarden-{name}")].as_str();
        assert_eq!((header("kind"), header("topic")), ("record", settings.calls()));
        let place = (header("partition").parse().unwrap(), header("offset").parse().unwrap());
        let source = &sources[&place];
        assert!(seen.insert(place), "{place:?} is there twice");
        rejected += header("rejected").parse::<usize>().unwrap();
        let (payload, original) =
            (letter.payload.as_ref().unwrap(), source.payload.as_ref().unwrap());
        let reason = header("reason");
        assert!(source.key.starts_with(reason.as_bytes()), "{reason}: {:?}", &letter.headers);
        if letter.key != source.key {
            assert!(letter.key.len() >= 64 << 10 && source.key.starts_with(&letter.key));
            assert_eq!(header("original-key-bytes"), source.key.len().to_string());
        }
        if payload == original {
            assert!(!letter.headers.contains_key("toolwarden-original-sha256"));
        } else {
            assert!(original.len() > 512 << 10 && original.starts_with(payload), "{reason}");
            assert_eq!(header("original-bytes"), original.len().to_string());
            let digest = Sha256::digest(original);
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(header("original-sha256"), digest);
        }
    }
    assert_eq!(letters.len(), bad);
    assert_eq!(metrics.count("events_rejected_total"), rejected);
}

#[test]
fn partitions_change_hands_and_no_call_is_lost() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings::new(broker.bootstrap(), "hands");
    broker.create_topic(settings.calls(), 8, &[]);
    let mut agents = BTreeSet::new();
    let mut tell = |act: &str, hour: u32| {
        for number in 0..60 {
            let agent = format!("{act}-{number}");
            // So long that either half of it alone is a loop.
            let calls = looping(&agent, &format!("2026-03-02T{hour:02}:00:00Z"), 60);
            produce(broker.bootstrap(), settings.calls(), &calls);
            agents.insert(agent);
        }
    };
    let first = Running::start(&settings);
    tell("alone", 8);
    first.wait_until_judged(60 * 60);
    let has_lag_of_all = |metrics: &crate::running::Series| {
        metrics.partitions_of("kafka_consumer_lag", settings.calls()).len() == 8
    };
    first.wait_until("it tells the lag of all partitions", has_lag_of_all);

    // The second one joins while the first is at work.
    let mut second = std::thread::scope(|scope| {
        let joining = scope.spawn(|| Running::start(&settings));
        tell("joining", 10);
        joining.join().unwrap()
    });
    let owned = |running: &Running| -> Vec<i32> {
        running.partitions().into_iter().map(|(_, partition)| partition).collect()
    };
    wait_for("they share", || {
        (owned(&first).len() == 4 && owned(&second).len() == 4).then_some(())
    });
    // At the very next scrape.
    let lags = first.metrics().partitions_of("kafka_consumer_lag", settings.calls());
    assert!(lags.iter().all(|it| owned(&first).contains(it)), "{lags:?} {:?}", owned(&first));
    let shares: BTreeSet<i32> = owned(&first).into_iter().chain(owned(&second)).collect();
    assert_eq!(shares.len(), 8, "every partition has one owner");
    tell("together", 12);
    wait_for("both judge", || (fired(&settings).len() == 180).then_some(()));
    let judged = |running: &Running| running.metrics().count("events_processed_total");
    assert!(judged(&second) > 0);
    wait_for("every call is counted", || {
        (judged(&first) + judged(&second) >= 180 * 60).then_some(())
    });

    let handing_over = std::thread::scope(|scope| {
        let stopped = scope.spawn(|| second.terminate());
        tell("meanwhile", 16);
        stopped.join().unwrap()
    });
    assert!(handing_over.0.success() && handing_over.1 < SHUTDOWN_MAX, "{handing_over:?}");
    wait_for("the first has them all", || (owned(&first).len() == 8).then_some(()));
    tell("afterwards", 20);
    wait_until_committed(&settings, &[]);
    let fired = fired(&settings);
    assert!(fired == agents, "missing: {:?}", agents.difference(&fired).collect::<Vec<_>>());
    first.wait_until("it tells the lag of all partitions again", has_lag_of_all);
}

#[test]
fn every_source_topic_is_read_in_its_own_format() {
    let Some(broker) = Broker::shared() else { return };
    let mut settings = Settings::new(broker.bootstrap(), "formats");
    let formats =
        [("native", "native"), ("json", "otlp_json"), ("proto", "otlp_proto"), ("auto", "auto")];
    settings.sources =
        formats.iter().map(|(name, format)| (format!("formats.{name}"), *format)).collect();
    for (topic, _) in &settings.sources {
        broker.create_topic(topic, 2, &[]);
    }
    let native = text("fixtures/decode/native_404.json");
    let traces = text("fixtures/decode/genai_trace.json");
    let logs = text("fixtures/decode/claude_code_logs.json");
    let proto = to_proto(&serde_json::from_str(&traces).unwrap());
    let cloud = text("fixtures/decode/cloudevent.json");
    let send = |name: &str, values: &[&[u8]]| {
        let records: Vec<Stored> = values.iter().map(|it| Stored::new(-1, "k", *it)).collect();
        produce(broker.bootstrap(), &format!("formats.{name}"), &records);
    };
    let [native, traces, logs, cloud] = [&native, &traces, &logs, &cloud].map(String::as_bytes);
    send("native", &[native]);
    send("json", &[traces, logs]);
    send("proto", &[&proto]);
    send("auto", &[native, traces, logs, &proto, cloud]);
    let running = Running::start(&settings);
    let of = |metrics: &crate::running::Series, name: &str| {
        let topic = format!("topic=\"formats.{name}\"");
        let judged = ["events_processed_total", "events_duplicate_total", "events_late_total"];
        judged.iter().map(|it| metrics.count_of(it, &[&topic])).sum::<usize>()
    };
    // What the fixtures hold, as the decoder's own tests say.
    let (trace, log) = (calls_in(traces), calls_in(logs));
    assert!(trace > 0 && log > 0);
    let expected = [1, trace + log, trace, 1 + trace + log + trace + calls_in(cloud)];
    let metrics = running.wait_until("all formats are read", |metrics| {
        formats.iter().zip(expected).all(|((name, _), calls)| of(metrics, name) >= calls)
    });
    for ((name, _), calls) in formats.iter().zip(expected) {
        assert_eq!(of(&metrics, name), calls, "{name}");
    }
    assert_eq!(metrics.count("events_rejected_total"), 0);
    wait_until_committed(&settings, &[]);
}

/// How many calls the decoder finds in a value.
fn calls_in(payload: &[u8]) -> usize {
    use toolwarden::decode::{Item, Options, Record, decode};
    let options = Options { default_tenant: Some("acme".into()), ..Options::default() };
    let record = Record {
        position: toolwarden::event::Position::default(),
        append_time: toolwarden::event::Timestamp::MAX,
        key: None,
        content_type: None,
        payload: Some(payload),
    };
    let mut calls = 0;
    decode(&record, &options, &mut |item| calls += usize::from(matches!(item, Item::Call(_))));
    calls
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver that refuses what is about `refused`, and answers 500 twice to what is about `flaky`.
#[derive(Clone, Default)]
struct OnCall(Arc<Mutex<Vec<Heard>>>);

#[derive(Clone, Debug)]
struct Heard {
    id: String,
    answer: u16,
    alert: Value,
}

async fn answer(State(on_call): State<OnCall>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let verified = standardwebhooks::Webhook::new(SECRET).unwrap().verify(&body, &headers);
    let message: Value = serde_json::from_slice(&body).unwrap();
    let alert = message["data"].clone();
    let id = headers["webhook-id"].to_str().unwrap().to_owned();
    let mut heard = on_call.0.lock().unwrap();
    let before = heard.iter().filter(|it| it.id == id).count();
    let answer = match alert["agent_id"].as_str() {
        _ if verified.is_err() => 401,
        Some("refused") => 400,
        Some("flaky") if before < 2 => 500,
        _ => 200,
    };
    heard.push(Heard { id, answer, alert });
    StatusCode::from_u16(answer).unwrap()
}

#[test]
fn a_receiver_hears_of_each_episode_once_signed_and_of_its_end() {
    let Some(broker) = Broker::shared() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let on_call = OnCall::default();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state(on_call.clone());
    runtime.spawn(async move { axum::serve(listener, router).await });
    let settings = Settings {
        more: "receivers:\n  - {name: on-call, type: webhook, url_env: HOOK, \
               signing_secret_env: SECRET, min_score: 1, retry_for: 2m, allow_networks: [127.0.0.1]}\n"
            .to_owned(),
        environment: vec![
            ("HOOK", format!("http://{address}/T0KEN")),
            ("SECRET", SECRET.to_owned()),
        ],
        ..Settings::new(broker.bootstrap(), "receiver")
    };
    broker.create_topic(settings.calls(), 4, &[]);
    for agent in ["steady", "flaky", "refused"] {
        let calls = looping(agent, "2026-03-02T10:00:00Z", 60);
        produce(broker.bootstrap(), settings.calls(), &calls);
    }
    let running = Running::start(&settings);
    let heard = |agent: &str, answer: u16| -> Vec<Heard> {
        let heard = on_call.0.lock().unwrap().clone();
        let about = heard.into_iter().filter(|it| it.alert["agent_id"] == agent);
        about.filter(|it| it.answer == answer && it.alert["detector"] == "repeat").collect()
    };
    let has_ended = |agent: &str, answer: u16| {
        heard(agent, answer).iter().any(|it| it.alert["status"] == "resolved")
    };
    let ended = || has_ended("steady", 200) && has_ended("flaky", 200) && has_ended("refused", 400);
    wait_for("every episode has been told to its end", || ended().then_some(()));
    for agent in ["steady", "flaky"] {
        let told = heard(agent, 200);
        let words: Vec<&str> = told.iter().map(|it| it.alert["status"].as_str().unwrap()).collect();
        assert_eq!(
            (words[0], words[words.len() - 1]),
            ("firing", "resolved"),
            "{agent}: {words:?}"
        );
        assert!(words[1..words.len() - 1].iter().all(|it| *it == "updated"), "{agent}: {words:?}");
        let incidents: BTreeSet<&str> =
            told.iter().map(|it| it.alert["alert_id"].as_str().unwrap()).collect();
        assert_eq!(incidents.len(), 1, "{agent} is one incident");
        let ids: BTreeSet<&String> = told.iter().map(|it| &it.id).collect();
        assert_eq!(ids.len(), told.len(), "{agent}: nothing is told twice");
    }
    for it in heard("flaky", 500) {
        assert!(heard("flaky", 200).iter().any(|told| told.id == it.id), "told in the end: {it:?}");
    }
    assert!(!heard("flaky", 500).is_empty());
    let letters = wait_for("what is refused is kept", || {
        let letters = read(broker.bootstrap(), &settings.dead_letter());
        let resolved = letters.iter().any(|letter| letter.json()["status"] == "resolved");
        resolved.then_some(letters)
    });
    let alerts = alerts(&settings);
    for letter in &letters {
        assert_eq!(letter.headers["toolwarden-kind"], "delivery");
        assert_eq!(letter.headers["toolwarden-receiver"], "on-call");
        assert_eq!(letter.headers["toolwarden-http-status"], "400");
        assert_eq!(letter.json()["agent_id"], "refused");
        assert!(alerts.iter().any(|alert| alert.payload == letter.payload), "byte for byte");
    }
    let metrics = running.metrics();
    assert_eq!(metrics.count("notification_dead_letters_total"), letters.len());
    let told = settings.alerts();
    wait_for("what is told is committed", || {
        let committed = committed(broker.bootstrap(), "receiver-deliver-on-call", &told);
        committed.values().all(|(offset, end)| offset == end).then_some(())
    });
    assert!(!running.log().contains("T0KEN"), "the address of a receiver is a secret");
}
