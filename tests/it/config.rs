//! Configuration from outside: what is refused and how, what is accepted, what is published.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toolwarden::config;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config")
}
#[test]
fn x() {
    let env: BTreeMap<String, String> = BTreeMap::new();
    let text = std::fs::read_to_string(fixtures().join("broken/many.yaml")).unwrap();
    let e = config::load_text("many.yaml", &text, &fixtures(), &env).unwrap_err();
    println!("{e}");
    println!("{}", serde_json::to_string_pretty(&config::schema()).unwrap());
}
