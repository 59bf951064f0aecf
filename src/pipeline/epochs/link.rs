//! What this instance says in the log of groups: it counts when it is read back, not before.
//!
//! Each report is kept, with its claim on the source offset that caused it, until the log shows
//! that it took effect. Whatever may have been lost, or came before a part that was, is sent again
//! under a new key: a record under an old key would take the place of the one before it when the
//! log is compacted, and the order of entries is what everybody agrees on. A part that is too large
//! for the log is sent as two; nothing behind it has counted, since nothing counts before its turn.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::kafka::{Ledger, RefusedEntry, Ticket};
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::epochs::board::{Board, Outcome};
use crate::pipeline::epochs::entry::{Entry, Logged, PART_BYTES, PART_BYTES_MIN, Report, SourceId};
use crate::pipeline::epochs::follower::Taken;
use crate::pipeline::epochs::kept::Lessons;

/// Whoever finds its partition in other hands while it still owns it waits this long before it takes
/// it back: the other one has lost it and will notice.
const TAKE_BACK_AFTER: Duration = Duration::from_secs(30);

/// What is too large and cannot be made smaller is sent again so often.
const KEPT_AGAIN: Duration = Duration::from_secs(30);

/// How long to wait before saying again that somebody is not waited for.
const LEAVE_OUT_AGAIN: Duration = Duration::from_secs(5);

/// Where entries go.
pub trait LogSink: Debug + Send {
    /// Appends a record; `None` deletes what stands under the key. It may be lost.
    fn append(&self, key: &[u8], payload: Option<&[u8]>);

    /// Whether a record may have been lost since this was last asked.
    fn may_have_lost(&self) -> bool;

    /// The records that were too large for the log since this was last asked; they count as lost in
    /// no other way.
    fn take_refused(&self) -> Vec<RefusedEntry> {
        Vec::new()
    }
}

/// A part that was sent and not read back.
#[derive(Debug)]
struct Waiting {
    seq: u64,
    more: bool,
    bytes: Vec<u8>,
    ticket: Option<Ticket>,
    /// The number of the entry that it was last sent as.
    written: u64,
}

/// One partition that this instance speaks for.
#[derive(Debug)]
struct Voice {
    /// Which judge it belongs to: the number it took the partition over with.
    post: u64,
    /// The number it speaks with.
    owner: u64,
    next_seq: u64,
    waiting: VecDeque<Waiting>,
    ledger: Option<Ledger>,
    /// Since when somebody else speaks for it.
    overtaken: Option<Moment>,
}

/// This instance's way into the log.
#[derive(Debug)]
pub struct Link {
    sink: Box<dyn LogSink>,
    writer: u64,
    written: u64,
    /// The names of the source topics, by the numbers they go by here.
    topics: Arc<[Arc<str>]>,
    voices: BTreeMap<SourceId, Voice>,
    left_out: Option<(i64, Moment)>,
    take_back_after: Duration,
    /// The most that a part carries: less once the log has refused one.
    part_bytes: usize,
    /// Since when something waits that cannot be made small enough.
    kept: Option<Moment>,
}

impl Link {
    /// A way into the log for the process `writer`.
    #[must_use]
    pub fn new(sink: Box<dyn LogSink>, writer: u64, topics: Arc<[Arc<str>]>) -> Self {
        Self {
            sink,
            writer,
            written: 0,
            topics,
            voices: BTreeMap::new(),
            left_out: None,
            take_back_after: TAKE_BACK_AFTER,
            part_bytes: PART_BYTES,
            kept: None,
        }
    }

    /// The same, with another patience before a partition is taken back.
    #[must_use]
    pub fn taking_back_after(self, patience: Duration) -> Self {
        Self { take_back_after: patience, ..self }
    }

    /// The number of this process.
    #[must_use]
    pub const fn writer(&self) -> u64 {
        self.writer
    }

    /// The most that a part of a report or a snapshot may carry, as far as is known.
    #[must_use]
    pub const fn part_bytes(&self) -> usize {
        self.part_bytes
    }

