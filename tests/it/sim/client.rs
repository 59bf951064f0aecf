//! What stands in for librdkafka: a member of a group, a producer, a reader of whole partitions and
//! the way into the log of groups, all of them of one life of an instance.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use toolwarden::kafka::{
    Carrier, Commits, GroupMember, History, KafkaError, LogReader, Parcel, PlainRecord, Polled,
    Rebalanced, SourceEnds, Take, TakeAt, TopicPartition,
};
use toolwarden::pipeline::epochs::link::LogSink;
use toolwarden::state::changelog::Marker;
use toolwarden::state::codec::{self, Kind};

use crate::sim::world::{Broken, Everything, Group, World, lock, step};

/// Which consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Calls,
    Alerts,
}

impl Of {
    pub(crate) fn group(self, world: &mut World) -> &mut Group {
        match self {
            Self::Calls => &mut world.detect,
            Self::Alerts => &mut world.deliver,
        }
    }
}

/// One life's part in something of the world.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) world: Everything,
    pub(crate) life: u64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.life)
    }
}

/// A member of a group.
#[derive(Debug)]
pub(crate) struct Member {
    client: Client,
    of: Of,
}

impl Member {
    /// Joins.
    pub(crate) fn join(client: &Client, of: Of) -> Self {
        let mut world = lock(&client.world);
        of.group(&mut world).members.insert(client.life, crate::sim::world::Membership::default());
        drop(world);
        Self { client: client.clone(), of }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Group, u64) -> T) -> T {
        let mut world = lock(&self.client.world);
        act(self.of.group(&mut world), self.client.life)
    }

    fn steer(&self, partition: &TopicPartition, act: impl FnOnce(&mut (i64, bool))) {
        self.with(|group, life| {
            let member = group.members.get_mut(&life).unwrap();
            member.positions.get_mut(&partition.partition).map(act);
        });
    }

    /// Commits what is finished now, of what is this member's. Returns whether it hears that.
    fn make_commit(&self) -> bool {
        step(&self.client.world);
        let mut world = lock(&self.client.world);
        let (life, broken) = (self.client.life, world.broken);
        if world.once_in(20) {
            world.met.commits_refused += 1;
            return false;
        }
        let member = &self.of.group(&mut world).members[&life];
        if member.is_out && broken != Broken::ZombieCommits {
            world.met.commits_refused += 1;
            return false;
        }
        let mut finished: Vec<(i32, i64)> =
            member.finished.iter().map(|(it, offset)| (it.partition, *offset)).collect();
        if broken == Broken::CommitBeforeMarker && self.of == Of::Calls {
            let read = member.positions.iter().map(|(it, (next, _))| (*it, *next));
            finished = read.collect();
        }
        if broken == Broken::CommitUntold && self.of == Of::Alerts {
            let read = member.positions.iter().map(|(it, (next, _))| (*it, *next));
            finished = read.collect();
        }
        for (partition, offset) in finished {
            let before = self.of.group(&mut world).committed.insert(partition, offset);
            if self.of == Of::Calls {
                committed(&mut world, partition, (before, offset));
            }
        }
        // The answer may be lost on its way.
        !world.once_in(20)
    }

    /// Makes the commits up to number `asked`, all as one.
    fn answer(&self, asked: u64) -> bool {
        let is_done = self.make_commit();
        self.with(|group, life| {
            let commits = &mut group.members.get_mut(&life).unwrap().commits;
            commits.ended = asked;
            commits.done = if is_done { asked } else { commits.done };
        });
        is_done
    }

    /// What is due to be read once more from its beginning is.
    fn go_back(&self, world: &mut World) {
        let now_ms = world.now_ms;
        let group = self.of.group(world);
        let topic = Arc::clone(&group.topic);
        let member = group.members.get_mut(&self.client.life).unwrap();
        let due: Vec<i32> =
            member.goes_back.extract_if(.., |_, due| *due <= now_ms).map(|(it, _)| it).collect();
        for partition in due {
            let low = world.log(&topic, partition).low;
            let member = self.of.group(world).members.get_mut(&self.client.life).unwrap();
            if let Some((next, _)) = member.positions.get_mut(&partition) {
                *next = low;
                world.met.again += 1;
            }
        }
    }

    fn fetch(&self, world: &mut World) -> Option<Arc<PlainRecord>> {
        let life = self.client.life;
        self.go_back(world);
        let group = self.of.group(world);
        let topic = Arc::clone(&group.topic);
        let positions = group.members[&life].positions.clone();
        let runs = positions.into_iter().filter(|(_, (_, is_paused))| !is_paused);
        let ready: Vec<Arc<PlainRecord>> = runs
            .filter_map(|(partition, (next, _))| world.log(&topic, partition).at(next).cloned())
            .collect();
        let record = world.random.choice(&ready)?;
        let low = world.log(&topic, record.partition).low;
        let group = self.of.group(world);
        let member = group.members.get_mut(&life).unwrap();
        let next = &mut member.positions.get_mut(&record.partition).unwrap().0;
        // What should come next has gone: the client goes on with the oldest record.
        let is_reset = *next < low;
        *next = record.offset + 1;
        member.resets += u64::from(is_reset);
        world.met.cut_off += u32::from(is_reset);
        Some(Arc::clone(record))
    }
}

