//! What stands on a board and in a log, taken down to be kept and put up again.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use crate::baseline::peers::{Group, GroupKey, GroupSummary, Peers};
use crate::pipeline::epochs::board::VERSIONS_NEEDED_MAX;
use crate::pipeline::epochs::entry::Handed;
use crate::pipeline::epochs::{EpochLog, PeerBoard};
use crate::state::changelog::Lesson;
use crate::state::codec::{Envelope, EnvelopeWriter, Kind, StateError};

/// Lessons that are not merged yet, at the very most.
const LESSONS_MAX: usize = 1_000_000;

/// What epochs taught about groups.
pub type Lessons = BTreeMap<i64, BTreeMap<GroupKey, GroupSummary>>;

/// What stands on a board, apart from who takes part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// The last epoch merged.
    pub merged: Option<i64>,
    /// Past versions of what is known, the oldest first.
    pub versions: Vec<Arc<Peers>>,
    /// What was published and is not merged yet.
    pub pending: Lessons,
}

impl Kept {
    /// Writes it: version by version the groups that changed, then what is not merged.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, out: &mut EnvelopeWriter<impl Write>) -> Result<(), StateError> {
        let mut before: Arc<Peers> = Arc::default();
        for version in &self.versions {
            out.write(Kind::Version, &version.epoch)?;
            for (key, group) in version.changed_since(&before) {
                out.write(Kind::Group, &(key, group))?;
            }
            before = Arc::clone(version);
        }
        for (epoch, groups) in &self.pending {
            for (key, summary) in groups {
                out.write(Kind::Summary, &(epoch, key, summary))?;
            }
        }
        Ok(())
    }
}

/// Reads what [`Kept::write`] wrote, envelope by envelope, everything in it checked.
#[derive(Debug, Default)]
pub struct KeptReader {
    /// What was read so far.
    pub kept: Kept,
    lessons: usize,
}

impl KeptReader {
    /// Takes a version, a group or a lesson that is not merged.
    ///
    /// # Errors
    ///
    /// When it is something else, out of place, or more than a board may hold.
    pub fn take(&mut self, envelope: &Envelope) -> Result<(), StateError> {
        match envelope.kind {
            Kind::Version => self.version(envelope.take(Kind::Version)?),
            Kind::Group => self.group(envelope.take(Kind::Group)?),
            found => {
                let (epoch, key, summary) = envelope.take(Kind::Summary)?;
                self.lesson(found, &summary)?;
                self.kept.pending.entry(epoch).or_default().insert(key, summary);
                Ok(())
            }
        }
    }

    /// Counts a lesson and checks it.
    ///
    /// # Errors
    ///
    /// When it is one too many, or holds more than it may.
    pub fn lesson(&mut self, kind: Kind, summary: &GroupSummary) -> Result<(), StateError> {
        self.lessons += 1;
        if self.lessons > LESSONS_MAX {
            return Err(too_many(kind));
        }
        if summary.is_within_bounds() { Ok(()) } else { Err(unfit(kind)) }
    }

    fn version(&mut self, epoch: i64) -> Result<(), StateError> {
        if self.kept.versions.len() >= VERSIONS_NEEDED_MAX {
            return Err(too_many(Kind::Version));
        }
        let before = self.kept.versions.last().cloned().unwrap_or_default();
        self.kept.versions.push(Arc::new(before.with_groups(epoch, [])));
        Ok(())
    }

    fn group(&mut self, (key, group): (GroupKey, Group)) -> Result<(), StateError> {
        let misplaced = StateError::Misplaced { found: Kind::Group, wanted: Kind::Version };
        let newest = self.kept.versions.last_mut().ok_or(misplaced)?;
        if !group.is_within_bounds() {
            return Err(unfit(Kind::Group));
        }
        Arc::make_mut(newest).put(key, group);
        Ok(())
    }
}

fn unfit(kind: Kind) -> StateError {
    StateError::Unfit { kind, words: "it holds more than one may; export again".to_owned() }
}

fn too_many(kind: Kind) -> StateError {
    let words = "there are more than any instance has; export again".to_owned();
    StateError::Unfit { kind, words }
}

impl PeerBoard {
    /// What stands on the board now.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.lock().board.kept()
    }

    /// Puts up what was kept, in the place of what stands there. Not for a board that follows a
    /// log: there the log says what stands.
    pub fn restore(&self, kept: Kept) {
        self.lock().board.restore(kept);
    }

    /// What was known up to and including `epoch`, if that was merged; merges nothing.
    #[must_use]
    pub fn known(&self, epoch: i64) -> Option<Arc<Peers>> {
        self.lock().board.known(epoch)
    }

    /// The newest version of what is known.
    #[must_use]
    pub fn newest(&self) -> Arc<Peers> {
        self.lock().board.newest()
    }
}

impl EpochLog {
    /// A log whose epochs up to `closed` are closed, with what the open ones taught.
    #[must_use]
    pub const fn from_parts(closed: Option<i64>, open: Lessons) -> Self {
        Self {
            open,
            closed,
            handed: None,
            told: None,
            ahead: Vec::new(),
            is_new_log: false,
            needs: None,
        }
    }

    /// The same log, of which `ahead` was taught by agents that were ahead of the partition; their
    /// calls are not read again. `is_new_log` tells whether the offsets are others than before.
    #[must_use]
    pub fn with_ahead(self, ahead: Vec<Lesson>, is_new_log: bool) -> Self {
        Self { ahead, is_new_log, ..self }
    }

    /// The same log, after `handed` was handed out before its hour was over.
    #[must_use]
    pub fn after(self, handed: Option<Handed>) -> Self {
        Self { handed, ..self }
    }

    /// The last epoch that is closed.
    #[must_use]
    pub const fn closed(&self) -> Option<i64> {
        self.closed
    }

    /// What the open epochs taught so far.
    #[must_use]
    pub const fn open(&self) -> &Lessons {
        &self.open
    }
}

/// Adds one set of lessons to another; the order does not matter.
pub fn merge(into: &mut Lessons, from: &Lessons) {
    for (epoch, groups) in from {
        let known = into.entry(*epoch).or_default();
        for (group, summary) in groups {
            known.entry(*group).or_default().merge(summary);
        }
    }
}
