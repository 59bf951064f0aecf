//! Configuration: YAML as written (`raw`), then valid by construction ([`Config`]).
//!
//! Checking reads no network. Every mistake of a file is reported in one pass, with file, line,
//! column and the nearest valid key. Secrets are named by file or environment variable, never
//! written in the file, and never printed.

mod checked;

pub use checked::{
    Config, EventTime, Kafka, Limits, Peers, Receiver, RuleSource, Server, Source, Start, Topics,
};
