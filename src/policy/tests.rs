//! What makes a rule valid, and what is said of one that is not.

use serde_json::{Value, json};

use super::*;

fn rule(change: impl FnOnce(&mut Value)) -> RawRule {
    let test = |expect: &str| json!({"name": expect, "input": [{"at": "10:00:00", "tool": "x"}], "expect": expect});
    let mut value = json!({
        "id": "repeat.loop", "title": "t", "description": "d", "detector": "repeat",
        "severity": "high", "budget": 0.01, "tags": ["attack.t1499", "atlas.aml.t0034", "owasp.llm10"],
        "runbook": "docs/runbooks/repeated-call.md", "tests": [test("firing"), test("silent")],
    });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

#[track_caller]
fn check(change: impl FnOnce(&mut Value), expected: &str) {
    let errors = Rules::from_raw(vec![rule(change)]).unwrap_err();
    let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(text.iter().any(|error| error.contains(expected)), "{text:?}");
}

#[test]
fn a_valid_rule_is_in_force_and_a_disabled_one_is_not() {
    assert!(Rules::from_raw(vec![rule(|_| {})]).unwrap().repeat.is_some());
    let rules = Rules::from_raw(vec![rule(|r| r["enabled"] = json!(false))]).unwrap();
    assert!(rules.repeat.is_none());
}

#[test]
fn every_mistake_is_named_with_its_remedy() {
    check(|r| r["budget"] = json!(0), "above 0 and at most 1");
    check(|r| r["budget"] = json!(1.5), "above 0 and at most 1");
    check(|r| r["id"] = json!("loop"), "write `repeat.<name>`");
    check(|r| r["id"] = json!("repeat.../x"), "write `repeat.<name>`");
    check(|r| r["title"] = json!(" "), "`title` is empty");
    check(|r| r["tags"] = json!(["mitre"]), "tag `mitre` is not known");
    check(|r| r["parameters"] = json!({"flor": 1}), "unknown field `flor`");
    check(|r| r["parameters"] = json!({"share_floor": 7}), "from 0.05 to 0.6");
    check(|r| r["tests"] = json!([]), "no test with `expect: firing`");
    check(|r| r["tests"][0]["input"][0]["at"] = json!("noon"), "not a time of day");
    check(|r| r["tests"][0]["input"][0]["every"] = json!("soon"), "not a span");
    check(|r| r["tests"][0]["input"][0]["count"] = json!(0), "write 1 to 5000");
    check(|r| r["tests"][0]["history"] = json!({"from_hour": 20, "hours": 8}), "within one day");
}

#[test]
fn two_rules_of_one_id_or_one_detector_are_refused() {
    let errors = Rules::from_raw(vec![rule(|_| {}), rule(|_| {})]).unwrap_err();
    assert!(errors[0].problem.contains("same id"), "{errors:?}");
    let other = rule(|r| r["id"] = json!("repeat.other"));
    let errors = Rules::from_raw(vec![rule(|_| {}), other]).unwrap_err();
    assert!(errors[0].to_string().contains("keep one rule a detector"), "{errors:?}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let errors = Rules::from_raw(vec![rule(|r| {
        r["budget"] = json!(-1);
        r["title"] = json!("");
        r["parameters"] = json!({"flor": 1});
    })])
    .unwrap_err();
    assert_eq!(errors.len(), 3, "{errors:?}");
}

#[test]
fn unknown_keys_are_refused() {
    let mut value = json!({"id": "x"});
    value["budgets"] = json!(1);
    assert!(serde_json::from_value::<RawRule>(value).is_err());
}

#[test]
fn the_schema_names_the_parameters_of_every_detector() {
    let schema = schemars::schema_for!(RawRule).to_value().to_string();
    for parameter in ["share_floor", "calls_min", "weight_min", "listed_a_day", "days_min"] {
        assert!(schema.contains(parameter), "{parameter}");
    }
}

#[test]
fn the_shipped_catalogues_know_their_products_tools() {
    let catalogues = Catalogues::shipped();
    let contains = |product: &str, tool: &str| catalogues.of(product).unwrap().contains(tool);
    assert!(contains("claude-code", "TodoWrite"));
    assert!(contains("codex", "apply_patch"));
    assert!(contains("gemini-cli", "run_shell_command"));
    assert!(catalogues.of("copilot").is_some() && catalogues.of("helper").is_none());
    assert!(!contains("claude-code", "#") && !contains("claude-code", ""));
}
