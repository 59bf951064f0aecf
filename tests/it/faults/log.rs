//! The log is not what it was: deleted, cut, damaged. Rows 21 to 24.

use std::collections::{BTreeMap, BTreeSet};

use toolwarden::kafka::CODE_HEADER;
use toolwarden::pipeline::epochs::entry::{Entry, Logged, SourceId};
use toolwarden::state::changelog::{Marker, Snapshot, Stamp, marker_to_bytes, snapshot_to_bytes};
use toolwarden::state::codec::{self, Kind};
use toolwarden::state::mac::{Checked, MacKeys};

use crate::calls::looping;
use crate::faults::kill::settings;
use crate::faults::oracle::{Operator, recovered, seed};
use crate::kafka_broker::Broker;
use crate::running::{
    Running, Series, Settings, Stored, now, produce, read, wait_for, wait_until_committed,
};

/// The agents that somebody was told of for a loop.
fn fired(settings: &Settings) -> BTreeSet<String> {
    let alerts = read(&settings.bootstrap, &settings.alerts());
    let loops = alerts.iter().map(Stored::json).filter(|it| it["detector"] == "repeat");
    loops.map(|alert| alert["agent_id"].as_str().unwrap().to_owned()).collect()
}

/// A case of its own: one partition, which holds a loop of `first` that has been told.
fn judged_once(broker: &Broker, name: &str) -> (Settings, Operator, Running) {
    judged_with(settings(broker.bootstrap(), &format!("{name}-{}", seed())))
}

fn judged_with(settings: Settings) -> (Settings, Operator, Running) {
    let operator = Operator::of(&settings.bootstrap);
    operator.create(settings.calls(), 1, &["retention.ms=-1"]);
    let calls = looping("first", "2026-03-02T10:00:00Z", 60);
    produce(&settings.bootstrap, settings.calls(), &calls);
    let running = Running::start(&settings);
    running.wait_until_judged(calls.len());
    wait_until_committed(&settings, &[&running]);
    (settings, operator, running)
}

fn changes(running: &Running, change: &str) -> usize {
    let change = format!("change=\"{change}\"");
    running.metrics().count_of("source_log_changes_total", &[&change])
}

#[test]
fn row_21_what_retention_took_before_it_was_read_is_counted_to_the_record_and_told() {
    let Some(broker) = Broker::shared() else { return };
    let (settings, operator, mut running) = judged_once(&broker, "retention");
    assert!(running.terminate().0.success());
    produce(&settings.bootstrap, settings.calls(), &looping("gone", "2026-03-02T11:00:00Z", 40));
    let late = looping("late", "2026-03-02T12:00:00Z", 60);
    produce(&settings.bootstrap, settings.calls(), &late);
    operator.delete_below(settings.calls(), 100);
    let began = now();
    let running = Running::start(&settings);
    running.wait_until_judged(late.len());
    wait_until_committed(&settings, &[&running]);
    recovered(21, began.elapsed());
    assert_eq!(changes(&running, "overtaken"), 1, "{}", running.log());
    assert_eq!(running.metrics().count("records_lost_total"), 40);
    assert_eq!(running.metrics().count("records_received_total"), late.len());
    assert!(fired(&settings).contains("late"));
}

#[test]
fn row_21_what_retention_takes_in_front_of_a_running_reader_is_told_and_what_is_left_is_judged() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings {
        // Longer than it stands still.
        session_ms: Some(20_000),
        ..settings(broker.bootstrap(), &format!("overtaken-{}", seed()))
    };
    let (settings, operator, running) = judged_with(settings);
    running.signal("STOP");
    // The request that is under way is answered with this; there is no other while it stands still.
    produce(&settings.bootstrap, settings.calls(), &looping("bait", "2026-03-02T10:30:00Z", 1));
    produce(&settings.bootstrap, settings.calls(), &looping("gone", "2026-03-02T11:00:00Z", 40));
    let late = looping("late", "2026-03-02T12:00:00Z", 60);
    produce(&settings.bootstrap, settings.calls(), &late);
    operator.delete_below(settings.calls(), 101);
    let began = now();
    running.signal("CONT");
    running.wait_until("the loss is told", |it| it.count("records_lost_total") >= 40);
    wait_for("what is left is judged", || fired(&settings).contains("late").then_some(()));
    wait_until_committed(&settings, &[&running]);
    recovered(21, began.elapsed());
    assert_eq!(changes(&running, "overtaken"), 1, "{}", running.log());
    assert!(!fired(&settings).contains("gone"), "{}", running.log());
}

