//! One partition's judge beside a world that crashes: whatever is written, acknowledged, lost or
//! repeated, and wherever it stops, the alerts and the baselines are those of a judge that never
//! stopped. No Kafka: every fault is drawn from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toolwarden::event::{Position, Timestamp, ToolCall};
use toolwarden::kafka::{Ledger, OutgoingRecord, SourceEnds, Ticket};
use toolwarden::pipeline::epochs::kept::Kept;
use toolwarden::pipeline::flushing::Flushing;
use toolwarden::pipeline::journal::Lineage;
use toolwarden::pipeline::judge::tally::Tally;
use toolwarden::pipeline::judge::{Decision, Judge, Shared};
use toolwarden::pipeline::restore::go_on;
use toolwarden::state::admission::Room;
use toolwarden::state::changelog::{Marker, Restoring};
use toolwarden::state::codec::{self, Kind};
use toolwarden::state::{AgentKey, Agents, PartitionId};

use crate::foreign::judge_to_the_end;
use crate::order::history;
use crate::support::variable;

const PARTITION: PartitionId = PartitionId { topic: 0, partition: 0 };

/// What survives a crash.
#[derive(Default)]
struct World {
    /// The state topic, compacted.
    state: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// The alerts topic.
    alerts: Vec<String>,
    committed: Option<i64>,
    /// What stood on the board at each cut; the board is somebody else's to keep.
    boards: BTreeMap<Vec<u8>, Kept>,
    crashes: u32,
}

/// Records on their way to the broker.
#[derive(Default)]
struct OnTheWay {
    alerts: Vec<(String, Ticket)>,
    records: Vec<(OutgoingRecord, Ticket)>,
}

impl World {
    fn write(&mut self, record: &OutgoingRecord) {
        self.state.insert(record.key.clone(), record.payload.clone());
    }
}

/// What is judged, and how.
#[derive(Clone, Copy)]
struct Case {
    calls: &'static [ToolCall<'static>],
    reorder_ns: i64,
    room: Room,
}

impl Case {
    fn shared(&self) -> Shared {
        let agents = Arc::new(Agents::within(self.room));
        Shared { agents, ..crate::pipeline::shared(self.reorder_ns) }
    }
}

/// What one judge that never stops says of the calls, and what it knows at the end.
struct Golden {
    alerts: BTreeSet<String>,
    agents: BTreeMap<AgentKey, Vec<u8>>,
}

fn judge(shared: &Shared) -> Judge {
    Judge::new(shared.clone(), PARTITION, Arc::from("calls"))
}

