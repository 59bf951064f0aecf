//! The statistics of steady agents against closed forms and a small seeded world.

use super::evidence::{TOO_FEW, TOO_MANY, Tilt, too_few, too_many};
use super::*;
use crate::baseline::float;
use fastrand::Rng;
use proptest::prelude::*;
use statrs::distribution::{Discrete, NegativeBinomial, Poisson};
use std::f64::consts::PI;

/// The budget that alarms are counted with.
const BUDGET: f64 = 0.01;

/// Seven times as many calls at day as at night, two fifths of them at weekends.
fn diurnal(secs: f64) -> f64 {
    let hour = (secs / 3_600.0).rem_euclid(24.0);
    let week = if (secs / 86_400.0).floor().rem_euclid(7.0) >= 5.0 { 0.4 } else { 1.0 };
    week * (1.0 + 0.75 * (2.0 * PI * (hour - 8.0) / 24.0).sin())
}

/// The same on every other day, and nothing in between, by a rule that is no day of the week.
fn on_and_off(secs: f64) -> f64 {
    let day = (secs / 86_400.0).floor();
    if (day * 0.618_034).fract() < 0.5 { diurnal(secs) } else { 0.0 }
}

/// One agent that lives through generated time.
#[derive(Clone)]
struct World {
    random: Rng,
    steady: Steady,
    shape: fn(f64) -> f64,
    /// Calls a minute on average, and how many come at once.
    rate: f64,
    batch: u32,
    secs: f64,
    alarms: u32,
    silences: u32,
    was_alarming: bool,
}

impl World {
    fn new(seed: u64, rate: f64) -> Self {
        let secs = 0.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::as_conversions,
            reason = "a test"
        )]
        let steady = Steady::new((rate * 1_440.0) as u32, Timestamp::from_secs(0));
        let random = Rng::with_seed(seed);
        let shape = diurnal;
        let (batch, alarms, silences, was_alarming) = (1, 0, 0, false);
        Self { random, steady, shape, rate, batch, secs, alarms, silences, was_alarming }
    }

    fn millis(secs: f64) -> Timestamp {
        #[expect(clippy::cast_possible_truncation, clippy::as_conversions, reason = "a test")]
        let millis = (secs * 1e3) as i64;
        Timestamp::from_millis(millis)
    }

    /// Lives until `days` days are over with `times` the usual rate; returns the seconds until the
    /// first alarm.
    fn live(&mut self, days: f64, times: f64) -> Option<f64> {
        let (start, end) = (self.secs, days * 86_400.0);
        let most = self.rate / f64::from(self.batch) * times * 1.8 / 60.0;
        let mut fired = None;
        loop {
            self.secs += -(1.0 - self.random.f64()).ln() / most;
            if self.secs >= end {
                break;
            }
            if self.random.f64() * 1.8 < (self.shape)(self.secs) {
                self.pause(Self::millis(self.secs));
                (0..self.batch).for_each(|_| self.steady.add_call(Self::millis(self.secs)));
                fired = fired.or(self.alarm().then_some(self.secs - start));
            }
        }
        self.secs = end;
        fired
    }

    fn alarm(&mut self) -> bool {
        let up = self.steady.many() * BUDGET;
        let up = if self.steady.trust() == Trust::Active { up } else { 0.0 };
        let down = self.steady.few() * BUDGET;
        let down = if self.steady.trust_low() == Trust::Active { down } else { 0.0 };
        let ratio = up.max(down);
        let is_new = ratio >= 1.0 && !self.was_alarming;
        self.alarms += u32::from(is_new);
        self.was_alarming = ratio >= 0.1 && (self.was_alarming || is_new);
        ratio >= 1.0
    }

    /// Lets time pass without a call until `time`; returns the seconds until silence was told.
    fn pause(&mut self, time: Timestamp) -> Option<f64> {
        let start = Self::millis(self.secs);
        let mut told = None;
        while told.is_none() && !self.steady.is_away() {
            if self.steady.trust_low() != Trust::Active {
                return None;
            }
            let stop = self.steady.stops_at(2.0 / BUDGET, 5.0);
            let next = stop.unwrap_or(self.steady.hour_end());
            if next > time {
                return None;
            }
            self.steady.pass(next);
            told = stop;
        }
        self.silences += u32::from(told.is_some());
        told.map(|told| told.secs_since(start))
    }
}

