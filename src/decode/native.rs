//! toolwarden's own JSON event, read in one pass that borrows. Also sees, on the way, that a
//! document is not a native event but another format.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::decode::digest::{self, Digest, Found, Path};
use crate::decode::json::{Count, Text};
use crate::decode::operation;
use crate::decode::stamp::Stamp;
use crate::decode::targets::{Lens, Scratch};
use crate::event::{Quality, Status, ToolCall};

/// A document as far as the native format knows it.
#[derive(Debug, Default)]
pub(super) struct Document<'a> {
    /// The call, not yet checked.
    pub(super) call: ToolCall<'a>,
    /// Its time, not yet bounded.
    pub(super) stamp: Stamp,
    /// The sign of another format, the last one seen.
    pub(super) foreign: Option<Foreign>,
    /// How targets are made out.
    lens: Lens,
    /// What reading its arguments uses.
    scratch: Scratch,
    seen: u32,
}

impl Document<'_> {
    /// Whether anything in it belongs to the native format.
    pub(super) const fn is_native(&self) -> bool {
        self.seen != 0
    }

    /// Whether it names a tool, which no other format does under the native name.
    pub(super) const fn has_tool(&self) -> bool {
        self.seen & Field::ToolName.bit() != 0
    }
}

/// Another format that a key at the top of a document tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// OTLP/JSON.
    Otlp,
    /// A CloudEvent.
    CloudEvent,
    /// A log shipper's envelope around a line.
    Message,
    /// A format that is known and not read.
    Unsupported(&'static str),
}

#[derive(Clone, Copy, Debug)]
enum Field {
    Ts,
    TenantId,
    AgentId,
    AgentVersion,
    AgentGroup,
    AgentType,
    SessionId,
    CallId,
    ToolName,
    ToolServer,
    Operation,
    Arguments,
    Status,
    DurationMs,
    BytesIn,
    BytesOut,
    UserId,
    ParentAgentId,
}

impl Field {
    #[expect(clippy::as_conversions, reason = "the discriminant of a fieldless enum")]
    const fn bit(self) -> u32 {
        1 << (self as u32)
    }
}

/// A key at the top of a document.
enum Key {
    Native(Field, &'static str),
    Foreign(Foreign),
    Unknown,
}

impl Key {
    fn of(key: &str) -> Self {
        match key {
            "ts" => Self::Native(Field::Ts, "ts"),
            "tenant_id" => Self::Native(Field::TenantId, "tenant_id"),
            "agent_id" => Self::Native(Field::AgentId, "agent_id"),
            "agent_version" => Self::Native(Field::AgentVersion, "agent_version"),
            "agent_group" => Self::Native(Field::AgentGroup, "agent_group"),
            "agent_type" => Self::Native(Field::AgentType, "agent_type"),
            "session_id" => Self::Native(Field::SessionId, "session_id"),
            "call_id" => Self::Native(Field::CallId, "call_id"),
            "tool_name" => Self::Native(Field::ToolName, "tool_name"),
            "tool_server" => Self::Native(Field::ToolServer, "tool_server"),
            "operation" => Self::Native(Field::Operation, "operation"),
            "arguments" => Self::Native(Field::Arguments, "arguments"),
            "status" => Self::Native(Field::Status, "status"),
            "duration_ms" => Self::Native(Field::DurationMs, "duration_ms"),
            "bytes_in" => Self::Native(Field::BytesIn, "bytes_in"),
            "bytes_out" => Self::Native(Field::BytesOut, "bytes_out"),
            "user_id" => Self::Native(Field::UserId, "user_id"),
            "parent_agent_id" => Self::Native(Field::ParentAgentId, "parent_agent_id"),
            "resourceSpans" | "resourceLogs" | "batches" => Self::Foreign(Foreign::Otlp),
            "specversion" => Self::Foreign(Foreign::CloudEvent),
            "message" => Self::Foreign(Foreign::Message),
            "class_uid" => unsupported("an OCSF event"),
            "eventSource" | "Records" => unsupported("an AWS CloudTrail event"),
            "CopilotEventData" | "auditData" => unsupported("a Microsoft 365 audit record"),
            "records" => unsupported("an Azure diagnostic batch"),
            "jsonrpc" => unsupported("a bare MCP message"),
            "mcp.method.name" => unsupported("a gateway's access log"),
            "resourceMetrics" => unsupported("OTLP metrics"),
            _ => Self::Unknown,
        }
    }
}

const fn unsupported(what: &'static str) -> Key {
    Key::Foreign(Foreign::Unsupported(what))
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Key, E> {
        Ok(Key::of(key))
    }
}

impl<'de> Document<'de> {
    /// An empty document whose targets will be made out through `lens`.
    pub(super) fn seen_through(lens: Lens, scratch: Scratch) -> Self {
        Self { lens, scratch, ..Self::default() }
    }

