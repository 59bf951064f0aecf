//! State as bytes: one agent, or one group's knowledge, in an envelope that says what it holds.
//!
//! The same bytes stand in an exported baseline and can be a record's value. Reading gives back
//! exactly what was written; bytes that are cut, damaged, foreign or newer are refused with words
//! that say what to do. The checksum finds accidents, not forgery: bytes are taken only from where
//! the operator says.

mod content;
mod error;

use std::io::{Read, Write};

use postcard::serialize_with_flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::detect::AgentState;
use crate::state::codec::content::Content;

pub use error::StateError;

/// How the bytes of every envelope begin.
const MAGIC: [u8; 4] = *b"twst";

/// The layout of what is inside. Raised with every change to a state that a release has written.
pub const FORMAT: u16 = 1;

/// Bytes before the content: magic, format, kind, length.
const HEAD: usize = 12;

/// Bytes of the length, the last of them.
const LENGTH: usize = 4;

/// Bytes after it: the checksum.
const TAIL: usize = 4;

/// Room for a sealed value; that of most agents is smaller, and what is larger grows.
const SEALED_BYTES: usize = 2 << 10;

/// What an envelope holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What a file of baselines is about.
    Header,
    /// Everything remembered of one agent.
    Agent,
    /// The epoch that the groups after it are known up to.
    Version,
    /// What is known of one group.
    Group,
    /// What one epoch taught about one group, not yet merged.
    Summary,
    /// How far a partition has been read.
    Partition,
    /// What a partition's agents taught in an epoch that is not over.
    Taught,
    /// The end, with the number of envelopes before it.
    End,
    /// One agent, as a partition's changelog has it.
    Snapshot,
    /// The end of a flush of a partition.
    Marker,
    /// What an open epoch taught about one group, as a partition's changelog has it.
    Lesson,
    /// An agent that was forgotten, as a partition's changelog has it.
    Dead,
    /// An entry of the log of groups.
    GroupEntry,
    /// A part of a snapshot of what stands in the log of groups.
    GroupSnapshot,
    /// How far such a snapshot reaches.
    Standing,
    /// A partition that takes part in the exchange of peer knowledge.
    Member,
}

impl Kind {
    const ALL: [Self; 16] = [
        Self::Header,
        Self::Agent,
        Self::Version,
        Self::Group,
        Self::Summary,
        Self::Partition,
        Self::Taught,
        Self::End,
        Self::Snapshot,
        Self::Marker,
        Self::Lesson,
        Self::Dead,
        Self::GroupEntry,
        Self::GroupSnapshot,
        Self::Standing,
        Self::Member,
    ];

    const fn number(self) -> u16 {
        match self {
            Self::Header => 1,
            Self::Agent => 2,
            Self::Version => 3,
            Self::Group => 4,
            Self::Summary => 5,
            Self::Partition => 6,
            Self::Taught => 7,
            Self::End => 8,
            Self::Snapshot => 9,
            Self::Marker => 10,
            Self::Lesson => 11,
            Self::Dead => 12,
            Self::GroupEntry => 20,
            Self::GroupSnapshot => 21,
            Self::Standing => 22,
            Self::Member => 23,
        }
    }

    /// The longest content, in bytes: far more than any that was written.
    const fn bytes_max(self) -> usize {
        match self {
            Self::Header | Self::Version | Self::End | Self::Standing => 4 << 10,
            // What a broker takes as one record by default.
            Self::GroupEntry | Self::GroupSnapshot => 900 << 10,
            // With a report that is not whole.
            Self::Member => 65 << 20,
            Self::Agent => 512 << 10,
            // What a broker takes as one record by default.
            Self::Snapshot | Self::Marker | Self::Lesson | Self::Dead => 900 << 10,
            Self::Group | Self::Summary | Self::Taught | Self::Partition => 16 << 20,
        }
    }

    /// The word for messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "a header",
            Self::Agent => "an agent",
            Self::Version => "an epoch",
            Self::Group => "a group",
            Self::Summary => "an epoch's lesson",
            Self::Partition => "a partition",
            Self::Taught => "a partition's lesson",
            Self::End => "an end",
            Self::Snapshot => "an agent's snapshot",
            Self::Marker => "a marker",
            Self::Lesson => "an open epoch's lesson",
            Self::Dead => "a forgotten agent",
            Self::GroupEntry => "an entry of the groups topic",
            Self::GroupSnapshot => "a snapshot of the groups topic",
            Self::Standing => "the head of a snapshot of the groups topic",
            Self::Member => "a partition of the groups topic",
        }
    }
}

/// One agent's whole state as bytes.
///
/// # Errors
///
/// [`StateError::TooLarge`] for a state beyond every bound.
pub fn agent_to_bytes(state: &AgentState) -> Result<Vec<u8>, StateError> {
    seal(Kind::Agent, state)
}

