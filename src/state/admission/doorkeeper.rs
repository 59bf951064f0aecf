//! Who came lately and was not let in.

use serde::{Deserialize, Serialize};

use crate::state::AgentKey;

/// The agents that came lately and were not let in, as two Bloom filters that take turns: an agent is
/// known until 4,096 to 8,192 others came, and one in a few hundred passes for known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Doorkeeper {
    fresh: Vec<u8>,
    old: Vec<u8>,
    /// Agents in the fresh one.
    agents: u32,
}

/// Bytes of a filter: sixteen bits an agent.
const FILTER_BYTES: usize = 8_192;

/// Agents of a filter.
const FILTER_AGENTS: u32 = 4_096;

impl Doorkeeper {
    pub(super) const fn new() -> Self {
        Self { fresh: Vec::new(), old: Vec::new(), agents: 0 }
    }

    pub(super) fn is_sound(&self) -> bool {
        let sizes = [0, FILTER_BYTES];
        sizes.contains(&self.fresh.len()) && sizes.contains(&self.old.len())
    }

    /// Whether an agent came lately.
    pub(super) fn knows(&self, agent: AgentKey) -> bool {
        [&self.fresh, &self.old].into_iter().any(|filter| {
            places(agent).all(|(byte, bit)| filter.get(byte).is_some_and(|it| it & bit != 0))
        })
    }

    /// An agent came.
    pub(super) fn note(&mut self, agent: AgentKey) {
        if self.agents >= FILTER_AGENTS {
            self.old = std::mem::take(&mut self.fresh);
            self.agents = 0;
        }
        if self.fresh.is_empty() {
            self.fresh = vec![0; FILTER_BYTES];
        }
        for (byte, bit) in places(agent) {
            if let Some(byte) = self.fresh.get_mut(byte) {
                *byte |= bit;
            }
        }
        self.agents += 1;
    }
}

/// The four bits of an agent: its key is a hash already.
fn places(agent: AgentKey) -> impl Iterator<Item = (usize, u8)> {
    let [a, b, c, d, e, f, g, h, ..] = agent.number().to_le_bytes();
    [[a, b], [c, d], [e, f], [g, h]].into_iter().map(|word| {
        let word = u16::from_le_bytes(word);
        (usize::from(word >> 3), 1 << (word & 7))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> AgentKey {
        AgentKey::from_ids("acme", &format!("agent-{n}"))
    }

    #[test]
    fn it_knows_who_came_until_thousands_of_others_have() {
        let mut door = Doorkeeper::new();
        assert!(!door.knows(id(0)));
        door.note(id(0));
        (1..4_096).for_each(|n| door.note(id(n)));
        assert!((0..4_096).all(|n| door.knows(id(n))));
        (4_096..8_192).for_each(|n| door.note(id(n)));
        assert!(door.knows(id(0)), "of the filter before");
        (8_192..12_300).for_each(|n| door.note(id(n)));
        let wrongly = (0..4_096).filter(|n| door.knows(id(*n))).count();
        assert!(wrongly < 60, "{wrongly} are known that came long ago");
        assert!(door.is_sound());
    }

    #[test]
    fn it_takes_filters_of_its_own_size_only() {
        let door = Doorkeeper { fresh: vec![0; 3], ..Doorkeeper::new() };
        assert!(!door.is_sound());
    }
}
