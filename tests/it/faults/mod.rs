//! Faults that a cluster, a network and an operator bring, one test a fault. The names of the tests
//! say the number of the fault and what must hold.
//!
//! The oracle is not "it did not crash": what must have been told is recomputed from the input by a
//! `replay`, which knows no Kafka. No alert may be lost, none may be new, none may have two bodies,
//! and what is known of each agent in the end must be the same.

mod brokers;
mod disk;
mod group;
pub(crate) mod kill;
mod log;
mod members;
mod network;
pub(crate) mod oracle;
mod proxy;
mod recovery;
mod security;
mod static_members;
mod table;
