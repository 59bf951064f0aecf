//! Alternatives in a schema: which one a value means, so that its mistakes are told against that
//! one and not against all.

use serde_json::{Map, Value};

use crate::config::document::{Fault, join};
use crate::config::problem::Code;
use crate::config::scalar::{is_a, words};
use crate::config::schema::resolve;
use crate::config::shape::{Fit, Shape};

/// A schema without alternatives: `allOf` merged in, the meant branch of `oneOf` or `anyOf` merged
/// in. `None` when no branch is meant; that was reported.
pub(super) fn settle(
    shape: &mut Shape<'_>,
    mut schema: Map<String, Value>,
    value: &Value,
    pointer: &str,
) -> Option<Map<String, Value>> {
    if let Some(Value::Array(parts)) = schema.remove("allOf") {
        for part in parts {
            let part = resolve(shape.root, &part);
            merge(&mut schema, part);
        }
    }
    if !words(shape.root, &schema).is_empty() {
        return Some(schema);
    }
    let branches = schema.remove("oneOf").or_else(|| schema.remove("anyOf"));
    let Some(Value::Array(branches)) = branches else { return Some(schema) };
    let branches: Vec<Map<String, Value>> =
        branches.iter().map(|branch| resolve(shape.root, branch)).collect();
    let at = match pick(shape, &branches, value, pointer) {
        Ok(at) => at,
        Err(fault) => {
            shape.faults.push(fault);
            return None;
        }
    };
    merge(&mut schema, branches.get(at)?.clone());
    settle(shape, schema, value, pointer)
}

/// Adds a branch to a schema; fields of both are valid.
fn merge(schema: &mut Map<String, Value>, branch: Map<String, Value>) {
    for (key, value) in branch {
        match (schema.get_mut(&key), value) {
            (Some(Value::Object(mine)), Value::Object(theirs)) if key == "properties" => {
                theirs.into_iter().for_each(|(name, inner)| {
                    mine.entry(name).or_insert(inner);
                });
            }
            (Some(Value::Array(mine)), Value::Array(theirs)) if key == "required" => {
                mine.extend(theirs);
            }
            (Some(_), _) => {}
            (None, value) => {
                schema.insert(key, value);
            }
        }
    }
}

/// Which branch a value means.
fn pick(
    shape: &Shape<'_>,
    branches: &[Map<String, Value>],
    value: &Value,
    pointer: &str,
) -> Result<usize, Fault> {
    if let Some(tag) = tag_of(branches)
        && let Value::Object(fields) = value
    {
        return by_tag(shape, branches, fields.get(tag), (tag, pointer));
    }
    if let Value::Object(fields) = value {
        let named = |branch: &Map<String, Value>| {
            let required = branch.get("required").and_then(Value::as_array);
            required.is_some_and(|names| {
                names.iter().filter_map(Value::as_str).any(|name| fields.contains_key(name))
            })
        };
        if let Some(at) = branches.iter().position(named) {
            return Ok(at);
        }
    }
    let fits = |branch: &Map<String, Value>| match branch.get("type") {
        Some(Value::String(name)) => is_a(name, value),
        _ => true,
    };
    let candidates: Vec<usize> =
        branches.iter().enumerate().filter(|(_, branch)| fits(branch)).map(|(at, _)| at).collect();
    let fewest = match candidates.as_slice() {
        // A trial within a trial would take time exponential in the depth of the file.
        [first, _, ..] if shape.is_trial => Some(first),
        [only] => Some(only),
        all => all.iter().min_by_key(|at| faults_with(shape, branches.get(**at), value, pointer)),
    };
    if let Some(at) = fewest {
        return Ok(*at);
    }
    // No branch has this type: the first that is not `null` says what was expected.
    let first = branches.iter().position(|branch| branch.get("type").is_none_or(|t| t != "null"));
    Ok(first.unwrap_or(0))
}

/// How many faults a value has against one branch.
fn faults_with(
    shape: &Shape<'_>,
    branch: Option<&Map<String, Value>>,
    value: &Value,
    pointer: &str,
) -> usize {
    let Some(branch) = branch else { return usize::MAX };
    let mut trial = Shape {
        root: shape.root,
        document: shape.document,
        is_trial: true,
        faults: Vec::new(),
        replaced: Vec::new(),
    };
    let fit = trial.value(&Value::Object(branch.clone()), &mut value.clone(), pointer);
    trial.faults.len() * 2 + usize::from(fit == Fit::Unusable)
}

/// The field that tells branches apart: each of them fixes it to one word.
fn tag_of(branches: &[Map<String, Value>]) -> Option<&str> {
    let properties = |branch: &Map<String, Value>| branch.get("properties")?.as_object().cloned();
    let first = branches.first()?.get("properties")?.as_object()?;
    first.keys().map(String::as_str).find(|name| {
        branches.iter().all(|branch| {
            properties(branch).and_then(|p| p.get(*name)?.get("const").cloned()).is_some()
        })
    })
}

fn by_tag(
    shape: &Shape<'_>,
    branches: &[Map<String, Value>],
    word: Option<&Value>,
    (tag, pointer): (&str, &str),
) -> Result<usize, Fault> {
    let word_of =
        |branch: &Map<String, Value>| branch.get("properties")?.get(tag)?.get("const").cloned();
    if let Some(at) =
        word.and_then(|word| branches.iter().position(|b| word_of(b).as_ref() == Some(word)))
    {
        return Ok(at);
    }
    let child = join(pointer, tag);
    let allowed: Vec<Value> = branches.iter().filter_map(word_of).collect();
    let schema = Map::from_iter([("enum".to_owned(), Value::Array(allowed.clone()))]);
    let wrong = word.and_then(|word| crate::config::scalar::fault(shape, &schema, word, &child));
    Err(wrong.unwrap_or_else(|| {
        let words: Vec<String> =
            allowed.iter().map(|w| format!("`{}`", crate::config::scalar::plain(w))).collect();
        Fault {
            code: Code::MissingField,
            place: Some(shape.document.place(pointer).name()),
            message: format!(
                "the field `{tag}` is missing: {}",
                crate::config::scalar::either(&words)
            ),
            pointer: child,
            help: None,
        }
    }))
}
