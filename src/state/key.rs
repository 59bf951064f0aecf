//! By what an agent is known in memory and in the state topic.

use std::hash::Hasher;

use siphasher::sip128::SipHasher13;

use crate::event::ToolCall;

/// The identity of an agent in memory: 128 bits of SipHash over tenant and agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentKey(u128);

/// The key is a hash already.
impl std::hash::Hash for AgentKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0.to_le_bytes();
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl AgentKey {
    /// The key of the agent that made `call`.
    #[must_use]
    pub fn of(call: &ToolCall<'_>) -> Self {
        Self::from_ids(&call.tenant_id, &call.agent_id)
    }

    /// The key as a number.
    #[must_use]
    pub const fn number(self) -> u128 {
        self.0
    }

    /// The key that is `number`.
    #[must_use]
    pub const fn from_number(number: u128) -> Self {
        Self(number)
    }

    /// The key of an agent by its names.
    #[must_use]
    pub fn from_ids(tenant_id: &str, agent_id: &str) -> Self {
        let tenant = SipHasher13::new().hash(tenant_id.as_bytes()).as_u128().to_le_bytes();
        let [a, b, c, d, e, f, g, h, ..] = tenant;
        let key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        Self(SipHasher13::new_with_keys(key, 1).hash(agent_id.as_bytes()).as_u128())
    }
}

/// Passes an [`AgentKey`]'s own bits on.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        debug_assert!(false, "an agent key hashes as one word");
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}