#[test]
fn row_22_a_topic_that_is_deleted_and_made_anew_is_told_and_read_from_its_beginning() {
    let Some(broker) = Broker::shared() else { return };
    let (settings, operator, mut running) = judged_once(&broker, "anew");
    assert!(running.terminate().0.success());
    operator.delete(settings.calls());
    operator.create(settings.calls(), 1, &["retention.ms=-1"]);
    let anew = looping("anew", "2026-03-02T12:00:00Z", 40);
    produce(&settings.bootstrap, settings.calls(), &anew);
    let began = now();
    let running = Running::start(&settings);
    running.wait_until_judged(anew.len());
    recovered(22, began.elapsed());
    assert_eq!(changes(&running, "replaced"), 1, "{}", running.log());
    wait_for("the new loop is told", || fired(&settings).contains("anew").then_some(()));
    assert_eq!(running.metrics().count("records_received_total"), anew.len());
}

#[test]
fn row_23_partitions_that_are_added_are_told_and_read_from_their_beginning() {
    let Some(broker) = Broker::shared() else { return };
    // The first partition rests meanwhile, and is not waited for as long as in other tests.
    let quick = Settings {
        more: "state: {flush_interval: 100ms}\n".to_owned(),
        properties: "topic.metadata.refresh.interval.ms: 1000, ".to_owned(),
        ..settings(broker.bootstrap(), &format!("added-{}", seed()))
    };
    let (settings, operator, running) = judged_with(quick);
    operator.raise(settings.calls(), 2);
    let on_the_new_one = |agent: &str, start: &str| {
        let calls = looping(agent, start, 40);
        calls.into_iter().map(|call| Stored { partition: 1, ..call }).collect::<Vec<_>>()
    };
    // What comes before anybody has noticed.
    let early = on_the_new_one("early", "2026-03-02T12:00:00Z");
    produce(&settings.bootstrap, settings.calls(), &early);
    let began = now();
    running.wait_until("it is told", |it| {
        it.count_of("source_log_changes_total", &["change=\"repartitioned\""]) > 0
    });
    // There is nowhere yet to keep what is known of its agents, so nothing of it is judged.
    wait_for("it says what it waits for", || {
        running.log().contains("cannot read the ends of a partition").then_some(())
    });
    assert!(!fired(&settings).contains("early"));
    operator.raise(&settings.state(), 2);
    wait_for("the early loop is told", || fired(&settings).contains("early").then_some(()));
    recovered(23, began.elapsed());
    let late = on_the_new_one("late", "2026-03-02T13:00:00Z");
    produce(&settings.bootstrap, settings.calls(), &late);
    wait_for("the late loop is told", || fired(&settings).contains("late").then_some(()));
    assert_eq!(running.metrics().count("records_received_total"), 60 + early.len() + late.len());
}

#[test]
fn row_24_damaged_records_of_what_is_known_are_refused_counted_and_never_used() {
    let Some(broker) = Broker::shared() else { return };
    let (settings, _, mut running) = judged_once(&broker, "damaged");
    assert!(running.terminate().0.success());
    let known = read(&settings.bootstrap, &settings.state());
    let damaged: Vec<Stored> = known
        .iter()
        .filter(|record| record.key.starts_with(b"agent/") && record.payload.is_some())
        .map(|record| {
            let mut record = record.clone();
            let bytes = record.payload.as_mut().unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            record
        })
        .collect();
    assert!(!damaged.is_empty());
    let nonsense = Stored::new(0, "agent/nobody/knows/this", "x");
    produce(&settings.bootstrap, &settings.state(), &[damaged, vec![nonsense]].concat());
    let began = now();
    let running = Running::start(&settings);
    let metrics = running.wait_until("it is back", |it| it.count("state_restores_total") == 1);
    recovered(24, began.elapsed());
    assert!(metrics.count("state_records_refused_total") >= 2, "{}", running.log());
    // The sound record from before the damage is there still, and its agent is known by it.
    assert_eq!(metrics.count("state_agents_missing_total"), 0, "{}", running.log());
    let more = looping("first", "2026-03-02T13:00:00Z", 60);
    produce(&settings.bootstrap, settings.calls(), &more);
    running.wait_until_judged(more.len());
    wait_until_committed(&settings, &[&running]);
}

