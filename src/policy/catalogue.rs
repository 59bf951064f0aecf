//! The tools that known agent products ship with: what stands in where an agent has no peers.
//!
//! Public product tool names, one a line, `#` for comments; a comment `# names:` lists what the
//! product is called. Products are matched by the words of their names, whatever their case and
//! what stands between them, without a vendor before, a form like `cli` after, and a version. Being
//! listed makes a first use less of a surprise; it permits nothing.

use std::collections::{BTreeMap, BTreeSet};

/// The shipped lists.
const SHIPPED: [(&str, &str); 16] = [
    ("amazon-q", include_str!("../../rules/catalogues/amazon-q.txt")),
    ("amp", include_str!("../../rules/catalogues/amp.txt")),
    ("claude-code", include_str!("../../rules/catalogues/claude-code.txt")),
    ("cline", include_str!("../../rules/catalogues/cline.txt")),
    ("codex", include_str!("../../rules/catalogues/codex.txt")),
    ("continue", include_str!("../../rules/catalogues/continue.txt")),
    ("copilot", include_str!("../../rules/catalogues/copilot.txt")),
    ("cursor", include_str!("../../rules/catalogues/cursor.txt")),
    ("gemini-cli", include_str!("../../rules/catalogues/gemini-cli.txt")),
    ("goose", include_str!("../../rules/catalogues/goose.txt")),
    ("opencode", include_str!("../../rules/catalogues/opencode.txt")),
    ("openhands", include_str!("../../rules/catalogues/openhands.txt")),
    ("qwen-code", include_str!("../../rules/catalogues/qwen-code.txt")),
    ("roo-code", include_str!("../../rules/catalogues/roo-code.txt")),
    ("windsurf", include_str!("../../rules/catalogues/windsurf.txt")),
    ("zed", include_str!("../../rules/catalogues/zed.txt")),
];

/// Words before a product's name that say whose it is.
const VENDORS: [&str; 18] = [
    "com",
    "ai",
    "io",
    "dev",
    "org",
    "anthropic",
    "openai",
    "google",
    "github",
    "microsoft",
    "ms",
    "amazon",
    "aws",
    "block",
    "sourcegraph",
    "codeium",
    "anysphere",
    "vscode",
];

/// Words after a product's name that say in what form it runs.
const FORMS: [&str; 14] = [
    "cli",
    "agent",
    "agents",
    "app",
    "bot",
    "chat",
    "desktop",
    "editor",
    "ext",
    "extension",
    "ide",
    "jetbrains",
    "sdk",
    "vscode",
];

/// The built-in tools of one product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    name: String,
    tools: BTreeSet<String>,
}

impl Catalogue {
    /// What the product is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tools, in the order of their names.
    pub fn tools(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().map(String::as_str)
    }

    /// Whether the product ships with the tool.
    #[must_use]
    pub fn contains(&self, tool: &str) -> bool {
        self.tools.contains(tool)
    }
}

/// The built-in tools of known products.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogues {
    lists: Vec<Catalogue>,
    /// Which list a name stands for.
    names: BTreeMap<String, usize>,
}

impl Catalogues {
    /// The catalogues that toolwarden ships with.
    #[must_use]
    pub fn shipped() -> Self {
        Self::from_lists(SHIPPED)
    }

    /// Catalogues from pairs of product and list, one tool a line, `#` for comments and `# names:`
    /// for other names of the product, with commas between them.
    #[must_use]
    pub fn from_lists<'a>(lists: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut catalogues = Self::default();
        for (product, list) in lists {
            let aliases = list.lines().filter_map(|line| line.strip_prefix("# names:"));
            let place = catalogues.lists.len();
            for name in aliases.flat_map(|names| names.split(',')).chain([product]) {
                catalogues.names.insert(normal(name), place);
            }
            let tools = list
                .lines()
                .map(|line| line.split('#').next().unwrap_or_default().trim())
                .filter(|tool| !tool.is_empty())
                .map(str::to_owned)
                .collect();
            catalogues.lists.push(Catalogue { name: product.to_owned(), tools });
        }
        catalogues
    }

    /// The catalogue of a product, by anything it is called.
    #[must_use]
    pub fn of(&self, product: &str) -> Option<&Catalogue> {
        self.names.get(&normal(product)).and_then(|place| self.lists.get(*place))
    }

    /// Every catalogue, in the order given.
    #[must_use]
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Catalogue> {
        self.lists.iter()
    }
}

