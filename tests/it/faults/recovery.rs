//! How long nobody judges after a process was killed, with the program's own session timeout. Row 1.
//!
//! What is printed is a measurement, and no test of speed: a machine that is busy takes longer.

use std::time::Instant;

use toolwarden::event::Timestamp;

use crate::calls::{call, looping};
use crate::faults::oracle::{Operator, long_ones_are_wanted, recovered, seed};
use crate::kafka_broker::Broker;
use crate::running::{Running, Settings, Stored, now, produce, wait_until_committed};

const PARTITIONS: i32 = 4;

/// Calls of the loop that each partition is given once the process is dead.
const LOOP: usize = 20;

/// Agents that must come back before anything is judged.
fn agents() -> i32 {
    if long_ones_are_wanted() { 100_000 } else { 400 }
}

/// An instance that knows all agents and has written that down.
fn settled(broker: &Broker, name: &str) -> (Settings, Running) {
    let settings = Settings {
        session_ms: None,
        more: "state: {flush_interval: 100ms}".to_owned(),
        ..Settings::new(broker.bootstrap(), &format!("{name}-{}", seed()))
    };
    Operator::of(broker.bootstrap()).create(settings.calls(), PARTITIONS, &["retention.ms=-1"]);
    let start: Timestamp = "2026-03-02T08:00:00Z".parse().unwrap();
    let calls: Vec<Stored> = (0..agents())
        .map(|number| {
            let (agent, time) =
                (format!("agent-{number}"), start.plus_secs(i64::from(number) / 50));
            Stored::new(number % PARTITIONS, format!("acme/{agent}"), call(&agent, "read", time))
        })
        .collect();
    produce(broker.bootstrap(), settings.calls(), &calls);
    let running = Running::start(&settings);
    running.wait_until_judged(calls.len());
    wait_until_committed(&settings, &[&running]);
    (settings, running)
}

/// A loop in every partition, which nobody has judged.
fn loops(settings: &Settings) -> usize {
    let of = |partition: i32| {
        let calls = looping(&format!("loop-{partition}"), "2026-03-02T12:00:00Z", 20);
        calls.into_iter().map(move |call| Stored { partition, ..call })
    };
    let calls: Vec<Stored> = (0..PARTITIONS).flat_map(of).collect();
    produce(&settings.bootstrap, settings.calls(), &calls);
    assert_eq!(calls.len(), LOOP * usize::try_from(PARTITIONS).unwrap());
    calls.len()
}

/// Waits until `running` has judged so many calls in all partitions, and says how long that took
/// since `dead`. Every agent must be known then.
fn back(running: &Running, judged: usize, dead: Instant) {
    running.wait_until("all partitions are judged again", |it| {
        it.count("events_processed_total") >= judged
    });
    recovered(1, dead.elapsed());
    let known = usize::try_from(agents() + PARTITIONS).unwrap();
    running.wait_until("every agent is known", |it| it.count("agents") == known);
}

#[test]
fn row_01_a_killed_instance_that_is_started_again_judges_what_has_come_meanwhile() {
    let Some(broker) = Broker::shared() else { return };
    let (settings, first) = settled(&broker, "started-again");
    first.kill();
    let dead = now();
    let calls = loops(&settings);
    let again = Running::start(&settings);
    back(&again, calls, dead);
}

#[test]
fn row_01_another_instance_judges_the_partitions_of_one_that_was_killed() {
    let Some(broker) = Broker::shared() else { return };
    let (settings, first) = settled(&broker, "taken-over");
    let second = Running::start(&settings);
    let share = |running: &Running| running.partitions().len();
    second.wait_until("both have a share and know its agents", |metrics| {
        let known = metrics.count("agents") + first.metrics().count("agents");
        share(&first) == 2 && share(&second) == 2 && known == usize::try_from(agents()).unwrap()
    });
    let before = second.metrics().count("events_processed_total");
    first.kill();
    let dead = now();
    let calls = loops(&settings);
    back(&second, before + calls, dead);
}
