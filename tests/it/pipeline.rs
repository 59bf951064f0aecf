//! One history, many ways to read it: in any order within the allowed disorder, over any number of
//! partitions, in chunks of any size, from any kind of file. The judgement is the same. No Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use fastrand::Rng;
use proptest::prelude::*;
use serde_json::Value;
use toolwarden::alert::{AUDIT_SCHEMA, Alert, AuditKind, AuditRecord};
use toolwarden::decode::{self, Format, Item, Record};
use toolwarden::event::{Position, Timestamp, ToolCall};
use toolwarden::generate::{Anomaly, Generated, Planted, Scenario};
use toolwarden::pipeline::epochs::PeerBoard;
use toolwarden::pipeline::judge::{Judge, Shared};
use toolwarden::pipeline::replay::{Replay, Summary};
use toolwarden::pipeline::verdicts::VerdictBoard;
use toolwarden::policy::{Limits, Rules};
use toolwarden::state::{Agents, PartitionId};

use crate::running::alerts_without_positions;
use crate::shipped;
use crate::support::succeed;

/// Ten agents in groups of peers, nine days, and on the last one something of each kind.
pub(crate) fn scenario() -> Scenario {
    let planted = [
        (Anomaly::RunawayLoop, "code-assistant-0@0000", 13 * 60 + 5),
        (Anomaly::RateBurst, "billing-agent-1@0004", 15 * 60 + 40),
        (Anomaly::NewTools, "research-agent-2@0008", 10 * 60 + 20),
        (Anomaly::OffHours, "code-assistant-0@0001", 2 * 60 + 10),
    ];
    planted.into_iter().fold(Scenario::company(10, 9, 3), |scenario, (kind, agent, minute)| {
        let (tenant_id, agent_id) = ("acme".to_owned(), agent.to_owned());
        scenario.with(Planted { kind, tenant_id, agent_id, day: 8, minute })
    })
}

/// The calls of [`scenario`]: time, key and line.
pub(crate) fn history() -> &'static [(Timestamp, String, Vec<u8>)] {
    static HISTORY: OnceLock<Vec<(Timestamp, String, Vec<u8>)>> = OnceLock::new();
    HISTORY.get_or_init(|| {
        let line = |Generated { event, .. }: Generated| {
            let mut json = Vec::new();
            event.write_json(&mut json);
            (event.time, event.key(), json)
        };
        scenario().events().map(line).collect()
    })
}

fn rules() -> &'static Rules {
    static RULES: OnceLock<Rules> = OnceLock::new();
    RULES.get_or_init(|| {
        Rules::from_raw(shipped::rules().into_iter().map(|(_, rule)| rule).collect()).unwrap()
    })
}

pub(crate) fn shared(reorder_ns: i64) -> Shared {
    let lateness_ns = i64::try_from(Limits::default().lateness.as_nanos()).unwrap();
    Shared {
        rules: Arc::new(rules().clone()),
        agents: Arc::new(Agents::new(1_000)),
        board: PeerBoard::default(),
        verdicts: VerdictBoard::default(),
        reorder_ns,
        lateness_ns,
    }
}

const THIRTY_SECONDS: i64 = 30_000_000_000;

fn replayed(input: impl Read) -> (Vec<String>, Summary) {
    let options = decode::Options { format: Format::Native, ..decode::Options::default() };
    let mut alerts = Vec::new();
    let mut take = |alert: Alert| alerts.push(alert.to_json());
    let mut replay = Replay::new(shared(THIRTY_SECONDS), options, Timestamp::MAX);
    replay.read("calls", &mut BufReader::new(input), &mut take).unwrap();
    let summary = replay.finish(&mut take);
    (alerts, summary)
}

fn lines<'a>(calls: impl IntoIterator<Item = &'a (Timestamp, String, Vec<u8>)>) -> Vec<u8> {
    let mut text = Vec::new();
    for (_, _, line) in calls {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text
}

/// What a replay of the history in its own order says, positions and all.
fn plainly() -> &'static (Vec<String>, Vec<String>) {
    static PLAIN: OnceLock<(Vec<String>, Vec<String>)> = OnceLock::new();
    PLAIN.get_or_init(|| {
        let (alerts, summary) = replayed(&*lines(history()));
        assert_eq!(summary.judged, u64::try_from(history().len()).unwrap());
        let told: BTreeMap<_, _> = summary.opened.iter().collect();
        for rule in ["repeat.loop", "call_rate.burst", "new_tool.burst", "unusual_hour.activity"] {
            assert!(
                told.iter().any(|(id, (_, paged))| *id == rule && *paged > 0),
                "{rule}: {told:?}"
            );
        }
        let bare = in_order(&alerts);
        (alerts, bare)
    })
}

