//! Tests of boards that follow one log: several instances, whose partitions stop, move, repeat and
//! hand out, over a log that loses records and is compacted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use crate::baseline::peers::{Fact, GroupKey};
use crate::event::{HOUR_NS, Timestamp};
use crate::kafka::{Ledger, RefusedEntry};
use crate::pipeline::epochs::board::{Member, Outcome};
use crate::pipeline::epochs::entry::{Entry, Handed, Logged, PART_BYTES, SourceId};
use crate::pipeline::epochs::follower::{Follower, Step};
use crate::pipeline::epochs::kept::{Kept, Lessons};
use crate::pipeline::epochs::link::{Link, LogSink};
use crate::pipeline::epochs::snapshot::{Snapshot, SnapshotPart};
use crate::pipeline::epochs::{Closed, EpochLog, PeerBoard, Post};
use crate::state::PartitionId;

pub(super) const GROUP: GroupKey = GroupKey(7);

/// Partitions of the one source topic.
const PARTITIONS: i32 = 3;

/// Calls of one partition in an hour, and in all.
const CALLS_AN_HOUR: i64 = 4;
const CALLS: i64 = 60;

/// A record as it stands in the log: offset, key and value.
type Record = (i64, Vec<u8>, Option<Vec<u8>>);

/// A log in memory that may lose what is appended.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryLog {
    records: Arc<Mutex<Vec<Record>>>,
    pub(super) loses: Arc<AtomicBool>,
    lost: Arc<AtomicBool>,
    /// The longest value it takes; 0 is any.
    pub(super) bytes_max: Arc<AtomicUsize>,
    refused: Arc<Mutex<Vec<RefusedEntry>>>,
}

impl LogSink for MemoryLog {
    fn append(&self, key: &[u8], payload: Option<&[u8]>) {
        let (bytes, most) =
            (payload.map_or(0, <[u8]>::len), self.bytes_max.load(Ordering::Relaxed));
        if most > 0 && bytes > most {
            self.refused.lock().unwrap().push(RefusedEntry { key: key.to_vec(), bytes });
            return;
        }
        if self.loses.load(Ordering::Relaxed) {
            self.lost.store(true, Ordering::Relaxed);
            return;
        }
        let mut records = self.records.lock().unwrap();
        let offset = i64::try_from(records.len()).unwrap();
        records.push((offset, key.to_vec(), payload.map(<[u8]>::to_vec)));
    }

    fn may_have_lost(&self) -> bool {
        self.lost.swap(false, Ordering::Relaxed)
    }

    fn take_refused(&self) -> Vec<RefusedEntry> {
        std::mem::take(&mut *self.refused.lock().unwrap())
    }
}

impl MemoryLog {
    pub(super) fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }

    pub(super) fn push(&self, writer: u64, entry: Entry) {
        let key = format!("entry/test/{}", self.records().len());
        let bytes = Logged { writer, entry }.to_bytes().unwrap();
        self.append(key.as_bytes(), Some(&bytes));
    }
}

/// An instance: its board and how far it has read the log.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) board: PeerBoard,
    pub(super) log: MemoryLog,
    read: i64,
    writer: u64,
}

impl Node {
    /// An instance that writes a snapshot after so many bytes of entries.
    pub(super) fn new(records: &MemoryLog, writer: u64, snapshots_every: u64) -> Self {
        // Losing is each instance's own affair.
        let log = MemoryLog { records: Arc::clone(&records.records), ..MemoryLog::default() };
        let board = PeerBoard::default();
        let link = Link::new(Box::new(log.clone()), writer, Arc::from([Arc::from("calls")]));
        // Nobody waits here for as long as a judge takes to find out that it has lost a partition.
        let link = link.taking_back_after(Duration::MAX);
        drop(board.follow(link, Follower::with_snapshots_every(snapshots_every)));
        Self { board, log, read: 0, writer }
    }

    /// Reads the next `count` records of those that are there.
    fn read(&mut self, count: usize) -> Vec<Step> {
        let from = usize::try_from(self.read).unwrap();
        let tail = self.log.records.lock().unwrap()[from..].to_vec();
        self.read_of(&tail, count)
    }

    pub(super) fn read_all(&mut self) -> Vec<Step> {
        self.read(usize::MAX)
    }

    fn read_of(&mut self, records: &[Record], count: usize) -> Vec<Step> {
        let from = self.read;
        let next = records.iter().filter(|(offset, ..)| *offset >= from).take(count);
        let mut steps = Vec::new();
        for (offset, key, payload) in next {
            let step = self.board.read(*offset, key, payload.as_deref());
            self.read = offset + 1;
            if step.due == Some(self.writer) {
                self.write_snapshot();
            }
            if step.whole.is_some_and(|(_, writer)| writer == self.writer) {
                let log = self.log.clone();
                self.board.with_log(|_, _, follower| {
                    follower.outdated().iter().for_each(|key| log.append(key, None));
                });
            }
            steps.push(step);
        }
        drop(self.board.with_log(|board, link, _| link.tend(board)));
        steps
    }

