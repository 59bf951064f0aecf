//! Probations: when they begin, what they count, how they end, and that they stay small.

use proptest::prelude::*;

use super::*;

fn day(n: i64) -> Timestamp {
    Timestamp::from_secs(n * 86_400)
}

fn quiet() -> Day {
    Day { calls: 100, busiest: 5, hours: 0 }
}

/// An agent that runs `v14`.
fn settled() -> Versions {
    let mut versions = Versions::default();
    assert_eq!(versions.note(Some("v14"), day(0), true), Change::First);
    versions
}

fn call(versions: &mut Versions, version: &str, n: i64) -> Change {
    let change = versions.note(Some(version), day(n), true);
    if let Some(on) = versions.under_probation() {
        on.note_call((1, "tool", false), Some(false));
    }
    change
}

#[test]
fn a_new_version_is_on_probation_for_three_active_days() {
    let mut versions = settled();
    assert_eq!(call(&mut versions, "v15", 10), Change::Began);
    assert_eq!(versions.standing(), (Standing::Probation, Some(day(10))));
    for n in 11..13 {
        versions.end_day(&quiet());
        assert_eq!(call(&mut versions, "v15", n), Change::None);
    }
    versions.end_day(&quiet());
    assert_eq!(call(&mut versions, "v15", 13), Change::Ended(End::Settled));
    let on = versions.end(End::Settled, day(13)).unwrap();
    assert_eq!((on.days, on.calls_a_day()), ((3, 0), Some(100.0)));
    assert_eq!(call(&mut versions, "v15", 13), Change::None);
    assert_eq!(versions.standing(), (Standing::Known, Some(day(10))));
    assert_eq!(call(&mut versions, "v14", 13), Change::None);
}

#[test]
fn the_first_version_told_and_those_of_an_agent_being_learned_are_known_at_once() {
    let mut versions = settled();
    assert_eq!(versions.standing().0, Standing::Known);
    assert_eq!(versions.note(Some("v15"), day(1), false), Change::First);
    // Told to peers once a day at most, whatever comes.
    assert_eq!(versions.note(Some("v16"), day(1), false), Change::None);
    assert_eq!(versions.standing().0, Standing::Known);
    assert_eq!(versions.note(None, day(1), false), Change::None);
    assert_eq!(versions.standing(), (Standing::Untold, None));
}

#[test]
fn a_version_that_was_taken_back_ends_its_probation_and_is_new_again_later() {
    let mut versions = settled();
    call(&mut versions, "v15", 10);
    versions.end_day(&quiet());
    for n in 11..14 {
        assert_eq!(call(&mut versions, "v14", n), Change::None);
        versions.end_day(&quiet());
    }
    assert_eq!(call(&mut versions, "v14", 14), Change::Ended(End::Withdrawn));
    let on = versions.end(End::Withdrawn, day(14)).unwrap();
    assert_eq!(on.days, (1, 3));
    assert_eq!(call(&mut versions, "v15", 15), Change::Began);
}

#[test]
fn two_versions_that_take_turns_are_one_probation() {
    let mut versions = settled();
    let mut began = 0;
    for n in 0..400 {
        let change = call(&mut versions, if n % 2 == 0 { "v14" } else { "v15" }, 10);
        began += u32::from(change == Change::Began);
        assert!(!matches!(change, Change::Ended(_)));
    }
    assert_eq!((began, versions.probation.unwrap().other_versions()), (1, 0));
}

#[test]
fn a_new_version_a_call_ends_one_probation_and_begins_none_for_a_month() {
    let mut versions = settled();
    let (mut began, mut ended) = (0, 0);
    for n in 0..20_000_i64 {
        let time = day(10).plus_secs(n * 60);
        let name = format!("build-{n}");
        let mut change = versions.note(Some(&name), time, true);
        if let Change::Ended(end) = change {
            ended += 1;
            assert_eq!(end, End::Unsettled);
            versions.end(end, time);
            change = versions.note(Some(&name), time, true);
        }
        began += u32::from(change == Change::Began);
        assert!(versions.heap_bytes() < 2_048);
    }
    // Fourteen days.
    assert_eq!((began, ended), (1, 1));
    assert_eq!(versions.standing().0, Standing::Unsettled);
    assert_eq!(call(&mut versions, "v14", 24), Change::None);
    assert_eq!(versions.standing().0, Standing::Known);
}

#[test]
fn shares_of_failures_differ_only_beyond_chance() {
    let ended = |told, failed| Ended { told, failed };
    assert!(!ended(100, 4).differs_from(ended(400, 10)));
    assert!(ended(100, 20).differs_from(ended(400, 16)));
    assert!(ended(400, 2).differs_from(ended(400, 40)));
    assert!(!ended(10, 10).differs_from(ended(400, 0)), "ten calls tell nothing");
}

#[test]
fn what_ended_is_halved_before_it_overflows() {
    let mut ended = Ended::default();
    for n in 0..100_000 {
        ended.add(n % 4 == 0);
    }
    assert!(ended.told <= ENDED_MAX && (ended.share() - 0.25).abs() < 0.01);
}

proptest! {
    #[test]
    fn whatever_versions_come_the_state_is_small_and_probations_are_rare(
        calls in prop::collection::vec((0_u8..40, 0_u8..5, any::<bool>()), 1..400),
    ) {
        let mut versions = settled();
        let (mut days, mut began) = (10_i64, 0_u32);
        for (version, pause, is_new) in calls {
            if pause == 0 {
                versions.end_day(&quiet());
                days += 1;
            }
            let name = format!("v{version}");
            let mut change = versions.note(Some(&name), day(days), true);
            if let Change::Ended(end) = change {
                prop_assert!(versions.end(end, day(days)).is_some());
                change = versions.note(Some(&name), day(days), true);
            }
            began += u32::from(change == Change::Began);
            if let Some(on) = versions.under_probation() {
                on.note_call((u64::from(version), &"x".repeat(300), is_new), None);
            }
            prop_assert!(versions.heap_bytes() < 2_048);
        }
        let passed = u32::try_from(days - 10).unwrap();
        prop_assert!(began <= passed / 3 + 2, "{began} probations in {passed} days");
    }
}
