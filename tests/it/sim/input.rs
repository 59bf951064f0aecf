//! The calls of a simulation: a morning of six agents in three partitions, with loops, a burst of
//! unknown tools, calls that come late, records nobody can read, stamps from the future and a
//! secret among them.

use fastrand::Rng;
use serde_json::{Value, json};
use toolwarden::event::Timestamp;

use crate::sim::world::PARTITIONS;

/// What must stand nowhere but where it was read.
pub(crate) const CANARY: &str = "sk-canary-7f3a91";

/// How many different mornings there are.
pub(crate) const MORNINGS: u64 = 5;

/// One record: its partition, when it was appended, its key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) partition: i32,
    pub(crate) appended: Timestamp,
    pub(crate) key: String,
    pub(crate) value: String,
    /// Whether it comes in one piece with the one before.
    pub(crate) follows: bool,
}

const BEGINS: &str = "2026-03-02T08:00:00Z";

struct Call<'a> {
    agent: &'a str,
    tool: &'a str,
    at: Timestamp,
    number: usize,
    arguments: Value,
}

fn record(partition: i32, call: &Call<'_>, appended: Timestamp) -> Input {
    let Call { agent, tool, at, number, arguments } = call;
    let value = json!({
        "ts": at.to_string(), "tenant_id": "acme", "agent_id": agent,
        "session_id": format!("{agent}-{}", at.as_secs() / 1_800), "call_id": format!("c{number}"),
        "tool_name": tool, "status": "ok", "operation": "write", "arguments": arguments,
    });
    Input {
        partition,
        appended,
        key: format!("acme/{agent}"),
        value: value.to_string(),
        follows: false,
    }
}

/// The records of a morning, in the order of their time but for calls that come late, where `are_late`
/// wants them: not where calls are put in order, since what waits for those that may still come is let
/// go when nothing has come for a while.
pub(crate) fn morning(number: u64, are_late: bool) -> Vec<Input> {
    let mut random = Rng::with_seed(number);
    let begins: Timestamp = BEGINS.parse().unwrap();
    let mut out = Vec::new();
    let mut count = 0;
    for partition in 0..PARTITIONS {
        for one in 0..2 {
            let agent = format!("helper@{}", partition * 2 + one);
            let mut at = begins.plus_secs(random.i64(0..900));
            for round in 0..9 {
                let tool = ["read", "search", "update"][usize::try_from(round).unwrap() % 3];
                count += 1;
                let arguments =
                    json!({"n": count, "path": format!("/srv/{}", count % 5), "token": CANARY});
                let call = Call { agent: &agent, tool, at, number: count, arguments };
                // A clock that is an hour ahead: its stamps count as when they were appended.
                let is_ahead = random.u32(..12) == 0;
                let ahead = at.plus_secs(3_600);
                let call = if is_ahead { Call { at: ahead, ..call } } else { call };
                out.push(record(partition, &call, at));
                at = at.plus_secs(random.i64(300..2_400));
            }
        }
        let looping = format!("helper@{}", partition * 2 + random.i32(0..2));
        let begin = begins.plus_secs(random.i64(3_600..12_000));
        for step in 0..40 {
            count += 1;
            let (at, arguments) = (begin.plus_secs(step * 2), json!({"job": "nightly"}));
            let call = Call { agent: &looping, tool: "poll", at, number: count, arguments };
            out.push(record(partition, &call, at));
            if step == 7 && are_late {
                // Somebody nobody knows yet, who was cut off for a while.
                let (agent, past) = (format!("helper@{}", 10 + partition), at.plus_secs(-9_000));
                let arguments = json!({});
                let call = Call { agent: &agent, tool: "late", at: past, number: count, arguments };
                out.push(Input { follows: true, ..record(partition, &call, at) });
            }
        }
        let unread = Input {
            partition,
            appended: begins.plus_secs(random.i64(0..12_000)),
            key: "acme/helper@0".to_owned(),
            value: "{\"ts\": not JSON".to_owned(),
            follows: false,
        };
        out.push(unread);
    }
    let newest = out.iter().map(|it| it.appended).max().unwrap();
    for partition in 0..PARTITIONS {
        // So that all are done with the hours before.
        let (agent, at) = (format!("last@{partition}"), newest.plus_secs(10 * 3_600));
        let call = Call { agent: &agent, tool: "end", at, number: 0, arguments: json!({}) };
        out.push(record(partition, &call, at));
    }
    out.sort_by_key(|it| (it.appended, it.partition));
    out
}
