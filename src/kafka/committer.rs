//! Who waits for the broker's answers to commits, so that polling and judging go on without them.
//!
//! librdkafka tells nobody how a commit ended that was not waited for: its callback is set by no
//! safe call. So a thread waits. It holds no list of commits: whoever asks leaves a number, and when
//! the thread is free it commits what is finished by then, for all that have asked so far. However
//! long the coordinator hangs, at most one commit is under way and one is wanted.

use crate::kafka::background::Background;

/// How commits ended, by the numbers under which they were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// The highest number whose commit has ended, one way or the other.
    pub ended: u64,
    /// The highest number whose commit the broker has taken.
    pub done: u64,
}

impl Commits {
    /// Whether the commit asked for under `number` was taken; `None` while it has not ended.
    #[must_use]
    pub fn outcome(self, number: u64) -> Option<bool> {
        if self.done >= number { Some(true) } else { (self.ended >= number).then_some(false) }
    }
}

#[derive(Debug, Default)]
struct Slot {
    /// The last number given out.
    asked: u64,
    /// The number up to which the commit under way answers, if one is.
    under_way: Option<u64>,
    commits: Commits,
}

impl Slot {
    /// Begins a commit, if one is wanted. Returns the number it answers to.
    fn begin(&mut self) -> Option<u64> {
        self.under_way = (self.asked > self.commits.ended).then_some(self.asked);
        self.under_way
    }

    /// The commit that answers to `number` has ended.
    fn end(&mut self, number: u64, is_done: bool) {
        self.under_way = None;
        self.commits.ended = number;
        if is_done {
            self.commits.done = number;
        }
    }
}

/// The thread of one consumer that commits; it ends when dropped, after the commit under way.
#[derive(Debug)]
pub(crate) struct Committer(Background<Slot>);

impl Committer {
    /// A thread that calls `commit` when somebody asks; it returns whether the broker has taken it.
    pub(crate) fn start(commit: impl Fn() -> bool + Send + 'static) -> std::io::Result<Self> {
        Background::start("committer", Slot::begin, move |_| commit(), Slot::end).map(Self)
    }

    /// Asks for a commit of everything that is finished by now. Returns its number.
    pub(crate) fn ask(&self) -> u64 {
        self.0.change(|slot| {
            slot.asked += 1;
            slot.asked
        })
    }

    /// How commits ended.
    pub(crate) fn commits(&self) -> Commits {
        self.0.read(|slot| slot.commits)
    }

    /// Waits until the commit asked for under `number` has ended. Returns whether it was taken.
    pub(crate) fn wait(&self, number: u64) -> bool {
        self.0.wait_for(|slot| slot.commits.outcome(number))
    }

    /// Whether a commit is under way, which may speak of partitions that were ours when it began.
    pub(crate) fn is_under_way(&self) -> bool {
        self.0.read(|slot| slot.under_way.is_some())
    }

    /// Ends the thread, after the commit under way.
    pub(crate) fn end(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, Sender};

    use super::*;

    /// A committer whose commits end when, and as, the test says.
    fn committer() -> (Committer, Receiver<()>, Sender<bool>) {
        let (begun, begins) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let committer = Committer::start(move || {
            begun.send(()).unwrap();
            answers.recv().unwrap()
        });
        (committer.unwrap(), begins, answer)
    }

    #[test]
    fn whoever_asks_while_a_commit_hangs_is_answered_by_one_that_begins_later() {
        let (committer, begins, answer) = committer();
        let first = committer.ask();
        begins.recv().unwrap();
        assert!(committer.is_under_way());
        let later: Vec<u64> = (0..1_000).map(|_| committer.ask()).collect();
        assert_eq!(committer.commits().outcome(first), None);
        answer.send(true).unwrap();
        assert!(committer.wait(first));
        assert!(later.iter().all(|it| committer.commits().outcome(*it).is_none()));
        // All of them are one commit.
        begins.recv().unwrap();
        answer.send(false).unwrap();
        assert!(later.iter().all(|it| !committer.wait(*it)));
        assert!(committer.commits().outcome(first) == Some(true) && !committer.is_under_way());
        assert!(begins.try_recv().is_err(), "nobody has asked again");
        let last = committer.ask();
        answer.send(true).unwrap();
        assert!(committer.wait(last) && later.iter().all(|it| committer.wait(*it)));
    }
}
