//! When in the day and on which days of the week an agent works how much, as factors around 1.
//!
//! Learned from few days: an hour's factor is pulled towards those of its neighbours until enough
//! calls were seen in it.
//! Not a factor for each hour of the week: 168 of them would take months.

use serde::{Deserialize, Serialize};

use crate::baseline::steady::evidence::narrow;

/// How many calls, times the dispersion, the belief is worth that an hour is like its neighbours.
/// Five: hours of one agent are taken to differ by half.
pub(crate) const PRIOR_CALLS: f64 = 5.0;

/// The part of an hour's factor that its newest day makes: forty days count.
const STEP_MIN: f64 = 0.05;

/// The same for a day of the week: seven weeks count.
const DAY_STEP_MIN: f64 = 0.25;

/// No hour is less than this part of the busiest, so that work at night is surprising and not
/// impossible.
const FLOOR: f64 = 0.02;

/// Days after which each day of the week was seen once.
pub(crate) const WEEK: u16 = 7;

/// Whatever is expected, no hour is learned to be more than so many usual ones.
const RATIO_MAX: f64 = 20.0;

/// The season of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Season {
    hours: [f32; 24],
    days: [f32; 7],
    /// Whole days seen.
    seen: u16,
}

impl Default for Season {
    fn default() -> Self {
        Self { hours: [1.0; 24], days: [1.0; 7], seen: 0 }
    }
}

/// What one hour or day was, against a rate without season.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Calls seen, cut where they are too many to believe.
    pub(crate) calls: f64,
    /// Calls expected without the factor that is learned.
    pub(crate) expected: f64,
    /// How much it counts, 0 to 1.
    pub(crate) weight: f64,
}

impl Season {
    /// The factor of an hour of the day and a day since the Unix epoch. The belief that an hour is
    /// like its neighbours counts as `prior` usual days.
    #[must_use]
    pub(crate) fn factor(&self, hour: i32, day: i32, prior: f64) -> f64 {
        let busiest = self.hours.iter().fold(0.0_f32, |busiest, factor| busiest.max(*factor));
        let hour = self.of_hour(hour, prior).max(FLOOR * f64::from(busiest));
        (hour * self.of_day(day)).max(FLOOR)
    }

    /// The factor of an hour alone.
    #[must_use]
    pub(crate) fn of_hour(&self, hour: i32, prior: f64) -> f64 {
        let (own, days) = (at(&self.hours, hour), self.days());
        let beside = f64::midpoint(at(&self.hours, hour - 1), at(&self.hours, hour + 1));
        // The fewer calls there are around, the more days it takes to know better.
        let prior = prior / beside.max(FLOOR);
        (prior * beside + days * own) / (prior + days).max(1e-9)
    }

    /// The factor of a day alone; 1 until each day of the week was seen once.
    #[must_use]
    pub(crate) fn of_day(&self, day: i32) -> f64 {
        if self.seen < WEEK { 1.0 } else { at(&self.days, day) }
    }

    /// Whole days seen.
    #[must_use]
    pub(crate) const fn seen(&self) -> u16 {
        self.seen
    }

    /// The days that an hour's factor rests on.
    #[must_use]
    pub(crate) fn days(&self) -> f64 {
        f64::from(self.seen).min(2.0 / STEP_MIN)
    }

    /// The weeks that a day's factor rests on.
    #[must_use]
    pub(crate) fn weeks(&self) -> f64 {
        (f64::from(self.seen) / 7.0).clamp(1.0, 2.0 / DAY_STEP_MIN)
    }

    /// Learns an hour that is over.
    pub(crate) fn learn_hour(&mut self, hour: i32, seen: &Seen) {
        let step = (1.0 / (f64::from(self.seen) + 1.0)).max(STEP_MIN);
        learn(&mut self.hours, hour, seen, step);
    }

    /// Learns a day that is over. The first week is kept as it was: its days can only be compared
    /// when it is over. Returns the calls of that week then.
    pub(crate) fn learn_day(&mut self, day: i32, seen: &Seen) -> Option<f64> {
        self.seen = self.seen.saturating_add(1);
        if self.seen > WEEK {
            let step = (1.0 / (f64::from((self.seen - 1) / WEEK) + 1.0)).max(DAY_STEP_MIN);
            learn(&mut self.days, day, seen, step);
            return None;
        }
        if let Some(calls) = slot(&mut self.days, day) {
            *calls = narrow(seen.calls);
        }
        (self.seen == WEEK).then(|| 7.0 * scale(&mut self.days))
    }

    /// Makes the factors 1 on average; returns what the rate must be multiplied by for that.
    pub(crate) fn normalise(&mut self) -> f64 {
        scale(&mut self.hours) * scale(&mut self.days)
    }
}

fn learn(factors: &mut [f32], place: i32, seen: &Seen, step: f64) {
    if seen.expected <= 1e-6 {
        return;
    }
    if let Some(factor) = slot(factors, place) {
        let ratio = (seen.calls / seen.expected).min(RATIO_MAX);
        let step = step * seen.weight;
        *factor = narrow(f64::from(*factor) + step * (ratio - f64::from(*factor)));
    }
}

fn scale(factors: &mut [f32]) -> f64 {
    let (sum, number) = factors
        .iter()
        .fold((0.0, 0.0), |(sum, number), factor| (sum + f64::from(*factor), number + 1.0));
    let mean: f64 = sum / number;
    if mean <= 1e-6 {
        return 1.0;
    }
    factors.iter_mut().for_each(|factor| *factor = narrow(f64::from(*factor) / mean));
    mean
}

fn at(factors: &[f32], place: i32) -> f64 {
    let number = i32::try_from(factors.len()).unwrap_or(1);
    let place = usize::try_from(place.rem_euclid(number)).unwrap_or(0);
    f64::from(factors.get(place).copied().unwrap_or(1.0))
}

fn slot(factors: &mut [f32], place: i32) -> Option<&mut f32> {
    let number = i32::try_from(factors.len()).unwrap_or(1);
    factors.get_mut(usize::try_from(place.rem_euclid(number)).unwrap_or(0))
}

/// The first bucket of the next hour.
pub(super) fn next_hour(bucket: i32) -> i32 {
    bucket.div_euclid(super::HOUR).saturating_add(1).saturating_mul(super::HOUR)
}

/// The hour of the day, and the day since the Unix epoch, of a bucket.
pub(super) fn hour_and_day(bucket: i32) -> (i32, i32) {
    (bucket.div_euclid(super::HOUR).rem_euclid(24), bucket.div_euclid(super::DAY))
}
