//! What the sessions of a peer group look like: whom they reach, how often that is somebody new,
//! and what goes together.
//!
//! Learned from whole sessions, in the order of their ends, so that the same sessions give the same
//! habits however they were read. Bounded at 64 KiB a group. The construction and its weights
//! were found on labelled runs of agents under prompt injection; nothing of those runs is in here.

mod counted;
mod rates;
mod sketches;
mod suspects;

use counted::Counted;
use rates::Rates;
use serde::{Deserialize, Serialize};
use sketches::Sketches;
use suspects::Suspects;

use crate::baseline::session::{LearnedSession, SessionValue};
use crate::event::{Target, TargetKind, Timestamp};

pub use sketches::{Context, SKETCHES_MAX};

/// Entities remembered of one group.
const ENTITIES_MAX: usize = 1_280;

/// Coarse hashes of near variants remembered.
const NEAR_MAX: usize = 384;

/// Domains of e-mail addresses remembered.
const DOMAINS_MAX: usize = 64;

/// Bytes that the tables of a group take at the very most, as they were read.
const BYTES_MAX: usize = 64 << 10;

/// Half-life, in sessions, of how often honest sessions use a variant of a known name.
const VARIANT_FADE: f64 = 0.995_389_7;

/// What a group's learned sessions have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Habits {
    /// When the first learned session began.
    since: Option<Timestamp>,
    sessions: u32,
    entities: Counted,
    near: Counted,
    domains: Counted,
    rates: Rates,
    sketches: Sketches,
    suspects: Suspects,
    /// Sessions with a name that is nearly a known one, and all sessions; both faded.
    variants: (f64, f64),
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            since: None,
            sessions: 0,
            entities: Counted::new(ENTITIES_MAX),
            near: Counted::new(NEAR_MAX),
            domains: Counted::new(DOMAINS_MAX),
            rates: Rates::default(),
            sketches: Sketches::default(),
            suspects: Suspects::default(),
            variants: (0.0, 0.0),
        }
    }
}

/// Whether a kind of target has look-alikes: names that people read and mistake for each other.
#[must_use]
pub const fn has_look_alikes(kind: TargetKind) -> bool {
    matches!(kind, TargetKind::Email | TargetKind::Host)
}

