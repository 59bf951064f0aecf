//! What agents taught their peers since a partition was last written down, packed as it will stand in
//! their records and without what the one before says too: in memory each lesson would take four times
//! as much, and the more fit the less often everything is written.

use std::collections::BTreeMap;

use crate::baseline::peers::{Fact, GroupKey};
use crate::state::AgentKey;
use crate::state::changelog::Lesson;
use crate::state::codec::{Kind, StateError, append, beginning};
use crate::state::reached::Place;

/// Whom a lesson is for: the epoch and the group.
type Class = (i64, GroupKey);

/// A lesson that was packed: where the one before of its agent is, whom it is for unless it is for the
/// same, and what it says.
type Packed = (Option<usize>, Option<Class>, Place, Fact);

/// The most that a class takes in a record, in bytes.
const CLASS_BYTES: usize = 20;

/// What agents taught.
#[derive(Debug, Default)]
pub(super) struct Lessons {
    /// One lesson after the other as they were taught, each behind the place of the one that its agent
    /// taught before. A list for each agent would be somewhere else in memory for each call.
    packed: Vec<u8>,
    of_each: BTreeMap<AgentKey, Own>,
    /// The most that those of one agent take in its record, in bytes.
    of_one: usize,
}

/// The lessons of one agent.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    /// Where the last one is.
    last: Option<usize>,
    /// Whom that one was for.
    class: Option<Class>,
    /// What they take in its record, at most.
    bytes: usize,
}

impl Lessons {
    /// `agent` taught `lessons`.
    ///
    /// # Errors
    ///
    /// When one cannot be packed; it and those after it are left out.
    pub(super) fn push(
        &mut self,
        agent: AgentKey,
        mut lessons: impl Iterator<Item = Lesson>,
    ) -> Result<(), StateError> {
        let own = self.of_each.entry(agent).or_default();
        let packed = lessons.try_for_each(|lesson| {
            let at = self.packed.len();
            let Lesson { place, epoch, group, fact } = lesson;
            let class = Some((epoch, group));
            let other = class.filter(|_| own.class != class);
            let packed: Packed = (own.last, other, place, fact);
            append(&mut self.packed, Kind::Snapshot, &packed)?;
            (own.last, own.class) = (Some(at), class);
            own.bytes += self.packed.len() - at + CLASS_BYTES;
            Ok(())
        });
        self.of_one = self.of_one.max(own.bytes);
        packed
    }

    /// Those of `agent`, in their order.
    ///
    /// # Errors
    ///
    /// When they cannot be unpacked.
    pub(super) fn of(&self, agent: AgentKey) -> Result<Vec<Lesson>, StateError> {
        let mut told = Vec::new();
        let mut last = self.of_each.get(&agent).and_then(|own| own.last);
        while let Some(at) = last {
            let bytes = self.packed.get(at..).unwrap_or_default();
            let (before, class, place, fact): Packed = beginning(Kind::Snapshot, bytes)?;
            told.push((class, place, fact));
            last = before;
        }
        // The first one names its own.
        let mut class = (0, GroupKey(0));
        let lessons = told.into_iter().rev().map(|(other, place, fact)| {
            class = other.unwrap_or(class);
            let (epoch, group) = class;
            Lesson { place, epoch, group, fact }
        });
        Ok(lessons.collect())
    }

    /// The most that those of one agent take in its record, in bytes.
    pub(super) const fn of_one(&self) -> usize {
        self.of_one
    }

    /// What all of them take in memory, in bytes.
    pub(super) fn of_all(&self) -> usize {
        self.packed.len() + self.of_each.len() * size_of::<(AgentKey, Own)>()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::baseline::session::LiveSession;
    use crate::baseline::usage::{Usage, UsageKind};
    use crate::event::{Target, Timestamp};

    /// Its group is one of two and its epoch as well, as its fact has it.
    fn lesson(fact: Fact) -> Lesson {
        let group = GroupKey(u64::MAX - u64::from(format!("{fact:?}").len() % 3 == 0));
        let epoch = i64::MAX - i64::from(matches!(fact, Fact::Agent));
        Lesson { place: (i64::MAX, 7), epoch, group, fact }
    }

    fn session(values: u64) -> Fact {
        let time = Timestamp::from_secs(1_790_000_000);
        let mut live = LiveSession::new(u64::MAX, time);
        for value in 0..values {
            let target = Target { value: u64::MAX - value, is_whole: true, ..Target::default() };
            live.add(time, u64::MAX - value, &[target], &[]);
        }
        Fact::Session(Arc::new(live.learned(u64::MAX, live.deadline())))
    }

    fn fact() -> impl Strategy<Value = Fact> {
        prop_oneof![
            Just(Fact::Agent),
            any::<[u64; 24]>().prop_map(|hashes| {
                Fact::Usage(hashes.map(|hash| Usage::of(UsageKind::Command, hash)))
            }),
            (any::<u64>(), any::<u64>(), any::<i64>(), any::<bool>())
                .prop_map(|(tool, agent, hour, began)| Fact::Tool { tool, agent, hour, began }),
            (any::<u64>(), any::<i64>()).prop_map(|(root, hour)| Fact::SubAgent { root, hour }),
            (0_u64..40).prop_map(session),
        ]
    }

    proptest! {
        #[test]
        fn each_agent_gets_its_own_lessons_in_their_order_and_their_size_is_known(
            told in prop::collection::vec((0_u128..6, prop::collection::vec(fact(), 0..3)), 0..40),
        ) {
            let mut lessons = Lessons::default();
            for (agent, facts) in &told {
                let taught = facts.iter().cloned().map(lesson);
                lessons.push(AgentKey::from_number(*agent), taught).unwrap();
            }
            let mut largest = 0;
            for agent in 0_u128..7 {
                let own = told.iter().filter(|(whose, _)| *whose == agent);
                let own: Vec<Lesson> =
                    own.flat_map(|(_, facts)| facts.iter().cloned().map(lesson)).collect();
                let key = AgentKey::from_number(agent);
                prop_assert_eq!(&lessons.of(key).unwrap(), &own);
                let written = postcard::to_allocvec(&own).unwrap().len() - 1;
                let most = lessons.of_each.get(&key).map_or(0, |own| own.bytes);
                prop_assert!(written <= most, "{} bytes of {}", written, most);
                largest = largest.max(most);
            }
            prop_assert_eq!(lessons.of_one(), largest);
            prop_assert!(lessons.of_all() >= lessons.packed.len());
        }
    }
}
