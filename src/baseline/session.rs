//! One session: what it has used so far, and what its group learns from it when it is over.
//!
//! Holds hashes only. What a call is aimed at is known by its entity (kind and value; for short
//! tokens and words also where they stand, because `7` as a quantity and `7` as a customer are two
//! things); what tells sessions apart are its tokens: tools, entities, and entities by tool.

mod named;
mod tokens;
mod value;

use crate::baseline::bloom::WordBloom;
use crate::baseline::few::Exact;
use crate::baseline::identity::short;
use crate::event::{Target, TargetKind, Timestamp};
use serde::{Deserialize, Serialize};

use tokens::contains;

pub use named::Named;
pub use value::SessionValue;

/// A session is over when nothing was seen of it for so long, in seconds.
pub const SESSION_IDLE_SECS: i64 = 1_800;

/// Tokens of targets kept of one session; what comes later does not make it more alike. Tools are
/// kept beyond that, or each call of a long session would seem to be a tool's first.
pub const TOKENS_MAX: usize = 48;

/// Tokens kept of one session, tools included.
const WITH_TOOLS_MAX: usize = 80;

/// Values a live session holds before it hands them over as a part of its own.
pub const VALUES_MAX: usize = 64;

/// Bytes on the heap that a short session takes at most.
pub const SHORT_HEAP_BYTES_MAX: usize = WITH_TOOLS_MAX * size_of::<u32>()
    + VALUES_MAX * size_of::<SessionValue>()
    + WordBloom::BYTES_MAX;

/// Values of earlier parts that a long session still knows as its own.
const EARLIER_MAX: usize = 448;

/// One of 64 bits to another, all of them changed: the finaliser of `SplitMix64`.
#[must_use]
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A number of its own for every kind.
const fn number(kind: TargetKind) -> u64 {
    match kind {
        TargetKind::Email => 1,
        TargetKind::Host => 2,
        TargetKind::Account => 3,
        TargetKind::Phone => 4,
        TargetKind::Path => 5,
        TargetKind::Repository => 6,
        TargetKind::Table => 7,
        TargetKind::Secret => 8,
        TargetKind::Identifier => 9,
        TargetKind::Word => 10,
        TargetKind::Url => 11,
        TargetKind::Directory => 12,
        TargetKind::Root => 13,
        TargetKind::Command => 14,
    }
}

/// The identity of what a target names.
#[must_use]
pub fn entity(target: &Target) -> u64 {
    entity_of(target.kind, place(target), target.value)
}

/// The key a target stands under, where its value means nothing without it; 0 elsewhere.
const fn place(target: &Target) -> u32 {
    match target.kind {
        TargetKind::Identifier | TargetKind::Word => target.key,
        _ => 0,
    }
}

fn entity_of(kind: TargetKind, place: u32, value: u64) -> u64 {
    mix(value ^ mix(u64::from(place) << 8 | number(kind)))
}

/// The identity of a class of values: those of one kind under one key of one tool. Its lowest bit is
/// 0.
#[must_use]
pub fn class(tool: u64, key: u32, kind: TargetKind) -> u32 {
    short(mix(tool ^ mix(u64::from(key) << 8 | number(kind)))) & !1
}

/// A tool as something a quarantined session may have gone on with.
#[must_use]
pub fn tool_entity(tool: u64) -> u64 {
    mix(tool)
}

/// The token that says a session has used a tool.
#[must_use]
pub fn tool_token(tool: u64) -> u32 {
    short(tool_entity(tool))
}

/// The token that says a session has named an entity.
#[must_use]
pub fn entity_token(entity: u64) -> u32 {
    short(entity)
}

/// The token that says a session has named an entity in a call of a tool.
#[must_use]
pub fn pair_token(tool: u64, entity: u64) -> u32 {
    short(mix(tool ^ entity.rotate_left(17)))
}

/// Whether a target tells sessions apart, and whether together with its tool.
#[must_use]
pub const fn is_token(target: &Target) -> (bool, bool) {
    let by_tool = matches!(
        target.kind,
        TargetKind::Email
            | TargetKind::Host
            | TargetKind::Account
            | TargetKind::Path
            | TargetKind::Repository
            | TargetKind::Table
            | TargetKind::Identifier
            | TargetKind::Url
            | TargetKind::Root
            | TargetKind::Command
    );
    let alone = by_tool || matches!(target.kind, TargetKind::Word);
    (target.is_whole && alone, target.is_whole && by_tool)
}

