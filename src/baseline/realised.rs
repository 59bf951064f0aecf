//! How often the detectors of a group came near to an alert, and how often they may have.
//!
//! A detector promises that on at most a share `budget` of the active agent-days its ratio of
//! budget to chance reaches 1. Then it reaches `c` on at most `budget / c` of them, so crossings of
//! low tiers, of which there are many, tell early whether the promise holds. A low tier is judged by
//! the days that came to it without an alert: what alerts may be an attack, and says of the days
//! without one nothing. Alerts themselves speak against a detector only when they are more than the
//! attacks of one month. Whole agent-days are counted and summed as integers: the sums are the same
//! in any order and for any number of partitions.
//!
//! The tail is a series of positive terms, so nothing is subtracted from 1.

use serde::{Deserialize, Serialize};

use crate::baseline::float;

/// The ratios at which crossings are counted. At 1 an alert is due. Below .03 the usual budgets
/// allow every day to cross, which checks nothing.
pub const TIERS: [f64; 4] = [NEAR[0], NEAR[1], NEAR[2], 1.0];

/// The tiers below an alert, which also steady agents check their own evidence at.
pub const NEAR: [f64; 3] = [0.03, 0.1, 0.3];

/// Days of one block of counts. Two are kept, so that what is judged covers the last 28 to 56 days:
/// a detector that was mended is trusted again within two months.
const BLOCK_DAYS: i32 = 28;

/// Blocks kept: the latest ones, whatever the order in which they are heard of.
const BLOCKS_MAX: usize = 2;

/// Detectors told apart; more than there are.
pub const DETECTORS_MAX: u8 = 32;

/// Crossings below which nothing is said: one agent in trouble for a week is not its group.
const OBSERVED_MIN: u64 = 8;

/// Days with an alert, beyond those that the budget allows, that may all be attacks.
const ATTACKS: u64 = 16;

/// How far beyond its promise a detector must be. The days of one agent resemble each other, so
/// counts spread more than a Poisson distribution says, and up to twice the budget is the bar that
/// a shipped detector is held to.
const FACTOR: f64 = 2.0;

/// How unlikely it must be by chance. It is looked at each hour of 18 detectors and 4 tiers, so
/// one in twenty would say so all the time.
const CHANCE: f64 = 1e-3;

/// Active agent-days of one group, and those on which its detectors crossed a tier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Realised {
    /// The latest first.
    blocks: Vec<Block>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Block {
    /// Its number: days since the Unix epoch over [`BLOCK_DAYS`].
    number: i32,
    days: u64,
    /// Ascending by the detector.
    crossings: Vec<(u8, [u32; TIERS.len()])>,
}

impl Block {
    fn tiers(&mut self, detector: u8) -> Option<&mut [u32; TIERS.len()]> {
        let found = self.crossings.binary_search_by_key(&detector, |(known, _)| *known);
        let at = found.unwrap_or_else(|at| {
            self.crossings.reserve_exact(1);
            self.crossings.insert(at, (detector, [0; TIERS.len()]));
            at
        });
        self.crossings.get_mut(at).map(|(_, tiers)| tiers)
    }
}

/// More than a detector promised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Excess {
    /// The ratio that was crossed.
    pub tier: f64,
    /// The active agent-days on which it was; below 1 those without an alert.
    pub observed: u64,
    /// The most that are expected within the budget.
    pub allowed: f64,
    /// All active agent-days that were looked at.
    pub days: u64,
}

impl Realised {
    /// Counts an active day of an agent that was known when the day began.
    pub fn add_day(&mut self, day: i32) {
        self.change(day.div_euclid(BLOCK_DAYS), |block| block.days = block.days.saturating_add(1));
    }

    /// Counts that on such a day a detector reached the tier at `tier` of [`TIERS`].
    pub fn add_crossing(&mut self, detector: u8, tier: u8, day: i32) {
        if detector >= DETECTORS_MAX {
            return;
        }
        self.change(day.div_euclid(BLOCK_DAYS), |block| {
            let tiers = block.tiers(detector);
            if let Some(count) = tiers.and_then(|tiers| tiers.get_mut(usize::from(tier))) {
                *count = count.saturating_add(1);
            }
        });
    }

    /// Adds everything `other` counted; the order of merges does not matter.
    pub fn merge(&mut self, other: &Self) {
        for theirs in &other.blocks {
            self.change(theirs.number, |block| {
                block.days = block.days.saturating_add(theirs.days);
                for (detector, counts) in &theirs.crossings {
                    let Some(tiers) = block.tiers(*detector) else { continue };
                    for (count, more) in tiers.iter_mut().zip(counts) {
                        *count = count.saturating_add(*more);
                    }
                }
            });
        }
    }