    fn write_snapshot(&self) {
        let (position, snapshot) =
            self.board.with_log(|board, _, follower| follower.snapshot(board)).unwrap();
        self.append_snapshot(position, &snapshot, 3);
    }

    /// Writes a snapshot in at least `count` parts.
    pub(super) fn append_snapshot(&self, position: i64, snapshot: &Snapshot, count: usize) {
        let packed = snapshot.to_parts(PART_BYTES).unwrap().concat();
        let parts: Vec<_> = packed.chunks(packed.len().div_ceil(count)).collect();
        for (index, bytes) in (0_u32..).zip(&parts) {
            let (name, count) = ((position, self.writer), u32::try_from(parts.len()).unwrap());
            let part = SnapshotPart { name, index, count, bytes: bytes.to_vec() };
            self.log.append(&part.key(), Some(&part.to_bytes().unwrap()));
        }
    }

    /// Everything that stands on the board.
    pub(super) fn standing(&self) -> (Kept, BTreeMap<SourceId, Member>) {
        self.board.with_log(|board, _, _| (board.kept(), board.members().clone())).unwrap()
    }

    /// Agents known or waiting to be, and those known up to an epoch.
    fn agents(&self) -> u64 {
        let pending = self.board.kept().pending;
        let pending = pending.values().flat_map(BTreeMap::values).map(|it| it.agents);
        self.board.newest().group(GROUP).map_or(0, |it| it.agents) + pending.sum::<u64>()
    }

    pub(super) fn agents_upto(&self, epoch: i64) -> Option<u64> {
        Some(self.board.peers(epoch)?.group(GROUP).map_or(0, |it| it.agents))
    }
}

pub(super) fn source(partition: i32) -> SourceId {
    SourceId { topic: Arc::from("calls"), partition }
}

pub(super) fn outcomes(steps: &[Step]) -> Vec<Outcome> {
    steps.iter().flat_map(|step| step.taken.iter().map(|it| it.outcome.clone())).collect()
}

/// What a partition's judge keeps over a stop.
#[derive(Clone, Debug, Default)]
struct Marker {
    next: i64,
    closed: Option<i64>,
    handed: Option<Handed>,
    open: Lessons,
}

/// One partition's judge, cut down to what it teaches: one agent a call.
#[derive(Debug)]
struct Partition {
    id: PartitionId,
    node: usize,
    post: Post,
    log: EpochLog,
    ledger: Ledger,
    next: i64,
    joined: bool,
    idle: bool,
    flushing: Option<Marker>,
    marker: Marker,
}

impl Partition {
    fn new(nodes: &[Node], node: usize, number: i32, marker: Marker) -> Self {
        let id = PartitionId { topic: 0, partition: number };
        let post = nodes[node].board.join(id);
        let ledger = Ledger::default();
        nodes[node].board.guard(post, ledger.clone());
        let log = EpochLog::from_parts(marker.closed, marker.open.clone()).after(marker.handed);
        let mut it = Self {
            id,
            node,
            post,
            log,
            ledger,
            next: marker.next,
            joined: false,
            idle: false,
            flushing: None,
            marker,
        };
        let done = Closed { upto: it.marker.closed, summaries: Lessons::new() };
        nodes[node].board.publish(post, &mut it.log, done, (it.next - 1).max(0));
        it
    }

    fn is_joined(&mut self, nodes: &[Node]) -> bool {
        self.joined = self.joined || nodes[self.node].board.is_joined(self.post, &mut self.log);
        self.joined
    }

    fn hour(&self) -> i64 {
        self.next / CALLS_AN_HOUR
    }

    /// Judges one call, unless it waits. With `waits` it waits for its peers, too.
    fn judge(&mut self, nodes: &[Node], waits: bool) {
        let board = &nodes[self.node].board;
        if self.next >= CALLS || !self.is_joined(nodes) {
            return;
        }
        if std::mem::take(&mut self.idle) {
            board.wake(self.post, &self.log);
        }
        if self.log.told_until(self.next).is_some() {
            self.log.all_told();
        }
        if let Some(closed) = self.log.close(Timestamp::from_nanos(self.hour() * HOUR_NS), 0) {
            // The call that closes it may be held and read again; what is flushed lies below it.
            board.publish(self.post, &mut self.log, closed, (self.next - 1).max(0));
        }
        if waits && board.peers(self.hour() - 2).is_none() {
            return;
        }
        self.log.note(self.hour(), GROUP, &Fact::Agent);
        self.next += 1;
    }

