//! Runs the tests that rules carry, on virtual time, through the same engine as everything else.
//!
//! Returns data; printing it is `cli`'s business. Reads no file and no clock.

use std::borrow::Cow;

use crate::alert::{Alert, PAGE_SCORE, Severity};
use crate::baseline::epochs::Epochs;
use crate::baseline::identity::hash_texts;
use crate::baseline::peers::{GroupKey, Peers};
use crate::decode::{self, Item, Record};
use crate::detect::{AgentState, Context, observe, tick};
use crate::event::{Arguments, Operation, Position, Status, Timestamp, ToolCall};
use crate::policy::{
    Case, Expect, RawArguments, RawHistory, RawInput, RawRule, Rules, SameOrDistinct,
    UsualOrDistinct,
};

/// The first day of every history: a Monday in January 2026, 00:00 UTC.
const START_SECS: i64 = 1_767_571_200;

/// Milliseconds of a day and of an hour.
const DAY_MILLIS: i64 = 86_400_000;
const HOUR_MILLIS: i64 = 3_600_000;

/// How one test of one rule came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The rule.
    pub rule_id: String,
    /// The test.
    pub test: String,
    /// Whether it came out as expected.
    pub passed: bool,
    /// What was expected.
    pub expected: Expect,
    /// What happened.
    pub actual: Expect,
    /// The highest score any alert of the rule reached on the input; `None` when it never spoke.
    pub highest_score: Option<f64>,
    /// The summary of that alert.
    pub summary: Option<String>,
    /// Why it failed, in words; empty when it passed.
    pub failure: String,
}

/// Runs every test of the rules whose id or test name contains `filter`. A rule that is not
/// enabled is tested all the same.
///
/// # Errors
///
/// A rule that is not valid cannot be tested: its mistakes, in words.
pub fn run(rules: &[RawRule], filter: &str) -> Result<Vec<Outcome>, Vec<String>> {
    let mut outcomes = Vec::new();
    for raw in rules {
        let enabled = RawRule { enabled: true, ..raw.clone() };
        let checked = Rules::from_raw(vec![enabled])
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        for test in &raw.tests {
            if !raw.id.contains(filter) && !test.name.contains(filter) {
                continue;
            }
            let case = Case::from_raw(test.clone())
                .map_err(|problem| vec![format!("rule `{}`: {problem}", raw.id)])?;
            let alerts = play(&checked, &case);
            outcomes.push(judge(raw, &case, &alerts));
        }
    }
    Ok(outcomes)
}

fn judge(rule: &RawRule, case: &Case, alerts: &[Alert]) -> Outcome {
    let test = &case.test;
    let best = alerts.iter().max_by(|a, b| a.score.total_cmp(&b.score));
    let needed = if rule.severity == Severity::Info { 0.0 } else { PAGE_SCORE };
    let fired = best.is_some_and(|alert| alert.score >= needed);
    let actual = if fired { Expect::Firing } else { Expect::Silent };
    let mut failure = String::new();
    if actual != test.expect {
        failure = match best {
            Some(alert) => format!("highest score {:.1}, {needed:.0} needed", alert.score),
            None => format!(
                "the rule never spoke: nothing was as rare as its budget of {} asks for",
                rule.budget
            ),
        };
    } else if let (Some(min), Some(alert)) = (test.min_score, best)
        && alert.score < min
    {
        failure = format!("highest score {:.1}, `min_score: {min}`", alert.score);
    } else if let Some(text) = &test.summary_contains
        && !alerts.iter().any(|alert| alert.summary.contains(text))
    {
        failure = format!("no summary contains `{text}`");
    }
    Outcome {
        rule_id: rule.id.clone(),
        test: test.name.clone(),
        passed: failure.is_empty(),
        expected: test.expect,
        actual,
        highest_score: best.map(|alert| alert.score),
        summary: best.map(|alert| alert.summary.clone()),
        failure,
    }
}

