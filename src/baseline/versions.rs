//! Which versions an agent runs, and what its work looked like before and after the newest one.
//!
//! A version that an agent never had begins a probation of a few active days, with a picture of the
//! work before it; whatever else comes meanwhile is only counted. Nothing here is judged, and no
//! baseline is kept apart for a version: whoever writes the records could write any version.
//! Bounded: three versions known, eight more told apart in a probation, one probation at a time.

use serde::{Deserialize, Serialize};

use crate::baseline::identity::{hash_texts, short};
use crate::event::Timestamp;

/// Active days that a probation lasts, its first one included.
pub const PROBATION_DAYS: u16 = 3;

/// Active days without a call of the new version after which it is taken for withdrawn.
const WITHDRAWN_AFTER_DAYS: u16 = 3;

/// Days in which no probation begins, once more versions came in one than are told apart.
const UNSETTLED_DAYS: i32 = 30;

/// Versions remembered of one agent; the one unused longest makes room.
const KNOWN: usize = 3;

/// Other new versions told apart during a probation.
const OTHERS: usize = 8;

/// Names of new tools kept, and the longest of them in characters.
const NAMES: (usize, usize) = (4, 64);

/// Calls of the past after which how they ended counts half.
const ENDED_MAX: u16 = 4_096;

/// What is known of the version a call names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The record names none.
    Untold,
    /// It runs for longer than a probation.
    Known,
    /// It came in the last few active days.
    Probation,
    /// The agent names so many versions that none is told apart from the others.
    Unsettled,
}

/// What a call's version means for its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing new.
    None,
    /// The first version that is told of the agent, or the first of a day while it is learned.
    First,
    /// A version the agent never had: a probation begins.
    Began,
    /// The probation is over.
    Ended(End),
}

/// How a probation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It had its days.
    Settled,
    /// The version was not seen for some active days.
    Withdrawn,
    /// Too many versions came for any to be told apart.
    Unsettled,
}

/// How many calls there were whose end is told, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Calls whose end is told.
    pub told: u16,
    /// Those that failed, were denied or took too long.
    pub failed: u16,
}

impl Ended {
    /// Counts a call; half of the past is forgotten when it has become long.
    pub const fn add(&mut self, failed: bool) {
        if self.told >= ENDED_MAX {
            self.told /= 2;
            self.failed /= 2;
        }
        self.told += 1;
        if failed {
            self.failed += 1;
        }
    }

    /// The share that failed, 0 to 1; 0 without calls.
    #[must_use]
    pub fn share(self) -> f64 {
        f64::from(self.failed) / f64::from(self.told.max(1))
    }

    /// Whether the share of `self` differs from that of `before` by more than chance: three
    /// deviations of the difference of two binomial shares, pooled; and by half at least.
    #[must_use]
    pub fn differs_from(self, before: Self) -> bool {
        if self.told < 20 || before.told < 50 {
            return false;
        }
        let (n, m) = (f64::from(self.told), f64::from(before.told));
        let pooled = (f64::from(self.failed) + f64::from(before.failed)) / (n + m);
        let deviation = libm::sqrt(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m));
        let (new, old) = (self.share(), before.share());
        libm::fabs(new - old) > 3.0 * deviation && (new > 1.5 * old || new < 0.67 * old)
    }
}

/// The work of an agent as it was when a new version came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// The tools it used on most active days, as short hashes; at most 64.
    pub regular: Vec<u32>,
    /// Active days.
    pub days: u32,
    /// Calls of a usual active day.
    pub calls: f64,
    /// The busiest minute of acting calls of a day: its usual range, and what would be a change.
    pub minute: [f64; 3],
    /// How its calls ended.
    pub ended: Ended,
}

impl Before {
    /// The most tools that are compared.
    pub const TOOLS_MAX: usize = 64;
}

