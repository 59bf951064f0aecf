//! What a worker does with records and decisions: decode, hold, judge, send on, count.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::alert::AlertStatus;
use crate::decode::{self, DecodeError, Item, Record, canonical};
use crate::event::{Position, Timestamp};
use crate::kafka::{
    Consumed, Ledger, Outbox, OutgoingRecord, Rebalanced, TopicPartition, WhenTooLarge,
};
use crate::kill_point::{self, Point};
use crate::pipeline::alert_record;
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::dead_letter;
use crate::pipeline::judge::{Audited, Decision, Judge};
use crate::pipeline::keys;
use crate::pipeline::lane::Lane;
use crate::pipeline::worker::WorkerSettings;
use crate::policy::Rules;
use crate::state::PartitionId;
use crate::telemetry::{
    AgentRefused, AlertDecided, Audit, CallsMisplaced, DeadLetterKind, DeadLettered, EpisodeClosed,
    EpisodeOpened, Event, KeyMisfit, Metrics, PartitionsAssigned, PartitionsLost,
    PartitionsRevoked, PeerLeftOut, RepeatsPassedOver, SourceMetrics,
};

/// One source topic.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub topic: Arc<str>,
    /// How its records are read.
    pub options: decode::Options,
    /// Its counters.
    pub metrics: SourceMetrics,
    /// Where the calls of its records were read first, if ingest wrote it.
    pub origins: Option<Arc<[Arc<str>]>>,
}

impl Source {
    /// Reads everything `record` holds.
    fn decode(
        &self,
        scratch: &mut decode::Scratch,
        record: &Record<'_>,
        sink: &mut dyn FnMut(Item<'_>),
    ) {
        if self.origins.is_some() {
            canonical::decode(record, &self.options, sink);
        } else {
            decode::decode_with(scratch, record, &self.options, sink);
        }
    }
}

/// A worker's desk.
#[derive(Debug)]
pub struct Desk {
    sources: Arc<[Source]>,
    scratch: decode::Scratch,
    /// Where alerts and dead letters go out.
    pub outbox: Outbox,
    alerts: Arc<str>,
    dead_letter: Arc<str>,
    audit: Arc<str>,
    metrics: Metrics,
}

impl Desk {
    /// A desk for the records of `sources`.
    #[must_use]
    pub fn new(
        settings: &WorkerSettings,
        sources: Arc<[Source]>,
        outbox: Outbox,
        metrics: &Metrics,
    ) -> Self {
        Self {
            sources,
            scratch: decode::Scratch::new(),
            outbox,
            alerts: Arc::clone(&settings.alerts),
            dead_letter: Arc::clone(&settings.dead_letter),
            audit: Arc::clone(&settings.audit),
            metrics: metrics.clone(),
        }
    }

    /// A partition by its source topic, as it is known here. A consumer brings no other topics.
    #[must_use]
    pub fn id_of(&self, topic: &str, partition: i32) -> PartitionId {
        let index = self.sources.iter().position(|source| &*source.topic == topic);
        let topic = index.and_then(|index| u16::try_from(index).ok()).unwrap_or(u16::MAX);
        PartitionId { topic, partition }
    }

    /// Has a judge forget how far sources were seen that are not read any more.
    pub fn keep_marks(&self, judge: &mut Judge) {
        let source = self.sources.get(usize::from(judge.partition().topic));
        let origins = source.and_then(|source| source.origins.as_deref()).unwrap_or_default();
        judge.keep_marks(|topic| origins.iter().any(|origin| &**origin == topic));
    }

