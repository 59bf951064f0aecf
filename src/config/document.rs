//! A tree of nodes to one JSON value, with the place of every field and the mistakes found so far.
//!
//! Decides what scalars mean (YAML 1.2 core schema: `yes` is a text), fills in variables, applies
//! merge keys, refuses duplicate keys.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Number, Value};

use crate::config::environment::{Environment, ExpandError, expand};
use crate::config::problem::{Code, Problem};
use crate::config::snippet::{Snippet, is_secret_key, quote};
use crate::config::yaml::{self, Data, Node, Place};

/// One mistake, named by JSON pointer.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: Code,
    /// The field it is about.
    pub(super) pointer: String,
    /// Where to point at, if not at the field's value.
    pub(super) place: Option<Place>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Where a field stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) key: Option<Place>,
    pub(super) value: Place,
}

/// A file as read.
#[derive(Debug)]
pub(super) struct Document {
    /// Its name in messages.
    name: String,
    /// Its text.
    text: String,
    /// What it holds; top-level `x-*` keys are gone.
    pub(super) value: Value,
    places: BTreeMap<String, Places>,
    /// Scalars that may be secret.
    secrets: Vec<Place>,
    /// Fields whose value came out of a variable, never quoted in messages.
    expanded: BTreeSet<String>,
    /// Fields already complained about; nothing more is said about them or what is in them.
    settled: BTreeSet<String>,
    problems: Vec<Problem>,
}

/// Adds one segment to a JSON pointer.
pub(super) fn join(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// A JSON pointer as people write it: `kafka.brokers[0]`.
pub(super) fn dotted(pointer: &str) -> String {
    let mut out = String::new();
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit()) {
            out.push_str(&format!("[{segment}]"));
        } else {
            let dot = if out.is_empty() { "" } else { "." };
            out.push_str(&format!("{dot}{}", quote(&segment)));
        }
    }
    out
}

/// Every pointer above `pointer`, itself first, the root last.
fn ancestors(pointer: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(pointer), |pointer| pointer.rsplit_once('/').map(|(head, _)| head))
}

impl Document {
    /// Reads a text; variables are filled in where an environment is given.
    pub(super) fn read(name: &str, text: &str, environment: Option<&dyn Environment>) -> Self {
        let mut document = Self {
            name: name.chars().map(crate::config::snippet::printable).collect(),
            text: text.to_owned(),
            value: Value::Object(Map::new()),
            places: BTreeMap::new(),
            secrets: Vec::new(),
            expanded: BTreeSet::new(),
            settled: BTreeSet::new(),
            problems: Vec::new(),
        };
        match yaml::parse(text) {
            Ok(Some(root)) => {
                let mut reader =
                    Reader { document: &mut document, environment, faults: Vec::new() };
                let value = reader.value(&root, None, "", false);
                let faults = reader.faults;
                document.value = value;
                document.report(faults);
                if let Value::Object(fields) = &mut document.value {
                    fields.retain(|key, _| !key.starts_with("x-"));
                }
                if document.value.is_null() {
                    document.value = Value::Object(Map::new());
                }
            }
            Ok(None) => {}
            Err(error) => document.reject(error),
        }
        document
    }

    /// Whether the text could not be parsed at all.
    pub(super) fn is_unparsed(&self) -> bool {
        self.settled.contains("")
    }

    fn reject(&mut self, error: yaml::TreeError) {
        self.settled.insert(String::new());
        let place = error.place;
        let mut problem = Problem::of_file(error.code, &self.name, error.message, None);
        (problem.line, problem.column) = (place.line, place.column);
        problem.snippet = Snippet::unparsed(&self.text, place);
        self.problems.push(problem);
    }

    /// Whether enough was said about a field or something it is in.
    pub(super) fn is_settled(&self, pointer: &str) -> bool {
        ancestors(pointer).any(|above| self.settled.contains(above))
    }