/// A version on probation: what came since.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Probation {
    /// The version's name, cut short. Hostile text.
    pub name: Box<str>,
    /// What it is known by.
    pub version: u32,
    /// Since when, in minutes since the Unix epoch.
    pub since: i32,
    /// What was before.
    pub before: Before,
    /// Active days over, with and without a call of the version; and the calls of those after the
    /// first.
    pub days: (u16, u16),
    calls: u32,
    has_called_today: bool,
    /// The busiest minute of acting calls on any day that is over.
    pub busiest: u32,
    /// The hours of the UTC day that were new, one bit each.
    pub hours: u32,
    /// How the calls of the version ended.
    pub ended: Ended,
    /// Names of tools first used by it, and how many there are.
    pub new_tools: (Vec<Box<str>>, u16),
    used: u64,
    others: [u32; OTHERS],
    /// Whether it was already spoken of.
    pub is_told: bool,
}

impl Probation {
    /// Calls of an active day since then; `None` before a whole one is over.
    #[must_use]
    pub fn calls_a_day(&self) -> Option<f64> {
        let days = (self.days.0 + self.days.1).saturating_sub(1);
        (days > 0).then(|| f64::from(self.calls) / f64::from(days))
    }

    /// How many of the regular tools it has not used.
    #[must_use]
    pub fn unused_tools(&self) -> usize {
        let (used, regular) = (self.used.count_ones(), self.before.regular.len());
        regular.saturating_sub(usize::try_from(used).unwrap_or(usize::MAX))
    }

    /// How many other new versions came meanwhile, as far as they are told apart.
    #[must_use]
    pub fn other_versions(&self) -> usize {
        self.others.iter().filter(|other| **other != 0).count()
    }

    /// Notes another new version; returns whether there was room to tell it apart.
    fn note_other(&mut self, version: u32) -> bool {
        match self.others.iter_mut().find(|other| **other == version || **other == 0) {
            Some(other) => *other = version,
            None => return false,
        }
        true
    }

    /// Notes a call of the version; `is_new` when its tool is one the agent never used.
    pub fn note_call(&mut self, (tool, name, is_new): (u64, &str, bool), failed: Option<bool>) {
        self.has_called_today = true;
        if let Some(failed) = failed {
            self.ended.add(failed);
        }
        if is_new {
            let (names, count) = &mut self.new_tools;
            *count = count.saturating_add(1);
            if names.len() < NAMES.0 {
                names.push(name.chars().take(NAMES.1).collect());
            }
        }
        let place = self.before.regular.iter().position(|regular| *regular == short(tool));
        self.used |= place.filter(|place| *place < Before::TOOLS_MAX).map_or(0, |place| 1 << place);
    }
}

/// What a day was like that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// Its calls.
    pub calls: u32,
    /// Its busiest minute of acting calls.
    pub busiest: u32,
    /// Its hours of work that were new, one bit each.
    pub hours: u32,
}

/// The versions of one agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Versions {
    /// Versions with the minute they came, the one used last first; 0 for none.
    known: [(u32, i32); KNOWN],
    /// The version of the newest call; 0 when it named none.
    current: u32,
    /// No probation begins before this day.
    unsettled_until: i32,
    /// How calls ended outside of probations.
    pub ended: Ended,
    /// What is on probation.
    pub probation: Option<Box<Probation>>,
}

impl Versions {
    /// Notes the version that a call names. `may_begin` says whether the agent has a history that a
    /// new version can be compared with.
    pub fn note(&mut self, version: Option<&str>, time: Timestamp, may_begin: bool) -> Change {
        self.current = version.map_or(0, version_hash);
        let ended = self.probation.as_ref().and_then(|probation| probation.end());
        if let Some(end) = ended {
            return Change::Ended(end);
        }
        let (Some(name), current) = (version, self.current) else { return Change::None };
        if self.touch(current) {
            return Change::None;
        }
        if let Some(probation) = &mut self.probation {
            let is_it = probation.version == current;
            let has_room = is_it || probation.note_other(current);
            return if has_room { Change::None } else { Change::Ended(End::Unsettled) };
        }
        let (day, minute) = (day_of(time), minute_of(time));
        if !may_begin || self.known.iter().all(|known| known.0 == 0) {
            let is_told = self.took_one_on(day);
            self.learn(current, minute);
            return if is_told { Change::None } else { Change::First };
        }
        if day < self.unsettled_until {
            return Change::None;
        }
        let name = name.chars().take(NAMES.1).collect();
        let probation = Probation { name, version: current, since: minute, ..Probation::default() };
        self.probation = Some(Box::new(probation));
        Change::Began
    }