fn null() -> impl Strategy<Value = Null> {
    (0.001_f64..5.0, 1.0_f64..12.0, 1.0_f64..2.0).prop_map(|(mean, dispersion, tolerance)| Null {
        mean,
        dispersion,
        dispersion_low: dispersion * 1.1,
        tolerance,
        mass: 1e-4,
    })
}

/// The mean of an e-value when `chance` is the logarithm of the chance of a count.
fn mean_of(tilt: Tilt, chance: impl Fn(u64) -> f64) -> f64 {
    (0..4_000_u64).map(|n| (tilt.call * float(n) + tilt.bucket + chance(n)).exp()).sum()
}

/// The logarithms of the chances of counts with this mean and an index of dispersion that does not depend on it.
fn counts(mean: f64, dispersion: f64) -> impl Fn(u64) -> f64 {
    let size = mean / (dispersion - 1.0);
    let counts = NegativeBinomial::new(size, 1.0 / dispersion).unwrap();
    move |n| counts.ln_pmf(n)
}

#[test]
fn without_batches_the_e_values_are_those_of_a_poisson_process() {
    for mean in [0.01, 0.5, 3.0] {
        let null = Null { mean, dispersion: 1.0, dispersion_low: 1.0, tolerance: 1.0, mass: 0.0 };
        let poisson = Poisson::new(mean).unwrap();
        for times in TOO_MANY {
            let e = mean_of(too_many(times, &null), |n| poisson.ln_pmf(n));
            assert!((e - 1.0).abs() < 1e-9, "{times} {e}");
        }
        for times in TOO_FEW {
            let e = mean_of(too_few(times, &null), |n| poisson.ln_pmf(n));
            assert!((e - 1.0).abs() < 1e-9, "{times} {e}");
        }
    }
}

#[test]
fn one_call_of_a_batch_of_any_size_is_no_evidence() {
    // Batches of always `size` calls: the index of dispersion is `size`.
    for size in [1_u64, 4, 30] {
        let mean = 2.0;
        let dispersion = float(size);
        let null = Null { mean, dispersion, dispersion_low: dispersion, tolerance: 1.0, mass: 0.0 };
        let batches = Poisson::new(mean / dispersion).unwrap();
        let chance = |n: u64| {
            if n.is_multiple_of(size) { batches.ln_pmf(n / size) } else { f64::NEG_INFINITY }
        };
        for times in TOO_MANY {
            assert!(mean_of(too_many(times, &null), chance) <= 1.0 + 1e-9);
        }
        for times in TOO_FEW {
            assert!(mean_of(too_few(times, &null), chance) <= 1.0 + 1e-9);
        }
    }
}

#[test]
fn an_idle_hour_is_the_same_in_one_step_as_in_many() {
    let mut world = World::new(1, 1.0);
    world.live(15.5, 1.0);
    let (mut once, mut often) = (world.steady.clone(), world.steady.clone());
    let start = world.steady.bucket;
    once.advance(start + 5_000);
    (0..=5_000).for_each(|n| often.advance(start + n));
    for (once, often) in [
        (once.few(), often.few()),
        (once.stopped(), often.stopped()),
        (once.many(), often.many()),
        (f64::from(once.gap), f64::from(often.gap)),
    ] {
        assert!((once - often).abs() <= 1e-3 * often.abs() + 1e-9, "{once} {often}");
    }
    assert_eq!((once.bucket, once.calls.to_bits()), (often.bucket, often.calls.to_bits()));
}

