//! More or fewer calls than a steady agent makes at this hour of this day: a rate that has changed.
//!
//! For services only: agents at work around the clock, whose evidence keeps its promises. All
//! others are judged by the busiest minute of each day. Too many is told at once, in the open
//! bucket; too few when a call shows that the agent is still there.

use crate::alert::{AuditKind, Expected};
use crate::baseline::realised::Excess;
use crate::baseline::steady::{Since, Steady, Trust};
use crate::detect::agent::{AgentState, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::shadow::LOWEST;
use crate::detect::{Judgement, Verdict, subjects, words};
use crate::event::Timestamp;
use crate::policy::{Detector, RateShiftParameters, Rule};

/// An agent that is not trusted and was seen in fewer hours of a day is forgotten as a service.
const HOURS_LOST: u32 = 8;

/// Ends the day before the call that is judged, if it is over: begins to learn an agent that was
/// at work around the clock, and gives up one that is not. Returns which of the two it did, to be
/// written down on the day that begins.
pub(crate) fn end_day(judgement: &Judgement<'_>, state: &mut AgentState) -> Option<AuditKind> {
    let (rules, time) = (judgement.rules, judgement.call.time);
    let mut changed = None;
    if rules.rate_shift.is_none() && rules.silence.is_none() {
        return changed;
    }
    if time.day() > state.history.today() {
        // From midnight on, so that the day is a whole one however late its first call is.
        let midnight = Timestamp::from_secs(time.day().saturating_mul(86_400));
        let hours = state.hours_seen.count_ones();
        let parameters = rules.rate_shift.as_ref().map(|rule| rule.parameters).unwrap_or_default();
        let is_lost = |steady: &Steady| steady.trust() != Trust::Active && hours < HOURS_LOST;
        if state.steady.as_deref().is_some_and(is_lost) {
            state.steady = None;
            changed = Some(AuditKind::ServiceForgotten);
        } else if state.steady.is_none() && hours >= parameters.hours_min {
            state.steady = Some(Box::new(Steady::new(state.history.calls_today, midnight)));
            changed = Some(AuditKind::ServiceBegun);
        }
        state.hours_seen = 0;
    }
    state.hours_seen |= 1 << time.hour_of_day();
    changed
}

/// Writes down that an agent is learned as a service from now on, or no longer is.
pub(crate) fn audit(
    judgement: &Judgement<'_>,
    kind: AuditKind,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    state.audit(judgement, (kind, Some(Detector::RateShift)), verdict, |state| {
        let agent = words::quote(&state.agent_id);
        let reason = if kind == AuditKind::ServiceBegun {
            format!("{agent} was at work around the clock: its rate is learned from now on.")
        } else {
            format!(
                "{agent} was at work in fewer than {HOURS_LOST} hours of a day: what was learned of its rate is forgotten."
            )
        };
        (None, reason)
    });
}

/// Counts one call and judges what it makes of the rate.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    is_first_of_hour: bool,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let is_flooded = state.is_open(Detector::Repeat) || state.is_open(Detector::CallRate);
    let is_due = is_first_of_hour && state.steady.is_some();
    let known = is_due.then(|| of_peers(judgement, state));
    let Some(steady) = state.steady.as_deref_mut() else { return };
    steady.add_call(judgement.call.time);
    if let Some(known) = known {
        (steady.peers, steady.excess) = known;
    }
    if is_flooded {
        steady.distrust();
    }
    let Some(rule) = &judgement.rules.rate_shift else { return };
    let is_up = steady.many() >= steady.few().min(1.0 / rule.words.budget);
    let evidence = if is_up { steady.many() } else { steady.few() };
    let ratio = evidence * rule.words.budget;
    if ratio < LOWEST {
        return;
    }
    let trust = if is_up { steady.trust() } else { steady.trust_low() };
    let (since, usual) = (steady.since(is_up), steady.hourly());
    let hourly = f64::from(since.calls) / (since.secs / 3_600.0);
    if trust != Trust::Active || since.calls < rule.parameters.calls_min {
        return;
    }
    let expected = judgement.said.expected_level(Detector::RateShift);
    let is_expected =
        |level: f64| if is_up { hourly <= level } else { level <= hourly && level < usual };
    if expected.is_some_and(is_expected) {
        if ratio >= 1.0 {
            state.audit_level(judgement, (Detector::RateShift, hourly), verdict);
        }
        return;
    }
    state.weigh(judgement, (Detector::RateShift, ratio), verdict);
    if ratio >= 1.0 {
        state.report(judgement, (&rule.words, ratio), verdict, |state| {
            describe(judgement, rule, state, (since, is_up))
        });
    }
}

/// What the agent's peers tell at the first call of an hour, for alerts that no call causes.
fn of_peers(judgement: &Judgement<'_>, state: &AgentState) -> (u32, Option<Box<Excess>>) {
    let peers = u32::try_from(state.peer_count(judgement.peers)).unwrap_or(u32::MAX);
    let rule = judgement.rules.silence.as_ref();
    let excess = rule.and_then(|rule| state.excess(&rule.words, judgement.peers));
    (peers, excess.map(Box::new))
}

fn describe(
    judgement: &Judgement<'_>,
    rule: &Rule<RateShiftParameters>,
    state: &AgentState,
    (since, is_up): (Since, bool),
) -> Description {
    let span = words::span(since.secs);
    let (low, high) = (libm::floor(since.usual.0), libm::ceil(since.usual.1));
    let level = 1.0 / rule.words.budget;
    let steady = state.steady.as_deref();
    let days = steady.map_or(0, Steady::days);
    let change = if is_up {
        let fewer = steady.map_or(0, |steady| steady.calls_too_many(level, since.calls));
        format!("at most {}", since.calls.saturating_sub(fewer))
    } else {
        let more = steady.map_or(0, |steady| steady.calls_too_few(level));
        format!("at least {}", since.calls.saturating_add(more))
    };
    let hourly = f64::from(since.calls) / (since.secs / 3_600.0);
    Description {
        summary: format!(
            "{} made {} in {span}; at this hour {low:.0} to {high:.0} are usual.",
            words::quote(&state.agent_id),
            words::count(since.calls, "call"),
        ),
        expected: Expected {
            low,
            high,
            unit: format!("calls in {span}"),
            basis: format!("its rate at this hour and day of the week, from {days} days"),
        },
        observed: f64::from(since.calls),
        start: since.start,
        counterfactual: format!("silent if {change} calls in {span}"),
        evidence: with_trigger(&[], judgement.call),
        evidence_total: u64::from(since.calls.max(1)),
        subjects: vec![subjects::amount(
            Detector::RateShift,
            words::tenth(hourly),
            &format!("{hourly:.0} calls an hour"),
        )],
    }
}
