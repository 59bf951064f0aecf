//! The shipped rules, read as the program reads them.

use std::path::{Path, PathBuf};

use toolwarden::config::load_yaml;
use toolwarden::policy::RawRule;

/// Every shipped rule with the path of its file below `rules/`.
pub(crate) fn rules() -> Vec<(PathBuf, RawRule)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let mut found = Vec::new();
    for family in std::fs::read_dir(&root).unwrap() {
        let family = family.unwrap().path();
        for file in std::fs::read_dir(family).into_iter().flatten() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "yaml") {
                let text = std::fs::read_to_string(&file).unwrap();
                let rule = load_yaml(&file.display().to_string(), &text, None)
                    .unwrap_or_else(|problems| panic!("{problems:?}"));
                found.push((file.strip_prefix(&root).unwrap().to_owned(), rule));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}