    /// What reading its arguments has left, to be used again.
    pub(super) fn take_scratch(&mut self) -> Scratch {
        std::mem::take(&mut self.scratch)
    }

    /// Reads the document at the start of `text` into this one, and returns its length.
    ///
    /// In place, because a document is large and would be copied at every return on the way.
    pub(super) fn parse(&mut self, text: &'de str) -> Result<usize, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer.deserialize_map(DocumentVisitor(self))?;
        Ok(deserializer.into_iter::<IgnoredAny>().byte_offset())
    }
}

struct DocumentVisitor<'d, 'de>(&'d mut Document<'de>);

impl<'de> Visitor<'de> for DocumentVisitor<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(document) = self;
        while let Some(key) = map.next_key()? {
            match key {
                Key::Native(field, name) => {
                    if document.seen & field.bit() != 0 {
                        return Err(de::Error::duplicate_field(name));
                    }
                    document.seen |= field.bit();
                    document.read(field, &mut map)?;
                }
                Key::Foreign(foreign) => {
                    // An envelope may be around anything, so any other sign is the better one.
                    if foreign != Foreign::Message || document.foreign.is_none() {
                        document.foreign = Some(foreign);
                    }
                    map.next_value::<IgnoredAny>()?;
                }
                Key::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

impl<'de> Document<'de> {
    fn read<A: MapAccess<'de>>(&mut self, field: Field, map: &mut A) -> Result<(), A::Error> {
        match field {
            Field::Ts => self.stamp = map.next_value()?,
            Field::TenantId => self.call.tenant_id = self.text(map)?,
            Field::AgentId => self.call.agent_id = self.text(map)?,
            Field::AgentVersion => self.call.agent_version = non_empty(self.text(map)?),
            Field::AgentGroup => {
                let group = non_empty(self.text(map)?);
                self.call.agent_group = group.or(self.call.agent_group.take());
            }
            Field::AgentType => {
                let kind = non_empty(self.text(map)?);
                self.call.agent_group = self.call.agent_group.take().or(kind);
            }
            Field::SessionId => self.call.session_id = self.text(map)?,
            Field::CallId => self.call.call_id = self.text(map)?,
            Field::ToolName => self.call.tool_name = self.text(map)?,
            Field::ToolServer => self.call.tool_server = non_empty(self.text(map)?),
            Field::Operation => self.call.operation = operation::declared(&self.text(map)?),
            Field::Arguments => self.arguments(map)?,
            Field::Status => self.call.status = status_of(&self.text(map)?),
            Field::DurationMs => self.call.duration_ms = self.count(map)?,
            Field::BytesIn => self.call.bytes_in = self.count(map)?,
            Field::BytesOut => self.call.bytes_out = self.count(map)?,
            Field::UserId => self.call.user_id = non_empty(self.text(map)?),
            Field::ParentAgentId => self.call.parent_agent_id = non_empty(self.text(map)?),
        }
        Ok(())
    }

    fn text<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<Cow<'de, str>, A::Error> {
        let text: Text<'de> = map.next_value()?;
        self.note(text.coerced);
        Ok(text.value.unwrap_or_default())
    }

    fn count<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<Option<u64>, A::Error> {
        let count: Count = map.next_value()?;
        self.note(count.coerced);
        Ok(count.value)
    }

    fn arguments<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        let seed = ArgumentsSeed(self.lens, std::mem::take(&mut self.scratch));
        self.scratch = map.next_value_seed(seed)?.fill(&mut self.call);
        Ok(())
    }

