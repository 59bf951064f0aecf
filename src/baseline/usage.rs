//! How often an agent and its peers do the same things: follow one tool with another, work in a
//! directory, run a command. What an agent's colleagues do and it does not is a sign of another
//! hand.
//!
//! Counted by hash in small tables, so the state has one size whatever the names are. Collisions
//! make two things look like one, which lowers what is found and never raises it. Not a model of
//! language: three kinds of things, counted apart.

use crate::baseline::few::Exact;
use crate::baseline::float;
use crate::baseline::identity::hash_texts;
use serde::{Deserialize, Serialize};

/// Places in the table of a group.
const GROUP_PLACES: u16 = 1_024;

/// Places in the table of an agent; 512 gave the same figures.
const AGENT_PLACES: usize = 256;

/// Uses that are told to the group together, so that not every call makes a fact.
const BATCH: usize = 24;

/// How much of the evidence is mixed in: the rest says nothing. It bounds from below what one use
/// can say for an agent.
const SHARE_TOLD: f64 = 0.1;

/// The largest ratio, and its inverse the smallest, that a single use counts for: e^3.
const RATIO_MAX: f64 = 20.085_536_923_187_668;

/// What is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageKind {
    /// A tool after another one.
    Step,
    /// The directory that a path lies in.
    Directory,
    /// A program and its first word.
    Command,
}

impl UsageKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Step, Self::Directory, Self::Command];

    /// How many uses of peers an agent's own share starts with, and the share, 0 to 1, of a thing
    /// that nobody was seen to use.
    const fn prior(self) -> (f64, f64) {
        match self {
            Self::Step => (6.0, 1.0 / 40.0),
            Self::Directory | Self::Command => (10.0, 1.0 / 300.0),
        }
    }
}

/// One use of something: its kind, and its place in the table of a group below that.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Usage(u16);

impl Usage {
    /// The use of a thing known by a keyed hash.
    #[must_use]
    pub fn of(kind: UsageKind, hash: u64) -> Self {
        let [low, high, ..] = hash.to_le_bytes();
        let place = u16::from_le_bytes([low, high]) % GROUP_PLACES;
        Self(place + GROUP_PLACES * number(kind))
    }

    /// A tool after another one, by their hashes; 0 stands for the start of a session.
    #[must_use]
    pub fn step(previous: u64, tool: u64) -> Self {
        // The product spreads what the rotation has kept apart.
        let mixed = (previous.rotate_left(25) ^ tool).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self::of(UsageKind::Step, mixed >> 32)
    }

    /// A thing known by name.
    #[must_use]
    pub fn named(kind: UsageKind, name: &str) -> Self {
        Self::of(kind, hash_texts(&[name]))
    }

    const fn kind(self) -> UsageKind {
        match self.0 / GROUP_PLACES {
            0 => UsageKind::Step,
            1 => UsageKind::Directory,
            _ => UsageKind::Command,
        }
    }

    const fn place(self) -> u16 {
        self.0 % GROUP_PLACES
    }

    fn own_place(self) -> u8 {
        let [low, _] = self.place().to_le_bytes();
        low
    }
}

/// Uses of one agent that its group hears of together.
pub type UsageBatch = [Usage; BATCH];

/// How often one place was used: six bytes, the count in halves so that there is no gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Used {
    place: u16,
    count: [u16; 2],
}

impl Used {
    fn of(place: u16, count: u32) -> Self {
        let [a, b, c, d] = count.to_le_bytes();
        Self { place, count: [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])] }
    }

    fn count(self) -> u32 {
        let [low, high] = self.count;
        u32::from(high) << 16 | u32::from(low)
    }
}

/// How often the agents of a group used what: counts by place, and all uses of each kind.
///
/// Merging adds integers, so it gives the same in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupUsage {
    /// The places in use, ascending, with their counts.
    counts: Vec<Used>,
    totals: [u64; 3],
}

impl GroupUsage {
    /// Adds uses that an agent told.
    pub fn add(&mut self, batch: &UsageBatch) {
        for usage in batch {
            self.add_count(usage.place(), 1);
            if let Some(total) = self.totals.get_mut(index(usage.kind())) {
                *total = total.saturating_add(1);
            }
        }
    }