fn keys(calls: &[ToolCall<'static>]) -> BTreeSet<AgentKey> {
    calls.iter().map(AgentKey::of).collect()
}

fn agents(shared: &Shared, calls: &[ToolCall<'static>]) -> BTreeMap<AgentKey, Vec<u8>> {
    let bytes = |key| shared.agents.read(key, |state| codec::agent_to_bytes(state).unwrap());
    keys(calls).into_iter().filter_map(|key| Some((key, bytes(key)?))).collect()
}

fn take(judge: &mut Judge, calls: &[ToolCall<'static>], offset: i64) -> bool {
    let Some(call) = usize::try_from(offset).ok().and_then(|at| calls.get(at)) else {
        return false;
    };
    judge.begin(offset);
    let position = Position { topic: "calls", partition: 0, offset, index: 0 };
    judge.hold(&ToolCall { position, ..call.clone() });
    judge.record_done(offset);
    judge.took(offset, || 7);
    true
}

fn golden(case: Case) -> (Golden, Tally) {
    let (calls, shared) = (case.calls, case.shared());
    let mut judge = judge(&shared);
    let mut alerts = BTreeSet::new();
    let mut sink = |decision: Decision| {
        alerts.insert(decision.alert.to_json());
    };
    for offset in 0.. {
        if !take(&mut judge, calls, offset) {
            break;
        }
        judge.judge_due(&mut sink);
    }
    judge.judge_all(&mut sink);
    judge.advance(Timestamp::MAX, &mut sink);
    let agents = agents(&shared, calls);
    (Golden { alerts, agents }, judge.tally())
}

/// One life of the process. Returns whether it came to the end of the calls.
fn live(world: &mut World, case: Case, golden: &Golden, random: &mut fastrand::Rng) -> bool {
    let calls = case.calls;
    let mut restoring = Restoring::new(Arc::from("calls"), 1_000);
    for (key, value) in &world.state {
        restoring.take(key, value.as_deref());
    }
    let restored = restoring.finish();
    assert_eq!((restored.refused, restored.missing), (0, 0), "{:?}", restored.first_refused);
    let end = i64::try_from(calls.len()).unwrap();
    let ends = SourceEnds {
        low: 0,
        high: end,
        committed: world.committed,
        partitions: 1,
        digest: Some(7),
    };
    let way = go_on(&restored, &ends, true);
    assert!(way.changes.is_empty(), "{way:?}");
    assert!(world.committed.is_none_or(|committed| committed <= way.from), "{way:?}");
    let shared = case.shared();
    if let Some(marker) = &restored.marker {
        let bytes = codec::seal(Kind::Marker, marker).unwrap();
        shared.board.restore(world.boards[&bytes].clone());
    }
    let lineage = Lineage {
        topic: Arc::from("calls"),
        log: way.log,
        owner: u64::from(world.crashes),
        partitions: 1,
    };
    let mut judge = judge(&shared);
    judge.take_up(restored, (way.from, way.is_same_log), lineage).unwrap();
    let ledger = Ledger::default();
    let mut flushing = Flushing::new(Arc::from("state"), 0);
    let mut way_out = OnTheWay::default();
    let mut next = way.from;
    let mut waits = random.bool();
    let mut hour = None;
    loop {
        let done = next >= end;
        match random.u32(..100) {
            0..50 if !done => {
                for _ in 0..random.u32(1..60) {
                    next += i64::from(take(&mut judge, calls, next));
                }
                let alerts = &mut way_out.alerts;
                let mut sink = |decision: Decision| {
                    alerts.push((decision.alert.to_json(), ledger.ticket(decision.offset)));
                };
                if !waits {
                    judge.judge_due(&mut sink);
                }
                // What peers do may come later than it did before a stop.
                waits = if waits { random.u32(..8) > 0 } else { random.u32(..8) == 0 };
            }
            50..65 => acknowledge(&mut way_out, world, random),
            65..72 if !flushing.is_under_way() => {
                if let Some(flush) = judge.begin_flush().unwrap() {
                    let marker = flush.marker.1.clone().unwrap();
                    let known: Marker = codec::open(Kind::Marker, &marker).unwrap();
                    assert_eq!(known.reached.next_offset, Some(next));
                    world.boards.insert(marker, shared.board.kept());
                    flushing.begin(flush);
                    hour = judge.watermark().map(Timestamp::hour);
                }
            }
            72..97 => {
                let records = &mut way_out.records;
                let mut send = |record, ticket| records.push((record, ticket));
                // Few at a time, so that agents change while others are being written.
                let more = || judge.write_on(random.usize(1..4));
                if let Some(flushed) = flushing.step(&ledger, more, &mut send) {
                    world.committed = Some(flushed.commit);
                    judge.is_written(hour, flushed.commit, false);
                }
            }
            97 if world.crashes < 12 => {
                world.crashes += 1;
                crash(way_out, world, random);
                return false;
            }
            _ => {}
        }
        if done && !flushing.is_under_way() && way_out.records.is_empty() {
            break;
        }
    }
    let mut sink = |decision: Decision| world.alerts.push(decision.alert.to_json());
    judge_to_the_end(&mut judge, &mut sink);
    judge.advance(Timestamp::MAX, &mut sink);
    world.alerts.extend(way_out.alerts.into_iter().map(|(alert, _)| alert));
    let known = agents(&shared, calls);
    let differ = golden.agents.iter().filter(|(key, bytes)| known.get(key) != Some(*bytes));
    assert_eq!(differ.count(), 0, "agents that are known otherwise");
    assert_eq!(known.len(), golden.agents.len(), "agents that were forgotten and are back");
    true
}

/// The broker has some of what is on the way, in any order.
fn acknowledge(way_out: &mut OnTheWay, world: &mut World, random: &mut fastrand::Rng) {
    random.shuffle(&mut way_out.alerts);
    random.shuffle(&mut way_out.records);
    for _ in 0..random.usize(..=way_out.alerts.len()) {
        let Some((alert, ticket)) = way_out.alerts.pop() else { break };
        world.alerts.push(alert);
        ticket.settle();
    }
    for _ in 0..random.usize(..=way_out.records.len()) {
        let Some((record, ticket)) = way_out.records.pop() else { break };
        world.write(&record);
        ticket.settle();
    }
}

/// What was on the way has arrived or not, and nobody heard of it.
fn crash(way_out: OnTheWay, world: &mut World, random: &mut fastrand::Rng) {
    for (alert, _) in way_out.alerts {
        if random.bool() {
            world.alerts.push(alert);
        }
    }
    for (record, _) in way_out.records {
        if random.bool() {
            world.write(&record);
        }
    }
}

fn seeds() -> u64 {
    variable("TOOLWARDEN_CRASH_SEEDS").map_or(25, |seeds| seeds.parse().unwrap())
}

fn survive(case: Case, seeds: u64) -> Tally {
    let (golden, tally) = golden(case);
    assert!(golden.alerts.len() > 4, "{:?}", golden.alerts);
    let (mut crashes, mut repeated) = (0, 0);
    for seed in 0..seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::default();
        while !live(&mut world, case, &golden, &mut random) {}
        let told: BTreeSet<String> = world.alerts.iter().cloned().collect();
        let lost: Vec<_> = golden.alerts.difference(&told).collect();
        let other: Vec<_> = told.difference(&golden.alerts).collect();
        let first = (lost.first(), other.first());
        assert!(lost.is_empty() && other.is_empty(), "seed {seed}: lost and new {first:#?}");
        crashes += world.crashes;
        repeated += world.alerts.len() - told.len();
    }
    assert!(crashes > 0 && repeated > 0, "{crashes} crashes and {repeated} repeats prove nothing");
    tally
}

#[test]
fn a_judge_that_crashes_anywhere_says_and_knows_what_one_does_that_never_stops() {
    survive(Case { calls: history(), reorder_ns: 0, room: Room::only(1_000) }, seeds());
}

#[test]
fn so_does_one_that_holds_calls_for_their_order() {
    survive(
        Case { calls: history(), reorder_ns: 30_000_000_000, room: Room::only(1_000) },
        seeds(),
    );
}

/// Far fewer places than agents.
const NARROW: Room = Room {
    agents: 1_000,
    per_partition: 14,
    per_tenant: 8,
    yield_after_secs: 12 * 3_600,
    forget_after_secs: 9 * 86_400,
};

/// Forty days of three tenants: agents that are at work every day, some that stop for good or for a
/// fortnight, and many that come once, twice or for an hour.
fn comers_and_goers() -> &'static [ToolCall<'static>] {
    static CALLS: std::sync::OnceLock<Vec<ToolCall<'static>>> = std::sync::OnceLock::new();
    CALLS.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(7);
        let mut drawn: Vec<(i64, &str, String)> = Vec::new();
        for day in 0..40_i64 {
            let mut at = |hours: std::ops::Range<i64>| {
                (day * 24 + random.i64(hours)) * 3_600 + random.i64(0..3_600)
            };
            for staff in 0..5 {
                let away = staff == 3 && day > 13 || staff == 4 && (12..27).contains(&day);
                let tenant = if staff < 3 { "acme" } else { "globex" };
                for _ in 0..if away { 0 } else { 22 } {
                    drawn.push((at(8..18), tenant, format!("staff@{staff}")));
                }
            }
            for guest in 0..12 {
                let tenant = ["acme", "acme", "globex", "umbrella"][guest % 4];
                // Some come back on another day.
                let name = format!("guest-{}@1", (day * 5 + i64::try_from(guest).unwrap()) % 90);
                let first = at(0..24);
                for call in 0..i64::try_from(guest % 4).unwrap() + 1 {
                    drawn.push((first + call * 40, tenant, name.clone()));
                }
            }
        }
        drawn.sort();
        let call = |(n, (secs, tenant, agent)): (usize, (i64, &'static str, String))| ToolCall {
            time: Timestamp::from_secs(1_772_323_200 + secs),
            tenant_id: tenant.into(),
            agent_id: agent.into(),
            session_id: format!("s{}", secs / 1_800).into(),
            call_id: format!("c{n}").into(),
            tool_name: ["read", "search", "write"][n % 3].into(),
            ..ToolCall::default()
        };
        drawn.into_iter().enumerate().map(call).collect()
    })
}

fn survive_in_narrow_room(reorder_ns: i64) {
    let case = Case { calls: comers_and_goers(), reorder_ns, room: NARROW };
    let tally = survive(case, seeds().div_ceil(3));
    assert!(tally.yielded > 50 && tally.forgotten > 1 && tally.unjudged > 50, "{tally:?}");
}

#[test]
fn row_25_what_was_forgotten_stays_forgotten_wherever_it_stops() {
    survive_in_narrow_room(0);
}

#[test]
fn row_25_so_does_what_holds_calls_for_their_order() {
    survive_in_narrow_room(30_000_000_000);
}
