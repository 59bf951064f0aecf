//! The protocol as a transition system: what each part of it does is said in [`super`].

use stateright::{Model, Property};

/// Calls of the source partition.
pub(crate) const EVENTS: u8 = 3;
const COUNT: usize = 3;
/// Agents.
pub(crate) const KEYS: usize = 2;
/// Workers, each a process of its own.
pub(crate) const WORKERS: usize = 2;
/// Markers take turns under so many keys; in the product four.
const MARKERS: usize = 2;

/// A set of calls.
type Calls = u8;
/// The calls an agent's state has seen, in their order: digits to the base 4, from 1. It tells a
/// call that was seen twice, or not, or too early.
type Seen = u16;

const fn bit(event: u8) -> Calls {
    1 << event
}

fn saw(seen: Seen, event: u8) -> Seen {
    seen * 4 + Seen::from(event) + 1
}

/// What is done otherwise than in the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// Agents are written before the alerts they would suppress are acknowledged.
    StatesBeforeAlerts,
    /// The offset is committed when the marker is sent.
    CommitBeforeMarker,
    /// The last record of a key counts, not the one with the highest stamp.
    LastCounts,
    /// An agent's record says nothing of what it taught.
    LessonsDropped,
    /// What an epoch taught has one key.
    OneLessonKey,
    /// Calls that an agent's record reflects already are judged once more.
    NothingPassedOver,
    /// A flush begins before everything is read again that some record reflects.
    FlushBelowFloor,
    /// A flush begins while a call is held that its agent's record reflects already.
    FlushWhileAheadIsHeld,
    /// A stamp says how many calls were taken in, held ones included.
    TakenNotJudged,
    /// An agent that is forgotten is deleted at once.
    BareTombstone,
    /// The group takes commits of whoever has lost the partition.
    ZombieCommits,
    /// A partition is judged before what was known of it is read.
    NotWaitingForRestore,
    /// Compaction does not leave both records until the older one was written over.
    EagerCompaction,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp {
    /// How many calls were judged: who judged more reflects more, whatever was taken in and held.
    judged: u8,
    cut: u8,
    flush: u8,
    owner: u8,
}

/// A record of the state topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Record {
    /// `seen` is `None` for an agent that was forgotten.
    Agent {
        key: usize,
        stamp: Stamp,
        seen: Option<Seen>,
        held: Calls,
        lessons: Calls,
    },
    Deleted {
        key: usize,
        stamp: Stamp,
    },
    Lesson {
        second: bool,
        stamp: Stamp,
        taught: [u8; COUNT],
    },
    Marker {
        stamp: Stamp,
        held: Calls,
    },
}

impl Record {
    const fn stamp(&self) -> Stamp {
        match self {
            Self::Agent { stamp, .. }
            | Self::Deleted { stamp, .. }
            | Self::Lesson { stamp, .. }
            | Self::Marker { stamp, .. } => *stamp,
        }
    }

    /// Which of the topic's keys it stands under.
    fn place(&self) -> usize {
        match *self {
            Self::Agent { key, .. } | Self::Deleted { key, .. } => key,
            Self::Lesson { second, .. } => KEYS + usize::from(second),
            Self::Marker { stamp, .. } => KEYS + 2 + usize::from(stamp.flush) % MARKERS,
        }
    }
}

/// What stands under one key. Of all records only these two can matter, to whoever reads them
/// back and to compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stand {
    /// The one with the highest stamp; of equal ones the last.
    highest: Record,
    last: Record,
}

type StateTopic = [Option<Stand>; KEYS + 2 + MARKERS];

/// `Judged`: everything below an offset, apart from what was held.
type Judged = (u8, Calls);

fn covers((below, held): Judged, event: u8) -> bool {
    event < below && held & bit(event) == 0
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Agent {
    seen: Option<Seen>,
    ahead: Option<Judged>,
    lessons: Calls,
    changed: bool,
}

/// `state::changelog::Restored`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Restored {
    marker: Option<(Stamp, Calls)>,
    agents: [Agent; KEYS],
    taught: [u8; COUNT],
    turn: Option<bool>,
    floor: Option<u8>,
    next_flush: u8,
}

/// `pipeline::flushing::Stage`; what its ledger waits for stands in [`Worker::records`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Resting,
    Alerts { records: Vec<Record>, marker: Record, cut: u8, commit: u8 },
    Records { marker: Record, commit: u8 },
    Marker { commit: u8 },
}

