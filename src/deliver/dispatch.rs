//! Which alert goes to one receiver, and when: a state machine without clock, randomness or IO.
//!
//! Oldest first, critical ones before all others; the words of one incident one after the other, so
//! that `resolved` never overtakes `firing`, over retries too; at most [`IN_FLIGHT_MAX`] at a time
//! and no faster than the receiver's rate; nothing while its breaker is open but one alert that
//! finds out whether it is back. Nothing is ever dropped here: an alert leaves as delivered, or as
//! dead after an attempt of its own that failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::deliver::breaker::{Admission, Breaker, Phase};
use crate::deliver::retry::{Failure, Ruling, backoff, slow_backoff};
use crate::deliver::webhook::Manner;
use crate::event::Timestamp;

/// Attempts on their way to one receiver at a time.
pub const IN_FLIGHT_MAX: usize = 4;

/// Where an alert stands among others: by when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it was appended to the alerts topic, in milliseconds since the Unix epoch.
    pub appended_ms: i64,
    /// The partition of the alerts topic.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
}

/// One alert to deliver.
#[derive(Clone, Debug)]
pub struct Job<T> {
    /// Where it stands.
    pub place: Place,
    /// What its order is kept within.
    pub incident: Arc<str>,
    /// Whether it goes before others.
    pub is_urgent: bool,
    /// When it is given up, if its attempt fails then or later.
    pub deadline: Timestamp,
    /// Whether it may have been sent before.
    pub is_repeat: bool,
    /// What is carried along.
    pub item: T,
}

/// An attempt to make now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What it is known by in [`Dispatch::done`]; never used twice.
    pub number: u64,
    /// How it is made.
    pub manner: Manner,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Make this attempt, and say how it ended.
    Send(Attempt),
    /// Nothing before then, unless an attempt ends or an alert comes.
    Wait(Timestamp),
    /// Nothing before an attempt ends or an alert comes.
    Idle,
}

/// What became of an alert with the attempt that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done<T> {
    /// The receiver has it.
    Delivered {
        /// What was carried along.
        item: T,
        /// Attempts made.
        attempts: u32,
    },
    /// It was given up: it belongs in the dead-letter topic.
    Dead {
        /// What was carried along.
        item: T,
        /// Attempts made.
        attempts: u32,
        /// How the last one ended.
        failure: Failure,
    },
    /// It is tried again.
    Again,
}

#[derive(Debug)]
struct Waiting<T> {
    job: Job<T>,
    attempts: u32,
    /// The number of the last probe made with it since the breaker opened, or 0.
    probed: u64,
    not_before: Option<Timestamp>,
    is_minimal: bool,
}

/// Where an incident's first alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Ready(bool, Place),
    Later(Timestamp, Place),
    InFlight(u64, Place),
}

#[derive(Debug)]
struct Incident<T> {
    queue: BTreeMap<Place, Waiting<T>>,
    slot: Option<Slot>,
}

#[derive(Debug)]
struct Flight {
    incident: Arc<str>,
    place: Place,
    is_probe: bool,
}

/// The order of one receiver's alerts.
#[derive(Debug)]
pub struct Dispatch<T> {
    incidents: BTreeMap<Arc<str>, Incident<T>>,
    /// First alerts that may go: urgent ones first (`false < true`), then the oldest.
    ready: BTreeSet<(bool, Place, Arc<str>)>,
    /// First alerts that wait for their next attempt.
    later: BTreeSet<(Timestamp, Place, Arc<str>)>,
    /// Every alert, in flight or not.
    places: BTreeSet<Place>,
    flights: BTreeMap<u64, Flight>,
    breaker: Breaker,
    throttle: Throttle,
    /// Until when the receiver has asked to be left alone.
    hold_until: Option<Timestamp>,
    /// Whether the next probe is made with the oldest alert.
    probes_oldest: bool,
    next_number: u64,
}

