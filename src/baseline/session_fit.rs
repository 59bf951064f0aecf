//! Whether a call fits the session it is made in: evidence for another hand, added up.
//!
//! One agent does one thing after another, reads a file before it changes it, and does what it
//! always did. Each call adds the logarithm of how much better it fits a stranger; the sum never
//! falls below zero and loses a constant a call (Page's CUSUM). How high it climbs on a usual day is
//! learned, like the busiest minute, with a Gumbel tail: sub-agents and background commands break
//! the rules of thumb above every day, in some agents more than in others.

use serde::{Deserialize, Serialize};
use std::f64::consts::LN_2;

use crate::baseline::identity::short;
use crate::baseline::maxima::gumbel_tail;
use crate::baseline::moments::{Base, Offset};
use crate::event::Timestamp;

/// Words of 64 bits that the touched paths of a session are kept in.
const BLOOM_WORDS: usize = 8;

/// Calls in flight that are remembered of a session; of more, those that end last stay.
const IN_FLIGHT_MAX: usize = 4;

/// A call in flight counts when it started this long before another one, and ends this long after:
/// calls of one turn of a model start together.
const OVERLAP_MILLIS: (u32, u32) = (1_500, 500);

/// Changes of untouched paths within this span are one.
const BATCH_MILLIS: u32 = 2_000;

/// The share of changes that touch unread paths, and of calls that overlap, under another hand.
const STRANGER: (f64, f64) = (0.12, 0.35);

/// How often something happens to one agent: a share, with what was believed before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    hits: f32,
    total: f32,
}

impl Share {
    /// A share that is believed to be `hits` in `total`.
    #[must_use]
    pub const fn believed(hits: f32, total: f32) -> Self {
        Self { hits, total }
    }

    /// Learns one more case; beyond 3,000 the past fades.
    pub fn learn(&mut self, is_hit: bool) {
        self.total += 1.0;
        if is_hit {
            self.hits += 1.0;
        }
        if self.total > 3_000.0 {
            self.hits *= 0.5;
            self.total *= 0.5;
        }
    }

    /// The share, `deviations` of a Poisson count on the safe side; at most .7.
    #[must_use]
    pub fn upper(&self, deviations: f64) -> f64 {
        let hits = f64::from(self.hits);
        ((hits + deviations * libm::sqrt(hits)) / f64::from(self.total)).min(0.7)
    }
}

/// How often an agent does in its own sessions what tells a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manners {
    /// Changes of paths that the session has not touched.
    untouched: Share,
    /// Reading and acting calls that start while another one is in flight.
    overlaps: [Share; 2],
}

impl Default for Manners {
    fn default() -> Self {
        Self { untouched: Share::believed(2.4, 200.0), overlaps: [Share::believed(2.0, 100.0); 2] }
    }
}

/// What a session must know of a call to say whether it fits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step {
    /// When it started.
    pub time: Timestamp,
    /// How long it took, in milliseconds; 0 when that is not known.
    pub duration_ms: u64,
    /// The tool's hash.
    pub tool: u64,
    /// Whether it acts on the world.
    pub is_acting: bool,
    /// Whether the tool changes a file that is there already.
    pub is_edit: bool,
    /// Whether it hands work to another agent, which then works beside this one.
    pub is_delegation: bool,
    /// The hashes of the first paths it names; 0 stands for none.
    pub paths: [u64; 3],
}

/// What a call says of its session.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Signs {
    /// How much likelier it is under another hand: a factor.
    pub ratio: f64,
    /// It changes a path that the session never touched.
    pub is_untouched: bool,
    /// It starts while another call is in flight.
    pub is_overlap: bool,
    /// The tool of the call before; 0 at the session's start.
    pub previous: u64,
    /// When it was made.
    at: Offset,
}

