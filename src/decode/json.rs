//! What every JSON format shares: bounds checked before parsing, errors with a place, and scalars
//! that may come with the wrong type. Knows no field of any format.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::decode::{DecodeError, Reason, number};

/// The deepest nesting of objects and lists accepted.
pub const DEPTH_MAX: usize = 64;

/// The most objects and lists accepted in one document: each costs far more memory read than sent.
const CONTAINERS_MAX: usize = 500_000;

/// The longest excerpt of a parser's message that is repeated.
const MESSAGE_CHARS_MAX: usize = 96;

/// A rejection of one document, and how far into the text it was noticed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: DecodeError,
    pub(super) offset: usize,
}

impl Failure {
    pub(super) fn new(reason: Reason, detail: impl Into<String>, offset: usize) -> Self {
        Self { error: DecodeError::new(reason, detail), offset }
    }

    /// A parser's error in `text`, told without repeating the text.
    pub(super) fn from_serde(error: &serde_json::Error, text: &str) -> Self {
        let offset = offset_of(text, error.line(), error.column());
        let message = error.to_string();
        // The parser appends its own position, which would be that within a line of the record.
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(head, _)| head);
        let reason = if message.starts_with("duplicate field") {
            Reason::DuplicateField
        } else {
            Reason::Parse
        };
        let shown: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
        let detail = format!(
            "{} at line {} column {} (byte {offset})",
            shown.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'"),
            error.line(),
            error.column(),
        );
        Self { error: DecodeError::new(reason, detail), offset }
    }
}

/// The byte a line and a column, both counted from 1, stand for.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column.saturating_sub(1)).min(text.len())
}

/// Whether `text` has too few brackets to break a bound, so that [`scan`] can be left out.
pub(super) fn is_shallow(text: &str) -> bool {
    // Sums of at most 128 fit into a byte each, which lets the compiler count many bytes at once.
    // With bit 5 set, both `[` and `{` are `{`.
    let brackets =
        |chunk: &[u8]| chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    text.as_bytes().chunks(128).map(|chunk| usize::from(brackets(chunk))).sum::<usize>()
        <= DEPTH_MAX
}

/// Checks the first document of `text` against the bounds of depth and size, before it is parsed.
///
/// What is not well formed passes: the parser says it better.
pub(super) fn scan(text: &str) -> Result<(), Failure> {
    let (mut depth, mut containers) = (0_usize, 0_usize);
    let (mut in_text, mut escaped) = (false, false);
    for (offset, byte) in text.bytes().enumerate() {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                // Not allowed within a text: the parser stops here, and so does the scan.
                b'\n' => return Ok(()),
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => {
                depth += 1;
                containers += 1;
            }
            b'}' | b']' if depth <= 1 => return Ok(()),
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if depth > DEPTH_MAX {
            let detail = format!("nested deeper than {DEPTH_MAX} levels at byte {offset}");
            return Err(Failure::new(Reason::TooDeep, detail, offset));
        }
        if containers > CONTAINERS_MAX {
            let detail = format!("more than {CONTAINERS_MAX} objects and lists in one document");
            return Err(Failure::new(Reason::TooLarge, detail, offset));
        }
    }
    Ok(())
}

/// A text; `null` is none, and a number or a boolean is read as it would be written.
#[derive(Debug, Default)]
pub(super) struct Text<'a> {
    pub(super) value: Option<Cow<'a, str>>,
    pub(super) coerced: bool,
}

impl Text<'_> {
    fn coerced(value: &impl ToString) -> Self {
        Self { value: Some(Cow::Owned(value.to_string())), coerced: true }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text { value: Some(Cow::Borrowed(text)), coerced: false })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text { value: Some(Cow::Owned(text.to_owned())), coerced: false })
    }

    fn visit_unit<E: de::Error>(self) -> Result<Text<'de>, E> {
        Ok(Text::default())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Text<'de>, E> {
        Ok(Text::coerced(&value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Text<'de>, E> {
        Ok(Text::coerced(&value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Text<'de>, E> {
        Ok(Text::coerced(&value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Text<'de>, E> {
        Ok(Text::coerced(&value))
    }
}

/// A number of bytes or milliseconds; one below 0 counts as 0.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) value: Option<u64>,
    pub(super) coerced: bool,
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Count, E> {
        Ok(Count { value: Some(value), coerced: false })
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Count, E> {
        Ok(Count { value: Some(u64::try_from(value).unwrap_or(0)), coerced: value < 0 })
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Count, E> {
        Ok(Count { value: Some(number::to_count(value)), coerced: value < 0.0 })
    }

    fn visit_unit<E: de::Error>(self) -> Result<Count, E> {
        Ok(Count::default())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Count, E> {
        let value = count_from_text(text)
            .ok_or_else(|| E::custom("a text stands where a number was expected"))?;
        Ok(Count { value: Some(value), coerced: true })
    }
}

/// A count in decimal digits, as several exporters write every number.
pub(super) fn count_from_text(text: &str) -> Option<u64> {
    if let Ok(value) = text.parse() {
        return Some(value);
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(number::to_count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_see_brackets_and_not_what_is_quoted() {
        let check = |text: &str, expected: Option<Reason>| {
            let reason = scan(text).err().map(|failure| failure.error.reason);
            assert_eq!(reason, expected, "{}", text.len());
        };
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        check(&nested(64), None);
        check(&nested(65), Some(Reason::TooDeep));
        check(&"[".repeat(10_000), Some(Reason::TooDeep));
        check(&format!("\"{}\"", "[".repeat(10_000)), None);
        check(&format!("\"\\\"{}\"", "[".repeat(10_000)), None);
        check(&format!("[{}{{}}]", "{},".repeat(499_999)), Some(Reason::TooLarge));
        check(&format!("{}\n{}", nested(3), nested(70)), None);
    }

    #[test]
    fn an_error_names_its_place_and_hides_long_text() {
        let text = format!("{{\n  \"a\": \"{}\"}}", "s".repeat(500));
        let error = serde_json::from_str::<std::collections::BTreeMap<String, u8>>(&text);
        let failure = Failure::from_serde(&error.unwrap_err(), &text);
        assert_eq!(failure.error.reason, Reason::Parse);
        assert!(failure.error.detail.contains("line 2"), "{}", failure.error.detail);
        assert!(failure.error.detail.len() < 200, "{}", failure.error.detail);
    }

    #[test]
    fn numbers_are_read_however_they_are_written() {
        let check = |json: &str, value: Option<u64>, coerced: bool| {
            let count: Count = serde_json::from_str(json).unwrap();
            assert_eq!((count.value, count.coerced), (value, coerced), "{json}");
        };
        check("12", Some(12), false);
        check("12.4", Some(12), false);
        check("-12", Some(0), true);
        check("\"12\"", Some(12), true);
        check("\"-3\"", Some(0), true);
        check("null", None, false);
        for json in ["\"inf\"", "\"1e999\"", "\"fast\"", "[]", "true", "1e999"] {
            assert!(serde_json::from_str::<Count>(json).is_err(), "{json}");
        }
    }
}
