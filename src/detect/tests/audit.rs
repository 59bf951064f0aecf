//! What is written down of what changes in an agent's knowledge, and what is not.

use super::*;
use crate::alert::{AuditKind, Subject, SubjectKind};
use crate::detect::audit::RECORDS_A_DAY;
use crate::detect::hour_hash;
use crate::policy::{Acceptance, RawAcceptance, Scope, Stance, VERDICT_SCHEMA};

const HOUR: f64 = 3_600.0;
const DAY: f64 = 24.0 * HOUR;

/// What is written of `calls`, the words of people being `said`.
fn written(
    (rules, state): (&Rules, &mut AgentState),
    said: &Expectations,
    calls: &[ToolCall<'_>],
) -> Vec<AuditRecord> {
    let peers = Peers::default();
    let context = Context { expectations: said, ..Context::new(rules, &peers) };
    calls.iter().flat_map(|call| observe(&context, state, call).audits).collect()
}

pub(super) fn expected(subject: Subject) -> Expectations {
    let mut said = Expectations::new();
    let raw = RawAcceptance {
        schema: VERDICT_SCHEMA.to_owned(),
        tenant_id: "acme".to_owned(),
        scope: Scope::Agent("helper@1".to_owned()),
        subject,
        verdict: Stance::Expected,
        reason: "tested".to_owned(),
        author: "kim".to_owned(),
        at: call(0.0, 0, "", 0).time.to_string(),
        expires: None,
        alert_id: None,
    };
    said.add(&Acceptance::from_raw(raw).unwrap());
    said
}

#[test]
fn a_tool_adopted_on_its_second_day_is_one_record() {
    let rules = rules();
    let mut state = known_agent(&rules);
    let uses = [
        call(MORNING, 9_001, "wire", 1),
        call(MORNING + HOUR, 9_002, "wire", 2),
        call(MORNING + DAY, 9_003, "wire", 3),
        call(MORNING + DAY + HOUR, 9_004, "wire", 4),
        call(MORNING + 2.0 * DAY, 9_005, "wire", 5),
    ];
    let records = written((&rules, &mut state), &Expectations::new(), &uses);
    assert_eq!(records.len(), 1, "{records:?}");
    let record = &records[0];
    assert_eq!(record.kind, AuditKind::ToolAdopted);
    assert_eq!(record.time, uses[2].time.to_string());
    assert_eq!(record.detector.as_deref(), Some("new_tool"));
    assert_eq!(record.reason, "`helper@1` has used `wire` on 2 active days: it is adopted.");
    let subject = record.subject.as_ref().unwrap();
    assert_eq!((subject.kind, &*subject.shown), (SubjectKind::Tool, "wire"));
}

#[test]
fn the_end_of_learning_is_one_record_and_learning_itself_is_none() {
    let rules = rules();
    let mut state = AgentState::new(&call(32_400.0, 0, "tool-0", 1));
    let tools: Vec<String> = (0..10).map(|n| format!("tool-{n}")).collect();
    let calls: Vec<ToolCall<'_>> = (0..480_u32)
        .map(|n| {
            let secs = f64::from(n / 120) * DAY + 32_400.0 + f64::from(n % 120) * 240.0;
            let tool = &tools[usize::try_from(n % 10).unwrap()];
            call(secs, u64::from(n), tool, u64::from(n) + 1)
        })
        .collect();
    let records = written((&rules, &mut state), &Expectations::new(), &calls);
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0].kind, AuditKind::LearningCompleted);
    assert_eq!(records[0].time, calls[240].time.to_string());
    assert_eq!(
        records[0].reason,
        "`helper@1` counts as known after 241 calls on 2 whole active days; its 10 tools are its own."
    );
}

