//! A world that is simulated: two or three instances, the product's own workers in each, over logs,
//! consumer groups, producers, clocks and receivers of which every delay and every fault is drawn
//! from one seed. No Kafka, no network and no time; whatever happens, what is said and known in the
//! end is what one run says in which nothing happened ([`oracle`]).
//!
//! A seed that fails says so: `SEED=n`. `TOOLWARDEN_SEED=n cargo test --test it -- sim` plays that
//! one alone, `TOOLWARDEN_SEED=n-m` those, and `TOOLWARDEN_FAULTS=1` ten thousand.

mod client;
mod clocks;
mod input;
mod instance;
mod oracle;
mod play;
mod receiver;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::support::variable;
use instance::metrics;
use oracle::judge;
use world::{Broken, Met};

/// The seeds to play, and on how many threads: some by name (`n` or `n-m`), many where long tests are
/// wanted, else these.
fn seeds(few: u64) -> (Range<u64>, u64) {
    if let Some(named) = variable("TOOLWARDEN_SEED") {
        let (first, last) = named.split_once('-').unwrap_or((&named, &named));
        let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
        return (first..last + 1, 1);
    }
    if variable("TOOLWARDEN_FAULTS").is_some_and(|value| value == "1") {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        return (0..20 * few, u64::try_from(threads).unwrap());
    }
    (0..few, 1)
}

/// What some seeds met, and those that failed.
#[derive(Default)]
struct Played {
    met: Met,
    repeats: usize,
    failed: Vec<String>,
    /// What the counters of all instances came to.
    counted: BTreeMap<String, f64>,
}

/// Counters that tell an operator of what was met: each must have moved.
const TELL: [&str; 9] = [
    "toolwarden_alerts_produce_failures_total",
    "toolwarden_leases_lapsed_total",
    "toolwarden_state_restore_failures_total",
    "toolwarden_state_superseded_total",
    "toolwarden_state_foreign_writes_total",
    "toolwarden_notifications_known_total",
    "toolwarden_notification_breaker_opened_total",
    "toolwarden_dead_letters_total",
    "toolwarden_records_read_again_total",
];

/// The counters of this thread's instances, each summed over its labels.
fn counters() -> BTreeMap<String, f64> {
    let mut counted = BTreeMap::new();
    for line in metrics().encode().lines().filter(|it| !it.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        *counted.entry(name.to_owned()).or_insert(0.0) += value.parse::<f64>().unwrap();
    }
    counted
}

fn play_all(seeds: impl Iterator<Item = u64>, broken: Broken) -> Played {
    let mut played = Played::default();
    for seed in seeds {
        match judge(seed, broken) {
            Ok((met, repeats)) => {
                add(&mut played.met, met);
                played.repeats += repeats;
            }
            Err(wrongs) => played.failed.push(format!("SEED={seed}\n  {wrongs}")),
        }
    }
    played.counted = counters();
    played
}

fn add(all: &mut Met, met: Met) {
    all.crashes += met.crashes;
    all.frozen += met.frozen;
    all.given_up += met.given_up;
    all.refused += met.refused;
    all.unheard += met.unheard;
    all.moved += met.moved;
    all.unread += met.unread;
    all.jumps += met.jumps;
    all.commits_refused += met.commits_refused;
    all.cut_off += met.cut_off;
    all.again += met.again;
    all.compacted += met.compacted;
    all.untold += met.untold;
    all.told_again += met.told_again;
    all.joined += met.joined;
}

