//! Following the log of groups, record by record: which entries apply to the board, and where to
//! begin when some are gone.
//!
//! The log is compacted: entries that a snapshot reflects are deleted in time. So whoever reads from
//! its beginning, or comes back after a long while, finds a hole in the offsets. Then nothing is
//! applied until a whole snapshot has been read whose place lies behind the hole, or the end of the
//! log is reached. No IO, no clock.

use std::collections::{BTreeMap, VecDeque};

use crate::pipeline::epochs::board::{Board, Outcome};
use crate::pipeline::epochs::entry::{Entry, Logged, SourceId};
use crate::pipeline::epochs::snapshot::{
    Assembly, FROM_ELSEWHERE, Snapshot, SnapshotName, SnapshotPart, Whole,
};
use crate::state::codec::{Envelope, Kind, StateError};

/// About what a record takes beside its bytes.
const RECORD_WEIGHT: u64 = 128;

/// A snapshot is due at the earliest after so many bytes of entries.
const DUE_BYTES_MIN: u64 = 4 << 20;

/// The most that is held while a snapshot is looked for, in bytes.
const BUFFER_BYTES_MAX: u64 = 512 << 20;

/// Keys of records that are kept track of, to delete them once a snapshot reflects them.
const KEYS_MAX: usize = 1_000_000;

/// What came of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The process that wrote it; 0 when that cannot be read.
    pub writer: u64,
    /// The partition it is about, if it is about one.
    pub source: Option<SourceId>,
    /// What it came to.
    pub outcome: Outcome,
}

/// What a record, or the end of the log, brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Entries that were applied or refused, in order.
    pub taken: Vec<Taken>,
    /// With the last of them a snapshot is due, to be written by the process of this number.
    pub due: Option<u64>,
    /// A snapshot is whole in the log.
    pub whole: Option<SnapshotName>,
    /// The board was put up anew from a snapshot.
    pub loaded: bool,
    /// Entries were missing and no snapshot stood in for them.
    pub lost: bool,
    /// The record stands where another one stood: the log was replaced.
    pub replaced: bool,
}

/// Something that waits for its turn.
#[derive(Debug)]
enum Item {
    Entry(Logged, u64),
    Elsewhere(Box<Snapshot>),
}

/// A snapshot is looked for.
#[derive(Debug, Default)]
struct Search {
    /// The first offset after the last hole, or the last record that was passed over.
    since: i64,
    /// Whether there is a hole.
    has_hole: bool,
    items: VecDeque<(i64, Item)>,
    bytes: u64,
    /// The newest whole snapshot, at a place that may lie before a hole.
    best: Option<(i64, Box<Snapshot>)>,
}

/// Follows the log.
#[derive(Debug, Default)]
pub struct Follower {
    /// The offset of the next record.
    next: i64,
    /// Every entry before this offset is on the board.
    applied: i64,
    /// The place of the snapshot that the board was put up from last.
    loaded: i64,
    /// Whether the end of the log was reached once.
    has_read_all: bool,
    search: Option<Search>,
    assembly: Assembly,
    /// The keys that stand in the log, with the offset of each.
    keys: BTreeMap<Vec<u8>, i64>,
    /// Bytes of entries since the last snapshot was due.
    since_due: u64,
    last_bytes: u64,
    due_bytes_min: Option<u64>,
    /// The last two snapshots that are whole, the newest last.
    whole: VecDeque<SnapshotName>,
}

impl Follower {
    /// A follower for which a snapshot is due after `bytes` of entries.
    #[must_use]
    pub fn with_snapshots_every(bytes: u64) -> Self {
        Self { due_bytes_min: Some(bytes), ..Self::default() }
    }

    /// The offset of the next record.
    #[must_use]
    pub const fn next(&self) -> i64 {
        self.next
    }

    /// Whether the board is as the log says, up to the record read last.
    #[must_use]
    pub const fn is_following(&self) -> bool {
        self.search.is_none()
    }

