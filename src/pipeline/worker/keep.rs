//! The part of a worker that keeps what is known of its partitions: it takes it up, writes it down
//! and lets go of it. None of it waits; each turn of the loop goes as far as answers have come.

use std::sync::Arc;
use std::time::Duration;

use crate::event::Timestamp;
use crate::kafka::{Outbox, Rebalanced, TopicPartition};
use crate::kill_point::{self, Point};
use crate::pipeline::clock::Moment;
use crate::pipeline::flushing::Flushed;
use crate::pipeline::journal::{Journal, Unwritten};
use crate::pipeline::judge::Judge;
use crate::pipeline::keeping::Keeping;
use crate::pipeline::lane::Lane;
use crate::pipeline::past::Past;
use crate::pipeline::restore::{Found, GoOn, Restorer, go_on};
use crate::pipeline::worker::Worker;
use crate::pipeline::worker::hold::heal_all;
use crate::pipeline::worker::rebalance::rebalance;
use crate::state::changelog::Touched;
use crate::telemetry::{
    Event, Metrics, RestoreFailed, StateFlushed, StateFlushedEarly, StateRestored, StateUnwritten,
};

/// How long partitions that are to go may take to be written down: the whole group waits.
const LET_GO_WITHIN: Duration = Duration::from_secs(10);

/// How long the commit of what was written may take after that.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);

/// How many agents of a flush are written at a time where nothing more is judged.
const AGENTS_AT_LAST: usize = 4_096;

/// What a worker needs to keep what is known.
#[derive(Clone, Debug)]
pub struct Durable {
    /// Who reads partitions back.
    pub restorer: Restorer,
    /// Where records go out. Not the outbox of alerts, whose room they would take.
    pub outbox: Outbox,
    /// The topic.
    pub state: Arc<str>,
    /// How often a partition is flushed.
    pub interval: Duration,
    /// How many agents of a flush are written before more calls are judged.
    pub agents_a_turn: usize,
    /// How much memory what agents taught may take until it is written, in all of its partitions.
    pub lessons_bytes: usize,
}

/// Partitions that are to go.
#[derive(Debug)]
pub(super) struct Leaving {
    names: Vec<TopicPartition>,
    since: Moment,
    /// Since when the commit of what was written is waited for.
    committing: Option<Moment>,
}

impl Leaving {
    /// `names` are to go, from now on.
    pub(super) fn new(names: Vec<TopicPartition>) -> Self {
        Self { names, since: Moment::now(), committing: None }
    }
}

impl Worker {
    /// Keeps what is known, as far as that goes now.
    pub(super) fn keep(&mut self) {
        if let Some(durable) = self.durable.clone() {
            self.take_up();
            if self.may_write() {
                self.mind_foreign_writes();
                self.write_down(&durable);
            }
        }
        self.let_go();
    }

    /// Takes up what was found of partitions that wait for it.
    fn take_up(&mut self) {
        let metrics = self.metrics.clone();
        let mut failed = |name: &TopicPartition, why: &str| {
            let (topic, partition) = (&*name.topic, name.partition);
            RestoreFailed { topic, partition, why }.emit(&metrics);
        };
        for lane in self.lanes.values_mut() {
            let Some(found) = lane.keeping.as_mut().and_then(|it| it.found(&mut failed)) else {
                continue;
            };
            let way = go_on(&found.restored, &found.ends, self.consumer.is_from_earliest());
            tell(lane, &found, &way, &self.metrics);
            let stands = found.ends.committed.filter(|it| way.is_same_log && *it <= way.from);
            let learns = self.settings.learn_from.is_some();
            if let Err(error) = take_up_one(lane, found, &way, (learns, &self.metrics)) {
                tracing::error!(
                    topic = &*lane.name.topic, partition = lane.name.partition, %error,
                    "agents were left out"
                );
            }
            self.desk.keep_marks(&mut lane.judge);
            if let Some(committed) = stands {
                // The client has not asked where the group stands, and tells lag by that.
                self.consumer.finish(&lane.name, committed);
                self.committing.moved();
            }
            if let Some(live_from) = lane.pinned() {
                self.consumer.finish(&lane.name, live_from);
            }
            if lane.takes() {
                self.consumer.go_on_from(&lane.name, way.from);
            }
        }
    }

