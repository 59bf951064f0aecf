//! The table of metrics.
use std::sync::Arc;
/// The registry.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    _inner: Arc<()>,
}
/// One metric's name, help and labels.
#[derive(Debug, Clone, Copy)]
pub struct MetricSpec {
    /// Its name.
    pub name: &'static str,
}
/// Every metric.
pub const METRICS: &[MetricSpec] = &[];
