//! The words of a call's arguments, one to three together, as hashes: whether a later target could
//! have been made from them.

use crate::decode::targets::hash::HashKey;
use crate::decode::targets::letters::{lower_byte, push_lower};
use crate::event::WORDS_MAX;

/// Eight bits for each hash that is kept.
const FILTER_WORDS: usize = 8;

/// Words on the way out of one call's arguments.
#[derive(Debug, Default)]
pub(super) struct Words {
    hashes: Vec<u32>,
    /// Which hashes may have been noted: what is not in it was not, and most are not.
    filter: [u64; FILTER_WORDS],
    is_over: bool,
}

impl Words {
    /// None so far, in the room that others took before.
    pub(super) fn within(mut hashes: Vec<u32>) -> Self {
        hashes.clear();
        Self { hashes, ..Self::default() }
    }

    /// Adds the words of `text`; `letters` is room for what they consist of.
    pub(super) fn add(&mut self, text: &str, key: HashKey, letters: &mut Vec<u8>) {
        letters.clear();
        if text.is_ascii() {
            self.add_ascii(text.as_bytes(), key, letters);
        } else {
            self.add_any(text, key, letters);
        }
    }

    fn add_ascii(&mut self, text: &[u8], key: HashKey, letters: &mut Vec<u8>) {
        let mut starts = Starts::default();
        letters.reserve(text.len());
        for byte in text.iter().chain(std::iter::once(&b' ')) {
            if let Some(letter) = lower_byte(*byte) {
                letters.push(letter);
            } else if !self.end(&mut starts, key, letters) {
                return;
            }
        }
    }

    fn add_any(&mut self, text: &str, key: HashKey, letters: &mut Vec<u8>) {
        let mut starts = Starts::default();
        for c in text.chars().chain(std::iter::once(' ')) {
            if c.is_alphanumeric() {
                push_lower(c, letters);
            } else if !self.end(&mut starts, key, letters) {
                return;
            }
        }
    }

    /// A word ends here, if one began. Returns whether there is room for more.
    #[inline]
    fn end(&mut self, starts: &mut Starts, key: HashKey, letters: &[u8]) -> bool {
        if letters.len() == starts.next {
            return true;
        }
        starts.last = [Some(starts.next), starts.last[0], starts.last[1]];
        starts.next = letters.len();
        for run in starts.last.iter().flatten().filter_map(|from| letters.get(*from..)) {
            self.note(key.stem(run));
        }
        !self.is_over
    }

    #[inline]
    fn note(&mut self, hash: u32) {
        if hash == 0 {
            return;
        }
        let [high, low, ..] = hash.to_le_bytes();
        let Some(known) = self.filter.get_mut(usize::from(high) % FILTER_WORDS) else { return };
        let bit = 1 << (low % 64);
        if *known & bit != 0 && self.hashes.contains(&hash) {
        } else if self.hashes.len() < WORDS_MAX {
            *known |= bit;
            self.hashes.push(hash);
        } else {
            self.is_over = true;
        }
    }

    /// The hashes, and whether there were more.
    pub(super) fn finish(self) -> (Vec<u32>, bool) {
        (self.hashes, self.is_over)
    }
}

/// Where the words of a text begin.
#[derive(Default)]
struct Starts {
    /// The last words, the latest first; as many as there are.
    last: [Option<usize>; 3],
    /// The word that may follow.
    next: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> (Vec<u32>, bool) {
        let mut words = Words::default();
        words.add(text, HashKey::BUILT_IN, &mut Vec::new());
        words.finish()
    }

    #[test]
    fn runs_of_up_to_three_words_are_noted_once() {
        let check = |text: &str, expected: &[&str]| {
            let expected: Vec<u32> =
                expected.iter().map(|run| HashKey::BUILT_IN.stem(run)).collect();
            assert_eq!(words(text), (expected, false), "{text}");
        };
        check("John.Doe", &["john", "johndoe"]);
        check(
            "pay the bill now",
            &["paythe", "bill", "thebill", "paythebill", "billnow", "thebillnow"],
        );
        check("a-b-cd e", &["abcd", "bcde"]);
        check("ÄPFEL (äpfel)", &["äpfel", "äpfeläpfel"]);
        check("  ", &[]);
        check(&"x".repeat(65), &[]);
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let text: String = (1_000..1_100).map(|number| format!("{number} ")).collect();
        let (hashes, is_over) = words(&text);
        assert_eq!((hashes.len(), is_over), (WORDS_MAX, true));
    }
}
