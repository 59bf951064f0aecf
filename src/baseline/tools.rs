//! Which tools an agent knows, which are new to it and still in quarantine.
//!
//! A new tool is adopted when it was used on two active days, on three if it was ever part of an
//! alert; until then every use counts towards a burst. Bounded: the tool unused for longest makes
//! room. Not a sketch: forty exact slots say when and how often.

use crate::baseline::few::Exact;
use crate::baseline::identity::{hash_texts, short};
use crate::event::Timestamp;
use serde::{Deserialize, Serialize};

/// Active days after which a tool is adopted, and after which one that alerted is.
const ADOPTED_AFTER_DAYS: (u8, u8) = (2, 3);

/// Minutes after an alert during which the same tool weighs less.
const MUTED_MINUTES: i32 = 720;

/// No alert yet.
const NEVER: i32 = i32::MIN;

/// How a tool that an agent did not know becomes known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// With this use: the agent itself is being learned.
    AtOnce,
    /// By use on several active days.
    AfterDays,
    /// Not by use: somebody else decides, and this use counts for nothing.
    Never,
}

/// One tool of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    tool: Tool,
    last_minute: i32,
    /// 16 bits of its server's hash; 0 stands for none. Two servers of an agent are taken for one
    /// once in 65,535 pairs, and then a tool of the second weighs less than it should.
    server: u16,
    day: u16,
    /// The shapes of its arguments: one bit for each sixteenth of them.
    shapes: u16,
    days: u8,
    /// [`ADOPTED`] and [`IN_BURST`].
    flags: u8,
}

/// The tool is the agent's own.
const ADOPTED: u8 = 1;

/// The tool is part of the current burst.
const IN_BURST: u8 = 2;

/// A tool's hash in two halves, so that a slot takes 20 bytes and not 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tool([u32; 2]);

impl Tool {
    const fn of(hash: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = hash.to_le_bytes();
        Self([u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])])
    }

    const fn hash(self) -> u64 {
        let Self([low, high]) = self;
        let ([a, b, c, d], [e, f, g, h]) = (low.to_le_bytes(), high.to_le_bytes());
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// What a call says of its agent's tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// The agent never used the tool before, as far as it remembers.
    pub is_first: bool,
    /// The agent never used any tool of this MCP server before.
    pub is_first_of_server: bool,
    /// The tool is adopted: nothing to be surprised of.
    pub is_adopted: bool,
    /// Another tool of the same MCP server is adopted.
    pub is_server_adopted: bool,
    /// The tool was part of an alert within the last twelve hours.
    pub is_muted: bool,
    /// Whole days since the tool was used before; 0 for one that is not adopted.
    pub idle_days: u32,
    /// The active days of use with which it was adopted now; 0 when it was not.
    pub adopted_after: u8,
    /// It had been adopted and forgotten to make room, and is known again.
    pub is_remembered: bool,
    /// The adopted tool that was forgotten to make room for this one.
    pub forgot: Option<u64>,
    /// Where the tool is among those remembered.
    place: usize,
}

impl Use {
    /// Whether nothing has changed with it in what tools the agent knows.
    #[must_use]
    pub const fn is_nothing_new(&self) -> bool {
        !self.is_first && self.adopted_after == 0 && !self.is_remembered && self.forgot.is_none()
    }
}

/// What a call says of the shapes of its tool's arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShapeUse {
    /// The agent never used arguments of this shape with the tool, as far as it remembers.
    pub is_new: bool,
    /// It is the first shape remembered of the tool: nothing to compare with.
    pub is_first: bool,
    /// Active days on which the tool was used, at most 255.
    pub days: u8,
    /// The shape's place among 64.
    pub place: u8,
}

/// The tools of one agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    slots: Exact<Slot>,
    more: Option<Box<More>>,
}

/// What only some agents need to know of their tools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct More {
    /// Adopted tools that had to make room: two bits each, so that they are not news when they
    /// come back.
    forgotten: [u64; 4],
    /// Tools that are remembered and were part of an alert, and the minute of the last one.
    alerted: Vec<(Tool, i32)>,
}

/// A tool as a call names it.
#[derive(Clone, Copy, Debug)]
pub struct ToolId<'a> {
    /// The hash of server and name.
    pub tool: u64,
    /// The MCP server.
    pub server: Option<&'a str>,
}

