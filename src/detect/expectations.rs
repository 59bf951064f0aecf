//! What people have said, as an immutable snapshot the judgement looks things up in.
//!
//! A verdict lies over what was learned and does not mix with it: as long as it applies, nothing is
//! learned about its subject, so taking it back or letting it expire brings the old judgement back.
//! It applies to calls from its `at` on, until it expires or a later one on the same subject begins;
//! what is said of an agent counts before what is said of its group.

use std::collections::BTreeMap;

use crate::alert::SubjectKind;
use crate::baseline::identity::{agent_hash, hash_texts};
use crate::baseline::peers::GroupKey;
use crate::event::{Target, TargetKind, Timestamp};
use crate::policy::{Acceptance, Detector, Scope, Stance};

/// Verdicts kept of one subject; of more, the latest ones stay.
pub const EXPECTATIONS_OF_A_SUBJECT: usize = 16;

/// Verdicts on one subject, by when they begin.
type Spans = Vec<Span>;

/// Everything people have said, by whom and what it is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expectations {
    scopes: BTreeMap<u64, Subjects>,
}

/// What was said within one scope.
type Subjects = BTreeMap<(SubjectKind, u64), Spans>;

/// One verdict's span of event time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    at: Timestamp,
    until: Timestamp,
    stance: Stance,
    level: f64,
}

impl Expectations {
    /// Nothing was said.
    #[must_use]
    pub const fn new() -> Self {
        Self { scopes: BTreeMap::new() }
    }

    /// Adds one verdict. The same one twice counts once; of two that begin at the same time the one
    /// added later counts.
    pub fn add(&mut self, acceptance: &Acceptance) {
        let subject = acceptance.subject();
        let spans = self
            .scopes
            .entry(scope_hash(acceptance))
            .or_default()
            .entry((subject.kind, subject.hash.0))
            .or_default();
        let span = Span {
            at: acceptance.at(),
            until: acceptance.expires().unwrap_or(Timestamp::MAX),
            stance: acceptance.stance(),
            level: subject.level.unwrap_or(0.0),
        };
        spans.retain(|known| known.at != span.at);
        spans.push(span);
        spans.sort_by_key(|span| span.at);
        if spans.len() > EXPECTATIONS_OF_A_SUBJECT {
            spans.remove(0);
        }
    }

    /// What was said of the agent with hash `agent` in `group`, as it applies at `time`.
    #[must_use]
    pub fn said(&self, agent: u64, group: GroupKey, time: Timestamp) -> Said<'_> {
        // Mostly nobody has said anything, and this is asked on every call.
        if self.scopes.is_empty() {
            return Said { scopes: [None; 2], time };
        }
        Said { scopes: [agent, group.0].map(|scope| self.scopes.get(&scope)), time }
    }
}

/// What was said of one agent, as it applies at one time: what detectors ask.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// What was said of the agent, and of its group.
    scopes: [Option<&'a Subjects>; 2],
    time: Timestamp,
}

impl Said<'_> {
    /// Whether nobody has said anything of the agent or its group.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        matches!(self.scopes, [None, None])
    }

    /// What was said of a tool, by its hash with its server.
    #[must_use]
    pub fn of_tool(&self, tool: u64) -> Option<Stance> {
        self.stance(SubjectKind::Tool, tool)
    }

    /// Whether a tool is expected, by its hash with its server.
    #[must_use]
    pub fn is_expected_tool(&self, tool: u64) -> bool {
        self.of_tool(tool) == Some(Stance::Expected)
    }

    /// What was said of a target, by its kind and the hash of its value.
    #[must_use]
    pub fn of_target(&self, kind: TargetKind, value: u64) -> Option<Stance> {
        self.stance(SubjectKind::Target(kind), value)
    }

    /// Whether a target is expected, by its kind and the hash of its value.
    #[must_use]
    pub fn is_expected_target(&self, kind: TargetKind, value: u64) -> bool {
        self.of_target(kind, value) == Some(Stance::Expected)
    }

    /// Whether a call's target is expected: its value, or the host that an e-mail address belongs
    /// to. A host where anybody can have a mailbox vouches for nobody.
    #[must_use]
    pub fn is_expected(&self, target: &Target) -> bool {
        let domain = || {
            let counts = target.domain != 0 && !target.is_freemail;
            counts.then(|| self.of_target(TargetKind::Host, target.domain)).flatten()
        };
        let stance = self.of_target(target.kind, target.value).or_else(domain);
        stance == Some(Stance::Expected)
    }

    /// The level of a detector that is expected, if one is.
    #[must_use]
    pub fn expected_level(&self, detector: Detector) -> Option<f64> {
        if self.is_nothing() {
            return None;
        }
        let span = self.span(SubjectKind::Level, level_hash(detector))?;
        (span.stance == Stance::Expected).then_some(span.level)
    }

    /// Whether a count is within the level of a detector that is expected.
    #[must_use]
    pub fn is_expected_level(&self, detector: Detector, count: u32) -> bool {
        self.expected_level(detector).is_some_and(|level| f64::from(count) <= level)
    }

    /// Whether an amount is within the level of a detector that is expected.
    #[must_use]
    pub fn is_expected_amount(&self, detector: Detector, amount: f64) -> bool {
        self.expected_level(detector).is_some_and(|level| amount <= level)
    }

    /// What was said of an hour of the UTC day, 0 to 23.
    #[must_use]
    pub fn of_hour(&self, hour: u8) -> Option<Stance> {
        if self.is_nothing() {
            return None;
        }
        self.stance(SubjectKind::Hour, hour_hash(hour % 24))
    }

    fn stance(&self, kind: SubjectKind, hash: u64) -> Option<Stance> {
        self.span(kind, hash).map(|span| span.stance)
    }

    fn span(&self, kind: SubjectKind, hash: u64) -> Option<&Span> {
        // Mostly nothing was said, and many ask.
        if self.is_nothing() {
            return None;
        }
        self.scopes.iter().flatten().find_map(|subjects| {
            let latest = subjects.get(&(kind, hash))?.iter().rev().find(|it| it.at <= self.time);
            latest.filter(|span| self.time < span.until)
        })
    }
}

