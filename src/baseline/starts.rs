//! How many runs an agent began in this hour of the clock and the one before: four bytes.
//!
//! One to two hours, so that work which comes in a few runs a day can stand out by their number. Not a
//! sliding window: that would take the time of each of them. Beyond [`COUNT_MAX`] an hour they are not
//! told apart.

use serde::{Deserialize, Serialize};

/// Runs of one hour that are counted.
pub const COUNT_MAX: u8 = u8::MAX;

/// The runs begun in two hours of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    /// The hour of the newest one, since the Unix epoch: its lower half, which is seven years.
    hour: u16,
    now: u8,
    before: u8,
}

impl Starts {
    /// Counts a run begun in `hour`, since the Unix epoch; returns how many there are. One of an
    /// earlier hour than the newest counts as of that.
    pub fn add(&mut self, hour: i64) -> u32 {
        let hour = u16::try_from(hour.rem_euclid(1 << 16)).unwrap_or(0);
        let passed = if self.now == 0 { u16::MAX / 2 } else { hour.wrapping_sub(self.hour) };
        if (1..=u16::MAX / 2).contains(&passed) {
            self.before = if passed == 1 { self.now } else { 0 };
            (self.hour, self.now) = (hour, 0);
        }
        self.now = self.now.saturating_add(1);
        u32::from(self.now) + u32::from(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_hours_count_and_no_more() {
        for start in [0, 65_530, 490_000, -7] {
            let mut starts = Starts::default();
            let counted = [5, 5, 6, 7, 7, 9, 9, 8].map(|hour| starts.add(start + hour));
            assert_eq!(counted, [1, 2, 3, 2, 3, 1, 2, 3]);
        }
    }

    #[test]
    fn it_is_as_small_as_it_says_and_counts_to_its_end() {
        assert_eq!(size_of::<Starts>(), 4);
        let mut starts = Starts::default();
        let most = (0..1_000).map(|n| starts.add(10 + n / 500)).max();
        assert_eq!(most, Some(2 * u32::from(COUNT_MAX)));
    }

    proptest! {
        #[test]
        fn any_hours_are_survived(hours in prop::collection::vec(any::<i64>(), 0..50)) {
            let mut starts = Starts::default();
            for (number, hour) in (1_u32..).zip(hours) {
                prop_assert!((1..=number).contains(&starts.add(hour)));
            }
        }
    }
}
