//! The same call again and again: a Shiryaev-Roberts process for each of the last different calls.
//!
//! A call that equals one of the last five minutes multiplies that call's evidence, every other
//! call halves it. How fast it grows depends on how often this agent repeats itself anyway. Not a
//! counter against a fixed limit: an agent that polls is given longer.

use crate::baseline::few::Few;
use crate::baseline::identity::short;
use crate::baseline::maxima::narrow;
use crate::baseline::moments::{Base, Offset};
use crate::event::Timestamp;
use serde::{Deserialize, Serialize};

/// Different calls remembered at a time.
const SLOTS: usize = 12;

/// How long a call is remembered after it was last made, in milliseconds.
const WINDOW_MILLIS: u32 = 300_000;

/// In a loop, nearly every call repeats an earlier one: the share the evidence is held against.
const LOOP_SHARE: f64 = 0.95;

/// Evidence stops growing here; it is overwhelming long before.
const EVIDENCE_MAX: f64 = 1e6;

/// How many calls the learned share rests on before it fades.
const SHARE_CALLS_MAX: f32 = 4_000.0;

/// How often an agent repeats a call of the last five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepeatShare {
    repeated: f32,
    calls: f32,
}

impl Default for RepeatShare {
    fn default() -> Self {
        Self { repeated: 0.5, calls: 20.0 }
    }
}

impl RepeatShare {
    /// Learns whether one more call was a repeat.
    pub fn learn(&mut self, is_repeat: bool) {
        self.calls += 1.0;
        self.repeated += f32::from(u8::from(is_repeat));
        if self.calls > SHARE_CALLS_MAX {
            self.calls *= 0.5;
            self.repeated *= 0.5;
        }
    }

    /// A high estimate of the share: two deviations up, between `floor` and .6.
    #[must_use]
    pub fn upper(&self, floor: f64) -> f64 {
        let (repeated, calls) = (f64::from(self.repeated), f64::from(self.calls));
        let upper = (repeated + 2.0 * libm::sqrt(repeated + 1.0)) / calls;
        upper.max(floor).min(0.6)
    }
}

/// One call that was made once lately; a time of 0 marks an empty place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Once {
    /// 32 bits of the call's hash.
    key: u32,
    last: Offset,
}

/// One call that was made again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Again {
    key: u32,
    first: Offset,
    /// From the first call to the last, in milliseconds.
    span_ms: u32,
    evidence: f32,
    count: u32,
}

/// A repeat, as it stands after the call just made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// The budget over the chance: at 1 the budget is spent.
    pub evidence: f64,
    /// How often the call was made, never more than five minutes apart.
    pub count: u32,
    /// When it was made first.
    pub first: Timestamp,
}

/// The last different calls of an agent, twelve in both lists together. Only of use while the
/// agent is at work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub struct Repeats {
    base: Base,
    /// The calls made once: their keys, and at the same places when they were made. Apart, so that
    /// several are looked at together.
    keys: [u32; SLOTS],
    lasts: [Offset; SLOTS],
    again: Few<Again>,
}

/// The same as it is written down.
#[derive(Serialize, Deserialize)]
struct Kept {
    base: Base,
    once: [Once; SLOTS],
    again: Few<Again>,
}

impl From<Kept> for Repeats {
    fn from(kept: Kept) -> Self {
        let Kept { base, once, again } = kept;
        Self { base, keys: once.map(|it| it.key), lasts: once.map(|it| it.last), again }
    }
}

impl From<Repeats> for Kept {
    fn from(repeats: Repeats) -> Self {
        let Repeats { base, keys, lasts, again } = repeats;
        let mut once = [Once::default(); SLOTS];
        for (it, (key, last)) in once.iter_mut().zip(keys.into_iter().zip(lasts)) {
            *it = Once { key, last };
        }
        Self { base, once, again }
    }
}

impl Repeats {
    /// Touches the memory a look-up needs.
    #[must_use]
    pub fn warm_up(&self) -> u64 {
        let [first, .., last] = self.keys;
        u64::from(first ^ last ^ self.again.first().map_or(0, |it| it.key))
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.again.heap_bytes()
    }

    /// The evidence of the run of `key`; 0 where there is none.
    #[must_use]
    pub fn evidence(&self, key: u64) -> f64 {
        let run = self.again.iter().find(|it| it.key == short(key));
        run.map_or(0.0, |it| f64::from(it.evidence))
    }

