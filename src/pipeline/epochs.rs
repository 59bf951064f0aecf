//! The exchange of peer knowledge between partitions, whoever judges them.
//!
//! Each partition publishes what its agents taught about their groups, one summary an event-time
//! hour. A call of hour `e` is judged against everything published up to hour `e - 2`, by every
//! partition: so the judgement does not depend on how agents are spread over partitions, workers or
//! instances. The price is that a partition that runs ahead has to wait for the slowest one that
//! still has records to read. The wait is bounded: who lags too long, or has nothing to read, is
//! left out.
//!
//! What is published goes through a log that every instance reads whole ([`link`], [`follower`]),
//! and to the [`board`] in the order of that log. Where there is one process and one judge, as in a
//! replay, it goes to the board at once.

pub mod board;
pub mod entry;
pub mod follower;
pub mod kept;
pub mod link;
pub mod snapshot;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::baseline::peers::{Fact, GroupKey, GroupSummary, Peers};
use crate::event::{HOUR_NS, Timestamp};
use crate::kafka::Ledger;
use crate::pipeline::epochs::board::{Board, Needs, Outcome, Room};
use crate::pipeline::epochs::entry::{Handed, Report, SourceId};
use crate::pipeline::epochs::follower::{Follower, Step};
use crate::pipeline::epochs::kept::Lessons;
use crate::pipeline::epochs::link::Link;
use crate::state::PartitionId;
use crate::state::changelog::Lesson;

/// What one partition's agents taught, not yet published.
#[derive(Debug, Default)]
pub struct EpochLog {
    open: Lessons,
    closed: Option<i64>,
    handed: Option<Handed>,
    /// What is read again up to there was handed out before.
    told: Option<Handed>,
    /// What agents taught that were ahead of the partition when it was taken up: it stands in `open`
    /// and is not read again.
    ahead: Vec<Lesson>,
    /// The offsets are those of another log than the one that was handed out of.
    is_new_log: bool,
    /// The past versions that the partition needs if it stops now.
    pub needs: Option<Needs>,
}

impl EpochLog {
    /// Notes a fact learned from a call of `epoch`. When that epoch is closed already it counts in
    /// the oldest one still open. Returns whether it says anything that was not known of the epoch.
    pub fn note(&mut self, epoch: i64, group: GroupKey, fact: &Fact) -> bool {
        self.told.is_none() && self.put(fact.epoch().unwrap_or(epoch), group, fact.clone())
    }

    fn put(&mut self, epoch: i64, group: GroupKey, fact: Fact) -> bool {
        let epoch = self.closed.map_or(epoch, |closed| epoch.max(closed + 1));
        self.open.entry(epoch).or_default().entry(group).or_default().add(fact)
    }

    /// What was handed out last before its hour was over, to be remembered over a stop: nothing as
    /// long as it is read again, since after another stop all of that is read again once more.
    #[must_use]
    pub fn handed(&self) -> Option<Handed> {
        self.handed.filter(|_| self.told.is_none())
    }

    /// The board shows that `handed` was handed out, perhaps by whoever had the partition before.
    /// What is noted here was part of it then, and so is what is read again below its offset.
    pub fn stand(&mut self, handed: Option<Handed>) {
        let is_news = handed != self.handed && !self.is_new_log;
        if let Some((cut, time)) = handed.filter(|_| is_news) {
            self.open.clear();
            self.told = Some((cut, time));
            for lesson in self.ahead.clone().into_iter().filter(|lesson| lesson.place.0 >= cut) {
                self.put(lesson.epoch, lesson.group, lesson.fact);
            }
        }
        self.handed = handed;
    }

    /// If the call at `offset` is the first that is not read again: up to when time had passed for
    /// what was. It has to pass again before [`Self::all_told`].
    #[must_use]
    pub fn told_until(&self, offset: i64) -> Option<Timestamp> {
        self.told.filter(|(cut, _)| offset >= *cut).map(|(_, time)| time)
    }

    /// Everything that was handed out before has been read again.
    pub const fn all_told(&mut self) {
        self.told = None;
    }

    /// Closes every epoch that no call within `lateness_ns` of `watermark` can fall in, and hands
    /// out what they hold; `None` when that closes nothing new.
    pub fn close(&mut self, watermark: Timestamp, lateness_ns: i64) -> Option<Closed> {
        let oldest_ns = watermark.as_nanos().saturating_sub(lateness_ns);
        let upto = oldest_ns.div_euclid(HOUR_NS) - 1;
        if self.closed.is_some_and(|closed| upto <= closed) {
            return None;
        }
        self.closed = Some(upto);
        let still_open = self.open.split_off(&(upto + 1));
        let summaries = std::mem::replace(&mut self.open, still_open);
        Some(Closed { upto: Some(upto), summaries })
    }

    /// What a partition says that has learned nothing new.
    fn stands(&self, idle: bool) -> Report {
        let (closed, base, needs) = (self.closed, self.handed, self.needs);
        Report { closed, idle, base, needs, ..Report::default() }
    }