/// A partition in a worker's hands: `Lane`, `Judge`, `Journal`, `Keeping` and `Flushing`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lane {
    owner: u8,
    is_restored: bool,
    /// `Keeping::is_beginning`: nothing is taken before the first marker is there.
    is_beginning: bool,
    agents: [Agent; KEYS],
    taught: [u8; COUNT],
    turn: Option<bool>,
    touched: bool,
    next: u8,
    held: Calls,
    again: Option<Judged>,
    floor: Option<u8>,
    next_flush: u8,
    flushed: Option<(u8, Calls)>,
    stage: Stage,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    lane: Option<Lane>,
    /// Alerts that are not acknowledged, with their bodies: what was known before the call.
    alerts: Vec<(u8, Seen)>,
    /// Records that are not acknowledged. They outlive the lane: the producer sends them all the
    /// same.
    records: Vec<Record>,
}

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// Whose call each is.
    keys: [usize; COUNT],
    /// With this call the other agent is forgotten.
    forgets: Option<u8>,
    workers: [Worker; WORKERS],
    /// Who the group says owns the partition.
    owner: Option<usize>,
    topic: StateTopic,
    /// The alerts topic: calls and bodies.
    alerts: Vec<(u8, Seen)>,
    committed: Option<u8>,
    assignments: u8,
    crashes: u8,
    /// Something was committed that no whole flush reflects, or that lies before what was.
    is_wrongly_committed: bool,
    /// An agent was known further than it is now.
    has_fallen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Assign(usize),
    Restore(usize),
    Take(usize),
    Settle(usize),
    AlertArrives(usize, usize),
    Flush(usize),
    RecordArrives(usize, usize),
    Commit(usize),
    LetGo(usize),
    Crash(usize),
    Heal(usize),
    Compact,
}

/// The model and its bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    pub(crate) broken: Broken,
    /// Whether the newest call is held until a later one has come (`event_time.reorder`).
    pub(crate) holds: bool,
    /// How often the group gives the partition to somebody.
    pub(crate) assignments: u8,
    /// How often a process dies.
    pub(crate) crashes: u8,
    /// Flushes with a number below this.
    pub(crate) flushes: u8,
    /// Whether an owner writes anew what an older record was written over.
    pub(crate) heals: bool,
    /// Whether it starts when the first owner has begun the partition.
    pub(crate) begun: bool,
    /// How many of the ways are looked at in which calls belong to agents.
    pub(crate) cases: usize,
}

/// What one judge that never stops says and knows.
fn golden(world: &World) -> ([Seen; COUNT], [Option<Seen>; KEYS]) {
    let (mut bodies, mut agents) = ([0; COUNT], [None; KEYS]);
    for event in 0..EVENTS {
        let key = world.keys[usize::from(event)];
        bodies[usize::from(event)] = agents[key].unwrap_or(0);
        agents[key] = Some(saw(agents[key].unwrap_or(0), event));
        if world.forgets == Some(event) {
            agents[1 - key] = None;
        }
    }
    (bodies, agents)
}

/// What is known of an agent when everything below `below` but `held` was judged.
fn known(world: &World, key: usize, position: Judged) -> Option<Seen> {
    let mut seen = None;
    for event in (0..EVENTS).filter(|event| covers(position, *event)) {
        if world.keys[usize::from(event)] == key {
            seen = Some(saw(seen.unwrap_or(0), event));
        } else if world.forgets == Some(event) {
            seen = None;
        }
    }
    seen
}

impl Protocol {
    fn is(&self, broken: Broken) -> bool {
        self.broken == broken
    }

    /// `Restoring::take` and `Restoring::finish`.
    fn restored(&self, topic: &StateTopic) -> Restored {
        let counts = |stand: &Stand| {
            if self.is(Broken::LastCounts) { stand.last } else { stand.highest }
        };
        let records = || topic.iter().flatten().map(counts);
        let mut out = Restored::default();
        for record in records() {
            if let Record::Marker { stamp, held } = record {
                out.marker = out.marker.max(Some((stamp, held)));
            }
        }
        let (known, held) = out.marker.unwrap_or_default();
        let mut newest = None;
        let mut flush = known.flush;
        for record in records() {
            match record {
                Record::Lesson { second, stamp, taught } if stamp <= known => {
                    newest = newest.max(Some((stamp, second, taught)));
                }
                Record::Agent { key, stamp, seen, held: own, lessons } => {
                    flush = flush.max(stamp.flush);
                    let is_ahead = stamp > known;
                    let mut fresh = 0;
                    for event in 0..EVENTS {
                        let is_new = is_ahead && !covers((known.cut, held), event);
                        if is_new && lessons & bit(event) != 0 {
                            fresh |= bit(event);
                            out.taught[usize::from(event)] += 1;
                        }
                    }
                    if is_ahead {
                        out.floor = out.floor.max(Some(stamp.cut));
                    }
                    let ahead = is_ahead.then_some((stamp.cut, own));
                    let ahead = ahead.filter(|_| !self.is(Broken::NothingPassedOver));
                    out.agents[key] = Agent { seen, ahead, lessons: fresh, changed: false };
                }
                _ => {}
            }
        }
        if let Some((_, second, taught)) = newest {
            out.turn = Some(second);
            (0..usize::from(EVENTS)).for_each(|it| out.taught[it] += taught[it]);
        }
        out.next_flush = if out.marker.is_some() || flush > 0 { flush + 1 } else { 0 };
        out
    }

