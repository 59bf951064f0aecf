//! What happened in the last ten minutes: ten buckets of one minute, in integers.
//!
//! Not exact to the second: the window is 9 to 10 minutes long, for 250 bytes instead of a list of
//! calls.

use crate::event::{Status, Timestamp, ToolCall};
use serde::{Deserialize, Serialize};

/// The width of a bucket in seconds.
const BUCKET_SECS: i64 = 60;

/// Buckets in the ring.
const BUCKETS: usize = 10;

/// [`BUCKETS`] in the type of bucket numbers.
const BUCKETS_I64: i64 = 10;

/// Sums of one bucket, or of the whole window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Calls.
    pub calls: u32,
    /// Calls that failed or timed out.
    pub failed: u32,
    /// Calls that were denied.
    pub denied: u32,
    /// Bytes sent into tools.
    pub sent: u64,
    /// Bytes that came out of tools.
    pub read: u64,
}

impl Sums {
    /// What one call adds. Bytes sent are those of the record or else the size of the arguments.
    #[must_use]
    pub fn of(call: &ToolCall<'_>) -> Self {
        Self {
            calls: 1,
            failed: u32::from(matches!(call.status, Status::Error | Status::Timeout)),
            denied: u32::from(call.status == Status::Denied),
            sent: call.bytes_in.unwrap_or(call.arguments.bytes),
            read: call.bytes_out.unwrap_or(0),
        }
    }

    fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        self.denied = self.denied.saturating_add(other.denied);
        self.sent = self.sent.saturating_add(other.sent);
        self.read = self.read.saturating_add(other.read);
    }
}

/// The last ten minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenMinutes {
    buckets: [Sums; BUCKETS],
    newest: i64,
}

impl TenMinutes {
    /// The length of the window in seconds, for words.
    pub const SECS: i64 = 600;

    /// Adds a call at `time` and returns the sums of the window that ends with the newest call. A
    /// call that is older than the window is not added.
    pub fn add(&mut self, time: Timestamp, sums: &Sums) -> Sums {
        let bucket = time.as_secs().div_euclid(BUCKET_SECS);
        self.advance(bucket);
        if self.newest.saturating_sub(bucket) < BUCKETS_I64
            && let Some(place) = self.buckets.get_mut(slot(bucket))
        {
            place.add(sums);
        }
        let mut whole = Sums::default();
        self.buckets.iter().for_each(|bucket| whole.add(bucket));
        whole
    }

    fn advance(&mut self, bucket: i64) {
        if bucket.saturating_sub(self.newest) >= BUCKETS_I64 {
            self.buckets = [Sums::default(); BUCKETS];
        } else {
            for passed in self.newest + 1..=bucket {
                if let Some(place) = self.buckets.get_mut(slot(passed)) {
                    *place = Sums::default();
                }
            }
        }
        self.newest = self.newest.max(bucket);
    }
}

fn slot(bucket: i64) -> usize {
    usize::try_from(bucket.rem_euclid(BUCKETS_I64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one() -> Sums {
        Sums { calls: 1, sent: 7, ..Sums::default() }
    }

    #[test]
    fn a_call_adds_what_its_record_says() {
        let call = ToolCall { status: Status::Timeout, bytes_out: Some(9), ..ToolCall::default() };
        assert_eq!(Sums::of(&call), Sums { calls: 1, failed: 1, read: 9, ..Sums::default() });
        let mut denied = ToolCall { status: Status::Denied, ..ToolCall::default() };
        denied.arguments.bytes = 40;
        assert_eq!((Sums::of(&denied).denied, Sums::of(&denied).sent), (1, 40));
        denied.bytes_in = Some(50);
        assert_eq!(Sums::of(&denied).sent, 50);
    }

    #[test]
    fn ten_minutes_later_all_is_forgotten() {
        let mut window = TenMinutes::default();
        window.add(Timestamp::from_secs(60), &one());
        assert_eq!(window.add(Timestamp::from_secs(600), &one()).calls, 2);
        assert_eq!(window.add(Timestamp::from_secs(1_200), &one()).calls, 1);
        assert_eq!(window.add(Timestamp::from_secs(300), &one()).calls, 1);
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_list(gaps in prop::collection::vec(0_i64..400, 1..200)) {
            let (mut window, mut list, mut now) = (TenMinutes::default(), Vec::new(), 1_000_000_i64);
            for gap in gaps {
                now += gap;
                list.push(now / 60);
                let expected = list.iter().filter(|bucket| now / 60 - **bucket < 10).count();
                let sums = window.add(Timestamp::from_secs(now), &one());
                prop_assert_eq!(usize::try_from(sums.calls).unwrap(), expected);
                prop_assert_eq!(sums.sent, 7 * u64::from(sums.calls));
            }
        }

        #[test]
        fn any_time_is_survived(times in prop::collection::vec(any::<i64>(), 1..50)) {
            let mut window = TenMinutes::default();
            for nanos in times {
                window.add(Timestamp::from_nanos(nanos), &Sums { sent: u64::MAX, ..one() });
            }
        }
    }
}
