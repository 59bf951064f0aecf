//! How busy a worker is, and how often it may write down what it knows.

use std::time::Duration;

use crate::pipeline::clock::Moment;

/// A worker that has no time to spare writes down for at most one part in so many of it, where that
/// is not the interval that was asked for. All that a flush costs is about ten times what it costs the
/// worker: the producer's thread, the broker that takes the records and later compacts them where it
/// has the same processors, and agents that nobody needed just now in the processor's memory.
const WRITING_SHARE: f64 = 300.0;

/// The longest that flushes are put off for that, in intervals: so much is read again after a crash.
const PUT_OFF_MAX: u32 = 24;

/// What a look at how busy a worker is counts for: about the last second of looks.
const NEWEST_SHARE: f64 = 0.25;

/// How busy a worker is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The last look.
    at: Moment,
    /// How long it waited for records since.
    waited: Duration,
    /// The part of its time that it did not wait, 0 to 1.
    busy: f64,
}

impl Pace {
    /// The pace of a worker that begins now. Until it is known it counts as busy.
    pub(super) fn new() -> Self {
        Self { at: Moment::now(), waited: Duration::ZERO, busy: 1.0 }
    }

    /// It has waited for records.
    pub(super) fn waited(&mut self, time: Duration) {
        self.waited = self.waited.saturating_add(time);
    }

    /// Looks at how busy it is now.
    pub(super) fn look(&mut self, now: Moment) {
        let passed = now.since(self.at).as_secs_f64();
        if passed > 0.0 {
            let busy = (1.0 - self.waited.as_secs_f64() / passed).clamp(0.0, 1.0);
            self.busy += NEWEST_SHARE * (busy - self.busy);
        }
        (self.at, self.waited) = (now, Duration::ZERO);
    }

    /// How often a partition is flushed when the next flushes of all of the worker's cost it `cost`.
    /// What is read again after a crash takes as long to judge as the worker was busy since the
    /// flush, and a worker with time to spare gains nothing by putting it off: one that is half as
    /// busy writes eight times as often.
    pub(super) fn flush_every(&self, interval: Duration, cost: Duration) -> Duration {
        let wanted = cost.as_secs_f64() * WRITING_SHARE * self.busy.powi(3);
        let wanted = Duration::try_from_secs_f64(wanted).unwrap_or(Duration::MAX);
        wanted.clamp(interval, interval.saturating_mul(PUT_OFF_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;
    use crate::pipeline::clock::{self, Reading};

    fn at(ms: u64) -> Moment {
        let passed = Duration::from_millis(ms);
        clock::show(Some(Reading { wall: Timestamp::default(), passed }));
        Moment::now()
    }

    /// A worker that looked every 200 ms, and waited `waited` of them each time.
    fn pace(waited: u64) -> Pace {
        at(0);
        let mut pace = Pace::new();
        for look in 1..=50 {
            pace.waited(Duration::from_millis(waited));
            pace.look(at(200 * look));
        }
        pace
    }

    #[test]
    fn flushes_that_cost_much_are_put_off_within_a_bound() {
        let (interval, ms) = (Duration::from_secs(5), Duration::from_millis);
        let busy = pace(0);
        assert_eq!(busy.flush_every(interval, Duration::ZERO), interval);
        assert_eq!(busy.flush_every(interval, ms(16)), interval);
        assert_eq!(busy.flush_every(interval, ms(200)), Duration::from_secs(60));
        assert_eq!(busy.flush_every(interval, Duration::MAX), Duration::from_secs(120));
    }

    #[test]
    fn a_worker_with_time_to_spare_writes_far_oftener() {
        let (interval, cost) = (Duration::from_secs(5), Duration::from_millis(200));
        let every = |waited| pace(waited).flush_every(interval, cost).as_secs_f64();
        assert!((every(0) - 60.0).abs() < 0.1, "{}", every(0));
        assert!((every(100) - 7.5).abs() < 0.1, "{}", every(100));
        assert!((every(200) - 5.0).abs() < 0.1, "{}", every(200));
        assert!((every(900) - 5.0).abs() < 0.1, "more than passed: {}", every(900));
    }

    #[test]
    fn two_looks_at_one_moment_say_nothing() {
        let mut pace = pace(100);
        let before = pace.busy;
        pace.look(at(10_000));
        assert!((pace.busy - before).abs() < f64::EPSILON);
    }
}
