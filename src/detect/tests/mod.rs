//! The engine as a whole: lifecycle, order, bounds.

mod audit;
mod audit_kinds;
mod bounds;
mod common_mode;
mod days;
mod fan_out;
mod frog;
mod groups;
mod injected_session;
mod poison;
mod shadow;
mod steady;
mod verdicts;
mod versions;
mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::alert::{AlertStatus, LEARNING_SCORE_MAX, LearningState};
use crate::baseline::epochs::Epochs;
use crate::baseline::peers::{GroupKey, GroupSummary};
use crate::event::{Arguments, HOUR_NS, Operation, Status, Target, TargetKind};
use crate::policy::RawRule;

/// 2026-01-05T00:00:00Z, a Monday.
const MONDAY: i64 = 1_767_571_200;

fn raw(id: &str, budget: f64) -> RawRule {
    let detector = id.split('.').next().unwrap();
    let test = |expect: &str| json!({"name": expect, "input": [{"at": "10:00:00", "tool": "x"}], "expect": expect});
    let value: Value = json!({
        "id": id, "title": id, "description": "d", "detector": detector, "severity": "high",
        "budget": budget, "runbook": "docs", "tests": [test("firing"), test("silent")],
    });
    serde_json::from_value(value).unwrap()
}

fn rules() -> Rules {
    Rules::from_raw(vec![
        raw("repeat.loop", 0.01),
        raw("call_rate.burst", 0.04),
        raw("new_tool.burst", 0.05),
        raw("first_use.listed", 0.3),
        raw("unusual_hour.activity", 0.02),
        raw("run_size.long", 0.005),
        raw("errors.burst", 0.005),
        raw("denials.burst", 0.01),
        raw("bytes_sent.volume", 0.01),
        raw("bytes_read.volume", 0.005),
        raw("argument_shape.burst", 0.005),
        raw("dormant_tool.returned", 0.005),
        raw("fan_out.burst", 0.005),
        raw("session_fit.stranger", 0.12),
        raw("version.changed", 0.1),
        raw("injected_session.target", 0.1),
        raw("look_alike.target", 0.03),
        raw("rate_shift.shift", 0.01),
        raw("silence.stopped", 0.005),
        raw("drift.slow", 0.001),
        raw("common_mode.group", 0.005),
    ])
    .unwrap()
}

/// A call at `secs` after Monday midnight.
fn call(secs: f64, id: u64, tool: &str, digest: u64) -> ToolCall<'_> {
    #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "a test")]
    let nanos = (secs * 1e9) as i64;
    ToolCall {
        time: Timestamp::from_nanos(MONDAY * 1_000_000_000 + nanos),
        tenant_id: "acme".into(),
        agent_id: "helper@1".into(),
        session_id: "session".into(),
        call_id: format!("call-{id}").into(),
        tool_name: tool.into(),
        operation: Operation::Write,
        arguments: Arguments { digest, bytes: 10, shape: 0 },
        ..ToolCall::default()
    }
}

/// Four days of work from 9 to 17 with ten tools, and the state that leaves.
fn known_agent(rules: &Rules) -> AgentState {
    let tools: Vec<String> = (0..10).map(|n| format!("tool-{n}")).collect();
    let mut state = AgentState::new(&call(9.0 * 3_600.0, 0, "tool-0", 1));
    for n in 0..480_u32 {
        let secs = f64::from(n / 120) * 86_400.0 + 32_400.0 + f64::from(n % 120) * 240.0;
        let tool = &tools[usize::try_from(n % 10).unwrap()];
        let call = call(secs, u64::from(n), tool, u64::from(n) + 1);
        let verdict = observe(&Context::new(rules, &Peers::default()), &mut state, &call);
        assert!(verdict.alerts.is_empty(), "{:?}", verdict.alerts);
        assert_eq!(verdict.fate, Fate::Judged);
    }
    state
}

/// The morning after, in seconds.
const MORNING: f64 = 4.0 * 86_400.0 + 36_000.0;

