//! Everything that was learned, as a file: written by `baseline export`, read by `run` and `replay`.
//!
//! A file is a zstd stream of envelopes ([`crate::state::codec`]): a header; what is known of the
//! groups, version by version; what partitions published last; then each partition, with how far it
//! was read, what it taught last, and its agents; and an end. Whatever the instance had in memory,
//! the same bytes come out.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::baseline::peers::Peers;
use crate::detect::AgentState;
use crate::event::Timestamp;
use crate::pipeline::epochs::kept::{Kept, KeptReader, Lessons, merge};
use crate::pipeline::judge::{Judge, Shared};
use crate::state::admission::Gate;
use crate::state::codec::{Envelope, EnvelopeWriter, Kind, StateError, check_agent};
use crate::state::reached::Reached;
use crate::state::{AgentKey, Full, PartitionId};

/// How hard the stream is compressed.
const ZSTD_LEVEL: i32 = 6;

/// What a file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of toolwarden that wrote it.
    pub version: String,
    /// The fingerprint of the key that targets were hashed with: another key makes every target an
    /// unknown one.
    pub hash_key: String,
    /// The newest event time it was learned from.
    pub upto: Option<Timestamp>,
    /// Agents.
    pub agents: u64,
    /// Peer groups.
    pub groups: u64,
    /// The last epoch that was merged into what is known of them.
    pub merged: Option<i64>,
}

/// One partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeptPartition {
    /// Its topic, or nothing for recordings.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// How far it was read.
    pub reached: Reached,
    /// What it taught in epochs that are not over.
    pub taught: Lessons,
    /// Its agents, in the order of their keys.
    pub agents: Vec<AgentState>,
}

/// Everything in a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baselines {
    /// What it says of itself.
    pub header: Header,
    /// What stands on the board.
    pub board: Kept,
    /// The partitions.
    pub partitions: Vec<KeptPartition>,
}

/// Why a file of baselines cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaselinesError {
    /// Its bytes are not what they should be.
    #[error(transparent)]
    State(#[from] StateError),
    /// It holds more agents than there may be.
    #[error("it holds more agents than `limits.agents` allows ({limit}); raise the limit")]
    TooManyAgents {
        /// The limit.
        limit: usize,
    },
}

/// How much may be taken in.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Agents.
    pub agents: usize,
    /// Tools of an agent.
    pub tools: usize,
}

/// Writes what `judges` and what they share have learned.
///
/// # Errors
///
/// When it cannot be written.
pub fn write(
    shared: &Shared,
    judges: &[&Judge],
    hash_key: String,
    out: impl Write,
) -> Result<(), StateError> {
    let board = shared.board.kept();
    let upto = judges.iter().filter_map(|judge| judge.watermark()).max();
    let mut out = begin((shared, &board), upto, hash_key, out)?;
    for judge in judges {
        write_partition(shared, judge, &mut out)?;
    }
    out.finish()?.finish()?.flush()?;
    Ok(())
}

/// Writes what workers share while they work: what stood on the board, what was taught besides, and
/// every agent as it is when its turn comes.
///
/// # Errors
///
/// When it cannot be written.
pub(crate) fn write_shared(
    shared: &Shared,
    board: &Kept,
    (upto, taught): (Option<Timestamp>, &Lessons),
    (hash_key, out): (String, impl Write),
) -> Result<(), StateError> {
    let mut out = begin((shared, board), upto, hash_key, out)?;
    out.write(Kind::Partition, &("", 0_i32, &Reached { watermark: upto, ..Reached::default() }))?;
    write_taught(taught, &mut out)?;
    for key in shared.agents.find(usize::MAX, |_| true) {
        // A copy: whoever takes the bytes may be slow, and the agent's calls must not wait for that.
        if let Some(state) = shared.agents.read(key, AgentState::clone) {
            out.write(Kind::Agent, &state)?;
        }
    }
    out.finish()?.finish()?.flush()?;
    Ok(())
}

/// A stream of envelopes, up to the board.
type Out<W> = EnvelopeWriter<zstd::stream::write::Encoder<'static, W>>;

fn begin<W: Write>(
    (shared, board): (&Shared, &Kept),
    upto: Option<Timestamp>,
    hash_key: String,
    out: W,
) -> Result<Out<W>, StateError> {
    let header = Header {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hash_key,
        upto,
        agents: count(shared.agents.len()),
        groups: count(board.versions.last().map_or(0, |peers| peers.groups())),
        merged: board.merged,
    };
    let mut out = EnvelopeWriter::new(zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?);
    out.write(Kind::Header, &header)?;
    board.write(&mut out)?;
    Ok(out)
}

