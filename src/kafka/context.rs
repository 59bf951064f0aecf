//! What librdkafka calls back, and the notes it leaves for the worker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::statistics::Statistics;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::kafka::client::code_of;
use crate::kafka::handshake::{HandshakeFailure, Trouble};
use crate::kafka::{log, statistics};
use crate::telemetry::{CommitFailed, ConsumerError, Event, Metrics, OffsetsCommitted};

/// What librdkafka's lines about offsets are marked with.
const OFFSET_FACILITY: &str = "OFFSET";

/// A partition by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

/// What a rebalance did, for the worker to act on after the callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebalanced {
    /// These partitions are ours now.
    Assigned(Vec<TopicPartition>),
    /// These are to go to somebody else, who waits until [`crate::kafka::GroupMember::let_go`]
    /// is called.
    Revoking(Vec<TopicPartition>),
    /// These went to somebody else; what was finished has been committed.
    Revoked(Vec<TopicPartition>),
    /// These were taken from us before we could finish: nothing may be committed any more.
    Lost(Vec<TopicPartition>),
}

/// The callbacks of one worker's consumer.
pub(crate) struct WorkerContext {
    worker: usize,
    metrics: Metrics,
    connected: AtomicBool,
    /// Why no broker is connected, where one told.
    trouble: Trouble,
    /// Partitions that had no leader by the last statistics, and by both of the last two.
    leaderless: [AtomicUsize; 2],
    /// How often the library went elsewhere because an offset is not to be had.
    resets: AtomicU64,
    /// Whether the worker wants to write down what it knows before a partition goes.
    defers: AtomicBool,
    /// Whether the worker says where partitions are read from, each of them.
    begins_nowhere: AtomicBool,
    notes: Mutex<VecDeque<Rebalanced>>,
    /// Partitions that the group waits for, until the worker lets go of them.
    revoking: Mutex<Vec<TopicPartition>>,
    /// Partitions that are not ours any more and that the library has not been told of.
    gone: Mutex<Vec<TopicPartition>>,
    has_gone: AtomicBool,
    /// Whether the consumer closes: nobody polls any more who would unassign.
    closes: AtomicBool,
    /// For each partition the offset below which everything is finished: its alerts are
    /// acknowledged. The only offsets that may ever be committed.
    finished: Mutex<BTreeMap<TopicPartition, i64>>,
    /// For each partition the append time of its last judged record, in milliseconds.
    appended: Mutex<BTreeMap<TopicPartition, i64>>,
}

impl WorkerContext {
    pub(crate) fn new(worker: usize, metrics: Metrics) -> Self {
        Self {
            worker,
            metrics,
            connected: AtomicBool::new(true),
            trouble: Trouble::default(),
            leaderless: Default::default(),
            resets: AtomicU64::new(0),
            defers: AtomicBool::new(false),
            begins_nowhere: AtomicBool::new(false),
            notes: Mutex::default(),
            revoking: Mutex::default(),
            gone: Mutex::default(),
            has_gone: AtomicBool::new(false),
            closes: AtomicBool::new(false),
            finished: Mutex::default(),
            appended: Mutex::default(),
        }
    }

