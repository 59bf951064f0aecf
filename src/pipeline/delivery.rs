//! From the alerts topic to one receiver: a consumer group a receiver, on a thread of its own, so
//! that one that is slow or dead holds up no other.
//!
//! What is sent, and when, is the [`Courier`]'s. Here stand the polling, the attempts and what
//! happens when partitions come and go: a partition is paused until the log of deliveries was read,
//! and before it goes attempts under way may end.

mod reading;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use crate::alert::Alert;
use crate::deliver::Place;
use crate::event::Timestamp;
use crate::kafka::{
    Consumed, GroupMember, Outbox, OutgoingRecord, Polled, Rebalanced, Ticket, TopicPartition,
};
use crate::kill_point::{self, Point};
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::committing::Committing;
use crate::pipeline::courier::{Courier, Step};
use crate::pipeline::delivery::reading::Reading;
use crate::pipeline::look_up::{Found, LookUp};
use crate::pipeline::posting::{Ended, Receiver};
use crate::pipeline::undelivered;
use crate::telemetry::{Event, Metrics, NotificationPassedOver, NotificationsOvertaken};

/// How long a poll waits when nothing is on its way.
const POLL: Duration = Duration::from_millis(50);

/// How long a poll waits while an attempt is on its way.
const BUSY_POLL: Duration = Duration::from_millis(5);

/// How often offsets are committed and gauges set.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// How long attempts under way may take at the end, so that few are told twice.
const GRACE: Duration = Duration::from_secs(3);

/// How long attempts under way hold up a rebalance.
const LEAVE_MAX: Duration = Duration::from_secs(10);

/// How long the last commit of partitions that are to go may take after that.
const COMMIT_MAX: Duration = Duration::from_secs(5);

/// The first delivery's number among the consumers of an instance, for their statistics.
pub const WORKER: usize = 10_000;

/// What a delivery tells the others.
#[derive(Debug, Default)]
pub struct DeliverySignals {
    /// Set to make it stop.
    pub stop: AtomicBool,
    /// Whether everything on the topic has been told.
    pub caught_up: AtomicBool,
    /// Whether a broker can be reached.
    pub connected: AtomicBool,
    /// Alerts on their way.
    pub open: AtomicUsize,
}

/// Tells one receiver of alerts; to be run on a thread of its own.
#[derive(Debug)]
pub struct Delivering {
    consumer: Box<dyn GroupMember>,
    number: usize,
    receiver: Box<dyn Receiver>,
    courier: Courier,
    outbox: Outbox,
    look_up: LookUp,
    partitions: BTreeMap<TopicPartition, Reading>,
    leaving: Option<Leaving>,
    ended: (Sender<Ended>, mpsc::Receiver<Ended>),
    signals: Arc<DeliverySignals>,
    metrics: Metrics,
    time: Time,
    committing: Committing,
    paused: bool,
    last_housekeeping: Moment,
    /// How long the next poll may wait.
    wait: Duration,
}

/// Partitions that are to go.
#[derive(Debug)]
struct Leaving {
    names: Vec<TopicPartition>,
    since: Moment,
    /// Since when the last commit of them is waited for.
    committing: Option<Moment>,
}

/// Wall time that never goes back, so that a clock set back delays no retry.
#[derive(Clone, Copy, Debug)]
struct Time(Timestamp, Moment);

impl Time {
    fn now(self) -> Timestamp {
        self.0.plus(self.1.elapsed())
    }
}

impl Delivering {
    /// A delivery from `consumer`, number `number` of the instance, to `webhook`, whose requests
    /// run on `runtime`.
    #[must_use]
    pub fn new(
        (consumer, number): (Box<dyn GroupMember>, usize),
        (receiver, courier): (Box<dyn Receiver>, Courier),
        (outbox, look_up): (Outbox, LookUp),
        signals: Arc<DeliverySignals>,
        metrics: &Metrics,
    ) -> Self {
        consumer.defer_revoking(true);
        consumer.begin_nowhere(true);
        Self {
            consumer,
            number,
            receiver,
            courier,
            outbox,
            look_up,
            partitions: BTreeMap::new(),
            leaving: None,
            ended: mpsc::channel(),
            signals,
            metrics: metrics.clone(),
            time: Time(clock::wall(), Moment::now()),
            committing: Committing::default(),
            paused: false,
            last_housekeeping: Moment::now(),
            wait: POLL,
        }
    }