    /// Takes mistakes in; what is about settled fields is dropped, then their fields are settled.
    pub(super) fn report(&mut self, faults: Vec<Fault>) {
        let fresh: Vec<Fault> =
            faults.into_iter().filter(|fault| !self.is_settled(&fault.pointer)).collect();
        for fault in &fresh {
            // The first of two equal keys stands, and is still checked.
            let goes_on = matches!(fault.code, Code::DuplicateKey | Code::Unsupported);
            if !goes_on && !fault.pointer.is_empty() {
                self.settled.insert(fault.pointer.clone());
            }
        }
        for fault in fresh {
            let problem = self.problem(fault);
            self.problems.push(problem);
        }
    }

    /// Settles a field without a word, because something was put in its place.
    pub(super) fn settle(&mut self, pointer: &str) {
        self.settled.insert(pointer.to_owned());
    }

    /// Whether anything was found so far.
    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Everything found.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// A mistake with file, line, column and snippet.
    pub(super) fn problem(&self, fault: Fault) -> Problem {
        let place = fault.place.unwrap_or_else(|| self.place(&fault.pointer).value);
        let mut problem = Problem::of_file(fault.code, &self.name, fault.message, fault.help);
        problem.path = dotted(&fault.pointer);
        (problem.line, problem.column) = (place.line, place.column);
        problem.snippet = Snippet::new(&self.text, place, &self.secrets);
        problem
    }

    /// Where a field stands, or else the nearest thing it is in.
    pub(super) fn place(&self, pointer: &str) -> Places {
        let start = Place { line: 1, column: 1, end_line: 1, end_column: 1 };
        ancestors(pointer)
            .find_map(|above| {
                let places = *self.places.get(above)?;
                // What is not there is missing from a mapping, and a mapping is known by its key.
                let value = if above == pointer { places.value } else { places.name() };
                Some(Places { key: places.key, value })
            })
            .unwrap_or(Places { key: None, value: start })
    }

    /// A value for a message: its type, and what it is unless that may be secret.
    pub(super) fn describe(&self, pointer: &str, value: &Value) -> String {
        let kind = match value {
            Value::Null => return "nothing".to_owned(),
            Value::Array(_) => return "a list".to_owned(),
            Value::Object(_) => return "a mapping".to_owned(),
            Value::Bool(_) => "",
            Value::Number(_) => "the number ",
            Value::String(_) => "the text ",
        };
        let secret = pointer.split('/').any(is_secret_key) || self.expanded.contains(pointer);
        match value {
            _ if secret && kind.is_empty() => "true or false".to_owned(),
            _ if secret => {
                format!("a {} that is not shown", kind.trim_start_matches("the ").trim_end())
            }
            Value::String(text) => format!("the text `{}`", quote(text)),
            other => format!("{kind}`{}`", quote(&other.to_string())),
        }
    }
}

impl Places {
    /// The key, or the start of the value where there is none.
    pub(super) fn name(self) -> Place {
        self.key.unwrap_or(Place {
            end_line: self.value.line,
            end_column: self.value.column + 1,
            ..self.value
        })
    }
}

