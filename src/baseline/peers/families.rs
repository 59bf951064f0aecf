//! How many sub-agents of each agent of a tenant were at work, by the hour.
//!
//! Kept are the latest hours of all agents together: what falls out is older than all that stays, in
//! whatever order it came, so merging is order-free. An agent looks at least when it speaks next.

use serde::{Deserialize, Serialize};

use crate::baseline::ancestry::Ancestry;

/// The sub-agents of one agent in one hour: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    root: u64,
    hour: i32,
    agents: u32,
}

/// The sub-agents of the agents of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Families {
    /// The latest hour first, and in it the largest hash.
    seen: Vec<Seen>,
    is_full: bool,
}

/// How many sub-agents of one agent were at work, by hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Family {
    hours: Vec<(i64, u32)>,
}

impl Family {
    /// The hours remembered with the sub-agents of each, latest first.
    #[must_use]
    pub fn hours(&self) -> &[(i64, u32)] {
        &self.hours
    }
}

impl Families {
    /// Adds sub-agents of one agent in an epoch hour; of more than `max` entries the latest stay.
    pub(super) fn add(&mut self, root: u64, hour: i32, agents: u32, max: usize) {
        let place = self.seen.partition_point(|it| (it.hour, it.root) > (hour, root));
        match self.seen.get_mut(place).filter(|it| (it.hour, it.root) == (hour, root)) {
            Some(seen) => seen.agents = seen.agents.saturating_add(agents),
            None if place >= max => self.is_full = true,
            None => {
                if self.seen.len() == self.seen.capacity() {
                    self.seen.reserve_exact(16);
                }
                self.seen.insert(place, Seen { root, hour, agents });
            }
        }
        if self.seen.len() > max {
            self.seen.truncate(max);
            self.is_full = true;
        }
    }

    /// Adds everything `other` knows.
    pub(super) fn merge(&mut self, other: &Self, max: usize) {
        self.is_full |= other.is_full;
        other.seen.iter().for_each(|it| self.add(it.root, it.hour, it.agents, max));
    }

    /// The sub-agents of one agent; `None` without any.
    pub(super) fn of(&self, root: u64) -> Option<Family> {
        let of_it = self.seen.iter().filter(|it| it.root == root);
        let hours: Vec<_> = of_it.map(|it| (i64::from(it.hour), it.agents)).collect();
        (!hours.is_empty()).then_some(Family { hours })
    }

    /// Every family with those of everybody below it; empty where nobody is below another.
    pub(super) fn rolled_up(&self, ancestry: &Ancestry, max: usize) -> Self {
        let parents = ancestry.parents();
        let above: Vec<(Seen, Vec<u64>)> =
            self.seen.iter().map(|it| (*it, parents.above(it.root))).collect();
        if above.iter().all(|(_, above)| above.is_empty()) {
            return Self::default();
        }
        let mut rolled = self.clone();
        for (seen, above) in above {
            above.iter().for_each(|root| rolled.add(*root, seen.hour, seen.agents, max));
        }
        rolled
    }

    /// Whether there were more than are kept.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) const fn len(&self) -> usize {
        self.seen.len()
    }

    pub(super) const fn heap_bytes(&self) -> usize {
        self.seen.capacity() * size_of::<Seen>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_family_is_counted_by_the_hour_and_the_oldest_hours_make_room() {
        let mut families = Families::default();
        [3, 4, 3].iter().for_each(|hour| families.add(7, *hour, 1, 9));
        assert_eq!(families.of(7).unwrap().hours(), [(4, 1), (3, 2)]);
        (10..40).for_each(|hour| families.add(7, hour, 1, 9));
        assert_eq!(families.of(7).unwrap().hours().last(), Some(&(31, 1)));
        assert!(families.is_full() && families.of(8).is_none());
    }

    proptest! {
        #[test]
        fn facts_in_any_order_and_grouping_say_the_same(
            facts in prop::collection::vec((0_u64..9, -3_i32..9), 0..80), cut in 0_usize..80,
        ) {
            let of = |facts: &[(u64, i32)]| {
                let mut families = Families::default();
                facts.iter().for_each(|(root, hour)| families.add(*root, *hour, 1, 12));
                families
            };
            let (left, right) = facts.split_at(cut.min(facts.len()));
            let backwards: Vec<_> = facts.iter().rev().copied().collect();
            let mut merged = of(right);
            merged.merge(&of(left), 12);
            prop_assert_eq!(&merged, &of(&backwards));
            prop_assert!(merged.len() <= 12);
        }
    }
}
