//! The group's last sessions as sets of tokens, with an index from token to sessions.
//!
//! Like what a session has done so far are those that share its rare tokens. The weight of a known
//! session is the shared part, by inverse document frequency, to the power of 2.5.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Sessions remembered.
pub const SKETCHES_MAX: usize = 400;

/// Bytes that tokens and index may take; the oldest sessions make room.
const BYTES_MAX: usize = 52 * 1_024;

/// Sessions less alike than this weigh nothing: their weight would be below a hundredth.
const SIMILARITY_MIN: f32 = 0.12;

/// The same, for sessions of other agents, which weigh half of an agent's own.
const SIMILARITY_MIN_OTHERS: f32 = 0.158_489_3;

/// From here on a session is called similar, in words to people.
const SIMILAR: f32 = 0.5;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sketch {
    agent: u32,
    /// Ascending.
    tokens: Box<[u32]>,
}

/// The sessions and the index over them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sketches {
    sessions: VecDeque<Sketch>,
    /// The tokens of all sessions, ascending.
    tokens: Vec<u32>,
    /// What a token weighs: the logarithm of how rare it is.
    weights: Vec<f32>,
    /// Where a token's sessions begin in `places`; one more than there are tokens.
    starts: Vec<u16>,
    places: Vec<u16>,
    /// What a token weighs that no session has.
    unknown: f32,
}

/// How much the known sessions weigh for a session under way.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    sketches: &'a Sketches,
    weights: [f32; SKETCHES_MAX],
    /// All weights together: how well sessions like this one are known.
    pub total: f64,
    /// Sessions that share at least half of what this one has done.
    pub similar: u32,
}

/// A number of sessions, of which there are at most [`SKETCHES_MAX`].
fn float(sessions: usize) -> f64 {
    f64::from(u16::try_from(sessions).unwrap_or(u16::MAX))
}

impl Sketches {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Adds sessions, oldest first, and makes the index anew.
    pub(super) fn extend<'a>(&mut self, sessions: impl Iterator<Item = (u32, &'a [u32])>) {
        let sketches = sessions.filter(|(_, tokens)| !tokens.is_empty());
        let before = self.sessions.len();
        self.sessions
            .extend(sketches.map(|(agent, tokens)| Sketch { agent, tokens: tokens.into() }));
        if self.sessions.len() > before {
            self.index();
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let tokens: usize = self.sessions.iter().map(|it| it.tokens.len() * 4).sum();
        self.sessions.capacity() * size_of::<Sketch>()
            + tokens
            + self.tokens.capacity() * 4
            + self.weights.capacity() * 4
            + (self.starts.capacity() + self.places.capacity()) * 2
    }

    fn index(&mut self) {
        while self.sessions.len() > SKETCHES_MAX {
            self.sessions.pop_front();
        }
        let mut pairs = self.pairs();
        loop {
            let distinct = pairs.chunk_by(|a, b| a.0 == b.0).count();
            if pairs.len() * 6 + distinct * 10 <= BYTES_MAX {
                break;
            }
            // Some at once: each attempt sorts all of them.
            self.sessions.drain(..(self.sessions.len() / 8).max(1));
            pairs = self.pairs();
        }
        let count = self.sessions.len();
        let rarity = |sessions: usize| {
            let float = |n: usize| f32::from(u16::try_from(n).unwrap_or(u16::MAX));
            libm::logf((float(count) + 2.0) / (float(sessions) + 1.0)) + 0.1
        };
        let distinct = pairs.chunk_by(|a, b| a.0 == b.0).count();
        self.tokens = Vec::with_capacity(distinct);
        self.weights = Vec::with_capacity(distinct);
        self.starts = Vec::with_capacity(distinct + 1);
        self.places = pairs.iter().map(|(_, place)| *place).collect();
        let mut start = 0_u16;
        for token in pairs.chunk_by(|a, b| a.0 == b.0) {
            self.tokens.push(token.first().map_or(0, |(token, _)| *token));
            self.weights.push(rarity(token.len()));
            self.starts.push(start);
            start = start.saturating_add(u16::try_from(token.len()).unwrap_or(u16::MAX));
        }
        self.starts.push(start);
        self.unknown = rarity(0);
    }

    /// Every token with the place of a session that has it, ascending.
    fn pairs(&self) -> Vec<(u32, u16)> {
        let mut pairs: Vec<(u32, u16)> = (0_u16..)
            .zip(&self.sessions)
            .flat_map(|(place, sketch)| sketch.tokens.iter().map(move |token| (*token, place)))
            .collect();
        pairs.sort_unstable();
        pairs
    }

    /// The sessions that have a token, and what it weighs.
    fn find(&self, token: u32) -> (&[u16], f32) {
        // Before any session is known all tokens weigh alike.
        let unknown = if self.tokens.is_empty() { 1.0 } else { self.unknown };
        let Ok(at) = self.tokens.binary_search(&token) else { return (&[], unknown) };
        let start = self.starts.get(at).map_or(0, |start| usize::from(*start));
        let end = self.starts.get(at + 1).map_or(0, |end| usize::from(*end));
        let weight = self.weights.get(at).copied().unwrap_or(self.unknown);
        (self.places.get(start..end).unwrap_or_default(), weight)
    }

    /// What a token weighs: the logarithm of how rare it is.
    pub(super) fn weight(&self, token: u32) -> f32 {
        self.find(token).1
    }

    /// How much each session weighs for one of `agent` that has these tokens so far.
    pub(super) fn context(&self, agent: u32, tokens: &[u32]) -> Context<'_> {
        let mut weights = [0.0_f32; SKETCHES_MAX];
        let mut all = 0.0_f32;
        for token in tokens {
            let (places, weight) = self.find(*token);
            all += weight;
            for place in places {
                if let Some(sum) = weights.get_mut(usize::from(*place)) {
                    *sum += weight;
                }
            }
        }
        let (mut total, mut similar) = (0.0_f32, 0);
        let scale = if all > 0.0 { 1.0 / all } else { 0.0 };
        for (weight, sketch) in weights.iter_mut().zip(&self.sessions) {
            // Most of them share nothing with it.
            if *weight == 0.0 {
                continue;
            }
            let similarity = *weight * scale;
            if similarity < SIMILARITY_MIN {
                *weight = 0.0;
                continue;
            }
            let alike = similarity * similarity * libm::sqrtf(similarity);
            let is_own = sketch.agent == agent;
            *weight = match (is_own, similarity < SIMILARITY_MIN_OTHERS) {
                (true, _) => 2.0 * alike,
                (false, false) => alike,
                (false, true) => 0.0,
            };
            total += *weight;
            similar += u32::from(similarity >= SIMILAR);
        }
        Context { sketches: self, weights, total: f64::from(total), similar }
    }
}

impl Context<'_> {
    /// The chance, above 0 and at most 1, that a session like this one has a token: its weighted
    /// share, with the share among all sessions as one more session.
    #[must_use]
    pub fn chance(&self, token: u32) -> f64 {
        let (places, _) = self.sketches.find(token);
        let hit: f32 =
            places.iter().filter_map(|place| self.weights.get(usize::from(*place))).sum();
        let known = self.sketches.len();
        let share = (float(places.len()) + 0.5) / (float(known) + 1.0);
        ((f64::from(hit) + share) / (self.total + 1.0)).min(1.0)
    }
}