/// What a group learns from one session, or from one part of a long one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LearnedSession {
    /// When it ended, or the part did.
    pub end: Timestamp,
    /// A hash that no other session of the group has.
    pub id: u64,
    /// When it began.
    pub start: Timestamp,
    /// 32 bits of the agent's hash.
    pub agent: u32,
    /// What it named before anything suspicious.
    pub values: Vec<SessionValue>,
    /// Its tokens, ascending; before anything suspicious when there was something.
    pub tokens: Vec<u32>,
    /// Whether it was quarantined.
    pub is_quarantined: bool,
    /// What it named that was unknown from the suspicious call on, and the tool of that call.
    pub suspects: Vec<u64>,
}

impl LearnedSession {
    /// Bytes it takes, its own and on the heap, and what shares it.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + 2 * size_of::<usize>()
            + self.values.capacity() * size_of::<SessionValue>()
            + self.tokens.capacity() * size_of::<u32>()
            + self.suspects.capacity() * size_of::<u64>()
    }

    /// Whether it holds no more than a session may.
    #[must_use]
    pub const fn is_within_bounds(&self) -> bool {
        self.values.len() <= VALUES_MAX
            && self.tokens.len() <= WITH_TOOLS_MAX
            && self.suspects.len() <= SUSPECTS_MAX
    }
}

/// A session under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveSession {
    key: u64,
    start: Timestamp,
    last: Timestamp,
    calls: u32,
    /// How many tokens it had before the call from which on nothing is learned.
    cut: Option<u8>,
    /// How full the filter of its words is.
    words_set: u16,
    words: Option<Box<WordBloom>>,
    tokens: Exact<u32>,
    values: Exact<SessionValue>,
    more: Option<Box<More>>,
}

/// What only a long or a quarantined session has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct More {
    suspects: Vec<u64>,
    /// 32 bits of the values of parts that were handed over, the newest last. One passes for another
    /// of them once in ten million times, and is taken for named then. As bytes, because a number of
    /// 32 bits that may be any takes five when it is written.
    earlier: Vec<[u8; 4]>,
}

/// Unknown values kept of a quarantined session.
const SUSPECTS_MAX: usize = 16;

impl LiveSession {
    /// The session `key`, whose first call is at `time`.
    #[must_use]
    pub fn new(key: u64, time: Timestamp) -> Self {
        Self {
            key,
            start: time,
            last: time,
            calls: 0,
            cut: None,
            words_set: 0,
            words: None,
            tokens: Exact::new(),
            values: Exact::new(),
            more: None,
        }
    }

    /// Which session it is.
    #[must_use]
    pub const fn key(&self) -> u64 {
        self.key
    }

    /// Its newest call.
    #[must_use]
    pub const fn last(&self) -> Timestamp {
        self.last
    }

    /// When it is over if nothing more is seen of it.
    #[must_use]
    pub const fn deadline(&self) -> Timestamp {
        self.last.plus_secs(SESSION_IDLE_SECS)
    }

    /// Calls seen.
    #[must_use]
    pub const fn calls(&self) -> u32 {
        self.calls
    }

    /// Whether it has a token.
    #[must_use]
    pub fn has_token(&self, token: u32) -> bool {
        contains(&self.tokens, token)
    }

    /// Its tokens so far, in the order they came.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Whether nothing is learned from it any more.
    #[must_use]
    pub const fn is_quarantined(&self) -> bool {
        self.cut.is_some()
    }

    /// From the call that is judged now on, nothing is learned.
    pub fn quarantine(&mut self) {
        let tokens = u8::try_from(self.tokens.len()).unwrap_or(u8::MAX);
        self.cut.get_or_insert(tokens);
    }

    /// Whether the session has named the value before, or an address at that host.
    #[must_use]
    pub fn has_named(&self, value: u64) -> bool {
        self.values.iter().any(|known| known.value() == value) || self.has_named_otherwise(value)
    }

    /// Whether it has named an address at the host with that value, or the value in an earlier part.
    fn has_named_otherwise(&self, value: u64) -> bool {
        let host = short(value);
        self.values.iter().any(|known| known.domain() == host) || self.has_handed_over(value)
    }

    /// Whether the telling part of a value stood in the session's arguments before.
    #[must_use]
    pub fn has_word(&self, stem: u32) -> bool {
        stem != 0 && self.words.as_ref().is_some_and(|words| words.contains(stem))
    }

    /// Takes a call in: its tool, targets and words.
    pub fn add(&mut self, time: Timestamp, tool: u64, targets: &[Target], words: &[u32]) {
        self.add_named(time, tool, (targets, &self.named(tool, targets)), words);
    }

