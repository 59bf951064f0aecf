//! A burst of tools the agent never used and its peers do not use either.
//!
//! Single uses are only listed. Uses of quarantined tools within half an hour of each other make
//! one burst; peers, the product's catalogue and known MCP servers make a use weigh less. A burst
//! that ends without an alert is one discovery, which is how the rate of discoveries is learned.

use crate::alert::{EPISODE_GAP_SECS, Evidence, Expected, SUBJECTS_MAX, Subject};
use crate::baseline::discovery::{burst_tail, silent_weight};
use crate::baseline::peers::Fact;
use crate::baseline::tools::Use;
use crate::detect::agent::{AgentState, Burst, BurstTool, keep, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::{Judgement, Verdict, first_use, subjects, words};
use crate::event::Status;
use crate::policy::{Detector, NewToolParameters, Rule};

/// Judges one call, of whose tool `used` tells.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    used: Use,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    close_burst(judgement, state, verdict);
    let Some(rule) = &judgement.rules.new_tool else { return };
    if used.is_adopted {
        return;
    }
    forgive(judgement, state);
    let weight = weight(judgement, &rule.parameters, state, used);
    let total = join_burst(judgement, state, (weight, rule.parameters.failed));
    let budget = budget(judgement, rule, state);
    let group = judgement.group;
    let rate = state.discoveries.rate(state.history.days, group);
    // The score speaks of the rule's own budget; the lonely factor makes it harder to reach.
    let ratio = budget / burst_tail(rate, total).max(1e-12);
    if total < rule.parameters.weight_min {
        return;
    }
    state.weigh(judgement, (Detector::NewTool, ratio), verdict);
    if ratio < 1.0 {
        return;
    }
    state.tools.note_alert(judgement.call.time);
    if let Some(burst) = &mut state.burst {
        burst.has_alerted = true;
    }
    let silent = silent_weight(rate, budget).max(rule.parameters.weight_min);
    state.report(judgement, (&rule.words, ratio), verdict, |state| {
        describe(judgement, state, (total, silent))
    });
}

/// Ends a burst that nothing was added to for half an hour.
fn close_burst(judgement: &Judgement<'_>, state: &mut AgentState, verdict: &mut Verdict) {
    let now = judgement.call.time;
    let is_over = |burst: &Burst| now > burst.last.plus_secs(EPISODE_GAP_SECS);
    if let Some(burst) = state.burst.take_if(|burst| is_over(burst))
        && !burst.has_alerted
    {
        state.discoveries.learn();
        verdict.facts.push(Fact::Discovery);
    }
}

/// Takes tools out of the burst that have been accepted since they joined it: what is still unknown
/// must not alarm for what no longer is.
fn forgive(judgement: &Judgement<'_>, state: &mut AgentState) {
    let (Some(burst), tools) = (&mut state.burst, &mut state.tools) else { return };
    let Burst { weight, calls, tools: in_burst, .. } = &mut **burst;
    in_burst.retain(|tool| {
        let hash = tool.subject.hash.0;
        let is_expected = judgement.said.is_expected_tool(hash);
        if is_expected {
            *weight = (*weight - tool.weight).max(0.0);
            *calls = calls.saturating_sub(tool.calls);
            tools.leave_burst(hash);
        }
        !is_expected
    });
    if burst.calls == 0 {
        state.burst = None;
    }
}

fn join_burst(
    judgement: &Judgement<'_>,
    state: &mut AgentState,
    (weight, failed): (f64, f64),
) -> f64 {
    let call = judgement.call;
    if state.burst.is_none() {
        state.tools.start_burst();
    }
    state.tools.join_burst(judgement.tool);
    let burst = state.burst.get_or_insert_with(|| {
        Box::new(Burst {
            weight: 0.0,
            calls: 0,
            started: call.time,
            last: call.time,
            has_alerted: false,
            withheld: (0, 0.0),
            trail: Vec::new(),
            tools: Vec::new(),
        })
    });
    let weight = burst.believed(judgement, weight, failed);
    if let Some(tool) = burst.tools.iter_mut().find(|it| it.subject.hash.0 == judgement.tool) {
        tool.weight += weight;
        tool.calls += 1;
    } else if burst.tools.len() < SUBJECTS_MAX {
        burst.tools.reserve_exact(1);
        burst.tools.push(BurstTool { subject: subjects::tool(judgement), weight, calls: 1 });
    }
    burst.weight += weight;
    burst.calls += 1;
    burst.started = burst.started.min(call.time);
    burst.last = burst.last.max(call.time);
    keep(&mut burst.trail, call);
    burst.weight
}

