//! The engine: a function from a call and what is known of its agent to what people should hear.
//!
//! [`observe`] judges one call, [`tick`] lets event time pass. Both are pure: same rules, same
//! peers, same words of people, same state, same call, same verdict. `replay`, `demo`, `run` and the rule tests call the
//! same two.
//!
//! Every call first settles what was due before it, so a verdict does not depend on when or
//! whether [`tick`] was called, as long as its times never run ahead of calls still to come.

mod agent;
mod argument_shape;
mod audit;
mod bounds;
mod bytes;
mod call_rate;
mod common_mode;
mod dormant_tool;
mod drift;
mod episodes;
mod errors;
mod expectations;
mod explain;
mod fan_out;
mod first_use;
mod grounds;
mod grouping;
mod injected_session;
mod intake;
mod learning;
mod look_alike;
mod new_tool;
pub mod no_room;
mod peaks;
mod portrait;
mod rare;
mod rate_shift;
mod repeat;
mod run_rate;
mod run_size;
mod session_fit;
mod sessions;
mod shadow;
mod silence;
mod subjects;
#[cfg(test)]
mod tests;
mod trails;
mod unusual_hour;
mod usual;
mod version;
mod words;

use crate::alert::{Alert, AuditRecord};
use crate::baseline::habits::Habits;
use crate::baseline::identity::{hash_texts, tool_hash};
use crate::baseline::peers::{Fact, GroupKey, GroupSummary, Peers};
use crate::baseline::tools::ToolId;
use crate::event::{Timestamp, ToolCall};
use crate::policy::Rules;

pub use agent::AgentState;
pub use portrait::{DetectorPortrait, OpenEpisode, Portrait, ToolsKnown, portrait};
pub use usual::Usual;

pub use bounds::{Bound, Bounds};
pub use expectations::{EXPECTATIONS_OF_A_SUBJECT, Expectations, Said, hour_hash, level_hash};
pub use explain::{Assessment, Outcome, explain};
pub use shadow::{has_tiers, promises};

/// What came of one call, or of time passing.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Alerts and findings, in the order they were decided.
    pub alerts: Vec<Alert>,
    /// What the agent's peers may learn from this.
    pub facts: Vec<Fact>,
    /// What every agent of the tenant may learn from this; for
    /// [`crate::baseline::peers::GroupKey::of_tenant`].
    pub tenant_facts: Vec<Fact>,
    /// When the agent went to another group with this call: its former group, and what that may
    /// still learn.
    pub left: Option<(GroupKey, Vec<Fact>)>,
    /// What changed in what is known of the agent, for whoever has to answer for it.
    pub audits: Vec<AuditRecord>,
    /// Where something of the agent had to make room.
    pub bounds: Bounds,
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

/// Everything a judgement rests on besides the agent and its call: all of it immutable.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The rules in force.
    pub rules: &'a Rules,
    /// What the agent's peers do.
    pub peers: &'a Peers,
    /// What people have said.
    pub expectations: &'a Expectations,
}

impl<'a> Context<'a> {
    /// A context in which nobody has said anything.
    #[must_use]
    pub const fn new(rules: &'a Rules, peers: &'a Peers) -> Self {
        static NOTHING_SAID: Expectations = Expectations::new();
        Self { rules, peers, expectations: &NOTHING_SAID }
    }
}

/// One call with everything a detector may look at.
pub(crate) struct Judgement<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) peers: &'a Peers,
    /// What is known of the agent's group.
    pub(crate) group: Option<&'a GroupSummary>,
    /// What is known of the sessions of the agent's group.
    pub(crate) habits: Option<&'a Habits>,
    /// What people have said of this agent, as it applies at the time of the call.
    pub(crate) said: Said<'a>,
    pub(crate) call: &'a ToolCall<'a>,
    /// The tool's hash, server included.
    pub(crate) tool: u64,
    /// The session's hash, which calls without a session id share.
    pub(crate) session: u64,
    pub(crate) moment: Moment,
}

/// When a call was made: reckoned once, because nearly every detector asks.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    /// The UTC day, counted from the Unix epoch.
    pub(crate) day: i64,
    /// The UTC hour, counted likewise.
    pub(crate) hour: i64,
    /// The hour of the day, 0 to 23.
    pub(crate) hour_of_day: u8,
}

impl Moment {
    fn of(time: Timestamp) -> Self {
        let (day, hour) = (time.day(), time.hour());
        Self { day, hour, hour_of_day: u8::try_from(hour - day * 24).unwrap_or(0) }
    }
}

