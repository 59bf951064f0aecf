//! How far a partition has been read and judged.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::event::Timestamp;

/// Where a call stands in its partition: the record's offset, and its place in the record.
pub type Place = (i64, u32);

/// How far a judge has come in its partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The offset after the last record taken in.
    pub next_offset: Option<i64>,
    /// The newest time judged.
    pub watermark: Option<Timestamp>,
    /// The newest time taken in before the first record that is read again.
    pub newest: Option<Timestamp>,
    /// Calls taken in and not judged yet, in their order.
    pub held: Vec<Place>,
    /// The last epoch that the partition is done with.
    pub closed: Option<i64>,
    /// What was handed out to peers last before its hour was over: the offset below which all of it
    /// was learned, and up to when time had passed.
    pub handed: Option<(i64, Timestamp)>,
}

impl Reached {
    /// Where reading must go on.
    #[must_use]
    pub fn read_from(&self) -> Option<i64> {
        self.held.iter().map(|(offset, _)| *offset).min().or(self.next_offset)
    }

    /// Whether the call at `place` was judged.
    #[must_use]
    pub fn covers(&self, place: Place) -> bool {
        self.next_offset.is_some_and(|next| place.0 < next)
            && self.held.binary_search(&place).is_err()
    }
}

/// Calls below an offset, apart from some that were held: what somebody has judged already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    below: i64,
    held: BTreeSet<Place>,
}

impl Judged {
    /// Everything below `below` but `held`.
    #[must_use]
    pub fn new(below: i64, held: impl IntoIterator<Item = Place>) -> Self {
        Self { below, held: held.into_iter().collect() }
    }

    /// The offset below which calls were judged.
    #[must_use]
    pub const fn below(&self) -> i64 {
        self.below
    }

    /// What was held.
    #[must_use]
    pub const fn held(&self) -> &BTreeSet<Place> {
        &self.held
    }

    /// Whether the call at `place` is among them.
    #[must_use]
    pub fn covers(&self, place: Place) -> bool {
        place.0 < self.below && !self.held.contains(&place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_the_next_offset_is_judged_unless_it_is_held() {
        let reached =
            Reached { next_offset: Some(10), held: vec![(4, 1), (7, 0)], ..Reached::default() };
        assert!(reached.covers((4, 0)) && reached.covers((9, 5)));
        assert!(!reached.covers((4, 1)) && !reached.covers((7, 0)) && !reached.covers((10, 0)));
        assert_eq!(reached.read_from(), Some(4));
        assert!(!Reached::default().covers((0, 0)), "nothing was read");
        let judged = Judged::new(10, [(4, 1)]);
        assert!(judged.covers((4, 0)) && !judged.covers((4, 1)) && !judged.covers((10, 0)));
    }
}