    fn rest(&mut self, nodes: &[Node]) {
        if self.idle || !self.is_joined(nodes) {
            return;
        }
        self.idle = true;
        let handed = (self.next, Timestamp::from_nanos(self.hour() * HOUR_NS));
        let offset = (self.next - 1).max(0);
        nodes[self.node].board.rest(self.post, &mut self.log, handed, offset);
    }

    /// Begins a flush, or ends the one that was begun if everything before it has arrived.
    fn flush(&mut self) {
        let Some(marker) = self.flushing.take() else {
            self.flushing = Some(Marker {
                next: self.next,
                closed: self.log.closed(),
                handed: self.log.handed(),
                open: self.log.open().clone(),
            });
            return;
        };
        if self.ledger.lowest_open().is_some_and(|open| open < marker.next) {
            self.flushing = Some(marker);
        } else {
            self.marker = marker;
        }
    }

    /// Another instance goes on from what was flushed. This one does not know.
    fn moved(&self, nodes: &[Node], node: usize) -> Self {
        Self::new(nodes, node, self.id.partition, self.marker.clone())
    }
}

/// What happens next: an action, who acts, and how much.
type Action = (u8, u8, u8);

/// Several instances with their partitions, and judges that do not know they lost theirs.
struct World {
    log: MemoryLog,
    nodes: Vec<Node>,
    partitions: Vec<Partition>,
    zombies: Vec<Partition>,
    loses: bool,
}

impl World {
    fn new(snapshots_every: u64) -> Self {
        let log = MemoryLog::default();
        let mut nodes: Vec<Node> =
            (1..=3).map(|writer| Node::new(&log, writer, snapshots_every)).collect();
        log.push(1, Entry::Members(vec![(Arc::from("calls"), PARTITIONS)]));
        nodes.iter_mut().for_each(|node| drop(node.read_all()));
        let partitions = (0..PARTITIONS)
            .map(|number| {
                let node = usize::try_from(number).unwrap() % nodes.len();
                Partition::new(&nodes, node, number, Marker::default())
            })
            .collect();
        Self { log, nodes, partitions, zombies: Vec::new(), loses: false }
    }

    fn act(&mut self, (action, who, much): Action, idles: bool) {
        let Self { nodes, partitions, zombies, .. } = self;
        let node = usize::from(who) % nodes.len();
        let place = usize::from(who) % partitions.len();
        match action % 8 {
            0..=2 => (0..=much % 8).for_each(|_| partitions[place].judge(nodes, !idles)),
            3 | 4 => drop(nodes[node].read(usize::from(much % 16))),
            5 => partitions[place].flush(),
            6 if idles => partitions[place].rest(nodes),
            _ => match much % 8 {
                0 => {
                    let moved = partitions[place].moved(nodes, usize::from(much / 8) % 3);
                    let before = std::mem::replace(&mut partitions[place], moved);
                    // It stays in the hands of an instance only if that is another one.
                    if before.node != partitions[place].node {
                        zombies.push(before);
                    }
                }
                1 => {
                    for zombie in zombies.iter_mut() {
                        zombie.judge(nodes, false);
                        if idles {
                            zombie.rest(nodes);
                        }
                    }
                }
                2 => {
                    self.loses = !self.loses;
                    nodes[node].log.loses.store(self.loses, Ordering::Relaxed);
                }
                3 => drop(nodes[node].board.with_log(|board, link, _| link.tend(board)).unwrap()),
                4 if idles => {
                    let late = nodes[node].board.leave_out_laggards(i64::from(much / 8));
                    assert!(late.is_empty(), "it is for the log to say");
                }
                5 => nodes[node].write_snapshot(),
                _ => {}
            },
        }
    }

    /// Everything is judged and read; judges that lost their partitions have noticed.
    fn finish(&mut self) {
        for node in &self.nodes {
            node.log.loses.store(false, Ordering::Relaxed);
        }
        for zombie in &mut self.zombies {
            self.nodes[zombie.node].board.leave(zombie.post, &mut zombie.log);
        }
        for _ in 0..CALLS + 20 {
            for partition in &mut self.partitions {
                partition.judge(&self.nodes, false);
            }
            self.nodes.iter_mut().for_each(|node| drop(node.read_all()));
        }
        for partition in &mut self.partitions {
            assert_eq!(partition.next, CALLS, "{partition:?}");
            partition.idle = false;
            partition.rest(&self.nodes);
        }
        for _ in 0..20 {
            self.nodes.iter_mut().for_each(|node| drop(node.read_all()));
        }
    }
}

