//! The only place that reads a clock.
//!
//! A simulation lets a clock of its own stand in for the machine's, on its thread ([`show`]).

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::event::Timestamp;

thread_local! {
    static STAND_IN: Cell<Option<Reading>> = const { Cell::new(None) };
}

/// What a clock shows that stands in for the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock's time, which may jump.
    pub wall: Timestamp,
    /// Time passed on the monotonic clock, which may not.
    pub passed: Duration,
}

/// From now on the clocks of this thread show `reading`; the machine's time again with `None`.
pub fn show(reading: Option<Reading>) {
    STAND_IN.set(reading);
}

/// The wall clock's time.
#[must_use]
pub fn wall() -> Timestamp {
    if let Some(reading) = STAND_IN.get() {
        return reading.wall;
    }
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Processor time that all threads of this process have used.
#[must_use]
pub fn processor() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// A point on the monotonic clock, for measuring spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        if let Some(reading) = STAND_IN.get() {
            return Self(reading.passed);
        }
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        let now = Instant::now();
        Self(now.saturating_duration_since(*BEGAN.get_or_init(|| now)))
    }

    /// Time passed since.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// Time from `earlier` to this moment.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
