//! One binary for everything that is tested from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops by panicking"
)]
#![allow(clippy::too_many_lines, reason = "a scenario is read from its beginning to its end")]

mod addresses;
mod audit;
mod baselines;
mod bench;
mod bounds;
mod calls;
mod config;
mod crash;
mod dashboard;
mod decode;
mod delivery;
mod demo;
mod durable;
mod explain;
mod faults;
mod flood;
mod foreign;
mod generate;
mod groups;
mod helm;
mod hostile;
mod ingest;
mod judgement;
mod kafka;
mod kafka_broker;
mod layout;
mod learning;
mod metrics;
mod misplaced;
mod mock;
mod model;
mod order;
mod pipeline;
mod prometheus;
mod rules;
mod running;
mod scale;
mod serve;
mod shipped;
mod sim;
mod state;
mod support;
mod tidy;
mod upgrade;
mod verdicts;
mod webhook;