fn run(rules: &Rules, state: &mut AgentState, calls: &[ToolCall<'_>]) -> Vec<Alert> {
    let peers = Peers::default();
    calls
        .iter()
        .flat_map(|call| observe(&Context::new(rules, &peers), state, call).alerts)
        .collect()
}

fn looped(count: u32, every: f64) -> Vec<ToolCall<'static>> {
    (0..count)
        .map(|n| call(MORNING + f64::from(n) * every, 1_000 + u64::from(n), "tool-1", 77))
        .collect()
}

#[test]
fn an_episode_fires_gets_worse_and_ends_at_its_deadline() {
    let rules = rules();
    let mut state = known_agent(&rules);
    let mut alerts = run(&rules, &mut state, &looped(18, 3.0));
    let deadline = state.deadline().unwrap();
    assert!(
        tick(&Context::new(&rules, &Peers::default()), &mut state, deadline.plus_millis(-1))
            .alerts
            .is_empty()
    );
    alerts.extend(
        tick(&Context::new(&rules, &Peers::default()), &mut state, deadline.plus_secs(99)).alerts,
    );
    alerts.retain(|alert| alert.rule_id == "repeat.loop");
    let (first, last) = (&alerts[0], alerts.last().unwrap());
    assert_eq!((first.status, first.revision, first.observed), (AlertStatus::Firing, 0, 9.0));
    assert_eq!((last.status, &last.time), (AlertStatus::Resolved, &deadline.to_string()));
    assert!(alerts.iter().all(|alert| alert.alert_id == first.alert_id));
    let revisions: Vec<u32> = alerts.iter().map(|alert| alert.revision).collect();
    assert_eq!(revisions, (0..u32::try_from(alerts.len()).unwrap()).collect::<Vec<_>>());
    assert!(alerts.len() >= 3 && last.trigger.is_none() && last.evidence.len() == 5);
    assert_eq!(last.evidence_total, 18);
    assert_eq!(state.open_episodes(), 0);
}

#[test]
fn an_agent_that_gets_stuck_every_day_is_given_longer() {
    let rules = rules();
    let fires_at = |habit: u32| {
        let mut state = known_agent(&rules);
        for day in 0..10 {
            let start = MORNING + f64::from(day) * 86_400.0;
            let calls: Vec<_> = (0..80)
                .map(|n| {
                    let same = if n < habit { 77 } else { u64::from(1_000 + n) };
                    let id = u64::from(10_000 + u32::try_from(day).unwrap() * 100 + n);
                    call(start + f64::from(n) * 20.0, id, "tool-1", same)
                })
                .collect();
            run(&rules, &mut state, &calls);
        }
        let loops: Vec<_> = (0..200_u32)
            .map(|n| call(MORNING + 864_000.0 + f64::from(n), 90_000 + u64::from(n), "tool-1", 78))
            .collect();
        let alerts = run(&rules, &mut state, &loops);
        alerts.iter().find(|alert| alert.rule_id == "repeat.loop").map(|alert| alert.observed)
    };
    let (orderly, stuck) = (fires_at(2).unwrap(), fires_at(14).unwrap());
    assert!(orderly <= 9.0 && (20.0..200.0).contains(&stuck), "{orderly} {stuck}");
}

#[test]
fn an_alert_reads_as_a_sentence_with_its_evidence() {
    let rules = rules();
    let mut state = known_agent(&rules);
    let alerts = run(&rules, &mut state, &looped(9, 0.5));
    let alert = &alerts[0];
    assert_eq!(
        alert.summary,
        "`helper@1` made the same call of `tool-1` 9 times in 4.0 s; 4 in a row is the most that is usual."
    );
    assert_eq!(alert.counterfactual, "silent if at most 8 equal calls in a row");
    assert_eq!(alert.trigger.as_ref().unwrap().call_id, "call-1008");
    assert_eq!(alert.evidence.last().unwrap().call_id, "call-1008");
    assert_eq!(alert.evidence.len(), 5);
    assert_eq!(alert.window.start, "2026-01-09T10:00:00.000Z");
    assert_eq!(alert.learning.state, LearningState::Active);
    assert!((alert.probability - 0.01 / 10_f64.powf(alert.score / 20.0 - 2.0)).abs() < 1e-4);
}

