//! How many calls fell into the last minute: twelve buckets of five seconds, in integers.
//!
//! Not exact to the second: the window is 55 to 60 s long, for 28 bytes instead of a list of times.

use crate::baseline::window::slot;
use crate::event::Timestamp;
use serde::{Deserialize, Serialize};

/// The width of a bucket in seconds.
const BUCKET_SECS: i64 = 5;

/// Buckets in the ring; together the window of 60 s.
const BUCKETS: usize = 12;

/// Calls of the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinuteRing {
    counts: [u16; BUCKETS],
    /// The number of the newest bucket.
    newest: i32,
}

impl MinuteRing {
    /// Counts a call at `time` and returns how many there are in the minute that ends with the
    /// newest call. A call that is older than the minute is not counted.
    pub fn add(&mut self, time: Timestamp) -> u32 {
        let bucket = i32::try_from(time.spans_of(BUCKET_SECS)).unwrap_or(0);
        if bucket != self.newest {
            self.advance(bucket);
        }
        if self.newest.saturating_sub(bucket) < BUCKETS_I32
            && let Some(count) = self.counts.get_mut(slot::<BUCKETS>(bucket))
        {
            *count = count.saturating_add(1);
        }
        self.counts.iter().map(|count| u32::from(*count)).sum()
    }

    fn advance(&mut self, bucket: i32) {
        let steps = bucket.saturating_sub(self.newest);
        if steps >= BUCKETS_I32 {
            self.counts = [0; BUCKETS];
        } else {
            for passed in self.newest + 1..=bucket {
                if let Some(count) = self.counts.get_mut(slot::<BUCKETS>(passed)) {
                    *count = 0;
                }
            }
        }
        self.newest = self.newest.max(bucket);
    }
}

/// [`BUCKETS`] in the type of bucket numbers.
const BUCKETS_I32: i32 = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_minute_later_all_is_forgotten() {
        let mut ring = MinuteRing::default();
        assert_eq!(ring.add(Timestamp::from_secs(100)), 1);
        assert_eq!(ring.add(Timestamp::from_secs(101)), 2);
        assert_eq!(ring.add(Timestamp::from_secs(161)), 1);
    }

    #[test]
    fn a_call_older_than_the_minute_is_not_counted() {
        let mut ring = MinuteRing::default();
        ring.add(Timestamp::from_secs(1_000));
        assert_eq!(ring.add(Timestamp::from_secs(900)), 1);
    }

    #[test]
    fn the_ends_of_time_are_survived() {
        let mut ring = MinuteRing::default();
        ring.add(Timestamp::MIN);
        ring.add(Timestamp::MAX);
        assert_eq!(ring.add(Timestamp::MIN), 1);
    }

    proptest! {
        #[test]
        fn the_ring_agrees_with_a_list(gaps in prop::collection::vec(0_i64..40, 1..200)) {
            let (mut ring, mut list, mut now) = (MinuteRing::default(), Vec::new(), 1_000_000_i64);
            for gap in gaps {
                now += gap;
                list.push(now / 5);
                let expected = list.iter().filter(|bucket| now / 5 - **bucket < 12).count();
                prop_assert_eq!(usize::try_from(ring.add(Timestamp::from_secs(now))).unwrap(), expected);
            }
        }
    }
}