    /// Whether `key` is a call of the last five minutes.
    #[cfg(test)]
    fn knows(&self, key: u64, time: Timestamp) -> bool {
        let (key, now) = (short(key), self.base.offset(time).max(1));
        let is_it = |(it, last): (&u32, &Offset)| *it == key && *last >= oldest_live(now);
        self.keys.iter().zip(&self.lasts).any(is_it)
            || self.again.iter().any(|it| it.key == key && it.is_live(now))
    }

    /// Takes one call. `odds` are asked for only when it is a repeat: the budget this one call may
    /// spend, and how likely a repeat is. Returns the run it belongs to.
    pub fn add(&mut self, key: u64, time: Timestamp, odds: impl Fn() -> (f64, f64)) -> Run {
        let (moved, now) = self.base.reach(time);
        if let Some(moved) = moved {
            self.lasts.iter_mut().for_each(|last| *last = last.saturating_sub(moved));
            self.again.retain_mut(|it| it.move_back(moved));
        }
        // Above 0, which marks an empty place.
        let (key, now) = (short(key), now.max(1));
        let (mut run, mut is_over) = (None, false);
        for it in self.again.iter_mut() {
            if !it.is_live(now) {
                is_over = true;
            } else if it.key == key {
                let evidence = it.again(now, odds());
                run = Some(Run { evidence, count: it.count, first: self.base.time(it.first) });
            } else {
                it.evidence *= 0.5;
            }
        }
        if is_over {
            self.again.retain_mut(|it| it.is_live(now));
        }
        self.forget(oldest_live(now), moved.is_some());
        // Mostly nothing is equal, so there is no branch for each.
        if self.keys.iter().fold(false, |is_equal, it| is_equal | (*it == key)) {
            for (it, last) in self.keys.iter_mut().zip(&mut self.lasts) {
                if *it != key || *last == 0 {
                    continue;
                }
                let mut again = Again::of(Once { key, last: *last });
                (*it, *last) = (0, 0);
                let evidence = again.again(now, odds());
                run =
                    Some(Run { evidence, count: again.count, first: self.base.time(again.first) });
                self.again.push(again);
            }
        }
        run.unwrap_or_else(|| {
            self.insert(key, now);
            Run { evidence: 0.0, count: 1, first: time }
        })
    }

    /// Forgets the calls made once that are older than `oldest`, which is above 0. Times that have moved
    /// may have become nothing.
    fn forget(&mut self, oldest: Offset, has_moved: bool) {
        // An empty place is later than all, and mostly nothing is over.
        let is_over = |last: &Offset| last.wrapping_sub(1) < oldest - 1;
        if !has_moved && !self.lasts.iter().fold(false, |some, last| some | is_over(last)) {
            return;
        }
        for (key, last) in self.keys.iter_mut().zip(&mut self.lasts) {
            if *last < oldest {
                (*key, *last) = (0, 0);
            }
        }
    }

    /// What was made once makes room first, the oldest before the others.
    fn insert(&mut self, key: u32, last: Offset) {
        let empty = self.lasts.iter().map(|last| u32::from(*last == 0)).sum::<u32>();
        let empty = usize::try_from(empty).unwrap_or(SLOTS);
        let gone = if self.again.len() < empty {
            0
        } else {
            let oldest = self.lasts.iter().map(|last| last.wrapping_sub(1)).min();
            oldest.unwrap_or(0).wrapping_add(1)
        };
        let place = self.lasts.iter().position(|last| *last == gone);
        let place = place.filter(|_| self.again.len() < empty || empty < SLOTS);
        if place.is_none() {
            let least = self.again.iter().enumerate().min_by_key(|(_, it)| (it.count, it.last()));
            if let Some(at) = least.map(|(at, _)| at) {
                self.again.remove(at);
            }
        }
        let place = place.unwrap_or(0);
        let places = self.keys.get_mut(place).zip(self.lasts.get_mut(place));
        if let Some(places) = places {
            (*places.0, *places.1) = (key, last);
        }
    }
}

/// The oldest last time, above 0, of a call that is still remembered.
fn oldest_live(now: Offset) -> Offset {
    now.saturating_sub(WINDOW_MILLIS).max(1)
}

impl Again {
    const fn of(once: Once) -> Self {
        Self { key: once.key, first: once.last, span_ms: 0, evidence: 0.0, count: 1 }
    }

    const fn last(&self) -> Offset {
        self.first.saturating_add(self.span_ms)
    }

