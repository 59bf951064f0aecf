//! The group's last sessions as sets of tokens, with an index from token to sessions.
//!
//! Like what a session has done so far are those that share its rare tokens. The weight of a known
//! session is the shared part, by inverse document frequency, to the power of 2.5.

use serde::{Deserialize, Serialize};

/// Sessions remembered.
pub const SKETCHES_MAX: usize = 400;

/// Bytes that the index may take; the oldest sessions make room.
const BYTES_MAX: usize = 22 * 1_024;

/// Bytes of the index for one token of one session, and for one token more.
const BYTES: (usize, usize) = (2, 6);

/// Sessions less alike than this weigh nothing: their weight would be below a hundredth.
const SIMILARITY_MIN: f32 = 0.12;

/// The same, for sessions of other agents, which weigh half of an agent's own.
const SIMILARITY_MIN_OTHERS: f32 = 0.158_489_3;

/// From here on a session is called similar, in words to people.
const SIMILAR: f32 = 0.5;

/// Weights of a comparison: room for all sessions, and a power of two, so that the place of a session is
/// one of them without a look.
const WEIGHTS: usize = 512;
const _: () = assert!(SKETCHES_MAX <= WEIGHTS && WEIGHTS.is_power_of_two());

/// The sessions as an index from token to session, which says all there is to say of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub(super) struct Sketches {
    /// Whose each session was, by 32 bits of the agent's hash; the oldest first.
    agents: Vec<u32>,
    /// The tokens of all sessions, ascending.
    tokens: Vec<u32>,
    /// Where a token's sessions begin in `places`; one more than there are tokens.
    starts: Vec<u16>,
    /// Sessions by their place in `agents`.
    places: Vec<u16>,
    /// What a token weighs that so many sessions have: the logarithm of how rare it is.
    rarity: Vec<f32>,
    /// Sessions had to make room for newer ones.
    is_full: bool,
    /// Where tokens begin in `tokens` that begin with the same byte, and where the last of them end.
    #[serde(skip)]
    firsts: Vec<u16>,
}

/// The same as it is written.
#[derive(Deserialize)]
struct Written {
    agents: Vec<u32>,
    tokens: Vec<u32>,
    starts: Vec<u16>,
    places: Vec<u16>,
    rarity: Vec<f32>,
    is_full: bool,
}

impl From<Written> for Sketches {
    fn from(written: Written) -> Self {
        let Written { agents, tokens, starts, places, rarity, is_full } = written;
        let firsts = firsts(&tokens);
        Self { agents, tokens, starts, places, rarity, is_full, firsts }
    }
}

/// Where those of some ascending tokens begin that begin with each byte, and where the last of them end.
fn firsts(tokens: &[u32]) -> Vec<u16> {
    if tokens.is_empty() {
        return Vec::new();
    }
    let first = |byte: u32| tokens.partition_point(|token| token >> 24 < byte);
    (0..=256).map(|byte| u16::try_from(first(byte)).unwrap_or(u16::MAX)).collect()
}

/// How much the known sessions weigh for a session under way.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    sketches: &'a Sketches,
    weights: [f32; WEIGHTS],
    /// All weights together: how well sessions like this one are known.
    pub total: f64,
    /// Sessions that share at least half of what this one has done.
    pub similar: u32,
}

/// Bytes of an index over so many tokens of sessions, of which so many are different.
const fn bytes(pairs: usize, distinct: usize) -> usize {
    pairs * BYTES.0 + distinct * BYTES.1
}

/// How many different tokens there are; `pairs` are ascending.
fn distinct(pairs: &[(u32, u16)]) -> usize {
    pairs.chunk_by(|a, b| a.0 == b.0).count()
}

/// A number of sessions, of which there are at most [`SKETCHES_MAX`].
fn float(sessions: usize) -> f64 {
    f64::from(u16::try_from(sessions).unwrap_or(u16::MAX))
}

impl Sketches {
    pub(super) const fn len(&self) -> usize {
        self.agents.len()
    }

