//! What OTLP says, whichever encoding said it.

use std::borrow::Cow;

use crate::decode::digest::{self, Digest, Found, Path};
use crate::decode::targets::{Lens, Scratch};
use crate::decode::{json, number};

/// An attribute's value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Value<'a> {
    /// Nothing was set, which OTLP allows.
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Bool(bool),
    Integer(i64),
    Float(f64),
    Bytes(Vec<u8>),
    List(Vec<Value<'a>>),
    Map(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl Value<'_> {
    /// A scalar as text; none when it is empty.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => (!text.is_empty()).then_some(Cow::Borrowed(text)),
            Self::Bool(value) => Some(Cow::Owned(value.to_string())),
            Self::Integer(value) => Some(Cow::Owned(value.to_string())),
            Self::Float(value) => Some(Cow::Owned(value.to_string())),
            Self::Absent | Self::Bytes(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// A number, which many exporters send as text.
    pub(super) fn count(&self) -> Option<u64> {
        match self {
            Self::Integer(value) => Some(u64::try_from(*value).unwrap_or(0)),
            Self::Float(value) => value.is_finite().then(|| number::to_count(*value)),
            Self::Text(text) => json::count_from_text(text),
            _ => None,
        }
    }

    /// What is found in arguments.
    pub(super) fn arguments(&self, lens: Lens) -> Found {
        match self {
            Self::Absent => Found::default(),
            Self::Text(text) => digest::from_text(text, lens, Scratch::default()),
            value => value.digested(lens).finish(),
        }
    }

    fn digested(&self, lens: Lens) -> Digest {
        let mut digest = Digest::new(lens, Scratch::default());
        self.add_to(&mut digest, Path::ROOT);
        digest
    }

    /// The encoded size in bytes; that of a text is its own length.
    pub(super) fn bytes(&self) -> Option<u64> {
        match self {
            Self::Absent => None,
            Self::Text(text) => u64::try_from(text.len()).ok(),
            value => Some(value.digested(Lens::default()).size()),
        }
    }

    // The encodings bound the depth: protobuf at 100 messages, JSON at 64 brackets.
    fn add_to(&self, digest: &mut Digest, path: Path) {
        match self {
            Self::Absent => digest.null(path),
            Self::Text(text) => digest.text(path, text),
            Self::Bool(value) => digest.bool(path, *value),
            Self::Integer(value) => digest.integer(path, *value),
            Self::Float(value) => digest.float(path, *value),
            Self::Bytes(bytes) => digest.bytes(path, bytes),
            Self::List(values) => {
                let mut count = 0;
                for value in values {
                    value.add_to(digest, path.index(count));
                    count += 1;
                }
                digest.list(path, count);
            }
            Self::Map(members) => {
                let (mut count, mut key_bytes) = (0, 0);
                for (key, value) in members {
                    let member = digest.member(path, key);
                    value.add_to(digest, member);
                    count += 1;
                    key_bytes += u64::try_from(key.len()).unwrap_or(u64::MAX);
                }
                digest.map(path, count, key_bytes);
            }
        }
    }
}

/// Attributes by key. A key that stands twice has its last value.
///
/// Sorted, because the attributes of one span are asked for by every span below it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Attributes<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Attributes<'a> {
    pub(super) fn new(mut pairs: Vec<(Cow<'a, str>, Value<'a>)>) -> Self {
        pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
        Self(pairs)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value<'a>> {
        let after = self.0.partition_point(|(known, _)| &**known <= key);
        let (known, value) = self.0.get(after.checked_sub(1)?)?;
        (known == key).then_some(value)
    }

    pub(super) fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        self.get(key).and_then(Value::text)
    }

    pub(super) fn count(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(Value::count)
    }

    /// The first of `keys` that says anything.
    pub(super) fn first(&self, keys: &[&str]) -> Option<Cow<'_, str>> {
        keys.iter().find_map(|key| self.text(key))
    }
}

/// A span; ids are lower-case hexadecimal, empty where there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Span<'a> {
    /// Which of [`Batch::resources`] it comes from.
    pub(super) resource: usize,
    pub(super) trace_id: Cow<'a, str>,
    pub(super) span_id: Cow<'a, str>,
    pub(super) parent_id: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    /// Whether it is the called side's view of a call.
    pub(super) is_server: bool,
    pub(super) is_error: bool,
    /// Nanoseconds since the epoch; 0 is unknown.
    pub(super) start: u64,
    /// Nanoseconds since the epoch; 0 is unknown.
    pub(super) end: u64,
    pub(super) attributes: Attributes<'a>,
}

/// A log record.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Log<'a> {
    /// Which of [`Batch::resources`] it comes from.
    pub(super) resource: usize,
    pub(super) scope: Cow<'a, str>,
    /// Nanoseconds since the epoch; 0 is unknown.
    pub(super) time: u64,
    /// Nanoseconds since the epoch; 0 is unknown.
    pub(super) observed: u64,
    pub(super) event_name: Cow<'a, str>,
    pub(super) body: Value<'a>,
    pub(super) attributes: Attributes<'a>,
}

/// Everything one export request holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Batch<'a> {
    pub(super) resources: Vec<Attributes<'a>>,
    pub(super) spans: Vec<Span<'a>>,
    pub(super) logs: Vec<Log<'a>>,
}

impl Batch<'_> {
    /// The attributes of a resource; the index comes from a span or log of this batch.
    pub(super) fn resource(&self, index: usize) -> Option<&Attributes<'_>> {
        self.resources.get(index)
    }
}
