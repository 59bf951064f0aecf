//! Words for people: numbers and names as they stand in alerts.
//!
//! Names come from agents and are hostile: cut short, without control and direction characters,
//! and unable to close their own quotes. Receivers escape the rest for their medium.

use crate::event::{Target, Timestamp};

/// The longest name shown, in characters.
const NAME_MAX: usize = 64;

/// An agent-written name in backticks, safe to show.
pub(crate) fn quote(name: &str) -> String {
    let mut shown = String::from("`");
    let mut characters = name.chars();
    shown.extend(characters.by_ref().take(NAME_MAX).map(tame));
    if characters.next().is_some() {
        shown.push('…');
    }
    shown.push('`');
    shown
}

fn tame(character: char) -> char {
    let is_direction = matches!(
        character,
        '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    match character {
        '`' => '\'',
        _ if character.is_control() || is_direction => '\u{fffd}',
        _ => character,
    }
}

/// A count of things: `1 call`, `7 calls`.
pub(crate) fn count(number: impl Into<u64>, thing: &str) -> String {
    let number = number.into();
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// A span in the unit that reads best: `3.2 s`, `12 min`, `3.5 h`.
pub(crate) fn span(secs: f64) -> String {
    match secs.max(0.0) {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}

/// The UTC day of a time, with its name: `Monday 2026-01-05`.
pub(crate) fn day(time: Timestamp) -> String {
    let names = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    // The Unix epoch was a Thursday.
    let place = usize::try_from(time.day().rem_euclid(7)).unwrap_or(0);
    let date = time.to_string();
    let date = date.split('T').next().unwrap_or_default();
    format!("{} {date}", names.get(place).copied().unwrap_or_default())
}

/// A target by its kind and short form; by four digits of its hash where it has none.
pub(crate) fn target(target: &Target) -> String {
    let kind = target.kind.as_str();
    match target.shown.as_str() {
        "" => format!("{kind} #{:04x}", target.value & 0xffff),
        shown => format!("{kind} {}", quote(shown)),
    }
}

/// A number of bytes in the unit that reads best: `320 B`, `1.5 kB`, `12 MB`.
pub(crate) fn bytes(bytes: f64) -> String {
    let (value, unit) = match bytes.max(0.0) {
        b if b < 1e3 => (b, "B"),
        b if b < 1e6 => (b / 1e3, "kB"),
        b if b < 1e9 => (b / 1e6, "MB"),
        b => (b / 1e9, "GB"),
    };
    if value < 10.0 && unit != "B" {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// A number rounded to one decimal.
pub(crate) fn tenth(value: f64) -> f64 {
    libm::round(value * 10.0) / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_cannot_leave_its_quotes_or_turn_the_line_around() {
        assert_eq!(quote("a`b\n\u{202e}c"), "`a'b\u{fffd}\u{fffd}c`");
    }

    #[test]
    fn spans_read_in_their_best_unit() {
        assert_eq!([3.21, 61.0, 600.0, 36_000.0].map(span), ["3.2 s", "61 s", "10 min", "10.0 h"]);
    }

    #[test]
    fn a_day_has_its_name() {
        assert_eq!(day(Timestamp::from_secs(1_767_571_200)), "Monday 2026-01-05");
    }

    #[test]
    fn bytes_read_in_their_best_unit() {
        assert_eq!(
            [320.0, 1_540.0, 12e6, 3e12].map(bytes),
            ["320 B", "1.5 kB", "12 MB", "3000 GB"]
        );
    }

    proptest! {
        #[test]
        fn a_shown_name_is_short(name in ".*") {
            prop_assert!(quote(&name).chars().count() <= NAME_MAX + 3);
        }
    }
}