    const fn is_live(&self, now: Offset) -> bool {
        now <= self.last().saturating_add(WINDOW_MILLIS)
    }

    /// The evidence after one more call.
    fn again(&mut self, now: Offset, (mass, share): (f64, f64)) -> f64 {
        let last = self.last().max(now);
        self.first = self.first.min(now);
        self.span_ms = last - self.first;
        self.count = self.count.saturating_add(1);
        let evidence = grow(f64::from(self.evidence), mass, share).min(EVIDENCE_MAX);
        self.evidence = narrow(evidence);
        evidence
    }

    /// Whether it is still of use after the base has moved.
    fn move_back(&mut self, by: Offset) -> bool {
        let Some(last) = self.last().checked_sub(by) else { return false };
        self.first = self.first.saturating_sub(by);
        self.span_ms = last - self.first;
        true
    }
}

fn grow(evidence: f64, mass: f64, share: f64) -> f64 {
    (evidence + mass) * LOOP_SHARE / share
}

/// How many equal calls in a row stay below evidence 1.
#[must_use]
pub fn silent_count(mass: f64, share: f64) -> u32 {
    let (mut evidence, mut count) = (0.0, 1);
    // With a share of at most .6 the evidence grows by half each time: 200 steps are never needed.
    while count < 200 {
        evidence = grow(evidence, mass, share);
        if evidence >= 1.0 {
            break;
        }
        count += 1;
    }
    count
}

/// The run length that 99 of 100 runs of equal calls do not exceed, at this share of repeats.
#[must_use]
pub fn usual_count(share: f64) -> f64 {
    1.0 + libm::floor(libm::log(0.01) / libm::log(share.clamp(0.01, 0.99)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    const MASS: f64 = 0.01 / 300.0;

    const ODDS: (f64, f64) = (MASS, 0.25);

    #[test]
    fn a_loop_is_found_at_the_ninth_equal_call() {
        let mut repeats = Repeats::default();
        let first = (1..20).find(|n| repeats.add(7, at(*n), || ODDS).evidence >= 1.0).unwrap();
        assert_eq!(first, i64::from(silent_count(MASS, 0.25)) + 1);
        assert_eq!(first, 9);
    }

    #[test]
    fn five_minutes_of_rest_end_a_run() {
        let mut repeats = Repeats::default();
        repeats.add(7, at(0), || ODDS);
        assert_eq!(repeats.add(7, at(300), || ODDS).count, 2);
        assert_eq!(repeats.add(7, at(601), || ODDS).count, 1);
    }

    #[test]
    fn a_loop_keeps_its_place_among_many_single_calls() {
        let mut repeats = Repeats::default();
        repeats.add(7, at(0), || ODDS);
        repeats.add(7, at(1), || ODDS);
        (100..200).for_each(|key| {
            repeats.add(key, at(2), || ODDS);
        });
        assert!(repeats.knows(7, at(3)));
    }

    #[test]
    fn twelve_calls_are_remembered_and_those_made_again_longest() {
        let mut repeats = Repeats::default();
        for key in 0..20 {
            repeats.add(key, at(1), || ODDS);
            repeats.add(key, at(2), || ODDS);
        }
        assert_eq!((0..20).filter(|key| repeats.knows(*key, at(3))).count(), SLOTS);
        (100..110).for_each(|key| _ = repeats.add(key, at(4), || ODDS));
        assert_eq!((0..20).filter(|key| repeats.knows(*key, at(5))).count(), SLOTS - 1);
        assert!(repeats.again.len() <= SLOTS);
        // The list's own 16 bytes are on the heap, too.
        assert!(repeats.heap_bytes() <= SLOTS * size_of::<Again>() + 16);
    }

    proptest! {
        #[test]
        fn shares_are_probabilities(repeats in prop::collection::vec(any::<bool>(), 0..9_000)) {
            let mut share = RepeatShare::default();
            for repeat in repeats {
                share.learn(repeat);
                prop_assert!((0.25..=0.6).contains(&share.upper(0.25)));
            }
        }

        #[test]
        fn evidence_stays_finite_whatever_comes(keys in prop::collection::vec((0_u64..20, any::<i64>()), 0..500)) {
            let mut repeats = Repeats::default();
            for (key, time) in keys {
                let run = repeats.add(key, Timestamp::from_nanos(time), || ODDS);
                prop_assert!(run.evidence.is_finite() && run.evidence <= EVIDENCE_MAX);
            }
        }
    }
}
