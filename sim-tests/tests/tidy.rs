//! The rules of the house that a program can check.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace").to_owned()
}

fn sources() -> Vec<(PathBuf, String)> {
    let listed =
        Command::new("git").args(["ls-files", "*.rs"]).current_dir(root()).output().expect("git runs");
    let names = String::from_utf8(listed.stdout).expect("names are UTF-8");
    let files: Vec<_> = names
        .lines()
        .map(|name| root().join(name))
        .filter_map(|path| fs::read_to_string(&path).ok().map(|text| (path, text)))
        .collect();
    assert!(files.len() > 50, "only {} source files found: is this a checkout?", files.len());
    files
}

#[test]
fn the_core_depends_on_no_runtime() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = Command::new(cargo)
        .args(["tree", "--package", "evenkeel-core", "--edges", "normal,build", "--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo tree runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("names are UTF-8");
    assert!(tree.lines().any(|line| line.starts_with("bytes ")), "the tree is not the core's:\n{tree}");
    for banned in ["tokio", "madsim", "sqlx", "rskafka", "mio", "socket2", "async-std"] {
        let found = tree
            .lines()
            .find(|line| line.strip_prefix(banned).is_some_and(|rest| rest.starts_with([' ', '-'])));
        assert_eq!(found, None, "the core must not depend on {banned}");
    }
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "these begin without //!: {silent:#?}");
}

#[test]
fn no_file_is_a_maze() {
    const LINES: usize = 800;
    let long: Vec<_> = sources().into_iter().filter(|(_, text)| text.lines().count() > LINES).collect();
    let names: Vec<_> = long.iter().map(|(path, text)| (path, text.lines().count())).collect();
    assert!(names.is_empty(), "over {LINES} lines: {names:#?}");
}

#[test]
fn no_room_is_a_lumber_room() {
    let lumber = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];
    let found: Vec<_> = sources()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| {
            path.iter()
                .any(|part| lumber.iter().any(|name| part.to_string_lossy().trim_end_matches(".rs") == *name))
        })
        .collect();
    assert!(found.is_empty(), "name these for what they hold: {found:#?}");
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = ["todo!", "unimplemented!", "FIXME", "#[ignore"];
    let found: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| !path.ends_with("tidy.rs"))
        .flat_map(|(path, text)| {
            let lines =
                text.lines().enumerate().filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)));
            lines.map(|(nth, line)| format!("{}:{}: {line}", path.display(), nth + 1)).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}
