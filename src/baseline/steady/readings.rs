//! What is read of a steady agent for the words of an alert and compared with what a rule
//! asks: pauses, usual hours, the shift so far. Changes nothing.

use crate::baseline::float;
use crate::baseline::steady::{BUCKET_SECS, HOUR, Since, Steady, start_of};
use crate::event::Timestamp;

impl Steady {
    /// The pause so far: since when, how long in seconds, and how many calls were expected.
    #[must_use]
    pub fn pause(&self) -> (Timestamp, f64, f64) {
        let secs =
            f64::from(self.bucket.saturating_sub(self.newest)) * float(BUCKET_SECS.unsigned_abs());
        (start_of(self.newest), secs, f64::from(self.gap))
    }

    /// The longest usual pause, in expected calls.
    #[must_use]
    pub fn longest_pause(&self) -> f64 {
        f64::from(self.gap_max)
    }

    /// Calls expected in an hour like this one.
    #[must_use]
    pub fn hourly(&self) -> f64 {
        f64::from(self.mean) * f64::from(HOUR)
    }

    /// What was seen since a shift began; up or down.
    #[must_use]
    pub fn since(&self, is_up: bool) -> Since {
        let locator = if is_up { &self.up } else { &self.down };
        let open = if is_up { 1 } else { 0 };
        let buckets = self.bucket.saturating_sub(locator.start()).saturating_add(open).max(1);
        let secs = f64::from(buckets) * float(BUCKET_SECS.unsigned_abs());
        let expected = locator.expected() + f64::from(open) * f64::from(self.mean);
        let null = self.null();
        let spread = (null.tolerance - 1.0) / 2.0 * expected;
        let deviation = libm::sqrt(null.dispersion * expected + spread * spread);
        let usual = ((expected - 2.0 * deviation).max(0.0), expected + 2.0 * deviation);
        Since { start: start_of(locator.start()), secs, calls: locator.calls(), expected, usual }
    }

    /// How many more calls would have kept the evidence of too few below `level`.
    #[must_use]
    pub fn calls_too_few(&self, level: f64) -> u32 {
        self.evidence.calls_too_few(level)
    }

    /// Of the newest calls, how many fewer would have kept the evidence below `level`.
    #[must_use]
    pub fn calls_too_many(&self, level: f64, calls: u32) -> u32 {
        self.evidence.calls_too_many(level, calls)
    }
}
