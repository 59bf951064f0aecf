//! Where one partition of the alerts topic is read, and up to where it is finished.

use crate::kafka::Ledger;
use crate::pipeline::at_end::AtEnd;

/// One partition of the alerts topic.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) ledger: Ledger,
    pub(super) next_offset: Option<i64>,
    pub(super) committed: Option<i64>,
    /// Whether what the receiver has is known, so that alerts are taken.
    pub(super) is_live: bool,
    /// Where reading is still to begin.
    pub(super) begin: Option<i64>,
    /// The first alert that there was no room for: reading goes back there.
    pub(super) passed_over: Option<i64>,
    /// How often the client had been sent on by the broker when this was read last.
    pub(super) resets: u64,
    /// Whether everything was read when the broker was last asked.
    pub(super) is_at_end: bool,
    pub(super) at_end: AtEnd,
}

impl Reading {
    /// Everything below is finished.
    pub(super) fn finished(&self) -> Option<i64> {
        let open = [self.ledger.lowest_open(), self.passed_over];
        open.into_iter().flatten().min().or(self.next_offset)
    }

    /// The record at `offset` was read, when the client had been sent on `resets` times. Returns how
    /// many alerts retention took between this record and the one before: a gap that the broker did
    /// not send the client over is none. `None` for a record that the client hands out once more.
    pub(super) fn went_on(&mut self, offset: i64, resets: u64) -> Option<u64> {
        let is_reset = std::mem::replace(&mut self.resets, resets) != resets;
        let expected = self.next_offset.unwrap_or(offset);
        if offset < expected && !is_reset {
            return None;
        }
        self.next_offset = Some(offset + 1);
        let gone = offset.saturating_sub(expected);
        Some(if is_reset { u64::try_from(gone).unwrap_or(0) } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_out_once_more_is_known_and_a_gap_is_one_that_the_broker_sent_the_client_over()
    {
        let mut reading = Reading::default();
        let read = [(5, 0), (6, 0), (5, 0), (9, 0), (20, 1), (3, 2)];
        let gone = read.map(|(offset, resets)| reading.went_on(offset, resets));
        assert_eq!(gone, [Some(0), Some(0), None, Some(0), Some(10), Some(0)]);
        assert_eq!(reading.finished(), Some(4));
    }
}
