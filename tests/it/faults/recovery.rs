//! How long nobody judges after a process was killed, with the program's own session timeout. Row 1.
//!
//! What is printed is a measurement, and no test of speed: a machine that is busy takes longer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use toolwarden::event::Timestamp;

use crate::calls::{call, looping};
use crate::faults::oracle::{Operator, long_ones_are_wanted, recovered, seed};
use crate::kafka_broker::Broker;
use crate::running::{
    PATIENCE, Running, Settings, Stored, alerts_once, now, produce, read, wait_for,
    wait_until_committed,
};

const PARTITIONS: i32 = 4;

/// Calls of the loop that each partition is given once the process is dead.
const LOOP: usize = 20;

/// Agents that must come back before anything is judged.
fn agents() -> i32 {
    if long_ones_are_wanted() { 100_000 } else { 400 }
}

/// When loops begin that follow upon nothing else.
const AT_REST: &str = "2026-03-02T12:00:00Z";

/// Calls a second where they go on coming.
fn rate() -> i64 {
    if long_ones_are_wanted() { 5_000 } else { 200 }
}

/// For how long they have come before the process is killed: a few flushes, and a part of one.
const COMING: Duration = Duration::from_secs(17);

/// An instance that knows all agents and has written that down. It writes every `flush`, or as often
/// as it does by itself.
fn settled(broker: &Broker, name: &str, flush: Option<&str>) -> (Settings, Running) {
    let interval = |flush| format!("state: {{flush_interval: {flush}}}");
    let settings = Settings {
        session_ms: None,
        more: flush.map_or(String::new(), interval),
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
fn loops(settings: &Settings, start: &str) -> usize {
    let of = |partition: i32| {
        let calls = looping(&format!("loop-{partition}"), start, 20);
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

/// A second instance, once it has its share of the partitions and knows their agents.
fn shared(settings: &Settings, first: &Running) -> Running {
    let second = Running::start(settings);
    let share = |running: &Running| running.partitions().len();
    second.wait_until("both have a share and know its agents", |metrics| {
        let known = metrics.count("agents") + first.metrics().count("agents");
        share(first) == 2 && share(&second) == 2 && known == usize::try_from(agents()).unwrap()
    });
    second
}

/// Every agent in turn makes its calls, at the pace of a clock, until `stop`.
fn go_on(settings: &Settings, stop: &AtomicBool) {
    let start: Timestamp = "2026-03-02T09:00:00Z".parse().unwrap();
    let (began, mut made) = (now(), 0_i64);
    // Should the test fail it must end all the same.
    while !stop.load(Ordering::Relaxed) && began.elapsed() < 2 * PATIENCE {
        let due = i64::try_from(began.elapsed().as_millis()).unwrap() * rate() / 1_000;
        let calls: Vec<Stored> = (made..due)
            .map(|number| {
                let agent = i32::try_from(number % i64::from(agents())).unwrap();
                let time = start.plus_millis(number * 1_000 / rate());
                let line = call(&format!("agent-{agent}"), "read", time);
                Stored::new(agent % PARTITIONS, format!("acme/agent-{agent}"), line)
            })
            .collect();
        made = due;
        produce(&settings.bootstrap, settings.calls(), &calls);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The partitions whose loop has been told.
fn loops_told(settings: &Settings) -> usize {
    let alerts = read(&settings.bootstrap, &settings.alerts());
    let told = |partition: &i32| {
        let agent = format!("loop-{partition}");
        alerts.iter().any(|alert| alert.json()["agent_id"] == agent.as_str())
    };
    (0..PARTITIONS).filter(told).count()
}

/// Kills `first` while calls are coming, and says how long it takes until somebody tells of what
/// begins in every partition then: `successor`, who is found or started.
fn killed_while_calls_come(
    (settings, first): (&Settings, Running),
    successor: impl FnOnce() -> Running,
) {
    let stop = AtomicBool::new(false);
    let last = std::thread::scope(|scope| {
        scope.spawn(|| go_on(settings, &stop));
        std::thread::sleep(COMING);
        first.kill();
        let dead = now();
        loops(settings, "2026-03-02T09:00:20Z");
        let last = successor();
        wait_for("every loop is told", || {
            (loops_told(settings) == usize::try_from(PARTITIONS).unwrap()).then_some(())
        });
        recovered(1, dead.elapsed());
        stop.store(true, Ordering::Relaxed);
        last
    });
    wait_until_committed(settings, &[&last]);
    alerts_once(&read(&settings.bootstrap, &settings.alerts()), &[&last]);
}

#[test]
fn row_01_killed_while_calls_come_the_one_started_again_tells_of_what_begins_then() {
    let Some(broker) = Broker::shared() else { return };
    let (settings, first) = settled(&broker, "started-while-calls-come", None);
    killed_while_calls_come((&settings, first), || Running::start(&settings));
}

#[test]
fn row_01_killed_while_calls_come_the_other_instance_tells_of_what_begins_then() {
    let Some(broker) = Broker::shared() else { return };
    let (settings, first) = settled(&broker, "taken-over-while-calls-come", None);
    let second = shared(&settings, &first);
    killed_while_calls_come((&settings, first), || second);
}

#[test]
fn row_01_a_killed_instance_that_is_started_again_judges_what_has_come_meanwhile() {
    let Some(broker) = Broker::shared() else { return };
    let (settings, first) = settled(&broker, "started-again", Some("100ms"));
    first.kill();
    let dead = now();
    let calls = loops(&settings, AT_REST);
    let again = Running::start(&settings);
    back(&again, calls, dead);
}

#[test]
fn row_01_another_instance_judges_the_partitions_of_one_that_was_killed() {
    let Some(broker) = Broker::shared() else { return };
    let (settings, first) = settled(&broker, "taken-over", Some("100ms"));
    let second = shared(&settings, &first);
    let before = second.metrics().count("events_processed_total");
    first.kill();
    let dead = now();
    let calls = loops(&settings, AT_REST);
    back(&second, before + calls, dead);
}
