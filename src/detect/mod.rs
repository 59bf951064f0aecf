//! The engine: a function from a call and what is known of its agent to what people should hear.
//!
//! [`observe`] judges one call, [`tick`] lets event time pass. Both are pure: same rules, same
//! peers, same state, same call, same verdict. `replay`, `demo`, `run` and the rule tests call the
//! same two.
//!
//! Every call first settles what was due before it, so a verdict does not depend on when or
//! whether [`tick`] was called, as long as its times never run ahead of calls still to come.

mod agent;
mod call_rate;
mod episodes;
mod first_use;
mod new_tool;
mod repeat;
mod session_fit;
#[cfg(test)]
mod tests;
mod unusual_hour;
mod words;

use crate::alert::Alert;
use crate::baseline::identity::tool_hash;
use crate::baseline::peers::{Fact, Peers};
use crate::baseline::tools::ToolId;
use crate::event::{Timestamp, ToolCall};
use crate::policy::Rules;

pub use agent::AgentState;

/// What came of one call, or of time passing.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Alerts and findings, in the order they were decided.
    pub alerts: Vec<Alert>,
    /// What the agent's peers may learn from this.
    pub facts: Vec<Fact>,
    /// What was done with the call.
    pub fate: Fate,
}

/// What was done with a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It was judged.
    #[default]
    Judged,
    /// It came later than the allowed lateness: counted, kept out of the windows it missed.
    Late,
    /// It had been seen before (same call id): counted once.
    Duplicate,
}

/// One call with everything a detector may look at.
pub(crate) struct Judgement<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) peers: &'a Peers,
    pub(crate) call: &'a ToolCall<'a>,
    /// The tool's hash, server included.
    pub(crate) tool: u64,
}

/// Judges one call and learns from it.
#[must_use]
pub fn observe(
    rules: &Rules,
    peers: &Peers,
    state: &mut AgentState,
    call: &ToolCall<'_>,
) -> Verdict {
    let mut verdict = Verdict::default();
    state.warm_up();
    if state.recent.is_repeated(&call.call_id) {
        verdict.fate = Fate::Duplicate;
        return verdict;
    }
    let judgement = Judgement {
        rules,
        peers,
        call,
        tool: tool_hash(call.tool_server.as_deref(), &call.tool_name),
    };
    let lateness = i64::try_from(rules.limits.lateness.as_millis()).unwrap_or(i64::MAX);
    if call.time.plus_millis(lateness) < state.newest {
        state.history.calls += 1;
        verdict.fate = Fate::Late;
        first_use::observe(&judgement, state, &mut verdict);
        return verdict;
    }
    state.settle(call.time, &mut verdict);
    state.rest(call.time);
    let half_life_days = rules.call_rate.as_ref().map_or(20.0, |r| r.parameters.half_life_days);
    state.count(call, half_life_days, &mut verdict);
    repeat::observe(&judgement, state, &mut verdict);
    call_rate::observe(&judgement, state, &mut verdict);
    let used = first_use::observe(&judgement, state, &mut verdict);
    new_tool::observe(&judgement, used, state, &mut verdict);
    unusual_hour::observe(&judgement, state, &mut verdict);
    session_fit::observe(&judgement, state, &mut verdict);
    verdict
}

/// Lets event time reach `now`: ends episodes that are over and drops what only an agent at work
/// needs. `now` must not run ahead of calls still to come.
#[must_use]
pub fn tick(_rules: &Rules, _peers: &Peers, state: &mut AgentState, now: Timestamp) -> Verdict {
    let mut verdict = Verdict::default();
    state.settle(now, &mut verdict);
    state.rest(now);
    verdict
}

impl Judgement<'_> {
    /// The tool as the agent's memory of tools knows it.
    pub(crate) fn tool_id(&self) -> ToolId<'_> {
        ToolId { tool: self.tool, server: self.call.tool_server.as_deref() }
    }
}
