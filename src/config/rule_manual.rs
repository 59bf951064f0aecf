//! The tables of `docs/judgement.md`: every shipped rule with its budget, every parameter of every
//! detector with its default. Written from the rules and their schema, so that they cannot differ.

use std::fmt::Write as _;

use serde_json::Value;

use crate::config::RuleSource;
use crate::config::rules::load_rules;
use crate::config::schema::rule_schema;

/// How a schema of parameters begins to describe itself.
const OF_DETECTOR: &str = "Parameters of `";

/// The tables, in Markdown.
#[must_use]
pub fn judgement_text() -> String {
    format!("{}\n{}", rules(), parameters())
}

fn rules() -> String {
    let mut text = String::from(
        "| rule | severity | false alarms allowed an active agent-day | finds |\n|---|---|---|---|\n",
    );
    let shipped = load_rules(&RuleSource::default()).map(|loaded| loaded.raw).unwrap_or_default();
    for rule in &shipped {
        let found = rule.title.replace('|', "\\|");
        let (id, severity, budget) = (&rule.id, rule.severity.as_str(), rule.budget);
        // Writing to a text cannot fail.
        writeln!(text, "| `{id}` | {severity} | {budget} | {found} |").unwrap_or_default();
    }
    let sum: f64 = shipped.iter().map(|rule| rule.budget).sum();
    let paging: f64 = shipped
        .iter()
        .filter(|rule| rule.severity > crate::alert::Severity::Info)
        .map(|rule| rule.budget)
        .sum();
    writeln!(
        text,
        "\nTogether {sum:.3} an active agent-day, of which {paging:.3} for rules that can tell somebody."
    )
    .unwrap_or_default();
    text
}

fn parameters() -> String {
    let schema = rule_schema();
    let definitions = schema.get("$defs").and_then(Value::as_object);
    let mut text =
        String::from("| detector | parameter | default | meaning |\n|---|---|---|---|\n");
    for definition in definitions.into_iter().flat_map(serde_json::Map::values) {
        let described = definition.get("description").and_then(Value::as_str).unwrap_or_default();
        let Some(detector) =
            described.strip_prefix(OF_DETECTOR).and_then(|rest| rest.split('`').next())
        else {
            continue;
        };
        let fields = definition.get("properties").and_then(Value::as_object);
        for (name, field) in fields.into_iter().flatten() {
            let default = field.get("default").map(Value::to_string).unwrap_or_default();
            let meaning = field.get("description").and_then(Value::as_str).unwrap_or_default();
            let meaning = meaning.replace('\n', " ").replace('|', "\\|");
            writeln!(text, "| `{detector}` | `{name}` | {default} | {meaning} |")
                .unwrap_or_default();
        }
    }
    text
}
