//! What became of a partition's calls and agents.

use crate::detect::Fate;

/// What became of the calls so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Judged.
    pub judged: u64,
    /// Later than allowed: counted only.
    pub late: u64,
    /// Seen before.
    pub duplicate: u64,
    /// Not judged for want of room for one more agent.
    pub unjudged: u64,
    /// Passed over: the agent's state reflected the call already when it was taken up again.
    pub replayed: u64,
    /// Judged or counted, though another partition of the topic feeds the agent: the topic is not
    /// keyed by agent.
    pub astray: u64,
    /// Passed over: ingest wrote them again.
    pub redelivered: u64,
    /// Source partitions that began again at a lower offset.
    pub sources_replaced: u64,
    /// Source partitions that were forgotten for want of room.
    pub marks_forgotten: u64,
    /// Agents that were forgotten because they made no call for too long.
    pub forgotten: u64,
    /// Agents that were not known yet and gave their place to a new one.
    pub yielded: u64,
}

impl Tally {
    /// One more call was judged.
    pub(super) const fn note(&mut self, fate: Fate) {
        match fate {
            Fate::Judged => self.judged += 1,
            Fate::Late => self.late += 1,
            Fate::Duplicate => self.duplicate += 1,
        }
    }
}
