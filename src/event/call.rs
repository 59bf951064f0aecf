//! One tool call, in the shape every later room agrees on.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{Target, Timestamp};

/// Where a call was read: enough to find the bytes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position<'a> {
    /// The topic, or the file's name when a file was replayed.
    pub topic: &'a str,
    /// The partition; 0 in a file.
    pub partition: i32,
    /// The offset in the partition, or the line of the file, counted from 0.
    pub offset: i64,
    /// Which call of the record this is, counted from 0.
    pub index: u32,
}

/// Where a call stood before it was written to the topic it was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The source topic.
    pub topic: Box<str>,
    /// Its partition.
    pub partition: i32,
    /// The offset of the record in it.
    pub offset: i64,
    /// Which call of that record this is, counted from 0.
    pub index: u32,
    /// When the broker appended that record, in milliseconds since the Unix epoch, where known.
    pub append_ms: Option<i64>,
}

/// What a call does to the world, as far as its record or its name tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Operation {
    /// Looks at something and changes nothing.
    Read,
    /// Creates or changes something, sends or pays.
    Write,
    /// Removes something.
    Delete,
    /// Runs a program or another agent.
    Execute,
    /// Logs in, asks for or uses a credential.
    Auth,
    /// The record does not say and the name does not tell. Judged as acting: the careful reading.
    #[default]
    Unknown,
}

impl Operation {
    /// Whether the call acts on the world rather than only reading from it.
    ///
    /// Floods are made of acting calls; reading calls come in bursts of fifty by nature.
    #[must_use]
    pub const fn is_acting(self) -> bool {
        !matches!(self, Self::Read)
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It did what it was asked.
    Ok,
    /// The tool or the protocol reported a failure.
    Error,
    /// A person, a hook or a policy refused it.
    Denied,
    /// It was given up on.
    Cancelled,
    /// It took too long.
    Timeout,
    /// The record does not say.
    #[default]
    Unknown,
}

/// What is known of a call's arguments; their text is never kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arguments {
    /// A digest of the arguments that does not depend on the order of their keys.
    ///
    /// Equal digests mean "the same call again". 0 when the record carries no arguments.
    pub digest: u64,
    /// The encoded size in bytes.
    pub bytes: u64,
    /// A hash of the keys and JSON types of the arguments, whatever their order; 0 for no arguments.
    pub shape: u32,
}

/// What was wrong with a record that could be used all the same: a set of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality(u16);

impl Quality {
    /// The agent's identity was taken from the process or product, not from the call.
    pub const DERIVED_AGENT: Self = Self(1);
    /// The record names no call id; one was derived from its position.
    pub const MISSING_CALL_ID: Self = Self(1 << 1);
    /// The record hides which MCP tool was called, so all of them look like one.
    pub const COLLAPSED_MCP_TOOL: Self = Self(1 << 2);
    /// Arguments were cut short or are not valid JSON; the digest is of the raw text.
    pub const BAD_ARGUMENTS: Self = Self(1 << 3);
    /// A value had the wrong JSON type and was read all the same.
    pub const COERCED: Self = Self(1 << 4);
    /// The record's own time lies after the broker's append time and was replaced by it.
    pub const FUTURE_TIME: Self = Self(1 << 5);
    /// The arguments hold more targets, words, elements or text than are looked at or kept.
    pub const MANY_TARGETS: Self = Self(1 << 6);

