//! A digest of arguments, made in one pass while they are read; nothing of them is kept.
//!
//! Each scalar adds `hash(path, value)` to a sum, so the order of keys does not matter and no tree
//! is built. The size counted is that of the compact encoding, so white space does not matter
//! either. It tells "the same call again"; it is no proof against someone who seeks collisions.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::decode::targets::{ELEMENTS_MAX, Finder, Lens, Place, Scratch, TEXT_BYTES_MAX};
use crate::decode::{json, number};
use crate::event::sip13;
use crate::event::{Arguments, Quality, Target, ToolCall};

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
pub(super) struct Path {
    /// A hash of the keys and places in lists that lead to it.
    hash: u64,
    place: Place,
    /// It stands in an element of a list that is not the first one.
    is_further: bool,
}

impl Path {
    pub(super) const ROOT: Self = Self { hash: 0, place: Place::ROOT, is_further: false };

    /// The place of the element `index`.
    pub(super) fn index(self, index: u64) -> Self {
        let place = if index < ELEMENTS_MAX { self.place } else { self.place.dark() };
        let hash = hash(self.hash, Kind::Index, &index.to_le_bytes());
        Self { hash, place, is_further: self.is_further || index > 0 }
    }
}

/// What reading arguments gives.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) arguments: Arguments,
    targets: Vec<Target>,
    words: Vec<u32>,
    quality: Quality,
    scratch: Scratch,
}

impl Found {
    /// There were no arguments.
    pub(super) fn nothing(scratch: Scratch) -> Self {
        Self { scratch, ..Self::default() }
    }

    /// Gives it all to a call. Returns what is left to be used again.
    pub(super) fn fill(self, call: &mut ToolCall<'_>) -> Scratch {
        call.arguments = self.arguments;
        call.targets = Cow::Owned(self.targets);
        call.words = Cow::Owned(self.words);
        call.quality.insert(self.quality);
        self.scratch
    }
}

/// Arguments on the way to their digest.
#[derive(Debug)]
pub(super) struct Digest {
    sum: u64,
    bytes: u64,
    shape: u64,
    finder: Finder,
    /// It reads JSON that stood in a text.
    is_inside: bool,
}

impl Digest {
    pub(super) fn new(lens: Lens, scratch: Scratch) -> Self {
        Self { sum: 0, bytes: 0, shape: 0, finder: Finder::new(lens, scratch), is_inside: false }
    }

    /// The place of the member `key` of what stands at `path`.
    #[inline]
    pub(super) fn member(&mut self, path: Path, key: &str) -> Path {
        let place = self.finder.member(path.place, key);
        let is_same = path.hash == path.place.keys;
        let hash = if is_same { place.keys } else { hash_of_key(path.hash, key) };
        Path { hash, place, ..path }
    }

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
        if let Ok(value) = u64::try_from(value) {
            self.finder.integer(path.place, value);
        }
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
        if !self.look_into(path, value) {
            self.finder.text(path.place, value);
        }
    }

    /// Looks for targets in JSON that stands in a text, as it does where one tool carries another
    /// one's arguments; `false` when the text is no JSON. Once only: JSON in a text in such JSON is
    /// a text. The digest is that of the text.
    fn look_into(&mut self, path: Path, text: &str) -> bool {
        let is_candidate = matches!(text.trim_start().bytes().next(), Some(b'{' | b'['));
        if self.is_inside || !is_candidate || path.place.is_dark() || text.len() > TEXT_BYTES_MAX {
            return false;
        }
        if serde_json::from_str::<IgnoredAny>(text).is_err() {
            return false;
        }
        let outside = (self.sum, self.bytes, self.shape);
        self.is_inside = true;
        let seed = Value { digest: self, path: Path { hash: path.place.keys, ..path } };
        let read = seed.deserialize(&mut serde_json::Deserializer::from_str(text));
        self.is_inside = false;
        (self.sum, self.bytes, self.shape) = outside;
        read.is_ok()
    }

    /// Bytes that are no text; their size is that of their base64.
    pub(super) fn bytes(&mut self, path: Path, value: &[u8]) {
        self.add(path, Kind::Bytes, value, 2 + length(value.len().div_ceil(3) * 4));
    }

    /// A list of `count` elements, whose values were added apart.
    pub(super) fn list(&mut self, path: Path, count: u64) {
        self.add(path, Kind::List, &[], 2 + count.saturating_sub(1));
        if count > ELEMENTS_MAX && !path.place.is_dark() {
            self.finder.overflow();
        }
    }

    /// A map of `count` members whose keys have `key_bytes` together, values added apart.
    pub(super) fn map(&mut self, path: Path, count: u64, key_bytes: u64) {
        self.add(path, Kind::Map, &[], 2 + count.saturating_sub(1) + 3 * count + key_bytes);
    }

    /// The encoded size in bytes, so far.
    pub(super) const fn size(&self) -> u64 {
        self.bytes
    }

    /// Everything found; the digest is that before the tool's name is mixed in.
    pub(super) fn finish(self) -> Found {
        let shape = u32::try_from(self.shape >> 32).unwrap_or_default();
        let arguments = Arguments { digest: self.sum, bytes: self.bytes, shape };
        let ((targets, words, is_over), scratch) = self.finder.finish();
        let mut quality = Quality::default();
        if is_over {
            quality.insert(Quality::MANY_TARGETS);
        }
        Found { arguments, targets, words, quality, scratch }
    }

    fn add(&mut self, path: Path, kind: Kind, value: &[u8], bytes: u64) {
        self.sum = self.sum.wrapping_add(hash(path.hash, kind, value));
        self.bytes = self.bytes.saturating_add(bytes);
        // Of a list the first element stands for all, so that its length is no part of the shape.
        if !path.is_further {
            let kind = if matches!(kind, Kind::Float) { Kind::Integer } else { kind };
            self.shape = self.shape.wrapping_add(mix(path.place.keys, kind));
        }
    }
}

