//! A process that was frozen writes what it knew after its successor has written more: nothing that
//! is known goes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use toolwarden::baseline::peers::{Fact, GroupKey};
use toolwarden::event::{Position, Timestamp, ToolCall};
use toolwarden::pipeline::journal::{Flush, Lineage, StateRecord};
use toolwarden::pipeline::judge::{Decision, Judge, Shared};
use toolwarden::state::admission::Passages;
use toolwarden::state::changelog::{
    Lesson, Marker, Restored, Restoring, Snapshot, snapshot_to_bytes,
};
use toolwarden::state::codec::{self, Kind};
use toolwarden::state::foreign::{self, Findings};
use toolwarden::state::{AgentKey, PartitionId};

use crate::calls::looping;
use crate::kafka_broker::Broker;
use crate::order::history;
use crate::pipeline::shared;
use crate::running::{Running, Settings, Stored, produce, read, wait_for};

/// The state topic after compaction.
pub(crate) type Topic = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn restored(records: &Topic) -> Restored {
    let mut restoring = Restoring::new(Arc::from("calls"), 1_000);
    records.iter().for_each(|(key, value)| restoring.take(key, value.as_deref()));
    restoring.finish()
}

/// An owner that goes on from what stands in `records`.
pub(crate) fn owner(records: &Topic, number: u64) -> (Shared, Judge) {
    ordering_owner(records, number, 0)
}

/// The same, which holds calls for so long.
fn ordering_owner(records: &Topic, number: u64, reorder_ns: i64) -> (Shared, Judge) {
    let shared = shared(reorder_ns);
    let partition = PartitionId { topic: 0, partition: 0 };
    let mut judge = Judge::new(shared.clone(), partition, Arc::from("calls"));
    let restored = restored(records);
    let from = restored.marker.as_ref().and_then(|it| it.reached.read_from()).unwrap_or(0);
    let lineage = Lineage { topic: Arc::from("calls"), log: 0, owner: number, partitions: 1 };
    judge.take_up(restored, (from, true), lineage).unwrap();
    (shared, judge)
}