    /// Hands out everything, closed or not, without closing more: calls of the open epochs may
    /// still come.
    pub fn hand_out(&mut self) -> Closed {
        Closed { upto: self.closed, summaries: std::mem::take(&mut self.open) }
    }
}

/// Epochs a partition is done with.
#[derive(Debug)]
pub struct Closed {
    /// Every epoch up to and including this one is done with; `None` when none is.
    pub upto: Option<i64>,
    /// What they taught.
    pub summaries: BTreeMap<i64, BTreeMap<GroupKey, GroupSummary>>,
}

impl From<Closed> for Report {
    fn from(closed: Closed) -> Self {
        Self { closed: closed.upto, lessons: closed.summaries, ..Self::default() }
    }
}

/// A partition's place on the board, of one judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Post {
    partition: PartitionId,
    number: u64,
}

/// What is behind a [`PeerBoard`].
#[derive(Debug, Default)]
struct Posted {
    board: Board,
    log: Option<Log>,
}

/// A board that follows a log.
#[derive(Debug)]
struct Log {
    link: Link,
    follower: Follower,
}

impl Posted {
    /// The name of a partition; without a log its numbers are its name.
    fn source(&self, partition: PartitionId) -> SourceId {
        let number = || Arc::from(format!("{:05}", partition.topic));
        let topic = self.log.as_ref().map_or_else(number, |log| log.link.topic(partition.topic));
        SourceId { topic, partition: partition.partition }
    }

    /// The partition of a name, if it is read here.
    fn partition(&self, source: &SourceId) -> Option<PartitionId> {
        let number = || source.topic.parse().ok();
        let topic = self.log.as_ref().map_or_else(number, |log| log.link.number(&source.topic))?;
        Some(PartitionId { topic, partition: source.partition })
    }
}

/// The board on which partitions publish, shared by the workers of an instance.
#[derive(Clone, Debug, Default)]
pub struct PeerBoard(Arc<Mutex<Posted>>);

impl PeerBoard {
    /// A board that keeps so many past versions.
    #[must_use]
    pub fn with(room: Room) -> Self {
        let board = Board::with(room);
        Self(Arc::new(Mutex::new(Posted { board, log: None })))
    }

    /// A partition takes part from now on, and is waited for.
    #[must_use]
    pub fn join(&self, partition: PartitionId) -> Post {
        let mut posted = self.lock();
        let source = posted.source(partition);
        let Posted { board, log } = &mut *posted;
        let number = match log {
            Some(log) => log.link.join(board, &source),
            None => {
                board.join(source);
                0
            }
        };
        Post { partition, number }
    }

    /// The offsets that what is published of a partition holds back until it counts.
    pub fn guard(&self, post: Post, ledger: Ledger) {
        let mut posted = self.lock();
        let source = posted.source(post.partition);
        if let Some(log) = &mut posted.log {
            log.link.guard(&source, post.number, ledger);
        }
    }

    /// A partition is somebody else's now. Without a log, what it taught would be lost with it.
    pub fn leave(&self, post: Post, log: &mut EpochLog) {
        let mut posted = self.lock();
        let source = posted.source(post.partition);
        if let Some(log) = &mut posted.log {
            log.link.leave(&source, post.number);
            return;
        }
        let idle = posted.board.member(&source).is_some_and(|member| member.idle);
        let said = Report { idle, needs: log.needs, ..log.hand_out().into() };
        posted.say(post, said, None);
        posted.board.leave(&source);
    }

    /// Whether the partition's judge may begin. What was handed out of it before is noted in `log`.
    #[must_use]
    pub fn is_joined(&self, post: Post, log: &mut EpochLog) -> bool {
        let posted = self.lock();
        let source = posted.source(post.partition);
        let speaks = |it: &Log| it.link.speaks(&posted.board, &source, post.number);
        let joined = posted.log.as_ref().is_none_or(speaks);
        if joined {
            log.stand(posted.board.member(&source).and_then(|member| member.handed));
            log.ahead = Vec::new();
            log.is_new_log = false;
        }
        joined
    }

    /// Says that a partition has something to read, as long as it did not.
    pub fn wake(&self, post: Post, log: &EpochLog) {
        self.lock().say(post, log.stands(false), None);
    }

    /// Says that a partition that has nothing to read needs other past versions than it said.
    pub fn rest_on(&self, post: Post, log: &EpochLog) {
        self.lock().say(post, log.stands(true), None);
    }

    /// A partition has nothing to read, so that nobody waits for it. What its agents taught in hours
    /// that are not over is published with that: nobody would wait for it later. Everything below
    /// `handed` is judged; `offset` is held back until it counts.
    pub fn rest(&self, post: Post, log: &mut EpochLog, handed: Handed, offset: i64) {
        let mut posted = self.lock();
        posted.catch_up(post, log);
        let base = log.handed;
        let closed = log.hand_out();
        if posted.log.is_some() && !closed.summaries.is_empty() {
            log.handed = Some(handed);
        }
        let (handed, needs) = (log.handed, log.needs);
        let report = Report { idle: true, base, handed, needs, ..closed.into() };
        posted.say(post, report, Some(offset));
    }

