//! JSON Schemas from the types: what editors check and what `shape` walks.
//!
//! Beside the standard keywords: `x-expects` says in words what a text must be, `x-refused` names
//! keys that people write and why they are not taken.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value};

use crate::alert::Alert;
use crate::config::raw::RawConfig;
use crate::policy::RawRule;

/// The schema of a type that is read from YAML: an absent field is absent, never `null`.
pub(super) fn schema_of<T: JsonSchema>() -> Value {
    let mut schema = generator().into_root_schema_for::<T>();
    forget_null(&mut schema);
    let mut schema = schema.to_value();
    tidy(&mut schema);
    schema
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().into_generator()
}

/// Joins the lines of a paragraph in descriptions.
fn tidy(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("description") {
                let paragraphs: Vec<String> =
                    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
                *text = paragraphs.join("\n\n");
            }
            fields.values_mut().for_each(tidy);
        }
        _ => {}
    }
}

/// Takes `null` out of types and defaults.
fn forget_null(schema: &mut Schema) {
    if let Some(object) = schema.as_object_mut() {
        if object.get("default").is_some_and(Value::is_null) {
            object.remove("default");
        }
        forget_null_type(object);
        forget_null_branch(object);
    }
    transform_subschemas(&mut forget_null, schema);
}

/// `type: [string, null]` to `type: string`.
fn forget_null_type(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = object.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
}

/// `anyOf: [X, null]` to `X`.
fn forget_null_branch(object: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = object.get_mut("anyOf") else { return };
    branches.retain(|branch| branch.get("type").is_none_or(|name| name != "null"));
    if let [Value::Object(only)] = branches.as_slice() {
        let only = only.clone();
        object.remove("anyOf");
        for (key, value) in only {
            object.entry(key).or_insert(value);
        }
    }
}

/// The JSON Schema of the configuration file.
#[must_use]
pub fn schema() -> Value {
    schema_of::<RawConfig>()
}

/// The JSON Schema of a rule file.
#[must_use]
pub fn rule_schema() -> Value {
    schema_of::<RawRule>()
}

/// The JSON Schema of one alert.
#[must_use]
pub fn alert_schema() -> Value {
    let mut schema = generator().into_root_schema_for::<Alert>().to_value();
    tidy(&mut schema);
    schema
}

/// Follows `$ref`; what stands beside it stays.
pub(super) fn resolve(root: &Value, schema: &Value) -> Map<String, Value> {
    let mut out = schema.as_object().cloned().unwrap_or_default();
    // A cycle of bare references means nothing; eight steps are more than any schema has.
    for _ in 0..8 {
        let Some(Value::String(target)) = out.remove("$ref") else { break };
        let found = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        for (key, value) in found.and_then(Value::as_object).into_iter().flatten() {
            out.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    out
}
