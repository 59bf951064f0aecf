//! Tests of single cases of boards that follow one log; what may happen in any order is
//! `log`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::baseline::peers::Fact;
use crate::event::{HOUR_NS, Timestamp};
use crate::kafka::Ledger;
use crate::pipeline::epochs::board::Outcome;
use crate::pipeline::epochs::entry::{Entry, Logged, PART_BYTES, Report};
use crate::pipeline::epochs::follower::Follower;
use crate::pipeline::epochs::kept::Kept;
use crate::pipeline::epochs::link::{Link, LogSink as _};
use crate::pipeline::epochs::snapshot::{FROM_ELSEWHERE, Snapshot};
use crate::pipeline::epochs::tests::log::{GROUP, MemoryLog, Node, outcomes, source};
use crate::pipeline::epochs::{EpochLog, PeerBoard, Post};
use crate::state::PartitionId;

fn id(partition: i32) -> PartitionId {
    PartitionId { topic: 0, partition }
}

fn at(hour: i64) -> Timestamp {
    Timestamp::from_nanos(hour * HOUR_NS)
}

/// A log in which `partitions` are waited for, and two instances that have read it.
fn world(partitions: i32) -> (MemoryLog, Node, Node) {
    let log = MemoryLog::default();
    log.push(1, Entry::Members(vec![(Arc::from("calls"), partitions)]));
    let [mut one, mut two] = [1, 2].map(|writer| Node::new(&log, writer, u64::MAX));
    one.read_all();
    two.read_all();
    (log, one, two)
}

/// A judge that has taken its partition over and may begin.
fn judge(node: &mut Node, partition: i32) -> (Post, EpochLog) {
    let post = node.board.join(id(partition));
    node.read_all();
    let mut log = EpochLog::default();
    assert!(node.board.is_joined(post, &mut log));
    (post, log)
}

/// Teaches one agent in each of these hours and is done with them.
fn teach(node: &Node, post: Post, log: &mut EpochLog, hours: &[i64]) {
    for hour in hours {
        log.note(*hour, GROUP, &Fact::Agent);
        if let Some(closed) = log.close(at(hour + 1), 0) {
            node.board.publish(post, log, closed, *hour);
        }
    }
}

#[test]
fn a_report_counts_when_it_is_read_back_and_holds_its_offset_until_then() {
    let (_, mut one, _) = world(1);
    let (post, mut log) = judge(&mut one, 0);
    let ledger = Ledger::default();
    one.board.guard(post, ledger.clone());
    teach(&one, post, &mut log, &[5]);
    assert_eq!(one.agents_upto(5), None);
    assert_eq!(ledger.lowest_open(), Some(5));
    one.read_all();
    assert_eq!(one.agents_upto(5), Some(1));
    assert_eq!(ledger.lowest_open(), None);
}

#[test]
fn nothing_is_judged_before_the_partition_is_taken_over() {
    let (_, mut one, _) = world(1);
    let post = one.board.join(id(0));
    let mut log = EpochLog::default();
    assert!(!one.board.is_joined(post, &mut log));
    one.read_all();
    assert!(one.board.is_joined(post, &mut log));
}

#[test]
fn a_partition_that_nobody_has_taken_is_waited_for_until_an_entry_leaves_it_out() {
    let (log, mut one, mut two) = world(2);
    let (post, mut taught) = judge(&mut one, 0);
    teach(&one, post, &mut taught, &[5]);
    one.read_all();
    assert_eq!(one.agents_upto(5), None, "the other partition may have records");
    assert!(one.board.leave_out_laggards(5).is_empty(), "it is said, and counts when it is read");
    assert_eq!(one.agents_upto(5), None);
    // Whoever waits says it once in a while, not all the time.
    assert!(one.board.leave_out_laggards(5).is_empty());
    let said = log.records().len();
    let steps = one.read_all();
    assert_eq!(outcomes(&steps), [Outcome::LeftOut(vec![source(1)])]);
    two.read_all();
    for node in [&one, &two] {
        assert_eq!(node.agents_upto(5), Some(1));
    }
    // Somebody else has waited as long: it changes nothing.
    log.push(2, Entry::LeftOut { epoch: 5, sources: vec![source(0), source(1)] });
    assert_eq!(log.records().len(), said + 1);
    assert_eq!(outcomes(&one.read_all()), [Outcome::Repeated]);
    // What it teaches late counts in the next hour, and then it is waited for again.
    let (late, mut lately) = judge(&mut two, 1);
    teach(&two, late, &mut lately, &[4, 5]);
    teach(&one, post, &mut taught, &[6]);
    one.read_all();
    assert_eq!((one.agents_upto(5), one.agents_upto(6)), (Some(1), None));
    teach(&two, late, &mut lately, &[6]);
    one.read_all();
    assert_eq!((one.agents_upto(5), one.agents_upto(6)), (Some(1), Some(5)));
}

