//! What kinds of agents a tenant has, told by the tools they use: so that agents whose names say
//! nothing still find their peers.
//!
//! A kind is known by one agent that was the first of it and by a sketch of its tools: the smallest
//! of sixteen hashes of each, of which two agents share about as many as they share of their tools
//! (MinHash, Broder 1997). Bounded: the smallest names stay, in whatever order they came.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Kinds remembered of one tenant.
pub const KINDS_PER_TENANT: usize = 64;

/// Hashes of a sketch.
const HASHES: usize = 16;

/// Hashes that two sketches of one kind have in common: half of the tools are shared. Unrelated
/// agents that share one tool in ten reach it once in 50,000 pairs.
const ALIKE: usize = 8;

/// Tools that make a sketch: fewer say nothing.
const TOOLS_MIN: usize = 3;

/// A sketch of the tools that an agent uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ToolSketch([u16; HASHES]);

impl ToolSketch {
    /// The sketch of a set of tools, in any order; `None` for too few of them.
    #[must_use]
    pub fn of(tools: &[u64]) -> Option<Self> {
        if tools.len() < TOOLS_MIN {
            return None;
        }
        let mut sketch = [0; HASHES];
        for (salt, place) in (1_u64..).zip(&mut sketch) {
            let smallest = tools.iter().map(|tool| mix(*tool, salt)).min().unwrap_or_default();
            // The low bits of a minimum are as good as any.
            *place = u16::try_from(smallest & 0xffff).unwrap_or_default();
        }
        Some(Self(sketch))
    }

    fn is_like(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).filter(|(a, b)| a == b).count() >= ALIKE
    }
}

/// A permutation of 64 bits for each salt (the finaliser of SplitMix64, Steele et al. 2014).
const fn mix(tool: u64, salt: u64) -> u64 {
    let mut z = tool.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The kinds of agents of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds {
    /// Ascending by their names.
    kinds: Vec<(Arc<str>, ToolSketch)>,
    is_full: bool,
}

impl Kinds {
    /// Adds a kind by the name of its first agent; of more than `max` the smallest names stay.
    pub fn add(&mut self, name: Arc<str>, sketch: ToolSketch, max: usize) {
        let new = (name, sketch);
        let Err(place) = self.kinds.binary_search(&new) else { return };
        self.kinds.reserve_exact(1);
        self.kinds.insert(place, new);
        if self.kinds.len() > max {
            self.kinds.truncate(max);
            self.is_full = true;
        }
    }

    /// Adds everything `other` knows.
    pub fn merge(&mut self, other: &Self, max: usize) {
        self.is_full |= other.is_full;
        other.kinds.iter().for_each(|(name, sketch)| self.add(Arc::clone(name), *sketch, max));
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Whether there were more than are kept.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Bytes on the heap, names included.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        // A shared text has two counters before it.
        let names = self.kinds.iter().map(|(name, _)| name.len() + 2 * size_of::<usize>());
        self.kinds.capacity() * size_of::<(Arc<str>, ToolSketch)>() + names.sum::<usize>()
    }

    /// The name of the kind that an agent belongs to: of all that are alike the smallest name.
    #[must_use]
    pub fn like(&self, sketch: &ToolSketch) -> Option<&str> {
        self.kinds.iter().find(|(_, known)| known.is_like(sketch)).map(|(name, _)| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::identity::tool_hash;
    use proptest::prelude::*;

    fn tools(names: std::ops::Range<u32>) -> Vec<u64> {
        names.map(|n| tool_hash(None, &format!("tool-{n}"))).collect()
    }

    fn sketch(names: std::ops::Range<u32>) -> ToolSketch {
        ToolSketch::of(&tools(names)).unwrap()
    }

    #[test]
    fn agents_with_nearly_the_same_tools_are_alike_and_others_are_not() {
        let (mut alike, mut other) = (0, 0);
        for n in 0..200 {
            let from = n * 100;
            // 11 of 13 tools shared, and 1 of 19.
            alike += u32::from(sketch(from..from + 12).is_like(&sketch(from + 1..from + 13)));
            other += u32::from(sketch(from..from + 10).is_like(&sketch(from + 9..from + 19)));
        }
        assert!(alike >= 195 && other == 0, "{alike} {other}");
    }

    #[test]
    fn two_tools_make_no_sketch() {
        assert_eq!(ToolSketch::of(&tools(0..2)), None);
    }

    #[test]
    fn of_several_kinds_alike_the_smallest_name_counts() {
        let mut kinds = Kinds::default();
        for name in ["b", "a", "c"] {
            kinds.add(name.into(), sketch(0..9), 9);
        }
        assert_eq!(kinds.like(&sketch(0..9)), Some("a"));
        assert_eq!(kinds.like(&sketch(20..29)), None);
    }

    proptest! {
        #[test]
        fn the_order_of_kinds_and_merges_does_not_matter_and_the_table_is_bounded(
            kinds in prop::collection::vec((0_u32..200, 0_u32..9), 0..200), cut in 0_usize..200,
        ) {
            let of = |kinds: &[(u32, u32)]| {
                let mut known = Kinds::default();
                for (name, tools) in kinds {
                    known.add(name.to_string().into(), sketch(*tools..tools + 4), KINDS_PER_TENANT);
                }
                known
            };
            let (left, right) = kinds.split_at(cut.min(kinds.len()));
            let backwards: Vec<_> = kinds.iter().rev().copied().collect();
            let mut merged = of(right);
            merged.merge(&of(left), KINDS_PER_TENANT);
            prop_assert_eq!(&merged, &of(&backwards));
            prop_assert!(merged.len() <= KINDS_PER_TENANT);
        }
    }
}
