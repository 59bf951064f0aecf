//! Which tools the agents of a group use: who uses each, who took it up lately, with what shapes of
//! arguments.
//!
//! Two bounds. What one epoch teaches keeps the tools with the smallest hashes, the same ones in
//! whatever order facts come. What is known of the group is only ever changed epoch by epoch, so there
//! the least supported tools make room: those of one agent before those of several, and of them the
//! ones that nobody has taken up for longest. So a flood of names that are used once cannot push out
//! what agents have in common.

use serde::{Deserialize, Serialize};

use crate::baseline::identity::short;

/// Agents named for one tool: enough to tell none, one and several apart after leaving one out.
const AGENTS_PER_TOOL: usize = 3;

/// Who uses one tool: 48 bytes. Merged without counting anyone twice. Agents are known by 32 bits of
/// their hashes: one passes for another once in four billion pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolUse {
    /// The shapes of arguments that anybody used, one bit for each 64th of them.
    shapes: u64,
    /// The newest epoch hour in which somebody used it first.
    newest: i32,
    /// The smallest hashes among the agents who ever used it, ascending; 0 marks an empty place.
    users: [u32; AGENTS_PER_TOOL],
    /// The latest adopters that had a history before, latest first: epoch hour and agent.
    adopters: [(i32, u32); AGENTS_PER_TOOL],
}

impl Default for ToolUse {
    fn default() -> Self {
        Self {
            shapes: 0,
            newest: i32::MIN,
            users: [0; AGENTS_PER_TOOL],
            adopters: [(i32::MIN, 0); AGENTS_PER_TOOL],
        }
    }
}

impl ToolUse {
    /// How many agents other than `agent` used the tool: 0, 1, or 2 for two and more.
    #[must_use]
    pub fn others(&self, agent: u64) -> usize {
        let agent = known_as(agent);
        self.users().filter(|user| *user != agent).count().min(2)
    }

    /// How many agents other than `agent` took the tool up, after a history without it, in or
    /// after the epoch hour `since`: 0, 1, or 2 for two and more.
    #[must_use]
    pub fn adopters_since(&self, agent: u64, since: i64) -> usize {
        let agent = known_as(agent);
        let is_other =
            |(hour, user): &&(i32, u32)| *user != 0 && *user != agent && i64::from(*hour) >= since;
        self.adopters.iter().filter(is_other).count().min(2)
    }

    /// The agents known to use it, at most three, by 32 bits of their hashes, ascending.
    pub fn users(&self) -> impl Iterator<Item = u32> {
        self.users.iter().copied().filter(|user| *user != 0)
    }

    /// Whether anybody used arguments of the shape at `place`.
    #[must_use]
    pub const fn knows_shape(&self, place: u8) -> bool {
        self.shapes & shape_bit(place) != 0
    }

    /// Notes that somebody used it first at an epoch hour, with or without a history before.
    pub(super) fn add(&mut self, agent: u64, hour: i64, began: bool) {
        let hour = i32::try_from(hour).unwrap_or(if hour < 0 { i32::MIN } else { i32::MAX });
        self.newest = self.newest.max(hour);
        self.add_user(known_as(agent));
        if began {
            self.add_adopter((hour, known_as(agent)));
        }
    }

    /// Notes a shape of arguments.
    pub(super) const fn add_shape(&mut self, place: u8) {
        self.shapes |= shape_bit(place);
    }

    fn merge(&mut self, other: &Self) {
        self.newest = self.newest.max(other.newest);
        self.shapes |= other.shapes;
        other.users().for_each(|user| self.add_user(user));
        for adopter in other.adopters.iter().filter(|(_, user)| *user != 0) {
            self.add_adopter(*adopter);
        }
    }

    fn add_user(&mut self, agent: u32) {
        let mut moved = agent;
        for user in &mut self.users {
            if *user == moved {
                return;
            }
            if *user == 0 || *user > moved {
                std::mem::swap(user, &mut moved);
            }
            if moved == 0 {
                return;
            }
        }
    }

    fn add_adopter(&mut self, (hour, agent): (i32, u32)) {
        let known = self.adopters.iter_mut().find(|(_, user)| *user == agent);
        match known {
            Some(known) => known.0 = known.0.max(hour),
            None => match self.adopters.last_mut() {
                Some(last) if (hour, agent) > *last || last.1 == 0 => *last = (hour, agent),
                _ => return,
            },
        }
        self.adopters
            .sort_unstable_by_key(|(hour, user)| (*user == 0, std::cmp::Reverse((*hour, *user))));
    }

    /// How much speaks for keeping it.
    fn support(&self) -> (usize, i32) {
        (self.users().count(), self.newest)
    }
}

/// What an agent is known by; never 0.
fn known_as(agent: u64) -> u32 {
    short(agent).max(1)
}

const fn shape_bit(place: u8) -> u64 {
    1 << (place & 63)
}

/// The tools of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tools {
    /// Ascending by the hash.
    uses: Vec<(u64, ToolUse)>,
    is_full: bool,
}

