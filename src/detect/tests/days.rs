//! The detectors that judge a day by the days before, and what is known of an agent.

use crate::alert::{Alert, LEARNING_SCORE_MAX, LearningState};
use crate::baseline::peers::{Fact, GroupKey, GroupSummary, Peers};
use crate::detect::{AgentState, Context, observe};
use crate::event::{Operation, Status, Timestamp, ToolCall};
use crate::policy::{Detector, RawRule, Rules};
use serde_json::json;

/// 2026-01-05T00:00:00Z, a Monday.
const MONDAY: i64 = 1_767_571_200;

/// One rule with a budget of .01 and default parameters.
fn only(id: &str) -> Rules {
    let detector = id.split('.').next().unwrap();
    let test = |expect: &str| json!({"name": expect, "input": [{"at": "10:00:00", "tool": "x"}], "expect": expect});
    let raw: RawRule = serde_json::from_value(json!({
        "id": id, "title": id, "description": "d", "detector": detector, "severity": "high",
        "budget": 0.01, "runbook": "docs", "tests": [test("firing"), test("silent")],
    }))
    .unwrap();
    Rules::from_raw(vec![raw]).unwrap()
}

/// A call `secs` after Monday midnight.
fn call(secs: i64, id: &str) -> ToolCall<'_> {
    ToolCall {
        time: Timestamp::from_secs(MONDAY + secs),
        tenant_id: "acme".into(),
        agent_id: "helper@1".into(),
        session_id: "session".into(),
        call_id: id.into(),
        tool_name: "update".into(),
        operation: Operation::Write,
        status: Status::Ok,
        ..ToolCall::default()
    }
}