    /// Works until told to stop.
    pub fn run(mut self) {
        while !self.signals.stop.load(Ordering::Relaxed) {
            self.turn();
        }
        self.finish();
    }

    /// Goes once through all there is to do.
    pub fn turn(&mut self) {
        self.poll(self.wait);
        while let Some(note) = self.consumer.next_rebalance() {
            self.rebalance(note);
        }
        self.look();
        self.hear();
        self.wait = self.send();
        self.hear_commit();
        self.leave();
        if self.last_housekeeping.elapsed() >= HOUSEKEEPING {
            self.last_housekeeping = Moment::now();
            self.housekeep();
        }
    }

    /// Takes in what there is: one record after a wait, and what lies ready behind it.
    fn poll(&mut self, wait: Duration) {
        let mut wait = wait;
        for _ in 0..100 {
            let (name, place, parsed) = match self.consumer.poll(wait) {
                Polled::Record(record) => read(&record, self.time.now()),
                Polled::Error | Polled::Nothing => return,
            };
            wait = Duration::ZERO;
            let Some(reading) = self.partitions.get_mut(&name).filter(|it| it.is_live) else {
                // It is read again from where it begins, or by who has it next.
                continue;
            };
            let Some(gone) = reading.went_on(place.offset, self.consumer.resets()) else {
                // It was taken before.
                continue;
            };
            if gone > 0 {
                let receiver = self.receiver.name();
                NotificationsOvertaken { receiver, alerts: gone }.emit(&self.metrics);
            }
            reading.is_at_end = false;
            reading.at_end.forget();
            let outbox = &self.outbox;
            let mut send = |record, ticket| outbox.send(record, ticket);
            match parsed {
                Ok((alert, body)) => {
                    let receiver = self.receiver.name();
                    let is_own = undelivered::is_about(&alert, receiver);
                    if !self.receiver.wants(&alert) || is_own {
                        continue;
                    }
                    if self.courier.passes_over(&alert, reading.passed_over.is_some()) {
                        reading.passed_over.get_or_insert(place.offset);
                        NotificationPassedOver { receiver }.emit(&self.metrics);
                    } else {
                        self.courier.take(place, (*alert, body), &reading.ledger, &mut send);
                    }
                }
                Err((detail, body)) => {
                    let ticket = reading.ledger.ticket(place.offset);
                    self.courier.unreadable(&detail, &body, ticket, &mut send);
                }
            }
        }
    }

    fn rebalance(&mut self, note: Rebalanced) {
        match note {
            Rebalanced::Assigned(names) => {
                for name in names {
                    self.consumer.pause(&name);
                    self.look_up.ask(&name);
                    self.partitions.insert(name, Reading::default());
                }
            }
            Rebalanced::Revoking(names) => {
                for name in &names {
                    self.consumer.pause(name);
                    self.courier.leaves(name.partition);
                    if let Some(reading) = self.partitions.get_mut(name) {
                        (reading.is_live, reading.begin) = (false, None);
                    }
                }
                let leaving = self.leaving.take();
                let since = leaving.as_ref().map_or_else(Moment::now, |it| it.since);
                let mut all = leaving.map_or_else(Vec::new, |it| it.names);
                all.extend(names);
                self.leaving = Some(Leaving { names: all, since, committing: None });
            }
            Rebalanced::Revoked(names) | Rebalanced::Lost(names) => {
                for name in names {
                    self.drop_partition(&name);
                }
            }
        }
        self.say_assignment();
    }

    fn drop_partition(&mut self, name: &TopicPartition) {
        self.partitions.remove(name);
        self.courier.leave(name.partition);
        if let Some(leaving) = &mut self.leaving {
            leaving.names.retain(|it| it != name);
        }
    }

    fn say_assignment(&self) {
        let owned = self.partitions.keys().map(|name| (name.topic.to_string(), name.partition));
        self.metrics.kafka().set_assignment(self.number, owned.collect());
    }

