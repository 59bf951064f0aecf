//! A frozen memory of what an agent was like in its first fortnight, and whether it has drifted
//! away from that slowly, so slowly that everything that learns went along.
//!
//! An anchor never moves by itself: only a person who accepts a level moves it. A recent level, in
//! which a day counts half after one and a half more, is compared with it by Student's t.

use serde::{Deserialize, Serialize};

/// Active days after which the anchor is frozen.
pub const ANCHOR_DAYS: u8 = 14;

/// What a day makes of the recent level: nine tenths of it are of four and a half days. With less, a
/// rate that grows by a tenth a day is three times the anchor before its recent level is twice.
const RECENT_STEP: f64 = 0.4;

/// The variance of the recent level of independent days, as a part of theirs.
const RECENT_VARIANCE: f64 = RECENT_STEP / (2.0 - RECENT_STEP);

/// No agent is taken to be steadier than this deviation of the logarithm.
const DEVIATION_MIN: f64 = 0.1;

/// A day moves the recent level as if it were within so many deviations, or this much, of it.
const OUTLIER_DEVIATIONS: f64 = 2.0;
const OUTLIER_MIN: f64 = 0.5;

/// Days are taken to vary by this factor more than the fortnight showed: busy weeks follow each
/// other.
const INFLATION: f64 = 1.5;

/// The logarithm of one daily figure: its anchor and its recent level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Anchor {
    /// The sum and the sum of squares of the fortnight.
    sum: f32,
    squares: f32,
    recent: f32,
    /// How far away the recent level was when that was last told; 0 when it was not.
    told: f32,
    days: u8,
}

/// Where the recent level stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// The anchor and the recent level, no longer in logarithms.
    pub anchor: f64,
    /// The recent level.
    pub recent: f64,
    /// The usual range of a day: two deviations.
    pub usual: (f64, f64),
    /// The chance of a recent level this far from the anchor, to this side.
    pub chance: f64,
}

impl Anchor {
    /// Learns the figure of a day that is over, above 0.
    pub fn learn(&mut self, figure: f64) {
        let value = libm::log(figure.max(1.0));
        if self.days < ANCHOR_DAYS {
            self.sum += narrow(value);
            self.squares += narrow(value * value);
            self.days += 1;
            self.recent = narrow(self.mean());
            return;
        }
        let recent = f64::from(self.recent);
        let reach = (OUTLIER_DEVIATIONS * self.deviation()).max(OUTLIER_MIN);
        let value = value.clamp(recent - reach, recent + reach);
        self.recent = narrow(recent + RECENT_STEP * (value - recent));
    }

    /// Begins with `days` days of which only the mean is known, unless others were learned before.
    ///
    /// That they were all alike is made up for by the days after them: what those are compared with,
    /// such as a factor of the day of the week, comes from these, so they differ twice as much.
    pub fn begin(&mut self, figure: f64, days: u8) {
        if self.days == 0 {
            (0..days).for_each(|_| self.learn(figure));
        }
    }

    /// Where the recent level stands, if it is `ratio` times the anchor or a part of that, and was
    /// not told of before at this distance.
    pub fn drift(&mut self, ratio: f64) -> Option<Drift> {
        let (mean, away) = (self.mean(), f64::from(self.recent) - self.mean());
        let (least, told) = (libm::log(ratio), f64::from(self.told));
        if !self.is_set() || away.abs() < 0.7 * least {
            self.told = 0.0;
            return None;
        }
        let is_news = told * away <= 0.0 || away.abs() >= told.abs() + least;
        if away.abs() < least || !is_news {
            return None;
        }
        let days = f64::from(ANCHOR_DAYS);
        let spread = INFLATION * self.deviation() * libm::sqrt(RECENT_VARIANCE + 1.0 / days);
        let deviation = 2.0 * self.deviation();
        Some(Drift {
            anchor: libm::exp(mean),
            recent: libm::exp(f64::from(self.recent)),
            usual: (libm::exp(mean - deviation), libm::exp(mean + deviation)),
            chance: student_tail(away.abs() / spread, u32::from(ANCHOR_DAYS) - 1),
        })
    }