/// One session, as far as fitting goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionFit {
    /// Of the first call. A session that goes on for seven weeks overlaps no more.
    base: Base,
    previous: u64,
    /// Only once it touched a path.
    touched: Option<Box<[u64; BLOOM_WORDS]>>,
    /// The evidence that has added up.
    evidence: f64,
    /// Start and end of calls.
    in_flight: [(Offset, Offset); IN_FLIGHT_MAX],
    id: u32,
    /// Until when handed-over work may run.
    delegated_until: Offset,
    /// When an untouched path was changed last.
    untouched_at: Offset,
    /// When the first call of the run was made.
    since: Offset,
    calls: u32,
    untouched: u16,
    overlaps: u16,
}

/// The calls since the evidence last was nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// When the first of them was made.
    pub since: Timestamp,
    /// How many they are.
    pub calls: u32,
    /// How many of them changed a path that the session never touched.
    pub untouched: u16,
    /// How many of them started while another one was in flight.
    pub overlaps: u16,
}

impl SessionFit {
    /// The session with this hash, whose first call is at `time`.
    #[must_use]
    pub fn new(id: u64, time: Timestamp) -> Self {
        Self {
            base: Base::before(time),
            previous: 0,
            touched: None,
            evidence: 0.0,
            in_flight: [(0, 0); IN_FLIGHT_MAX],
            id: short(id),
            delegated_until: 0,
            untouched_at: 0,
            since: 0,
            calls: 0,
            untouched: 0,
            overlaps: 0,
        }
    }

    /// Whether it is the session with this hash, as far as 32 bits tell.
    #[must_use]
    pub fn is(&self, id: u64) -> bool {
        self.id == short(id)
    }

    /// Bytes on the heap.
    #[must_use]
    pub const fn heap_bytes(&self) -> usize {
        if self.touched.is_some() { size_of::<[u64; BLOOM_WORDS]>() } else { 0 }
    }

    /// Touches the memory that a call needs.
    #[must_use]
    pub fn warm_up(&self) -> u64 {
        let touched = self.touched.as_ref().and_then(|touched| touched.first());
        self.previous ^ touched.copied().unwrap_or(0)
    }

    /// The evidence that has added up, in natural logarithms.
    #[must_use]
    pub const fn evidence(&self) -> f64 {
        self.evidence
    }

    /// Takes a call in and says what it tells. `manners` learns from it when `is_learning`.
    pub fn see(&mut self, step: &Step, manners: &mut Manners, is_learning: bool) -> Signs {
        let at = self.base.offset(step.time);
        let mut signs = Signs { ratio: 1.0, previous: self.previous, at, ..Signs::default() };
        self.see_paths(step, manners, is_learning, &mut signs);
        self.see_overlap(step, manners, is_learning, &mut signs);
        self.previous = step.tool;
        signs
    }

    /// The calls since the evidence last was nothing.
    #[must_use]
    pub fn run(&self) -> Run {
        let Self { calls, untouched, overlaps, .. } = *self;
        Run { since: self.base.time(self.since), calls, untouched, overlaps }
    }

    /// Adds the evidence of one call, less the constant `drift`; returns what there is now.
    pub fn add(&mut self, signs: &Signs, log_ratio: f64, drift: f64) -> f64 {
        if self.evidence <= 0.0 {
            self.since = signs.at;
            (self.calls, self.untouched, self.overlaps) = (0, 0, 0);
        }
        self.calls = self.calls.saturating_add(1);
        self.untouched = self.untouched.saturating_add(u16::from(signs.is_untouched));
        self.overlaps = self.overlaps.saturating_add(u16::from(signs.is_overlap));
        self.evidence = (self.evidence + log_ratio - drift).max(0.0);
        self.evidence
    }

    /// Cuts the evidence down to `most`, so that it falls soon when the cause is gone.
    pub const fn cap(&mut self, most: f64) {
        self.evidence = self.evidence.min(most);
    }

