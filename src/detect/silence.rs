//! A steady agent that has stopped: judged by time passing, so no call causes its alert.
//!
//! Fires only if the evidence suffices, the pause is longer than any before, and the agent seldom
//! pauses when calls are expected. Moments at which something is decided depend on the agent's
//! calls alone, never on when time was let pass. The episode lasts until the agent is back.

use crate::alert::{AlertId, Episode, Expected, Learning, score};
use crate::baseline::peers::Peers;
use crate::baseline::steady::{Steady, Trust};
use crate::detect::agent::AgentState;
use crate::detect::episodes::{Cause, Description, Open, resolve};
use crate::detect::{Context, Verdict, subjects, words};
use crate::event::Timestamp;
use crate::policy::{Detector, Rule, Rules, SilenceParameters};

/// Something that happens without a call.
#[derive(Clone, Copy)]
enum Moment {
    /// An hour ends, and another rate is usual.
    HourEnds(Timestamp),
    /// The agent has stopped.
    Stopped(Timestamp),
}

impl Moment {
    const fn time(self) -> Timestamp {
        match self {
            Self::HourEnds(time) | Self::Stopped(time) => time,
        }
    }
}

/// Lets time reach `now`, in the order of what happens: ends what is over, and tells of silence.
pub(crate) fn settle(
    context: &Context<'_>,
    state: &mut AgentState,
    now: Timestamp,
    verdict: &mut Verdict,
) {
    let wake = state.steady().and_then(Steady::wake);
    if let Some(rule) = &context.rules.silence
        && wake.is_some_and(|wake| wake <= now)
        && now < Timestamp::MAX
    {
        while let Some(moment) = next(rule, context, state).filter(|next| next.time() <= now) {
            pass(context, state, moment, verdict);
        }
        let next = next(rule, context, state).map(Moment::time);
        if let Some(steady) = state.steady_mut() {
            steady.set_wake(next);
        }
    }
    state.settle(now, verdict);
}

/// What happens next without a call, if the agent's silence is judged at all.
fn next(
    rule: &Rule<SilenceParameters>,
    context: &Context<'_>,
    state: &AgentState,
) -> Option<Moment> {
    let steady = state.steady()?;
    let is_judged = steady.trust_low() == Trust::Active
        && !steady.is_away()
        && !state.is_open(Detector::Silence);
    if !is_judged {
        return None;
    }
    let end = steady.hour_end();
    let said = context.expectations.said(state.agent, state.group, end);
    let expected = said.expected_level(Detector::Silence).unwrap_or(0.0);
    let calls = rule.parameters.calls_min.max(expected);
    let stop = steady.stops_at(1.0 / rule.words.budget, calls);
    Some(stop.map_or(Moment::HourEnds(end), Moment::Stopped))
}

fn pass(context: &Context<'_>, state: &mut AgentState, moment: Moment, verdict: &mut Verdict) {
    state.settle(moment.time(), verdict);
    if let Some(steady) = state.steady_mut() {
        steady.pass(moment.time());
    }
    if let (Moment::Stopped(time), Some(rule)) = (moment, &context.rules.silence) {
        tell(context.rules, rule, state, time, verdict);
    }
}

/// Arms what has to happen without a call, after a call; looked at once an hour, because a call
/// never makes it come sooner.
pub(crate) fn arm(rules: &Rules, is_first_of_hour: bool, state: &mut AgentState) {
    if rules.silence.is_none() {
        return;
    }
    let newest = state.newest;
    if let Some(steady) = state.steady_mut()
        && (is_first_of_hour || steady.wake().is_some_and(|wake| wake <= newest))
    {
        let is_judged = steady.trust_low() == Trust::Active;
        let end = steady.hour_end();
        // The end of the hour at the latest; sooner if a stop can be seen sooner.
        let stop = is_judged.then(|| steady.stops_at(0.0, 0.0)).flatten();
        steady.set_wake(is_judged.then(|| stop.map_or(end, |stop| stop.min(end))));
    }
}

/// Ends a silence with the call at `time`.
pub(crate) fn end(state: &mut AgentState, time: Timestamp, verdict: &mut Verdict) {
    let place = state.open.iter().position(|open| open.detector == Detector::Silence);
    if let Some(mut open) = place.and_then(|place| state.open.remove(place)) {
        open.episode.last = open.episode.last.max(time);
        verdict.alerts.push(resolve(&open, time));
        if let Some(steady) = state.steady_mut() {
            steady.set_wake(Some(time));
        }
    }
}

fn tell(
    rules: &Rules,
    rule: &Rule<SilenceParameters>,
    state: &mut AgentState,
    time: Timestamp,
    verdict: &mut Verdict,
) {
    let Some(steady) = state.steady() else { return };
    let words = &rule.words;
    let ratio = (steady.stopped() * words.budget).max(1.0);
    let learning = state.learning_of(Detector::Silence, rules, &Peers::default());
    let cause = Cause {
        time,
        call: None,
        learning: Learning { peers: steady.peers, ..learning },
        excess: steady.excess.as_deref().copied(),
        common: None,
    };
    let alert = state.alert_of(cause, words, (score(ratio), ratio), describe(state, steady));
    let id = AlertId::derive(&words.id, &state.tenant_id, &state.agent_id, (time, ""));
    let mut episode = Episode::open(id, time, alert.score, Vec::new());
    episode.calls = 0;
    episode.last_summary.clone_from(&alert.summary);
    state.open.push(Open::without_call(Detector::Silence, episode, &alert));
    verdict.alerts.push(alert);
    state.weigh_silence(rules, time, verdict);
}

fn describe(state: &AgentState, steady: &Steady) -> Description {
    let (start, secs, missed) = steady.pause();
    let (span, low) = (words::span(secs), libm::floor(missed - 2.0 * libm::sqrt(missed)).max(1.0));
    Description {
        summary: format!(
            "{} has made no call for {span}; about {missed:.0} are usual in that time, and no pause before was longer than {:.0}.",
            words::quote(&state.agent_id),
            steady.longest_pause(),
        ),
        expected: Expected {
            low,
            high: libm::ceil(missed + 2.0 * libm::sqrt(missed)),
            unit: format!("calls in {span}"),
            basis: format!(
                "its rate at this hour and day of the week, from {} days",
                steady.days()
            ),
        },
        observed: 0.0,
        start,
        counterfactual: "silent if one call had come by then".to_owned(),
        evidence: Vec::new(),
        evidence_total: 0,
        subjects: vec![subjects::amount(
            Detector::Silence,
            libm::ceil(missed),
            &format!("a pause of {missed:.0} expected calls"),
        )],
    }
}
