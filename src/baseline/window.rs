//! What happened in the last ten minutes: ten buckets of one minute, in integers.
//!
//! Not exact to the second: the window is 9 to 10 minutes long, for 112 bytes, and 40 more when calls
//! fail, instead of a list of
//! calls.

use crate::event::{Status, Timestamp, ToolCall};
use serde::{Deserialize, Serialize};

/// The width of a bucket in seconds.
const BUCKET_SECS: i64 = 60;

/// Buckets in the ring.
const BUCKETS: usize = 10;

/// [`BUCKETS`] in the type of bucket numbers.
const BUCKETS_I32: i32 = 10;

/// Ten numbers below it add up to less than 32 bits hold.
const SMALL: u32 = 1 << 28;

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
}

/// The last ten minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenMinutes {
    /// The number of the newest bucket.
    newest: i32,
    sent: [Packed; BUCKETS],
    read: [Packed; BUCKETS],
    calls: [u16; BUCKETS],
    /// Only once there are any.
    bad: Option<Box<Bad>>,
}

/// Calls that did not do what they were asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Bad {
    failed: [u16; BUCKETS],
    denied: [u16; BUCKETS],
}

impl TenMinutes {
    /// The length of the window in seconds, for words.
    pub const SECS: i64 = 600;

    /// Adds a call at `time` and returns the sums of the window that ends with the newest call. A
    /// call that is older than the window is not added. Failed calls are summed only for a call that
    /// failed, and denied ones for one that was denied: of others nobody asks, and they are most.
    pub fn add(&mut self, time: Timestamp, sums: &Sums) -> Sums {
        let bucket = i32::try_from(time.spans_of(BUCKET_SECS)).unwrap_or(0);
        if bucket != self.newest {
            self.advance(bucket);
        }
        if self.newest.saturating_sub(bucket) < BUCKETS_I32 {
            self.add_to(slot::<BUCKETS>(bucket), sums);
        }
        self.sums(sums)
    }

    fn sums(&self, asked: &Sums) -> Sums {
        let count = |counts: &[u16; BUCKETS]| counts.iter().map(|count| u32::from(*count)).sum();
        // Ten times 2 TiB is far from the end of the type.
        let bytes = |buckets: &[Packed; BUCKETS]| -> u64 {
            let all = buckets.iter().fold(0, |some, bytes| some | bytes.0);
            if all & Packed::LARGE != 0 {
                return buckets.iter().map(|bytes| bytes.get()).sum();
            }
            // Nearly always, and without a branch for each.
            if all < SMALL {
                return u64::from(buckets.iter().map(|bytes| bytes.0).sum::<u32>());
            }
            buckets.iter().map(|bytes| u64::from(bytes.0)).sum()
        };
        let bad = self.bad.as_ref();
        Sums {
            calls: count(&self.calls),
            failed: bad.filter(|_| asked.failed > 0).map_or(0, |bad| count(&bad.failed)),
            denied: bad.filter(|_| asked.denied > 0).map_or(0, |bad| count(&bad.denied)),
            sent: bytes(&self.sent),
            read: bytes(&self.read),
        }
    }

    /// Bytes on the heap.
    #[must_use]
    pub const fn heap_bytes(&self) -> usize {
        if self.bad.is_some() { size_of::<Bad>() } else { 0 }
    }

    fn add_to(&mut self, place: usize, sums: &Sums) {
        let count = |counts: &mut [u16; BUCKETS], more: u32| {
            if let Some(count) = counts.get_mut(place) {
                *count = count.saturating_add(u16::try_from(more).unwrap_or(u16::MAX));
            }
        };
        count(&mut self.calls, sums.calls);
        if sums.failed > 0 || sums.denied > 0 {
            let bad = self.bad.get_or_insert_default();
            count(&mut bad.failed, sums.failed);
            count(&mut bad.denied, sums.denied);
        }
        for (buckets, more) in [(&mut self.sent, sums.sent), (&mut self.read, sums.read)] {
            if let Some(bytes) = buckets.get_mut(place).filter(|_| more > 0) {
                *bytes = Packed::of(bytes.get().saturating_add(more));
            }
        }
    }

