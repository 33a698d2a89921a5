//! What the documentation says of the tests.
use std::fs;

use sluicegate_tests::root;

/// `docs/otlp.md` names the tests that show what it says: each of them is there.
#[test]
fn every_test_that_the_page_names_is_there() {
    let page = fs::read_to_string(root().join("docs/otlp.md")).expect("the page");
    let named: Vec<_> =
        page.split('`').filter_map(|name| name.split_once("::")).filter(|(file, _)| !file.is_empty()).collect();
    for (file, test) in &named {
        if *file == "FILE" {
            continue;
        }
        let folder = if file.starts_with("program/") || file.starts_with("e2e/") { "tests/tests" } else { "host/src" };
        let path = root().join(folder).join(file).with_extension("rs");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}::{test}: {}: {e}", path.display()));
        let lines: Vec<_> = text.lines().map(str::trim_start).collect();
        let is_test = lines.windows(2).any(|lines| {
            let is_attribute = lines[0].starts_with("#[test") || lines[0].starts_with("#[tokio::test");
            is_attribute && lines[1].contains(&format!("fn {test}("))
        });
        assert!(is_test, "{} has no test {test}", path.display());
    }
    let requirements = page.lines().filter(|line| line.starts_with("| ") && line.ends_with("| |"));
    assert_eq!(requirements.collect::<Vec<_>>(), Vec::<&str>::new(), "nothing shows these");
    assert!(named.len() > 50, "{}", named.len());
}
