//! Saying what is expected, from the command line: what `replay` and a running instance make of it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use rdkafka::mocking::MockCluster;
use serde_json::Value;
use toolwarden::event::Timestamp;

use crate::calls::{bursts, call, create_topics, lines, told, tool_of};
use crate::running::{Running, Settings, Stored, produce, wait_for};
use crate::support::{fail, succeed};

/// 2026-01-05T00:00:00Z, a Monday.
const MONDAY: i64 = 1_767_571_200;

fn toolwarden(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    command.args(arguments).env("TOOLWARDEN_AUTHOR", "kim").env_remove("TOOLWARDEN_CONFIG");
    command
}

fn line(agent: &str, tool: &str, secs: i64) -> String {
    call(agent, tool, Timestamp::from_secs(MONDAY + secs))
}

/// Four days of work of two agents of one group, and what they do on the fifth.
fn history(agents: &[&str]) -> String {
    let mut text = String::new();
    for n in 0..480_i64 {
        let secs = n / 120 * 86_400 + 32_400 + n % 120 * 240;
        for agent in agents {
            writeln!(text, "{}", line(agent, &format!("tool-{}", n % 10), secs)).unwrap();
        }
    }
    text
}

/// Enough calls to fire although an alert of the same day makes each weigh less.
fn burst(agent: &str, tool: &str, hour: i64) -> String {
    let calls = (0..30).map(|n| line(agent, tool, 4 * 86_400 + hour * 3_600 + n * 30) + "\n");
    calls.collect()
}

/// The agents and the first subjects of the bursts that fired, in order.
fn fired(alerts: impl Iterator<Item = Value>) -> Vec<(String, String)> {
    let agent = |burst: &Value| burst["agent_id"].as_str().unwrap().to_owned();
    bursts(alerts).map(|burst| (agent(&burst), tool_of(&burst))).collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(agent, tool)| ((*agent).to_owned(), (*tool).to_owned())).collect()
}

fn say(arguments: &[&str]) -> Command {
    toolwarden(&[&["alert", "verdict"], arguments].concat())
}

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).display().to_string()
}

#[test]
fn an_accepted_alert_is_silent_in_a_replay_and_taken_back_it_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let name = |file| path(directory.path(), file);
    let (calls, alerts, verdicts) = (name("calls.ndjson"), name("alerts"), name("verdicts"));
    let text = history(&["helper@1", "helper@2"])
        + &burst("helper@1", "wire", 10)
        + &burst("helper@1", "wire", 12)
        + &burst("helper@2", "wire", 13)
        + &burst("helper@1", "export", 14)
        + &burst("helper@1", "wire", 16);
    std::fs::write(&calls, text).unwrap();
    let replay = |more: &[&str]| {
        let arguments = [&["replay", calls.as_str(), "--output", "ndjson"], more].concat();
        succeed(&mut toolwarden(&arguments))
    };
    let plain = replay(&[]);
    let (one, two) = ("helper@1", "helper@2");
    let everything = [(one, "wire"), (one, "wire"), (two, "wire"), (one, "export"), (one, "wire")];
    assert_eq!(fired(lines(&plain)), pairs(&everything));
    std::fs::write(&alerts, &plain).unwrap();
    let first = bursts(lines(&plain)).next().unwrap();
    let id = first["alert_id"].as_str().unwrap().get(..12).unwrap();
    let say = |verdict: &str, more: &[&str]| {
        let arguments =
            ["alert", "verdict", id, verdict, "--alerts", &alerts, "--reason", "tested"];
        succeed(&mut toolwarden(&[&arguments, more].concat()))
    };
    // For one agent: its other alert and its peer's stay; the alert that was accepted stays too.
    std::fs::write(&verdicts, say("expected", &["--output", "-"])).unwrap();
    let silenced = replay(&["--verdicts", &verdicts]);
    assert_eq!(fired(lines(&silenced)), pairs(&[(one, "wire"), (two, "wire"), (one, "export")]));
    assert_eq!(silenced, replay(&["--verdicts", &verdicts]));
    // Taken back in the afternoon.
    let more = ["--at", "2026-01-09T15:00:00Z", "--output", &verdicts];
    assert_eq!(say("not_expected", &more), "");
    let back = [(one, "wire"), (two, "wire"), (one, "export"), (one, "wire")];
    assert_eq!(fired(lines(&replay(&["--verdicts", &verdicts]))), pairs(&back));
    let listed = succeed(&mut toolwarden(&[
        "alert",
        "verdicts",
        "--verdicts",
        &verdicts,
        "--all",
        "--output",
        "table",
    ]));
    assert!(listed.contains("replaced") && listed.contains("not_expected"), "{listed}");
    assert!(listed.contains("acme: agent helper@1") && listed.contains("tool wire"), "{listed}");
    // For the group, until the afternoon.
    let limited = say("expected", &["--scope", "group", "--expires", "5h", "--output", "-"]);
    std::fs::write(&verdicts, limited).unwrap();
    let limited = [(one, "wire"), (one, "export"), (one, "wire")];
    assert_eq!(fired(lines(&replay(&["--verdicts", &verdicts]))), pairs(&limited));
    // Ahead of time.
    let ahead = succeed(&mut toolwarden(&[
        "alert",
        "verdict",
        "expected",
        "--tool",
        "wire",
        "--group",
        "helper",
        "--tenant",
        "acme",
        "--at",
        "2026-01-01T00:00:00Z",
        "--reason",
        "planned",
        "--output",
        "-",
    ]));
    std::fs::write(&verdicts, ahead).unwrap();
    let silenced = replay(&["--verdicts", &verdicts]);
    assert_eq!(fired(lines(&silenced)), pairs(&[(one, "export")]));
    assert!(!silenced.contains("wire"), "not even the first use is listed");
}

