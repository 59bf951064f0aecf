//! One simulation from its first record to its rest: who is at work, and what happens to them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use toolwarden::event::Timestamp;
use toolwarden::kafka::PlainRecord;
use toolwarden::pipeline::clock;
use toolwarden::pipeline::epochs::entry::{Entry, Logged};
use toolwarden::pipeline::worker::Report;
use toolwarden::state::AgentKey;
use toolwarden::state::changelog::Restoring;
use toolwarden::state::codec::agent_to_bytes;

use crate::sim::input::Input;
use crate::sim::instance::{IDLE_AFTER, Instance};
use crate::sim::world::{
    ALERT_PARTITIONS, Broken, Everything, Killed, Met, PARTITIONS, SESSION_MS, World, lock,
};

/// Steps in which anything may happen.
const STEPS: u32 = 220;

/// Rounds after which everything must have come to rest: ten minutes.
const ROUNDS_MAX: u32 = 1_200;

/// A round of the end, in milliseconds.
const ROUND_MS: u64 = 500;

/// Rounds that nothing may change any more: longer than it takes to look for foreign records, and to
/// trust the lease again after the jump to the end.
const REST_ROUNDS: u32 = 60;

/// How a simulation goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) is_rough: bool,
    pub(crate) reorder_ns: i64,
    /// Wall clocks jump, whether anything else happens or not.
    pub(crate) clocks_jump: bool,
}

/// What it came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Alerts and changes, each once.
    pub(crate) alerts: BTreeSet<String>,
    pub(crate) audits: BTreeSet<String>,
    /// Records nobody could read.
    pub(crate) buried: BTreeSet<Vec<u8>>,
    pub(crate) agents: BTreeMap<AgentKey, Vec<u8>>,
    pub(crate) peers: String,
    /// Of each instance, up to when all calls have been judged.
    pub(crate) watermarks: Vec<Timestamp>,
}

/// What it came to, and what was met on the way.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) said: Said,
    pub(crate) wrongs: Vec<String>,
    pub(crate) met: Met,
    /// How often an alert was written again.
    pub(crate) repeats: usize,
    pub(crate) world: Everything,
}

/// A place where an instance runs, or did.
struct Slot {
    instance: Option<Instance>,
    /// Until when it stands still, or is gone.
    until_ms: u64,
    /// Steps it has left.
    fuse: Option<u32>,
}

struct Game<'a> {
    plan: Plan,
    world: Everything,
    slots: Vec<Slot>,
    lives: u64,
    input: std::slice::Iter<'a, Input>,
    /// Members of which the group will not hear any more, from then on, and when they learn of it.
    silent: Vec<(u64, u64, u64)>,
}

/// Plays it.
pub(crate) fn play(plan: Plan, broken: Broken, input: &[Input]) -> Outcome {
    fastrand::seed(plan.seed);
    let newest = input.iter().map(|it| it.appended).max().unwrap();
    let mut world = World::new(plan.seed, broken, plan.is_rough, newest.plus_secs(3_600));
    let members = Entry::Members(vec![("calls".into(), PARTITIONS)]);
    let payload = Some(Logged { writer: u64::MAX, entry: members }.to_bytes().unwrap());
    world.append(
        "groups",
        0,
        PlainRecord { key: Some(b"entry/0".to_vec()), payload, ..Default::default() },
    );
    let places = if plan.is_rough { world.random.usize(2..=3) } else { 1 };
    let world = Arc::new(Mutex::new(world));
    let slot = || Slot { instance: None, until_ms: 0, fuse: None };
    let slots = (0..places).map(|_| slot()).collect();
    let mut game = Game { plan, world, slots, lives: 0, input: input.iter(), silent: Vec::new() };
    if plan.is_rough || plan.clocks_jump {
        (0..STEPS).for_each(|_| game.step());
    }
    game.rest();
    if plan.is_rough {
        game.begin_anew();
    }
    let outcome = game.outcome();
    clock::show(None);
    outcome
}