/// Arguments that are no JSON, by their bytes alone.
pub(super) fn raw(text: &str, lens: Lens, scratch: Scratch) -> Found {
    let mut finder = Finder::new(lens, scratch);
    finder.broken(text);
    let ((targets, words, is_over), scratch) = finder.finish();
    let mut quality = Quality::BAD_ARGUMENTS;
    if is_over {
        quality.insert(Quality::MANY_TARGETS);
    }
    let digest = hash(0, Kind::Raw, text.as_bytes());
    let arguments = Arguments { digest, bytes: length(text.len()), shape: 0 };
    Found { arguments, targets, words, quality, scratch }
}

/// Arguments a record gives as text, parsed once.
pub(super) fn from_text(text: &str, lens: Lens, scratch: Scratch) -> Found {
    if text.is_empty() {
        return Found::nothing(scratch);
    }
    if !json::is_shallow(text) && json::scan(text).is_err() {
        return raw(text, lens, scratch);
    }
    let mut digest = Digest::new(lens, scratch);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = Value { digest: &mut digest, path: Path::ROOT };
    match seed.deserialize(&mut deserializer).and_then(|()| deserializer.end()) {
        Ok(()) => digest.finish(),
        Err(_) => raw(text, lens, digest.finish().scratch),
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

/// The hash of `key` with the keys, and perhaps places in lists, `above` it.
pub(super) fn hash_of_key(above: u64, key: &str) -> u64 {
    hash(above, Kind::Key, key.as_bytes())
}

#[expect(clippy::as_conversions, reason = "the discriminant of a fieldless enum")]
fn hash(path: u64, kind: Kind, value: &[u8]) -> u64 {
    sip13((path, kind as u64), value)
}

/// Spreads a kind and the hash of a place over 64 bits: the multiplier is that of splitmix64.
#[expect(clippy::as_conversions, reason = "the discriminant of a fieldless enum")]
const fn mix(keys: u64, kind: Kind) -> u64 {
    let mixed = (keys ^ (kind as u64) << 56).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ mixed >> 31).wrapping_mul(0x94d0_49bb_1331_11eb)
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
        while let Some((member, bytes)) = map.next_key_seed(Key { digest, path })? {
            map.next_value_seed(Value { digest, path: member })?;
            count += 1;
            key_bytes += bytes;
        }
        digest.map(path, count, key_bytes);
        Ok(())
    }
}