#[test]
fn what_cannot_be_said_is_refused_with_words() {
    let directory = tempfile::tempdir().unwrap();
    let alerts = path(directory.path(), "alerts");
    std::fs::write(&alerts, "").unwrap();
    let of_file = ["--alerts", &alerts, "--output", "-", "--reason", "r"];
    let ahead = ["--tool", "wire", "--output", "-", "--reason", "r"];
    for (arguments, words) in [
        ([&["0f2c9a", "expected"], of_file.as_slice()].concat(), "no alert `0f2c9a`"),
        ([&["0f2c9a", "fine"], of_file.as_slice()].concat(), "`expected` or `not_expected`"),
        ([&["expected"], of_file.as_slice()].concat(), "name an alert and a verdict"),
        ([&["expected"], ahead.as_slice()].concat(), "`--agent` or `--group`"),
        ([&["expected", "--agent", "a"], ahead.as_slice()].concat(), "`--tenant`"),
        (vec!["0f2c9a", "expected", "--alerts", &alerts, "--output", "-"], "--reason"),
    ] {
        let said = fail(&mut say(&arguments));
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert_eq!(say(&arguments).output().unwrap().status.code(), Some(2));
    }
    let verdicts = path(directory.path(), "verdicts");
    std::fs::write(&verdicts, "\n{\"schema\": \"toolwarden/verdict/1\"}\n").unwrap();
    let mut replay = toolwarden(&["replay", &alerts, "--verdicts", &verdicts]);
    let said = fail(&mut replay);
    assert!(said.contains("verdicts:2: missing field `tenant_id`"), "{said}");
    assert_eq!(replay.output().unwrap().status.code(), Some(4));
}

#[test]
fn a_running_instance_hears_what_is_said_and_reads_it_all_before_it_judges() {
    let cluster = MockCluster::new(1).unwrap();
    let settings = Settings::new(&cluster.bootstrap_servers(), "verdicts");
    create_topics(&cluster, &settings, 1);
    let stored = |text: &str| -> Vec<Stored> {
        text.lines().map(|line| Stored::new(0, "acme/helper@1", line)).collect()
    };
    let tell = |text: &str| produce(&settings.bootstrap, settings.calls(), &stored(text));
    tell(&(history(&["helper@1"]) + &burst("helper@1", "wire", 10)));
    let running = Running::start(&settings);
    running.wait_until_judged(510);
    let config = running.config().display().to_string();
    let told = || told(&settings).into_iter();
    let alert = wait_for("the burst is told", || bursts(told()).next());
    let id = alert["alert_id"].as_str().unwrap();
    let mut say = toolwarden(&["alert", "verdict", id, "expected", "--reason", "ours"]);
    succeed(say.args(["--config", &config]));
    running.wait_until("it is heard", |it| {
        it.count_of("verdict_changes_total", &["change=\"accepted\""]) == 1
    });
    assert!(running.log().contains("\"author\":\"\\\"kim\\\"\""), "{}", running.log());
    tell(&(burst("helper@1", "wire", 12) + &burst("helper@1", "export", 14)));
    running.wait_until_judged(570);
    let wanted = pairs(&[("helper@1", "wire"), ("helper@1", "export")]);
    wait_for("the other tool is told", || (fired(told()) == wanted).then_some(()));
    let listed = succeed(&mut toolwarden(&["alert", "verdicts", "--config", &config]));
    assert_eq!(listed.lines().count(), 1);
    assert!(listed.contains("\"ours\""), "{listed}");
    // Another instance knows it from the start.
    let second = Running::start(&Settings { name: "verdicts".into(), ..settings.clone() });
    assert_eq!(second.metrics().count("verdicts"), 1);
}
