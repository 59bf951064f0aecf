//! More or fewer calls than a steady agent makes at this hour of this day: a rate that has changed.
//! Where calls come in runs, more or fewer starts of runs as well.
//!
//! For services only: agents at work around the clock, whose evidence keeps its promises. All
//! others are judged by the busiest minute of each day. Too many is told at once, in the open
//! bucket; too few when a call shows that the agent is still there.

use crate::alert::{AuditKind, Expected};
use crate::baseline::realised::Excess;
use crate::baseline::steady::{Since, Steady, Trust};
use crate::detect::agent::{AgentState, Service, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::shadow::LOWEST;
use crate::detect::{Judgement, Verdict, subjects, words};
use crate::event::Timestamp;
use crate::policy::{Detector, RateShiftParameters, Rule};

/// An agent that is not trusted and was seen in fewer hours of a day is forgotten as a service.
const HOURS_LOST: u32 = 8;

impl AgentState {
    /// What is learned of the calls of an agent that may be steady.
    pub(crate) fn steady(&self) -> Option<&Steady> {
        self.service.as_deref().map(|service| &service.calls)
    }

    /// The same, to go on with.
    pub(crate) fn steady_mut(&mut self) -> Option<&mut Steady> {
        self.service.as_deref_mut().map(|service| &mut service.calls)
    }

    /// The same of the starts of runs, where calls come in runs.
    pub(crate) fn run_starts(&self) -> Option<&Steady> {
        self.service.as_deref().and_then(|service| service.starts.as_deref())
    }
}

/// Ends the day before the call that is judged, if it is over: begins to learn an agent that was
/// at work around the clock, and gives up one that is not. Returns which of the two it did, to be
/// written down on the day that begins.
pub(crate) fn end_day(judgement: &Judgement<'_>, state: &mut AgentState) -> Option<AuditKind> {
    let (rules, moment) = (judgement.rules, judgement.moment);
    let mut changed = None;
    if rules.rate_shift.is_none() && rules.silence.is_none() {
        return changed;
    }
    if moment.day > state.history.today() {
        // From midnight on, so that the day is a whole one however late its first call is.
        let midnight = Timestamp::from_secs(moment.day.saturating_mul(86_400));
        let hours = state.hours_seen.count_ones();
        let parameters = rules.rate_shift.as_ref().map(|rule| rule.parameters).unwrap_or_default();
        let is_lost = |steady: &Steady| steady.trust() != Trust::Active && hours < HOURS_LOST;
        if state.steady().is_some_and(is_lost) {
            state.service = None;
            changed = Some(AuditKind::ServiceForgotten);
        } else if state.service.is_none() && hours >= parameters.hours_min {
            let calls = Steady::new(state.history.calls_today, midnight);
            state.service = Some(Box::new(Service { calls, starts: None }));
            changed = Some(AuditKind::ServiceBegun);
        }
        if let Some(service) = &mut state.service {
            // As if all hours were as busy as the busiest two, to begin with: the first week tells, if
            // its hours are not cut for being many times too many.
            let runs = state.peaks.runs_today().saturating_mul(12).max(hours);
            let first = || Box::new(Steady::new(runs, midnight));
            let known = service.starts.take();
            let is_batched = service.calls.may_be_batched();
            service.starts = is_batched.then(|| known.unwrap_or_else(first));
        }
        state.hours_seen = 0;
    }
    state.hours_seen |= 1 << moment.hour_of_day;
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

/// What is counted.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Calls,
    /// Starts of runs: of an agent whose calls come in runs they tell more, because calls of one run
    /// say little more than that there was one.
    Runs,
}

/// What one kind of evidence makes of the rate.
struct Reading {
    unit: Unit,
    is_up: bool,
    ratio: f64,
    /// The evidence at which it would just fire.
    level: f64,
    since: Since,
    /// Calls an hour since then, and the usual ones.
    hourly: f64,
    usual: f64,
}

/// Counts one call, the first of its hour or of its run, and judges what it makes of the rate.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    (is_first_of_hour, begins_run): (bool, bool),
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    if state.service.is_none() {
        return;
    }
    count(judgement, (is_first_of_hour, begins_run), state);
    let Some(rule) = &judgement.rules.rate_shift else { return };
    let runs = begins_run.then(|| read(rule, state, Unit::Runs)).flatten();
    let calls = read(rule, state, Unit::Calls);
    let readings = [runs, calls].into_iter().flatten();
    let Some(reading) = readings.reduce(|a, b| if b.ratio >= a.ratio { b } else { a }) else {
        return;
    };
    let Reading { is_up, ratio, hourly, usual, .. } = reading;
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
            describe(judgement, state, &reading)
        });
    }
}