const OLD: &str = "yU7iO2pA9sD4fG6hJ1kL8zX3cV5bN0mQ";
const NEW: &str = "qT5wZ8xC2vB7nM4kL9jH3gF6dS1aP0oI";

/// Settings of an instance that signs what it knows with the first of `keys` and takes all of them.
fn signing(settings: &Settings, keys: &str) -> Settings {
    let state = "flush_interval: 100ms, mac_key_env: STATE_KEY";
    Settings {
        more: settings.more.replace("flush_interval: 100ms", state),
        environment: vec![("STATE_KEY", keys.to_owned())],
        ..settings.clone()
    }
}

/// The last record under each key of what is known.
fn last_known(settings: &Settings) -> BTreeMap<Vec<u8>, Stored> {
    let records = read(&settings.bootstrap, &settings.state());
    records.into_iter().map(|record| (record.key.clone(), record)).collect()
}

/// Waits until the last record under each key is signed with `key`.
fn wait_until_signed(settings: &Settings, key: &str) {
    let keys = MacKeys::new([key], false);
    wait_for("everything is signed with the key", || {
        let is_signed = |record: &Stored| {
            let code = record.headers.get(CODE_HEADER).map(String::as_str);
            keys.check(0, (&record.key, record.payload.as_deref()), code) == Checked::Current
        };
        last_known(settings).values().all(is_signed).then_some(())
    });
}

/// What somebody without the key would write to the log of groups to take a partition's voice away, and
/// to delete what stands there.
fn forged_in_groups(settings: &Settings) -> Vec<Stored> {
    let source = SourceId { topic: settings.calls().into(), partition: 0 };
    let entry = Entry::Took { source, owner: u64::MAX };
    let unsigned = Stored::new(0, "entry/forged", Logged { writer: 7, entry }.to_bytes().unwrap());
    // Signed for another topic.
    let code = MacKeys::new([OLD], false).code(0, &unsigned.key, unsigned.payload.as_deref());
    let mut misplaced = unsigned.clone();
    misplaced.headers.insert(CODE_HEADER.to_owned(), code.unwrap());
    let deletion = Stored { payload: None, ..unsigned.clone() };
    vec![unsigned, misplaced, deletion]
}

/// Entries of the log of groups that an instance has refused.
fn refused_entries(metrics: &Series) -> usize {
    metrics.count_of("groups_entries_total", &["outcome=\"refused\""])
}

/// What somebody without the key would write to rule over the agent in `record`: the agent as it was,
/// of a later owner, and that it is to be deleted.
fn forged(record: &Stored) -> Vec<Stored> {
    let bytes = record.payload.as_deref().unwrap();
    let known: Snapshot = codec::open(Kind::Snapshot, bytes).unwrap();
    let stamp = Stamp { cut: known.stamp.cut + 1, owner: u64::MAX, ..known.stamp };
    let bytes = snapshot_to_bytes(stamp, &[], (&[], &known.passages), &known.state).unwrap();
    let unsigned = Stored::new(0, record.key.clone(), bytes);
    let wrong = MacKeys::new([NEW], false).code(0, &unsigned.key, unsigned.payload.as_deref());
    let mut signed = unsigned.clone();
    signed.headers.insert(CODE_HEADER.to_owned(), wrong.unwrap());
    let deletion = Stored { payload: None, ..unsigned.clone() };
    vec![unsigned, signed, deletion]
}