#[test]
fn an_agent_being_learned_is_judged_and_wakes_nobody() {
    let rules = rules();
    let mut state = AgentState::new(&call(MORNING, 1_000, "tool-1", 77));
    let alerts = run(&rules, &mut state, &looped(30, 0.5));
    assert!(!alerts.is_empty());
    assert!(alerts.iter().all(|alert| alert.score <= LEARNING_SCORE_MAX));
    assert_eq!(alerts[0].learning.state, LearningState::Learning);
    assert_eq!(state.learning(), Some(0.0));
}

#[test]
fn a_redelivered_call_is_not_judged_again() {
    let rules = rules();
    let mut state = known_agent(&rules);
    let calls = looped(9, 0.5);
    run(&rules, &mut state, &calls);
    let before = state.calls();
    let verdict = observe(&Context::new(&rules, &Peers::default()), &mut state, &calls[8]);
    assert_eq!((verdict.fate, verdict.alerts.len()), (Fate::Duplicate, 0));
    assert_eq!(state.calls(), before);
}

#[test]
fn a_late_call_is_counted_and_only_its_new_tool_is_listed() {
    let rules = rules();
    let mut state = known_agent(&rules);
    run(&rules, &mut state, &[call(MORNING, 1_000, "tool-1", 5)]);
    let late = call(MORNING - 31.0, 1_001, "unheard-of", 6);
    let verdict = observe(&Context::new(&rules, &Peers::default()), &mut state, &late);
    assert_eq!(verdict.fate, Fate::Late);
    assert_eq!(verdict.alerts[0].rule_id, "first_use.listed");
    assert_eq!((verdict.alerts.len(), state.calls()), (1, 482));
    let in_time = call(MORNING - 29.0, 1_002, "tool-1", 6);
    assert_eq!(
        observe(&Context::new(&rules, &Peers::default()), &mut state, &in_time).fate,
        Fate::Judged
    );
}

#[test]
fn calls_without_arguments_are_not_taken_to_be_equal() {
    let rules = rules();
    let mut state = known_agent(&rules);
    let calls: Vec<_> = (0..30_u32)
        .map(|n| call(MORNING + f64::from(n) * 8.0, 1_000 + u64::from(n), "tool-1", 0))
        .collect();
    assert_eq!(run(&rules, &mut state, &calls), []);
}

#[test]
fn a_hostile_name_stays_in_its_quotes_and_short() {
    let rules = rules();
    let mut state = known_agent(&rules);
    let name = format!("x`\n\u{202e}{}", "y".repeat(300));
    let alerts = run(&rules, &mut state, &[call(MORNING, 1_000, &name, 5)]);
    let summary = &alerts[0].summary;
    assert!(summary.chars().count() < 300 && !summary.contains(['\n', '\u{202e}']), "{summary}");
}

#[test]
fn first_uses_are_listed_up_to_a_bound_a_day() {
    let rules = rules();
    let mut state = known_agent(&rules);
    let names: Vec<String> = (0..150).map(|n| format!("new-{n}")).collect();
    let (mut listed, mut facts) = (0, 0);
    for (n, name) in (0_u32..).zip(&names) {
        let call = call(MORNING + f64::from(n) * 60.0, 1_000 + u64::from(n), name, 5);
        let verdict = observe(&Context::new(&rules, &Peers::default()), &mut state, &call);
        listed += verdict.alerts.iter().filter(|a| a.rule_id == "first_use.listed").count();
        facts += verdict.facts.iter().filter(|fact| matches!(fact, Fact::Tool { .. })).count();
    }
    assert_eq!((listed, facts), (100, 100));
}

/// What a call of a session names: somebody of four, a file of three, a topic, and words.
fn named(n: u64) -> (Vec<Target>, Vec<u32>) {
    let target = |kind, value| Target {
        kind,
        key: 3,
        value: hash_texts(&[&format!("value-{value}")]),
        is_whole: true,
        near: [7, 8],
        ..Target::default()
    };
    let words = (0..12).map(|word| u32::try_from(n % 9 * 12 + word).unwrap() * 7_919).collect();
    let targets = vec![
        target(TargetKind::Email, n / 3 % 4),
        target(TargetKind::Path, 100 + n / 4 % 3),
        target(TargetKind::Word, 200),
    ];
    (targets, words)
}

