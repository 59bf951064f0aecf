//! One partition's judge: it orders calls, finds their peers, asks the engine, minds the deadlines.
//!
//! The same for `run`, `replay` and the demo; all of it is decided by event time. It does no IO:
//! decisions go to whoever asked.

mod admitting;
pub mod kept;
mod seen;
pub mod tally;
#[cfg(test)]
pub(crate) mod tests;
mod waking;
pub mod watch;
mod written;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::alert::{Alert, AuditRecord};
use crate::baseline::peers::{EPOCHS_BEHIND, Fact, GroupKey, Peers};
use crate::detect::{self, AgentState, Context, Verdict};
use crate::event::{Timestamp, ToolCall};
use crate::kafka::Ledger;
use crate::pipeline::epochs::{EpochLog, PeerBoard, Post};
use crate::pipeline::journal::Journal;
use crate::pipeline::judge::tally::Tally;
use crate::pipeline::judge::watch::Watch;
use crate::pipeline::judge::written::{Gap, Written};
use crate::pipeline::order::Sequencer;
use crate::pipeline::self_check::Counted;
use crate::pipeline::verdicts::{VerdictBoard, VerdictReader};
use crate::policy::Rules;
use crate::state::admission::Admission;
use crate::state::changelog::Lesson;
use crate::state::marks::Marks;
use crate::state::reached::{Judged, Place};
use crate::state::{AgentKey, Agents, Arrival, Claim, PartitionId, Spans, Updated};

/// What every partition of an instance shares.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The rules in force.
    pub rules: Arc<Rules>,
    /// The agents in memory.
    pub agents: Arc<Agents>,
    /// The exchange of peer knowledge.
    pub board: PeerBoard,
    /// What people have said.
    pub verdicts: VerdictBoard,
    /// Calls are put in order within this span, in nanoseconds.
    pub reorder_ns: i64,
    /// How late a call may come, in nanoseconds.
    pub lateness_ns: i64,
}

/// An alert and the offset of the record that caused it.
#[derive(Debug)]
pub struct Decision {
    /// The alert.
    pub alert: Alert,
    /// The offset of the record on which it was decided.
    pub offset: i64,
}

/// A change of what is known of an agent, and the offset of the record that caused it.
#[derive(Debug)]
pub struct Audited {
    /// What changed.
    pub record: AuditRecord,
    /// The offset of the record with the call.
    pub offset: i64,
}

/// The judge of one partition.
#[derive(Debug)]
pub struct Judge {
    shared: Shared,
    partition: PartitionId,
    claim: Claim,
    topic: Arc<str>,
    order: Sequencer,
    log: EpochLog,
    /// Its place on the board, and whether what it says counts there yet.
    post: Post,
    joined: bool,
    said: VerdictReader,
    /// The peers of calls of this epoch, fetched when the epoch changes.
    peers: Option<(i64, Arc<Peers>)>,
    watermark: Option<Timestamp>,
    /// Up to when time has passed for agents that wait for nothing but time.
    advanced: Option<Timestamp>,
    /// When to look after agents, at or before their deadlines.
    deadlines: BTreeSet<(Timestamp, AgentKey)>,
    /// Agents that were written down when more calls of the log were judged than are by now: after how
    /// many, below which offset, and their deadlines. Time that passes until then has passed for them.
    asleep: BTreeSet<(u64, i64, Timestamp, AgentKey)>,
    next_offset: Option<i64>,
    /// Records below this offset were judged before this judge took the partition over.
    judged_below: i64,
    /// What is read again after a stop.
    again: Option<Judged>,
    /// The call that is to be explained, if one is.
    watch: Option<Box<Watch>>,
    tally: Tally,
    counted: Counted,
    audits: Vec<Audited>,
    /// What has to be written down, if anything is.
    journal: Option<Box<Journal>>,
    /// The call being judged, or judged last.
    place: Place,
    /// Who is let in.
    admission: Admission,
    /// How far the sources of calls that ingest wrote were seen.
    marks: Marks,
    /// Where it would go on after a stop.
    written: Option<Written>,
    gap: Gap,
}