fn write_taught(taught: &Lessons, out: &mut EnvelopeWriter<impl Write>) -> Result<(), StateError> {
    for (epoch, groups) in taught {
        for (key, summary) in groups {
            out.write(Kind::Taught, &(epoch, key, summary))?;
        }
    }
    Ok(())
}

fn write_partition(
    shared: &Shared,
    judge: &Judge,
    out: &mut EnvelopeWriter<impl Write>,
) -> Result<(), StateError> {
    let id = judge.partition();
    out.write(Kind::Partition, &(judge.topic(), id.partition, &judge.reached()))?;
    write_taught(judge.taught(), out)?;
    for key in shared.agents.keys(Some(id)) {
        let written = shared.agents.read(key, |state| out.write(Kind::Agent, state));
        written.transpose()?;
    }
    Ok(())
}

/// Reads a file of baselines, everything in it checked. Memory grows with what is there and by what
/// `bounds` allow, whatever the bytes announce.
///
/// # Errors
///
/// What is wrong with it, and what to do.
pub fn read(input: impl Read, bounds: Bounds) -> Result<Baselines, BaselinesError> {
    let mut input = BufReader::new(input);
    let magic = std::io::BufRead::fill_buf(&mut input).map_err(StateError::from)?;
    if magic.is_empty() {
        return Err(StateError::Truncated.into());
    }
    if !magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Err(StateError::Foreign.into());
    }
    let mut input =
        zstd::stream::read::Decoder::with_buffer(input).map_err(StateError::from)?.single_frame();
    let mut reading = Reading { bounds, ..Reading::default() };
    let mut envelopes = 0_u64;
    loop {
        let envelope = read_one(&mut input)?;
        if envelope.kind == Kind::End {
            let told: u64 = envelope.take(Kind::End)?;
            if told != envelopes {
                return Err(StateError::Truncated.into());
            }
            reading.baselines.board = reading.board.kept;
            return Ok(reading.baselines);
        }
        if envelopes == 0 {
            let header: Header = envelope.take(Kind::Header)?;
            reading.board.kept.merged = header.merged;
            reading.baselines.header = header;
        } else {
            reading.take(&envelope)?;
        }
        envelopes += 1;
    }
}