    /// Goes on with partitions of which it is known by now what the receiver has.
    fn look(&mut self) {
        while let Some((name, found)) = self.look_up.found() {
            let is_waiting = |it: &&mut Reading| !it.is_live && it.begin.is_none();
            let Some(reading) = self.partitions.get_mut(&name).filter(is_waiting) else { continue };
            if self.leaving.as_ref().is_some_and(|it| it.names.contains(&name)) {
                continue;
            }
            let Found { records, from, overtaken, refused } = found;
            let receiver = self.receiver.name();
            let (partition, known) = (name.partition, records.len());
            tracing::info!(receiver, partition, known, refused, from, "delivering");
            if overtaken > 0 {
                NotificationsOvertaken { receiver, alerts: overtaken }.emit(&self.metrics);
            }
            self.courier.adopt(partition, &records);
            reading.begin = Some(from);
        }
        for (name, reading) in &mut self.partitions {
            let Some(from) = reading.begin else { continue };
            // Refused for a moment after the assignment; until it works nothing is taken.
            if self.consumer.seek(name, from).is_ok() {
                (reading.begin, reading.is_live) = (None, true);
                reading.resets = self.consumer.resets();
                reading.next_offset = Some(from);
                if !self.paused {
                    self.consumer.resume(name);
                }
            }
        }
    }

    /// Hears how attempts ended.
    fn hear(&mut self) {
        let outbox = &self.outbox;
        let mut send = |record, ticket| outbox.send(record, ticket);
        while let Ok((number, result)) = self.ended.1.try_recv() {
            let at = (self.time.now(), fastrand::f64());
            self.courier.done(number, result, at, &mut send);
        }
        self.courier.write(&mut send);
    }

    /// Begins what attempts are due. Returns how long to wait for records.
    fn send(&mut self) -> Duration {
        let outbox = &self.outbox;
        let mut announce = |record: OutgoingRecord, ticket: Ticket| outbox.send(record, ticket);
        loop {
            let now = self.time.now();
            match self.courier.next(now, &mut announce) {
                Step::Post(post) => {
                    self.receiver.attempt(post, self.ended.0.clone());
                }
                Step::Wait(_) | Step::Idle if self.courier.in_flight() > 0 => return BUSY_POLL,
                Step::Wait(until) => {
                    let left = until.as_nanos().saturating_sub(now.as_nanos());
                    return Duration::from_nanos(u64::try_from(left).unwrap_or(0)).min(POLL);
                }
                Step::Idle => return POLL,
            }
        }
    }

    /// Lets partitions go once nothing of them is on its way and that is committed.
    fn leave(&mut self) {
        let Some(Leaving { names, since, committing }) = &self.leaving else { return };
        let partitions: Vec<i32> = names.iter().map(|name| name.partition).collect();
        let is_quiet = self.courier.is_quiet(&partitions) && self.outbox.unacknowledged() == 0;
        let Some(asked) = *committing else {
            if is_quiet || since.elapsed() >= LEAVE_MAX {
                self.finish_offsets();
                self.commit();
                if let Some(leaving) = &mut self.leaving {
                    leaving.committing = Some(Moment::now());
                }
            }
            return;
        };
        if self.committing.is_under_way() && asked.elapsed() < COMMIT_MAX {
            return;
        }
        let names = names.clone();
        self.leaving = None;
        if !self.consumer.let_go(&names) {
            tracing::warn!(receiver = self.receiver.name(), "partitions were lost while they left");
        }
        for name in &names {
            self.drop_partition(name);
        }
        self.say_assignment();
    }

    /// Notes what may be committed.
    fn finish_offsets(&mut self) {
        for (name, reading) in &mut self.partitions {
            if let Some(finished) =
                reading.finished().filter(|offset| reading.committed != Some(*offset))
            {
                self.consumer.finish(name, finished);
                self.committing.moved();
                reading.committed = Some(finished);
            }
        }
    }

