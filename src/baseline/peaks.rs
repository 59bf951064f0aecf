//! A statistic of the day against its history of daily maxima, for any statistic: twenty bytes.
//!
//! The same model as for the busiest minute ([`BlockMaxima`]), on a scale of the caller's choice.
//! A day on which something fired teaches what its other hours were like, and no more than a usual
//! day, so that one wild hour moves the usual level by less than a twentieth. From the third such
//! day in a row on, or the fourth of every other day, it teaches the largest silent value: a level
//! that stays is learned in some days.
//! Not a window of values: three sums and today's maximum.

use crate::baseline::maxima::{BlockMaxima, MaximumModel, Prior, narrow};
use serde::{Deserialize, Serialize};

/// After so many active days a day counts half: a month of work remembers a fortnight in full.
pub const HALF_LIFE_DAYS: f64 = 20.0;

/// How wild an agent's days have become: a day on which something fired adds three, another one
/// takes one away. From six on a wild day teaches more than a usual one.
const WILD_DAY: u8 = 3;
const WILD_FROM: u8 = 6;
const WILDNESS_MAX: u8 = 9;

/// Something fired today; something of today was not learned from.
const FIRED: u8 = 0x80;
const DISTURBED: u8 = 0x40;

/// An hour that no call has: nothing was seen today.
const NO_HOUR: u8 = 24;

/// Days of history, faded ones counted in part, from which a statistic is known.
pub const KNOWN_DAYS: f64 = 2.0;

/// The scale on which maxima are summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// As they are: for statistics that are themselves logarithms, like evidence.
    Linear,
    /// Their square root: for small counts, where it makes those around any level scatter alike.
    Root,
    /// Their natural logarithm, of at least this much: for counts and sizes. Values below the floor
    /// are all alike, which lets days without any count as days.
    Log {
        /// The smallest value told apart, above 0.
        floor: f64,
    },
}

impl Scale {
    fn enter(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Root => libm::sqrt(value.max(0.0)),
            Self::Log { floor } => libm::log(value.max(floor)),
        }
    }

    fn leave(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Root => value.max(0.0) * value.max(0.0),
            Self::Log { .. } => libm::exp(value),
        }
    }
}

/// Days after which nearly nothing is left of one.
const FADED_DAYS: u32 = 200;

/// What a statistic is judged by: its scale and what is believed of it before anything was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// The scale of its maxima.
    pub scale: Scale,
    /// The prior; its deviations are on the scale, its maximum is not.
    pub prior: Prior,
}

/// One statistic of one agent: its daily maxima, and today's so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    days: BlockMaxima,
    today: f32,
    /// What today's maximum was before the hour that it was raised in last: the upper half of the
    /// bits of a float, which cuts off less than a hundredth.
    before: u16,
    /// That hour of the day.
    hour: u8,
    /// How wild the days before were, and in two bits what today was.
    wildness: u8,
}

impl Default for Peak {
    fn default() -> Self {
        let (days, hour) = (BlockMaxima::default(), NO_HOUR);
        Self { days, today: 0.0, before: 0, hour, wildness: 0 }
    }
}

/// What a value of today means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// The budget over the chance that a day's maximum reaches the value; 1 and more fires.
    pub ratio: f64,
    /// The usual range of a day's maximum.
    pub usual: (f64, f64),
    /// The largest value that stays silent.
    pub silent: f64,
}

/// A value of today and when it was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// The value.
    pub value: f64,
    /// The hour of the day, 0 to 23.
    pub hour: u8,
}

impl Peak {
    /// As after `days` days of `calls` calls whose largest value was `value`, for a statistic that is
    /// remembered only from its first other value on. Days beyond the fading of all are left out.
    #[must_use]
    pub fn of_days(days: u32, calls: u32, (scale, value): (Scale, f64)) -> Self {
        let mut peak = Self::default();
        for _ in 0..days.min(FADED_DAYS) {
            peak.days.learn_value(scale.enter(value), calls, HALF_LIFE_DAYS);
        }
        peak
    }

    /// Where `value` stands, if it is the largest of today that was not alarming. `budget` is the
    /// chance that is just allowed, above 0 and at most 1.
    ///
    /// A value that another one of today reached without firing cannot fire, because the model
    /// does not change within a day: `None` then, without any arithmetic.
    #[must_use]
    pub fn stand(&self, value: f64, measure: &Measure, budget: f64) -> Option<Standing> {
        if value <= f64::from(self.today) {
            return None;
        }
        let model = self.model(measure);
        let (scale, tail) = (measure.scale, model.tail_at(measure.scale.enter(value)));
        let usual = model.usual_at();
        Some(Standing {
            ratio: budget / tail.max(1e-12),
            usual: (scale.leave(usual.0), scale.leave(usual.1)),
            silent: scale.leave(model.limit_at(budget)),
        })
    }