/// The hash that the level of a detector is known by.
#[must_use]
pub fn level_hash(detector: Detector) -> u64 {
    hash_texts(&["level", detector.as_str()])
}

/// The hash that an hour of the UTC day is known by.
#[must_use]
pub fn hour_hash(hour: u8) -> u64 {
    hash_texts(&["hour", &hour.to_string()])
}

fn scope_hash(acceptance: &Acceptance) -> u64 {
    let raw = acceptance.raw();
    match &raw.scope {
        Scope::Agent(agent) => agent_hash(&raw.tenant_id, agent),
        Scope::Group(group) => GroupKey::of(&raw.tenant_id, group).0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Subject;
    use crate::policy::{RawAcceptance, VERDICT_SCHEMA};
    use proptest::prelude::*;

    const TOOL: u64 = 7;

    fn verdict(scope: Scope, stance: Stance, at: i64, expires: Option<i64>) -> Acceptance {
        Acceptance::from_raw(RawAcceptance {
            schema: VERDICT_SCHEMA.to_owned(),
            tenant_id: "acme".to_owned(),
            scope,
            subject: Subject::new(SubjectKind::Tool, TOOL, "tool"),
            verdict: stance,
            reason: "tested".to_owned(),
            author: "kim".to_owned(),
            at: Timestamp::from_secs(at).to_string(),
            expires: expires.map(|secs| Timestamp::from_secs(secs).to_string()),
            alert_id: None,
        })
        .unwrap()
    }

    fn agent() -> Scope {
        Scope::Agent("bot@1".to_owned())
    }

    fn group() -> Scope {
        Scope::Group("bot".to_owned())
    }

    fn all(verdicts: &[Acceptance]) -> Expectations {
        let mut expectations = Expectations::new();
        verdicts.iter().for_each(|verdict| expectations.add(verdict));
        expectations
    }

    fn said_of(expectations: &Expectations, id: &str, secs: i64) -> Option<Stance> {
        let time = Timestamp::from_secs(secs);
        let group = GroupKey::of("acme", "bot");
        expectations.said(agent_hash("acme", id), group, time).of_tool(TOOL)
    }

    #[test]
    fn a_verdict_applies_from_its_time_until_it_expires() {
        let it = all(&[verdict(agent(), Stance::Expected, 10, Some(20))]);
        let at = |secs| said_of(&it, "bot@1", secs).is_some();
        assert_eq!([9, 10, 19, 20].map(at), [false, true, true, false]);
        assert_eq!(said_of(&it, "bot@2", 15), None);
    }

    #[test]
    fn a_later_verdict_ends_an_earlier_one() {
        let it = all(&[
            verdict(agent(), Stance::NotExpected, 20, None),
            verdict(agent(), Stance::Expected, 10, None),
        ]);
        assert_eq!(said_of(&it, "bot@1", 15), Some(Stance::Expected));
        assert_eq!(said_of(&it, "bot@1", 25), Some(Stance::NotExpected));
    }

    #[test]
    fn what_is_said_of_the_agent_counts_before_its_group() {
        let it = all(&[
            verdict(group(), Stance::Expected, 10, None),
            verdict(agent(), Stance::NotExpected, 10, None),
        ]);
        assert_eq!(said_of(&it, "bot@1", 15), Some(Stance::NotExpected));
        assert_eq!(said_of(&it, "bot@2", 15), Some(Stance::Expected));
    }

    proptest! {
        #[test]
        fn the_order_of_reading_does_not_matter(times in prop::collection::btree_set(0_i64..100, 1..10), asked in 0_i64..100) {
            let verdicts: Vec<Acceptance> = times
                .iter()
                .map(|at| verdict(agent(), if at % 2 == 0 { Stance::Expected } else { Stance::NotExpected }, *at, None))
                .collect();
            let backwards: Vec<Acceptance> = verdicts.iter().rev().cloned().collect();
            prop_assert_eq!(all(&verdicts), all(&backwards));
            let latest = times.iter().rev().find(|at| **at <= asked).map(|at| at % 2 == 0);
            prop_assert_eq!(said_of(&all(&verdicts), "bot@1", asked).map(|stance| stance == Stance::Expected), latest);
        }
    }
}
