//! The usual rate of a steady, service-like agent, and the evidence that it has changed.
//!
//! Rate, season, dispersion and slow variation are learned from the agent's own hours; evidence
//! against them is gathered in ten-second buckets of event time, in constant time however long the
//! agent was idle. It speaks only for agents that earn it: known for a fortnight, no more variable
//! than a service is, and with evidence that crosses low levels no more often than it promises.
//! Not for agents whose work comes in sessions: within their days nothing is exchangeable, and
//! they are judged by their daily maxima.

mod check;
mod dispersion;
mod evidence;
mod learn;
mod locator;
mod readings;
mod season;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::baseline::realised::Excess;
use crate::event::Timestamp;
use check::SelfCheck;
use dispersion::{Dispersion, Variation};
use evidence::{Evidence, Null, narrow};
use learn::Shift;
use locator::Locator;
use season::{Season, hour_and_day, next_hour};

/// The width of a bucket in seconds.
pub const BUCKET_SECS: i64 = 10;

/// Buckets in ten minutes, an hour and a day.
const BLOCK: i32 = 60;
const HOUR: i32 = 360;
const DAY: i32 = 8_640;

/// Whole days after which somebody is told: a fortnight, with the day before them that showed a
/// service. From half of them on evidence is gathered and checked.
pub const TOLD_AFTER_DAYS: u16 = 13;

/// An agent that was silent for longer was away: nothing is learned of that time.
const AWAY: i32 = 3 * DAY;
const AWAY_HOURS: u16 = 72;

/// No agent is taken to be known better than this factor.
const TOLERANCE_MIN: f64 = 1.2;

/// How many deviations of what is known of the mean are tolerated: where calls, or starts of runs, know
/// little of each other, up to this dispersion; and where they come in batches, whose heavy tails
/// make it look better known than it is.
const TOLERANCE_DEVIATIONS: f64 = 1.5;
const ALONE_BELOW: f64 = 2.0;
const TOLERANCE_DEVIATIONS_BATCHED: f64 = 2.0;

/// Hours that vary by more than this deviation of the logarithm, or batches of more than so many
/// calls, are no service's.
const VARIATION_MAX: f64 = 0.5;
const DISPERSION_MAX: f64 = 64.0;

/// With batches of fewer calls than this, calls tell as much as their batches do.
const BATCHED_FROM: f64 = 3.0;

/// How much of a call the hours must tell before their variation is known.
const VARIATION_KNOWN: f64 = 12.0;

/// The part of the hours in which calls were expected that may have been empty, the longest pause
/// left out, and how many such hours must have been seen, before silence is surprising.
const EMPTY_MAX: f64 = 0.03;
const EXPECTED_HOURS_MIN: f64 = 24.0;

/// With more empty hours than this an agent has no usual rate at all.
const ABSENT_MAX: f64 = 0.1;

/// The same for the longest pause: a day of a week.
const PAUSE_MAX: f64 = 0.2;

/// A pause of so many times the longest one before says nothing of the rate around it.
const LONG_PAUSE: f32 = 1.5;

/// Evidence at which hours are no longer learned from: about where the shipped rules fire.
const GATED_FROM: f64 = 200.0;

/// What is learned of one steady agent: about 400 bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steady {
    /// The open bucket, since the Unix epoch.
    bucket: i32,
    /// The bucket of the newest call.
    newest: i32,
    hour_calls: u32,
    /// Calls, and season-weighted minutes, faded.
    calls: f32,
    minutes: f32,
    season: Season,
    /// Calls of today, and those expected but for the day of the week.
    day_calls: f32,
    day_expected: f32,
    dispersion: Dispersion,
    variation: Variation,
    /// Calls expected in a bucket of this hour.
    mean: f32,
    tolerance: f32,
    evidence: Evidence,
    many: SelfCheck,
    few: SelfCheck,
    up: Locator,
    down: Locator,
    /// Expected calls since the newest one; the most there were between two.
    gap: f32,
    gap_max: f32,
    /// Hours in which calls were expected, the empty ones of them, and the most of those in a row,
    /// faded; and the empty ones of this pause.
    expected_hours: f32,
    empty_hours: f32,
    emptiest: f32,
    /// Whole days on which calls were expected, and the empty ones of them, faded: an agent with few
    /// calls an hour shows only so that it is often away.
    expected_days: f32,
    empty_days: f32,
    pending_hours: u16,
    shift_hours: u16,
    shift: Shift,
    /// Whether this hour is learned from.
    is_gated: bool,
    /// Whether this hour and this day were seen from their beginning.
    is_whole: bool,
    is_whole_day: bool,
    /// When the engine wants to let time pass without a call: a bucket.
    wake: i32,
    /// Other agents of the product, as the first call of its newest hour knew them.
    pub peers: u32,
    /// Where the detector of silence breaks its promise, as that call knew it: what is known when
    /// time has passed is not fixed.
    pub excess: Option<Box<Excess>>,
}

