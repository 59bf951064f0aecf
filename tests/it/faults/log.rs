//! The log is not what it was: deleted, cut, damaged. Rows 21, 22 and 24.

use std::collections::BTreeSet;

use crate::calls::looping;
use crate::faults::kill::settings;
use crate::faults::oracle::{Operator, recovered, seed};
use crate::kafka_broker::Broker;
use crate::running::{
    Running, Settings, Stored, now, produce, read, wait_for, wait_until_committed,
};

/// The agents that somebody was told of for a loop.
fn fired(settings: &Settings) -> BTreeSet<String> {
    let alerts = read(&settings.bootstrap, &settings.alerts());
    let loops = alerts.iter().map(Stored::json).filter(|it| it["detector"] == "repeat");
    loops.map(|alert| alert["agent_id"].as_str().unwrap().to_owned()).collect()
}

/// A case of its own: one partition, which holds a loop of `first` that has been told.
fn judged_once(broker: &Broker, name: &str) -> (Settings, Operator, Running) {
    let settings = settings(broker.bootstrap(), &format!("{name}-{}", seed()));
    let operator = Operator::of(broker.bootstrap());
    operator.create(settings.calls(), 1, &["retention.ms=-1"]);
    let calls = looping("first", "2026-03-02T10:00:00Z", 60);
    produce(broker.bootstrap(), settings.calls(), &calls);
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
