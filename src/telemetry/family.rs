//! How one row of the metric table becomes a live family of the registry.
//!
//! Not a second list: names, help texts and labels live in [`crate::telemetry::METRICS`] alone.

use prometheus::core::Collector;
use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry,
};

/// What a metric measures: a Prometheus metric type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only ever grows, and starts again at 0 with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

impl MetricKind {
    /// The word of the exposition format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric: a row of [`crate::telemetry::METRICS`].
#[derive(Clone, Copy, Debug)]
pub struct MetricSpec {
    /// Its full name, prefix included.
    pub name: &'static str,
    /// What it measures.
    pub kind: MetricKind,
    /// One sentence for the person who reads `/metrics`.
    pub help: &'static str,
    /// The base unit: `seconds`, `bytes`, or what is counted.
    pub unit: &'static str,
    /// Its labels, in the order their values are given.
    pub labels: &'static [&'static str],
    /// The upper bounds of a histogram's buckets; empty for everything else.
    pub buckets: &'static [f64],
}

/// Broker append to verdict: a second is the promise, minutes are an incident.
pub(super) const END_TO_END_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The time one call takes to judge: a microsecond is the aim.
pub(super) const CALL_BUCKETS: &[f64] =
    &[2.5e-7, 5e-7, 1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 1e-3, 1e-2, 0.1];

/// Scores run from 0 to 100; a page needs 40.
pub(super) const SCORE_BUCKETS: &[f64] =
    &[10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0];

/// One HTTP attempt; 30 s is the longest timeout most receivers allow.
pub(super) const NOTIFICATION_BUCKETS: &[f64] =
    &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0];

/// A type that a row of the table can take.
pub(super) trait Family: Sized {
    /// The Prometheus type of the row.
    const KIND: MetricKind;

    /// Creates the family and hands it to the registry.
    fn register(spec: &'static MetricSpec, registry: &Registry) -> Self;
}

fn opts(spec: &MetricSpec) -> Opts {
    Opts::new(spec.name, spec.help)
}

fn histogram_opts(spec: &MetricSpec) -> HistogramOpts {
    HistogramOpts::new(spec.name, spec.help).buckets(spec.buckets.to_vec())
}

/// A valid table cannot be refused: names, labels and buckets are constants.
#[expect(
    clippy::expect_used,
    reason = "the table is constant, and a unit test registers all of it"
)]
fn registered<C: Collector + Clone + 'static>(
    family: prometheus::Result<C>,
    registry: &Registry,
) -> C {
    let family = family.expect("a row of the metric table is valid");
    registry.register(Box::new(family.clone())).expect("each row of the metric table is unique");
    family
}

macro_rules! plain {
    ($($type:ty, $kind:ident, $make:expr;)*) => {$(
        impl Family for $type {
            const KIND: MetricKind = MetricKind::$kind;

            fn register(spec: &'static MetricSpec, registry: &Registry) -> Self {
                let make: fn(&'static MetricSpec) -> prometheus::Result<Self> = $make;
                registered(make(spec), registry)
            }
        }
    )*};
}

plain! {
    IntCounter, Counter, |spec| Self::with_opts(opts(spec));
    IntCounterVec, Counter, |spec| Self::new(opts(spec), spec.labels);
    CounterVec, Counter, |spec| Self::new(opts(spec), spec.labels);
    GaugeVec, Gauge, |spec| Self::new(opts(spec), spec.labels);
    IntGauge, Gauge, |spec| Self::with_opts(opts(spec));
    IntGaugeVec, Gauge, |spec| Self::new(opts(spec), spec.labels);
    Histogram, Histogram, |spec| Self::with_opts(histogram_opts(spec));
    HistogramVec, Histogram, |spec| Self::new(histogram_opts(spec), spec.labels);
}

/// A gauge that exists only while something is gathered: filled from a snapshot, then dropped.
#[derive(Clone, Copy, Debug)]
pub(super) struct SnapshotGauge(pub(super) &'static MetricSpec);

impl Family for SnapshotGauge {
    const KIND: MetricKind = MetricKind::Gauge;

    fn register(spec: &'static MetricSpec, _: &Registry) -> Self {
        Self(spec)
    }
}

impl SnapshotGauge {
    /// An empty family, to be filled and gathered.
    #[expect(clippy::expect_used, reason = "as for `registered`")]
    pub(super) fn fresh(self) -> GaugeVec {
        GaugeVec::new(opts(self.0), self.0.labels).expect("a row of the metric table is valid")
    }
}

/// A counter that is filled from a snapshot while something is gathered.
#[derive(Clone, Copy, Debug)]
pub(super) struct SnapshotCounter(pub(super) &'static MetricSpec);

impl Family for SnapshotCounter {
    const KIND: MetricKind = MetricKind::Counter;

    fn register(spec: &'static MetricSpec, _: &Registry) -> Self {
        Self(spec)
    }
}

impl SnapshotCounter {
    /// An empty family, to be filled and gathered.
    #[expect(clippy::expect_used, reason = "as for `registered`")]
    pub(super) fn fresh(self) -> IntCounterVec {
        IntCounterVec::new(opts(self.0), self.0.labels).expect("a row of the metric table is valid")
    }
}