#[test]
fn whoever_had_the_partition_before_is_not_heard_any_more() {
    let (_, mut one, mut two) = world(1);
    let (before, mut zombie) = judge(&mut one, 0);
    zombie.note(5, GROUP, &Fact::Agent);
    let (post, mut log) = judge(&mut two, 0);
    // The one before does not know yet.
    one.board.rest(before, &mut zombie, (1, at(5)), 0);
    teach(&two, post, &mut log, &[5]);
    let steps = two.read_all();
    assert_eq!(outcomes(&steps), [Outcome::Stale, Outcome::Applied]);
    assert_eq!(two.agents_upto(5), Some(1));
    one.read_all();
    assert_eq!(one.standing(), two.standing());
}

#[test]
fn a_record_that_was_lost_is_told_again_in_its_order() {
    let (_, mut one, _) = world(1);
    let (post, mut log) = judge(&mut one, 0);
    one.log.loses.store(true, Ordering::Relaxed);
    teach(&one, post, &mut log, &[5]);
    one.log.loses.store(false, Ordering::Relaxed);
    teach(&one, post, &mut log, &[6]);
    assert_eq!(outcomes(&one.read_all()), [Outcome::Early], "the hour before is missing");
    assert_eq!(one.agents_upto(6), None);
    one.read_all();
    one.read_all();
    assert_eq!((one.agents_upto(5), one.agents_upto(6)), (Some(1), Some(2)));
    assert_eq!(one.board.with_log(|_, link, _| link.waiting()), Some(0));
}

#[test]
fn whoever_is_overtaken_and_still_there_after_a_while_takes_the_partition_back() {
    let (log, _, mut two) = world(1);
    let mut one = Node::new(&log, 1, u64::MAX);
    let link = Link::new(Box::new(one.log.clone()), 1, Arc::from([Arc::from("calls")]));
    one.board = PeerBoard::default();
    let link = link.taking_back_after(Duration::ZERO);
    drop(one.board.follow(link, Follower::default()));
    one.read_all();
    let (post, mut taught) = judge(&mut one, 0);
    // A record of somebody who was frozen comes late; his clock was ahead.
    log.push(3, Entry::Took { source: source(0), owner: u64::MAX - 9 });
    one.read_all();
    teach(&one, post, &mut taught, &[5]);
    for _ in 0..3 {
        one.read_all();
    }
    two.read_all();
    assert_eq!(two.agents_upto(5), Some(1));
    assert_eq!(one.board.with_log(|_, link, _| link.waiting()), Some(0));
}

#[test]
fn entries_that_are_damaged_foreign_or_newer_are_refused_and_change_nothing() {
    let (log, mut one, _) = world(1);
    let before = one.standing();
    let good = Logged { writer: 1, entry: Entry::Took { source: source(0), owner: 9 } };
    let good = good.to_bytes().unwrap();
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let mut newer = good.clone();
    newer[4] = 99;
    let cut = &good[..good.len() - 3];
    let foreign = b"somebody else's".as_slice();
    for (number, bytes) in [damaged.as_slice(), &newer, cut, foreign, b""].iter().enumerate() {
        let key = format!("entry/bad/{number}");
        log.append(key.as_bytes(), Some(bytes));
    }
    let refused = outcomes(&one.read_all());
    assert_eq!(refused.len(), 5);
    for outcome in &refused {
        let Outcome::Refused(words) = outcome else { panic!("{outcome:?}") };
        assert!(words.starts_with("the record at offset "), "{words}");
    }
    assert_eq!(one.standing(), before);
    // A report whose bytes are none is passed over, and what comes after it is heard.
    let took = Entry::Took { source: source(0), owner: 9 };
    let part = |seq, bytes| Entry::Part { source: source(0), owner: 9, seq, more: false, bytes };
    log.push(1, took);
    log.push(1, part(0, vec![1, 2, 3]));
    log.push(1, part(1, Report::default().to_parts(PART_BYTES).unwrap().concat()));
    let outcomes = outcomes(&one.read_all());
    assert!(matches!(
        outcomes.as_slice(),
        [Outcome::Applied, Outcome::Refused(_), Outcome::Applied]
    ));
}