    /// The name of a source topic; empty for an unknown one.
    #[must_use]
    pub fn topic(&self, number: u16) -> Arc<str> {
        self.topics.get(usize::from(number)).cloned().unwrap_or_default()
    }

    /// The number a source topic goes by here, if it is read here.
    #[must_use]
    pub fn number(&self, topic: &str) -> Option<u16> {
        let place = self.topics.iter().position(|known| **known == *topic);
        place.and_then(|place| u16::try_from(place).ok())
    }

    /// Takes a partition over, from when that is read back. Returns the number of the post.
    pub fn join(&mut self, board: &Board, source: &SourceId) -> u64 {
        let known = board.member(source).map_or(0, |member| member.owner);
        let before = self.voices.get(source).map_or(0, |voice| voice.owner);
        let now = u64::try_from(clock::wall().as_nanos()).unwrap_or(0);
        let owner = now.max(known.max(before).saturating_add(1));
        self.silence(source);
        let voice = Voice {
            post: owner,
            owner,
            next_seq: 0,
            waiting: VecDeque::new(),
            ledger: None,
            overtaken: None,
        };
        self.voices.insert(source.clone(), voice);
        self.append(Entry::Took { source: source.clone(), owner });
        owner
    }

    /// The offsets that reports of a partition hold back until they have taken effect.
    pub fn guard(&mut self, source: &SourceId, post: u64, ledger: Ledger) {
        if let Some(voice) = self.voices.get_mut(source).filter(|voice| voice.post == post) {
            voice.ledger = Some(ledger);
        }
    }

    /// Somebody else owns the partition now, and says what is not said yet.
    pub fn leave(&mut self, source: &SourceId, post: u64) {
        if self.voices.get(source).is_some_and(|voice| voice.post == post) {
            self.silence(source);
        }
    }

    /// Whether the post's voice counts, as far as the log was read.
    #[must_use]
    pub fn speaks(&self, board: &Board, source: &SourceId, post: u64) -> bool {
        let voice = self.voices.get(source).filter(|voice| voice.post == post);
        let known = board.member(source).map(|member| member.owner);
        voice.is_some_and(|voice| known == Some(voice.owner))
    }

    /// Whether the post's voice counts and everything it said has been read back.
    #[must_use]
    pub fn has_said_all(&self, board: &Board, source: &SourceId, post: u64) -> bool {
        self.speaks(board, source, post)
            && self.voices.get(source).is_some_and(|voice| voice.waiting.is_empty())
    }

    /// Reports on a partition; the source offset, if there is one, is held back until that has taken
    /// effect.
    pub fn report(&mut self, source: &SourceId, post: u64, report: &Report, offset: Option<i64>) {
        let Some(voice) = self.voices.get_mut(source).filter(|voice| voice.post == post) else {
            return;
        };
        let part_bytes = self.part_bytes;
        let parts = report.to_parts(part_bytes).or_else(|error| {
            let (topic, partition) = (&*source.topic, source.partition);
            tracing::error!(%error, topic, partition, "what a partition taught cannot be written");
            // The others must not wait for it all the same.
            Report { lessons: Lessons::new(), ..report.clone() }.to_parts(part_bytes)
        });
        let parts = parts.unwrap_or_default();
        let (first, count) = (voice.waiting.len(), parts.len());
        for (index, bytes) in parts.into_iter().enumerate() {
            let more = index + 1 < count;
            let ledger = voice.ledger.as_ref().filter(|_| !more);
            let ticket = ledger.zip(offset).map(|(ledger, offset)| ledger.ticket(offset));
            let waiting = Waiting { seq: voice.next_seq, more, bytes, ticket, written: 0 };
            voice.next_seq += 1;
            voice.waiting.push_back(waiting);
        }
        self.send_from(source, first);
    }

    /// Says that these are not waited for. Whoever waits asks often; it is said now and then.
    pub fn leave_out(&mut self, epoch: i64, sources: Vec<SourceId>) {
        let said = self.left_out.filter(|(known, _)| *known == epoch);
        if sources.is_empty() || said.is_some_and(|(_, at)| at.elapsed() < LEAVE_OUT_AGAIN) {
            return;
        }
        self.left_out = Some((epoch, Moment::now()));
        self.append(Entry::LeftOut { epoch, sources });
    }

