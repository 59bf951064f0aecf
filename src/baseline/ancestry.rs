//! Which agent started which, so that the sub-agents of a sub-agent count for whoever began it all.
//!
//! Every sub-agent tells its parent once an hour. Kept are the pairs of the latest days; what falls
//! out is older than all that stays, in whatever order it came, so merging is order-free. A chain
//! whose middle fell out, or that is longer than eight, counts for its nearer ancestors only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Agents whose parent is remembered, of one tenant.
pub const PARENTS_PER_TENANT: usize = 1_536;

/// The longest chain that is followed.
const CHAIN_MAX: usize = 8;

/// One agent's parent on one day: 20 bytes, hashes as bytes so that there is no gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Child {
    /// Since the Unix epoch.
    day: i32,
    agent: [u8; 8],
    parent: [u8; 8],
}

impl Child {
    const fn agent(&self) -> u64 {
        u64::from_le_bytes(self.agent)
    }

    const fn parent(&self) -> u64 {
        u64::from_le_bytes(self.parent)
    }
}

/// Who started whom in one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestry {
    /// Latest day first.
    children: Vec<Child>,
    is_full: bool,
}

impl Ancestry {
    /// Notes who started an agent on a day: the agent and its parent. Of several parents the largest
    /// hash stays, and of more than `max` pairs those of the latest days.
    pub fn add(&mut self, day: i32, (agent, parent): (u64, u64), max: usize) {
        let place = self.children.partition_point(|it| (it.day, it.agent()) > (day, agent));
        match self.children.get_mut(place).filter(|it| (it.day, it.agent()) == (day, agent)) {
            Some(child) => child.parent = child.parent().max(parent).to_le_bytes(),
            None if place >= max => self.is_full = true,
            None => {
                if self.children.len() == self.children.capacity() {
                    self.children.reserve_exact(16);
                }
                let (agent, parent) = (agent.to_le_bytes(), parent.to_le_bytes());
                self.children.insert(place, Child { day, agent, parent });
            }
        }
        if self.children.len() > max {
            self.children.truncate(max);
            self.is_full = true;
        }
    }

    /// Adds everything `other` knows.
    pub fn merge(&mut self, other: &Self, max: usize) {
        self.is_full |= other.is_full;
        other.children.iter().for_each(|it| self.add(it.day, (it.agent(), it.parent()), max));
    }

    /// How many pairs there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.children.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Whether there were more than are kept.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Bytes on the heap.
    #[must_use]
    pub const fn heap_bytes(&self) -> usize {
        self.children.capacity() * size_of::<Child>()
    }

    /// The latest parent of each agent.
    #[must_use]
    pub fn parents(&self) -> Parents {
        let mut parents = BTreeMap::new();
        for child in &self.children {
            parents.entry(child.agent()).or_insert_with(|| child.parent());
        }
        Parents(parents)
    }
}

/// The latest parent of each agent of a tenant.
#[derive(Clone, Debug, Default)]
pub struct Parents(BTreeMap<u64, u64>);

impl Parents {
    /// Everybody above an agent, the nearest first. Ends where a chain bites its tail.
    #[must_use]
    pub fn above(&self, agent: u64) -> Vec<u64> {
        let mut chain = vec![agent];
        while let Some(parent) = chain.last().and_then(|last| self.0.get(last)) {
            if chain.contains(parent) || chain.len() > CHAIN_MAX {
                break;
            }
            chain.push(*parent);
        }
        chain.remove(0);
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(children: &[(i32, u64, u64)]) -> Ancestry {
        let mut ancestry = Ancestry::default();
        let add = |(day, agent, parent): &(i32, u64, u64)| {
            ancestry.add(*day, (*agent, *parent), PARENTS_PER_TENANT);
        };
        children.iter().for_each(add);
        ancestry
    }

    #[test]
    fn a_chain_is_followed_to_its_root_and_a_ring_once_around() {
        let chain = of(&[(1, 4, 3), (1, 3, 2), (2, 2, 1)]).parents();
        assert_eq!(chain.above(4), [3, 2, 1]);
        assert!(chain.above(1).is_empty());
        let ring = of(&[(1, 1, 2), (1, 2, 3), (1, 3, 1), (1, 9, 1)]).parents();
        assert_eq!(ring.above(1), [2, 3]);
        assert_eq!(ring.above(9), [1, 2, 3]);
        let long: Vec<(i32, u64, u64)> = (0..50).map(|n| (1, n + 1, n)).collect();
        assert_eq!(of(&long).parents().above(50).len(), CHAIN_MAX);
    }

    #[test]
    fn the_parent_of_the_latest_day_counts() {
        assert_eq!(of(&[(1, 4, 9), (2, 4, 3)]).parents().above(4), [3]);
    }

    proptest! {
        #[test]
        fn the_order_of_facts_and_merges_does_not_matter_and_the_table_is_bounded(
            children in prop::collection::vec((0_i32..40, 0_u64..90, 0_u64..9), 0..3_000), cut in 0_usize..3_000,
        ) {
            let (left, right) = children.split_at(cut.min(children.len()));
            let backwards: Vec<_> = children.iter().rev().copied().collect();
            let mut merged = of(right);
            merged.merge(&of(left), PARENTS_PER_TENANT);
            prop_assert_eq!(&merged, &of(&backwards));
            prop_assert!(merged.len() <= PARENTS_PER_TENANT);
        }
    }
}
