//! A decoded call as bytes and back: what ingest writes to the calls topic, and detect reads there.
//!
//! The bytes hold exactly what a [`ToolCall`] holds, so no text of an argument, only its digest and
//! keyed hashes. Hashes made with another key would make every target an unknown one, so the bytes
//! name the key's fingerprint and are refused under another one.
//!
//! Magic, version, fingerprint, the call in postcard, checksum. The checksum finds accidents, not
//! forgery: whoever may write to the calls topic may say anything of any agent, as in a source.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::decode::stamp::{self, Stamp};
use crate::decode::{
    DecodeError, HashKey, IDENTIFIER_BYTES_MAX, Ignored, Item, Options, Reason, Record, identifier,
};
use crate::event::{
    Arguments, Operation, Origin, Position, Quality, Shown, Status, TARGETS_MAX, Target,
    TargetKind, Timestamp, ToolCall, WORDS_MAX,
};

/// How the bytes begin.
const MAGIC: [u8; 4] = *b"twcl";

/// The layout of what follows. Raised with every change to it.
const VERSION: u8 = 1;

/// Characters of a key's fingerprint.
const FINGERPRINT: usize = 8;

/// Bytes after the call: the checksum.
const TAIL: usize = 4;

/// The most bytes one call takes: far more than bounded texts, targets and words can.
const BYTES_MAX: usize = 64 << 10;

/// The longest name of a topic, in bytes.
const TOPIC_BYTES_MAX: usize = 249;

/// A call, in the order in which it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Wire<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    index: u32,
    append_ms: Option<i64>,
    time: Timestamp,
    tenant_id: &'a str,
    agent_id: &'a str,
    agent_version: Option<&'a str>,
    agent_group: Option<&'a str>,
    session_id: &'a str,
    call_id: &'a str,
    tool_name: &'a str,
    tool_server: Option<&'a str>,
    operation: Operation,
    arguments: Arguments,
    #[serde(borrow)]
    targets: Vec<WireTarget<'a>>,
    words: Vec<u32>,
    user_id: Option<&'a str>,
    parent_agent_id: Option<&'a str>,
    status: Status,
    duration_ms: Option<u64>,
    bytes_in: Option<u64>,
    bytes_out: Option<u64>,
    quality: Quality,
}

/// A target, likewise.
#[derive(Debug, Serialize, Deserialize)]
struct WireTarget<'a> {
    kind: TargetKind,
    key: u32,
    value: u64,
    domain: u64,
    is_freemail: bool,
    is_whole: bool,
    is_reserved: bool,
    near: [u32; 2],
    stem: u32,
    shown: &'a str,
}

/// A call that was read from a source, as the value of a record of the calls topic. `append_ms` is
/// when the broker appended the source's record, where that is known.
///
/// # Errors
///
/// [`Reason::TooLarge`] for a call beyond every bound.
pub fn encode(
    call: &ToolCall<'_>,
    append_ms: Option<i64>,
    key: HashKey,
) -> Result<Vec<u8>, DecodeError> {
    let Position { topic, partition, offset, index } = call.position;
    let wire = Wire {
        topic,
        partition,
        offset,
        index,
        append_ms,
        time: call.time,
        tenant_id: &call.tenant_id,
        agent_id: &call.agent_id,
        agent_version: call.agent_version.as_deref(),
        agent_group: call.agent_group.as_deref(),
        session_id: &call.session_id,
        call_id: &call.call_id,
        tool_name: &call.tool_name,
        tool_server: call.tool_server.as_deref(),
        operation: call.operation,
        arguments: call.arguments,
        targets: call.targets.iter().map(WireTarget::of).collect(),
        words: call.words.to_vec(),
        user_id: call.user_id.as_deref(),
        parent_agent_id: call.parent_agent_id.as_deref(),
        status: call.status,
        duration_ms: call.duration_ms,
        bytes_in: call.bytes_in,
        bytes_out: call.bytes_out,
        quality: call.quality,
    };
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(&MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(key.fingerprint().as_bytes());
    let too_large = |size: String| {
        let detail =
            format!("the decoded call takes {size}; at most {BYTES_MAX} bytes are written");
        DecodeError::new(Reason::TooLarge, detail)
    };
    let mut bytes = postcard::to_extend(&wire, bytes)
        .map_err(|error| too_large(format!("an unknown size ({error})")))?;
    if bytes.len() + TAIL > BYTES_MAX {
        return Err(too_large(format!("{} bytes", bytes.len() + TAIL)));
    }
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    Ok(bytes)
}

/// Reads the call that a record of the calls topic holds and hands it to `sink`, with its place in
/// the source as its [`ToolCall::origin`].
pub fn decode(record: &Record<'_>, options: &Options, sink: &mut dyn FnMut(Item<'_>)) {
    let Some(payload) = record.payload.filter(|payload| !payload.is_empty()) else {
        return sink(Item::Ignored(Ignored::Tombstone));
    };
    match read(record, payload, options) {
        Ok(call) => sink(Item::Call(call)),
        Err(error) => sink(Item::Rejected(error)),
    }
}