/// Judges one call and learns from it.
#[must_use]
pub fn observe(context: &Context<'_>, state: &mut AgentState, call: &ToolCall<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    state.warm_up();
    if state.recent.is_repeated(&call.call_id) {
        verdict.fate = Fate::Duplicate;
    } else {
        judge(context, state, call, &mut verdict);
    }
    verdict
}

/// Judges a call that was not seen before.
fn judge(
    context: &Context<'_>,
    state: &mut AgentState,
    call: &ToolCall<'_>,
    verdict: &mut Verdict,
) {
    let Context { rules, peers, expectations } = *context;
    let moment = Moment::of(call.time);
    let is_late = call.time < state.newest && call.time.plus(rules.limits.lateness) < state.newest;
    if !is_late {
        silence::settle(context, state, call.time, verdict);
        state.rest(call.time);
        silence::end(state, call.time, verdict);
        grouping::settle(context, state, (call, moment), verdict);
    }
    let (group, habits) = peers.group_with_habits(state.group);
    let judgement = Judgement {
        rules,
        peers,
        group,
        habits,
        said: expectations.said(state.agent, state.group, call.time),
        call,
        tool: tool_hash(call.tool_server.as_deref(), &call.tool_name),
        session: hash_texts(&[&call.session_id]),
        moment,
    };
    let before = audit::Before::of(state);
    if is_late {
        state.history.calls += 1;
        verdict.fate = Fate::Late;
        audit::of_learning(&judgement, &before, state, verdict);
        first_use::observe(&judgement, state, verdict);
        return;
    }
    let half_life_days = rules.call_rate.as_ref().map_or(20.0, |r| r.parameters.half_life_days);
    let is_first_of_hour = state.is_first_of_hour(moment);
    let moved = drift::end_day(&judgement, state, verdict);
    let service = rate_shift::end_day(&judgement, state);
    let sums = state.count(&judgement, half_life_days, verdict);
    audit::of_agent(&judgement, &before, state, verdict);
    drift::audit(&judgement, moved, state, verdict);
    if let Some(kind) = service {
        rate_shift::audit(&judgement, kind, state, verdict);
    }
    drift::observe(&judgement, is_first_of_hour, state, verdict);
    version::note(&judgement, state, verdict);
    repeat::observe(&judgement, state, verdict);
    call_rate::observe(&judgement, state, verdict);
    let used = first_use::observe(&judgement, state, verdict);
    new_tool::observe(&judgement, used, state, verdict);
    unusual_hour::observe(&judgement, state, verdict);
    // Looked at before the call is part of its session.
    let named = state.named(&judgement, verdict);
    look_alike::observe(&judgement, &named, state, verdict);
    injected_session::observe(&judgement, &named, state, verdict);
    argument_shape::observe(&judgement, used, state, verdict);
    dormant_tool::observe(&judgement, used, state, verdict);
    let run = run_size::count(&judgement, state);
    run_size::observe(&judgement, run, state, verdict);
    run_rate::observe(&judgement, run.calls == 1, state, verdict);
    errors::observe(&judgement, &sums, state, verdict);
    bytes::observe(&judgement, &sums, state, verdict);
    fan_out::observe(&judgement, is_first_of_hour, state, verdict);
    session_fit::observe(&judgement, state, verdict);
    rate_shift::observe(&judgement, (is_first_of_hour, run.calls == 1), state, verdict);
    common_mode::observe(&judgement, is_first_of_hour, state, verdict);
    silence::arm(rules, is_first_of_hour, state);
    // Last, because it looks at what was said of the call.
    version::observe(&judgement, used, state, verdict);
}

/// Lets event time reach `now`: tells of a steady agent that has stopped, ends episodes that are over
/// and drops what only an agent at work needs. `now` must not run ahead of calls still to come;
/// [`Timestamp::MAX`] says that there are none, and no silence is concluded from that.
#[must_use]
pub fn tick(context: &Context<'_>, state: &mut AgentState, now: Timestamp) -> Verdict {
    let mut verdict = Verdict::default();
    silence::settle(context, state, now, &mut verdict);
    state.rest(now);
    verdict
}

impl Judgement<'_> {
    /// The tool as the agent's memory of tools knows it.
    pub(crate) fn tool_id(&self) -> ToolId<'_> {
        ToolId { tool: self.tool, server: self.call.tool_server.as_deref() }
    }
}
