//! What was learned, as a file: written, read, put together, and gone on from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use serde_json::Value;

use crate::calls::create_topics;
use crate::pipeline::history;
use crate::running::{Running, Settings, Stored, produce, wait_for};
use crate::support::{fail, succeed};

fn toolwarden(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toolwarden"));
    command.args(arguments);
    command
}

fn lines(calls: &[(toolwarden::event::Timestamp, String, Vec<u8>)]) -> Vec<u8> {
    calls.iter().flat_map(|(_, _, line)| line.iter().copied().chain([b'\n'])).collect()
}

/// The history in two files, cut in the middle of its last day but one.
fn two_files(directory: &Path) -> [PathBuf; 2] {
    let cut = history().len() * 3 / 4;
    let paths = ["first", "second"].map(|name| directory.join(name));
    fs::write(&paths[0], lines(&history()[..cut])).unwrap();
    fs::write(&paths[1], lines(&history()[cut..])).unwrap();
    paths
}

fn show(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_replay_that_goes_on_from_a_file_says_what_an_unbroken_one_says() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = two_files(directory.path());
    let whole = succeed(&mut toolwarden(&["replay", show(&first), show(&second)]));
    let baseline = directory.path().join("baseline");
    let export = ["baseline", "export", "--output", show(&baseline), show(&first)];
    succeed(&mut toolwarden(&export));
    let rest = ["replay", "--baseline", show(&baseline), show(&second)];
    let rest = succeed(&mut toolwarden(&rest));
    assert!(!rest.is_empty() && whole.ends_with(&rest), "it says otherwise:\n{rest}");
    assert!(rest.contains("repeat.loop") && rest.contains("call_rate.burst"));
}

#[test]
fn files_are_checked_and_put_together() {
    let directory = tempfile::tempdir().unwrap();
    let files = two_files(directory.path());
    let name = |name: &str| directory.path().join(name);
    let [one, two, both, again] = ["one", "two", "both", "again"].map(name);
    for (calls, baseline) in files.iter().zip([&one, &two]) {
        succeed(&mut toolwarden(&["baseline", "export", "-o", show(baseline), show(calls)]));
    }
    succeed(&mut toolwarden(&["baseline", "import", show(&one), show(&two)]));
    let import = ["baseline", "import", "-o", show(&both), show(&one), show(&two)];
    succeed(&mut toolwarden(&import));
    succeed(&mut toolwarden(&["baseline", "import", "-o", show(&again), show(&both)]));
    let newest = |baseline: &Path| {
        let agent = "code-assistant-0@0000";
        let show = ["baseline", "show", agent, "--baseline", show(baseline), "-o", "json"];
        let shown: Value = serde_json::from_str(&succeed(&mut toolwarden(&show))).unwrap();
        (shown["newest"].clone(), shown["active_days"].clone())
    };
    assert_eq!(newest(&both), newest(&two));
    assert_ne!(newest(&both), newest(&one));
    assert_eq!(newest(&again), newest(&both));
}

#[test]
fn a_file_that_is_none_or_was_cut_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let [first, _] = two_files(directory.path());
    let baseline = directory.path().join("baseline");
    succeed(&mut toolwarden(&["baseline", "export", "-o", show(&baseline), show(&first)]));
    let import = |path: &Path| fail(&mut toolwarden(&["baseline", "import", show(path)]));
    assert!(import(&first).contains("`baseline export`"), "{}", import(&first));
    let whole = fs::read(&baseline).unwrap();
    for part in [0, 1, 3, 4, 40, whole.len() / 2, whole.len() - 1] {
        fs::write(&baseline, &whole[..part]).unwrap();
        let said = import(&baseline);
        assert!(said.contains("export"), "{part} bytes: {said}");
        assert!(!said.contains("panicked"), "{part} bytes: {said}");
    }
    for place in (0..whole.len()).step_by(whole.len() / 60) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x10;
        fs::write(&baseline, &damaged).unwrap();
        let mut command = toolwarden(&["baseline", "import", show(&baseline)]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "byte {place}: {said}");
    }
}

const TOKEN: &str = "let-me-have-everything";

