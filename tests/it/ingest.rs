//! Sources that are not keyed by agent: through ingest they say what one replay says, whoever dies
//! on the way, and evidence names the source. Beside a real Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use serde_json::{Value, json};
use toolwarden::event::Timestamp;

use crate::faults::kill::has_died;
use crate::faults::oracle::{Operator, random, seed};
use crate::groups;
use crate::kafka_broker::Broker;
use crate::running::{
    Running, Series, Settings, Stored, alerts_once, committed, logs, now, produce, read, wait_for,
};
use crate::support::succeed;

/// Partitions of a source.
const PARTITIONS: i32 = 4;

/// Source partitions are read side by side, so what lies within this span may come in any order:
/// less than what is put in order.
const SPAN_SECS: i64 = 40 * 60;

/// Agents whose one call at the end lets time pass in every partition that is judged.
const ENDS: usize = 16;

/// One call: its time, agent and line.
type Call = (Timestamp, String, String);

/// Four agents over four days, and then one call each of many.
fn calls() -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for (_, line) in groups::calls() {
        let call: Value = serde_json::from_str(&line).unwrap();
        let agent = call["agent_id"].as_str().unwrap().to_owned();
        if !agent.starts_with("last-") {
            calls.push((call["ts"].as_str().unwrap().parse().unwrap(), agent, line));
        }
    }
    let newest = calls.iter().map(|it| it.0).max().unwrap();
    calls.extend(ends(newest.plus_secs(10 * 3_600)));
    calls
}

fn ends(time: Timestamp) -> impl Iterator<Item = Call> {
    (0..ENDS).map(move |number| {
        let agent = format!("last-{number}");
        let call = json!({
            "ts": time.to_string(), "tenant_id": "acme", "agent_id": agent, "session_id": "s",
            "call_id": format!("{agent}-{time}"), "tool_name": "end", "status": "ok",
        });
        (time, agent, call.to_string())
    })
}

/// Calls that are written together.
fn spans(calls: &[Call]) -> Vec<&[Call]> {
    let mut spans = Vec::new();
    let mut rest = calls;
    while let Some((first, ..)) = rest.first() {
        let end = rest.iter().position(|it| it.0 > first.plus_secs(SPAN_SECS));
        let (span, later) = rest.split_at(end.unwrap_or(rest.len()));
        spans.push(span);
        rest = later;
    }
    spans
}

fn settings(broker: &Broker, name: &str) -> Settings {
    let settings = Settings {
        // Time passes by calls alone, as in a replay.
        more: "event_time: {reorder: 1h, lateness: 1h}\npeers: {idle_after: 1h}\n\
               state: {flush_interval: 200ms}\n"
            .to_owned(),
        sources: vec![(format!("{name}.calls"), "native, keyed_by: none")],
        ..Settings::new(broker.bootstrap(), name)
    };
    let partitions = u32::try_from(PARTITIONS).unwrap();
    broker.create_topic(settings.calls(), partitions, &[]);
    broker.create_topic(&settings.keyed(), 2, &[]);
    settings
}

/// With other roles, and what they need.
fn with_role(settings: &Settings, role: &str) -> Settings {
    let arguments = vec!["--role".to_owned(), role.to_owned()];
    Settings { arguments, ..settings.clone() }
}

/// Records without a key, spread over the partitions.
fn keyless(calls: &[Call], already: usize) -> Vec<Stored> {
    let records = calls.iter().enumerate().map(|(number, (_, _, line))| {
        let partition = i32::try_from(already + number).unwrap() % PARTITIONS;
        Stored::new(partition, "", line.as_bytes())
    });
    records.collect()
}

/// What a replay tells of the calls.
fn replayed(settings: &Settings, calls: &[Call], running: &Running) -> BTreeMap<String, Value> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("calls.ndjson");
    let lines: Vec<&str> = calls.iter().map(|it| it.2.as_str()).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let mut replay = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    replay.args(["replay", "--output", "ndjson", "--config"]).arg(running.config()).arg(file);
    replay.envs(settings.environment.iter().map(|(name, value)| (name, value)));
    let said = succeed(&mut replay);
    groups::fired(said.lines().map(|line| serde_json::from_str(line).unwrap()))
}

