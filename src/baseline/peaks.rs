//! A statistic of the day against its history of daily maxima, for any statistic: sixteen bytes.
//!
//! The same model as for the busiest minute ([`BlockMaxima`]), on a scale of the caller's choice.
//! A day teaches at most what was not yet alarming, so one wild day cannot raise the usual level by
//! more than a step, and a level that stays is learned in some days. Not a window of values: three
//! sums and today's maximum.

use crate::baseline::maxima::{BlockMaxima, MaximumModel, Prior, narrow};
use serde::{Deserialize, Serialize};

/// After so many active days a day counts half: a month of work remembers a fortnight in full.
pub const HALF_LIFE_DAYS: f64 = 20.0;

/// Days of history, faded ones counted in part, from which a statistic is known.
pub const KNOWN_DAYS: f64 = 2.0;

/// The scale on which maxima are summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// As they are: for statistics that are themselves logarithms, like evidence.
    Linear,
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
            Self::Log { floor } => libm::log(value.max(floor)),
        }
    }

    fn leave(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log { .. } => libm::exp(value),
        }
    }
}

/// What a statistic is judged by: its scale and what is believed of it before anything was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// The scale of its maxima.
    pub scale: Scale,
    /// The prior; its deviations are on the scale, its maximum is not.
    pub prior: Prior,
}

/// One statistic of one agent: its daily maxima, and today's so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    days: BlockMaxima,
    today: f32,
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

impl Peak {
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

    /// Learns a value of today. What fires teaches no more than the largest silent value.
    pub fn raise(&mut self, value: f64, standing: &Standing) {
        self.note(if standing.ratio >= 1.0 { value.min(standing.silent) } else { value });
    }

    /// Learns a value of today that cannot fire, whatever came before.
    pub fn note(&mut self, value: f64) {
        self.today = self.today.max(narrow(value));
    }

    /// Ends a day of `calls` calls on `scale`; `counts` says whether the statistic could be seen at
    /// all, so that records without bytes do not teach that there are none.
    pub fn end_day(&mut self, scale: Scale, calls: u32, counts: bool) {
        if counts {
            self.days.learn_value(scale.enter(f64::from(self.today)), calls, HALF_LIFE_DAYS);
        }
        self.today = 0.0;
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

    fn after(days: u32, value: f64) -> Peak {
        let mut peak = Peak::default();
        for _ in 0..days {
            peak.note(value);
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
    fn what_another_call_of_the_day_reached_is_not_looked_at_again() {
        let mut peak = after(5, 12.0);
        peak.note(15.0);
        assert!(peak.stand(15.0, &MEASURE, 0.01).is_none());
        assert!(peak.stand(16.0, &MEASURE, 0.01).is_some());
    }

    #[test]
    fn a_wild_day_teaches_its_limit_and_no_more() {
        let mut peak = after(20, 12.0);
        let standing = peak.stand(1e6, &MEASURE, 0.01).unwrap();
        assert!(standing.ratio > 100.0);
        peak.raise(1e6, &standing);
        assert!(peak.stand(standing.silent * 1.01, &MEASURE, 0.01).unwrap().ratio >= 1.0);
        peak.end_day(LOG, 100, true);
        let next = peak.stand(1e6, &MEASURE, 0.01).unwrap();
        assert!(next.ratio > 100.0 && next.silent < 2.0 * standing.silent, "{next:?}");
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
                    peak.raise(maximum, &standing);
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
