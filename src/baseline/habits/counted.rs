//! A bounded count of hashes: how many sessions had each, and when it was last seen.
//!
//! When it is full those seen in one session only make room first, the oldest before the others. So
//! a flood of values that are used once cannot push out what sessions have in common.

use serde::{Deserialize, Serialize};

/// One hash: 14 bytes, kept in pieces that leave no gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    key: [u8; 8],
    /// The number of the learned session it was last in.
    last: [u8; 4],
    count: u16,
}

impl Entry {
    const fn key(&self) -> u64 {
        u64::from_le_bytes(self.key)
    }

    const fn last(&self) -> u32 {
        u32::from_le_bytes(self.last)
    }
}

/// The hashes, ascending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    entries: Vec<Entry>,
    max: usize,
    /// Hashes had to make room for others.
    is_full: bool,
}

impl Counted {
    /// Whether it has room for `max` hashes, and holds no more.
    pub(super) const fn has_room_for(&self, max: usize) -> bool {
        self.max == max && self.entries.len() <= max
    }

    /// Room for `max` hashes.
    pub(super) const fn new(max: usize) -> Self {
        Self { entries: Vec::new(), max, is_full: false }
    }

    /// Whether hashes had to make room.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// In how many sessions `key` was, as far as it is remembered.
    pub(super) fn count(&self, key: u64) -> u16 {
        let place = self.entries.binary_search_by_key(&key, Entry::key);
        place.ok().and_then(|at| self.entries.get(at)).map_or(0, |entry| entry.count)
    }

    /// Counts `key` once more, in session number `session`.
    pub(super) fn add(&mut self, key: u64, session: u32) {
        match self.entries.binary_search_by_key(&key, Entry::key) {
            Ok(at) => {
                if let Some(entry) = self.entries.get_mut(at) {
                    entry.count = entry.count.saturating_add(1);
                    entry.last = session.to_le_bytes();
                }
            }
            Err(mut at) => {
                if self.entries.len() >= self.max {
                    self.make_room();
                    at = self.entries.partition_point(|entry| entry.key() < key);
                }
                let (key, last) = (key.to_le_bytes(), session.to_le_bytes());
                self.entries.insert(at, Entry { key, last, count: 1 });
            }
        }
    }

    /// How many hashes there are.
    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    /// Gives back what the vector holds beyond its entries.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// Frees an eighth of the places at once, so that it is seldom done.
    fn make_room(&mut self) {
        self.is_full = true;
        let rank = |entry: &Entry| (entry.count > 1, entry.last(), entry.key());
        let mut ranks: Vec<_> = self.entries.iter().map(rank).collect();
        let gone = (self.max / 8).max(1);
        if ranks.len() <= gone {
            self.entries.clear();
            return;
        }
        let (_, last, _) = ranks.select_nth_unstable(gone - 1);
        let last = *last;
        self.entries.retain(|entry| rank(entry) > last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_once_makes_room_first_and_the_oldest_of_it() {
        let mut counted = Counted::new(16);
        (0..2).for_each(|session| counted.add(1_000, session));
        (1..100).for_each(|n| counted.add(n, u32::try_from(n).unwrap()));
        assert_eq!(counted.count(1_000), 2);
        assert_eq!((counted.count(1), counted.count(99)), (0, 1));
        assert!(counted.len() <= 16);
    }

    #[test]
    fn common_hashes_make_room_for_each_other_when_there_is_nothing_else() {
        let mut counted = Counted::new(8);
        for n in 0..50 {
            counted.add(n, u32::try_from(n).unwrap());
            counted.add(n, u32::try_from(n).unwrap());
        }
        assert!(counted.len() <= 8 && counted.count(49) == 2);
    }
}
