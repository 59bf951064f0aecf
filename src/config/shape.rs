//! Whether a file has the shape its schema asks for, in words, all mistakes at once.
//!
//! Walks the schema beside the value. What is wrong is reported and taken out (or replaced, where
//! it is required), so that what is right can still be checked for its meaning.

use serde_json::{Map, Value};

use crate::config::document::{Document, Fault, dotted, join};
use crate::config::problem::Code;
use crate::config::schema::resolve;
use crate::config::{choice, scalar};

/// The walk over one file.
pub(super) struct Shape<'a> {
    /// The whole schema.
    pub(super) root: &'a Value,
    /// The file.
    pub(super) document: &'a Document,
    /// Whether this walk only counts faults to choose between alternatives.
    pub(super) is_trial: bool,
    /// What was found.
    pub(super) faults: Vec<Fault>,
    /// Fields that were given a value only to go on.
    pub(super) replaced: Vec<String>,
}

/// Whether a value can be used after its faults were taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Usable,
    Unusable,
}

/// Checks a file against a schema and returns the value that is left.
pub(super) fn check(document: &mut Document, schema: &Value) -> Value {
    let mut value = document.value.clone();
    let mut shape =
        Shape { root: schema, document, is_trial: false, faults: Vec::new(), replaced: Vec::new() };
    if shape.value(schema, &mut value, "") == Fit::Unusable {
        value = placeholder(schema, schema);
        shape.replaced.push(String::new());
    }
    let (faults, replaced) = (shape.faults, shape.replaced);
    document.report(faults);
    replaced.iter().for_each(|pointer| document.settle(pointer));
    value
}

/// The least value that fits a schema, to stand in for a required one.
fn placeholder(root: &Value, schema: &Value) -> Value {
    let schema = resolve(root, schema);
    if let Some(word) = scalar::words(root, &schema).into_iter().next() {
        return word;
    }
    if let Some(value) = schema.get("default").or_else(|| schema.get("const")) {
        return value.clone();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => {
            let properties = schema.get("properties").and_then(Value::as_object);
            required(&schema)
                .filter_map(|name| {
                    let inner = properties?.get(name)?;
                    Some((name.to_owned(), placeholder(root, inner)))
                })
                .collect()
        }
        Some("array") => Value::Array(Vec::new()),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 0.into()),
        Some("boolean") => Value::Bool(false),
        _ => Value::String(String::new()),
    }
}

/// The required fields of a schema.
fn required(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The names of a schema's fields.
fn field_names(schema: &Map<String, Value>) -> Vec<&str> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(Map::keys).map(String::as_str).collect()
}

/// The name nearest to what was written, if any is near.
pub(super) fn nearest<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
    // Comparing takes time with the length; no misspelling is this long.
    let lower = Some(word).filter(|word| word.len() <= 128)?.to_ascii_lowercase();
    names
        .iter()
        .map(|name| {
            (strsim::normalized_damerau_levenshtein(&lower, &name.to_ascii_lowercase()), *name)
        })
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// A mapping's name in a sentence.
fn owner(pointer: &str) -> String {
    if pointer.is_empty() { "the file".to_owned() } else { format!("`{}`", dotted(pointer)) }
}

impl Shape<'_> {
    /// Checks one value; what cannot stay in it is taken out.
    pub(super) fn value(&mut self, schema: &Value, value: &mut Value, pointer: &str) -> Fit {
        if schema.as_bool() == Some(true) {
            return Fit::Usable;
        }
        let resolved = resolve(self.root, schema);
        let Some(schema) = choice::settle(self, resolved, value, pointer) else {
            return Fit::Unusable;
        };
        if let Some(fault) = scalar::fault(self, &schema, value, pointer) {
            self.faults.push(fault);
            return Fit::Unusable;
        }
        match value {
            Value::Object(fields) => self.object(&schema, fields, pointer),
            Value::Array(items) => self.array(&schema, items, pointer),
            _ => {}
        }
        Fit::Usable
    }

    fn array(&mut self, schema: &Map<String, Value>, items: &mut [Value], pointer: &str) {
        let Some(schema) = schema.get("items") else { return };
        for (at, item) in items.iter_mut().enumerate() {
            let child = format!("{pointer}/{at}");
            if self.value(schema, item, &child) == Fit::Unusable {
                *item = placeholder(self.root, schema);
                self.replaced.push(child);
            }
        }
    }

    fn object(
        &mut self,
        schema: &Map<String, Value>,
        fields: &mut Map<String, Value>,
        pointer: &str,
    ) {
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let rest =
            schema.get("additionalProperties").or_else(|| schema.get("unevaluatedProperties"));
        let mut meant = Vec::new();
        fields.retain(|key, value| {
            let child = join(pointer, key);
            match properties.get(key).or(rest) {
                None | Some(Value::Bool(true)) => true,
                Some(Value::Bool(false)) => {
                    meant.extend(nearest(key, &field_names(schema)));
                    let fault = self.unknown(schema, key, pointer);
                    self.faults.push(fault);
                    false
                }
                Some(inner) => self.value(inner, value, &child) == Fit::Usable,
            }
        });
        for name in required(schema).filter(|name| !fields.contains_key(*name)).collect::<Vec<_>>()
        {
            let (child, inner) =
                (join(pointer, name), properties.get(name).unwrap_or(&Value::Null));
            // What was unusable or misspelt has been reported already.
            if self.document.value.pointer(&child).is_none() && !meant.contains(&name) {
                let fault = self.missing(name, inner, pointer);
                self.faults.push(fault);
            }
            fields.insert(name.to_owned(), placeholder(self.root, inner));
            self.replaced.push(child);
        }
    }

    fn missing(&self, name: &str, schema: &Value, pointer: &str) -> Fault {
        let described = resolve(self.root, schema);
        let help = described.get("description").and_then(Value::as_str);
        let what =
            help.and_then(|text| text.split("\n\n").next()).map(|text| text.replace('\n', " "));
        Fault {
            code: Code::MissingField,
            pointer: join(pointer, name),
            place: Some(self.document.place(pointer).name()),
            message: format!("{} needs the field `{name}`", owner(pointer)),
            help: what.map(|what| format!("`{name}`: {what}")),
        }
    }

    fn unknown(&self, schema: &Map<String, Value>, key: &str, pointer: &str) -> Fault {
        let child = join(pointer, key);
        let place = Some(self.document.place(&child).name());
        let refused = schema.get("x-refused").and_then(Value::as_object);
        let why = refused.and_then(|refused| {
            let names: Vec<&str> = refused.keys().map(String::as_str).collect();
            let valid = nearest(key, &field_names(schema)).is_some();
            refused.get(key).or_else(|| refused.get(nearest(key, &names).filter(|_| !valid)?))
        });
        let key = crate::config::snippet::quote(key);
        if let Some(why) = why.and_then(Value::as_str) {
            let code = if crate::config::snippet::is_secret_key(&key) {
                Code::LiteralSecret
            } else {
                Code::UnknownField
            };
            let message = match code {
                Code::LiteralSecret => format!("`{key}` must not be written in this file"),
                _ => format!("unknown field `{key}`"),
            };
            return Fault { code, pointer: child, place, message, help: Some(why.to_owned()) };
        }
        let names = field_names(schema);
        let hint =
            nearest(&key, &names).map_or(String::new(), |name| format!(", did you mean `{name}`?"));
        let help = format!("valid fields of {}: {}", owner(pointer), names.join(", "));
        let message = format!("unknown field `{key}`{hint}");
        Fault { code: Code::UnknownField, pointer: child, place, message, help: Some(help) }
    }
}
