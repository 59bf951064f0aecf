//! Sub-agents at work for one agent in an hour, against the most of each day before.
//!
//! A sub-agent's calls are keyed by its own name, so it may be judged in another partition than the
//! agent that started it. Adding its calls to that agent's state would make verdicts depend on the
//! partitions. So each sub-agent tells once an hour, as a fact of that epoch, for whom it works;
//! the agent itself is judged at its first call of an hour, by the hours that became known since.
//! Sub-agents of sub-agents count for everybody above them, since each also tells who started it.
//! An agent that nobody started is judged by the larger of two: its own sub-agents, and those of
//! all agents of the user it works for. The price: the alert comes two to three hours late, and it
//! counts sub-agents and not their calls.

use crate::alert::Expected;
use crate::baseline::identity::{agent_hash, hash_texts};
use crate::baseline::peaks::Standing;
use crate::baseline::peers::{Fact, GroupKey};
use crate::detect::agent::{AgentState, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::peaks::{self, Reading};
use crate::detect::{Judgement, Verdict, subjects, words};
use crate::event::{Timestamp, ToolCall};
use crate::policy::{Detector, FanOutParameters};

/// The deviation of the logarithm without history, and the least with it.
pub(crate) const DEVIATION: (f64, f64) = (0.8, 0.5);

/// Judges one call, which is the first of its agent in this hour when `is_first_of_hour`.
pub(crate) fn observe(
    judgement: &Judgement<'_>,
    is_first_of_hour: bool,
    state: &mut AgentState,
    verdict: &mut Verdict,
) {
    let Some(rule) = &judgement.rules.fan_out else { return };
    if !is_first_of_hour {
        return;
    }
    tell(judgement, state, verdict);
    let Some(busiest) = largest_hour(judgement, state) else { return };
    let agents = busiest.agents;
    state.begin_peak(Detector::FanOut);
    let FanOutParameters { agents_min, usual_maximum } = rule.parameters;
    let standing = state.stand(
        judgement,
        &Reading {
            detector: Detector::FanOut,
            value: f64::from(agents),
            least: f64::from(agents_min),
            may_fire: agents >= agents_min,
            measure: peaks::measure(peaks::COUNT, usual_maximum, DEVIATION),
            budget: rule.words.budget,
        },
        verdict,
    );
    if let Some(standing) = standing {
        state.report(judgement, (&rule.words, standing.ratio), verdict, |state| {
            describe(judgement, state, (busiest, standing, agents_min))
        });
    }
}

/// A sub-agent says for whom it works.
fn tell(judgement: &Judgement<'_>, state: &AgentState, verdict: &mut Verdict) {
    let call = judgement.call;
    let Some(parent) = parent(call) else { return };
    let (hour, root) = (call.time.hour(), agent_hash(&call.tenant_id, parent));
    let day = i32::try_from(call.time.day()).unwrap_or(0);
    verdict.tenant_facts.push(Fact::SubAgent { root, hour });
    verdict.tenant_facts.push(Fact::Child { agent: state.agent, parent: root, day });
    if let Some(user) = user(call) {
        verdict.tenant_facts.push(Fact::SubAgent { root: user, hour });
    }
}

fn parent<'a>(call: &'a ToolCall<'_>) -> Option<&'a str> {
    call.parent_agent_id.as_deref().filter(|parent| *parent != call.agent_id)
}

/// The hash that a user's sub-agents are known by.
fn user(call: &ToolCall<'_>) -> Option<u64> {
    call.user_id.as_deref().map(|user| hash_texts(&["user", &call.tenant_id, user]))
}

/// The most sub-agents of an hour.
#[derive(Clone, Copy)]
struct Busiest {
    agents: u32,
    hour: i64,
    /// Whether they are those of all agents of the user.
    is_of_user: bool,
}

/// Of the hours not judged yet the one with the most sub-agents: of the agent, or of its user.
fn largest_hour(judgement: &Judgement<'_>, state: &mut AgentState) -> Option<Busiest> {
    let (call, tenant) = (judgement.call, GroupKey::of_tenant(&state.tenant_id));
    let family = |root: u64| judgement.peers.family(tenant, root).unwrap_or_default();
    let judged = i64::from(state.family_hour);
    let busiest = |hours: &[(i64, u32)], is_of_user: bool| {
        let new = hours.iter().take_while(|(hour, _)| *hour > judged);
        let largest = new.max_by_key(|(hour, agents)| (*agents, *hour));
        largest.map(|(hour, agents)| Busiest { agents: *agents, hour: *hour, is_of_user })
    };
    let own = family(state.agent);
    // Sub-agents are the user's as well, and must not all alarm for it.
    let all = user(call).filter(|_| parent(call).is_none()).map(family).unwrap_or_default();
    let (own, all) = (own.hours(), all.hours());
    let latest = own.first().max(all.first()).map_or(judged, |(hour, _)| *hour);
    state.family_hour = i32::try_from(latest.max(judged)).unwrap_or(i32::MAX);
    let (own, all) = (busiest(own, false), busiest(all, true));
    // The agent's own, unless the user's are more.
    own.into_iter().chain(all).rev().max_by_key(|it| it.agents)
}

fn describe(
    judgement: &Judgement<'_>,
    state: &AgentState,
    (busiest, standing, agents_min): (Busiest, Standing, u32),
) -> Description {
    let call = judgement.call;
    let Busiest { agents, hour, is_of_user } = busiest;
    let (low, high) = (libm::round(standing.usual.0), libm::round(standing.usual.1));
    let silent = libm::floor(standing.silent).max(f64::from(agents_min) - 1.0);
    let start = Timestamp::from_hour(hour);
    let agent = words::quote(&state.agent_id);
    let who = match call.user_id.as_deref().map(words::quote) {
        Some(user) if is_of_user => format!("The agents of {user}, {agent} among them,"),
        Some(user) => format!("{agent}, working for {user},"),
        None => agent,
    };
    Description {
        summary: format!(
            "{who} had {} at work between {:02}:00 and {:02}:00 UTC; in the busiest hour of its day there usually are {low:.0} to {high:.0}.",
            words::count(agents, "sub-agent"),
            start.hour_of_day(),
            (start.hour_of_day() + 1) % 24,
        ),
        expected: Expected {
            low,
            high,
            unit: "sub-agents in an hour".to_owned(),
            basis: state.basis(Detector::FanOut, "the busiest hour"),
        },
        observed: f64::from(agents),
        start,
        counterfactual: format!("silent if at most {silent:.0} sub-agents in an hour"),
        evidence: with_trigger(&[], call),
        evidence_total: 1,
        subjects: vec![subjects::level(
            Detector::FanOut,
            agents,
            &words::count(u64::from(agents), "sub-agent"),
        )],
    }
}
