//! A digest of arguments, made in one pass while they are read; nothing of them is kept.
//!
//! Each scalar adds `hash(path, value)` to a sum, so the order of keys does not matter and no tree
//! is built. The size counted is that of the compact encoding, so white space does not matter
//! either. It tells "the same call again"; it is no proof against someone who seeks collisions.

use std::fmt::{self, Write as _};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use siphasher::sip::SipHasher13;

use crate::decode::{json, number};
use crate::event::Arguments;

/// What a hashed piece is, so that `"1"`, `1`, `[1]` and `{"0":1}` all differ.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Key = 1,
    Index,
    Null,
    Bool,
    Integer,
    Float,
    Text,
    Bytes,
    List,
    Map,
    Tool,
    Raw,
}

/// Where in the arguments a value stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path(u64);

impl Path {
    pub(super) const ROOT: Self = Self(0);

    /// The place of the member `key`.
    pub(super) fn key(self, key: &str) -> Self {
        Self(hash(self.0, Kind::Key, key.as_bytes()))
    }

    /// The place of the element `index`.
    pub(super) fn index(self, index: u64) -> Self {
        Self(hash(self.0, Kind::Index, &index.to_le_bytes()))
    }
}

/// Arguments on the way to their digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    sum: u64,
    bytes: u64,
}

impl Digest {
    pub(super) fn null(&mut self, path: Path) {
        self.add(path, Kind::Null, &[], 4);
    }

    pub(super) fn bool(&mut self, path: Path, value: bool) {
        self.add(path, Kind::Bool, &[u8::from(value)], if value { 4 } else { 5 });
    }

    pub(super) fn integer(&mut self, path: Path, value: i64) {
        let digits = value.unsigned_abs().checked_ilog10().map_or(1, |log| u64::from(log) + 1);
        let sign = u64::from(value < 0);
        self.add(path, Kind::Integer, &value.to_le_bytes(), digits + sign);
    }

    /// A float; one that is an integer counts as that integer.
    pub(super) fn float(&mut self, path: Path, value: f64) {
        if let Some(integer) = number::exact_integer(value) {
            return self.integer(path, integer);
        }
        let mut width = Width(0);
        // Writing to a counter cannot fail, and a wrong size would harm nothing.
        write!(width, "{value:e}").unwrap_or_default();
        self.add(path, Kind::Float, &value.to_bits().to_le_bytes(), width.0);
    }

    pub(super) fn text(&mut self, path: Path, value: &str) {
        self.add(path, Kind::Text, value.as_bytes(), 2 + length(value.len()));
    }

    /// Bytes that are no text; their size is that of their base64.
    pub(super) fn bytes(&mut self, path: Path, value: &[u8]) {
        self.add(path, Kind::Bytes, value, 2 + length(value.len().div_ceil(3) * 4));
    }

    /// A list of `count` elements, whose values were added apart.
    pub(super) fn list(&mut self, path: Path, count: u64) {
        self.add(path, Kind::List, &[], 2 + count.saturating_sub(1));
    }

    /// A map of `count` members whose keys have `key_bytes` together, values added apart.
    pub(super) fn map(&mut self, path: Path, count: u64, key_bytes: u64) {
        self.add(path, Kind::Map, &[], 2 + count.saturating_sub(1) + 3 * count + key_bytes);
    }

    /// The digest, before the tool's name is mixed in.
    pub(super) const fn arguments(self) -> Arguments {
        Arguments { digest: self.sum, bytes: self.bytes, shape: 0 }
    }