    /// Whether a broker could be reached when last heard of.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Why the brokers do not let us in, when they do not.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        self.trouble.get().map(HandshakeFailure::advice)
    }

    /// Partitions that have had no leader for a while: a leader that moves is none for a moment.
    pub(crate) fn leaderless(&self) -> usize {
        let [_, lasting] = &self.leaderless;
        lasting.load(Ordering::Relaxed)
    }

    /// How often reading went on elsewhere than it should.
    pub(crate) fn resets(&self) -> u64 {
        self.resets.load(Ordering::Relaxed)
    }

    /// Whether partitions that are to go wait until the worker lets go of them.
    pub(crate) fn defer(&self, defers: bool) {
        self.defers.store(defers, Ordering::Relaxed);
    }

    /// Whether partitions that are assigned are read from nowhere until they are sent somewhere.
    pub(crate) fn begin_nowhere(&self, is_so: bool) {
        self.begins_nowhere.store(is_so, Ordering::Relaxed);
    }

    /// Takes partitions over. Where they are to be sent somewhere first, they are paused before they
    /// are assigned, at a place that needs no looking up: a question to the broker that is still open
    /// when they are sent is asked again by librdkafka (2.12), and its answer moves them once more.
    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &mut TopicPartitionList,
    ) -> KafkaResult<()> {
        if self.begins_nowhere.load(Ordering::Relaxed) {
            list.set_all_offsets(Offset::Offset(0))?;
            consumer.pause(list)?;
        }
        consumer.incremental_assign(list)
    }

    /// Partitions are not ours any more: nothing of them is committed from here on, and the library
    /// is told by [`Self::unassign_gone`].
    pub(crate) fn go(&self, partitions: &[TopicPartition]) {
        lock(&self.finished).retain(|partition, _| !partitions.contains(partition));
        lock(&self.appended).retain(|partition, _| !partitions.contains(partition));
        lock(&self.revoking).retain(|partition| !partitions.contains(partition));
        lock(&self.gone).extend_from_slice(partitions);
        self.has_gone.store(true, Ordering::Relaxed);
    }

    /// Whether the library has not been told yet of partitions that are not ours any more.
    pub(crate) fn has_gone(&self) -> bool {
        self.has_gone.load(Ordering::Relaxed)
    }

    /// Tells the library of partitions that are not ours any more. No commit may be under way.
    pub(crate) fn unassign_gone(&self, consumer: &BaseConsumer<Self>) {
        self.has_gone.store(false, Ordering::Relaxed);
        let gone = std::mem::take(&mut *lock(&self.gone));
        if gone.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for partition in &gone {
            list.add_partition(&partition.topic, partition.partition);
        }
        if let Err(error) = consumer.incremental_unassign(&list) {
            self.fail(&error, false);
        }
    }

    /// The consumer closes: from now on the library is told at once, and of what it waits for.
    pub(crate) fn close(&self, consumer: &BaseConsumer<Self>) {
        self.closes.store(true, Ordering::Relaxed);
        self.defer(false);
        let revoking = lock(&self.revoking).clone();
        self.go(&revoking);
        self.unassign_gone(consumer);
    }

    /// Takes the oldest note.
    pub(crate) fn next_note(&self) -> Option<Rebalanced> {
        lock(&self.notes).pop_front()
    }

    /// Everything of `partition` below `offset` is finished.
    pub(crate) fn finish(&self, partition: &TopicPartition, offset: i64) {
        let mut finished = lock(&self.finished);
        if let Some(known) = finished.get_mut(partition) {
            *known = (*known).max(offset);
        } else {
            finished.insert(partition.clone(), offset);
        }
    }

    /// The last judged record of `partition` was appended at `append_ms`.
    pub(crate) fn appended(&self, partition: &TopicPartition, append_ms: i64) {
        lock(&self.appended).insert(partition.clone(), append_ms);
    }

    /// The finished offsets, as a list to commit; `None` when there is nothing to say.
    pub(crate) fn finished_list(
        &self,
        only: impl Fn(&TopicPartition) -> bool,
    ) -> KafkaResult<Option<TopicPartitionList>> {
        let finished = lock(&self.finished);
        let mut list = TopicPartitionList::new();
        for (partition, offset) in finished.iter().filter(|(partition, _)| only(partition)) {
            list.add_partition_offset(
                &partition.topic,
                partition.partition,
                Offset::Offset(*offset),
            )?;
        }
        Ok((list.count() > 0).then_some(list))
    }

    fn note(&self, note: Rebalanced) {
        lock(&self.notes).push_back(note);
    }

    fn fail(&self, error: &KafkaError, fatal: bool) {
        ConsumerError { code: &code_of(error), fatal }.emit(&self.metrics);
    }

    /// Hands partitions back: commits what is finished, unless they were lost already. The library is
    /// told after the poll.
    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        // The flag is reset by unassign, so it must be read before.
        let lost = consumer.assignment_lost();
        let partitions = names(list);
        if !lost && self.defers.load(Ordering::Relaxed) {
            lock(&self.revoking).extend_from_slice(&partitions);
            self.note(Rebalanced::Revoking(partitions));
            return;
        }
        if !lost {
            let committed = self
                .finished_list(|partition| partitions.contains(partition))
                .and_then(|list| list.map_or(Ok(()), |l| consumer.commit(&l, CommitMode::Sync)));
            match committed {
                Ok(()) => OffsetsCommitted.emit(&self.metrics),
                Err(error) => CommitFailed { code: &code_of(&error) }.emit(&self.metrics),
            }
        }
        self.go(&partitions);
        if self.closes.load(Ordering::Relaxed) {
            self.unassign_gone(consumer);
        }
        self.note(if lost {
            Rebalanced::Lost(partitions)
        } else {
            Rebalanced::Revoked(partitions)
        });
    }
}

