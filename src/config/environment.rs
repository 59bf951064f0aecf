//! Environment variables: where they come from and how `${NAME}` is filled in.
//!
//! Filling in happens inside one scalar after the file was parsed, so a variable's value can never
//! become structure. Not a template language: there are no conditions and no nesting.

use std::collections::BTreeMap;

/// Where variables are looked up.
pub trait Environment {
    /// The value of `name`, or `None` where it is not set or not UTF-8.
    fn get(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Environment for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).cloned()
    }
}

/// Why a scalar could not be filled in. Names only, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExpandError {
    /// A variable is not set and has no default.
    Unset(String),
    /// `${` without `}`, or a name that cannot be one.
    Malformed(String),
}

/// Replaces `${NAME}`, `${NAME:-default}` and `$$`; `None` where there was nothing to replace.
///
/// A `$` before anything else stands for itself. An empty variable counts as unset for `:-`, as in
/// a shell.
pub(crate) fn expand(
    text: &str,
    environment: &dyn Environment,
) -> Result<Option<String>, ExpandError> {
    if !text.contains('$') {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut changed) = (text, false);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            (rest, changed) = (tail, true);
        } else if let Some(tail) = after.strip_prefix('{') {
            let (inner, tail) = tail
                .split_once('}')
                .ok_or_else(|| ExpandError::Malformed("`${` has no closing `}`".to_owned()))?;
            out.push_str(&lookup(inner, environment)?);
            (rest, changed) = (tail, true);
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(changed.then_some(out))
}

/// The value of `NAME` or `NAME:-default`.
fn lookup(inner: &str, environment: &dyn Environment) -> Result<String, ExpandError> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let message = "a variable's name is letters, digits and `_`, and no digit first";
        return Err(ExpandError::Malformed(message.to_owned()));
    }
    match (environment.get(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(ExpandError::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> BTreeMap<String, String> {
        [("A", "one"), ("EMPTY", ""), ("TRICK", "${A} $$ ]: x")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    }

    #[test]
    fn variables_defaults_and_dollars_are_filled_in() {
        for (text, expected) in [
            ("plain", None),
            ("$5 and $A", None),
            ("${A}", Some("one")),
            ("x${A}y${A}", Some("xoneyone")),
            ("${MISSING:-two}", Some("two")),
            ("${EMPTY:-two}", Some("two")),
            ("${EMPTY}", Some("")),
            ("${MISSING:-}", Some("")),
            ("$${A}", Some("${A}")),
        ] {
            assert_eq!(expand(text, &environment()).unwrap().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_value_is_not_filled_in_again() {
        assert_eq!(expand("${TRICK}", &environment()).unwrap().unwrap(), "${A} $$ ]: x");
    }

    #[test]
    fn unset_and_malformed_variables_are_errors() {
        assert_eq!(expand("${NOPE}", &environment()), Err(ExpandError::Unset("NOPE".to_owned())));
        for text in ["${A", "${}", "${1A}", "${A B}", "${A:?x}"] {
            assert!(matches!(expand(text, &environment()), Err(ExpandError::Malformed(_))));
        }
    }
}
