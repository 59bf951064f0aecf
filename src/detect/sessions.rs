//! The sessions an agent has under way: bounded, told to its group when they are over.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::baseline::few::Exact;
use crate::baseline::peers::Fact;
use crate::baseline::session::{LiveSession, Named, SHORT_HEAP_BYTES_MAX};
use crate::detect::agent::AgentState;
use crate::detect::{Bound, Judgement, Verdict};
use crate::event::Timestamp;

/// Sessions an agent has under way at once. Of more, the one unseen longest is over.
const SESSIONS_MAX: usize = 24;

/// Bytes they may take together before the one unseen longest is over.
const BYTES_MAX: usize = 16 * 1_024;

/// The sessions of one agent, the one of the newest call last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sessions {
    live: Exact<LiveSession>,
}

impl Sessions {
    /// When the first of them is over if nothing more is seen.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.live.iter().map(LiveSession::deadline).min()
    }

    /// Whether one of them is over at `now`.
    pub(crate) fn is_any_over(&self, now: Timestamp) -> bool {
        self.live.iter().any(|session| session.deadline() <= now)
    }

    /// Tells the group of those that are over at `now`.
    pub(crate) fn settle(&mut self, agent: u64, now: Timestamp, verdict: &mut Verdict) {
        if !self.is_any_over(now) {
            return;
        }
        for session in self.live.take_out(|session| session.deadline() <= now) {
            tell(&session, agent, session.deadline(), verdict);
        }
    }

    /// The session with the hash `key` of a call at `time`, moved to the end; made when it is not
    /// there.
    pub(crate) fn of_call(
        &mut self,
        agent: u64,
        (key, time): (u64, Timestamp),
        verdict: &mut Verdict,
    ) -> &mut LiveSession {
        // Mostly that of the call before.
        match self.live.iter().rposition(|session| session.key() == key) {
            Some(at) if at + 1 == self.live.len() => {}
            Some(at) => {
                if let Some(moved) = self.live.get_mut(at..) {
                    moved.rotate_left(1);
                }
            }
            None => {
                self.live.push(LiveSession::new(key, time));
            }
        }
        while self.live.len() > 1 && (self.live.len() > SESSIONS_MAX || self.is_large()) {
            let Some(oldest) = self.live.remove(0) else { break };
            verdict.bounds.note(Bound::Sessions);
            tell(&oldest, agent, oldest.deadline().min(time), verdict);
        }
        let last = self.live.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "it was found or pushed just above")]
        &mut self.live[last]
    }

    /// Whether they take more than they may together; counted only where they could.
    fn is_large(&self) -> bool {
        let is_short = self.live.iter().all(LiveSession::is_short);
        let most = self.live.len() * (size_of::<LiveSession>() + SHORT_HEAP_BYTES_MAX);
        !(is_short && most <= BYTES_MAX) && self.heap_bytes() > BYTES_MAX
    }

    /// Touches the memory that a call of the newest session needs.
    pub(crate) fn warm_up(&self) -> u64 {
        self.live.last().map_or(0, LiveSession::warm_up)
    }

    /// The session of the newest call.
    pub(crate) fn newest(&self) -> Option<&LiveSession> {
        self.live.last()
    }

    /// The same, to go on with.
    pub(crate) fn newest_mut(&mut self) -> Option<&mut LiveSession> {
        self.live.last_mut()
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.live.heap_bytes() + self.live.iter().map(LiveSession::heap_bytes).sum::<usize>()
    }
}

impl AgentState {
    /// Puts the session of a call last, made when it is not there, and says what it has named and used
    /// of the call.
    pub(crate) fn named(&mut self, judgement: &Judgement<'_>, verdict: &mut Verdict) -> Named {
        let (rules, call) = (judgement.rules, judgement.call);
        if rules.injected_session.is_none() && rules.look_alike.is_none() {
            return Named::default();
        }
        let (agent, key) = (self.agent, judgement.session);
        let session = self.live().sessions.of_call(agent, (key, call.time), verdict);
        session.named(judgement.tool, &call.targets)
    }
}

fn tell(session: &LiveSession, agent: u64, end: Timestamp, verdict: &mut Verdict) {
    verdict.facts.push(Fact::Session(Arc::new(session.learned(agent, end))));
}
