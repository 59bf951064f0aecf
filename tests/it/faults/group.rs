//! A member of a group that freezes and wakes. Row 6.

use std::time::Duration;

use crate::faults::kill::settings;
use crate::faults::oracle::{Operator, Truth, recovered, seed};
use crate::kafka_broker::Broker;
use crate::running::{Running, Settings, now, wait_until_committed};

fn case(broker: &Broker, name: &str) -> Settings {
    let settings = settings(broker.bootstrap(), &format!("{name}-{}", seed()));
    Operator::of(broker.bootstrap()).create(settings.calls(), 4, &["retention.ms=-1"]);
    settings
}

#[test]
fn row_06_an_instance_that_was_frozen_and_wakes_changes_nothing_of_its_successor() {
    let Some(broker) = Broker::shared() else { return };
    let truth = Truth::new();
    let settings = case(&broker, "zombie");
    let first = Running::start(&settings);
    let (mut parts, mut second) = (0, None);
    truth.trickle(&settings, 8, || {
        parts += 1;
        if parts == 3 {
            first.wait_until("it has judged some", |it| it.count("events_processed_total") > 40);
            first.signal("STOP");
            second = Some(Running::start(&settings));
        }
    });
    let second = second.unwrap();
    let began = now();
    // The group gives the partitions away, and everything is judged while the zombie sleeps.
    wait_until_committed(&settings, &[&second]);
    recovered(6, began.elapsed());
    first.signal("CONT");
    std::thread::sleep(Duration::from_secs(3));
    truth.holds(&settings, &[&first, &second]);
}
