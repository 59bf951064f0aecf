//! Configuration: YAML as written (`raw`), then valid by construction ([`Config`]).
//!
//! Checking reads no network. Every mistake of a file is reported in one pass, with file, line,
//! column and the nearest valid key. Secrets are named by file or environment variable, never
//! written in the file, and never printed.
//!
//! ```text
//! text -> yaml (tree) -> document (value, places) -> shape (schema) -> raw -> checking -> Config
//! ```

mod checked;
mod checking;
mod choice;
mod document;
mod environment;
mod groups;
mod limits;
mod load;
mod manual;
mod outline;
mod problem;
mod raw;
mod receivers;
mod rule_manual;
mod rules;
mod scalar;
mod schema;
mod server;
mod shape;
mod show;
mod snippet;
mod state;
mod units;
mod yaml;

pub use checked::{
    Config, EventTime, Kafka, KeyedBy, Limits, Peers, Privacy, Receiver, RuleSource, Server,
    Source, Start, State, Topics,
};
pub use environment::{Environment, ProcessEnvironment};
pub(crate) use load::read_text;
pub use load::{Loaded, Positions, load, load_rule_files, load_text, load_yaml, load_yaml_located};
pub use manual::{init_text, reference_text};
pub use problem::{Code, Problem, ProblemSeverity, Problems};
pub use rule_manual::judgement_text;
pub use rules::{LoadedRules, SHIPPED, load_rules, read_rules};
pub use schema::{alert_schema, rule_schema, schema, verdict_schema};
pub use show::{show_json, show_yaml};
pub use units::{format_duration, format_size, parse_duration, parse_size};