/// The alerts that the tested agent's input gave, in order.
fn play(rules: &Rules, case: &Case) -> Vec<Alert> {
    let history = &case.test.history;
    let mut world = World { rules, epochs: Epochs::default(), agents: Vec::new(), calls: 0 };
    for day in 0..history.days {
        world.work_day(history, day);
    }
    let days = i64::from(history.days) * i64::from(history.every_days);
    let morning = START_SECS * 1_000 + days * DAY_MILLIS;
    let mut input: Vec<(i64, usize, u32, u32)> = Vec::new();
    for (row, times) in case.input.iter().enumerate() {
        let Some(written) = case.test.input.get(row) else { continue };
        let peers = if written.peers { history.peers } else { 0 };
        for n in 0..written.count {
            let millis = morning + times.at_millis + i64::from(n) * times.every_millis;
            input.extend((0..=peers).map(|agent| (millis + i64::from(agent), row, n, agent)));
        }
    }
    input.sort_unstable();
    let mut alerts = Vec::new();
    for (millis, row, n, peer) in &input {
        let takes_ms = case.input.get(*row).and_then(|times| times.takes_millis);
        let Some(row) = case.test.input.get(*row) else { continue };
        let version = row.version.as_deref().or(history.version.as_deref());
        let made = made(row, *millis, *n);
        let made = Made { takes_ms, version, agent: made.agent.max(*peer), ..made };
        alerts.extend(world.call(&history.product, &made));
    }
    alerts.extend(world.rest(input.last().map_or(0, |call| call.0)));
    alerts
}

/// The `n`-th call of a row.
fn made(row: &RawInput, millis: i64, n: u32) -> Made<'_> {
    let digest = match row.arguments {
        SameOrDistinct::Same => "same".to_owned(),
        SameOrDistinct::Distinct => format!("{millis} {n}"),
    };
    let bytes = row.bytes_sent.unwrap_or(HISTORY_BYTES);
    let shape = match row.shape {
        UsualOrDistinct::Usual => HISTORY_SHAPE,
        UsualOrDistinct::Distinct => HISTORY_SHAPE + n + 1,
    };
    let sub_agent = n.checked_rem(row.sub_agents).map(|n| FIRST_SUB_AGENT + n);
    Made {
        agent: sub_agent.unwrap_or(0),
        millis,
        tool: &row.tool,
        server: row.server.as_deref(),
        operation: row.operation.operation(),
        arguments: Arguments { digest: hash_texts(&["arguments", &digest]), bytes, shape },
        status: row.status.status(),
        bytes_read: row.bytes_read,
        takes_ms: None,
        version: None,
        session: &row.session,
        with: Some(&row.with),
    }
}

/// The size and the shape of the arguments of a history's calls.
const HISTORY_BYTES: u64 = 100;
const HISTORY_SHAPE: u32 = 1;

/// Agents from this number on are sub-agents of the tested one; below are its peers.
const FIRST_SUB_AGENT: u32 = 1_000;

/// One call to make.
struct Made<'a> {
    agent: u32,
    millis: i64,
    tool: &'a str,
    server: Option<&'a str>,
    operation: Operation,
    arguments: Arguments,
    status: Status,
    bytes_read: Option<u64>,
    takes_ms: Option<u64>,
    version: Option<&'a str>,
    session: &'a str,
    with: Option<&'a RawArguments>,
}

/// What a call reaches for, read from its arguments as from any record.
fn reach(made: &Made<'_>) -> ToolCall<'static> {
    let Some(with) = made.with.filter(|with| !with.is_empty()) else { return ToolCall::default() };
    let event = serde_json::json!({
        "ts": 0, "tenant_id": "acme", "agent_id": "agent", "tool_name": made.tool, "arguments": with,
    });
    let payload = event.to_string();
    let record = Record {
        position: Position::default(),
        append_time: Timestamp::from_secs(START_SECS),
        key: None,
        content_type: None,
        payload: Some(payload.as_bytes()),
    };
    let (mut targets, mut words) = (Vec::new(), Vec::new());
    decode::decode(&record, &decode::Options::default(), &mut |item| {
        if let Item::Call(call) = item {
            targets = call.targets.to_vec();
            words = call.words.to_vec();
        }
    });
    ToolCall { targets: targets.into(), words: words.into(), ..ToolCall::default() }
}

/// The tested agent, number 0, and its peers.
struct World<'a> {
    rules: &'a Rules,
    epochs: Epochs,
    agents: Vec<(u32, AgentState)>,
    calls: u64,
}

