//! Calls in any order within the lateness, in batches of any size, over any number of workers, and
//! with a stop in the middle from which only bytes survive: the alerts are the same to the byte.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use fastrand::Rng;
use serde_json::Value;
use toolwarden::config::{RuleSource, load_rules};
use toolwarden::decode::{self, Format, Item, Record};
use toolwarden::event::{Position, Timestamp, ToolCall};
use toolwarden::generate::{Anomaly, Planted, Scenario, Traffic, Work};
use toolwarden::pipeline::baselines::{self, Bounds};
use toolwarden::pipeline::epochs::PeerBoard;
use toolwarden::pipeline::judge::{Decision, Judge, Shared};
use toolwarden::pipeline::verdicts::VerdictBoard;
use toolwarden::policy::{Limits, Rules};
use toolwarden::state::{Agents, PartitionId};

/// Orders drawn, each with its own number of workers, batches, and place of the stop.
const ORDERS: u64 = 200;

const BOUNDS: Bounds = Bounds { agents: 1_000, tools: 1_000 };

/// Four agents of one product over four days; on the last one something happens to each of four.
fn scenario() -> Scenario {
    let planted = [
        (Anomaly::RunawayLoop, "code-assistant-0@0000", 13 * 60 + 5),
        (Anomaly::OffHours, "code-assistant-0@0001", 2 * 60 + 10),
        (Anomaly::NewTools, "code-assistant-0@0002", 10 * 60 + 20),
        (Anomaly::ErrorStorm, "code-assistant-0@0003", 11 * 60),
    ];
    let mut quiet = Scenario::company(4, 4, 5);
    if let Traffic::Products(products) = &mut quiet.traffic {
        for product in products {
            product.work = Work::Sessions { a_day: 3, calls: 50.0 };
        }
    }
    planted.into_iter().fold(quiet, |scenario, (kind, agent, minute)| {
        let (tenant_id, agent_id) = ("acme".to_owned(), agent.to_owned());
        scenario.with(Planted { kind, tenant_id, agent_id, day: 3, minute })
    })
}

/// The calls in order of their time.
pub(crate) fn history() -> &'static [ToolCall<'static>] {
    static HISTORY: OnceLock<Vec<ToolCall<'static>>> = OnceLock::new();
    HISTORY.get_or_init(|| {
        let options = decode::Options { format: Format::Native, ..decode::Options::default() };
        let mut calls = Vec::new();
        let mut json = Vec::new();
        for generated in scenario().events() {
            json.clear();
            generated.event.write_json(&mut json);
            let record = Record {
                position: Position { topic: "calls", partition: 0, offset: 0, index: 0 },
                append_time: Timestamp::MAX,
                key: None,
                content_type: None,
                payload: Some(&json),
            };
            decode::decode(&record, &options, &mut |item| match item {
                Item::Call(call) => calls.push(call.into_owned("calls")),
                other => panic!("{other:?}"),
            });
        }
        calls
    })
}

fn shared(rules: &Arc<Rules>) -> Shared {
    let lateness_ns = i64::try_from(Limits::default().lateness.as_nanos()).unwrap();
    Shared {
        rules: Arc::clone(rules),
        agents: Arc::new(Agents::new(1_000)),
        board: PeerBoard::default(),
        verdicts: VerdictBoard::default(),
        reorder_ns: lateness_ns,
        lateness_ns,
    }
}

/// One partition: its records in the order of their arrival, and its judge.
struct Lane {
    judge: Judge,
    /// Indexes into the history; the place in this list is the offset.
    records: Vec<usize>,
    next: usize,
    is_done: bool,
}

/// An instance: workers over partitions, and what they have told.
struct Instance {
    rules: Arc<Rules>,
    shared: Shared,
    lanes: Vec<Lane>,
    told: Vec<String>,
}

fn judge(shared: &Shared, index: usize) -> Judge {
    let id = PartitionId { topic: 0, partition: i32::try_from(index).unwrap() };
    Judge::new(shared.clone(), id, Arc::from("calls"))
}

impl Instance {
    fn new(rules: &Arc<Rules>, records: Vec<Vec<usize>>) -> Self {
        let shared = shared(rules);
        let lane = |(index, records)| Lane {
            judge: judge(&shared, index),
            records,
            next: 0,
            is_done: false,
        };
        let lanes = records.into_iter().enumerate().map(lane).collect();
        Self { rules: Arc::clone(rules), shared, lanes, told: Vec::new() }
    }

    /// A worker takes in at most `batch` records of one partition and judges what is due.
    fn step(&mut self, lane: usize, batch: usize) {
        let Self { lanes, told, .. } = self;
        let lane = &mut lanes[lane];
        let end = (lane.next + batch).min(lane.records.len());
        for place in lane.next..end {
            let call = &history()[lane.records[place]];
            let offset = i64::try_from(place).unwrap();
            let partition = lane.judge.partition().partition;
            let position = Position { topic: "calls", partition, offset, index: 0 };
            lane.judge.hold(&ToolCall { position, ..call.borrowed() });
            lane.judge.record_done(offset);
        }
        lane.next = end;
        let mut sink = |decision: Decision| told.push(decision.alert.to_json());
        if end < lane.records.len() {
            lane.judge.judge_due(&mut sink);
        } else if lane.judge.judge_all(&mut sink) && !lane.is_done {
            lane.judge.set_idle(true);
            lane.is_done = true;
        }
    }

    /// Works in any order until `stop` says so or everything is judged.
    fn work(&mut self, rng: &mut Rng, batch_max: usize, stop_after: usize) {
        let mut taken = 0;
        while taken < stop_after && self.lanes.iter().any(|lane| !lane.is_done) {
            let (lane, batch) = (rng.usize(..self.lanes.len()), rng.usize(1..=batch_max));
            let before = self.lanes[lane].next;
            self.step(lane, batch);
            taken += self.lanes[lane].next - before;
        }
    }

