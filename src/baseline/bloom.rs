//! Which words stood in a session's arguments lately: two Bloom filters that take turns.
//!
//! When the younger one is half full it becomes the older one and an empty one takes its place. So
//! whoever writes long texts does not fill it until everything seems to be known.

use serde::{Deserialize, Serialize};

/// Words of 64 bits in each filter.
const SIZE: usize = 16;

/// Bits set at which a filter is done with: half of them.
const FULL: u16 = 512;

/// A bounded memory of words, which may take a word for known that is not: at most a quarter of
/// those it does not know for each of its filters, and far fewer in a session of some calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordBloom {
    young: [u64; SIZE],
    /// Only once the first one was done with.
    old: Option<Box<[u64; SIZE]>>,
}

/// Two places of a word among the 1,024.
fn places(word: u32) -> [(usize, u64); 2] {
    let [a, b, c, d] = word.wrapping_mul(0x9e37_79b1).to_le_bytes();
    let place = |bits: u16| (usize::from(bits >> 6) % SIZE, 1_u64 << (bits & 63));
    [place(u16::from_le_bytes([a, b])), place(u16::from_le_bytes([c, d]))]
}

fn contains(filter: &[u64; SIZE], word: u32) -> bool {
    places(word).iter().all(|(at, bit)| filter.get(*at).is_some_and(|bits| bits & bit != 0))
}

impl WordBloom {
    /// Notes a word. `set` counts the bits of the younger filter; whoever has the filter has room for
    /// it, and the filter itself would take eight bytes more.
    pub fn insert(&mut self, word: u32, set: &mut u16) {
        if *set >= FULL {
            **self.old.get_or_insert_default() = std::mem::take(&mut self.young);
            *set = 0;
        }
        for (at, bit) in places(word) {
            if let Some(bits) = self.young.get_mut(at) {
                *set += u16::from(*bits & bit == 0);
                *bits |= bit;
            }
        }
    }

    /// Whether the word was noted lately.
    #[must_use]
    pub fn contains(&self, word: u32) -> bool {
        let is_old = || self.old.as_ref().is_some_and(|old| contains(old, word));
        contains(&self.young, word) || is_old()
    }

    /// Touches the memory a look-up needs.
    #[must_use]
    pub const fn warm_up(&self) -> u64 {
        let [first, .., last] = self.young;
        first ^ last
    }

    /// Bytes it takes, its own and on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.old.as_ref().map_or(0, |_| size_of::<[u64; SIZE]>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(n: u32) -> u32 {
        n.wrapping_mul(0x85eb_ca6b) ^ (n >> 3)
    }

    #[test]
    fn a_word_is_known_until_long_texts_have_passed() {
        let (mut bloom, mut set) = (WordBloom::default(), 0);
        (0..100).for_each(|n| bloom.insert(word(n), &mut set));
        assert!((0..100).all(|n| bloom.contains(word(n))));
        (1_000..9_000).for_each(|n| bloom.insert(word(n), &mut set));
        let kept = (0..100).filter(|n| bloom.contains(word(*n))).count();
        assert!(kept < 70, "{kept}");
    }

    #[test]
    fn few_unknown_words_seem_known() {
        let (mut bloom, mut set) = (WordBloom::default(), 0);
        (0..150).for_each(|n| bloom.insert(word(n), &mut set));
        let wrong = (10_000..20_000).filter(|n| bloom.contains(word(*n))).count();
        assert!(wrong < 1_000, "{wrong}");
        (0..100_000).for_each(|n| bloom.insert(word(n), &mut set));
        let wrong = (200_000..210_000).filter(|n| bloom.contains(word(*n))).count();
        assert!(wrong < 5_000, "{wrong}");
    }
}
