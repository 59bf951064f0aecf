//! Tests of the board without a log, and of what a partition publishes.

mod cases;
mod flood;
mod log;

use std::sync::Arc;

use crate::baseline::peers::{EPOCHS_BEHIND, Fact, GroupKey};
use crate::baseline::session::LiveSession;
use crate::event::{HOUR_NS, Timestamp};
use crate::pipeline::epochs::board::{Needs, Room, VERSIONS_MAX};
use crate::pipeline::epochs::{EpochLog, PeerBoard, Post};
use crate::state::PartitionId;

const GROUP: GroupKey = GroupKey(7);

fn id(partition: i32) -> PartitionId {
    PartitionId { topic: 0, partition }
}

/// A board of two partitions, each of which has taught one agent in each of these epochs.
fn board(taught: [&[i64]; 2]) -> PeerBoard {
    let board = PeerBoard::default();
    for (partition, epochs) in taught.iter().enumerate() {
        let post = board.join(id(i32::try_from(partition).unwrap()));
        publish(&board, post, epochs);
    }
    board
}

/// The post of a partition; without a log its number does not matter.
fn post(partition: i32) -> Post {
    Post { partition: id(partition), number: 0 }
}

fn publish(board: &PeerBoard, post: Post, epochs: &[i64]) {
    let mut log = EpochLog::default();
    for epoch in epochs {
        log.note(*epoch, GROUP, &Fact::Agent);
    }
    let Some(last) = epochs.iter().max() else { return };
    let after = Timestamp::from_nanos((last + 1) * HOUR_NS);
    let closed = log.close(after, 0).unwrap();
    board.publish(post, &mut log, closed, 0);
}

fn agents(board: &PeerBoard, epoch: i64) -> Option<u64> {
    Some(board.peers(epoch)?.group(GROUP).map_or(0, |group| group.agents))
}

#[test]
fn an_epoch_is_known_once_every_partition_is_done_with_it() {
    let board = board([&[1, 2], &[1]]);
    assert_eq!(agents(&board, 1), Some(2));
    assert_eq!(agents(&board, 2), None);
    publish(&board, post(1), &[2]);
    assert_eq!(agents(&board, 2), Some(4));
}

#[test]
fn an_older_epoch_is_answered_as_it_was_known() {
    let board = board([&[1, 2], &[1, 2]]);
    assert_eq!(agents(&board, 2), Some(4));
    assert_eq!(agents(&board, 1), Some(2));
}

#[test]
fn a_partition_with_nothing_to_read_is_not_waited_for() {
    let board = board([&[1, 2], &[]]);
    assert_eq!(agents(&board, 2), None);
    board.rest(post(1), &mut EpochLog::default(), (0, Timestamp::MIN), 0);
    assert_eq!(agents(&board, 2), Some(2));
}

#[test]
fn what_an_idle_partition_taught_last_is_known_to_the_others() {
    let board = board([&[1, 2], &[]]);
    let mut log = EpochLog::default();
    log.note(2, GROUP, &Fact::Agent);
    board.rest(post(1), &mut log, (0, Timestamp::MIN), 0);
    assert_eq!(agents(&board, 2), Some(3));
}

#[test]
fn a_partition_that_lags_is_left_out_until_it_has_caught_up() {
    let board = board([&[1, 2, 3], &[1]]);
    assert_eq!(agents(&board, 3), None);
    assert_eq!(board.leave_out_laggards(3), [id(1)]);
    assert_eq!(agents(&board, 3), Some(4));
    // What it teaches late counts in the next epoch, and from then on it is waited for again.
    publish(&board, post(1), &[2, 3]);
    publish(&board, post(0), &[4]);
    assert_eq!(agents(&board, 4), None);
    publish(&board, post(1), &[4]);
    assert_eq!(agents(&board, 4), Some(8));
}

#[test]
fn a_partition_that_leaves_is_not_waited_for() {
    let board = board([&[1, 2], &[1]]);
    board.leave(post(1), &mut EpochLog::default());
    assert_eq!(agents(&board, 2), Some(3));
}

/// The configuration allows a lateness of an hour, and with more this would not hold.
#[test]
fn a_call_never_waits_for_an_epoch_that_its_own_partition_keeps_open() {
    for (lateness_ns, is_known) in [(HOUR_NS, true), (HOUR_NS + 1, false)] {
        let mut log = EpochLog::default();
        let closed = log.close(Timestamp::from_nanos(7 * HOUR_NS), lateness_ns).unwrap();
        assert_eq!(closed.upto >= Some(7 - EPOCHS_BEHIND), is_known, "{lateness_ns}");
    }
}

#[test]
fn facts_of_a_closed_epoch_count_in_the_oldest_open_one() {
    let mut log = EpochLog::default();
    assert_eq!(log.close(Timestamp::from_nanos(5 * HOUR_NS), 0).unwrap().upto, Some(4));
    log.note(2, GROUP, &Fact::Agent);
    let closed = log.close(Timestamp::from_nanos(6 * HOUR_NS), 0).unwrap();
    assert_eq!(closed.summaries.keys().copied().collect::<Vec<_>>(), [5]);
}

