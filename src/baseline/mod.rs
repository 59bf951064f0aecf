//! What is normal for one agent and for its peers: pure statistics.
//!
//! Nothing here knows of alerts, rules, Kafka or clocks. Counts are integers where they can be;
//! floats go through `libm`, so that every machine computes the same bits.

pub mod peers;
