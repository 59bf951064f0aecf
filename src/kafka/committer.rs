//! Who waits for the broker's answers to commits, so that polling and judging go on without them.
//!
//! librdkafka tells nobody how a commit ended that was not waited for: its callback is set by no
//! safe call. So a thread waits. It holds no list of commits: whoever asks leaves a number, and when
//! the thread is free it commits what is finished by then, for all that have asked so far. However
//! long the coordinator hangs, at most one commit is under way and one is wanted.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

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
    ends: bool,
}

#[derive(Debug, Default)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, slot: MutexGuard<'a, Slot>) -> MutexGuard<'a, Slot> {
        self.changed.wait(slot).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread of one consumer that commits; it ends when dropped, after the commit under way.
#[derive(Debug)]
pub(crate) struct Committer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// A thread that calls `commit` when somebody asks; it returns whether the broker has taken it.
    pub(crate) fn start(commit: impl Fn() -> bool + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let working = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("committer".to_owned()).spawn(move || {
            while let Some(number) = next(&working) {
                let is_done = commit();
                let mut slot = working.lock();
                slot.under_way = None;
                slot.commits.ended = number;
                if is_done {
                    slot.commits.done = number;
                }
                drop(slot);
                working.changed.notify_all();
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Asks for a commit of everything that is finished by now. Returns its number.
    pub(crate) fn ask(&self) -> u64 {
        let mut slot = self.shared.lock();
        slot.asked += 1;
        let number = slot.asked;
        drop(slot);
        self.shared.changed.notify_all();
        number
    }

    /// How commits ended.
    pub(crate) fn commits(&self) -> Commits {
        self.shared.lock().commits
    }

    /// Waits until the commit asked for under `number` has ended. Returns whether it was taken.
    pub(crate) fn wait(&self, number: u64) -> bool {
        let mut slot = self.shared.lock();
        loop {
            if let Some(is_done) = slot.commits.outcome(number) {
                return is_done;
            }
            slot = self.shared.wait(slot);
        }
    }

    /// Whether a commit is under way, which may speak of partitions that were ours when it began.
    pub(crate) fn is_under_way(&self) -> bool {
        self.shared.lock().under_way.is_some()
    }

    /// Ends the thread, after the commit under way.
    pub(crate) fn end(&mut self) {
        self.shared.lock().ends = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there has been told, and there is nothing more to commit.
            drop(thread.join());
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until a commit is wanted. Returns the number it answers to, `None` at the end.
fn next(shared: &Shared) -> Option<u64> {
    let mut slot = shared.lock();
    loop {
        if slot.ends {
            return None;
        }
        if slot.asked > slot.commits.ended {
            slot.under_way = Some(slot.asked);
            return slot.under_way;
        }
        slot = shared.wait(slot);
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

    #[test]
    fn it_ends_after_the_commit_under_way_and_begins_no_other() {
        let (mut committer, begins, answer) = committer();
        committer.ask();
        begins.recv().unwrap();
        let wanted = committer.ask();
        // Told to end before it hears, so that it cannot go on first.
        committer.shared.lock().ends = true;
        answer.send(true).unwrap();
        committer.end();
        assert_eq!(committer.commits().outcome(wanted), None);
        assert!(begins.try_recv().is_err());
    }
}
