//! What a scenario is made of: plain data that says who works when, with which tools.
//!
//! Nothing is drawn here; `day` turns these figures into calls.

use serde::{Deserialize, Serialize};

use crate::event::Timestamp;
use crate::generate::anomaly::Planted;

/// Seeded traffic of agents' tool calls. The same scenario always gives the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Everything random follows from this.
    pub seed: u64,
    /// Midnight UTC of the first day. Weekends are told from it.
    #[serde(with = "rfc3339")]
    pub start: Timestamp,
    /// Calendar days, at least 1.
    pub days: u32,
    /// Who makes the calls.
    pub traffic: Traffic,
    /// What does not belong there.
    #[serde(default)]
    pub planted: Vec<Planted>,
}

/// Who makes the calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Traffic {
    /// Agents that work: sessions, habits, working hours.
    Products(Vec<Product>),
    /// Load without habits: agents in random order at an even rate over one hour.
    Uniform {
        /// How many agents there are, at least 1.
        agents: u32,
        /// How many calls they make.
        calls: u64,
    },
}

/// One agent product in one tenant: its instances are each other's peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// The organisation.
    pub tenant_id: String,
    /// The product; agents are `name@instance`.
    pub name: String,
    /// Its instances.
    pub instances: Vec<String>,
    /// The version it starts with; a deploy raises it by one.
    pub version: u32,
    /// How much of the usual work falls into each hour of a working day, UTC; 1 is usual, 0 none.
    pub hours: [f64; 24],
    /// How much of the usual work is done on a Saturday or Sunday, 0 to 1.
    pub weekend: f64,
    /// The probability that an agent does not work on a working day.
    pub days_off: f64,
    /// How the work comes.
    pub work: Work,
    /// How calls follow each other inside a piece of work.
    pub pace: Pace,
    /// The tools every instance uses. The first that does not act opens each session.
    pub tools: Vec<Tool>,
    /// Tools tried now and then, one call at a time; about one agent in eight a day.
    #[serde(default)]
    pub occasional: Vec<Tool>,
    /// A tool a new version brings, taken up by one instance after another.
    #[serde(default)]
    pub upgrade: Option<Upgrade>,
    /// The day, counted from 0, at whose noon a new version is deployed; busier by a third.
    #[serde(default)]
    pub deploy_day: Option<u32>,
    /// The share of calls that fail, 0 to 1.
    pub error_rate: f64,
}

/// How the work comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Work {
    /// Long sessions at habitual times, as people start them.
    Sessions {
        /// Sessions on a usual day.
        a_day: u32,
        /// Mean calls of a session.
        calls: f64,
    },
    /// Short jobs that arrive at random and are done one after another, as a service does them.
    Jobs {
        /// Jobs in a usual hour.
        an_hour: f64,
        /// Mean calls of a job.
        calls: f64,
    },
}

/// How calls follow each other inside a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// The median wait after a call, in seconds.
    pub gap_secs: f64,
    /// The spread of the wait's logarithm.
    pub gap_sigma: f64,
    /// The probability that a burst of parallel reads follows a call.
    pub burst: f64,
    /// The most reads in a burst.
    pub burst_max: u32,
}

/// One tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Its name; a reading tool's begins with a reading verb, so that its kind can be told.
    pub name: String,
    /// The MCP server it belongs to.
    #[serde(default)]
    pub server: Option<String>,
    /// Whether it changes something, sends, pays or runs.
    pub acting: bool,
    /// Its share of the calls, relative to the other tools.
    pub weight: f64,
    /// What it is called with.
    pub arguments: Shape,
    /// Its median duration in milliseconds.
    pub duration_ms: f64,
    /// The median size of its result in bytes.
    pub bytes_out: f64,
}

/// What a tool is called with. All names in it are invented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A file, one of the session's or a new one.
    ReadFile,
    /// A change to a file the session has read.
    EditFile,
    /// A program to run.
    Command,
    /// Words to search for.
    Query,
    /// A page on one of the known hosts.
    Url,
    /// A customer's, order's or invoice's number.
    Record,
    /// A change to such a record.
    Update,
    /// A message to one of the known recipients.
    Message,
    /// Money to one of the known accounts.
    Payment,
    /// A machine and a unit on it.
    Host,
}

/// A tool that a new version brings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The tool.
    pub tool: Tool,
    /// The day, counted from 0, on which the first instance takes it up; the others follow a day
    /// apart. Each tries it once a day for two days before it becomes a habit.
    pub first_day: u32,
}

/// Times as RFC 3339.
pub(crate) mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::event::Timestamp;

    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(time)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}
