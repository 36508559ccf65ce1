//! `CONFORMANCE.md` lists the cases and the known differences that the suite has. Needs no Kafka.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const AGAIN: &str = "run `make conformance WRITE=1`";

/// The entries of the lists in the chapters with these titles, without their marks.
fn listed<'a>(text: &'a str, title_starts: &str) -> Vec<&'a str> {
    let mut is_wanted = false;
    let mut entries = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            is_wanted = title.starts_with(title_starts);
        } else if let Some(entry) = line.strip_prefix("- ").filter(|_| is_wanted) {
            entries.push(entry);
        }
    }
    entries
}

/// What stands between quotes in a source.
fn quoted(source: &str) -> Vec<&str> {
    source.split('"').skip(1).step_by(2).collect()
}

#[test]
fn the_table_is_that_of_the_suite() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(here.join(path)).unwrap();
    let table = read("CONFORMANCE.md");

    let mut cases = Vec::new();
    for file in fs::read_dir(here.join("tests/conformance/cases")).unwrap() {
        let source = fs::read_to_string(file.unwrap().path()).unwrap();
        let list = source.split_once("list![").map_or("", |(_, rest)| rest.split_once("];").unwrap().0);
        let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        cases.extend(names.map(|name| format!("`{name}`")));
    }
    cases.sort();
    let mut told = listed(&table, "Cases: ");
    told.sort_unstable();
    assert_eq!(told, cases, "{AGAIN}");
    assert!(cases.len() >= 120, "only {} cases", cases.len());

    // Area, case, reason; area, case, reason; …
    let known = read("tests/conformance/known.rs");
    let known: Vec<_> = known.split_once("DIFFERENCES").map(|(_, rest)| quoted(rest)).unwrap();
    let known: BTreeSet<_> =
        known.chunks_exact(3).map(|entry| format!("{}: `{}`: {}", entry[0], entry[1], entry[2])).collect();
    let told: BTreeSet<_> = listed(&table, "Known differences").into_iter().map(str::to_owned).collect();
    assert_eq!(told, known, "{AGAIN}");
    for entry in &known {
        assert!(cases.iter().any(|case| entry.contains(case)), "no case: {entry}");
    }
    let total = table.lines().find(|line| line.starts_with("| all |")).expect("a sum");
    assert!(total.ends_with("| 0 |"), "a difference was neither mended nor listed: {total}");
}