#[test]
fn a_word_that_silences_is_one_record_a_day() {
    let rules = rules();
    let subject = crate::detect::tool_hash(None, "wire");
    let said = expected(Subject::new(SubjectKind::Tool, subject, "wire"));
    let mut state = known_agent(&rules);
    let uses = [
        call(MORNING, 9_001, "wire", 1),
        call(MORNING + 60.0, 9_002, "wire", 2),
        call(MORNING + DAY, 9_003, "wire", 3),
    ];
    let records = written((&rules, &mut state), &said, &uses);
    let times: Vec<&str> = records.iter().map(|record| &*record.time).collect();
    assert_eq!(times, [uses[0].time.to_string(), uses[2].time.to_string()]);
    assert!(records.iter().all(|record| record.kind == AuditKind::VerdictApplied));
    assert_eq!(
        records[0].reason,
        "A person has said that the tool `wire` is expected of `helper@1`: new_tool is silent about it."
    );
}

#[test]
fn a_word_about_an_hour_is_written_when_the_hour_would_have_been_told() {
    let rules = rules();
    let said = expected(Subject::new(SubjectKind::Hour, hour_hash(2), "02"));
    let mut state = known_agent(&rules);
    let night = 4.0 * DAY + 2.0 * HOUR;
    let calls: Vec<ToolCall<'_>> = (0..40_u32)
        .map(|n| {
            let id = 9_000 + u64::from(n);
            call(night + f64::from(n) * 60.0, id, "tool-1", id)
        })
        .collect();
    assert_eq!(written((&rules, &mut state.clone()), &Expectations::new(), &calls), []);
    let records = written((&rules, &mut state), &said, &calls);
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0].detector.as_deref(), Some("unusual_hour"));
}

#[test]
fn a_level_that_a_person_expects_is_written_where_it_silences() {
    let rules = rules();
    let level = subjects::level(crate::policy::Detector::Repeat, 1_000, "equal calls");
    let mut state = known_agent(&rules);
    let alerts = run(&rules, &mut state.clone(), &looped(30, 1.0));
    assert!(alerts.iter().any(|alert| alert.detector == "repeat"));
    let records = written((&rules, &mut state), &expected(level), &looped(30, 1.0));
    let of_it = |record: &&AuditRecord| record.detector.as_deref() == Some("repeat");
    assert_eq!(records.iter().filter(of_it).count(), 1, "{records:?}");
}

#[test]
fn a_day_has_so_many_records_and_the_last_one_says_so() {
    let mut rules = rules();
    rules.limits.tools_per_agent = 40;
    let mut state = known_agent(&rules);
    let names: Vec<String> = (0..300).map(|n| format!("made-up-{n}")).collect();
    let mut records = Vec::new();
    // Thirty-odd tools of three days, then names without end that push all of them out.
    for (day, tools) in
        [(0.0, &names[..38]), (1.0, &names[..38]), (2.0, &names[..38]), (2.01, &names[38..])]
    {
        let calls: Vec<ToolCall<'_>> = (0..)
            .zip(tools)
            .map(|(n, tool)| {
                let id = 20_000 + n;
                let secs = MORNING + day * DAY + f64::from(u32::try_from(n).unwrap());
                let call = call(secs, id, tool, id);
                ToolCall { call_id: format!("{day}-{n}").into(), ..call }
            })
            .collect();
        records.extend(written((&rules, &mut state), &Expectations::new(), &calls));
    }
    let mut days: Vec<&str> =
        records.iter().map(|record| record.time.split('T').next().unwrap_or_default()).collect();
    days.dedup();
    assert!(days.len() >= 2, "{days:?}");
    for day in days {
        let of_day: Vec<&AuditRecord> =
            records.iter().filter(|record| record.time.starts_with(day)).collect();
        assert!(of_day.len() <= usize::from(RECORDS_A_DAY), "{}", of_day.len());
    }
    let forgotten: Vec<&AuditRecord> =
        records.iter().filter(|record| record.kind == AuditKind::ToolForgotten).collect();
    assert!(forgotten.last().unwrap().reason.ends_with("more are left out."), "{forgotten:?}");
    let full = records.iter().filter(|record| record.kind == AuditKind::ToolAdopted);
    assert!(full.clone().count() > usize::from(RECORDS_A_DAY) - 2);
}
