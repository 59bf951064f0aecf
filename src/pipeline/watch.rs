//! Watching a partition of the state topic for records that its owner did not write.
//!
//! Offsets of its own records that follow each other say that nobody else wrote between them; only
//! where one is missing is the log read, on a thread of its own. A partition that writes nothing
//! asks for the log's end now and then.

use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

use crate::kafka::KafkaError;
use crate::pipeline::clock::Moment;
use crate::state::foreign::{Foreign, Written};

/// How often the end of the log is asked for while nothing is written.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Foreign records taken from one look; the rest waits for the next.
pub const FOREIGN_MAX: usize = 4_096;

/// What one look found.
#[derive(Debug)]
pub struct Seen {
    /// The offset before which all was seen.
    pub end: i64,
    /// Records that are none of the owner's, as far as was known when the look began.
    pub foreign: Vec<Foreign>,
}

/// Where a look's outcome comes.
pub type Looking = Receiver<Result<Seen, KafkaError>>;

/// The watch over one partition of the state topic.
#[derive(Debug)]
pub struct Watch {
    /// Below it everything is known.
    seen: i64,
    written: Written,
    looking: Option<Looking>,
    last: Moment,
    is_due: bool,
}

impl Watch {
    /// Everything below `seen` was read.
    #[must_use]
    pub fn from(seen: i64) -> Self {
        let (written, last) = (Written::default(), Moment::now());
        Self { seen, written, looking: None, last, is_due: false }
    }

    /// A flush has ended; its records stand at these offsets.
    pub fn flushed(&mut self, offsets: &[i64]) {
        offsets.iter().for_each(|offset| self.written.note(*offset));
        let Some(end) = self.written.end() else { return };
        if self.looking.is_none() && self.written.gap(self.seen, end).is_none() {
            self.saw(end);
        } else {
            self.is_due = true;
        }
    }

    /// Begins a look by `ask`, which is told what is seen and what was written, when one is due.
    pub fn look(&mut self, ask: impl FnOnce(i64, Written) -> Looking) {
        if self.looking.is_none() && (self.is_due || self.last.elapsed() >= LOOK_EVERY) {
            self.is_due = false;
            self.last = Moment::now();
            self.looking = Some(ask(self.seen, self.written.clone()));
        }
    }

    /// What a look found, once it has ended. Ask only between two flushes, when the offset of every
    /// record written is known.
    pub fn found(&mut self) -> Vec<Foreign> {
        let outcome = match self.looking.as_ref().map(Receiver::try_recv) {
            None | Some(Err(TryRecvError::Empty)) => return Vec::new(),
            Some(Err(TryRecvError::Disconnected)) => None,
            Some(Ok(outcome)) => outcome.ok(),
        };
        self.looking = None;
        // A cluster that does not answer is asked again: what was not seen stays so.
        let Some(Seen { end, mut foreign }) = outcome else { return Vec::new() };
        foreign.retain(|record| !self.written.holds(record.offset));
        self.is_due |= foreign.len() >= FOREIGN_MAX;
        self.saw(end);
        foreign
    }

    fn saw(&mut self, end: i64) {
        self.last = Moment::now();
        self.seen = self.seen.max(end);
        self.written.forget_below(self.seen);
    }
}

/// A channel whose end is a look.
#[must_use]
pub fn answers() -> (mpsc::Sender<Result<Seen, KafkaError>>, Looking) {
    mpsc::channel()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::changelog::Touched;

    fn record(offset: i64) -> Foreign {
        Foreign { offset, touched: Touched::Marker, stamp: None }
    }

    #[test]
    fn nothing_is_read_while_ones_own_records_follow_each_other() {
        let mut watch = Watch::from(10);
        watch.flushed(&[11, 10, 12]);
        watch.flushed(&[13]);
        watch.look(|_, _| unreachable!("there is nothing to look for"));
        assert_eq!((watch.seen, watch.written.spans()), (14, 0));
    }

    #[test]
    fn what_is_missing_between_them_is_looked_for_and_ones_own_is_left_out() {
        let mut watch = Watch::from(10);
        watch.flushed(&[10, 12]);
        let (answer, looking) = answers();
        watch.look(|seen, written| {
            assert_eq!((seen, written.gap(seen, 13)), (10, Some((11, 12))));
            looking
        });
        assert!(watch.found().is_empty(), "it has not ended");
        // Another flush ended meanwhile, whose record the look saw.
        watch.flushed(&[13]);
        answer.send(Ok(Seen { end: 14, foreign: vec![record(11), record(13)] })).unwrap();
        assert_eq!(watch.found(), [record(11)]);
        assert_eq!((watch.seen, watch.written.spans()), (14, 0));
    }

    #[test]
    fn a_look_that_fails_is_made_again() {
        let mut watch = Watch::from(10);
        watch.flushed(&[12]);
        let (answer, looking) = answers();
        watch.look(|_, _| looking);
        drop(answer);
        assert!(watch.found().is_empty());
        watch.flushed(&[13]);
        let mut asked = None;
        watch.look(|seen, _| {
            asked = Some(seen);
            answers().1
        });
        assert_eq!(asked, Some(10), "what was not seen stays unseen");
    }
}
