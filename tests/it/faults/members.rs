//! Members of a group come, go and die. Rows 4 and 5.

use crate::faults::kill::settings;
use crate::faults::oracle::{Operator, Truth, long_ones_are_wanted, random, recovered, seed};
use crate::kafka_broker::Broker;
use crate::running::{Running, Settings, committed, now, wait_for};

fn case(broker: &Broker, name: &str) -> Settings {
    let settings = settings(broker.bootstrap(), &format!("{name}-{}", seed()));
    Operator::of(broker.bootstrap()).create(settings.calls(), 4, &["retention.ms=-1"]);
    settings
}

#[test]
fn row_04_three_instances_that_start_stop_and_die_in_turns_say_what_one_replay_says() {
    let Some(broker) = Broker::shared() else { return };
    let truth = Truth::new();
    let settings = case(&broker, "dance");
    let mut random = random(&settings.name);
    let mut instances: Vec<Option<Running>> =
        (0..3).map(|_| Some(Running::start(&settings))).collect();
    let steps = if long_ones_are_wanted() { 60 } else { 12 };
    truth.trickle(&settings, steps, || {
        let slot = random.usize(0..3);
        match instances[slot].take() {
            None => instances[slot] = Some(Running::start(&settings)),
            Some(running) if random.bool() => running.kill(),
            Some(mut running) => {
                let (status, _) = running.terminate();
                assert!(status.success(), "{status}\n{}", running.log());
            }
        }
    });
    let began = now();
    if instances.iter().all(Option::is_none) {
        instances[0] = Some(Running::start(&settings));
    }
    let left: Vec<&Running> = instances.iter().flatten().collect();
    truth.holds(&settings, &left);
    recovered(4, began.elapsed());
}

#[test]
fn row_05_while_members_join_and_leave_without_end_every_partition_goes_on() {
    let Some(broker) = Broker::shared() else { return };
    let truth = Truth::new();
    let settings = case(&broker, "storm");
    let steady = Running::start(&settings);
    let rounds = if long_ones_are_wanted() { 60 } else { 6 };
    let mut guest: Option<Running> = None;
    let mut before = 0;
    truth.trickle(&settings, rounds, || {
        match guest.take() {
            None => guest = Some(Running::start(&settings)),
            Some(running) => drop(running),
        }
        let began = now();
        // A partition that is ahead waits for its peers, so not each has to come to its end now; of
        // a small part all may have to wait.
        before = wait_for("calls are judged, or wait for peers, before the next change", || {
            let committed = committed(&settings.bootstrap, &settings.name, settings.calls());
            let now: i64 = committed.values().map(|(offset, _)| (*offset).max(0)).sum();
            let end: i64 = committed.values().map(|(_, end)| end).sum();
            let held = |it: &Running| i64::try_from(it.metrics().count("held_calls")).unwrap();
            let held: i64 = std::iter::once(&steady).chain(&guest).map(held).sum();
            (now > before || now + held >= end).then_some(now)
        });
        recovered(5, began.elapsed());
    });
    let all: Vec<&Running> = std::iter::once(&steady).chain(&guest).collect();
    truth.holds(&settings, &all);
}
