//! One partition's flush under way: which acknowledgement it waits for, step by step.
//!
//! 1. every alert, change and dead letter caused below the cut is acknowledged;
//! 2. the agents and lessons are sent, bit by bit, and acknowledged;
//! 3. the marker is sent and acknowledged;
//! 4. the cut may be committed.
//!
//! Whoever stops between two of them loses nothing: what is not committed is read again, and what
//! was written says what it reflects already. In another order an alert could be suppressed by a
//! state that had seen its cause while the alert itself was never written.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::kafka::{CODE_HEADER, Ledger, OutgoingRecord, Receipts, Ticket, WhenTooLarge};
use crate::kill_point::{self, Point};
use crate::pipeline::clock::Moment;
use crate::pipeline::journal::{Flush, StateRecord};
use crate::state::mac::MacKeys;

/// Bytes of records that are sent before they are waited for: about a batch. librdkafka has one batch of
/// a partition on its way at a time, and while another one waits behind it, its thread asks without
/// pause whether that may go: a processor for the length of a flush.
const BATCH_BYTES: usize = 900_000;

/// Which acknowledgement is waited for.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    Resting,
    Alerts(Flush),
    /// Of those that were sent: there are more.
    Writing(Flush),
    Records {
        marker: StateRecord,
        commit: i64,
    },
    Marker {
        commit: i64,
    },
}

/// A flush that has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flushed {
    /// The offset that may be committed.
    pub commit: i64,
    /// When it began.
    pub began: Moment,
    /// Records written.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

/// The flushes of one partition, one at a time.
#[derive(Debug)]
pub struct Flushing {
    topic: Arc<str>,
    partition: i32,
    keys: MacKeys,
    stage: Stage,
    /// Records that wait for those before them.
    queue: VecDeque<StateRecord>,
    ledger: Ledger,
    receipts: Receipts,
    began: Moment,
    records: u64,
    bytes: u64,
}

impl Flushing {
    /// Flushes to `partition` of the state topic, not signed.
    #[must_use]
    pub fn new(topic: Arc<str>, partition: i32) -> Self {
        let (stage, ledger, receipts) = (Stage::Resting, Ledger::default(), Receipts::default());
        Self {
            topic,
            partition,
            keys: MacKeys::default(),
            stage,
            queue: VecDeque::new(),
            ledger,
            receipts,
            began: Moment::now(),
            records: 0,
            bytes: 0,
        }
    }

    /// The same, whose records are signed with `keys`.
    #[must_use]
    pub fn signed_with(self, keys: MacKeys) -> Self {
        Self { keys, ..self }
    }

