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
    /// Bytes it takes at most.
    pub const BYTES_MAX: usize = size_of::<Self>() + size_of::<[u64; SIZE]>();

    /// Notes words. `set` counts the bits of the younger filter; whoever has the filter has room for
    /// it, and the filter itself would take eight bytes more.
    pub fn insert(&mut self, words: &[u32], set: &mut u16) {
        if usize::from(*set) + 2 * words.len() <= usize::from(FULL) {
            *set += u16::try_from(self.set(words)).unwrap_or(0);
            return;
        }
        let mut left = words;
        while !left.is_empty() {
            if *set >= FULL {
                self.turn();
                *set = 0;
            }
            // Of so many words none finds the filter full, so it is not asked for each of them.
            let room = usize::from((FULL - *set).div_ceil(2)).min(left.len());
            let (now, later) = left.split_at(room);
            *set += u16::try_from(self.set(now)).unwrap_or(0);
            left = later;
        }
    }

    #[cold]
    fn turn(&mut self) {
        **self.old.get_or_insert_default() = std::mem::take(&mut self.young);
    }

    /// Sets the bits of words; returns how many were not set.
    fn set(&mut self, words: &[u32]) -> u32 {
        let mut new = 0;
        for word in words {
            for (at, bit) in places(*word) {
                if let Some(bits) = self.young.get_mut(at) {
                    new += u32::from(*bits & bit == 0);
                    *bits |= bit;
                }
            }
        }
        new
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

    fn words(numbers: std::ops::Range<u32>) -> Vec<u32> {
        numbers.map(word).collect()
    }

    #[test]
    fn it_is_the_same_whether_words_come_one_by_one_or_together() {
        let words = words(0..2_000);
        let (mut one_by_one, mut singly) = (WordBloom::default(), 0);
        words.iter().for_each(|word| one_by_one.insert(&[*word], &mut singly));
        for size in [3, 16, 700, 2_000] {
            let (mut together, mut set) = (WordBloom::default(), 0);
            words.chunks(size).for_each(|some| together.insert(some, &mut set));
            assert_eq!((together, set), (one_by_one.clone(), singly), "{size}");
        }
    }

    #[test]
    fn a_word_is_known_until_long_texts_have_passed() {
        let (mut bloom, mut set) = (WordBloom::default(), 0);
        bloom.insert(&words(0..100), &mut set);
        assert!((0..100).all(|n| bloom.contains(word(n))));
        bloom.insert(&words(1_000..9_000), &mut set);
        let kept = (0..100).filter(|n| bloom.contains(word(*n))).count();
        assert!(kept < 70, "{kept}");
    }

    #[test]
    fn few_unknown_words_seem_known() {
        let (mut bloom, mut set) = (WordBloom::default(), 0);
        bloom.insert(&words(0..150), &mut set);
        let wrong = (10_000..20_000).filter(|n| bloom.contains(word(*n))).count();
        assert!(wrong < 1_000, "{wrong}");
        bloom.insert(&words(0..100_000), &mut set);
        let wrong = (200_000..210_000).filter(|n| bloom.contains(word(*n))).count();
        assert!(wrong < 5_000, "{wrong}");
    }
}
