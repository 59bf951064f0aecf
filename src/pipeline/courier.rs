//! One receiver's alerts on their way: what is sent next, what is noted of it, and what may be
//! committed then. Without clock, network or broker: the pipeline and the tests drive it.
//!
//! An alert's note goes `sending` → attempt → `delivered` or `dead`, and only the last one settles
//! the claim on its offset. What stands between is the one window in which a crash repeats an alert,
//! and whoever reads `sending` says so to the receiver.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::alert::{Alert, AlertStatus, Severity};
use crate::deliver::{
    Attempt, Deliveries, Dispatch, Done, Failure, Job, Known, Manner, Message, Next, Outcome,
    Phase, Place, Record, id_of, incident_of, key,
};
use crate::event::Timestamp;
use crate::kafka::{Ledger, OutgoingRecord, Ticket, WhenTooLarge};
use crate::pipeline::alert_record;
use crate::pipeline::cut;
use crate::pipeline::dead_letter::DEAD_LETTER_BYTES_MAX;
use crate::pipeline::pager::{Page, Pager, as_duplicate};
use crate::pipeline::undelivered;
use crate::telemetry::{
    BreakerMoved, DeadLetterKind, DeadLettered, Event, FailureReason, Metrics,
    NotificationDeadLettered, NotificationDeduplicated, NotificationFailed, NotificationKnown,
};

/// Alerts that may be held for one receiver.
pub const HELD_MAX: usize = 10_000;

/// Bytes of alerts that may be held for one receiver, with the bodies made of them.
pub const HELD_BYTES_MAX: usize = 32 << 20;

/// Critical alerts that may be held beside those, read ahead of others that wait for room.
pub const URGENT_MAX: usize = 1_000;

/// Bytes of such alerts.
pub const URGENT_BYTES_MAX: usize = 4 << 20;

/// Notes deleted from the log at a time.
const FORGET_MAX: usize = 500;

/// How one receiver is told.
#[derive(Clone, Debug)]
pub struct CourierSettings {
    /// Its name.
    pub name: Arc<str>,
    /// How long an incident that was told is not paged for again, in event time.
    pub dedup_for: Duration,
    /// How long an alert is tried, from when it was written.
    pub retry_for: Duration,
    /// Notifications a second, at most.
    pub rate: u32,
    /// Where alerts stand.
    pub alerts: Arc<str>,
    /// The log of deliveries.
    pub deliveries: Arc<str>,
    /// Where dead letters go.
    pub dead_letter: Arc<str>,
    /// Whether there are others to be told when this one cannot be.
    pub has_others: bool,
}

/// An alert on its way.
#[derive(Debug)]
struct Item {
    alert: Box<Alert>,
    body: Arc<[u8]>,
    place: Place,
    ticket: Ticket,
    /// Records that must have arrived before the last note is written.
    before: Ledger,
    /// What an earlier attempt said it was an update of.
    told_as: Option<Option<String>>,
    /// What is sent, once that is decided.
    message: Option<Arc<Message>>,
}

impl Item {
    /// The bytes it holds: the alert as it was read, and both bodies once they are made.
    fn bytes(&self) -> usize {
        self.body.len() + self.message.as_ref().map_or(0, |message| message.bytes())
    }

    fn id(&self) -> Arc<str> {
        id_of(&self.alert.alert_id, self.alert.revision)
    }
}

/// One attempt to make.
#[derive(Debug)]
pub struct Post {
    /// What [`Courier::done`] is told.
    pub number: u64,
    /// What to send.
    pub message: Arc<Message>,
    /// How.
    pub manner: Manner,
    /// Empty once the note that an attempt is made has arrived.
    pub announced: Ledger,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Make this attempt.
    Post(Post),
    /// Nothing before then.
    Wait(Timestamp),
    /// Nothing before something happens.
    Idle,
}

/// A record that waits until others have arrived.
#[derive(Debug)]
struct After {
    before: Ledger,
    record: OutgoingRecord,
    ticket: Ticket,
}

/// Where records go.
type Send<'a> = dyn FnMut(OutgoingRecord, Ticket) + 'a;

/// One receiver's alerts on their way.
#[derive(Debug)]
pub struct Courier {
    settings: CourierSettings,
    dispatch: Dispatch<Item>,
    known: Deliveries,
    /// Alerts held, by id and revision.
    ids: BTreeSet<Arc<str>>,
    pager: Pager,
    after: Vec<After>,
    held_bytes: usize,
    phase: Phase,
    metrics: Metrics,
}