/// Judges the calls before `to` and writes down what is known.
pub(crate) fn go(judge: &mut Judge, calls: &[ToolCall<'static>], to: usize) -> Vec<StateRecord> {
    take(judge, calls, to);
    judge_to_the_end(judge, &mut |_| {});
    flushed(judge)
}

/// Judges every call held, as if what was judged were written down whenever it has to be.
pub(crate) fn judge_to_the_end(judge: &mut Judge, sink: &mut dyn FnMut(Decision)) {
    while !judge.judge_all(sink) && judge.is_held_back() {
        pretend_it_is_written(judge);
    }
}

/// The same with those whose turn has come.
fn judge_due(judge: &mut Judge) {
    loop {
        judge.judge_due(&mut |_| {});
        if !judge.is_held_back() {
            return;
        }
        pretend_it_is_written(judge);
    }
}

fn pretend_it_is_written(judge: &mut Judge) {
    let hour = judge.watermark().map(Timestamp::hour);
    judge.is_written(hour, judge.judged_offset().unwrap(), false);
}

fn take(judge: &mut Judge, calls: &[ToolCall<'static>], to: usize) {
    let from = usize::try_from(judge.next_offset().unwrap_or(0)).unwrap();
    for (at, call) in calls.iter().enumerate().take(to).skip(from) {
        let offset = i64::try_from(at).unwrap();
        judge.begin(offset);
        let position = Position { topic: "calls", partition: 0, offset, index: 0 };
        judge.hold(&ToolCall { position, ..call.clone() });
        judge.record_done(offset);
        judge.took(offset, || 7);
    }
}

fn flushed(judge: &mut Judge) -> Vec<StateRecord> {
    let Flush { mut records, marker, .. } = judge.flush().unwrap().unwrap();
    records.push(marker);
    records
}

/// Every agent as it would come back.
fn known(records: &Topic) -> BTreeMap<AgentKey, Vec<u8>> {
    states(restored(records))
}

fn states(restored: Restored) -> BTreeMap<AgentKey, Vec<u8>> {
    let agents = restored.agents.into_iter();
    agents
        .map(|agent| {
            let key = AgentKey::from_ids(&agent.state.tenant_id, &agent.state.agent_id);
            (key, codec::agent_to_bytes(&agent.state).unwrap())
        })
        .collect()
}

/// A log in which a frozen owner's records land after its successor's, and the successor.
fn overtaken() -> (Topic, Vec<StateRecord>, Judge) {
    let calls = history();
    let mut topic = Topic::new();
    let (_first, mut frozen) = owner(&topic, 1);
    topic.extend(go(&mut frozen, calls, calls.len() / 3));
    let queued = go(&mut frozen, calls, calls.len() / 2);
    let (_second, mut next) = owner(&topic, 2);
    topic.extend(go(&mut next, calls, calls.len()));
    (topic, queued, next)
}

#[test]
fn row_07_a_zombies_snapshot_after_a_newer_one_survives_compaction_only_until_it_is_healed() {
    let (mut topic, queued, mut next) = overtaken();
    let before = known(&topic);
    topic.extend(queued.clone());
    assert_ne!(known(&topic), before, "without healing, what is known goes back");
    // The successor sees, between its own records, those that are not its own.
    let records = (0_i64..).zip(&queued).filter_map(|(offset, (key, value))| {
        foreign::foreign("calls", offset, key, value.as_deref())
    });
    let Findings { heal, successor } = foreign::judge(2, records);
    assert_eq!((heal.len(), successor), (queued.len(), None));
    heal.iter().for_each(|record| next.write_anew(record.touched));
    topic.extend(flushed(&mut next));
    assert_eq!(known(&topic), before);
    let again = restored(&topic);
    assert_eq!((again.refused, again.missing, again.owner), (0, 0, 2));
}

#[test]
fn row_07_a_successor_that_still_holds_a_call_does_not_hide_the_zombie_that_judged_it() {
    let calls = history();
    let (third, end) = (calls.len() / 3, calls.len() / 3 + 40);
    let mut topic = Topic::new();
    let (_first, mut frozen) = owner(&topic, 1);
    topic.extend(go(&mut frozen, calls, third));
    let queued = go(&mut frozen, calls, end);
    let mut golden = topic.clone();
    golden.extend(queued.clone());
    // The successor has come as far, and waits for calls that may still come.
    let (_second, mut next) = ordering_owner(&topic, 2, 30_000_000_000);
    take(&mut next, calls, end);
    judge_due(&mut next);
    assert!(next.held() > 0);
    let mut written = flushed(&mut next);
    // It stops before its marker; the zombie's whole flush has landed meanwhile.
    written.pop();
    let mut restoring = Restoring::new(Arc::from("calls"), 1_000);
    let log = topic.into_iter().chain(queued).chain(written);
    log.for_each(|(key, value)| restoring.take(&key, value.as_deref()));
    let found = restoring.finish();
    let from = found.marker.as_ref().and_then(|it| it.reached.read_from());
    assert_eq!(from, i64::try_from(end).ok(), "the zombie held nothing");
    assert_eq!(states(found), known(&golden));
}

#[test]
fn row_07_a_zombie_that_took_more_in_and_held_it_does_not_hide_the_successor_that_judged_more() {
    let calls = history();
    let (third, end) = (calls.len() / 3, calls.len() / 3 + 40);
    let mut topic = Topic::new();
    let (_first, mut owner_before) = owner(&topic, 1);
    topic.extend(go(&mut owner_before, calls, third));
    let (_second, mut frozen) = ordering_owner(&topic, 2, 30_000_000_000);
    take(&mut frozen, calls, end);
    judge_due(&mut frozen);
    assert!(frozen.held() > 0);
    let queued = flushed(&mut frozen);
    // The successor has taken in fewer calls and judged more of them.
    let (_third, mut next) = owner(&topic, 3);
    let written = go(&mut next, calls, end - 1);
    topic.extend(written.clone());
    let golden = topic.clone();
    let mut restoring = Restoring::new(Arc::from("calls"), 1_000);
    let log = topic.into_iter().chain(queued);
    log.for_each(|(key, value)| restoring.take(&key, value.as_deref()));
    let found = restoring.finish();
    let from = found.marker.as_ref().and_then(|it| it.reached.read_from());
    assert_eq!(from, i64::try_from(end - 1).ok(), "the successor's marker");
    assert_eq!(states(found), known(&golden));
}

#[test]
fn the_frozen_owner_learns_from_its_successors_records_that_it_is_none_any_more() {
    let (topic, ..) = overtaken();
    let records = (0_i64..).zip(&topic).filter_map(|(offset, (key, value))| {
        foreign::foreign("calls", offset, key, value.as_deref())
    });
    let successor = foreign::judge(1, records).successor.unwrap();
    assert_eq!(successor.stamp.unwrap().owner, 2);
}

#[test]
fn what_an_older_record_stands_over_at_restore_is_named_so_that_it_is_written_anew() {
    let (topic, queued, _next) = overtaken();
    let mut restoring = Restoring::new(Arc::from("calls"), 1_000);
    // Not compacted yet: both are there.
    topic.iter().for_each(|(key, value)| restoring.take(key, value.as_deref()));
    queued.iter().for_each(|(key, value)| restoring.take(key, value.as_deref()));
    let restored = restoring.finish();
    let agents = queued.iter().filter(|(key, _)| key.starts_with(b"agent/")).count();
    assert!(agents > 0 && restored.overwritten.len() >= agents, "{:?}", restored.overwritten);
    assert!(restored.overwritten.iter().all(|it| it.stamp.unwrap().owner == 1));
}

#[test]
fn an_agents_record_with_bytes_behind_it_is_none() {
    let (topic, ..) = overtaken();
    let of_agent = |(key, _): &(&Vec<u8>, &Option<Vec<u8>>)| key.starts_with(b"agent/");
    let (key, value) = topic.iter().find(of_agent).unwrap();
    let longer = [value.as_deref().unwrap(), &[0]].concat();
    let mut restoring = Restoring::new(Arc::from("calls"), 1_000);
    restoring.take(key, Some(&longer));
    let restored = restoring.finish();
    assert_eq!((restored.refused, restored.agents.len()), (1, 0));
    assert_eq!(foreign::foreign("calls", 0, key, Some(&longer)).unwrap().stamp, None);
}

#[test]
fn an_older_record_of_another_process_is_found_and_written_anew_beside_a_real_kafka() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings {
        more: "state: {flush_interval: 100ms}".to_owned(),
        ..Settings::new(broker.bootstrap(), "foreign-writes")
    };
    broker.create_topic(settings.calls(), 1, &[]);
    let calls = looping("worker", "2026-03-02T10:00:00Z", 40);
    let others = looping("other", "2026-03-02T10:10:00Z", 1);
    let running = Running::start(&settings);
    produce(broker.bootstrap(), settings.calls(), &calls);
    running.wait_until_judged(calls.len());
    let newest = || -> Option<(Stored, Snapshot)> {
        let records = read(broker.bootstrap(), &settings.state());
        let agents = records.into_iter().filter(|it| it.key.starts_with(b"agent/"));
        agents
            .filter_map(|it| {
                let snapshot: Snapshot =
                    codec::open(Kind::Snapshot, it.payload.as_deref().unwrap_or_default()).ok()?;
                (snapshot.state.agent_id.as_ref() == "worker").then_some((it, snapshot))
            })
            .next_back()
    };
    let (record, ours) = wait_for("all of it is written", || {
        newest().filter(|(_, snapshot)| snapshot.stamp.cut >= 40)
    });
    let mut stamp = ours.stamp;
    stamp.owner -= 1;
    stamp.cut -= 20;
    let older = snapshot_to_bytes(stamp, &[], (&[], &ours.passages), &ours.state).unwrap();
    let foreign = Stored { payload: Some(older), ..record };
    produce(broker.bootstrap(), &settings.state(), &[foreign]);
    assert_eq!(newest().unwrap().1.stamp, stamp, "the older record stands last");
    produce(broker.bootstrap(), settings.calls(), &others);
    let healed = wait_for("it is written anew", || {
        newest().filter(|(_, snapshot)| snapshot.stamp.owner == ours.stamp.owner)
    });
    assert!(healed.1.stamp > ours.stamp && healed.1.state == ours.state);
    running.wait_until("it is counted", |it| it.sum("state_foreign_writes_total", &[]) >= 1.0);
}

/// Time passes with a call before its peers are known: hours close, and the call is held. Whoever
/// judged it and stopped before its marker says again what fell due then.
#[test]
fn row_01_what_fell_due_with_a_call_that_the_marker_holds_is_taught_once() {
    let (_, mut judge) = owner(&Topic::new(), 1);
    let mut topic: Topic = go(&mut judge, history(), 40).into_iter().collect();
    let place = (39, 0);
    let mut lesson = Lesson { place, epoch: 0, group: GroupKey(7), fact: Fact::Agent };
    let mut closed = 0;
    for value in topic.values_mut().flatten() {
        if let Ok(mut marker) = codec::open::<Marker>(Kind::Marker, value) {
            closed = marker.reached.closed.unwrap();
            marker.reached.held = vec![place];
            *value = codec::seal(Kind::Marker, &marker).unwrap();
        }
    }
    let agent = topic.values_mut().flatten().find_map(|value| {
        let snapshot = codec::open::<Snapshot>(Kind::Snapshot, value).ok()?;
        Some((value, snapshot))
    });
    let (value, Snapshot { mut stamp, state, .. }) = agent.unwrap();
    stamp.flush += 1;
    let mut lessons = Vec::new();
    for epoch in [closed, closed + 1] {
        lesson.epoch = epoch;
        lessons.push(lesson.clone());
    }
    *value = snapshot_to_bytes(stamp, &[], (&lessons, &Passages::default()), &state).unwrap();
    let restored = restored(&topic);
    let taught =
        |epoch| restored.taught.get(&epoch).is_some_and(|it| it.contains_key(&GroupKey(7)));
    assert!(!taught(closed), "it was handed out with the hour that is closed");
    assert!(taught(closed + 1), "the marker knows nothing of it");
    assert_eq!(restored.agents.iter().map(|it| it.lessons.len()).sum::<usize>(), 1);
}