/// Turns nodes into values.
struct Reader<'a> {
    document: &'a mut Document,
    environment: Option<&'a dyn Environment>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, code: Code, pointer: &str, place: Option<Place>, message: String) {
        let pointer = pointer.to_owned();
        self.faults.push(Fault { code, pointer, place, message, help: None });
    }

    fn value(&mut self, node: &Node, key: Option<Place>, pointer: &str, secret: bool) -> Value {
        self.document.places.insert(pointer.to_owned(), Places { key, value: node.place });
        match &node.data {
            Data::Scalar { text, plain } => {
                if secret {
                    self.document.secrets.push(node.place);
                }
                self.scalar(text, *plain, pointer)
            }
            Data::Sequence(items) => items
                .iter()
                .enumerate()
                .map(|(at, item)| self.value(item, None, &format!("{pointer}/{at}"), secret))
                .collect(),
            Data::Mapping(entries) => {
                let mut fields = Map::new();
                self.entries(entries, &mut fields, pointer, secret);
                Value::Object(fields)
            }
        }
    }

    fn entries(
        &mut self,
        entries: &[(std::rc::Rc<Node>, std::rc::Rc<Node>)],
        fields: &mut Map<String, Value>,
        pointer: &str,
        secret: bool,
    ) {
        for (key, value) in entries {
            let Data::Scalar { text, plain } = &key.data else {
                let message = "a key is a text, not a list or mapping".to_owned();
                self.fault(Code::Unsupported, pointer, Some(key.place), message);
                continue;
            };
            if *plain && text == "<<" {
                continue;
            }
            let child = join(pointer, text);
            let first = fields.contains_key(text).then(|| self.document.place(&child).name().line);
            if let Some(line) = first {
                let message = format!("`{}` is given twice, first on line {line}", quote(text));
                self.fault(Code::DuplicateKey, &child, Some(key.place), message);
                self.hide(value, secret || is_secret_key(text));
                continue;
            }
            let read = self.value(value, Some(key.place), &child, secret || is_secret_key(text));
            fields.insert(text.clone(), read);
        }
        // Fields written out win over merged ones wherever the merge key stands.
        for (key, value) in entries {
            if matches!(&key.data, Data::Scalar { text, plain: true } if text == "<<") {
                self.merge(value, fields, pointer, secret);
            }
        }
    }

    /// Marks a subtree that is not read as secret, so that no snippet shows it.
    fn hide(&mut self, node: &Node, secret: bool) {
        match &node.data {
            Data::Scalar { .. } if secret => self.document.secrets.push(node.place),
            Data::Scalar { .. } => {}
            Data::Sequence(items) => items.iter().for_each(|item| self.hide(item, secret)),
            Data::Mapping(entries) => entries.iter().for_each(|(key, value)| {
                let named = matches!(&key.data, Data::Scalar { text, .. } if is_secret_key(text));
                self.hide(value, secret || named);
            }),
        }
    }

    fn merge(&mut self, node: &Node, fields: &mut Map<String, Value>, pointer: &str, secret: bool) {
        match &node.data {
            Data::Mapping(entries) => {
                let mut merged = Map::new();
                let places = std::mem::take(&mut self.document.places);
                self.entries(entries, &mut merged, pointer, secret);
                let new = std::mem::replace(&mut self.document.places, places);
                for (place_of, places) in new {
                    self.document.places.entry(place_of).or_insert(places);
                }
                for (key, value) in merged {
                    fields.entry(key).or_insert(value);
                }
            }
            Data::Sequence(items) if items.iter().all(|i| matches!(i.data, Data::Mapping(_))) => {
                for item in items {
                    self.merge(item, fields, pointer, secret);
                }
            }
            _ => {
                let message = "`<<` merges a mapping or a list of mappings".to_owned();
                self.fault(Code::Unsupported, pointer, Some(node.place), message);
            }
        }
    }

    fn scalar(&mut self, text: &str, plain: bool, pointer: &str) -> Value {
        let expanded = match self.environment.map(|environment| expand(text, environment)) {
            None | Some(Ok(None)) => None,
            Some(Ok(Some(expanded))) => Some(expanded),
            Some(Err(error)) => {
                self.variable_fault(pointer, &error);
                return Value::String(String::new());
            }
        };
        let Some(expanded) = expanded else {
            return if plain { self.plain(text, pointer) } else { Value::String(text.to_owned()) };
        };
        self.document.expanded.insert(pointer.to_owned());
        match plain.then(|| resolve(&expanded)).flatten() {
            Some(value @ (Value::Bool(_) | Value::Number(_))) => value,
            _ => Value::String(expanded),
        }
    }

    fn variable_fault(&mut self, pointer: &str, error: &ExpandError) {
        let (message, help) = match error {
            ExpandError::Unset(name) => (
                format!("the environment variable `{name}` is not set"),
                format!("set it, or give a default: `${{{name}:-value}}`"),
            ),
            ExpandError::Malformed(why) => (
                why.clone(),
                "write `${NAME}` or `${NAME:-default}`, and `$$` for a `$`".to_owned(),
            ),
        };
        let (pointer, help) = (pointer.to_owned(), Some(help));
        self.faults.push(Fault { code: Code::Variable, pointer, place: None, message, help });
    }

    fn plain(&mut self, text: &str, pointer: &str) -> Value {
        if let Some(value) = resolve(text) {
            return value;
        }
        if [".inf", "-.inf", "+.inf", ".nan"].contains(&text.to_ascii_lowercase().as_str()) {
            let message = format!("`{text}` is no number that can be used here");
            self.fault(Code::WrongType, pointer, None, message);
        }
        Value::String(text.to_owned())
    }
}