    fn note(&mut self, coerced: bool) {
        if coerced {
            self.call.quality.insert(Quality::COERCED);
        }
    }
}

fn non_empty(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    (!text.is_empty()).then_some(text)
}

/// How a call ended, in any of the words in use for it.
pub(super) fn status_of(word: &str) -> Status {
    let words = [
        (Status::Ok, &["ok", "success", "succeeded", "completed", "true"][..]),
        (Status::Error, &["error", "failed", "failure", "tool_error", "protocol_error", "false"]),
        (Status::Denied, &["denied", "rejected", "reject", "blocked", "forbidden"]),
        (Status::Cancelled, &["cancelled", "canceled", "aborted"]),
        (Status::Timeout, &["timeout", "timed_out"]),
    ];
    words
        .iter()
        .find(|(_, known)| known.iter().any(|known| word.eq_ignore_ascii_case(known)))
        .map_or(Status::Unknown, |(status, _)| *status)
}

/// Reads arguments into their digest; a text is parsed once more, as several agents send them so.
struct ArgumentsSeed(Lens, Scratch);

impl<'de> DeserializeSeed<'de> for ArgumentsSeed {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ArgumentsSeed {
    /// Hands a value to the digest's own visitor.
    fn digested<E>(
        self,
        read: impl FnOnce(digest::Value<'_>) -> Result<(), E>,
    ) -> Result<Found, E> {
        let mut digest = Digest::new(self.0, self.1);
        read(digest::Value { digest: &mut digest, path: Path::ROOT })?;
        Ok(digest.finish())
    }
}

impl<'de> Visitor<'de> for ArgumentsSeed {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the arguments as a JSON object")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Found, E> {
        Ok(Found::nothing(self.1))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Found, E> {
        Ok(digest::from_text(text, self.0, self.1))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Found, E> {
        self.digested(|visitor| visitor.visit_bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Found, E> {
        self.digested(|visitor| visitor.visit_i64(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Found, E> {
        self.digested(|visitor| visitor.visit_u64(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Found, E> {
        self.digested(|visitor| visitor.visit_f64(value))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Found, A::Error> {
        self.digested(|visitor| visitor.visit_seq(seq))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Found, A::Error> {
        self.digested(|visitor| visitor.visit_map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Arguments;

    #[test]
    fn every_word_for_an_end_is_understood() {
        let check = |word: &str, expected: Status| assert_eq!(status_of(word), expected, "{word}");
        check("ok", Status::Ok);
        check("SUCCESS", Status::Ok);
        check("failed", Status::Error);
        check("rejected", Status::Denied);
        check("canceled", Status::Cancelled);
        check("timed_out", Status::Timeout);
        check("unknown", Status::Unknown);
        check("", Status::Unknown);
    }

    #[test]
    fn a_known_key_may_stand_once_and_an_unknown_one_as_often_as_it_likes() {
        let check = |json: &str, accepted: bool| {
            assert_eq!(Document::default().parse(json).is_ok(), accepted, "{json}");
        };
        check(r#"{"agent_id":"a","agent_id":"b"}"#, false);
        check(r#"{"agent_id":null,"agent_id":"b"}"#, false);
        check(r#"{"agent_id":"a","\u0061gent_id":"b"}"#, false);
        check(r#"{"x":1,"x":2,"label":{},"label":[]}"#, true);
    }

    #[test]
    fn arguments_in_a_text_are_the_same_arguments() {
        let read = |json: &str| {
            let mut document = Document::default();
            assert_eq!(document.parse(json).unwrap(), json.len());
            (document.call.arguments, document.call.quality)
        };
        let object = read(r#"{"arguments":{"b":2,"a":"x"}}"#);
        assert_eq!(read(r#"{"arguments":"{\"a\":\"x\", \"b\":2.0}"}"#), object);
        let (cut, quality) = read(r#"{"arguments":"{\"a\":\"x"}"#);
        assert_eq!(cut.bytes, 7);
        assert!(quality.contains(Quality::BAD_ARGUMENTS));
        assert_eq!(read(r#"{"arguments":null}"#).0, Arguments::default());
    }
}
