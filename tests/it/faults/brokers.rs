//! Some of several brokers go. Rows 12 and 19.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::faults::kill::settings;
use crate::faults::oracle::{Operator, Truth, long_ones_are_wanted, recovered, seed};
use crate::kafka_broker::Broker;
use crate::running::{Running, Settings, Stored, committed, now, read, wait_for};

/// Where a cluster keeps what groups have committed.
const OFFSETS: &str = "__consumer_offsets";

/// How long two of three are away once what is written is not acknowledged.
const DOWN: Duration = Duration::from_secs(30);

/// Three brokers, and a topic of calls of which two must have each. Only where long ones are wanted.
fn case(name: &str) -> Option<(Broker, Operator, Settings)> {
    if !long_ones_are_wanted() {
        return None;
    }
    let broker = Broker::start_nodes(3)?;
    let settings = Settings {
        // Longer than it takes to find that a broker is gone, and than a test lets it stand still.
        session_ms: Some(30_000),
        // What is not acknowledged comes back soon, to be sent again.
        properties: "message.timeout.ms: 5000, ".to_owned(),
        ..settings(broker.bootstrap(), &format!("{name}-{}", seed()))
    };
    let operator = Operator::of(broker.bootstrap());
    operator.create(settings.calls(), 4, &["retention.ms=-1", "min.insync.replicas=2"]);
    Some((broker, operator, settings))
}

/// The broker that leads a partition.
fn leader(operator: &Operator, topic: &str) -> i32 {
    wait_for("somebody leads it", || operator.leader(topic, 0).0)
}

/// Waits until so many brokers have all of a topic's first partition.
fn wait_until_in_sync(operator: &Operator, topic: &str, brokers: usize) {
    wait_for(&format!("{brokers} brokers have all of {topic}"), || {
        (operator.leader(topic, 0).1 == brokers).then_some(())
    });
}

/// Each alert stands in the topic once, and its revisions in their order.
fn assert_once_and_in_order(alerts: &[Stored], running: &Running) {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for alert in alerts.iter().map(Stored::json) {
        let id = alert["alert_id"].as_str().unwrap().to_owned();
        let revision = alert["revision"].as_u64().unwrap();
        let before = last.insert(id.clone(), revision);
        assert!(before.is_none_or(|before| before < revision), "{id}\n{}", running.log());
    }
}

#[test]
fn row_12_the_leaders_of_partitions_are_killed_and_no_alert_is_lost_doubled_or_out_of_order() {
    let Some((broker, operator, settings)) = case("leaders") else { return };
    let truth = Truth::new();
    let running = Running::start(&settings);
    let mut dead = None;
    let (mut parts, mut began) = (0, now());
    truth.trickle(&settings, 10, || {
        parts += 1;
        running.wait_until("it has judged some", |it| it.count("events_processed_total") > 40);
        let topic = match parts {
            2 => settings.calls().to_owned(),
            4 => settings.state(),
            // Something happens to the agents in what comes next.
            7 | 9 => settings.alerts(),
            _ => {
                if let Some(node) = dead.take() {
                    broker.restart_node(node);
                    wait_until_in_sync(&operator, settings.calls(), 3);
                    wait_until_in_sync(&operator, &settings.alerts(), 3);
                }
                return;
            }
        };
        let node = leader(&operator, &topic);
        broker.crash_node(node);
        dead = Some(node);
        began = now();
    });
    truth.holds(&settings, &[&running]);
    recovered(12, began.elapsed());
    let alerts = read(&settings.bootstrap, &settings.alerts());
    assert_once_and_in_order(&alerts, &running);
}

/// What the group has committed, and where the alerts end.
fn written(settings: &Settings) -> (BTreeMap<i32, (i64, i64)>, usize) {
    let alerts = read(&settings.bootstrap, &settings.alerts());
    (committed(&settings.bootstrap, &settings.name, settings.calls()), alerts.len())
}

/// Waits until what can be committed is; of some partitions the end waits for their peers.
fn wait_until_quiet(settings: &Settings) {
    let mut before = written(settings);
    wait_for("all that can be committed is", || {
        std::thread::sleep(Duration::from_secs(2));
        let now = written(settings);
        let is_quiet = now == before && now.0.values().any(|(offset, _)| *offset > 0);
        before = now;
        is_quiet.then_some(())
    });
}

#[test]
fn row_19_two_of_three_brokers_away_nothing_is_acknowledged_or_committed_and_it_recovers() {
    let Some((broker, operator, settings)) = case("two-away") else { return };
    let truth = Truth::new();
    let mut running = Running::start(&settings);
    let (mut parts, mut began) = (0, now());
    truth.trickle(&settings, 2, || {
        parts += 1;
        if parts == 1 {
            running.wait_until("it has judged some", |it| it.count("events_processed_total") > 40);
            wait_until_quiet(&settings);
            // One broker alone takes what is committed: whether anything is, is up to the instance.
            operator.set(OFFSETS, "min.insync.replicas=1");
            // The other half comes while it stands still, and is there when the brokers go.
            running.signal("STOP");
            return;
        }
        let before = written(&settings);
        let stays = leader(&operator, &settings.alerts());
        let gone: Vec<i32> = (1..=3).filter(|node| *node != stays).collect();
        gone.iter().for_each(|node| broker.crash_node(*node));
        for topic in [settings.calls(), &settings.alerts(), &settings.state(), OFFSETS] {
            wait_until_in_sync(&operator, topic, 1);
        }
        running.signal("CONT");
        running.wait_until("what it writes is not acknowledged", |it| {
            it.count("alerts_produce_failures_total") > 0
        });
        // One broker still answers; what is written is not safe there.
        running.wait_until("readiness says so", |_| {
            let (status, said) = running.get("/readyz");
            status == 503 && said.contains("not acknowledged by the cluster for")
        });
        std::thread::sleep(DOWN);
        let after = written(&settings);
        assert_eq!(after, before, "{}", running.log());
        assert_eq!(running.get("/livez").0, 200, "a restart would not help");
        gone.iter().for_each(|node| broker.restart_node(*node));
        began = now();
    });
    truth.holds(&settings, &[&running]);
    recovered(19, began.elapsed());
    wait_for("it is ready again", || (running.get("/readyz").0 == 200).then_some(()));
    assert!(running.is_alive());
}
