//! One source partition of ingest: how far it is read, how far that arrived, and whether it was found
//! as the group left it.

use std::time::Duration;

use crate::kafka::{GroupMember, Ledger, TopicPartition};
use crate::pipeline::at_end::AtEnd;
use crate::pipeline::clock::Moment;
use crate::pipeline::restore::LogChange;
use crate::telemetry::{Event, Metrics};

/// How often the broker is asked what is committed.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// No record was made at that time: only what is committed and what there is are wanted.
const NEVER_MS: i64 = i64::MAX;

/// One source partition.
#[derive(Debug)]
pub(super) struct Reading {
    /// What is on its way.
    pub(super) ledger: Ledger,
    next_offset: Option<i64>,
    finished: Option<i64>,
    is_at_end: bool,
    at_end: AtEnd,
    /// When what is committed was last asked for.
    last_asked: Option<Moment>,
    /// Where reading began, until it is known whether that is where the group had left off.
    began: Option<i64>,
}

impl Reading {
    pub(super) fn new() -> Self {
        Self {
            ledger: Ledger::default(),
            next_offset: None,
            finished: None,
            is_at_end: false,
            at_end: AtEnd::default(),
            last_asked: None,
            began: None,
        }
    }

    /// Notes a record that is taken. Returns whether it is the first.
    pub(super) fn takes(&mut self, offset: i64) -> bool {
        let is_first = self.next_offset.is_none();
        if is_first {
            self.began = Some(offset);
            self.last_asked = None;
        }
        self.next_offset = Some(offset + 1);
        self.is_at_end = false;
        self.at_end.forget();
        is_first
    }

    /// Tells, once, if reading did not begin where the group had left off. Nothing is committed
    /// before that is known: a commit would hide it. Returns whether it has left off somewhere.
    pub(super) fn compare(
        &mut self,
        consumer: &dyn GroupMember,
        name: &TopicPartition,
        metrics: &Metrics,
    ) -> bool {
        let Some(began) = self.began else { return false };
        if self.last_asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
            return false;
        }
        self.last_asked = Some(Moment::now());
        let history = match consumer.history(name, NEVER_MS) {
            Ok(history) => history,
            Err(error) => {
                tracing::warn!(%error, "what was committed is asked for again");
                return false;
            }
        };
        self.began = None;
        let Some(committed) = history.committed else { return false };
        if let Some(change) = change(began, committed, history.oldest) {
            change.in_partition(&name.topic, name.partition).emit(metrics);
        }
        true
    }

    /// Lets what is taken be committed though it is not known where the group had left off.
    pub(super) const fn compare_no_more(&mut self) {
        self.began = None;
    }

    /// Notes what may be committed. Returns whether that is more than before.
    pub(super) fn finish(&mut self, consumer: &dyn GroupMember, name: &TopicPartition) -> bool {
        if self.began.is_some() {
            return false;
        }
        let finished = self.ledger.lowest_open().or(self.next_offset);
        let Some(finished) = finished.filter(|it| self.finished != Some(*it)) else { return false };
        consumer.finish(name, finished);
        self.finished = Some(finished);
        true
    }

    /// Whether there is nothing left to read, and all that was read has arrived.
    pub(super) fn is_caught_up(
        &mut self,
        consumer: &dyn GroupMember,
        name: &TopicPartition,
    ) -> bool {
        if !self.is_at_end {
            self.is_at_end = self.at_end.look(consumer, name, self.next_offset) == Some(true);
        }
        self.is_at_end && self.ledger.is_empty()
    }
}

/// What has become of a log that was read up to `committed`, now read from `began` on. That `began`
/// lies higher is no loss by itself: markers of transactions take up offsets and are never delivered.
const fn change(began: i64, committed: i64, oldest: i64) -> Option<LogChange> {
    if began < committed {
        Some(LogChange::Replaced { expected: committed, end: began })
    } else if committed < oldest {
        Some(LogChange::Overtaken { from: committed, oldest })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_as_it_was_left_unless_it_begins_later_or_ended_earlier() {
        assert_eq!(change(7, 7, 0), None);
        assert_eq!(change(9, 7, 0), None, "7 and 8 are markers of transactions");
        assert_eq!(change(9, 7, 7), None);
        let told = |began, committed, oldest| {
            let told = change(began, committed, oldest)?.in_partition("spans", 0);
            Some((told.change, told.lost))
        };
        assert_eq!(told(9, 7, 8), Some(("overtaken", 1)));
        assert_eq!(told(12, 7, 12), Some(("overtaken", 5)));
        assert_eq!(told(0, 7, 0), Some(("replaced", 0)));
        assert_eq!(told(3, 7, 3), Some(("replaced", 0)));
    }
}