#[test]
fn an_idle_agent_is_small_and_one_at_work_not_much_larger() {
    let rules = rules();
    let peers = peers_of(&rules, 3);
    let context = Context::new(&rules, &peers);
    let mut state = known_agent(&rules);
    assert!(state.memory_bytes() <= 1_750, "at work: {}", state.memory_bytes());
    let tools: Vec<String> = (0..10).map(|n| format!("tool-{n}")).collect();
    for n in 0..60_u64 {
        let (targets, words) = named(n);
        let tool = &tools[usize::try_from(n % 4).unwrap()];
        let secs = MORNING + f64::from(u32::try_from(n).unwrap()) * 20.0;
        let call = ToolCall {
            duration_ms: Some(4_000),
            targets: targets.into(),
            words: words.into(),
            ..call(secs, 1_000 + n, tool, 1_000 + n)
        };
        drop(observe(&context, &mut state, &call));
    }
    assert!(state.fit.usage.is_some(), "it is compared with its peers");
    assert!(state.live.as_ref().unwrap().sessions.heap_bytes() > 500, "its session has targets");
    assert!(state.memory_bytes() <= 2_048, "in a session: {}", state.memory_bytes());
    while let Some(deadline) = state.deadline() {
        assert!(tick(&context, &mut state, deadline).alerts.is_empty());
    }
    assert!(state.memory_bytes() <= 1_150, "idle: {}", state.memory_bytes());
    assert_eq!(state.deadline(), None);
}

/// What the group of `helper@1` is told by `agents` agents that all do what their days are made of.
fn peers_of(rules: &Rules, agents: u32) -> Peers {
    let mut epochs = Epochs::default();
    for agent in 0..agents {
        let name = format!("helper@{}", agent + 2);
        let mut state: Option<AgentState> = None;
        for n in 0..600_u32 {
            let secs = f64::from(n / 120) * 86_400.0 + 32_400.0 + f64::from(n % 120) * 240.0;
            let call = ToolCall {
                agent_id: name.as_str().into(),
                ..call(secs - 30.0 * 86_400.0, u64::from(n), "their-tool", u64::from(n) + 1)
            };
            let hour = call.time.hour();
            let state = state.get_or_insert_with(|| AgentState::new(&call));
            let known = state.group;
            let verdict = observe(&Context::new(rules, epochs.peers(hour)), state, &call);
            epochs.learn(hour, known, &verdict.facts);
        }
    }
    epochs.peers(i64::MAX).clone()
}

/// Calls that overlap each other, as of two actors in one session.
fn crowded(count: u32) -> Vec<ToolCall<'static>> {
    (0..count)
        .map(|n| ToolCall {
            duration_ms: Some(20_000),
            ..call(MORNING + f64::from(n) * 7.0, 1_000 + u64::from(n), "tool-1", u64::from(n) + 9)
        })
        .collect()
}

#[test]
fn two_actors_in_one_session_are_told() {
    let rules = rules();
    let mut state = known_agent(&rules);
    let alerts = run(&rules, &mut state, &crowded(30));
    let told: Vec<_> =
        alerts.iter().filter(|alert| alert.rule_id == "session_fit.stranger").collect();
    assert_eq!(told[0].status, AlertStatus::Firing);
    assert!(told[0].summary.contains("began while another one ran"), "{}", told[0].summary);
    assert!(told[0].score >= 40.0 && told.len() < 8, "{}", told.len());
}

#[test]
fn without_a_session_id_nothing_is_said_of_sessions() {
    let rules = rules();
    let mut state = known_agent(&rules);
    let calls: Vec<_> =
        crowded(30).into_iter().map(|call| ToolCall { session_id: "".into(), ..call }).collect();
    assert_eq!(run(&rules, &mut state, &calls), []);
}

