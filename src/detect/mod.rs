//! The engine: a function from a call and what is known of its agent to what people should hear.
//!
//! [`observe`] judges one call, [`tick`] lets event time pass. Both are pure: same rules, same
//! peers, same state, same call, same verdict. `replay`, `demo`, `run` and the rule tests call the
//! same two.

use crate::alert::Alert;
use crate::baseline::peers::{Fact, GroupKey, Peers};
use crate::event::{Timestamp, ToolCall};
use crate::policy::Rules;

/// Everything remembered of one agent.
#[derive(Clone, Debug)]
pub struct AgentState {
    /// The tenant.
    pub tenant_id: Box<str>,
    /// The agent.
    pub agent_id: Box<str>,
    /// The peer group.
    pub group: GroupKey,
}

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

impl AgentState {
    /// The state of an agent whose first call this is.
    #[must_use]
    pub fn new(call: &ToolCall<'_>) -> Self {
        Self {
            tenant_id: (*call.tenant_id).into(),
            agent_id: (*call.agent_id).into(),
            group: GroupKey(0),
        }
    }

    /// When [`tick`] next has something to do, if no call comes before.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        None
    }
}

/// Judges one call and learns from it.
#[must_use]
pub fn observe(
    _rules: &Rules,
    _peers: &Peers,
    _state: &mut AgentState,
    _call: &ToolCall<'_>,
) -> Verdict {
    Verdict::default()
}

/// Lets event time reach `now`: ends episodes that are over.
#[must_use]
pub fn tick(_rules: &Rules, _peers: &Peers, _state: &mut AgentState, _now: Timestamp) -> Verdict {
    Verdict::default()
}