/// The same alerts in the same order, positions aside.
fn in_order(alerts: &[String]) -> Vec<String> {
    let bare = |alert: &String| alerts_without_positions([parsed(alert)]).remove(0);
    alerts.iter().map(bare).collect()
}

fn sorted(alerts: &[String]) -> Vec<String> {
    alerts_without_positions(alerts.iter().map(|alert| parsed(alert)))
}

fn parsed(alert: &str) -> Value {
    serde_json::from_str(alert).unwrap()
}

#[test]
fn any_arrival_within_thirty_seconds_gives_the_same_alerts_in_the_same_order() {
    for seed in 0..32 {
        let mut rng = Rng::with_seed(seed);
        let mut arriving: Vec<_> = history()
            .iter()
            .map(|call| (call.0.as_nanos() + rng.i64(0..=THIRTY_SECONDS), rng.u64(..), call))
            .collect();
        arriving.sort_by_key(|(arrival, tie, _)| (*arrival, *tie));
        let text = lines(arriving.iter().map(|(_, _, call)| *call));
        assert!(text != lines(history()), "seed {seed} moved nothing");
        let (alerts, summary) = replayed(&*text);
        assert_eq!((summary.late, summary.duplicate), (0, 0), "seed {seed}");
        assert!(in_order(&alerts) == plainly().1, "seed {seed} gives other alerts");
    }
}

/// One partition: its records to come, and its judge.
struct Lane<'a> {
    judge: Judge,
    calls: std::collections::VecDeque<(i64, ToolCall<'a>)>,
    done: bool,
}

/// Judges the history over so many partitions, by key, the partitions taken in any order.
fn judged_over(partitions: usize, seed: u64) -> Vec<String> {
    let shared = shared(0);
    let mut rng = Rng::with_seed(seed);
    let id = |index: usize| PartitionId { topic: 0, partition: i32::try_from(index).unwrap() };
    let lane = |index| Lane {
        judge: Judge::new(shared.clone(), id(index), Arc::from("calls")),
        calls: std::collections::VecDeque::new(),
        done: false,
    };
    let mut lanes: Vec<Lane<'_>> = (0..partitions).map(lane).collect();
    // Keys are spread by the seed, so that peers meet and part.
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let options = decode::Options { format: Format::Native, ..decode::Options::default() };
    for (offset, (_, key, line)) in (0_i64..).zip(history()) {
        let place = *places.entry(key).or_insert_with(|| rng.usize(..partitions));
        let partition = i32::try_from(place).unwrap();
        let position = Position { topic: "calls", partition, offset, index: 0 };
        let record = Record {
            position,
            append_time: Timestamp::MAX,
            key: None,
            content_type: None,
            payload: Some(line),
        };
        decode::decode(&record, &options, &mut |item| match item {
            Item::Call(call) => lanes[place].calls.push_back((offset, call.into_owned("calls"))),
            other => panic!("{other:?}"),
        });
    }
    let mut alerts = Vec::new();
    let mut sink = |decision: toolwarden::pipeline::judge::Decision| {
        alerts.push(decision.alert.to_json());
    };
    let mut blocked = 0_u64;
    while lanes.iter().any(|lane| !lane.done) {
        let lane = &mut lanes[rng.usize(..partitions)];
        let batch = rng.usize(1..400);
        for (offset, call) in lane.calls.drain(..batch.min(lane.calls.len())) {
            lane.judge.hold(&call);
            lane.judge.record_done(offset);
        }
        if !lane.calls.is_empty() {
            lane.judge.judge_due(&mut sink);
            blocked += u64::from(lane.judge.waits_for().is_some() && lane.judge.held() > 1);
        } else if lane.judge.judge_all(&mut sink) {
            lane.judge.set_idle(true);
            lane.done = true;
        }
    }
    assert!(partitions == 1 || blocked > 0, "nobody ever had to wait: the test tests nothing");
    for lane in &mut lanes {
        lane.judge.advance(Timestamp::MAX, &mut sink);
    }
    let judged: u64 = lanes.iter().map(|lane| lane.judge.tally().judged).sum();
    assert_eq!(judged, u64::try_from(history().len()).unwrap());
    alerts
}

