//! Points in event time, in UTC.
//!
//! Not a clock: nothing in this module knows what time it is.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Nanoseconds in a second.
const SECOND_NS: i64 = 1_000_000_000;

/// Nanoseconds in an hour, the length of a peer epoch.
pub const HOUR_NS: i64 = 3_600 * SECOND_NS;

/// Nanoseconds in a UTC day.
const DAY_NS: i64 = 24 * HOUR_NS;

/// A point in event time: nanoseconds since 1970-01-01T00:00:00Z.
///
/// Covers the years 1677 to 2262; decoders reject what lies outside.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(i64);

/// A text that is not an RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an RFC 3339 time such as 2026-01-05T12:17:36.209Z")]
pub struct ParseTimestampError(String);

impl Timestamp {
    /// The earliest time there is.
    pub const MIN: Self = Self(i64::MIN);

    /// The latest time there is.
    pub const MAX: Self = Self(i64::MAX);

    /// A time from nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// A time from milliseconds since the Unix epoch, saturating at the ends.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// A time from seconds since the Unix epoch, saturating at the ends.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(SECOND_NS))
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        floor_div(self.0, 1_000_000)
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        floor_div(self.0, SECOND_NS)
    }

    /// Whole spans of so many seconds since the Unix epoch, rounded down. `secs` is above 0, and less
    /// than a century.
    #[must_use]
    pub const fn spans_of(self, secs: i64) -> i64 {
        floor_div(self.0, SECOND_NS * secs)
    }

    /// The UTC day, counted from the Unix epoch.
    #[must_use]
    pub const fn day(self) -> i64 {
        floor_div(self.0, DAY_NS)
    }

    /// The start of a UTC hour that is counted from the Unix epoch, as [`Self::hour`] is, saturating at
    /// the ends.
    #[must_use]
    pub const fn from_hour(hour: i64) -> Self {
        Self(hour.saturating_mul(HOUR_NS))
    }

    /// The UTC hour, counted from the Unix epoch: the peer epoch this time falls in.
    #[must_use]
    pub const fn hour(self) -> i64 {
        floor_div(self.0, HOUR_NS)
    }

    /// The UTC hour of the day, 0 to 23.
    #[must_use]
    pub fn hour_of_day(self) -> u8 {
        u8::try_from(self.hour() - self.day() * 24).unwrap_or(0)
    }

    /// Seconds from `earlier` to this time; negative when this time comes first.
    #[must_use]
    pub fn secs_since(self, earlier: Self) -> f64 {
        let nanos = self.0.saturating_sub(earlier.0);
        #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a duration")]
        let nanos = nanos as f64;
        nanos / 1e9
    }

    /// This time plus milliseconds, saturating at the ends.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1_000_000)))
    }

    /// This time plus the whole milliseconds of `span`, saturating at the end.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        self.plus_millis(whole_millis(span))
    }

    /// This time less the whole milliseconds of `span`, saturating at the beginning.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        self.plus_millis(whole_millis(span).saturating_neg())
    }

    /// This time plus seconds, saturating at the ends.
    #[must_use]
    pub const fn plus_secs(self, secs: i64) -> Self {
        Self(self.0.saturating_add(secs.saturating_mul(SECOND_NS)))
    }
}

fn whole_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Division rounded down, by more than 0. Without a sign it takes half of the steps, and hardly any
/// time is before 1970.
const fn floor_div(nanos: i64, by: i64) -> i64 {
    if nanos < 0 {
        return nanos.div_euclid(by);
    }
    (nanos.cast_unsigned() / by.cast_unsigned()).cast_signed()
}

/// RFC 3339 in UTC with milliseconds, as alerts carry it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.as_millis()) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    /// Reads RFC 3339; a time without a zone is UTC (as several audit logs write it).
    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        if let Some(time) = parse_common(text.as_bytes()) {
            return Ok(time);
        }
        let fail = || ParseTimestampError(text.chars().take(40).collect());
        let time = text
            .parse::<jiff::Timestamp>()
            .or_else(|_| format!("{text}Z").parse::<jiff::Timestamp>())
            .map_err(|_| fail())?;
        i64::try_from(time.as_nanosecond()).map(Self).map_err(|_| fail())
    }
}

/// Reads `YYYY-MM-DDTHH:MM:SS[.fraction]Z`, the shape nearly every record has, without allocating.
fn parse_common(text: &[u8]) -> Option<Timestamp> {
    let (head, tail) = text.split_at_checked(19)?;
    let digits = |range: std::ops::Range<usize>| -> Option<i64> {
        head.get(range)?
            .iter()
            .try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(i, mark)| head.get(*i) != Some(mark)) {
        return None;
    }
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    let days_in_month = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1700..=2261).contains(&year)
        || !(1..=days_in_month).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let nanos = parse_fraction(tail)?;
    let secs = ((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(Timestamp(secs * SECOND_NS + nanos))
}

/// Reads `Z` or `.123Z`, at most nanoseconds.
fn parse_fraction(tail: &[u8]) -> Option<i64> {
    let digits = match tail {
        [b'Z'] => return Some(0),
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => digits,
        _ => return None,
    };
    let value = digits
        .iter()
        .try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))?;
    let missing = u32::try_from(9 - digits.len()).ok()?;
    Some(value * 10_i64.pow(missing))
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn common_times_are_read_and_written_back() {
        for text in
            ["2026-01-05T12:17:36.209Z", "1970-01-01T00:00:00.000Z", "2024-02-29T23:59:59.999Z"]
        {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(time.to_string(), text);
        }
    }

    #[test]
    fn offsets_and_missing_zones_are_understood() {
        let utc: Timestamp = "2026-01-05T12:17:36Z".parse().unwrap();
        assert_eq!("2026-01-05T14:17:36+02:00".parse::<Timestamp>().unwrap(), utc);
        assert_eq!("2026-01-05T12:17:36".parse::<Timestamp>().unwrap(), utc);
    }

    #[test]
    fn nonsense_is_refused_with_the_text_in_the_message() {
        for text in ["", "yesterday", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z"] {
            let error = text.parse::<Timestamp>().unwrap_err();
            assert!(error.to_string().contains("RFC 3339"), "{text}: {error}");
        }
    }

    #[test]
    fn days_and_hours_before_1970_round_down() {
        let time: Timestamp = "1969-12-31T23:30:00Z".parse().unwrap();
        assert_eq!((time.day(), time.hour_of_day()), (-1, 23));
        assert_eq!(Timestamp::from_hour(time.hour()).to_string(), "1969-12-31T23:00:00.000Z");
    }

    proptest! {
        #[test]
        fn the_fast_reader_agrees_with_the_library(nanos in -8_000_000_000_000_000_000_i64..9_000_000_000_000_000_000) {
            let text = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap().to_string();
            prop_assert_eq!(text.parse::<Timestamp>().unwrap().as_nanos(), nanos);
        }

        #[test]
        fn spans_round_down_at_any_time(nanos in any::<i64>(), secs in any::<u64>(), millis in 0_u64..1_000) {
            let time = Timestamp::from_nanos(nanos);
            let (hour, day) = (nanos.div_euclid(HOUR_NS), nanos.div_euclid(DAY_NS));
            prop_assert_eq!((time.hour(), time.day()), (hour, day));
            prop_assert_eq!(i64::from(time.hour_of_day()), hour.rem_euclid(24));
            prop_assert_eq!(time.spans_of(60), time.as_secs().div_euclid(60));
            let span = Duration::from_secs(secs).saturating_add(Duration::from_millis(millis));
            let most = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
            prop_assert_eq!(time.plus(span), time.plus_millis(most));
        }
    }
}
