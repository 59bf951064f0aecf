//! The audit topic of a running instance on a real Kafka: what was learned, and what a person's
//! word kept silent, read back record by record.

use std::collections::BTreeMap;
use std::process::Command;

use toolwarden::alert::{AuditKind, AuditRecord};
use toolwarden::event::Timestamp;

use crate::calls::call;
use crate::kafka_broker::Broker;
use crate::running::{Running, Settings, Stored, produce, read, wait_for};
use crate::support::succeed;

/// 2026-01-05T00:00:00Z, a Monday.
const MONDAY: i64 = 1_767_571_200;

const AGENT: &str = "helper@1";

fn at(secs: i64, tool: &str) -> Stored {
    let line = call(AGENT, tool, Timestamp::from_secs(MONDAY + secs));
    Stored::new(-1, format!("acme/{AGENT}"), line)
}

/// Four days of work, then a new tool on three days and a burst of another on the last.
fn work() -> Vec<Stored> {
    let usual = |n: i64| at(n / 120 * 86_400 + 32_400 + n % 120 * 240, &format!("tool-{}", n % 10));
    let wire = (4..7).map(|day| at(day * 86_400 + 36_000, "wire"));
    let export = (0..30).map(|n| at(6 * 86_400 + 40_000 + n * 30, "export"));
    (0..480).map(usual).chain(wire).chain(export).collect()
}

fn audits(settings: &Settings) -> Vec<(Vec<u8>, AuditRecord)> {
    let records = read(&settings.bootstrap, &settings.audit()).into_iter();
    let audit = |it: Stored| {
        let record = serde_json::from_slice(it.payload.as_ref().unwrap()).unwrap();
        (it.key, record)
    };
    records.map(audit).collect()
}

#[test]
fn adoptions_and_verdicts_stand_on_the_audit_topic_with_the_calls_that_caused_them() {
    let Some(broker) = Broker::shared() else { return };
    let settings = Settings::new(broker.bootstrap(), "audited");
    broker.create_topic(settings.calls(), 3, &[]);
    let mut running = Running::start(&settings);
    let mut say = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    say.args(["alert", "verdict", "expected", "--tool", "export", "--agent", AGENT])
        .args(["--tenant", "acme", "--at", "2026-01-01T00:00:00Z", "--reason", "planned"])
        .arg("--config")
        .arg(running.config())
        .env("TOOLWARDEN_AUTHOR", "kim");
    succeed(&mut say);
    running.wait_until("the word is heard", |metrics| metrics.count("verdicts") == 1);
    let calls = work();
    produce(broker.bootstrap(), settings.calls(), &calls);
    running.wait_until_judged(calls.len());
    let found = wait_for("the records are there", || {
        let found = audits(&settings);
        found.iter().any(|(_, it)| it.kind == AuditKind::VerdictApplied).then_some(found)
    });
    let kinds: Vec<AuditKind> = found.iter().map(|(_, record)| record.kind).collect();
    let wanted = [AuditKind::LearningCompleted, AuditKind::ToolAdopted, AuditKind::VerdictApplied];
    assert_eq!(kinds, wanted, "{found:?}");
    // Each names its agent, and the very call that caused it.
    let stored: BTreeMap<(i32, i64), Stored> = read(broker.bootstrap(), settings.calls())
        .into_iter()
        .map(|record| ((record.partition, record.offset), record))
        .collect();
    let subjects = [None, Some("wire"), Some("export")];
    for ((key, record), shown) in found.iter().zip(subjects) {
        assert_eq!(key, &calls[0].key, "{}", record.reason);
        assert_eq!(record.agent_id, AGENT);
        assert_eq!(record.subject.as_ref().map(|it| &*it.shown), shown);
        assert_eq!(record.position.topic, settings.calls());
        let call = stored[&(record.position.partition, record.position.offset)].json();
        let time: Timestamp = call["ts"].as_str().unwrap().parse().unwrap();
        assert_eq!(record.time, time.to_string());
        assert!(shown.is_none_or(|tool| call["tool_name"] == tool), "{call}");
    }
    assert_eq!(found[1].1.reason, "`helper@1` has used `wire` on 2 active days: it is adopted.");
    // Read again from the beginning they are the same: nothing was lost or written twice.
    assert!(running.terminate().0.success(), "{}", running.log());
    assert_eq!(audits(&settings), found);
}