impl Tools {
    /// Who uses a tool.
    pub(super) fn get(&self, tool: u64) -> Option<&ToolUse> {
        let at = self.uses.binary_search_by_key(&tool, |(known, _)| *known).ok()?;
        self.uses.get(at).map(|(_, tool_use)| tool_use)
    }

    /// Every tool, by its hash.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &ToolUse)> {
        self.uses.iter().map(|(tool, tool_use)| (*tool, tool_use))
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.uses.len()
    }

    /// Whether there were more than are kept.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Bytes on the heap.
    pub(super) const fn heap_bytes(&self) -> usize {
        self.uses.capacity() * size_of::<(u64, ToolUse)>()
    }

    /// Changes what is known of one tool; of more than `max` those with the smallest hashes stay.
    /// Returns whether anything is known otherwise now.
    pub(super) fn change(
        &mut self,
        tool: u64,
        max: usize,
        change: impl FnOnce(&mut ToolUse),
    ) -> bool {
        match self.uses.binary_search_by_key(&tool, |(known, _)| *known) {
            Ok(at) => {
                let Some((_, tool_use)) = self.uses.get_mut(at) else { return false };
                let before = *tool_use;
                change(tool_use);
                return *tool_use != before;
            }
            Err(at) if at >= max => return !std::mem::replace(&mut self.is_full, true),
            Err(at) => {
                let mut new = ToolUse::default();
                change(&mut new);
                if self.uses.len() == self.uses.capacity() {
                    self.uses.reserve_exact(8);
                }
                self.uses.insert(at, (tool, new));
            }
        }
        if self.uses.len() > max {
            self.uses.truncate(max);
            self.is_full = true;
        }
        true
    }

    /// Adds what an epoch taught; of more than `max` those with the smallest hashes stay.
    pub(super) fn merge(&mut self, other: &Self, max: usize) {
        self.is_full |= other.is_full;
        for (tool, tool_use) in &other.uses {
            self.change(*tool, max, |it| it.merge(tool_use));
        }
    }

    /// Keeps the `max` best supported ones.
    pub(super) fn keep_supported(&mut self, max: usize) {
        if self.uses.len() <= max {
            return;
        }
        let rank = |(tool, tool_use): &(u64, ToolUse)| (tool_use.support(), *tool);
        let mut ranks: Vec<_> = self.uses.iter().map(rank).collect();
        let gone = ranks.len() - max;
        let (_, first, _) = ranks.select_nth_unstable(gone);
        let first = *first;
        self.uses.retain(|it| rank(it) >= first);
        self.uses.shrink_to_fit();
        self.is_full = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(facts: &[(u64, i64, bool)]) -> ToolUse {
        let mut tool_use = ToolUse::default();
        facts.iter().for_each(|(agent, hour, began)| tool_use.add(*agent, *hour, *began));
        tool_use
    }

    #[test]
    fn an_agent_is_not_its_own_peer() {
        let known = with(&[(7, 5, true), (8, 5, true), (7, 5, true)]);
        assert_eq!((known.others(7), known.others(9)), (1, 2));
        assert_eq!((known.adopters_since(7, 5), known.adopters_since(7, 6)), (1, 0));
    }

    #[test]
    fn tools_of_one_agent_make_room_first_and_of_them_the_oldest() {
        let mut tools = Tools::default();
        for tool in 0..40_u64 {
            let hour = i64::try_from(tool).unwrap();
            let users = if tool < 5 { 2 } else { 1 };
            for agent in 1..=users {
                tools.change(tool, 99, |it| it.add(agent, hour, false));
            }
        }
        assert!(!tools.is_full());
        tools.keep_supported(15);
        let kept: Vec<u64> = tools.iter().map(|(tool, _)| tool).collect();
        assert_eq!(kept, (0..5).chain(30..40).collect::<Vec<_>>());
        assert!(tools.is_full() && tools.heap_bytes() == 15 * 56);
    }

    proptest! {
        #[test]
        fn facts_in_any_order_and_grouping_say_the_same(
            facts in prop::collection::vec((0_u64..30, 0_u64..9, -3_i64..50, any::<bool>(), 0_u8..64), 0..80),
            cut in 0_usize..80,
        ) {
            let of = |facts: &[(u64, u64, i64, bool, u8)]| {
                let mut tools = Tools::default();
                for (tool, agent, hour, began, shape) in facts {
                    tools.change(*tool, 12, |it| it.add(*agent, *hour, *began));
                    tools.change(*tool, 12, |it| it.add_shape(*shape));
                }
                tools.uses.shrink_to_fit();
                tools
            };
            let (left, right) = facts.split_at(cut.min(facts.len()));
            let backwards: Vec<_> = facts.iter().rev().copied().collect();
            let mut merged = of(right);
            merged.merge(&of(left), 12);
            prop_assert_eq!(&merged, &of(&backwards));
            prop_assert!(merged.len() <= 12);
            prop_assert_eq!(merged.is_full(), {
                let mut all: Vec<u64> = facts.iter().map(|it| it.0).collect();
                all.sort_unstable();
                all.dedup();
                all.len() > 12
            });
        }
    }
}
