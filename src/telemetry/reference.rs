//! `docs/metrics.md`, written from the table, so that it cannot name a metric that does not exist.

use std::fmt::{self, Write};

use crate::telemetry::{METRICS, MetricSpec};

const HEAD: &str = "\
# Metrics

Every metric of `GET /metrics`, in Prometheus' text format. This page is written from the table in
`src/telemetry/table.rs`; a test fails when the two differ, and
`TOOLWARDEN_BLESS=1 cargo test --test it metrics` writes it afresh.

Labels come from closed sets: no agent, tool, session or URL is ever one, so the number of series
does not grow with traffic. Series of known label values exist from the start at 0. The `process_*`
metrics of the Prometheus client are exported beside these.

`toolwarden_kafka_consumer_lag` and `toolwarden_kafka_consumer_lag_seconds` exist only for
partitions that are assigned and being fetched: the series of a partition that moved to another
instance is gone from the next scrape. Alert on the sum or the maximum over all instances.

| Metric | Type | Unit | Labels | Meaning |
|---|---|---|---|---|
";

/// The page that documents every metric, as Markdown.
#[must_use]
pub fn metrics_reference() -> String {
    let mut page = String::from(HEAD);
    for metric in METRICS {
        let written = row(&mut page, metric);
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    page.push_str("\n## Buckets\n\n");
    for metric in METRICS.iter().filter(|metric| !metric.buckets.is_empty()) {
        let bounds: Vec<String> = metric.buckets.iter().map(ToString::to_string).collect();
        page.push_str(&format!("- `{}`: {}\n", metric.name, bounds.join(", ")));
    }
    page
}

fn row(page: &mut String, metric: &MetricSpec) -> fmt::Result {
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
    let MetricSpec { name, kind, unit, help, .. } = metric;
    writeln!(page, "| `{name}` | {} | {unit} | {labels} | {help} |", kind.as_str())
}