impl Tools {
    /// Notes one use; `max` bounds the slots.
    pub fn note(&mut self, id: ToolId<'_>, time: Timestamp, adoption: Adoption, max: usize) -> Use {
        let (day, minute) = (day_of(time), minute_of(time));
        // Hashed only where it is asked for: most calls are of adopted tools.
        let server = || id.server.map_or(0, server_hash);
        let alerted = self.alerted_minute(id.tool);
        let known = self.slots.iter().position(|slot| slot.is(id.tool));
        if let Some((place, slot)) = known.and_then(|at| Some((at, self.slots.get_mut(at)?))) {
            let idle_days = slot.idle_days(minute);
            let was_adopted = slot.has(ADOPTED);
            slot.touch((day, minute), adoption, alerted != NEVER);
            let slot = *slot;
            let is_adopted = slot.has(ADOPTED);
            let is_news = is_adopted && !was_adopted;
            return Use {
                is_adopted,
                is_server_adopted: !is_adopted && self.is_server_adopted(server()),
                is_muted: is_muted(alerted, minute),
                idle_days,
                adopted_after: if is_news { slot.days } else { 0 },
                place,
                ..Use::default()
            };
        }
        self.note_new(id, (day, minute), adoption, max)
    }

    /// Notes the use of a tool that is not remembered.
    #[cold]
    fn note_new(
        &mut self,
        id: ToolId<'_>,
        (day, minute): (u16, i32),
        adoption: Adoption,
        max: usize,
    ) -> Use {
        let server = id.server.map_or(0, server_hash);
        let was_known = self.was_forgotten(id.tool);
        let used = Use {
            is_first: !was_known,
            is_first_of_server: !was_known && server != 0 && !self.knows_server(server),
            is_adopted: adoption == Adoption::AtOnce || was_known,
            is_server_adopted: self.is_server_adopted(server),
            is_remembered: was_known && adoption == Adoption::AfterDays,
            ..Use::default()
        };
        let forgot = self.make_room(max);
        self.slots.push(Slot {
            tool: Tool::of(id.tool),
            last_minute: minute,
            server,
            day,
            shapes: 0,
            days: 1,
            flags: if used.is_adopted { ADOPTED } else { 0 },
        });
        Use { forgot, place: self.slots.len() - 1, ..used }
    }

    /// Notes the shape of a call's arguments, once the `used` of its tool was noted. A shape is known by four
    /// bits of its hash, so of two different ones in sixteen pass for one another; never the other
    /// way round.
    pub fn note_shape(&mut self, used: &Use, shape: u32) -> ShapeUse {
        let place = u8::try_from(shape & 63).unwrap_or(0);
        let bit = 1_u16 << (place & 15);
        let Some(slot) = self.slots.get_mut(used.place) else {
            return ShapeUse { place, ..ShapeUse::default() };
        };
        let known = slot.shapes;
        slot.shapes |= bit;
        ShapeUse { is_new: known & bit == 0, is_first: known == 0, days: slot.days, place }
    }

    /// The adopted tools used on two active days or more that were never part of an alert.
    pub fn usual(&self) -> impl Iterator<Item = u64> {
        let has_alerted = |slot: &Slot| self.alerted_minute(slot.tool.hash()) != NEVER;
        let is_usual = move |slot: &&Slot| {
            slot.has(ADOPTED) && slot.days >= ADOPTED_AFTER_DAYS.0 && !has_alerted(slot)
        };
        self.slots.iter().filter(is_usual).map(|slot| slot.tool.hash())
    }

    /// The adopted tools used on at least seven in ten of `days` active days, as short hashes.
    pub fn regular(&self, days: u32) -> impl Iterator<Item = u32> {
        let needed = days.min(u32::from(u8::MAX)).saturating_mul(7).div_ceil(10).max(1);
        let is_regular = move |slot: &&Slot| slot.has(ADOPTED) && u32::from(slot.days) >= needed;
        self.slots.iter().filter(is_regular).map(|slot| short(slot.tool.hash()))
    }

    /// Whether the shape of any tool's arguments is known.
    #[must_use]
    pub fn knows_shapes(&self) -> bool {
        self.slots.iter().any(|slot| slot.shapes != 0)
    }

    /// Touches the memory a look-up needs.
    #[must_use]
    pub fn warm_up(&self) -> u64 {
        let day = |place: usize| self.slots.get(place).map_or(0, |slot| slot.day);
        u64::from(day(0) ^ day(4) ^ day(8))
    }

    /// How many tools are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Tools that are the agent's own.
    #[must_use]
    pub fn adopted(&self) -> usize {
        self.slots.iter().filter(|slot| slot.has(ADOPTED)).count()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let more = match &self.more {
            Some(more) => size_of::<More>() + more.alerted.capacity() * size_of::<(Tool, i32)>(),
            None => 0,
        };
        self.slots.heap_bytes() + more
    }

