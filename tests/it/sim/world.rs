//! The cluster of a simulation: logs, consumer groups, and records on their way. Everything in it
//! happens at a moment drawn from the seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use toolwarden::event::Timestamp;
use toolwarden::kafka::{Commits, OutgoingRecord, Parcel, PlainRecord, Rebalanced, TopicPartition};

use crate::sim::receiver::Told;

/// Partitions of the source topic, and of the state topic with it.
pub(crate) const PARTITIONS: i32 = 3;

/// Partitions of the alerts topic, and of the deliveries topic with it.
pub(crate) const ALERT_PARTITIONS: i32 = 2;

/// How long the group waits for a member that says nothing, in milliseconds.
pub(crate) const SESSION_MS: u64 = 30_000;

/// How long compaction leaves a record alone (`min.compaction.lag.ms`).
const COMPACTION_LAG_MS: u64 = 30 * 60_000;

/// What is done otherwise than in the product, or than in Kafka as it is to be set up. A simulation
/// that does not find it would find nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// What was read is committed, whether it is written down or not.
    CommitBeforeMarker,
    /// Alerts count as acknowledged when they are sent, so that state overtakes them.
    AlertsAfterState,
    /// Agents count as acknowledged when they are sent, so that markers overtake them.
    MarkerBeforeAgents,
    /// Of each key the last record is read back, not the one that reflects most.
    LastCounts,
    /// The group takes commits of whoever has lost the partition.
    ZombieCommits,
    /// Nobody notices that records went before they were read.
    GapsUnseen,
    /// What was read of the alerts is committed, whether it is told or not.
    CommitUntold,
    /// Nobody reads back what the receiver was told.
    DeliveriesUnread,
}

/// What ends a process at any step: it unwinds from there, and no destructor of it says a word.
#[derive(Debug)]
pub(crate) struct Killed;

/// One partition of one topic.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The oldest offset there is.
    pub(crate) low: i64,
    next: i64,
    records: Vec<(u64, Arc<PlainRecord>)>,
}

impl Log {
    /// The offset the next record gets.
    pub(crate) const fn high(&self) -> i64 {
        self.next
    }

    /// The first record at or after `offset`.
    pub(crate) fn at(&self, offset: i64) -> Option<&Arc<PlainRecord>> {
        let place = self.records.partition_point(|(_, it)| it.offset < offset);
        self.records.get(place).map(|(_, record)| record)
    }

    /// Every record there is, the oldest first.
    pub(crate) fn records(&self) -> impl DoubleEndedIterator<Item = &Arc<PlainRecord>> {
        self.records.iter().map(|(_, record)| record)
    }

    fn append(&mut self, now_ms: u64, mut record: PlainRecord) -> i64 {
        record.offset = self.next;
        self.next += 1;
        self.records.push((now_ms, Arc::new(record)));
        self.next - 1
    }

    /// Removes records whose key has a later one, but none that is young.
    fn compact(&mut self, now_ms: u64) -> usize {
        let before = self.records.len();
        let mut later = BTreeSet::new();
        let newest = self.records.iter().rev().map(|(written_ms, record)| {
            let is_later = !later.insert(record.key.clone());
            !is_later || written_ms + COMPACTION_LAG_MS > now_ms
        });
        let mut keeps: Vec<bool> = newest.collect();
        self.records.retain(|_| keeps.pop().unwrap());
        before - self.records.len()
    }

    /// Removes what is older than `offset`.
    fn truncate(&mut self, offset: i64) {
        self.low = self.low.max(offset);
        let low = self.low;
        self.records.retain(|(_, record)| record.offset >= low);
    }
}

/// A member of a group, as the broker and as its own client see it.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    /// The broker has given it up.
    pub(crate) is_out: bool,
    /// When its client learns that.
    learns_ms: u64,
    /// Rebalances its client has not served.
    incoming: VecDeque<Rebalanced>,
    /// What was served and its worker has not asked for.
    pub(crate) notes: VecDeque<Rebalanced>,
    /// Partitions that are to go and were not let go of.
    pub(crate) leaving: Vec<TopicPartition>,
    /// Where reading stands, and whether it is paused.
    pub(crate) positions: BTreeMap<i32, (i64, bool)>,
    /// Partitions that its client will go back to the beginning of, and when.
    pub(crate) goes_back: BTreeMap<i32, u64>,
    pub(crate) finished: BTreeMap<TopicPartition, i64>,
    /// The last number under which a commit was asked for, and how commits ended.
    pub(crate) asked: u64,
    pub(crate) commits: Commits,
    pub(crate) defers: bool,
    /// How often its client went on elsewhere because what was to be read next had gone.
    pub(crate) resets: u64,
}

