//! Work in an hour of the UTC day in which this agent never worked, and not next to one.
//!
//! A rule more than a statistic: on real agents it has been wrong on none of 51 days, so what it
//! finds is given a fixed chance. An agent that works a few times a day at any hour shows that this
//! chance is not its own: after three alerts it is given the share of its days that had one, so that
//! it stays within the budget, and learns its hours without a word.

use crate::alert::{AuditKind, Expected};
use crate::baseline::float;
use crate::detect::agent::{AgentState, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::{Judgement, Verdict, subjects, words};
use crate::event::Timestamp;
use crate::policy::{Rule, Stance, UnusualHourParameters};

/// The chance of a strange hour in one active day. With the shipped budget the score is 45.
const CHANCE: f64 = 0.011_25;

/// Alerts after which an agent's own share of days with one counts.
const OWN_AFTER: u64 = 3;

/// The chance that this agent works in a strange hour on an active day.
fn chance(state: &AgentState) -> f64 {
    match state.hours.alerts() {
        alerts if alerts < OWN_AFTER => CHANCE,
        alerts => CHANCE.max(float(alerts) / float(u64::from(state.history.days).max(1))),
    }
}

/// Judges one call.
pub(crate) fn observe(judgement: &Judgement<'_>, state: &mut AgentState, verdict: &mut Verdict) {
    let Some(rule) = &judgement.rules.unusual_hour else { return };
    let calls = state.hours.add(judgement.moment.hour);
    if calls == 0 {
        return;
    }
    let stance = stance(judgement);
    let is_known = !state.hours.is_strange() && stance != Some(Stance::NotExpected);
    if state.history.days < rule.parameters.days_min || is_known {
        state.hours.learn();
        return;
    }
    if stance == Some(Stance::Expected) {
        // Neither told nor learned: taken back, it fires as before.
        if calls >= rule.parameters.calls_min {
            let subject = subjects::hour(judgement.call.time.hour_of_day());
            let key = (rule.words.detector, subject.hash.0);
            state.audit_word(judgement, key, verdict, || subject);
        }
        return;
    }
    let ratio = rule.words.budget / chance(state);
    if ratio < 1.0 {
        state.hours.learn();
        return;
    }
    if calls < rule.parameters.calls_min {
        return;
    }
    state.weigh(judgement, (rule.words.detector, ratio), verdict);
    state.report(judgement, (&rule.words, ratio), verdict, |state| {
        describe(judgement, rule, state, calls)
    });
    let Some(days) = state.hours.note_alert() else { return };
    let kind = (AuditKind::HourAccepted, Some(rule.words.detector));
    state.audit(judgement, kind, verdict, |state| {
        let hour = subjects::hour(judgement.call.time.hour_of_day());
        let (agent, days) = (words::quote(&state.agent_id), words::count(days, "day"));
        let reason =
            format!("{agent} was told of at work in {} on {days}: it is usual now.", hour.shown);
        (Some(hour), reason)
    });
}

/// What was said of this hour, or that one next to it is expected: as with hours that are learned,
/// work next to an hour of work is no news.
fn stance(judgement: &Judgement<'_>) -> Option<Stance> {
    if judgement.said.is_nothing() {
        return None;
    }
    let hour = judgement.call.time.hour_of_day();
    judgement.said.of_hour(hour).or_else(|| {
        let beside = [hour + 1, hour + 23].map(|hour| judgement.said.of_hour(hour));
        beside.contains(&Some(Stance::Expected)).then_some(Stance::Expected)
    })
}

fn describe(
    judgement: &Judgement<'_>,
    rule: &Rule<UnusualHourParameters>,
    state: &AgentState,
    calls: u32,
) -> Description {
    let call = judgement.call;
    let hour = call.time.hour_of_day();
    Description {
        summary: format!(
            "{} is at work between {hour:02}:00 and {:02}:00 UTC, as on none of its {} before; it usually works at {} UTC.",
            words::quote(&state.agent_id),
            (hour + 1) % 24,
            words::count(state.history.days, "active day"),
            state.hours.usual(),
        ),
        expected: Expected {
            low: 0.0,
            high: 0.0,
            unit: format!("calls between {hour:02}:00 and {:02}:00 UTC", (hour + 1) % 24),
            basis: words::count(state.history.days, "active day"),
        },
        observed: f64::from(calls),
        start: Timestamp::from_hour(call.time.hour()),
        counterfactual: format!(
            "silent if at most {} calls in the hour, or with work in it or next to it on an earlier day",
            rule.parameters.calls_min.saturating_sub(1)
        ),
        evidence: with_trigger(&[], call),
        evidence_total: u64::from(calls),
        subjects: vec![subjects::hour(hour)],
    }
}