    /// Whether it holds no more than a group's may.
    #[must_use]
    pub fn is_within_bounds(&self) -> bool {
        self.counts.len() <= usize::from(GROUP_PLACES)
    }

    /// Bytes on the heap.
    #[must_use]
    pub const fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<Used>()
    }

    /// Adds everything `other` knows.
    pub fn merge(&mut self, other: &Self) {
        for used in &other.counts {
            self.add_count(used.place, used.count());
        }
        for (total, more) in self.totals.iter_mut().zip(other.totals) {
            *total = total.saturating_add(more);
        }
    }

    fn add_count(&mut self, place: u16, more: u32) {
        match self.counts.binary_search_by_key(&place, |used| used.place) {
            Ok(at) => {
                if let Some(used) = self.counts.get_mut(at) {
                    *used = Used::of(place, used.count().saturating_add(more));
                }
            }
            Err(at) => {
                if self.counts.len() == self.counts.capacity() {
                    self.counts.reserve_exact(32);
                }
                self.counts.insert(at, Used::of(place, more));
            }
        }
    }

    fn count(&self, place: u16) -> u32 {
        let at = self.counts.binary_search_by_key(&place, |used| used.place);
        at.ok().and_then(|at| self.counts.get(at)).map_or(0, |used| used.count())
    }
}

/// Counts by place: pairs of a place in use and its count, ascending by place, or a count for every
/// place once that is shorter. Which of the two it is shows in its length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Counts(Exact<u8>);

/// Places in use from which all are kept.
const MANY: usize = 112;

impl Counts {
    fn is_of_all(&self) -> bool {
        self.0.len() == AGENT_PLACES
    }

    /// Where the pair of a place is, or would be.
    fn find(&self, place: u8) -> Result<usize, usize> {
        let (pairs, _) = self.0.as_chunks::<2>();
        pairs.binary_search_by_key(&place, |[known, _]| *known)
    }

    /// Where the count of a place is, if it has one; at `guess`, if that is where it was.
    fn at_or_near(&self, place: u8, guess: usize) -> Option<usize> {
        let is_there = !self.is_of_all()
            && guess % 2 == 1
            && self.0.get(guess - 1).is_some_and(|known| *known == place);
        if is_there { Some(guess) } else { self.at(place) }
    }

    /// Where the count of a place is, if it has one.
    fn at(&self, place: u8) -> Option<usize> {
        if self.is_of_all() {
            return Some(place.into());
        }
        self.find(place).ok().map(|pair| 2 * pair + 1)
    }

    #[cfg(test)]
    fn of(&self, place: u8) -> u8 {
        self.at(place).and_then(|at| self.0.get(at)).copied().unwrap_or(0)
    }

    /// Counts one more and says how many there are. `guess` is where the place was looked for.
    fn add(&mut self, place: u8, guess: usize) -> u8 {
        let at = self.at_or_near(place, guess).or_else(|| {
            self.make_place(place);
            self.at(place)
        });
        at.and_then(|at| self.0.get_mut(at)).map_or(0, raise)
    }

    /// Makes a place for the count of what was not used so far.
    fn make_place(&mut self, place: u8) {
        let (pairs, _) = self.0.as_chunks::<2>();
        if pairs.len() < MANY {
            let before = pairs.partition_point(|[known, _]| *known < place);
            self.0.insert_all(2 * before, [place, 0]);
            return;
        }
        let mut all = vec![0; AGENT_PLACES];
        for [known, count] in pairs {
            all.get_mut(usize::from(*known)).into_iter().for_each(|it| *it = *count);
        }
        self.0 = all.into();
    }

    fn halve(&mut self) {
        if self.is_of_all() {
            self.0.iter_mut().for_each(|count| *count /= 2);
            return;
        }
        let (pairs, _) = self.0.as_chunks::<2>();
        let halves = pairs.iter().map(|[place, count]| [*place, count / 2]);
        let kept: Vec<u8> = halves.filter(|[_, count]| *count > 0).flatten().collect();
        self.0 = kept.into();
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

const fn raise(count: &mut u8) -> u8 {
    *count = count.saturating_add(1);
    *count
}

/// How often one agent used what, and what it has told its group of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnUsage {
    counts: Counts,
    /// At most what all places can hold before a count is halved: less than 65,536.
    totals: [u16; 3],
    told: [u32; 3],
    /// Not told yet.
    waiting: UsageBatch,
    waits: u8,
}

impl Default for OwnUsage {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            totals: [0; 3],
            told: [0; 3],
            waiting: [Usage::default(); BATCH],
            waits: 0,
        }
    }
}