#[test]
fn evidence_crosses_a_level_no_more_often_than_promised() {
    // What is normal is known exactly here, and nothing is tolerated.
    let null = Null { mean: 0.2, dispersion: 3.0, dispersion_low: 3.0, tolerance: 1.0, mass: 1e-3 };
    let mut random = Rng::with_seed(7);
    let (mut evidence, mut crossings) = (Evidence::default(), 0);
    evidence.assume(&null);
    let chance = counts(null.mean, null.dispersion);
    let chances: Vec<f64> = (0..60).map(chance).map(f64::exp).collect();
    let level = 10.0;
    for _ in 0..400_000 {
        evidence.open(1);
        let mut draw = random.f64();
        for chance in &chances {
            draw -= chance;
            if draw < 0.0 {
                break;
            }
            evidence.add_call();
        }
        evidence.close(1);
        if evidence.many() >= level {
            crossings += 1;
            evidence.forget();
        }
    }
    // 400 expected days, of which the upper side has .92.
    assert!(crossings <= 40 + 13, "{crossings}");
    assert!(crossings >= 4, "{crossings}");
}

#[test]
fn a_steady_agent_is_known_after_a_fortnight_and_does_not_alarm() {
    for (seed, rate) in [(1, 0.1), (2, 1.0), (3, 1.0)] {
        let mut world = World::new(seed, rate);
        // The day before the first one was its own, so this is the fourteenth.
        world.live(12.5, 1.0);
        assert!(matches!(world.steady.trust(), Trust::Learning(_)));
        world.live(13.5, 1.0);
        assert_eq!(world.steady.trust(), Trust::Active);
        world.live(60.0, 1.0);
        let Steady { many, few, .. } = world.steady;
        let trust = (world.steady.trust(), world.steady.trust_low());
        assert_eq!(trust, (Trust::Active, Trust::Active), "{many:?} {few:?}");
        assert_eq!((world.alarms, world.silences), (0, 0), "{seed}");
    }
}

#[test]
fn shifts_and_silence_are_told_in_minutes() {
    let medians = |times: f64| {
        let mut delays: Vec<f64> = (0..9)
            .map(|seed| {
                let mut world = World::new(seed, 1.0);
                world.live(21.5, 1.0);
                let day = world.secs + 86_400.0;
                let told = if times > 0.0 {
                    world.live(22.5, times)
                } else {
                    world.pause(World::millis(day))
                };
                told.unwrap_or(f64::INFINITY) / 60.0
            })
            .collect();
        delays.sort_by(f64::total_cmp);
        delays[4]
    };
    let (triple, tenfold, silent) = (medians(3.0), medians(10.0), medians(0.0));
    assert!(triple <= 10.0 && tenfold <= 1.2 && silent <= 20.0, "{triple} {tenfold} {silent}");
}

#[test]
fn an_agent_that_is_often_off_is_not_judged_by_its_pauses() {
    for seed in 1..6 {
        let mut world = World { shape: on_and_off, ..World::new(seed, 1.0) };
        world.live(60.0, 1.0);
        assert_ne!(world.steady.trust_low(), Trust::Active);
        assert_eq!((world.alarms, world.silences), (0, 0));
    }
}

/// On five days of the week, and not at all on the two first ones.
fn begins_with_days_off(secs: f64) -> f64 {
    let day = (secs / 86_400.0).floor();
    if (0.0..2.0).contains(&day) || (7.0..8.0).contains(&day) { 0.0 } else { diurnal(secs) }
}

#[test]
fn a_day_off_in_the_first_weeks_is_not_yet_one_of_every_week() {
    for seed in 1..6 {
        let mut world = World { shape: begins_with_days_off, ..World::new(seed, 0.1) };
        world.live(30.0, 1.0);
        assert_eq!(world.alarms, 0, "{seed}");
    }
}

