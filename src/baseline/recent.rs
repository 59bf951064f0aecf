//! The last calls of an agent, by a short hash of their ids: enough to see a redelivery.
//!
//! Not a proof of uniqueness: two different ids collide once in 130 million calls, and then one call
//! too few is judged.

use crate::baseline::identity::{hash_texts, short};
use serde::{Deserialize, Serialize};

/// How many calls back a repetition is recognised.
const REMEMBERED: usize = 32;

/// The last 32 call ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentCalls {
    hashes: [u32; REMEMBERED],
    next: u8,
}

impl RecentCalls {
    /// Notes a call id; says whether it is among the last ones already.
    pub fn is_repeated(&mut self, call_id: &str) -> bool {
        // 0 marks an empty place.
        let hash = short(hash_texts(&[call_id])).max(1);
        // All of them, without a branch for each: there are few.
        if self.hashes.iter().fold(false, |is_known, known| is_known | (*known == hash)) {
            return true;
        }
        if let Some(place) = self.hashes.get_mut(usize::from(self.next)) {
            *place = hash;
        }
        self.next = (self.next + 1) % 32;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_for_thirty_two_calls() {
        let mut recent = RecentCalls::default();
        assert!(!recent.is_repeated("first"));
        for n in 0..31 {
            assert!(!recent.is_repeated(&format!("call-{n}")));
        }
        assert!(recent.is_repeated("first"));
        assert!(!recent.is_repeated("call-31"));
        assert!(!recent.is_repeated("first"));
    }
}
