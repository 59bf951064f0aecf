//! The tools that known agent products ship with: what stands in where an agent has no peers.
//!
//! Public product tool names, one a line, `#` for comments. A product is the part of an agent's id
//! before `@`. Being listed makes a first use less of a surprise; it permits nothing.

use std::collections::{BTreeMap, BTreeSet};

/// The shipped lists.
const SHIPPED: [(&str, &str); 4] = [
    ("claude-code", include_str!("../../rules/catalogues/claude-code.txt")),
    ("codex", include_str!("../../rules/catalogues/codex.txt")),
    ("copilot", include_str!("../../rules/catalogues/copilot.txt")),
    ("gemini-cli", include_str!("../../rules/catalogues/gemini-cli.txt")),
];

/// The built-in tools of known products.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogues {
    products: BTreeMap<String, BTreeSet<String>>,
}

impl Catalogues {
    /// The catalogues that toolwarden ships with.
    #[must_use]
    pub fn shipped() -> Self {
        Self::from_lists(SHIPPED)
    }

    /// Catalogues from pairs of product and list, one tool a line, `#` for comments.
    #[must_use]
    pub fn from_lists<'a>(lists: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let tools = |list: &str| {
            list.lines()
                .map(|line| line.split('#').next().unwrap_or_default().trim())
                .filter(|tool| !tool.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let products =
            lists.into_iter().map(|(product, list)| (product.to_owned(), tools(list))).collect();
        Self { products }
    }

    /// Whether there is a catalogue of the product.
    #[must_use]
    pub fn knows(&self, product: &str) -> bool {
        self.products.contains_key(product)
    }

    /// Whether the product ships with the tool.
    #[must_use]
    pub fn contains(&self, product: &str, tool: &str) -> bool {
        self.products.get(product).is_some_and(|tools| tools.contains(tool))
    }
}
