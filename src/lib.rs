//! toolwarden watches what AI agents do.
//!
//! It reads every tool call from Kafka, learns what is normal for each agent, and tells people
//! when an agent does something it never did, or far too much of what it usually does. It judges;
//! it does not block.
//!
//! The modules stand in the order a call travels through them:
//!
//! ```text
//! source topics -> decode -> ToolCall -> detect (baseline, policy) -> alerts topic -> deliver -> people
//! ```
//!
//! Above `telemetry` nothing does IO, reads a clock or depends on hash order; below it there are no
//! statistics. `tests/it/tidy.rs` holds the arrows; `ARCHITECTURE.md` is the map.

pub mod event;

pub mod decode;

pub mod baseline;

pub mod policy;

pub mod alert;

pub mod detect;

pub mod generate;

pub mod telemetry;

pub mod kill_point;

pub mod state;

pub mod kafka;

pub mod deliver;

pub mod config;

pub mod serve;

pub mod pipeline;

pub mod cli;
