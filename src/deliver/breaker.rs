//! One receiver's circuit breaker: whether it is asked at all.
//!
//! It keeps a receiver that is down from being asked by every alert that waits, and it drops
//! nothing: what may not be sent waits. No clock and no randomness of its own.

use std::time::Duration;

use crate::deliver::retry::{RETRY_WAIT_MAX, half_to_all};
use crate::event::Timestamp;

/// So many attempts in a row must fail before it opens.
pub const FAILURES_TO_OPEN: u32 = 5;

/// How long it is open at first: half of this to all of it.
pub const OPEN_FIRST: Duration = Duration::from_secs(5);

/// How long it is open at most: this much later than the receiver it finds that it is back.
pub const OPEN_MAX: Duration = Duration::from_secs(60);

/// Whether a receiver is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is.
    Closed,
    /// One alert is on its way to find out whether it is back.
    HalfOpen,
    /// It is not.
    Open,
}

impl Phase {
    /// The value of its gauge: 0 closed, 1 half open, 2 open.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Whatever there is.
    Any,
    /// One alert, to find out.
    Probe,
    /// Nothing until then.
    NothingUntil(Timestamp),
    /// Nothing before the probe has an answer.
    Nothing,
}

/// One receiver's circuit breaker.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    /// Attempts that failed in a row while it is closed.
    failures: u32,
    /// How often it was opened in a row.
    opened: u32,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    until: Timestamp,
    is_probing: bool,
}

impl Breaker {
    /// Where it stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self.open {
            None => Phase::Closed,
            Some(Open { is_probing: true, .. }) => Phase::HalfOpen,
            Some(_) => Phase::Open,
        }
    }

    /// What may be sent at `now`.
    #[must_use]
    pub fn admits(&self, now: Timestamp) -> Admission {
        match self.open {
            None => Admission::Any,
            Some(Open { is_probing: true, .. }) => Admission::Nothing,
            Some(Open { until, .. }) if until > now => Admission::NothingUntil(until),
            Some(_) => Admission::Probe,
        }
    }

    /// A probe is on its way.
    pub const fn probing(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_probing = true;
        }
    }

    /// The probe will have no answer: its partition has gone.
    pub const fn probe_is_lost(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_probing = false;
        }
    }

    /// The receiver has answered like one that works. Returns whether that closed it.
    pub fn works(&mut self) -> bool {
        let was_open = self.open.is_some();
        *self = Self::default();
        was_open
    }

    /// An attempt has failed in a way that speaks of the receiver. `is_slow` when a person has to
    /// mend something first; `unit_random` lies in 0..1. Returns whether that opened it.
    pub fn fails(
        &mut self,
        now: Timestamp,
        (is_probe, is_slow): (bool, bool),
        unit_random: f64,
    ) -> bool {
        if self.open.is_some() && !is_probe {
            // On its way since before it was opened.
            return false;
        }
        let was_open = self.open.is_some();
        self.failures = self.failures.saturating_add(1);
        if !was_open && self.failures < FAILURES_TO_OPEN {
            return false;
        }
        let longest = if is_slow {
            RETRY_WAIT_MAX
        } else {
            OPEN_FIRST.saturating_mul(1_u32 << self.opened.min(8)).min(OPEN_MAX)
        };
        self.opened = self.opened.saturating_add(1);
        let until = now.plus(half_to_all(longest, unit_random));
        self.open = Some(Open { until, is_probing: false });
        !was_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_000);

    fn tripped() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES_TO_OPEN {
            assert!(!breaker.fails(START, (false, false), 1.0));
            assert_eq!(breaker.phase(), Phase::Closed);
        }
        assert!(breaker.fails(START, (false, false), 1.0));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        assert_eq!(tripped().phase(), Phase::Open);
        let mut breaker = Breaker::default();
        for _ in 0..20 {
            assert!(!breaker.fails(START, (false, false), 0.5));
            assert!(!breaker.works());
        }
    }

    #[test]
    fn open_it_admits_one_probe_after_a_while_and_what_the_probe_says_decides() {
        let mut breaker = tripped();
        let until = START.plus_millis(5_000);
        assert_eq!(breaker.admits(START), Admission::NothingUntil(until));
        assert_eq!(breaker.admits(until), Admission::Probe);
        breaker.probing();
        assert_eq!(breaker.admits(until), Admission::Nothing);
        assert!(!breaker.fails(until, (false, false), 1.0), "an older attempt decides nothing");
        assert_eq!(breaker.phase(), Phase::HalfOpen);
        breaker.fails(until, (true, false), 1.0);
        assert_eq!(breaker.admits(until), Admission::NothingUntil(until.plus_millis(10_000)));
        assert!(breaker.works());
        assert_eq!(breaker.admits(until), Admission::Any);
    }

    #[test]
    fn it_is_open_for_a_minute_at_most_or_five_where_a_secret_was_changed() {
        let mut breaker = tripped();
        for _ in 0..1_000 {
            breaker.probing();
            breaker.fails(START, (true, false), 1.0);
        }
        assert_eq!(breaker.admits(START), Admission::NothingUntil(START.plus_millis(60_000)));
        breaker.probing();
        breaker.fails(START, (true, true), 1.0);
        assert_eq!(breaker.admits(START), Admission::NothingUntil(START.plus_millis(300_000)));
    }
}
