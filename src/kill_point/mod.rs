//! Places where a test lets the process die, or a thread hang.
//!
//! What survives a crash is decided between two steps: an alert is acknowledged and its agent is not
//! written yet. Killing from outside hits such a moment by luck; a kill point hits it each time. A
//! point is named in the code by [`hit`], and `run --kill-point NAME[:HIT][:stall=SECONDS]` arms
//! one of them.
//!
//! In a release build there are none of them: [`hit`] is empty and the option does not exist, both
//! by `debug_assertions`. A feature would not do: features add up, so a dependent, or
//! `--all-features`, could bring them into what is shipped.

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{Armed, Point};

    static ARMED: OnceLock<Armed> = OnceLock::new();
    static HITS: AtomicU32 = AtomicU32::new(0);

    pub(super) fn arm(armed: Armed) {
        // Armed twice, the first one counts.
        let _first = ARMED.set(armed);
    }

    pub(super) fn hit(point: Point) {
        let Some(armed) = ARMED.get().filter(|armed| armed.point == point) else { return };
        if HITS.fetch_add(1, Ordering::Relaxed) + 1 != armed.hit {
            return;
        }
        match armed.stall {
            Some(stall) => std::thread::sleep(stall),
            // Like SIGKILL: no destructor runs, nothing is flushed, the broker hears nothing.
            None => std::process::abort(),
        }
    }
}

#[cfg(debug_assertions)]
use std::time::Duration;

/// The places, in the order in which a call meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Ingest has handed a call to its producer.
    IngestSent,
    /// The broker has a call in the calls topic; its source's offset is not committed.
    IngestAcked,
    /// Ingest has committed.
    IngestCommitted,
    /// A worker has read a record.
    Polled,
    /// Calls of a partition have been judged; nothing of it is sent.
    Judged,
    /// An alert is on its way.
    AlertSent,
    /// The broker has a record of the outbox: an alert, an audit record or a dead letter.
    AlertAcked,
    /// The broker has one record of the state topic.
    StateAcked,
    /// The broker has all records of a flush but its marker, which is about to be sent.
    StatesAcked,
    /// The broker has a flush's marker; nothing is committed.
    MarkerAcked,
    /// Offsets have been committed.
    Committed,
    /// Partitions that are to go are being written down.
    LettingGo,
    /// What is known of a partition is being read.
    Restoring,
    /// Delivery is about to send a request: from here on the receiver may have it.
    Posting,
    /// A receiver has taken an alert; that is noted nowhere.
    PostAnswered,
    /// What delivery is about to commit is written down in the log of deliveries.
    DeliveryNoted,
    /// Delivery has committed.
    DeliveryCommitted,
}

impl Point {
    /// Every point.
    pub const ALL: [Self; 17] = [
        Self::IngestSent,
        Self::IngestAcked,
        Self::IngestCommitted,
        Self::Polled,
        Self::Judged,
        Self::AlertSent,
        Self::AlertAcked,
        Self::StateAcked,
        Self::StatesAcked,
        Self::MarkerAcked,
        Self::Committed,
        Self::LettingGo,
        Self::Restoring,
        Self::Posting,
        Self::PostAnswered,
        Self::DeliveryNoted,
        Self::DeliveryCommitted,
    ];

    /// Its name, as it is written in `--kill-point`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IngestSent => "ingest-sent",
            Self::IngestAcked => "ingest-acked",
            Self::IngestCommitted => "ingest-committed",
            Self::Polled => "polled",
            Self::Judged => "judged",
            Self::AlertSent => "alert-sent",
            Self::AlertAcked => "alert-acked",
            Self::StateAcked => "state-acked",
            Self::StatesAcked => "states-acked",
            Self::MarkerAcked => "marker-acked",
            Self::Committed => "committed",
            Self::LettingGo => "letting-go",
            Self::Restoring => "restoring",
            Self::Posting => "posting",
            Self::PostAnswered => "post-answered",
            Self::DeliveryNoted => "delivery-noted",
            Self::DeliveryCommitted => "delivery-committed",
        }
    }
}

/// A point that is armed: what happens at it, and when.
#[cfg(debug_assertions)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Armed {
    point: Point,
    /// At which hit, from 1.
    hit: u32,
    /// How long the thread that hits it hangs; the process dies where this is none.
    stall: Option<Duration>,
}

#[cfg(debug_assertions)]
impl std::str::FromStr for Armed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let point = Point::ALL.into_iter().find(|point| point.as_str() == name);
        let point = point.ok_or_else(|| {
            let names = Point::ALL.map(Point::as_str).join(", ");
            format!("there is no kill point `{name}`; there are {names}")
        })?;
        let mut armed = Self { point, hit: 1, stall: None };
        for part in parts {
            let wrong = |_| format!("`{part}` is neither a count nor `stall=SECONDS`");
            match part.strip_prefix("stall=") {
                Some(seconds) => {
                    armed.stall = Some(Duration::from_secs(seconds.parse().map_err(wrong)?));
                }
                None => armed.hit = part.parse().map_err(wrong)?,
            }
        }
        Ok(armed)
    }
}

/// Arms a point for the rest of the process's life; the first one armed counts.
#[cfg(debug_assertions)]
pub fn arm(armed: Armed) {
    armed::arm(armed);
}

/// The program is at `point`. Does nothing but in a debug build in which this point is armed.
#[inline]
pub fn hit(point: Point) {
    #[cfg(debug_assertions)]
    armed::hit(point);
    #[cfg(not(debug_assertions))]
    let _ = point;
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_armed_by_its_name_a_count_and_a_stall() {
        let armed = |text: &str| text.parse::<Armed>();
        let polled = Armed { point: Point::Polled, hit: 1, stall: None };
        assert_eq!(armed("polled"), Ok(polled.clone()));
        assert_eq!(armed("polled:7"), Ok(Armed { hit: 7, ..polled.clone() }));
        let stalled = Armed { hit: 2, stall: Some(Duration::from_secs(9)), ..polled };
        assert_eq!(armed("polled:2:stall=9"), Ok(stalled));
        assert!(armed("poled").unwrap_err().contains("letting-go"));
        assert!(armed("polled:x").unwrap_err().contains("`x`"));
        for point in Point::ALL {
            assert_eq!(armed(point.as_str()).map(|it| it.point), Ok(point));
        }
    }

    #[test]
    fn what_is_not_armed_does_nothing() {
        Point::ALL.into_iter().for_each(hit);
    }
}