#[test]
fn the_number_of_partitions_and_the_order_they_are_read_in_change_no_alert() {
    let expected = sorted(&plainly().0);
    for (partitions, seeds) in [(1, 0..2), (4, 2..10), (16, 10..18)] {
        for seed in seeds {
            let found = sorted(&judged_over(partitions, seed));
            assert!(found == expected, "{partitions} partitions, seed {seed}: other alerts");
        }
    }
}

/// A reader that hands out what it has in pieces of any size.
struct Dribble<'a> {
    rest: &'a [u8],
    rng: Rng,
    most: usize,
}

impl Read for Dribble<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let size = self.rng.usize(1..=self.most).min(into.len()).min(self.rest.len());
        let (now, rest) = self.rest.split_at(size);
        into[..size].copy_from_slice(now);
        self.rest = rest;
        Ok(size)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_size_of_the_pieces_read_changes_no_byte(seed in any::<u64>(), most in 1_usize..70_000) {
        let text = lines(history());
        let (alerts, _) = replayed(Dribble { rest: &text, rng: Rng::with_seed(seed), most });
        prop_assert!(alerts == plainly().0);
    }
}

#[test]
fn a_replay_that_ends_without_a_line_end_misses_nothing() {
    let mut text = lines(history());
    text.pop();
    assert!(replayed(&*text).0 == plainly().0);
}

fn file(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
    // Positions name the file, so it has the same name in every directory.
    let directory = directory.join(name);
    fs::create_dir(&directory).unwrap();
    let path = directory.join("calls");
    fs::write(&path, content).unwrap();
    path
}

fn replay(path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    command.args(["replay", "--output", "ndjson"]).arg(path);
    command
}

#[test]
fn plain_gzip_zstd_and_standard_input_are_the_same_calls() {
    let directory = tempfile::tempdir().unwrap();
    let text = lines(history());
    let plain = file(directory.path(), "plain", &text);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Two members, as `cat a.gz b.gz` gives.
    gzip.write_all(&text[..text.len() / 2]).unwrap();
    let mut packed = gzip.finish().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&text[text.len() / 2..]).unwrap();
    packed.extend(gzip.finish().unwrap());
    let gzip = file(directory.path(), "gzip", &packed);
    let zstd = zstd::encode_all(&*text, 1).unwrap();
    let zstd = file(directory.path(), "zstd", &zstd);

    let expected = succeed(&mut replay(&plain));
    assert!(
        expected.lines().eq(plainly().0.iter().map(String::as_str)),
        "the library says otherwise"
    );
    assert!(succeed(&mut replay(&gzip)) == expected, "gzip");
    assert!(succeed(&mut replay(&zstd)) == expected, "zstd");
    let input = Stdio::from(File::open(&plain).unwrap());
    let said = succeed(replay(Path::new("-")).stdin(input));
    let said: Vec<String> = said.lines().map(str::to_owned).collect();
    assert!(in_order(&said) == plainly().1, "standard input");
}

/// The records of changes that a replay of `path` writes.
fn audited(path: &Path, to: &Path) -> String {
    succeed(replay(path).arg("--audit").arg(to));
    fs::read_to_string(to).unwrap()
}

#[test]
fn a_replay_writes_what_changed_in_what_is_known_and_the_same_twice() {
    let directory = tempfile::tempdir().unwrap();
    let plain = file(directory.path(), "plain", &lines(history()));
    let text = audited(&plain, &directory.path().join("first"));
    assert!(text == audited(&plain, &directory.path().join("second")), "not the same twice");
    let records: Vec<AuditRecord> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind| records.iter().filter(|record| record.kind == kind).count();
    let agents: BTreeSet<_> = records.iter().map(|record| &record.agent_id).collect();
    assert!(of(AuditKind::LearningCompleted) >= 1, "{text}");
    assert!(of(AuditKind::LearningCompleted) <= agents.len(), "an agent learned twice");
    for record in &records {
        assert_eq!((&*record.schema, &*record.position.topic), (AUDIT_SCHEMA, "calls"));
        let (_, key, _) = &history()[usize::try_from(record.position.offset).unwrap()];
        assert!(key.ends_with(&record.agent_id), "{record:?} is not a call of {key}");
    }
}