    /// Starts a new burst: no tool is part of it yet.
    pub fn start_burst(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.flags &= !IN_BURST);
    }

    /// Makes a tool part of the current burst.
    pub fn join_burst(&mut self, tool: u64) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.is(tool)) {
            slot.flags |= IN_BURST;
        }
    }

    /// Takes a tool out of the current burst.
    pub fn leave_burst(&mut self, tool: u64) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.is(tool)) {
            slot.flags &= !IN_BURST;
        }
    }

    /// How many tools are part of the current burst.
    #[must_use]
    pub fn in_burst(&self) -> usize {
        self.slots.iter().filter(|slot| slot.has(IN_BURST)).count()
    }

    /// Notes that the current burst alerted: its tools stay in quarantine longer.
    pub fn note_alert(&mut self, time: Timestamp) {
        let minute = minute_of(time);
        for slot in self.slots.iter().filter(|slot| slot.has(IN_BURST) && !slot.has(ADOPTED)) {
            let alerted = &mut self.more.get_or_insert_default().alerted;
            match alerted.iter_mut().find(|(tool, _)| *tool == slot.tool) {
                Some((_, at)) if !is_muted(*at, minute) => *at = minute,
                Some(_) => {}
                None => {
                    alerted.reserve_exact(1);
                    alerted.push((slot.tool, minute));
                }
            }
        }
    }

    /// When a tool was last part of an alert.
    fn alerted_minute(&self, tool: u64) -> i32 {
        let Some(more) = &self.more else { return NEVER };
        let known = more.alerted.iter().find(|(known, _)| *known == Tool::of(tool));
        known.map_or(NEVER, |(_, minute)| *minute)
    }

    fn knows_server(&self, server: u16) -> bool {
        self.slots.iter().any(|slot| slot.server == server)
    }

    fn is_server_adopted(&self, server: u16) -> bool {
        server != 0 && self.slots.iter().any(|slot| slot.server == server && slot.has(ADOPTED))
    }

    /// Forgets the tools unused for longest; returns the last adopted one of them.
    fn make_room(&mut self, max: usize) -> Option<u64> {
        let mut forgot = None;
        while self.slots.len() >= max.max(1) {
            let oldest = self
                .slots
                .iter()
                .enumerate()
                .min_by_key(|(_, slot)| (slot.last_minute, slot.tool.hash()))
                .map(|(place, _)| place);
            let oldest = oldest.and_then(|place| self.slots.swap_remove(place));
            let Some(slot) = oldest else { return forgot };
            if let Some(more) = &mut self.more {
                more.alerted.retain(|(tool, _)| *tool != slot.tool);
            }
            if slot.has(ADOPTED) {
                self.remember_forgotten(slot.tool.hash());
                forgot = Some(slot.tool.hash());
            }
        }
        forgot
    }

    fn remember_forgotten(&mut self, tool: u64) {
        let forgotten = &mut self.more.get_or_insert_default().forgotten;
        let bits: u32 = forgotten.iter().map(|word| word.count_ones()).sum();
        // Half full, one new tool in four would pass for an old one: better to begin again.
        if bits >= 128 {
            *forgotten = [0; 4];
        }
        for (word, bit) in bits_of(tool) {
            if let Some(word) = forgotten.get_mut(word) {
                *word |= bit;
            }
        }
    }

    fn was_forgotten(&self, tool: u64) -> bool {
        let Some(more) = &self.more else { return false };
        bits_of(tool)
            .iter()
            .all(|(word, bit)| more.forgotten.get(*word).is_some_and(|word| word & bit != 0))
    }
}

impl Slot {
    const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn is(&self, tool: u64) -> bool {
        self.tool == Tool::of(tool)
    }

    fn touch(&mut self, (day, minute): (u16, i32), adoption: Adoption, has_alerted: bool) {
        self.last_minute = self.last_minute.max(minute);
        if day > self.day && adoption != Adoption::Never {
            self.day = day;
            self.days = self.days.saturating_add(1);
            let (clean, alerted) = ADOPTED_AFTER_DAYS;
            let needed = if has_alerted { alerted } else { clean };
            if self.days >= needed {
                self.flags |= ADOPTED;
            }
        }
    }

    /// Whole days between the newest use and `minute`.
    fn idle_days(&self, minute: i32) -> u32 {
        if !self.has(ADOPTED) {
            return 0;
        }
        let minutes = minute.saturating_sub(self.last_minute).max(0);
        u32::try_from(minutes / 1_440).unwrap_or(0)
    }
}

/// What a server is known by; never 0.
fn server_hash(name: &str) -> u16 {
    let [low, high, ..] = hash_texts(&[name]).to_le_bytes();
    u16::from_le_bytes([low, high]).max(1)
}

/// Whether a tool that alerted at one minute weighs less at another.
const fn is_muted(alerted: i32, minute: i32) -> bool {
    alerted != NEVER && minute.saturating_sub(alerted) < MUTED_MINUTES
}

/// The two places of a tool among 256 bits.
fn bits_of(tool: u64) -> [(usize, u64); 2] {
    [tool & 255, (tool >> 8) & 255].map(|n| (usize::try_from(n >> 6).unwrap_or(0), 1 << (n & 63)))
}

