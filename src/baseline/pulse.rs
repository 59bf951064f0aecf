//! How much the agents of a group do together, hour by hour: what a release or an outage changes for
//! all of them at once.
//!
//! An agent measures each hour in units of its own: the level that nine of ten of its hours at work
//! stay below. It is found by steps that keep that share whatever the work looks like (Gibbs and
//! Candès, Adaptive conformal inference under distribution shift, 2021), so there is no model of an
//! agent that could be wrong for a whole group. What an hour has reached is told within the hour, in
//! quarters of the level and at most three levels, so that nobody weighs much more than another. The
//! group compares the sum with what this hour of the day usually has, and the day's largest difference
//! with those of the days before: agents of one group depend on each other, so a binomial tail over
//! them would promise far too much. Differences are of square roots, where a quiet hour of the night
//! scatters no more than a busy one; of ratios the night alone would decide what is usual.

use serde::{Deserialize, Serialize};

use crate::baseline::float;
use crate::baseline::maxima::{BlockMaxima, Prior, narrow};

/// Hours at work after which an agent's level is known.
const KNOWN_HOURS: u16 = 24;

/// What a level moves by, upwards after an hour above it and downwards after one below: the logarithms
/// are as 9 to 1, so that one hour of ten stays above.
const STEPS: (f32, f32) = (1.094_174, 0.990_05);

/// Calls over the level, and the quarters that are reached above that.
const MARKS: [(f32, u8); 5] = [(0.25, 1), (0.5, 2), (1.0, 4), (2.0, 8), (3.0, 12)];

/// The mark from which on an agent counts as busy.
const BUSY_QUARTERS: u8 = 2;

/// Agents with a known level below which a group is not judged.
const AGENTS_MIN: u64 = 10;

/// Days of the same hour after which it is judged, and over which it is averaged.
const HOUR_DAYS: (u8, f32) = (4, 8.0);

/// Days of maxima after which a group is judged, faded ones counted in part: a week has two kinds of
/// days.
const KNOWN_DAYS: f64 = 6.0;

/// Quarters of the whole group that are added to both sides of a difference.
const SHRINK: f64 = 1.0;

/// The same for a ratio that people are told.
const SHRINK_SHOWN: f64 = 8.0;

/// An hour less likely than this is hardly learned from.
const WILD: f64 = 0.01;

/// An hour less likely than this is remembered.
const NOTABLE: f64 = 0.05;

/// Notable hours remembered of a group: two days of nothing else.
pub const HOURS_MAX: usize = 48;

/// After so many days a day's largest difference counts half.
const HALF_LIFE_DAYS: f64 = 28.0;

/// What is believed of a group's largest difference of a day, in roots of quarters an agent.
const PRIOR: Prior = Prior { maximum: 1.2, deviation: 0.12, days: 4.0, deviation_min: 0.04 };

/// One agent's level and its hour under way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pulse {
    /// Calls that nine of ten hours at work stay below.
    level: f32,
    /// The hour under way, since the Unix epoch.
    hour: i32,
    calls: u32,
    /// The last epoch whose hours were looked at.
    looked: i32,
    /// Hours at work so far.
    hours: u16,
    /// Quarters told of this hour.
    told: u8,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { level: 0.0, hour: i32::MIN, calls: 0, looked: i32::MIN, hours: 0, told: 0 }
    }
}

/// What one call makes of an agent's hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// It is the first of the hour.
    pub is_first: bool,
    /// The level has just become known.
    pub is_levelled: bool,
    /// Quarters of the level reached with it.
    pub quarters: u8,
    /// It makes the agent a busy one.
    pub is_busy: bool,
}

impl Pulse {
    /// Counts a call of `hour`, since the Unix epoch. `None` when there is nothing to tell: before
    /// the level is known, and of a call of an earlier hour than the newest.
    pub fn add(&mut self, hour: i64) -> Option<Beat> {
        let hour = i32::try_from(hour).unwrap_or(i32::MAX);
        if hour < self.hour {
            return None;
        }
        let is_first = hour > self.hour;
        let was_known = self.is_known();
        if is_first {
            self.end_hour();
            self.hour = hour;
        }
        self.calls = self.calls.saturating_add(1);
        if !self.is_known() {
            return None;
        }
        let calls = narrow(f64::from(self.calls));
        let reached = MARKS.iter().rev().find(|(mark, _)| calls > self.level * mark);
        let reached = reached.map_or(0, |(_, quarters)| *quarters).max(self.told);
        let beat = Beat {
            is_first,
            is_levelled: !was_known,
            quarters: reached - self.told,
            is_busy: self.told < BUSY_QUARTERS && reached >= BUSY_QUARTERS,
        };
        self.told = reached;
        (is_first || beat.quarters > 0).then_some(beat)
    }