    /// Whether sessions had to make room.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Adds sessions, oldest first, and makes the index anew. Tokens are without repetition.
    pub(super) fn extend<'a>(&mut self, sessions: impl Iterator<Item = (u32, &'a [u32])>) {
        let mut pairs = None;
        for (agent, tokens) in sessions.filter(|(_, tokens)| !tokens.is_empty()) {
            let pairs = pairs.get_or_insert_with(|| self.pairs());
            let place = u16::try_from(self.agents.len()).unwrap_or(u16::MAX);
            pairs.extend(tokens.iter().map(|token| (*token, place)));
            self.agents.push(agent);
        }
        if let Some(mut pairs) = pairs {
            pairs.sort_unstable();
            self.make_room(&mut pairs);
            self.index(&pairs);
        }
    }

    pub(super) const fn heap_bytes(&self) -> usize {
        (self.agents.capacity() + self.tokens.capacity() + self.rarity.capacity()) * 4
            + (self.starts.capacity() + self.places.capacity() + self.firsts.capacity()) * 2
    }

    /// Whether it holds no more than it may.
    pub(super) fn is_within_bounds(&self) -> bool {
        self.agents.len() <= SKETCHES_MAX
            && bytes(self.places.len(), self.tokens.len()) <= BYTES_MAX
    }

    /// Forgets the oldest sessions until the others are within the bounds.
    fn make_room(&mut self, pairs: &mut Vec<(u32, u16)>) {
        self.forget(self.agents.len().saturating_sub(SKETCHES_MAX), pairs);
        while bytes(pairs.len(), distinct(pairs)) > BYTES_MAX {
            // Some at once: each attempt looks at all of them.
            self.forget((self.agents.len() / 8).max(1), pairs);
        }
    }

    fn forget(&mut self, oldest: usize, pairs: &mut Vec<(u32, u16)>) {
        let first = u16::try_from(oldest).unwrap_or(u16::MAX);
        if first == 0 {
            return;
        }
        self.is_full = true;
        self.agents.drain(..oldest.min(self.agents.len()));
        pairs.retain_mut(|(_, place)| {
            let is_kept = *place >= first;
            *place = place.saturating_sub(first);
            is_kept
        });
    }

    fn index(&mut self, pairs: &[(u32, u16)]) {
        let count = self.agents.len();
        self.agents.shrink_to_fit();
        let float = |n: usize| f32::from(u16::try_from(n).unwrap_or(u16::MAX));
        let rarity =
            |sessions: usize| libm::logf((float(count) + 2.0) / (float(sessions) + 1.0)) + 0.1;
        let of_token = |a: &(u32, u16), b: &(u32, u16)| a.0 == b.0;
        let most = pairs.chunk_by(of_token).map(<[_]>::len).max().unwrap_or(0);
        self.rarity = (0..=most).map(rarity).collect();
        let distinct = distinct(pairs);
        self.tokens = Vec::with_capacity(distinct);
        self.starts = Vec::with_capacity(distinct + 1);
        self.places = pairs.iter().map(|(_, place)| *place).collect();
        let mut start = 0_u16;
        for token in pairs.chunk_by(of_token) {
            self.tokens.push(token.first().map_or(0, |(token, _)| *token));
            self.starts.push(start);
            start = start.saturating_add(u16::try_from(token.len()).unwrap_or(u16::MAX));
        }
        self.starts.push(start);
        self.firsts = firsts(&self.tokens);
    }

    /// Every token with the place of a session that has it, ascending.
    fn pairs(&self) -> Vec<(u32, u16)> {
        let mut pairs = Vec::with_capacity(self.places.len());
        for (token, bounds) in self.tokens.iter().zip(self.starts.windows(2)) {
            let &[start, end] = bounds else { continue };
            let places = self.places.get(usize::from(start)..usize::from(end));
            pairs.extend(places.unwrap_or_default().iter().map(|place| (*token, *place)));
        }
        pairs
    }

    /// The sessions that have a token, and what it weighs.
    fn find(&self, token: u32) -> (&[u16], f32) {
        let places = self.places_of(token).unwrap_or_default();
        (places, self.rarity_of(places.len()))
    }

    /// The sessions that have a token. Tokens are hashes, so a few of them begin with the same byte.
    fn places_of(&self, token: u32) -> Option<&[u16]> {
        let [.., byte] = token.to_le_bytes().map(usize::from);
        let &[first, end] = self.firsts.get(byte..byte + 2)? else { return None };
        let some = self.tokens.get(usize::from(first)..usize::from(end))?;
        let at = usize::from(first) + some.binary_search(&token).ok()?;
        let &[start, end] = self.starts.get(at..at + 2)? else { return None };
        self.places.get(usize::from(start)..usize::from(end))
    }

    /// What a token weighs that so many sessions have; before any is known all weigh alike.
    fn rarity_of(&self, sessions: usize) -> f32 {
        self.rarity.get(sessions).copied().unwrap_or(1.0)
    }

    /// What a token weighs: the logarithm of how rare it is.
    pub(super) fn weight(&self, token: u32) -> f32 {
        self.find(token).1
    }

    /// How much each session weighs for one of `agent` that has these tokens so far.
    pub(super) fn context(&self, agent: u32, tokens: &[u32]) -> Context<'_> {
        let mut weights = [0.0_f32; WEIGHTS];
        let mut all = 0.0_f32;
        for token in tokens {
            let (places, weight) = self.find(*token);
            all += weight;
            for place in places {
                if let Some(sum) = weights.get_mut(usize::from(*place) % WEIGHTS) {
                    *sum += weight;
                }
            }
        }
        let (mut total, mut similar) = (0.0_f32, 0);
        let scale = if all > 0.0 { 1.0 / all } else { 0.0 };
        let (fours, _) = weights.as_chunks_mut::<4>();
        for (four, owners) in fours.iter_mut().zip(self.agents.chunks(4)) {
            // Most of them share next to nothing with it, so four are looked at together.
            let similarities = four.map(|sum| sum * scale);
            *four = [0.0; 4];
            if similarities.iter().fold(true, |none, it| none & (*it < SIMILARITY_MIN)) {
                continue;
            }
            for ((weight, similarity), owner) in four.iter_mut().zip(similarities).zip(owners) {
                if similarity >= SIMILARITY_MIN {
                    *weight = weight_of(similarity, *owner == agent);
                    total += *weight;
                    similar += u32::from(similarity >= SIMILAR);
                }
            }
        }
        Context { sketches: self, weights, total: f64::from(total), similar }
    }
}

