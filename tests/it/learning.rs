//! `run --learn-from`: what lies before the group's place in its topics teaches and alerts nobody.

use std::fmt::Write as _;
use std::process::Command;

use rdkafka::mocking::MockCluster;
use serde_json::Value;
use toolwarden::alert::LEARNING_SCORE_MAX;
use toolwarden::event::Timestamp;
use toolwarden::pipeline::clock;

use crate::calls::{bursts, call, create_topics, lines, told, tool_of};
use crate::kafka_broker::Broker;
use crate::running::{Running, Settings, Stored, committed, produce, read, wait_for};
use crate::support::{fail, succeed};

const AGENT: &str = "helper@1";

fn line(tool: &str, now: i64, secs: i64) -> Stored {
    let time = Timestamp::from_secs(now + secs);
    let stored = Stored::new(0, format!("acme/{AGENT}"), call(AGENT, tool, time));
    Stored { appended_ms: Some(time.as_millis()), ..stored }
}

fn burst(tool: &str, now: i64, secs: i64) -> impl Iterator<Item = Stored> {
    (0..30).map(move |n| line(tool, now, secs + n * 30))
}

/// Twelve days of work at the hours around `now`, and a burst of an unknown tool three days ago.
fn history(now: i64) -> Vec<Stored> {
    let work = (-12..0).flat_map(|day: i64| (0..120).map(move |n| (day, n)));
    let usual = work
        .map(|(day, n)| line(&format!("tool-{}", n % 10), now, day * 86_400 - 14_400 + n * 240));
    let mut all: Vec<Stored> = usual.chain(burst("wire", now, -3 * 86_400 - 1_195)).collect();
    all.sort_by_key(|record| record.appended_ms);
    all
}

/// The tools and scores of the bursts that fired.
fn fired(alerts: impl Iterator<Item = Value>) -> Vec<(String, f64)> {
    bursts(alerts).map(|it| (tool_of(&it), it["score"].as_f64().unwrap())).collect()
}

fn is_ready(running: &Running) -> Option<()> {
    (running.get("/-/ready").0 == 200).then_some(())
}

#[test]
fn a_replay_of_the_same_calls_tells_of_both_bursts_and_pages_for_the_second() {
    let now = clock::wall().as_secs();
    let mut text = String::new();
    for record in history(now).into_iter().chain(burst("export", now, -1_200)) {
        writeln!(text, "{}", record.json()).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("calls.ndjson");
    std::fs::write(&file, text).unwrap();
    let mut replay = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    let said = succeed(replay.args(["replay", "--output", "ndjson"]).arg(file));
    let fired = fired(lines(&said));
    let tools: Vec<&str> = fired.iter().map(|(tool, _)| tool.as_str()).collect();
    assert_eq!(tools, ["wire", "export"], "{said}");
    assert!(fired[1].1 > LEARNING_SCORE_MAX, "{fired:?}");
}

#[test]
fn what_happened_in_the_history_is_known_and_only_what_comes_after_it_is_told() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings {
        arguments: ["--learn-from", "20d"].map(str::to_owned).to_vec(),
        ..Settings::new(broker.bootstrap(), "learn-from")
    };
    broker.create_topic(settings.calls(), 1, &["retention.ms=-1"]);
    let now = clock::wall().as_secs();
    let past = history(now);
    produce(broker.bootstrap(), settings.calls(), &past);
    let mut running = Running::start(&settings);
    running.wait_until_judged(past.len());
    wait_for("it is live", || is_ready(&running));
    let end = i64::try_from(past.len()).unwrap();
    wait_for("its place is pinned", || {
        let committed = committed(broker.bootstrap(), "learn-from", settings.calls());
        (committed[&0] == (end, end)).then_some(())
    });
    assert_eq!(told(&settings), Vec::<Value>::new(), "nothing of the history is told");
    assert!(read(broker.bootstrap(), &settings.audit()).is_empty());
    let log = running.log();
    assert!(log.contains("learned from history, live now"), "{log}");
    assert!(log.contains("less history than asked for"), "{log}");
    let live: Vec<Stored> = burst("export", now, -1_200).collect();
    produce(broker.bootstrap(), settings.calls(), &live);
    running.wait_until_judged(past.len() + live.len());
    let found = wait_for("the live burst is told", || {
        let found = fired(told(&settings).into_iter());
        (!found.is_empty()).then_some(found)
    });
    assert!(
        found.len() == 1 && found[0].0 == "export" && found[0].1 > LEARNING_SCORE_MAX,
        "{found:?}"
    );
    // Whoever starts again and finds what was learned goes on with it, and tells nothing twice.
    assert!(running.terminate().0.success(), "{}", running.log());
    let before = told(&settings).len();
    let mut again = Running::start(&settings);
    wait_for("it is live again", || is_ready(&again));
    assert_eq!(again.metrics().count("events_processed_total"), 0, "{}", again.log());
    assert!(again.log().contains("baselines are back"), "{}", again.log());
    assert!(again.terminate().0.success(), "{}", again.log());
    // Whoever keeps nothing learns again, and tells nothing twice either.
    let forgetful = Settings { more: "state: {durable: false}".to_owned(), ..settings };
    let again = Running::start(&forgetful);
    again.wait_until_judged(past.len() + live.len());
    wait_for("it is live again", || is_ready(&again));
    assert_eq!(told(&forgetful).len(), before);
}

#[test]
fn without_a_history_everything_is_told() {
    let cluster = MockCluster::new(1).unwrap();
    let settings = Settings {
        arguments: ["--learn-from", "20d"].map(str::to_owned).to_vec(),
        ..Settings::new(&cluster.bootstrap_servers(), "no-history")
    };
    create_topics(&cluster, &settings, 1);
    // The mock cluster finds no offset for any time: to it these records are no history.
    let now = clock::wall().as_secs();
    let calls = history(now);
    produce(&settings.bootstrap, settings.calls(), &calls);
    let running = Running::start(&settings);
    running.wait_until_judged(calls.len());
    wait_for("it is live", || is_ready(&running));
    assert!(running.log().contains("no history to learn from"), "{}", running.log());
    assert_eq!(running.metrics().count("events_processed_total"), calls.len());
    let tools = || -> Vec<String> {
        fired(told(&settings).into_iter()).into_iter().map(|(tool, _)| tool).collect()
    };
    wait_for("the burst is told", || (tools() == ["wire"]).then_some(()));
}

#[test]
fn a_file_and_the_history_are_not_both_learned_from() {
    let mut run = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    run.args(["run", "--config", "c.yaml", "--baseline", "b.twb", "--learn-from", "7d"]);
    let said = fail(&mut run);
    assert!(said.contains("'--baseline") && said.contains("'--learn-from"), "{said}");
    assert_eq!(run.output().unwrap().status.code(), Some(2));
}
