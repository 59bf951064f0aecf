//! How many agents of a group took up which version, and on which day.
//!
//! Each agent tells once when it takes a version up. Kept are the latest days; what falls out is
//! older than all that stays, in whatever order it came, so merging is order-free.

use serde::{Deserialize, Serialize};

/// Pairs of day and version kept of one group.
pub const VERSIONS_PER_GROUP: usize = 128;

/// The agents of a group that took up one version on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Taken {
    day: i32,
    version: u32,
    agents: u32,
}

/// Which versions the agents of one group took up, by day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupVersions {
    /// Latest day first.
    taken: Vec<Taken>,
    is_full: bool,
}

impl GroupVersions {
    /// Adds agents that took a version up on a day since the Unix epoch; of more than `max` pairs the
    /// latest stay.
    pub fn add(&mut self, (day, version): (i32, u32), agents: u32, max: usize) {
        let is_before = |taken: &Taken| (taken.day, taken.version) > (day, version);
        let place = self.taken.partition_point(is_before);
        match self.taken.get_mut(place).filter(|it| (it.day, it.version) == (day, version)) {
            Some(taken) => taken.agents = taken.agents.saturating_add(agents),
            None if place >= max => self.is_full = true,
            None => {
                if self.taken.len() == self.taken.capacity() {
                    self.taken.reserve_exact(4);
                }
                self.taken.insert(place, Taken { day, version, agents });
            }
        }
        if self.taken.len() > max {
            self.taken.truncate(max);
            self.is_full = true;
        }
    }

    /// Adds everything `other` knows.
    pub fn merge(&mut self, other: &Self, max: usize) {
        self.is_full |= other.is_full;
        other.taken.iter().for_each(|it| self.add((it.day, it.version), it.agents, max));
    }

    /// How many pairs there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.taken.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Whether there were more than are kept.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Bytes on the heap.
    #[must_use]
    pub const fn heap_bytes(&self) -> usize {
        self.taken.capacity() * size_of::<Taken>()
    }

    /// How many agents took `version` up in or after the day `since`, leaving out one of them that
    /// did so on the day `own`, and the first day that one of the others did.
    #[must_use]
    pub fn takers(&self, version: u32, since: i32, own: Option<i32>) -> Option<(u32, i32)> {
        let of_it = self.taken.iter().filter(|it| it.version == version && it.day >= since);
        let others =
            of_it.map(|it| (it.agents - u32::from(own == Some(it.day)).min(it.agents), it.day));
        others
            .filter(|(agents, _)| *agents > 0)
            .reduce(|all, (agents, day)| (all.0.saturating_add(agents), all.1.min(day)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(taken: &[(i32, u32)]) -> GroupVersions {
        let mut versions = GroupVersions::default();
        taken.iter().for_each(|it| versions.add(*it, 1, VERSIONS_PER_GROUP));
        versions
    }

    #[test]
    fn others_are_counted_from_the_first_day_on_without_oneself() {
        let versions = of(&[(3, 7), (4, 7), (4, 7), (4, 8), (9, 7)]);
        assert_eq!(versions.takers(7, 0, None), Some((4, 3)));
        assert_eq!(versions.takers(7, 0, Some(3)), Some((3, 4)));
        assert_eq!(versions.takers(7, 5, Some(9)), None);
    }

    proptest! {
        #[test]
        fn the_order_of_facts_and_merges_does_not_matter_and_the_table_is_bounded(
            taken in prop::collection::vec((0_i32..40, 0_u32..30), 0..400), cut in 0_usize..400,
        ) {
            let (left, right) = taken.split_at(cut.min(taken.len()));
            let backwards: Vec<_> = taken.iter().rev().copied().collect();
            let mut merged = of(right);
            merged.merge(&of(left), VERSIONS_PER_GROUP);
            prop_assert_eq!(&merged, &of(&backwards));
            prop_assert!(merged.taken.len() <= VERSIONS_PER_GROUP);
        }
    }
}