#[test]
fn row_24_what_nobody_vouches_for_is_refused_and_written_over_while_it_runs_and_at_restore() {
    let Some(broker) = Broker::shared() else { return };
    let plain = settings(broker.bootstrap(), &format!("forged-{}", seed()));
    let (settings, _, mut running) = judged_with(signing(&plain, OLD));
    wait_until_signed(&settings, OLD);
    let agent = last_known(&settings).into_values().find(|it| it.key.starts_with(b"agent/"));
    let agent = agent.unwrap();
    // A marker of an owner that would have taken over, while the instance runs.
    let stamp = Stamp { owner: u64::MAX, ..Stamp::default() };
    let marker = marker_to_bytes(&Marker { stamp, ..Marker::default() }).unwrap();
    let marker = Stored::new(0, format!("marker/{}/0", settings.calls()), marker);
    produce(&settings.bootstrap, &settings.state(), &[forged(&agent), vec![marker]].concat());
    let metrics =
        running.wait_until("it is noticed", |it| it.count("state_foreign_writes_total") >= 4);
    assert_eq!(metrics.count("state_superseded_total"), 0, "{}", running.log());
    wait_until_signed(&settings, OLD);
    produce(&settings.bootstrap, &settings.groups(), &forged_in_groups(&settings));
    running.wait_until("nobody believes it", |it| refused_entries(it) == 3);
    let more = looping("second", "2026-03-02T11:00:00Z", 60);
    produce(&settings.bootstrap, settings.calls(), &more);
    running.wait_until_judged(more.len());

    // The same while nobody looks.
    assert!(running.terminate().0.success());
    produce(&settings.bootstrap, &settings.state(), &forged(&agent));
    let began = now();
    let mut running = Running::start(&settings);
    let metrics = running.wait_until("it is back", |it| it.count("state_restores_total") == 1);
    recovered(24, began.elapsed());
    assert_eq!(metrics.count("state_records_refused_total"), 3, "{}", running.log());
    assert_eq!(metrics.count("state_agents_missing_total"), 0, "{}", running.log());
    assert!(running.log().contains("its code is of none of the keys"), "{}", running.log());
    assert_eq!(refused_entries(&metrics), 3, "{}", running.log());
    wait_until_signed(&settings, OLD);

    // Another key takes the old one's place, and nothing is lost or refused.
    for keys in [format!("{NEW} {OLD}"), NEW.to_owned()] {
        assert!(running.terminate().0.success());
        let settings = signing(&plain, &keys);
        running = Running::start(&settings);
        let metrics = running.wait_until("it is back", |it| it.count("state_restores_total") == 1);
        assert_eq!(metrics.count("state_records_refused_total"), 0, "{}", running.log());
        assert_eq!(metrics.count("state_agents_missing_total"), 0, "{}", running.log());
        wait_until_signed(&settings, NEW);
        running.wait_until("a snapshot stands in for what has the old code", |it| {
            keys == NEW || it.count("groups_snapshots_total") == 1
        });
        assert_eq!(refused_entries(&metrics), if keys == NEW { 0 } else { 3 }, "{keys}");
    }
    let more = looping("first", "2026-03-02T13:00:00Z", 60);
    produce(&settings.bootstrap, settings.calls(), &more);
    running.wait_until_judged(more.len());
}

#[test]
fn row_24_a_topic_in_use_is_signed_without_losing_what_is_known() {
    let Some(broker) = Broker::shared() else { return };
    let (settings, _, mut running) = judged_once(&broker, "signed-late");
    assert!(running.terminate().0.success());
    let signing = signing(&settings, NEW);
    let accepting = Settings {
        more: signing.more.replace("STATE_KEY", "STATE_KEY, accept_unsigned: true"),
        ..signing.clone()
    };
    for settings in [&accepting, &signing] {
        let mut running = Running::start(settings);
        let metrics = running.wait_until("it is back", |it| it.count("state_restores_total") == 1);
        assert_eq!(metrics.count("state_records_refused_total"), 0, "{}", running.log());
        assert_eq!(metrics.count("state_agents_missing_total"), 0, "{}", running.log());
        wait_until_signed(settings, NEW);
        // What peers are known to do is signed as well, in a snapshot; nothing is missing later.
        let snapshots = usize::from(settings.more == accepting.more);
        assert_eq!(metrics.count("groups_snapshots_total"), snapshots, "{}", running.log());
        assert_eq!(refused_entries(&metrics), 0, "{}", running.log());
        assert_eq!(metrics.count_of("groups_entries_total", &["outcome=\"lost\""]), 0);
        assert!(running.terminate().0.success());
    }
}
