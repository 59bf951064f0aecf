//! What an alert is about, in a form that a person can accept: a tool, a target, a level, an hour.
//!
//! A subject is known by a hash; the short form beside it is for people, and hostile text like any
//! other. Whoever accepts every subject of an alert would have kept it silent.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::event::TargetKind;

/// The most subjects of one alert; of more, the first ones stay.
pub const SUBJECTS_MAX: usize = 8;

/// The longest short form of a subject, in characters.
pub const SHOWN_MAX: usize = 64;

/// What kind of thing a subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubjectKind {
    /// A tool, its MCP server included.
    Tool,
    /// How much of something one detector finds usual.
    Level,
    /// An hour of the UTC day.
    Hour,
    /// Something that calls are aimed at.
    Target(TargetKind),
}

impl SubjectKind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Tool, Self::Level, Self::Hour]
            .into_iter()
            .chain(TargetKind::ALL.into_iter().map(Self::Target))
    }

    /// The word used in JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Level => "level",
            Self::Hour => "hour",
            Self::Target(kind) => kind.as_str(),
        }
    }

    /// Whether the same subject is the same thing for every agent of a group. A level and an hour
    /// are an agent's own.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        matches!(self, Self::Tool | Self::Target(_))
    }
}

/// The hash that a subject is known by, 16 hexadecimal digits in text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubjectHash(pub u64);

/// A text that is not the hash of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 16 hexadecimal digits, as `hash` of an alert's `subjects`")]
pub struct ParseHashError;

/// One thing that an alert is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// What kind of thing it is.
    pub kind: SubjectKind,
    /// What it is known by.
    pub hash: SubjectHash,
    /// A short form for people; may be empty. Hostile text.
    pub shown: String,
    /// The level seen, in the unit of the alert's `expected`; with kind `level` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<f64>,
}

impl Subject {
    /// A subject without a level; `shown` is cut to [`SHOWN_MAX`] characters.
    #[must_use]
    pub fn new(kind: SubjectKind, hash: u64, shown: &str) -> Self {
        let shown = shown.chars().take(SHOWN_MAX).collect();
        Self { kind, hash: SubjectHash(hash), shown, level: None }
    }

    /// The same subject with a level.
    #[must_use]
    pub fn with_level(self, level: f64) -> Self {
        Self { level: Some(level), ..self }
    }
}

impl FromStr for SubjectKind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::all().find(|kind| kind.as_str() == word).ok_or_else(|| {
            let words: Vec<&str> = Self::all().map(Self::as_str).collect();
            format!("a subject's kind is one of {}", words.join(", "))
        })
    }
}

impl Serialize for SubjectKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SubjectKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Cow::<'de, str>::deserialize(deserializer)?;
        word.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for SubjectKind {
    fn schema_name() -> Cow<'static, str> {
        "SubjectKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<&str> = Self::all().map(Self::as_str).collect();
        json_schema!({
            "type": "string",
            "enum": words,
            "description": "What kind of thing a subject is: a tool, a level, an hour, or a kind of target.",
        })
    }
}

impl fmt::Display for SubjectHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for SubjectHash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let hash = u64::from_str_radix(text, 16).ok().filter(|_| digits);
        hash.map(Self).ok_or(ParseHashError)
    }
}

impl Serialize for SubjectHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SubjectHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for SubjectHash {
    fn schema_name() -> Cow<'static, str> {
        "SubjectHash".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9a-fA-F]{16}$",
            "description": "The hash that a subject is known by.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_is_read_back_from_its_word() {
        for kind in SubjectKind::all() {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        let refused = "colour".parse::<SubjectKind>().unwrap_err();
        assert!(refused.contains("tool") && refused.contains("email"), "{refused}");
    }

    #[test]
    fn only_sixteen_digits_are_a_hash() {
        for text in ["", "1", "+123456789abcdef", "0123456789abcdef0", "0123456789abcdeg"] {
            assert_eq!(text.parse::<SubjectHash>(), Err(ParseHashError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_hash_is_read_back_from_its_text(hash in any::<u64>()) {
            prop_assert_eq!(SubjectHash(hash).to_string().parse(), Ok(SubjectHash(hash)));
        }
    }
}