/// What a plain scalar means if it is not a text.
pub(super) fn resolve(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        _ => {}
    }
    let radix = |prefix: &str, radix| {
        text.strip_prefix(prefix)
            .filter(|digits| !digits.starts_with(['+', '-']))
            .and_then(|digits| u64::from_str_radix(digits, radix).ok())
    };
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Some(number.into());
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = unsigned.parse::<u64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let float = (digits && numeric).then(|| text.parse::<f64>().ok()).flatten()?;
    Number::from_f64(float).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> (Value, Vec<String>) {
        let environment = BTreeMap::from([
            ("N".to_owned(), "7".to_owned()),
            ("EVIL".to_owned(), "x\nadmin: true\n- [{&a *a".to_owned()),
        ]);
        let document = Document::read("f.yaml", text, Some(&environment));
        let value = document.value.clone();
        let messages = document.into_problems().into_iter().map(|p| p.message).collect();
        (value, messages)
    }

    #[test]
    fn scalars_mean_what_yaml_1_2_says() {
        let text = "[1, -2, 0x1f, 1.5, 1e3, true, yes, ~, '1', 12:30, 1.2.3, '', !!str 5, 30s]";
        let expected = json!([
            1, -2, 31, 1.5, 1000.0, true, "yes", null, "1", "12:30", "1.2.3", "", "5", "30s"
        ]);
        assert_eq!(read(text), (expected, vec![]));
    }

    #[test]
    fn variables_keep_to_their_scalar() {
        let (value, problems) = read("a: ${EVIL}\nb:\n- \"${EVIL}\"\n- ${N}\n- '${N}'\n");
        let evil = "x\nadmin: true\n- [{&a *a";
        assert_eq!(value, json!({"a": evil, "b": [evil, 7, "7"]}));
        assert!(problems.is_empty());
    }

    #[test]
    fn anchors_and_merge_keys_work_and_written_fields_win() {
        let text = "x-base: &b {a: 1, b: 2}\nx-more: &m {b: 5, c: 3}\nd: {<<: [*b, *m], a: 9}\n";
        assert_eq!(read(text), (json!({"d": {"a": 9, "b": 2, "c": 3}}), vec![]));
    }

    #[test]
    fn every_duplicate_key_is_reported() {
        let (_, problems) = read("a: 1\nb: {c: 1, c: 2}\na: 2\n");
        assert_eq!(
            problems,
            ["`c` is given twice, first on line 2", "`a` is given twice, first on line 1"]
        );
    }

    #[test]
    fn bombs_are_refused() {
        let mut laughs = String::from("a0: &a0 [x, x]\n");
        for level in 1..40 {
            let below = level - 1;
            laughs.push_str(&format!("a{level}: &a{level} [*a{below}, *a{below}]\n"));
        }
        for text in [
            laughs,
            "[".repeat(100_000),
            "- ".repeat(100_000),
            "a: &a [*a]".to_owned(),
            "x".repeat(2 << 20),
            "{a: ".repeat(200_000),
        ] {
            assert_eq!(read(&text).1.len(), 1);
        }
    }
}
