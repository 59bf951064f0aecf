//! New versions of an agent: what is said, when, how often, and what they must never do.

use super::*;
use crate::alert::{PAGE_SCORE, VersionState};

fn of(version: &str, call: ToolCall<'static>) -> ToolCall<'static> {
    ToolCall { agent_version: Some(version.to_owned().into()), ..call }
}

/// A known agent that runs `v14`, and the rules.
fn at_v14() -> (Rules, AgentState) {
    let rules = rules();
    let mut state = known_agent(&rules);
    run(&rules, &mut state, &[of("v14", call(MORNING - 3_600.0, 900, "tool-1", 900))]);
    (rules, state)
}

/// `count` different calls of ten tools on the day `day` after the history.
fn work(version: &str, day: u32, count: u32) -> Vec<ToolCall<'static>> {
    (0..count)
        .map(|n| {
            let id = u64::from(10_000 + day * 1_000 + n);
            let secs = MORNING + f64::from(day) * 86_400.0 + f64::from(n) * 120.0;
            let tool = ["tool-0", "tool-1", "tool-2", "tool-3", "tool-4"];
            of(version, call(secs, id, tool[usize::try_from(n % 5).unwrap()], id))
        })
        .collect()
}

fn findings(alerts: &[Alert]) -> Vec<&Alert> {
    alerts.iter().filter(|alert| alert.detector == "version").collect()
}

#[test]
fn a_probation_ends_with_what_changed_and_wakes_nobody() {
    let (rules, mut state) = at_v14();
    let mut alerts = Vec::new();
    for day in 0..4 {
        let mut calls = work("v15", day, 60);
        calls.push(of(
            "v15",
            call(MORNING + f64::from(day) * 86_400.0 + 7_300.0, 77_000 + u64::from(day), "wire", 5),
        ));
        alerts.extend(run(&rules, &mut state, &calls));
    }
    let found = findings(&alerts);
    assert_eq!(found.len(), 1);
    assert!(found[0].score < PAGE_SCORE);
    assert_eq!(
        found[0].summary,
        "`helper@1` has run `v15` for 3 active days: 1 tool new to it (`wire`); 5 of 10 regular tools no longer used; calls a day ×0.4."
    );
    assert_eq!(found[0].time, "2026-01-12T10:00:00.000Z");
    assert!((found[0].observed - 3.0).abs() < 1e-9);
}

#[test]
fn the_first_alert_of_a_probation_brings_what_changed_so_far_and_every_alert_names_it() {
    let (rules, mut state) = at_v14();
    let calls: Vec<_> = looped(18, 3.0).into_iter().map(|call| of("v15", call)).collect();
    let alerts = run(&rules, &mut state, &calls);
    let found = findings(&alerts);
    assert_eq!(found.len(), 1, "once, whatever else alerts");
    assert_eq!(
        found[0].summary,
        "`helper@1` runs `v15`, new to it, since Friday 2026-01-09: nothing that is counted has changed."
    );
    let fired = alerts.iter().find(|alert| alert.rule_id == "repeat.loop").unwrap();
    assert_eq!(fired.learning.version.as_ref().unwrap().state, VersionState::Probation);
    assert_eq!(fired.time, found[0].time);
}

#[test]
fn a_new_version_changes_no_other_verdict() {
    let (rules, state) = at_v14();
    let flood = |version: &str| -> Vec<ToolCall<'static>> {
        (0..80_u32)
            .map(|n| {
                of(
                    version,
                    call(
                        MORNING + f64::from(n) * 0.5,
                        5_000 + u64::from(n),
                        "tool-1",
                        u64::from(n) + 9_000,
                    ),
                )
            })
            .collect()
    };
    let judged = |version: &str| {
        let mut state = state.clone();
        let alerts = run(&rules, &mut state, &flood(version));
        let plain = |alert: &Alert| (alert.rule_id.clone(), alert.score, alert.summary.clone());
        alerts.iter().filter(|alert| alert.detector != "version").map(plain).collect::<Vec<_>>()
    };
    let known = judged("v14");
    assert!(!known.is_empty());
    assert_eq!(known, judged("v15"));
}

#[test]
fn a_version_a_call_is_told_once_and_stays_small() {
    let (rules, mut state) = at_v14();
    let (mut alerts, mut facts) = (Vec::new(), 0);
    for n in 0..2_000_u32 {
        let version = format!("build-{n}");
        let secs = MORNING + f64::from(n) * 300.0;
        let call = of(&version, call(secs, 20_000 + u64::from(n), "tool-1", u64::from(n)));
        let verdict = observe(&Context::new(&rules, &Peers::default()), &mut state, &call);
        alerts.extend(verdict.alerts);
        facts += verdict.facts.iter().filter(|fact| matches!(fact, Fact::Version { .. })).count();
    }
    let found = findings(&alerts);
    assert_eq!((found.len(), facts), (1, 1), "in seven days");
    assert!(found[0].summary.contains("more than 8 other new versions"), "{}", found[0].summary);
    assert!(state.rare.versions().unwrap().heap_bytes() == 0);
}

#[test]
fn peers_that_took_the_same_version_up_are_named_with_the_day() {
    let (rules, mut state) = at_v14();
    let mut group = GroupSummary::default();
    for _ in 0..7 {
        group.add(Fact::Agent);
    }
    let version = crate::baseline::versions::version_hash("v15");
    // 2026-01-07 is a Wednesday; the agent itself is one of those of the 9th.
    for day in [20_460, 20_461, 20_462, 20_462] {
        group.add(Fact::Version { version, day });
    }
    let epoch = MONDAY / 3_600 + 24 * 30;
    let peers = Peers::default().with_epoch(epoch, [(state.group, &group)]);
    let mut alerts = Vec::new();
    for day in 0..4 {
        for call in work("v15", day, 30) {
            alerts.extend(observe(&Context::new(&rules, &peers), &mut state, &call).alerts);
        }
    }
    let found = findings(&alerts);
    assert!(
        found[0].summary.ends_with("; 3 of its 6 peers took it up since Wednesday 2026-01-07."),
        "{}",
        found[0].summary
    );
}
