//! Where the rooms meet: wiring, the clock, batching, commits and shutdown.
//!
//! One call's way through here: a worker polls a record ([`worker`]), decodes it, hands its calls
//! to the partition's [`judge::Judge`], which puts them in order ([`order`]), fetches the peers of
//! their epoch ([`epochs`]) and asks the engine; alerts go to the outbox, and offsets are committed
//! once the alerts they caused are acknowledged. `replay` and the demo go the same way.

pub mod alert_record;
pub mod at_end;
pub mod baselines;
pub mod bench;
pub mod bench_judgement;
pub mod bench_latency;
pub mod bench_memory;
pub mod bench_restore;
pub mod clock;
pub mod committing;
pub mod courier;
pub mod cut;
pub mod dead_letter;
pub mod delivery;
pub mod demo;
pub mod desk;
pub mod epochs;
pub mod export;
pub mod flushing;
pub mod group_log;
pub mod ingest;
pub mod instance;
pub mod journal;
pub mod judge;
pub mod keeping;
pub mod keys;
pub mod lane;
pub mod lease;
pub mod look_up;
mod loopback;
pub mod monitor;
pub mod order;
pub mod pager;
pub mod past;
pub mod player;
pub mod portraits;
pub mod posting;
pub mod replay;
pub mod restore;
pub mod roles;
pub mod rule_tests;
pub mod self_check;
pub mod undelivered;
pub mod verdict_book;
pub mod verdict_feed;
pub mod verdict_order;
pub mod verdicts;
pub mod watch;
pub mod worker;
