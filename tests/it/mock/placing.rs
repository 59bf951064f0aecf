//! Where partitions are read from. librdkafka looks up where a partition without a commit begins, and
//! goes there when the answer comes, even if it was sent somewhere else meanwhile.

use std::time::Duration;

use rdkafka::mocking::{MockCluster, MockCoordinator};
use toolwarden::kafka::{
    ClientSettings, ConsumerSettings, GivingUp, GroupMember as _, PartitionConsumer, Polled,
    Rebalanced, TopicPartition,
};
use toolwarden::telemetry::{BuildInfo, Metrics};

use crate::running::{Stored, now, produce, wait_for};
use crate::support::slow_tests_are_wanted;

/// How late the leader answers.
const LATE: Duration = Duration::from_millis(800);

/// Longer than librdkafka waits before it asks where a partition begins, by less than the answer takes.
const IS_ASKING: Duration = Duration::from_millis(700);

/// Longer than librdkafka waits before it asks once more, and the answer takes.
const READS_FOR: Duration = Duration::from_secs(6);

/// The offsets that a member is handed that sends its partition to 10 a moment after it was assigned.
fn read() -> Vec<i64> {
    let cluster = MockCluster::new(2).unwrap();
    let brokers = cluster.bootstrap_servers();
    cluster.create_topic("calls", 1, 1).unwrap();
    cluster.partition_leader("calls", 0, Some(1)).unwrap();
    cluster.coordinator(MockCoordinator::Group("readers".to_owned()), 2).unwrap();
    let records: Vec<Stored> = (0..20).map(|n| Stored::new(0, b"key", vec![n])).collect();
    produce(&brokers, "calls", &records);
    cluster.broker_round_trip_time(1, LATE).unwrap();
    let settings = ConsumerSettings {
        client: ClientSettings::plain(&brokers),
        group_id: "readers".to_owned(),
        member: None,
        giving_up: GivingUp::default(),
        topics: vec!["calls".to_owned()],
        from_earliest: true,
        prefetch_bytes: 1 << 20,
    };
    let member =
        PartitionConsumer::new(&settings, 0, &Metrics::new(&BuildInfo::default())).unwrap();
    member.begin_nowhere(true);
    let name = TopicPartition { topic: "calls".into(), partition: 0 };
    wait_for("the partition is assigned", || {
        assert!(!matches!(member.poll(Duration::from_millis(1)), Polled::Record(_)));
        matches!(member.next_rebalance(), Some(Rebalanced::Assigned(_))).then_some(())
    });
    member.pause(&name);
    let assigned = now();
    while assigned.elapsed() < IS_ASKING {
        assert!(!matches!(member.poll(Duration::from_millis(1)), Polled::Record(_)));
    }
    wait_for("it is sent to 10", || member.seek(&name, 10).ok());
    member.resume(&name);
    let (began, mut offsets) = (now(), Vec::new());
    while began.elapsed() < READS_FOR {
        if let Polled::Record(record) = member.poll(Duration::from_millis(10)) {
            offsets.push(record.offset());
        }
    }
    offsets
}

#[test]
fn a_partition_that_is_sent_somewhere_is_not_moved_by_an_answer_that_comes_late() {
    if !slow_tests_are_wanted() {
        return;
    }
    assert_eq!(read(), (10..20).collect::<Vec<i64>>());
}
