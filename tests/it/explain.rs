//! `toolwarden explain`: every detector's reading of one call.

use std::fs;
use std::process::Command;

use serde_json::Value;
use toolwarden::policy::Detector;

use crate::pipeline::history;
use crate::support::{fail, succeed};

fn toolwarden(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    command.args(arguments);
    command
}

#[test]
fn every_detector_says_why_a_call_was_told_or_was_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("calls");
    // One product is enough, and the sooner done.
    let of_it = history().iter().filter(|(_, key, _)| key.contains("code-assistant-0"));
    let text: Vec<u8> =
        of_it.flat_map(|(_, _, line)| line.iter().copied().chain([b'\n'])).collect();
    fs::write(&path, &text).unwrap();
    let file = path.to_str().unwrap();
    let alerts = succeed(&mut toolwarden(&["replay", "--output", "ndjson", file]));
    let alerts: Vec<Value> =
        alerts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_loop = |alert: &&Value| alert["rule_id"] == "repeat.loop" && alert["revision"] == 0;
    let told = alerts.iter().find(is_loop).unwrap();

    let id = told["alert_id"].as_str().unwrap().get(..8).unwrap();
    let explained = succeed(&mut toolwarden(&["explain", id, file, "--output", "json"]));
    let explained: Value = serde_json::from_str(&explained).unwrap();
    assert_eq!(explained["call_id"], told["trigger"]["call_id"]);
    let detectors = explained["detectors"].as_array().unwrap();
    for detector in Detector::ALL {
        let it = detectors.iter().find(|it| it["detector"] == detector.as_str());
        let it = it.unwrap_or_else(|| panic!("nothing of {}", detector.as_str()));
        assert!(!it["reason"].as_str().unwrap().is_empty(), "{it}");
    }
    let repeat = detectors.iter().find(|it| it["detector"] == "repeat").unwrap();
    assert_eq!(repeat["outcome"], "told");
    assert_eq!(repeat["score"], told["score"]);
    assert_eq!(repeat["observed"], told["observed"]);
    assert_eq!(repeat["silent_if"], told["counterfactual"]);

    // A call of an ordinary morning, told by nobody.
    let line = text.split(|byte| *byte == b'\n').nth(2_000).unwrap();
    let call: Value = serde_json::from_slice(line).unwrap();
    let quiet = call["call_id"].as_str().unwrap();
    let table = succeed(&mut toolwarden(&["explain", quiet, file, "--output", "table"]));
    assert!(table.contains("quiet") && !table.contains("\ntold"), "{table}");
    for words in ["within what is usual: R = ", "usual      ", "known      ", "call_rate.burst"] {
        assert!(table.contains(words), "{words}:\n{table}");
    }
    let nothing = fail(&mut toolwarden(&["explain", "no-such-call", file]));
    assert!(nothing.contains("no call and no alert"), "{nothing}");
    assert!(fail(&mut toolwarden(&["explain", quiet])).contains("--config FILE"));
}