impl OwnUsage {
    /// Learns one use. Returns what the group should hear of, when there is enough of it.
    pub fn learn(&mut self, usage: Usage) -> Option<UsageBatch> {
        self.learn_at(usage, 0)
    }

    /// The same of one that was compared, where it was found then.
    pub fn learn_at(&mut self, usage: Usage, found: usize) -> Option<UsageBatch> {
        if self.counts.add(usage.own_place(), found) == u8::MAX {
            self.halve();
        }
        if let Some(total) = self.totals.get_mut(index(usage.kind())) {
            *total = total.saturating_add(1);
        }
        if let Some(place) = self.waiting.get_mut(usize::from(self.waits)) {
            *place = usage;
        }
        self.waits += 1;
        if usize::from(self.waits) < BATCH {
            return None;
        }
        self.waits = 0;
        for usage in self.waiting {
            if let Some(told) = self.told.get_mut(index(usage.kind())) {
                *told = told.saturating_add(1);
            }
        }
        Some(self.waiting)
    }

    /// Touches the memory a look-up needs.
    #[must_use]
    pub fn warm_up(&self) -> u64 {
        let count = |place: usize| self.counts.0.get(place).map_or(0, |count| u64::from(*count));
        u64::from(self.waits) ^ count(0) ^ count(64)
    }

    /// Bytes it takes, its own and on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.counts.heap_bytes()
    }

    /// How much more likely a use is of the agent's peers than of the agent itself, tempered so
    /// that one use can say at most e^1.1 against the agent and e^-0.1 for it.
    ///
    /// The agent's part in what the group knows is left out, as far as its own counts tell it.
    #[must_use]
    pub fn peers_to_self(&self, usage: Usage, group: &GroupUsage) -> f64 {
        self.compare(usage, group).0
    }

    /// The same, and where the use was found, for [`Self::learn_at`].
    #[must_use]
    pub fn compare(&self, usage: Usage, group: &GroupUsage) -> (f64, usize) {
        let kind = index(usage.kind());
        let (weight, base) = usage.kind().prior();
        let own_total = f64::from(self.totals.get(kind).copied().unwrap_or(0));
        let told = f64::from(self.told.get(kind).copied().unwrap_or(0));
        let at = self.counts.at(usage.own_place()).unwrap_or(0);
        // Where there is no count there is nothing at the first place, which holds no count.
        let counted = if at > 0 || self.counts.is_of_all() { self.counts.0.get(at) } else { None };
        let own = f64::from(counted.copied().unwrap_or(0));
        let group_total = float(group.totals.get(kind).copied().unwrap_or(0));
        let told_here = own * told / own_total.max(1.0);
        let of_peers = (f64::from(group.count(usage.place())) - told_here).max(0.0);
        let peers_total = (group_total - told).max(of_peers);
        let peers = (of_peers + 2.0 * base) / (peers_total + 2.0);
        let itself = (own + weight * peers) / (own_total + weight);
        let ratio = (peers / itself).clamp(1.0 / RATIO_MAX, RATIO_MAX);
        (1.0 - SHARE_TOLD + SHARE_TOLD * ratio, at)
    }

    /// Makes room: every count counts half from now on.
    fn halve(&mut self) {
        self.counts.halve();
        self.totals.iter_mut().for_each(|total| *total /= 2);
    }
}

const fn number(kind: UsageKind) -> u16 {
    match kind {
        UsageKind::Step => 0,
        UsageKind::Directory => 1,
        UsageKind::Command => 2,
    }
}

