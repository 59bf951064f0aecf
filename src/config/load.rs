//! Files to values: reading, walking the schema, and the schema itself as the last word.

use std::fs;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::checked::Config;
use crate::config::checking;
use crate::config::document::{Document, Fault, dotted};
use crate::config::environment::Environment;
use crate::config::problem::{Code, Problem, ProblemSeverity, Problems};
use crate::config::raw::RawConfig;
use crate::config::schema::schema_of;
use crate::config::shape;
use crate::config::yaml::BYTES_MAX;

/// A configuration that is valid, and what is still worth saying about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings, in the order of lines.
    pub warnings: Vec<Problem>,
}

/// Knows where every field of a file stands, for mistakes found after reading.
#[derive(Debug)]
pub struct Positions(Document);

impl Positions {
    /// A mistake at a field, named by JSON pointer (`/kafka/brokers/0`); where there is no such
    /// field, at what it would be in.
    #[must_use]
    pub fn problem(&self, code: Code, pointer: &str, message: &str, help: Option<&str>) -> Problem {
        let place = Some(self.0.place(pointer).value);
        self.0.problem(Fault {
            code,
            pointer: pointer.to_owned(),
            place,
            message: message.to_owned(),
            help: help.map(str::to_owned),
        })
    }
}

/// Reads the configuration file at `path`. Files it names are looked for beside it.
///
/// # Errors
/// Every mistake in it.
pub fn load(path: &Path, environment: &dyn Environment) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let text = read_text(path).map_err(|problem| Problems::new(vec![*problem]))?;
    let directory = path.parent().unwrap_or(Path::new(""));
    load_text(&name, &text, directory, environment)
}

/// Reads a configuration from a text; `name` stands in messages, files are looked for in
/// `directory`.
///
/// # Errors
/// Every mistake in it.
pub fn load_text(
    name: &str,
    text: &str,
    directory: &Path,
    environment: &dyn Environment,
) -> Result<Loaded, Problems> {
    let mut document = Document::read(name, text, Some(environment));
    let Some(raw) = shaped::<RawConfig>(&mut document) else {
        return Err(Problems::new(document.into_problems()));
    };
    let config = checking::check(&raw, &mut document, directory, environment);
    let (errors, warnings): (Vec<Problem>, Vec<Problem>) = Problems::new(document.into_problems())
        .into_vec()
        .into_iter()
        .partition(|problem| problem.severity == ProblemSeverity::Error);
    match config {
        Some(config) if errors.is_empty() => Ok(Loaded { config, warnings }),
        _ => Err(Problems::new(errors.into_iter().chain(warnings).collect())),
    }
}

/// Reads any strict YAML file, for example a rule. Variables are filled in where an environment is
/// given.
///
/// # Errors
/// Every way in which it does not fit the schema of `T`.
pub fn load_yaml<T: DeserializeOwned + JsonSchema>(
    name: &str,
    text: &str,
    environment: Option<&dyn Environment>,
) -> Result<T, Problems> {
    load_yaml_located(name, text, environment).map(|(value, _)| value)
}

/// [`load_yaml`], and where everything stands.
///
/// # Errors
/// Every way in which it does not fit the schema of `T`.
pub fn load_yaml_located<T: DeserializeOwned + JsonSchema>(
    name: &str,
    text: &str,
    environment: Option<&dyn Environment>,
) -> Result<(T, Positions), Problems> {
    let mut document = Document::read(name, text, environment);
    match shaped::<T>(&mut document) {
        Some(value) if !document.has_problems() => Ok((value, Positions(document))),
        _ => Err(Problems::new(document.into_problems())),
    }
}

/// What a file holds after everything wrong was reported and taken out; `None` if too little is
/// left.
fn shaped<T: DeserializeOwned + JsonSchema>(document: &mut Document) -> Option<T> {
    if document.is_unparsed() {
        return None;
    }
    let schema = schema_of::<T>();
    let value = shape::check(document, &schema);
    if !document.has_problems() {
        let rest = unfit(&schema, &document.value);
        document.report(rest);
    }
    match serde_json::from_value(value) {
        Ok(raw) => Some(raw),
        Err(error) => {
            if !document.has_problems() {
                let message = crate::config::snippet::mask_by_form(&error.to_string());
                let (pointer, help) = (String::new(), None);
                document.report(vec![Fault {
                    code: Code::Schema,
                    pointer,
                    place: None,
                    message,
                    help,
                }]);
            }
            None
        }
    }
}

/// What the walk has no words for.
fn unfit(schema: &Value, value: &Value) -> Vec<Fault> {
    let Ok(validator) = jsonschema::validator_for(schema) else { return Vec::new() };
    validator
        .iter_errors(value)
        .map(|error| {
            let pointer = error.instance_path().as_str().to_owned();
            let message = format!("`{}` does not fit: {}", dotted(&pointer), error.masked());
            Fault { code: Code::Schema, pointer, place: None, message, help: None }
        })
        .collect()
}

/// How deep rule directories may be nested: families of rules, not a file system.
const RULE_DEPTH_MAX: usize = 4;

/// Finds rule files in a directory and those below it.
fn find_rules(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let is_yaml = path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml");
        if hidden {
            continue;
        }
        if path.is_dir() && depth > 0 {
            find_rules(&path, depth - 1, found)?;
        } else if is_yaml {
            found.push(path);
        }
    }
    Ok(())
}

/// The rule files of a directory and those below it (`*.yaml`, `*.yml`, not those that begin with a
/// dot), by name, with their texts.
///
/// # Errors
/// What could not be read.
pub fn load_rule_files(directory: &Path) -> Result<Vec<(PathBuf, String)>, Problems> {
    let name = directory.display().to_string();
    let unreadable = |error: &std::io::Error| {
        let message = format!("the rule directory cannot be read: {error}");
        Problems::new(vec![Problem::of_file(Code::Unreadable, &name, message, None)])
    };
    let mut paths = Vec::new();
    find_rules(directory, RULE_DEPTH_MAX, &mut paths).map_err(|error| unreadable(&error))?;
    paths.sort();
    if paths.is_empty() {
        let message = "there is no rule file (`*.yaml`, `*.yml`) in this directory".to_owned();
        return Err(Problems::new(vec![Problem::of_file(Code::Unreadable, &name, message, None)]));
    }
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        match read_text(&path) {
            Ok(text) => files.push((path, text)),
            Err(problem) => problems.push(*problem),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(Problems::new(problems)) }
}

/// Reads a text file within the size allowed.
pub(crate) fn read_text(path: &Path) -> Result<String, Box<Problem>> {
    let name = path.display().to_string();
    let problem = |code, message: String| Box::new(Problem::of_file(code, &name, message, None));
    let unreadable = |error: std::io::Error| {
        problem(Code::Unreadable, format!("the file cannot be read: {error}"))
    };
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if usize::try_from(size).map_or(true, |size| size > BYTES_MAX) {
        let message = format!("the file has {size} bytes; at most {BYTES_MAX} are read");
        return Err(problem(Code::TooLarge, message));
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        problem(
            Code::Syntax,
            format!("the file is not UTF-8: byte {at} is not part of any character"),
        )
    })
}