    /// The usual range of a day's maximum, and the largest value that stays silent.
    #[must_use]
    pub fn range(&self, measure: &Measure, budget: f64) -> ((f64, f64), f64) {
        let (model, scale) = (self.model(measure), measure.scale);
        let usual = model.usual_at();
        let silent = scale.leave(model.limit_at(budget));
        ((scale.leave(usual.0), scale.leave(usual.1)), silent)
    }

    /// Learns a value of today, if it is silent. What fires takes back what its run-up taught: at
    /// most a usual day's maximum remains of this hour.
    pub fn raise(&mut self, seen: Seen, standing: &Standing) {
        if standing.ratio < 1.0 {
            self.note(seen);
            return;
        }
        self.wildness |= FIRED;
        if self.wildness & !(FIRED | DISTURBED) >= WILD_FROM {
            self.note(Seen { value: seen.value.min(standing.silent), ..seen });
        } else if self.hour == seen.hour {
            let before = f32::from_bits(u32::from(self.before) << 16);
            self.today = before.min(narrow(standing.usual.1));
        } else {
            self.today = self.today.min(narrow(standing.usual.1));
        }
    }

    /// Notes that something of today is not learned from.
    pub const fn disturb(&mut self) {
        self.wildness |= DISTURBED;
    }

    /// Learns a value of today that cannot fire, whatever came before.
    pub fn note(&mut self, seen: Seen) {
        let value = narrow(seen.value);
        if value <= self.today {
            return;
        }
        if self.hour != seen.hour {
            self.before = u16::try_from(self.today.to_bits() >> 16).unwrap_or(0);
            self.hour = seen.hour;
        }
        self.today = value;
    }

    /// Ends a day of `calls` calls on `scale`; `counts` says whether the statistic could be seen at
    /// all, so that records without bytes do not teach that there are none.
    pub fn end_day(&mut self, scale: Scale, calls: u32, counts: bool) {
        let (is_disturbed, has_fired) =
            (self.wildness & (FIRED | DISTURBED) != 0, self.wildness & FIRED != 0);
        // Of a day that was wild from its beginning nothing is known.
        if counts && !(is_disturbed && self.today <= 0.0) {
            self.days.learn_value(scale.enter(f64::from(self.today)), calls, HALF_LIFE_DAYS);
        }
        let so_far = self.wildness & !(FIRED | DISTURBED);
        let wildness = if has_fired {
            so_far.saturating_add(WILD_DAY).min(WILDNESS_MAX)
        } else {
            so_far.saturating_sub(1)
        };
        *self = Self { days: self.days, wildness, ..Self::default() };
    }

    /// Days of history, faded ones and days of few calls counted in part.
    #[must_use]
    pub fn days(&self) -> f64 {
        self.days.days()
    }

    /// The usual largest value of a day, as far as it is learned.
    #[must_use]
    pub fn usual(&self, scale: Scale) -> f64 {
        scale.leave(self.days.centre())
    }

    /// The largest value of today that was not alarming.
    #[must_use]
    pub fn today(&self) -> f64 {
        self.today.into()
    }

