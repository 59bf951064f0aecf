//! A flush whose agents are being written: a few at a time, and each as it was at the cut, so that
//! judging goes on meanwhile. An agent that changes before its turn is written first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec::IntoIter;

use crate::detect::AgentState;
use crate::pipeline::journal::lessons::Lessons;
use crate::pipeline::journal::{Held, StateRecord, Unwritten};
use crate::state::admission::Passages;
use crate::state::changelog::{Dead, Lesson, Stamp, agent_key, dead_to_bytes, snapshot_in};
use crate::state::codec::StateError;
use crate::state::reached::Place;
use crate::state::{AgentKey, Agents, Spans};

/// What stood at the cut of a flush, and whose record is not written yet.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) topic: Arc<str>,
    pub(super) stamp: Stamp,
    pub(super) spans: Spans,
    /// Calls that were taken in and not judged.
    pub(super) held: Held,
    pub(super) lessons: Lessons,
    pub(super) passages: BTreeMap<AgentKey, Passages>,
    /// The names of agents that were forgotten.
    pub(super) gone: BTreeMap<AgentKey, (Box<str>, Box<str>)>,
    /// Who changed.
    pub(super) waiting: IntoIter<AgentKey>,
    /// Records of those that could not wait for their turn.
    pub(super) ready: Vec<StateRecord>,
    pub(super) unwritten: Unwritten,
    /// Where each is written first.
    pub(super) room: Vec<u8>,
}

impl Writing {
    /// The next records, of at most `agents_max` agents and those that could not wait. `None` when
    /// all are written.
    pub(super) fn next(&mut self, agents: &Agents, agents_max: usize) -> Option<Vec<StateRecord>> {
        for _ in 0..agents_max {
            let Some(key) = self.waiting.next() else { break };
            if let Some(names) = self.gone.remove(&key) {
                self.write_dead(key, names);
            } else {
                agents.write_down(key, self.spans, |state| self.write(key, state));
            }
        }
        let is_over = self.ready.is_empty() && self.waiting.as_slice().is_empty();
        (!is_over).then(|| std::mem::take(&mut self.ready))
    }

    /// Writes an agent as it is.
    pub(super) fn write(&mut self, key: AgentKey, state: &AgentState) {
        let (held, lessons, passages) = self.take(key);
        let place = (self.stamp, &*held);
        let sealed = snapshot_in(&mut self.room, place, (&lessons, &passages), state);
        self.make_ready(key, sealed);
    }

    fn write_dead(&mut self, key: AgentKey, (tenant_id, agent_id): (Box<str>, Box<str>)) {
        let (held, lessons, passages) = self.take(key);
        let dead = Dead { stamp: self.stamp, held, lessons, passages, tenant_id, agent_id };
        self.make_ready(key, dead_to_bytes(&dead));
    }

    /// What stands in an agent's record beside its state. Each is written once.
    fn take(&mut self, key: AgentKey) -> (Vec<Place>, Vec<Lesson>, Passages) {
        let held = self.held.remove(&key).unwrap_or_default();
        let lessons = self.unwritten.note(self.lessons.of(key)).unwrap_or_default();
        (held, lessons, self.passages.remove(&key).unwrap_or_default())
    }

    fn make_ready(&mut self, key: AgentKey, sealed: Result<Vec<u8>, StateError>) {
        if let Some(bytes) = self.unwritten.note(sealed) {
            self.ready.push((agent_key(&self.topic, key), Some(bytes)));
        }
    }
}