impl Game<'_> {
    fn random<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut lock(&self.world).random)
    }

    fn now_ms(&self) -> u64 {
        lock(&self.world).now_ms
    }

    fn step(&mut self) {
        let passes = self
            .random(|it| if it.u32(..20) == 0 { it.u64(2_000..15_000) } else { it.u64(5..600) });
        lock(&self.world).now_ms += passes;
        for _ in 0..self.random(|it| it.usize(..2)) {
            self.feed();
        }
        self.pass();
        let mut order: Vec<usize> = (0..self.slots.len()).collect();
        self.random(|it| it.shuffle(&mut order));
        for place in order {
            if self.random(|it| it.u32(..4)) > 0 {
                self.turn(place);
            }
        }
        if self.plan.clocks_jump {
            self.jump();
        }
        if self.plan.is_rough && self.random(|it| it.u32(..7)) == 0 {
            let place = self.random(|it| it.usize(..self.slots.len()));
            self.misfortune(place);
        }
    }

    /// The next record of the source is appended, and what comes in one piece with it.
    fn feed(&mut self) {
        let Some(input) = self.input.next() else { return };
        self.append(input);
        while let Some(input) = self.input.as_slice().first().filter(|it| it.follows) {
            self.append(input);
            self.input.next();
        }
    }

    fn append(&self, input: &Input) {
        let record = PlainRecord {
            timestamp_ms: Some(input.appended.as_millis()),
            key: Some(input.key.clone().into_bytes()),
            payload: Some(input.value.clone().into_bytes()),
            ..PlainRecord::default()
        };
        lock(&self.world).append("calls", input.partition, record);
    }

    /// What the cluster does by itself.
    fn pass(&mut self) {
        let mut world = lock(&self.world);
        let now_ms = world.now_ms;
        world.arrive();
        world.tell();
        for (member, _, learns_ms) in
            self.silent.extract_if(.., |(_, from_ms, _)| *from_ms <= now_ms)
        {
            world.detect.give_up(member, learns_ms);
            world.deliver.give_up(member, learns_ms);
        }
        let world = &mut *world;
        if !world.is_rough || world.random.bool() {
            world.detect.balance(&mut world.random);
            world.deliver.balance(&mut world.random);
        }
        if world.once_in(30) {
            world.compact();
        }
        if world.once_in(60) {
            world.truncate();
        }
    }

    /// One turn of whoever is at this place, which may be its last.
    fn turn(&mut self, place: usize) {
        let now_ms = self.now_ms();
        let slot = &mut self.slots[place];
        if slot.until_ms > now_ms {
            return;
        }
        let reorder_ns = self.plan.reorder_ns;
        let Some(instance) = &mut slot.instance else {
            self.lives += 1;
            let ahead_ms =
                if self.plan.is_rough { lock(&self.world).random.i64(-500..500) } else { 0 };
            slot.instance = Some(Instance::start(&self.world, self.lives, (reorder_ns, ahead_ms)));
            return;
        };
        let life = instance.life;
        self.wake(place, life);
        let slot = &mut self.slots[place];
        let Some(instance) = &mut slot.instance else { return };
        lock(&self.world).fuse = slot.fuse;
        let turned = catch_unwind(AssertUnwindSafe(|| instance.turn()));
        slot.fuse = lock(&self.world).fuse.take();
        match turned {
            Ok(()) => {}
            Err(thrown) if thrown.is::<Killed>() => self.bury(place),
            Err(thrown) => resume_unwind(thrown),
        }
    }

    /// Somebody who stood still goes on. If others have its partitions by now, some of them die soon:
    /// before they can have seen what it wrote too late.
    fn wake(&mut self, place: usize, life: u64) {
        let mut world = lock(&self.world);
        let is_late = world.frozen.remove(&life)
            && world.detect.members.get(&life).is_some_and(|member| member.is_out);
        if !is_late || !world.is_rough {
            return;
        }
        if world.random.bool() {
            // It has not read yet what they have judged, and it has not heard of them either.
            world.truncate();
        }
        for (_, slot) in self.slots.iter_mut().enumerate().filter(|(other, _)| *other != place) {
            if world.random.bool() {
                slot.fuse = Some(world.random.u32(1..120));
            }
        }
    }

    fn bury(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        slot.fuse = None;
        let Some(instance) = slot.instance.take() else { return };
        let life = instance.life;
        drop(instance);
        let mut world = lock(&self.world);
        world.met.crashes += 1;
        world.bereave(life);
        let (now_ms, random) = (world.now_ms, &mut world.random);
        slot.until_ms = now_ms + random.u64(..20_000);
        self.silent.push((life, now_ms + random.u64(..=SESSION_MS), u64::MAX));
    }

    /// Something happens to whoever is at this place.
    fn misfortune(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        let mut world = lock(&self.world);
        let now_ms = world.now_ms;
        let Some(instance) = &mut slot.instance else { return };
        // Standing still is worst in the middle of a flush.
        let writes = world.in_flight(instance.life, "state") > 0;
        let kind = if writes && world.random.bool() { 2 } else { world.random.u32(..7) };
        match kind {
            0 | 1 => slot.fuse = Some(world.random.u32(1..80)),
            2 | 6 => {
                world.met.frozen += 1;
                let frozen = if world.random.bool() { 15_000 } else { 4 * SESSION_MS };
                slot.until_ms = now_ms + world.random.u64(1_000..frozen);
                world.frozen.insert(instance.life);
                if slot.until_ms > now_ms + SESSION_MS {
                    world.met.given_up += 1;
                    let learns_ms = slot.until_ms + world.random.u64(..5_000);
                    self.silent.push((instance.life, now_ms + SESSION_MS, learns_ms));
                }
            }
            3 => {
                world.met.given_up += 1;
                let learns_ms = now_ms + world.random.u64(..10_000);
                world.detect.give_up(instance.life, learns_ms);
                world.deliver.give_up(instance.life, learns_ms);
            }
            4 if world.random.bool() => {
                let away_ms = now_ms + world.random.u64(1_000..90_000);
                world.receiver.away_until_ms = away_ms;
            }
            4 => {
                let world = &mut *world;
                world.detect.shuffle(&mut world.random);
                world.deliver.shuffle(&mut world.random);
            }
            _ => {
                world.met.jumps += 1;
                instance.ahead_ms = *world.random.choice(&[-3_600_000, 3_600_000, 0, 700]).unwrap();
            }
        }
    }

    /// Of every other instance the wall clock shows another time.
    fn jump(&mut self) {
        let mut world = lock(&self.world);
        for instance in self.slots.iter_mut().filter_map(|it| it.instance.as_mut()) {
            if world.random.bool() {
                world.met.jumps += 1;
                instance.ahead_ms = *world.random.choice(&[-3_600_000, 3_600_000, 0]).unwrap();
            }
        }
    }

    /// No fault any more: everything is judged, written down, told, and comes to rest.
    fn rest(&mut self) {
        lock(&self.world).is_rough = false;
        while self.input.len() > 0 {
            self.feed();
        }
        for slot in &mut self.slots {
            (slot.until_ms, slot.fuse) = (0, None);
            if let Some(instance) = &mut slot.instance {
                instance.ahead_ms = 0;
            }
        }
        for (_, from_ms, _) in &mut self.silent {
            *from_ms = 0;
        }
        self.rounds((REST_ROUNDS, false));
        {
            let mut world = lock(&self.world);
            let end = Duration::from_secs(4 * 86_400) + IDLE_AFTER;
            world.now_ms = u64::try_from(end.as_millis()).unwrap();
            let wall = world.wall();
            world.stands_from = Some(wall.plus_secs(60));
        }
        self.rounds((REST_ROUNDS, true));
    }

    /// Everybody goes, and what the logs hold is compacted: whoever comes then knows what was known,
    /// and has nothing to tell.
    fn begin_anew(&mut self) {
        (0..self.slots.len()).for_each(|place| self.bury(place));
        lock(&self.world).compact();
        self.slots.iter_mut().for_each(|slot| slot.until_ms = 0);
        self.silent.iter_mut().for_each(|(_, from_ms, _)| *from_ms = 0);
        self.rounds((1, false));
        lock(&self.world).now_ms += u64::try_from(IDLE_AFTER.as_millis()).unwrap();
        self.rounds((REST_ROUNDS, true));
    }

    /// Rounds until for so many nothing was left to do; where idleness is wanted, also no time to pass.
    fn rounds(&mut self, (quiet, is_idle): (u32, bool)) {
        let mut settled = 0;
        for _ in 0..ROUNDS_MAX {
            lock(&self.world).now_ms += ROUND_MS;
            self.pass();
            (0..self.slots.len()).for_each(|place| self.turn(place));
            settled = if self.is_settled(is_idle) { settled + 1 } else { 0 };
            if settled >= quiet {
                return;
            }
        }
        let mut world = lock(&self.world);
        let words =
            format!("it does not come to rest: {:?}, {:?}", world.detect, world.deliver.committed);
        world.wrongs.push(words);
    }

    fn is_settled(&self, is_idle: bool) -> bool {
        let reports: Vec<Report> = self
            .slots
            .iter()
            .flat_map(|it| it.instance.as_ref())
            .flat_map(Instance::report)
            .collect();
        let owned: usize = reports.iter().map(|it| it.partitions.len()).sum();
        let rests = |it: &Report| it.restoring == 0 && (it.caught_up || !is_idle);
        if owned != usize::try_from(PARTITIONS).unwrap() || !reports.iter().all(rests) {
            return false;
        }
        let world = lock(&self.world);
        let is_done = |group: &crate::sim::world::Group, partitions: i32| {
            (0..partitions).all(|partition| {
                let high = world.logs[&(Arc::clone(&group.topic), partition)].high();
                group.committed.get(&partition).copied().unwrap_or(0) == high
            })
        };
        world.is_quiet()
            && is_done(&world.detect, PARTITIONS)
            && is_done(&world.deliver, ALERT_PARTITIONS)
    }

    fn outcome(self) -> Outcome {
        let mut said = Said::default();
        for partition in 0..PARTITIONS {
            let owner = lock(&self.world).detect.owners.get(&partition).copied();
            let mut running = self.slots.iter().filter_map(|it| it.instance.as_ref());
            let Some(owner) = running.find(|it| Some(it.life) == owner) else {
                lock(&self.world).wrongs.push(format!("partition {partition} is nobody's"));
                continue;
            };
            let known = owner.agents(partition);
            self.is_durable(partition, &known);
            said.agents.extend(known);
            said.peers = owner.peers();
        }
        let running = self.slots.iter().filter_map(|it| it.instance.as_ref());
        let reports = running.filter_map(Instance::report);
        said.watermarks = reports.flat_map(|it| it.watermarks.into_values()).collect();
        let mut world = lock(&self.world);
        let text = |record: &Arc<PlainRecord>| {
            String::from_utf8(record.payload.clone().unwrap_or_default()).unwrap()
        };
        let mut repeats = 0;
        for record in &world.told {
            match &*record.topic {
                "alerts" => repeats += usize::from(!said.alerts.insert(text(record))),
                "audit" => drop(said.audits.insert(text(record))),
                _ => drop(said.buried.insert(record.payload.clone().unwrap_or_default())),
            }
        }
        let (wrongs, met) = (std::mem::take(&mut world.wrongs), world.met);
        drop(world);
        Outcome { said, wrongs, met, repeats, world: self.world }
    }

    /// Whoever starts now knows what is known.
    fn is_durable(&self, partition: i32, known: &BTreeMap<AgentKey, Vec<u8>>) {
        let mut world = lock(&self.world);
        let mut restoring = Restoring::new("calls".into(), 1_000);
        for record in world.log("state", partition).records() {
            restoring.take(record.key.as_deref().unwrap(), record.payload.as_deref());
        }
        let restored = restoring.finish();
        let bytes = |agent: &toolwarden::state::changelog::RestoredAgent| {
            let key = AgentKey::from_ids(&agent.state.tenant_id, &agent.state.agent_id);
            (key, agent_to_bytes(&agent.state).unwrap())
        };
        let found: BTreeMap<AgentKey, Vec<u8>> = restored.agents.iter().map(bytes).collect();
        if found != *known || restored.refused + restored.missing > 0 {
            let words = format!("what is written of partition {partition} is not what is known");
            world.wrongs.push(words);
        }
    }
}