impl Courier {
    /// A courier with nothing on its way.
    #[must_use]
    pub fn new(settings: CourierSettings, metrics: &Metrics) -> Self {
        Self {
            dispatch: Dispatch::new(settings.rate),
            pager: Pager::new(settings.dedup_for),
            settings,
            known: Deliveries::default(),
            ids: BTreeSet::new(),
            after: Vec::new(),
            held_bytes: 0,
            phase: Phase::Closed,
            metrics: metrics.clone(),
        }
    }

    /// Takes up what the log knows of a partition, by offset.
    pub fn adopt(&mut self, partition: i32, records: &[Record]) {
        for record in records {
            self.known.note(partition, record);
            self.pager.recall(record);
        }
    }

    /// Takes an alert this receiver wants, as it stands at `place`. It holds a ticket of `ledger`
    /// until the receiver is known to have it.
    pub fn take(
        &mut self,
        place: Place,
        (alert, body): (Alert, Arc<[u8]>),
        ledger: &Ledger,
        send: &mut Send<'_>,
    ) {
        let id = id_of(&alert.alert_id, alert.revision);
        let told_as = match self.known.known(&id) {
            // What came twice holds no offset: where it came first is lower.
            _ if self.ids.contains(&id) => return,
            Known::Done => {
                let receiver = &*self.settings.name;
                NotificationKnown { receiver }.emit(&self.metrics);
                return;
            }
            Known::Nothing => None,
            Known::Sending(duplicate_of) => Some(duplicate_of),
        };
        let ticket = ledger.ticket(place.offset);
        if let Err(detail) = Message::new(&alert, &body) {
            let (receiver, reason) = (&*self.settings.name, FailureReason::Other);
            NotificationFailed { receiver, reason }.emit(&self.metrics);
            let letter = Letter { reason: reason.as_str(), status: None, detail: &detail };
            self.bury(&letter, &body, ticket, send);
            return;
        }
        let job = Job {
            place,
            incident: incident_of(&alert.dedup_key, &alert.alert_id),
            is_urgent: alert.severity == Severity::Critical,
            deadline: Timestamp::from_millis(place.appended_ms).plus(self.settings.retry_for),
            is_repeat: told_as.is_some(),
            item: Item {
                alert: Box::new(alert),
                body,
                place,
                ticket,
                before: Ledger::default(),
                told_as,
                message: None,
            },
        };
        let bytes = job.item.bytes();
        if self.dispatch.take(job) {
            self.held_bytes += bytes;
            self.ids.insert(id);
        }
    }

    /// Whether an alert is to be passed over now and read again later, for lack of room. With
    /// `is_ahead` others before it have been: then only the first words of critical ones are taken,
    /// so that no word of an episode overtakes another.
    #[must_use]
    pub fn passes_over(&self, alert: &Alert, is_ahead: bool) -> bool {
        if alert.severity == Severity::Critical && alert.status == AlertStatus::Firing {
            self.is_full_to_the_last()
        } else {
            is_ahead || self.is_full()
        }
    }

    /// What to do at `now`. An attempt is to be made once its note has arrived, or a moment later:
    /// people are told even when the broker is not to be reached.
    pub fn next(&mut self, now: Timestamp, send: &mut Send<'_>) -> Step {
        let Attempt { number, manner } = match self.dispatch.next(now) {
            Next::Send(attempt) => attempt,
            Next::Wait(until) => return Step::Wait(until),
            Next::Idle => return Step::Idle,
        };
        self.say_phase();
        let Some(item) = self.dispatch.item(number) else { return Step::Idle };
        let announced = item.before.clone();
        if let Some(message) = &item.message {
            let message = Arc::clone(message);
            return Step::Post(Post { number, message, manner, announced });
        }
        let first = match item.told_as.take() {
            Some(recorded) => recorded,
            None => decide(&mut self.pager, &item.alert, (&self.settings.name, &self.metrics)),
        };
        let changed = first.map(|first| {
            let alert = as_duplicate(&item.alert, first);
            let body: Arc<[u8]> = alert.to_json().into_bytes().into();
            (alert, body)
        });
        let (alert, body) = match &changed {
            Some((alert, body)) => (alert, body),
            None => (&*item.alert, &item.body),
        };
        // It was tried when the alert was taken; an update differs in no part of that.
        let Ok(message) = Message::new(alert, body) else { return Step::Idle };
        let message = Arc::new(message);
        item.message = Some(Arc::clone(&message));
        self.held_bytes += message.bytes();
        let record = Record::sending(alert, item.place.offset, now);
        let outgoing = noted(&self.settings, item.place.partition, &record);
        send(outgoing, announced.ticket(0));
        self.known.note(item.place.partition, &record);
        if let Some((alert, _)) = changed {
            *item.alert = alert;
        }
        Step::Post(Post { number, message, manner, announced })
    }

