//! Rules from files: the operator's directory, or the ones this program ships with.

use std::path::{Path, PathBuf};

use crate::config::load::{load_rule_files, load_yaml_located};
use crate::config::problem::{Code, Problem, Problems};
use crate::config::{Positions, RuleSource};
use crate::policy::{RawRule, Rules};

/// The rules in the program, by their path below `rules/`.
pub const SHIPPED: [(&str, &str); 22] = [
    ("rules/argument_shape/burst.yaml", include_str!("../../rules/argument_shape/burst.yaml")),
    ("rules/bytes_read/volume.yaml", include_str!("../../rules/bytes_read/volume.yaml")),
    ("rules/bytes_sent/volume.yaml", include_str!("../../rules/bytes_sent/volume.yaml")),
    ("rules/call_rate/burst.yaml", include_str!("../../rules/call_rate/burst.yaml")),
    ("rules/common_mode/group.yaml", include_str!("../../rules/common_mode/group.yaml")),
    ("rules/denials/burst.yaml", include_str!("../../rules/denials/burst.yaml")),
    ("rules/dormant_tool/returned.yaml", include_str!("../../rules/dormant_tool/returned.yaml")),
    ("rules/drift/slow.yaml", include_str!("../../rules/drift/slow.yaml")),
    ("rules/errors/burst.yaml", include_str!("../../rules/errors/burst.yaml")),
    ("rules/fan_out/burst.yaml", include_str!("../../rules/fan_out/burst.yaml")),
    ("rules/first_use/listed.yaml", include_str!("../../rules/first_use/listed.yaml")),
    (
        "rules/injected_session/target.yaml",
        include_str!("../../rules/injected_session/target.yaml"),
    ),
    ("rules/look_alike/target.yaml", include_str!("../../rules/look_alike/target.yaml")),
    ("rules/new_tool/burst.yaml", include_str!("../../rules/new_tool/burst.yaml")),
    ("rules/rate_shift/shift.yaml", include_str!("../../rules/rate_shift/shift.yaml")),
    ("rules/repeat/loop.yaml", include_str!("../../rules/repeat/loop.yaml")),
    ("rules/run_rate/many.yaml", include_str!("../../rules/run_rate/many.yaml")),
    ("rules/run_size/long.yaml", include_str!("../../rules/run_size/long.yaml")),
    ("rules/session_fit/stranger.yaml", include_str!("../../rules/session_fit/stranger.yaml")),
    ("rules/silence/stopped.yaml", include_str!("../../rules/silence/stopped.yaml")),
    ("rules/unusual_hour/activity.yaml", include_str!("../../rules/unusual_hour/activity.yaml")),
    ("rules/version/changed.yaml", include_str!("../../rules/version/changed.yaml")),
];

/// Rules, as written and as checked.
#[derive(Clone, Debug)]
pub struct LoadedRules {
    /// As written, with their tests.
    pub raw: Vec<RawRule>,
    /// In force.
    pub rules: Rules,
}

/// Reads and checks the rules of `source`.
///
/// # Errors
///
/// Every mistake in every file.
pub fn load_rules(source: &RuleSource) -> Result<LoadedRules, Problems> {
    let files = match &source.directory {
        Some(directory) => load_rule_files(directory)?,
        None => shipped_files(),
    };
    read_rules(&files)
}

/// Reads and checks rules from texts.
///
/// # Errors
///
/// Every mistake in every file.
pub fn read_rules(files: &[(PathBuf, String)]) -> Result<LoadedRules, Problems> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut read: Vec<(RawRule, Positions)> = Vec::new();
    for (path, text) in files {
        match load_yaml_located::<RawRule>(&path.display().to_string(), text, None) {
            Ok(rule) => read.push(rule),
            Err(found) => problems.extend(found.into_vec()),
        }
    }
    let raw: Vec<RawRule> = read.iter().map(|(rule, _)| rule.clone()).collect();
    match Rules::from_raw(raw.clone()) {
        Ok(rules) if problems.is_empty() => Ok(LoadedRules { raw, rules }),
        Ok(_) => Err(Problems::new(problems)),
        Err(errors) => {
            for error in errors {
                let place = read.iter().rev().find(|(rule, _)| rule.id == error.rule_id);
                if let Some((_, positions)) = place {
                    problems.push(positions.problem(Code::Rule, "/id", &error.problem, None));
                }
            }
            Err(Problems::new(problems))
        }
    }
}

fn shipped_files() -> Vec<(PathBuf, String)> {
    let owned = |(path, text): &(&str, &str)| (Path::new(path).to_owned(), (*text).to_owned());
    SHIPPED.iter().map(owned).collect()
}
