//! The sub-agents of one agent, or of the user it works for, hour by hour.

use serde::{Deserialize, Serialize};

/// Hours remembered of one agent's sub-agents. The agent looks at least when it speaks next.
pub(super) const FAMILY_HOURS: usize = 6;

/// How many sub-agents of one agent were at work, by hour, the latest hours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// Epoch hour and sub-agents, latest first.
    hours: Vec<(i64, u32)>,
}

impl Family {
    /// The hours remembered with the sub-agents of each, latest first.
    #[must_use]
    pub fn hours(&self) -> &[(i64, u32)] {
        &self.hours
    }

    /// Adds sub-agents of one hour. Hours that fall out are older than all that stay, now and
    /// later, so the order of additions does not matter.
    pub(super) fn add(&mut self, (hour, count): (i64, u32)) {
        match self.hours.iter_mut().find(|(known, _)| *known == hour) {
            Some((_, known)) => *known = known.saturating_add(count),
            None => self.hours.push((hour, count)),
        }
        self.hours.sort_unstable_by_key(|(hour, _)| std::cmp::Reverse(*hour));
        self.hours.truncate(FAMILY_HOURS);
    }
}
