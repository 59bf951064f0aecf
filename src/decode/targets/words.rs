//! The words of a call's arguments, one to three together, as hashes: whether a later target could
//! have been made from them.

use crate::decode::targets::hash::HashKey;
use crate::event::WORDS_MAX;

/// Words on the way out of one call's arguments.
#[derive(Debug)]
pub(super) struct Words {
    hashes: Vec<u32>,
    is_over: bool,
}

impl Words {
    pub(super) const fn new() -> Self {
        Self { hashes: Vec::new(), is_over: false }
    }

    /// Adds the words of `text`; `scratch` is left empty.
    pub(super) fn add(&mut self, text: &str, key: HashKey, scratch: &mut String) {
        scratch.clear();
        // Where the last words begin, the latest first; as many as there are.
        let mut starts = [None, None, None];
        let mut start = 0;
        for c in text.chars().chain(std::iter::once(' ')) {
            if c.is_ascii_alphanumeric() {
                scratch.push(c.to_ascii_lowercase());
                continue;
            }
            if !c.is_ascii() && c.is_alphanumeric() {
                scratch.extend(c.to_lowercase());
                continue;
            }
            if scratch.len() == start {
                continue;
            }
            starts = [Some(start), starts[0], starts[1]];
            start = scratch.len();
            for run in starts.iter().flatten().filter_map(|from| scratch.get(*from..)) {
                self.note(key.stem(run));
            }
            if self.is_over {
                break;
            }
        }
        scratch.clear();
    }

    fn note(&mut self, hash: u32) {
        if hash == 0 || self.hashes.contains(&hash) {
        } else if self.hashes.len() < WORDS_MAX {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> (Vec<u32>, bool) {
        let mut words = Words::new();
        words.add(text, HashKey::BUILT_IN, &mut String::new());
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
