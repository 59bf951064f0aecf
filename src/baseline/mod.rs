//! What is normal for one agent and for its peers: pure statistics.
//!
//! Nothing here knows of alerts, rules, Kafka or clocks. Counts are integers where they can be;
//! floats go through `libm`, so that every machine computes the same bits.

pub mod ancestry;
pub mod anchor;
pub mod bloom;
pub mod discovery;
pub mod epochs;
pub mod few;
pub mod group_versions;
pub mod habits;
pub mod hours;
pub mod identity;
pub mod kinds;
pub mod maxima;
pub mod minute;
pub mod moments;
pub mod peaks;
pub mod peers;
pub mod pulse;
pub mod realised;
pub mod recent;
pub mod repeats;
pub mod runs;
pub mod session;
pub mod session_fit;
pub mod shapes;
pub mod starts;
pub mod steady;
pub mod tools;
pub mod usage;
pub mod versions;
pub mod window;

/// A count as a float; exact below 2^53, which no count here reaches.
#[must_use]
pub fn float(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "exact below 2^53")]
    let value = count as f64;
    value
}
