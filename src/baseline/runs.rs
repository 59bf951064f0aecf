//! How many calls the runs of an agent have so far: one run a session, the last eight.
//!
//! A run ends after an hour without a call, and one without a session id after two minutes, which
//! is how a run is told from the next when records do not say. Not exact when more than eight
//! sessions are interleaved: the one that was quiet longest is forgotten, and counts anew.

use crate::baseline::identity::hash_texts;
use crate::event::Timestamp;
use serde::{Deserialize, Serialize};

/// Runs remembered.
const RUNS: usize = 8;

/// A run with a session id ends after so many seconds without a call. At most an hour: what an
/// agent at work remembers is dropped when it rests for longer.
const SESSION_GAP_SECS: i64 = 3_600;

/// A run without one ends after so many.
const UNNAMED_GAP_SECS: i64 = 120;

/// One run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    session: u64,
    last_millis: i64,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    slots: [Slot; RUNS],
}

impl Runs {
    /// Counts a call of the session `session_id`, which may be empty.
    pub fn add(&mut self, session_id: &str, time: Timestamp) -> Run {
        let (gap_secs, session) = if session_id.is_empty() {
            (UNNAMED_GAP_SECS, 1)
        } else {
            // 0 marks an empty place and 1 runs without a session id.
            (SESSION_GAP_SECS, hash_texts(&[session_id]).max(2))
        };
        let millis = time.as_millis();
        let known = self.slots.iter_mut().find(|slot| slot.session == session);
        if let Some(slot) = known {
            if millis.saturating_sub(slot.last_millis) >= gap_secs * 1_000 {
                *slot = Slot { session, last_millis: millis, length_ms: 0, calls: 0 };
            }
            return slot.count(millis);
        }
        // An empty place has 0 calls and is taken before any other.
        let oldest = self
            .slots
            .iter_mut()
            .min_by_key(|slot| (slot.calls > 0, slot.last_millis, slot.session));
        match oldest {
            Some(slot) => {
                *slot = Slot { session, last_millis: millis, length_ms: 0, calls: 0 };
                slot.count(millis)
            }
            None => Run { calls: 1, started: time },
        }
    }
}

impl Slot {
    fn count(&mut self, millis: i64) -> Run {
        let started = self.last_millis.saturating_sub(self.length_ms.into()).min(millis);
        self.last_millis = self.last_millis.max(millis);
        let length = self.last_millis.saturating_sub(started);
        self.length_ms = u32::try_from(length).unwrap_or(u32::MAX);
        self.calls = self.calls.saturating_add(1);
        Run { calls: self.calls, started: Timestamp::from_millis(started) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn sessions_are_counted_apart_and_end_after_an_hour() {
        let mut runs = Runs::default();
        assert_eq!(runs.add("a", at(0)).calls, 1);
        assert_eq!(runs.add("b", at(1)).calls, 1);
        assert_eq!(runs.add("a", at(3_599)), Run { calls: 2, started: at(0) });
        assert_eq!(runs.add("a", at(7_198)).calls, 3);
        assert_eq!(runs.add("a", at(10_798)), Run { calls: 1, started: at(10_798) });
    }

    #[test]
    fn without_a_session_two_minutes_of_rest_end_a_run() {
        let mut runs = Runs::default();
        assert_eq!(runs.add("", at(0)).calls, 1);
        assert_eq!(runs.add("", at(119)).calls, 2);
        assert_eq!(runs.add("", at(239)).calls, 1);
    }

    #[test]
    fn of_nine_sessions_the_quietest_is_forgotten() {
        let mut runs = Runs::default();
        for n in 0..9 {
            runs.add(&format!("session-{n}"), at(n));
        }
        assert_eq!(runs.add("session-8", at(9)).calls, 2);
        assert_eq!(runs.add("session-0", at(9)).calls, 1);
    }

    #[test]
    fn a_call_that_comes_late_moves_the_start_back() {
        let mut runs = Runs::default();
        runs.add("a", at(100));
        assert_eq!(runs.add("a", at(90)), Run { calls: 2, started: at(90) });
    }

    proptest! {
        #[test]
        fn any_times_are_survived(calls in prop::collection::vec((0_u8..20, any::<i64>()), 0..200)) {
            let mut runs = Runs::default();
            for (session, nanos) in calls {
                let run = runs.add(&session.to_string(), Timestamp::from_nanos(nanos));
                prop_assert!(run.calls >= 1);
            }
        }
    }
}