    /// Active agent-days that are kept in mind.
    #[must_use]
    pub fn days(&self) -> u64 {
        self.blocks.iter().fold(0, |days, block| days.saturating_add(block.days))
    }

    /// The agent-days on which a detector reached each of [`TIERS`].
    #[must_use]
    pub fn crossings(&self, detector: u8) -> [u64; TIERS.len()] {
        let mut sums = [0; TIERS.len()];
        let all = self.blocks.iter().flat_map(|block| &block.crossings);
        for (_, counts) in all.filter(|(known, _)| *known == detector) {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += u64::from(*count);
            }
        }
        sums
    }

    /// The tier at which a detector with `budget` false alarms an active agent-day is furthest
    /// beyond its promise; `None` while it keeps it, as far as can be told.
    #[must_use]
    pub fn excess(&self, detector: u8, budget: f64) -> Option<Excess> {
        let (days, crossings) = (self.days(), self.crossings(detector));
        let [.., alerts] = crossings;
        let found = TIERS.iter().zip(crossings).filter_map(|(tier, crossed)| {
            let is_alert = *tier >= 1.0;
            let observed = if is_alert { crossed } else { crossed.saturating_sub(alerts) };
            let allowed = if is_alert {
                allowed(budget, *tier, days)
            } else {
                allowed_near(budget, *tier, days)
            };
            let counted = if is_alert { observed.saturating_sub(ATTACKS) } else { observed };
            is_beyond(counted, allowed).then_some(Excess { tier: *tier, observed, allowed, days })
        });
        found.max_by(|a, b| factor(a).total_cmp(&factor(b)))
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let held = |block: &Block| block.crossings.capacity() * size_of::<(u8, [u32; 4])>();
        self.blocks.capacity() * size_of::<Block>() + self.blocks.iter().map(held).sum::<usize>()
    }

    /// Whether it holds no more than it may.
    #[must_use]
    pub fn is_within_bounds(&self) -> bool {
        let is_known = |block: &Block| block.crossings.iter().all(|(it, _)| *it < DETECTORS_MAX);
        self.blocks.len() <= BLOCKS_MAX
            && self.blocks.is_sorted_by(|a, b| a.number > b.number)
            && self.blocks.iter().all(is_known)
    }

    fn change(&mut self, number: i32, change: impl FnOnce(&mut Block)) {
        let place = self.blocks.partition_point(|block| block.number > number);
        if self.blocks.get(place).is_none_or(|block| block.number != number) {
            if place >= BLOCKS_MAX {
                return;
            }
            self.blocks.insert(place, Block { number, ..Block::default() });
            self.blocks.truncate(BLOCKS_MAX);
        }
        if let Some(block) = self.blocks.get_mut(place) {
            change(block);
        }
    }
}

/// The most agent-days of `days` that are expected to reach a ratio of `tier`, by Markov's
/// inequality; never more than there are.
#[must_use]
pub fn allowed(budget: f64, tier: f64, days: u64) -> f64 {
    float(days) * (budget / tier).min(1.0)
}

/// The most that are expected to reach a ratio of `tier` and no alert, when chances are as they say.
fn allowed_near(budget: f64, tier: f64, days: u64) -> f64 {
    (allowed(budget, tier, days) - float(days) * budget).max(0.0)
}

fn factor(excess: &Excess) -> f64 {
    float(excess.observed) / excess.allowed.max(f64::MIN_POSITIVE)
}

fn is_beyond(observed: u64, allowed: f64) -> bool {
    observed >= OBSERVED_MIN
        && float(observed) > FACTOR * allowed
        && poisson_tail(observed, allowed) < CHANCE
}

