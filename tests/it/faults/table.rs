//! Holds `docs/faults.md` to the tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use toolwarden::kill_point::Point;

use crate::support::{repository, text};

/// The rows of the fault matrix.
const ROWS: usize = 44;

fn is_of_a_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Every `row_NN_…` of the tests below a directory.
fn tests_below(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = fs::read_to_string(&path).unwrap();
            let names = code.split("fn row_").skip(1).filter_map(|rest| {
                let name = rest.split(|letter| !is_of_a_name(letter)).next()?;
                name.starts_with(|letter: char| letter.is_ascii_digit()).then_some(name)
            });
            found.extend(names.map(|name| format!("row_{name}")));
        }
    }
}

/// The cells of each line of the table that is a row.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let cells = page.lines().map(|line| line.split(" | ").collect::<Vec<_>>());
    cells
        .filter(|cells| {
            let number = cells.first().and_then(|first| first.strip_prefix("| "));
            number.is_some_and(|number| number.parse::<usize>().is_ok())
        })
        .collect()
}

/// Every text of the tests below a directory, one after the other.
fn texts_below(directory: &Path) -> String {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            let is_code = path.extension().is_some_and(|extension| extension == "rs");
            if path.is_dir() {
                texts_below(&path)
            } else if is_code {
                fs::read_to_string(path).unwrap()
            } else {
                String::new()
            }
        })
        .collect()
}

#[test]
fn at_every_kill_point_a_test_arms_a_process() {
    let tests = texts_below(&repository("tests"));
    let points = Point::ALL.iter().map(|point| point.as_str());
    let unarmed: Vec<&str> = points
        .filter(|name| {
            !tests.contains(&format!("\"{name}\"")) && !tests.contains(&format!("\"{name}:"))
        })
        .collect();
    assert!(unarmed.is_empty(), "no test arms {unarmed:?}");
}

#[test]
fn the_page_of_faults_has_every_row_once_and_names_only_tests_that_exist() {
    let mut exist = BTreeSet::new();
    for directory in ["src", "tests"] {
        tests_below(&repository(directory), &mut exist);
    }
    let page = text("docs/faults.md");
    let rows = rows(&page);
    assert_eq!(rows.len(), ROWS, "run scripts/faults --names");
    for (row, number) in rows.iter().zip(1..) {
        let [first, _, _, tests, result, _] = row.as_slice() else { panic!("{row:?}") };
        assert_eq!(*first, format!("| {number:02}"), "{row:?}");
        let prefix = format!("row_{number:02}_");
        let names: Vec<&str> = tests.split('`').filter(|name| name.starts_with("row_")).collect();
        assert_eq!(names.is_empty(), result.starts_with("no test: "), "{row:?}");
        for name in names {
            assert!(name.starts_with(&prefix), "{name} stands in row {number}");
            assert!(exist.contains(name), "{name} does not exist: run scripts/faults --names");
        }
    }
}