fn read<'a>(
    record: &Record<'a>,
    payload: &'a [u8],
    options: &Options,
) -> Result<ToolCall<'a>, DecodeError> {
    let wire = open(payload, options.hash_key)?;
    check(&wire)?;
    let origin = Origin {
        topic: wire.topic.into(),
        partition: wire.partition,
        offset: wire.offset,
        index: wire.index,
        append_ms: wire.append_ms,
    };
    let shows = options.show_targets;
    let targets = wire.targets.iter().map(|target| target.target(shows));
    Ok(ToolCall {
        position: Position { index: 0, ..record.position },
        origin: Some(Arc::new(origin)),
        time: wire.time,
        tenant_id: Cow::Borrowed(wire.tenant_id),
        agent_id: Cow::Borrowed(wire.agent_id),
        agent_version: wire.agent_version.map(Cow::Borrowed),
        agent_group: wire.agent_group.map(Cow::Borrowed),
        session_id: Cow::Borrowed(wire.session_id),
        call_id: Cow::Borrowed(wire.call_id),
        tool_name: Cow::Borrowed(wire.tool_name),
        tool_server: wire.tool_server.map(Cow::Borrowed),
        operation: wire.operation,
        arguments: wire.arguments,
        targets: Cow::Owned(targets.collect()),
        words: Cow::Owned(wire.words),
        user_id: wire.user_id.map(Cow::Borrowed),
        parent_agent_id: wire.parent_agent_id.map(Cow::Borrowed),
        status: wire.status,
        duration_ms: wire.duration_ms,
        bytes_in: wire.bytes_in,
        bytes_out: wire.bytes_out,
        quality: wire.quality,
    })
}

/// Takes the call out of its envelope.
fn open(payload: &[u8], key: HashKey) -> Result<Wire<'_>, DecodeError> {
    let foreign = || {
        let detail = "no call that ingest wrote: only ingest may write to the calls topic";
        DecodeError::new(Reason::UnknownFormat, detail)
    };
    if payload.len() > BYTES_MAX {
        let detail = format!("{} bytes; a decoded call takes at most {BYTES_MAX}", payload.len());
        return Err(DecodeError::new(Reason::TooLarge, detail));
    }
    let (version, rest) =
        payload.strip_prefix(&MAGIC).and_then(<[u8]>::split_first).ok_or_else(foreign)?;
    if *version != VERSION {
        let detail = format!(
            "the call is in layout {version} and this version reads {VERSION}: run one version of \
             ingest and detect"
        );
        return Err(DecodeError::new(Reason::UnknownFormat, detail));
    }
    let cut = || DecodeError::new(Reason::Parse, "the call is cut short");
    let (fingerprint, rest) = rest.split_first_chunk::<FINGERPRINT>().ok_or_else(cut)?;
    let (body, told) = rest.split_last_chunk::<TAIL>().ok_or_else(cut)?;
    let sealed = payload.get(..payload.len().saturating_sub(TAIL)).unwrap_or_default();
    if crc32fast::hash(sealed) != u32::from_le_bytes(*told) {
        return Err(DecodeError::new(
            Reason::Parse,
            "the call is damaged: its checksum does not fit",
        ));
    }
    if fingerprint != key.fingerprint().as_bytes() {
        let found = fingerprint.escape_ascii();
        let detail = format!(
            "its hashes were made with the key {found} and this instance has {}: give ingest and \
             detect the same `privacy.hash_key_file` or `hash_key_env`",
            key.fingerprint()
        );
        return Err(DecodeError::new(Reason::HashKey, detail));
    }
    let unfit = |error: postcard::Error| {
        DecodeError::new(Reason::Parse, format!("the call cannot be read: {error}"))
    };
    let (wire, left) = postcard::take_from_bytes(body).map_err(unfit)?;
    if left.is_empty() { Ok(wire) } else { Err(foreign()) }
}