    fn see_paths(&mut self, step: &Step, manners: &mut Manners, learn: bool, signs: &mut Signs) {
        if step.paths == [0; 3] {
            return;
        }
        let [first, ..] = step.paths;
        if step.is_edit && first != 0 {
            let is_untouched = !self.has_touched(first);
            let now = signs.at;
            let usual = manners.untouched.upper(1.0).min(0.5);
            if !is_untouched {
                // Half of the evidence for the agent is believed: strangers read files as well.
                signs.ratio *= 0.5 + 0.5 * (1.0 - STRANGER.0) / (1.0 - usual);
            } else if now.saturating_sub(self.untouched_at) >= BATCH_MILLIS {
                signs.ratio *= (STRANGER.0 / usual).max(1.0);
                self.untouched_at = now;
                signs.is_untouched = true;
            }
            if learn {
                manners.untouched.learn(is_untouched);
            }
        }
        for path in step.paths.into_iter().filter(|path| *path != 0) {
            self.touch(path);
        }
    }

    fn see_overlap(&mut self, step: &Step, manners: &mut Manners, learn: bool, signs: &mut Signs) {
        let now = signs.at;
        if self.delegated_until <= now {
            let (before, after) = OVERLAP_MILLIS;
            let (before, after) = (now.saturating_sub(before), now.saturating_add(after));
            let is_open = |(start, end): &(Offset, Offset)| *start < before && *end > after;
            let is_overlap = self.in_flight.iter().any(is_open);
            if let Some(share) = manners.overlaps.get_mut(usize::from(step.is_acting)) {
                let usual = share.upper(2.0).max(OVERLAP_FLOOR);
                let ratio = if is_overlap {
                    STRANGER.1 / usual
                } else {
                    (1.0 - STRANGER.1) / (1.0 - usual)
                };
                signs.ratio *= 0.7 + 0.3 * ratio;
                signs.is_overlap = is_overlap;
                if learn {
                    share.learn(is_overlap);
                }
            }
        }
        let took = Offset::try_from(step.duration_ms).unwrap_or(Offset::MAX);
        let end = now.saturating_add(took);
        if step.is_delegation {
            self.delegated_until = self.delegated_until.max(end);
        }
        // By end and start, in one number.
        let earliest = self
            .in_flight
            .iter_mut()
            .min_by_key(|(start, end)| u64::from(*end) << 32 | u64::from(*start));
        if let Some(slot) = earliest.filter(|slot| slot.1 < end) {
            *slot = (now, end);
        }
    }

    fn has_touched(&self, path: u64) -> bool {
        let Some(touched) = &self.touched else { return false };
        bits_of(path)
            .iter()
            .all(|(word, bit)| touched.get(*word).is_some_and(|word| word & bit != 0))
    }

    fn touch(&mut self, path: u64) {
        let touched = self.touched.get_or_insert_default();
        for (word, bit) in bits_of(path) {
            if let Some(word) = touched.get_mut(word) {
                *word |= bit;
            }
        }
    }
}

/// No agent is taken to overlap less than this: background commands and permissions that wait.
const OVERLAP_FLOOR: f64 = 0.08;

/// Three places of a path among 512 bits.
fn bits_of(path: u64) -> [(usize, u64); 3] {
    let place = |bits: u32| {
        let bit = bits % 512;
        (usize::try_from(bit / 64).unwrap_or(0), 1_u64 << (bit % 64))
    };
    let low = short(path);
    [place(low), place(low >> 9), place(low >> 18)]
}

/// What the highest evidence of a day is believed to be before anything was seen, and the deviation
/// that no agent is taken to be steadier than.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeakPrior {
    /// The usual daily peak.
    pub peak: f64,
    /// Its deviation, and the smallest one believed of any agent.
    pub deviation: f64,
    /// How many days that belief is worth.
    pub days: f64,
}

/// Daily peaks of one agent: their weighted count, sum and sum of squares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peaks {
    weight: f32,
    sum: f32,
    squares: f32,
}

/// The distribution that an agent's next daily peak is judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeakModel {
    /// The usual daily peak.
    pub mean: f64,
    /// Its deviation, with what is not known of the mean.
    pub deviation: f64,
}

