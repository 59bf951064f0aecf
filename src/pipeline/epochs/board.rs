//! What stands on a board: a state machine without clock or IO. The same entries in the same order
//! give the same board, so every instance that reads the log of groups knows the same.
//!
//! An epoch is merged at the place in the log where every partition is done with it, has nothing to
//! read, or was left out. What comes later for a merged epoch counts in the next one. What a
//! partition repeats after a stop is known by its epoch or by what it had handed out before, and
//! counts once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::baseline::peers::Peers;
use crate::pipeline::epochs::entry::{Entry, Handed, REPORT_BYTES_MAX, Report, SourceId};
use crate::pipeline::epochs::kept::{Kept, Lessons};

/// How many past versions stay at hand whether anybody needs them or not, for partitions that come
/// back from being left out. Each holds a copy of the groups that changed in its hour.
pub const VERSIONS_MAX: usize = 16;

/// How many stay at hand while they are needed: beyond that nothing is kept for whoever is furthest
/// behind.
pub const VERSIONS_NEEDED_MAX: usize = 64;

/// Partitions that may take part, of all source topics together.
pub const MEMBERS_MAX: usize = 65_536;

/// By which past versions a partition judges when it stops now and goes on from what it has written
/// down. What is judged again by another one is told in other words under the same identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// By the one of this epoch.
    pub epoch: i64,
    /// And by those from this epoch on, unless all that it judged is written down.
    pub later: Option<i64>,
}

/// One partition, as the others see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The last epoch it is done with; `None` before its first call.
    pub closed: Option<i64>,
    /// What it handed out last before its hour was over.
    pub handed: Option<Handed>,
    /// Nothing to read: not waited for.
    pub idle: bool,
    /// Waited for too long: not waited for until it has caught up.
    pub left_out: bool,
    /// What it needs, if anything it knows is written down.
    pub needs: Option<Needs>,
    /// Who speaks for it.
    pub owner: u64,
    /// The number of the next part.
    pub next_seq: u64,
    /// Parts of a report that is not whole.
    pub partial: Vec<u8>,
}

/// What an entry came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Applied,
    /// It says what was said before.
    Repeated,
    /// Somebody else speaks for the partition now.
    Stale,
    /// A part before it is missing; it has to be sent again after that.
    Early,
    /// Some of these were waited for and are no longer.
    LeftOut(Vec<SourceId>),
    /// It took effect, but what it taught may have been counted before and was not counted again.
    Overlapping,
    /// It cannot be used.
    Refused(String),
}

/// How many past versions a board keeps.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Whether anybody needs them or not.
    pub always: usize,
    /// While they are needed.
    pub needed: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { always: VERSIONS_MAX, needed: VERSIONS_NEEDED_MAX }
    }
}

/// The board.
#[derive(Clone, Debug, Default)]
pub struct Board {
    room: Room,
    members: BTreeMap<SourceId, Member>,
    pending: Lessons,
    merged: Option<i64>,
    versions: VecDeque<Arc<Peers>>,
    merges: u64,
    lost: u64,
}

impl Board {
    /// A board that keeps so many past versions.
    #[must_use]
    pub fn with(room: Room) -> Self {
        Self { room, ..Self::default() }
    }