    /// Whether the level is known.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.hours >= KNOWN_HOURS
    }

    /// Notes that hours up to `epoch` were looked at; returns up to which they had been.
    pub fn look(&mut self, epoch: i64) -> i64 {
        let before = self.looked;
        self.looked = before.max(i32::try_from(epoch).unwrap_or(i32::MIN));
        before.into()
    }

    fn end_hour(&mut self) {
        let calls = narrow(f64::from(self.calls));
        if self.calls > 0 {
            let (up, down) = STEPS;
            self.level = match () {
                () if !self.is_known() => self.level.max(calls),
                () if calls > self.level => self.level * up,
                () => (self.level * down).max(1.0),
            };
            self.hours = self.hours.saturating_add(1);
        }
        self.calls = 0;
        self.told = 0;
    }
}

/// What the agents of a group told of one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulseSums {
    /// Agents at work.
    pub at_work: u32,
    /// Agents above half of their level.
    pub busy: u32,
    /// Quarters of levels, of all of them together.
    pub quarters: u64,
    /// The smallest rank of an agent at work: who speaks for the group.
    pub first: Option<u64>,
}

impl PulseSums {
    /// Adds one agent at work.
    pub fn add_agent(&mut self, rank: u64) {
        self.merge(&Self { at_work: 1, first: Some(rank), ..Self::default() });
    }

    /// Adds what one agent has reached.
    pub fn add(&mut self, quarters: u8, is_busy: bool) {
        let busy = u32::from(is_busy);
        self.merge(&Self { busy, quarters: quarters.into(), ..Self::default() });
    }

    /// Adds everything `other` has; the order does not matter.
    pub fn merge(&mut self, other: &Self) {
        self.at_work = self.at_work.saturating_add(other.at_work);
        self.busy = self.busy.saturating_add(other.busy);
        self.quarters = self.quarters.saturating_add(other.quarters);
        self.first = match (self.first, other.first) {
            (Some(own), Some(theirs)) => Some(own.min(theirs)),
            (own, theirs) => own.or(theirs),
        };
    }
}

/// An hour in which a group did unusually much, or little.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupHour {
    /// The hour, since the Unix epoch.
    pub hour: i64,
    /// Whether it was much.
    pub is_up: bool,
    /// What was done over what this hour of the day usually has.
    pub factor: f32,
    /// The factors that the most extreme hour of a day usually stays within, were it this one.
    pub usual: (f32, f32),
    /// The chance of such a difference, or a more extreme one, on any hour of a day: 0 to 1.
    pub chance: f64,
    /// What the agents told.
    pub sums: PulseSums,
    /// Agents with a known level.
    pub agents: u64,
}

/// What the hours of a group usually have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rhythm {
    /// Quarters an agent with a known level, by the hour of the day.
    usual: [f32; 24],
    /// Days of each hour, up to 255.
    days: [u8; 24],
    /// The largest difference of each day, upwards and downwards.
    up: BlockMaxima,
    down: BlockMaxima,
    /// The same of today.
    peaks: (f32, f32),
    today: i64,
    notable: Vec<GroupHour>,
}

impl Rhythm {
    /// The notable hours, oldest first.
    #[must_use]
    pub fn hours(&self) -> &[GroupHour] {
        &self.notable
    }

    /// Active days behind what is usual, faded ones counted in part.
    #[must_use]
    pub fn days(&self) -> f64 {
        self.up.days()
    }

    /// Bytes on the heap.
    #[must_use]
    pub const fn heap_bytes(&self) -> usize {
        self.notable.capacity() * size_of::<GroupHour>()
    }

    /// Whether it holds no more than it may.
    #[must_use]
    pub const fn is_within_bounds(&self) -> bool {
        self.notable.len() <= HOURS_MAX
    }