#[test]
fn row_01_whatever_happens_what_is_said_and_known_is_what_one_run_says_in_which_nothing_does() {
    let (seeds, threads) = seeds(500);
    let played: Vec<Played> = std::thread::scope(|scope| {
        let part = |thread| {
            let is_its = move |seed: &u64| seed % threads == thread;
            let seeds = seeds.clone().filter(is_its);
            scope.spawn(move || play_all(seeds, Broken::Nothing))
        };
        let parts: Vec<_> = (0..threads).map(part).collect();
        parts.into_iter().map(|part| part.join().unwrap()).collect()
    });
    let (mut all, mut repeats, mut failed) = (Met::default(), 0, Vec::new());
    let mut counted: BTreeMap<String, f64> = BTreeMap::new();
    for part in played {
        add(&mut all, part.met);
        repeats += part.repeats;
        failed.extend(part.failed);
        for (name, value) in part.counted {
            *counted.entry(name).or_insert(0.0) += value;
        }
    }
    let again = "play one again: TOOLWARDEN_SEED=n cargo test --test it -- sim";
    assert!(failed.is_empty(), "{} seeds\n{}\n{again}", failed.len(), failed.join("\n"));
    // An agent knows its last calls again, so that judging them twice would hardly show.
    let twice = counted.get("toolwarden_events_duplicate_total");
    assert_eq!(twice, Some(&0.0), "calls were judged twice, and known again by their ids");
    let count = seeds.count();
    if count > 100 {
        let least = [
            [all.crashes, all.frozen, all.given_up, all.refused],
            [all.unheard, all.moved, all.untold, all.told_again],
        ];
        let is_much = |it: &u32| usize::try_from(*it).is_ok_and(|it| it > count / 4);
        assert!(least.iter().flatten().all(is_much), "{all:?} proves little");
        let least = [all.unread, all.jumps, all.compacted, all.again, all.joined];
        assert!(repeats > 0 && least.iter().all(|it| *it > 0), "{all:?} proves little");
        for name in TELL {
            assert!(counted.get(name).is_some_and(|it| *it > 0.0), "{name} tells nobody");
        }
    }
}

/// How many seeds may pass before a broken variant is found.
const FOUND_WITHIN: u64 = 200;

/// Returns the seed that finds it.
fn is_found(broken: Broken, words: &[&str]) -> u64 {
    for seed in 0..FOUND_WITHIN {
        let Err(wrongs) = judge(seed, broken) else { continue };
        assert!(words.iter().any(|it| wrongs.contains(it)), "{broken:?}: {wrongs}");
        return seed;
    }
    panic!("{broken:?} was not found in {FOUND_WITHIN} seeds");
}

/// A zombie stands still, its successor judges on, retention takes what was judged, and the zombie
/// reads on behind the gap: it knows less than its successor then.
#[test]
fn row_06_whoever_finds_records_gone_before_they_were_read_judges_nothing_behind_them() {
    let seed = is_found(Broken::GapsUnseen, &["has other bytes", "an alert is lost"]);
    let (met, _) = judge(seed, Broken::Nothing).unwrap();
    assert!(met.cut_off > 0, "{met:?}");
}

#[test]
fn a_commit_before_the_marker_is_found() {
    is_found(Broken::CommitBeforeMarker, &["is durable"]);
}

#[test]
fn alerts_after_the_state_that_suppresses_them_are_found() {
    is_found(Broken::AlertsAfterState, &["an alert is lost"]);
}

#[test]
fn a_marker_before_its_agents_is_found() {
    is_found(Broken::MarkerBeforeAgents, &["known otherwise", "an alert", "is durable"]);
}

#[test]
fn the_last_record_instead_of_the_highest_is_found() {
    is_found(Broken::LastCounts, &["known otherwise", "an alert", "is durable"]);
}

#[test]
fn commits_of_whoever_lost_the_partition_are_found() {
    is_found(Broken::ZombieCommits, &["is durable", "goes back"]);
}

#[test]
fn commits_of_alerts_that_nobody_was_told_of_are_found() {
    is_found(Broken::CommitUntold, &["nobody was told", "which is older"]);
}

#[test]
fn what_the_receiver_has_and_nobody_reads_back_is_found() {
    is_found(Broken::DeliveriesUnread, &["told again without a word", "two bodies"]);
}
