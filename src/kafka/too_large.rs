//! What becomes of a record that the cluster finds too large.
//!
//! Sent again as it is, it would be refused for ever and hold back the commit of the partition that
//! caused it. What its value holds is known to whoever made it, so the record says itself what is to
//! be done. Which records of a batch are too large the cluster does not say: each is first sent once
//! more, in a batch of its own.

use crate::kafka::OutgoingRecord;
use crate::telemetry::TooLarge;

/// Makes a smaller record of one that was refused; `None` when nothing is left to cut.
pub type Cut = fn(&OutgoingRecord) -> Option<OutgoingRecord>;

/// What to do with a record that is too large even alone.
#[derive(Clone, Copy, Debug, Default)]
pub enum WhenTooLarge {
    /// It is left out; that is counted and said.
    #[default]
    LeaveOut,
    /// The same, and what is left out is a baseline.
    LeaveOutBaseline,
    /// It is cut until it is taken, and left out when there is nothing more to cut.
    Cut(Cut),
    /// It is sent again until the cluster takes it: without it, what follows would be wrong.
    Keep,
}

impl WhenTooLarge {
    /// What becomes of `record`: what to send in its place, if anything, and what to say.
    pub(super) fn decide(self, record: &OutgoingRecord) -> (Option<OutgoingRecord>, TooLarge) {
        match self {
            Self::LeaveOut => (None, TooLarge::LeftOut),
            Self::LeaveOutBaseline => (None, TooLarge::BaselineLeftOut),
            Self::Keep => (Some(record.clone()), TooLarge::Kept),
            Self::Cut(cut) => match cut(record) {
                Some(smaller) => (Some(smaller), TooLarge::Cut),
                None => (None, TooLarge::LeftOut),
            },
        }
    }
}
