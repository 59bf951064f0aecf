//! Faults of a cluster that no real one can be made to have at will, one test a fault: librdkafka's
//! mock cluster answers with the errors it is told to, and the program runs beside it as a child
//! process. The names of the tests say the number of the fault and what must hold.

mod group;
mod load;
mod placing;
mod produce;

use std::collections::BTreeSet;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::calls::{create_topics, looping};
use crate::running::{
    Running, Settings, Stored, alerts_once, committed, logs, produce, read, wait_until_committed,
};
use crate::support::slow_tests_are_wanted;

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// A cluster, and an instance's settings with all its topics made; `None` where slow tests are not
/// wanted.
fn case(name: &str, brokers: i32, partitions: i32) -> Option<(Cluster, Settings)> {
    if !slow_tests_are_wanted() {
        return None;
    }
    let cluster = MockCluster::new(brokers).unwrap();
    // One broker tells of the others.
    let bootstrap = cluster.bootstrap_servers();
    let (first, _) = bootstrap.split_once(',').unwrap_or((&bootstrap, ""));
    let settings = Settings {
        more: "state: {flush_interval: 100ms}\npeers: {idle_after: 1h}".to_owned(),
        ..Settings::new(first, name)
    };
    create_topics(&cluster, &settings, partitions);
    cluster.create_topic(&settings.deliveries(), 1, 1).unwrap();
    Some((cluster, settings))
}

/// A loop of `agent` in `hour`, which everybody is told of.
fn a_loop(agent: &str, hour: u32) -> Vec<Stored> {
    looping(agent, &format!("2026-03-02T{hour:02}:01:00Z"), 20)
}

/// An instance that has its partitions and judges.
fn started(settings: &Settings) -> Running {
    let running = Running::start(settings);
    running.wait_until("it is ready", |it| it.sum("ready", &[]) > 0.0);
    running
}

/// Gives an instance records while it cannot see them come one by one.
fn at_once(running: &Running, settings: &Settings, calls: &[Stored], meanwhile: impl FnOnce()) {
    running.signal("STOP");
    produce(&settings.bootstrap, settings.calls(), calls);
    meanwhile();
    running.signal("CONT");
}

/// The offset committed of partition 0.
fn offset(settings: &Settings) -> i64 {
    committed(&settings.bootstrap, &settings.name, settings.calls())[&0].0
}

/// The agents whose loops were told, each alert with one body however often it was written.
fn loops(settings: &Settings, running: &[&Running]) -> BTreeSet<String> {
    let alerts = read(&settings.bootstrap, &settings.alerts());
    let once = alerts_once(&alerts, running).into_values().map(Stored::json);
    let firing = once.filter(|it| it["status"] == "firing" && it["detector"] == "repeat");
    firing.map(|it| it["agent_id"].as_str().unwrap().to_owned()).collect()
}

/// Everything is committed, and just these agents' loops are told.
fn holds(settings: &Settings, running: &[&Running], agents: &[&str]) {
    wait_until_committed(settings, running);
    let expected: BTreeSet<String> = agents.iter().map(|it| (*it).to_owned()).collect();
    assert_eq!(loops(settings, running), expected, "{}", logs(running));
}