    /// The recent level, when it is `ratio` times the anchor or a part of that, told or not.
    #[must_use]
    pub fn recent_apart(&self, ratio: f64) -> Option<f64> {
        let away = f64::from(self.recent) - self.mean();
        let is_apart = self.is_set() && away.abs() >= libm::log(ratio);
        is_apart.then(|| libm::exp(f64::from(self.recent)))
    }

    /// What days are held to, once the fortnight is over.
    #[must_use]
    pub fn level(&self) -> Option<f64> {
        self.is_set().then(|| libm::exp(self.mean()))
    }

    /// Where the recent level will stand at least when the day under way is over, of which `figure` was
    /// seen so far; of a rise. More can only take it further.
    #[must_use]
    pub fn rise(&self, figure: f64, ratio: f64) -> Option<Drift> {
        let mut ended = *self;
        if ended.is_set() {
            ended.learn(figure);
        }
        ended.drift(ratio).filter(|drift| drift.recent > drift.anchor)
    }

    /// Notes that this was told.
    pub fn note_told(&mut self, drift: &Drift) {
        self.told = narrow(libm::log(drift.recent / drift.anchor));
    }

    /// Moves the anchor to the recent level, which somebody has accepted.
    pub fn renew(&mut self) {
        let days = f64::from(self.days.max(1));
        let deviation = self.deviation();
        let mean = f64::from(self.recent);
        self.sum = narrow(days * mean);
        self.squares = narrow(days * (mean * mean + deviation * deviation));
        self.told = 0.0;
    }

    /// The part of the fortnight that was seen, 0 to 1.
    #[must_use]
    pub fn progress(&self) -> f64 {
        f64::from(self.days) / f64::from(ANCHOR_DAYS)
    }

    const fn is_set(&self) -> bool {
        self.days >= ANCHOR_DAYS
    }

    fn mean(&self) -> f64 {
        f64::from(self.sum) / f64::from(self.days.max(1))
    }

    fn deviation(&self) -> f64 {
        let days = f64::from(self.days.max(2));
        let mean = self.mean();
        let squares = f64::from(self.squares) - days * mean * mean;
        libm::sqrt((squares / (days - 1.0)).max(0.0)).max(DEVIATION_MIN)
    }
}

/// The upper tail of Student's t with `freedom` degrees of freedom at `t`, 0 or more.
///
/// The incomplete beta function by its power series, whose terms are all positive: far in the tail
/// the answer keeps all its digits.
#[must_use]
pub fn student_tail(t: f64, freedom: u32) -> f64 {
    let freedom = f64::from(freedom);
    let x = freedom / (freedom + t * t);
    let (a, b) = (freedom / 2.0, 0.5);
    let beta = libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
    if x > 0.999 {
        // Close to the middle, where the other series hardly ends: the density by its own.
        let first = (freedom + 1.0) / (2.0 * freedom);
        let second = first * (freedom + 3.0) / (4.0 * freedom);
        let third = second * (freedom + 5.0) / (6.0 * freedom);
        let square = t * t;
        let part = 1.0 - square * (first / 3.0 - square * (second / 5.0 - square * third / 7.0));
        return 0.5 - libm::exp(-beta) / libm::sqrt(freedom) * t * part;
    }
    let head = libm::exp(a * libm::log(x) + b * libm::log1p(-x) - beta) / a;
    let (mut term, mut sum, mut step) = (1.0, 1.0, 0.0);
    while term > 1e-15 * sum && step < 40_000.0 {
        term *= x * (a + b + step) / (a + 1.0 + step);
        sum += term;
        step += 1.0;
    }
    (0.5 * head * sum).min(0.5)
}