/// Holds a call to the bounds of every other format.
fn check(wire: &Wire<'_>) -> Result<(), DecodeError> {
    let missing = |reason, detail| Err(DecodeError::new(reason, detail));
    if wire.tenant_id.is_empty() {
        return missing(Reason::MissingTenant, "no tenant");
    }
    if wire.agent_id.is_empty() {
        return missing(Reason::MissingAgent, "no agent");
    }
    if wire.tool_name.is_empty() {
        return missing(Reason::MissingTool, "no tool name");
    }
    if wire.call_id.is_empty() || wire.topic.len() > TOPIC_BYTES_MAX {
        return missing(Reason::BadIdentifier, "no call id, or a topic's name that is none");
    }
    // A call without an id has one made of its place, which may be a little longer than others.
    if wire.call_id.len() <= IDENTIFIER_BYTES_MAX {
        identifier::check("call_id", wire.call_id)?;
    }
    for (field, text) in [
        ("topic", Some(wire.topic)),
        ("tenant_id", Some(wire.tenant_id)),
        ("agent_id", Some(wire.agent_id)),
        ("agent_version", wire.agent_version),
        ("agent_group", wire.agent_group),
        ("session_id", Some(wire.session_id)),
        ("tool_name", Some(wire.tool_name)),
        ("tool_server", wire.tool_server),
        ("user_id", wire.user_id),
        ("parent_agent_id", wire.parent_agent_id),
    ] {
        identifier::check(field, text.unwrap_or_default())?;
    }
    let is_short = |target: &WireTarget<'_>| target.shown.len() <= Shown::BYTES_MAX;
    if wire.targets.len() > TARGETS_MAX
        || wire.words.len() > WORDS_MAX
        || !wire.targets.iter().all(is_short)
    {
        return missing(Reason::TooLarge, "more targets or words than a call may have");
    }
    let append_time = wire.append_ms.map_or(Timestamp::MAX, Timestamp::from_millis);
    let is_possible = matches!(Stamp::from_time(wire.time), Stamp::At(_));
    if !is_possible || stamp::bounded(wire.time, append_time).1 {
        return missing(Reason::BadTime, "a time outside 1970 to 2261 or after its append");
    }
    Ok(())
}

impl<'a> WireTarget<'a> {
    fn of(target: &'a Target) -> Self {
        Self {
            kind: target.kind,
            key: target.key,
            value: target.value,
            domain: target.domain,
            is_freemail: target.is_freemail,
            is_whole: target.is_whole,
            is_reserved: target.is_reserved,
            near: target.near,
            stem: target.stem,
            shown: target.shown.as_str(),
        }
    }

    fn target(&self, shows: bool) -> Target {
        Target {
            kind: self.kind,
            key: self.key,
            value: self.value,
            domain: self.domain,
            is_freemail: self.is_freemail,
            is_whole: self.is_whole,
            is_reserved: self.is_reserved,
            near: self.near,
            stem: self.stem,
            shown: if shows { Shown::new(self.shown) } else { Shown::default() },
        }
    }
}
