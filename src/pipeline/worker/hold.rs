//! The part of a worker that knows whether its partitions are still its own, and that gives up what
//! is not.

use std::time::Duration;

use crate::kafka::{GroupMember, Rebalanced, TopicPartition};
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::committing::ANSWER_POLL;
use crate::pipeline::lane::Lane;
use crate::pipeline::restore::LogChange;
use crate::pipeline::worker::Worker;
use crate::pipeline::worker::rebalance::{gone, rebalance};
use crate::state::foreign::{Findings, Foreign};
use crate::telemetry::{Event, LeaseLapsed, Metrics, StateForeignWrites, StateSuperseded};

impl Worker {
    /// A batch was polled: the group has been heard, or would have been.
    pub(super) fn polled(&mut self) {
        if self.lease.polled(clock::wall()) && self.durable.is_some() {
            LeaseLapsed { worker: self.settings.index }.emit(&self.metrics);
        }
    }

    /// Whether what is known may be written down.
    pub(super) fn may_write(&self) -> bool {
        self.lease.holds(clock::wall()) && !self.consumer.is_lost()
    }

    /// Asks the group whether its partitions are still this worker's, when that is in doubt: it
    /// refuses the commit of a member that it has given up. A commit that was asked for before the
    /// doubt says nothing.
    pub(super) fn confirm(&mut self) {
        if self.durable.is_none() || !self.lease.is_in_doubt() || self.consumer.is_lost() {
            self.question = None;
            return;
        }
        let doubt = self.lease.doubts();
        let is_ours = match self.question.filter(|(_, of)| *of == doubt) {
            Some((number, _)) => {
                let Some(is_ours) = self.consumer.commits().outcome(number) else { return };
                self.question = None;
                is_ours
            }
            None if self.consumer.has_finished() => {
                self.question = Some((self.consumer.begin_commit(), doubt));
                return;
            }
            // Nothing was finished yet, so there is nothing to ask by.
            None => self.lease.has_waited(clock::wall()),
        };
        if is_ours {
            self.lease.confirmed(clock::wall());
        }
    }

    /// The same for the last time, at most until `patience` has passed since `began`.
    pub(super) fn confirm_last(&mut self, began: Moment, patience: Duration) {
        self.confirm();
        while self.question.is_some() && began.elapsed() < patience {
            std::thread::sleep(ANSWER_POLL);
            self.confirm();
        }
    }

    /// Finds what others wrote to the partitions of the state topic that are ours, has it written
    /// anew, and lets go of a partition that somebody took over later.
    pub(super) fn mind_foreign_writes(&mut self) {
        let is_cut_off = |lane: &&Lane| lane.is_cut_off && lane.keeping.is_some();
        let cut_off = self.lanes.values().filter(is_cut_off).map(|lane| lane.name.clone());
        for name in cut_off.collect::<Vec<_>>() {
            self.begin_anew(name);
        }
        self.read_outdated_again();
        let mut superseded = Vec::new();
        for lane in self.lanes.values_mut().filter(|lane| lane.takes()) {
            let Some(keeping) = &mut lane.keeping else { continue };
            let Findings { heal, successor } = keeping.foreign();
            if let Some(record) = successor {
                superseded.push((lane.name.clone(), record));
            } else {
                heal_all(lane, &heal, &self.metrics);
            }
        }
        for (name, record) in superseded {
            self.start_over(name, record);
        }
    }

