//! How large the largest value of a day usually is, and how rare a larger one would be.
//!
//! The unit is the active day, because an agent's work comes in bursts that make minutes depend on
//! each other for hours; a test on minutes promises a false alarm a month and gives five a day.
//! The logarithms of daily maxima are summed up with a half-life; a Gumbel distribution with their
//! mean and deviation gives the upper tail. Not a window of values: three numbers.

use serde::{Deserialize, Serialize};
use std::f64::consts::{LN_2, PI};

use crate::baseline::float;

/// Euler's constant: the mean of the standard Gumbel distribution.
const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;

/// What is believed before anything was seen, and how much each piece of it weighs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// The usual daily maximum.
    pub maximum: f64,
    /// The deviation of its logarithm.
    pub deviation: f64,
    /// How many days that belief is worth.
    pub days: f64,
    /// No agent is taken to be steadier than this deviation of the logarithm.
    pub deviation_min: f64,
}

/// How far above the mean a capped day is learned, in deviations: from the sixteenth day on, of
/// deviation .3, less than a twentieth of the level.
const CAP_DEVIATIONS: f64 = 2.0;

/// Daily maxima of one agent: their weighted count, sum and sum of squares, in logarithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockMaxima {
    weight: f32,
    sum: f32,
    squares: f32,
}

/// The distribution that an agent's next daily maximum is judged by, in logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaximumModel {
    mean: f64,
    deviation: f64,
    deviation_known: f64,
}

impl BlockMaxima {
    /// Learns the maximum of one day that has ended. `calls` is how many calls the day had: a day of
    /// less than fifty counts for less. Days fade with a half-life of `half_life_days`.
    pub fn learn(&mut self, maximum: u32, calls: u32, half_life_days: f64) {
        if maximum > 0 {
            self.learn_value(logarithm(maximum), calls, half_life_days);
        }
    }

    /// Learns a day's maximum that is already on the scale of the model, 0 included.
    pub fn learn_value(&mut self, value: f64, calls: u32, half_life_days: f64) {
        let fade = libm::exp(-LN_2 / half_life_days.max(1.0));
        let weight = (f64::from(calls) / 50.0).min(1.0);
        let [known, sum, squares] = self.sums();
        *self = Self::from_sums([
            known * fade + weight,
            sum * fade + weight * value,
            squares * fade + weight * value * value,
        ]);
    }

    /// Learns like [`Self::learn`], but from no value far above the mean of the model with `prior`:
    /// one wild day moves what is usual by less than a twentieth, a habit moves it there.
    pub fn learn_capped(&mut self, maximum: u32, calls: u32, half_life_days: f64, prior: &Prior) {
        if maximum > 0 {
            let model = self.model(prior);
            let cap = model.mean + CAP_DEVIATIONS * model.deviation_known;
            self.learn_value(logarithm(maximum).min(cap), calls, half_life_days);
        }
    }

    /// The weight, sum and sum of squares, for whoever keeps them in another form.
    #[must_use]
    pub fn sums(&self) -> [f64; 3] {
        [self.weight, self.sum, self.squares].map(f64::from)
    }

    /// What [`BlockMaxima::sums`] gave, put together again.
    #[must_use]
    pub fn from_sums(sums: [f64; 3]) -> Self {
        let [weight, sum, squares] = sums.map(narrow);
        Self { weight, sum, squares }
    }

    /// The mean of the maxima, on the scale of the model; 0 without any.
    #[must_use]
    pub fn centre(&self) -> f64 {
        f64::from(self.sum) / f64::from(self.weight).max(1e-9)
    }

    /// The days behind the model, faded ones counted in part.
    #[must_use]
    pub fn days(&self) -> f64 {
        self.weight.into()
    }

    /// The model these days and the prior make together.
    ///
    /// The prior's maximum speaks only while there are less than two days; its deviation fades as
    /// days come in.
    #[must_use]
    pub fn model(&self, prior: &Prior) -> MaximumModel {
        self.model_around(|| libm::log(prior.maximum), prior)
    }

    /// The same, with the prior's maximum on the scale of the model by `centre`, which is asked only
    /// while it counts.
    #[must_use]
    pub fn model_around(&self, centre: impl FnOnce() -> f64, prior: &Prior) -> MaximumModel {
        let [n, sum, squares] = self.sums();
        let prior_weight = prior.days * 0.5;
        let mean =
            if n < 2.0 { (sum + prior_weight * centre()) / (n + prior_weight) } else { sum / n };
        let spread = if n > 0.0 { (squares / n - mean * mean).max(0.0) } else { 0.0 };
        let pooled =
            (n * spread + prior.days * prior.deviation * prior.deviation) / (n + prior.days);
        let known = libm::sqrt(pooled.max(prior.deviation_min * prior.deviation_min));
        MaximumModel {
            mean,
            deviation: known * libm::sqrt(1.0 + 1.0 / n.max(1.0)),
            deviation_known: known,
        }
    }
}

/// A count out of a float: cut to its range, without its fraction.
#[must_use]
pub fn whole(value: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::as_conversions,
        reason = "a count, in its range"
    )]
    let whole = value.clamp(0.0, 1e9) as u32;
    whole
}

/// A sum as it is kept: seven digits are more than the model is good for.
pub(super) fn narrow(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, clippy::as_conversions, reason = "see above")]
    let narrow = value.clamp(-1e30, 1e30) as f32;
    narrow
}

/// Below three a maximum says nothing.
fn logarithm(maximum: u32) -> f64 {
    libm::log(f64::from(maximum.max(3)))
}

