//! What several tests need: the way to the repository, YAML as JSON, commands that must succeed,
//! and the word that asks for the slow tests. No test itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// A path inside the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A text file of the repository.
pub(crate) fn text(path: &str) -> String {
    let path = repository(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Adds every file below a directory, in the order of their names.
pub(crate) fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The files below a directory of the repository whose names have this extension.
pub(crate) fn files_below(directory: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&repository(directory), &mut found);
    found.retain(|path| path.extension().is_some_and(|e| e == extension));
    found
}

/// Whether tests that need Kafka, Prometheus or Helm are to run; says so on standard error if not.
#[expect(clippy::print_stderr, reason = "a skipped test is said to be skipped")]
pub(crate) fn slow_tests_are_wanted() -> bool {
    let wanted = variable("TOOLWARDEN_SLOW_TESTS").is_some_and(|value| value == "1");
    if !wanted {
        eprintln!("skipped: needs outside programs; `scripts/test` sets TOOLWARDEN_SLOW_TESTS=1");
    }
    wanted
}

/// An environment variable of the test run; empty counts as absent.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty())
}

/// Runs a command that must succeed and returns what it printed.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}\n{}", both(&output));
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

/// Runs a command that must fail and returns everything it printed.
pub(crate) fn fail(command: &mut Command) -> String {
    let output = run(command);
    assert!(!output.status.success(), "{command:?} succeeded\n{}", both(&output));
    both(&output)
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

fn both(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

/// The documents of a YAML text as JSON values; empty documents are left out.
pub(crate) fn yaml(text: &str) -> Vec<Value> {
    let mut events = Parser::new_from_str(text).map(|event| match event {
        Ok((event, _)) => event,
        Err(e) => panic!("{e}\n{text}"),
    });
    let mut documents = Vec::new();
    while let Some(event) = events.next() {
        if matches!(event, Event::DocumentStart(_)) {
            documents.push(node(&mut events).expect("a document has a node"));
        }
    }
    documents.retain(|document| !document.is_null());
    documents
}

/// The next node, or `None` where the collection ends.
fn node<'a>(events: &mut impl Iterator<Item = Event<'a>>) -> Option<Value> {
    match events.next()? {
        Event::Scalar(text, ScalarStyle::Plain, _, _) => Some(plain(&text)),
        Event::Scalar(text, ..) => Some(Value::from(text.as_ref())),
        Event::SequenceStart(..) => {
            Some(std::iter::from_fn(|| node(events)).collect::<Vec<_>>().into())
        }
        Event::MappingStart(..) => {
            let mut fields = Map::new();
            while let Some(key) = node(events) {
                let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                fields.insert(key, node(events).expect("a key has a value"));
            }
            Some(Value::Object(fields))
        }
        Event::SequenceEnd | Event::MappingEnd => None,
        other => panic!("unexpected in YAML: {other:?}"),
    }
}

/// A scalar without quotes: a JSON word or number if it is one, else a string.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
    }
}