    /// The stamps by which agents would be taken up.
    fn positions(&self, topic: &StateTopic) -> [Option<Stamp>; KEYS] {
        let is_last = self.is(Broken::LastCounts);
        let stamp = |it: Stand| if is_last { it.last.stamp() } else { it.highest.stamp() };
        std::array::from_fn(|key| topic[key].map(stamp))
    }

    /// `go_on`, `take_up_one`, `Judge::take_up` and `Journal::new`.
    fn take_up(&self, world: &mut World, worker: usize) {
        let restored = if self.is(Broken::NotWaitingForRestore) {
            Restored { next_flush: 1, ..Restored::default() }
        } else {
            self.restored(&world.topic)
        };
        let committed = world.committed;
        let Some(lane) = &mut world.workers[worker].lane else { return };
        let Restored { marker, agents, taught, turn, floor, next_flush } = restored;
        lane.is_restored = true;
        lane.touched = agents.iter().any(|agent| agent.lessons != 0);
        (lane.agents, lane.taught, lane.turn) = (agents, taught, turn);
        (lane.floor, lane.next_flush) = (floor, next_flush);
        if let Some((stamp, held)) = marker {
            let from = read_from(stamp.cut, held);
            lane.next = from;
            lane.again = Some((stamp.cut, held)).filter(|(below, _)| from < *below);
        } else {
            lane.next = committed.unwrap_or(0);
            lane.is_beginning = true;
            self.flush(lane);
        }
    }

    /// `Judge::hold`, `Judge::record_done` and `Judge::judge_due`.
    fn take(&self, world: &mut World, worker: usize) {
        let (keys, forgets) = (world.keys, world.forgets);
        let Worker { lane: Some(lane), alerts, .. } = &mut world.workers[worker] else { return };
        let event = lane.next;
        if !lane.again.is_some_and(|again| covers(again, event)) {
            lane.held |= bit(event);
        }
        lane.next += 1;
        if lane.again.is_some_and(|(below, _)| below <= lane.next) {
            lane.again = None;
        }
        let settled = if self.holds { event } else { EVENTS };
        judge(lane, alerts, (keys, forgets), settled);
    }

    /// `Journal::flush`.
    fn flush(&self, lane: &mut Lane) {
        let (cut, flush) = (lane.next, lane.next_flush);
        let judged = (0..cut).filter(|event| lane.held & bit(*event) == 0).count();
        let judged = u8::try_from(judged).unwrap_or(u8::MAX);
        let judged = if self.is(Broken::TakenNotJudged) { cut } else { judged };
        let stamp = Stamp { judged, cut, flush, owner: lane.owner };
        if lane.floor.is_some_and(|floor| cut >= floor) {
            lane.floor = None;
            lane.agents.iter_mut().for_each(|agent| agent.ahead = None);
        }
        lane.flushed = Some((cut, lane.held));
        let mut records = Vec::new();
        for (key, agent) in lane.agents.iter_mut().enumerate().filter(|(_, it)| it.changed) {
            let lessons = std::mem::take(&mut agent.lessons);
            let lessons = if self.is(Broken::LessonsDropped) { 0 } else { lessons };
            let (seen, held) = (agent.seen, lane.held);
            agent.changed = false;
            records.push(if seen.is_none() && self.is(Broken::BareTombstone) {
                Record::Deleted { key, stamp }
            } else {
                Record::Agent { key, stamp, seen, held, lessons }
            });
        }
        if std::mem::take(&mut lane.touched) {
            let second = !lane.turn.unwrap_or(true) && !self.is(Broken::OneLessonKey);
            lane.turn = Some(second);
            records.push(Record::Lesson { second, stamp, taught: lane.taught });
        }
        lane.agents.iter_mut().for_each(|agent| agent.lessons = 0);
        let marker = Record::Marker { stamp, held: lane.held };
        let commit = read_from(cut, lane.held);
        lane.stage = Stage::Alerts { records, marker, cut, commit };
        lane.next_flush += 1;
    }

