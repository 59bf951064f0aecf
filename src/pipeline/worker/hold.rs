//! The part of a worker that knows whether its partitions are still its own, and that gives up what
//! is not.

use crate::kafka::{Rebalanced, TopicPartition};
use crate::pipeline::clock;
use crate::pipeline::lane::Lane;
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
    /// refuses the commit of a member that it has given up.
    pub(super) fn confirm(&mut self) {
        if self.durable.is_none() || !self.lease.is_in_doubt() || self.consumer.is_lost() {
            return;
        }
        let is_ours = match self.consumer.confirm() {
            Some(is_ours) => is_ours,
            // Nothing was finished yet, so there is nothing to ask by.
            None => self.lease.has_waited(clock::wall()),
        };
        if is_ours {
            self.lease.confirmed(clock::wall());
        }
    }

    /// Finds what others wrote to the partitions of the state topic that are ours, has it written
    /// anew, and lets go of a partition that somebody took over later.
    pub(super) fn mind_foreign_writes(&mut self) {
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

    /// A later owner writes to the partition `name`: what is known of it here is dropped. The group
    /// is asked, and if it says that the partition is ours, that later owner is the one that was.
    fn start_over(&mut self, name: TopicPartition, record: Foreign) {
        let writer = record.stamp.map_or(0, |stamp| stamp.owner);
        let (topic, partition, offset) = (&*name.topic, name.partition, record.offset);
        StateSuperseded { topic, partition, writer, offset }.emit(&self.metrics);
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