    /// Asks for a commit; a later turn hears how it ended.
    fn commit(&mut self) {
        if self.committing.has_moved() {
            kill_point::hit(Point::DeliveryNoted);
            self.committing.ask(&*self.consumer);
        }
    }

    fn hear_commit(&mut self) {
        if self.committing.hear(&*self.consumer) == Some(true) {
            kill_point::hit(Point::DeliveryCommitted);
        }
    }

    fn housekeep(&mut self) {
        self.outbox.retry();
        self.mind_pressure();
        let mut caught_up = !self.partitions.is_empty() && self.courier.held() == 0;
        for (name, reading) in &mut self.partitions {
            if let Some(it) = reading.at_end.look(&*self.consumer, name, reading.next_offset) {
                reading.is_at_end = it;
            }
            caught_up = caught_up
                && reading.is_live
                && reading.ledger.is_empty()
                && reading.passed_over.is_none()
                && reading.is_at_end;
        }
        self.finish_offsets();
        if !self.committing.is_under_way() {
            self.commit();
        }
        let outbox = &self.outbox;
        let now = self.time.now();
        self.courier.forget(now, &mut |record, ticket| outbox.send(record, ticket));
        self.courier.measure(now);
        self.signals.open.store(self.courier.held(), Ordering::Relaxed);
        self.signals.connected.store(self.consumer.is_connected(), Ordering::Relaxed);
        self.signals.caught_up.store(caught_up, Ordering::Relaxed);
    }

    /// Reads no further while too much is held, and goes back to what was passed over once there is
    /// room for many.
    fn mind_pressure(&mut self) {
        let has_room = self.courier.has_room();
        if !self.paused && self.courier.is_full_to_the_last() {
            let live = self.partitions.iter().filter(|(_, it)| it.is_live);
            live.for_each(|(name, _)| self.consumer.pause(name));
            self.paused = true;
        } else if self.paused && has_room {
            let live = self.partitions.iter().filter(|(_, it)| it.is_live);
            live.for_each(|(name, _)| self.consumer.resume(name));
            self.paused = false;
        }
        for (name, reading) in &mut self.partitions {
            let from = reading.passed_over.filter(|_| has_room && reading.is_live);
            // Refused for a moment now and then; tried again.
            if let Some(from) = from.filter(|from| self.consumer.seek(name, *from).is_ok()) {
                (reading.passed_over, reading.next_offset) = (None, Some(from));
            }
        }
    }

    /// Lets attempts under way end, for a little while, and commits.
    fn finish(mut self) {
        let began = Moment::now();
        let mut is_done = false;
        while !is_done && began.elapsed() < GRACE {
            std::thread::sleep(BUSY_POLL);
            self.hear();
            self.outbox.retry();
            let partitions: Vec<i32> = self.partitions.keys().map(|it| it.partition).collect();
            is_done = self.courier.is_quiet(&partitions) && self.outbox.unacknowledged() == 0;
        }
        self.finish_offsets();
        self.commit();
        let began = Moment::now();
        while self.committing.is_under_way() && began.elapsed() < GRACE {
            std::thread::sleep(BUSY_POLL);
            self.hear_commit();
        }
        // A consumer that is dropped waits for its partitions to be let go.
        self.consumer.defer_revoking(false);
    }
}

/// An alert and its bytes, or what is wrong with them.
type Parsed = Result<(Box<Alert>, Arc<[u8]>), (String, Arc<[u8]>)>;

fn read(record: &Consumed<'_>, now: Timestamp) -> (TopicPartition, Place, Parsed) {
    let name = TopicPartition { topic: record.topic().into(), partition: record.partition() };
    let appended_ms = record.timestamp_ms().unwrap_or_else(|| now.as_millis());
    let place = Place {
        // A stamp from the future would be tried for longer than is promised.
        appended_ms: appended_ms.min(now.as_millis()),
        partition: record.partition(),
        offset: record.offset(),
    };
    let body: Arc<[u8]> = record.payload().unwrap_or_default().into();
    let parsed = match serde_json::from_slice::<Box<Alert>>(&body) {
        Ok(alert) => Ok((alert, body)),
        Err(error) => Err((error.to_string(), body)),
    };
    (name, place, parsed)
}
