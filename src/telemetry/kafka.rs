//! Kafka's view of the consumer: series built from the latest snapshot while they are gathered.
//!
//! Not gauges that are set and forgotten. A gauge of a partition that was taken away keeps its last
//! lag for ever, and somebody is woken by it; a series built from the assignment cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::GaugeVec;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::telemetry::family::{SnapshotCounter, SnapshotGauge};
use crate::telemetry::table::Families;

/// What one consumer knew of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionSnapshot {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// Records not yet consumed; `None` or negative when unknown.
    pub lag: Option<i64>,
    /// Whether the client fetches it (`fetch_state` is `active`).
    pub fetching: bool,
    /// Whether the client's own statistics count it as wanted.
    pub assigned: bool,
    /// The next offset to be read; `None` or negative when unknown.
    pub position: Option<i64>,
    /// The committed offset; `None` or negative when there is none.
    pub committed: Option<i64>,
    /// The end of the partition; `None` or negative when unknown.
    pub high_watermark: Option<i64>,
    /// The broker's append time of the last record judged, in milliseconds since the Unix epoch.
    pub last_append_ms: Option<i64>,
}

/// What one consumer knew of one broker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerSnapshot {
    /// `host:port/id`.
    pub name: String,
    /// Whether it is connected.
    pub up: bool,
    /// The average round trip in seconds; `None` when nothing was measured.
    pub rtt_seconds: Option<f64>,
}

/// What one consumer's statistics said, in base units.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KafkaSnapshot {
    /// When it was taken, in milliseconds since the Unix epoch.
    pub taken_ms: i64,
    /// Its partitions.
    pub partitions: Vec<PartitionSnapshot>,
    /// The brokers it uses.
    pub brokers: Vec<BrokerSnapshot>,
    /// Records fetched ahead.
    pub fetch_queue_messages: u64,
    /// Bytes fetched ahead.
    pub fetch_queue_bytes: u64,
    /// Rebalances since it started.
    pub rebalances: u64,
}

/// One consumer: what it owns, and what it last knew.
#[derive(Debug, Default)]
struct Worker {
    assigned: BTreeSet<(String, i32)>,
    snapshot: KafkaSnapshot,
}

#[derive(Debug, Default)]
struct State {
    workers: BTreeMap<usize, Worker>,
    topics: BTreeSet<String>,
}

/// Takes assignments and statistics from the consumers; see [`crate::telemetry::Metrics::kafka`].
#[derive(Clone, Debug, Default)]
pub struct KafkaMetrics {
    state: Arc<Mutex<State>>,
}

impl KafkaMetrics {
    /// Replaces what is known of the consumer `worker`.
    ///
    /// Partitions that are not in its assignment are not shown, whatever the snapshot says.
    pub fn update(&self, worker: usize, snapshot: KafkaSnapshot) {
        self.lock().workers.entry(worker).or_default().snapshot = snapshot;
    }

    /// Tells which partitions the consumer `worker` owns from now on.
    ///
    /// A partition that is no longer among them is gone from the very next scrape.
    pub fn set_assignment(&self, worker: usize, partitions: Vec<(String, i32)>) {
        let mut state = self.lock();
        state.topics.extend(partitions.iter().map(|(topic, _)| topic.clone()));
        state.workers.entry(worker).or_default().assigned = partitions.into_iter().collect();
    }

    /// Topics that are shown with 0 assigned partitions before the first assignment.
    pub(super) fn seed(&self, topics: &[&str]) {
        self.lock().topics.extend(topics.iter().map(|topic| (*topic).to_owned()));
    }