impl Judge {
    /// A judge for `partition` of `topic`, which takes part in the exchange from now on.
    #[must_use]
    pub fn new(shared: Shared, partition: PartitionId, topic: Arc<str>) -> Self {
        let post = shared.board.join(partition);
        let claim = shared.agents.claim(partition);
        let order = Sequencer::new(shared.reorder_ns);
        let said = shared.verdicts.reader();
        let admission = Admission::new(shared.agents.room(), partition);
        Self {
            shared,
            partition,
            claim,
            topic,
            order,
            log: EpochLog::default(),
            post,
            joined: false,
            said,
            peers: None,
            watermark: None,
            advanced: None,
            deadlines: BTreeSet::new(),
            asleep: BTreeSet::new(),
            next_offset: None,
            judged_below: 0,
            again: None,
            watch: None,
            tally: Tally::default(),
            counted: Counted::default(),
            audits: Vec::new(),
            journal: None,
            place: (0, 0),
            admission,
            marks: Marks::default(),
            written: None,
            gap: Gap::None,
        }
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What follows was read from `topic`; calls still held keep none.
    pub fn set_topic(&mut self, topic: Arc<str>) {
        self.topic = topic;
    }

    /// Says whether the partition has nothing to read, so that nobody waits for it. What its agents
    /// taught in hours that are not over is published with that: nobody would wait for it later.
    pub fn set_idle(&mut self, idle: bool) {
        self.note_needs(idle);
        if !idle {
            self.shared.board.wake(self.post, &self.log);
            return;
        }
        let next = self.next_offset.unwrap_or(0);
        let time = self.advanced.max(self.watermark).unwrap_or(Timestamp::MIN);
        self.shared.board.rest(self.post, &mut self.log, (next, time), (next - 1).max(0));
    }

    /// Offsets whose epochs are not published yet are held back in `ledger`.
    pub fn guard(&self, ledger: Ledger) {
        self.shared.board.guard(self.post, ledger);
    }

    /// The record at `offset` comes next. With the first one, agents of this partition that are
    /// still in memory are taken over if reading goes on where they were left.
    ///
    /// Returns whether the record is new, and not one that the worker before has judged.
    pub fn begin(&mut self, offset: i64) -> bool {
        if self.next_offset.is_none() {
            let adopted = self.shared.agents.adopt(self.partition, offset);
            self.judged_below = adopted.judged_below;
            self.deadlines.extend(adopted.deadlines);
            self.admission.go_on(&self.shared.agents, self.admission.gate().clone());
            self.next_offset = Some(offset);
        }
        offset >= self.judged_below
    }

    /// The record at `offset` has been taken in whole.
    pub fn record_done(&mut self, offset: i64) {
        self.next_offset = Some(offset + 1);
        if self.again.as_ref().is_some_and(|again| again.below() <= offset + 1) {
            self.again = None;
        }
    }

    /// The offset after the last record taken in.
    #[must_use]
    pub fn next_offset(&self) -> Option<i64> {
        self.next_offset
    }

    /// The offset below which every call has been judged.
    #[must_use]
    pub fn judged_offset(&self) -> Option<i64> {
        self.order.lowest_offset().or(self.next_offset)
    }

    /// Calls held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.order.len()
    }

    /// The partition goes to another worker; its agents stay in memory for a while.
    pub fn release(self) {
        self.shared.agents.orphan(self.partition, self.claim, self.judged_offset());
    }

    /// The newest time judged.
    #[must_use]
    pub fn watermark(&self) -> Option<Timestamp> {
        self.watermark
    }

    /// What became of the calls so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// What detectors promised and did, since this was last asked.
    #[must_use]
    pub fn take_counted(&mut self) -> Counted {
        std::mem::take(&mut self.counted)
    }

    /// What changed in what is known of agents, since this was last asked.
    #[must_use]
    pub fn take_audits(&mut self) -> Vec<Audited> {
        std::mem::take(&mut self.audits)
    }

