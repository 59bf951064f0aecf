//! What the sessions of a peer group look like: whom they reach, how often that is somebody new,
//! and what goes together.
//!
//! Learned from whole sessions, in the order of their ends, so that the same sessions give the same
//! habits however they were read. Bounded at 128 KiB a group. The construction and its weights
//! were found on labelled runs of agents under prompt injection; nothing of those runs is in here.

mod counted;
mod rates;
mod sketches;
mod suspects;

use counted::Counted;
use rates::Rates;
use sketches::Sketches;
use suspects::Suspects;

use crate::baseline::session::{LearnedSession, SessionValue};
use crate::event::{Target, TargetKind, Timestamp};

pub use sketches::{Context, SKETCHES_MAX};

/// Entities remembered of one group.
const ENTITIES_MAX: usize = 2_560;

/// Coarse hashes of near variants remembered.
const NEAR_MAX: usize = 640;

/// Domains of e-mail addresses remembered.
const DOMAINS_MAX: usize = 64;

/// Half-life, in sessions, of how often honest sessions use a variant of a known name.
const VARIANT_FADE: f64 = 0.995_389_7;

/// What a group's learned sessions have in common.
#[derive(Clone, Debug, PartialEq)]
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

    fn learn_one(&mut self, session: &LearnedSession) {
        self.sessions = self.sessions.saturating_add(1);
        let since = self.since.map_or(session.start, |since| since.min(session.start));
        self.since = Some(since);
        let is_variant = session.values.iter().any(|value| self.is_variant(value));
        self.variants.0 = self.variants.0 * VARIANT_FADE + f64::from(u8::from(is_variant));
        self.variants.1 = self.variants.1 * VARIANT_FADE + 1.0;
        for (place, value) in session.values.iter().enumerate() {
            if value.counts {
                let is_new = self.entities.count(value.entity) == 0;
                self.rates.add(value.class, value.kind, is_new);
            }
            let before = session.values.get(..place).unwrap_or_default();
            if !before.iter().any(|earlier| earlier.entity == value.entity) {
                self.learn_entity(value);
            }
        }
        if session.is_quarantined {
            self.suspects.push(session);
        }
    }

    fn learn_entity(&mut self, value: &SessionValue) {
        self.entities.add(value.entity, self.sessions);
        for near in value.near.iter().filter(|near| **near != 0) {
            self.near.add(u64::from(*near), self.sessions);
        }
        if value.domain != 0 {
            self.domains.add(u64::from(value.domain), self.sessions);
        }
    }

    fn is_variant(&self, value: &SessionValue) -> bool {
        has_look_alikes(value.kind)
            && self.entities.count(value.entity) == 0
            && value.near.iter().any(|near| *near != 0 && self.near.count(u64::from(*near)) > 0)
    }
}
