//! Bytes to calls: one file a format, and nothing but facts comes out.
//!
//! A decoder never fails as a whole: each thing a record holds becomes one [`Item`]. What cannot be
//! read is an [`Item::Rejected`] with a closed reason, for the dead-letter topic; what is no tool
//! call (a chat span, a tombstone, an accepted permission) is an [`Item::Ignored`].

mod error;

pub use error::{DecodeError, Ignored, Reason};

use crate::event::{Position, Timestamp, ToolCall};

/// One Kafka record or one line of a file, before anything is known of what it holds.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where it was read; its `index` is 0.
    pub position: Position<'a>,
    /// When the broker appended it. No call in it happened later: a stamp from the future is
    /// replaced by this time and flagged.
    pub append_time: Timestamp,
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The `content-type` header, where there is one.
    pub content_type: Option<&'a str>,
    /// The value; `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
}

/// How the records of a topic are written.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Find out from the record itself.
    #[default]
    Auto,
    /// toolwarden's own JSON event, one object a record.
    Native,
    /// OTLP/JSON logs or traces, as the OpenTelemetry Collector's Kafka exporter writes them.
    OtlpJson,
    /// OTLP/protobuf logs or traces, likewise.
    OtlpProto,
}

/// What a decoder is told beside the record.
#[derive(Clone, Debug)]
pub struct Options {
    /// How the records are written.
    pub format: Format,
    /// The tenant of records that name none; without it such records are rejected.
    pub default_tenant: Option<String>,
    /// The largest record read, in bytes; larger ones are rejected unread.
    pub record_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { format: Format::Auto, default_tenant: None, record_bytes_max: 8 << 20 }
    }
}

/// One thing a record holds.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every item is a call; boxing it would allocate"
)]
pub enum Item<'a> {
    /// A tool call.
    Call(ToolCall<'a>),
    /// Something that is no tool call, and is not meant to be one.
    Ignored(Ignored),
    /// Something that should have been a tool call and cannot be read.
    Rejected(DecodeError),
}

/// Reads everything `record` holds and hands it to `sink`, in event-time order within the record.
pub fn decode(record: &Record<'_>, options: &Options, sink: &mut dyn FnMut(Item<'_>)) {
    let Some(payload) = record.payload.filter(|payload| !payload.is_empty()) else {
        return sink(Item::Ignored(Ignored::Tombstone));
    };
    if payload.len() > options.record_bytes_max {
        sink(Item::Rejected(DecodeError::new(Reason::TooLarge, "too large")));
    }
}