fn count(
    judgement: &Judgement<'_>,
    (is_first_of_hour, begins_run): (bool, bool),
    state: &mut AgentState,
) {
    let is_flooded = state.is_open(Detector::Repeat) || state.is_open(Detector::CallRate);
    let known = is_first_of_hour.then(|| of_peers(judgement, state));
    let Some(Service { calls, starts }) = state.service.as_deref_mut() else { return };
    if let Some(known) = known {
        (calls.peers, calls.excess) = known;
    }
    let starts = starts.as_deref_mut().filter(|_| begins_run);
    for steady in [Some(calls), starts].into_iter().flatten() {
        steady.add_call(judgement.call.time);
        if is_flooded {
            steady.distrust();
        }
    }
}

/// Reads one kind of evidence; `None` when it says too little, or may not be trusted.
fn read(rule: &Rule<RateShiftParameters>, state: &AgentState, unit: Unit) -> Option<Reading> {
    let (calls, runs) = (state.steady()?, state.run_starts());
    let steady = if unit == Unit::Runs { runs? } else { calls };
    // Where both are judged each has half of the budget.
    let shared = runs.is_some_and(|runs| runs.trust() == Trust::Active);
    let budget = rule.words.budget * if shared { 0.5 } else { 1.0 };
    let is_up = steady.many() >= steady.few().min(1.0 / budget);
    let ratio = if is_up { steady.many() } else { steady.few() } * budget;
    if ratio < LOWEST {
        return None;
    }
    let trust = if is_up { steady.trust() } else { steady.trust_low() };
    let since = steady.since(is_up);
    if trust != Trust::Active || since.calls < rule.parameters.calls_min {
        return None;
    }
    // People think in calls, and accept a level in calls.
    let a_run = calls.hourly() / steady.hourly().max(1e-9);
    let hourly = f64::from(since.calls) / (since.secs / 3_600.0) * a_run;
    let (level, usual) = (1.0 / budget, calls.hourly());
    Some(Reading { unit, is_up, ratio, level, since, hourly, usual })
}

/// What the agent's peers tell at the first call of an hour, for alerts that no call causes.
fn of_peers(judgement: &Judgement<'_>, state: &AgentState) -> (u32, Option<Box<Excess>>) {
    let peers = u32::try_from(state.peer_count(judgement.peers)).unwrap_or(u32::MAX);
    let rule = judgement.rules.silence.as_ref();
    let excess = rule.and_then(|rule| state.excess(&rule.words, judgement.peers));
    (peers, excess.map(Box::new))
}

fn describe(judgement: &Judgement<'_>, state: &AgentState, reading: &Reading) -> Description {
    let &Reading { unit, is_up, level, since, hourly, .. } = reading;
    let (steady, thing, done) = match unit {
        Unit::Calls => (state.steady(), "call", "made"),
        Unit::Runs => (state.run_starts(), "run", "began"),
    };
    let span = words::span(since.secs);
    let (low, high) = (libm::floor(since.usual.0), libm::ceil(since.usual.1));
    let days = steady.map_or(0, Steady::days);
    let change = if is_up {
        let fewer = steady.map_or(0, |steady| steady.calls_too_many(level, since.calls));
        format!("at most {}", since.calls.saturating_sub(fewer))
    } else {
        let more = steady.map_or(0, |steady| steady.calls_too_few(level));
        format!("at least {}", since.calls.saturating_add(more))
    };
    Description {
        summary: format!(
            "{} {done} {} in {span}; at this hour {low:.0} to {high:.0} are usual.",
            words::quote(&state.agent_id),
            words::count(since.calls, thing),
        ),
        expected: Expected {
            low,
            high,
            unit: format!("{thing}s in {span}"),
            basis: format!("its rate at this hour and day of the week, from {days} days"),
        },
        observed: f64::from(since.calls),
        start: since.start,
        counterfactual: format!("silent if {change} {thing}s in {span}"),
        evidence: with_trigger(&[], judgement.call),
        evidence_total: u64::from(since.calls.max(1)),
        subjects: vec![subjects::amount(
            Detector::RateShift,
            words::tenth(hourly),
            &format!("{hourly:.0} calls an hour"),
        )],
    }
}