impl Peaks {
    /// Learns the peak of one day that has ended. `calls` is how many calls the day had: a day of
    /// less than fifty counts for less. Days fade with a half-life of `half_life_days`. A day
    /// without any evidence says nothing.
    pub fn learn(&mut self, peak: f32, calls: u32, half_life_days: f64) {
        if peak <= 0.0 {
            return;
        }
        let fade = libm::exp(-LN_2 / half_life_days.max(1.0));
        let weight = (f64::from(calls) / 50.0).min(1.0);
        let peak = f64::from(peak);
        self.weight = narrow(f64::from(self.weight) * fade + weight);
        self.sum = narrow(f64::from(self.sum) * fade + weight * peak);
        self.squares = narrow(f64::from(self.squares) * fade + weight * peak * peak);
    }

    /// The model these days and the prior make together.
    #[must_use]
    pub fn model(&self, prior: &PeakPrior) -> PeakModel {
        let (n, sum) = (f64::from(self.weight), f64::from(self.sum));
        let days = n + prior.days;
        let mean = (sum + prior.days * prior.peak) / days;
        let spread = if n > 0.0 {
            (f64::from(self.squares) / n - (sum / n) * (sum / n)).max(0.0)
        } else {
            0.0
        };
        let least = prior.deviation * prior.deviation;
        let variance = ((n * spread + prior.days * least) / days).max(least);
        PeakModel { mean, deviation: libm::sqrt(variance * (1.0 + 1.0 / days)) }
    }
}

impl PeakModel {
    /// The chance that a day's evidence climbs to `peak` or higher, 0 to 1.
    #[must_use]
    pub fn tail(&self, peak: f64) -> f64 {
        gumbel_tail((peak - self.mean) / self.deviation)
    }

    /// The height `deviations` above the usual peak.
    #[must_use]
    pub fn above(&self, deviations: f64) -> f64 {
        self.mean + deviations * self.deviation
    }
}

