//! The process dies at each step between a record that is read and an offset that is committed.
//! Rows 1, 2 and 3.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::faults::oracle::{Operator, Truth, long_ones_are_wanted, random, recovered, seed};
use crate::groups;
use crate::kafka_broker::Broker;
use crate::running::{PATIENCE, Running, Settings, committed, now, read, wait_for};

const ABORTED: i32 = 6;

/// The steps, and the most hits after which a process dies there.
const STEPS: [(&str, u32); 8] = [
    ("polled", 1_500),
    ("judged", 20),
    ("alert-sent", 4),
    ("alert-acked", 6),
    ("state-acked", 12),
    ("states-acked", 8),
    ("marker-acked", 8),
    ("committed", 6),
];

pub(crate) fn settings(bootstrap: &str, name: &str) -> Settings {
    let patient = groups::patient(Settings::new(bootstrap, name));
    Settings {
        session_ms: Some(1_500),
        more: format!("{}state: {{flush_interval: 100ms}}\n", patient.more),
        ..patient
    }
}

/// An instance that dies at a point.
pub(crate) fn armed(settings: &Settings, point: &str) -> Settings {
    let arguments = vec!["--kill-point".to_owned(), point.to_owned()];
    Settings { arguments, ..settings.clone() }
}

/// Whether it has ended, as it does at its point.
pub(crate) fn has_died(running: &mut Running) -> bool {
    running.ended().is_some_and(|status| {
        assert_eq!(status.signal(), Some(ABORTED), "{status}\n{}", running.log());
        true
    })
}

/// Waits until it has died at its point; false if it has done everything and not come there.
fn dies(mut running: Running, settings: &Settings) -> bool {
    let began = now();
    loop {
        if has_died(&mut running) {
            return true;
        }
        let committed = committed(&settings.bootstrap, &settings.name, settings.calls());
        if committed.values().all(|(offset, end)| offset == end && *end > 0) {
            return running.ended().is_some();
        }
        assert!(began.elapsed() < PATIENCE, "{committed:?}\n{}", running.log());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// Two lives that end at `point`, and one that goes on.
fn die_twice_at(truth: &Truth, bootstrap: &str, (point, hits): (&str, u32), seed: u64) {
    let settings = settings(bootstrap, &format!("kill-{point}-{seed}"));
    Operator::of(bootstrap).create(settings.calls(), 4, &["retention.ms=-1"]);
    let mut random = random(&settings.name);
    let first = Running::spawn(&armed(&settings, &format!("{point}:{}", random.u32(1..=hits))));
    truth.trickle(&settings, 8, || {});
    let died = dies(first, &settings);
    let again = armed(&settings, &format!("{point}:{}", random.u32(1..=hits.div_ceil(2))));
    let died = dies(Running::spawn(&again), &settings) || died;
    assert!(died, "nobody came to {}", settings.name);
    let last = Running::start(&settings);
    truth.holds(&settings, &[&last]);
}

/// Runs `act` for each of `cases`, a few at a time: most of the time they wait. How long they take is that
/// of a crowd, so none of them says how soon it had recovered.
pub(crate) fn at_once<T: Sync>(cases: &[T], act: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    act(case);
                }
            });
        }
    });
}

#[test]
fn row_01_killed_at_each_step_no_alert_is_lost_new_or_has_two_bodies() {
    let Some(broker) = Broker::shared() else { return };
    let truth = Truth::new();
    at_once(&STEPS, |step| die_twice_at(&truth, broker.bootstrap(), *step, seed()));
}

#[test]
fn row_01_killed_at_each_step_with_many_seeds() {
    if !long_ones_are_wanted() {
        return;
    }
    let Some(broker) = Broker::shared() else { return };
    let truth = Truth::new();
    let cases: Vec<_> = (1..20)
        .flat_map(|more| STEPS.iter().map(move |step| (*step, seed().wrapping_add(more))))
        .collect();
    at_once(&cases, |(step, seed)| die_twice_at(&truth, broker.bootstrap(), *step, *seed));
}

#[test]
fn row_02_killed_while_it_lets_go_the_next_owner_reads_again_what_was_not_written() {
    let Some(broker) = Broker::shared() else { return };
    let truth = Truth::new();
    let settings = settings(broker.bootstrap(), &format!("kill-letting-go-{}", seed()));
    // So long that there is something to be written down when partitions go.
    let slow = Settings {
        more: settings.more.replace("flush_interval: 100ms", "flush_interval: 10m"),
        ..settings.clone()
    };
    Operator::of(broker.bootstrap()).create(settings.calls(), 4, &["retention.ms=-1"]);
    let mut first = Running::start(&armed(&slow, "letting-go"));
    let early = random(&settings.name).usize(1..=6);
    let (mut parts, mut second) = (0, None);
    truth.trickle(&settings, 8, || {
        parts += 1;
        if parts == early {
            first.wait_until("it has judged some", |it| it.count("events_processed_total") > 40);
            second = Some(Running::start(&settings));
        }
    });
    let second = second.unwrap();
    let status = wait_for("it dies as it lets go", || first.ended());
    assert_eq!(status.signal(), Some(ABORTED), "{}", first.log());
    let began = now();
    truth.holds(&settings, &[&second]);
    recovered(2, began.elapsed());
}

#[test]
fn row_03_killed_twice_while_it_restores_nothing_is_judged_by_half_a_state() {
    let Some(broker) = Broker::shared() else { return };
    let truth = Truth::new();
    let settings = settings(broker.bootstrap(), &format!("kill-restoring-{}", seed()));
    Operator::of(broker.bootstrap()).create(settings.calls(), 4, &["retention.ms=-1"]);
    let mut random = random(&settings.name);
    let first = Running::spawn(&armed(&settings, &format!("committed:{}", random.u32(4..=6))));
    truth.trickle(&settings, 8, || {});
    dies(first, &settings);
    // How often it wrote by then depends on the machine.
    let written = read(&settings.bootstrap, &settings.state()).len();
    for _ in 0..2 {
        let hit = random.usize(1..=written.min(6));
        let mut restoring = Running::spawn(&armed(&settings, &format!("restoring:{hit}")));
        let status = wait_for("it dies as it restores", || restoring.ended());
        assert_eq!(status.signal(), Some(ABORTED), "{}", restoring.log());
    }
    let began = now();
    let last = Running::start(&settings);
    truth.holds(&settings, &[&last]);
    recovered(3, began.elapsed());
}