/// An instance that has judged the history, and lets who has [`TOKEN`] have what it learned.
fn instance(cluster: &MockCluster<'_, DefaultProducerContext>, name: &str) -> Running {
    let settings = Settings {
        environment: vec![("EXPORT_TOKEN", TOKEN.to_owned())],
        server: "export_token_env: EXPORT_TOKEN",
        ..Settings::new(&cluster.bootstrap_servers(), name)
    };
    create_topics(cluster, &settings, 8);
    let calls = history().iter().map(|(time, key, line)| {
        let stored = Stored::new(-1, key.as_bytes(), line.as_slice());
        Stored { appended_ms: Some(time.as_millis()), ..stored }
    });
    produce(&settings.bootstrap, settings.calls(), &calls.collect::<Vec<_>>());
    let running = Running::start(&settings);
    running.wait_until_judged(history().len());
    running
}

#[test]
fn what_a_running_instance_has_learned_is_taken_out_of_it_as_a_file() {
    let cluster = MockCluster::new(1).unwrap();
    let running = instance(&cluster, "export");
    let directory = tempfile::tempdir().unwrap();
    let [token, baseline] = ["token", "baseline"].map(|name| directory.path().join(name));
    let url = running.url();
    let export = || {
        let export = ["baseline", "export", "-o", show(&baseline), "--url", &url, "--token-file"];
        let mut command = toolwarden(&export);
        command.arg(&token);
        command
    };
    fs::write(&token, "not-the-token-of-it\n").unwrap();
    assert!(fail(&mut export()).contains("takes the token"));
    assert!(!baseline.exists() && !directory.path().join("baseline.part").exists());
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    succeed(&mut export());
    let agents = |said: &str| said.contains("10 agents");
    let checked = toolwarden(&["baseline", "import", show(&baseline)]).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success() && agents(&said), "{said}");
    // What the file knows of an agent is what the instance knows of it, and its group.
    let known = |from: [&str; 2]| {
        let agent = "code-assistant-0@0000";
        let mut command = toolwarden(&["baseline", "show", agent, "-o", "json"]);
        let said = succeed(command.args(from).args(["--tenant", "acme"]));
        let mut shown: Value = serde_json::from_str(&said).unwrap();
        // Episodes end by the time that passes, which the file has none of.
        shown.as_object_mut().unwrap().remove("open");
        shown
    };
    // Sessions end by the time that passes, too: both are of one moment when nothing changed between.
    let by_instance = wait_for("nothing changes while it is written", || {
        let before = known(["--url", &url]);
        succeed(&mut export());
        (known(["--url", &url]) == before).then_some(before)
    });
    assert_eq!(known(["--baseline", show(&baseline)]), by_instance);
    assert!(by_instance["peers"].as_u64().unwrap() >= 3, "{by_instance}");
}

#[test]
fn an_agent_is_shown_to_people_and_to_machines() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = two_files(directory.path());
    let agent = "code-assistant-0@0000";
    let ask = |output: &str| {
        let from = ["--from", show(&first), show(&second)];
        let mut command = toolwarden(&["baseline", "show", agent, "--output", output]);
        succeed(command.args(from))
    };
    let shown: Value = serde_json::from_str(&ask("json")).unwrap();
    assert_eq!(shown["agent_id"], agent);
    assert!(shown["peers"].as_u64().unwrap() >= 3);
    let detectors = shown["detectors"].as_array().unwrap();
    let call_rate = detectors.iter().find(|it| it["detector"] == "call_rate").unwrap();
    assert_eq!(call_rate["learning"]["state"], "active");
    assert!(call_rate["usual"]["high"].as_f64() > call_rate["usual"]["low"].as_f64());
    let injected = detectors.iter().find(|it| it["detector"] == "injected_session").unwrap();
    assert_eq!(injected["learning"]["state"], "learning");
    let table = ask("table");
    for word in ["DETECTOR", "acting calls in 60 s", "learning", "active", "known,", "hours"] {
        assert!(table.contains(word), "{word}:\n{table}");
    }
    let nobody = ["baseline", "show", "nobody", "--from", show(&first)];
    assert!(fail(&mut toolwarden(&nobody)).contains("no such agent among the 10"));
    assert!(fail(&mut toolwarden(&["baseline", "show", agent])).contains("--from FILES"));
}
