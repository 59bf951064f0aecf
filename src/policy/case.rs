//! The tests a rule carries: a history, what happens next, and whether the rule should speak.
//!
//! Written for people, checked into numbers here; `pipeline` runs them on virtual time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Operation, Status};

/// One test of a rule, as written.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTest {
    /// What the test shows, as a sentence.
    pub name: String,
    /// What the agent did before. Its day is over when the input begins.
    #[serde(default)]
    pub history: RawHistory,
    /// What it does on the day after.
    pub input: Vec<RawInput>,
    /// Whether the rule should speak.
    pub expect: Expect,
    /// The highest score must reach this.
    #[serde(default)]
    pub min_score: Option<f64>,
    /// Some summary must contain this.
    #[serde(default)]
    pub summary_contains: Option<String>,
}

/// Whether a rule should speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// An alert of the rule reaches the score at which somebody is told; for a rule of severity
    /// `info`, any finding at all.
    Firing,
    /// None does.
    Silent,
}

/// Days of ordinary work: calls spread evenly over the working hours, the tools in turn.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawHistory {
    /// Active days, 0 to 60.
    pub days: u32,
    /// Calls on each of them, at most 5,000.
    pub calls_a_day: u32,
    /// The tools, used in turn.
    pub tools: Vec<String>,
    /// The hour of the UTC day at which work begins.
    pub from_hour: u32,
    /// How many hours it goes on.
    pub hours: u32,
    /// How many other agents of the same product work the same way.
    pub peers: u32,
    /// Tools that only the peers use.
    pub peer_tools: Vec<String>,
    /// The product the agents are instances of.
    pub product: String,
    /// Days from one active day to the next, 1 to 30.
    pub every_days: u32,
    /// Bytes each call reads from its tool; the records do not tell when it is left out.
    pub bytes_read: Option<u64>,
    /// Tools the agent uses on the first two active days and not after.
    pub early_tools: Vec<String>,
    /// Calls of one session; 0 for one session that goes on for ever.
    pub session_calls: u32,
    /// The arguments of the calls, used in turn.
    pub with: Vec<RawArguments>,
    /// The version of the agents; the records name none when it is left out.
    pub version: Option<String>,
}

/// Arguments, as an agent would write them.
pub type RawArguments = serde_json::Map<String, serde_json::Value>;

impl Default for RawHistory {
    fn default() -> Self {
        Self {
            days: 0,
            calls_a_day: 120,
            tools: vec!["lookup".to_owned(), "update".to_owned()],
            from_hour: 9,
            hours: 8,
            peers: 0,
            peer_tools: Vec::new(),
            product: "helper".to_owned(),
            every_days: 1,
            bytes_read: None,
            early_tools: Vec::new(),
            session_calls: 0,
            with: Vec::new(),
            version: None,
        }
    }
}

/// A row of calls.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawInput {
    /// When the first one happens: `10:00:00` on the day after the history.
    pub at: String,
    /// The time between two of them: `500ms`, `2s`, `5m`, `1h`.
    #[serde(default = "one_second")]
    pub every: String,
    /// How many there are, at most 5,000.
    #[serde(default = "one")]
    pub count: u32,
    /// The tool.
    pub tool: String,
    /// The MCP server it belongs to.
    #[serde(default)]
    pub server: Option<String>,
    /// Whether all have the same arguments.
    #[serde(default)]
    pub arguments: SameOrDistinct,
    /// What the calls do.
    #[serde(default)]
    pub operation: WhatItDoes,
    /// How the calls end.
    #[serde(default)]
    pub status: HowItEnds,
    /// Bytes each call sends into the tool.
    #[serde(default)]
    pub bytes_sent: Option<u64>,
    /// Bytes each call reads from the tool.
    #[serde(default)]
    pub bytes_read: Option<u64>,
    /// Whether the arguments have the keys they always had, or each call its own.
    #[serde(default)]
    pub shape: UsualOrDistinct,
    /// So many sub-agents of the tested agent make the calls in turn, instead of itself.
    #[serde(default)]
    pub sub_agents: u32,
    /// Whether every peer makes the same calls, a millisecond apart.
    #[serde(default)]
    pub peers: bool,
    /// The session they belong to.
    #[serde(default = "session")]
    pub session: String,
    /// Their arguments, as an agent would write them: what they reach for is read from these.
    #[serde(default)]
    pub with: RawArguments,
    /// How long each of them takes: `500ms`, `2s`.
    #[serde(default)]
    pub takes: Option<String>,
    /// The version of the agent; that of the history when it is left out.
    #[serde(default)]
    pub version: Option<String>,
}

