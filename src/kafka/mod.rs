//! Kafka, and the only room that names `rdkafka`: consuming partitions, producing records, the
//! embedded cluster of the demo.
//!
//! Nothing here knows what a record holds. Rebalances are data: the callback assigns or unassigns
//! and leaves a note ([`Rebalanced`]) for the worker. Threads beside the one that polls wait for the
//! broker's answers.

mod background;
mod broker;
mod changelog;
mod client;
mod committer;
mod consumer;
mod context;
mod ends;
mod feeder;
mod forwarder;
mod giving_up;
mod handshake;
mod history;
mod ledger;
mod log;
mod log_writer;
mod member;
mod producer;
mod reader;
mod statistics;
mod too_large;

pub use broker::{
    EmbeddedCluster, Topic, delete_topic, ensure_topics, partition_counts, record_count,
};
pub use changelog::{
    CODE_HEADER, LogReader, PartitionReader, Shown, SourceEnds, Take, TakeAt, TakeShown,
};
pub use client::{ClientSettings, KafkaError, librdkafka_version};
pub use committer::Commits;
pub use consumer::{Consumed, ConsumerSettings, PartitionConsumer, PlainRecord, Polled};
pub use context::{Rebalanced, TopicPartition};
pub use feeder::{BareConsumer, Feeder};
pub use forwarder::{Forwarder, Refusal};
pub use giving_up::{GaveUp, GivingUp};
pub use history::History;
pub use ledger::{Ledger, Receipts, Ticket};
pub use log_writer::{LogWriter, RefusedEntry};
pub use member::GroupMember;
pub use producer::{Carrier, Outbox, OutboxError, OutgoingRecord, Parcel};
pub use reader::{TopicReader, TopicRecord};
pub use too_large::{Cut, WhenTooLarge};
