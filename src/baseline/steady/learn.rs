//! What an hour teaches that is over, and what the next one is expected to be.

use serde::{Deserialize, Serialize};

use crate::baseline::steady::dispersion::Hour;
use crate::baseline::steady::evidence::narrow;
use crate::baseline::steady::season::{PRIOR_CALLS, Seen};
use crate::baseline::steady::{
    ALONE_BELOW, DAY, HOUR, Steady, TOLERANCE_DEVIATIONS, TOLERANCE_DEVIATIONS_BATCHED,
    TOLERANCE_MIN, Trust, hour_and_day,
};

/// What an hour keeps of those before: half after a fortnight.
const RATE_FADE: f64 = 0.997_939_2;

/// In the first week an hour is believed up to so many times the mean rate.
const FIRST_WEEK_MAX: f64 = 8.0;

/// What one that is not trusted counts.
const GATED_WEIGHT: f64 = 0.01;

/// Hours that in a row were not trusted, after which their rate is the usual one.
const ADOPTED_AFTER_HOURS: u16 = 48;

/// An hour was expected to have calls if so many, times the dispersion, were.
const EXPECTED_CALLS: f64 = 5.0;

/// What an hour keeps of the count of empty ones: half after a month; and a day of the longest
/// pause: half after two.
const EMPTY_FADE: f32 = 0.999_04;
const PAUSE_FADE: f32 = 0.988_5;

/// What a day keeps of the count of empty ones: half after a month.
const DAY_FADE: f32 = 0.977_2;

/// What was seen since the hours are no longer learned from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shift {
    calls: f32,
    minutes: f32,
}

/// A day of the week with less than this part of the usual calls is a day off. That is believed
/// once it was so often enough; until then such a day may as well be a usual one.
const DAY_OFF: f64 = 0.1;
const DAY_OFF_WEEKS: f64 = 8.0;

/// No tolerance is wider than the inverse of this.
const TOLERABLE_MIN: f64 = 0.01;

impl Steady {
    /// Sets what is normal in the hour of the open bucket.
    pub(super) fn begin_hour(&mut self) {
        let (hour, day) = hour_and_day(self.bucket);
        let factor = self.season.factor(hour, day, self.prior_days());
        self.mean = narrow(self.rate() * factor / 6.0);
        self.tolerance = narrow(self.tolerance_of_hour());
        self.evidence.assume(&self.null());
        self.is_gated = false;
        self.is_whole = self.bucket.rem_euclid(HOUR) == 0;
    }

    /// The part of an expected active day that a bucket of this hour is.
    pub(super) fn mass_of_hour(&self) -> f64 {
        let (hour, day) = hour_and_day(self.bucket);
        let factor = self.season.factor(hour, day, self.prior_days());
        if self.is_gathering() { factor / f64::from(DAY) } else { 0.0 }
    }

    /// How uncertain the mean of this hour is, relative to it: a variance, from the rate, the hour
    /// and the day of the week.
    fn uncertainty(&self, (hour, day): (i32, i32)) -> f64 {
        let (dispersion, rate) = (self.dispersion.index(), self.rate() * 60.0);
        let of_hour = rate * self.season.of_hour(hour, self.prior_days()) * self.season.days();
        let of_day = rate * 24.0 * self.season.of_day(day) * self.season.weeks();
        dispersion / f64::from(self.calls).max(1.0)
            + dispersion / (PRIOR_CALLS * dispersion + of_hour)
            + dispersion / (dispersion + of_day)
    }

    fn tolerance_of_hour(&self) -> f64 {
        let deviation = self.variation.deviation();
        let (hour, day) = hour_and_day(self.bucket);
        let variance = self.uncertainty((hour, day))
            + deviation * deviation * (1.0 + 1.0 / self.season.weeks());
        let is_alone = self.dispersion.index() < ALONE_BELOW;
        let deviations = if is_alone { TOLERANCE_DEVIATIONS } else { TOLERANCE_DEVIATIONS_BATCHED };
        let tolerance = libm::exp(deviations * libm::sqrt(variance)).max(TOLERANCE_MIN);
        let of_day = self.season.of_day(day);
        let is_habit = of_day >= DAY_OFF || self.season.weeks() >= DAY_OFF_WEEKS;
        if is_habit { tolerance } else { tolerance.max(1.0 / of_day.max(TOLERABLE_MIN)) }
    }

