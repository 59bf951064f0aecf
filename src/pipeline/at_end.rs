//! Whether a partition is read to its end: when the broker is asked, and how long its answer counts.

use std::time::Duration;

use crate::kafka::{GroupMember, TopicPartition};
use crate::pipeline::clock::Moment;

/// How often the broker is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// After how long without an answer it is asked again: longer than a client waits for one.
const WAIT: Duration = Duration::from_secs(12);

/// What is known of one partition's end.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtEnd {
    /// When the question was asked that is open.
    asked: Option<Moment>,
    /// When the last one was answered.
    answered: Option<Moment>,
}

impl AtEnd {
    /// Whether everything of the partition `name` is read, where that is known anew; asks if it is
    /// time to. `next_offset` is where reading goes on, where that is known. To be called again and
    /// again for as long as the answer matters, and [`Self::forget`] once it does not.
    pub fn look(
        &mut self,
        consumer: &dyn GroupMember,
        name: &TopicPartition,
        next_offset: Option<i64>,
    ) -> Option<bool> {
        if self.asked.is_some_and(|asked| asked.elapsed() < WAIT) {
            let is_at_end = consumer.is_at_end(name, next_offset)?;
            *self = Self { asked: None, answered: Some(Moment::now()) };
            return Some(is_at_end);
        }
        if self.answered.is_none_or(|answered| answered.elapsed() >= ASK_EVERY) {
            consumer.ask_for_end(name, next_offset.is_none());
            self.asked = Some(Moment::now());
        }
        None
    }

    /// What the broker answers to a question that is open would not matter, or not be true by then.
    pub const fn forget(&mut self) {
        self.asked = None;
    }
}
