//! Commits that a thread has asked for and goes on without: whether there is anything to commit, and
//! whether the broker has answered.

use std::time::Duration;

use crate::kafka::GroupMember;
use crate::pipeline::clock::Moment;

/// How often it is looked whether the broker has answered, when there is nothing else to do.
pub const ANSWER_POLL: Duration = Duration::from_millis(2);

/// How long a poll waits between two attempts at the last commit.
const RETRY_POLL: Duration = Duration::from_millis(100);

/// The commits of one thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Committing {
    /// Whether anything was finished since a commit was last asked for, or a commit was refused.
    moved: bool,
    /// The number of the last one, until it has ended.
    asked: Option<u64>,
}

impl Committing {
    /// Something was finished.
    pub const fn moved(&mut self) {
        self.moved = true;
    }

    /// Whether there is something to commit that was not asked for.
    #[must_use]
    pub const fn has_moved(&self) -> bool {
        self.moved
    }

    /// Asks for a commit, if anything has moved.
    pub fn ask(&mut self, consumer: &dyn GroupMember) {
        if std::mem::take(&mut self.moved) {
            self.asked = Some(consumer.begin_commit());
        }
    }

    /// How the commit ended that was asked for last, once; what was refused has moved again.
    pub fn hear(&mut self, consumer: &dyn GroupMember) -> Option<bool> {
        let is_done = consumer.commits().outcome(self.asked?)?;
        self.asked = None;
        self.moved |= !is_done;
        Some(is_done)
    }

    /// Asks for the last commit and waits for it, at most until `patience` has passed since `began`.
    /// `heard` is told how each attempt ended.
    pub fn wait_for_last(
        &mut self,
        consumer: &dyn GroupMember,
        (began, patience): (Moment, Duration),
        heard: impl Fn(bool),
    ) {
        self.ask(consumer);
        while !self.is_done() && began.elapsed() < patience {
            let Some(is_done) = self.hear(consumer) else {
                std::thread::sleep(ANSWER_POLL);
                continue;
            };
            heard(is_done);
            if !is_done {
                // Refused while the group rebalances, and polling is what ends that.
                drop(consumer.poll(RETRY_POLL));
                self.ask(consumer);
            }
        }
    }

    /// Whether an answer is waited for.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether everything that was finished is committed.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        !self.moved && self.asked.is_none()
    }
}
