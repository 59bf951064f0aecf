//! A test that reads the code: arrows between rooms, headers, sizes, bans, and documents in step.
//!
//! What it holds is written in `ARCHITECTURE.md` and `CONTRIBUTING.md`. It reads text, not names, so
//! the code says `crate::room` in full and re-exports nothing across rooms.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{files_below, walk};

/// Which rooms each room may name. An arrow added here is reviewed as a change of the house.
const ARROWS: [(&str, &[&str]); 17] = [
    ("event", &[]),
    ("kill_point", &[]),
    ("decode", &["event"]),
    ("baseline", &["event"]),
    ("policy", &["event", "alert"]),
    ("alert", &["event"]),
    ("detect", &["event", "baseline", "policy", "alert"]),
    ("generate", &["event"]),
    ("telemetry", &["event", "alert"]),
    ("state", &["event", "baseline", "detect"]),
    ("kafka", &["kill_point", "telemetry"]),
    ("deliver", &["event", "alert", "telemetry"]),
    ("config", &["alert", "policy", "decode", "deliver"]),
    ("serve", &["telemetry"]),
    (
        "pipeline",
        &[
            "event",
            "kill_point",
            "decode",
            "baseline",
            "policy",
            "alert",
            "detect",
            "generate",
            "telemetry",
            "state",
            "kafka",
            "deliver",
            "config",
            "serve",
        ],
    ),
    (
        "cli",
        &[
            "alert",
            "config",
            "decode",
            "deliver",
            "generate",
            "kafka",
            "kill_point",
            "pipeline",
            "policy",
            "state",
            "telemetry",
        ],
    ),
    ("main", &["cli"]),
];

/// Rooms that do no IO, read no clock and depend on no hash order.
const PURE: [&str; 7] = ["event", "decode", "baseline", "policy", "alert", "detect", "generate"];

/// What a pure room must not name.
const IMPURE: [&str; 13] = [
    "tokio::",
    "rdkafka::",
    "dashmap::",
    "prometheus::",
    "tracing::",
    "axum::",
    "reqwest::",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "async fn",
    "static mut",
];

/// Who may name a library that belongs to one room.
const OWNED: [(&str, &[&str]); 3] =
    [("rdkafka::", &["kafka"]), ("prometheus::", &["telemetry"]), ("dashmap::", &["state"])];

const FILE_LINES_MAX: usize = 500;

