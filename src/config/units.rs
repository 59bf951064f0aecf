//! Durations and sizes as people write them: `30s`, `1h30m`, `64MiB`.
//!
//! A bare number is neither: it does not say what it counts.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Units of a duration, longest first, in milliseconds.
const DURATION_UNITS: [(&str, u64); 6] = [
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Units of a size in bytes, largest first.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A duration as written in a file, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FriendlyDuration(pub(crate) Duration);

/// A size as written in a file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FriendlySize(pub(crate) usize);

impl FriendlyDuration {
    /// A duration of whole seconds.
    pub(crate) const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

/// Splits `12ab34` after the digits and after the letters: `(12, "ab", "34")`.
fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, tail) = text.split_at_checked(digits)?;
    let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
    let (unit, rest) = tail.split_at_checked(letters)?;
    Some((number.parse().ok()?, unit, rest))
}

/// Reads `30s`, `5m`, `7d`, `1h30m`, `250ms`: whole numbers with units, longest unit first.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (mut rest, mut total, mut next_unit) = (text, 0_u64, 0_usize);
    while !rest.is_empty() || next_unit == 0 {
        let (number, unit, tail) = number_and_unit(rest)?;
        let at = DURATION_UNITS.iter().position(|(name, _)| *name == unit)?;
        if at < next_unit {
            return None;
        }
        let (_, millis) = DURATION_UNITS.get(at)?;
        total = total.checked_add(number.checked_mul(*millis)?)?;
        (rest, next_unit) = (tail, at + 1);
    }
    Some(Duration::from_millis(total))
}

/// Writes a duration as [`parse_duration`] reads it; parts of a millisecond are dropped.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, millis) in DURATION_UNITS.into_iter().filter(|(unit, _)| *unit != "w") {
        if let Some(count) = rest.checked_div(millis).filter(|count| *count > 0) {
            out.push_str(&format!("{count}{unit}"));
            rest -= count * millis;
        }
    }
    out
}

/// Reads `64MiB`, `500kB`, `16B`: a whole number and one unit.
#[must_use]
pub fn parse_size(text: &str) -> Option<usize> {
    let (number, unit, rest) = number_and_unit(text)?;
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    if !rest.is_empty() {
        return None;
    }
    usize::try_from(number.checked_mul(*bytes)?).ok()
}

/// Writes a size in the largest unit that keeps it whole.
#[must_use]
pub fn format_size(bytes: usize) -> String {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    SIZE_UNITS
        .iter()
        .find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

impl<'de> Deserialize<'de> for FriendlyDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).ok_or_else(|| D::Error::custom("not a duration"))
    }
}

impl Serialize for FriendlyDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(self.0))
    }
}

impl JsonSchema for FriendlyDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(?=[0-9])([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
            "description": "A duration: whole numbers with the units `w`, `d`, `h`, `m`, `s`, `ms`, longest first.",
            "x-expects": "a duration such as `30s`, `5m` or `1h30m`",
        })
    }
}

impl<'de> Deserialize<'de> for FriendlySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_size(&text).map(Self).ok_or_else(|| D::Error::custom("not a size"))
    }
}

impl Serialize for FriendlySize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_size(self.0))
    }
}

impl JsonSchema for FriendlySize {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(GiB|MiB|KiB|GB|MB|kB|B)$",
            "description": "A size in bytes: a whole number and one of `B`, `kB`, `MB`, `GB`, `KiB`, `MiB`, `GiB`.",
            "x-expects": "a size such as `64MiB` or `500kB`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_and_sizes_are_read_as_people_write_them() {
        for (text, secs) in
            [("30s", 30), ("5m", 300), ("7d", 604_800), ("1h30m", 5_400), ("2w", 1_209_600)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(secs)), "{text}");
        }
        assert_eq!(parse_duration("1s250ms"), Some(Duration::from_millis(1_250)));
        assert_eq!(parse_size("64MiB"), Some(64 << 20));
        assert_eq!(parse_size("500kB"), Some(500_000));
    }

    #[test]
    fn what_does_not_say_its_unit_is_refused() {
        for text in [
            "",
            "30",
            "s",
            "1.5h",
            "30s1h",
            "1h1h",
            "-5s",
            "5 m",
            "5mm",
            "99999999999999999999s",
            "9999999999999999w",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        for text in ["", "64", "MiB", "1MiB1B", "1TB", "-1B", "99999999999999GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0_u64..1 << 50, bytes in 0_usize..1 << 50) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}