#[test]
fn a_session_counts_in_the_hour_of_its_end() {
    let live = LiveSession::new(1, Timestamp::from_nanos(4 * HOUR_NS));
    let session = Fact::Session(Arc::new(live.learned(1, live.deadline())));
    let mut log = EpochLog::default();
    log.note(6, GROUP, &session);
    log.note(6, GROUP, &Fact::Agent);
    let closed = log.close(Timestamp::from_nanos(9 * HOUR_NS), 0).unwrap();
    assert_eq!(closed.summaries.keys().copied().collect::<Vec<_>>(), [4, 6]);
}

#[test]
fn past_versions_are_bounded() {
    let epochs: Vec<i64> = (0..100).collect();
    let board = board([&epochs, &epochs]);
    assert_eq!(agents(&board, 99), Some(200));
    assert!(board.kept().versions.len() <= VERSIONS_MAX);
}

/// What a board of one partition has of the epochs 0 to 9, each of which taught one agent more: after
/// another partition has said that it needs this.
fn kept_for(needs: Option<Needs>, needed: usize) -> (Vec<u64>, u64) {
    let board = PeerBoard::with(Room { always: 2, needed });
    let (ahead, behind) = (board.join(id(0)), board.join(id(1)));
    publish(&board, ahead, &[0, 1, 2, 3]);
    publish(&board, behind, &[0]);
    let log = EpochLog { needs, ..EpochLog::default() };
    board.rest(behind, &mut EpochLog { needs, ..EpochLog::default() }, (0, Timestamp::MIN), 0);
    for epoch in 1..10 {
        publish(&board, ahead, &[epoch]);
        drop(board.peers(epoch));
    }
    board.rest_on(behind, &log);
    let agents = |epoch| board.known(epoch).unwrap().group(GROUP).map_or(0, |it| it.agents);
    ((0..10).map(agents).collect(), board.lost())
}

#[test]
fn past_versions_stay_as_long_as_a_partition_needs_them() {
    let needs = |epoch, later| Some(Needs { epoch, later });
    let all = kept_for(needs(0, Some(0)), 64);
    assert!(all.0.is_sorted_by(|one, next| one < next), "{all:?}");
    let (last, newest) = (all.0[9], all.0[8]);
    assert_eq!(kept_for(None, 64).0, [[newest; 9].as_slice(), &[last]].concat());
    let from = kept_for(needs(5, Some(5)), 64);
    assert_eq!(from.0[5..], all.0[5..]);
    assert_eq!(from.0[4], all.0[5], "the oldest left is the nearest");
    let one = kept_for(needs(5, None), 64);
    assert_eq!((one.0[5], one.0[8], one.0[9]), (all.0[5], newest, last));
    assert_eq!(
        [one.0[6], one.0[7]],
        [newest; 2],
        "what is left after it: the one before is no other"
    );
    let both = kept_for(needs(2, Some(6)), 64);
    assert_eq!((both.0[2], &both.0[6..]), (all.0[2], &all.0[6..]));
    assert_eq!(both.0[3..6], [all.0[6]; 3], "nobody needs them");
    assert!([all.1, from.1, one.1, both.1].iter().all(|lost| *lost == 0));
}

#[test]
fn whoever_knows_of_no_needs_leaves_those_that_were_said() {
    let board = PeerBoard::with(Room { always: 1, needed: 64 });
    let (one, other) = (board.join(id(0)), board.join(id(1)));
    let needs = Some(Needs { epoch: 1, later: Some(1) });
    board.wake(one, &EpochLog { needs, ..EpochLog::default() });
    board.wake(one, &EpochLog::default());
    for epoch in 1..4 {
        publish(&board, one, &[epoch]);
        publish(&board, other, &[epoch]);
        drop(board.peers(epoch));
    }
    assert_eq!([1, 2, 3].map(|epoch| agents(&board, epoch)), [2, 4, 6].map(Some));
}

#[test]
fn past_versions_that_are_needed_are_bounded_and_whoever_loses_them_is_counted() {
    let needs = Some(Needs { epoch: 0, later: Some(0) });
    let (all, kept) = (kept_for(needs, 64), kept_for(needs, 4));
    assert_eq!((all.1, kept.1), (0, 1), "once for one that does not come back");
    assert_eq!(kept.0, [[all.0[8]; 9].as_slice(), &[all.0[9]]].concat());
}

#[test]
fn what_was_known_before_anything_was_is_a_version_among_the_others() {
    let board = PeerBoard::with(Room { always: 2, needed: 64 });
    let (one, other) = (board.join(id(0)), board.join(id(1)));
    publish(&board, one, &[5]);
    let needs = Some(Needs { epoch: 3, later: Some(3) });
    board.wake(other, &EpochLog { needs, ..EpochLog::default() });
    assert_eq!(agents(&board, 3), None, "the other one is waited for");
    for epoch in 5..9 {
        publish(&board, one, &[epoch]);
        publish(&board, other, &[epoch]);
        assert_eq!(agents(&board, 3), Some(0));
    }
}