/// A consumer group of one topic.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) topic: Arc<str>,
    partitions: i32,
    pub(crate) members: BTreeMap<u64, Membership>,
    /// Whose each partition is, for the broker.
    pub(crate) owners: BTreeMap<i32, u64>,
    /// How often each partition was given to somebody.
    turns: BTreeMap<i32, u64>,
    plan: BTreeMap<i32, u64>,
    pub(crate) committed: BTreeMap<i32, i64>,
}

impl Group {
    pub(crate) fn new(topic: &str, partitions: i32) -> Self {
        Self {
            topic: topic.into(),
            partitions,
            members: BTreeMap::new(),
            owners: BTreeMap::new(),
            turns: BTreeMap::new(),
            plan: BTreeMap::new(),
            committed: BTreeMap::new(),
        }
    }

    /// Which of the turns of a partition this member has, if it is its own.
    pub(crate) fn turn_of(&self, member: u64, partition: i32) -> Option<u64> {
        let is_its = self.owners.get(&partition) == Some(&member);
        self.turns.get(&partition).copied().filter(|_| is_its)
    }

    pub(crate) fn name(&self, partition: i32) -> TopicPartition {
        TopicPartition { topic: Arc::clone(&self.topic), partition }
    }

    /// The group has not heard of a member: its partitions go to others. Its client learns of it at
    /// `learns_ms`.
    pub(crate) fn give_up(&mut self, member: u64, learns_ms: u64) {
        if let Some(it) = self.members.get_mut(&member).filter(|it| !it.is_out) {
            (it.is_out, it.learns_ms) = (true, learns_ms);
        }
        self.owners.retain(|_, owner| *owner != member);
    }

    /// Somebody else is to have each partition, drawn.
    pub(crate) fn shuffle(&mut self, random: &mut Rng) {
        let live: Vec<u64> = self.live();
        for partition in 0..self.partitions {
            if let Some(member) = random.choice(&live) {
                self.plan.insert(partition, *member);
            }
        }
    }

    fn live(&self) -> Vec<u64> {
        self.members.iter().filter(|(_, it)| !it.is_out).map(|(id, _)| *id).collect()
    }

    /// Takes the assignment a step towards what is planned.
    pub(crate) fn balance(&mut self, random: &mut Rng) {
        let live = self.live();
        for partition in 0..self.partitions {
            if self.plan.get(&partition).is_none_or(|it| !live.contains(it)) {
                let Some(member) = random.choice(&live) else { return };
                self.plan.insert(partition, *member);
            }
            let (wanted, name) = (self.plan[&partition], self.name(partition));
            match self.owners.get(&partition) {
                Some(owner) if *owner == wanted => {}
                Some(owner) => {
                    let it = self.members.get_mut(owner).unwrap();
                    let is_told = it.leaving.contains(&name)
                        || it.incoming.iter().any(
                            |note| matches!(note, Rebalanced::Revoking(names) if names.contains(&name)),
                        );
                    if !is_told {
                        it.incoming.push_back(Rebalanced::Revoking(vec![name]));
                    }
                }
                None => {
                    self.owners.insert(partition, wanted);
                    *self.turns.entry(partition).or_default() += 1;
                    let it = self.members.get_mut(&wanted).unwrap();
                    it.incoming.push_back(Rebalanced::Assigned(vec![name]));
                }
            }
        }
    }

    /// Whether the member's client knows that its partitions are lost.
    pub(crate) fn is_lost(&self, member: u64, now_ms: u64) -> bool {
        self.members.get(&member).is_some_and(|it| it.is_out && it.learns_ms <= now_ms)
    }