    /// Takes the record at `offset`.
    pub fn take(
        &mut self,
        board: &mut Board,
        offset: i64,
        (key, payload): (&[u8], Option<&[u8]>),
    ) -> Step {
        let mut step = Step::default();
        if !self.goes_on(offset) {
            step.replaced = true;
            return step;
        }
        let Some(payload) = payload else {
            self.keys.remove(key);
            self.applied_all();
            return step;
        };
        if self.keys.len() < KEYS_MAX {
            self.keys.insert(key.to_vec(), offset);
        }
        match read(payload) {
            Ok(Read::Entry(logged)) => {
                let weight = RECORD_WEIGHT + u64::try_from(payload.len()).unwrap_or(0);
                self.item(board, (offset, Item::Entry(logged, weight)), &mut step);
            }
            Ok(Read::Part(part)) => {
                // A board that follows has no use for what it would find in there.
                let keep = self.search.is_some() || part.name.0 == FROM_ELSEWHERE;
                if let Some(whole) = self.assembly.take(part, keep) {
                    self.whole(board, offset, whole, &mut step);
                }
            }
            Err(error) => step.refuse(format!("the record at offset {offset}: {error}")),
        }
        self.applied_all();
        step
    }

    /// Passes over the record at `offset`, which nobody vouches for: on the board of whoever follows
    /// it changes nothing. Who starts does not know whether it was taken when it was written, by
    /// instances that had no key then, and begins with a snapshot behind it, if there is one.
    pub fn pass_over(&mut self, offset: i64) -> Step {
        let mut step = Step::default();
        if !self.goes_on(offset) {
            step.replaced = true;
            return step;
        }
        if !self.has_read_all {
            self.search.get_or_insert_with(Search::default).since = self.next;
        }
        self.applied_all();
        step
    }

    /// Notes that the record at `offset` was read. Returns whether it may have been the next one.
    fn goes_on(&mut self, offset: i64) -> bool {
        if offset < self.next {
            return false;
        }
        if offset > self.next {
            let search = self.search.get_or_insert_with(Search::default);
            (search.since, search.has_hole) = (offset, true);
        }
        self.next = offset.saturating_add(1);
        true
    }

    /// The place of the snapshot that the board was put up from last; 0 when there was none.
    #[must_use]
    pub const fn loaded(&self) -> i64 {
        self.loaded
    }

    /// The end of the log was reached: there is no newer snapshot to wait for.
    pub fn end(&mut self, board: &mut Board) -> Step {
        let mut step = Step::default();
        self.has_read_all = true;
        if let Some(search) = self.search.take() {
            let best = search.best.filter(|(position, _)| *position > self.applied);
            step.lost = best.is_none() && search.has_hole;
            self.settle(board, best, search.items, &mut step);
        }
        self.applied_all();
        step
    }

    /// What stands on `board`, to be written as a snapshot, and its place.
    #[must_use]
    pub fn snapshot(&self, board: &Board) -> (i64, Snapshot) {
        (self.applied, Snapshot::of(board, self.last_bytes))
    }

    /// The keys of records that are of no more use: everything that the older of the last two whole
    /// snapshots reflects, and other snapshots.
    #[must_use]
    pub fn outdated(&self) -> Vec<Vec<u8>> {
        let (Some(older), Some(newer)) = (self.whole.front(), self.whole.get(1)) else {
            return Vec::new();
        };
        let is_outdated = |(key, offset): &(&Vec<u8>, &i64)| match named(key) {
            Some(name) if name.0 == FROM_ELSEWHERE => **offset < older.0,
            Some(name) => name.0 < newer.0 && name != *older,
            None => **offset < older.0,
        };
        self.keys.iter().filter(is_outdated).map(|(key, _)| key.clone()).collect()
    }

    fn item(&mut self, board: &mut Board, (offset, item): (i64, Item), step: &mut Step) {
        let Some(search) = &mut self.search else {
            self.apply(board, (offset, item), step);
            return;
        };
        if let Item::Entry(_, weight) = &item {
            search.bytes += weight;
        }
        search.items.push_back((offset, item));
        while search.bytes > BUFFER_BYTES_MAX {
            let Some((_, Item::Entry(_, weight))) = search.items.pop_front() else { continue };
            search.bytes -= weight;
            step.lost = true;
        }
    }