    /// The epoch whose peers the next call waits for; `None` when nothing waits.
    #[must_use]
    pub fn waits_for(&self) -> Option<i64> {
        if self.again.is_some() {
            return None;
        }
        let call = self.order.first()?;
        let epoch = call.time.hour();
        if self.is_held_back() {
            return None;
        }
        let known = self.peers.as_ref().is_some_and(|(known, _)| *known == epoch);
        (!known).then_some(epoch - EPOCHS_BEHIND)
    }

    /// Judges every call whose turn has come, until one has to wait for its peers.
    pub fn judge_due(&mut self, sink: &mut dyn FnMut(Decision)) {
        while self.order.due().is_some() && self.judge_first(sink) {}
    }

    /// Judges every call held, whether its turn has come or not: nothing more is on its way for
    /// now. Returns whether any had to wait for its peers.
    pub fn judge_all(&mut self, sink: &mut dyn FnMut(Decision)) -> bool {
        while self.order.first().is_some() {
            if !self.judge_first(sink) {
                return false;
            }
        }
        true
    }

    /// Lets event time reach `now` for agents that wait for nothing but time.
    pub fn advance(&mut self, now: Timestamp, sink: &mut dyn FnMut(Decision)) {
        let is_at_rest = self.again.is_none() && self.order.first().is_none();
        if let Some(next) = self.next_offset.filter(|_| is_at_rest) {
            self.end_retelling(next, sink);
        }
        self.let_pass(now, sink);
        self.end_crowds(now, sink);
    }

    /// Judges the first call held. Returns `false` when its peers are not known yet.
    fn judge_first(&mut self, sink: &mut dyn FnMut(Decision)) -> bool {
        if self.again.is_some() {
            // Calls that were held when it stopped are judged in order once all are read again.
            return false;
        }
        let Some(first) = self.order.first() else { return false };
        let (time, place) = (first.time, (first.position.offset, first.position.index));
        if self.is_far_ahead(time.hour()) || !self.is_joined() {
            return false;
        }
        self.end_retelling(place.0, sink);
        // Also of what falls due with it: that was not reflected before this call.
        self.place = place;
        self.pass(time, sink);
        let Some(peers) = self.peers_of(time.hour()) else { return false };
        self.said.refresh();
        if let Some(call) = self.order.pop() {
            if let Some(journal) = &mut self.journal {
                journal.judged();
            }
            self.judge(&call, &peers, sink);
            self.order.recycle(call);
        }
        // Time passes by the peers of the newest call, also after a late one.
        if self.peers.as_ref().is_none_or(|(known, _)| *known < time.hour()) {
            self.peers = Some((time.hour(), peers));
        }
        true
    }

    fn judge(&mut self, call: &ToolCall<'static>, peers: &Peers, sink: &mut dyn FnMut(Decision)) {
        let mut judged: ToolCall<'_> = call.borrowed();
        judged.position.topic = &self.topic;
        let key = AgentKey::of(&judged);
        self.admission.settle(self.place);
        if self.journal.as_ref().is_some_and(|journal| journal.is_ahead(key, self.place)) {
            self.pass_over(key, call, sink);
            return;
        }
        let context = Context { rules: &self.shared.rules, peers, expectations: self.said.known() };
        if let Some(watch) = self.watch.as_mut().filter(|watch| watch.is_it(&judged)) {
            let is_known = self.shared.agents.read(key, |state| {
                watch.look(&context, Some(state), &judged);
            });
            if is_known.is_none() {
                watch.look(&context, None, &judged);
            }
        }
        let now = self.event_time(call);
        let spans = self.spans();
        let journal = &mut self.journal;
        let update = |state: &mut AgentState, is_due: bool| {
            if is_due {
                write_first(journal, key, state);
            }
            let verdict = detect::observe(&context, state, &judged);
            (verdict, state.group)
        };
        let (agents, mut in_place_of) = (&self.shared.agents, None);
        let admit = || {
            in_place_of = self.admission.ask(agents, (key, &judged), now)?;
            Ok(())
        };
        let updated = match agents.update((key, self.partition, spans), &judged, admit, update) {
            Ok(updated) => updated,
            Err(no_room) => return self.turn_away(call, no_room, now, sink),
        };
        let Updated { value: (mut verdict, group), is_first, arrival, moved } = updated;
        if arrival == Arrival::Astray {
            self.tally.astray += 1;
        } else if arrival != Arrival::Known {
            self.welcome((key, call), arrival, in_place_of);
        }
        self.changed(key, is_first);
        self.tally.note(verdict.fate);
        if let Some((before, after)) = moved {
            before.map(|deadline| self.deadlines.remove(&(deadline, key)));
            after.map(|deadline| self.deadlines.insert((deadline, key)));
        }
        if let Some((former, facts)) = verdict.left.take() {
            self.teach(key, (call.time.hour(), former), facts);
        }
        self.counted.note(&verdict.facts);
        self.counted.note_bounds(verdict.bounds);
        self.teach(key, (call.time.hour(), group), std::mem::take(&mut verdict.facts));
        if !verdict.tenant_facts.is_empty() {
            let tenant = GroupKey::of_tenant(&call.tenant_id);
            let facts = std::mem::take(&mut verdict.tenant_facts);
            self.teach(key, (call.time.hour(), tenant), facts);
        }
        let offset = call.position.offset;
        let audited = verdict.audits.drain(..).map(|record| Audited { record, offset });
        self.audits.extend(audited);
        hand_out(verdict, offset, sink);
    }

