//! What people say: it silences, for whom and how long it was said, and no more.

use super::*;
use crate::alert::{Subject, SubjectKind};
use crate::policy::{Acceptance, RawAcceptance, Scope, Stance, VERDICT_SCHEMA};

/// A verdict on `subject` from `secs` after Monday midnight on.
fn verdict(scope: Scope, subject: &Subject, stance: Stance, (at, until): (f64, f64)) -> Acceptance {
    let time = |secs: f64| call(secs, 0, "", 0).time.to_string();
    Acceptance::from_raw(RawAcceptance {
        schema: VERDICT_SCHEMA.to_owned(),
        tenant_id: "acme".to_owned(),
        scope,
        subject: subject.clone(),
        verdict: stance,
        reason: "tested".to_owned(),
        author: "kim".to_owned(),
        at: time(at),
        expires: (until > at).then(|| time(until)),
        alert_id: None,
    })
    .unwrap()
}

fn agent() -> Scope {
    Scope::Agent("helper@1".to_owned())
}

fn expectations(verdicts: &[Acceptance]) -> Expectations {
    let mut expectations = Expectations::new();
    verdicts.iter().for_each(|verdict| expectations.add(verdict));
    expectations
}

/// The alerts of `rule` that `calls` bring, the words of people being `said`.
fn told(
    (rules, state): (&Rules, &mut AgentState),
    said: &Expectations,
    rule: &str,
    calls: &[ToolCall<'_>],
) -> Vec<Alert> {
    let peers = Peers::default();
    let context = Context { expectations: said, ..Context::new(rules, &peers) };
    let mut alerts: Vec<Alert> =
        calls.iter().flat_map(|call| observe(&context, state, call).alerts).collect();
    alerts.retain(|alert| alert.rule_id == rule && alert.status == AlertStatus::Firing);
    alerts
}

/// Eight calls of `tool`, half a minute apart, from `secs` on.
fn burst(tool: &str, secs: f64) -> Vec<ToolCall<'_>> {
    (0..8_u32)
        .map(|n| {
            let id = 10_000 + u64::from(n);
            let call = call(secs + f64::from(n) * 30.0, id, tool, id);
            let call_id = format!("{tool}-{secs}-{n}").into();
            ToolCall { call_id, ..call }
        })
        .collect()
}

const HOUR: f64 = 3_600.0;
const NOBODY: Expectations = Expectations::new();

#[test]
fn an_accepted_tool_is_silent_and_another_one_is_not() {
    let rules = rules();
    let mut known = known_agent(&rules);
    let fired = told((&rules, &mut known), &NOBODY, "new_tool.burst", &burst("wire", MORNING));
    assert_eq!(fired[0].subjects.len(), 1);
    assert_eq!(fired[0].subjects[0].shown, "wire");
    let at = MORNING + 0.5 * HOUR;
    let accepted = verdict(agent(), &fired[0].subjects[0], Stance::Expected, (at, 0.0));
    let said = expectations(&[accepted]);
    let mut told =
        |tool, secs| told((&rules, &mut known), &said, "new_tool.burst", &burst(tool, secs));
    assert_eq!(told("wire", MORNING + HOUR), []);
    assert_eq!(told("export", MORNING + 2.0 * HOUR).len(), 1);
    // It is not learned by being used, so it is the word that keeps it silent.
    assert_eq!(told("wire", MORNING + 24.0 * HOUR), []);
    assert_eq!(told("wire", MORNING + 48.0 * HOUR), []);
}

#[test]
fn taking_a_word_back_and_letting_it_expire_bring_the_alert_back() {
    let rules = rules();
    let mut fresh = known_agent(&rules);
    let fired = told((&rules, &mut fresh), &NOBODY, "new_tool.burst", &burst("wire", MORNING));
    let tool = &fired[0].subjects[0];
    let (noon, evening) = (MORNING + 2.0 * HOUR, MORNING + 30.0 * HOUR);
    let accepted = verdict(agent(), tool, Stance::Expected, (MORNING - 1.0, 0.0));
    let ends = [
        [accepted, verdict(agent(), tool, Stance::NotExpected, (noon, 0.0))].to_vec(),
        [verdict(agent(), tool, Stance::Expected, (MORNING - 1.0, noon))].to_vec(),
    ];
    for said in ends.map(|verdicts| expectations(&verdicts)) {
        let mut state = known_agent(&rules);
        let mut told =
            |secs| told((&rules, &mut state), &said, "new_tool.burst", &burst("wire", secs));
        assert_eq!(told(MORNING), []);
        assert_eq!(told(noon).len(), 1);
        assert_eq!(told(evening).len(), 1);
    }
}