/// What a session weighs that is so much alike, one of the agent's `own` or of another agent's.
fn weight_of(similarity: f32, is_own: bool) -> f32 {
    let least = if is_own { SIMILARITY_MIN } else { SIMILARITY_MIN_OTHERS };
    if similarity < least {
        return 0.0;
    }
    let alike = similarity * similarity * libm::sqrtf(similarity);
    if is_own { 2.0 * alike } else { alike }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sessions of one agent with these tokens.
    fn index(sessions: &[Vec<u32>]) -> Sketches {
        let mut sketches = Sketches::default();
        sketches.extend(sessions.iter().map(|tokens| (1, tokens.as_slice())));
        sketches
    }

    proptest! {
        #[test]
        fn whatever_a_token_begins_with_its_sessions_are_found_and_after_reading_as_well(
            tokens in prop::collection::btree_set(prop_oneof![any::<u32>(), 0..4_u32, u32::MAX - 4..], 0..300),
            other in any::<u32>(),
        ) {
            let all: Vec<u32> = tokens.iter().copied().collect();
            let sessions = [all.clone(), all.iter().copied().step_by(2).collect()];
            let sketches = index(&sessions);
            let bytes = postcard::to_allocvec(&sketches).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Sketches>(&bytes).unwrap(), sketches.clone());
            for token in all.into_iter().chain([other]) {
                let of = |place: u16| sessions[usize::from(place)].contains(&token).then_some(place);
                let expected: Vec<u16> = (0..2).filter_map(of).collect();
                prop_assert_eq!(sketches.find(token).0, expected.as_slice());
            }
        }
    }

    #[test]
    fn a_session_of_another_agent_counts_half_and_only_when_it_is_more_alike() {
        assert!((weight_of(0.5, true) - 2.0 * weight_of(0.5, false)).abs() < f32::EPSILON);
        assert!(weight_of(0.119, true) <= 0.0);
        assert!(weight_of(0.13, true) > 0.0 && weight_of(0.13, false) <= 0.0);
        assert!(weight_of(0.2, false) > 0.0);
    }

    #[test]
    fn a_damaged_index_finds_nothing_and_stops_nobody() {
        let written = Written {
            agents: vec![1],
            tokens: vec![u32::MAX, 0, 7 << 24],
            starts: vec![9],
            places: vec![u16::MAX],
            rarity: Vec::new(),
            is_full: false,
        };
        let damaged = Sketches::from(written);
        for token in [u32::MAX, 0, 7 << 24] {
            assert!(damaged.find(token).0.is_empty());
        }
        assert!(damaged.context(1, &[0, u32::MAX]).total <= 0.0);
    }
}
