//! Whether a worker may still take its partitions for its own.
//!
//! The group gives the partitions of a member that says nothing for the session's timeout to others.
//! A worker that has not polled for half of that, because it was frozen or its machine was, does not
//! know any more what it owns: it writes and commits nothing until the group has said so. Time is the
//! wall clock's, because the other one stands still while a machine is suspended.

use std::time::Duration;

use crate::event::Timestamp;

/// A worker's lease on its partitions.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// How long a poll vouches, in nanoseconds.
    half_ns: i64,
    polled: Timestamp,
    /// Since when it is in doubt.
    doubt: Option<Timestamp>,
    /// How often there was a reason to doubt.
    doubts: u64,
}

impl Lease {
    /// A lease that begins at `now` under this timeout of the session.
    #[must_use]
    pub fn new(session: Duration, now: Timestamp) -> Self {
        let half_ns = i64::try_from((session / 2).as_nanos()).unwrap_or(i64::MAX);
        Self { half_ns, polled: now, doubt: None, doubts: 0 }
    }

    /// A poll ended at `now`. Returns whether the lease has just lapsed.
    pub fn polled(&mut self, now: Timestamp) -> bool {
        let lapsed = self.is_over(now) && self.doubt.is_none();
        if self.is_over(now) {
            self.doubt = Some(now);
            self.doubts += 1;
        }
        // Of a clock that was set back the wait would last as long as that.
        self.doubt = self.doubt.map(|since| since.min(now));
        self.polled = now;
        lapsed
    }

    /// The group has answered at `now` that its partitions are its own.
    pub fn confirmed(&mut self, now: Timestamp) {
        if !self.is_over(now) {
            self.doubt = None;
        }
    }

    /// Something says at `now` that its partitions may be somebody else's.
    pub fn doubt(&mut self, now: Timestamp) {
        self.doubt.get_or_insert(now);
        self.doubts += 1;
    }

    /// How often there was a reason to doubt: an answer to a question that was asked before the last
    /// one proves nothing.
    #[must_use]
    pub const fn doubts(&self) -> u64 {
        self.doubts
    }

    /// Whether the lease has lapsed and the group has not been heard since.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Whether it has polled without a break for so long since the doubt began that the group would
    /// have told it of a loss.
    #[must_use]
    pub fn has_waited(&self, now: Timestamp) -> bool {
        self.doubt
            .is_some_and(|since| now.as_nanos().saturating_sub(since.as_nanos()) > self.half_ns)
    }

    /// Whether anything may be written at `now`.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.doubt.is_none() && !self.is_over(now)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        now.as_nanos().saturating_sub(self.polled.as_nanos()) > self.half_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: i64) -> Timestamp {
        Timestamp::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn who_polls_in_time_may_write() {
        let mut lease = Lease::new(Duration::from_secs(30), at(0));
        for now in (0..100).step_by(15) {
            assert!(!lease.polled(at(now)) && lease.holds(at(now + 15)));
        }
        assert!(!lease.holds(at(90 + 16)), "even before the next poll");
    }

    #[test]
    fn who_was_frozen_writes_nothing_until_the_group_has_answered() {
        let mut lease = Lease::new(Duration::from_secs(30), at(0));
        assert!(lease.polled(at(60)), "said once");
        assert!(!lease.polled(at(61)) && !lease.holds(at(61)), "polling alone proves nothing");
        assert!(!lease.has_waited(at(70)) && lease.has_waited(at(76)));
        lease.confirmed(at(62));
        assert!(lease.holds(at(62)) && !lease.is_in_doubt());
    }

    #[test]
    fn an_answer_read_after_another_pause_proves_nothing() {
        let mut lease = Lease::new(Duration::from_secs(30), at(0));
        lease.polled(at(60));
        lease.confirmed(at(100));
        assert!(lease.is_in_doubt());
    }

    #[test]
    fn a_clock_set_back_makes_no_doubt_last_longer() {
        let mut lease = Lease::new(Duration::from_secs(30), at(3_600));
        assert!(lease.polled(at(3_660)) && lease.is_in_doubt());
        for now in 60..=75 {
            assert!(!lease.polled(at(now)) && !lease.has_waited(at(now)));
        }
        assert!(lease.has_waited(at(76)), "as long as ever, from when it was set back");
    }

    #[test]
    fn a_clock_set_back_takes_no_right_away() {
        let mut lease = Lease::new(Duration::from_secs(30), at(3_600));
        assert!(!lease.polled(at(10)) && lease.holds(at(11)));
    }
}