    /// `Flushing::step`, but for the commit.
    fn step(&self, world: &mut World, worker: usize) {
        let is_owner = world.owner == Some(worker);
        let Worker { lane: Some(lane), alerts, records } = &mut world.workers[worker] else {
            return;
        };
        let owner = lane.owner;
        loop {
            // The ledger of this lane's flushes.
            let is_open = records.iter().any(|record| record.stamp().owner == owner);
            let early = self.is(Broken::StatesBeforeAlerts);
            lane.stage = match std::mem::replace(&mut lane.stage, Stage::Resting) {
                Stage::Alerts { records: out, marker, cut, commit }
                    if early || alerts.iter().all(|(event, _)| *event >= cut) =>
                {
                    records.extend(out);
                    records.sort_unstable();
                    Stage::Records { marker, commit }
                }
                Stage::Records { marker, commit }
                    if !is_open && alerts.iter().all(|(event, _)| *event >= marker.stamp().cut) =>
                {
                    records.push(marker);
                    records.sort_unstable();
                    if self.is(Broken::CommitBeforeMarker) && is_owner {
                        commit_offset(
                            &world.topic,
                            &mut world.committed,
                            commit,
                            &mut world.is_wrongly_committed,
                        );
                    }
                    Stage::Marker { commit }
                }
                stage => {
                    lane.stage = stage;
                    return;
                }
            };
        }
    }

    /// The partition as its first owner has begun it.
    fn begin(&self, world: World) -> World {
        let steps =
            [Action::Assign(0), Action::Restore(0), Action::RecordArrives(0, 0), Action::Commit(0)];
        steps.into_iter().fold(world, |world, step| self.next_state(&world, step).unwrap_or(world))
    }

    fn may_flush(&self, lane: &Lane) -> bool {
        let judged = read_from(lane.next, lane.held);
        let reached = if self.is(Broken::FlushWhileAheadIsHeld) { lane.next } else { judged };
        let is_below = lane.floor.is_some_and(|floor| reached < floor);
        lane.stage == Stage::Resting
            && lane.is_restored
            && !lane.is_beginning
            && lane.again.is_none()
            && (!is_below || self.is(Broken::FlushBelowFloor))
            && lane.next_flush < self.flushes
            && (lane.agents.iter().any(|agent| agent.changed)
                || lane.flushed != Some((lane.next, lane.held)))
    }

    fn commit(&self, world: &mut World, worker: usize) {
        let is_owner = world.owner == Some(worker) || self.is(Broken::ZombieCommits);
        let Some(lane) = &mut world.workers[worker].lane else { return };
        let Stage::Marker { commit } = lane.stage else { return };
        lane.stage = Stage::Resting;
        lane.is_beginning = false;
        if is_owner {
            commit_offset(
                &world.topic,
                &mut world.committed,
                commit,
                &mut world.is_wrongly_committed,
            );
        }
    }
}

/// `state::foreign::judge` and `Judge::write_anew`: what an older record was written over.
fn wounds(world: &World, worker: usize) -> [bool; KEYS + 2 + MARKERS] {
    let owner = world.workers[worker].lane.as_ref().map_or(0, |lane| lane.owner);
    world
        .topic
        .map(|stand| stand.is_some_and(|it| it.last != it.highest && it.last.stamp().owner < owner))
}

fn read_from(cut: u8, held: Calls) -> u8 {
    (0..cut).find(|event| held & bit(*event) != 0).unwrap_or(cut)
}

/// `Judge::judge_first` for every call held below `settled`.
fn judge(
    lane: &mut Lane,
    alerts: &mut Vec<(u8, Seen)>,
    (keys, forgets): ([usize; COUNT], Option<u8>),
    settled: u8,
) {
    if lane.again.is_some() {
        return;
    }
    for event in
        (0..settled.min(EVENTS)).filter(|event| lane.held & bit(*event) != 0).collect::<Vec<_>>()
    {
        lane.held &= !bit(event);
        let key = keys[usize::from(event)];
        let is_ahead = |agent: &Agent| agent.ahead.is_some_and(|ahead| covers(ahead, event));
        if !is_ahead(&lane.agents[key]) {
            let agent = &mut lane.agents[key];
            let body = agent.seen.unwrap_or(0);
            agent.seen = Some(saw(body, event));
            agent.lessons |= bit(event);
            agent.changed = true;
            lane.taught[usize::from(event)] += 1;
            lane.touched = true;
            alerts.push((event, body));
            alerts.sort_unstable();
        }
        // Who came in when is known of agents that are ahead, too (`Passages`).
        let other = &mut lane.agents[1 - key];
        if forgets == Some(event) && other.seen.is_some() && !is_ahead(other) {
            other.seen = None;
            other.changed = true;
        }
    }
}