impl World<'_> {
    /// One day of ordinary work of everybody: calls evenly spread, tools in turn.
    fn work_day(&mut self, history: &RawHistory, day: u32) {
        let morning = START_SECS * 1_000
            + i64::from(day) * i64::from(history.every_days) * DAY_MILLIS
            + i64::from(history.from_hour) * HOUR_MILLIS;
        let step = i64::from(history.hours) * HOUR_MILLIS / i64::from(history.calls_a_day.max(1));
        for (n, tool_of_peers) in
            (0..history.calls_a_day).zip(history.tools.iter().chain(&history.peer_tools).cycle())
        {
            for agent in 0..=history.peers {
                let place = usize::try_from(n).unwrap_or(0);
                let early = history.early_tools.get(place).filter(|_| day < 2);
                let own = history.tools.get(place % history.tools.len().max(1));
                let own = early.or(own).unwrap_or(tool_of_peers);
                let session = match n.checked_div(history.session_calls) {
                    None => "session".to_owned(),
                    Some(part) => format!("{day} {part}"),
                };
                let call = Made {
                    agent,
                    millis: morning + i64::from(n) * step + i64::from(agent),
                    tool: if agent == 0 { own } else { tool_of_peers },
                    server: None,
                    operation: Operation::Write,
                    arguments: Arguments {
                        digest: hash_texts(&["history", &format!("{day} {n}")]),
                        bytes: HISTORY_BYTES,
                        shape: HISTORY_SHAPE,
                    },
                    status: Status::Ok,
                    bytes_read: history.bytes_read,
                    takes_ms: None,
                    version: history.version.as_deref(),
                    session: &session,
                    with: history.with.get(place % history.with.len().max(1)),
                };
                drop(self.call(&history.product, &call));
            }
        }
    }

    fn call(&mut self, product: &str, made: &Made<'_>) -> Vec<Alert> {
        self.calls += 1;
        let call = ToolCall {
            position: Position { topic: "rule-test", ..Position::default() },
            time: Timestamp::from_millis(made.millis),
            tenant_id: Cow::Borrowed("acme"),
            agent_id: Cow::Owned(format!("{product}@{}", made.agent)),
            agent_version: made.version.map(Cow::Borrowed),
            session_id: Cow::Borrowed(made.session),
            call_id: Cow::Owned(format!("call-{}", self.calls)),
            tool_name: Cow::Borrowed(made.tool),
            tool_server: made.server.map(Cow::Borrowed),
            operation: made.operation,
            parent_agent_id: (made.agent >= FIRST_SUB_AGENT)
                .then(|| Cow::Owned(format!("{product}@0"))),
            arguments: made.arguments,
            status: made.status,
            bytes_out: made.bytes_read,
            duration_ms: made.takes_ms,
            ..reach(made)
        };
        let mut alerts = self.let_time_pass(call.time);
        if !self.agents.iter().any(|(agent, _)| *agent == made.agent) {
            self.agents.push((made.agent, AgentState::new(&call)));
        }
        let known = self.agents.iter_mut().find(|(agent, _)| *agent == made.agent);
        let Some((_, state)) = known else { return alerts };
        let hour = call.time.hour();
        let verdict = observe(&Context::new(self.rules, self.epochs.peers(hour)), state, &call);
        if let Some((former, facts)) = &verdict.left {
            self.epochs.learn(hour, *former, facts);
        }
        self.epochs.learn(hour, state.group, &verdict.facts);
        self.epochs.learn(hour, GroupKey::of_tenant(&call.tenant_id), &verdict.tenant_facts);
        alerts.extend(verdict.alerts);
        alerts
    }

    /// Ends what is over before the hour of `time`, so that it is known when its epoch is. Returns
    /// what that made the tested agent say.
    fn let_time_pass(&mut self, time: Timestamp) -> Vec<Alert> {
        let mut alerts = Vec::new();
        let hour = Timestamp::from_hour(time.hour());
        for (agent, state) in &mut self.agents {
            while let Some(deadline) = state.deadline().filter(|deadline| *deadline <= hour) {
                let peers = Peers::default();
                let verdict = tick(&Context::new(self.rules, &peers), state, deadline);
                self.epochs.learn(deadline.hour(), state.group, &verdict.facts);
                alerts.extend(verdict.alerts.into_iter().filter(|_| *agent == 0));
            }
        }
        alerts
    }

    /// Lets a day pass since `last`, in milliseconds, so that every episode ends.
    fn rest(&mut self, last: i64) -> Vec<Alert> {
        let now = Timestamp::from_millis(last.saturating_add(DAY_MILLIS));
        let peers = self.epochs.peers(now.hour());
        let mut alerts = Vec::new();
        for (_, state) in self.agents.iter_mut().filter(|(agent, _)| *agent == 0) {
            alerts.extend(tick(&Context::new(self.rules, peers), state, now).alerts);
        }
        alerts
    }
}