    /// Takes flushes under way a step further, and begins the one that is due most.
    fn write_down(&mut self, durable: &Durable) {
        let mut under_way = false;
        let share = durable.lessons_bytes / self.lanes.len().max(1);
        for lane in self.lanes.values_mut() {
            let is_idle = lane.is_idle();
            let Lane { judge, keeping: Some(keeping), ledger, .. } = lane else { continue };
            let mut send = |record, ticket| durable.outbox.send(record, ticket);
            keeping.lessons_bytes = share;
            let began = Moment::now();
            let more = || judge.write_on(durable.agents_a_turn);
            let flushed = keeping.flushing.step(ledger, more, &mut send);
            if keeping.flushing.is_under_way() {
                keeping.cost += began.elapsed();
            }
            if let Some(flushed) = flushed {
                keeping.flushed(flushed.records);
                judge.is_written(keeping.hour(), flushed.commit, is_idle);
                finished((judge, &lane.name), &flushed, &self.metrics);
                self.consumer.finish(&lane.name, flushed.commit);
                self.committing.moved();
                if keeping.is_beginning() {
                    keeping.goes_on();
                    self.consumer.go_on_from(&lane.name, flushed.commit);
                }
            }
            under_way |= keeping.flushing.is_under_way();
        }
        if under_way {
            return;
        }
        let cost = |lane: &Lane| {
            let waiting = lane.judge.journal().map_or(0, Journal::waiting);
            lane.keeping.as_ref().map(|keeping| keeping.cost_of(waiting))
        };
        let cost = self.lanes.values().filter_map(cost).sum();
        let interval = self.pace.flush_every(durable.interval, cost);
        let due = self.lanes.values_mut().filter(|lane| {
            lane.keeping.as_ref().is_some_and(|it| it.is_due(&lane.judge, interval))
        });
        let began = |lane: &&mut Lane| lane.keeping.as_ref().map(|it| it.flushing.began());
        if let Some(lane) = due.min_by_key(began) {
            let began = Moment::now();
            if lane.keeping.as_ref().is_some_and(|it| it.is_full(&lane.judge, 1)) {
                StateFlushedEarly.emit(&self.metrics);
            }
            begin(lane, &self.metrics);
            if let Some(keeping) = &mut lane.keeping {
                keeping.cost = began.elapsed();
            }
        }
    }

    /// Writes down partitions that are to go, commits, and lets go of them once that is done or has
    /// taken too long: whoever takes them over reads again what was not written or committed.
    fn let_go(&mut self) {
        let Some(leaving) = &self.leaving else { return };
        let committing = leaving.committing.or_else(|| self.write_leaving());
        let Some(since) = committing else { return };
        if self.committing.is_under_way() && since.elapsed() < COMMIT_WITHIN {
            return;
        }
        let Some(Leaving { names, .. }) = self.leaving.take() else { return };
        self.desk.count(&self.shared.rules, &mut self.lanes);
        let ours = self.consumer.let_go(&names);
        let note = if ours { Rebalanced::Revoked(names) } else { Rebalanced::Lost(names) };
        let parts = (&self.shared, &*self.signals, &self.desk);
        let kafka = (&*self.consumer, self.durable.as_ref());
        // Nothing is to go of what has gone.
        drop(rebalance(&mut self.lanes, parts, kafka, (note, None)));
        self.assignment_changed();
    }

    /// Writes down partitions that are to go. Returns since when the commit of that is waited for,
    /// once it is asked for.
    fn write_leaving(&mut self) -> Option<Moment> {
        let leaving = self.leaving.as_ref()?;
        let late = leaving.since.elapsed() >= LET_GO_WITHIN;
        let may_write = self.may_write();
        let mut done = true;
        if let Some(durable) = &self.durable {
            for lane in self.lanes.values_mut().filter(|lane| leaving.names.contains(&lane.name)) {
                done &= may_write && last_flush(lane, durable, &self.metrics);
            }
        }
        if !done && !late {
            kill_point::hit(Point::LettingGo);
            return None;
        }
        if late {
            tracing::warn!("partitions went before they were written down; they are read again");
        }
        self.note_finished();
        self.note_written();
        self.commit();
        let leaving = self.leaving.as_mut()?;
        leaving.committing = Some(Moment::now());
        leaving.committing
    }