    /// Learns what an hour had, which is later than all before; `agents` have a known level.
    pub fn learn(&mut self, hour: i64, sums: &PulseSums, agents: u64) {
        if agents < AGENTS_MIN || sums.first.is_none() {
            return;
        }
        self.end_day(hour.div_euclid(24));
        let place = usize::try_from(hour.rem_euclid(24)).unwrap_or(0);
        let (Some(usual), Some(days)) = (self.usual.get_mut(place), self.days.get_mut(place))
        else {
            return;
        };
        let seen = narrow(float(sums.quarters) / float(agents));
        let root = |quarters: f32| libm::sqrt(f64::from(quarters) + SHRINK / float(agents));
        let difference = root(seen) - root(*usual);
        // No day moves what is usual of an hour beyond twice what it was.
        let mut limits = (0.0, 2.0 * *usual + narrow(SHRINK_SHOWN / float(agents)));
        let mut is_wild = false;
        if *days >= HOUR_DAYS.0 {
            let is_up = difference >= 0.0;
            let model = if is_up { &self.up } else { &self.down }.model(&PRIOR);
            let chance = model.tail_at(difference.abs());
            let is_judged = self.up.days() >= KNOWN_DAYS;
            is_wild = is_judged && chance <= WILD;
            if is_wild {
                limits = (*usual / 1.1, *usual * 1.1 + narrow(SHRINK / float(agents)));
            } else {
                let (up, down) = &mut self.peaks;
                *up = up.max(narrow(difference));
                *down = down.max(narrow(-difference));
            }
            if is_judged && chance <= NOTABLE {
                let shown = |quarters: f32| f64::from(quarters) + SHRINK_SHOWN / float(agents);
                let factor = narrow(shown(seen) / shown(*usual));
                let usual = factors(root(*usual), model.usual_at().1);
                let sums = *sums;
                self.notable.reserve_exact(1);
                self.notable.push(GroupHour { hour, is_up, factor, usual, chance, sums, agents });
            }
        }
        let share = if is_wild { HOUR_DAYS.1 } else { (f32::from(*days) + 1.0).min(HOUR_DAYS.1) };
        let taught = if *days == 0 { seen } else { seen.clamp(limits.0, limits.1) };
        *usual += (taught - *usual) / share;
        *days = days.saturating_add(1);
        let excess = self.notable.len().saturating_sub(HOURS_MAX);
        self.notable.drain(..excess);
    }

    fn end_day(&mut self, day: i64) {
        if day == self.today {
            return;
        }
        if self.peaks != (0.0, 0.0) {
            self.up.learn_value(self.peaks.0.into(), 50, HALF_LIFE_DAYS);
            self.down.learn_value(self.peaks.1.into(), 50, HALF_LIFE_DAYS);
        }
        self.peaks = (0.0, 0.0);
        self.today = day;
    }
}