    fn whole(&mut self, board: &mut Board, offset: i64, whole: Whole, step: &mut Step) {
        let (position, _) = whole.name;
        let snapshot = whole.packed.map(|packed| Snapshot::from_packed(&packed)).transpose();
        let snapshot = match snapshot {
            Ok(snapshot) => snapshot.map(Box::new),
            Err(error) => {
                step.refuse(format!("the snapshot that ends at offset {offset}: {error}"));
                return;
            }
        };
        if position == FROM_ELSEWHERE {
            if let Some(snapshot) = snapshot {
                self.item(board, (offset, Item::Elsewhere(snapshot)), step);
            }
            return;
        }
        step.whole = Some(whole.name);
        self.last_bytes = whole.bytes;
        self.assembly.forget_before(position);
        self.whole.push_back(whole.name);
        if self.whole.len() > 2 {
            self.whole.pop_front();
        }
        let (Some(search), Some(snapshot)) = (&mut self.search, snapshot) else { return };
        if position <= self.applied {
            return;
        }
        if position < search.since {
            // Entries between its place and the hole may be gone.
            if search.best.as_ref().is_none_or(|(known, _)| *known < position) {
                search.best = Some((position, snapshot));
            }
            return;
        }
        if let Some(search) = self.search.take() {
            self.settle(board, Some((position, snapshot)), search.items, step);
        }
    }

    /// Ends a search: puts up the snapshot found, if one was, and applies what came after it.
    fn settle(
        &mut self,
        board: &mut Board,
        best: Option<(i64, Box<Snapshot>)>,
        items: VecDeque<(i64, Item)>,
        step: &mut Step,
    ) {
        if let Some((position, snapshot)) = best {
            board.load(snapshot.kept, snapshot.members);
            (self.applied, self.loaded) = (position, position);
            self.since_due = 0;
            step.loaded = true;
        }
        let from = self.applied;
        for item in items.into_iter().filter(|(offset, _)| *offset >= from) {
            self.apply(board, item, step);
        }
    }

    fn apply(&mut self, board: &mut Board, (offset, item): (i64, Item), step: &mut Step) {
        self.applied = offset.saturating_add(1);
        match item {
            Item::Elsewhere(snapshot) => {
                if board.is_blank() {
                    board.restore(snapshot.kept);
                    step.loaded = true;
                }
            }
            Item::Entry(Logged { writer, entry }, weight) => {
                let source = match &entry {
                    Entry::Took { source, .. } | Entry::Part { source, .. } => Some(source.clone()),
                    Entry::Members(_) | Entry::LeftOut { .. } => None,
                };
                let outcome = board.apply(entry);
                step.taken.push(Taken { writer, source, outcome });
                self.since_due += weight;
                let least = self.due_bytes_min.unwrap_or(DUE_BYTES_MIN);
                step.due = None;
                if self.since_due >= least.max(self.last_bytes.saturating_mul(2)) {
                    self.since_due = 0;
                    step.due = Some(writer);
                }
            }
        }
    }

    fn applied_all(&mut self) {
        if self.search.is_none() {
            self.applied = self.applied.max(self.next);
        }
    }
}

impl Step {
    fn refuse(&mut self, words: String) {
        self.taken.push(Taken { writer: 0, source: None, outcome: Outcome::Refused(words) });
    }
}

enum Read {
    Entry(Logged),
    Part(SnapshotPart),
}

fn read(mut payload: &[u8]) -> Result<Read, StateError> {
    let whole = payload;
    let envelope = Envelope::read(&mut payload)?.ok_or(StateError::Truncated)?;
    match envelope.kind {
        Kind::GroupSnapshot => SnapshotPart::from_bytes(whole).map(Read::Part),
        _ => Logged::from_bytes(whole).map(Read::Entry),
    }
}

/// The snapshot whose part stands under a key, if one does.
fn named(key: &[u8]) -> Option<SnapshotName> {
    let mut parts = std::str::from_utf8(key).ok()?.strip_prefix("snapshot/")?.split('/');
    let position = parts.next()?.parse().ok()?;
    let writer = u64::from_str_radix(parts.next()?, 16).ok()?;
    Some((position, writer))
}
