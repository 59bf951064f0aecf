//! One generated call, and how it is written: toolwarden's native JSON event.
//!
//! Not the decoder's `ToolCall`: a generated call owns its texts and still has its arguments.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::event::{Status, Timestamp};
use crate::generate::anomaly::Anomaly;

/// The value of one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A JSON string.
    Text(String),
    /// A JSON number.
    Number(u64),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u64(*number),
        }
    }
}

/// The arguments of one call: a flat JSON object whose keys keep their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments(Vec<(&'static str, Value)>);

impl Arguments {
    /// Adds a string.
    #[must_use]
    pub fn text(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.push((key, Value::Text(value.into())));
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, key: &'static str, value: u64) -> Self {
        self.0.push((key, Value::Number(value)));
        self
    }

    /// Replaces the value of `key`, or adds it.
    pub fn set(&mut self, key: &'static str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }
}

impl Serialize for Arguments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// One generated tool call.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Event {
    /// When it starts.
    #[serde(rename = "ts", serialize_with = "crate::generate::scenario::rfc3339::serialize")]
    pub time: Timestamp,
    /// The organisation.
    pub tenant_id: String,
    /// The agent, `product@instance`.
    pub agent_id: String,
    /// The agent's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// The session it belongs to.
    pub session_id: String,
    /// Its own id, unique in the scenario.
    pub call_id: String,
    /// The tool.
    pub tool_name: String,
    /// The MCP server the tool belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_server: Option<String>,
    /// What the tool was called with.
    pub arguments: Arguments,
    /// How it ended.
    #[serde(serialize_with = "write_status")]
    pub status: Status,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Bytes that came out of the tool.
    pub bytes_out: u64,
}

impl Event {
    /// The record key: `tenant/agent`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}", self.tenant_id, self.agent_id)
    }

    /// Appends the native JSON event, keys in a fixed order and without a line end.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "string keys into memory: neither serde_json nor the Vec can fail"
    )]
    pub fn write_json(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("a generated event is always valid JSON");
    }

    /// When it ends.
    #[must_use]
    pub(crate) fn end(&self) -> Timestamp {
        self.time.plus_millis(i64::try_from(self.duration_ms).unwrap_or(i64::MAX))
    }
}

/// A call and whether it was planted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The call.
    pub event: Event,
    /// The anomaly it is part of; `None` for natural traffic.
    pub truth: Option<Anomaly>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn write_status<S: Serializer>(status: &Status, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match status {
        Status::Ok => "ok",
        Status::Error => "error",
        Status::Denied => "denied",
        Status::Cancelled => "cancelled",
        Status::Timeout => "timeout",
        Status::Unknown => "unknown",
    })
}
