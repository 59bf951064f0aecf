//! Known tools given arguments of shapes that neither the agent nor its peers ever gave them.
//!
//! The shape is the keys and types of the arguments, not their values. A single new shape is an
//! optional argument and says nothing; several within half an hour, of tools long in use, are a
//! tool used for something else, or by something else. Each shape counts once, because a Bloom of
//! sixteen bits a tool remembers it from then on, alert or not: a bound of two bytes, at the price
//! that a burst cannot alert twice.

use crate::alert::{EPISODE_GAP_SECS, Evidence, Expected};
use crate::baseline::peers::Fact;
use crate::baseline::shapes::{rate, silent_weight, tail};
use crate::baseline::tools::{ShapeUse, Use};
use crate::detect::agent::{AgentState, ShapeBurst, keep, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::{Judgement, Verdict, subjects, words};
use crate::policy::{ArgumentShapeParameters, Detector, Rule};

/// What a new shape of a reading call weighs; of an acting one it is 1.
const READING_WEIGHT: f64 = 0.5;

/// Judges one call, of whose tool `used` tells.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    used: Use,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let call = judgement.call;
    if call.arguments.shape == 0 {
        return;
    }
    let shape = state.tools.note_shape(&used, call.arguments.shape);
    if !shape.is_new {
        return;
    }
    // Peers hear of no more new tools than are listed, so they hear of no shapes of the others.
    let is_told = verdict.facts.iter().any(|fact| matches!(fact, Fact::Tool { .. }));
    if !used.is_first || is_told {
        verdict.facts.push(Fact::Shape { tool: judgement.tool, place: shape.place });
    }
    let Some(rule) = &judgement.rules.argument_shape else { return };
    if is_strange(judgement, &rule.parameters, state, shape) && used.is_adopted {
        judge(judgement, rule, state, verdict);
    }
}

/// Whether the tool is in use for long enough, and no peer knows the shape either.
fn is_strange(
    judgement: &Judgement<'_>,
    parameters: &ArgumentShapeParameters,
    state: &AgentState,
    shape: ShapeUse,
) -> bool {
    let is_mature = !state.is_learning() && shape.days >= parameters.days_min;
    let group = judgement.group;
    let tool_use = group.and_then(|group| group.tool(judgement.tool));
    // Of one's own shapes none shares its sixteenth with a new one, so what is known is a peer's.
    let is_known = tool_use.is_some_and(|tool_use| tool_use.knows_shape(shape.place));
    is_mature && !shape.is_first && !is_known
}

fn judge(
    judgement: &Judgement<'_>,
    rule: &Rule<ArgumentShapeParameters>,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let weight = join_burst(judgement, state);
    let budget = budget(judgement, rule, state);
    let rate = rate(state.shape_bursts, state.history.days);
    let ratio = budget / tail(rate, weight).max(1e-12);
    if weight < rule.parameters.weight_min {
        return;
    }
    state.weigh(judgement, (Detector::ArgumentShape, ratio), verdict);
    if ratio < 1.0 {
        return;
    }
    take_back(state);
    let silent = silent_weight(rate, budget).max(rule.parameters.weight_min);
    state.report(judgement, (&rule.words, ratio), verdict, |state| {
        describe(judgement, state, (weight, silent))
    });
}

/// Makes the call part of the burst, which counts as a discovery from its first call on.
fn join_burst(judgement: &Judgement<'_>, state: &mut AgentState) -> f64 {
    let call = judgement.call;
    let is_over = |burst: &ShapeBurst| call.time > burst.last.plus_secs(EPISODE_GAP_SECS);
    let live = state.live();
    if live.trails.shape_burst().is_none_or(is_over) {
        live.trails.begin_shape_burst(ShapeBurst {
            weight: 0.0,
            calls: 0,
            started: call.time,
            last: call.time,
            has_alerted: false,
            trail: Vec::new(),
        });
        state.shape_bursts = state.shape_bursts.saturating_add(1);
    }
    let Some(burst) = state.live().trails.shape_burst_mut() else { return 0.0 };
    burst.weight += if call.operation.is_acting() { 1.0 } else { READING_WEIGHT };
    burst.calls = burst.calls.saturating_add(1);
    burst.started = burst.started.min(call.time);
    burst.last = burst.last.max(call.time);
    keep(&mut burst.trail, call);
    burst.weight
}

/// A burst that alerts is no discovery.
fn take_back(state: &mut AgentState) {
    if let Some(burst) = state.live().trails.shape_burst_mut()
        && !std::mem::replace(&mut burst.has_alerted, true)
    {
        state.shape_bursts = state.shape_bursts.saturating_sub(1);
    }
}

/// The budget of this agent: less for one that has hardly anybody to be compared with.
fn budget(
    judgement: &Judgement<'_>,
    rule: &Rule<ArgumentShapeParameters>,
    state: &AgentState,
) -> f64 {
    let is_lonely = state.peer_count(judgement.peers) < 2;
    rule.words.budget * if is_lonely { rule.parameters.lonely_budget } else { 1.0 }
}

fn describe(
    judgement: &Judgement<'_>,
    state: &AgentState,
    (weight, silent): (f64, f64),
) -> Description {
    let call = judgement.call;
    let burst = state.live.as_ref().and_then(|live| live.trails.shape_burst());
    let (calls, started, trail): (u32, _, &[Evidence]) =
        burst.map_or((1, call.time, &[]), |burst| (burst.calls, burst.started, &burst.trail));
    Description {
        summary: format!(
            "{} gave tools it knows, {} the latest, {} of a shape that neither it nor its peers used before: {} in {}.",
            words::quote(&state.agent_id),
            words::quote(&call.tool_name),
            if calls == 1 { "arguments" } else { "sets of arguments" },
            words::count(calls, "call"),
            words::span(call.time.secs_since(started)),
        ),
        expected: Expected {
            low: 0.0,
            high: 1.0,
            unit: "new shapes of arguments within 30 min, reading calls half".to_owned(),
            basis: format!(
                "{} with {} of new shapes",
                words::count(state.history.days, "active day"),
                words::count(state.shape_bursts, "burst")
            ),
        },
        observed: words::tenth(weight),
        start: started,
        counterfactual: format!("silent if the new shapes weighed less than {silent:.1} together"),
        evidence: with_trigger(trail, call),
        evidence_total: u64::from(calls),
        subjects: vec![subjects::tool(judgement)],
    }
}