/// The state after `days` days of 100 calls in the morning, each made by `change`.
fn worked(
    rules: &Rules,
    days: i64,
    change: impl Fn(&mut ToolCall<'_>),
) -> (AgentState, Vec<Alert>) {
    let mut state = AgentState::new(&call(0, "first"));
    let mut alerts = Vec::new();
    for n in 0..days * 100 {
        let id = format!("call-{n}");
        let mut call = call(n / 100 * 86_400 + 32_400 + n % 100 * 60, &id);
        change(&mut call);
        alerts.extend(observe(&Context::new(rules, &Peers::default()), &mut state, &call).alerts);
    }
    (state, alerts)
}

/// The alerts of `count` calls, `every` seconds apart, on the day `day` at ten.
fn morning(
    rules: &Rules,
    state: &mut AgentState,
    (day, count, every): (i64, i64, i64),
    change: impl Fn(&mut ToolCall<'_>),
) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for n in 0..count {
        let id = format!("late-{day}-{n}");
        let mut call = call(day * 86_400 + 50_400 + n * every, &id);
        change(&mut call);
        alerts.extend(observe(&Context::new(rules, &Peers::default()), state, &call).alerts);
    }
    alerts
}

fn as_it_is(_: &mut ToolCall<'_>) {}

fn with_status(status: Status) -> impl Fn(&mut ToolCall<'_>) {
    move |call| call.status = status
}

#[test]
fn a_run_fires_while_it_grows_and_says_what_is_usual() {
    let rules = only("run_size.long");
    let (mut state, before) = worked(&rules, 9, as_it_is);
    assert_eq!(before, []);
    let alerts = morning(&rules, &mut state, (9, 1_000, 2), as_it_is);
    let alert = &alerts[0];
    assert!(alert.observed > 300.0 && alert.observed < 500.0, "{}", alert.observed);
    assert!(alert.expected.low < 100.0 && 100.0 < alert.expected.high, "{:?}", alert.expected);
    assert_eq!(
        alert.counterfactual,
        format!("silent if at most {} calls in one run", alert.observed - 1.0)
    );
    assert!(alert.summary.contains("session `session`"), "{}", alert.summary);
}

#[test]
fn denials_and_failures_are_counted_apart() {
    let rules = only("denials.burst");
    let (mut state, _) = worked(&rules, 9, as_it_is);
    assert_eq!(morning(&rules, &mut state, (9, 30, 10), with_status(Status::Error)), []);
    let alerts = morning(&rules, &mut state, (10, 12, 10), with_status(Status::Denied));
    let alert = &alerts[0];
    assert!(alert.observed <= 8.0, "{}", alert.observed);
    assert!(alert.evidence.len() >= 3, "{:?}", alert.evidence);
    assert!(alert.summary.contains("in 10 min were denied"), "{}", alert.summary);
}

#[test]
fn a_level_of_denials_that_stays_is_learned_in_some_days() {
    let rules = only("denials.burst");
    let (mut state, _) = worked(&rules, 9, as_it_is);
    let fired = |state: &mut AgentState, day| {
        let work = morning(&rules, state, (day, 60, 600), as_it_is);
        let denied = morning(&rules, state, (day + 1, 12, 10), with_status(Status::Denied));
        work.into_iter().chain(denied).any(|alert| alert.score >= 40.0)
    };
    assert!(fired(&mut state, 9));
    let silent_from = (10..40).find(|day| !fired(&mut state, day * 2));
    assert!(silent_from.is_some());
}

#[test]
fn the_first_bytes_that_records_tell_wake_nobody() {
    let rules = only("bytes_read.volume");
    let (mut state, _) = worked(&rules, 9, as_it_is);
    let learning = state.learning_of(Detector::BytesRead, &rules, &Peers::default());
    assert_eq!((learning.state, learning.progress), (LearningState::Starved, 0.0));
    let huge = |call: &mut ToolCall<'_>| call.bytes_out = Some(1 << 40);
    let alerts = morning(&rules, &mut state, (9, 3, 10), huge);
    assert!(!alerts.is_empty() && alerts.iter().all(|alert| alert.score <= LEARNING_SCORE_MAX));
    assert_eq!(alerts[0].learning.state, LearningState::Starved);
}

#[test]
fn bytes_are_judged_by_their_order_of_magnitude() {
    let rules = only("bytes_sent.volume");
    let sends = |bytes| move |call: &mut ToolCall<'_>| call.bytes_in = Some(bytes);
    let (mut state, before) = worked(&rules, 9, sends(20_000));
    assert_eq!(before, []);
    assert_eq!(morning(&rules, &mut state, (9, 1, 10), sends(400_000)), []);
    let alerts = morning(&rules, &mut state, (10, 1, 10), sends(80_000_000));
    assert!(alerts[0].score > 60.0, "{}", alerts[0].score);
    assert!(alerts[0].summary.contains("sent 80 MB into tools"), "{}", alerts[0].summary);
}

#[test]
fn a_holiday_does_not_make_every_tool_dormant() {
    let rules = only("dormant_tool.returned");
    let (mut state, _) = worked(&rules, 9, as_it_is);
    assert_eq!(morning(&rules, &mut state, (90, 3, 60), as_it_is), []);
    let learning = state.learning_of(Detector::Repeat, &rules, &Peers::default());
    assert_eq!((learning.state, learning.progress), (LearningState::Stale, 0.0));
    morning(&rules, &mut state, (91, 1, 60), as_it_is);
    morning(&rules, &mut state, (92, 1, 60), as_it_is);
    let learning = state.learning_of(Detector::Repeat, &rules, &Peers::default());
    assert_eq!(learning.state, LearningState::Active);
}

#[test]
fn an_acting_call_of_a_dormant_tool_scores_higher() {
    let rules = only("dormant_tool.returned");
    let (mut state, _) = worked(&rules, 9, as_it_is);
    let other = |call: &mut ToolCall<'_>| call.tool_name = "other".into();
    for day in 10..80 {
        assert_eq!(morning(&rules, &mut state, (day, 1, 1), other), []);
    }
    let mut again = state.clone();
    let read = |call: &mut ToolCall<'_>| call.operation = Operation::Read;
    let acting = morning(&rules, &mut state, (80, 1, 1), as_it_is);
    let reading = morning(&rules, &mut again, (80, 1, 1), read);
    assert_eq!((acting.len(), reading.len()), (1, 1));
    assert!(reading[0].score < acting[0].score && acting[0].score <= LEARNING_SCORE_MAX);
}

/// Peers to whom `agents` sub-agents of `helper@1` were told, at work in the hour `hour`.
fn family(agents: u32, hour: i64) -> Peers {
    let root = crate::baseline::identity::agent_hash("acme", "helper@1");
    let mut tenant = GroupSummary::default();
    for _ in 0..agents {
        tenant.add(Fact::SubAgent { root, hour });
    }
    Peers::default().with_epoch(hour, [(GroupKey::of_tenant("acme"), &tenant)])
}

#[test]
fn a_sub_agent_tells_once_an_hour_for_whom_it_works() {
    let rules = only("fan_out.burst");
    let child = |secs, id| ToolCall {
        agent_id: "helper@sub".into(),
        parent_agent_id: Some("helper@1".into()),
        ..call(secs, id)
    };
    let mut state = AgentState::new(&child(0, "a"));
    let mut told = |secs, id| {
        observe(&Context::new(&rules, &Peers::default()), &mut state, &child(secs, id))
            .tenant_facts
            .iter()
            .filter(|fact| matches!(fact, Fact::SubAgent { .. }))
            .count()
    };
    assert_eq!([told(0, "a"), told(9, "b"), told(3_600, "c")], [1, 0, 1]);
}

#[test]
fn the_root_is_named_with_its_user_and_each_hour_is_judged_once() {
    let rules = only("fan_out.burst");
    let (mut state, _) = worked(&rules, 9, as_it_is);
    let time = 9 * 86_400 + 50_400;
    let peers = family(60, Timestamp::from_secs(MONDAY + time).hour() - 2);
    let root = |secs, id| ToolCall { user_id: Some("ada".into()), ..call(time + secs, id) };
    let alerts = observe(&Context::new(&rules, &peers), &mut state, &root(0, "x")).alerts;
    assert!(
        alerts[0].summary.starts_with(
            "`helper@1`, working for `ada`, had 60 sub-agents at work between 12:00 and 13:00 UTC"
        ),
        "{}",
        alerts[0].summary
    );
    let later = observe(&Context::new(&rules, &peers), &mut state, &root(3_600, "y")).alerts;
    assert!(later.iter().all(|alert| alert.status != crate::alert::AlertStatus::Firing));
}

#[test]
fn what_is_known_differs_from_detector_to_detector() {
    let rules = only("run_size.long");
    let (state, _) = worked(&rules, 9, |call: &mut ToolCall<'_>| call.status = Status::Unknown);
    let known = |detector| state.learning_of(detector, &rules, &Peers::default()).state;
    assert_eq!(known(Detector::RunSize), LearningState::Active);
    assert_eq!(known(Detector::Errors), LearningState::Starved);
    assert_eq!(known(Detector::ArgumentShape), LearningState::Starved);
    assert_eq!(known(Detector::DormantTool), LearningState::Learning);
    let (young, _) = worked(&rules, 1, as_it_is);
    for detector in Detector::ALL {
        let learning = young.learning_of(detector, &rules, &Peers::default());
        assert_eq!(learning.state, LearningState::Learning);
        assert!((0.0..1.0).contains(&learning.progress));
    }
}