#[test]
fn hundreds_of_calls_in_a_bucket_are_no_blind_spot() {
    // Up to five thousand calls a minute, and twice as many from now on.
    let most_a_bucket = 850.0;
    for (mean, buckets) in [(17.0, 6), (170.0, 2), (most_a_bucket, 1)] {
        let null = Null { mean, dispersion: 1.2, dispersion_low: 1.3, tolerance: 1.2, mass: 2e-4 };
        let mut evidence = Evidence::default();
        evidence.assume(&null);
        let calm = |evidence: &mut Evidence, times: f64| {
            evidence.open(1);
            let mut most: f64 = 0.0;
            let mut calls = mean * times;
            while calls > 0.0 {
                evidence.add_call();
                most = most.max(evidence.many());
                calls -= 1.0;
            }
            most
        };
        let most = (0..400).map(|_| calm(&mut evidence, 1.0)).fold(0.0, f64::max);
        assert!(most < 1.0, "{mean} {most}");
        let most = (0..buckets).map(|_| calm(&mut evidence, 2.0)).fold(0.0, f64::max);
        assert!(most >= 200.0, "{mean} {most}");
    }
}

#[test]
fn an_agent_with_few_calls_that_is_often_off_is_no_service() {
    for seed in 1..4 {
        let mut world = World { shape: on_and_off, ..World::new(seed, 0.1) };
        world.live(60.0, 1.0);
        assert_eq!(world.steady.trust(), Trust::Starved);
        assert_eq!((world.alarms, world.silences), (0, 0));
        let mut world = World::new(seed, 0.1);
        world.live(60.0, 1.0);
        assert_eq!(world.steady.trust(), Trust::Active);
    }
}

#[test]
fn one_hour_of_a_hundred_times_as_many_calls_moves_the_usual_rate_little() {
    let mut world = World::new(5, 1.0);
    world.live(20.5, 1.0);
    let mut calm = world.clone();
    world.live(20.5 + 1.0 / 24.0, 100.0);
    for world in [&mut world, &mut calm] {
        world.live(22.0, 1.0);
    }
    let moved = world.steady.rate() / calm.steady.rate();
    assert!((0.95..1.05).contains(&moved), "{moved}");
    let hour = |world: &World| world.steady.season.of_hour(12, world.steady.prior_days());
    let moved = hour(&world) / hour(&calm);
    assert!((0.95..1.05).contains(&moved), "{moved}");
}

#[test]
fn a_rate_that_stays_for_two_days_becomes_the_usual_one() {
    let mut world = World::new(6, 1.0);
    world.live(21.5, 1.0);
    let before = world.steady.rate();
    assert!(world.live(25.0, 3.0).is_some());
    assert!((2.6..3.4).contains(&(world.steady.rate() / before)), "{}", world.steady.rate());
    world.live(40.0, 3.0);
    assert!(world.alarms <= 2, "{}", world.alarms);
}

#[test]
fn a_week_away_is_no_evidence_and_is_not_learned() {
    let mut world = World::new(8, 1.0);
    world.live(21.5, 1.0);
    let rate = world.steady.rate();
    world.secs = 29.5 * 86_400.0;
    world.live(29.6, 1.0);
    assert!((world.steady.rate() / rate - 1.0).abs() < 0.05);
    assert_eq!(world.alarms, 0);
}

#[test]
fn evidence_that_falls_and_rises_within_buckets_does_not_starve_a_busy_agent() {
    // Three calls a bucket and more by day: all of them are allowed for when it opens.
    let mut world = World::new(4, 20.0);
    world.live(15.3, 1.0);
    assert_eq!(world.steady.trust(), Trust::Active);
    let told = world.live(15.3 + 1.0 / 24.0, 1.6);
    assert!(told.is_some(), "{:?}", world.steady.many);
    assert_eq!(world.steady.trust(), Trust::Active, "{:?}", world.steady.many);
}