    /// Whether every flag of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Sets the flags of `other`.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// One tool call by one agent: the canonical event.
///
/// Field names follow the OpenTelemetry GenAI conventions where one exists. Texts that an agent
/// wrote (tool names, ids) are hostile: they are bounded by the decoder and escaped by whoever
/// shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCall<'a> {
    /// Where it was read.
    pub position: Position<'a>,
    /// Where it stood before, if it was written to that topic again under its agent's key.
    pub origin: Option<Arc<Origin>>,
    /// When it happened, bounded by the broker's append time.
    pub time: Timestamp,
    /// The customer or organisation.
    pub tenant_id: Cow<'a, str>,
    /// The agent, stable over restarts and sessions; never empty.
    pub agent_id: Cow<'a, str>,
    /// The agent's version, where the record tells.
    pub agent_version: Option<Cow<'a, str>>,
    /// The agent's peer group, where the record declares one.
    pub agent_group: Option<Cow<'a, str>>,
    /// The session or conversation; empty when the record does not tell.
    pub session_id: Cow<'a, str>,
    /// The call's own id; never empty (see [`Quality::MISSING_CALL_ID`]).
    pub call_id: Cow<'a, str>,
    /// The tool as the record names it, a server's prefix included; never empty.
    pub tool_name: Cow<'a, str>,
    /// The MCP server or namespace the tool belongs to.
    pub tool_server: Option<Cow<'a, str>>,
    /// What the call does to the world.
    pub operation: Operation,
    /// What is known of its arguments.
    pub arguments: Arguments,
    /// What it reaches for, at most [`crate::event::TARGETS_MAX`], in the order of the record.
    pub targets: Cow<'a, [Target]>,
    /// Keyed hashes of the words in its arguments, one to three words of a text together, at most
    /// [`crate::event::WORDS_MAX`]: what a later target may have been made from.
    pub words: Cow<'a, [u32]>,
    /// The person or service the agent works for, where the record tells.
    pub user_id: Option<Cow<'a, str>>,
    /// The agent that started this one, where the record tells.
    pub parent_agent_id: Option<Cow<'a, str>>,
    /// How it ended.
    pub status: Status,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Bytes sent into the tool.
    pub bytes_in: Option<u64>,
    /// Bytes that came out of the tool.
    pub bytes_out: Option<u64>,
    /// What was wrong with the record.
    pub quality: Quality,
}

impl ToolCall<'_> {
    /// The peer group within the tenant as far as the call tells: the one it declares, else the
    /// product its agent is an instance of.
    ///
    /// `claude-code@dev03` and `claude-code@ci` are peers, and so are `billing/eu` and `billing/us`;
    /// an id without `@` and `/` is a group of its own.
    #[must_use]
    pub fn group(&self) -> &str {
        if let Some(group) = &self.agent_group {
            return group;
        }
        let parts = self.agent_id.split_once('@').or_else(|| self.agent_id.rsplit_once('/'));
        parts.map_or(&self.agent_id, |(product, _)| product)
    }

    /// Where the source's own record of the call stands: what people are shown.
    #[must_use]
    pub fn source(&self) -> Position<'_> {
        self.origin.as_deref().map_or(self.position, |origin| Position {
            topic: &origin.topic,
            partition: origin.partition,
            offset: origin.offset,
            index: origin.index,
        })
    }

    /// The same call, borrowing its texts from this one.
    #[must_use]
    pub fn borrowed(&self) -> ToolCall<'_> {
        ToolCall {
            position: self.position,
            origin: self.origin.clone(),
            time: self.time,
            tenant_id: Cow::Borrowed(&self.tenant_id),
            agent_id: Cow::Borrowed(&self.agent_id),
            agent_version: self.agent_version.as_deref().map(Cow::Borrowed),
            agent_group: self.agent_group.as_deref().map(Cow::Borrowed),
            session_id: Cow::Borrowed(&self.session_id),
            call_id: Cow::Borrowed(&self.call_id),
            tool_name: Cow::Borrowed(&self.tool_name),
            tool_server: self.tool_server.as_deref().map(Cow::Borrowed),
            operation: self.operation,
            arguments: self.arguments,
            targets: Cow::Borrowed(&self.targets),
            words: Cow::Borrowed(&self.words),
            user_id: self.user_id.as_deref().map(Cow::Borrowed),
            parent_agent_id: self.parent_agent_id.as_deref().map(Cow::Borrowed),
            status: self.status,
            duration_ms: self.duration_ms,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            quality: self.quality,
        }
    }

    /// The same call, owning its texts. The topic of its position is the caller's to keep.
    #[must_use]
    pub fn into_owned<'b>(self, topic: &'b str) -> ToolCall<'b> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        ToolCall {
            position: Position { topic, ..self.position },
            origin: self.origin,
            time: self.time,
            tenant_id: own(self.tenant_id),
            agent_id: own(self.agent_id),
            agent_version: self.agent_version.map(own),
            agent_group: self.agent_group.map(own),
            session_id: own(self.session_id),
            call_id: own(self.call_id),
            tool_name: own(self.tool_name),
            tool_server: self.tool_server.map(own),
            operation: self.operation,
            arguments: self.arguments,
            targets: Cow::Owned(self.targets.into_owned()),
            words: Cow::Owned(self.words.into_owned()),
            user_id: self.user_id.map(own),
            parent_agent_id: self.parent_agent_id.map(own),
            status: self.status,
            duration_ms: self.duration_ms,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            quality: self.quality,
        }
    }
}
