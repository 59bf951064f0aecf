//! Holds `docs/faults.md` to the tests that exist.

use std::collections::BTreeSet;
use std::fs;

use toolwarden::kill_point::Point;

use crate::support::{files_below, text};

/// The rows of the fault matrix.
const ROWS: usize = 44;

fn is_of_a_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// The texts of the code below a directory.
fn texts_below(directory: &str) -> impl Iterator<Item = String> {
    files_below(directory, "rs").into_iter().map(|path| fs::read_to_string(path).unwrap())
}

/// Every `row_NN_…` of the tests in a text.
fn row_tests(code: &str) -> Vec<String> {
    let names = code.split("fn row_").skip(1).filter_map(|rest| {
        let name = rest.split(|letter| !is_of_a_name(letter)).next()?;
        name.starts_with(|letter: char| letter.is_ascii_digit()).then_some(name)
    });
    names.map(|name| format!("row_{name}")).collect()
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

#[test]
fn at_every_kill_point_a_test_arms_a_process() {
    let tests: String = texts_below("tests").collect();
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
    let code = ["src", "tests"].into_iter().flat_map(texts_below);
    let exist: BTreeSet<String> = code.flat_map(|code| row_tests(&code)).collect();
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