/// A state's sums need no more than seven digits.
#[expect(clippy::cast_possible_truncation, clippy::as_conversions, reason = "seven digits do")]
#[must_use]
pub const fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::identity::hash_texts;
    use proptest::prelude::*;
    use statrs::distribution::{ContinuousCDF, Gumbel};

    const PRIOR: PeakPrior = PeakPrior { peak: 3.0, deviation: 2.0, days: 3.0 };

    fn at(millis: i64) -> Step {
        Step { time: Timestamp::from_millis(millis), is_acting: true, ..Step::default() }
    }

    fn path(name: &str) -> [u64; 3] {
        [hash_texts(&[name]), 0, 0]
    }

    fn see(session: &mut SessionFit, step: &Step) -> Signs {
        session.see(step, &mut Manners::default(), false)
    }

    #[test]
    fn an_edit_fits_once_the_session_has_looked() {
        let mut session = SessionFit::new(1, Timestamp::default());
        let edit = Step { is_edit: true, paths: path("a.rs"), ..at(10_000) };
        see(&mut session, &Step { paths: path("a.rs"), ..at(1_000) });
        assert!(see(&mut session, &edit).ratio < 1.0);
        let other = Step { is_edit: true, paths: path("b.rs"), ..at(20_000) };
        let signs = see(&mut session, &other);
        // .12 / ((2.4 + sqrt 2.4) / 200), times the little a call without overlap says.
        let usual = (f64::from(2.4_f32) + f64::from(2.4_f32).sqrt()) / 200.0;
        let serial = 0.7 + 0.3 * 0.65 / (1.0 - 0.08);
        assert!(signs.is_untouched);
        assert!((signs.ratio - 0.12 / usual * serial).abs() < 1e-9, "{}", signs.ratio);
    }

    #[test]
    fn edits_of_one_moment_count_once() {
        let mut session = SessionFit::new(1, Timestamp::default());
        let edit = |name, millis| Step { is_edit: true, paths: path(name), ..at(millis) };
        assert!(see(&mut session, &edit("a", 1_000)).is_untouched);
        assert!(!see(&mut session, &edit("b", 1_500)).is_untouched);
        assert!(see(&mut session, &edit("c", 3_000)).is_untouched);
    }

    #[test]
    fn a_call_beside_a_long_one_overlaps_and_one_of_the_same_turn_does_not() {
        let mut session = SessionFit::new(1, Timestamp::default());
        see(&mut session, &Step { duration_ms: 10_000, ..at(1_000) });
        assert!(!see(&mut session, &at(1_300)).is_overlap);
        assert!(see(&mut session, &at(4_000)).is_overlap);
        assert!(!see(&mut session, &at(10_800)).is_overlap);
    }

    #[test]
    fn while_another_agent_works_for_it_nothing_overlaps() {
        let mut session = SessionFit::new(1, Timestamp::default());
        see(&mut session, &Step { duration_ms: 60_000, is_delegation: true, ..at(1_000) });
        see(&mut session, &Step { duration_ms: 10_000, ..at(2_000) });
        assert!(!see(&mut session, &at(6_000)).is_overlap);
    }

    #[test]
    fn what_an_agent_often_does_soon_says_nothing() {
        let (mut session, mut manners) =
            (SessionFit::new(1, Timestamp::default()), Manners::default());
        let mut last = 0.0;
        for n in 0..500 {
            let step = Step { duration_ms: 30_000, ..at(n * 5_000) };
            last = session.see(&step, &mut manners, true).ratio;
        }
        assert!(last < 1.0, "{last}");
    }

    #[test]
    fn evidence_fades_and_never_falls_below_nothing() {
        let mut session = SessionFit::new(1, Timestamp::default());
        let at = |secs| Base::before(Timestamp::default()).offset(Timestamp::from_secs(secs));
        let signs = Signs { at: at(1), ..Signs::default() };
        assert!((session.add(&signs, 2.0, 0.5) - 1.5).abs() < 1e-12);
        assert!((session.add(&signs, 0.0, 0.5) - 1.0).abs() < 1e-12);
        assert_eq!(session.run().calls, 2);
        assert!(session.add(&signs, -9.0, 0.5).abs() < f64::EPSILON);
        session.add(&Signs { at: at(9), ..signs }, 1.0, 0.5);
        assert_eq!((session.run().calls, session.run().since), (1, Timestamp::from_secs(9)));
    }

    #[test]
    fn without_days_the_model_is_the_prior() {
        let model = Peaks::default().model(&PRIOR);
        assert!((model.mean - 3.0).abs() < f64::EPSILON);
        assert!((model.deviation - 2.0 * (4.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_day_without_evidence_says_nothing() {
        let mut peaks = Peaks::default();
        peaks.learn(0.0, 200, 20.0);
        assert_eq!(peaks, Peaks::default());
    }

    proptest! {
        #[test]
        fn the_tail_is_that_of_a_gumbel_with_this_mean_and_deviation(peaks in prop::collection::vec(0.1_f32..20.0, 0..30), peak in 0.0_f64..40.0) {
            let mut known = Peaks::default();
            peaks.iter().for_each(|peak| known.learn(*peak, 200, 20.0));
            let model = known.model(&PRIOR);
            let scale = model.deviation * 6.0_f64.sqrt() / std::f64::consts::PI;
            let gumbel = Gumbel::new(model.mean - 0.577_215_664_901_532_9 * scale, scale).unwrap();
            prop_assert!((model.tail(peak) - gumbel.sf(peak)).abs() < 1e-9);
            prop_assert!(model.tail(peak + 0.5) <= model.tail(peak));
            prop_assert!(model.deviation >= PRIOR.deviation);
        }

        #[test]
        fn signs_are_finite_and_bounded(steps in prop::collection::vec((any::<i64>(), any::<u64>(), any::<[u64; 3]>(), any::<[bool; 4]>()), 0..60)) {
            let (mut session, mut manners) = (SessionFit::new(1, Timestamp::default()), Manners::default());
            for (millis, duration_ms, paths, [is_acting, is_edit, is_delegation, learn]) in steps {
                let time = Timestamp::from_millis(millis);
                let step = Step { time, duration_ms, tool: 1, is_acting, is_edit, is_delegation, paths };
                let signs = session.see(&step, &mut manners, learn);
                prop_assert!(signs.ratio > 0.1 && signs.ratio < 20.0, "{}", signs.ratio);
            }
        }
    }
}
