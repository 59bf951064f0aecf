//! Every verdict read, from a topic or from a file, by the subject it is about.
//!
//! The book is what the snapshot on the [`crate::pipeline::verdicts::VerdictBoard`] is made from,
//! and what lists and audits are read from. It is bounded: what has expired longest makes room.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::path::Path;

use crate::detect::{EXPECTATIONS_OF_A_SUBJECT, Expectations};
use crate::event::Timestamp;
use crate::pipeline::replay::open;
use crate::policy::{Acceptance, Stance};

/// The longest line of a file of verdicts, in bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Verdicts by their key, each list by time.
#[derive(Debug)]
pub struct VerdictBook {
    by_key: BTreeMap<String, Vec<Acceptance>>,
    count: usize,
    capacity: usize,
    /// When acceptances end, those that were not told to have ended.
    ends: BTreeSet<(Timestamp, String)>,
}

/// There is no room for one more verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are more verdicts than `limits.verdicts` allows; raise it")]
pub struct BookFull;

/// Why a file of verdicts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VerdictFileError {
    /// It cannot be read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: anyhow::Error,
    },
    /// One of its lines is no verdict.
    #[error("{file}:{line}: {words}")]
    Line {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong and what to write instead.
        words: String,
    },
}

/// How a verdict stands at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It applies.
    InForce,
    /// It begins later.
    Later,
    /// It has expired.
    Expired,
    /// A later one on the same subject has begun.
    Replaced,
}

impl VerdictBook {
    /// An empty book with room for `capacity` verdicts.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { by_key: BTreeMap::new(), count: 0, capacity, ends: BTreeSet::new() }
    }

    /// Reads a file of verdicts, one JSON object a line; `-` is standard input.
    ///
    /// # Errors
    ///
    /// The first line that is no verdict, or why the file cannot be read.
    pub fn read(path: &Path, capacity: usize) -> Result<Self, VerdictFileError> {
        let file = path.display().to_string();
        let unreadable =
            |source: anyhow::Error| VerdictFileError::Read { file: file.clone(), source };
        let mut input = open(path).map_err(unreadable)?;
        let mut book = Self::new(capacity);
        let mut text = Vec::new();
        for line in 1.. {
            text.clear();
            let read = std::io::Read::take(&mut input, LINE_BYTES_MAX).read_until(b'\n', &mut text);
            if read.map_err(|error| unreadable(error.into()))? == 0 {
                break;
            }
            if text.trim_ascii().is_empty() {
                continue;
            }
            let wrong = |words: String| VerdictFileError::Line { file: file.clone(), line, words };
            let acceptance = Acceptance::parse(&text).map_err(|error| wrong(error.to_string()))?;
            book.take(acceptance, Timestamp::MAX).map_err(|full| wrong(full.to_string()))?;
        }
        Ok(book)
    }

    /// Takes one verdict in. Returns whether it is new. At `now`, what has expired makes room.
    ///
    /// # Errors
    ///
    /// [`BookFull`] when there is no room.
    pub fn take(&mut self, acceptance: Acceptance, now: Timestamp) -> Result<bool, BookFull> {
        let key = acceptance.key();
        if self.by_key.get(&key).is_some_and(|known| known.contains(&acceptance)) {
            return Ok(false);
        }
        if self.count >= self.capacity && !self.make_room(now) {
            return Err(BookFull);
        }
        if let Some(expires) = acceptance.expires() {
            self.ends.insert((expires, key.clone()));
        }
        let known = self.by_key.entry(key).or_default();
        let before = known.len();
        known.retain(|it| it.at() != acceptance.at());
        known.push(acceptance);
        known.sort_by_key(Acceptance::at);
        if known.len() > EXPECTATIONS_OF_A_SUBJECT {
            known.remove(0);
        }
        self.count = self.count + known.len() - before;
        Ok(true)
    }

    /// Forgets everything under a record's key. Returns whether there was anything.
    pub fn withdraw(&mut self, key: &str) -> bool {
        let gone = self.by_key.remove(key);
        self.count -= gone.as_ref().map_or(0, Vec::len);
        gone.is_some()
    }

    /// The acceptances that have ended by `now` and were not told before.
    pub fn ended(&mut self, now: Timestamp) -> Vec<Acceptance> {
        let mut ended = Vec::new();
        while let Some((end, key)) = self.ends.first().cloned() {
            if end > now {
                break;
            }
            self.ends.pop_first();
            let known = self.by_key.get(&key).into_iter().flatten();
            ended.extend(known.filter(|it| it.expires() == Some(end)).cloned());
        }
        ended
    }

    /// Verdicts kept.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The snapshot that the judgement looks things up in.
    #[must_use]
    pub fn expectations(&self) -> Expectations {
        let mut expectations = Expectations::new();
        self.by_key.values().flatten().for_each(|acceptance| expectations.add(acceptance));
        expectations
    }

    /// Every verdict with how it stands at `now`, by tenant, scope and subject, then by time.
    pub fn standing(&self, now: Timestamp) -> impl Iterator<Item = (&Acceptance, Standing)> {
        self.by_key.values().flat_map(move |known| {
            let current = known.iter().rposition(|it| it.at() <= now);
            known.iter().enumerate().map(move |(place, it)| {
                let standing = match current {
                    _ if it.at() > now => Standing::Later,
                    Some(current) if place < current => Standing::Replaced,
                    _ if it.expires().is_some_and(|end| end <= now) => Standing::Expired,
                    _ => Standing::InForce,
                };
                (it, standing)
            })
        })
    }

    /// Drops the subject whose latest verdict has expired longest, or was taken back longest.
    fn make_room(&mut self, now: Timestamp) -> bool {
        let over = |known: &[Acceptance]| {
            let last = known.last()?;
            match last.stance() {
                Stance::Expected => last.expires().filter(|end| *end <= now),
                Stance::NotExpected => None,
            }
        };
        let oldest =
            self.by_key.iter().filter_map(|(key, known)| Some((over(known)?, key.clone()))).min();
        oldest.is_some_and(|(_, key)| self.withdraw(&key))
    }
}

impl Standing {
    /// Words for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in force",
            Self::Later => "later",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
        }
    }
}