#[test]
fn an_agent_with_peers_stays_small_and_tells_them_what_it_does() {
    let rules = rules();
    let peers = peers_of(&rules, 3);
    let mut state = known_agent(&rules);
    let mut told = 0;
    for n in 0..200_u32 {
        let id = 1_000 + u64::from(n);
        let call = call(MORNING + f64::from(n) * 60.0, id, "tool-1", id);
        let verdict = observe(&Context::new(&rules, &peers), &mut state, &call);
        told += verdict.facts.iter().filter(|fact| matches!(fact, Fact::Usage(_))).count();
    }
    assert!(told > 2, "{told}");
    let deadline = state.newest.plus_secs(3 * 86_400);
    drop(tick(&Context::new(&rules, &peers), &mut state, deadline));
    assert!(state.memory_bytes() <= 1_331, "idle: {}", state.memory_bytes());
}

#[test]
fn many_sessions_take_a_bounded_place() {
    let rules = rules();
    let mut state = known_agent(&rules);
    let names: Vec<String> = (0..500).map(|n| format!("session-{n}")).collect();
    for (n, name) in (0_u32..).zip(&names) {
        let call = call(MORNING + f64::from(n) * 10.0, 1_000 + u64::from(n), "tool-1", 5);
        let call = ToolCall { session_id: name.as_str().into(), ..call };
        drop(observe(&Context::new(&rules, &Peers::default()), &mut state, &call));
    }
    let live = state.live.as_ref().unwrap();
    assert!(live.fits.len() <= 6);
}

/// Targets that nobody has seen: a recipient, a host and a file.
fn random_targets(n: u32) -> Vec<Target> {
    let kinds = [TargetKind::Email, TargetKind::Url, TargetKind::Path];
    let target = |(key, kind)| Target {
        kind,
        key,
        value: hash_texts(&[&format!("{key}-{n}")]),
        is_whole: true,
        near: [n, n + 1],
        stem: n,
        ..Target::default()
    };
    (0..).zip(kinds).map(target).collect()
}

#[test]
fn row_36_a_hundred_thousand_random_tools_sessions_and_targets_stay_within_the_bounds() {
    let rules = rules();
    let mut state = known_agent(&rules);
    let mut met = BTreeSet::new();
    let names: Vec<String> =
        (0..100_000).map(|n| format!("tool-{}", n * 7_919 % 1_000_003)).collect();
    for (n, name) in (0_u32..).zip(&names) {
        let session = format!("session-{n}");
        let call = ToolCall {
            session_id: session.as_str().into(),
            targets: random_targets(n).into(),
            ..call(MORNING + f64::from(n) * 0.7, 1_000 + u64::from(n), name, u64::from(n) + 1)
        };
        let verdict = observe(&Context::new(&rules, &Peers::default()), &mut state, &call);
        met.extend(verdict.bounds.iter());
        assert!(state.memory_bytes() < 24_000, "{}", state.memory_bytes());
    }
    let tables = [Bound::FirstUses, Bound::Sessions, Bound::Fits];
    assert!(tables.iter().all(|bound| met.contains(bound)), "{met:?}");
}

/// What peers of a group know of `tool`: used by the agents 1 and 2, taken up at `hour`.
fn peers_with(tool: &str, hour: i64, began: bool) -> Peers {
    let mut summary = GroupSummary::default();
    for agent in [1, 2] {
        summary.add(Fact::Agent);
        summary.add(Fact::Tool { tool: tool_hash(None, tool), agent, hour, began });
    }
    // The agent under test is counted in its group, too.
    summary.add(Fact::Agent);
    let group = GroupKey::of("acme", "helper");
    Peers::default().with_epoch(Timestamp::from_secs(MONDAY).hour() + 90, [(group, &summary)])
}

/// The weight at which calls of `unheard-of` page, judged against `peers`, if they do within ten.
fn paging_call(peers: &Peers) -> Option<u32> {
    let rules = rules();
    let mut state = known_agent(&rules);
    (1..=10_u32).find(|n| {
        let call = call(MORNING + f64::from(*n) * 30.0, 1_000 + u64::from(*n), "unheard-of", 5);
        let call = ToolCall { arguments: Arguments::default(), ..call };
        let alerts = observe(&Context::new(&rules, peers), &mut state, &call).alerts;
        alerts.iter().any(|alert| alert.rule_id == "new_tool.burst")
    })
}

#[test]
fn peers_who_use_a_tool_make_it_less_of_a_surprise() {
    let hour = Timestamp::from_secs(MONDAY).hour();
    let nobody = paging_call(&peers_with("other", hour, false)).unwrap();
    let both = paging_call(&peers_with("unheard-of", hour, false)).unwrap();
    assert!(nobody < both, "{nobody} {both}");
}

