//! Instances that keep their names over restarts (`kafka.group_instance_id`). Row 4.

use std::time::Duration;

use crate::faults::oracle::{Operator, Truth, recovered, seed};
use crate::groups;
use crate::kafka_broker::Broker;
use crate::running::{Running, Settings, now, wait_for};

const CONFIGURATION_IS_WRONG: i32 = 4;

/// Longer than librdkafka waits between two reports of its statistics.
const STATISTICS: Duration = Duration::from_secs(6);

/// Settings with a session that outlasts any restart on a busy machine.
fn case(broker: &Broker, name: &str) -> Settings {
    let name = format!("{name}-{}", seed());
    let patient = groups::patient(Settings::new(broker.bootstrap(), &name));
    let settings = Settings { session_ms: Some(90_000), ..patient };
    Operator::of(broker.bootstrap()).create(settings.calls(), 4, &["retention.ms=-1"]);
    settings
}

fn named(settings: &Settings, instance: &str) -> Settings {
    let member = format!("group_instance_id: {instance}\n  ");
    Settings { kafka: member, ..settings.clone() }
}

/// Its partitions, once it has as many as it should.
fn share(running: &Running, wanted: usize) -> Vec<i32> {
    wait_for("it has its share", || {
        let mut owned: Vec<i32> = running.partitions().into_iter().map(|it| it.1).collect();
        owned.sort_unstable();
        (owned.len() == wanted).then_some(owned)
    })
}

#[test]
fn row_04_a_named_instance_that_restarts_gets_its_partitions_back_and_disturbs_nobody() {
    let Some(broker) = Broker::shared() else { return };
    let truth = Truth::new();
    let settings = case(&broker, "named");
    let steady = Running::start(&named(&settings, "pod-0"));
    let mut other = Running::start(&named(&settings, "pod-1"));
    let (kept, before) = (share(&steady, 2), share(&other, 2));
    // librdkafka tells of rebalances every few seconds, and every worker takes part in each.
    let counted = |running: &Running| {
        let mut last = 0;
        running.wait_until("rebalances are counted and none goes on", |it| {
            let (now, before) = (it.count("kafka_rebalances_total"), last);
            last = now;
            now > 0 && now == before && it.count("kafka_consumer_lag_records") == 0
        });
        std::thread::sleep(STATISTICS);
        running.metrics().count("kafka_rebalances_total")
    };
    let rebalances = counted(&steady);
    let (mut parts, mut began) = (0, None);
    truth.trickle(&settings, 8, || {
        parts += 1;
        if parts == 4 {
            let (status, _) = other.terminate();
            assert!(status.success(), "{status}\n{}", other.log());
            other = Running::start(&named(&settings, "pod-1"));
            began = Some(now());
        }
    });
    assert_eq!(share(&other, 2), before);
    recovered(4, began.unwrap().elapsed());
    truth.holds(&settings, &[&steady, &other]);
    assert_eq!(share(&steady, 2), kept);
    assert_eq!(counted(&steady), rebalances, "{}", steady.log());
}

#[test]
fn row_04_a_second_process_under_the_same_name_ends_the_first_with_words() {
    let Some(broker) = Broker::shared() else { return };
    let settings = named(&case(&broker, "namesake"), "pod-0");
    let mut first = Running::start(&settings);
    share(&first, 4);
    let second = Running::start(&settings);
    let status = wait_for("the first one ends", || first.ended());
    assert_eq!(status.code(), Some(CONFIGURATION_IS_WRONG), "{}", first.log());
    let words = "another process has joined the group as `pod-0`";
    assert!(first.log().contains(words), "{}", first.log());
    share(&second, 4);
}
