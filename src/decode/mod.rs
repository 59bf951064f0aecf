//! Bytes to calls: one file a format, and nothing but facts comes out.
//!
//! A decoder never fails as a whole: each thing a record holds becomes one [`Item`]. What cannot be
//! read is an [`Item::Rejected`] with a closed reason, for the dead-letter topic; what is no tool
//! call (a chat span, a tombstone, an accepted permission) is an [`Item::Ignored`].

mod calls;
pub mod canonical;
mod cloudevents;
mod digest;
mod documents;
mod error;
mod identifier;
mod json;
mod native;
mod number;
mod operation;
mod otlp;
mod sniff;
mod stamp;
mod targets;

pub use calls::ITEMS_MAX;
pub use error::{DecodeError, Ignored, Reason};
pub use identifier::IDENTIFIER_BYTES_MAX;
pub use json::DEPTH_MAX;
pub use operation::operation_of;
pub use targets::{HashKey, Scratch};

use crate::decode::calls::Calls;
use crate::decode::documents::Reading;

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
    /// CloudEvents in JSON, around any of the others.
    #[serde(rename = "cloudevents")]
    CloudEvents,
}

impl Format {
    /// Every format, in the order of the documentation.
    pub const ALL: [Self; 5] =
        [Self::Auto, Self::Native, Self::OtlpJson, Self::OtlpProto, Self::CloudEvents];
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
    /// The key of the hashes that targets are known by.
    pub hash_key: HashKey,
    /// Whether targets have short forms for people.
    pub show_targets: bool,
}

impl Options {
    /// How targets are made out.
    const fn lens(&self) -> targets::Lens {
        targets::Lens { key: self.hash_key, shows: self.show_targets }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            format: Format::Auto,
            default_tenant: None,
            record_bytes_max: 8 << 20,
            hash_key: HashKey::BUILT_IN,
            show_targets: true,
        }
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

/// Reads everything `record` holds and hands it to `sink`.
///
/// Calls come in event-time order, those of the same time in the order of the record, and are
/// counted from 0 in [`Position::index`]. What is ignored or rejected comes as it is met.
pub fn decode(record: &Record<'_>, options: &Options, sink: &mut dyn FnMut(Item<'_>)) {
    decode_with(&mut Scratch::default(), record, options, sink);
}

/// The same, for one record after the other: what one needed is used again by the next.
pub fn decode_with(
    scratch: &mut Scratch,
    record: &Record<'_>,
    options: &Options,
    sink: &mut dyn FnMut(Item<'_>),
) {
    let mut calls = Calls::new(record, options, (scratch, sink));
    let Some(payload) = record.payload.filter(|payload| !payload.is_empty()) else {
        return calls.ignore(Ignored::Tombstone);
    };
    if payload.len() > options.record_bytes_max {
        let detail = format!(
            "{} bytes; at most {} are read (`record_bytes_max`)",
            payload.len(),
            options.record_bytes_max
        );
        return calls.reject(DecodeError::new(Reason::TooLarge, detail));
    }
    let format = match options.format {
        Format::Auto => format_of(record.content_type.unwrap_or_default()),
        told => told,
    };
    match format {
        Format::Auto => sniff::read_as(payload, Reading::new(Format::Auto, false), &mut calls),
        Format::OtlpProto => {
            if let Err(error) = otlp::read_proto(payload, &mut calls) {
                calls.reject(error);
            }
        }
        Format::Native | Format::OtlpJson | Format::CloudEvents => {
            documents::read(payload, Reading::new(format, false), &mut calls);
        }
    }
    calls.flush();
}

/// What a `content-type` header says of the value, where it says more than the value itself.
fn format_of(content_type: &str) -> Format {
    if cloudevents::is_structured(content_type) {
        Format::CloudEvents
    } else if content_type.eq_ignore_ascii_case("application/x-protobuf") {
        Format::OtlpProto
    } else {
        Format::Auto
    }
}
