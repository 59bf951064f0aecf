//! How many calls the runs of an agent have so far: one run a session, the last eight.
//!
//! A run ends after an hour without a call, and one without a session id after two minutes, which
//! is how a run is told from the next when records do not say. Not exact when more than eight
//! sessions are interleaved: the one that was quiet longest is forgotten, and counts anew.

use crate::baseline::few::Exact;
use crate::baseline::identity::short;
use crate::baseline::moments::{Base, Offset};
use crate::event::Timestamp;
use serde::{Deserialize, Serialize};

/// Runs remembered.
const RUNS: usize = 8;

/// A run with a session id ends after so many milliseconds without a call. At most an hour: what an
/// agent at work remembers is dropped when it rests for longer.
const SESSION_GAP_MILLIS: u32 = 3_600_000;

/// A run without one ends after so many.
const UNNAMED_GAP_MILLIS: u32 = 120_000;

/// The session of runs without a session id.
const UNNAMED: u32 = 1;

/// One run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    /// 32 bits of the session's hash.
    session: u32,
    last: Offset,
    length_ms: u32,
    calls: u32,
}

/// A run as it stands after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its calls so far.
    pub calls: u32,
    /// Its first call.
    pub started: Timestamp,
}

/// The runs of an agent at work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    base: Base,
    slots: Exact<Slot>,
}

impl Runs {
    /// Counts a call of the session with this hash; 0 stands for a call that names none.
    pub fn add(&mut self, session: u64, time: Timestamp) -> Run {
        let (moved, now) = self.base.reach(time);
        if let Some(moved) = moved {
            self.slots.retain_mut(|slot| slot.move_back(moved));
        }
        let (gap, session) = if session == 0 {
            (UNNAMED_GAP_MILLIS, UNNAMED)
        } else {
            (SESSION_GAP_MILLIS, short(session).max(2))
        };
        let known = self.slots.iter_mut().find(|slot| slot.session == session);
        let started = match known {
            Some(slot) => {
                if now.saturating_sub(slot.last) >= gap {
                    *slot = Slot::new(session, now);
                }
                slot.count(now)
            }
            None => self.push(session, now),
        };
        let (calls, started) = started;
        Run { calls, started: self.base.time(started) }
    }

    /// Touches the memory a look-up needs.
    #[must_use]
    pub fn warm_up(&self) -> u64 {
        self.slots.first().map_or(0, |slot| slot.session.into())
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.slots.heap_bytes()
    }

    #[cold]
    fn push(&mut self, session: u32, now: Offset) -> (u32, Offset) {
        let mut slot = Slot::new(session, now);
        let counted = slot.count(now);
        if self.slots.len() < RUNS {
            self.slots.push(slot);
        } else if let Some(oldest) =
            self.slots.iter_mut().min_by_key(|slot| (slot.last, slot.session))
        {
            *oldest = slot;
        }
        counted
    }
}

impl Slot {
    const fn new(session: u32, now: Offset) -> Self {
        Self { session, last: now, length_ms: 0, calls: 0 }
    }

    /// Counts a call; returns how many there are and when the first was.
    fn count(&mut self, now: Offset) -> (u32, Offset) {
        let started = self.last.saturating_sub(self.length_ms).min(now);
        self.last = self.last.max(now);
        self.length_ms = self.last - started;
        self.calls = self.calls.saturating_add(1);
        (self.calls, started)
    }

    /// Whether it is still of use after the base has moved.
    fn move_back(&mut self, by: Offset) -> bool {
        let last = self.last.checked_sub(by);
        self.last = last.unwrap_or_default();
        self.length_ms = self.length_ms.min(self.last);
        last.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::identity::hash_texts;
    use proptest::prelude::*;

    impl Runs {
        fn named(&mut self, session: &str, time: Timestamp) -> Run {
            self.add(if session.is_empty() { 0 } else { hash_texts(&[session]) }, time)
        }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn sessions_are_counted_apart_and_end_after_an_hour() {
        let mut runs = Runs::default();
        assert_eq!(runs.named("a", at(0)).calls, 1);
        assert_eq!(runs.named("b", at(1)).calls, 1);
        assert_eq!(runs.named("a", at(3_599)), Run { calls: 2, started: at(0) });
        assert_eq!(runs.named("a", at(7_198)).calls, 3);
        assert_eq!(runs.named("a", at(10_798)), Run { calls: 1, started: at(10_798) });
    }

    #[test]
    fn without_a_session_two_minutes_of_rest_end_a_run() {
        let mut runs = Runs::default();
        assert_eq!(runs.named("", at(0)).calls, 1);
        assert_eq!(runs.named("", at(119)).calls, 2);
        assert_eq!(runs.named("", at(239)).calls, 1);
    }

    #[test]
    fn of_nine_sessions_the_quietest_is_forgotten() {
        let mut runs = Runs::default();
        for n in 0..9 {
            runs.named(&format!("session-{n}"), at(n));
        }
        assert_eq!(runs.named("session-8", at(9)).calls, 2);
        assert_eq!(runs.named("session-0", at(9)).calls, 1);
    }

    #[test]
    fn a_call_that_comes_late_moves_the_start_back() {
        let mut runs = Runs::default();
        runs.named("a", at(100));
        assert_eq!(runs.named("a", at(90)), Run { calls: 2, started: at(90) });
    }

    proptest! {
        #[test]
        fn any_times_are_survived(calls in prop::collection::vec((0_u8..20, any::<i64>()), 0..200)) {
            let mut runs = Runs::default();
            for (session, nanos) in calls {
                let run = runs.named(&session.to_string(), Timestamp::from_nanos(nanos));
                prop_assert!(run.calls >= 1);
            }
        }
    }
}
