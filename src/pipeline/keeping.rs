//! How what is known of one partition is kept: taken up again before it is judged, written down
//! while it is, and once more before it goes.

use std::sync::Arc;
use std::time::Duration;

use crate::event::Timestamp;
use crate::kafka::TopicPartition;
use crate::pipeline::clock::{self, Moment};
use crate::pipeline::flushing::Flushing;
use crate::pipeline::journal::Lineage;
use crate::pipeline::judge::Judge;
use crate::pipeline::restore::{Answer, Asked, Found, Restorer};
use crate::pipeline::watch::Watch;
use crate::state::foreign::{self, Findings};

/// How long to wait before the cluster is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How far the numbers of two owners may lie apart that follow the same one, in milliseconds.
const NUMBERS_APART: u64 = 1 << 16;

/// About what it costs a worker to write one agent down.
const AGENT_COST: Duration = Duration::from_micros(20);

/// A partition is flushed when so many hours of event time have passed since it was, however much that
/// costs: a backlog passes many hours in one interval, and a judge may not be far ahead of what is
/// written down.
const HOURS_A_FLUSH: i64 = 4;

/// Where a partition stands.
#[derive(Debug)]
enum Stage {
    /// What was known is being read.
    Asked(Answer),
    /// The cluster did not answer.
    Failed(Moment),
    /// It is known where it begins, and that is being written down.
    Beginning,
    /// It is judged.
    Kept,
    /// It is to go: nothing more is taken in.
    Leaving { is_done: bool },
}

/// The keeping of one partition.
#[derive(Debug)]
pub struct Keeping {
    name: TopicPartition,
    restorer: Restorer,
    stage: Stage,
    /// Its flushes.
    pub flushing: Flushing,
    owner: u64,
    /// Whether somebody else writes to it.
    watch: Option<Watch>,
    asked: Moment,
    is_hurried: bool,
    /// What the last flush cost its worker.
    pub cost: Duration,
    /// What lessons may take in memory until they are written.
    pub lessons_bytes: usize,
    /// How many records it wrote.
    written: u64,
    /// The hour of event time in which it began.
    hour: Option<i64>,
}

impl Keeping {
    /// Asks for what is known of `name`, to be flushed to the topic `state` later, signed with the
    /// keys of `restorer`.
    #[must_use]
    pub fn new(name: &TopicPartition, restorer: &Restorer, state: Arc<str>) -> Self {
        Self {
            name: name.clone(),
            restorer: restorer.clone(),
            stage: Stage::Asked(restorer.ask(name)),
            flushing: Flushing::new(state, name.partition).signed_with(restorer.keys().clone()),
            owner: u64::try_from(clock::wall().as_millis()).unwrap_or(0),
            watch: None,
            asked: Moment::now(),
            is_hurried: false,
            cost: Duration::ZERO,
            lessons_bytes: usize::MAX,
            written: 0,
            hour: None,
        }
    }

    /// What there is to know, once it has come. A cluster that does not answer is asked again;
    /// `failed` is told why.
    pub fn found(&mut self, failed: &mut dyn FnMut(&TopicPartition, &str)) -> Option<Found> {
        match &self.stage {
            Stage::Asked(answer) => match answer.look() {
                Asked::Waiting => None,
                Asked::Found(found) => Some(*found),
                Asked::Failed(why) => {
                    failed(&self.name, &why);
                    self.stage = Stage::Failed(Moment::now());
                    None
                }
            },
            Stage::Failed(at) if at.elapsed() >= ASK_AGAIN => {
                self.stage = Stage::Asked(self.restorer.ask(&self.name));
                None
            }
            _ => None,
        }
    }

    /// What was written down by owners up to number `owner` was read, to the offset `state_end` of
    /// the state topic's partition. This one's number is higher than theirs, whatever the clocks say.
    pub fn succeeds(&mut self, owner: u64, state_end: i64) {
        if self.owner <= owner {
            // By a clock that is behind. Another one may follow the same number before this one has
            // written anything; with the same number neither would know the other's records from its
            // own. Which of the two is higher does not matter: the group says whose it is.
            self.owner = owner.saturating_add(1).saturating_add(fastrand::u64(..NUMBERS_APART));
        }
        self.watch = Some(Watch::from(state_end));
    }