/// The next envelope of a compressed stream; one that is cut or damaged is told as such.
fn read_one(input: &mut dyn Read) -> Result<Envelope, StateError> {
    match Envelope::read(input) {
        Ok(Some(envelope)) => Ok(envelope),
        Ok(None) => Err(StateError::Truncated),
        Err(StateError::Io(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(StateError::Truncated)
        }
        // What zstd cannot unpack.
        Err(StateError::Io(error)) if error.kind() == std::io::ErrorKind::Other => {
            Err(StateError::Damaged(Kind::Header))
        }
        Err(error) => Err(error),
    }
}

/// A file under way.
#[derive(Debug)]
struct Reading {
    bounds: Bounds,
    baselines: Baselines,
    board: KeptReader,
    agents: usize,
}

impl Default for Reading {
    fn default() -> Self {
        let bounds = Bounds { agents: 0, tools: 0 };
        let board = KeptReader::default();
        Self { bounds, baselines: Baselines::default(), board, agents: 0 }
    }
}

impl Reading {
    fn take(&mut self, envelope: &Envelope) -> Result<(), BaselinesError> {
        match envelope.kind {
            Kind::Version | Kind::Group | Kind::Summary => Ok(self.board.take(envelope)?),
            Kind::Partition => {
                let (topic, partition, reached) = envelope.take(Kind::Partition)?;
                let kept = KeptPartition { topic, partition, reached, ..KeptPartition::default() };
                self.baselines.partitions.push(kept);
                Ok(())
            }
            Kind::Taught => {
                let (epoch, key, summary) = envelope.take(Kind::Taught)?;
                self.board.lesson(Kind::Taught, &summary)?;
                self.partition()?.taught.entry(epoch).or_default().insert(key, summary);
                Ok(())
            }
            Kind::Agent => self.agent(envelope.take(Kind::Agent)?),
            found => Err(StateError::Misplaced { found, wanted: Kind::Agent }.into()),
        }
    }

    fn agent(&mut self, state: AgentState) -> Result<(), BaselinesError> {
        let state = check_agent(state, self.bounds.tools)?;
        self.agents += 1;
        if self.agents > self.bounds.agents {
            return Err(BaselinesError::TooManyAgents { limit: self.bounds.agents });
        }
        self.partition()?.agents.push(state);
        Ok(())
    }

    fn partition(&mut self) -> Result<&mut KeptPartition, StateError> {
        let misplaced = StateError::Misplaced { found: Kind::Agent, wanted: Kind::Partition };
        self.baselines.partitions.last_mut().ok_or(misplaced)
    }
}

impl Baselines {
    /// Agents.
    pub fn agents(&self) -> impl Iterator<Item = &AgentState> {
        self.partitions.iter().flat_map(|partition| &partition.agents)
    }

    /// Puts several files together. Of an agent that stands in more than one, the state that has
    /// seen the newest call stays. What is known of groups is taken from the file that reaches
    /// furthest; group knowledge of others fills in for groups it does not know.
    #[must_use]
    pub fn merged(files: Vec<Self>) -> Self {
        let mut agents: BTreeMap<AgentKey, AgentState> = BTreeMap::new();
        let mut known: Vec<Arc<Peers>> = Vec::new();
        let mut pending = Lessons::new();
        let mut header = Header::default();
        for file in files {
            header.hash_key.clone_from(&file.header.hash_key);
            header.upto = header.upto.max(file.header.upto);
            header.merged = header.merged.max(file.header.merged);
            known.extend(file.board.versions.last().cloned());
            merge(&mut pending, &file.board.pending);
            for partition in file.partitions {
                merge(&mut pending, &partition.taught);
                for state in partition.agents {
                    let key = AgentKey::from_ids(&state.tenant_id, &state.agent_id);
                    let is_newer =
                        agents.get(&key).is_none_or(|other| other.newest() < state.newest());
                    if is_newer {
                        agents.insert(key, state);
                    }
                }
            }
        }
        known.sort_by_key(|peers| peers.epoch);
        let nothing = Peers::default();
        let together = known.iter().fold(Peers::default(), |all, peers| {
            let groups = peers.changed_since(&nothing);
            all.with_groups(peers.epoch, groups.map(|(key, group)| (key, group.clone())))
        });
        header.version = env!("CARGO_PKG_VERSION").to_owned();
        header.agents = count(agents.len());
        header.groups = count(together.groups());
        let versions = known.last().map(|_| Arc::new(together)).into_iter().collect();
        let merged = header.merged;
        let partition =
            KeptPartition { agents: agents.into_values().collect(), ..KeptPartition::default() };
        let board = Kept { merged, versions, pending };
        Self { header, board, partitions: vec![partition] }
    }

    /// Gives everything to an instance that is about to start: its agents are at rest, and belong to
    /// the partition that first brings a call of them.
    ///
    /// # Errors
    ///
    /// [`Full`] when there are more agents than there may be.
    pub fn into_instance(self, shared: &Shared) -> Result<(), Full> {
        let Self { mut board, partitions, .. } = self;
        for partition in partitions {
            merge(&mut board.pending, &partition.taught);
            for state in partition.agents {
                shared.agents.take_in(None, state.at_rest())?;
            }
        }
        shared.board.restore(board);
        Ok(())
    }

    /// Lets a judge go on where what was written stopped, with other records: its agents are at
    /// work as they were.
    ///
    /// # Errors
    ///
    /// [`Full`] when there are more agents than there may be.
    pub fn into_judge(self, shared: &Shared, judge: &mut Judge) -> Result<(), Full> {
        let Self { board, partitions, .. } = self;
        shared.board.restore(board);
        let mut reached = Reached::default();
        let mut taught = Lessons::new();
        for partition in partitions {
            let it = &partition.reached;
            reached.watermark = reached.watermark.max(it.watermark);
            reached.newest = reached.newest.max(it.newest);
            reached.closed = reached.closed.max(it.closed);
            merge(&mut taught, &partition.taught);
            for state in partition.agents {
                shared.agents.take_in(Some(judge.partition()), state)?;
            }
        }
        judge.go_on(&reached, taught, Gate::default());
        Ok(())
    }
}

impl KeptPartition {
    /// Lets a judge of the same partition go on with the records after the last one, and those
    /// that were held.
    ///
    /// # Errors
    ///
    /// [`Full`] when there are more agents than there may be.
    pub fn into_judge(self, shared: &Shared, judge: &mut Judge) -> Result<(), Full> {
        let partition: PartitionId = judge.partition();
        for state in self.agents {
            shared.agents.take_in(Some(partition), state)?;
        }
        judge.resume(&self.reached, self.taught, Gate::default());
        Ok(())
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
