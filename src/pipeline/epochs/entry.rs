//! What stands in the log of groups: one entry a record, as bytes and back.
//!
//! A report may be larger than a broker takes, so it is packed and cut into parts that come one
//! after the other; it takes effect with its last part. What cannot be read is refused with words,
//! the same on every instance.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::Timestamp;
use crate::pipeline::epochs::board::Needs;
use crate::pipeline::epochs::kept::Lessons;
use crate::state::codec::{Kind, StateError, open, seal};

/// The most of a report or a snapshot that one record carries: well below what a broker takes by
/// default, which is 1 MiB.
pub const PART_BYTES: usize = 480 << 10;

/// Parts are not made smaller than this, whatever the broker takes.
pub const PART_BYTES_MIN: usize = 256;

/// The longest report, unpacked and packed.
pub const REPORT_BYTES_MAX: usize = 64 << 20;

/// Lessons of one report, at the very most.
const LESSONS_MAX: usize = 100_000;

/// How hard reports and snapshots are compressed.
pub const ZSTD_LEVEL: i32 = 3;

/// A source partition, under a name that is the same on every instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceId {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

/// What was handed out last before its hour was over: everything learned from records below the
/// offset, and from the time that passed up to the moment.
pub type Handed = (i64, Timestamp);

/// What a partition says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The last epoch it is done with.
    pub closed: Option<i64>,
    /// Whether it has nothing to read.
    pub idle: bool,
    /// The past versions it needs.
    pub needs: Option<Needs>,
    /// What it had handed out before: what it says now came after that.
    pub base: Option<Handed>,
    /// What it has handed out with this.
    pub handed: Option<Handed>,
    /// What it taught.
    pub lessons: Lessons,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// Source topics have so many partitions: each of them is waited for.
    Members(Vec<(Arc<str>, i32)>),
    /// Somebody has taken a partition over. What others say of it from now on counts no more.
    Took {
        /// The partition.
        source: SourceId,
        /// Who: later owners have larger numbers.
        owner: u64,
    },
    /// A part of a report on a partition.
    Part {
        /// The partition.
        source: SourceId,
        /// Who says it.
        owner: u64,
        /// The number of the part, from 0 with each owner.
        seq: u64,
        /// Whether the report goes on with the next part.
        more: bool,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Somebody has waited long enough: these are not waited for if they are not done with the
    /// epoch.
    LeftOut {
        /// The epoch.
        epoch: i64,
        /// The partitions.
        sources: Vec<SourceId>,
    },
}

/// An entry and the process that wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// The process, by a number of its own.
    pub writer: u64,
    /// The entry.
    pub entry: Entry,
}

impl Logged {
    /// The record's value.
    ///
    /// # Errors
    ///
    /// When it is too large, which a part never is.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StateError> {
        seal(Kind::GroupEntry, self)
    }

    /// The entry that [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        open(Kind::GroupEntry, bytes)
    }
}

impl Report {
    /// The report in parts of at most `part_bytes`, at least one.
    ///
    /// # Errors
    ///
    /// When it is larger than any report may be.
    pub fn to_parts(&self, part_bytes: usize) -> Result<Vec<Vec<u8>>, StateError> {
        let unfit = |words: String| StateError::Unfit { kind: Kind::GroupEntry, words };
        let plain = postcard::to_allocvec(self).map_err(|error| unfit(error.to_string()))?;
        let packed = zstd::stream::encode_all(plain.as_slice(), ZSTD_LEVEL)?;
        if plain.len().max(packed.len()) > REPORT_BYTES_MAX {
            return Err(StateError::TooLarge { kind: Kind::GroupEntry, bytes: plain.len() });
        }
        Ok(packed.chunks(part_bytes.max(PART_BYTES_MIN)).map(<[u8]>::to_vec).collect())
    }

    /// The report whose parts were put together; everything in it is checked.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes.
    pub fn from_packed(packed: &[u8]) -> Result<Self, StateError> {
        let unfit =
            |words: &str| StateError::Unfit { kind: Kind::GroupEntry, words: words.to_owned() };
        let bound = u64::try_from(REPORT_BYTES_MAX).unwrap_or(u64::MAX);
        let mut plain = Vec::new();
        let read = zstd::stream::read::Decoder::with_buffer(packed)
            .and_then(|unpacking| unpacking.single_frame().take(bound + 1).read_to_end(&mut plain));
        if read.is_err() {
            return Err(unfit("it cannot be unpacked"));
        }
        if plain.len() > REPORT_BYTES_MAX {
            return Err(StateError::TooLarge { kind: Kind::GroupEntry, bytes: plain.len() });
        }
        let report: Self = match postcard::take_from_bytes(&plain) {
            Ok((report, [])) => report,
            _ => return Err(unfit("it is no report")),
        };
        let mut lessons = report.lessons.values().flat_map(|groups| groups.values());
        if report.lessons.values().map(BTreeMap::len).sum::<usize>() > LESSONS_MAX {
            return Err(unfit("it holds more lessons than any partition teaches at once"));
        }
        if !lessons.all(crate::baseline::peers::GroupSummary::is_within_bounds) {
            return Err(unfit("a lesson holds more than one may"));
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::peers::{Fact, GroupKey, GroupSummary};

    /// A report of many groups with as many tools each as an hour teaches.
    fn large() -> Report {
        let mut report = Report { closed: Some(5), ..Report::default() };
        let mut number = 0_u64;
        for group in 0..625 {
            let mut summary = GroupSummary::default();
            for _ in 0..96 {
                // What does not compress.
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                summary.add(Fact::Tool { tool: number, agent: number ^ 7, hour: 5, began: true });
            }
            report.lessons.entry(5).or_default().insert(GroupKey(group), summary);
        }
        report
    }

    #[test]
    fn a_report_is_cut_into_records_a_broker_takes_and_put_together_again() {
        let report = large();
        let parts = report.to_parts(PART_BYTES).unwrap();
        assert!(parts.len() > 1, "{}", parts.len());
        for part in &parts {
            let source = SourceId { topic: "calls".into(), partition: 3 };
            let entry =
                Entry::Part { source, owner: u64::MAX, seq: 1, more: true, bytes: part.clone() };
            let bytes = Logged { writer: u64::MAX, entry }.to_bytes().unwrap();
            assert!(bytes.len() <= 512 << 10, "{}", bytes.len());
        }
        assert_eq!(Report::from_packed(&parts.concat()).unwrap(), report);
        let nothing = Report::default().to_parts(PART_BYTES).unwrap();
        assert_eq!(nothing.len(), 1);
        assert_eq!(Report::from_packed(&nothing.concat()).unwrap(), Report::default());
    }

    #[test]
    fn bytes_that_are_no_report_are_refused_and_take_no_memory() {
        let packed = large().to_parts(PART_BYTES).unwrap().concat();
        for cut in [0, 1, packed.len() / 2, packed.len() - 1] {
            assert!(Report::from_packed(&packed[..cut]).is_err());
        }
        let bomb = zstd::stream::encode_all(std::io::repeat(0).take(200 << 20), 1).unwrap();
        assert!(matches!(Report::from_packed(&bomb), Err(StateError::TooLarge { .. })));
        let other = zstd::stream::encode_all(&b"something else"[..], 1).unwrap();
        assert!(Report::from_packed(&other).is_err());
    }
}