impl<T> Dispatch<T> {
    /// A dispatch to a receiver that takes `rate` notifications a second, at least 1.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self {
            incidents: BTreeMap::new(),
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
            places: BTreeSet::new(),
            flights: BTreeMap::new(),
            breaker: Breaker::default(),
            throttle: Throttle::new(rate),
            hold_until: None,
            probes_oldest: true,
            next_number: 0,
        }
    }

    /// Takes an alert. One whose place is taken is refused: false.
    pub fn take(&mut self, job: Job<T>) -> bool {
        if !self.places.insert(job.place) {
            return false;
        }
        let key = Arc::clone(&job.incident);
        let incident = self
            .incidents
            .entry(Arc::clone(&key))
            .or_insert_with(|| Incident { queue: BTreeMap::new(), slot: None });
        let waiting = Waiting { attempts: 0, probed: 0, not_before: None, is_minimal: false, job };
        incident.queue.insert(waiting.job.place, waiting);
        self.settle(&key);
        true
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Timestamp) -> Next {
        if self.flights.len() >= IN_FLIGHT_MAX || self.ready.is_empty() && self.later.is_empty() {
            return Next::Idle;
        }
        if let Some(until) = self.hold_until.filter(|until| *until > now) {
            return Next::Wait(until);
        }
        self.hold_until = None;
        let is_probe = match self.breaker.admits(now) {
            Admission::Any => false,
            Admission::Probe => true,
            Admission::NothingUntil(until) => return Next::Wait(until),
            Admission::Nothing => return Next::Idle,
        };
        self.promote(now);
        let chosen = if is_probe { self.probe() } else { self.ready.first().cloned() };
        let Some((_, place, key)) = chosen else {
            return self.later.first().map_or(Next::Idle, |(at, ..)| Next::Wait(*at));
        };
        if let Err(until) = self.throttle.admit(now) {
            return Next::Wait(until);
        }
        self.send(&key, place, is_probe).map_or(Next::Idle, Next::Send)
    }

    /// The item of an attempt that is on its way.
    #[must_use]
    pub fn item(&mut self, number: u64) -> Option<&mut T> {
        let flight = self.flights.get(&number)?;
        let incident = self.incidents.get_mut(&flight.incident)?;
        incident.queue.get_mut(&flight.place).map(|waiting| &mut waiting.job.item)
    }

    /// The attempt `number` has ended at `now`; `unit_random` lies in 0..1. `None` when nothing is
    /// known of it: its partition has gone.
    pub fn done(
        &mut self,
        number: u64,
        outcome: Result<(), Failure>,
        now: Timestamp,
        unit_random: f64,
    ) -> Option<Done<T>> {
        let flight = self.flights.remove(&number)?;
        self.weigh(outcome.as_ref().err(), flight.is_probe, now, unit_random);
        let incident = self.incidents.get_mut(&flight.incident)?;
        incident.slot = None;
        let waiting = incident.queue.get_mut(&flight.place)?;
        let is_over = match &outcome {
            Ok(()) => true,
            Err(failure) => !waiting.tries_again(failure, now, unit_random),
        };
        let removed = if is_over { incident.queue.remove(&flight.place) } else { None };
        let done = match (removed, outcome) {
            (None, _) => Done::Again,
            (Some(it), Ok(())) => Done::Delivered { item: it.job.item, attempts: it.attempts },
            (Some(it), Err(failure)) => {
                Done::Dead { item: it.job.item, attempts: it.attempts, failure }
            }
        };
        if is_over {
            self.places.remove(&flight.place);
        }
        self.settle(&flight.incident);
        Some(done)
    }

    /// Forgets what waits of a partition; with `in_flight` also what is on its way.
    pub fn forget(&mut self, partition: i32, in_flight: bool) {
        let keys: Vec<Arc<str>> = self.incidents.keys().cloned().collect();
        for key in keys {
            let Some(incident) = self.incidents.get_mut(&key) else { continue };
            let flying = match incident.slot {
                Some(Slot::InFlight(number, place)) => Some((number, place)),
                _ => None,
            };
            let keeps = |place: &Place| {
                place.partition != partition
                    || !in_flight && flying.is_some_and(|(_, it)| it == *place)
            };
            incident.queue.retain(|place, _| keeps(place));
            if let Some((number, place)) = flying.filter(|(_, place)| !keeps(place)) {
                debug_assert_eq!(place.partition, partition);
                incident.slot = None;
                if self.flights.remove(&number).is_some_and(|flight| flight.is_probe) {
                    self.breaker.probe_is_lost();
                }
            }
            self.settle(&key);
        }
        let kept = |place: &Place| place.partition != partition;
        let flying: BTreeSet<Place> = self.flights.values().map(|it| it.place).collect();
        self.places.retain(|place| kept(place) || flying.contains(place));
    }

    /// What is carried along with every alert that waits or is on its way.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        let waiting = self.incidents.values().flat_map(|incident| incident.queue.values());
        waiting.map(|waiting| &waiting.job.item)
    }

    /// Alerts that wait or are on their way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Attempts on their way, of one partition or of all.
    #[must_use]
    pub fn in_flight(&self, partition: Option<i32>) -> usize {
        let of = |it: &&Flight| partition.is_none_or(|wanted| it.place.partition == wanted);
        self.flights.values().filter(of).count()
    }

    /// The oldest alert there is.
    #[must_use]
    pub fn oldest(&self) -> Option<Place> {
        self.places.first().copied()
    }

    /// Where the receiver's breaker stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.breaker.phase()
    }

    /// What an attempt says of the receiver.
    fn weigh(
        &mut self,
        failure: Option<&Failure>,
        is_probe: bool,
        now: Timestamp,
        unit_random: f64,
    ) {
        if let Some(wait) = failure.and_then(|failure| failure.asked_wait) {
            let until = now.plus(wait);
            self.hold_until = self.hold_until.max(Some(until));
        }
        match failure {
            Some(failure) if failure.is_of_receiver() => {
                // Who says when to come back is alive.
                if failure.asked_wait.is_none() || is_probe {
                    let is_slow = matches!(failure.ruling, Ruling::RetrySlowly(_));
                    self.breaker.fails(now, (is_probe, is_slow), unit_random);
                }
            }
            _ => {
                if self.breaker.works() {
                    self.all_may_go();
                }
            }
        }
    }

    /// The receiver is back: nobody waits for a retry, so that the oldest goes first.
    fn all_may_go(&mut self) {
        self.probes_oldest = true;
        let keys: Vec<Arc<str>> = self.incidents.keys().cloned().collect();
        for key in keys {
            let Some(incident) = self.incidents.get_mut(&key) else { continue };
            for waiting in incident.queue.values_mut() {
                (waiting.not_before, waiting.probed) = (None, 0);
            }
            self.settle(&key);
        }
    }

    /// The oldest alert, and every other time the one that was not tried for longest: one that the
    /// receiver cannot digest must not stand for all of them.
    fn probe(&self) -> Option<(bool, Place, Arc<str>)> {
        let firsts = self.incidents.iter().filter_map(|(key, incident)| match incident.slot {
            Some(Slot::InFlight(..)) | None => None,
            Some(Slot::Ready(..) | Slot::Later(..)) => {
                let (place, waiting) = incident.queue.first_key_value()?;
                let probed = if self.probes_oldest { 0 } else { waiting.probed };
                Some((probed, *place, key))
            }
        });
        let (_, place, key) = firsts.min()?;
        Some((false, place, Arc::clone(key)))
    }

    fn send(&mut self, key: &Arc<str>, place: Place, is_probe: bool) -> Option<Attempt> {
        let incident = self.incidents.get_mut(key)?;
        let waiting = incident.queue.get_mut(&place)?;
        self.next_number += 1;
        let number = self.next_number;
        let manner =
            Manner { is_minimal: waiting.is_minimal, is_possible_duplicate: waiting.job.is_repeat };
        waiting.attempts = waiting.attempts.saturating_add(1);
        if is_probe {
            waiting.probed = number;
            self.probes_oldest = !self.probes_oldest;
            self.breaker.probing();
        }
        remove(&mut self.ready, &mut self.later, incident.slot, key);
        incident.slot = Some(Slot::InFlight(number, place));
        self.flights.insert(number, Flight { incident: Arc::clone(key), place, is_probe });
        Some(Attempt { number, manner })
    }

    /// Lets those go whose wait is over.
    fn promote(&mut self, now: Timestamp) {
        while let Some((_, place, key)) = self.later.first().filter(|(at, ..)| *at <= now).cloned()
        {
            let incident = self.incidents.get_mut(&key);
            if let Some(waiting) = incident.and_then(|it| it.queue.get_mut(&place)) {
                waiting.not_before = None;
            }
            self.settle(&key);
        }
    }

    /// Puts an incident where it belongs after a change.
    fn settle(&mut self, key: &Arc<str>) {
        let Some(incident) = self.incidents.get_mut(key) else { return };
        if matches!(incident.slot, Some(Slot::InFlight(..))) {
            return;
        }
        remove(&mut self.ready, &mut self.later, incident.slot, key);
        let Some((place, waiting)) = incident.queue.first_key_value() else {
            self.incidents.remove(key);
            return;
        };
        let is_urgent = incident.queue.values().any(|waiting| waiting.job.is_urgent);
        let slot = match waiting.not_before {
            Some(at) => {
                self.later.insert((at, *place, Arc::clone(key)));
                Slot::Later(at, *place)
            }
            None => {
                self.ready.insert((!is_urgent, *place, Arc::clone(key)));
                Slot::Ready(!is_urgent, *place)
            }
        };
        incident.slot = Some(slot);
    }
}

