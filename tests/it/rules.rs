//! Every shipped rule: its file, its page, its tests.

use std::path::Path;

use toolwarden::pipeline::rule_tests;
use toolwarden::policy::{Detector, RawRule, Rules};

use crate::shipped;

fn raw() -> Vec<RawRule> {
    shipped::rules().into_iter().map(|(_, rule)| rule).collect()
}

#[test]
fn every_detector_has_its_rule() {
    let rules = Rules::from_raw(raw()).unwrap();
    let detectors: Vec<Detector> = rules.words().map(|words| words.detector).collect();
    assert_eq!(detectors, Detector::ALL);
}

#[test]
fn a_rule_is_found_by_its_id() {
    for (path, rule) in shipped::rules() {
        assert_eq!(format!("{}.yaml", rule.id.replace('.', "/")), path.to_str().unwrap());
    }
}

#[test]
fn every_runbook_exists_and_has_the_five_parts() {
    for rule in raw() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&rule.runbook);
        let page =
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", rule.runbook));
        for part in ["## Meaning", "## Impact", "## Diagnosis", "## False positives", "## Response"]
        {
            assert!(page.contains(part), "{}: no {part}", rule.runbook);
        }
    }
}

#[test]
fn every_rule_says_what_fires_it_in_vain() {
    for rule in raw() {
        assert!(!rule.false_positives.is_empty() && !rule.tags.is_empty(), "{}", rule.id);
    }
}

#[test]
fn the_tests_of_every_rule_pass() {
    let outcomes = rule_tests::run(&raw(), "").unwrap();
    let failed: Vec<String> = outcomes
        .iter()
        .filter(|outcome| !outcome.passed)
        .map(|o| format!("{}: {}: {} ({:?})", o.rule_id, o.test, o.failure, o.summary))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(outcomes.len() >= 2 * Detector::ALL.len());
}

#[test]
fn a_filter_picks_the_tests_of_one_rule() {
    let outcomes = rule_tests::run(&raw(), "repeat.loop").unwrap();
    assert!(!outcomes.is_empty());
    assert!(outcomes.iter().all(|outcome| outcome.rule_id == "repeat.loop"));
}