/// The state that [`agent_to_bytes`] wrote. `tools_max` is how many tools an agent may remember.
///
/// # Errors
///
/// What is wrong with the bytes, and what to do.
pub fn agent_from_bytes(bytes: &[u8], tools_max: usize) -> Result<AgentState, StateError> {
    check_agent(open(Kind::Agent, bytes)?, tools_max)
}

/// A state that was read, checked against the bounds.
///
/// # Errors
///
/// [`StateError::Unfit`] with what is wrong.
pub fn check_agent(state: AgentState, tools_max: usize) -> Result<AgentState, StateError> {
    match state.mistake(tools_max) {
        None => Ok(state),
        Some(words) => Err(StateError::Unfit { kind: Kind::Agent, words: words.to_owned() }),
    }
}

/// Puts a value into an envelope.
///
/// # Errors
///
/// [`StateError::TooLarge`] for more than its kind may take.
pub fn seal<T: Serialize>(kind: Kind, value: &T) -> Result<Vec<u8>, StateError> {
    let mut room = Vec::with_capacity(SEALED_BYTES);
    write_sealed(&mut room, kind, value)?;
    Ok(room)
}

/// The same for one value after the other: each is written in `room` and copied, so that it takes no
/// more than it needs while it is on its way.
///
/// # Errors
///
/// [`StateError::TooLarge`] for more than its kind may take.
pub fn seal_in<T: Serialize>(
    room: &mut Vec<u8>,
    kind: Kind,
    value: &T,
) -> Result<Vec<u8>, StateError> {
    write_sealed(room, kind, value)?;
    Ok(room.clone())
}

fn write_sealed<T: Serialize>(
    bytes: &mut Vec<u8>,
    kind: Kind,
    value: &T,
) -> Result<(), StateError> {
    let unfit = |error: postcard::Error| StateError::Unfit { kind, words: error.to_string() };
    bytes.clear();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&kind.number().to_le_bytes());
    // Its length is not known yet.
    bytes.resize(HEAD, 0);
    serialize_with_flavor(value, Content(bytes)).map_err(unfit)?;
    let content = bytes.len() - HEAD;
    let too_large = StateError::TooLarge { kind, bytes: content };
    if content > kind.bytes_max() {
        return Err(too_large);
    }
    let Ok(length) = u32::try_from(content) else { return Err(too_large) };
    if let Some(place) = bytes.get_mut(HEAD - LENGTH..HEAD) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    bytes.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    Ok(())
}

/// Appends a value that will stand in an envelope of `kind` to `bytes`, as it is written there. An
/// error leaves them as they were.
///
/// # Errors
///
/// [`StateError::Unfit`] for what cannot be written.
pub fn append<T: Serialize>(bytes: &mut Vec<u8>, kind: Kind, value: &T) -> Result<(), StateError> {
    let before = bytes.len();
    serialize_with_flavor(value, Content(bytes)).map_err(|error| {
        bytes.truncate(before);
        StateError::Unfit { kind, words: error.to_string() }
    })
}

/// Takes a value of `kind` out of an envelope that is all of `bytes`.
///
/// # Errors
///
/// What is wrong with the bytes, and what to do.
pub fn open<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, StateError> {
    let (found, content) = contents(bytes)?;
    take(found, kind, content)
}

/// What an envelope that is all of `bytes` holds, its checksum proved, without a copy.
///
/// # Errors
///
/// What is wrong with the bytes, and what to do.
pub fn contents(bytes: &[u8]) -> Result<(Kind, &[u8]), StateError> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Err(too_short(bytes));
    };
    let (kind, length) = read_head(head)?;
    let Some((content, rest)) = rest.split_at_checked(length) else {
        return Err(StateError::Truncated);
    };
    let Some((told, rest)) = rest.split_first_chunk::<TAIL>() else {
        return Err(StateError::Truncated);
    };
    if !rest.is_empty() {
        return Err(StateError::Foreign);
    }
    prove(head, content, *told, kind)?;
    Ok((kind, content))
}

/// The value at the beginning of what an envelope of `kind` holds; what follows it is not looked at.
///
/// # Errors
///
/// [`StateError::Unfit`] when it holds something else.
pub fn beginning<T: DeserializeOwned>(kind: Kind, content: &[u8]) -> Result<T, StateError> {
    let unfit = |error: postcard::Error| StateError::Unfit { kind, words: error.to_string() };
    postcard::take_from_bytes(content).map(|(value, _)| value).map_err(unfit)
}

