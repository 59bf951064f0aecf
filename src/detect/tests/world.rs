//! Agents that teach each other, judged with the peers of two hours ago as in `run`. No test itself.

use super::*;

/// Agents with everything they told.
pub(super) struct World {
    pub(super) rules: Rules,
    pub(super) epochs: Epochs,
    pub(super) agents: Vec<AgentState>,
    /// Calls made so far, for whoever numbers them.
    pub(super) calls: u64,
}

impl World {
    pub(super) fn of(rules: Rules) -> Self {
        Self { rules, epochs: Epochs::default(), agents: Vec::new(), calls: 0 }
    }

    /// Lets time reach `time` for everybody.
    pub(super) fn let_pass(&mut self, time: Timestamp) {
        let peers = self.epochs.peers(time.hour()).clone();
        for state in &mut self.agents {
            while let Some(deadline) = state.deadline().filter(|it| *it <= time) {
                let verdict = tick(&Context::new(&self.rules, &peers), state, deadline);
                self.epochs.learn(deadline.hour(), state.group, &verdict.facts);
            }
        }
    }

    /// Judges a call of its agent, and lets the others learn from it.
    pub(super) fn judge(&mut self, call: &ToolCall<'_>) -> Vec<Alert> {
        let place = self.agents.iter().position(|state| *state.agent_id == *call.agent_id);
        let place = place.unwrap_or_else(|| {
            self.agents.push(AgentState::new(call));
            self.agents.len() - 1
        });
        let (state, hour) = (&mut self.agents[place], call.time.hour());
        let context = Context::new(&self.rules, self.epochs.peers(hour));
        let verdict = observe(&context, state, call);
        if let Some((former, facts)) = &verdict.left {
            self.epochs.learn(hour, *former, facts);
        }
        self.epochs.learn(hour, self.agents[place].group, &verdict.facts);
        self.epochs.learn(hour, GroupKey::of_tenant("acme"), &verdict.tenant_facts);
        verdict.alerts
    }
}
