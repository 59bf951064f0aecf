//! Times as records write them, and the bound the broker sets to them. Not a clock.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::decode::number;
use crate::event::Timestamp;

/// 2262-01-01T00:00:00Z: the first nanosecond that is not accepted.
const END: Timestamp = Timestamp::from_secs(9_214_646_400);

/// How far a stamp may lie after the broker's append time, in seconds, before it is replaced.
const FUTURE_SECS_MAX: i64 = 60;

/// A time as a record wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stamp {
    /// There was none.
    #[default]
    Missing,
    /// There was something that is no time.
    Unreadable,
    /// A time within 1970 to 2261.
    At(Timestamp),
}

impl Stamp {
    /// A time in nanoseconds since the epoch, where 0 stands for "not known", as in OTLP.
    pub(super) fn from_otlp_nanos(nanos: u64) -> Self {
        match i64::try_from(nanos) {
            Ok(0) => Self::Missing,
            Ok(nanos) => Self::within(Timestamp::from_nanos(nanos)),
            Err(_) => Self::Unreadable,
        }
    }

    /// RFC 3339, or an epoch number in decimal digits.
    pub(super) fn from_text(text: &str) -> Self {
        if text.is_empty() {
            return Self::Missing;
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return Self::within(time);
        }
        if let Ok(number) = text.parse::<i64>() {
            return Self::from_epoch(number);
        }
        // Only digits: `inf`, `nan` and `1e999` are floats to Rust and no times to anybody.
        if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return text.parse().map_or(Self::Unreadable, Self::from_epoch_float);
        }
        Self::Unreadable
    }

    /// An epoch number, its unit told by its magnitude.
    pub(super) fn from_epoch(number: i64) -> Self {
        let unit = unit_ns(number.unsigned_abs());
        number
            .checked_mul(unit)
            .map_or(Self::Unreadable, |nanos| Self::within(Timestamp::from_nanos(nanos)))
    }

    /// An epoch number with a fraction, its unit told by its magnitude.
    pub(super) fn from_epoch_float(number: f64) -> Self {
        let unit = unit_ns(number::to_count(number));
        number::to_nanos(number, unit)
            .map_or(Self::Unreadable, |nanos| Self::within(Timestamp::from_nanos(nanos)))
    }

    /// The first of two that says anything.
    pub(super) fn or(self, other: Self) -> Self {
        if self == Self::Missing { other } else { self }
    }

    /// A time that was read before.
    pub(super) fn from_time(time: Timestamp) -> Self {
        Self::within(time)
    }

    fn within(time: Timestamp) -> Self {
        let accepted = time >= Timestamp::from_nanos(0) && time < END;
        if accepted { Self::At(time) } else { Self::Unreadable }
    }
}

/// Nanoseconds in the unit an epoch number of this size is in.
const fn unit_ns(magnitude: u64) -> i64 {
    match magnitude {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    }
}

/// The time a call is given, and whether its own was replaced because it lay in the future.
pub(super) fn bounded(time: Timestamp, append_time: Timestamp) -> (Timestamp, bool) {
    let future = time > append_time.plus_secs(FUTURE_SECS_MAX);
    (if future { append_time } else { time }, future)
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StampVisitor)
    }
}

struct StampVisitor;

impl Visitor<'_> for StampVisitor {
    type Value = Stamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an RFC 3339 time or an epoch number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Stamp, E> {
        Ok(Stamp::from_text(text))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Stamp, E> {
        Ok(i64::try_from(number).map_or(Stamp::Unreadable, Stamp::from_epoch))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Stamp, E> {
        Ok(Stamp::from_epoch(number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Stamp, E> {
        Ok(Stamp::from_epoch_float(number))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Stamp, E> {
        Ok(Stamp::Missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_one_moment_reads_as_that_moment() {
        let nanos = 1_767_615_456_250_000_000;
        let check = |json: &str, expected: Stamp| {
            assert_eq!(serde_json::from_str::<Stamp>(json).unwrap(), expected, "{json}");
        };
        let at = |nanos| Stamp::At(Timestamp::from_nanos(nanos));
        check(r#""2026-01-05T12:17:36.250Z""#, at(nanos));
        check(r#""2026-01-05T13:17:36.25+01:00""#, at(nanos));
        check("1767615456.25", at(nanos));
        check("1767615456250", at(nanos));
        check("1767615456250.0", at(nanos));
        check("1767615456250000", at(nanos));
        check("1767615456250000000", at(nanos));
        check(r#""1767615456250""#, at(nanos));
        check(r#""1767615456.25""#, at(nanos));
        check("0", at(0));
        check(r#""1970-01-01T00:00:00Z""#, at(0));
        check("null", Stamp::Missing);
        check(r#""""#, Stamp::Missing);
        check("-1", Stamp::Unreadable);
        check("-1.5", Stamp::Unreadable);
        check(r#""1969-12-31T23:59:59Z""#, Stamp::Unreadable);
        check(r#""2262-01-01T00:00:00Z""#, Stamp::Unreadable);
        check("9999999999", Stamp::Unreadable);
        check("18446744073709551615", Stamp::Unreadable);
        check("1e300", Stamp::Unreadable);
        check(r#""1e999""#, Stamp::Unreadable);
        check(r#""NaN""#, Stamp::Unreadable);
        check(r#""inf""#, Stamp::Unreadable);
        check(r#""yesterday""#, Stamp::Unreadable);
    }

    #[test]
    fn a_minute_of_clock_error_is_kept_and_more_is_replaced() {
        let append = Timestamp::from_secs(1_000);
        assert_eq!(bounded(append.plus_secs(60), append), (append.plus_secs(60), false));
        assert_eq!(bounded(append.plus_secs(61), append), (append, true));
        assert_eq!(bounded(Timestamp::from_secs(0), append), (Timestamp::from_secs(0), false));
    }
}
