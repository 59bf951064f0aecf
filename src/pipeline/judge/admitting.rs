//! A judge and the agents it lets in, passages away and forgets.

use crate::detect::no_room::Crowd;
use crate::event::{Timestamp, ToolCall};
use crate::pipeline::judge::{Decision, Judge};
use crate::state::admission::{NoRoom, Passage};
use crate::state::{AgentKey, Arrival, Removed};

impl Judge {
    /// Passes over a call that its agent's state reflects already. What came of the agent with it,
    /// if it was not there then, comes to pass again.
    pub(super) fn pass_over(
        &mut self,
        key: AgentKey,
        call: &ToolCall<'static>,
        sink: &mut dyn FnMut(Decision),
    ) {
        self.tally.replayed += 1;
        let Some(passage) = self.admission.absent(key, self.place) else { return };
        let now = self.event_time(call);
        match passage {
            Some(Passage::Born) => {
                let in_place_of = self.admission.again(&self.shared.agents, call, now);
                self.admission.came(key, call);
                if let Some(other) = in_place_of {
                    self.give_way(other);
                }
            }
            Some(_) => self.admission.came(key, call),
            // It was turned away.
            None => {
                if let Err(no_room) = self.admission.ask(&self.shared.agents, (key, call), now) {
                    self.turn_away(call, no_room, now, sink);
                }
            }
        }
    }

    /// An agent belongs to the partition from this call on.
    pub(super) fn welcome(
        &mut self,
        (key, call): (AgentKey, &ToolCall<'_>),
        arrival: Arrival,
        in_place_of: Option<AgentKey>,
    ) {
        self.admission.came(key, call);
        if let Some(journal) = &mut self.journal {
            let passage = if arrival == Arrival::New { Passage::Born } else { Passage::Claimed };
            journal.came(key, self.place, passage);
        }
        if let Some(other) = in_place_of {
            self.give_way(other);
        }
    }

    /// A call of an agent for which there is no room.
    pub(super) fn turn_away(
        &mut self,
        call: &ToolCall<'static>,
        no_room: NoRoom,
        now: Timestamp,
        sink: &mut dyn FnMut(Decision),
    ) {
        self.tally.unjudged += 1;
        let mut judged: ToolCall<'_> = call.borrowed();
        judged.position.topic = &self.topic;
        let opened = self.admission.turned_away(&judged, no_room, now).map(Crowd::opened);
        if let Some(alert) = opened {
            sink(Decision { alert, offset: call.position.offset });
        }
    }

    /// Tells what came of hours in which there was no room, once they are over.
    pub(super) fn end_crowds(&mut self, now: Timestamp, sink: &mut dyn FnMut(Decision)) {
        if !self.admission.has_ended(now) {
            return;
        }
        let offset = self.next_offset.map_or(0, |next| next - 1);
        for crowd in self.admission.ended(now) {
            sink(Decision { alert: crowd.ended(), offset });
        }
    }

    /// Forgets agents that made no call for too long; with the first call of a day.
    pub(super) fn forget_idle(&mut self, now: Timestamp) {
        for key in self.admission.forgotten(&self.shared.agents, now) {
            self.tally.forgotten += 1;
            self.forget_agent(key);
        }
    }

    fn give_way(&mut self, key: AgentKey) {
        self.tally.yielded += 1;
        self.forget_agent(key);
    }

    fn forget_agent(&mut self, key: AgentKey) {
        let removed = self.shared.agents.remove(key, self.spans());
        let Some(Removed { state, wakes, is_due }) = removed else { return };
        wakes.map(|wakes| self.deadlines.remove(&(wakes, key)));
        self.admission.went(&state.tenant_id);
        if let Some(journal) = &mut self.journal {
            if is_due {
                journal.write_first(key, &state);
            }
            journal.went(key, self.place, (state.tenant_id, state.agent_id));
        }
    }

    /// The partition's event time at a call.
    pub(super) fn event_time(&self, call: &ToolCall<'_>) -> Timestamp {
        self.watermark.map_or(call.time, |watermark| watermark.max(call.time))
    }
}