fn session() -> String {
    "session".to_owned()
}

fn one_second() -> String {
    "1s".to_owned()
}

const fn one() -> u32 {
    1
}

/// Whether the calls of a row have the same arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SameOrDistinct {
    /// All the same.
    Same,
    /// Each its own.
    #[default]
    Distinct,
}

/// Whether the calls of a row have arguments of the usual shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UsualOrDistinct {
    /// The shape that the history has.
    #[default]
    Usual,
    /// Each its own, sixteen in all.
    Distinct,
}

/// How calls end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HowItEnds {
    /// They do what they were asked.
    #[default]
    Ok,
    /// They fail.
    Error,
    /// They are refused.
    Denied,
}

impl HowItEnds {
    /// The status of the calls.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Ok => Status::Ok,
            Self::Error => Status::Error,
            Self::Denied => Status::Denied,
        }
    }
}

/// What calls do to the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhatItDoes {
    /// They look.
    Read,
    /// They create, change, send or pay.
    #[default]
    Write,
    /// They remove.
    Delete,
    /// They run something.
    Execute,
}

impl WhatItDoes {
    /// The operation of the calls.
    #[must_use]
    pub const fn operation(self) -> Operation {
        match self {
            Self::Read => Operation::Read,
            Self::Write => Operation::Write,
            Self::Delete => Operation::Delete,
            Self::Execute => Operation::Execute,
        }
    }
}

/// One test, checked: times are numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The test as written.
    pub test: RawTest,
    /// Its rows with their times, in the order written.
    pub input: Vec<Input>,
}

/// The times of one row of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// Milliseconds from the start of the day to the first call.
    pub at_millis: i64,
    /// Milliseconds between two calls.
    pub every_millis: i64,
    /// How long each call takes, in milliseconds, where the row tells.
    pub takes_millis: Option<u64>,
}

/// The most calls a row or a day may have, and the most days.
const CALLS_MAX: u32 = 5_000;
const DAYS_MAX: u32 = 60;

impl Case {
    /// Checks one test.
    ///
    /// # Errors
    ///
    /// What is wrong and what to write instead.
    pub fn from_raw(test: RawTest) -> Result<Self, String> {
        let history = &test.history;
        if history.days > DAYS_MAX || history.calls_a_day > CALLS_MAX || history.peers > 20 {
            return Err(format!(
                "a history has at most {DAYS_MAX} days, {CALLS_MAX} calls a day and 20 peers"
            ));
        }
        if !(1..=30).contains(&history.every_days) {
            return Err(format!("`every_days` is {}; write 1 to 30", history.every_days));
        }
        if test.input.iter().any(|row| row.sub_agents > 1_000) {
            return Err("`sub_agents` is at most 1000".to_owned());
        }
        if history.from_hour > 23 || history.hours == 0 || history.from_hour + history.hours > 24 {
            return Err(
                "a history's hours lie within one day; write `from_hour: 9`, `hours: 8`".to_owned()
            );
        }
        if history.tools.is_empty() || test.input.is_empty() {
            return Err(
                "a test needs at least one tool in its history and one row of input".to_owned()
            );
        }
        let input = test.input.iter().map(times).collect::<Result<_, _>>()?;
        Ok(Self { test, input })
    }
}

fn times(row: &RawInput) -> Result<Input, String> {
    if row.count == 0 || row.count > CALLS_MAX {
        return Err(format!("`count` is {}; write 1 to {CALLS_MAX}", row.count));
    }
    let at_millis = time_of_day(&row.at)
        .ok_or_else(|| format!("`at: {}` is not a time of day; write `10:00:00`", row.at))?;
    let every_millis = span(&row.every)
        .ok_or_else(|| format!("`every: {}` is not a span; write `500ms` or `2s`", row.every))?;
    let takes_millis = row.takes.as_deref().map(|takes| {
        span(takes)
            .and_then(|millis| u64::try_from(millis).ok())
            .ok_or_else(|| format!("`takes: {takes}` is not a span; write `500ms` or `2s`"))
    });
    Ok(Input { at_millis, every_millis, takes_millis: takes_millis.transpose()? })
}

fn time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let fits = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
    (fits && parts.next().is_none()).then_some(((hour * 60 + minute) * 60 + second) * 1_000)
}

fn span(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let scale = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<i64>().ok().filter(|n| *n <= 86_400_000).map(|n| n * scale)
}