    /// The spans in which agents change and wait to be written; neither without a journal.
    fn spans(&self) -> Spans {
        self.journal.as_deref().map(Journal::spans).unwrap_or_default()
    }

    /// An agent has changed; it is written down with the next flush.
    fn changed(&mut self, key: AgentKey, is_first: bool) {
        if let Some(journal) = self.journal.as_mut().filter(|_| is_first) {
            journal.changed(key);
        }
    }

    /// What an agent teaches a group.
    fn teach(&mut self, key: AgentKey, (epoch, group): (i64, GroupKey), mut facts: Vec<Fact>) {
        // What was handed out before is nobody's to take up again, and what says nothing new nobody
        // has to remember.
        facts.retain(|fact| self.log.note(epoch, group, fact));
        if facts.is_empty() {
            return;
        }
        if let Some(journal) = &mut self.journal {
            let (closed, place) = (self.log.closed(), self.place);
            let lessons = facts.into_iter().map(|fact| {
                let epoch = fact.epoch().unwrap_or(epoch);
                let epoch = closed.map_or(epoch, |closed| epoch.max(closed + 1));
                Lesson { place, epoch, group, fact }
            });
            journal.taught(key, group, lessons);
        }
    }

    /// Whether what this partition says counts on the board. Before that nothing is judged: what
    /// was published of the partition before must be known first.
    pub fn is_joined(&mut self) -> bool {
        self.joined = self.joined || self.shared.board.is_joined(self.post, &mut self.log);
        self.joined
    }

    /// The peers of calls of `epoch`; taken out of the cache, which saves touching a count that all
    /// workers share.
    fn peers_of(&mut self, epoch: i64) -> Option<Arc<Peers>> {
        match self.peers.take_if(|(known, _)| *known == epoch) {
            Some((_, peers)) => Some(peers),
            None => self.peers_on_board(epoch),
        }
    }

    fn known_peers(&self) -> Arc<Peers> {
        self.peers.as_ref().map(|(_, peers)| Arc::clone(peers)).unwrap_or_default()
    }
}

/// An agent that waits to be written is about to change.
fn write_first(journal: &mut Option<Box<Journal>>, key: AgentKey, state: &AgentState) {
    if let Some(journal) = journal {
        journal.write_first(key, state);
    }
}

fn hand_out(verdict: Verdict, offset: i64, sink: &mut dyn FnMut(Decision)) {
    for alert in verdict.alerts {
        sink(Decision { alert, offset });
    }
}

impl Drop for Judge {
    /// What the agents taught must not be lost with the worker that read them.
    fn drop(&mut self) {
        self.shared.board.leave(self.post, &mut self.log);
    }
}