    /// The attempt `number` has ended at `now`: with this status, or not well. `unit_random` lies
    /// in 0..1.
    pub fn done(
        &mut self,
        number: u64,
        result: Result<u16, Failure>,
        (now, unit_random): (Timestamp, f64),
        send: &mut Send<'_>,
    ) {
        let code = result.as_ref().ok().copied();
        let done = self.dispatch.done(number, result.map(|_| ()), now, unit_random);
        self.say_phase();
        let (item, outcome, attempts, code) = match done {
            None | Some(Done::Again) => return,
            Some(Done::Delivered { item, attempts }) => (item, Outcome::Delivered, attempts, code),
            Some(Done::Dead { item, attempts, failure }) => {
                self.dead(&item, &failure, send);
                (item, Outcome::Dead, attempts, failure.status)
            }
        };
        self.held_bytes = self.held_bytes.saturating_sub(item.bytes());
        self.ids.remove(&item.id());
        let sending = Record::sending(&item.alert, item.place.offset, now);
        let record = Record { outcome, attempts, code, ..sending };
        self.known.note(item.place.partition, &record);
        let record = noted(&self.settings, item.place.partition, &record);
        self.after.push(After { before: item.before, record, ticket: item.ticket });
        self.write(send);
    }

    /// Writes the notes whose time has come: what they rest on has arrived.
    pub fn write(&mut self, send: &mut Send<'_>) {
        for after in std::mem::take(&mut self.after) {
            if after.before.is_empty() {
                send(after.record, after.ticket);
            } else {
                self.after.push(after);
            }
        }
    }

    /// Deletes notes that are old or too many.
    pub fn forget(&mut self, now: Timestamp, send: &mut Send<'_>) {
        let mut forgotten = 0;
        for _ in 0..FORGET_MAX {
            let Some((partition, id, is_early)) = self.known.forget_one(now) else { break };
            forgotten += u64::from(is_early);
            let record = OutgoingRecord {
                topic: Arc::clone(&self.settings.deliveries),
                partition: Some(partition),
                key: key(&self.settings.name, &id),
                ..OutgoingRecord::default()
            };
            // Nothing waits for it.
            send(record, Ledger::default().ticket(0));
        }
        self.metrics.notification_log(&self.settings.name, self.known.len(), forgotten);
    }

    /// A partition is to go: nothing more of it is begun.
    pub fn leaves(&mut self, partition: i32) {
        self.dispatch.forget(partition, false);
        self.recount();
    }

    /// A partition has gone.
    pub fn leave(&mut self, partition: i32) {
        self.dispatch.forget(partition, true);
        self.known.leave(partition);
        self.recount();
        self.say_phase();
    }

