//! Sub-agents at work for one agent in an hour, against the most of each day before.
//!
//! A sub-agent's calls are keyed by its own name, so it may be judged in another partition than the
//! agent that started it. Adding its calls to that agent's state would make verdicts depend on the
//! partitions. So each sub-agent tells once an hour, as a fact of that epoch, for whom it works;
//! the agent itself is judged at its first call of an hour, by the hours that became known since.
//! The price: the alert comes two to three hours late, it counts sub-agents and not their calls,
//! and a chain of sub-agents counts for each one's own parent, since records name only that.

use crate::alert::Expected;
use crate::baseline::identity::agent_hash;
use crate::baseline::peaks::Standing;
use crate::baseline::peers::{Fact, GroupKey};
use crate::detect::agent::{AgentState, with_trigger};
use crate::detect::episodes::Description;
use crate::detect::peaks::{self, Reading};
use crate::detect::{Judgement, Verdict, subjects, words};
use crate::event::{HOUR_NS, Timestamp};
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
    tell(judgement, verdict);
    let Some((hour, agents)) = largest_hour(judgement, state) else { return };
    let FanOutParameters { agents_min, usual_maximum } = rule.parameters;
    let standing = state.stand(
        judgement,
        &Reading {
            detector: Detector::FanOut,
            value: f64::from(agents),
            may_fire: agents >= agents_min
                && !judgement.said.is_expected_level(Detector::FanOut, agents),
            measure: peaks::measure(peaks::COUNT, usual_maximum, DEVIATION),
            budget: rule.words.budget,
        },
        verdict,
    );
    if let Some(standing) = standing {
        state.report(judgement, (&rule.words, standing.ratio), verdict, |state| {
            describe(judgement, state, ((hour, agents), standing, agents_min))
        });
    }
}

/// A sub-agent says for whom it works.
fn tell(judgement: &Judgement<'_>, verdict: &mut Verdict) {
    let call = judgement.call;
    let parent = call.parent_agent_id.as_deref().filter(|parent| *parent != call.agent_id);
    if let Some(parent) = parent {
        let root = agent_hash(&call.tenant_id, parent);
        verdict.tenant_facts.push(Fact::SubAgent { root, hour: call.time.hour() });
    }
}

/// Of the hours not judged yet the one with the most sub-agents, with their number.
fn largest_hour(judgement: &Judgement<'_>, state: &mut AgentState) -> Option<(i64, u32)> {
    let tenant = judgement.peers.group(GroupKey::of_tenant(&state.tenant_id))?;
    let hours = tenant.family(state.agent)?.hours();
    let judged = i64::from(state.family_hour);
    let new = hours.iter().take_while(|(hour, _)| *hour > judged);
    let largest = new.copied().max_by_key(|(hour, agents)| (*agents, *hour));
    let latest = hours.first().map_or(judged, |(hour, _)| *hour);
    state.family_hour = i32::try_from(latest.max(judged)).unwrap_or(i32::MAX);
    largest
}

fn describe(
    judgement: &Judgement<'_>,
    state: &AgentState,
    ((hour, agents), standing, agents_min): ((i64, u32), Standing, u32),
) -> Description {
    let call = judgement.call;
    let (low, high) = (libm::round(standing.usual.0), libm::round(standing.usual.1));
    let silent = libm::floor(standing.silent).max(f64::from(agents_min) - 1.0);
    let start = Timestamp::from_nanos(hour.saturating_mul(HOUR_NS));
    let user = call
        .user_id
        .as_deref()
        .map_or(String::new(), |user| format!(", working for {},", words::quote(user)));
    Description {
        summary: format!(
            "{}{user} had {} at work between {:02}:00 and {:02}:00 UTC; in the busiest hour of its day there usually are {low:.0} to {high:.0}.",
            words::quote(&state.agent_id),
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
