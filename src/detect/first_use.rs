//! Every first use of a tool or MCP server by an agent that has a history: listed, never paged.
//!
//! Most first uses are single harmless calls. They are findings: one object each, no episode, and
//! a score that wakes nobody. Learning what tools an agent has happens here, with or without the
//! rule, because `new_tool` rests on it.

use crate::alert::{Evidence, Expected, LEARNING_SCORE_MAX, score};
use crate::baseline::peers::Fact;
use crate::baseline::tools::{Adoption, Use};
use crate::detect::agent::AgentState;
use crate::detect::episodes::Description;
use crate::detect::grouping::product;
use crate::detect::{Bound, Judgement, Verdict, audit, subjects, words};
use crate::policy::{Catalogue, FirstUseParameters, Rule, Stance};

/// First uses of one agent a day that its peers hear of when no rule sets a bound. An agent that
/// invents names must not fill its group's table.
const FIRST_USES_MAX: u32 = 100;

/// Notes the use of a tool and lists it when it is the first.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    state: &mut AgentState,
    verdict: &mut Verdict,
) -> Use {
    let is_learning = state.is_learning();
    let max = judgement.rules.limits.tools_per_agent;
    let time = judgement.call.time;
    let stance = judgement.said.of_tool(judgement.tool);
    let adoption = match stance {
        // A person decided: the tool neither becomes known by use nor is forgotten.
        Some(_) => Adoption::Never,
        None if is_learning => Adoption::AtOnce,
        None => Adoption::AfterDays,
    };
    let used = state.tools.note(judgement.tool_id(), time, adoption, max);
    if stance.is_none() && used.is_nothing_new() {
        return used;
    }
    news(judgement, (used, stance, is_learning), state, verdict)
}

/// What there is to say of a use that changed what is known, or that a person has spoken of.
#[cold]
fn news(
    judgement: &Judgement<'_>,
    (mut used, stance, is_learning): (Use, Option<Stance>, bool),
    state: &mut AgentState,
    verdict: &mut Verdict,
) -> Use {
    if used.forgot.is_some() {
        verdict.bounds.note(Bound::Tools);
    }
    audit::of_tool(judgement, (used, stance), state, verdict);
    if let Some(stance) = stance {
        used.is_adopted = stance == Stance::Expected;
    }
    if !used.is_first {
        return used;
    }
    let rule = judgement.rules.first_use.as_ref();
    state.first_uses = state.first_uses.saturating_add(1);
    let listed_max = rule.map_or(FIRST_USES_MAX, |rule| rule.parameters.listed_a_day);
    if u32::from(state.first_uses) > listed_max {
        verdict.bounds.note(Bound::FirstUses);
        return used;
    }
    verdict.facts.push(Fact::Tool {
        tool: judgement.tool,
        agent: state.agent,
        hour: judgement.moment.hour,
        began: !is_learning,
    });
    if let Some(rule) = rule
        && !is_learning
        && stance != Some(Stance::Expected)
    {
        list(judgement, rule, used, (state, verdict));
    }
    used
}

fn list(
    judgement: &Judgement<'_>,
    rule: &Rule<FirstUseParameters>,
    used: Use,
    (state, verdict): (&AgentState, &mut Verdict),
) {
    let group = judgement.group;
    let rate = state.discoveries.rate(state.history.days, group);
    let ratio = rule.words.budget / rate.max(1e-12);
    let score = score(ratio).min(LEARNING_SCORE_MAX);
    let description = describe(judgement, state, used);
    verdict.alerts.push(state.alert(judgement, &rule.words, (score, ratio), description));
}

fn describe(judgement: &Judgement<'_>, state: &AgentState, used: Use) -> Description {
    let call = judgement.call;
    let server = call.tool_server.as_deref().map_or(String::new(), |server| {
        let news = if used.is_first_of_server { ", itself new to it" } else { "" };
        format!(" of MCP server {}{news}", words::quote(server))
    });
    Description {
        summary: format!(
            "{} used {}{server} for the first time in {}; {}.",
            words::quote(&state.agent_id),
            words::quote(&call.tool_name),
            words::count(state.history.days, "active day"),
            peers_using(judgement, state),
        ),
        expected: Expected {
            low: 0.0,
            high: 0.0,
            unit: "calls of this tool".to_owned(),
            basis: format!(
                "{} on {}",
                words::count(state.history.calls.saturating_sub(1), "call"),
                words::count(state.history.days, "active day")
            ),
        },
        observed: 1.0,
        start: call.time,
        counterfactual: "silent if the agent had used the tool before".to_owned(),
        evidence: vec![Evidence::of(call)],
        evidence_total: 1,
        subjects: vec![subjects::tool(judgement)],
    }
}

/// The catalogue that stands in for peers, and whether it lists the tool. Where there are peers
/// they know better than a list what the product's agents do; a tool of an MCP server is never the
/// product's own, whatever its name.
pub(crate) fn stand_in<'a>(
    judgement: &Judgement<'a>,
    state: &AgentState,
) -> Option<(&'a Catalogue, bool)> {
    if state.peer_count(judgement.peers) >= 2 {
        return None;
    }
    let call = judgement.call;
    let catalogues = &judgement.rules.catalogues;
    let catalogue =
        catalogues.of(product(&state.agent_id)).or_else(|| catalogues.of(state.group_name()))?;
    Some((catalogue, call.tool_server.is_none() && catalogue.contains(&call.tool_name)))
}

/// What the agent's peers say of the tool, and the catalogue that stands in for them, in words.
pub(crate) fn peers_using(judgement: &Judgement<'_>, state: &AgentState) -> String {
    let peers = state.peer_count(judgement.peers);
    let group = judgement.group;
    let others = group
        .and_then(|group| group.tool(judgement.tool))
        .map_or(0, |tool_use| tool_use.others(state.agent));
    let said = match (peers, others) {
        (0, _) => "it has no peers to compare with".to_owned(),
        (_, 0) => format!("none of its {} uses it", words::count(peers, "peer")),
        (_, 1) => format!("one of its {} uses it", words::count(peers, "peer")),
        _ => format!("two or more of its {} use it", words::count(peers, "peer")),
    };
    let Some((catalogue, is_listed)) = stand_in(judgement, state) else { return said };
    let ships = if is_listed { "ships with it" } else { "does not ship with it" };
    format!("{said}, and {} {ships}", words::quote(catalogue.name()))
}