impl GroupMember for Member {
    fn poll(&self, _timeout: Duration) -> Polled<'_> {
        step(&self.client.world);
        let (asked, ended) = self.with(|group, life| {
            let member = &group.members[&life];
            (member.asked, member.commits.ended)
        });
        // A commit takes its time, and other things happen meanwhile.
        if asked > ended && !lock(&self.client.world).once_in(2) {
            self.answer(asked);
        }
        let mut world = lock(&self.client.world);
        let (now_ms, topic) = (world.now_ms, Arc::clone(&self.of.group(&mut world).topic));
        let lows: Vec<i64> = (0..8)
            .map(|it| world.logs.get(&(Arc::clone(&topic), it)).map_or(0, |log| log.low))
            .collect();
        let low = |partition: i32| lows[usize::try_from(partition).unwrap()];
        let served = self.of.group(&mut world).serve(self.client.life, now_ms, low);
        if world.once_in(6) || served && world.random.bool() {
            return Polled::Nothing;
        }
        if world.once_in(60) {
            return Polled::Error;
        }
        match self.fetch(&mut world) {
            Some(record) => Polled::Record(record.into()),
            None => Polled::Nothing,
        }
    }

    fn is_connected(&self) -> bool {
        true
    }

    fn is_from_earliest(&self) -> bool {
        true
    }

    fn next_rebalance(&self) -> Option<Rebalanced> {
        let note = self.with(|group, life| group.members.get_mut(&life).unwrap().notes.pop_front());
        if let (Some(Rebalanced::Assigned(names)), Of::Calls) = (&note, self.of) {
            let mut world = lock(&self.client.world);
            names.iter().for_each(|it| world.taken_over(it.partition, self.client.life));
        }
        note
    }

    fn defer_revoking(&self, defers: bool) {
        self.with(|group, life| group.members.get_mut(&life).unwrap().defers = defers);
    }

    fn let_go(&self, partitions: &[TopicPartition]) -> bool {
        step(&self.client.world);
        let mut world = lock(&self.client.world);
        let (life, now_ms) = (self.client.life, world.now_ms);
        world.met.moved += 1;
        let group = self.of.group(&mut world);
        let is_ours = !group.is_lost(life, now_ms);
        let member = group.members.get_mut(&life).unwrap();
        member.leaving.retain(|it| !partitions.contains(it));
        for it in partitions {
            member.positions.remove(&it.partition);
            member.finished.remove(it);
            if group.owners.get(&it.partition) == Some(&life) {
                group.owners.remove(&it.partition);
            }
        }
        is_ours
    }

    fn finish(&self, partition: &TopicPartition, offset: i64) {
        self.with(|group, life| {
            let finished = &mut group.members.get_mut(&life).unwrap().finished;
            let known = finished.entry(partition.clone()).or_insert(offset);
            *known = (*known).max(offset);
        });
    }

    fn appended(&self, _partition: &TopicPartition, _append_ms: i64) {}

    fn begin_commit(&self) -> u64 {
        self.with(|group, life| {
            let member = group.members.get_mut(&life).unwrap();
            member.asked += 1;
            member.asked
        })
    }

    fn commits(&self) -> Commits {
        self.with(|group, life| group.members[&life].commits)
    }

    fn commit(&self) -> bool {
        let asked = self.begin_commit();
        self.answer(asked)
    }

    fn is_lost(&self) -> bool {
        let now_ms = lock(&self.client.world).now_ms;
        self.with(|group, life| group.is_lost(life, now_ms))
    }

    fn has_finished(&self) -> bool {
        self.with(|group, life| !group.members[&life].finished.is_empty())
    }

    fn pause(&self, partition: &TopicPartition) {
        self.steer(partition, |it| it.1 = true);
    }

    fn resume(&self, partition: &TopicPartition) {
        self.steer(partition, |it| it.1 = false);
    }

    fn ask_for_end(&self, _: &TopicPartition, _: bool) {}

    fn is_at_end(&self, partition: &TopicPartition, next_offset: Option<i64>) -> Option<bool> {
        let mut world = lock(&self.client.world);
        if world.once_in(10) {
            return None;
        }
        let committed = self.of.group(&mut world).committed.get(&partition.partition).copied();
        let log = world.log(&partition.topic, partition.partition);
        Some(next_offset.or(committed).unwrap_or(log.low) >= log.high())
    }

    fn resets(&self) -> u64 {
        let is_told = lock(&self.client.world).broken != Broken::GapsUnseen;
        self.with(|group, life| if is_told { group.members[&life].resets } else { 0 })
    }

    fn oldest(&self, partition: &TopicPartition) -> Option<i64> {
        let mut world = lock(&self.client.world);
        let low = world.log(&partition.topic, partition.partition).low;
        (!world.once_in(10)).then_some(low)
    }

    fn history(&self, _: &TopicPartition, _since_ms: i64) -> Result<History, KafkaError> {
        Err(KafkaError::no_answer("find the history"))
    }

    fn seek(&self, partition: &TopicPartition, offset: i64) -> Result<(), KafkaError> {
        step(&self.client.world);
        self.steer(partition, |it| it.0 = offset);
        let mut world = lock(&self.client.world);
        if world.once_in(6) {
            // As librdkafka does when it was asking where to begin.
            let due_ms = world.now_ms + world.random.u64(..3_000);
            let member = self.of.group(&mut world).members.get_mut(&self.client.life).unwrap();
            member.goes_back.insert(partition.partition, due_ms);
        }
        Ok(())
    }
}