    /// Takes up once more what is written of partitions whose calls would be judged by peers that are
    /// known no longer. What is learned from history is told to nobody.
    fn read_outdated_again(&mut self) {
        let outdated = self.lanes.values_mut().filter(|lane| lane.judge.is_outdated());
        let (live, learning): (Vec<_>, Vec<_>) = outdated.partition(|lane| lane.past.is_live());
        learning.into_iter().for_each(|lane| lane.judge.makes_do());
        for name in live.into_iter().map(|lane| lane.name.clone()).collect::<Vec<_>>() {
            let (topic, partition) = (&*name.topic, name.partition);
            tracing::info!(topic, partition, "read again: others have gone on since");
            let id = self.desk.id_of(topic, partition);
            self.begin_anew(name);
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.judge.makes_do();
            }
        }
    }

    /// A later owner writes to the partition `name`: what is known of it here is dropped. The group
    /// is asked, and if it says that the partition is ours, that later owner is the one that was.
    fn start_over(&mut self, name: TopicPartition, record: Foreign) {
        let writer = record.stamp.map_or(0, |stamp| stamp.owner);
        let (topic, partition, offset) = (&*name.topic, name.partition, record.offset);
        StateSuperseded { topic, partition, writer, offset }.emit(&self.metrics);
        self.begin_anew(name);
    }

    /// Drops what is known of the partition `name` here, and takes up what was written of it.
    fn begin_anew(&mut self, name: TopicPartition) {
        self.lease.doubt(clock::wall());
        self.desk.count(&self.shared.rules, &mut self.lanes);
        let names = vec![name];
        gone(&mut self.lanes, &names, &self.desk, false);
        let parts = (&self.shared, &*self.signals, &self.desk);
        let kafka = (&*self.consumer, self.durable.as_ref());
        let note = (Rebalanced::Assigned(names), None);
        // Nothing is to go of what has just come.
        drop(rebalance(&mut self.lanes, parts, kafka, note));
    }
}

/// What a record is to the lane that it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is the next one.
    Due,
    /// It was taken in before: the client reads again what it has handed out already.
    Again,
    /// Records before it went before they were read.
    CutOff,
}

/// What the record at `offset` is to a lane. A gap alone says nothing: compaction and transactions
/// leave some.
///
/// Records that have gone were judged by somebody else, who has the partition by now, or by nobody.
/// Whoever read on would know less than there was to know, and say alerts in other words. So it takes
/// in nothing more until the group has said whose the partition is, and then takes up what was
/// written: what was lost is told there.
pub(super) fn arrival(
    lane: &mut Lane,
    consumer: &dyn GroupMember,
    offset: i64,
    metrics: &Metrics,
) -> Arrival {
    let Some(expected) = lane.judge.next_offset().filter(|next| *next != offset) else {
        return Arrival::Due;
    };
    if !lane.takes() || !lane.past.is_live() {
        return Arrival::Due;
    }
    let resets = consumer.resets();
    if resets == lane.resets {
        return if offset < expected { Arrival::Again } else { Arrival::Due };
    }
    // Without an answer the worst is assumed.
    let oldest = consumer.oldest(&lane.name);
    if expected < offset && oldest.is_some_and(|oldest| oldest <= expected) {
        lane.resets = resets;
        return Arrival::Due;
    }
    if lane.keeping.is_some() {
        lane.is_cut_off = true;
        return Arrival::CutOff;
    }
    lane.resets = resets;
    let change = if offset < expected {
        LogChange::Replaced { expected, end: offset }
    } else {
        LogChange::Overtaken { from: expected, oldest: offset }
    };
    change.in_partition(&lane.name.topic, lane.name.partition).emit(metrics);
    Arrival::Due
}

/// Has everything written anew that somebody wrote over, if anything is.
pub(super) fn heal_all(lane: &mut Lane, heal: &[Foreign], metrics: &Metrics) {
    let Some(first) = heal.first() else { return };
    StateForeignWrites {
        topic: &lane.name.topic,
        partition: lane.name.partition,
        records: u64::try_from(heal.len()).unwrap_or(u64::MAX),
        writer: first.stamp.map(|stamp| stamp.owner),
        offset: first.offset,
    }
    .emit(metrics);
    heal.iter().for_each(|record| lane.judge.write_anew(record.touched));
    if let Some(keeping) = &mut lane.keeping {
        keeping.hurry();
    }
}
