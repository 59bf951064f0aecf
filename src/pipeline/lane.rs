//! One partition in a worker's hands: its judge, its open alerts, and whether it runs, waits or
//! idles.

use std::sync::Arc;
use std::time::Duration;

use crate::kafka::{GroupMember, Ledger, TopicPartition};
use crate::pipeline::at_end::AtEnd;
use crate::pipeline::clock::Moment;
use crate::pipeline::judge::tally::Tally;
use crate::pipeline::judge::{Judge, Shared};
use crate::pipeline::keeping::Keeping;
use crate::pipeline::past::{Learned, Past};
use crate::state::PartitionId;
use crate::telemetry::{Event, Metrics, PartitionPaused};

/// How often a partition that should run and brings nothing is resumed, in case the library holds a
/// pause that nobody here knows of. Resuming throws away what was fetched ahead.
const RESUME_EVERY: Duration = Duration::from_secs(30);

/// Records taken in and not yet counted: counters are shared by all workers, and a shared counter
/// moved for every record would be passed to and fro between processors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Received {
    /// Records.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Records that had been taken in before, and were passed over.
    pub again: u64,
    /// Calls in records without a key.
    pub without_key: u64,
    /// Calls in records whose key names another agent.
    pub other_key: u64,
}

/// One partition in a worker's hands.
#[derive(Debug)]
pub struct Lane {
    /// Its judge.
    pub judge: Judge,
    /// Its name.
    pub name: TopicPartition,
    /// The offsets whose alerts are not acknowledged.
    pub ledger: Ledger,
    /// What it took in since it was last counted.
    pub received: Received,
    /// What its judge had done when that was last counted.
    pub counted: Tally,
    /// Whether it learns from its history or is live.
    pub past: Past,
    /// How what is known of it is kept, if it is.
    pub keeping: Option<Keeping>,
    /// Whether records went before they were read, so that the next ones are of no use.
    pub is_cut_off: bool,
    /// How often its consumer had gone on elsewhere when that was last looked into.
    pub resets: u64,
    /// The append time of its last record, in milliseconds.
    pub last_append_ms: Option<i64>,
    /// When it last took in a record, to the length of a batch.
    last_record: Moment,
    /// Whether it has taken in a record since that was noted: reading the clock for each record
    /// would cost more than the record's place in the order.
    took: bool,
    /// Since when its first call waits for the peers of this epoch.
    waiting: Option<(i64, Moment)>,
    /// When it last judged anything, or had nothing to judge.
    last_progress: Moment,
    at_end: AtEnd,
    /// Whether the broker said, when it was asked last, that there are records to read.
    behind: bool,
    last_resumed: Moment,
    finished: Option<i64>,
    /// What may be committed of it as it leaves.
    pub written: Option<i64>,
    /// Whether its last flush has begun.
    pub is_last_flush: bool,
    paused: bool,
    idle: bool,
}

impl Lane {
    /// A lane for a partition that was just assigned, with what may still be open of it.
    #[must_use]
    pub fn new(shared: Shared, id: PartitionId, name: TopicPartition, ledger: Ledger) -> Self {
        let now = Moment::now();
        let judge = Judge::new(shared, id, Arc::clone(&name.topic));
        judge.guard(ledger.clone());
        Self {
            judge,
            name,
            ledger,
            received: Received::default(),
            counted: Tally::default(),
            past: Past::none(),
            keeping: None,
            is_cut_off: false,
            resets: 0,
            last_append_ms: None,
            last_record: now,
            took: false,
            waiting: None,
            last_progress: now,
            at_end: AtEnd::default(),
            behind: false,
            last_resumed: now,
            finished: None,
            written: None,
            is_last_flush: false,
            paused: false,
            idle: false,
        }
    }

    /// Whether records are taken in: not before what was known is back, not once the partition is to
    /// go, and none beyond records that are missing.
    #[must_use]
    pub fn takes(&self) -> bool {
        !self.is_cut_off && self.keeping.as_ref().is_none_or(Keeping::takes)
    }

    /// The partition is to go: nothing more is taken in.
    pub fn leaves(&mut self) {
        if let Some(keeping) = &mut self.keeping {
            keeping.leaves();
        }
    }

    /// Whether calls may be judged now: not while too much waits to be written down.
    #[must_use]
    pub fn may_judge(&self) -> bool {
        self.keeping.as_ref().is_none_or(|keeping| keeping.may_judge(&self.judge))
    }

    /// Notes a record taken in.
    pub fn took_record(&mut self, append_ms: Option<i64>) {
        self.last_append_ms = append_ms.or(self.last_append_ms);
        self.took = true;
        self.behind = false;
        if self.idle {
            self.idle = false;
            self.judge.set_idle(false);
        }
    }