/// How far a difference of roots takes what is usual, down and up, as factors.
fn factors(usual: f64, difference: f64) -> (f32, f32) {
    let factor = |root: f64| {
        let part = root.max(0.0) / usual.max(1e-9);
        narrow(part * part)
    };
    (factor(usual - difference), factor(usual + difference))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Quarters a fixed number of calls an hour gives.
    fn hour_of(pulse: &mut Pulse, hour: i64, calls: u32) -> u32 {
        (0..calls).filter_map(|_| pulse.add(hour)).map(|beat| u32::from(beat.quarters)).sum()
    }

    fn sums(quarters: u64) -> PulseSums {
        PulseSums { at_work: 50, busy: 40, quarters, first: Some(7) }
    }

    /// Twenty days of a group with a day shape and some noise.
    fn taught() -> (Rhythm, i64) {
        let mut rhythm = Rhythm::default();
        for hour in 0..480 {
            rhythm.learn(hour, &sums(usual(hour)), 50);
        }
        (rhythm, 480)
    }

    fn usual(hour: i64) -> u64 {
        let noise = u64::try_from(hour * 7_919 % 41).unwrap();
        let of_day = u64::try_from(6 - (hour % 24 - 12).abs() / 2).unwrap();
        40 + 20 * of_day + noise
    }

    proptest! {
        #[test]
        fn one_hour_of_ten_stays_above_the_level(seed in 1_u64..1_000, mean in 2_u32..40) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut pulse, mut above) = (Pulse::default(), 0);
            for hour in 0..2_000 {
                let calls = 1 + rng.u32(..mean) * rng.u32(1..4);
                if hour >= 500 && hour_of(&mut pulse, hour, calls) >= 4 {
                    above += 1;
                } else if hour < 500 {
                    hour_of(&mut pulse, hour, calls);
                }
            }
            prop_assert!((75..=230).contains(&above), "{above} of 1500");
        }

        #[test]
        fn sums_do_not_depend_on_order(
            parts in prop::collection::vec((any::<u64>(), 0_u8..13, any::<bool>()), 0..40),
        ) {
            let sum = |parts: &[(u64, u8, bool)]| {
                let mut sums = PulseSums::default();
                for (rank, quarters, is_busy) in parts {
                    sums.add_agent(*rank);
                    sums.add(*quarters, *is_busy);
                }
                sums
            };
            let backwards: Vec<_> = parts.iter().rev().copied().collect();
            prop_assert_eq!(sum(&parts), sum(&backwards));
        }

        #[test]
        fn what_is_remembered_is_bounded(quarters in prop::collection::vec(0_u64..2_000, 0..900)) {
            let mut rhythm = Rhythm::default();
            for (hour, quarters) in (0_i64..).zip(&quarters) {
                rhythm.learn(hour, &sums(*quarters), 50);
            }
            prop_assert!(rhythm.is_within_bounds());
        }
    }

    #[test]
    fn an_agent_is_told_of_once_its_level_is_known() {
        let mut pulse = Pulse::default();
        (0..24).for_each(|hour| assert_eq!(hour_of(&mut pulse, hour, 20), 0));
        let first = pulse.add(24).unwrap();
        assert!(first.is_first && first.is_levelled && !first.is_busy);
        assert_eq!(hour_of(&mut pulse, 24, 18), 2);
        assert!(!pulse.add(25).unwrap().is_levelled);
    }

    #[test]
    fn nobody_weighs_more_than_three_levels_and_a_wild_hour_moves_a_level_by_a_tenth() {
        let mut pulse = Pulse::default();
        (0..30).for_each(|hour| assert!(hour_of(&mut pulse, hour, 20) <= 12));
        let level = pulse.level;
        assert_eq!(hour_of(&mut pulse, 30, 100_000), 12);
        pulse.add(31);
        assert!(pulse.level < level * 1.1);
    }

    #[test]
    fn late_calls_of_an_earlier_hour_are_left_out() {
        let mut pulse = Pulse::default();
        (0..30).for_each(|hour| assert!(hour_of(&mut pulse, hour, 20) <= 12));
        let before = pulse;
        assert_eq!(pulse.add(28), None);
        assert_eq!(pulse, before);
    }

    #[test]
    fn quiet_days_are_nothing_special() {
        let (rhythm, _) = taught();
        assert!(rhythm.hours().iter().all(|hour| hour.chance > 0.005), "{:?}", rhythm.hours());
    }

    #[test]
    fn three_times_as_much_stands_out_on_both_sides_of_the_day() {
        for at in [2, 12] {
            let (mut rhythm, next) = taught();
            rhythm.learn(next + at, &sums(3 * usual(next + at)), 50);
            let last = *rhythm.hours().last().unwrap();
            assert!(last.is_up && last.hour == next + at && last.chance < 1e-3, "{last:?}");
            assert!((2.2..3.4).contains(&last.factor), "{last:?}");
            let (mut rhythm, next) = taught();
            rhythm.learn(next + at, &sums(usual(next + at) / 4), 50);
            let last = rhythm.hours().last().unwrap();
            assert!(!last.is_up && last.factor < 0.4 && last.chance < 1e-3, "{last:?}");
        }
    }

    #[test]
    fn a_group_that_grows_does_no_more_an_agent() {
        let (mut rhythm, next) = taught();
        let known = rhythm.hours().len();
        rhythm.learn(next, &sums(2 * usual(next)), 100);
        assert_eq!(rhythm.hours().len(), known);
    }

    #[test]
    fn a_wild_hour_teaches_little() {
        let (mut rhythm, next) = taught();
        let before = rhythm.clone();
        rhythm.learn(next, &sums(100 * usual(next)), 50);
        let place = usize::try_from(next % 24).unwrap();
        assert!(rhythm.usual[place] <= before.usual[place] * 1.02);
        assert_eq!(rhythm.peaks, (0.0, 0.0));
    }
}