#[test]
fn what_is_accepted_ahead_of_time_is_not_even_listed() {
    let rules = rules();
    let subject = Subject::new(SubjectKind::Tool, tool_hash(None, "wire"), "wire");
    let said = expectations(&[verdict(agent(), &subject, Stance::Expected, (0.0, 0.0))]);
    let calls = burst("wire", MORNING);
    let mut known = known_agent(&rules);
    assert_eq!(told((&rules, &mut known), &said, "first_use.listed", &calls), []);
    let mut known = known_agent(&rules);
    assert_eq!(told((&rules, &mut known), &NOBODY, "first_use.listed", &calls).len(), 1);
}

#[test]
fn a_word_on_a_group_silences_its_agents_and_nobody_else() {
    let rules = rules();
    let subject = Subject::new(SubjectKind::Tool, tool_hash(None, "wire"), "wire");
    let of = |group: &str| {
        let scope = Scope::Group(group.to_owned());
        expectations(&[verdict(scope, &subject, Stance::Expected, (0.0, 0.0))])
    };
    let calls = burst("wire", MORNING);
    let fires = |said| {
        !told((&rules, &mut known_agent(&rules)), &said, "new_tool.burst", &calls).is_empty()
    };
    assert!(!fires(of("helper")));
    assert!(fires(of("other")));
}

#[test]
fn a_tool_that_is_not_expected_is_not_learned_by_use() {
    let rules = rules();
    let subject = Subject::new(SubjectKind::Tool, tool_hash(None, "tool-1"), "tool-1");
    let said = expectations(&[verdict(agent(), &subject, Stance::NotExpected, (MORNING, 0.0))]);
    let mut known = known_agent(&rules);
    for day in 0..4_u32 {
        let secs = MORNING + f64::from(day) * 24.0 * HOUR;
        let fired = told((&rules, &mut known), &said, "new_tool.burst", &burst("tool-1", secs));
        assert_eq!(fired.len(), 1, "day {day}");
    }
}

#[test]
fn accepting_in_the_middle_of_a_burst_takes_its_calls_out_of_it() {
    let rules = rules();
    let subject = Subject::new(SubjectKind::Tool, tool_hash(None, "wire"), "wire");
    let said =
        expectations(&[verdict(agent(), &subject, Stance::Expected, (MORNING + 240.0, 0.0))]);
    let mut known = known_agent(&rules);
    let mut calls = burst("wire", MORNING);
    calls.extend(burst("export", MORNING + 300.0).into_iter().take(1));
    let fired = told((&rules, &mut known), &said, "new_tool.burst", &calls);
    assert_eq!(fired.len(), 1);
    let weight = known.burst.as_ref().map(|burst| (burst.weight, burst.calls, burst.tools.len()));
    assert_eq!(weight, Some((1.0, 1, 1)));
}

#[test]
fn an_accepted_level_raises_the_band_and_no_further() {
    let rules = rules();
    let flood = |count: u32, secs: f64| -> Vec<ToolCall<'static>> {
        (0..count)
            .map(|n| {
                let id = 20_000 + u64::from(n);
                let call = call(secs + f64::from(n) * 0.5, id, "tool-1", id);
                ToolCall { call_id: format!("flood-{secs}-{n}").into(), ..call }
            })
            .collect()
    };
    let mut known = known_agent(&rules);
    let peers = Peers::default();
    let context = Context::new(&rules, &peers);
    let alerts: Vec<Alert> = flood(40, MORNING)
        .iter()
        .flat_map(|call| observe(&context, &mut known, call).alerts)
        .filter(|alert| alert.rule_id == "call_rate.burst")
        .collect();
    let level = &alerts.last().unwrap().subjects[0];
    assert!(level.level >= Some(20.0), "{level:?}");
    assert_ne!(alerts[0].dedup_key, alerts[0].alert_id);
    let subject = Subject { level: Some(40.0), ..level.clone() };
    let said = expectations(&[verdict(agent(), &subject, Stance::Expected, (MORNING + HOUR, 0.0))]);
    let mut told = |count, secs| {
        told((&rules, &mut known), &said, "call_rate.burst", &flood(count, secs)).len()
    };
    assert_eq!(told(40, MORNING + 2.0 * HOUR), 0);
    assert_eq!(told(60, MORNING + 3.0 * HOUR), 1);
}

