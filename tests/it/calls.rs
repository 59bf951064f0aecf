//! Calls of agents at work, bursts of unknown tools among them, and what is told of those. No test
//! itself.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::ProducerContext;
use serde_json::{Value, json};
use toolwarden::event::Timestamp;

use crate::running::{Settings, Stored, read};

/// One acting call of one agent, in one line.
pub(crate) fn call(agent: &str, tool: &str, time: Timestamp) -> String {
    let call = json!({
        "ts": time.to_string(), "tenant_id": "acme", "agent_id": agent, "session_id": "s",
        "tool_name": tool, "call_id": format!("{agent}-{tool}-{time}"), "status": "ok",
        "operation": "write", "arguments": {"n": time.as_secs()},
    });
    call.to_string()
}

/// The bursts of unknown tools that fired.
pub(crate) fn bursts(alerts: impl Iterator<Item = Value>) -> impl Iterator<Item = Value> {
    alerts.filter(|it| it["status"] == "firing" && it["rule_id"] == "new_tool.burst")
}

/// The first tool of a burst.
pub(crate) fn tool_of(burst: &Value) -> String {
    burst["subjects"][0]["shown"].as_str().unwrap().to_owned()
}

/// Every line of a text as JSON.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// The alerts on the topic of an instance.
pub(crate) fn told(settings: &Settings) -> Vec<Value> {
    read(&settings.bootstrap, &settings.alerts()).iter().map(Stored::json).collect()
}

/// Creates every topic that an instance reads or writes, its calls with so many partitions. One
/// keeps no more than five megabytes.
pub(crate) fn create_topics<C: ProducerContext>(
    cluster: &MockCluster<'_, C>,
    settings: &Settings,
    partitions: i32,
) {
    for topic in &settings.written() {
        cluster.create_topic(topic, 1, 1).unwrap();
    }
    for topic in [settings.calls(), &settings.state()] {
        cluster.create_topic(topic, partitions, 1).unwrap();
    }
}

/// `count` equal calls of one agent, half a second apart: a loop that every agent is told for.
pub(crate) fn looping(agent: &str, start: &str, count: i64) -> Vec<Stored> {
    let start: Timestamp = start.parse().unwrap();
    let call = |number: i64| {
        let call = json!({
            "ts": start.plus_millis(number * 500).to_string(),
            "tenant_id": "acme",
            "agent_id": agent,
            "session_id": format!("{agent}-session"),
            "call_id": format!("{agent}-{number}"),
            "tool_name": "update_ticket",
            "arguments": {"id": 7},
            "status": "ok",
        });
        Stored::new(-1, format!("acme/{agent}"), call.to_string())
    };
    (0..count).map(call).collect()
}