    /// Writes down everything for the last time, at most until `patience` has passed since `began`.
    pub(super) fn keep_last(&mut self, began: Moment, patience: Duration) {
        let Some(durable) = self.durable.clone() else { return };
        for keeping in self.lanes.values_mut().filter_map(|lane| lane.keeping.as_mut()) {
            keeping.leaves();
        }
        let mut done = !self.may_write();
        if done {
            tracing::warn!(
                "what was not written is read again: the partitions may be others' by now"
            );
        }
        while !done && began.elapsed() < patience {
            done = true;
            durable.outbox.retry();
            for lane in self.lanes.values_mut() {
                done &= last_flush(lane, &durable, &self.metrics);
            }
            if !done {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        self.note_written();
    }

    /// What was written of partitions that leave may be committed.
    fn note_written(&mut self) {
        for lane in self.lanes.values_mut() {
            if let Some(offset) = lane.written.take() {
                self.consumer.finish(&lane.name, offset);
                self.committing.moved();
            }
        }
    }
}

/// Takes a leaving lane's last flush a step further. Returns whether it has ended.
fn last_flush(lane: &mut Lane, durable: &Durable, metrics: &Metrics) -> bool {
    let Lane { judge, keeping: Some(keeping), ledger, .. } = lane else { return true };
    let mut send = |record, ticket| durable.outbox.send(record, ticket);
    let more = || judge.write_on(AGENTS_AT_LAST);
    if let Some(flushed) = keeping.flushing.step(ledger, more, &mut send) {
        finished((judge, &lane.name), &flushed, metrics);
        lane.written = Some(flushed.commit);
        if lane.is_last_flush {
            keeping.has_left();
        }
    }
    if keeping.flushing.is_under_way() {
        return false;
    }
    if keeping.leaving() == Some(false) && !lane.is_last_flush {
        lane.is_last_flush = true;
        if begin(lane, metrics) {
            return false;
        }
    }
    true
}

/// Begins a flush. Returns whether there was anything to write.
fn begin(lane: &mut Lane, metrics: &Metrics) -> bool {
    let (topic, partition) = (Arc::clone(&lane.name.topic), lane.name.partition);
    let Some(keeping) = &mut lane.keeping else { return false };
    keeping.begun(lane.judge.watermark().map(Timestamp::hour));
    match lane.judge.begin_flush() {
        Ok(Some(flush)) => {
            keeping.flushing.begin(flush);
            true
        }
        Ok(None) => {
            keeping.flushing.put_off();
            false
        }
        Err(error) => {
            let why = error.to_string();
            StateUnwritten { topic: &topic, partition, agents: 0, why: &why }.emit(metrics);
            keeping.flushing.put_off();
            false
        }
    }
}

fn finished((judge, name): (&mut Judge, &TopicPartition), flushed: &Flushed, metrics: &Metrics) {
    let Unwritten { count: agents, first } = judge.take_unwritten();
    if let Some(why) = first.map(|error| error.to_string()) {
        let (topic, partition) = (&*name.topic, name.partition);
        StateUnwritten { topic, partition, agents, why: &why }.emit(metrics);
    }
    let seconds = flushed.began.elapsed().as_secs_f64();
    StateFlushed { records: flushed.records, bytes: flushed.bytes, seconds }.emit(metrics);
}

/// Gives a lane what was found of its partition.
fn take_up_one(
    lane: &mut Lane,
    found: Found,
    way: &GoOn,
    (learns, metrics): (bool, &Metrics),
) -> Result<(), crate::state::Full> {
    let Found { mut restored, ends, state_end, .. } = found;
    let Some(keeping) = &mut lane.keeping else { return Ok(()) };
    keeping.succeeds(restored.owner, state_end);
    let overwritten = std::mem::take(&mut restored.overwritten);
    let stale = std::mem::take(&mut restored.stale);
    let lineage = keeping.lineage(way.log, ends.partitions);
    let is_known = restored.marker.is_some();
    let outcome = lane.judge.take_up(restored, (way.from, way.is_same_log), lineage);
    heal_all(lane, &overwritten, metrics);
    write_stale_anew(lane, &stale);
    let live_from = ends.committed.filter(|committed| is_known && *committed > way.from);
    if let Some(live_from) = live_from.filter(|_| way.is_same_log) {
        // It stopped while it learned from history, which teaches and is not told.
        lane.past = Past::until(live_from);
        lane.pin(live_from);
    }
    if !is_known && learns {
        lane.past = Past::wanted();
    }
    // Where it began must be known before anything is judged: with `start: latest` whoever stops
    // before the first flush would begin elsewhere.
    let first = if is_known || learns { Ok(None) } else { lane.judge.begin_flush() };
    let Some(keeping) = &mut lane.keeping else { return outcome };
    match first {
        Ok(Some(flush)) => {
            keeping.begins();
            keeping.flushing.begin(flush);
        }
        _ => keeping.goes_on(),
    }
    outcome
}

/// Has everything written anew whose record could not be used or is signed with a key that is to go.
fn write_stale_anew(lane: &mut Lane, stale: &[Touched]) {
    if stale.is_empty() {
        return;
    }
    let (topic, partition) = (&*lane.name.topic, lane.name.partition);
    tracing::info!(
        topic,
        partition,
        records = stale.len(),
        "what is known of them is written anew"
    );
    lane.judge.write_stale_anew(stale);
    if let Some(keeping) = &mut lane.keeping {
        keeping.hurry();
    }
}

/// Says what was found.
fn tell(lane: &Lane, found: &Found, way: &GoOn, metrics: &Metrics) {
    let (topic, partition) = (&*lane.name.topic, lane.name.partition);
    let restored = &found.restored;
    StateRestored {
        topic,
        partition,
        agents: restored.agents.len(),
        records: restored.records,
        refused: restored.refused,
        why: restored.first_refused.as_deref().unwrap_or_default(),
        missing: restored.missing,
        from: way.from,
        seconds: found.took.as_secs_f64(),
    }
    .emit(metrics);
    for change in &way.changes {
        change.in_partition(topic, partition).emit(metrics);
    }
}

impl Keeping {
    /// What a partition that was just assigned is kept by.
    #[must_use]
    pub fn of(name: &TopicPartition, durable: &Durable) -> Self {
        Self::new(name, &durable.restorer, Arc::clone(&durable.state))
    }
}