fn minute_of(time: Timestamp) -> i32 {
    let minutes = time.spans_of(60);
    i32::try_from(minutes).unwrap_or(if minutes < 0 { i32::MIN + 1 } else { i32::MAX })
}

/// The day of a time, since the Unix epoch, up to the year 2149.
fn day_of(time: Timestamp) -> u16 {
    u16::try_from(time.day()).unwrap_or(if time.day() < 0 { 0 } else { u16::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(n: i64) -> Timestamp {
        Timestamp::from_secs(n * 86_400)
    }

    fn note(tools: &mut Tools, tool: u64, time: Timestamp) -> Use {
        tools.note(ToolId { tool, server: None }, time, Adoption::AfterDays, 40)
    }

    #[test]
    fn the_second_active_day_adopts_a_tool() {
        let mut tools = Tools::default();
        assert!(note(&mut tools, 1, day(0)).is_first);
        assert!(!note(&mut tools, 1, day(0)).is_adopted);
        assert!(note(&mut tools, 1, day(5)).is_adopted);
    }

    #[test]
    fn a_tool_that_alerted_needs_a_third_day() {
        let mut tools = Tools::default();
        note(&mut tools, 1, day(0));
        tools.join_burst(1);
        tools.note_alert(day(0));
        assert!(note(&mut tools, 1, day(0)).is_muted);
        assert!(!note(&mut tools, 1, day(1)).is_adopted);
        assert!(note(&mut tools, 1, day(2)).is_adopted);
    }

    #[test]
    fn what_is_used_while_learning_is_adopted_at_once() {
        let mut tools = Tools::default();
        let used = tools.note(ToolId { tool: 1, server: None }, day(0), Adoption::AtOnce, 40);
        assert!(used.is_first && used.is_adopted);
    }

    #[test]
    fn the_first_tool_of_a_server_says_so_and_the_second_finds_it_known() {
        let mut tools = Tools::default();
        let ops = |tool| ToolId { tool, server: Some("ops") };
        assert!(tools.note(ops(1), day(0), Adoption::AtOnce, 40).is_first_of_server);
        let second = tools.note(ops(2), day(0), Adoption::AfterDays, 40);
        assert!(second.is_first && !second.is_first_of_server && second.is_server_adopted);
    }

    #[test]
    fn an_adopted_tool_that_made_room_is_no_news_when_it_comes_back() {
        let mut tools = Tools::default();
        tools.note(ToolId { tool: 1, server: None }, day(0), Adoption::AtOnce, 2);
        tools.note(ToolId { tool: 2, server: None }, day(1), Adoption::AfterDays, 2);
        tools.note(ToolId { tool: 3, server: None }, day(1), Adoption::AfterDays, 2);
        let back = tools.note(ToolId { tool: 1, server: None }, day(2), Adoption::AfterDays, 2);
        assert!(!back.is_first && back.is_adopted);
    }

    #[test]
    fn an_adopted_tool_says_how_long_it_lay_idle() {
        let mut tools = Tools::default();
        note(&mut tools, 1, day(0));
        assert_eq!(note(&mut tools, 1, day(90)).idle_days, 0);
        assert_eq!(note(&mut tools, 1, day(160)).idle_days, 70);
        assert_eq!(note(&mut tools, 1, day(160)).idle_days, 0);
    }

    #[test]
    fn a_shape_is_new_once_and_told_apart_by_four_bits() {
        let mut tools = Tools::default();
        assert!(!tools.note_shape(&Use::default(), 5).is_new);
        let used = note(&mut tools, 1, day(0));
        note(&mut tools, 2, day(0));
        assert!(tools.note_shape(&used, 5).is_first);
        let second = tools.note_shape(&used, 6);
        assert!(second.is_new && !second.is_first);
        let again = note(&mut tools, 1, day(1));
        assert!(!tools.note_shape(&again, 6 + 16).is_new && tools.knows_shapes());
    }

    #[test]
    fn use_that_counts_for_nothing_adopts_nothing() {
        let mut tools = Tools::default();
        for n in 0..9 {
            let id = ToolId { tool: 1, server: None };
            assert!(!tools.note(id, day(n), Adoption::Never, 40).is_adopted);
        }
        assert!(!note(&mut tools, 1, day(9)).is_muted);
    }

    proptest! {
        #[test]
        fn the_slots_are_bounded(calls in prop::collection::vec((any::<u64>(), any::<i64>()), 0..300), max in 0_usize..50) {
            let mut tools = Tools::default();
            for (tool, time) in calls {
                let adoption = if tool % 2 == 0 { Adoption::AtOnce } else { Adoption::AfterDays };
                tools.note(ToolId { tool, server: None }, Timestamp::from_nanos(time), adoption, max);
                prop_assert!(tools.len() <= max.max(1));
            }
        }
    }
}