    /// Publishes what a partition is done with; `offset` is held back until that counts.
    pub fn publish(&self, post: Post, log: &mut EpochLog, closed: Closed, offset: i64) {
        let mut posted = self.lock();
        let closed = if posted.catch_up(post, log) {
            Closed { summaries: Lessons::new(), ..closed }
        } else {
            closed
        };
        let report = Report { base: log.handed, needs: log.needs, ..closed.into() };
        posted.say(post, report, Some(offset));
    }

    /// How often nothing was kept any more for a partition that was too far behind.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lock().board.lost()
    }

    /// What is known up to and including `epoch`; `None` while a partition is waited for.
    #[must_use]
    pub fn peers(&self, epoch: i64) -> Option<Arc<Peers>> {
        let mut posted = self.lock();
        if posted.log.is_some() { posted.board.known(epoch) } else { posted.board.ask(epoch) }
    }

    /// Stops waiting for the partitions that have not reached `epoch`, and names them. With a log
    /// it is said there, and counts when it is read back.
    #[must_use]
    pub fn leave_out_laggards(&self, epoch: i64) -> Vec<PartitionId> {
        let mut posted = self.lock();
        let laggards: Vec<SourceId> = posted.board.laggards(epoch).cloned().collect();
        if let Some(log) = &mut posted.log {
            log.link.leave_out(epoch, laggards);
            return Vec::new();
        }
        let late = match posted.board.leave_out(epoch, &laggards) {
            Outcome::LeftOut(late) => late,
            _ => Vec::new(),
        };
        late.iter().filter_map(|source| posted.partition(source)).collect()
    }

    /// Epochs merged so far.
    #[must_use]
    pub fn merges(&self) -> u64 {
        self.lock().board.merges()
    }

    /// From now on the board is what the log says. Returns what stood on it.
    #[must_use]
    pub fn follow(&self, link: Link, follower: Follower) -> kept::Kept {
        let mut posted = self.lock();
        let empty = posted.board.emptied();
        let before = std::mem::replace(&mut posted.board, empty);
        posted.log = Some(Log { link, follower });
        before.kept()
    }

    /// Takes the next record of the log.
    #[must_use]
    pub fn read(&self, offset: i64, key: &[u8], payload: Option<&[u8]>) -> Step {
        self.take_step(|follower, board| follower.take(board, offset, (key, payload)))
    }

    /// Passes over the next record of the log, which nobody vouches for.
    #[must_use]
    pub fn pass_over(&self, offset: i64) -> Step {
        self.take_step(|follower, _| follower.pass_over(offset))
    }

    /// The end of the log was reached.
    #[must_use]
    pub fn read_to_end(&self) -> Step {
        self.take_step(Follower::end)
    }

    /// Takes the follower a step further, if there is one, and does what follows from that.
    fn take_step(&self, go: impl FnOnce(&mut Follower, &mut Board) -> Step) -> Step {
        let mut posted = self.lock();
        let Posted { board, log } = &mut *posted;
        let Some(Log { link, follower }) = log else { return Step::default() };
        let step = go(follower, board);
        after(board, link, &step);
        step
    }

    /// Does something with the board, its link and its follower, if it has them.
    pub fn with_log<T>(
        &self,
        act: impl FnOnce(&Board, &mut Link, &mut Follower) -> T,
    ) -> Option<T> {
        let mut posted = self.lock();
        let Posted { board, log } = &mut *posted;
        log.as_mut().map(|Log { link, follower }| act(board, link, follower))
    }

    fn lock(&self) -> MutexGuard<'_, Posted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has to be done when records were read: settle what was said, and say again what was lost.
fn after(board: &Board, link: &mut Link, step: &Step) {
    if step.loaded {
        link.loaded(board);
    }
    for taken in &step.taken {
        link.read_back(board, taken);
    }
}

impl Posted {
    fn say(&mut self, post: Post, report: Report, offset: Option<i64>) {
        let source = self.source(post.partition);
        match &mut self.log {
            Some(log) => log.link.report(&source, post.number, &report, offset),
            None => drop(self.board.report(&source, report)),
        }
    }

    /// Whoever had the partition before may have handed something out that this judge noted, too.
    fn catch_up(&self, post: Post, log: &mut EpochLog) -> bool {
        let source = self.source(post.partition);
        let Some(Log { link, .. }) = &self.log else { return false };
        if !link.has_said_all(&self.board, &source, post.number) {
            return false;
        }
        let handed = self.board.member(&source).and_then(|member| member.handed);
        let is_behind = handed.is_some() && handed != log.handed;
        if is_behind {
            log.stand(handed);
        }
        is_behind
    }
}

#[cfg(test)]
mod tests;