/// What is committed must be written down, and never goes back, whoever commits.
fn committed(world: &mut World, partition: i32, (before, offset): (Option<i64>, i64)) {
    let markers = world.log("state", partition).records().filter_map(|record| {
        let marker = record.payload.as_deref()?;
        codec::open::<Marker>(Kind::Marker, marker).ok()
    });
    let durable = markers.filter_map(|marker| marker.reached.read_from()).max();
    if durable.is_none_or(|durable| durable < offset) {
        let words = format!("partition {partition}: {offset} is committed, {durable:?} is durable");
        world.wrongs.push(words);
    }
    if before.is_some_and(|before| offset < before) {
        world.wrongs.push(format!("partition {partition}: the commit goes back to {offset}"));
    }
}

/// A producer.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) client: Client,
    pub(crate) line: &'static str,
}

impl Carrier for Sender {
    fn carry(&self, parcel: Parcel) {
        step(&self.client.world);
        lock(&self.client.world).send(self.client.life, self.line, parcel);
    }

    fn in_flight(&self) -> usize {
        lock(&self.client.world).in_flight(self.client.life, self.line)
    }

    fn flush(&self, _timeout: Duration) {}
}

/// A reader of whole partitions.
#[derive(Debug)]
pub(crate) struct Reader(pub(crate) Client);