    fn model(&self, measure: &Measure) -> MaximumModel {
        self.days.model_around(|| measure.scale.enter(measure.prior.maximum), &measure.prior)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOG: Scale = Scale::Log { floor: 1.0 };
    const MEASURE: Measure = Measure {
        scale: LOG,
        prior: Prior { maximum: 10.0, deviation: 0.8, days: 4.0, deviation_min: 0.4 },
    };

    fn seen(value: f64) -> Seen {
        Seen { value, hour: 11 }
    }

    fn after(days: u32, value: f64) -> Peak {
        let mut peak = Peak::default();
        for _ in 0..days {
            peak.note(seen(value));
            peak.end_day(LOG, 100, true);
        }
        peak
    }

    #[test]
    fn twenty_equal_days_make_their_level_usual() {
        let standing = after(20, 12.0).stand(13.0, &MEASURE, 0.01).unwrap();
        let (low, high) = standing.usual;
        assert!(low < 12.0 && 12.0 < high, "{low} {high}");
        assert!(standing.ratio < 1.0 && standing.silent > 24.0, "{standing:?}");
    }

    #[test]
    fn days_that_are_made_up_for_are_those_that_were_seen() {
        assert_eq!(Peak::of_days(20, 100, (LOG, 12.0)), after(20, 12.0));
        let (many, more) = (Peak::of_days(5_000, 100, (LOG, 12.0)), after(5_000, 12.0));
        assert!((many.usual(LOG) / more.usual(LOG) - 1.0).abs() < 1e-5);
        assert!((many.days() / more.days() - 1.0).abs() < 2e-3, "{} {}", many.days(), more.days());
    }

    #[test]
    fn what_another_call_of_the_day_reached_is_not_looked_at_again() {
        let mut peak = after(5, 12.0);
        peak.note(seen(15.0));
        assert!(peak.stand(15.0, &MEASURE, 0.01).is_none());
        assert!(peak.stand(16.0, &MEASURE, 0.01).is_some());
    }

    #[test]
    fn a_wild_hour_teaches_nothing_and_the_rest_of_its_day_what_it_was() {
        let mut peak = after(20, 12.0);
        peak.note(Seen { value: 10.0, hour: 9 });
        // The run-up, the flood itself, and work as usual later.
        for value in [14.0, 18.0, 25.0, 1e6] {
            let standing = peak.stand(value, &MEASURE, 0.01).unwrap();
            assert_eq!(standing.ratio >= 1.0, value > 1e3, "{standing:?}");
            peak.raise(seen(value), &standing);
        }
        assert!((f64::from(peak.today) - 10.0).abs() < 0.1, "{}", peak.today);
        peak.note(Seen { value: 13.0, hour: 15 });
        let before = after(20, 12.0);
        let mut calm = before;
        calm.note(seen(13.0));
        for peak in [&mut peak, &mut calm] {
            peak.end_day(LOG, 100, true);
        }
        assert!((peak.usual(LOG) - calm.usual(LOG)).abs() < 1e-6);
    }

    #[test]
    fn a_day_that_is_wild_from_its_first_call_is_no_day() {
        let mut peak = after(20, 12.0);
        let (days, usual) = (peak.days(), peak.usual(LOG));
        let standing = peak.stand(1e6, &MEASURE, 0.01).unwrap();
        peak.raise(seen(1e6), &standing);
        peak.end_day(LOG, 100, true);
        assert!((peak.days() - days).abs() < 1e-9 && (peak.usual(LOG) - usual).abs() < 1e-9);
    }

    #[test]
    fn a_level_that_stays_is_learned_from_its_third_day_on() {
        let mut peak = after(20, 12.0);
        let fired = (0..60).filter(|_| {
            let standing = peak.stand(100.0, &MEASURE, 0.01).unwrap();
            peak.raise(seen(100.0), &standing);
            peak.end_day(LOG, 100, true);
            standing.ratio >= 1.0
        });
        let fired = fired.count();
        assert!((3..=12).contains(&fired), "{fired}");
    }

    #[test]
    fn a_day_that_could_not_be_seen_is_no_day() {
        let mut peak = Peak::default();
        peak.end_day(LOG, 100, false);
        assert!(peak.days() < 1e-9);
        peak.end_day(LOG, 100, true);
        assert!((peak.days() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_linear_scale_judges_values_as_they_are() {
        let prior = Prior { maximum: 3.0, deviation: 2.0, days: 3.0, deviation_min: 2.0 };
        let measure = Measure { scale: Scale::Linear, prior };
        let standing = Peak::default().stand(4.0, &measure, 0.05).unwrap();
        assert!(standing.ratio < 1.0 && standing.silent > 4.0);
        assert!(Peak::default().stand(40.0, &measure, 0.05).unwrap().ratio > 1.0);
    }

    proptest! {
        #[test]
        fn standings_are_finite_and_rise(
            days in prop::collection::vec((0.0_f64..1e12, 0_u32..500), 0..40),
            value in 1.0_f64..1e15,
        ) {
            let mut peak = Peak::default();
            for (maximum, calls) in days {
                if let Some(standing) = peak.stand(maximum, &MEASURE, 0.01) {
                    peak.raise(seen(maximum), &standing);
                }
                peak.end_day(LOG, calls, true);
            }
            let here = peak.stand(value, &MEASURE, 0.01).unwrap();
            let above = peak.stand(value * 2.0, &MEASURE, 0.01).unwrap();
            prop_assert!(here.ratio.is_finite() && here.ratio <= above.ratio);
            prop_assert!(here.silent.is_finite() && here.usual.0 <= here.usual.1);
        }
    }
}