    /// Appends an entry that is about no partition's report.
    pub fn append(&mut self, entry: Entry) {
        let key = self.key(self.written);
        self.written += 1;
        match (Logged { writer: self.writer, entry }).to_bytes() {
            Ok(bytes) => self.sink.append(&key, Some(&bytes)),
            Err(error) => tracing::error!(%error, "an entry cannot be written"),
        }
    }

    /// The key of the entry of this number.
    fn key(&self, written: u64) -> Vec<u8> {
        format!("entry/{:016x}/{written}", self.writer).into_bytes()
    }

    /// Appends a record as it is.
    pub fn append_record(&self, key: &[u8], payload: Option<&[u8]>) {
        self.sink.append(key, payload);
    }

    /// An entry was read: what has taken effect is settled, what was passed over is sent again.
    pub fn read_back(&mut self, board: &Board, taken: &Taken) {
        let Some(source) = &taken.source else { return };
        let Some(voice) = self.voices.get_mut(source) else { return };
        let Some(member) = board.member(source) else { return };
        if member.owner != voice.owner {
            if member.owner > voice.owner {
                voice.overtaken.get_or_insert_with(Moment::now);
            }
            return;
        }
        voice.overtaken = None;
        voice.settle(member.next_seq);
        if taken.outcome == Outcome::Early && taken.writer == self.writer {
            self.send_again(source);
        }
    }

    /// The board was put up anew: settles what it shows to have taken effect.
    pub fn loaded(&mut self, board: &Board) {
        for (source, voice) in &mut self.voices {
            let member = board.member(source).filter(|member| member.owner == voice.owner);
            if let Some(member) = member {
                voice.settle(member.next_seq);
            }
        }
    }

    /// Looks after what may have been lost or was too large, now and then. Tells what was too large,
    /// and whether it is sent in smaller parts.
    pub fn tend(&mut self, board: &Board) -> Vec<(RefusedEntry, bool)> {
        let refused = self.sink.take_refused();
        let told = refused.into_iter().map(|entry| (self.make_smaller(board, &entry), entry));
        let told: Vec<(RefusedEntry, bool)> =
            told.map(|(smaller, entry)| (entry, smaller)).collect();
        self.tend_lost(board);
        told
    }

    fn tend_lost(&mut self, board: &Board) {
        let again = self.kept.take_if(|since| since.elapsed() >= KEPT_AGAIN).is_some();
        let lost = self.sink.may_have_lost() || again;
        if !lost && self.voices.values().all(|voice| voice.overtaken.is_none()) {
            return;
        }
        let sources: Vec<SourceId> = self.voices.keys().cloned().collect();
        let patience = self.take_back_after;
        for source in sources {
            let Some(voice) = self.voices.get_mut(&source) else { continue };
            let is_due = voice.overtaken.is_some_and(|since| since.elapsed() >= patience);
            if is_due {
                voice.take_back(board.member(&source).map_or(0, |member| member.owner));
            }
            if is_due || lost {
                self.take_again(board, &source);
                self.send_again(&source);
            }
        }
    }