/// Takes a value of the `wanted` kind out of what an envelope of the kind `found` holds.
///
/// # Errors
///
/// When it holds something else, or not what it says.
pub fn take<T: DeserializeOwned>(
    found: Kind,
    wanted: Kind,
    content: &[u8],
) -> Result<T, StateError> {
    if found != wanted {
        return Err(StateError::Misplaced { found, wanted });
    }
    let unfit = |words: String| StateError::Unfit { kind: wanted, words };
    match postcard::take_from_bytes(content) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(unfit("bytes are left over; export again with this version".to_owned())),
        Err(error) => Err(unfit(format!("{error}; export again with this version"))),
    }
}

/// What bytes are that end before an envelope's head does.
fn too_short(bytes: &[u8]) -> StateError {
    let is_ours = MAGIC.starts_with(bytes.get(..MAGIC.len()).unwrap_or(bytes));
    if is_ours { StateError::Truncated } else { StateError::Foreign }
}

/// What an envelope's head says: what it holds, and how many bytes of it.
fn read_head(head: &[u8; HEAD]) -> Result<(Kind, usize), StateError> {
    let [a, b, c, d, f0, f1, k0, k1, l0, l1, l2, l3] = *head;
    if [a, b, c, d] != MAGIC {
        return Err(StateError::Foreign);
    }
    match u16::from_le_bytes([f0, f1]) {
        FORMAT => {}
        found if found > FORMAT => return Err(StateError::Newer { found }),
        found => return Err(StateError::Older { found }),
    }
    let number = u16::from_le_bytes([k0, k1]);
    let kind = Kind::ALL.into_iter().find(|kind| kind.number() == number);
    let kind = kind.ok_or(StateError::Foreign)?;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > kind.bytes_max() {
        return Err(StateError::TooLarge { kind, bytes: length });
    }
    Ok((kind, length))
}

/// Proves an envelope's checksum.
fn prove(head: &[u8], content: &[u8], told: [u8; TAIL], kind: Kind) -> Result<(), StateError> {
    let mut sum = crc32fast::Hasher::new();
    sum.update(head);
    sum.update(content);
    if sum.finalize().to_le_bytes() == told { Ok(()) } else { Err(StateError::Damaged(kind)) }
}

/// One envelope that was read, its checksum proved.
#[derive(Debug)]
pub struct Envelope {
    /// What it holds.
    pub kind: Kind,
    content: Vec<u8>,
}

impl Envelope {
    /// Reads the next envelope; `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes, and what to do. Never more is read into memory than the kind
    /// may take.
    pub fn read(input: &mut dyn Read) -> Result<Option<Self>, StateError> {
        let mut head = Vec::with_capacity(HEAD);
        fill(input, HEAD, &mut head)?;
        if head.is_empty() {
            return Ok(None);
        }
        let Some((head, [])) = head.split_first_chunk::<HEAD>() else {
            return Err(too_short(&head));
        };
        let (kind, length) = read_head(head)?;
        let mut content = Vec::new();
        fill(input, length + TAIL, &mut content)?;
        let Some((content, told)) = content.split_last_chunk::<TAIL>() else {
            return Err(StateError::Truncated);
        };
        if content.len() < length {
            return Err(StateError::Truncated);
        }
        prove(head, content, *told, kind)?;
        Ok(Some(Self { kind, content: content.to_vec() }))
    }

    /// Takes a value of `kind` out.
    ///
    /// # Errors
    ///
    /// When it holds something else, or not what it says.
    pub fn take<T: DeserializeOwned>(&self, kind: Kind) -> Result<T, StateError> {
        take(self.kind, kind, &self.content)
    }
}

/// Reads at most `bytes` bytes more, fewer at the end of the input. Memory grows with what is
/// there, not with what was announced.
fn fill(input: &mut dyn Read, bytes: usize, into: &mut Vec<u8>) -> Result<(), StateError> {
    input.take(u64::try_from(bytes).unwrap_or(u64::MAX)).read_to_end(into)?;
    Ok(())
}

/// Writes envelopes one after the other, and an end that counts them.
#[derive(Debug)]
pub struct EnvelopeWriter<W> {
    out: W,
    written: u64,
}

impl<W: Write> EnvelopeWriter<W> {
    /// A writer onto `out`.
    pub const fn new(out: W) -> Self {
        Self { out, written: 0 }
    }

    /// Writes one value.
    ///
    /// # Errors
    ///
    /// When it is too large, or cannot be written.
    pub fn write<T: Serialize>(&mut self, kind: Kind, value: &T) -> Result<(), StateError> {
        self.out.write_all(&seal(kind, value)?)?;
        self.written += 1;
        Ok(())
    }

    /// Writes the end and gives back what was written onto.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<W, StateError> {
        let written = self.written;
        self.write(Kind::End, &written)?;
        Ok(self.out)
    }
}