fn remove(
    ready: &mut BTreeSet<(bool, Place, Arc<str>)>,
    later: &mut BTreeSet<(Timestamp, Place, Arc<str>)>,
    slot: Option<Slot>,
    key: &Arc<str>,
) {
    match slot {
        Some(Slot::Ready(rank, place)) => {
            ready.remove(&(rank, place, Arc::clone(key)));
        }
        Some(Slot::Later(at, place)) => {
            later.remove(&(at, place, Arc::clone(key)));
        }
        Some(Slot::InFlight(..)) | None => {}
    }
}

impl<T> Waiting<T> {
    /// Whether another attempt is to be made after `failure`; sets how and when.
    fn tries_again(&mut self, failure: &Failure, now: Timestamp, unit_random: f64) -> bool {
        self.job.is_repeat |= failure.is_ambiguous;
        let wait = match failure.ruling {
            Ruling::Retry(_) => backoff(self.attempts, unit_random),
            Ruling::RetrySlowly(_) => slow_backoff(unit_random),
            Ruling::RetryMinimal(_) if !self.is_minimal => {
                self.is_minimal = true;
                return true;
            }
            Ruling::RetryMinimal(_) | Ruling::GiveUp(_) | Ruling::Delivered => return false,
        };
        if now >= self.job.deadline {
            return false;
        }
        let wait = failure.asked_wait.unwrap_or(wait);
        // The last attempt is made when the time is up, not before.
        self.not_before = Some(now.plus(wait).min(self.job.deadline));
        true
    }
}

/// At most so many a second, and twice as many in one second after a pause.
#[derive(Debug)]
struct Throttle {
    interval_ms: i64,
    burst_ms: i64,
    /// When all that was let through would be through at the rate.
    through_at: Option<Timestamp>,
}

impl Throttle {
    fn new(rate: u32) -> Self {
        let interval_ms = 1_000 / i64::from(rate.clamp(1, 1_000));
        Self { interval_ms, burst_ms: 1_000 - interval_ms, through_at: None }
    }

    fn admit(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let through_at = self.through_at.map_or(now, |at| at.max(now));
        let earliest = through_at.plus_millis(-self.burst_ms);
        if earliest > now {
            return Err(earliest);
        }
        self.through_at = Some(through_at.plus_millis(self.interval_ms));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