    /// About what the next flush will cost its worker if `waiting` agents wait to be written.
    #[must_use]
    pub fn cost_of(&self, waiting: usize) -> Duration {
        let waiting = u64::try_from(waiting).unwrap_or(u64::MAX);
        let more = u32::try_from(waiting.saturating_sub(self.written)).unwrap_or(u32::MAX);
        self.cost.saturating_add(AGENT_COST.saturating_mul(more))
    }

    /// A flush of so many records has ended.
    pub fn flushed(&mut self, records: u64) {
        self.written = records;
        let offsets = self.flushing.receipts().take();
        if let Some(watch) = &mut self.watch {
            watch.flushed(&offsets);
        }
    }

    /// What somebody else wrote to the partition, as far as that is known between two flushes.
    pub fn foreign(&mut self) -> Findings {
        let Some(watch) = self.watch.as_mut().filter(|_| !self.flushing.is_under_way()) else {
            return Findings::default();
        };
        let findings = foreign::judge(self.owner, watch.found());
        watch.look(|seen, written| self.restorer.look(&self.name, seen, written));
        findings
    }

    /// The hour of event time in which the last flush began.
    #[must_use]
    pub const fn hour(&self) -> Option<i64> {
        self.hour
    }

    /// What was overwritten is to be written anew without waiting for the interval.
    pub const fn hurry(&mut self) {
        self.is_hurried = true;
    }

    /// A flush begins in this hour of event time.
    pub const fn begun(&mut self, hour: Option<i64>) {
        self.is_hurried = false;
        self.hour = hour;
    }

    /// Whoever took over later has written: nothing more is written, and what was sent and refused
    /// is not sent again.
    pub fn yields(&mut self) {
        self.flushing.receipts().void();
        self.stage = Stage::Leaving { is_done: true };
    }

    /// What is the same for every flush of the partition.
    #[must_use]
    pub fn lineage(&self, log: u32, partitions: i32) -> Lineage {
        Lineage { topic: Arc::clone(&self.name.topic), log, owner: self.owner, partitions }
    }

    /// It is known where the partition begins; that is written down before it is judged.
    pub fn begins(&mut self) {
        self.stage = Stage::Beginning;
    }

    /// The partition is judged from now on.
    pub fn goes_on(&mut self) {
        self.stage = Stage::Kept;
    }

    /// Nothing more is taken in.
    pub fn leaves(&mut self) {
        let is_done = !matches!(self.stage, Stage::Kept);
        self.stage = Stage::Leaving { is_done };
    }

    /// The last flush has ended.
    pub fn has_left(&mut self) {
        self.stage = Stage::Leaving { is_done: true };
    }

    /// Whether records are taken in.
    #[must_use]
    pub const fn takes(&self) -> bool {
        matches!(self.stage, Stage::Kept)
    }

    /// Whether its beginning is being written down.
    #[must_use]
    pub const fn is_beginning(&self) -> bool {
        matches!(self.stage, Stage::Beginning)
    }

    /// Whether what was known is not back yet.
    #[must_use]
    pub const fn is_restoring(&self) -> bool {
        matches!(self.stage, Stage::Asked(_) | Stage::Failed(_) | Stage::Beginning)
    }

    /// Whether it is to go, and then whether there is nothing more to write.
    #[must_use]
    pub const fn leaving(&self) -> Option<bool> {
        match self.stage {
            Stage::Leaving { is_done } => Some(is_done),
            _ => None,
        }
    }

    /// Whether calls may be judged now: a flush under way must end before much more is taught,
    /// because an agent's record holds what it taught since the last one.
    #[must_use]
    pub fn may_judge(&self, judge: &Judge) -> bool {
        self.takes() && (!self.flushing.is_under_way() || !self.is_full(judge, 2))
    }

    /// Whether a flush should begin: `interval` has passed, or hours of event time have, or much was
    /// taught.
    #[must_use]
    pub fn is_due(&self, judge: &Judge, interval: Duration) -> bool {
        if !self.takes() || self.flushing.is_under_way() {
            return false;
        }
        self.is_hurried
            || judge.is_held_back()
            || self.is_full(judge, 1)
            || self.is_hours_old(judge.watermark().map(Timestamp::hour))
            || self.flushing.began().elapsed() >= interval
    }

