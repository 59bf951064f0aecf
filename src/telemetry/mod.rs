//! What the program says of itself: one struct an internal event, every metric name in one table.
//!
//! [`Event::emit`] writes the log line and moves the counter together, so that the two cannot
//! drift apart. No agent, tool, session or URL is ever a label. Nothing is global: an instance
//! owns its [`Metrics`].

mod metrics;

pub use metrics::{METRICS, MetricSpec, Metrics};
