//! Runs the tests that rules carry, on virtual time, through the same engine as everything else.
//!
//! Returns data; printing it is `cli`'s business. Reads no file and no clock.

use std::borrow::Cow;

use crate::alert::{Alert, PAGE_SCORE, Severity};
use crate::baseline::epochs::Epochs;
use crate::baseline::identity::hash_texts;
use crate::detect::{AgentState, observe, tick};
use crate::event::{Arguments, Operation, Position, Timestamp, ToolCall};
use crate::policy::{Case, Expect, RawHistory, RawRule, Rules, SameOrDistinct};

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
            None => "the rule never spoke".to_owned(),
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
    let morning = START_SECS * 1_000 + i64::from(history.days) * DAY_MILLIS;
    let mut input: Vec<(i64, usize, u32)> = Vec::new();
    for (row, times) in case.input.iter().enumerate() {
        let count = case.test.input.get(row).map_or(0, |row| row.count);
        input.extend(
            (0..count)
                .map(|n| (morning + times.at_millis + i64::from(n) * times.every_millis, row, n)),
        );
    }
    input.sort_unstable();
    let mut alerts = Vec::new();
    for (millis, row, n) in &input {
        let takes_ms = case.input.get(*row).and_then(|times| times.takes_millis);
        let Some(row) = case.test.input.get(*row) else { continue };
        let digest = match row.arguments {
            SameOrDistinct::Same => "same".to_owned(),
            SameOrDistinct::Distinct => format!("{millis} {n}"),
        };
        let call = Made {
            agent: 0,
            millis: *millis,
            tool: &row.tool,
            server: row.server.as_deref(),
            operation: row.operation.operation(),
            digest: hash_texts(&["arguments", &digest]),
            takes_ms,
        };
        alerts.extend(world.call(&history.product, &call));
    }
    alerts.extend(world.rest(&input));
    alerts
}

/// One call to make.
struct Made<'a> {
    agent: u32,
    millis: i64,
    tool: &'a str,
    server: Option<&'a str>,
    operation: Operation,
    digest: u64,
    takes_ms: Option<u64>,
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
            + i64::from(day) * DAY_MILLIS
            + i64::from(history.from_hour) * HOUR_MILLIS;
        let step = i64::from(history.hours) * HOUR_MILLIS / i64::from(history.calls_a_day.max(1));
        for (n, tool_of_peers) in
            (0..history.calls_a_day).zip(history.tools.iter().chain(&history.peer_tools).cycle())
        {
            for agent in 0..=history.peers {
                let own = usize::try_from(n).unwrap_or(0) % history.tools.len().max(1);
                let own = history.tools.get(own).unwrap_or(tool_of_peers);
                let call = Made {
                    agent,
                    millis: morning + i64::from(n) * step + i64::from(agent),
                    tool: if agent == 0 { own } else { tool_of_peers },
                    server: None,
                    operation: Operation::Write,
                    digest: hash_texts(&["history", &format!("{day} {n}")]),
                    takes_ms: None,
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
            session_id: Cow::Borrowed("session"),
            call_id: Cow::Owned(format!("call-{}", self.calls)),
            tool_name: Cow::Borrowed(made.tool),
            tool_server: made.server.map(Cow::Borrowed),
            operation: made.operation,
            arguments: Arguments { digest: made.digest, bytes: 100, shape: 0 },
            duration_ms: made.takes_ms,
            ..ToolCall::default()
        };
        if !self.agents.iter().any(|(agent, _)| *agent == made.agent) {
            self.agents.push((made.agent, AgentState::new(&call)));
        }
        let known = self.agents.iter_mut().find(|(agent, _)| *agent == made.agent);
        let Some((_, state)) = known else { return Vec::new() };
        let hour = call.time.hour();
        let verdict = observe(self.rules, self.epochs.peers(hour), state, &call);
        self.epochs.learn(hour, state.group, &verdict.facts);
        verdict.alerts
    }

    /// Lets a day pass, so that every episode ends.
    fn rest(&mut self, input: &[(i64, usize, u32)]) -> Vec<Alert> {
        let last = input.last().map_or(0, |call| call.0);
        let now = Timestamp::from_millis(last.saturating_add(DAY_MILLIS));
        let peers = self.epochs.peers(now.hour());
        let mut alerts = Vec::new();
        for (_, state) in self.agents.iter_mut().filter(|(agent, _)| *agent == 0) {
            alerts.extend(tick(self.rules, peers, state, now).alerts);
        }
        alerts
    }
}
