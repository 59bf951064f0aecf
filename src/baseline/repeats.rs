//! The same call again and again: a Shiryaev-Roberts process for each of the last different calls.
//!
//! A call that equals one of the last five minutes multiplies that call's evidence, every other
//! call halves it. How fast it grows depends on how often this agent repeats itself anyway. Not a
//! counter against a fixed limit: an agent that polls is given longer.

use crate::event::Timestamp;
use serde::{Deserialize, Serialize};

/// Different calls remembered at a time.
const SLOTS: usize = 12;

/// How long a call is remembered after it was last made, in seconds.
const WINDOW_SECS: i64 = 300;

/// In a loop, nearly every call repeats an earlier one: the share the evidence is held against.
const LOOP_SHARE: f64 = 0.95;

/// Evidence stops growing here; it is overwhelming long before.
const EVIDENCE_MAX: f64 = 1e6;

/// How many calls the learned share rests on before it fades.
const SHARE_CALLS_MAX: f64 = 4_000.0;

/// How often an agent repeats a call of the last five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepeatShare {
    repeated: f64,
    calls: f64,
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
        self.repeated += f64::from(u8::from(is_repeat));
        if self.calls > SHARE_CALLS_MAX {
            self.calls *= 0.5;
            self.repeated *= 0.5;
        }
    }

    /// A high estimate of the share: two deviations up, between `floor` and .6.
    #[must_use]
    pub fn upper(&self, floor: f64) -> f64 {
        let upper = (self.repeated + 2.0 * libm::sqrt(self.repeated + 1.0)) / self.calls;
        upper.max(floor).min(0.6)
    }
}

/// One call that was made lately; a count of 0 marks an empty place.
///
/// 32 bytes: an agent at work has twelve of them, and each call looks at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Slot {
    key: u64,
    first: Timestamp,
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

/// The last different calls of an agent. Only of use while the agent is at work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Repeats {
    slots: [Slot; SLOTS],
}

impl Repeats {
    /// Touches the memory a look-up needs.
    #[must_use]
    pub fn warm_up(&self) -> u64 {
        let key = |place: usize| self.slots.get(place).map_or(0, |slot| slot.key);
        key(0) ^ key(2) ^ key(4) ^ key(6) ^ key(8) ^ key(10)
    }

    /// Whether `key` is a call of the last five minutes.
    #[must_use]
    pub fn knows(&self, key: u64, time: Timestamp) -> bool {
        self.slots.iter().any(|slot| slot.key == key && slot.is_live(time))
    }

    /// Takes one call: `mass` is the budget this one call may spend, `share` how likely a repeat
    /// is. Returns the run it belongs to.
    pub fn add(&mut self, key: u64, time: Timestamp, mass: f64, share: f64) -> Run {
        let mut run = None;
        for slot in &mut self.slots {
            if !slot.is_live(time) {
                slot.count = 0;
            } else if slot.key == key {
                run = Some(slot.again(time, mass, share));
            } else {
                slot.evidence *= 0.5;
            }
        }
        run.unwrap_or_else(|| self.insert(key, time))
    }

    fn insert(&mut self, key: u64, time: Timestamp) -> Run {
        let least = self.slots.iter_mut().min_by_key(|slot| match slot.count {
            0 => (0, Timestamp::MIN),
            count => (count, slot.last()),
        });
        if let Some(slot) = least {
            *slot = Slot { key, first: time, span_ms: 0, evidence: 0.0, count: 1 };
        }
        Run { evidence: 0.0, count: 1, first: time }
    }
}

impl Slot {
    fn last(&self) -> Timestamp {
        self.first.plus_millis(i64::from(self.span_ms))
    }

    fn is_live(&self, time: Timestamp) -> bool {
        self.count > 0 && time <= self.last().plus_secs(WINDOW_SECS)
    }

    fn again(&mut self, time: Timestamp, mass: f64, share: f64) -> Run {
        let last = self.last().max(time);
        self.first = self.first.min(time);
        let span_ms = last.as_millis() - self.first.as_millis();
        self.span_ms = u32::try_from(span_ms).unwrap_or(u32::MAX);
        self.count = self.count.saturating_add(1);
        let evidence = grow(f64::from(self.evidence), mass, share).min(EVIDENCE_MAX);
        self.evidence = narrow(evidence);
        Run { evidence, count: self.count, first: self.first }
    }
}

/// Evidence as it is kept: seven digits are more than its model is good for.
fn narrow(evidence: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, clippy::as_conversions, reason = "see above")]
    let narrow = evidence as f32;
    narrow
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

    #[test]
    fn a_loop_is_found_at_the_ninth_equal_call() {
        let mut repeats = Repeats::default();
        let first = (1..20).find(|n| repeats.add(7, at(*n), MASS, 0.25).evidence >= 1.0).unwrap();
        assert_eq!(first, i64::from(silent_count(MASS, 0.25)) + 1);
        assert_eq!(first, 9);
    }

    #[test]
    fn five_minutes_of_rest_end_a_run() {
        let mut repeats = Repeats::default();
        repeats.add(7, at(0), MASS, 0.25);
        assert_eq!(repeats.add(7, at(300), MASS, 0.25).count, 2);
        assert_eq!(repeats.add(7, at(601), MASS, 0.25).count, 1);
    }

    #[test]
    fn a_loop_keeps_its_place_among_many_single_calls() {
        let mut repeats = Repeats::default();
        repeats.add(7, at(0), MASS, 0.25);
        repeats.add(7, at(1), MASS, 0.25);
        (100..200).for_each(|key| {
            repeats.add(key, at(2), MASS, 0.25);
        });
        assert!(repeats.knows(7, at(3)));
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
                let run = repeats.add(key, Timestamp::from_nanos(time), MASS, 0.25);
                prop_assert!(run.evidence.is_finite() && run.evidence <= EVIDENCE_MAX);
            }
        }
    }
}