impl MaximumModel {
    /// The chance that a day's maximum reaches `count` or more, 0 to 1.
    #[must_use]
    pub fn tail(&self, count: u32) -> f64 {
        self.tail_at(libm::log(f64::from(count.max(1))))
    }

    /// The chance that a day's maximum reaches `value`, on the scale of the model, 0 to 1.
    #[must_use]
    pub fn tail_at(&self, value: f64) -> f64 {
        gumbel_tail((value - self.mean) / self.deviation)
    }

    /// The smallest whole count whose chance is `probability` or less.
    #[must_use]
    pub fn limit(&self, probability: f64) -> f64 {
        libm::ceil(libm::exp(self.limit_at(probability)))
    }

    /// The value, on the scale of the model, whose chance is `probability`.
    #[must_use]
    pub fn limit_at(&self, probability: f64) -> f64 {
        let reduced = -libm::log(-libm::log1p(-probability.clamp(1e-15, 1.0 - 1e-15)));
        let z = (reduced - EULER_GAMMA) * libm::sqrt(6.0) / PI;
        self.mean + z * self.deviation
    }

    /// The usual range of a day's maximum: one deviation to each side.
    #[must_use]
    pub fn usual(&self) -> (f64, f64) {
        let (low, high) = self.usual_at();
        (libm::round(libm::exp(low)), libm::round(libm::exp(high)))
    }

    /// The same on the scale of the model.
    #[must_use]
    pub fn usual_at(&self) -> (f64, f64) {
        (self.mean - self.deviation_known, self.mean + self.deviation_known)
    }
}

/// The upper tail of the Gumbel distribution of mean 0 and deviation 1.
///
/// Through `expm1`, so that far in the tail the answer keeps all its digits; one minus a
/// distribution function would be 0 there.
#[must_use]
pub fn gumbel_tail(z: f64) -> f64 {
    let reduced = PI / libm::sqrt(6.0) * z + EULER_GAMMA;
    -libm::expm1(-libm::exp(-reduced))
}

/// How many calls an active day usually has, with outliers cut.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsualDay {
    calls: f32,
}

impl Default for UsualDay {
    fn default() -> Self {
        Self { calls: 300.0 }
    }
}

impl UsualDay {
    /// Learns a day that has ended; `days` counts it in. A day of less than twenty calls says
    /// nothing of a usual one. None counts for more than three usual ones, and after ten days for
    /// more than one and a half: by then a wild hour must not move it by a twentieth.
    pub fn learn(&mut self, calls: u32, days: u32) {
        if calls < 20 {
            return;
        }
        let usual = f64::from(self.calls);
        let most = if days < 10 { 3.0 } else { 1.45 };
        let calls = f64::from(calls).min(most * usual);
        let step = (1.0 / float(u64::from(days) + 1)).max(0.1);
        self.calls = narrow(usual + (calls - usual) * step);
    }

    /// Calls of a usual active day; at least fifty, so that one call is never a large part of it.
    #[must_use]
    pub fn calls(&self) -> f64 {
        f64::from(self.calls).max(50.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use statrs::distribution::{ContinuousCDF, Gumbel};

    const PRIOR: Prior = Prior { maximum: 10.0, deviation: 0.45, days: 4.0, deviation_min: 0.35 };

    #[test]
    fn twenty_equal_days_are_the_mean() {
        let mut maxima = BlockMaxima::default();
        (0..20).for_each(|_| maxima.learn(12, 200, 20.0));
        let (low, high) = maxima.model(&PRIOR).usual();
        assert!(low < 12.0 && 12.0 < high, "{low} {high}");
    }

    #[test]
    fn the_far_tail_keeps_its_digits() {
        assert!(gumbel_tail(40.0) > 0.0);
        assert!(gumbel_tail(40.0) < 1e-20);
    }

    #[test]
    fn the_limit_is_where_the_tail_reaches_the_probability() {
        let model = BlockMaxima::default().model(&PRIOR);
        let limit = model.limit(0.04);
        let count = (1..1_000).find(|n| model.tail(*n) <= 0.04).unwrap();
        assert!((f64::from(count) - limit).abs() < 1e-9, "{count} {limit}");
    }

    #[test]
    fn a_huge_day_moves_the_usual_day_by_a_bounded_step() {
        let mut usual = UsualDay::default();
        usual.learn(1_000_000, 20);
        assert!(usual.calls() <= 300.0 + 600.0 * 0.1 + 1e-9);
    }

    proptest! {
        #[test]
        fn the_tail_agrees_with_statrs(z in -3.0_f64..15.0, mean in -5.0_f64..5.0, deviation in 0.1_f64..4.0) {
            let scale = deviation * 6.0_f64.sqrt() / PI;
            let gumbel = Gumbel::new(mean - EULER_GAMMA * scale, scale).unwrap();
            let expected = gumbel.sf(mean + z * deviation);
            prop_assert!((gumbel_tail(z) - expected).abs() < 1e-9);
        }

        #[test]
        fn tails_are_probabilities_and_fall(days in prop::collection::vec((1_u32..100, 1_u32..500), 0..30), count in 1_u32..100_000) {
            let mut maxima = BlockMaxima::default();
            for (maximum, calls) in days {
                maxima.learn(maximum, calls, 20.0);
            }
            let model = maxima.model(&PRIOR);
            let (here, above) = (model.tail(count), model.tail(count + 1));
            prop_assert!((0.0..=1.0).contains(&here));
            prop_assert!(above <= here);
        }
    }
}