impl Habits {
    /// Learns sessions. Their order is put right here; the result does not depend on it.
    pub fn learn<'a>(&mut self, sessions: impl IntoIterator<Item = &'a LearnedSession>) {
        let mut sessions: Vec<&LearnedSession> = sessions.into_iter().collect();
        sessions.sort_unstable_by_key(|session| (session.end, session.id));
        for session in &sessions {
            self.learn_one(session);
        }
        let whole = sessions.iter().filter(|session| !session.is_quarantined);
        self.sketches.extend(whole.map(|session| (session.agent, session.tokens.as_slice())));
        self.entities.shrink();
        self.near.shrink();
        self.domains.shrink();
        self.rates.shrink();
    }

    /// Learned sessions.
    #[must_use]
    pub const fn sessions(&self) -> u32 {
        self.sessions
    }

    /// Learned sessions that a session under way is compared with, at most [`SKETCHES_MAX`].
    #[must_use]
    pub fn sketches(&self) -> usize {
        self.sketches.len()
    }

    /// Whole days of the calendar since the first learned session began.
    #[must_use]
    pub fn days(&self, now: Timestamp) -> u32 {
        let days = self.since.map_or(0, |since| now.day().saturating_sub(since.day()));
        u32::try_from(days.max(0)).unwrap_or(u32::MAX)
    }

    /// In how many learned sessions an entity was.
    #[must_use]
    pub fn support(&self, entity: u64) -> u16 {
        self.entities.count(entity)
    }

    /// The chance, above 0 and below 1, that the next value of a class is new to the group.
    #[must_use]
    pub fn discovery_rate(&self, class: u32, kind: TargetKind) -> f64 {
        self.rates.rate(class, kind)
    }

    /// Whether nearly the same value is known: the same letters, the same mailbox, a file of the
    /// same name or in the same directory.
    #[must_use]
    pub fn has_near(&self, target: &Target) -> bool {
        target.near.iter().any(|near| *near != 0 && self.near.count(u64::from(*near)) > 0)
    }

    /// In how many learned sessions addresses at a domain were, mailbox providers left out. `domain`
    /// is 32 bits of its hash.
    #[must_use]
    pub fn domain_mentions(&self, domain: u32) -> u16 {
        if domain == 0 { 0 } else { self.domains.count(u64::from(domain)) }
    }

    /// How well sessions of `agent` that began with `tokens` are known.
    #[must_use]
    pub fn context(&self, agent: u32, tokens: &[u32]) -> Context<'_> {
        self.sketches.context(agent, tokens)
    }

    /// The share, 0 to 1, of sessions that began with `tokens` and had this unknown entity, and how
    /// many they are. `known` is what the learned sessions weigh, none of which had it.
    #[must_use]
    pub fn share(&self, tokens: &[u32], entity: u64, known: f64) -> (f64, u32) {
        let weight = |token| self.sketches.weight(token);
        let alike = self.suspects.alike(tokens, entity, weight);
        alike.map_or((0.0, 0), |it| (it.with / (known + it.all + 1.0), it.sessions))
    }

    /// The share of sessions, above 0 and below 1, in which an honest call names somebody whose
    /// name is nearly a known one.
    #[must_use]
    pub fn look_alike_rate(&self) -> f64 {
        (self.variants.0 + 0.5) / (self.variants.1 + 1.0)
    }

    /// Which of its tables had to make room so far, by name.
    #[must_use]
    pub const fn full(&self) -> [(&'static str, bool); 6] {
        [
            ("entities", self.entities.is_full()),
            ("near", self.near.is_full()),
            ("domains", self.domains.is_full()),
            ("classes", self.rates.is_full()),
            ("sketches", self.sketches.is_full()),
            ("suspects", self.suspects.is_full()),
        ]
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.entities.heap_bytes()
            + self.near.heap_bytes()
            + self.domains.heap_bytes()
            + self.rates.heap_bytes()
            + self.sketches.heap_bytes()
            + self.suspects.heap_bytes()
    }

    /// Whether it holds no more than a group's habits may.
    #[must_use]
    pub fn is_within_bounds(&self) -> bool {
        let tables =
            [(&self.entities, ENTITIES_MAX), (&self.near, NEAR_MAX), (&self.domains, DOMAINS_MAX)];
        self.heap_bytes() <= BYTES_MAX
            && self.sketches.is_within_bounds()
            && tables.iter().all(|(table, max)| table.has_room_for(*max))
    }

    fn learn_one(&mut self, session: &LearnedSession) {
        self.sessions = self.sessions.saturating_add(1);
        let since = self.since.map_or(session.start, |since| since.min(session.start));
        self.since = Some(since);
        let is_variant = session.values.iter().any(|value| self.is_variant(value));
        self.variants.0 = self.variants.0 * VARIANT_FADE + f64::from(u8::from(is_variant));
        self.variants.1 = self.variants.1 * VARIANT_FADE + 1.0;
        for (place, value) in session.values.iter().enumerate() {
            let entity = value.entity();
            if value.counts() {
                let is_new = self.entities.count(entity) == 0;
                self.rates.add(value.class(), value.kind, is_new);
            }
            let before = session.values.get(..place).unwrap_or_default();
            if !before.iter().any(|earlier| earlier.entity() == entity) {
                self.learn_entity(entity, value);
            }
        }
        if session.is_quarantined {
            self.suspects.push(session);
        }
    }

    fn learn_entity(&mut self, entity: u64, value: &SessionValue) {
        self.entities.add(entity, self.sessions);
        for near in value.near().into_iter().filter(|near| *near != 0) {
            self.near.add(u64::from(near), self.sessions);
        }
        if value.domain() != 0 {
            self.domains.add(u64::from(value.domain()), self.sessions);
        }
    }

    fn is_variant(&self, value: &SessionValue) -> bool {
        has_look_alikes(value.kind)
            && self.entities.count(value.entity()) == 0
            && value.near().iter().any(|near| *near != 0 && self.near.count(u64::from(*near)) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::session::{self, LiveSession};
    use proptest::prelude::*;

    const TOOL: u64 = 77;

    fn target(value: u64) -> Target {
        Target { kind: TargetKind::Account, key: 1, value, is_whole: true, ..Target::default() }
    }

    /// Session `n` of `agent`, which named these accounts one after the other.
    fn learned(n: u64, agent: u64, values: &[u64]) -> LearnedSession {
        let at = |secs: u64| Timestamp::from_secs(i64::try_from(n * 60 + secs).unwrap());
        let mut live = LiveSession::new(n, at(0));
        for value in values {
            live.add(at(1), TOOL, &[target(*value)], &[]);
        }
        live.learned(agent, at(1_800))
    }

    fn account(value: u64) -> u64 {
        session::entity(&target(value))
    }

    #[test]
    fn what_sessions_have_in_common_is_known_and_how_often_there_is_something_new() {
        let mut habits = Habits::default();
        let sessions: Vec<_> = (0..40).map(|n| learned(n, 1, &[1 + n % 2])).collect();
        habits.learn(&sessions);
        assert_eq!((habits.support(account(1)), habits.support(account(9))), (20, 0));
        let class = session::class(TOOL, 1, TargetKind::Account);
        assert!(habits.discovery_rate(class, TargetKind::Account) < 0.1);
        let other = session::class(TOOL + 1, 1, TargetKind::Account);
        assert!(habits.discovery_rate(other, TargetKind::Account) > 0.04);
        let context = habits.context(1, &[session::tool_token(TOOL)]);
        assert!(context.total > 10.0 && context.similar == 40, "{}", context.total);
        let token = |value| session::entity_token(account(value));
        let (known, unknown) = (context.chance(token(1)), context.chance(token(9)));
        assert!((0.4..0.6).contains(&known) && unknown < 0.01, "{known} {unknown}");
    }

    #[test]
    fn nothing_is_learned_from_a_session_after_it_became_suspicious() {
        let at = |n| Timestamp::from_secs(n);
        let mut live = LiveSession::new(5, at(0));
        live.add(at(0), TOOL, &[target(1)], &[]);
        live.quarantine();
        live.suspect(account(666));
        live.add(at(1), TOOL, &[target(666)], &[]);
        live.add(at(2), TOOL, &[target(3)], &[]);
        let session = live.learned(1, at(1_802));
        let mut habits = Habits::default();
        habits.learn([&session]);
        let support = [1, 666, 3].map(|value| habits.support(account(value)));
        assert_eq!(support, [1, 0, 0]);
        assert_eq!(habits.sketches.len(), 0);
        // A quarantined session still knows what it has named itself.
        assert!(live.has_named(666) && live.has_named(3));
        assert!(habits.share(&session.tokens, account(666), 0.0).1 == 1);
    }

    #[test]
    fn new_work_shows_in_the_share_of_sessions_that_began_alike() {
        let start = |n| learned(n, 1, &[100]);
        let suspicious = |n: u64, value: u64| LearnedSession {
            is_quarantined: true,
            suspects: vec![account(value)],
            ..start(n)
        };
        let mut habits = Habits::default();
        let sessions: Vec<_> = (0..10).map(|n| suspicious(n, 5)).collect();
        habits.learn(&sessions);
        let tokens = start(0).tokens;
        let (share, count) = habits.share(&tokens, account(5), 0.0);
        assert!(share > 0.8 && count == 10, "{share} {count}");
        // Well-known sessions that never had it make the share small.
        assert!(habits.share(&tokens, account(5), 100.0).0 < 0.1);
        // Sessions that began otherwise say nothing.
        assert!(habits.share(&[1, 2, 3], account(5), 0.0).0 < 0.01);
        assert_eq!(habits.share(&tokens, account(6), 0.0), (0.0, 0));
    }

    #[test]
    fn a_million_random_values_stay_within_the_bounds() {
        let mut habits = Habits::default();
        let common = learned(0, 1, &[7]);
        habits.learn([&common, &LearnedSession { id: 1, ..common.clone() }]);
        let random = |n: u64| session::mix(n);
        for batch in 0..32_u64 {
            let sessions: Vec<_> = (0..512)
                .map(|n| {
                    let first = (batch * 512 + n) * 64;
                    let values: Vec<u64> = (first..first + 64).map(random).collect();
                    let mut session = learned(batch * 512 + n, n % 5, &values);
                    session.is_quarantined = n % 3 == 0;
                    session.suspects = values;
                    for (value, n) in session.values.iter_mut().zip(0_u32..6) {
                        let target = Target {
                            kind: if n % 2 == 0 { TargetKind::Path } else { TargetKind::Email },
                            value: value.value(),
                            near: [session.tokens[0] ^ n, n.wrapping_mul(7_919)],
                            domain: u64::from(n).wrapping_mul(7_919),
                            ..Target::default()
                        };
                        *value = SessionValue::of(&target, value.class() ^ n << 1, value.counts());
                    }
                    session
                })
                .collect();
            habits.learn(&sessions);
            let bytes = size_of::<Habits>() + habits.heap_bytes();
            assert!(bytes <= BYTES_MAX, "{bytes}");
        }
        assert!(habits.sketches.len() > 0 && habits.entities.len() <= ENTITIES_MAX);
        assert_eq!(habits.support(account(7)), 2, "what two sessions had in common stays");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_order_of_sessions_does_not_matter(
            steps in prop::collection::vec((0_u64..50, 0_u64..4, prop::collection::vec(0_u64..30, 1..8)), 1..60),
            turn in 0_usize..60,
        ) {
            let sessions: Vec<_> = steps.iter().map(|(n, agent, values)| learned(*n, *agent, values)).collect();
            let mut turned = sessions.clone();
            turned.rotate_left(turn % sessions.len());
            turned.reverse();
            let (mut one, mut other) = (Habits::default(), Habits::default());
            one.learn(&sessions);
            other.learn(&turned);
            // Equal ids are one session to the epochs; here only their order is in question.
            let mut ids: Vec<_> = sessions.iter().map(|it| (it.end, it.id)).collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assume!(ids.len() == sessions.len());
            prop_assert_eq!(one, other);
        }
    }
}