    /// Reports that have not taken effect.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.voices.values().map(|voice| voice.waiting.len()).sum()
    }

    fn take_again(&mut self, board: &Board, source: &SourceId) {
        let Some(owner) = self.voices.get(source).map(|voice| voice.owner) else { return };
        if board.member(source).is_none_or(|member| member.owner < owner) {
            self.append(Entry::Took { source: source.clone(), owner });
        }
    }

    /// An entry was too large. What it was a part of is sent in smaller ones from now on, unless it
    /// is as small as can be. Returns whether it is.
    fn make_smaller(&mut self, board: &Board, refused: &RefusedEntry) -> bool {
        self.part_bytes = self.part_bytes.min((refused.bytes / 2).max(PART_BYTES_MIN));
        let part_bytes = self.part_bytes;
        let (mut is_smaller, mut again) = (refused.bytes > PART_BYTES_MIN * 2, None);
        let sources: Vec<SourceId> = self.voices.keys().cloned().collect();
        for source in sources {
            let Some(place) = self.place_of(&source, &refused.key) else { continue };
            let counted = board.member(&source).map_or(0, |member| member.next_seq);
            let Some(voice) = self.voices.get_mut(&source) else { continue };
            is_smaller = voice.split(place, part_bytes, counted);
            again = is_smaller.then_some((source, place));
        }
        match again {
            Some((source, place)) => self.send_from(&source, place),
            None if !is_smaller => self.kept = self.kept.or_else(|| Some(Moment::now())),
            None => {}
        }
        is_smaller
    }

    /// Which part of those that wait was last sent under `key`.
    fn place_of(&self, source: &SourceId, key: &[u8]) -> Option<usize> {
        let voice = self.voices.get(source)?;
        voice.waiting.iter().position(|it| self.key(it.written) == key)
    }

    fn send_again(&mut self, source: &SourceId) {
        self.send_from(source, 0);
    }

    /// Sends what waits, from the `first` on, each under a new key.
    fn send_from(&mut self, source: &SourceId, first: usize) {
        let Some(voice) = self.voices.get_mut(source) else { return };
        let owner = voice.owner;
        let mut entries = Vec::new();
        for (number, waiting) in (self.written..).zip(voice.waiting.iter_mut().skip(first)) {
            waiting.written = number;
            entries.push(waiting.entry(source, owner));
        }
        for entry in entries {
            self.append(entry);
        }
    }

    /// What a voice has not said will be said by whoever reads the partition again from where it is
    /// committed, so it holds nothing back.
    fn silence(&mut self, source: &SourceId) {
        let Some(voice) = self.voices.remove(source) else { return };
        for waiting in voice.waiting {
            if let Some(ticket) = waiting.ticket {
                ticket.settle();
            }
        }
    }
}

impl Waiting {
    fn entry(&self, source: &SourceId, owner: u64) -> Entry {
        Entry::Part {
            source: source.clone(),
            owner,
            seq: self.seq,
            more: self.more,
            bytes: self.bytes.clone(),
        }
    }
}

impl Voice {
    /// Everything before `next_seq` has been read back. A report is kept until its last part has.
    fn settle(&mut self, next_seq: u64) {
        let ended = |waiting: &Waiting| waiting.seq < next_seq && !waiting.more;
        let whole = self.waiting.iter().rposition(ended).map_or(0, |last| last + 1);
        for waiting in self.waiting.drain(..whole) {
            if let Some(ticket) = waiting.ticket {
                ticket.settle();
            }
        }
    }

    /// Makes parts of at most `part_bytes` of the one at `place`, and of those behind it, unless it
    /// has counted, as those below `counted` have, or is no longer than that. Returns whether it did.
    fn split(&mut self, place: usize, part_bytes: usize, counted: u64) -> bool {
        let is_due = |it: &Waiting| it.seq >= counted && it.bytes.len() > part_bytes;
        if !self.waiting.get(place).is_some_and(is_due) {
            return false;
        }
        let behind = self.waiting.split_off(place);
        self.next_seq = behind.front().map_or(self.next_seq, |it| it.seq);
        for part in behind {
            let Waiting { more, bytes, mut ticket, .. } = part;
            let pieces = bytes.len().div_ceil(part_bytes).max(1);
            // A part may be empty: its report may not go without its end.
            for number in 0..pieces {
                let is_last = number + 1 == pieces;
                let piece = bytes.iter().skip(number * part_bytes).take(part_bytes);
                self.waiting.push_back(Waiting {
                    seq: self.next_seq,
                    more: more || !is_last,
                    bytes: piece.copied().collect(),
                    ticket: if is_last { ticket.take() } else { None },
                    written: 0,
                });
                self.next_seq += 1;
            }
        }
        true
    }

    /// Speaks up again, after whoever spoke as `other`, and tells all that has not taken effect.
    fn take_back(&mut self, other: u64) {
        self.owner = self.owner.max(other).saturating_add(1);
        self.overtaken = None;
        for (seq, waiting) in (0_u64..).zip(&mut self.waiting) {
            waiting.seq = seq;
        }
        self.next_seq = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
    }
}