    /// Whether lessons take so many times what they may.
    #[must_use]
    pub fn is_full(&self, judge: &Judge, times: usize) -> bool {
        judge.journal().is_some_and(|journal| journal.is_full(self.lessons_bytes, times))
    }

    /// Whether the last flush began hours of event time before `hour`.
    fn is_hours_old(&self, hour: Option<i64>) -> bool {
        let then = self.hour.map(|then| then.saturating_add(HOURS_A_FLUSH));
        hour.is_some_and(|now| then.is_none_or(|then| then <= now))
    }

    /// How long the partition has been asked for.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.asked.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::clock::Reading;
    use crate::pipeline::judge::tests::{call, durable, shared};

    fn keeping() -> Keeping {
        let name = TopicPartition { topic: "calls".into(), partition: 0 };
        Keeping::new(&name, &Restorer::asking().0, "state".into())
    }

    /// The number of one that takes over when the clock shows `now_ms`, from owners up to `owner`.
    fn number(now_ms: i64, owner: u64) -> u64 {
        let wall = Timestamp::from_millis(now_ms);
        clock::show(Some(Reading { wall, passed: Duration::ZERO }));
        let mut keeping = keeping();
        keeping.succeeds(owner, 0);
        keeping.lineage(0, 1).owner
    }

    #[test]
    fn two_that_follow_the_same_owner_by_clocks_that_are_behind_have_different_numbers() {
        fastrand::seed(1);
        let numbers: std::collections::BTreeSet<u64> = (0..20).map(|_| number(5, 900)).collect();
        assert_eq!(numbers.len(), 20);
        assert!(numbers.iter().all(|it| *it > 900));
        assert_eq!(number(5, u64::MAX), u64::MAX);
    }

    #[test]
    fn hours_of_event_time_are_not_put_off() {
        let mut keeping = keeping();
        assert!(!keeping.is_hours_old(None), "nothing was judged");
        assert!(keeping.is_hours_old(Some(100)), "nothing was flushed");
        keeping.begun(Some(100));
        assert_eq!([103, 104].map(|hour| keeping.is_hours_old(Some(hour))), [false, true]);
    }

    #[test]
    fn lessons_that_take_their_share_are_written_early_and_hold_up_the_judge_at_twice_that() {
        let (mut judge, mut keeping) = (durable(shared(), 0), keeping());
        let flush = judge.flush().unwrap().unwrap();
        keeping.goes_on();
        judge.hold(&call(0, Timestamp::from_secs(9)));
        judge.judge_all(&mut |_| {});
        judge.record_done(0);
        keeping.begun(judge.watermark().map(Timestamp::hour));
        keeping.flushing.put_off();
        assert_eq!((judge.tally().judged, judge.held()), (1, 0));
        let taken = (1..).find(|bytes| !judge.journal().unwrap().is_full(bytes + 1, 1)).unwrap();
        assert!(taken > 20, "{taken} bytes of lessons");
        let looks = |keeping: &Keeping| {
            (keeping.is_due(&judge, Duration::from_secs(5)), keeping.may_judge(&judge))
        };
        for (bytes, is_due) in [(taken, true), (taken + 1, false), (taken / 2, true)] {
            keeping.lessons_bytes = bytes;
            assert_eq!(looks(&keeping), (is_due, true), "{bytes} of {taken}");
        }
        keeping.flushing.begin(flush);
        assert_eq!(looks(&keeping), (false, false), "twice its share");
        keeping.lessons_bytes = taken;
        assert_eq!(looks(&keeping), (false, true));
    }

    #[test]
    fn a_flush_of_more_agents_than_the_last_one_costs_more() {
        let mut keeping = keeping();
        assert_eq!(keeping.cost_of(50_000), Duration::from_secs(1));
        keeping.cost = Duration::from_millis(300);
        keeping.flushed(10_000);
        assert_eq!(keeping.cost_of(3), Duration::from_millis(300));
        assert_eq!(keeping.cost_of(15_000), Duration::from_millis(400));
        assert!(keeping.cost_of(usize::MAX) > Duration::from_secs(3_600));
    }

    #[test]
    fn the_clock_is_the_number_where_it_is_ahead_of_every_owner() {
        assert_eq!(number(901, 900), 901);
    }
}
