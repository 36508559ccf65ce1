//! `CONFORMANCE.md` lists the cases and the known differences that the suite has. Needs no Kafka.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names between backquotes at the beginnings of the table's list entries.
fn listed(text: &str, chapters: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut wanted = false;
    let mut names = BTreeSet::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            wanted = chapters(title);
        } else if wanted
            && let Some((name, _)) = line.strip_prefix("- `").and_then(|rest| rest.split_once('`'))
        {
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn the_table_is_that_of_the_suite() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(here.join("CONFORMANCE.md")).unwrap();
    let mut cases = BTreeSet::new();
    for file in fs::read_dir(here.join("tests/conformance/cases")).unwrap() {
        let source = fs::read_to_string(file.unwrap().path()).unwrap();
        let list = source.split_once("list![").map_or("", |(_, rest)| rest.split_once("];").unwrap().0);
        cases.extend(list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
    }
    assert!(cases.len() >= 120, "only {} cases", cases.len());
    let again = "run `make conformance WRITE=1`";
    assert_eq!(listed(&table, |title| title.starts_with("Cases")), cases, "{again}");
    let known = fs::read_to_string(here.join("tests/conformance/known.rs")).unwrap();
    for case in listed(&table, |title| title == "Known differences") {
        assert!(known.contains(&format!("\"{case}\"")), "{case} is no known difference: {again}");
        assert!(cases.contains(&case), "{case} is no case: {again}");
    }
    for case in cases.iter().filter(|case| known.contains(&format!("\"{case}\""))) {
        assert!(listed(&table, |title| title == "Known differences").contains(case), "{case}: {again}");
    }
}
