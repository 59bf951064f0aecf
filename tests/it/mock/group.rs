//! What the group's coordinator answers. Rows 8, 10, 13, 14 and 16.

use std::time::Duration;

use rdkafka::mocking::MockCoordinator;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Code};

use crate::mock::{a_loop, at_once, case, holds, loops, offset, started};
use crate::running::{Running, Series, Settings, produce, read, wait_for};

#[test]
fn row_13_commits_go_on_when_the_coordinator_moves_and_is_not_ready_yet() {
    let Some((cluster, settings)) = case("moves", 3, 1) else { return };
    let group = || MockCoordinator::Group(settings.name.clone());
    cluster.coordinator(group(), 1).unwrap();
    let running = started(&settings);
    produce(&settings.bootstrap, settings.calls(), &a_loop("before", 10));
    holds(&settings, &[&running], &["before"]);
    let errors = [
        Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
    ];
    at_once(&running, &settings, &a_loop("during", 11), || {
        cluster.coordinator(group(), 2).unwrap();
        cluster.request_errors(RDKafkaApiKey::OffsetCommit, &errors);
    });
    holds(&settings, &[&running], &["before", "during"]);
    let committed = running.metrics();
    assert!(committed.sum("kafka_commits_total", &["result=\"ok\""]) > 0.0);
}

#[test]
fn calls_are_taken_in_and_judged_while_the_coordinator_does_not_answer_a_commit() {
    let Some((cluster, settings)) = case("hangs", 2, 1) else { return };
    let sources = vec![(settings.calls().to_owned(), "native, keyed_by: none")];
    // Heartbeats are not answered either. Not longer than a start may take: a join that is begun again
    // leaves a member behind that the others wait for as long.
    let settings = Settings { sources, session_ms: Some(30_000), ..settings };
    cluster.create_topic(&settings.keyed(), 1, 1).unwrap();
    let others =
        [settings.calls().to_owned(), settings.keyed(), settings.state(), settings.deliveries()];
    for topic in settings.written().iter().chain(&others) {
        cluster.partition_leader(topic, 0, Some(1)).unwrap();
    }
    for group in [settings.name.clone(), format!("{}-ingest", settings.name)] {
        cluster.coordinator(MockCoordinator::Group(group), 2).unwrap();
    }
    let running = started(&settings);
    let judge = |number: u32| {
        let agent = format!("loop-{number}");
        produce(&settings.bootstrap, settings.calls(), &a_loop(&agent, 10 + number));
        running.wait_until("they are judged and written down", |it| {
            it.count("events_processed_total") >= 20 * usize::try_from(number + 1).unwrap()
                && it.count("state_flushes_total") > usize::try_from(number).unwrap()
        });
    };
    judge(0);
    cluster.broker_round_trip_time(2, Duration::from_secs(50)).unwrap();
    judge(1);
    let answers = |it: &Series| it.count_of("kafka_commits_total", &[]);
    let answered = answers(&running.metrics());
    // By now one is under way, of ingest and of the worker.
    (2..5).for_each(judge);
    assert_eq!(answers(&running.metrics()), answered, "{}", running.log());
    cluster.broker_round_trip_time(2, Duration::ZERO).unwrap();
    running.wait_until("a commit is answered", |it| answers(it) > answered);
    let expected = (0..5).map(|number| format!("loop-{number}")).collect();
    assert_eq!(loops(&settings, &[&running]), expected, "{}", running.log());
}

#[test]
fn row_14_a_refused_commit_is_made_later_or_what_it_spoke_of_is_read_again() {
    let refusals = [
        ("rebalancing", Code::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS),
        ("generation", Code::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION),
        ("unknown", Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID),
    ];
    for (name, code) in refusals {
        let Some((cluster, settings)) = case(name, 1, 1) else { return };
        let running = started(&settings);
        produce(&settings.bootstrap, settings.calls(), &a_loop("before", 10));
        holds(&settings, &[&running], &["before"]);
        let refused = running.metrics().sum("kafka_commits_total", &["result=\"error\""]);
        at_once(&running, &settings, &a_loop("during", 11), || {
            cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[code]);
        });
        running.wait_until("a commit is refused", |it| {
            it.sum("kafka_commits_total", &["result=\"error\""]) > refused
        });
        holds(&settings, &[&running], &["before", "during"]);
        produce(&settings.bootstrap, settings.calls(), &a_loop("after", 12));
        holds(&settings, &[&running], &["before", "during", "after"]);
    }
}