    /// Stops, keeping nothing but bytes, and starts again from them.
    fn restart(self) -> Self {
        let bytes = self.written();
        let shared = shared(&self.rules);
        let kept = baselines::read(bytes.as_slice(), BOUNDS).unwrap();
        shared.board.restore(kept.board);
        let mut lanes = Vec::new();
        for (index, (old, kept)) in self.lanes.into_iter().zip(kept.partitions).enumerate() {
            let mut judge = judge(&shared, index);
            let next = kept.reached.read_from().map_or(0, |at| usize::try_from(at).unwrap());
            kept.into_judge(&shared, &mut judge).unwrap();
            judge.set_idle(old.is_done);
            lanes.push(Lane { judge, records: old.records, next, is_done: old.is_done });
        }
        let again = Self { rules: self.rules, shared, lanes, told: self.told };
        assert!(again.written() == bytes, "what was read is written otherwise");
        again
    }

    fn written(&self) -> Vec<u8> {
        let judges: Vec<&Judge> = self.lanes.iter().map(|lane| &lane.judge).collect();
        let mut bytes = Vec::new();
        baselines::write(&self.shared, &judges, String::new(), &mut bytes).unwrap();
        bytes
    }

    /// Lets event time run out and gives all that was told, in order, by place in the history.
    fn end(mut self) -> Vec<String> {
        let Self { lanes, told, .. } = &mut self;
        for lane in lanes.iter_mut() {
            let mut sink = |decision: Decision| told.push(decision.alert.to_json());
            lane.judge.advance(Timestamp::MAX, &mut sink);
        }
        let mut told: Vec<String> =
            self.told.iter().map(|alert| placed(&self.lanes, alert)).collect();
        told.sort_unstable();
        told
    }
}

/// The alert with places in the history instead of positions, each of them the right one.
fn placed(lanes: &[Lane], alert: &str) -> String {
    let mut alert: Value = serde_json::from_str(alert).unwrap();
    let place = |call: &mut Value| {
        let lane = &lanes[usize::try_from(call["partition"].as_u64().unwrap()).unwrap()];
        let index = lane.records[usize::try_from(call["offset"].as_u64().unwrap()).unwrap()];
        assert_eq!(call["call_id"], *history()[index].call_id);
        call["partition"] = 0.into();
        call["offset"] = index.into();
    };
    alert["evidence"].as_array_mut().unwrap().iter_mut().for_each(place);
    alert.get_mut("trigger").map(place);
    alert.to_string()
}

/// The records of each partition, agents spread and arrival drawn by `rng`.
fn arriving(rng: &mut Rng, partitions: usize, disorder_ns: i64) -> Vec<Vec<usize>> {
    let mut arrivals: Vec<(i64, u64, usize)> = (0..)
        .zip(history())
        .map(|(index, call)| (call.time.as_nanos() + rng.i64(0..=disorder_ns), rng.u64(..), index))
        .collect();
    arrivals.sort_unstable();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut records = vec![Vec::new(); partitions];
    for (_, _, index) in arrivals {
        let agent = &*history()[index].agent_id;
        let place = *places.entry(agent).or_insert_with(|| rng.usize(..partitions));
        records[place].push(index);
    }
    records
}

#[test]
fn two_hundred_orders_batches_worker_counts_and_restarts_give_the_same_alerts() {
    let rules = Arc::new(load_rules(&RuleSource::default()).unwrap().rules);
    let all = history().len();
    let mut straight = Instance::new(&rules, vec![(0..all).collect()]);
    straight.work(&mut Rng::with_seed(0), 100, usize::MAX);
    let expected = straight.end();
    for rule in ["repeat.loop", "new_tool.burst", "unusual_hour.activity", "errors.burst"] {
        assert!(expected.iter().any(|alert| alert.contains(rule)), "{rule} told nothing");
    }
    // Four threads, because nothing is shared.
    let went_on: usize = std::thread::scope(|scope| {
        let rules = &rules;
        let expected = &expected;
        let quarter = |first| {
            scope.spawn(move || {
                let seeds = (first..=ORDERS).step_by(4);
                seeds.filter(|seed| holds(rules, expected, *seed)).count()
            })
        };
        let threads: Vec<_> = (1..=4).map(quarter).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(went_on > 180, "only {went_on} had calls left to judge after the stop");
}

/// Judges the history in one drawn way and compares; returns whether calls were judged after the
/// stop.
fn holds(rules: &Arc<Rules>, expected: &[String], seed: u64) -> bool {
    let mut rng = Rng::with_seed(seed);
    let all = history().len();
    let workers = [1, 4, 16][rng.usize(..3)];
    let batch_max = [1, 7, 60, 1_000][rng.usize(..4)];
    let lateness_ns = i64::try_from(rules.limits.lateness.as_nanos()).unwrap();
    let records = arriving(&mut rng, workers, lateness_ns);
    let mut instance = Instance::new(rules, records);
    let stop_after = rng.usize(1..all - all / 10);
    instance.work(&mut rng, batch_max, stop_after);
    let mut instance = instance.restart();
    instance.work(&mut rng, batch_max, usize::MAX);
    let judged: u64 = instance.lanes.iter().map(|lane| lane.judge.tally().judged).sum();
    let found = instance.end();
    let first = found.iter().zip(expected).find(|(found, expected)| found != expected);
    assert!(first.is_none(), "seed {seed}, {workers} workers, batches of {batch_max}: {first:#?}");
    assert_eq!(found.len(), expected.len(), "seed {seed}");
    judged > 0
}