    /// Takes one record in: its calls are held for judging, what cannot be read goes to the
    /// dead-letter topic.
    pub fn take(&mut self, record: &Consumed<'_>, lane: &mut Lane) {
        let index = usize::from(lane.judge.partition().topic);
        let Some(source) = self.sources.get(index) else { return };
        // What is not taken now is read again once the partition is ready.
        if !lane.takes() || !lane.past.takes(record.offset()) {
            return;
        }
        if !lane.judge.begin(record.offset()) {
            lane.judge.record_done(record.offset());
            return;
        }
        let bytes = record.payload().map_or(0, <[u8]>::len);
        lane.received.records += 1;
        lane.received.bytes += u64::try_from(bytes).unwrap_or(0);
        let append_time = record.timestamp_ms().map_or_else(clock::wall, Timestamp::from_millis);
        let position = Position {
            topic: &source.topic,
            partition: record.partition(),
            offset: record.offset(),
            index: 0,
        };
        let content_type = record.header("content-type");
        let decoded = Record {
            position,
            append_time,
            key: record.key(),
            content_type,
            payload: record.payload(),
        };
        let mut rejected: Vec<DecodeError> = Vec::new();
        let (judge, received) = (&mut lane.judge, &mut lane.received);
        source.decode(&mut self.scratch, &decoded, &mut |item| match item {
            Item::Call(call) => {
                match keys::misfit(decoded.key, &call) {
                    None => {}
                    Some(KeyMisfit::NoKey) => received.without_key += 1,
                    Some(_) => received.other_key += 1,
                }
                judge.hold(&call);
            }
            Item::Ignored(ignored) => source.metrics.ignored(ignored.as_str()),
            Item::Rejected(error) => rejected.push(error),
        });
        judge.record_done(record.offset());
        judge.took(record.offset(), || record.digest());
        lane.took_record(record.timestamp_ms());
        if let Some(since) = lane.past.took(record.timestamp_ms()) {
            let (topic, partition) = (&*source.topic, record.partition());
            let hours = clock::wall().secs_since(since) / 3_600.0;
            tracing::warn!(topic, partition, %since, hours, "less history than asked for");
        }
        if !rejected.is_empty() && lane.past.tells(record.offset()) {
            self.bury(&decoded, &rejected, &lane.ledger);
        }
    }

    /// Judges what is due of a partition, or all it holds when nothing more is on its way.
    pub fn judge(&mut self, lane: &mut Lane, idle: bool) {
        let held = lane.judge.held();
        if held == 0 {
            lane.judged(held);
            return;
        }
        let began = Moment::now();
        let mut decisions = Vec::new();
        if idle {
            lane.judge.judge_all(&mut |decision| decisions.push(decision));
        } else {
            lane.judge.judge_due(&mut |decision| decisions.push(decision));
        }
        lane.judged(held);
        self.measure(lane, held - lane.judge.held().min(held), began);
        kill_point::hit(Point::Judged);
        lane.past.keep_told(&mut decisions);
        self.send(decisions, &lane.ledger);
        self.write_down(lane);
    }

    /// Lets wall time stand in for the event time of a partition that has nothing to read.
    pub fn let_time_pass(&mut self, lane: &mut Lane) {
        let mut decisions = Vec::new();
        lane.judge.advance(clock::wall(), &mut |decision| decisions.push(decision));
        lane.past.keep_told(&mut decisions);
        self.send(decisions, &lane.ledger);
        self.write_down(lane);
    }

    /// Says that partitions are no longer waited for.
    pub fn left_out(&self, partitions: &[PartitionId], epoch: i64) {
        for id in partitions {
            let topic = self.sources.get(usize::from(id.topic)).map_or("", |source| &source.topic);
            PeerLeftOut { topic, partition: id.partition, epoch }.emit(&self.metrics);
        }
    }

    /// Says what a rebalance did.
    pub fn rebalanced(&self, note: &Rebalanced) {
        let (Rebalanced::Assigned(names)
        | Rebalanced::Revoked(names)
        | Rebalanced::Lost(names)
        | Rebalanced::Revoking(names)) = note;
        for (topic, partitions) in by_topic(names) {
            let partitions = partitions.as_slice();
            match note {
                Rebalanced::Assigned(_) => {
                    PartitionsAssigned { topic, partitions }.emit(&self.metrics);
                }
                Rebalanced::Revoked(_) => {
                    PartitionsRevoked { topic, partitions }.emit(&self.metrics);
                }
                Rebalanced::Lost(_) => PartitionsLost { topic, partitions }.emit(&self.metrics),
                // Told when it is done.
                Rebalanced::Revoking(_) => {}
            }
        }
    }