/// The group notes an offset.
fn commit_offset(topic: &StateTopic, committed: &mut Option<u8>, commit: u8, is_wrong: &mut bool) {
    let whole = topic.iter().flatten().filter_map(|it| match it.highest {
        Record::Marker { stamp, held } => Some(read_from(stamp.cut, held)),
        _ => None,
    });
    *is_wrong |= whole.max() < Some(commit) || *committed > Some(commit);
    *committed = Some(commit);
}

/// The broker has a record.
fn arrives(topic: &mut StateTopic, record: Record) {
    let stand = &mut topic[record.place()];
    *stand = Some(match *stand {
        Some(Stand { highest, .. }) if highest.stamp() > record.stamp() => {
            Stand { highest, last: record }
        }
        _ => Stand { highest: record, last: record },
    });
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let cases = [
            ([0, 0, 1], Some(2)),
            ([0, 1, 0], Some(1)),
            ([0, 1, 0], None),
            ([0, 1, 1], None),
            ([0, 0, 1], None),
        ];
        let world = |(keys, forgets)| World {
            keys,
            forgets,
            workers: Default::default(),
            owner: None,
            topic: StateTopic::default(),
            alerts: Vec::new(),
            committed: None,
            assignments: 0,
            crashes: 0,
            is_wrongly_committed: false,
            has_fallen: false,
        };
        let cases = cases.into_iter().take(self.cases);
        cases.map(world).map(|world| if self.begun { self.begin(world) } else { world }).collect()
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (number, worker) in world.workers.iter().enumerate() {
            actions.extend((0..worker.alerts.len()).map(|it| Action::AlertArrives(number, it)));
            actions.extend((0..worker.records.len()).map(|it| Action::RecordArrives(number, it)));
            let is_at_work = *worker != Worker::default();
            if is_at_work && world.crashes < self.crashes {
                actions.push(Action::Crash(number));
            }
            let Some(lane) = &worker.lane else {
                let is_first = world.workers[..number].iter().all(|it| it != worker);
                if world.assignments < self.assignments && is_first {
                    actions.push(Action::Assign(number));
                }
                continue;
            };
            if world.assignments < self.assignments || world.owner != Some(number) {
                actions.push(Action::LetGo(number));
            }
            if !lane.is_restored {
                actions.push(Action::Restore(number));
            } else if !lane.is_beginning && lane.next < EVENTS {
                actions.push(Action::Take(number));
            } else if lane.held != 0 && lane.again.is_none() {
                actions.push(Action::Settle(number));
            }
            if self.may_flush(lane) {
                actions.push(Action::Flush(number));
            }
            let is_open = worker.records.iter().any(|it| it.stamp().owner == lane.owner);
            if matches!(lane.stage, Stage::Marker { .. }) && !is_open {
                actions.push(Action::Commit(number));
            }
            if self.heals
                && lane.is_restored
                && lane.stage == Stage::Resting
                && lane.floor.is_none()
            {
                let wounds = wounds(world, number);
                let is_news = |(at, it): (usize, &bool)| {
                    *it && lane.agents.get(at).is_none_or(|agent| !agent.changed)
                };
                if wounds.iter().enumerate().any(is_news) && lane.flushed.is_some() {
                    actions.push(Action::Heal(number));
                }
            }
        }
        if self.is(Broken::EagerCompaction) {
            actions.push(Action::Compact);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Assign(worker) => {
                world.assignments += 1;
                world.owner = Some(worker);
                world.workers[worker].lane = Some(Lane {
                    owner: world.assignments,
                    is_restored: false,
                    is_beginning: false,
                    agents: Default::default(),
                    taught: Default::default(),
                    turn: None,
                    touched: false,
                    next: 0,
                    held: 0,
                    again: None,
                    floor: None,
                    next_flush: 0,
                    flushed: None,
                    stage: Stage::Resting,
                });
            }
            Action::Restore(worker) => {
                self.take_up(&mut world, worker);
                self.step(&mut world, worker);
            }
            Action::Take(worker) => self.take(&mut world, worker),
            Action::Settle(worker) => {
                let (keys, forgets) = (world.keys, world.forgets);
                let Worker { lane, alerts, .. } = &mut world.workers[worker];
                judge(lane.as_mut()?, alerts, (keys, forgets), EVENTS);
            }
            Action::AlertArrives(worker, index) => {
                let alert = world.workers[worker].alerts.remove(index);
                world.alerts.push(alert);
                world.alerts.sort_unstable();
                world.alerts.dedup();
                self.step(&mut world, worker);
            }
            Action::Flush(worker) => {
                self.flush(world.workers[worker].lane.as_mut()?);
                self.step(&mut world, worker);
            }
            Action::RecordArrives(worker, index) => {
                let record = world.workers[worker].records.remove(index);
                let before = self.positions(&world.topic);
                arrives(&mut world.topic, record);
                world.has_fallen |= self.positions(&world.topic) < before;
                self.step(&mut world, worker);
            }
            Action::Commit(worker) => self.commit(&mut world, worker),
            Action::LetGo(worker) => {
                world.workers[worker].lane = None;
                if world.owner == Some(worker) {
                    world.owner = None;
                }
            }
            Action::Crash(worker) => {
                world.crashes += 1;
                world.workers[worker] = Worker::default();
                if world.owner == Some(worker) {
                    world.owner = None;
                }
            }
            Action::Heal(worker) => {
                let wounds = wounds(&world, worker);
                let lane = world.workers[worker].lane.as_mut()?;
                for (agent, is_wounded) in lane.agents.iter_mut().zip(wounds) {
                    agent.changed |= is_wounded;
                }
                lane.touched |= wounds[KEYS] || wounds[KEYS + 1];
                lane.flushed = None;
            }
            Action::Compact => {
                let before = self.positions(&world.topic);
                for stand in world.topic.iter_mut().flatten() {
                    stand.highest = stand.last;
                }
                world.has_fallen |= self.positions(&world.topic) < before;
            }
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(LOST, |_, world: &World| {
                let (bodies, _) = golden(world);
                let is_told =
                    |event: u8| world.alerts.contains(&(event, bodies[usize::from(event)]));
                at_rest(world).is_none() || (0..EVENTS).all(is_told)
            }),
            Property::always(BODY, |_, world: &World| {
                let (bodies, _) = golden(world);
                world.alerts.iter().all(|(event, body)| bodies[usize::from(*event)] == *body)
            }),
            Property::always(FINAL, |_, world: &World| {
                let (_, agents) = golden(world);
                at_rest(world).is_none_or(|lane| {
                    lane.agents.map(|agent| agent.seen) == agents && lane.taught == [1; COUNT]
                })
            }),
            Property::always(DURABLE, |_, world: &World| !world.is_wrongly_committed),
            Property::always(POSITION, |model: &Self, world: &World| {
                let restored = model.restored(&world.topic);
                let (stamp, held) = restored.marker.unwrap_or_default();
                restored.agents.iter().enumerate().all(|(key, agent)| {
                    let claimed = agent.ahead.unwrap_or((stamp.cut, held));
                    agent.seen == known(world, key, claimed) && !world.has_fallen
                })
            }),
            Property::sometimes(RESTS, |_, world: &World| {
                at_rest(world).is_some() && world.assignments > 1
            }),
            Property::sometimes(LATE, |_, world: &World| {
                world.topic.iter().flatten().any(|it| it.last != it.highest)
            }),
        ]
    }
}

/// The owner that has judged everything and whose alerts are all written.
fn at_rest(world: &World) -> Option<&Lane> {
    let worker = &world.workers[world.owner?];
    let lane = worker.lane.as_ref()?;
    let is_done = lane.next == EVENTS && lane.held == 0 && worker.alerts.is_empty();
    (is_done && lane.is_restored && lane.again.is_none()).then_some(lane)
}

pub(crate) const LOST: &str = "no alert is lost";
pub(crate) const BODY: &str = "an alert has one body";
pub(crate) const FINAL: &str = "what is known at the end is what one judge knows";
pub(crate) const DURABLE: &str = "what is committed is durable and never falls back";
pub(crate) const POSITION: &str = "each agent's record says what it claims and never falls back";
pub(crate) const RESTS: &str = "it comes to an end after a change of owner";
pub(crate) const LATE: &str = "an older record lands after a newer one";
