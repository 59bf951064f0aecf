//! One binary for everything that is tested from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops by panicking"
)]

mod metrics;
mod judgement;
mod rules;
mod shipped;
mod config;
mod generate;
mod decode;
mod serve;
mod webhook;
mod dashboard;
mod helm;
mod kafka_broker;
mod prometheus;
mod support;