#[test]
fn a_tool_that_peers_have_just_taken_up_is_an_upgrade() {
    let hour = Timestamp::from_secs(MONDAY).hour();
    assert_eq!(paging_call(&peers_with("unheard-of", hour, true)), None);
    let long_ago = hour - 30 * 24;
    assert!(paging_call(&peers_with("unheard-of", long_ago, true)).is_some());
}

#[test]
fn a_lonely_agent_is_judged_with_less_budget() {
    let hour = Timestamp::from_secs(MONDAY).hour();
    let with_peers = paging_call(&peers_with("other", hour, false)).unwrap();
    let alone = paging_call(&Peers::default()).unwrap();
    assert!(with_peers < alone, "{with_peers} {alone}");
}

/// The alerts of three peers whose calls are read in the order of `key`, each agent's own order
/// kept, by agent.
fn interleaved(
    all: &[Vec<ToolCall<'_>>],
    key: impl Fn(usize, &ToolCall<'_>) -> (i64, i64),
) -> Vec<Vec<String>> {
    let rules = rules();
    let mut order: Vec<(usize, &ToolCall<'_>)> = all
        .iter()
        .enumerate()
        .flat_map(|(n, calls)| calls.iter().map(move |call| (n, call)))
        .collect();
    order.sort_by_key(|(agent, call)| key(*agent, call));
    let mut epochs = Epochs::default();
    let known = known_agent(&rules);
    let mut states: Vec<AgentState> =
        (0..).zip(all).map(|(agent, _)| AgentState { agent, ..known.clone() }).collect();
    let mut alerts = vec![Vec::new(); all.len()];
    for (agent, call) in order {
        // What ended before the hour is told before the hour is read, as partitions do.
        let hour = Timestamp::from_nanos(call.time.hour() * HOUR_NS);
        for state in &mut states {
            while let Some(deadline) = state.deadline().filter(|deadline| *deadline <= hour) {
                let verdict = tick(&Context::new(&rules, &Peers::default()), state, deadline);
                epochs.learn(deadline.hour(), state.group, &verdict.facts);
            }
        }
        let verdict = observe(
            &Context::new(&rules, epochs.peers(call.time.hour())),
            &mut states[agent],
            call,
        );
        epochs.learn(call.time.hour(), states[agent].group, &verdict.facts);
        alerts[agent].extend(json(&verdict.alerts));
        alerts[agent].extend(verdict.audits.iter().map(AuditRecord::to_json));
    }
    alerts
}

fn any_calls() -> impl Strategy<Value = Vec<(u32, u8, u8, u8)>> {
    // Milliseconds since the call before, disorder in seconds, tool, arguments.
    prop::collection::vec((0_u32..4_000_000, 0_u8..60, 0_u8..30, 1_u8..4), 1..200)
}

fn made(steps: &[(u32, u8, u8, u8)], names: &[String]) -> Vec<ToolCall<'static>> {
    let mut secs = MORNING;
    let mut calls = Vec::new();
    for (n, (gap, _, tool, digest)) in (0_u64..).zip(steps) {
        // Half of the gaps are short, so that loops and floods occur.
        secs += if gap % 2 == 0 { f64::from(*gap) / 4e6 } else { f64::from(*gap) / 1e3 };
        let mut call = call(secs, 1_000 + n, "", u64::from(*digest));
        // What the arguments, bytes and end of a call are is drawn from the same numbers.
        call.arguments.shape = gap % 7;
        call.bytes_in = (gap % 5 == 0).then(|| u64::from(*gap) * 1_000);
        call.bytes_out = Some(u64::from(*gap) % 90_000 * u64::from(*tool));
        call.status =
            [Status::Ok, Status::Denied, Status::Error, Status::Denied][usize::from(*digest)];
        call.session_id = if gap % 3 == 0 { "" } else { "session" }.into();
        call.parent_agent_id = (gap % 11 == 0).then(|| "helper@1".into());
        call.agent_version = (gap % 13 > 0).then(|| format!("v{}", gap % 13 / 5).into());
        call.tool_name = names[usize::from(*tool)].clone().into();
        calls.push(call);
    }
    calls
}

fn json(alerts: &[Alert]) -> Vec<String> {
    alerts.iter().map(|alert| serde_json::to_string(alert).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn ticks_change_nothing_but_the_moment(steps in any_calls()) {
        let rules = rules();
        let names: Vec<String> = (0..30).map(|n| format!("tool-{n}")).collect();
        let calls = made(&steps, &names);
        let (mut plain, mut ticked) = (known_agent(&rules), known_agent(&rules));
        let mut expected = run(&rules, &mut plain, &calls);
        let mut actual = Vec::new();
        for call in &calls {
            while let Some(deadline) = ticked.deadline().filter(|deadline| *deadline <= call.time) {
                actual.extend(tick(&Context::new(&rules, &Peers::default()), &mut ticked, deadline).alerts);
            }
            actual.extend(run(&rules, &mut ticked, std::slice::from_ref(call)));
        }
        for (state, alerts) in [(&mut plain, &mut expected), (&mut ticked, &mut actual)] {
            alerts.extend(tick(&Context::new(&rules, &Peers::default()), state, Timestamp::MAX).alerts);
        }
        prop_assert_eq!(json(&expected), json(&actual));
    }

    #[test]
    fn disorder_never_breaks_anything_and_judges_twice_alike(steps in any_calls()) {
        let rules = rules();
        let names: Vec<String> = (0..30).map(|n| format!("tool-{n}")).collect();
        let mut calls = made(&steps, &names);
        for (call, step) in calls.iter_mut().zip(&steps) {
            call.time = call.time.plus_secs(-i64::from(step.1));
        }
        let (mut first, mut second) = (known_agent(&rules), known_agent(&rules));
        let alerts = run(&rules, &mut first, &calls);
        prop_assert!(alerts.iter().all(|a| (0.0..=100.0).contains(&a.score) && (0.0..=1.0).contains(&a.probability)));
        prop_assert_eq!(json(&alerts), json(&run(&rules, &mut second, &calls)));
    }

    #[test]
    fn any_time_at_all_is_survived(times in prop::collection::vec(any::<i64>(), 1..60)) {
        let rules = rules();
        let mut state = AgentState::new(&call(0.0, 0, "tool-1", 1));
        for (n, nanos) in (0_u64..).zip(times) {
            let time = Timestamp::from_nanos(nanos);
            let call = ToolCall { time, ..call(0.0, n, "tool-1", 1) };
            drop(observe(&Context::new(&rules, &Peers::default()), &mut state, &call));
            let newest = state.newest();
            drop(tick(&Context::new(&rules, &Peers::default()), &mut state, newest));
        }
    }

    #[test]
    fn peers_judge_alike_in_whatever_order_an_hour_is_read(a in any_calls(), b in any_calls(), c in any_calls()) {
        let names: Vec<String> = (0..30).map(|n| format!("tool-{n}")).collect();
        let all = [made(&a, &names), made(&b, &names), made(&c, &names)];
        let by_time = interleaved(&all, |_, call| (call.time.as_nanos(), 0));
        let by_agent = interleaved(&all, |agent, call| (call.time.hour(), i64::try_from(agent).unwrap()));
        prop_assert_eq!(by_time, by_agent);
    }

    #[test]
    fn one_agent_does_not_change_another(steps in any_calls(), other in any_calls()) {
        let rules = rules();
        let names: Vec<String> = (0..30).map(|n| format!("tool-{n}")).collect();
        let (calls, others) = (made(&steps, &names), made(&other, &names));
        let expected = run(&rules, &mut known_agent(&rules), &calls);
        let (mut state, mut neighbour) = (known_agent(&rules), known_agent(&rules));
        let mut actual = Vec::new();
        for n in 0..calls.len().max(others.len()) {
            drop(others.get(n).map(|call| run(&rules, &mut neighbour, std::slice::from_ref(call))));
            actual.extend(calls.get(n).map_or(Vec::new(), |call| run(&rules, &mut state, std::slice::from_ref(call))));
        }
        prop_assert_eq!(json(&expected), json(&actual));
    }
}