/// The chance that a Poisson variable of the given mean reaches `count`, for counts beyond twice
/// the mean: each term of the series is then less than half the one before.
fn poisson_tail(count: u64, mean: f64) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    let n = float(count);
    let first = libm::exp(n * libm::log(mean) - mean - libm::lgamma(n + 1.0));
    let (mut sum, mut term, mut next) = (0.0, 1.0, n);
    while term > 1e-17 {
        sum += term;
        next += 1.0;
        term *= mean / next;
    }
    first * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use statrs::distribution::{DiscreteCDF, Poisson};

    fn counted(days: u32, crossings: u32, tier: u8) -> Realised {
        let mut realised = Realised::default();
        (0..days).for_each(|_| realised.add_day(40));
        (0..crossings).for_each(|_| realised.add_crossing(3, tier, 40));
        realised
    }

    #[test]
    fn twice_the_promise_is_let_pass_and_more_is_not() {
        // A thousand agent-days at .01 allow 10 alerts.
        assert_eq!(counted(1_000, 20, 3).excess(3, 0.01), None);
        let excess = counted(1_000, 40, 3).excess(3, 0.01).unwrap();
        assert_eq!((excess.tier, excess.observed), (1.0, 40));
        assert!((excess.allowed - 10.0).abs() < 1e-9, "{excess:?}");
    }

    #[test]
    fn what_may_be_chance_is_let_pass() {
        // Eight where three are expected: more than twice as many, and one in eighty by chance.
        assert_eq!(counted(300, 8, 3).excess(3, 0.01), None);
        // Seven of one agent's days, where nothing at all is expected.
        assert_eq!(counted(7, 7, 2).excess(3, 1e-6), None);
        assert!(counted(8, 8, 2).excess(3, 1e-6).is_some());
        assert_eq!(counted(400, 16 + 7, 3).excess(3, 1e-6), None);
        assert!(counted(400, 16 + 8, 3).excess(3, 1e-6).is_some());
    }

    /// A detector of budget `.01` on `days` agent-days whose chances are `times` too small, and
    /// `attacks` days on which it alerts with reason.
    fn judged(days: u32, times: f64, attacks: u32) -> Realised {
        let mut realised = counted(days, 0, 0);
        for (tier, threshold) in (0_u8..).zip(TIERS) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::as_conversions,
                reason = "a test"
            )]
            let by_chance = (f64::from(days) * (times * 0.01 / threshold).min(1.0)) as u32;
            (0..by_chance + attacks).for_each(|_| realised.add_crossing(3, tier, 40));
        }
        realised
    }

    #[test]
    fn ten_attacked_days_are_no_wrong_model_and_hide_none() {
        for days in [60, 200, 1_000, 10_000] {
            assert_eq!(judged(days, 1.0, 0).excess(3, 0.01), None, "{days}");
            assert_eq!(judged(days, 1.0, 10).excess(3, 0.01), None, "{days}");
            assert_eq!(judged(days, 1.5, 10).excess(3, 0.01), None, "{days}");
        }
        for attacks in [0, 10] {
            // Near-misses tell within weeks of a small group, long before alerts do.
            assert!(judged(200, 2.5, attacks).excess(3, 0.01).is_some_and(|it| it.tier < 1.0));
            assert!(judged(1_000, 2.1, attacks).excess(3, 0.01).is_some_and(|it| it.tier < 1.0));
        }
    }

    #[test]
    fn a_tier_that_every_day_may_reach_says_nothing() {
        assert_eq!(counted(500, 500, 0).excess(3, 0.03), None);
        assert!(counted(500, 500, 1).excess(3, 0.03).is_some());
    }

    #[test]
    fn two_blocks_of_days_are_kept_and_no_more() {
        let mut realised = Realised::default();
        for day in 0..10_000 {
            realised.add_day(day);
            (0..=255).for_each(|detector| realised.add_crossing(detector, 9, day));
            realised.add_crossing(1, 0, day);
        }
        assert!((28..=56).contains(&realised.days()), "{}", realised.days());
        assert_eq!(realised.crossings(1), [realised.days(), 0, 0, 0]);
        assert!(realised.blocks.iter().all(|block| block.crossings.len() == 32));
    }

    fn facts() -> impl Strategy<Value = Vec<(i32, u8, u8)>> {
        prop::collection::vec((-90_i32..90, 0_u8..40, 0_u8..6), 0..60)
    }

    fn of(facts: &[(i32, u8, u8)]) -> Realised {
        let mut realised = Realised::default();
        for (day, detector, tier) in facts {
            realised.add_day(*day);
            realised.add_crossing(*detector, *tier, *day);
        }
        realised
    }

    proptest! {
        #[test]
        fn the_tail_agrees_with_statrs(mean in 0.01_f64..500.0, factor in 2.01_f64..6.0) {
            let count = libm::ceil(mean * factor);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::as_conversions, reason = "a test")]
            let count = count as u64;
            let theirs = Poisson::new(mean).unwrap().sf(count - 1);
            let ours = poisson_tail(count, mean);
            prop_assert!((ours - theirs).abs() <= 1e-6 * theirs + 1e-280, "{ours} {theirs}");
        }

        #[test]
        fn counts_do_not_depend_on_order_or_grouping(a in facts(), b in facts(), c in facts()) {
            let whole = of(&[a.clone(), b.clone(), c.clone()].concat());
            prop_assert_eq!(&of(&[c.clone(), a.clone(), b.clone()].concat()), &whole);
            let (x, y, z) = (of(&a), of(&b), of(&c));
            for order in [[&x, &y, &z], [&z, &x, &y], [&y, &z, &x]] {
                let mut merged = Realised::default();
                order.iter().for_each(|part| merged.merge(part));
                prop_assert_eq!(&merged, &whole);
            }
        }
    }
}