    /// Notes how judging went: `held_before` calls were held.
    pub fn judged(&mut self, held_before: usize) {
        let held = self.judge.held();
        if held < held_before || held == 0 {
            self.last_progress = Moment::now();
        }
        if std::mem::take(&mut self.took) {
            self.last_record = Moment::now();
        }
        self.waiting = match (self.judge.waits_for(), self.waiting) {
            (None, _) => None,
            (Some(epoch), Some((known, since))) if known == epoch => Some((epoch, since)),
            (Some(epoch), _) => Some((epoch, Moment::now())),
        };
    }

    /// The epoch it has waited for longer than `limit`.
    #[must_use]
    pub fn overdue(&self, limit: Duration) -> Option<i64> {
        self.waiting.filter(|(_, since)| since.elapsed() >= limit).map(|(epoch, _)| epoch)
    }

    /// Pauses the partition when it holds too much or the outbox is full, and lets it run again
    /// well below: pausing throws away what was fetched ahead, so it must not flutter.
    pub fn mind_pressure(
        &mut self,
        consumer: &dyn GroupMember,
        (full, held_max): (bool, usize),
        metrics: &Metrics,
    ) {
        // Whoever waits for what was known stays paused until it is back.
        if !self.takes() {
            return;
        }
        let held = self.judge.held();
        if !self.paused && (full || held >= held_max) {
            consumer.pause(&self.name);
            self.paused = true;
            let TopicPartition { topic, partition } = &self.name;
            PartitionPaused { topic, partition: *partition, held }.emit(metrics);
        } else if self.paused && !full && held <= held_max / 3 {
            consumer.resume(&self.name);
            self.paused = false;
        }
    }

    /// Finds out whether the partition has nothing to read, and tells the board. Returns whether it
    /// is idle.
    pub fn mind_idleness(&mut self, consumer: &dyn GroupMember, after: Duration) -> bool {
        // Its commit may stand at the end while all of its history is still on its way.
        if !self.past.is_live() && self.judge.next_offset().is_none() || !self.takes() {
            return false;
        }
        if self.idle {
            return true;
        }
        let quiet = self.judge.held() == 0 && !self.paused && self.last_record.elapsed() >= after;
        // What it says before it counts could not be told from what is said again.
        let quiet = quiet && self.judge.is_joined();
        if !quiet {
            self.at_end.forget();
            return false;
        }
        let next_offset = self.judge.next_offset();
        let Some(is_at_end) = self.at_end.look(consumer, &self.name, next_offset) else {
            return false;
        };
        self.behind = !is_at_end;
        if is_at_end {
            self.idle = true;
            self.judge.set_idle(true);
            if let Some(keeping) = self.keeping.as_mut().filter(|_| !self.judge.is_at_rest()) {
                // The others go on, and past versions of peers are kept for it until it is written.
                keeping.hurry();
            }
        }
        if self.behind && self.last_resumed.elapsed() >= RESUME_EVERY {
            self.last_resumed = Moment::now();
            consumer.resume(&self.name);
        }
        self.idle
    }

    /// Whether the last record was taken in at least `span` ago.
    #[must_use]
    pub fn has_rested(&self, span: Duration) -> bool {
        span.is_zero() || self.last_record.elapsed() >= span
    }

    /// Whether it has nothing to read.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    /// Whether it holds calls and has judged none, or has records to read and has taken in none, for
    /// so long.
    #[must_use]
    pub fn is_stalled(&self, after: Duration) -> bool {
        let judges_none = self.judge.held() > 0 && self.last_progress.elapsed() >= after;
        judges_none || self.behind && self.last_record.elapsed() >= after
    }

    /// Learns from what lies below `live_from`, which counts as finished: until that is reached,
    /// [`Self::newly_finished`] has nothing to say.
    pub fn pin(&mut self, live_from: i64) {
        self.finished = Some(live_from);
        self.last_record = Moment::now();
    }

    /// What was pinned and is not to be committed below.
    #[must_use]
    pub fn pinned(&self) -> Option<i64> {
        self.finished
    }

    /// Goes live when its history is over; returns what was learned, once.
    pub fn go_live(&mut self) -> Option<Learned> {
        let waits = self.judge.held() > 0 || self.paused;
        let quiet = (!waits).then(|| self.last_record.elapsed());
        self.past.go_live(self.judge.judged_offset(), quiet)
    }

    /// The offset below which everything is judged and its alerts acknowledged, if that has moved.
    pub fn newly_finished(&mut self) -> Option<i64> {
        if self.keeping.is_some() {
            // What is written down last says what is finished.
            return None;
        }
        let judged = self.judge.judged_offset()?;
        let finished = self.ledger.lowest_open().map_or(judged, |open| open.min(judged));
        if self.finished.is_some_and(|known| finished <= known) {
            return None;
        }
        self.finished = Some(finished);
        Some(finished)
    }
}
