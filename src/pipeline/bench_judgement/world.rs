//! A few agents and their engine, without Kafka: calls in, alerts out, in event time.
//!
//! As `pipeline::judge` does it for a partition: what is due before a call is settled first, an
//! epoch's facts are known two epochs later.

use std::collections::BTreeSet;

use crate::alert::Alert;
use crate::baseline::epochs::Epochs;
use crate::baseline::peers::GroupKey;
use crate::detect::{AgentState, Context, Verdict, observe, tick};
use crate::event::{Timestamp, ToolCall};
use crate::policy::Rules;

/// The agents of one crew. A clone goes on exactly as the original would.
#[derive(Clone, Debug)]
pub(super) struct World<'a> {
    rules: &'a Rules,
    epochs: Epochs,
    agents: Vec<Option<Box<AgentState>>>,
    deadlines: BTreeSet<(Timestamp, u32)>,
    /// The epoch of the newest call: whose peers a deadline is judged by.
    hour: i64,
}

impl<'a> World<'a> {
    pub(super) fn new(rules: &'a Rules) -> Self {
        Self {
            rules,
            epochs: Epochs::default(),
            agents: Vec::new(),
            deadlines: BTreeSet::new(),
            hour: i64::MIN,
        }
    }

    /// Judges a call of agent number `agent`; `sink` gets each alert with its agent's number.
    pub(super) fn call(
        &mut self,
        agent: u32,
        call: &ToolCall<'_>,
        sink: &mut dyn FnMut(u32, &Alert),
    ) {
        self.advance(call.time, sink);
        let place = usize::try_from(agent).unwrap_or(0);
        if self.agents.len() <= place {
            self.agents.resize_with(place + 1, || None);
        }
        let Some(state) = self.agents.get_mut(place) else { return };
        let state = state.get_or_insert_with(|| Box::new(AgentState::new(call)));
        let before = state.deadline();
        self.hour = call.time.hour();
        let context = Context::new(self.rules, self.epochs.peers(self.hour));
        let verdict = observe(&context, state, call);
        let (after, group) = (state.deadline(), state.group);
        if before != after {
            before.map(|deadline| self.deadlines.remove(&(deadline, agent)));
            after.map(|deadline| self.deadlines.insert((deadline, agent)));
        }
        let tenant = GroupKey::of_tenant(&call.tenant_id);
        self.epochs.learn(self.hour, tenant, &verdict.tenant_facts);
        self.take(self.hour, (agent, group), &verdict, sink);
    }

    /// Lets event time reach `now`.
    pub(super) fn advance(&mut self, now: Timestamp, sink: &mut dyn FnMut(u32, &Alert)) {
        while let Some((deadline, agent)) = self.deadlines.first().copied() {
            if deadline > now {
                return;
            }
            self.deadlines.remove(&(deadline, agent));
            let place = usize::try_from(agent).unwrap_or(usize::MAX);
            let Some(Some(state)) = self.agents.get_mut(place) else { continue };
            let context = Context::new(self.rules, self.epochs.peers(self.hour));
            // At the deadline itself: no call can come before it any more.
            let verdict = tick(&context, state, deadline);
            let (next, group) = (state.deadline(), state.group);
            if let Some(next) = next.filter(|next| *next > deadline) {
                self.deadlines.insert((next, agent));
            }
            self.take(deadline.hour(), (agent, group), &verdict, sink);
        }
    }

    /// One agent, if it ever made a call.
    pub(super) fn agent(&self, agent: u32) -> Option<&AgentState> {
        self.agents.get(usize::try_from(agent).ok()?)?.as_deref()
    }

    fn take(
        &mut self,
        hour: i64,
        (agent, group): (u32, GroupKey),
        verdict: &Verdict,
        sink: &mut dyn FnMut(u32, &Alert),
    ) {
        self.epochs.learn(hour, group, &verdict.facts);
        verdict.alerts.iter().for_each(|alert| sink(agent, alert));
    }
}