/// The log after compaction up to `upto`: of each key the last record, and no deletions.
fn compacted(records: &[Record], upto: i64) -> Vec<Record> {
    let mut last: BTreeMap<&[u8], i64> = BTreeMap::new();
    for (offset, key, _) in records.iter().filter(|(offset, ..)| *offset < upto) {
        last.insert(key, *offset);
    }
    let stays = |(offset, key, payload): &&Record| {
        *offset >= upto || (payload.is_some() && last.get(&**key) == Some(offset))
    };
    records.iter().filter(stays).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Partitions stop and go on elsewhere from what was flushed, hand out and wake, are left out,
    /// their former owners speak on, records are lost: every instance knows the same, and every
    /// call has taught once.
    #[test]
    fn whatever_happens_all_know_the_same_and_nothing_counts_twice(
        actions in prop::collection::vec(any::<Action>(), 0..300),
    ) {
        let mut world = World::new(u64::MAX);
        for action in actions {
            world.act(action, true);
        }
        world.finish();
        let standing = world.nodes[0].standing();
        for node in &world.nodes[1..] {
            prop_assert_eq!(&node.standing(), &standing);
        }
        let told = u64::try_from(CALLS).unwrap() * 3;
        prop_assert_eq!(world.nodes[0].agents(), told);
    }

    /// Without idle or left out partitions each hour is known as one process would know it, however
    /// often partitions move.
    #[test]
    fn each_hour_is_known_as_a_single_process_would_know_it(
        actions in prop::collection::vec(any::<Action>(), 0..300),
    ) {
        let mut world = World::new(u64::MAX);
        for action in actions {
            world.act(action, false);
        }
        world.finish();
        let hours = CALLS / CALLS_AN_HOUR;
        // Older versions have made room.
        for hour in hours - 8..hours - 1 {
            let upto = u64::try_from((hour + 1) * CALLS_AN_HOUR).unwrap() * 3;
            prop_assert_eq!(world.nodes[1].agents_upto(hour), Some(upto), "hour {}", hour);
        }
    }

    /// Whoever starts from a compacted log, or comes back to one, knows what the others know.
    #[test]
    fn a_snapshot_and_what_follows_are_the_whole_log(
        actions in prop::collection::vec(any::<Action>(), 0..300),
        cleaned in 0..100_i64,
        lagging in 0..40_usize,
    ) {
        let mut world = World::new(4_000);
        let mut frozen = Node::new(&world.log, 9, u64::MAX);
        drop(frozen.read(lagging));
        for action in actions {
            world.act(action, true);
        }
        world.finish();
        let records = world.log.records();
        let end = i64::try_from(records.len()).unwrap();
        let compacted = compacted(&records, end * cleaned / 100);
        let mut fresh = Node::new(&world.log, 8, u64::MAX);
        let standing = world.nodes[0].standing();
        for node in [&mut frozen, &mut fresh] {
            drop(node.read_of(&compacted, usize::MAX));
            drop(node.board.read_to_end());
            prop_assert_eq!(&node.standing(), &standing);
        }
    }

    /// What is not taken any more is missed by nobody who finds a snapshot behind it; and what nobody
    /// vouches for changes nothing for those who follow.
    #[test]
    fn what_is_passed_over_is_missed_by_nobody_who_finds_a_snapshot_behind_it(
        actions in prop::collection::vec(any::<Action>(), 0..200),
        every in 1..4_i64,
    ) {
        let mut world = World::new(4_000);
        for action in actions {
            world.act(action, true);
        }
        world.finish();
        let place = i64::try_from(world.log.records().len()).unwrap();
        world.nodes[0].write_snapshot();
        // The second time what it has deleted by then.
        (0..2).for_each(|_| drop(world.nodes[0].read_all()));
        let standing = world.nodes[0].standing();
        let mut fresh = Node::new(&world.log, 8, u64::MAX);
        for (offset, key, payload) in world.log.records() {
            let step = if offset < place && offset % every == 0 {
                fresh.board.pass_over(offset)
            } else {
                fresh.board.read(offset, &key, payload.as_deref())
            };
            prop_assert!(!step.replaced && !step.lost);
        }
        prop_assert!(!fresh.board.read_to_end().lost);
        prop_assert_eq!(&fresh.standing(), &standing);
        let end = i64::try_from(world.log.records().len()).unwrap();
        for node in [&mut fresh, &mut world.nodes[0]] {
            // The other one has been at work for long.
            drop(node.board.read_to_end());
            drop(node.board.pass_over(end));
            let is_following = node.board.with_log(|_, _, follower| follower.is_following());
            prop_assert_eq!(is_following, Some(true));
            prop_assert_eq!(&node.standing(), &standing);
        }
    }
}
