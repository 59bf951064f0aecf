//! A tree of nodes back to YAML, with comments, in the order it has.
//!
//! The trees come from values of our own types written as JSON, which YAML reads: so the order of
//! fields is the order of the types.

use std::rc::Rc;

use serde::Serialize;

use crate::config::document::{join, resolve};
use crate::config::yaml::{self, Data, Node};

/// What is said about one field.
#[derive(Clone, Debug, Default)]
pub(super) struct Note {
    /// Comment lines above it.
    pub(super) comment: Vec<String>,
    /// Whether it is commented out.
    pub(super) is_off: bool,
    /// Whether it is left out.
    pub(super) is_left_out: bool,
}

/// A value as a tree that keeps the order of its fields.
pub(super) fn tree<T: Serialize>(value: &T) -> Option<Rc<Node>> {
    let json = serde_json::to_string(value).ok()?;
    yaml::parse(&json).ok().flatten()
}

/// A mapping as YAML text.
pub(super) fn write(root: &Node, notes: &dyn Fn(&str) -> Note) -> String {
    let Data::Mapping(entries) = &root.data else { return format!("{}\n", inline(root)) };
    let mut lines = Vec::new();
    for entry in entries {
        let block = mapping(std::slice::from_ref(entry), "", notes);
        // Blocks that are explained stand apart.
        if !lines.is_empty() && block.first().is_some_and(|line| line.starts_with('#')) {
            lines.push(String::new());
        }
        lines.extend(block);
    }
    lines.join("\n") + "\n"
}

fn mapping(
    entries: &[(Rc<Node>, Rc<Node>)],
    pointer: &str,
    notes: &dyn Fn(&str) -> Note,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, value) in entries {
        let Data::Scalar { text: name, .. } = &key.data else { continue };
        let child = join(pointer, name);
        let note = notes(&child);
        if note.is_left_out {
            continue;
        }
        lines.extend(note.comment.iter().map(|line| format!("# {line}")));
        let mark = if note.is_off { "#" } else { "" };
        let block = entry(&inline(key), value, &child, notes);
        lines.extend(block.into_iter().map(|line| format!("{mark}{line}")));
    }
    lines
}

fn entry(name: &str, value: &Node, pointer: &str, notes: &dyn Fn(&str) -> Note) -> Vec<String> {
    let indented = |lines: Vec<String>| lines.into_iter().map(|line| format!("  {line}"));
    match &value.data {
        Data::Mapping(entries) if !entries.is_empty() => std::iter::once(format!("{name}:"))
            .chain(indented(mapping(entries, pointer, notes)))
            .collect(),
        Data::Sequence(items) if items.iter().any(|item| matches!(item.data, Data::Mapping(_))) => {
            let mut lines = vec![format!("{name}:")];
            for (at, node) in items.iter().enumerate() {
                lines.extend(indented(item(node, &format!("{pointer}/{at}"), notes)));
            }
            lines
        }
        _ => vec![format!("{name}: {}", inline(value))],
    }
}

/// One entry of a list, `- ` before its first line that is no comment.
fn item(node: &Node, pointer: &str, notes: &dyn Fn(&str) -> Note) -> Vec<String> {
    let Data::Mapping(entries) = &node.data else { return vec![format!("- {}", inline(node))] };
    let mut started = false;
    mapping(entries, pointer, notes)
        .into_iter()
        .map(|line| {
            if started {
                return format!("  {line}");
            }
            started = !line.starts_with('#');
            if started { format!("- {line}") } else { line }
        })
        .collect()
}

/// A value on one line.
fn inline(node: &Node) -> String {
    match &node.data {
        Data::Scalar { text, plain: true } => text.clone(),
        Data::Scalar { text, plain: false } => quoted(text),
        Data::Sequence(items) => {
            let items: Vec<String> = items.iter().map(|item| inline(item)).collect();
            format!("[{}]", items.join(", "))
        }
        Data::Mapping(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", inline(key), inline(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// A text, in quotes where YAML would take it for something else or a variable would be seen.
fn quoted(text: &str) -> String {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '_');
    let all = text.chars().all(|c| c.is_ascii_alphanumeric() || "/_.:-".contains(c));
    if first && all && !text.ends_with(':') && resolve(text).is_none() {
        return text.to_owned();
    }
    serde_json::to_string(&text.replace('$', "$$")).unwrap_or_default()
}