#[test]
fn row_16_partitions_that_were_lost_are_neither_written_down_nor_committed() {
    let Some((cluster, settings)) = case("lost", 1, 1) else { return };
    // Nothing is flushed by time, only what must be before a partition goes.
    let more = "state: {flush_interval: 1m}\npeers: {idle_after: 1h}".to_owned();
    let settings = Settings { more, ..settings };
    let mut running = started(&settings);
    let calls = a_loop("loop", 10);
    produce(&settings.bootstrap, settings.calls(), &calls);
    running.wait_until_judged(calls.len());
    let agents = || {
        let records = read(&settings.bootstrap, &settings.state());
        records.iter().filter(|it| it.key.starts_with(b"agent/")).count()
    };
    let before = (offset(&settings), agents());
    assert!(before.0 < 20, "the test means to lose what is not committed");
    cluster
        .request_errors(RDKafkaApiKey::Heartbeat, &[Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID; 2]);
    wait_for("they are lost", || running.log().contains("partitions lost").then_some(()));
    assert_eq!((offset(&settings), agents()), before, "{}", running.log());
    // What was known is dropped, and all of it is read and judged again.
    running.wait_until_judged(2 * calls.len());
    assert!(running.terminate().0.success());
    holds(&settings, &[&running], &["loop"]);
}

#[test]
fn row_10_a_partition_that_was_paused_when_it_was_lost_is_read_when_it_is_back() {
    let Some((cluster, settings)) = case("paused", 1, 1) else { return };
    let more = "state: {durable: false}\npeers: {idle_after: 1h}\nlimits: {pending_alerts: 100}";
    let settings = Settings { more: more.to_owned(), ..settings };
    let running = started(&settings);
    let calls: Vec<_> = (0..150).flat_map(|it| a_loop(&format!("loop-{it}"), 10)).collect();
    at_once(&running, &settings, &calls, || {
        cluster.partition_leader(&settings.alerts(), 0, None).unwrap();
    });
    running.wait_until("it is full", |it| it.sum("alerts_unacknowledged", &[]) >= 100.0);
    let error = Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
    cluster.request_errors(RDKafkaApiKey::Heartbeat, &[error; 2]);
    wait_for("it is lost", || running.log().contains("partitions lost").then_some(()));
    // The group takes three seconds to form again; by then there is room.
    cluster.partition_leader(&settings.alerts(), 0, Some(1)).unwrap();
    let agents: Vec<String> = (0..150).map(|it| format!("loop-{it}")).collect();
    let mut agents: Vec<&str> = agents.iter().map(String::as_str).collect();
    agents.push("after");
    produce(&settings.bootstrap, settings.calls(), &a_loop("after", 11));
    holds(&settings, &[&running], &agents);
}

#[test]
fn row_08_a_worker_that_hangs_loses_its_partitions_and_comes_back_clean() {
    let Some((_cluster, settings)) = case("wedged", 1, 2) else { return };
    let properties = "max.poll.interval.ms: 3000, ".to_owned();
    let settings = Settings { properties, session_ms: Some(2_500), ..settings };
    let hanging = Settings {
        arguments: vec!["--kill-point".to_owned(), "judged:2:stall=9".to_owned()],
        ..settings.clone()
    };
    let first = started(&hanging);
    let other = Running::start(&settings);
    other.wait_until("it has joined", |it| it.sum("ready", &[]) > 0.0);
    let calls = [a_loop("one", 10), a_loop("two", 11), a_loop("three", 12)].concat();
    for part in calls.chunks(10) {
        produce(&settings.bootstrap, settings.calls(), part);
        std::thread::sleep(Duration::from_millis(200));
    }
    // Whoever hangs is put out of the group, and others judge what it had.
    holds(&settings, &[&first, &other], &["one", "two", "three"]);
    produce(&settings.bootstrap, settings.calls(), &a_loop("after", 13));
    holds(&settings, &[&first, &other], &["one", "two", "three", "after"]);
    wait_for("it is back in the group", || (first.get("/readyz").0 == 200).then_some(()));
}

#[test]
fn an_instance_whose_worker_does_not_poll_is_not_ready_says_why_and_recovers() {
    let Some((_cluster, settings)) = case("silent", 1, 1) else { return };
    let settings = Settings {
        commit_interval: "200ms\n  stalled_after: 10s",
        arguments: vec!["--kill-point".to_owned(), "judged:1:stall=25".to_owned()],
        ..settings
    };
    let running = started(&settings);
    produce(&settings.bootstrap, settings.calls(), &a_loop("loop", 10));
    wait_for("it says that a worker does not poll", || {
        let (status, body) = running.get("/readyz");
        (status == 503 && body.contains("a worker has not polled for")).then_some(())
    });
    running.wait_until("it is measured", |it| it.count("kafka_stalled") == 1);
    running.wait_until("it goes on", |it| it.count("kafka_stalled") == 0);
    holds(&settings, &[&running], &["loop"]);
    assert_eq!(running.get("/readyz").0, 200, "{}", running.log());
}
