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
use toolwarden::pipeline::judge::{Decision, Judge, Shared};
use toolwarden::pipeline::restore::go_on;
use toolwarden::state::changelog::{Marker, Restoring};
use toolwarden::state::codec::{self, Kind};
use toolwarden::state::{AgentKey, PartitionId};

use crate::order::history;
use crate::pipeline::shared;
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

fn golden(calls: &[ToolCall<'static>], reorder_ns: i64) -> Golden {
    let shared = shared(reorder_ns);
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
    Golden { alerts, agents }
}

/// One life of the process. Returns whether it came to the end of the calls.
fn live(
    world: &mut World,
    (calls, reorder_ns): (&[ToolCall<'static>], i64),
    golden: &Golden,
    random: &mut fastrand::Rng,
) -> bool {
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
    let shared = shared(reorder_ns);
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
                judge.judge_due(&mut sink);
            }
            50..65 => acknowledge(&mut way_out, world, random),
            65..72 if !flushing.is_under_way() => {
                if let Some(flush) = judge.flush().unwrap() {
                    let marker = flush.marker.1.clone().unwrap();
                    let known: Marker = codec::open(Kind::Marker, &marker).unwrap();
                    assert_eq!(known.reached.next_offset, Some(next));
                    world.boards.insert(marker, shared.board.kept());
                    flushing.begin(flush);
                }
            }
            72..97 => {
                let records = &mut way_out.records;
                let mut send = |record, ticket| records.push((record, ticket));
                if let Some(flushed) = flushing.step(&ledger, &mut send) {
                    world.committed = Some(flushed.commit);
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
    judge.judge_all(&mut sink);
    judge.advance(Timestamp::MAX, &mut sink);
    world.alerts.extend(way_out.alerts.into_iter().map(|(alert, _)| alert));
    let known = agents(&shared, calls);
    let differ = golden.agents.iter().filter(|(key, bytes)| known.get(key) != Some(*bytes));
    assert_eq!(differ.count(), 0, "agents that are known otherwise");
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

fn survive(reorder_ns: i64) {
    let calls = history();
    let golden = golden(calls, reorder_ns);
    assert!(golden.alerts.len() > 4, "{:?}", golden.alerts);
    let (mut crashes, mut repeated) = (0, 0);
    for seed in 0..seeds() {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::default();
        while !live(&mut world, (calls, reorder_ns), &golden, &mut random) {}
        let told: BTreeSet<String> = world.alerts.iter().cloned().collect();
        let lost: Vec<_> = golden.alerts.difference(&told).collect();
        let other: Vec<_> = told.difference(&golden.alerts).collect();
        assert!(lost.is_empty() && other.is_empty(), "seed {seed}: lost {lost:#?}, new {other:#?}");
        crashes += world.crashes;
        repeated += world.alerts.len() - told.len();
    }
    assert!(crashes > 0 && repeated > 0, "{crashes} crashes and {repeated} repeats prove nothing");
}

#[test]
fn a_judge_that_crashes_anywhere_says_and_knows_what_one_does_that_never_stops() {
    survive(0);
}

#[test]
fn so_does_one_that_holds_calls_for_their_order() {
    survive(30_000_000_000);
}