    /// Whether a flush is under way.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        !matches!(self.stage, Stage::Resting)
    }

    /// When the flush under way, or the last one, began.
    #[must_use]
    pub const fn began(&self) -> Moment {
        self.began
    }

    /// Begins a flush. The one before must have ended.
    pub fn begin(&mut self, flush: Flush) {
        debug_assert!(!self.is_under_way(), "one flush at a time");
        self.began = Moment::now();
        (self.records, self.bytes) = (0, 0);
        self.stage = Stage::Alerts(flush);
    }

    /// Where its records stand.
    #[must_use]
    pub const fn receipts(&self) -> &Receipts {
        &self.receipts
    }

    /// There is nothing to flush now; the next try comes when the interval has passed again.
    pub fn put_off(&mut self) {
        self.began = Moment::now();
    }

    /// Goes as far as acknowledgements allow. `alerts` are the open offsets of the source partition;
    /// `more` gives the next records of the flush until there are none, and is asked once a step, when
    /// those before are acknowledged;
    /// `send` produces a record. Returns the flush when it has ended.
    pub fn step(
        &mut self,
        alerts: &Ledger,
        more: impl FnOnce() -> Option<Vec<StateRecord>>,
        send: &mut dyn FnMut(OutgoingRecord, Ticket),
    ) -> Option<Flushed> {
        let mut more = Some(more);
        loop {
            self.stage = match std::mem::take(&mut self.stage) {
                Stage::Resting => return None,
                Stage::Alerts(flush) if alerts.lowest_open().is_some_and(|it| it < flush.cut) => {
                    self.stage = Stage::Alerts(flush);
                    return None;
                }
                Stage::Alerts(mut flush) => {
                    self.queue.extend(std::mem::take(&mut flush.records));
                    Stage::Writing(flush)
                }
                waiting if !self.ledger.is_empty() => {
                    self.stage = waiting;
                    return None;
                }
                Stage::Writing(flush) if self.queue.is_empty() => {
                    let Some(more) = more.take() else {
                        self.stage = Stage::Writing(flush);
                        return None;
                    };
                    match more() {
                        Some(records) => {
                            self.queue.extend(records);
                            Stage::Writing(flush)
                        }
                        None => Stage::Records { marker: flush.marker, commit: flush.commit },
                    }
                }
                Stage::Writing(flush) => {
                    self.send_batch(flush.cut, send);
                    Stage::Writing(flush)
                }
                Stage::Records { marker, commit } => {
                    kill_point::hit(Point::StatesAcked);
                    // Without it nothing says how far the flush before it goes.
                    self.send(marker, (commit, WhenTooLarge::Keep), send);
                    Stage::Marker { commit }
                }
                Stage::Marker { commit } => {
                    kill_point::hit(Point::MarkerAcked);
                    let Self { began, records, bytes, .. } = *self;
                    return Some(Flushed { commit, began, records, bytes });
                }
            };
        }
    }

    /// Sends the next records of the queue.
    fn send_batch(&mut self, cut: i64, send: &mut dyn FnMut(OutgoingRecord, Ticket)) {
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some(record) = self.queue.pop_front()
        {
            bytes += record.0.len() + record.1.as_ref().map_or(0, Vec::len);
            self.send(record, (cut, WhenTooLarge::LeaveOutBaseline), send);
        }
    }

    fn send(
        &mut self,
        (key, payload): StateRecord,
        (offset, when_too_large): (i64, WhenTooLarge),
        send: &mut dyn FnMut(OutgoingRecord, Ticket),
    ) {
        self.records += 1;
        self.bytes += payload.as_ref().map_or(0, |it| u64::try_from(it.len()).unwrap_or(0));
        let code = self.keys.code(self.partition, &key, payload.as_deref());
        let record = OutgoingRecord {
            topic: Arc::clone(&self.topic),
            partition: Some(self.partition),
            key,
            payload,
            headers: code.map(|code| (CODE_HEADER, code)).into_iter().collect(),
            when_too_large,
        };
        send(record, self.receipts.ticket(&self.ledger, offset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flush() -> Flush {
        Flush {
            records: vec![(b"a".to_vec(), Some(vec![1]))],
            marker: (b"m".to_vec(), Some(vec![2])),
            cut: 10,
            commit: 8,
        }
    }

    /// What is to come, what has been sent, and its tickets.
    #[derive(Default)]
    struct Sent {
        more: Vec<Vec<StateRecord>>,
        sent: Vec<(Vec<u8>, Option<Ticket>)>,
    }

    impl Sent {
        /// Everything comes at once.
        fn at_once() -> Self {
            Self { more: vec![vec![(b"b".to_vec(), None)]], sent: Vec::new() }
        }

        fn step(&mut self, flushing: &mut Flushing, alerts: &Ledger) -> Option<i64> {
            let Self { more, sent } = self;
            let mut send = |record: OutgoingRecord, ticket| sent.push((record.key, Some(ticket)));
            flushing.step(alerts, || more.pop(), &mut send).map(|it| it.commit)
        }

        fn keys(&self) -> Vec<&[u8]> {
            self.sent.iter().map(|(key, _)| &**key).collect()
        }

        fn settle(&mut self, place: usize) {
            self.sent[place].1.take().unwrap().settle();
        }
    }

    #[test]
    fn alerts_come_before_agents_and_agents_before_the_marker() {
        let mut flushing = Flushing::new("state".into(), 3);
        let (alerts, mut sent) = (Ledger::default(), Sent::at_once());
        let (below, beyond) = (alerts.ticket(9), alerts.ticket(10));
        flushing.begin(flush());
        assert_eq!(sent.step(&mut flushing, &alerts), None);
        assert!(sent.keys().is_empty(), "an alert is not acknowledged");
        below.settle();
        assert_eq!(sent.step(&mut flushing, &alerts), None);
        assert_eq!(sent.keys(), [b"a"], "what comes after the cut is not waited for");
        assert_eq!(sent.step(&mut flushing, &alerts), None);
        assert_eq!(sent.keys().len(), 1, "what was written first is not acknowledged");
        sent.settle(0);
        assert_eq!(sent.step(&mut flushing, &alerts), None);
        assert_eq!(sent.keys(), [b"a", b"b"]);
        assert_eq!(sent.step(&mut flushing, &alerts), None);
        assert_eq!(sent.keys().len(), 2, "an agent is not acknowledged");
        sent.settle(1);
        assert_eq!(sent.step(&mut flushing, &alerts), None);
        assert_eq!(sent.keys(), [b"a", b"b", b"m"]);
        assert!(flushing.is_under_way());
        sent.settle(2);
        assert_eq!(sent.step(&mut flushing, &alerts), Some(8));
        assert!(!flushing.is_under_way());
        drop(beyond);
    }

    #[test]
    fn the_marker_waits_for_agents_that_are_not_written_yet() {
        let mut flushing = Flushing::new("state".into(), 3);
        let (alerts, mut sent) = (Ledger::default(), Sent::default());
        sent.more = (0..3).map(|number| vec![(vec![number], None)]).collect();
        flushing.begin(flush());
        for written in 1..5 {
            assert_eq!(sent.step(&mut flushing, &alerts), None);
            assert_eq!(sent.keys().len(), written, "one after the other");
            sent.sent.iter_mut().filter_map(|it| it.1.take()).for_each(Ticket::settle);
        }
        assert_eq!(sent.step(&mut flushing, &alerts), None);
        assert_eq!(sent.keys().last(), Some(&&b"m"[..]));
        sent.settle(4);
        assert_eq!(sent.step(&mut flushing, &alerts), Some(8));
    }

    #[test]
    fn about_a_batch_is_on_its_way_at_a_time() {
        let mut flushing = Flushing::new("state".into(), 3);
        let (alerts, mut sent) = (Ledger::default(), Sent::default());
        let half = BATCH_BYTES / 2;
        sent.more = vec![(0..5).map(|number| (vec![number], Some(vec![0; half]))).collect()];
        flushing.begin(flush());
        let mut on_their_way = Vec::new();
        while !sent.keys().contains(&&b"m"[..]) {
            assert_eq!(sent.step(&mut flushing, &alerts), None);
            assert_eq!(sent.step(&mut flushing, &alerts), None, "nothing more without an answer");
            let tickets = sent.sent.iter_mut().filter_map(|it| it.1.take());
            on_their_way.push(tickets.map(Ticket::settle).count());
        }
        assert_eq!(
            on_their_way,
            [1, 2, 2, 1, 1],
            "first, agents, agents, the last of them, marker"
        );
        assert!(flushing.queue.is_empty());
    }

    #[test]
    fn a_record_that_never_arrives_holds_the_flush() {
        let mut flushing = Flushing::new("state".into(), 3);
        let (alerts, mut sent) = (Ledger::default(), Sent::at_once());
        flushing.begin(flush());
        assert_eq!(sent.step(&mut flushing, &alerts), None);
        sent.settle(0);
        assert_eq!(sent.step(&mut flushing, &alerts), None);
        drop(sent.sent[1].1.take());
        for _ in 0..3 {
            assert_eq!(sent.step(&mut flushing, &alerts), None);
        }
        assert_eq!(sent.keys().len(), 2, "no marker without its agents");
    }
}