/// How far a kind of judgement may be trusted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trust {
    /// Not yet: the part of the time that has passed, 0 to 1.
    Learning(f64),
    /// Not at all, because the agent is not steady.
    Starved,
    /// Yes.
    Active,
}

/// What was seen since a shift began, against what is usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Since {
    /// When it began.
    pub start: Timestamp,
    /// Seconds since.
    pub secs: f64,
    /// Calls since.
    pub calls: u32,
    /// Calls expected since.
    pub expected: f64,
    /// The usual range.
    pub usual: (f64, f64),
}

impl Steady {
    /// Begins with a day of `calls` calls that ended before `time`.
    #[must_use]
    pub fn new(calls: u32, time: Timestamp) -> Self {
        let bucket = bucket_of(time);
        let mut steady = Self {
            bucket,
            newest: bucket,
            hour_calls: 0,
            calls: narrow(f64::from(calls) / 4.0),
            minutes: 360.0,
            season: Season::default(),
            day_calls: 0.0,
            day_expected: 0.0,
            dispersion: Dispersion::default(),
            variation: Variation::default(),
            mean: 0.0,
            tolerance: 1.0,
            evidence: Evidence::default(),
            many: SelfCheck::default(),
            few: SelfCheck::default(),
            up: Locator::default(),
            down: Locator::default(),
            gap: 0.0,
            gap_max: 0.0,
            expected_hours: 0.0,
            empty_hours: 0.0,
            emptiest: 0.0,
            expected_days: 0.0,
            empty_days: 0.0,
            pending_hours: 0,
            shift_hours: 0,
            shift: Shift::default(),
            is_gated: false,
            is_whole: false,
            is_whole_day: bucket.rem_euclid(DAY) == 0,
            wake: i32::MAX,
            peers: 0,
            excess: None,
        };
        steady.begin_hour();
        steady
    }

    /// Counts a call at `time`. An older one than the open bucket counts in it.
    pub fn add_call(&mut self, time: Timestamp) {
        self.advance(bucket_of(time));
        self.hour_calls = self.hour_calls.saturating_add(1);
        self.dispersion.add_call();
        self.end_pause();
        self.evidence.add_call();
        let (up, down) = (self.evidence.dating(true), self.evidence.dating(false));
        self.up.add_call(self.bucket, up.0);
        self.down.add_call(self.bucket, down.0);
        self.many.cross(self.evidence.many());
        self.gate();
    }

    fn end_pause(&mut self) {
        self.newest = self.bucket;
        if self.gap > LONG_PAUSE * self.gap_max {
            // One long pause is no lower rate.
            self.evidence.forget_few();
        }
        if !self.is_gated {
            self.gap_max = self.gap_max.max(self.gap);
        }
        self.gap = 0.0;
        if self.pending_hours > 0 {
            let hours = f32::from(self.pending_hours);
            self.empty_hours += hours;
            self.emptiest = self.emptiest.max(hours);
            self.pending_hours = 0;
        }
    }

    /// Lets time pass to the start of `bucket`.
    fn advance(&mut self, bucket: i32) {
        if bucket.saturating_sub(self.bucket) > AWAY {
            self.come_back(bucket);
        }
        while self.bucket < bucket {
            let next_hour = next_hour(self.bucket);
            self.pass_to(bucket.min(next_hour), next_hour);
        }
    }

