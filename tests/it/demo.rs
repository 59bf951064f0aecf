//! `toolwarden demo` as people see it: it plays, it finds what was planted, it says that nothing was
//! lost, and it ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use crate::running::{get, signal, wait_for};
use crate::support::slow_tests_are_wanted;

/// Half a minute is played at the speed of the hours of its last day.
fn play(arguments: &[&str]) -> Option<(Output, String, String)> {
    if !slow_tests_are_wanted() {
        return None;
    }
    let output = demo(arguments).output().unwrap();
    let [data, talk] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    Some((output, data, talk))
}

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    command.arg("demo").args(arguments);
    command
}

#[test]
fn the_demo_judges_every_call_and_tells_of_all_that_was_planted_and_nothing_else() {
    let Some((output, data, talk)) = play(&[]) else { return };
    assert!(output.status.success(), "{talk}");
    assert!(talk.contains("every one judged"), "{talk}");
    assert!(talk.contains("planted 4, found 4, false alarms 0"), "{talk}");
    for rule in ["repeated-call", "call-rate", "new-tools", "unusual-hours"] {
        assert!(data.contains(&format!("docs/runbooks/{rule}.md")), "{rule}: {data}");
    }
    let played = talk.lines().find_map(|line| line.trim().strip_prefix("calls")).unwrap();
    let numbers: Vec<u64> = played.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[0] > 100_000 && numbers == [numbers[0]; 2], "{played}");
}

#[test]
fn a_quiet_day_tells_nobody_anything() {
    let Some((output, data, talk)) = play(&["--scenario", "quiet"]) else { return };
    assert!(output.status.success(), "{talk}");
    assert_eq!(data, "", "{talk}");
    assert!(talk.contains("every one judged"), "{talk}");
    assert!(talk.contains("planted 0, found 0, false alarms 0"), "{talk}");
}

/// A demo that is ended when a test fails.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        // Neither can be helped while a test unwinds.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_demo_that_is_kept_answers_until_it_is_interrupted() {
    if !slow_tests_are_wanted() {
        return;
    }
    let process = demo(&["--scenario", "quiet", "--keep"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut kept = Kept(process);
    let talk = BufReader::new(kept.0.stderr.take().unwrap());
    let mut address = None;
    for line in talk.lines() {
        let line = line.unwrap();
        if let Some((_, rest)) = line.split_once("http://") {
            address = rest.split('/').next().unwrap().parse().ok();
        }
        if line.contains("Ctrl-C ends it") {
            break;
        }
    }
    let address = address.expect("it says where it answers");
    let (status, metrics) = get(address, "/metrics").unwrap();
    assert_eq!(status, 200);
    assert!(metrics.contains("toolwarden_events_processed_total{topic=\"agent-calls\"}"));
    let (status, ready) = get(address, "/-/ready").unwrap();
    assert_eq!(status, 200, "{ready}");
    signal(kept.0.id(), "INT");
    let status: ExitStatus = wait_for("it ends", || kept.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}