    /// Learns the hour that ends with the buckets before the open one.
    pub(super) fn end_hour(&mut self) {
        let calls = f64::from(self.hour_calls);
        self.hour_calls = 0;
        let (hour, day) = hour_and_day(self.bucket.saturating_sub(1));
        if self.is_whole {
            self.learn_hour((hour, day), calls);
        } else {
            self.dispersion.forget_block();
        }
        if hour == 23 {
            self.end_day(day);
        }
    }

    fn learn_hour(&mut self, (hour, day): (i32, i32), calls: f64) {
        let (of_hour, of_day) =
            (self.season.of_hour(hour, self.prior_days()), self.season.of_day(day));
        let (rate, dispersion) = (self.rate(), self.dispersion.index());
        let expected = self.hourly();
        let (is_gated, uncertainty) = (self.is_gated, self.uncertainty((hour, day)));
        self.shift(is_gated, (calls, 60.0 * of_hour * of_day));
        let margin = 4.0 * libm::sqrt(dispersion * expected) + 4.0 * dispersion;
        // Until the season is known a busy hour is no outlier.
        let usual = if self.is_gathering() { f64::from(self.tolerance) } else { FIRST_WEEK_MAX };
        let believed = calls.min(expected * usual + margin);
        let weight = if is_gated { GATED_WEIGHT } else { 1.0 };
        if self.is_gathering() {
            self.calls = narrow(f64::from(self.calls) * RATE_FADE + weight * believed);
            self.minutes =
                narrow(f64::from(self.minutes) * RATE_FADE + weight * 60.0 * of_hour * of_day);
        }
        let seen = Seen { calls: believed, expected: rate * of_day * 60.0, weight };
        self.season.learn_hour(hour, &seen);
        self.day_calls += narrow(weight * believed);
        self.day_expected += narrow(weight * rate * of_hour * 60.0);
        if self.is_gathering() && !is_gated {
            self.variation.learn(&Hour { calls, expected, dispersion, uncertainty });
        }
        self.expected_hours *= EMPTY_FADE;
        self.empty_hours *= EMPTY_FADE;
        self.emptiest *= EMPTY_FADE;
        if self.is_gathering() && expected >= EXPECTED_CALLS * dispersion {
            self.expected_hours += 1.0;
            self.pending_hours = if calls < 1.0 { self.pending_hours.saturating_add(1) } else { 0 };
        }
    }

    /// Counts a whole day that is over, and whether it was one without a call.
    fn count_day(&mut self, day: i32) {
        let expected = f64::from(self.day_expected) * self.season.of_day(day);
        if expected >= EXPECTED_CALLS * self.dispersion.index() {
            let empty = if self.day_calls < 0.5 { 1.0 } else { 0.0 };
            self.expected_days = self.expected_days * DAY_FADE + 1.0;
            self.empty_days = self.empty_days * DAY_FADE + empty;
        }
    }

    fn end_day(&mut self, day: i32) {
        if self.is_whole_day && self.is_gathering() {
            self.count_day(day);
        }
        let seen = Seen {
            calls: f64::from(self.day_calls),
            expected: f64::from(self.day_expected),
            weight: 1.0,
        };
        (self.day_calls, self.day_expected) = (0.0, 0.0);
        self.gap_max *= PAUSE_FADE;
        if self.is_whole_day
            && let Some(calls) = self.season.learn_day(day, &seen)
        {
            // Until now the rate stood still, so that hours could be compared with it.
            self.season.normalise();
            (self.calls, self.minutes) = (narrow(calls), 7.0 * 1_440.0);
        }
        self.is_whole_day = true;
        if self.is_gathering() {
            self.minutes = narrow(f64::from(self.minutes) / self.season.normalise());
        }
    }

    /// Counts hours that are not trusted; a rate that stays for two days becomes the usual one.
    fn shift(&mut self, is_gated: bool, (calls, minutes): (f64, f64)) {
        if !is_gated {
            (self.shift_hours, self.shift) = (0, Shift::default());
            return;
        }
        self.shift_hours = self.shift_hours.saturating_add(1);
        self.shift.calls += narrow(calls);
        self.shift.minutes += narrow(minutes);
        let is_told = self.trust() == Trust::Active;
        let is_alive = f64::from(self.shift.calls) >= EXPECTED_CALLS * self.dispersion.index();
        if self.shift_hours >= ADOPTED_AFTER_HOURS && is_alive && is_told {
            // Two days' worth of knowledge of the new rate.
            self.calls = self.shift.calls;
            self.minutes = self.shift.minutes;
            (self.shift_hours, self.shift) = (0, Shift::default());
            self.evidence.forget();
        }
    }
}