    /// The collector that shows what this takes.
    pub(super) fn collector(&self, families: &Families) -> KafkaCollector {
        KafkaCollector { source: self.clone(), specs: Specs::of(families) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows of the table that are filled here.
#[derive(Clone, Copy, Debug)]
struct Specs {
    lag: SnapshotGauge,
    lag_seconds: SnapshotGauge,
    assigned: SnapshotGauge,
    committed: SnapshotGauge,
    position: SnapshotGauge,
    high_watermark: SnapshotGauge,
    queue_messages: SnapshotGauge,
    queue_bytes: SnapshotGauge,
    rtt: SnapshotGauge,
    up: SnapshotGauge,
    rebalances: SnapshotCounter,
}

impl Specs {
    fn of(families: &Families) -> Self {
        Self {
            lag: families.kafka_consumer_lag,
            lag_seconds: families.kafka_consumer_lag_seconds,
            assigned: families.kafka_assigned_partitions,
            committed: families.kafka_committed_offset,
            position: families.kafka_position,
            high_watermark: families.kafka_high_watermark,
            queue_messages: families.kafka_fetch_queue_messages,
            queue_bytes: families.kafka_fetch_queue_bytes,
            rtt: families.kafka_broker_rtt,
            up: families.kafka_broker_up,
            rebalances: families.kafka_rebalances,
        }
    }
}

/// Builds the series from the latest snapshots whenever metrics are gathered.
#[derive(Debug)]
pub(super) struct KafkaCollector {
    source: KafkaMetrics,
    specs: Specs,
}

impl Collector for KafkaCollector {
    /// None are announced: the rows of the table are unique already, and an empty list lets the
    /// registry take whatever is there when it gathers.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let state = self.source.lock();
        let mut families = self.specs.partitions(&state);
        families.extend(self.specs.client(&state));
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

impl Specs {
    /// What is known of assigned partitions.
    fn partitions(&self, state: &State) -> Vec<MetricFamily> {
        let assigned = self.assigned.fresh();
        for topic in &state.topics {
            assigned.with_label_values(&[topic]).set(0.0);
        }
        for (topic, _) in state.workers.values().flat_map(|worker| &worker.assigned) {
            assigned.with_label_values(&[topic]).inc();
        }
        let [lag, lag_seconds] = [self.lag.fresh(), self.lag_seconds.fresh()];
        let [committed, position] = [self.committed.fresh(), self.position.fresh()];
        let high_watermark = self.high_watermark.fresh();
        let mut shown: Vec<(i64, &PartitionSnapshot)> = state
            .workers
            .values()
            .flat_map(|worker| worker.shown().map(|it| (worker.snapshot.taken_ms, it)))
            .collect();
        // Each receiver's group reads the alerts: the one furthest behind is shown, as the last.
        shown.sort_by_key(|(_, it)| it.lag);
        for (taken_ms, it) in shown {
            let labels = [it.topic.as_str(), &it.partition.to_string()];
            set(&committed, labels, it.committed);
            set(&position, labels, it.position);
            set(&high_watermark, labels, it.high_watermark);
            if it.fetching {
                set(&lag, labels, it.lag);
                set_seconds(&lag_seconds, labels, it.lag_millis(taken_ms));
            }
        }
        [assigned, lag, lag_seconds, committed, position, high_watermark]
            .iter()
            .flat_map(Collector::collect)
            .collect()
    }

    /// What is known of the clients and their brokers.
    fn client(&self, state: &State) -> Vec<MetricFamily> {
        let none: [&str; 0] = [];
        let snapshots = || state.workers.values().map(|worker| &worker.snapshot);
        let messages = self.queue_messages.fresh();
        let sum = snapshots().map(|it| it.fetch_queue_messages).fold(0, u64::saturating_add);
        messages.with_label_values(&none).set(count(sum));
        let bytes = self.queue_bytes.fresh();
        let sum = snapshots().map(|it| it.fetch_queue_bytes).fold(0, u64::saturating_add);
        bytes.with_label_values(&none).set(count(sum));
        let rebalances = self.rebalances.fresh();
        let sum = snapshots().map(|it| it.rebalances).fold(0, u64::saturating_add);
        rebalances.with_label_values(&none).inc_by(sum);
        let mut families: Vec<MetricFamily> =
            [messages, bytes].iter().flat_map(Collector::collect).collect();
        families.extend(rebalances.collect());
        families.extend(self.brokers(state));
        families
    }

    /// The worst that any consumer says of each broker.
    fn brokers(&self, state: &State) -> Vec<MetricFamily> {
        let mut worst: BTreeMap<&str, (bool, Option<f64>)> = BTreeMap::new();
        for broker in state.workers.values().flat_map(|worker| &worker.snapshot.brokers) {
            let (up, rtt) = worst.entry(&broker.name).or_insert((true, None));
            *up &= broker.up;
            *rtt = [*rtt, broker.rtt_seconds].into_iter().flatten().max_by(f64::total_cmp);
        }
        let (up_family, rtt_family) = (self.up.fresh(), self.rtt.fresh());
        for (name, (up, rtt)) in worst {
            up_family.with_label_values(&[name]).set(f64::from(u8::from(up)));
            if let Some(rtt) = rtt {
                rtt_family.with_label_values(&[name]).set(rtt);
            }
        }
        [up_family, rtt_family].iter().flat_map(Collector::collect).collect()
    }
}

impl Worker {
    /// The partitions of the snapshot that are really owned now.
    fn shown(&self) -> impl Iterator<Item = &PartitionSnapshot> {
        self.snapshot.partitions.iter().filter(|it| {
            it.assigned
                && it.partition >= 0
                && self.assigned.contains(&(it.topic.clone(), it.partition))
        })
    }
}

impl PartitionSnapshot {
    /// How old the last judged record was at `taken_ms`; 0 when nothing waits.
    fn lag_millis(&self, taken_ms: i64) -> Option<i64> {
        match self.lag {
            Some(0) => Some(0),
            Some(1..) => self.last_append_ms.map(|at| taken_ms.saturating_sub(at).max(0)),
            _ => None,
        }
    }
}

/// Sets a series, unless the value is unknown (librdkafka says -1 or -1001).
fn set(family: &GaugeVec, labels: [&str; 2], value: Option<i64>) {
    if let Some(value) = value.and_then(|value| u64::try_from(value).ok()) {
        family.with_label_values(&labels).set(count(value));
    }
}

/// Sets a series given in milliseconds.
fn set_seconds(family: &GaugeVec, labels: [&str; 2], millis: Option<i64>) {
    if let Some(millis) = millis.and_then(|millis| u64::try_from(millis).ok()) {
        family.with_label_values(&labels).set(count(millis) / 1e3);
    }
}

/// A count as Prometheus holds it.
#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "exact up to 2^53")]
const fn count(value: u64) -> f64 {
    value as f64
}