    /// Serves what a rebalance brought, as a poll does. Returns whether there was anything.
    pub(crate) fn serve(&mut self, member: u64, now_ms: u64, low: impl Fn(i32) -> i64) -> bool {
        let is_lost = self.is_lost(member, now_ms);
        let (topic, committed) = (Arc::clone(&self.topic), &self.committed);
        let it = self.members.get_mut(&member).unwrap();
        if !it.leaving.is_empty() {
            return false;
        }
        if is_lost {
            let name = |partition: &i32| TopicPartition {
                topic: Arc::clone(&topic),
                partition: *partition,
            };
            let names: Vec<TopicPartition> = it.positions.keys().map(name).collect();
            it.positions.clear();
            it.finished.clear();
            it.incoming.clear();
            // It joins again, with nothing.
            it.is_out = false;
            if !names.is_empty() {
                it.notes.push_back(Rebalanced::Lost(names));
            }
            return true;
        }
        if it.is_out {
            return false;
        }
        let Some(note) = it.incoming.pop_front() else { return false };
        match &note {
            Rebalanced::Assigned(names) => {
                for name in names {
                    let from = committed.get(&name.partition).copied();
                    let from = from.unwrap_or_else(|| low(name.partition));
                    it.positions.insert(name.partition, (from, false));
                }
            }
            Rebalanced::Revoking(names) => it.leaving.clone_from(names),
            Rebalanced::Revoked(_) | Rebalanced::Lost(_) => unreachable!("nobody says so"),
        }
        it.notes.push_back(note);
        true
    }
}

/// How a record fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    /// The broker has not got it, and says so or cannot be heard.
    Refused,
    /// The broker has it, and cannot be heard.
    Unheard,
}

/// A record on its way.
#[derive(Debug)]
struct Flying {
    life: u64,
    /// Records of one line keep their order.
    line: (&'static str, Arc<str>, i32),
    record: OutgoingRecord,
    parcel: Option<Parcel>,
    due_ms: u64,
    fate: Fate,
    /// Where it stands, and when that is heard.
    stands: Option<(i64, u64)>,
}

/// How often each fault was met.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met {
    pub(crate) crashes: u32,
    pub(crate) frozen: u32,
    pub(crate) given_up: u32,
    pub(crate) refused: u32,
    pub(crate) unheard: u32,
    pub(crate) moved: u32,
    pub(crate) unread: u32,
    pub(crate) jumps: u32,
    pub(crate) commits_refused: u32,
    pub(crate) cut_off: u32,
    /// Partitions that a client read once more from their beginning.
    pub(crate) again: u32,
    /// Records that compaction took.
    pub(crate) compacted: u32,
    /// Attempts that the receiver did not take, or of which nobody heard that it did.
    pub(crate) untold: u32,
    /// Notifications that the receiver took again.
    pub(crate) told_again: u32,
    /// Notifications of an incident that another agent's alert had told.
    pub(crate) joined: u32,
}

/// The cluster, and what there is beside the instances.
#[derive(Debug)]
pub(crate) struct World {
    /// Time passed, in milliseconds.
    pub(crate) now_ms: u64,
    pub(crate) random: Rng,
    pub(crate) logs: BTreeMap<(Arc<str>, i32), Log>,
    pub(crate) detect: Group,
    pub(crate) deliver: Group,
    pub(crate) broken: Broken,
    /// Whether faults happen.
    pub(crate) is_rough: bool,
    /// Steps until the process that is at work dies.
    pub(crate) fuse: Option<u32>,
    /// Lives that stand still.
    pub(crate) frozen: BTreeSet<u64>,
    pub(crate) met: Met,
    /// What must never be, and was.
    pub(crate) wrongs: Vec<String>,
    /// Everything that was ever written to topics that retention shortens.
    pub(crate) told: Vec<Arc<PlainRecord>>,
    /// Who took each partition of the source over, the last one last.
    pub(crate) takers: BTreeMap<i32, Vec<u64>>,
    pub(crate) receiver: Told,
    flying: VecDeque<Flying>,
    /// The wall time at which everything begins.
    begins: Timestamp,
    /// From then on the wall clock stands, so that every end has the same time.
    pub(crate) stands_from: Option<Timestamp>,
}

/// The world, shared by everything in it; all on one thread.
pub(crate) type Everything = Arc<Mutex<World>>;