    /// Takes the probation out, for its last word: what was on it is known from now on, unless it
    /// was withdrawn. `None` when there is none.
    pub fn end(&mut self, end: End, time: Timestamp) -> Option<Box<Probation>> {
        let probation = self.probation.take()?;
        if end != End::Withdrawn {
            self.learn(probation.version, probation.since);
        }
        if end == End::Unsettled {
            self.unsettled_until = day_of(time).saturating_add(UNSETTLED_DAYS);
        }
        Some(probation)
    }

    /// Ends a day.
    pub fn end_day(&mut self, day: &Day) {
        let Some(probation) = &mut self.probation else { return };
        if probation.days != (0, 0) {
            probation.calls = probation.calls.saturating_add(day.calls);
        }
        let days = &mut probation.days;
        let counted = if probation.has_called_today { &mut days.0 } else { &mut days.1 };
        *counted = counted.saturating_add(1);
        probation.has_called_today = false;
        probation.busiest = probation.busiest.max(day.busiest);
        probation.hours |= day.hours;
    }

    /// The probation, when the newest call is of the version that is on it.
    #[must_use]
    pub fn under_probation(&mut self) -> Option<&mut Probation> {
        let current = self.current;
        self.probation.as_deref_mut().filter(|probation| probation.version == current)
    }

    /// What is known of the version of the newest call, and since when it runs.
    #[must_use]
    pub fn standing(&self) -> (Standing, Option<Timestamp>) {
        if self.current == 0 {
            return (Standing::Untold, None);
        }
        let since = |minute: i32| Some(Timestamp::from_secs(i64::from(minute) * 60));
        if let Some((_, minute)) = self.known.iter().find(|known| known.0 == self.current) {
            return (Standing::Known, since(*minute));
        }
        match &self.probation {
            Some(on) if on.version == self.current => (Standing::Probation, since(on.since)),
            Some(_) => (Standing::Probation, None),
            None => (Standing::Unsettled, None),
        }
    }

    /// What the version of the newest call is known by; 0 for none.
    #[must_use]
    pub const fn current(&self) -> u32 {
        self.current
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.probation.as_ref().map_or(0, |on| {
            let names: usize = on.new_tools.0.iter().map(|name| name.len() + 16).sum();
            size_of::<Probation>() + on.name.len() + on.before.regular.capacity() * 4 + names
        })
    }

    fn took_one_on(&self, day: i32) -> bool {
        self.known.iter().any(|known| known.0 != 0 && known.1.div_euclid(1_440) == day)
    }

    /// Moves a known version to the front; whether it is one.
    fn touch(&mut self, version: u32) -> bool {
        let place = self.known.iter().position(|known| known.0 == version);
        if let Some(upto) = place.and_then(|place| self.known.get_mut(..=place)) {
            upto.rotate_right(1);
        }
        place.is_some()
    }

    fn learn(&mut self, version: u32, minute: i32) {
        self.known.rotate_right(1);
        if let Some(first) = self.known.first_mut() {
            *first = (version, minute);
        }
    }
}

impl Probation {
    const fn end(&self) -> Option<End> {
        match self.days {
            (with, _) if with >= PROBATION_DAYS => Some(End::Settled),
            (_, without) if without >= WITHDRAWN_AFTER_DAYS => Some(End::Withdrawn),
            _ => None,
        }
    }
}

/// What a version is known by; never 0.
#[must_use]
pub fn version_hash(version: &str) -> u32 {
    short(hash_texts(&[version])).max(1)
}

fn minute_of(time: Timestamp) -> i32 {
    i32::try_from(time.spans_of(60)).unwrap_or(0)
}

fn day_of(time: Timestamp) -> i32 {
    i32::try_from(time.day()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