    /// Closes the buckets before `bucket`, which is not beyond the end of this hour.
    fn pass_to(&mut self, bucket: i32, next_hour: i32) {
        let closed = u32::try_from(bucket.saturating_sub(self.bucket)).unwrap_or(0);
        let is_hour_over = bucket == next_hour;
        self.evidence.close(closed);
        self.evidence.open(closed.saturating_sub(1));
        let mass = narrow(self.evidence.mass() * f64::from(closed));
        // Of buckets that are over: in one that is open all of it is allowed for and little of it was
        // seen, so its evidence falls and rises again, which is no crossing of anything.
        self.many.look(self.evidence.many(), mass);
        if !is_hour_over {
            self.evidence.open(1);
        }
        let expected = f64::from(self.mean) * f64::from(closed);
        self.gap += narrow(expected);
        let (up, down) = (self.evidence.dating(true).1, self.evidence.dating(false).1);
        self.up.pass((self.bucket, closed), up, expected);
        self.down.pass((self.bucket, closed), down, expected);
        self.dispersion.pass(self.bucket, bucket);
        self.few.look(self.evidence.few() + self.evidence.stopped(), 1.2 * mass);
        self.bucket = bucket;
        self.gate();
        if is_hour_over {
            self.end_hour();
            self.begin_hour();
            self.evidence.open(1);
        }
    }

    /// After a long time away nothing is concluded from it.
    fn come_back(&mut self, bucket: i32) {
        self.evidence.forget();
        self.up = Locator::default();
        self.down = Locator::default();
        self.bucket = bucket;
        self.hour_calls = 0;
        (self.shift_hours, self.shift) = (0, Shift::default());
        self.dispersion.forget_block();
        (self.day_calls, self.day_expected) = (0.0, 0.0);
        self.pending_hours = AWAY_HOURS;
        self.expected_hours += f32::from(AWAY_HOURS);
        self.begin_hour();
        (self.is_whole, self.is_whole_day) = (false, false);
    }

    fn gate(&mut self) {
        let few = self.evidence.few().max(self.evidence.stopped());
        self.is_gated |= self.evidence.many().max(few) >= GATED_FROM;
    }

    /// Keeps this hour from being learned, unless the agent is in its first week: until then nobody
    /// knows what is too much, hours are cut at eight times the mean, and a week with holes in it
    /// would be held against every later one.
    pub const fn distrust(&mut self) {
        self.is_gated |= self.is_gathering();
    }

    /// What is usual in a bucket of this hour.
    fn null(&self) -> Null {
        let dispersion = self.dispersion.index();
        Null {
            mean: f64::from(self.mean),
            dispersion,
            dispersion_low: self.dispersion.index_high(),
            tolerance: f64::from(self.tolerance),
            mass: self.mass_of_hour(),
        }
    }

    /// Calls a minute without season.
    fn rate(&self) -> f64 {
        f64::from(self.calls) / f64::from(self.minutes).max(1e-6)
    }

    /// The belief in a factor of 1, in days.
    fn prior_days(&self) -> f64 {
        season::PRIOR_CALLS * self.dispersion.index() / (self.rate() * 60.0).max(1e-6)
    }

    /// Whole days of history.
    #[must_use]
    pub fn days(&self) -> u32 {
        self.season.seen().into()
    }

    /// How a day since the Unix epoch compares with a usual one, by its day of the week; `None` while
    /// that is not known.
    #[must_use]
    pub fn day_factor(&self, day: i64) -> Option<f64> {
        let day = i32::try_from(day).ok()?;
        self.is_gathering().then(|| self.season.of_day(day).max(0.02))
    }

    /// Whether its calls may come in batches: they do, or a week was not seen yet.
    #[must_use]
    pub fn may_be_batched(&self) -> bool {
        !self.is_gathering() || self.dispersion.index() >= BATCHED_FROM
    }

    /// Calls of a usual day.
    #[must_use]
    pub fn usual_day(&self) -> f64 {
        self.rate() * 1_440.0
    }

    const fn is_gathering(&self) -> bool {
        self.season.seen() >= season::WEEK
    }