fn narrow(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, clippy::as_conversions, reason = "a logarithm")]
    let narrow = value as f32;
    narrow
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use statrs::distribution::{ContinuousCDF, StudentsT};

    fn anchored(figure: f64) -> Anchor {
        let mut anchor = Anchor::default();
        (0..14).for_each(|n| anchor.learn(figure * if n % 2 == 0 { 0.9 } else { 1.1 }));
        anchor
    }

    #[test]
    fn one_wild_day_is_no_drift_and_hardly_moves_anything() {
        let mut anchor = anchored(100.0);
        let before = anchor.mean();
        anchor.learn(10_000.0);
        assert_eq!(anchor.drift(2.0), None);
        assert!((f64::from(anchor.recent) - before).abs() < 0.2);
        assert!((anchor.mean() - before).abs() < 1e-6);
    }

    #[test]
    fn a_mean_stands_for_days_only_at_the_beginning() {
        let mut anchor = Anchor::default();
        anchor.begin(100.0, 7);
        assert!((anchor.progress() - 0.5).abs() < 1e-9 && anchor.level().is_none());
        let before = anchor;
        anchor.begin(1_000.0, 7);
        assert_eq!(anchor, before);
        (0..7).for_each(|_| anchor.learn(100.0));
        assert!((anchor.level().unwrap() - 100.0).abs() < 0.01);
    }

    #[test]
    fn drift_is_told_once_at_each_doubling() {
        let mut anchor = anchored(100.0);
        let mut told = 0;
        for day in 0..200 {
            anchor.learn(100.0 * 1.02_f64.powi(day.min(75)));
            if let Some(drift) = anchor.drift(2.0).filter(|drift| drift.chance < 1e-3) {
                anchor.note_told(&drift);
                told += 1;
            }
        }
        // To 4.4 times: at twice and at four times.
        assert_eq!(told, 2);
    }

    #[test]
    fn a_level_that_is_accepted_is_the_anchor() {
        let mut anchor = anchored(100.0);
        (0..30).for_each(|_| anchor.learn(300.0));
        assert!(anchor.drift(2.0).is_some());
        anchor.renew();
        assert_eq!(anchor.drift(2.0), None);
        assert!((anchor.mean() - 300_f64.ln()).abs() < 0.01);
        assert!((anchor.deviation() - 0.104).abs() < 0.01);
    }

    proptest! {
        #[test]
        fn the_tail_agrees_with_statrs(t in 0.05_f64..50.0, freedom in 2_u32..40) {
            let expected = StudentsT::new(0.0, 1.0, f64::from(freedom)).unwrap().sf(t);
            let actual = student_tail(t, freedom);
            prop_assert!((actual / expected - 1.0).abs() < 1e-6, "{} {}", actual, expected);
        }

        #[test]
        fn every_ramp_is_told_before_three_times_the_anchor(daily in 0.01_f64..0.1, noise in prop::collection::vec(-0.1_f64..0.1, 200)) {
            let mut anchor = anchored(100.0);
            let mut level = 100.0;
            let told = noise.iter().find_map(|noise| {
                level *= 1.0 + daily;
                anchor.learn(level * noise.exp());
                let is_told = anchor.drift(2.0).is_some_and(|drift| drift.chance < 1e-3);
                is_told.then_some(level)
            });
            prop_assert!(told.unwrap() < 300.0, "{:?}", told);
        }

        #[test]
        fn what_was_seen_of_a_day_tells_nothing_that_its_end_would_not(
            days in prop::collection::vec(80.0_f64..1_000.0, 14..40),
            whole in 1.0_f64..2_000.0,
            part in 0.0_f64..=1.0,
        ) {
            let mut anchor = Anchor::default();
            days.iter().for_each(|figure| anchor.learn(*figure));
            let before = anchor;
            let seen = anchor.rise(whole * part, 2.0);
            prop_assert_eq!(anchor, before);
            anchor.learn(whole);
            if let Some(seen) = seen {
                let ended = anchor.drift(2.0).unwrap();
                prop_assert!(ended.chance <= seen.chance && ended.recent >= seen.recent);
                anchor.note_told(&seen);
                let is_next_doubling = ended.recent >= 2.0 * seen.recent;
                prop_assert_eq!(anchor.drift(2.0).is_some(), is_next_doubling);
            }
        }

        #[test]
        fn any_figures_are_survived(figures in prop::collection::vec(0.0_f64..1e12, 0..60)) {
            let mut anchor = Anchor::default();
            for figure in figures {
                anchor.learn(figure);
                let drift = anchor.drift(2.0);
                prop_assert!(drift.is_none_or(|drift| (0.0..=0.5).contains(&drift.chance)));
            }
        }
    }
}
