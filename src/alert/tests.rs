//! Identity, score and episode.

use super::*;
use crate::event::Timestamp;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn id() -> AlertId {
    AlertId::derive("repeat.loop", "acme", "bot", (at(0), "call-1"))
}

#[test]
fn the_same_calls_give_the_same_identity() {
    assert_eq!(id(), AlertId::derive("repeat.loop", "acme", "bot", (at(0), "call-1")));
    assert_eq!(id().to_string().len(), 32);
}

#[test]
fn shifting_a_letter_between_fields_changes_the_identity() {
    assert_ne!(id(), AlertId::derive("repeat.loop", "acmeb", "ot", (at(0), "call-1")));
}

#[test]
fn a_steady_episode_speaks_at_its_opening_and_every_ten_minutes() {
    let mut episode = Episode::open(id(), at(0), 41.0, Vec::new());
    let told: Vec<i64> =
        (1..=1_300).filter(|s| episode.extend(at(*s), 41.0) == Step::Updated).collect();
    assert_eq!(told, [600, 1_200]);
}

#[test]
fn an_episode_that_gets_worse_speaks_at_once() {
    let mut episode = Episode::open(id(), at(0), 41.0, Vec::new());
    assert_eq!(episode.extend(at(1), 45.0), Step::Quiet);
    assert_eq!(episode.extend(at(2), 51.0), Step::Updated);
    assert_eq!((episode.revision, episode.calls), (1, 3));
}

#[test]
fn an_episode_ends_half_an_hour_after_its_last_firing_call() {
    let mut episode = Episode::open(id(), at(0), 41.0, Vec::new());
    episode.extend(at(100), 41.0);
    assert!(!episode.is_over(at(1_899)));
    assert!(episode.is_over(at(1_900)));
}

#[test]
fn an_older_call_does_not_shorten_an_episode() {
    let mut episode = Episode::open(id(), at(100), 41.0, Vec::new());
    episode.extend(at(90), 41.0);
    assert_eq!(episode.last, at(100));
}

#[test]
fn a_score_is_forty_at_the_budget_and_never_leaves_its_range() {
    assert!((score(1.0) - PAGE_SCORE).abs() < 1e-9);
    assert!(score(f64::INFINITY) <= 100.0);
    assert!(score(-1.0) >= 0.0);
}
