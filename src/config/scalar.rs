//! One value against the keywords of one schema: type, words allowed, range, form.

use serde_json::{Map, Value, json};

use crate::config::document::{Fault, dotted};
use crate::config::problem::Code;
use crate::config::schema::resolve;
use crate::config::shape::{Shape, nearest};

/// What to do about `key:` with nothing behind it.
const GIVE_A_VALUE: &str = "give it a value, or remove the key";

/// The first thing wrong with a value itself, not with what is in it.
pub(super) fn fault(
    shape: &Shape<'_>,
    schema: &Map<String, Value>,
    value: &Value,
    pointer: &str,
) -> Option<Fault> {
    let name =
        if pointer.is_empty() { "the file".to_owned() } else { format!("`{}`", dotted(pointer)) };
    let found = shape.document.describe(pointer, value);
    let expects = schema.get("x-expects").and_then(Value::as_str);
    let make = |code, message, help| {
        Some(Fault { code, pointer: pointer.to_owned(), place: None, message, help })
    };
    let words = words(shape.root, schema);
    if !words.is_empty() && !words.contains(value) {
        let quoted: Vec<String> = words.iter().map(|word| format!("`{}`", plain(word))).collect();
        let names: Vec<String> = words.iter().map(plain).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let near = value.as_str().and_then(|text| nearest(text, &names));
        let help = match near {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None => value.is_null().then(|| GIVE_A_VALUE.to_owned()),
        };
        let message = format!("{name} must be {}, found {found}", either(&quoted));
        return make(Code::NotOneOf, message, help);
    }
    if let Some(kinds) = mismatch(schema, value) {
        let expected = expects.map_or_else(|| either(&kinds), str::to_owned);
        let help = unit_help(expects, value, &kinds);
        return make(Code::WrongType, format!("{name} must be {expected}, found {found}"), help);
    }
    if let Some(bound) = out_of_range(schema, value) {
        return make(Code::OutOfRange, format!("{name} must be {bound}, found {found}"), None);
    }
    if let Some(bound) = wrong_length(schema, value) {
        return make(Code::OutOfRange, format!("{name} must have {bound}"), None);
    }
    let pattern = schema.get("pattern")?;
    // The pattern is checked by the same library that checks the whole schema.
    let fits = jsonschema::validator_for(&json!({ "pattern": pattern }))
        .is_ok_and(|validator| validator.is_valid(value));
    if fits {
        return None;
    }
    let expected =
        expects.map_or_else(|| format!("text of the form `{}`", plain(pattern)), str::to_owned);
    make(Code::Malformed, format!("{name} must be {expected}, found {found}"), None)
}

/// The words a schema allows; empty when it does not list any.
pub(super) fn words(root: &Value, schema: &Map<String, Value>) -> Vec<Value> {
    if let Some(Value::Array(words)) = schema.get("enum") {
        return words.clone();
    }
    if let Some(word) = schema.get("const") {
        return vec![word.clone()];
    }
    let branches = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array);
    let mut all = Vec::new();
    for branch in branches.into_iter().flatten() {
        let branch = resolve(root, branch);
        let words = if branch.contains_key("oneOf") || branch.contains_key("anyOf") {
            Vec::new()
        } else {
            words(root, &branch)
        };
        if words.is_empty() {
            return Vec::new();
        }
        all.extend(words);
    }
    all
}

/// A word without JSON's quotes.
pub(super) fn plain(word: &Value) -> String {
    word.as_str().map_or_else(|| word.to_string(), str::to_owned)
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn either(words: &[String]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}

/// The types a schema allows, in words, if the value has none of them.
fn mismatch(schema: &Map<String, Value>, value: &Value) -> Option<Vec<String>> {
    let names: Vec<&str> = match schema.get("type")? {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    if names.iter().any(|name| is_a(name, value)) {
        return None;
    }
    Some(
        names
            .into_iter()
            .filter(|name| *name != "null")
            .map(|name| in_words(name).to_owned())
            .collect(),
    )
}

/// Whether a value has a JSON Schema type.
pub(super) fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => true,
    }
}

fn in_words(name: &str) -> &str {
    match name {
        "boolean" => "`true` or `false`",
        "string" => "a text",
        "array" => "a list",
        "object" => "a mapping",
        "number" => "a number",
        "integer" => "a whole number",
        other => other,
    }
}

/// What to write instead of a bare number or a word that YAML does not take for a truth value.
fn unit_help(expects: Option<&str>, value: &Value, kinds: &[String]) -> Option<String> {
    let number = value.as_u64();
    match (expects, number, value.as_str()) {
        (Some(expects), Some(n), _) if expects.starts_with("a duration") => {
            Some(format!("a number does not say its unit: write `{n}s`, `{n}m` or `{n}ms`"))
        }
        (Some(expects), Some(n), _) if expects.starts_with("a size") => {
            Some(format!("a number does not say its unit: write `{n}B` or `{n}MiB`"))
        }
        (None, _, Some("yes" | "on" | "Yes" | "On"))
            if kinds.iter().any(|k| k.contains("`true`")) =>
        {
            Some("write `true`".to_owned())
        }
        (None, _, Some("no" | "off" | "No" | "Off"))
            if kinds.iter().any(|k| k.contains("`true`")) =>
        {
            Some("write `false`".to_owned())
        }
        _ if value.is_null() => Some(GIVE_A_VALUE.to_owned()),
        _ if value.is_number() && kinds.iter().any(|kind| kind == "a text") => {
            Some("put it in quotes".to_owned())
        }
        _ if value.is_string() && kinds.iter().any(|kind| kind == "a list") => {
            Some("write a list: `[a, b]`".to_owned())
        }
        _ => None,
    }
}

/// The bound a number breaks, in words.
fn out_of_range(schema: &Map<String, Value>, value: &Value) -> Option<String> {
    let number = value.as_f64()?;
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let (low, high) = (schema.get("minimum"), schema.get("maximum"));
    if bound("minimum").is_some_and(|low| number < low)
        || bound("maximum").is_some_and(|high| number > high)
    {
        return Some(match (low, high) {
            (Some(low), Some(high)) => format!("from {low} to {high}"),
            (Some(low), None) => format!("at least {low}"),
            (_, high) => format!("at most {}", high.map_or_else(String::new, Value::to_string)),
        });
    }
    match (bound("exclusiveMinimum"), bound("exclusiveMaximum")) {
        (Some(low), _) if number <= low => Some(format!("more than {low}")),
        (_, Some(high)) if number >= high => Some(format!("less than {high}")),
        _ => None,
    }
}

/// The length a text or list must have, in words, if it has not.
fn wrong_length(schema: &Map<String, Value>, value: &Value) -> Option<String> {
    let (length, least, most, what) = match value {
        Value::String(text) => (text.chars().count(), "minLength", "maxLength", "character"),
        Value::Array(items) => (items.len(), "minItems", "maxItems", "entry"),
        Value::Object(fields) => (fields.len(), "minProperties", "maxProperties", "field"),
        _ => return None,
    };
    let bound = |key| schema.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let many = |n: usize| match (what, n) {
        ("entry", 1) => "1 entry".to_owned(),
        ("entry", n) => format!("{n} entries"),
        (what, 1) => format!("1 {what}"),
        (what, n) => format!("{n} {what}s"),
    };
    let low = bound(least).filter(|low| length < *low).map(|low| format!("at least {}", many(low)));
    low.or_else(|| {
        bound(most)
            .filter(|high| length > *high)
            .map(|high| format!("at most {}, has {length}", many(high)))
    })
}
