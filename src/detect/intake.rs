//! Whether a state that was written elsewhere can be one of ours: what is read back is checked
//! before it judges anything.

use crate::alert::EVIDENCE_MAX;
use crate::baseline::few::Few;
use crate::baseline::identity::agent_hash;
use crate::detect::agent::AgentState;
use crate::event::Timestamp;

/// The longest id of a tenant or an agent, in bytes; decoders take no longer ones.
const ID_BYTES_MAX: usize = 256;

/// Bytes a state takes at the very most, its sessions under way and open episodes included.
const STATE_BYTES_MAX: usize = 128 * 1_024;

/// Episodes open at once: a few of each detector.
const OPEN_MAX: usize = 256;

/// More calls and days than any agent has.
const COUNTS_MAX: (u64, u32) = (1 << 53, 1 << 20);

impl AgentState {
    /// What was learned, without what is under way: no open episode, no session, no window.
    #[must_use]
    pub fn at_rest(self) -> Self {
        let mut rested = Self { open: Few::default(), live: None, ..self };
        if let Some(burst) = &mut rested.burst {
            burst.trail = Vec::new();
            burst.tools = Vec::new();
        }
        rested
    }

    /// What says that this state cannot be one of ours; `None` when nothing does. `tools_max` is
    /// how many tools an agent may remember.
    #[must_use]
    pub fn mistake(&self, tools_max: usize) -> Option<&'static str> {
        let is_named = |id: &str| !id.is_empty() && id.len() <= ID_BYTES_MAX;
        let (calls_max, days_max) = COUNTS_MAX;
        let samples = self.open.iter().map(|open| open.episode.evidence.len()).max();
        let checks = [
            (is_named(&self.tenant_id) && is_named(&self.agent_id), "its names are none"),
            (self.agent == agent_hash(&self.tenant_id, &self.agent_id), "its hash is another's"),
            (Timestamp::default() <= self.since, "it began before 1970"),
            (self.since <= self.newest.plus_secs(86_400), "it ends before it began"),
            (self.history.calls < calls_max && self.history.days < days_max, "its counts overflow"),
            (self.tools.len() <= tools_max, "it has more tools than `limits.tools_per_agent`"),
            (self.open.len() <= OPEN_MAX, "it has too many open episodes"),
            (samples.unwrap_or(0) <= EVIDENCE_MAX, "an episode has too many samples"),
            (self.memory_bytes() <= STATE_BYTES_MAX, "it is larger than a state may be"),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map(|(_, words)| words)
    }
}