pub(crate) fn lock(world: &Everything) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One step of a process: it may be its last.
pub(crate) fn step(world: &Everything) {
    let mut it = lock(world);
    let Some(fuse) = &mut it.fuse else { return };
    *fuse = fuse.saturating_sub(1);
    if *fuse == 0 {
        drop(it);
        std::panic::resume_unwind(Box::new(Killed));
    }
}

impl World {
    pub(crate) fn new(seed: u64, broken: Broken, is_rough: bool, begins: Timestamp) -> Self {
        let mut logs = BTreeMap::new();
        for (topic, partitions) in [
            ("calls", PARTITIONS),
            ("state", PARTITIONS),
            ("groups", 1),
            ("alerts", ALERT_PARTITIONS),
            ("deliveries", ALERT_PARTITIONS),
            ("audit", 1),
            ("dead-letter", 1),
        ] {
            for partition in 0..partitions {
                logs.insert((Arc::from(topic), partition), Log::default());
            }
        }
        Self {
            now_ms: 0,
            random: Rng::with_seed(seed),
            logs,
            detect: Group::new("calls", PARTITIONS),
            deliver: Group::new("alerts", ALERT_PARTITIONS),
            broken,
            is_rough,
            fuse: None,
            frozen: BTreeSet::new(),
            met: Met::default(),
            wrongs: Vec::new(),
            told: Vec::new(),
            takers: BTreeMap::new(),
            receiver: Told::default(),
            flying: VecDeque::new(),
            begins,
            stands_from: None,
        }
    }

    /// The broker's wall time.
    pub(crate) fn wall(&self) -> Timestamp {
        let wall = self.begins.plus(std::time::Duration::from_millis(self.now_ms));
        self.stands_from.map_or(wall, |end| wall.min(end))
    }

    /// Once in `n` times, while faults happen.
    pub(crate) fn once_in(&mut self, n: u32) -> bool {
        self.is_rough && self.random.u32(..n) == 0
    }

    pub(crate) fn log(&mut self, topic: &str, partition: i32) -> &mut Log {
        self.logs.get_mut(&(Arc::from(topic), partition)).unwrap()
    }

    /// Appends a record; its time is the broker's where it has none.
    pub(crate) fn append(&mut self, topic: &str, partition: i32, record: PlainRecord) -> i64 {
        let (now_ms, wall_ms) = (self.now_ms, self.wall().as_millis());
        let timestamp_ms = record.timestamp_ms.or(Some(wall_ms));
        let record = PlainRecord { topic: topic.into(), partition, timestamp_ms, ..record };
        let offset = self.log(topic, partition).append(now_ms, record);
        if matches!(topic, "alerts" | "audit" | "dead-letter") {
            let told = self.log(topic, partition).at(offset).map(Arc::clone);
            if let Some(alert) = told.as_ref().filter(|_| topic == "alerts") {
                self.receiver.note(alert);
            }
            self.told.extend(told);
        }
        offset
    }

    /// Takes a record on its way, of the outbox `line` of a life.
    pub(crate) fn send(&mut self, life: u64, line: &'static str, parcel: Parcel) {
        let record = parcel.record().clone();
        let partitions = if &*record.topic == "alerts" { ALERT_PARTITIONS } else { 1 };
        let hash =
            record.key.iter().fold(0_i32, |hash, byte| hash.wrapping_mul(31) + i32::from(*byte));
        let partition = record.partition.unwrap_or_else(|| hash.rem_euclid(partitions));
        let fate = if self.once_in(25) {
            self.met.refused += 1;
            Fate::Refused
        } else if self.once_in(25) {
            self.met.unheard += 1;
            Fate::Unheard
        } else {
            Fate::Arrives
        };
        let delay = if self.once_in(12) { 15_000 } else { 400 };
        let delay = if self.is_rough { self.random.u64(..delay) } else { 1 };
        let overtaken = matches!(
            (self.broken, line),
            (Broken::AlertsAfterState, "alerts") | (Broken::MarkerBeforeAgents, "state")
        );
        let parcel = if overtaken {
            parcel.arrived(0);
            None
        } else {
            Some(parcel)
        };
        let line = (line, Arc::clone(&record.topic), partition);
        let due_ms = self.now_ms + delay;
        self.flying.push_back(Flying { life, line, record, parcel, due_ms, fate, stands: None });
    }

