//! Times in four bytes: milliseconds after a base that moves along with an agent.
//!
//! What an agent at work remembers lies within hours, so half of a [`Timestamp`] is enough. Not a
//! clock: the base moves only with the times it is told of.

use crate::event::Timestamp;
use serde::{Deserialize, Serialize};

/// A time after a [`Base`], in milliseconds; cut off at both ends of some 49 days.
pub type Offset = u32;

/// How far a time may lie after the base before the base moves, in milliseconds: half of an offset.
const REACH: i64 = 0x7fff_ffff;

/// How long before a time the base is put, in milliseconds: longer than anything of use.
const BEFORE: i64 = 4 * 3_600_000;

/// Where offsets are counted from, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base(i64);

impl Base {
    /// A base from which `time`, and what lies four hours before it, can be told.
    #[must_use]
    pub const fn before(time: Timestamp) -> Self {
        Self(time.as_millis().saturating_sub(BEFORE))
    }

    /// Moves the base when `time` is far behind it. Returns by how much: offsets fall by that, and
    /// those that are less belong to what is long over.
    pub fn follow(&mut self, time: Timestamp) -> Option<Offset> {
        if time.as_millis().saturating_sub(self.0) <= REACH {
            return None;
        }
        let before = self.0;
        *self = Self::before(time);
        Some(Offset::try_from(self.0.saturating_sub(before)).unwrap_or(Offset::MAX))
    }

    /// Moves the base as [`Self::follow`] does; returns that, and how long after the base a time is.
    pub fn reach(&mut self, time: Timestamp) -> (Option<Offset>, Offset) {
        let after = time.as_millis().saturating_sub(self.0);
        if after > REACH {
            let moved = self.follow(time);
            return (moved, self.offset(time));
        }
        (None, Offset::try_from(after).unwrap_or(0))
    }

    /// How long after the base a time is.
    #[must_use]
    pub fn offset(self, time: Timestamp) -> Offset {
        let millis = time.as_millis().saturating_sub(self.0).max(0);
        Offset::try_from(millis).unwrap_or(Offset::MAX)
    }

    /// The time of an offset.
    #[must_use]
    pub fn time(self, offset: Offset) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_add(i64::from(offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_base_moves_when_offsets_would_not_reach() {
        let day = |n: i64| Timestamp::from_secs(n * 86_400);
        let mut base = Base::before(day(10));
        assert_eq!(base.follow(day(30)), None);
        let kept = base.offset(day(30));
        let moved = base.follow(day(40)).unwrap();
        assert_eq!(base.time(base.offset(day(40))), day(40));
        assert!(kept < moved, "ten days ago is over");
    }

    proptest! {
        #[test]
        fn what_lies_within_days_comes_back(start in 0_i64..4_000_000_000, after in -4 * 3_600_000_i64..2_000_000_000) {
            let start = Timestamp::from_secs(start);
            let time = start.plus_millis(after);
            let mut base = Base::before(start);
            prop_assert_eq!(base.follow(time), None);
            prop_assert_eq!(base.time(base.offset(time)), time);
            prop_assert_eq!(base.reach(time), (None, base.offset(time)));
        }

        #[test]
        fn any_time_is_survived(times in prop::collection::vec(any::<i64>(), 1..20)) {
            let mut base = Base::default();
            for time in times.into_iter().map(Timestamp::from_nanos) {
                let (mut followed, before) = (base, base);
                let moved = followed.follow(time);
                prop_assert_eq!(base.reach(time), (moved, followed.offset(time)));
                prop_assert!(base == followed && (moved.is_some() || base == before));
                prop_assert!(base.time(base.offset(time)) >= time.min(base.time(0)).plus_millis(-1));
            }
        }
    }
}
