//! librdkafka's statistics, cut down to what operators ask for.

use rdkafka::statistics::{Partition, Statistics};

use crate::telemetry::{BrokerSnapshot, KafkaSnapshot, PartitionSnapshot};

/// How long a broker that was asked something may say nothing, in microseconds. A consumer asks for
/// records all the time, and is answered within half a second where there are none.
const SILENCE_US_MAX: i64 = 15_000_000;

/// Whether a broker answers. librdkafka counts a broker among them that is itself, and that one is
/// always up.
pub(crate) fn is_reachable(statistics: &Statistics) -> bool {
    let mut brokers = statistics.brokers.values();
    brokers.any(|broker| {
        let is_silent = broker.waitresp_cnt > 0 && broker.rxidle > SILENCE_US_MAX;
        broker.source != "internal" && broker.state == "UP" && !is_silent
    })
}

/// Partitions of ours that have no leader.
pub(crate) fn leaderless(statistics: &Statistics) -> usize {
    let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
    partitions.filter(|it| it.partition >= 0 && it.desired && it.leader < 0).count()
}

/// The part of `statistics` that is exported; `appended` knows the append time, in milliseconds, of
/// the last record judged of a partition.
pub(crate) fn snapshot(
    statistics: &Statistics,
    appended: impl Fn(&str, i32) -> Option<i64>,
) -> KafkaSnapshot {
    let mut partitions: Vec<PartitionSnapshot> = Vec::new();
    let mut topics: Vec<_> = statistics.topics.values().collect();
    topics.sort_by(|a, b| a.topic.cmp(&b.topic));
    for topic in topics {
        // -1 is librdkafka's partition for records without one.
        let mut known: Vec<_> = topic.partitions.values().filter(|p| p.partition >= 0).collect();
        known.sort_by_key(|p| p.partition);
        partitions.extend(known.into_iter().map(|p| PartitionSnapshot {
            last_append_ms: appended(&topic.topic, p.partition),
            ..partition(&topic.topic, p)
        }));
    }
    let mut brokers: Vec<BrokerSnapshot> = statistics
        .brokers
        .values()
        // Bootstrap entries and logical brokers have no id of their own.
        .filter(|broker| broker.nodeid >= 0)
        .map(|broker| BrokerSnapshot {
            name: broker.nodename.clone(),
            up: broker.state == "UP",
            rtt_seconds: broker.rtt.as_ref().filter(|rtt| rtt.cnt > 0).map(|rtt| seconds(rtt.avg)),
        })
        .collect();
    brokers.sort_by(|a, b| a.name.cmp(&b.name));
    KafkaSnapshot {
        taken_ms: statistics.time.saturating_mul(1_000),
        fetch_queue_messages: sum(statistics, |p| u64::try_from(p.fetchq_cnt).unwrap_or(0)),
        fetch_queue_bytes: sum(statistics, |p| p.fetchq_size),
        rebalances: statistics
            .cgrp
            .as_ref()
            .map_or(0, |group| u64::try_from(group.rebalance_cnt).unwrap_or(0)),
        partitions,
        brokers,
    }
}

fn partition(topic: &str, partition: &Partition) -> PartitionSnapshot {
    let known = |offset: i64| (offset >= 0).then_some(offset);
    PartitionSnapshot {
        topic: topic.to_owned(),
        partition: partition.partition,
        lag: known(partition.consumer_lag),
        fetching: partition.fetch_state == "active",
        assigned: partition.desired,
        position: known(partition.app_offset),
        committed: known(partition.committed_offset),
        high_watermark: known(partition.hi_offset),
        last_append_ms: None,
    }
}

fn sum(statistics: &Statistics, field: impl Fn(&Partition) -> u64) -> u64 {
    let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
    partitions.map(field).sum()
}

/// librdkafka counts round trips in microseconds.
fn seconds(micros: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a round trip")]
    let micros = micros as f64;
    micros / 1e6
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::{Broker, Topic};

    use super::*;

    fn with(brokers: &[(&str, &str)]) -> Statistics {
        let brokers = brokers.iter().map(|(source, state)| {
            let broker = Broker {
                source: (*source).to_owned(),
                state: (*state).to_owned(),
                ..Broker::default()
            };
            (format!("{source}/{state}"), broker)
        });
        Statistics { brokers: brokers.collect(), ..Statistics::default() }
    }

    #[test]
    fn the_client_itself_is_no_broker_that_can_be_reached() {
        assert!(!is_reachable(&with(&[("internal", "UP"), ("learned", "TRY_CONNECT")])));
        assert!(is_reachable(&with(&[("internal", "UP"), ("learned", "UP"), ("learned", "INIT")])));
        assert!(is_reachable(&with(&[("configured", "UP")])));
        assert!(!is_reachable(&with(&[])));
    }

    #[test]
    fn a_broker_that_owes_an_answer_for_long_cannot_be_reached() {
        let owing = |answers, micros| {
            let broker = Broker {
                source: "learned".to_owned(),
                state: "UP".to_owned(),
                waitresp_cnt: answers,
                rxidle: micros,
                ..Broker::default()
            };
            let brokers = [("a".to_owned(), broker)].into_iter().collect();
            let statistics = Statistics { brokers, ..Statistics::default() };
            is_reachable(&statistics)
        };
        assert!(owing(1, SILENCE_US_MAX) && !owing(1, SILENCE_US_MAX + 1));
        assert!(owing(0, i64::MAX), "nobody has asked it anything");
    }

    #[test]
    fn a_partition_of_ours_without_a_leader_is_one_that_counts() {
        let partition = |partition, desired, leader| {
            (partition, Partition { partition, desired, leader, ..Partition::default() })
        };
        let partitions = [
            partition(0, true, 2),
            partition(1, true, -1),
            partition(2, false, -1),
            // The one for records without a partition.
            partition(-1, true, -1),
        ];
        let topic = Topic { partitions: partitions.into_iter().collect(), ..Topic::default() };
        let topics = [("calls".to_owned(), topic)].into_iter().collect();
        assert_eq!(leaderless(&Statistics { topics, ..Statistics::default() }), 1);
    }
}
