//! Judges recorded calls when there are some: a small runner for files of native events.
//!
//! `TOOLWARDEN_DATA` names a directory; every `*.jsonl` in it is judged and its alerts are written
//! beside it as `<name>.alerts.ndjson`. Without it there is nothing to judge. What is asserted is
//! that the engine judges a recorded log twice alike and stays within its bounds.

use std::io::Write;
use std::path::Path;

use serde_json::Value;
use toolwarden::baseline::epochs::Epochs;
use toolwarden::baseline::identity::hash_texts;
use toolwarden::baseline::peers::GroupKey;
use toolwarden::detect::{AgentState, Context, observe};
use toolwarden::event::{Arguments, Operation, Timestamp, ToolCall};
use toolwarden::policy::Rules;

use crate::shipped;

/// Verbs that only look, as the first letters of a tool's name.
const READING: [&str; 23] = [
    "read",
    "get",
    "list",
    "search",
    "find",
    "view",
    "fetch",
    "query",
    "grep",
    "glob",
    "ls",
    "show",
    "describe",
    "look",
    "inspect",
    "resolve",
    "extract",
    "open",
    "webfetch",
    "websearch",
    "taskoutput",
    "taskget",
    "tasklist",
];

#[test]
fn recorded_logs_are_judged_twice_alike() {
    let Some(directory) = std::env::vars_os().find(|(name, _)| name == "TOOLWARDEN_DATA") else {
        println!("skipped: TOOLWARDEN_DATA names no directory of recorded logs");
        return;
    };
    let rules = rules();
    for file in std::fs::read_dir(directory.1).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            let text = std::fs::read_to_string(&path).unwrap();
            let alerts = judge(&rules, &text);
            assert_eq!(alerts, judge(&rules, &text), "{}", path.display());
            write(&path.with_extension("alerts.ndjson"), &alerts);
        }
    }
}

fn rules() -> Rules {
    Rules::from_raw(shipped::rules().into_iter().map(|(_, rule)| rule).collect()).unwrap()
}

#[expect(clippy::print_stdout, reason = "tells whoever judges a log where its alerts are")]
fn write(path: &Path, alerts: &[String]) {
    let mut file = std::fs::File::create(path).unwrap();
    for alert in alerts {
        writeln!(file, "{alert}").unwrap();
    }
    println!("{}: {} lines", path.display(), alerts.len());
}

/// The alerts of a log in the order they were decided, one JSON object each.
fn judge(rules: &Rules, text: &str) -> Vec<String> {
    let (mut epochs, mut alerts) = (Epochs::default(), Vec::new());
    let mut agents = std::collections::BTreeMap::<(String, String), AgentState>::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let value: Value = serde_json::from_str(line).unwrap();
        let call = call(&value);
        let key = (call.tenant_id.to_string(), call.agent_id.to_string());
        let state = agents.entry(key).or_insert_with(|| AgentState::new(&call));
        let hour = call.time.hour();
        let verdict = observe(&Context::new(rules, epochs.peers(hour)), state, &call);
        epochs.learn(hour, state.group, &verdict.facts);
        epochs.learn(hour, GroupKey::of_tenant(&call.tenant_id), &verdict.tenant_facts);
        assert!(state.tools() <= 40);
        alerts.extend(verdict.alerts.iter().map(|alert| serde_json::to_string(alert).unwrap()));
    }
    alerts
}

fn call(value: &Value) -> ToolCall<'_> {
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    let full = text("tool_name");
    let name = full.rsplit("__").next().unwrap_or(full);
    let mut parts = full.splitn(3, "__");
    let from_name = match (parts.next(), parts.next(), parts.next()) {
        (Some("mcp"), Some(server), Some(_)) => Some(server),
        _ => None,
    };
    let verb = name.to_lowercase();
    let is_reading = READING.iter().any(|reading| verb.starts_with(reading));
    let arguments = value["arguments"].to_string();
    ToolCall {
        time: text("ts").parse::<Timestamp>().unwrap(),
        tenant_id: text("tenant_id").into(),
        agent_id: text("agent_id").into(),
        session_id: text("session_id").into(),
        call_id: text("call_id").into(),
        tool_name: name.into(),
        tool_server: value["tool_server"].as_str().or(from_name).map(Into::into),
        operation: if is_reading { Operation::Read } else { Operation::Unknown },
        // The parser sorts keys, so the text does not depend on their order.
        arguments: Arguments {
            digest: hash_texts(&[full, &arguments]),
            bytes: u64::try_from(arguments.len()).unwrap(),
            shape: 0,
        },
        ..ToolCall::default()
    }
}
