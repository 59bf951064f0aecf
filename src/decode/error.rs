//! Why something in a record is not a call: closed sets, so that each can be a metric label.

/// Why a record, or a part of one, could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Not the format it should be, or broken inside.
    Parse,
    /// Not valid UTF-8.
    Utf8,
    /// Larger than the configured bound.
    TooLarge,
    /// Nested deeper than the bound.
    TooDeep,
    /// A known field stands twice: two parsers could read two different calls.
    DuplicateField,
    /// No tenant in the record and none configured.
    MissingTenant,
    /// No agent in the record.
    MissingAgent,
    /// No tool in the record.
    MissingTool,
    /// No time in the record, or none that can be read.
    BadTime,
    /// An identifier is empty, too long, or holds control characters.
    BadIdentifier,
    /// None of the formats known.
    UnknownFormat,
    /// A canonical call whose hashes were made with another key.
    HashKey,
}

impl Reason {
    /// Every reason, for the metrics that exist before the first failure.
    pub const ALL: [Self; 12] = [
        Self::Parse,
        Self::Utf8,
        Self::TooLarge,
        Self::TooDeep,
        Self::DuplicateField,
        Self::MissingTenant,
        Self::MissingAgent,
        Self::MissingTool,
        Self::BadTime,
        Self::BadIdentifier,
        Self::UnknownFormat,
        Self::HashKey,
    ];

    /// The word used in metrics and dead letters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Utf8 => "utf8",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::DuplicateField => "duplicate_field",
            Self::MissingTenant => "missing_tenant",
            Self::MissingAgent => "missing_agent",
            Self::MissingTool => "missing_tool",
            Self::BadTime => "bad_time",
            Self::BadIdentifier => "bad_identifier",
            Self::UnknownFormat => "unknown_format",
            Self::HashKey => "hash_key",
        }
    }
}

/// A thing that should have been a call and is not, with words for the person who mends the source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.as_str())]
pub struct DecodeError {
    /// The closed reason.
    pub reason: Reason,
    /// What was expected and where; never the record's own text beyond a short, escaped excerpt.
    pub detail: String,
}

impl DecodeError {
    /// A rejection.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// What a record may hold that is no call and no mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ignored {
    /// A record without a value, or an empty one.
    Tombstone,
    /// A span or event that is not about a tool call.
    NotAToolCall,
    /// A permission that was given: the call's result follows in a record of its own.
    Decision,
}

impl Ignored {
    /// Every kind, for the metrics that exist before the first one.
    pub const ALL: [Self; 3] = [Self::Tombstone, Self::NotAToolCall, Self::Decision];

    /// The word used in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tombstone => "tombstone",
            Self::NotAToolCall => "not_a_tool_call",
            Self::Decision => "decision",
        }
    }
}