    /// Moves the counters by what the judges have done since the last time.
    pub fn count(&self, rules: &Rules, lanes: &mut BTreeMap<PartitionId, Lane>) {
        for (id, lane) in lanes {
            let counted = lane.judge.take_counted();
            if !counted.is_empty() {
                counted.count(rules, &self.metrics);
            }
            let received = std::mem::take(&mut lane.received);
            let now = lane.judge.tally();
            let before = std::mem::replace(&mut lane.counted, now);
            let Some(source) = self.sources.get(usize::from(id.topic)) else { continue };
            source.metrics.records.inc_by(received.records);
            source.metrics.again.inc_by(received.again);
            source.metrics.bytes.inc_by(received.bytes);
            source.metrics.processed.inc_by(now.judged - before.judged);
            source.metrics.late.inc_by(now.late - before.late);
            source.metrics.duplicate.inc_by(now.duplicate - before.duplicate);
            let (idle, yielded) = (before.forgotten, before.yielded);
            self.metrics.agents_forgotten(now.forgotten - idle, now.yielded - yielded);
            let misplaced = [
                (KeyMisfit::NoKey, received.without_key),
                (KeyMisfit::OtherKey, received.other_key),
                (KeyMisfit::TwoPartitions, now.astray - before.astray),
            ];
            for (misfit, calls) in misplaced.into_iter().filter(|(_, calls)| *calls > 0) {
                let (topic, now) = (&*source.topic, clock::wall());
                CallsMisplaced { topic, partition: id.partition, misfit, calls, now }
                    .emit(&self.metrics);
            }
            RepeatsPassedOver {
                topic: &source.topic,
                partition: id.partition,
                calls: now.redelivered - before.redelivered,
                replaced: now.sources_replaced - before.sources_replaced,
                forgotten: now.marks_forgotten - before.marks_forgotten,
            }
            .emit(&self.metrics);
            let refused = now.unjudged - before.unjudged;
            if refused > 0 {
                source.metrics.unjudged.inc_by(refused);
                AgentRefused { topic: &source.topic, now: clock::wall() }.emit(&self.metrics);
            }
        }
    }

    fn measure(&self, lane: &Lane, judged: usize, began: Moment) {
        let Ok(judged) = u32::try_from(judged) else { return };
        if judged == 0 {
            return;
        }
        self.metrics.processing_duration(began.elapsed().as_secs_f64() / f64::from(judged));
        // The age of a history is no latency.
        if let Some(append_ms) = lane.last_append_ms.filter(|_| lane.past.is_live()) {
            let latency = clock::wall().secs_since(Timestamp::from_millis(append_ms));
            self.metrics.end_to_end_latency(latency.max(0.0));
        }
    }

    fn send(&self, decisions: Vec<Decision>, ledger: &Ledger) {
        for Decision { alert, offset } in decisions {
            AlertDecided { alert: &alert }.emit(&self.metrics);
            match alert.status {
                AlertStatus::Firing => {
                    EpisodeOpened { severity: alert.severity }.emit(&self.metrics);
                }
                AlertStatus::Resolved => {
                    EpisodeClosed { severity: alert.severity }.emit(&self.metrics);
                }
                AlertStatus::Updated => {}
            }
            self.outbox.send(alert_record::of(&alert, &self.alerts), ledger.ticket(offset));
            kill_point::hit(Point::AlertSent);
        }
    }

    /// Sends what changed in what is known of agents; like an alert, each record holds the offset
    /// that caused it back until the broker has it.
    fn write_down(&self, lane: &mut Lane) {
        for Audited { record, offset } in lane.judge.take_audits() {
            if !lane.past.tells(offset) {
                continue;
            }
            Audit { kind: record.kind }.emit(&self.metrics);
            let outgoing = OutgoingRecord {
                topic: Arc::clone(&self.audit),
                partition: None,
                key: format!("{}/{}", record.tenant_id, record.agent_id).into_bytes(),
                payload: Some(record.to_json().into_bytes()),
                headers: vec![("content-type", "application/json".to_owned())],
                when_too_large: WhenTooLarge::LeaveOut,
            };
            self.outbox.send(outgoing, lane.ledger.ticket(offset));
        }
    }

    /// Sends the bytes of an unreadable record to the dead-letter topic, with the reason.
    fn bury(&self, record: &Record<'_>, rejected: &[DecodeError], ledger: &Ledger) {
        dead_letter::tell(record, rejected, &self.metrics);
        let letter = dead_letter::letter(record, rejected, &self.dead_letter);
        self.outbox.send(letter, ledger.ticket(record.position.offset));
        DeadLettered { kind: DeadLetterKind::Record }.emit(&self.metrics);
    }
}

fn by_topic(names: &[TopicPartition]) -> BTreeMap<&str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for name in names {
        topics.entry(&name.topic).or_default().push(name.partition);
    }
    topics
}

#[cfg(test)]
mod tests;