fn index(kind: UsageKind) -> usize {
    usize::from(number(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usage() -> impl Strategy<Value = Usage> {
        (0_usize..3, any::<u64>()).prop_map(|(kind, hash)| Usage::of(UsageKind::ALL[kind], hash))
    }

    fn batch() -> impl Strategy<Value = UsageBatch> {
        prop::collection::vec(usage(), BATCH).prop_map(|uses| uses.try_into().unwrap())
    }

    fn directory(name: &str) -> Usage {
        Usage::named(UsageKind::Directory, name)
    }

    /// A group whose peers worked `times` batches in one directory.
    fn group(name: &str, times: u32) -> GroupUsage {
        let mut group = GroupUsage::default();
        (0..times).for_each(|_| group.add(&[directory(name); BATCH]));
        group
    }

    #[test]
    fn what_peers_do_and_the_agent_does_not_speaks_against_it() {
        let mut own = OwnUsage::default();
        (0..240).for_each(|_| _ = own.learn(directory("mine")));
        let peers = group("theirs", 20);
        assert!(own.peers_to_self(directory("theirs"), &peers) > 2.5);
        assert!(own.peers_to_self(directory("mine"), &peers) < 1.0);
    }

    #[test]
    fn the_closed_form_without_collisions() {
        let mut own = OwnUsage::default();
        (0..23).for_each(|_| _ = own.learn(directory("mine")));
        // 48 uses of peers, all of "both": p = (48 + 2/300) / 50; own share = 10 p / (23 + 10).
        let peers = (48.0 + 2.0 / 300.0) / 50.0;
        let expected = 0.9 + 0.1 * peers / (10.0 * peers / 33.0);
        let actual = own.peers_to_self(directory("both"), &group("both", 2));
        assert!((actual - expected).abs() < 1e-12, "{actual} {expected}");
    }

    #[test]
    fn an_agent_is_not_its_own_peer() {
        let mut own = OwnUsage::default();
        let mut alone = GroupUsage::default();
        for _ in 0..240 {
            if let Some(batch) = own.learn(directory("mine")) {
                alone.add(&batch);
            }
        }
        // Without its own part nobody works there.
        assert!(own.peers_to_self(directory("mine"), &alone) < 0.95);
    }

    #[test]
    fn a_group_is_as_large_as_its_table_at_most() {
        let mut group = GroupUsage::default();
        for n in 0..100_000_u64 {
            group.add(&[Usage::step(n, n + 1); BATCH]);
        }
        assert_eq!(group.counts.len(), usize::from(GROUP_PLACES));
        assert!(group.is_within_bounds() && group.heap_bytes() == 6 * 1_024);
    }

    #[test]
    fn counts_halve_before_they_overflow() {
        let mut own = OwnUsage::default();
        (0..10_000).for_each(|_| _ = own.learn(directory("mine")));
        assert!(own.totals[1] < 256 && (0..=255).all(|place| own.counts.of(place) < u8::MAX));
    }

    #[test]
    fn few_counts_and_many_are_the_same_counts() {
        let (mut own, mut plain) = (OwnUsage::default(), [0_u8; AGENT_PLACES]);
        for n in 0..2_000_u64 {
            let usage = Usage::of(UsageKind::Directory, n * 7_919 % (1 + n / 6));
            own.learn(usage);
            plain[usize::from(usage.own_place())] += 1;
            if plain.contains(&u8::MAX) {
                plain.iter_mut().for_each(|count| *count /= 2);
            }
            assert!((0..=255_u8).all(|place| own.counts.of(place) == plain[usize::from(place)]));
            assert!(own.memory_bytes() <= size_of::<OwnUsage>() + AGENT_PLACES);
        }
        assert!(own.counts.is_of_all());
    }

    proptest! {
        #[test]
        fn merging_does_not_depend_on_order_or_grouping(batches in prop::collection::vec(batch(), 0..20), cut in 0_usize..20) {
            let whole = |batches: &[UsageBatch]| {
                let mut group = GroupUsage::default();
                batches.iter().for_each(|batch| group.add(batch));
                group
            };
            let (left, right) = batches.split_at(cut.min(batches.len()));
            let mut merged = whole(right);
            merged.merge(&whole(left));
            prop_assert_eq!(merged, whole(&batches));
        }

        #[test]
        fn one_use_says_little(uses in prop::collection::vec(usage(), 0..500), told in prop::collection::vec(batch(), 0..20), asked in usage()) {
            let (mut own, mut group) = (OwnUsage::default(), GroupUsage::default());
            uses.iter().for_each(|usage| _ = own.learn(*usage));
            told.iter().for_each(|batch| group.add(batch));
            let ratio = own.peers_to_self(asked, &group);
            prop_assert!((0.9..=3.0).contains(&ratio), "{}", ratio);
        }
    }
}
