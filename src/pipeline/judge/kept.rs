//! A judge that stops and one that goes on in its place, as if nothing had been between them.
//!
//! Calls that are held are not written: they are read again. What was judged beyond the first of
//! them is known by its position and passed over.

use std::collections::BTreeSet;

use crate::baseline::peers::EPOCHS_BEHIND;
use crate::event::Timestamp;
use crate::pipeline::epochs::EpochLog;
use crate::pipeline::epochs::kept::Lessons;
use crate::pipeline::journal::{Flush, Held, Journal, Lineage, StateRecord, Unwritten};
use crate::pipeline::judge::Judge;
use crate::state::admission::Gate;
use crate::state::changelog::Restored;
use crate::state::changelog::Touched;
use crate::state::codec::StateError;
use crate::state::reached::{Judged, Place, Reached};
use crate::state::{AgentKey, Full};

impl Judge {
    /// How far this judge has come.
    #[must_use]
    pub fn reached(&self) -> Reached {
        let mut held: BTreeSet<Place> = self.order.positions().collect();
        let mut next_offset = self.next_offset;
        if let Some(again) = &self.again {
            // A stop before everything was read again.
            let is_ahead = |position: &&Place| Some(position.0) >= self.next_offset;
            held.extend(again.held().iter().filter(is_ahead));
            next_offset = next_offset.max(Some(again.below()));
        }
        Reached {
            next_offset,
            watermark: self.watermark,
            newest: self.order.newest_before_held(),
            held: held.into_iter().collect(),
            closed: self.log.closed(),
            handed: self.log.handed(),
        }
    }

    /// What the agents of the partition taught in epochs that are not over.
    #[must_use]
    pub const fn taught(&self) -> &Lessons {
        self.log.open()
    }

    /// Goes on where another judge of the same records stopped; records come from
    /// [`Reached::read_from`] on. Its agents must be in memory; `gate` is what it remembered of others.
    pub fn resume(&mut self, reached: &Reached, taught: Lessons, gate: Gate) {
        self.take_stock(gate);
        self.resume_at(reached, taught);
    }

    fn resume_at(&mut self, reached: &Reached, taught: Lessons) {
        self.go_on_at(reached, taught);
        self.next_offset = reached.read_from();
        self.again = reached
            .next_offset
            .map(|below| Judged::new(below, reached.held.iter().copied()))
            .filter(|again| self.next_offset.is_some_and(|next| next < again.below()));
    }

    /// Goes on where another judge stopped, with other records.
    pub fn go_on(&mut self, reached: &Reached, taught: Lessons, gate: Gate) {
        self.take_stock(gate);
        self.go_on_at(reached, taught);
    }

    /// Looks through all agents in memory for those of this partition.
    fn take_stock(&mut self, gate: Gate) {
        self.admission.go_on(&self.shared.agents, gate);
        self.deadlines.extend(self.shared.agents.deadlines(self.partition));
    }

    fn go_on_at(&mut self, reached: &Reached, taught: Lessons) {
        self.watermark = reached.watermark;
        let hour = reached.watermark.map(Timestamp::hour);
        let known = |hour| Some((hour, self.shared.board.known(hour - EPOCHS_BEHIND)?));
        self.peers = hour.and_then(known);
        self.order.note(reached.newest);
        self.log = EpochLog::from_parts(reached.closed, taught).after(reached.handed);
        self.note_needs(false);
        self.joined = false;
        let done = EpochLog::from_parts(reached.closed, Lessons::new()).hand_out();
        let offset = (reached.next_offset.unwrap_or(0) - 1).max(0);
        self.shared.board.publish(self.post, &mut self.log, done, offset);
    }

    /// Takes up what was written down of the partition, and writes down from now on what changes.
    /// Records come from `from` on; `is_same_log` says whether they are those that were judged
    /// before, so that the ones that an agent's state reflects are passed over.
    ///
    /// # Errors
    ///
    /// [`Full`] when there is no room for all agents; the others are taken up.
    pub fn take_up(
        &mut self,
        restored: Restored,
        (from, is_same_log): (i64, bool),
        lineage: Lineage,
    ) -> Result<(), Full> {
        let journal = Journal::new(lineage, &restored, self.shared.agents.begin_span());
        let (marker, kept) = restored.marker.map(|it| (it.reached, (it.gate, it.marks))).unzip();
        let (gate, marks) = kept.unwrap_or_default();
        self.marks = marks;
        let mut ahead = Vec::new();
        let mut passages = Vec::new();
        for dead in restored.dead {
            ahead.extend(dead.lessons);
            passages.push(((dead.tenant_id, dead.agent_id), false, dead.passages));
        }
        // All agents in memory are many more than those of one partition: they are counted as they
        // come.
        self.admission.begin(gate);
        let (admission, deadlines) = (&mut self.admission, &mut self.deadlines);
        let asleep = &mut self.asleep;
        let states = restored.agents.into_iter().map(|agent| {
            admission.count(&agent.state.tenant_id);
            if let Some(deadline) = agent.state.deadline() {
                let names = (&agent.state.tenant_id, &agent.state.agent_id);
                let key = AgentKey::from_ids(names.0, names.1);
                deadlines.insert((deadline, key));
                if let Some(ahead) = agent.ahead.filter(|_| is_same_log) {
                    asleep.insert((agent.judged, ahead.below(), deadline, key));
                }
            }
            ahead.extend(agent.lessons);
            if !agent.passages.is_empty() {
                let names = (agent.state.tenant_id.clone(), agent.state.agent_id.clone());
                passages.push((names, true, agent.passages));
            }
            agent.state
        });
        let outcome = self.shared.agents.take_in_all(Some(self.partition), states);
        if outcome.is_err() {
            let gate = self.admission.gate().clone();
            self.take_stock(gate);
        }
        for (_, _, deadline, key) in &self.asleep {
            self.deadlines.remove(&(*deadline, *key));
        }
        if let Some(reached) = &marker {
            self.takes_up(reached);
        }
        match marker {
            Some(reached) if is_same_log => self.resume_at(&reached, restored.taught),
            reached => self.go_on_at(&reached.unwrap_or_default(), restored.taught),
        }
        for ((tenant_id, agent_id), is_known, passages) in
            passages.into_iter().filter(|_| is_same_log)
        {
            let key = AgentKey::from_ids(&tenant_id, &agent_id);
            self.admission.written_ahead(key, (&tenant_id, is_known), passages);
        }
        self.log = std::mem::take(&mut self.log).with_ahead(ahead, !is_same_log);
        self.next_offset = Some(from);
        self.journal = Some(Box::new(journal));
        outcome
    }