impl Burst {
    /// What a use weighs after its end is looked at. One that failed mostly had no such tool, and
    /// the rest of its weight is withheld until the tool has worked. A denied one is an attempt like
    /// any other, and the tools of an MCP server are not invented: somebody has connected it.
    fn believed(&mut self, judgement: &Judgement<'_>, weight: f64, failed: f64) -> f64 {
        let (call, tool) = (judgement.call, judgement.tool);
        let has_failed = call.status == Status::Error && call.tool_server.is_none();
        let before = if self.withheld.0 == tool { self.withheld.1 } else { 0.0 };
        if has_failed {
            self.withheld = (tool, before + weight * (1.0 - failed));
            return weight * failed;
        }
        if self.withheld.0 == tool {
            self.withheld = (0, 0.0);
        }
        weight + before
    }
}

fn weight(
    judgement: &Judgement<'_>,
    parameters: &NewToolParameters,
    state: &AgentState,
    used: Use,
) -> f64 {
    let group = judgement.group;
    let tool_use = group.and_then(|group| group.tool(judgement.tool));
    let others = tool_use.map_or(0, |tool_use| tool_use.others(state.agent));
    let mut weight = match others {
        0 => 1.0,
        1 => parameters.one_peer,
        _ => parameters.several_peers,
    };
    if others < 2 && first_use::stand_in(judgement, state).is_some_and(|list| list.1) {
        weight = weight.min(parameters.catalogue);
    }
    let since = judgement.call.time.hour() - i64::from(parameters.upgrade_days) * 24;
    if tool_use.is_some_and(|tool_use| tool_use.adopters_since(state.agent, since) >= 2) {
        weight = weight.min(parameters.upgrade);
    }
    if used.is_server_adopted {
        weight *= parameters.known_server;
    }
    if used.is_muted {
        weight *= parameters.after_alert;
    }
    weight
}

/// The budget of this agent: less for one that has nobody and nothing to be compared with.
fn budget(judgement: &Judgement<'_>, rule: &Rule<NewToolParameters>, state: &AgentState) -> f64 {
    let is_lonely =
        state.peer_count(judgement.peers) < 2 && first_use::stand_in(judgement, state).is_none();
    if is_lonely { rule.words.budget * rule.parameters.lonely_budget } else { rule.words.budget }
}

fn describe(
    judgement: &Judgement<'_>,
    state: &AgentState,
    (total, silent): (f64, f64),
) -> Description {
    let call = judgement.call;
    let (calls, started, trail): (u64, _, &[Evidence]) = state
        .burst
        .as_ref()
        .map_or((1, call.time, &[]), |burst| (burst.calls, burst.started, &burst.trail));
    let others = match state.tools.in_burst() {
        0 | 1 => String::new(),
        n => format!(" and {}", words::count(u64::try_from(n - 1).unwrap_or(0), "other tool")),
    };
    let server = call
        .tool_server
        .as_deref()
        .map_or(String::new(), |server| format!(" of MCP server {}", words::quote(server)));
    Description {
        summary: format!(
            "{} used {}{server}{others}, which it does not know: {} in {}; {}.",
            words::quote(&state.agent_id),
            words::quote(&call.tool_name),
            words::count(calls, "call"),
            words::span(call.time.secs_since(started)),
            first_use::peers_using(judgement, state),
        ),
        expected: Expected {
            low: 0.0,
            high: 1.0,
            unit: "calls of unknown tools within 30 min, weighted by how unknown they are"
                .to_owned(),
            basis: format!(
                "{} and {}",
                words::count(state.history.days, "active day"),
                words::count(state.peer_count(judgement.peers), "peer")
            ),
        },
        observed: words::tenth(total),
        start: started,
        counterfactual: format!("silent if the calls weighed less than {silent:.1} together"),
        evidence: with_trigger(trail, call),
        evidence_total: calls,
        subjects: state.burst.as_ref().map_or_else(Vec::new, |burst| {
            burst.tools.iter().map(|tool| tool.subject.clone()).collect::<Vec<Subject>>()
        }),
    }
}
