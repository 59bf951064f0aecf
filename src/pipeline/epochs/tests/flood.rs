//! What one group takes on one instance, however much is told of it.
//!
//! Counted is the newest version of what is known of the group, what is published and not merged yet,
//! and what one partition's open hours taught. Versions of earlier hours are not: up to fifteen stay at
//! hand for partitions that are behind.

use std::sync::Arc;

use crate::baseline::identity::short;
use crate::baseline::kinds::ToolSketch;
use crate::baseline::peers::{Fact, Group, GroupKey, GroupSummary};
use crate::baseline::pulse::{GroupHour, HOURS_MAX};
use crate::baseline::session::{LearnedSession, SessionValue, mix};
use crate::baseline::usage::{Usage, UsageKind};
use crate::event::{HOUR_NS, Target, TargetKind, Timestamp};
use crate::pipeline::epochs::board::VERSIONS_MAX;
use crate::pipeline::epochs::{EpochLog, PeerBoard};
use crate::state::PartitionId;

/// The most a group may take.
const BYTES_MAX: usize = 128 * 1_024;

const GROUP: GroupKey = GroupKey(1);

const TENANT: GroupKey = GroupKey(2);

/// Facts of every kind that are told of the group, over all hours.
const FACTS: u64 = 100_000;

const HOURS: u64 = 50;

fn taken(board: &PeerBoard, log: &EpochLog, key: GroupKey) -> usize {
    let kept = board.kept();
    let known = kept.versions.last().map_or(0, |newest| newest.group_bytes(key));
    let lessons = kept.pending.values().chain(log.open().values());
    let of_it = lessons.filter_map(|groups| groups.get(&key));
    known + of_it.map(GroupSummary::memory_bytes).sum::<usize>()
}

/// A session as large as one can be, that shares nothing with another.
fn session(n: u64, hour: i64) -> Arc<LearnedSession> {
    let kinds = [TargetKind::Email, TargetKind::Path, TargetKind::Host, TargetKind::Account];
    let value = |place: u64| {
        let hash = mix(n << 8 | place);
        let target = Target {
            kind: kinds[usize::try_from(place % 4).unwrap()],
            value: hash,
            near: [short(mix(hash)), short(mix(hash + 1))],
            domain: mix(hash + 2),
            ..Target::default()
        };
        SessionValue::of(&target, short(mix(hash + 3)), true)
    };
    let mut tokens: Vec<u32> = (0..80).map(|place| short(mix(n << 8 | place) >> 9)).collect();
    tokens.sort_unstable();
    let start = Timestamp::from_nanos(hour * HOUR_NS);
    Arc::new(LearnedSession {
        end: start.plus_secs(60),
        id: mix(n),
        start,
        agent: short(mix(n)),
        values: (0..64).map(value).collect(),
        tokens,
        is_quarantined: mix(n).is_multiple_of(2),
        suspects: (0..16).map(|place| mix(n << 8 | place)).collect(),
    })
}

/// What one more agent with one more of everything tells its group, and its tenant.
fn told(n: u64, hour: i64) -> (Vec<Fact>, Vec<Fact>) {
    let (random, day) = (mix(n + 1), i32::try_from(hour / 24).unwrap());
    let place = u8::try_from(random & 63).unwrap();
    let mut facts = vec![
        Fact::Agent,
        Fact::Tool { tool: mix(random), agent: random, hour, began: true },
        Fact::Shape { tool: mix(random), place },
        Fact::Usage([0; 24].map(|_: u8| Usage::of(UsageKind::Command, random ^ mix(n)))),
        Fact::JudgedDay { day },
        Fact::Crossing { detector: place / 2, tier: place % 4, hour },
        Fact::Version { version: short(random), day },
        Fact::Levelled,
        Fact::AtWork { rank: random },
        Fact::Pulse { quarters: place, is_busy: true },
    ];
    if n.is_multiple_of(10) {
        facts.push(Fact::Session(session(n, hour)));
    }
    let sketch = ToolSketch::of(&[random, mix(random), n]).unwrap();
    let tenant = vec![
        Fact::SubAgent { root: random, hour },
        Fact::Child { agent: mix(random), parent: random, day },
        Fact::Kind { name: format!("{random:016x}").repeat(8).into(), sketch },
    ];
    (facts, tenant)
}

#[test]
fn a_hundred_thousand_of_everything_leave_a_group_within_its_bytes() {
    let partition = PartitionId { topic: 0, partition: 0 };
    let (board, mut log) = (PeerBoard::default(), EpochLog::default());
    let post = board.join(partition);
    let mut most = [0; 2];
    for n in 0..FACTS {
        let hour = i64::try_from(n / (FACTS / HOURS)).unwrap();
        if n.is_multiple_of(FACTS / HOURS) {
            let begun = Timestamp::from_nanos(hour * HOUR_NS);
            if let Some(closed) = log.close(begun, 0) {
                board.publish(post, &mut log, closed, 0);
            }
            drop(board.peers(hour - 2));
        }
        let (facts, tenant) = told(n, hour);
        for fact in &facts {
            log.note(hour, GROUP, fact);
        }
        for fact in &tenant {
            log.note(hour, TENANT, fact);
        }
        if n.is_multiple_of(500) {
            for (most, key) in most.iter_mut().zip([GROUP, TENANT]) {
                *most = taken(&board, &log, key).max(*most);
            }
        }
    }
    // Two days of notable hours take two weeks to be reached.
    most[0] += HOURS_MAX * size_of::<GroupHour>();
    assert!(most.iter().all(|bytes| (80 * 1_024..=BYTES_MAX).contains(bytes)), "{most:?}");
    let newest = board.newest();
    let full = newest.full();
    assert!(
        full.iter().all(|(_, groups)| *groups == 1),
        "what is not full is not tested: {full:?}"
    );
    assert!(newest.changed_since(&Default::default()).all(|(_, it)| Group::is_within_bounds(it)));
    assert_eq!(board.kept().versions.len(), VERSIONS_MAX);
}