    /// Records of an outbox that are on their way.
    pub(crate) fn in_flight(&self, life: u64, line: &str) -> usize {
        let is_its = |it: &&Flying| it.life == life && it.line.0 == line && it.parcel.is_some();
        self.flying.iter().filter(is_its).count()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.flying.is_empty() && self.receiver.is_quiet()
    }

    /// What is due arrives and is heard of.
    pub(crate) fn arrive(&mut self) {
        let mut waiting = BTreeSet::new();
        for mut it in std::mem::take(&mut self.flying) {
            let line = (it.life, it.line.clone());
            if it.stands.is_none() {
                let is_due = it.due_ms <= self.now_ms && !self.frozen.contains(&it.life);
                if waiting.contains(&line) || !is_due {
                    waiting.insert(line);
                    self.flying.push_back(it);
                    continue;
                }
                if it.fate == Fate::Refused {
                    // Whoever takes it for acknowledged sends nothing again.
                    if let Some(parcel) = it.parcel.take() {
                        parcel.refused("MessageTimedOut");
                    }
                    continue;
                }
                let offset = self.put(&it);
                let heard = if self.is_rough { self.random.u64(..300) } else { 0 };
                it.stands = Some((offset, self.now_ms + heard));
            }
            let (offset, heard_ms) = it.stands.unwrap();
            match it.parcel.take() {
                Some(parcel) if heard_ms <= self.now_ms && !self.frozen.contains(&it.life) => {
                    match it.fate {
                        Fate::Unheard => parcel.refused("RequestTimedOut"),
                        Fate::Arrives | Fate::Refused => parcel.arrived(offset),
                    }
                }
                Some(parcel) => {
                    it.parcel = Some(parcel);
                    self.flying.push_back(it);
                }
                None => {}
            }
        }
    }

    fn put(&mut self, it: &Flying) -> i64 {
        let (_, topic, partition) = &it.line;
        let OutgoingRecord { key, payload, .. } = it.record.clone();
        let record = PlainRecord { key: Some(key), payload, ..PlainRecord::default() };
        self.append(topic, *partition, record)
    }

    /// A life has ended: what was on its way has arrived or not, or does later, and nobody hears.
    pub(crate) fn bereave(&mut self, life: u64) {
        self.receiver.bereave(life);
        for mut it in std::mem::take(&mut self.flying) {
            if it.life == life {
                it.parcel = None;
                if it.stands.is_some() || self.random.bool() {
                    continue;
                }
            }
            self.flying.push_back(it);
        }
    }

    /// Somebody takes a partition of the source over. What the one before the last one sent is lost by
    /// now: a record that lands two owners late is the known limit that the model of the protocol
    /// shows (`row_06_a_marker_that_lands_two_owners_late_…`).
    pub(crate) fn taken_over(&mut self, partition: i32, life: u64) {
        let takers = self.takers.entry(partition).or_default();
        takers.push(life);
        let last_two: Vec<u64> = takers.iter().rev().take(2).copied().collect();
        self.flying.retain(|it| {
            let (line, _, number) = &it.line;
            *line != "state" || *number != partition || last_two.contains(&it.life)
        });
    }

    /// Compaction of everything that is compacted.
    pub(crate) fn compact(&mut self) {
        let now_ms = self.now_ms;
        let is_compacted = |topic: &str| matches!(topic, "state" | "groups" | "deliveries");
        let logs = self.logs.iter_mut().filter(|((topic, _), _)| is_compacted(topic));
        let gone: usize = logs.map(|(_, log)| log.compact(now_ms)).sum();
        self.met.compacted += u32::try_from(gone).unwrap();
    }

    /// Retention takes records that were judged, or told.
    pub(crate) fn truncate(&mut self) {
        for topic in ["calls", "alerts"] {
            let group = if topic == "calls" { &self.detect } else { &self.deliver };
            let committed = group.committed.clone();
            for (partition, committed) in committed {
                // At worst all of them, though somebody who stands still has not read them yet.
                let low = if self.once_in(2) { committed } else { self.random.i64(0..=committed) };
                self.log(topic, partition).truncate(low);
            }
        }
    }
}
