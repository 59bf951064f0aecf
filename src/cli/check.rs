//! `toolwarden check`: every mistake of configuration and rule files, without touching the network.
//!
//! A plain function that writes to what it is given; arguments are parsed in `cli`. What makes a
//! rule valid is handed in, because rules are not this module's business.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::config::{self, Environment, Problem, ProblemSeverity, Problems};

/// All is well.
pub const EXIT_OK: u8 = 0;

/// Findings: here, warnings that were to be denied.
pub const EXIT_FINDINGS: u8 = 1;

/// Rules cannot be used.
pub const EXIT_RULES: u8 = 3;

/// The configuration cannot be used.
pub const EXIT_CONFIG: u8 = 4;

/// Checks one rule file, given its name and text; returns warnings.
pub type RuleChecker<'a> = &'a dyn Fn(&str, &str) -> Result<Vec<Problem>, Problems>;

/// How the result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckOutput {
    /// A page for people.
    #[default]
    Text,
    /// One JSON object: `verdict`, `files`, `problems`.
    Json,
}

/// What to check and how to tell.
pub struct Check<'a> {
    /// Configuration files, rule files and directories of rule files.
    pub paths: &'a [PathBuf],
    /// Where variables and secrets are looked up.
    pub environment: &'a dyn Environment,
    /// What makes a rule valid.
    pub rules: RuleChecker<'a>,
    /// How the result is written.
    pub output: CheckOutput,
    /// Whether a warning fails the check.
    pub deny_warnings: bool,
}

impl std::fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check")
            .field("paths", &self.paths)
            .field("output", &self.output)
            .field("deny_warnings", &self.deny_warnings)
            .finish_non_exhaustive()
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    /// Every file looked at, with what it is.
    files: Vec<(String, &'static str)>,
    problems: Vec<Problem>,
    config_broken: bool,
    rules_broken: bool,
}

/// Checks everything, writes what was found and returns the exit code: 0, or 1 for warnings with
/// `deny_warnings`, 3 for rules, 4 for configuration (which wins over 3).
///
/// # Errors
/// When `out` cannot be written to.
pub fn check(check: &Check<'_>, out: &mut dyn Write) -> anyhow::Result<u8> {
    let mut found = Found::default();
    for path in check.paths {
        if path.is_dir() {
            check_rules(check, path, &mut found);
        } else if is_config(path) {
            check_config(check, path, &mut found);
        } else {
            match config::read_text(path) {
                Ok(text) => check_rule(check, path, &text, &mut found),
                Err(problem) => {
                    found.config_broken = true;
                    found.problems.push(*problem);
                }
            }
        }
    }
    let warnings = count(&found.problems, ProblemSeverity::Warning);
    let exit = match () {
        () if found.config_broken => EXIT_CONFIG,
        () if found.rules_broken => EXIT_RULES,
        () if check.deny_warnings && warnings > 0 => EXIT_FINDINGS,
        () => EXIT_OK,
    };
    match check.output {
        CheckOutput::Text => write_text(&found, exit, out)?,
        CheckOutput::Json => write_json(&found, exit, out)?,
    }
    Ok(exit)
}

/// Whether a file is a configuration: it has one of the keys that only a configuration has at its
/// top. What cannot be read or parsed is judged by the same keys at the beginning of a line.
fn is_config(path: &Path) -> bool {
    let Ok(text) = config::read_text(path) else { return false };
    let keys =
        ["kafka:", "sources:", "receivers:", "event_time:", "\"kafka\"", "{kafka", "{\"kafka\""];
    text.lines()
        .any(|line| keys.iter().any(|key| line.trim_start_matches('\u{feff}').starts_with(key)))
}

fn check_config(check: &Check<'_>, path: &Path, found: &mut Found) {
    found.files.push((path.display().to_string(), "configuration"));
    match config::load(path, check.environment) {
        Ok(loaded) => {
            found.problems.extend(loaded.warnings);
            if let Some(directory) = loaded.config.rules.directory {
                check_rules(check, &directory, found);
            }
        }
        Err(problems) => {
            found.config_broken = true;
            found.problems.extend(problems.into_vec());
        }
    }
}

fn check_rules(check: &Check<'_>, directory: &Path, found: &mut Found) {
    match config::load_rule_files(directory) {
        Ok(files) => {
            for (path, text) in files {
                check_rule(check, &path, &text, found);
            }
        }
        Err(problems) => {
            found.rules_broken = true;
            found.problems.extend(problems.into_vec());
        }
    }
}

fn check_rule(check: &Check<'_>, path: &Path, text: &str, found: &mut Found) {
    let name = path.display().to_string();
    match (check.rules)(&name, text) {
        Ok(warnings) => found.problems.extend(warnings),
        Err(problems) => {
            found.rules_broken = true;
            found.problems.extend(problems.into_vec());
        }
    }
    found.files.push((name, "rule"));
}

fn count(problems: &[Problem], severity: ProblemSeverity) -> usize {
    problems.iter().filter(|problem| problem.severity == severity).count()
}

/// `1 error`, `2 errors`.
fn many(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// The last line: what it comes to.
fn verdict(found: &Found, exit: u8) -> String {
    let errors = many(count(&found.problems, ProblemSeverity::Error), "error");
    let warnings = many(count(&found.problems, ProblemSeverity::Warning), "warning");
    let files = many(found.files.len(), "file");
    match exit {
        EXIT_OK => format!("ok: {files}, {warnings}"),
        EXIT_FINDINGS => format!("failed: {files}, {warnings}, and warnings are denied"),
        _ => format!("failed: {files}, {errors}, {warnings}"),
    }
}

fn write_text(found: &Found, exit: u8, out: &mut dyn Write) -> std::io::Result<()> {
    for (file, kind) in &found.files {
        if !found.problems.iter().any(|problem| problem.file == *file) {
            writeln!(out, "ok  {file} ({kind})")?;
        }
    }
    for problem in &found.problems {
        writeln!(out, "{problem}")?;
    }
    writeln!(out, "{}", verdict(found, exit))
}

fn write_json(found: &Found, exit: u8, out: &mut dyn Write) -> anyhow::Result<()> {
    let files: Vec<_> =
        found.files.iter().map(|(file, kind)| json!({ "file": file, "kind": kind })).collect();
    let report = json!({
        "verdict": if exit == EXIT_OK { "ok" } else { "failed" },
        "exit_code": exit,
        "files": files,
        "problems": found.problems,
    });
    writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    Ok(())
}