    fn add(&mut self, path: Path, kind: Kind, value: &[u8], bytes: u64) {
        self.sum = self.sum.wrapping_add(hash(path.0, kind, value));
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Arguments that are no JSON, by their bytes alone.
pub(super) fn raw(text: &str) -> Arguments {
    let digest = hash(Path::ROOT.0, Kind::Raw, text.as_bytes());
    Arguments { digest, bytes: length(text.len()), shape: 0 }
}

/// Arguments a record gives as text: parsed once, and `false` when they are no JSON.
pub(super) fn from_text(text: &str) -> (Arguments, bool) {
    if text.is_empty() {
        return (Arguments::default(), true);
    }
    if !json::is_shallow(text) && json::scan(text).is_err() {
        return (raw(text), false);
    }
    let mut digest = Digest::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = Value { digest: &mut digest, path: Path::ROOT };
    match seed.deserialize(&mut deserializer).and_then(|()| deserializer.end()) {
        Ok(()) => (digest.arguments(), true),
        Err(_) => (raw(text), false),
    }
}

/// The digest of a call: its arguments with its tool, and 0 only for "no arguments".
pub(super) fn with_tool(arguments: Arguments, tool_name: &str) -> Arguments {
    if arguments == Arguments::default() {
        return arguments;
    }
    let digest = hash(arguments.digest, Kind::Tool, tool_name.as_bytes()).max(1);
    Arguments { digest, ..arguments }
}

#[expect(clippy::as_conversions, reason = "the discriminant of a fieldless enum")]
fn hash(path: u64, kind: Kind, value: &[u8]) -> u64 {
    SipHasher13::new_with_keys(path, kind as u64).hash(value)
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Counts what is written to it.
struct Width(u64);

impl fmt::Write for Width {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += length(text.len());
        Ok(())
    }
}

/// Reads one JSON value into a digest.
pub(super) struct Value<'d> {
    pub(super) digest: &'d mut Digest,
    pub(super) path: Path,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.digest.null(self.path);
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.digest.bool(self.path, value);
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.digest.integer(self.path, value);
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.digest.integer(self.path, value),
            Err(_) => self.digest.add(self.path, Kind::Integer, &value.to_be_bytes(), 20),
        }
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.digest.float(self.path, value);
        Ok(())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.digest.text(self.path, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { digest, path } = self;
        let mut count = 0;
        while seq.next_element_seed(Value { digest, path: path.index(count) })?.is_some() {
            count += 1;
        }
        digest.list(path, count);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { digest, path } = self;
        let (mut count, mut key_bytes) = (0, 0);
        while let Some((member, bytes)) = map.next_key_seed(Key(path))? {
            map.next_value_seed(Value { digest, path: member })?;
            count += 1;
            key_bytes += bytes;
        }
        digest.map(path, count, key_bytes);
        Ok(())
    }
}

/// Reads a key into the path of its member, without keeping it.
struct Key(Path);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = (Path, u64);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = (Path, u64);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok((self.0.key(key), length(key.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_same_call_has_the_same_digest() {
        let check = |left: &str, right: &str, same: bool| {
            let (left_arguments, right_arguments) = (from_text(left).0, from_text(right).0);
            assert_eq!(left_arguments.digest == right_arguments.digest, same, "{left} {right}");
        };
        check(r#"{"a":1,"b":[true,null]}"#, r#"{ "b" : [true, null], "a": 1.0 }"#, true);
        check(r#"{"a":"\u0041"}"#, r#"{"a":"A"}"#, true);
        check("-0.0", "0", true);
        check("1e2", "100", true);
        check("18446744073709551615", "18446744073709551614", false);
        check("[1,2]", "[2,1]", false);
        check(r#"{"a":1}"#, r#"{"a":"1"}"#, false);
        check(r#"{"a":{"b":1}}"#, r#"{"a":1,"b":1}"#, false);
        check(r#"{"0":1}"#, "[1]", false);
        check("{}", "[]", false);
        check("null", "false", false);
        check("0.1", "0.2", false);
    }

    #[test]
    fn the_size_is_that_of_the_compact_encoding() {
        for text in [r#"{"a":1,"bc":[true,null,-12],"d":{}}"#, "[]", "\"text\"", "0", "-1.5e300"] {
            assert_eq!(from_text(text).0.bytes, length(text.len()), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_json_is_digested_raw_and_said_to_be_bad() {
        let deep = "[".repeat(10_000);
        for text in ["{\"a\": \"cut sho", "1e999", "NaN", "{} {}", &deep] {
            assert_eq!(from_text(text), (raw(text), false), "{}", text.len());
        }
    }

    #[test]
    fn the_tool_is_part_of_the_digest_and_no_arguments_are_zero() {
        let (arguments, _) = from_text("{}");
        assert_ne!(with_tool(arguments, "a"), with_tool(arguments, "b"));
        assert_eq!(with_tool(Arguments::default(), "a").digest, 0);
    }
}
