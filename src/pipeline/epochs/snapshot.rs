//! Everything that stands on a board at one place of the log, as records of the same log: whoever
//! starts reads the newest whole one and the entries after its place.
//!
//! The bytes depend on the board alone, so it does not matter who writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;

use serde::{Deserialize, Serialize};

use crate::pipeline::epochs::board::{Board, MEMBERS_MAX, Member};
use crate::pipeline::epochs::entry::{PART_BYTES_MIN, SourceId, ZSTD_LEVEL};
use crate::pipeline::epochs::kept::{Kept, KeptReader};
use crate::state::codec::{Envelope, EnvelopeWriter, Kind, StateError, open, seal};

/// The place of a snapshot that was learned elsewhere, not from this log.
pub const FROM_ELSEWHERE: i64 = -1;

/// Snapshots under way that are kept track of; of more, the oldest are given up.
const UNDER_WAY_MAX: usize = 8;

/// Parts of one snapshot, at the very most: 2 GiB.
const PARTS_MAX: u32 = 4_096;

/// A board at one place of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// What was learned.
    pub kept: Kept,
    /// Who takes part.
    pub members: BTreeMap<SourceId, Member>,
    /// The size of the snapshot before.
    pub last_bytes: u64,
}

/// One record of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// Which snapshot.
    pub name: SnapshotName,
    /// Which part of it, from 0.
    pub index: u32,
    /// How many parts there are.
    pub count: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Which snapshot: its place in the log (the offset of the first entry it does not reflect), and
/// the process that wrote it.
pub type SnapshotName = (i64, u64);

impl Snapshot {
    /// What stands on `board`.
    #[must_use]
    pub fn of(board: &Board, last_bytes: u64) -> Self {
        Self { kept: board.kept(), members: board.members().clone(), last_bytes }
    }

    /// The snapshot in parts of at most `part_bytes`.
    ///
    /// # Errors
    ///
    /// When it cannot be packed.
    pub fn to_parts(&self, part_bytes: usize) -> Result<Vec<Vec<u8>>, StateError> {
        let packing = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
        let mut out = EnvelopeWriter::new(packing);
        out.write(Kind::Standing, &(self.kept.merged, self.last_bytes))?;
        for member in &self.members {
            out.write(Kind::Member, &member)?;
        }
        self.kept.write(&mut out)?;
        let packed = out.finish()?.finish()?;
        Ok(packed.chunks(part_bytes.max(PART_BYTES_MIN)).map(<[u8]>::to_vec).collect())
    }

    /// The snapshot whose parts were put together; everything in it is checked.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes.
    pub fn from_packed(packed: &[u8]) -> Result<Self, StateError> {
        let damaged = |_| StateError::Damaged(Kind::GroupSnapshot);
        let unpacking = zstd::stream::read::Decoder::with_buffer(packed).map_err(damaged)?;
        let mut input = BufReader::new(unpacking.single_frame());
        let mut next = || match Envelope::read(&mut input) {
            Ok(Some(envelope)) => Ok(envelope),
            Ok(None) => Err(StateError::Truncated),
            Err(StateError::Io(_)) => Err(StateError::Damaged(Kind::GroupSnapshot)),
            Err(error) => Err(error),
        };
        let (merged, last_bytes) = next()?.take(Kind::Standing)?;
        let mut members = BTreeMap::new();
        let mut reader = KeptReader::default();
        let mut read = 1_u64;
        loop {
            let envelope = next()?;
            match envelope.kind {
                Kind::End => {
                    let told: u64 = envelope.take(Kind::End)?;
                    if told != read {
                        return Err(StateError::Truncated);
                    }
                    let kept = Kept { merged, ..reader.kept };
                    return Ok(Self { kept, members, last_bytes });
                }
                Kind::Member => {
                    let (source, member) = envelope.take(Kind::Member)?;
                    members.insert(source, member);
                    if members.len() > MEMBERS_MAX {
                        let words = "there are more than may take part".to_owned();
                        return Err(StateError::Unfit { kind: Kind::Member, words });
                    }
                }
                _ => reader.take(&envelope)?,
            }
            read += 1;
        }
    }
}

impl SnapshotPart {
    /// The record's key.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        let (position, writer) = self.name;
        format!("snapshot/{position}/{writer:016x}/{}", self.index).into_bytes()
    }

    /// The record's value.
    ///
    /// # Errors
    ///
    /// When it is too large, which a part never is.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StateError> {
        seal(Kind::GroupSnapshot, self)
    }

    /// The part that [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let part: Self = open(Kind::GroupSnapshot, bytes)?;
        if part.index < part.count && part.count <= PARTS_MAX {
            return Ok(part);
        }
        let words = format!("part {} of {}", part.index, part.count);
        Err(StateError::Unfit { kind: Kind::GroupSnapshot, words })
    }
}

/// Snapshots of which parts have been read and not all.
#[derive(Debug, Default)]
pub struct Assembly(BTreeMap<SnapshotName, UnderWay>);

#[derive(Debug, Default)]
struct UnderWay {
    count: u32,
    seen: BTreeSet<u32>,
    bytes: u64,
    /// The parts themselves, where they are of use.
    parts: BTreeMap<u32, Vec<u8>>,
}

/// A snapshot all of whose parts were read.
#[derive(Debug)]
pub struct Whole {
    /// Which.
    pub name: SnapshotName,
    /// Its size.
    pub bytes: u64,
    /// Its bytes, if they were kept.
    pub packed: Option<Vec<u8>>,
}

impl Assembly {
    /// Takes a part; `keep` tells whether its bytes are of use. Returns the snapshot that is whole
    /// with it.
    pub fn take(&mut self, part: SnapshotPart, keep: bool) -> Option<Whole> {
        let name = part.name;
        let under_way = self.0.entry(name).or_default();
        under_way.count = part.count;
        if under_way.seen.insert(part.index) {
            under_way.bytes += u64::try_from(part.bytes.len()).unwrap_or(0);
            if keep {
                under_way.parts.insert(part.index, part.bytes);
            }
        }
        let is_whole = under_way.seen.len() >= usize::try_from(part.count).unwrap_or(usize::MAX);
        if !is_whole {
            if self.0.len() > UNDER_WAY_MAX {
                self.0.pop_first();
            }
            return None;
        }
        let whole = self.0.remove(&name)?;
        let has_all = whole.parts.len() == whole.seen.len();
        let packed = has_all.then(|| whole.parts.into_values().flatten().collect());
        Some(Whole { name, bytes: whole.bytes, packed })
    }

    /// Forgets the parts of snapshots at places before `position`: a newer one is whole.
    pub fn forget_before(&mut self, position: i64) {
        self.0.retain(|name, _| name.0 >= position || name.0 == FROM_ELSEWHERE);
    }
}