/// Whether all brokers are out of reach.
pub(super) fn is_out_of_reach(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown)
}

fn names(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements()
        .iter()
        .map(|e| TopicPartition { topic: e.topic().into(), partition: e.partition() })
        .collect()
}

/// A poisoned lock only says that another thread panicked while it held plain data.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for WorkerContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Its only word of a partition that is read on from elsewhere; said before any record from
        // there is handed out.
        if facility == OFFSET_FACILITY {
            self.resets.fetch_add(1, Ordering::Relaxed);
        }
        log::forward(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        let is_connected = statistics::is_reachable(&statistics);
        self.connected.store(is_connected, Ordering::Relaxed);
        if is_connected {
            self.trouble.end();
        }
        let [last, lasting] = &self.leaderless;
        let leaderless = statistics::leaderless(&statistics);
        let before = last.swap(leaderless, Ordering::Relaxed);
        lasting.store(leaderless.min(before), Ordering::Relaxed);
        let appended = lock(&self.appended).clone();
        let last_append = |topic: &str, partition| {
            appended.get(&TopicPartition { topic: topic.into(), partition }).copied()
        };
        self.metrics.kafka().update(self.worker, statistics::snapshot(&statistics, last_append));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Whatever comes here is what the poll returns next, which counts it; but for this one, which
        // is said with every attempt to connect.
        self.trouble.note(&error, reason);
        if is_out_of_reach(&error) && self.connected.swap(false, Ordering::Relaxed) {
            self.fail(&error, false);
        }
    }
}

impl ConsumerContext for WorkerContext {
    /// The provided callback ignores whether assigning worked; this one does not, and it never
    /// restores, flushes or waits here, because the whole group would wait with it.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                match self.assign(consumer, list) {
                    Ok(()) => self.note(Rebalanced::Assigned(names(list))),
                    Err(error) => self.fail(&error, true),
                }
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, list),
            other => self.fail(&KafkaError::Rebalance(other.into()), true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::BuildInfo;

    #[test]
    fn brokers_out_of_reach_are_counted_once_until_one_answers_again() {
        let metrics = Metrics::new(&BuildInfo::default());
        let context = WorkerContext::new(0, metrics.clone());
        let down = || KafkaError::Global(RDKafkaErrorCode::AllBrokersDown);
        let counted = |times| {
            let line = format!("kafka_errors_total{{code=\"AllBrokersDown\"}} {times}\n");
            metrics.encode().contains(&line)
        };
        (0..3).for_each(|_| context.error(down(), "2/2 brokers are down"));
        assert!(!context.is_connected() && counted(1), "{}", metrics.encode());
        let broker = rdkafka::statistics::Broker {
            source: "learned".to_owned(),
            state: "UP".to_owned(),
            ..Default::default()
        };
        let brokers = [("a".to_owned(), broker)].into_iter().collect();
        context.stats(Statistics { brokers, ..Statistics::default() });
        assert!(context.is_connected() && counted(1));
        (0..3).for_each(|_| context.error(down(), "2/2 brokers are down"));
        assert!(!context.is_connected() && counted(2), "{}", metrics.encode());
    }
}