    /// The same with nothing on it.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self::with(self.room)
    }

    /// Takes the next entry of the log.
    pub fn apply(&mut self, entry: Entry) -> Outcome {
        let (outcome, limit) = match entry {
            Entry::Members(topics) => (self.members_are(&topics), None),
            Entry::Took { source, owner } => (self.took(source, owner), None),
            Entry::Part { source, owner, seq, more, bytes } => {
                (self.part(&source, (owner, seq), more, &bytes), None)
            }
            Entry::LeftOut { epoch, sources } => (self.leave_out(epoch, &sources), Some(epoch)),
        };
        self.merge_ready(limit);
        outcome
    }

    /// A partition takes part from now on, and is waited for.
    pub fn join(&mut self, source: SourceId) {
        self.members.insert(source, Member::default());
    }

    /// A partition takes no longer part.
    pub fn leave(&mut self, source: &SourceId) {
        self.members.remove(source);
    }

    /// One partition.
    #[must_use]
    pub fn member(&self, source: &SourceId) -> Option<&Member> {
        self.members.get(source)
    }

    /// Every partition that takes part.
    #[must_use]
    pub const fn members(&self) -> &BTreeMap<SourceId, Member> {
        &self.members
    }

    /// Whether nothing was ever learned here.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.merged.is_none() && self.pending.is_empty() && self.versions.is_empty()
    }

    /// The last epoch merged.
    #[must_use]
    pub const fn merged(&self) -> Option<i64> {
        self.merged
    }

    /// Epochs merged here that taught something.
    #[must_use]
    pub const fn merges(&self) -> u64 {
        self.merges
    }

    /// How often nothing was kept any more for a partition that was too far behind.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes what a partition says.
    pub fn report(&mut self, source: &SourceId, report: Report) -> Outcome {
        let merged = self.merged;
        let Some(member) = self.members.get_mut(source) else { return Outcome::Stale };
        let repeated_upto = member.closed;
        // Whoever did not know what was handed out last may say it again.
        let overlaps = report.base != member.handed && !report.lessons.is_empty();
        member.closed = member.closed.max(report.closed);
        member.handed = report.handed.or(member.handed);
        member.idle = report.idle;
        // Whoever takes a partition over of which no call is written down yet does not know it.
        member.needs = report.needs.or(member.needs);
        member.left_out &= merged.is_some_and(|merged| member.closed < Some(merged));
        if overlaps {
            return Outcome::Overlapping;
        }
        let mut outcome = Outcome::Applied;
        for (epoch, groups) in report.lessons {
            if repeated_upto.is_some_and(|closed| epoch <= closed) {
                outcome = Outcome::Repeated;
                continue;
            }
            // What comes after its epoch was merged counts in the next one.
            let epoch = merged.map_or(epoch, |merged| epoch.max(merged.saturating_add(1)));
            let pending = self.pending.entry(epoch).or_default();
            for (group, summary) in groups {
                pending.entry(group).or_default().merge(&summary);
            }
        }
        outcome
    }

    /// What is known up to and including `epoch`, merged now if nobody is waited for; `None` while
    /// a partition is. For a board without a log.
    pub fn ask(&mut self, epoch: i64) -> Option<Arc<Peers>> {
        if self.merged.is_none_or(|merged| epoch > merged) {
            if self.laggards(epoch).next().is_some() {
                return None;
            }
            self.merge(epoch);
        }
        Some(self.version(epoch))
    }

    /// What is known up to and including `epoch`, if that is merged.
    #[must_use]
    pub fn known(&self, epoch: i64) -> Option<Arc<Peers>> {
        let is_merged = self.merged.is_some_and(|merged| epoch <= merged);
        is_merged.then(|| self.version(epoch))
    }

    /// The newest version of what is known.
    #[must_use]
    pub fn newest(&self) -> Arc<Peers> {
        self.versions.back().cloned().unwrap_or_default()
    }

    /// The partitions that are waited for because they are not done with `epoch`.
    pub fn laggards(&self, epoch: i64) -> impl Iterator<Item = &SourceId> {
        let is_behind = move |member: &Member| {
            !member.idle && !member.left_out && member.closed.is_none_or(|closed| closed < epoch)
        };
        self.members.iter().filter(move |(_, it)| is_behind(it)).map(|(source, _)| source)
    }

    /// Stops waiting for those of `sources` that are not done with `epoch`.
    pub fn leave_out(&mut self, epoch: i64, sources: &[SourceId]) -> Outcome {
        if self.merged.is_some_and(|merged| epoch <= merged) {
            return Outcome::Repeated;
        }
        let sources: BTreeSet<&SourceId> = sources.iter().collect();
        let late: Vec<SourceId> =
            self.laggards(epoch).filter(|source| sources.contains(source)).cloned().collect();
        for source in &late {
            if let Some(member) = self.members.get_mut(source) {
                member.left_out = true;
            }
        }
        if late.is_empty() { Outcome::Repeated } else { Outcome::LeftOut(late) }
    }

    /// What stands here, apart from who takes part.
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept {
            merged: self.merged,
            versions: self.versions.iter().cloned().collect(),
            pending: self.pending.clone(),
        }
    }

    /// Puts up what was kept, in the place of what stands here.
    pub fn restore(&mut self, kept: Kept) {
        self.merged = kept.merged;
        self.versions = kept.versions.into_iter().rev().take(self.room.needed).rev().collect();
        self.pending = kept.pending;
    }

    /// Puts up what was kept and who takes part.
    pub fn load(&mut self, kept: Kept, members: BTreeMap<SourceId, Member>) {
        self.restore(kept);
        self.members = members;
    }

    fn members_are(&mut self, topics: &[(Arc<str>, i32)]) -> Outcome {
        let mut outcome = Outcome::Repeated;
        for (topic, partitions) in topics {
            for partition in 0..*partitions {
                let source = SourceId { topic: Arc::clone(topic), partition };
                if self.members.contains_key(&source) {
                    continue;
                }
                if self.members.len() >= MEMBERS_MAX {
                    return Outcome::Refused(format!(
                        "there are more than {MEMBERS_MAX} partitions"
                    ));
                }
                self.join(source);
                outcome = Outcome::Applied;
            }
        }
        outcome
    }

    fn took(&mut self, source: SourceId, owner: u64) -> Outcome {
        if !self.members.contains_key(&source) && self.members.len() >= MEMBERS_MAX {
            return Outcome::Refused(format!("there are more than {MEMBERS_MAX} partitions"));
        }
        let member = self.members.entry(source).or_default();
        if owner <= member.owner {
            return Outcome::Stale;
        }
        member.owner = owner;
        member.next_seq = 0;
        member.partial = Vec::new();
        // It may have been idle in other hands; it says so again if it is.
        member.idle = false;
        Outcome::Applied
    }

    fn part(
        &mut self,
        source: &SourceId,
        (owner, seq): (u64, u64),
        more: bool,
        bytes: &[u8],
    ) -> Outcome {
        let Some(member) = self.members.get_mut(source).filter(|it| it.owner == owner) else {
            return Outcome::Stale;
        };
        if seq != member.next_seq {
            return if seq < member.next_seq { Outcome::Repeated } else { Outcome::Early };
        }
        member.next_seq = member.next_seq.saturating_add(1);
        if member.partial.len().saturating_add(bytes.len()) > REPORT_BYTES_MAX {
            member.partial = Vec::new();
            return Outcome::Refused("a report is longer than any may be".to_owned());
        }
        member.partial.extend_from_slice(bytes);
        if more {
            return Outcome::Applied;
        }
        let packed = std::mem::take(&mut member.partial);
        match Report::from_packed(&packed) {
            Ok(report) => self.report(source, report),
            Err(error) => Outcome::Refused(error.to_string()),
        }
    }

    /// Merges as far as nobody is waited for; up to `limit` when there is nobody to wait for.
    fn merge_ready(&mut self, limit: Option<i64>) {
        let mut waited = self.members.values().filter(|it| !it.idle && !it.left_out).peekable();
        let target = if waited.peek().is_none() {
            limit
        } else {
            // `None` comes before every epoch: who has not begun is waited for.
            waited.map(|member| member.closed).min().flatten()
        };
        if let Some(target) = target.filter(|it| self.merged.is_none_or(|merged| *it > merged)) {
            self.merge(target);
        }
    }

    /// Merges everything published up to and including `epoch`, in order of epochs.
    fn merge(&mut self, epoch: i64) {
        let later =
            epoch.checked_add(1).map_or_else(Lessons::new, |next| self.pending.split_off(&next));
        let due = std::mem::replace(&mut self.pending, later);
        // A version that taught nothing would look like a hole.
        for (epoch, groups) in due.into_iter().filter(|(_, groups)| !groups.is_empty()) {
            if self.versions.is_empty() {
                // What is known before anything is: one version among the others.
                self.versions.push_back(Arc::default());
            }
            let base = self.newest();
            let summaries = groups.iter().map(|(key, summary)| (*key, summary));
            self.versions.push_back(Arc::new(base.with_epoch(epoch, summaries)));
            self.merges += 1;
            self.make_room();
        }
        self.merged = Some(epoch);
    }

    /// Lets go of past versions that nobody needs. While there are too many still, nothing is kept any
    /// more for the partitions that are furthest behind: they may never come back.
    fn make_room(&mut self) {
        self.drop_spare();
        while self.versions.len() > self.room.needed {
            let mut needs: Vec<&mut Option<Needs>> =
                self.members.values_mut().map(|it| &mut it.needs).collect();
            let Some(oldest) = needs.iter().filter_map(|it| Some((**it)?.epoch)).min() else {
                return;
            };
            needs.retain(|it| it.is_some_and(|it| it.epoch == oldest));
            self.lost += u64::try_from(needs.len()).unwrap_or(0);
            needs.into_iter().for_each(|it| *it = None);
            self.drop_spare();
        }
    }

    fn drop_spare(&mut self) {
        let spare = self.versions.len().saturating_sub(self.room.always);
        if spare == 0 {
            return;
        }
        let mut needed = vec![false; self.versions.len()];
        let place = |epoch| self.reached(epoch).saturating_sub(1);
        let mut from = spare;
        for needs in self.members.values().filter_map(|member| member.needs) {
            from = needs.later.map_or(from, |later| from.min(place(later)));
            if let Some(it) = needed.get_mut(place(needs.epoch)) {
                *it = true;
            }
        }
        needed.iter_mut().skip(from).for_each(|it| *it = true);
        let mut kept: VecDeque<Arc<Peers>> = VecDeque::with_capacity(self.versions.len());
        let mut is_in_hole = false;
        for (place, version) in self.versions.iter().enumerate() {
            if needed.get(place) == Some(&true) && !self.is_hole(place) {
                kept.push_back(Arc::clone(version));
                is_in_hole = false;
            } else if !std::mem::replace(&mut is_in_hole, true)
                && let Some(before) = kept.back()
            {
                kept.push_back(Arc::new(before.with_groups(version.epoch, [])));
            }
        }
        self.versions = kept;
    }

    /// How many versions hold nothing later than `epoch`.
    fn reached(&self, epoch: i64) -> usize {
        self.versions.partition_point(|version| version.epoch <= epoch)
    }

    /// Whether versions from the epoch of this one on were let go of, and this stands for them: it
    /// knows what the one before it knows, which no other does.
    fn is_hole(&self, place: usize) -> bool {
        let before = place.checked_sub(1).and_then(|before| self.versions.get(before));
        before.zip(self.versions.get(place)).is_some_and(|(before, version)| {
            version.epoch > before.epoch && version.changed_since(before).next().is_none()
        })
    }

    /// The newest version that holds nothing later than `epoch`. Where that was let go of, the oldest
    /// that is left of those after it: the nearest to what was known.
    fn version(&self, epoch: i64) -> Arc<Peers> {
        let later = self.reached(epoch);
        let place = later.checked_sub(1).filter(|place| !self.is_hole(*place)).unwrap_or(later);
        self.versions.get(place).cloned().unwrap_or_default()
    }
}
