//! Instances come and go while calls stream in: all of them together say what one replay says.
//! Beside a real Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kafka::{differences, replayed};
use crate::kafka_broker::Broker;
use crate::pipeline;
use crate::running::{
    Running, Settings, Stored, alerts_once, alerts_without_positions, produce, read, wait_for,
};

/// Parts that the history is written in, a pause after each.
const PARTS: usize = 60;
const PAUSE: Duration = Duration::from_millis(100);

/// What all instances said, each alert once; one that was said again must have the same bytes.
fn told(settings: &Settings) -> Vec<String> {
    let alerts = read(&settings.bootstrap, &settings.alerts());
    alerts_without_positions(alerts_once(&alerts, &[]).into_values().map(Stored::json))
}

#[test]
fn row_04_three_instances_become_five_and_two_and_say_what_one_replay_says() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings {
        // No partition counts as idle while the others move.
        more: "state: {flush_interval: 200ms}\npeers: {idle_after: 15s}".to_owned(),
        ..Settings::new(broker.bootstrap(), "scale")
    };
    broker.create_topic(settings.calls(), 10, &[]);
    let history = pipeline::history().iter();
    // A partition for each agent: one without calls would hold the others up until it is idle, and
    // everything would be judged after the last move.
    let mut partitions: BTreeMap<&str, i32> = BTreeMap::new();
    let calls: Vec<Stored> = history
        .map(|(_, key, line)| {
            let next = i32::try_from(partitions.len()).unwrap();
            let partition = *partitions.entry(key).or_insert(next);
            Stored::new(partition, key.as_bytes(), line.as_slice())
        })
        .collect();
    assert_eq!(partitions.len(), 10);
    let judged = |instances: &[Running], at_least: usize| {
        wait_for("calls are judged before the next move", || {
            let judged = instances.iter().map(|it| it.metrics().count("events_processed_total"));
            (judged.sum::<usize>() >= at_least).then_some(())
        });
    };
    let mut leaving: Vec<Running> = Vec::new();
    let mut instances: Vec<Running> = (0..3).map(|_| Running::start(&settings)).collect();
    for (part, chunk) in calls.chunks(calls.len().div_ceil(PARTS)).enumerate() {
        if part == PARTS / 3 {
            judged(&instances, calls.len() / 5);
            instances.extend((0..2).map(|_| Running::start(&settings)));
        }
        if part == PARTS * 2 / 3 {
            judged(&instances, calls.len() / 2);
            wait_for("all five have a share", || {
                instances.iter().all(|it| !it.partitions().is_empty()).then_some(())
            });
            // Calls go on while they leave.
            leaving.extend(instances.drain(..3));
            leaving.iter().for_each(|it| it.signal("TERM"));
        }
        produce(&settings.bootstrap, settings.calls(), chunk);
        std::thread::sleep(PAUSE);
    }
    for mut leaving in leaving {
        let (status, _) = leaving.terminate();
        assert!(status.success(), "{}", leaving.log());
    }
    let expected = replayed(&calls, &instances[0].config());
    assert!(expected.len() > 20, "the history is meant to give alerts: {expected:?}");
    let found = wait_for("every episode has ended", || {
        let found = told(&settings);
        (found.len() >= expected.len()).then_some(found)
    });
    let (only_told, only_replayed) = differences(&found, &expected);
    assert!(found == expected, "only told: {only_told:#?}\nonly replayed: {only_replayed:#?}");
}
