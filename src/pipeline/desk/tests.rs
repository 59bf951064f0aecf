use super::*;

use std::time::Duration;

use crate::config::{RuleSource, load_rules};
use crate::event::{Operation, ToolCall};
use crate::kafka::{ClientSettings, History};
use crate::pipeline::judge::tests::shared;
use crate::pipeline::past::Past;
use crate::telemetry::BuildInfo;

/// The burst of the history begins at this offset.
const PAST_BURST: i64 = 480;
/// The burst that is live begins at this one.
const LIVE_BURST: i64 = 510;
const END: i64 = 540;

fn desk() -> Desk {
    let metrics = Metrics::new(&BuildInfo::default());
    of_sources(&metrics, Arc::from([]))
}

fn of_sources(metrics: &Metrics, sources: Arc<[Source]>) -> Desk {
    // Nobody listens there: what is sent stays open.
    let client = ClientSettings { brokers: vec!["127.0.0.1:1".into()], ..Default::default() };
    let outbox = Outbox::new(&client, 1_000, metrics).unwrap();
    let settings = WorkerSettings {
        session_timeout: Duration::from_secs(30),
        index: 0,
        workers: 1,
        alerts: "alerts".into(),
        dead_letter: "dead-letter".into(),
        audit: "audit".into(),
        commit_interval: Duration::ZERO,
        peers_wait: Duration::ZERO,
        idle_after: Duration::ZERO,
        held_max: 1_000,
        stalled_after: Duration::from_secs(300),
        reorder: Duration::ZERO,
        learn_from: None,
        flush_timeout: Duration::ZERO,
    };
    Desk::new(&settings, sources, outbox, metrics)
}

fn lane() -> Lane {
    let name = TopicPartition { topic: "calls".into(), partition: 0 };
    let id = PartitionId { topic: 0, partition: 0 };
    Lane::new(shared(), id, name, Ledger::default())
}

/// Four days of work, a burst of an unknown tool on the fifth, and later one of another.
fn call(offset: i64) -> ToolCall<'static> {
    let (secs, tool) = match offset {
        0..PAST_BURST => {
            (offset / 120 * 86_400 + 32_400 + offset % 120 * 240, format!("tool-{}", offset % 10))
        }
        PAST_BURST..LIVE_BURST => (381_600 + (offset - PAST_BURST) * 30, "wire".to_owned()),
        _ => (388_800 + (offset - LIVE_BURST) * 30, "export".to_owned()),
    };
    ToolCall {
        time: Timestamp::from_secs(1_767_571_200 + secs),
        tenant_id: "acme".into(),
        agent_id: "helper@1".into(),
        call_id: offset.to_string().into(),
        tool_name: tool.into(),
        operation: Operation::Write,
        position: Position { topic: "calls", partition: 0, offset, index: 0 },
        ..ToolCall::default()
    }
}

/// Judges everything below `end`.
fn judge(desk: &mut Desk, lane: &mut Lane, end: i64) {
    for offset in lane.judge.next_offset().unwrap_or(0)..end {
        lane.judge.begin(offset);
        lane.judge.hold(&call(offset));
        lane.judge.record_done(offset);
        desk.judge(lane, true);
    }
}

fn learning() -> Lane {
    let mut lane = lane();
    let mut past = Past::wanted();
    let history =
        History { begins: Some(0), oldest: 0, end: LIVE_BURST, committed: Some(LIVE_BURST) };
    past.begin(past.plan(&history, true), Timestamp::from_secs(0));
    lane.past = past;
    lane.pin(LIVE_BURST);
    lane
}

#[test]
fn a_live_partition_tells_of_all_of_it() {
    let (mut desk, mut lane) = (desk(), lane());
    judge(&mut desk, &mut lane, END);
    assert!(lane.ledger.lowest_open().is_some_and(|open| open < LIVE_BURST));
}

#[test]
fn nothing_of_a_history_is_told_or_finished_and_what_comes_after_it_is_told() {
    let (mut desk, mut lane) = (desk(), learning());
    judge(&mut desk, &mut lane, LIVE_BURST - 1);
    assert!(lane.ledger.is_empty(), "{:?}", lane.ledger.lowest_open());
    assert!(lane.go_live().is_none() && lane.newly_finished().is_none());
    judge(&mut desk, &mut lane, LIVE_BURST);
    assert!(lane.ledger.is_empty() && lane.newly_finished().is_none());
    let learned = lane.go_live().unwrap();
    assert!(learned.untold > 0, "the burst of the history is meant to be found");
    assert_eq!(lane.judge.tally().judged, 510, "it was learned from");
    judge(&mut desk, &mut lane, END);
    let open = lane.ledger.lowest_open().unwrap();
    assert!((LIVE_BURST..END).contains(&open), "the live burst is told: {open}");
    assert_eq!(lane.newly_finished(), (open > LIVE_BURST).then_some(open));
}

#[test]
fn a_partition_that_looks_for_its_history_is_not_idle_and_finishes_nothing() {
    let mut lane = lane();
    lane.past = Past::wanted();
    assert!(!lane.past.takes(7) && lane.newly_finished().is_none() && !lane.is_idle());
}

/// A partition that starts over has a lane of its own name again, whose judge begins at nothing.
#[test]
fn what_a_partition_judged_is_counted_once_also_when_it_starts_over() {
    let metrics = Metrics::new(&BuildInfo::default());
    let (topic, counters) = ("calls".into(), metrics.source("calls"));
    let source =
        Source { topic, options: decode::Options::default(), origins: None, metrics: counters };
    let mut desk = of_sources(&metrics, Arc::from([source.clone()]));
    let rules = load_rules(&RuleSource::default()).unwrap().rules;
    let mut lanes = BTreeMap::new();
    for end in [30, 20, 20] {
        let mut lane = lane();
        judge(&mut desk, &mut lane, end);
        let id = lane.judge.partition();
        lanes.insert(id, lane);
        desk.count(&rules, &mut lanes);
        desk.count(&rules, &mut lanes);
    }
    assert_eq!(source.metrics.processed.get(), 70);
}