impl LogReader for Reader {
    fn read(&self, partition: &TopicPartition, take: &mut Take<'_>) -> Result<i64, KafkaError> {
        let mut world = lock(&self.0.world);
        let only_last = world.broken == Broken::LastCounts;
        let log = world.log(&partition.topic, partition.partition);
        let records: Vec<Arc<PlainRecord>> = log.records().cloned().collect();
        let high = log.high();
        drop(world);
        for (place, record) in records.iter().enumerate() {
            let is_last = records[place + 1..].iter().all(|later| later.key != record.key);
            if is_last || !only_last {
                take(record.key.as_deref().unwrap_or_default(), record.payload.as_deref());
            }
        }
        Ok(high)
    }

    fn end(&self, partition: &TopicPartition) -> Result<i64, KafkaError> {
        Ok(lock(&self.0.world).log(&partition.topic, partition.partition).high())
    }

    fn read_between(
        &self,
        partition: &TopicPartition,
        (from, to): (i64, i64),
        take: &mut TakeAt<'_>,
    ) -> Result<(), KafkaError> {
        let mut world = lock(&self.0.world);
        let log = world.log(&partition.topic, partition.partition);
        let records: Vec<Arc<PlainRecord>> =
            log.records().filter(|it| (from..to).contains(&it.offset)).cloned().collect();
        drop(world);
        for record in records {
            let key = record.key.as_deref().unwrap_or_default();
            take(record.offset, key, record.payload.as_deref());
        }
        Ok(())
    }

    fn source_ends(
        &self,
        partition: &TopicPartition,
        known: Option<i64>,
    ) -> Result<SourceEnds, KafkaError> {
        let mut world = lock(&self.0.world);
        let of = if &*partition.topic == "calls" { Of::Calls } else { Of::Alerts };
        let committed = of.group(&mut world).committed.get(&partition.partition).copied();
        let partitions = world.logs.keys().filter(|(topic, _)| *topic == partition.topic).count();
        let log = world.log(&partition.topic, partition.partition);
        let there = known.and_then(|offset| log.at(offset).filter(|it| it.offset == offset));
        let digest = there.map(|record| record.digest());
        let (low, high) = (log.low, log.high());
        Ok(SourceEnds {
            low,
            high,
            committed,
            partitions: i32::try_from(partitions).unwrap(),
            digest,
        })
    }

    fn first_since(
        &self,
        partition: &TopicPartition,
        since_ms: i64,
    ) -> Result<Option<i64>, KafkaError> {
        let mut world = lock(&self.0.world);
        let log = world.log(&partition.topic, partition.partition);
        let first = log.records().find(|it| it.timestamp_ms.is_some_and(|at| at >= since_ms));
        Ok(first.map(|record| record.offset))
    }

    fn newest_ms(&self, partition: &TopicPartition) -> Result<Option<i64>, KafkaError> {
        let mut world = lock(&self.0.world);
        let log = world.log(&partition.topic, partition.partition);
        Ok(log.records().last().and_then(|it| it.timestamp_ms))
    }
}

/// The way into the log of groups.
#[derive(Debug)]
pub(crate) struct Sink {
    client: Client,
    has_lost: AtomicBool,
}

impl Sink {
    pub(crate) fn new(client: &Client) -> Self {
        Self { client: client.clone(), has_lost: AtomicBool::new(false) }
    }
}

impl LogSink for Sink {
    fn append(&self, key: &[u8], payload: Option<&[u8]>) {
        step(&self.client.world);
        let mut world = lock(&self.client.world);
        let is_lost = world.once_in(20);
        if is_lost || world.once_in(20) {
            self.has_lost.store(true, Ordering::Relaxed);
        }
        if !is_lost {
            let (key, payload) = (Some(key.to_vec()), payload.map(<[u8]>::to_vec));
            world.append("groups", 0, PlainRecord { key, payload, ..PlainRecord::default() });
        }
    }

    fn may_have_lost(&self) -> bool {
        self.has_lost.swap(false, Ordering::Relaxed)
    }
}