#[test]
fn a_level_is_crossed_again_only_after_a_whole_bucket_below_it() {
    let mut check = SelfCheck::default();
    check.look(0.0, 0.1);
    for _ in 0..50 {
        // In the open bucket: little is left, then it is above the level again.
        check.cross(0.001);
        check.cross(1_000.0);
    }
    let mut once = SelfCheck::default();
    once.look(0.0, 0.1);
    once.cross(1_000.0);
    assert_eq!(check, once);
    check.look(0.001, 0.0);
    check.cross(1_000.0);
    assert_ne!(check, once);
}

#[test]
fn floods_of_the_first_week_leave_no_holes_in_it() {
    let live = |distrusts: bool| {
        let mut world = World::new(9, 1.0);
        for hour in 1..=168_u32 {
            world.live(f64::from(hour) / 24.0, 1.0);
            // Whoever makes many calls floods its busiest minute until that is learned.
            if distrusts && hour < 40 {
                world.steady.distrust();
            }
        }
        world.live(13.5, 1.0);
        world.steady
    };
    assert_eq!(live(true), live(false));
}

#[test]
fn a_week_of_few_calls_suffices_to_miss_them() {
    for seed in 1..5 {
        let mut world = World::new(seed, 0.1);
        world.live(13.5, 1.0);
        assert_eq!(world.steady.trust_low(), Trust::Active, "{seed}");
    }
}

#[test]
fn the_state_is_as_small_as_it_says() {
    assert!(size_of::<Steady>() <= 408, "{}", size_of::<Steady>());
}

proptest! {
    #[test]
    fn e_values_have_a_mean_of_one_at_most(null in null(), place in 0_usize..6) {
        let dispersion = null.dispersion.max(1.001);
        let null = Null { dispersion, ..null };
        // The true mean may be anything within the tolerance.
        for part in [1.0 / null.tolerance, 1.0, null.tolerance] {
            let chance = counts(null.mean * part, dispersion);
            let tilt = match place {
                0..4 => too_many(TOO_MANY[place], &null),
                _ => too_few(TOO_FEW[place - 4], &null),
            };
            let e = mean_of(tilt, chance);
            prop_assert!(e <= 1.0 + 1e-6, "{} {}", e, place);
        }
        // Exact at the edge of what is tolerated.
        if place < 4 {
            let e = mean_of(too_many(TOO_MANY[place], &null), counts(null.mean * null.tolerance, dispersion));
            prop_assert!((e - 1.0).abs() < 1e-3, "{}", e);
        }
    }

    #[test]
    fn any_times_and_gaps_are_survived(times in prop::collection::vec(any::<i64>(), 1..40)) {
        let mut steady = Steady::new(100, Timestamp::from_nanos(times[0]));
        for nanos in times {
            steady.add_call(Timestamp::from_nanos(nanos));
            let since = (steady.since(true), steady.since(false));
            prop_assert!(steady.many().is_finite() && steady.few().is_finite());
            prop_assert!(since.0.secs > 0.0 && since.1.secs > 0.0);
            prop_assert!(steady.hour_end() >= Timestamp::from_nanos(nanos).plus_secs(-3_600));
        }
    }

    #[test]
    fn where_silence_is_told_is_where_its_evidence_gets_there(seed in 0_u64..50, level in 10.0_f64..1e4) {
        let mut world = World::new(seed, 1.0);
        world.live(8.0, 1.0);
        let mut steady = world.steady;
        while steady.stops_at(level, 0.0).is_none() {
            let end = steady.hour_end();
            steady.pass(end);
        }
        let stop = steady.stops_at(level, 0.0).unwrap();
        let mut before = steady.clone();
        before.pass(stop.plus_secs(-BUCKET_SECS));
        steady.pass(stop);
        let longest = steady.longest_pause();
        prop_assert!(steady.stopped() >= level * 0.999 && steady.pause().2 >= longest);
        prop_assert!(before.stopped() < level * 1.001 || before.pause().2 <= longest * 1.001);
    }
}