/// Waits until so many calls of the keyed topic were taken in, repeats left out.
fn wait_until_taken(detect: &Running, settings: &Settings, calls: usize) {
    let what = format!("{calls} calls are taken in");
    detect.wait_until(&what, |metrics| taken(metrics, settings) >= calls);
}

/// Calls of the keyed topic that were read, repeats left out.
fn taken(metrics: &Series, settings: &Settings) -> usize {
    let label = format!("topic=\"{}\"", settings.keyed());
    let received = metrics.count_of("records_received_total", &[&label]);
    received - metrics.count("events_repeated_total")
}

/// Waits until so many calls are judged, or held until later ones come.
fn wait_until_at_rest(detect: &Running, calls: usize) -> Series {
    // What is held may only wait for its peers, and be judged a moment later.
    let (mut judged, mut since) = (0, now());
    detect.wait_until(&format!("{calls} calls are judged or held"), |metrics| {
        let judged_now = metrics.count("events_processed_total");
        if judged_now != judged {
            (judged, since) = (judged_now, now());
        }
        judged + metrics.count("held_calls") == calls && since.elapsed() >= Duration::from_secs(2)
    })
}

/// Everything but the calls that only let time pass is judged, once, and told as a replay tells it,
/// with evidence that names the source.
fn holds(
    settings: &Settings,
    calls: &[Call],
    (detect, before): (&Running, usize),
    all: &[&Running],
) {
    let label = format!("topic=\"{}\"", settings.keyed());
    let judged = detect.wait_until("all is judged", |metrics| {
        before + metrics.count("events_processed_total") >= calls.len()
    });
    let all_judged = before + judged.count("events_processed_total");
    assert_eq!(all_judged, calls.len(), "none twice\n{}", logs(all));
    assert_eq!(judged.count_of("events_duplicate_total", &[&label]), 0, "{}", logs(all));
    for counted in ["events_late_total", "events_misplaced_total", "peers_left_out_total"] {
        assert_eq!(judged.count(counted), 0, "{counted}\n{}", logs(all));
    }
    let expected = replayed(settings, calls, detect);
    assert!(expected.len() > 3, "something is planted: {expected:?}");
    let alerts = wait_for("every alert is written", || {
        let alerts = read(&settings.bootstrap, &settings.alerts());
        let told = groups::fired(alerts.iter().map(Stored::json));
        (told.len() >= expected.len()).then_some(alerts)
    });
    alerts_once(&alerts, all);
    let told = groups::fired(alerts.iter().map(Stored::json));
    assert_eq!(told, expected, "{}", logs(all));
    let mut sources: BTreeMap<(String, i64, i64), Value> = BTreeMap::new();
    for (topic, _) in &settings.sources {
        for record in read(&settings.bootstrap, topic) {
            let place = (topic.clone(), i64::from(record.partition), record.offset);
            sources.insert(place, record.json()["call_id"].clone());
        }
    }
    let mut looked_at = 0;
    for alert in alerts.iter().map(Stored::json) {
        for call in alert["evidence"].as_array().unwrap() {
            let number = |field: &str| call[field].as_i64().unwrap();
            let topic = call["topic"].as_str().unwrap().to_owned();
            let place = (topic, number("partition"), number("offset"));
            assert_eq!(sources.get(&place), Some(&call["call_id"]), "{call}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 0);
}

/// The last calls, which are held: with them everything before is judged.
fn let_time_pass(settings: &Settings, calls: &[Call]) {
    let newest = calls.iter().map(|it| it.0).max().unwrap();
    let ends: Vec<Call> = ends(newest.plus_secs(2 * 3_600)).collect();
    for (topic, format) in &settings.sources {
        let records: Vec<Stored> = if format.contains("none") {
            keyless(&ends, 0)
        } else {
            ends.iter().take(1).map(keyed).collect()
        };
        produce(&settings.bootstrap, topic, &records);
    }
}

fn keyed((_, agent, line): &Call) -> Stored {
    Stored::new(-1, format!("acme/{agent}"), line.as_bytes())
}

#[test]
fn a_source_without_keys_says_what_one_replay_says() {
    let Some(broker) = Broker::shared() else { return };
    let settings = settings(&broker, "keyless");
    let calls = calls();
    let running = Running::start(&settings);
    let mut sent = 0;
    for span in spans(&calls) {
        produce(&settings.bootstrap, settings.calls(), &keyless(span, sent));
        sent += span.len();
        wait_until_taken(&running, &settings, sent);
    }
    let_time_pass(&settings, &calls);
    holds(&settings, &calls, (&running, 0), &[&running]);
    let keyed = read(&settings.bootstrap, &settings.keyed());
    let partitions: BTreeSet<i32> = keyed.iter().map(|it| it.partition).collect();
    assert_eq!(partitions.len(), 2, "the agents are meant to be in both");
    assert!(keyed.iter().all(|it| it.key.starts_with(b"acme/")));
}

#[test]
fn an_ingest_that_is_killed_loses_no_call_and_none_is_judged_twice() {
    let Some(broker) = Broker::shared() else { return };
    let settings = settings(&broker, "killed");
    let calls = calls();
    let mut detect = Running::start(&with_role(&settings, "detect"));
    // It commits late, so that whoever comes next reads again.
    let late = Settings { commit_interval: "1m", ..with_role(&settings, "ingest") };
    let mut ingest = Running::start(&late);
    let spans = spans(&calls);
    // What was judged before a restart, and what was read again after it.
    let (mut sent, mut before, mut again) = (0, 0, 0);
    for (number, span) in spans.iter().enumerate() {
        produce(&settings.bootstrap, settings.calls(), &keyless(span, sent));
        if number == spans.len() / 3 || number == spans.len() * 2 / 3 {
            ingest.kill();
            ingest = Running::start(&late);
        }
        sent += span.len();
        wait_until_taken(&detect, &settings, sent - before + again);
        if number == spans.len() / 2 {
            // Who judges next must know from what was written down what was seen.
            before = wait_until_at_rest(&detect, sent).count("events_processed_total");
            let (status, _) = detect.terminate();
            assert!(status.success(), "{}", detect.log());
            detect = Running::start(&with_role(&settings, "detect"));
            let metrics = wait_until_at_rest(&detect, sent - before);
            again = taken(&metrics, &settings) - (sent - before);
        }
    }
    let_time_pass(&settings, &calls);
    holds(&settings, &calls, (&detect, before), &[&detect, &ingest]);
    let repeated = detect.metrics().count("events_repeated_total");
    assert!(repeated >= calls.len() / 3, "it began again: {repeated}");
    let (status, _) = ingest.terminate();
    assert!(status.success(), "{}", ingest.log());
}

/// Where an ingest dies, and the most hits after which it does.
const STEPS: [(&str, u32); 6] = [
    ("ingest-sent", 120),
    ("ingest-acked", 120),
    ("ingest-committed", 3),
    ("ingest-sent", 60),
    ("ingest-acked", 60),
    ("ingest-committed", 2),
];

#[test]
fn row_01_ingest_that_dies_at_each_of_its_steps_loses_no_call_and_none_is_judged_twice() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings {
        session_ms: Some(1_500),
        commit_interval: "100ms",
        ..settings(&broker, &format!("ingest-steps-{}", seed()))
    };
    let mut random = random(&settings.name);
    let mut lives =
        STEPS.map(|(point, hits)| format!("{point}:{}", random.u32(1..=hits))).into_iter();
    let mut begin = || {
        let mut life = with_role(&settings, "ingest");
        let point = lives.next();
        let is_last = point.is_none();
        life.arguments.extend(point.into_iter().flat_map(|it| ["--kill-point".to_owned(), it]));
        (Running::spawn(&life), is_last)
    };
    let detect = Running::start(&with_role(&settings, "detect"));
    let calls = calls();
    let (mut ingest, mut is_last) = begin();
    let mut sent = 0;
    for span in spans(&calls) {
        produce(&settings.bootstrap, settings.calls(), &keyless(span, sent));
        sent += span.len();
        wait_for("the calls are taken in", || {
            if has_died(&mut ingest) {
                (ingest, is_last) = begin();
            }
            (taken(&detect.metrics(), &settings) >= sent).then_some(())
        });
    }
    assert!(is_last, "it died at every step");
    let_time_pass(&settings, &calls);
    holds(&settings, &calls, (&detect, 0), &[&detect, &ingest]);
}

#[test]
fn row_21_what_retention_took_before_ingest_read_it_is_counted_to_the_record_and_told() {
    let Some(broker) = Broker::shared() else { return };
    let settings = settings(&broker, &format!("ingest-retention-{}", seed()));
    let first = keyless(&calls()[..50], 0);
    produce(&settings.bootstrap, settings.calls(), &first);
    let ingest = with_role(&settings, "ingest");
    let mut running = Running::start(&ingest);
    let received = |it: &Series| {
        it.count_of("records_received_total", &[&format!("topic=\"{}\"", settings.calls())])
    };
    running.wait_until("all is taken", |it| received(it) == first.len());
    assert_eq!(running.metrics().count("source_log_changes_total"), 0, "{}", running.log());
    assert!(running.terminate().0.success(), "{}", running.log());
    let ends =
        committed(&settings.bootstrap, &format!("{}-ingest", settings.name), settings.calls());
    let lost: Vec<Stored> = (0..7).map(|_| Stored::new(0, "", &b"{}"[..])).collect();
    produce(&settings.bootstrap, settings.calls(), &lost);
    produce(&settings.bootstrap, settings.calls(), &keyless(&calls()[50..70], 0));
    let operator = Operator::of(&settings.bootstrap);
    operator.delete_below(settings.calls(), ends[&0].1 + 7);
    let running = Running::start(&ingest);
    running.wait_until("what is left is taken", |it| received(it) == 20);
    running.wait_until("the loss is told", |it| it.count("source_log_changes_total") == 1);
    let metrics = running.metrics();
    assert_eq!(metrics.count_of("source_log_changes_total", &["change=\"overtaken\""]), 1);
    assert_eq!(metrics.count("records_lost_total"), 7, "{}", running.log());
}

#[test]
fn three_processes_with_a_role_each_do_what_one_does() {
    let Some(broker) = Broker::shared() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let heard: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let hear = async |State(heard): State<Arc<Mutex<BTreeSet<String>>>>, body: Bytes| {
        let said: Value = serde_json::from_slice(&body).unwrap();
        let id = said["data"]["alert_id"].as_str().unwrap().to_owned();
        heard.lock().unwrap().insert(id);
    };
    let router = Router::new().fallback(hear).with_state(Arc::clone(&heard));
    runtime.spawn(async move { axum::serve(listener, router).await });
    let mut settings = settings(&broker, "roles");
    settings.more.push_str(
        "receivers:\n  - {name: on-call, type: webhook, url_env: HOOK, \
         signing_secret_env: SECRET, min_score: 0, retry_for: 2m, catch_up_rate: 1000, \
         allow_networks: [127.0.0.1]}\n",
    );
    settings.environment = vec![
        ("HOOK", format!("http://{address}/")),
        ("SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
    ];
    let roles = ["ingest", "detect", "deliver"];
    let [ingest, detect, deliver] = roles.map(|it| Running::start(&with_role(&settings, it)));
    let all = [&ingest, &detect, &deliver];
    let calls = calls();
    let mut sent = 0;
    for span in spans(&calls) {
        produce(&settings.bootstrap, settings.calls(), &keyless(span, sent));
        sent += span.len();
        wait_until_taken(&detect, &settings, sent);
    }
    let_time_pass(&settings, &calls);
    holds(&settings, &calls, (&detect, 0), &all);
    let told: BTreeSet<String> = read(&settings.bootstrap, &settings.alerts())
        .iter()
        .map(|it| it.json()["alert_id"].as_str().unwrap().to_owned())
        .collect();
    wait_for("the receiver has every alert", || (*heard.lock().unwrap() == told).then_some(()));
    for (running, role) in all.into_iter().zip(roles) {
        running.wait_until("it is ready", |metrics| metrics.count("ready") == 1);
        let metrics = running.metrics();
        let does = [
            ("ingest", metrics.count("ingest_calls_total")),
            ("detect", metrics.count("events_processed_total")),
            ("deliver", metrics.count("notifications_total")),
        ];
        for (other, done) in does {
            assert_eq!(done > 0, other == role, "{role} has done {done} for {other}");
        }
    }
}

#[test]
fn a_keyed_source_and_one_that_is_not_are_judged_together() {
    let Some(broker) = Broker::shared() else { return };
    let mut settings = settings(&broker, "mixed");
    let topic = "mixed.keyed-calls".to_owned();
    broker.create_topic(&topic, 1, &[]);
    settings.sources.push((topic.clone(), "native"));
    let calls = calls();
    let running = Running::start(&settings);
    let is_keyed = |call: &Call| call.1.ends_with('1') || call.1.ends_with('3');
    let (mut sent, mut keyless_sent) = (0, 0);
    for span in spans(&calls) {
        let (one, other): (Vec<Call>, Vec<Call>) = span.iter().cloned().partition(is_keyed);
        produce(&settings.bootstrap, &topic, &one.iter().map(keyed).collect::<Vec<_>>());
        produce(&settings.bootstrap, settings.calls(), &keyless(&other, sent));
        sent += span.len();
        keyless_sent += other.len();
        wait_until_taken(&running, &settings, keyless_sent);
    }
    let_time_pass(&settings, &calls);
    holds(&settings, &calls, (&running, 0), &[&running]);
    assert!(keyless_sent > 0 && keyless_sent < sent, "{keyless_sent} of {sent}");
}

/// A call that names much, and nothing that can be made smaller.
fn large(time: Timestamp) -> Call {
    let mut random = fastrand::Rng::with_seed(5);
    let mut text = || (0..250).map(|_| random.alphanumeric()).collect::<String>();
    let call = json!({
        "ts": time.to_string(), "tenant_id": "acme", "agent_id": "helper", "session_id": text(),
        "call_id": text(), "tool_name": "pay", "user_id": text(), "parent_agent_id": text(),
        "agent_version": text(), "agent_group": text(), "status": "ok",
    });
    (time, "helper".to_owned(), call.to_string())
}

#[test]
fn a_call_that_the_calls_topic_does_not_take_is_a_dead_letter_and_the_rest_is_judged() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings {
        sources: vec![("unfit.calls".to_owned(), "native, keyed_by: none")],
        ..Settings::new(broker.bootstrap(), "unfit")
    };
    broker.create_topic(settings.calls(), 1, &[]);
    broker.create_topic(&settings.keyed(), 1, &["max.message.bytes=700"]);
    let began: Timestamp = "2026-03-02T10:00:00Z".parse().unwrap();
    let mut calls: Vec<Call> = (0..20).flat_map(|it| ends(began.plus_secs(it)).take(1)).collect();
    calls.insert(10, large(began.plus_secs(10)));
    let records: Vec<Stored> =
        calls.iter().map(|(_, _, line)| Stored::new(0, "", line.as_bytes())).collect();
    produce(&settings.bootstrap, settings.calls(), &records);
    let running = Running::start(&settings);
    let metrics =
        running.wait_until("the rest is judged", |it| it.count("events_processed_total") >= 20);
    assert_eq!(metrics.count("events_processed_total"), 20);
    assert!(metrics.count("ingest_restarts_total") > 0, "{}", running.log());
    let letters = read(&settings.bootstrap, &settings.dead_letter());
    assert!(!letters.is_empty(), "{}", running.log());
    for letter in letters {
        assert_eq!(letter.headers["toolwarden-offset"], "10");
        assert_eq!(letter.headers["toolwarden-reason"], "too_large");
        assert!(letter.headers["toolwarden-detail"].contains("max.message.bytes"));
        assert_eq!(letter.payload, records[10].payload, "byte for byte");
    }
    let ended = wait_for("ingest has committed all", || {
        let group = "unfit-ingest";
        let committed = committed(&settings.bootstrap, group, settings.calls());
        committed.values().all(|(offset, end)| offset == end).then_some(committed)
    });
    assert_eq!(ended[&0].0, 21);
}