    /// Whether no more alerts can be held but critical ones.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.dispatch.len() >= HELD_MAX || self.held_bytes >= HELD_BYTES_MAX
    }

    /// Whether not even those can.
    #[must_use]
    pub fn is_full_to_the_last(&self) -> bool {
        self.dispatch.len() >= HELD_MAX + URGENT_MAX
            || self.held_bytes >= HELD_BYTES_MAX + URGENT_BYTES_MAX
    }

    /// Whether there is room for many more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.dispatch.len() <= HELD_MAX / 3 && self.held_bytes <= HELD_BYTES_MAX / 3
    }

    /// Whether nothing of these partitions is on its way, and every note was handed over.
    #[must_use]
    pub fn is_quiet(&self, partitions: &[i32]) -> bool {
        self.after.is_empty() && partitions.iter().all(|it| self.dispatch.in_flight(Some(*it)) == 0)
    }

    /// Attempts on their way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.dispatch.in_flight(None)
    }

    /// Alerts that wait or are on their way.
    #[must_use]
    pub fn held(&self) -> usize {
        self.dispatch.len()
    }

    /// Says how much waits, at `now`.
    pub fn measure(&self, now: Timestamp) {
        let millis = |place: Place| now.as_millis().saturating_sub(place.appended_ms).max(0);
        let oldest = self.dispatch.oldest().map_or(0, millis);
        let oldest = Duration::from_millis(u64::try_from(oldest).unwrap_or(0)).as_secs_f64();
        let name = &self.settings.name;
        self.metrics.notification_queue(name, self.dispatch.len(), oldest);
        self.metrics.notification_incidents(name, self.pager.len());
    }

    /// What came of a record that is no alert.
    pub fn unreadable(&self, detail: &str, body: &[u8], ticket: Ticket, send: &mut Send<'_>) {
        let letter = Letter { reason: "parse", status: None, detail };
        self.bury(&letter, body, ticket, send);
    }

    /// An alert was given up: the dead-letter topic has it, and the other receivers are told.
    fn dead(&mut self, item: &Item, failure: &Failure, send: &mut Send<'_>) {
        let (receiver, reason) = (&*self.settings.name, failure.reason());
        NotificationFailed { receiver, reason }.emit(&self.metrics);
        self.pager.untold(&item.alert);
        let letter =
            Letter { reason: reason.as_str(), status: failure.status, detail: &failure.detail };
        self.bury(&letter, &item.body, item.before.ticket(1), send);
        if self.settings.has_others && !undelivered::is_one(&item.alert) {
            let alert = undelivered::alert(&item.alert, receiver);
            let record = alert_record::of(&alert, &self.settings.alerts);
            send(record, item.before.ticket(2));
        }
    }

    /// Sends an alert that could not be told to the dead-letter topic.
    fn bury(&self, letter: &Letter<'_>, body: &[u8], ticket: Ticket, send: &mut Send<'_>) {
        let receiver = &*self.settings.name;
        let status = letter.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let record = OutgoingRecord {
            topic: Arc::clone(&self.settings.dead_letter),
            partition: None,
            key: receiver.as_bytes().to_vec(),
            // What somebody else wrote to the alerts topic may be as large as that takes.
            payload: Some(body.get(..DEAD_LETTER_BYTES_MAX).unwrap_or(body).to_vec()),
            headers: vec![
                ("toolwarden-kind", DeadLetterKind::Delivery.as_str().to_owned()),
                ("toolwarden-receiver", receiver.to_owned()),
                ("toolwarden-reason", letter.reason.to_owned()),
                ("toolwarden-http-status", status),
                ("toolwarden-detail", letter.detail.to_owned()),
            ],
            when_too_large: WhenTooLarge::Cut(cut::letter),
        };
        send(record, ticket);
        NotificationDeadLettered { receiver }.emit(&self.metrics);
        DeadLettered { kind: DeadLetterKind::Delivery }.emit(&self.metrics);
    }

    fn say_phase(&mut self) {
        let phase = self.dispatch.phase();
        if phase != self.phase {
            let (receiver, from) = (&*self.settings.name, self.phase);
            BreakerMoved {
                receiver,
                level: phase.level(),
                has_opened: phase == Phase::Open && from == Phase::Closed,
                has_closed: phase == Phase::Closed,
            }
            .emit(&self.metrics);
            self.phase = phase;
        }
    }

    fn recount(&mut self) {
        let (mut ids, mut bytes) = (BTreeSet::new(), 0);
        for item in self.dispatch.items() {
            ids.insert(item.id());
            bytes += item.bytes();
        }
        (self.ids, self.held_bytes) = (ids, bytes);
    }
}

/// Why an alert was not told.
struct Letter<'a> {
    reason: &'a str,
    status: Option<u16>,
    detail: &'a str,
}

/// The alert that this one is sent as an update of.
fn decide(
    pager: &mut Pager,
    alert: &Alert,
    (receiver, metrics): (&str, &Metrics),
) -> Option<String> {
    let (page, forgotten) = pager.decide(alert);
    let is_duplicate = page != Page::AsIs;
    NotificationDeduplicated { receiver, forgotten, is_duplicate }.emit(metrics);
    match page {
        Page::AsIs => None,
        Page::Duplicate(first) => Some(first),
    }
}

fn noted(settings: &CourierSettings, partition: i32, record: &Record) -> OutgoingRecord {
    OutgoingRecord {
        topic: Arc::clone(&settings.deliveries),
        partition: Some(partition),
        key: key(&settings.name, &record.id()),
        payload: Some(record.to_json()),
        ..OutgoingRecord::default()
    }
}