#[test]
fn an_accepted_run_of_equal_calls_is_silent_and_a_longer_one_is_not() {
    let rules = rules();
    let mut known = known_agent(&rules);
    let run = |count: u32, secs: f64| -> Vec<ToolCall<'static>> {
        (0..count)
            .map(|n| {
                let call = call(secs + f64::from(n) * 20.0, 0, "tool-1", 77);
                ToolCall { call_id: format!("run-{secs}-{n}").into(), ..call }
            })
            .collect()
    };
    let fired = told((&rules, &mut known), &NOBODY, "repeat.loop", &run(12, MORNING));
    let subject = Subject { level: Some(12.0), ..fired[0].subjects[0].clone() };
    let said = expectations(&[verdict(agent(), &subject, Stance::Expected, (MORNING + HOUR, 0.0))]);
    let mut told =
        |count, secs| told((&rules, &mut known), &said, "repeat.loop", &run(count, secs)).len();
    assert_eq!(told(12, MORNING + 2.0 * HOUR), 0);
    assert_eq!(told(13, MORNING + 3.0 * HOUR), 1);
}

#[test]
fn an_accepted_hour_is_silent_and_a_far_one_is_not() {
    let rules = rules();
    let night = |day: f64, hour: f64| -> Vec<ToolCall<'static>> {
        (0..6_u32)
            .map(|n| {
                let secs = (4.0 + day) * 86_400.0 + hour * HOUR + f64::from(n) * 60.0;
                let call = call(secs, 0, "tool-1", u64::from(n) + 1);
                ToolCall { call_id: format!("night-{secs}").into(), ..call }
            })
            .collect()
    };
    let mut known = known_agent(&rules);
    let rule = "unusual_hour.activity";
    let fired = told((&rules, &mut known), &NOBODY, rule, &night(0.0, 2.0));
    assert_eq!(fired[0].subjects[0].shown, "02:00 to 03:00 UTC");
    let accepted = verdict(agent(), &fired[0].subjects[0], Stance::Expected, (4.0 * 86_400.0, 0.0));
    let said = expectations(&[accepted]);
    let mut told = |day, hour| told((&rules, &mut known), &said, rule, &night(day, hour)).len();
    assert_eq!([told(1.0, 2.0), told(1.0, 3.0), told(1.0, 5.5)], [0, 0, 1]);
}

#[test]
fn one_tool_new_to_a_group_is_one_incident() {
    let rules = rules();
    let key = |agent: &str, tool: &str| {
        let known = known_agent(&rules);
        let mut state = AgentState { agent_id: agent.into(), ..known };
        let own = |call: ToolCall<'static>| ToolCall { agent_id: agent.to_owned().into(), ..call };
        let calls: Vec<ToolCall<'_>> =
            burst(tool, MORNING).into_iter().map(|call| own(call.into_owned(""))).collect();
        let fired = told((&rules, &mut state), &NOBODY, "new_tool.burst", &calls);
        (fired[0].dedup_key.clone(), fired[0].alert_id.clone())
    };
    let (first, second) = (key("helper@1", "wire"), key("helper@2", "wire"));
    assert_eq!(first.0, second.0);
    assert_ne!(first.1, second.1);
    assert_ne!(first.0, key("helper@1", "export").0);
    assert_ne!(first.0, key("other@1", "wire").0);
}

#[test]
fn a_group_that_works_more_in_one_hour_is_one_incident() {
    let rules = rules();
    let flooded = |agent: &str, secs: f64| {
        let known = known_agent(&rules);
        let mut state = AgentState { agent_id: agent.into(), ..known };
        let calls: Vec<ToolCall<'_>> = (0..40_u32)
            .map(|n| {
                let id = 30_000 + u64::from(n);
                let call = call(secs + f64::from(n) * 0.5, id, "tool-1", id);
                let call_id = format!("{agent}-{secs}-{n}").into();
                ToolCall { call_id, agent_id: agent.to_owned().into(), ..call }
            })
            .collect();
        told((&rules, &mut state), &NOBODY, "call_rate.burst", &calls)[0].clone()
    };
    let (first, second) = (flooded("helper@1", MORNING), flooded("helper@2", MORNING + 600.0));
    assert_eq!(first.dedup_key, second.dedup_key);
    assert_ne!(first.alert_id, second.alert_id, "each is told, with its own evidence");
    assert_ne!(first.dedup_key, flooded("helper@1", MORNING + 2.0 * HOUR).dedup_key);
    assert_ne!(first.dedup_key, flooded("other@1", MORNING).dedup_key);
}
