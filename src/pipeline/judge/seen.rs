//! What a judge takes in: each call once, however often it is read or ingest wrote it.

use crate::event::ToolCall;
use crate::pipeline::judge::Judge;
use crate::state::marks::Sighting;

impl Judge {
    /// Takes one call in; it is judged when its turn comes ([`Self::judge_due`]).
    ///
    /// What ingest wrote again is counted and passed over. What was held when a judge before this
    /// one stopped is known to be no repeat: the marks it left reflect it already.
    pub fn hold(&mut self, call: &ToolCall<'_>) {
        let position = (call.position.offset, call.position.index);
        if let Some(again) = self.again.as_ref().filter(|again| position.0 < again.below()) {
            if again.covers(position) {
                // The others come in the same order as before.
                self.order.note(Some(call.time));
                return;
            }
        } else if let Some(origin) = &call.origin {
            let (sighting, forgot) = self.marks.note(origin);
            self.tally.marks_forgotten += u64::from(forgot);
            match sighting {
                Sighting::First => {}
                Sighting::Again => {
                    self.tally.redelivered += 1;
                    self.order.note(Some(call.time));
                    return;
                }
                Sighting::FirstOfAnotherLog => self.tally.sources_replaced += 1,
            }
        }
        self.order.push(call);
    }

    /// Forgets how far sources were seen that are not read any more.
    pub fn keep_marks(&mut self, is_read: impl Fn(&str) -> bool) {
        self.marks.keep(is_read);
    }
}
