//! librdkafka's statistics, cut down to what operators ask for.

use rdkafka::statistics::{Partition, Statistics};

use crate::telemetry::{BrokerSnapshot, KafkaSnapshot, PartitionSnapshot};

/// Whether a broker can be reached. librdkafka counts a broker among them that is itself, and that
/// one is always up.
pub(crate) fn is_reachable(statistics: &Statistics) -> bool {
    let mut brokers = statistics.brokers.values();
    brokers.any(|broker| broker.source != "internal" && broker.state == "UP")
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
    use rdkafka::statistics::Broker;

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
}
