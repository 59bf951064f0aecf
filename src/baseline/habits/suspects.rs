//! Quarantined sessions: how they began, and which unknown values they went on with.
//!
//! Nothing is learned from them, or the first missed attack would teach the attacker's target. But
//! new work would then alarm for ever, since its targets are never learned either. What tells the
//! two apart is how large a share of sessions of one kind has the value: a new job's payee is in
//! most of the sessions of that job, an attacker's in the few that were injected. So what counts
//! here is the share among sessions that began alike, never the number alone.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

use crate::baseline::session::LearnedSession;

/// Quarantined sessions remembered.
const SESSIONS_MAX: usize = 32;

/// Tokens kept of each.
const TOKENS_MAX: usize = 24;

/// Unknown values kept of each.
const VALUES_MAX: usize = 8;

/// One quarantined session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Suspect {
    /// Ascending.
    tokens: Box<[u32]>,
    values: Box<[u64]>,
}

/// The last quarantined sessions, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Suspects {
    sessions: VecDeque<Suspect>,
    /// The oldest had to make room.
    is_full: bool,
}

/// Quarantined sessions that began like one under way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Alike {
    /// What those weigh that have the value.
    pub(super) with: f64,
    /// What all of them weigh.
    pub(super) all: f64,
    /// How many have the value.
    pub(super) sessions: u32,
}

/// A session that weighs less does not count as one that has the value.
const COUNTED_FROM: f32 = 0.05;

impl Suspects {
    pub(super) fn push(&mut self, session: &LearnedSession) {
        if session.suspects.is_empty() {
            return;
        }
        if self.sessions.len() >= SESSIONS_MAX {
            self.sessions.pop_front();
            self.is_full = true;
        }
        if self.sessions.len() == self.sessions.capacity() {
            self.sessions.reserve_exact(8);
        }
        self.sessions.push_back(Suspect {
            tokens: session.tokens.iter().take(TOKENS_MAX).copied().collect(),
            values: session.suspects.iter().take(VALUES_MAX).copied().collect(),
        });
    }

    /// How often quarantined sessions that began with `tokens` went on with `value`; `None` when
    /// none at all did. `weight` says how telling a token is.
    pub(super) fn alike(
        &self,
        tokens: &[u32],
        value: u64,
        weight: impl Fn(u32) -> f32,
    ) -> Option<Alike> {
        if !self.sessions.iter().any(|session| session.values.contains(&value)) {
            return None;
        }
        let weights: Vec<(u32, f32)> =
            tokens.iter().map(|token| (*token, weight(*token))).collect();
        let all: f32 = weights.iter().map(|(_, weight)| weight).sum();
        let mut alike = Alike::default();
        for session in &self.sessions {
            let shared: f32 = weights
                .iter()
                .filter(|(token, _)| session.tokens.binary_search(token).is_ok())
                .map(|(_, weight)| weight)
                .sum();
            let similarity = if all > 0.0 { shared / all } else { 0.0 };
            let weight = similarity * similarity * libm::sqrtf(similarity);
            alike.all += f64::from(weight);
            if session.values.contains(&value) {
                alike.with += f64::from(weight);
                alike.sessions += u32::from(weight > COUNTED_FROM);
            }
        }
        Some(alike)
    }

    /// Whether the oldest had to make room.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let held = |it: &Suspect| it.tokens.len() * 4 + it.values.len() * 8;
        self.sessions.capacity() * size_of::<Suspect>()
            + self.sessions.iter().map(held).sum::<usize>()
    }
}