/// What stands on the board once a partition has told of many tools, in a log that takes so many
/// bytes a record, and what the log took.
fn told_of_many_tools(bytes_max: usize) -> (Kept, usize) {
    let (records, mut one, mut two) = world(1);
    let (post, mut log) = judge(&mut one, 0);
    let ledger = Ledger::default();
    one.board.guard(post, ledger.clone());
    one.log.bytes_max.store(bytes_max, Ordering::Relaxed);
    for hour in 5..8 {
        for number in 0..90_u64 {
            // What does not compress.
            let tool = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let fact = Fact::Tool { tool, agent: tool ^ 7, hour, began: true };
            log.note(hour, GROUP, &fact);
        }
        // They come one behind the other, and none has been read back when the next one is sent.
        let closed = log.close(at(hour + 1), 0).unwrap();
        one.board.publish(post, &mut log, closed, hour);
    }
    for _ in 0..20 {
        one.read_all();
    }
    assert!(ledger.is_empty(), "{bytes_max}: something is held back");
    two.read_all();
    assert_eq!(one.standing(), two.standing());
    (one.board.kept(), records.records().len())
}

#[test]
fn row_18_reports_larger_than_the_log_takes_arrive_in_smaller_parts_and_hold_nothing_back() {
    let (whole, records) = told_of_many_tools(0);
    let (split, more) = told_of_many_tools(600);
    assert_eq!(split, whole);
    assert!(more > records + 3, "{more} records instead of {records}");
}

#[test]
fn what_was_learned_elsewhere_is_taken_up_where_nothing_is_known_and_nowhere_else() {
    let (_, mut one, _) = world(1);
    let (post, mut log) = judge(&mut one, 0);
    teach(&one, post, &mut log, &[1, 2, 3]);
    one.read_all();
    let elsewhere = Snapshot { kept: one.board.kept(), ..Snapshot::default() };
    let new = MemoryLog::default();
    let [mut three, mut four] = [3, 4].map(|writer| Node::new(&new, writer, u64::MAX));
    three.append_snapshot(FROM_ELSEWHERE, &elsewhere, 4);
    // Another instance starts at the same moment and brings the same.
    four.append_snapshot(FROM_ELSEWHERE, &elsewhere, 1);
    three.read_all();
    four.read_all();
    assert_eq!(three.board.kept(), elsewhere.kept);
    assert_eq!(three.standing(), four.standing());
    let before = one.standing();
    one.append_snapshot(FROM_ELSEWHERE, &Snapshot::default(), 1);
    one.read_all();
    assert_eq!(one.standing(), before);
}

#[test]
fn a_partition_that_came_back_at_rest_tells_once_what_it_had_handed_out() {
    let (_, mut one, mut two) = world(1);
    let (post, mut log) = judge(&mut one, 0);
    log.note(5, GROUP, &Fact::Agent);
    one.board.rest(post, &mut log, (1, at(5)), 0);
    // It stops; the next one goes on from the beginning and reads all of it again.
    let (post, mut log) = judge(&mut two, 0);
    assert_eq!(log.told_until(0), None, "the first call is read again");
    log.note(5, GROUP, &Fact::Agent);
    assert_eq!(log.told_until(1), Some(at(5)), "the second one is new");
    log.all_told();
    log.note(5, GROUP, &Fact::Agent);
    let closed = log.close(at(6), 0).unwrap();
    two.board.publish(post, &mut log, closed, 1);
    two.read_all();
    assert_eq!(two.agents_upto(5), Some(2));
}

#[test]
fn a_log_that_was_replaced_is_noticed() {
    let (_, mut one, _) = world(1);
    let step = one.board.read(0, b"entry/other", Some(b"x"));
    assert!(step.replaced);
    one.read_all();
}