/// Reads a key into the path of its member, without keeping it.
struct Key<'d> {
    digest: &'d mut Digest,
    path: Path,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = (Path, u64);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = (Path, u64);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok((self.digest.member(self.path, key), length(key.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TargetKind;

    fn read(text: &str) -> Found {
        from_text(text, Lens::default(), Scratch::default())
    }

    #[test]
    fn the_shape_is_that_of_keys_and_types() {
        let check = |left: &str, right: &str, same: bool| {
            let (left_shape, right_shape) =
                (read(left).arguments.shape, read(right).arguments.shape);
            assert_eq!(left_shape == right_shape, same, "{left} {right}");
        };
        check(r#"{"a":1,"b":["x"]}"#, r#"{"b":["y","z"],"a":2.5}"#, true);
        check(r#"{"a":1}"#, r#"{"a":"1"}"#, false);
        check(r#"{"a":1}"#, r#"{"b":1}"#, false);
        check(r#"{"a":{"b":1}}"#, r#"{"a":1,"b":1}"#, false);
        assert_eq!(read("").arguments.shape, 0);
    }

    #[test]
    fn only_what_is_the_same_call_has_the_same_digest() {
        let check = |left: &str, right: &str, same: bool| {
            let (left_arguments, right_arguments) = (read(left).arguments, read(right).arguments);
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
            assert_eq!(read(text).arguments.bytes, length(text.len()), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_json_is_digested_raw_and_said_to_be_bad() {
        let deep = "[".repeat(10_000);
        for text in ["{\"a\": \"cut sho", "1e999", "NaN", "{} {}", &deep] {
            let found = read(text);
            assert!(found.quality.contains(Quality::BAD_ARGUMENTS));
            let arguments = raw(text, Lens::default(), Scratch::default()).arguments;
            assert_eq!(found.arguments, arguments, "{}", text.len());
        }
    }

    #[test]
    fn json_in_a_text_is_looked_into_once_by_its_own_keys() {
        let kinds = |text: &str| -> Vec<(TargetKind, bool)> {
            let targets = read(text).targets;
            targets.iter().map(|target| (target.kind, target.is_whole)).collect()
        };
        let inner = r#"{\"password\":\"hunter2!\",\"to\":[\"ann@northwind.net\"]}"#;
        let carried = kinds(&format!(r#"{{"tool":"send","payload":"{inner}"}}"#));
        assert!(carried.contains(&(TargetKind::Secret, true)), "{carried:?}");
        assert!(carried.contains(&(TargetKind::Email, true)), "{carried:?}");
        // A second wrapping is a text like any other.
        let twice = serde_json::json!({"payload": {"again": format!("{{\"x\":{:?}}}", "{\"password\":\"hunter2!\"}")}});
        let found = kinds(&twice.to_string());
        assert!(!found.iter().any(|(kind, _)| *kind == TargetKind::Secret), "{found:?}");
        // What only looks like JSON is a text, and the digest is that of the text in both cases.
        assert!(
            kinds(r#"{"note":"{see ann@northwind.net}"}"#).contains(&(TargetKind::Email, false))
        );
        assert_eq!(read(r#"{"a":"{}"}"#).arguments.bytes, 10);
    }

    #[test]
    fn accounts_and_telephone_numbers_in_prose_are_those_that_stand_alone() {
        let of = |text: &str, kind: TargetKind| -> Vec<(u64, bool)> {
            let targets = read(&serde_json::json!({ "body": text }).to_string()).targets;
            let of_kind = targets.iter().filter(|target| target.kind == kind);
            of_kind.map(|target| (target.value, target.is_whole)).collect()
        };
        let account = |text: &str| of(text, TargetKind::Account);
        let [(value, true)] = account("DE89370400440532013000")[..] else { panic!("no account") };
        assert_eq!(account("DE89 3704 0044 0532 0130 00"), [(value, true)]);
        let mail = "Hello Ann,\nplease pay 70 EUR to DE89 3704 0044 0532 0130 00 today.\nKim";
        assert_eq!(account(mail), [(value, false)]);
        assert_eq!(account(&mail.replace("DE89", "DE88")), []);
        let phone = |text: &str| of(text, TargetKind::Phone);
        let [(value, true)] = phone("+49 170 1234567")[..] else { panic!("no number") };
        assert_eq!(phone("ring +49 170 1234567 or write to me"), [(value, false)]);
        assert_eq!(phone("the count rose by +1500000 in 212 days"), []);
    }

    #[test]
    fn the_tool_is_part_of_the_digest_and_no_arguments_are_zero() {
        let arguments = read("{}").arguments;
        assert_ne!(with_tool(arguments, "a"), with_tool(arguments, "b"));
        assert_eq!(with_tool(Arguments::default(), "a").digest, 0);
    }
}