    /// The same for a call that has been judged, which was looked up in this session.
    pub fn add_named(
        &mut self,
        time: Timestamp,
        tool: u64,
        (targets, named): (&[Target], &Named),
        words: &[u32],
    ) {
        self.last = self.last.max(time);
        self.calls = self.calls.saturating_add(1);
        if self.is_quarantined() {
            self.note_known(targets);
        } else if !named.are_same() {
            self.note_values(tool, targets, named);
        }
        self.note_tokens((tool, named.has_tool()), targets);
        if !words.is_empty() {
            let bloom = self.words.get_or_insert_default();
            bloom.insert(words, &mut self.words_set);
        }
    }

    /// Keeps an unknown value of a quarantined session.
    pub fn suspect(&mut self, entity: u64) {
        let suspects = &mut self.more.get_or_insert_default().suspects;
        if suspects.len() < SUSPECTS_MAX && !suspects.contains(&entity) {
            suspects.push(entity);
        }
    }

    /// Whether it holds so much that a part of it is to be handed over.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.values.len() >= VALUES_MAX
    }

    /// Hands over what was learned so far as a part of the session, which goes on.
    pub fn split(&mut self, agent: u64, now: Timestamp) -> LearnedSession {
        let learned = self.learned(agent, now);
        let values = std::mem::take(&mut self.values);
        values.iter().for_each(|value| self.remember(value.value()));
        self.start = now;
        learned
    }

    /// What the group learns from the session, which ended at `end`.
    #[must_use]
    pub fn learned(&self, agent: u64, end: Timestamp) -> LearnedSession {
        let before = self.cut.map_or(self.tokens.len(), usize::from);
        let mut tokens = self.tokens.get(..before).unwrap_or_default().to_vec();
        tokens.sort_unstable();
        let nanos = u64::from_le_bytes(end.as_nanos().to_le_bytes());
        LearnedSession {
            end,
            id: mix(self.key ^ mix(agent ^ mix(nanos))),
            start: self.start,
            agent: short(agent),
            values: self.values.to_vec(),
            tokens,
            is_quarantined: self.is_quarantined(),
            suspects: self.more.as_ref().map_or_else(Vec::new, |more| more.suspects.clone()),
        }
    }

    /// Touches the memory that a call needs: a part of every line of it, or nearly.
    #[must_use]
    pub fn warm_up(&self) -> u64 {
        let token = |place: usize| self.tokens.get(place).map_or(0, |token| u64::from(*token));
        let value = |place: usize| self.values.get(place).map_or(0, SessionValue::value);
        let words = self.words.as_ref().map_or(0, |words| words.warm_up());
        words ^ token(0) ^ token(16) ^ token(32) ^ value(0) ^ value(3) ^ value(6) ^ value(9)
    }

    /// Whether it was neither handed over in part nor quarantined: it takes at most
    /// [`SHORT_HEAP_BYTES_MAX`].
    #[must_use]
    pub const fn is_short(&self) -> bool {
        self.more.is_none()
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let more = self.more.as_ref().map_or(0, |more| {
            size_of::<More>()
                + more.suspects.capacity() * size_of::<u64>()
                + more.earlier.capacity() * size_of::<[u8; 4]>()
        });
        self.words.as_ref().map_or(0, |words| words.memory_bytes())
            + self.tokens.heap_bytes()
            + self.values.heap_bytes()
            + more
    }

    fn note_tokens(&mut self, (tool, has_tool): (u64, bool), targets: &[Target]) {
        if !has_tool && self.tokens.len() < WITH_TOOLS_MAX {
            self.tokens.extend(&[tool_token(tool)]);
        }
        for some in targets.chunks(tokens::TOGETHER) {
            if self.tokens.len() < TOKENS_MAX {
                tokens::note(&mut self.tokens, tool, some);
            }
        }
    }

    fn note_values(&mut self, tool: u64, targets: &[Target], named: &Named) {
        let before = self.values.len();
        for (at, target) in targets.iter().enumerate().filter(|(_, it)| it.kind.is_target()) {
            let earlier = self.values.get(..before).unwrap_or_default();
            let newest = named.place(earlier, (at, target));
            let known = newest.is_some() || self.has_handed_over(target.value);
            let class = || class(tool, target.key, target.kind);
            let is_it = |it: &SessionValue| it.names(target) && (known || it.class() == class());
            // What names the target has its value, so it stands no later than the newest that has, or
            // came with this call.
            let earlier = newest.and_then(|newest| self.values.get(..=newest)).unwrap_or_default();
            let of_call = self.values.get(before..).unwrap_or_default();
            if earlier.iter().rev().any(is_it) || of_call.iter().any(is_it) || self.is_full() {
                continue;
            }
            self.values.extend(&[SessionValue::of(target, class(), !known)]);
        }
    }

    /// A quarantined session still knows its own values.
    fn note_known(&mut self, targets: &[Target]) {
        for target in targets.iter().filter(|target| target.kind.is_target()) {
            if !self.has_named(target.value) {
                self.remember(target.value);
            }
        }
    }

    fn remember(&mut self, value: u64) {
        let earlier = &mut self.more.get_or_insert_default().earlier;
        if earlier.len() >= EARLIER_MAX {
            earlier.remove(0);
        }
        earlier.push(short(value).to_le_bytes());
    }

    fn has_handed_over(&self, value: u64) -> bool {
        let known = short(value).to_le_bytes();
        self.more.as_ref().is_some_and(|more| more.earlier.contains(&known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: u64 = 9;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn target(kind: TargetKind, value: u64) -> Target {
        Target { kind, value, is_whole: true, ..Target::default() }
    }

    #[test]
    fn a_token_is_found_wherever_it_stands() {
        let tokens: Vec<u32> = (1..=21).collect();
        (1..=21).for_each(|token| assert!(contains(&tokens, token), "{token}"));
        assert!(!contains(&tokens, 22) && !contains(&[], 0));
    }

    #[test]
    fn short_values_under_two_keys_are_two_things_and_addresses_are_one() {
        let under = |kind, key| entity(&Target { key, ..target(kind, 5) });
        assert_ne!(under(TargetKind::Identifier, 1), under(TargetKind::Identifier, 2));
        assert_eq!(under(TargetKind::Email, 1), under(TargetKind::Email, 2));
        assert_ne!(under(TargetKind::Email, 1), under(TargetKind::Host, 1));
    }

    #[test]
    fn a_value_counts_in_the_call_that_names_it_first() {
        let mut live = LiveSession::new(1, at(0));
        let address = Target { domain: 77, ..target(TargetKind::Email, 5) };
        live.add(at(0), TOOL, &[address], &[]);
        live.add(at(1), TOOL + 1, &[address, target(TargetKind::Host, 6)], &[]);
        assert!(live.has_named(5) && live.has_named(6) && !live.has_named(7));
        assert!(live.has_named(77), "the host of an address is known");
        let learned = live.learned(1, at(9));
        assert_eq!(
            learned.values.iter().map(SessionValue::counts).collect::<Vec<_>>(),
            [true, true]
        );
        assert!(learned.tokens.is_sorted() && learned.tokens.len() == 7);
    }

    #[test]
    fn a_long_session_is_handed_over_in_parts_and_knows_its_values() {
        let mut live = LiveSession::new(1, at(0));
        let mut parts = 0;
        for n in 0..200_u64 {
            live.add(at(1), TOOL, &[target(TargetKind::Path, n + 1)], &[]);
            if live.is_full() {
                parts += 1;
                assert_eq!(live.split(1, at(2)).values.len(), VALUES_MAX);
            }
        }
        assert_eq!(parts, 3);
        assert!((0..200).all(|n| live.has_named(n + 1)));
        // The tool is still known to be used, however many targets there were.
        live.add(at(3), TOOL + 1, &[], &[]);
        assert!(live.tokens().contains(&tool_token(TOOL + 1)));
    }

    #[test]
    fn a_session_of_ten_calls_is_small() {
        let mut live = LiveSession::new(1, at(0));
        for n in 0..10_u64 {
            let word = u32::try_from(n).unwrap();
            live.add(at(1), TOOL + n % 4, &[target(TargetKind::Email, n / 2 + 1)], &[word]);
        }
        let bytes = size_of::<LiveSession>() + live.heap_bytes();
        assert!(bytes <= 1_200, "{bytes}");
    }

    #[test]
    fn a_session_never_grows_beyond_its_bounds() {
        let mut live = LiveSession::new(1, at(0));
        for n in 0..100_000_u64 {
            live.add(at(1), n, &[target(TargetKind::Email, mix(n))], &[short(mix(n))]);
            live.suspect(n);
            if live.is_full() {
                drop(live.split(1, at(2)));
            }
            assert!(live.heap_bytes() < 12_000, "{}", live.heap_bytes());
        }
    }
}
