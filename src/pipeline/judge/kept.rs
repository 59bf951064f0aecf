//! A judge that stops and one that goes on in its place, as if nothing had been between them.
//!
//! Calls that are held are not written: they are read again. What was judged beyond the first of
//! them is known by its position and passed over.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::baseline::peers::EPOCHS_BEHIND;
use crate::event::Timestamp;
use crate::pipeline::epochs::EpochLog;
use crate::pipeline::epochs::entry::Handed;
use crate::pipeline::epochs::kept::Lessons;
use crate::pipeline::judge::Judge;

/// How far a judge has come in its partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The offset after the last record taken in.
    pub next_offset: Option<i64>,
    /// The newest time judged.
    pub watermark: Option<Timestamp>,
    /// The newest time taken in.
    pub newest: Option<Timestamp>,
    /// Calls taken in and not judged yet: offset, and place in the record.
    pub held: Vec<(i64, u32)>,
    /// The last epoch that the partition is done with.
    pub closed: Option<i64>,
    /// What was handed out to peers last before its hour was over.
    pub handed: Option<Handed>,
}

impl Reached {
    /// Where reading must go on.
    #[must_use]
    pub fn read_from(&self) -> Option<i64> {
        self.held.iter().map(|(offset, _)| *offset).min().or(self.next_offset)
    }
}

/// What a judge that goes on has to pass over: it was judged before.
#[derive(Debug)]
pub(crate) struct Again {
    below: i64,
    held: BTreeSet<(i64, u32)>,
}

impl Again {
    /// Whether a call at a position was judged by the judge before.
    pub(crate) fn was_judged(&self, (offset, index): (i64, u32)) -> bool {
        offset < self.below && !self.held.contains(&(offset, index))
    }

    /// Whether everything has been read again when `next_offset` comes next.
    pub(crate) const fn is_over(&self, next_offset: i64) -> bool {
        next_offset >= self.below
    }
}

impl Judge {
    /// How far this judge has come.
    #[must_use]
    pub fn reached(&self) -> Reached {
        let mut held: BTreeSet<(i64, u32)> = self.order.positions().collect();
        let mut next_offset = self.next_offset;
        if let Some(again) = &self.again {
            // A stop before everything was read again.
            let is_ahead = |position: &&(i64, u32)| Some(position.0) >= self.next_offset;
            held.extend(again.held.iter().filter(is_ahead));
            next_offset = next_offset.max(Some(again.below));
        }
        Reached {
            next_offset,
            watermark: self.watermark,
            newest: self.order.newest(),
            held: held.into_iter().collect(),
            closed: self.log.closed(),
            handed: self.log.handed(),
        }
    }

    /// What the agents of the partition taught in epochs that are not over.
    #[must_use]
    pub const fn taught(&self) -> &Lessons {
        self.log.open()
    }

    /// Goes on where another judge of the same records stopped; records come from
    /// [`Reached::read_from`] on. Its agents must be in memory.
    pub fn resume(&mut self, reached: &Reached, taught: Lessons) {
        self.go_on(reached, taught);
        self.next_offset = reached.read_from();
        self.again = reached
            .next_offset
            .map(|below| Again { below, held: reached.held.iter().copied().collect() })
            .filter(|again| self.next_offset.is_some_and(|next| !again.is_over(next)));
    }

    /// Goes on where another judge stopped, with other records.
    pub fn go_on(&mut self, reached: &Reached, taught: Lessons) {
        self.watermark = reached.watermark;
        let hour = reached.watermark.map(Timestamp::hour);
        let known = |hour| Some((hour, self.shared.board.known(hour - EPOCHS_BEHIND)?));
        self.peers = hour.and_then(known);
        self.order.begin_after(reached.newest);
        self.deadlines.extend(self.shared.agents.deadlines(self.partition));
        self.log = EpochLog::from_parts(reached.closed, taught).after(reached.handed);
        self.joined = false;
        let done = EpochLog::from_parts(reached.closed, Lessons::new()).hand_out();
        let offset = (reached.next_offset.unwrap_or(0) - 1).max(0);
        self.shared.board.publish(self.post, &mut self.log, done, offset);
    }
}