    #[cold]
    fn advance(&mut self, bucket: i32) {
        if bucket.saturating_sub(self.newest) >= BUCKETS_I32 {
            *self = Self { newest: bucket, ..Self::default() };
            return;
        }
        for passed in self.newest + 1..=bucket {
            self.clear(slot::<BUCKETS>(passed));
        }
        self.newest = self.newest.max(bucket);
    }

    fn clear(&mut self, place: usize) {
        self.calls.get_mut(place).into_iter().for_each(|count| *count = 0);
        if let Some(bad) = &mut self.bad {
            bad.failed.get_mut(place).into_iter().for_each(|count| *count = 0);
            bad.denied.get_mut(place).into_iter().for_each(|count| *count = 0);
        }
        for bytes in [&mut self.sent, &mut self.read] {
            bytes.get_mut(place).into_iter().for_each(|bytes| *bytes = Packed::default());
        }
    }
}

/// Bytes in four bytes: exact below 2 GiB, whole KiB up to 2 TiB, which more is taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Packed(u32);

impl Packed {
    const LARGE: u32 = 1 << 31;

    fn of(bytes: u64) -> Self {
        match u32::try_from(bytes) {
            Ok(exact) if exact < Self::LARGE => Self(exact),
            _ => {
                let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
                Self(kib.min(Self::LARGE - 1) | Self::LARGE)
            }
        }
    }

    const fn get(self) -> u64 {
        #[expect(clippy::as_conversions, reason = "widening in a const function")]
        let bytes = (self.0 & !Self::LARGE) as u64;
        if self.0 & Self::LARGE == 0 { bytes } else { bytes << 10 }
    }
}

/// The place of a bucket in a ring of `N`.
pub(super) fn slot<const N: usize>(bucket: i32) -> usize {
    match (usize::try_from(bucket), i32::try_from(N)) {
        (Ok(bucket), _) => bucket % N,
        // Before 1970.
        (Err(_), Ok(buckets)) => usize::try_from(bucket.rem_euclid(buckets)).unwrap_or(0),
        (Err(_), Err(_)) => 0,
    }
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
    fn a_call_that_failed_hears_of_those_that_failed_before() {
        let failed = Sums { failed: 1, ..one() };
        let denied = Sums { denied: 1, ..one() };
        let mut window = TenMinutes::default();
        let mut add = |secs, sums: &Sums| {
            let sums = window.add(Timestamp::from_secs(secs), sums);
            (sums.calls, sums.failed, sums.denied)
        };
        assert_eq!(add(60, &failed), (1, 1, 0));
        assert_eq!(add(120, &one()), (2, 0, 0));
        assert_eq!(add(130, &denied), (3, 0, 1));
        assert_eq!(add(200, &failed), (4, 2, 0));
        assert_eq!(add(660, &failed), (4, 2, 0));
    }

    #[test]
    fn ten_minutes_later_all_is_forgotten() {
        let mut window = TenMinutes::default();
        window.add(Timestamp::from_secs(60), &one());
        assert_eq!(window.add(Timestamp::from_secs(600), &one()).calls, 2);
        assert_eq!(window.add(Timestamp::from_secs(1_200), &one()).calls, 1);
        assert_eq!(window.add(Timestamp::from_secs(300), &one()).calls, 1);
    }

    #[test]
    fn bytes_are_exact_to_two_gib_and_whole_kib_beyond() {
        for bytes in [0, 1, (1 << 31) - 1, 1 << 31, 5 << 30, (1 << 41) - 1_024] {
            assert_eq!(Packed::of(bytes).get(), bytes);
        }
        assert_eq!(Packed::of((5 << 30) + 1_023).get(), 5 << 30);
        assert_eq!(Packed::of(u64::MAX).get(), (1 << 41) - 1_024);
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
