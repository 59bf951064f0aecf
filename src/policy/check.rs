//! Raw rules to checked ones: every mistake of every rule in one pass.

use std::collections::BTreeSet;

use crate::policy::parameters::InRange;
use crate::policy::{Case, Catalogues, Detector, Expect, RawRule, Rule, Rules, Words};

/// A mistake in a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule `{rule_id}`: {problem}")]
pub struct RuleError {
    /// The rule's id, as written.
    pub rule_id: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// Checks all rules.
pub(crate) fn check(raw: Vec<RawRule>) -> Result<Rules, Vec<RuleError>> {
    let mut rules = Rules { catalogues: Catalogues::shipped(), ..Rules::default() };
    let (mut errors, mut ids, mut detectors) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for rule in raw {
        let mut problems = mistakes(&rule);
        if !ids.insert(rule.id.clone()) {
            problems.push("another rule has the same id; rename or remove one".to_owned());
        } else if !detectors.insert(rule.detector) {
            problems.push(format!(
                "another rule uses detector `{}`; keep one rule a detector",
                rule.detector.as_str()
            ));
        }
        let rule_id = rule.id.clone();
        if let Err(problem) = place(&mut rules, rule) {
            problems.push(problem);
        }
        errors.extend(
            problems.into_iter().map(|problem| RuleError { rule_id: rule_id.clone(), problem }),
        );
    }
    if errors.is_empty() { Ok(rules) } else { Err(errors) }
}

fn mistakes(rule: &RawRule) -> Vec<String> {
    let mut found = Vec::new();
    let detector = rule.detector.as_str();
    let name = rule.id.strip_prefix(detector).and_then(|rest| rest.strip_prefix('.'));
    let is_word = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    if !name.is_some_and(is_word) {
        found.push(format!("an id is its detector and a name; write `{detector}.<name>`"));
    }
    for (field, text) in
        [("title", &rule.title), ("description", &rule.description), ("runbook", &rule.runbook)]
    {
        if text.trim().is_empty() {
            found.push(format!("`{field}` is empty; write one"));
        }
    }
    if !(rule.budget > 0.0 && rule.budget <= 1.0) {
        found.push(format!(
            "budget is {}; write the false alarms allowed an active agent-day, above 0 and at most 1",
            rule.budget
        ));
    }
    if let Some(tag) = rule.tags.iter().find(|tag| !is_tag(tag)) {
        found.push(format!(
            "tag `{tag}` is not known; write `attack.tNNNN`, `atlas.aml.tNNNN` or `owasp.<id>`"
        ));
    }
    found.extend(test_mistakes(rule));
    found
}

fn is_tag(tag: &str) -> bool {
    ["attack.t", "atlas.aml.t", "owasp."].iter().any(|start| {
        tag.strip_prefix(start).is_some_and(|rest| {
            !rest.is_empty()
                && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.')
        })
    })
}

fn test_mistakes(rule: &RawRule) -> Vec<String> {
    let mut found = Vec::new();
    for (expect, word) in [(Expect::Firing, "firing"), (Expect::Silent, "silent")] {
        if !rule.tests.iter().any(|test| test.expect == expect) {
            found.push(format!("there is no test with `expect: {word}`; add one"));
        }
    }
    for test in &rule.tests {
        if let Err(problem) = Case::from_raw(test.clone()) {
            found.push(format!("test `{}`: {problem}", test.name));
        }
    }
    found
}

fn place(rules: &mut Rules, raw: RawRule) -> Result<(), String> {
    match raw.detector {
        Detector::Repeat => rules.repeat = parse(raw)?,
        Detector::CallRate => rules.call_rate = parse(raw)?,
        Detector::NewTool => rules.new_tool = parse(raw)?,
        Detector::FirstUse => rules.first_use = parse(raw)?,
        Detector::UnusualHour => rules.unusual_hour = parse(raw)?,
        Detector::InjectedSession => rules.injected_session = parse(raw)?,
        Detector::LookAlike => rules.look_alike = parse(raw)?,
        Detector::RunSize => rules.run_size = parse(raw)?,
        Detector::Errors => rules.errors = parse(raw)?,
        Detector::Denials => rules.denials = parse(raw)?,
        Detector::BytesSent => rules.bytes_sent = parse(raw)?,
        Detector::BytesRead => rules.bytes_read = parse(raw)?,
        Detector::ArgumentShape => rules.argument_shape = parse(raw)?,
        Detector::DormantTool => rules.dormant_tool = parse(raw)?,
        Detector::FanOut => rules.fan_out = parse(raw)?,
        Detector::SessionFit => rules.session_fit = parse(raw)?,
        Detector::RateShift => rules.rate_shift = parse(raw)?,
        Detector::Silence => rules.silence = parse(raw)?,
        Detector::Drift => rules.drift = parse(raw)?,
        Detector::Version => rules.version = parse(raw)?,
        Detector::CommonMode => rules.common_mode = parse(raw)?,
        Detector::RunRate => rules.run_rate = parse(raw)?,
    }
    Ok(())
}

/// The rule with its detector's parameters; `None` when it is not in force.
fn parse<P>(raw: RawRule) -> Result<Option<Rule<P>>, String>
where
    P: serde::de::DeserializeOwned + InRange,
{
    let parameters: P = serde_json::from_value(serde_json::Value::Object(raw.parameters))
        .map_err(|error| format!("parameters: {error}"))?;
    if let Some(mistake) = parameters.mistake() {
        return Err(mistake);
    }
    let words = Words {
        id: raw.id,
        title: raw.title,
        detector: raw.detector,
        severity: raw.severity,
        budget: raw.budget,
        tags: raw.tags,
        runbook: raw.runbook,
    };
    Ok(raw.enabled.then_some(Rule { words, parameters }))
}