    /// How far evidence of too many calls may be trusted.
    #[must_use]
    pub fn trust(&self) -> Trust {
        let is_steady = self.dispersion.index() <= DISPERSION_MAX
            && self.variation.deviation() <= VARIATION_MAX
            && self.variation.weight() >= VARIATION_KNOWN;
        let is_steady = is_steady && self.is_present(ABSENT_MAX);
        match f64::from(self.season.seen()) / f64::from(TOLD_AFTER_DAYS) {
            part if part < 1.0 => Trust::Learning(part),
            _ if is_steady && self.many.holds() => Trust::Active,
            _ => Trust::Starved,
        }
    }

    /// How far evidence of too few calls may be trusted: an agent that often pauses when calls are
    /// expected is not judged by its pauses.
    #[must_use]
    pub fn trust_low(&self) -> Trust {
        let is_regular =
            f64::from(self.expected_hours) >= EXPECTED_HOURS_MIN && self.is_present(EMPTY_MAX);
        match self.trust() {
            Trust::Active if !is_regular || !self.few.holds() => Trust::Starved,
            trust => trust,
        }
    }

    /// Whether no more than a part of the hours in which calls were expected was empty, the longest
    /// pause left out, which itself is a small part of them; and no more than one day and a part of
    /// them.
    fn is_present(&self, empty_max: f64) -> bool {
        let expected = f64::from(self.expected_hours);
        let empty = f64::from(self.empty_hours - self.emptiest);
        let days = f64::from(self.empty_days) <= 1.0 + ABSENT_MAX * f64::from(self.expected_days);
        days && empty <= empty_max * expected && f64::from(self.emptiest) <= PAUSE_MAX * expected
    }

    /// The evidence of too many calls, in units of an expected active day.
    #[must_use]
    pub fn many(&self) -> f64 {
        self.evidence.many()
    }

    /// The evidence of too few calls, likewise, up to the newest bucket that is over.
    #[must_use]
    pub fn few(&self) -> f64 {
        self.evidence.few()
    }

    /// The evidence that calls have stopped, likewise.
    #[must_use]
    pub fn stopped(&self) -> f64 {
        self.evidence.stopped()
    }

    /// When this hour is over.
    #[must_use]
    pub fn hour_end(&self) -> Timestamp {
        start_of(next_hour(self.bucket))
    }

    /// When, in this hour and without a further call, the evidence that calls have stopped reaches
    /// `level`, and the pause is longer than any before and than `expected` calls.
    #[must_use]
    pub fn stops_at(&self, level: f64, expected: f64) -> Option<Timestamp> {
        let needed = f64::from(self.gap_max).max(expected) - f64::from(self.gap);
        let wait = libm::floor(needed.max(0.0) / f64::from(self.mean).max(1e-9)) + 1.0;
        let evidence = self.evidence.stops_in(level)?;
        let left = u32::try_from(next_hour(self.bucket).saturating_sub(self.bucket)).unwrap_or(0);
        let steps = wait.max(f64::from(evidence));
        if steps > f64::from(left) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::as_conversions,
            reason = "at most an hour's buckets"
        )]
        let steps = steps as i32;
        Some(start_of(self.bucket.saturating_add(steps)))
    }

    /// Lets time pass to `time`, which must be one that [`Self::hour_end`] or [`Self::stops_at`]
    /// gave: anything else would make judgements depend on when time was let pass.
    pub fn pass(&mut self, time: Timestamp) {
        self.advance(bucket_of(time));
    }

    /// Whether the agent has been silent for so long that nothing more is concluded from it.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.bucket.saturating_sub(self.newest) >= AWAY - HOUR
    }

    /// When time should pass without a call.
    #[must_use]
    pub fn wake(&self) -> Option<Timestamp> {
        (self.wake < i32::MAX).then(|| start_of(self.wake))
    }

    /// Sets when time should pass without a call.
    pub fn set_wake(&mut self, time: Option<Timestamp>) {
        self.wake = time.map_or(i32::MAX, bucket_of);
    }
}

fn bucket_of(time: Timestamp) -> i32 {
    let bucket = time.as_secs().div_euclid(BUCKET_SECS);
    i32::try_from(bucket).unwrap_or(if bucket < 0 { i32::MIN } else { i32::MAX })
}

fn start_of(bucket: i32) -> Timestamp {
    Timestamp::from_secs(i64::from(bucket).saturating_mul(BUCKET_SECS))
}