    /// The partition goes to somebody who reads what is known of it from what was written down.
    pub fn forget(self) {
        self.shared.agents.forget(self.partition);
    }

    /// Somebody wrote over what stood under a key of this partition: the next flush writes it anew.
    pub fn write_anew(&mut self, touched: Touched) {
        let Some(journal) = &mut self.journal else { return };
        match touched {
            Touched::Agent(key) => {
                if self.shared.agents.touch(key, self.partition, journal.spans()) {
                    journal.changed(key);
                }
            }
            // Several keys take turns: all of them are written over.
            Touched::Lesson { group, .. } => {
                journal.teach_anew(group);
                journal.renew();
            }
            Touched::Marker => journal.renew(),
        }
        journal.mark_anew();
    }

    /// The next flushes write anew what stands under keys whose last record should not be the last.
    /// Of agents that are not known nothing is written, and nothing deleted either: who holds the
    /// right key, or the right version, may still read them.
    pub fn write_stale_anew(&mut self, stale: &[Touched]) {
        stale.iter().for_each(|touched| self.write_anew(*touched));
        if let Some(journal) = self.journal.as_mut().filter(|_| !stale.is_empty()) {
            journal.renew();
        }
    }

    /// What has changed since the last flush, if anything is written down.
    #[must_use]
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_deref()
    }

    /// The record at `offset`, whose bytes have this digest, was taken in.
    pub fn took(&mut self, offset: i64, digest: impl FnOnce() -> u64) {
        if let Some(journal) = &mut self.journal {
            journal.took(offset, digest());
        }
    }

    /// Everything that has changed since the last flush, as [`Self::begin_flush`] and
    /// [`Self::write_on`] give it bit by bit.
    ///
    /// # Errors
    ///
    /// As [`Self::begin_flush`].
    pub fn flush(&mut self) -> Result<Option<Flush>, StateError> {
        let mut flush = self.begin_flush()?;
        if let Some(flush) = &mut flush {
            while let Some(records) = self.write_on(usize::MAX) {
                flush.records.extend(records);
            }
        }
        Ok(flush)
    }

    /// Begins to write what has changed since the last flush: its agents follow with
    /// [`Self::write_on`]. `None` while what was read before a stop is read again, and when nothing is
    /// written down.
    ///
    /// # Errors
    ///
    /// When more calls are held than a record can name.
    pub fn begin_flush(&mut self) -> Result<Option<Flush>, StateError> {
        let judged = self.judged_offset();
        let may = |journal: &Journal| judged.is_some_and(|judged| journal.may_flush(judged));
        if self.again.is_some() || !self.journal.as_deref().is_some_and(may) {
            return Ok(None);
        }
        self.admission.caught_up();
        let reached = self.reached();
        let mut held = Held::new();
        for call in self.order.held() {
            let place = (call.position.offset, call.position.index);
            held.entry(AgentKey::of(call)).or_default().push(place);
        }
        held.values_mut().for_each(|places| places.sort_unstable());
        let Some(mut journal) = self.journal.take() else { return Ok(None) };
        let open = self.log.open();
        let admitted = (self.admission.agents(), self.admission.gate(), &self.marks);
        let flush = journal.flush(&self.shared.agents, reached, (held, open), admitted);
        self.journal = Some(journal);
        flush
    }

    /// The next records of the flush that was begun, of about `agents_max` agents; `None` when all are
    /// written.
    pub fn write_on(&mut self, agents_max: usize) -> Option<Vec<StateRecord>> {
        self.journal.as_mut()?.write_on(&self.shared.agents, agents_max)
    }

    /// What could not be written since this was last asked.
    #[must_use]
    pub fn take_unwritten(&mut self) -> Unwritten {
        self.journal.as_mut().map_or_else(Unwritten::default, |it| it.take_unwritten())
    }
}
