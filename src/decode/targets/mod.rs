//! Finds what a call reaches for while its arguments are read: nothing of their text is kept.
//!
//! ```text
//! key name -> role     text -> classify (by role, then by shape) -> make (normal form -> hashes)
//!                           -> words (what a later target may have been made from)
//! ```
//!
//! Everything is told by shape and by the names of keys; no list of known values takes part.

mod classify;
mod command;
mod hash;
mod hosts;
mod letters;
mod make;
mod names;
mod prose;
mod role;
mod shapes;
mod words;

use std::fmt::Write as _;

pub use hash::HashKey;

use crate::decode::targets::names::Names;
use crate::decode::targets::role::Role;
use crate::decode::targets::words::Words;
use crate::event::{TARGETS_MAX, Target};

/// The most of one text that is looked at, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 4 << 10;

/// The most elements of one list that are looked at.
pub(super) const ELEMENTS_MAX: u64 = 32;

/// How targets are made out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lens {
    /// The key of their hashes.
    pub(super) key: HashKey,
    /// Whether they have short forms.
    pub(super) shows: bool,
}

/// Where in the arguments a value stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// A hash of the keys that lead to it, places in lists left out.
    pub(super) keys: u64,
    role: Role,
    /// Nothing is looked for here.
    is_dark: bool,
}

impl Place {
    pub(super) const ROOT: Self = Self { keys: 0, role: Role::Plain, is_dark: false };

    /// The place of a member whose name gives the role `named`, and its hash with its keys `keys`.
    fn member(self, keys: u64, named: Role) -> Self {
        let role = if self.is_dark { self.role } else { self.role.below(named) };
        Self { keys, role, ..self }
    }

    /// The same place, where nothing is looked for.
    pub(super) const fn dark(self) -> Self {
        Self { is_dark: true, ..self }
    }

    pub(super) const fn is_dark(self) -> bool {
        self.is_dark
    }

    /// The hash of the keys, as a target has it.
    fn key(self) -> u32 {
        u32::try_from(self.keys >> 32).unwrap_or_default()
    }
}

/// Targets and words on the way out of one call's arguments.
#[derive(Debug)]
pub(super) struct Finder {
    lens: Lens,
    targets: Vec<Target>,
    words: Words,
    is_over: bool,
    /// How many targets were found, those found before counted again.
    finds: u64,
    /// Where normal forms are written, to be hashed and forgotten.
    scratch: String,
    /// Where letters and digits are, likewise.
    letters: Vec<u8>,
    names: Names,
}

/// What is left of reading one call's arguments for those of the next: room, and what the names of
/// keys give.
#[derive(Debug, Default)]
pub struct Scratch {
    targets: Vec<Target>,
    words: Vec<u32>,
    text: String,
    letters: Vec<u8>,
    names: Names,
}

impl Scratch {
    /// Nothing yet, and room to remember names.
    #[must_use]
    pub fn new() -> Self {
        Self { names: Names::new(), ..Self::default() }
    }

    /// Takes back what a call is done with.
    pub(super) fn take_back(&mut self, targets: Vec<Target>, words: Vec<u32>) {
        if targets.capacity() > self.targets.capacity() {
            self.targets = targets;
        }
        if words.capacity() > self.words.capacity() {
            self.words = words;
        }
    }
}

impl Finder {
    pub(super) fn new(lens: Lens, scratch: Scratch) -> Self {
        let Scratch { mut targets, words, text, letters, names } = scratch;
        targets.clear();
        Self {
            lens,
            targets,
            words: Words::within(words),
            is_over: false,
            finds: 0,
            scratch: text,
            letters,
            names,
        }
    }

    /// The place of the member `key` of `place`.
    #[inline]
    pub(super) fn member(&mut self, place: Place, key: &str) -> Place {
        let (keys, named) = self.names.of(place.keys, key);
        place.member(keys, named)
    }

    /// Looks at a text.
    pub(super) fn text(&mut self, place: Place, text: &str) {
        if place.is_dark {
            return;
        }
        let head = self.head(text);
        let is_cut = head.len() < text.len();
        self.with_scratch(|finder, scratch| finder.classify(place, (head, is_cut), scratch));
    }

    /// Looks at a number: a secret by its key, an account by its length.
    pub(super) fn integer(&mut self, place: Place, value: u64) {
        let digits = value.checked_ilog10().map_or(1, |log| log + 1);
        let is_account = usize::try_from(digits)
            .is_ok_and(|digits| shapes::ACCOUNT_DIGITS.contains(&digits))
            && place.role != Role::Time;
        if place.is_dark || !is_account && place.role != Role::Secret {
            return;
        }
        self.with_scratch(|finder, scratch| {
            // Writing to a text cannot fail.
            write!(scratch, "{value}").unwrap_or_default();
            let digits = std::mem::take(scratch);
            finder.number(place, &digits, scratch);
        });
    }

    /// Looks at text that should have been JSON: its keys are not known, so that nothing of it is
    /// shown and nothing is a whole value.
    pub(super) fn broken(&mut self, text: &str) {
        let shows = std::mem::replace(&mut self.lens.shows, false);
        let head = self.head(text);
        self.with_scratch(|finder, scratch| {
            finder.words.add(head, finder.lens.key, &mut finder.letters);
            finder.embedded(Place::ROOT, (head, true), scratch);
        });
        self.lens.shows = shows;
    }

    /// Notes that something was not looked at.
    pub(super) const fn overflow(&mut self) {
        self.is_over = true;
    }

    /// What was found: targets, words, and whether there was more than is kept or looked at; and what
    /// is left to be used again.
    pub(super) fn finish(self) -> ((Vec<Target>, Vec<u32>, bool), Scratch) {
        let (words, is_over) = self.words.finish();
        let Self { targets, scratch: mut text, mut letters, names, .. } = self;
        text.clear();
        letters.clear();
        let left = Scratch { text, letters, names, ..Scratch::default() };
        ((targets, words, self.is_over || is_over), left)
    }

    /// Adds a target that is not there yet.
    fn push(&mut self, target: Target) {
        let is_same = |known: &&mut Target| {
            (known.value, known.key, known.kind) == (target.value, target.key, target.kind)
        };
        if let Some(known) = self.targets.iter_mut().find(is_same) {
            known.is_whole |= target.is_whole;
        } else if self.targets.len() < TARGETS_MAX {
            self.targets.push(target);
        } else {
            self.is_over = true;
        }
    }

    /// As much of a text as is looked at.
    fn head<'t>(&mut self, text: &'t str) -> &'t str {
        if text.len() <= TEXT_BYTES_MAX {
            return text;
        }
        self.is_over = true;
        text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default()
    }

    fn with_scratch(&mut self, use_it: impl FnOnce(&mut Self, &mut String)) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        use_it(self, &mut scratch);
        self.scratch = scratch;
    }
}