/// The words of a product's name that tell it from others, put together.
fn normal(name: &str) -> String {
    let lower = name.to_lowercase();
    let is_version = |word: &&str| {
        let digits = word.strip_prefix('v').unwrap_or(word);
        digits.starts_with(|first: char| first.is_ascii_digit())
    };
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && !is_version(word))
        .collect();
    let mut rest = words.as_slice();
    // Something must be left, and one letter is no name.
    let is_enough = |rest: &[&str]| rest.iter().map(|word| word.len()).sum::<usize>() > 1;
    while let [first, after @ ..] = rest
        && VENDORS.contains(first)
        && is_enough(after)
    {
        rest = after;
    }
    while let [before @ .., last] = rest
        && FORMS.contains(last)
        && is_enough(before)
    {
        rest = before;
    }
    rest.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_names_its_product_its_source_and_the_day_it_was_looked_at() {
        for (product, list) in SHIPPED {
            for field in ["# names: ", "# source: ", "# looked at: 20"] {
                let found = list.lines().filter(|line| line.starts_with(field)).count();
                assert_eq!(found, 1, "{product}: {field}");
            }
            let tools: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
            assert!(tools.is_sorted() && tools.len() >= 9, "{product}");
            let unique: BTreeSet<&str> = tools.iter().copied().collect();
            assert_eq!(unique.len(), tools.len(), "{product}");
        }
    }

    #[test]
    fn a_product_is_known_by_whatever_it_is_called() {
        let catalogues = Catalogues::shipped();
        let of = |name: &str| catalogues.of(name).map(Catalogue::name);
        for (name, product) in [
            ("claude-code", "claude-code"),
            ("Claude Code", "claude-code"),
            ("claude_code-v2.1.34", "claude-code"),
            ("ClaudeCode", "claude-code"),
            ("com.anthropic.claude-code", "claude-code"),
            ("codex_cli", "codex"),
            ("OpenAI Codex CLI", "codex"),
            ("github-copilot-cli", "copilot"),
            ("vscode-copilot", "copilot"),
            ("copilot-chat", "copilot"),
            ("gemini", "gemini-cli"),
            ("google-gemini-cli", "gemini-cli"),
            ("amazon-q-developer-cli", "amazon-q"),
            ("Amazon Q", "amazon-q"),
            ("cursor-agent", "cursor"),
            ("Windsurf Cascade", "windsurf"),
            ("Roo Code 3.25", "roo-code"),
            ("qwen-code", "qwen-code"),
            ("zed-editor", "zed"),
        ] {
            assert_eq!(of(name), Some(product), "{name}");
        }
    }

    #[test]
    fn other_products_are_not_taken_for_known_ones() {
        let catalogues = Catalogues::shipped();
        for name in
            ["", "-", "agent", "q", "my-codex-helper", "claude", "code", "cli", "billing", "ai"]
        {
            assert_eq!(catalogues.of(name), None, "{name}");
        }
    }

    #[test]
    fn a_later_list_does_not_take_the_names_of_another() {
        let names: usize = SHIPPED
            .iter()
            .flat_map(|(product, list)| {
                let line = list.lines().find_map(|line| line.strip_prefix("# names:")).unwrap();
                line.split(',').chain([*product]).map(normal).collect::<BTreeSet<_>>()
            })
            .count();
        assert_eq!(Catalogues::shipped().names.len(), names);
    }
}