struct SourceFile {
    path: PathBuf,
    room: String,
    /// Everything before the tests.
    production: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<SourceFile> {
    let is_test = |path: &Path| {
        path.file_stem().is_some_and(|stem| stem == "tests")
            || path.components().any(|part| part.as_os_str() == "tests")
    };
    files_below("src", "rs")
        .into_iter()
        .filter(|path| !is_test(path))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let below = path.strip_prefix(root().join("src")).unwrap();
            let first = below.components().next().unwrap().as_os_str().to_string_lossy();
            let room = first.trim_end_matches(".rs").to_owned();
            let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
            SourceFile { path, room, production, text }
        })
        .collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Each code line with its number, without comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let code = line.trim_start();
        (!code.starts_with("//")).then(|| (index + 1, line.split(" // ").next().unwrap()))
    })
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn rooms_name_only_the_rooms_the_arrows_allow() {
    let mut faults = Vec::new();
    for file in sources().iter().filter(|file| file.room != "lib") {
        let Some((_, allowed)) = ARROWS.iter().find(|(room, _)| *room == file.room) else {
            faults.push(format!("{}: `{}` is no room of the house", shown(&file.path), file.room));
            continue;
        };
        for (number, line) in code_lines(&file.production) {
            let named = line.split("crate::").skip(1).chain(line.split("toolwarden::").skip(1));
            for rest in named {
                let name: String =
                    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let is_room = ARROWS.iter().any(|(room, _)| *room == name);
                if is_room && name != file.room && !allowed.contains(&name.as_str()) {
                    let place = shown(&file.path);
                    faults
                        .push(format!("{place}:{number}: `{}` must not name `{name}`", file.room));
                }
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn no_arrow_is_allowed_that_nobody_needs() {
    let sources = sources();
    let mut faults = Vec::new();
    for (room, allowed) in &ARROWS {
        let own: Vec<&SourceFile> = sources.iter().filter(|file| file.room == *room).collect();
        for other in *allowed {
            let ways = [format!("crate::{other}"), format!("toolwarden::{other}")];
            let is_used = |file: &&SourceFile| ways.iter().any(|way| file.text.contains(way));
            if !own.iter().any(is_used) {
                faults.push(format!("`{room}` may name `{other}`, and does not"));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_page_of_the_documents_that_is_named_is_there() {
    let mut faults = Vec::new();
    let named = tracked_texts()
        .into_iter()
        .filter(|path| !path.starts_with(root().join("rules/catalogues")));
    for path in named {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let mut rest = text.as_str();
        while let Some((_, after)) = rest.split_once("docs/") {
            rest = after;
            let name: String = after
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || "/_.-".contains(*c))
                .collect();
            let Some((name, _)) = name.split_once(".md") else { continue };
            let page = format!("docs/{name}.md");
            if !root().join(&page).exists() {
                faults.push(format!("{}: {page}", shown(&path)));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn the_judgement_does_no_io_and_reads_no_clock() {
    let mut faults = Vec::new();
    for file in sources().iter().filter(|file| PURE.contains(&file.room.as_str())) {
        for (number, line) in code_lines(&file.production) {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{}:{number}: `{word}` in a pure room", shown(&file.path)));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn a_library_is_named_by_its_own_room_only() {
    let mut faults = Vec::new();
    for file in &sources() {
        for (number, line) in code_lines(&file.production) {
            for (library, rooms) in OWNED {
                if line.contains(library) && !rooms.contains(&file.room.as_str()) {
                    faults.push(format!(
                        "{}:{number}: `{library}` is for {rooms:?}",
                        shown(&file.path)
                    ));
                }
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    let mut faults = Vec::new();
    for file in &sources() {
        if !file.text.starts_with("//!") {
            faults.push(format!("{}: no `//!` header", shown(&file.path)));
        }
        let lines = file.production.lines().count();
        if lines > FILE_LINES_MAX {
            faults.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", shown(&file.path)));
        }
    }
    for path in files_below("tests", "rs").into_iter().chain(files_below("benches", "rs")) {
        if !fs::read_to_string(&path).unwrap().starts_with("//!") {
            faults.push(format!("{}: no `//!` header", shown(&path)));
        }
    }
    assert_none(&faults);
}

#[test]
fn production_code_does_not_stop_the_process_or_leave_work_behind() {
    let banned = [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "dbg!("];
    let left_behind = ["TODO", "FIXME", "XXX", "HACK"];
    let mut faults = Vec::new();
    for file in &sources() {
        for (number, line) in code_lines(&file.production) {
            for word in banned.iter().filter(|word| line.contains(**word)) {
                if !is_excepted(&file.production, number, word) {
                    let place = shown(&file.path);
                    faults.push(format!("{place}:{number}: `{word}` in production code"));
                }
            }
        }
        for (number, line) in file.text.lines().enumerate() {
            for word in left_behind.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{}:{}: `{word}`", shown(&file.path), number + 1));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn no_tail_is_one_minus_something() {
    // It would be 0 from a chance of 1e-16 on, and has few digits long before.
    let upper = ["tail(", "sf(", "cdf(", "erf(", "erfc("];
    let mut faults = Vec::new();
    for file in &sources() {
        for (number, line) in code_lines(&file.text) {
            let after_one = line.split("1.0 - ").skip(1);
            let is_tail = after_one.into_iter().any(|rest| {
                let name = rest.split_inclusive('(').next().unwrap_or("");
                upper.iter().any(|word| name.ends_with(word))
            });
            if is_tail || line.contains(".cdf(") {
                let place = shown(&file.path);
                faults.push(format!("{place}:{number}: take the upper tail itself"));
            }
        }
    }
    assert_none(&faults);
}

/// Whether the function around line `number` carries the lint exception for `word`. That it has a
/// reason is held by a test of its own.
fn is_excepted(text: &str, number: usize, word: &str) -> bool {
    const ATTRIBUTE_LINES: usize = 12;
    let lint = match word {
        ".unwrap()" => "clippy::unwrap_used",
        ".expect(" => "clippy::expect_used",
        "panic!(" => "clippy::panic",
        _ => return false,
    };
    let above = number.saturating_sub(ATTRIBUTE_LINES);
    text.lines().take(number).skip(above).any(|line| line.contains(lint))
}

#[test]
fn no_lint_is_silenced_without_a_reason() {
    let mut faults = Vec::new();
    for file in &sources() {
        let after = |begin| file.text.split(begin).skip(1);
        for rest in after("#[expect(").chain(after("#[allow(")) {
            let attribute = rest.split(")]").next().unwrap();
            if !attribute.contains("reason =") {
                faults.push(format!("{}: {attribute}", shown(&file.path)));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn the_architecture_names_every_module_and_no_others() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let named: BTreeSet<String> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with("src/"))
        .map(|word| word.trim_end_matches('/').to_owned())
        .collect();
    let modules: BTreeSet<String> = sources()
        .iter()
        .filter(|file| file.path.file_name().is_some_and(|name| name != "lib.rs"))
        .map(|file| format!("src/{}", file.room))
        .map(|room| if room == "src/main" { "src/main.rs".to_owned() } else { room })
        .collect();
    let top: BTreeSet<String> =
        named.iter().filter(|n| n.matches('/').count() == 1).cloned().collect();
    assert_eq!(top, modules, "ARCHITECTURE.md must name each room as `src/<room>`, and only those");
    let missing: Vec<_> = named.iter().filter(|name| !root().join(name).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}

#[test]
fn the_architecture_shows_the_arrows_as_they_are() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut faults = Vec::new();
    for (room, allowed) in ARROWS.iter().filter(|(room, _)| *room != "main") {
        let names = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
        let row = format!("| `src/{room}` | {names} |");
        if !text.contains(&row) {
            faults.push(format!("ARCHITECTURE.md lacks the row {row}"));
        }
    }
    assert_none(&faults);
}

#[test]
fn the_project_speaks_only_of_itself() {
    // Written in pieces, so that this file does not hold what it looks for.
    let banned = [["/wo", "rk/"], ["/ro", "ot/"], ["shared/", "reference"], ["shared/", "sealed"]];
    let mut faults = Vec::new();
    for path in tracked_texts() {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            for word in
                banned.iter().map(|pieces| pieces.concat()).filter(|word| line.contains(word))
            {
                faults.push(format!("{}:{}: `{word}`", shown(&path), number + 1));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut faults = Vec::new();
    for path in
        tracked_texts().into_iter().filter(|path| path.extension().is_some_and(|e| e == "md"))
    {
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            let elsewhere = file.is_empty() || file.contains("://") || file.starts_with("mailto:");
            if !elsewhere && !path.parent().unwrap().join(file).exists() {
                faults.push(format!("{}: {target}", shown(&path)));
            }
        }
    }
    assert_none(&faults);
}

/// Every text file of the project that is not built or fetched.
fn tracked_texts() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if ["target", ".git"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            walk(&path, &mut found);
        } else {
            found.push(path);
        }
    }
    found.retain(|path| {
        let kinds = ["rs", "md", "toml", "yaml", "yml", "json", "txt", "tpl", "sh"];
        path.extension().is_none_or(|e| kinds.iter().any(|kind| *kind == e))
    });
    found
}
