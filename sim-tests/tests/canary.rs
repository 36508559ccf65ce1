//! Runs that are made to fail: whoever tells of failures must tell of each, and end with the code that says so. A
//! reporter that swallows failures is as green as a library without any.

use std::process::{Command, Output, Stdio};

use evenkeel_sim::step::CANARY;

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim-tests")).args(arguments).output().expect("the program runs")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("it prints text")
}

/// The seeds that are told to have failed.
fn failed(text: &str) -> Vec<u64> {
    let lines = text.lines().filter(|line| line.contains(" broke "));
    let seeds =
        lines.filter_map(|line| line.split(' ').skip_while(|word| *word != "seed").nth(1)?.parse().ok());
    seeds.collect()
}

#[test]
fn each_run_that_fails_is_told_of_and_no_other() {
    let output = sim(&["explore", "--from", "100", "--seeds", "80", "--canary", "10"]);
    let text = text(&output);
    // More than are told of at length.
    assert_eq!(failed(&text), [100, 110, 120, 130, 140, 150, 160, 170], "{text}");
    assert_eq!(text.matches(CANARY).count(), 8, "{text}");
    for part in [
        "seed 100 broke C1 no loss: a canary",
        "make replay SEED=100",
        "make shrink SEED=100",
        "80 runs",
        " 8 failed",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_fails_is_told_beside_the_results_and_nothing_else_is() {
    for word in ["explore", "worlds"] {
        let output = sim(&[word, "--from", "19", "--seeds", "3", "--canary", "20"]);
        let told = String::from_utf8(output.stderr).expect("it prints text");
        assert_eq!(failed(&told), [20], "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn whoever_stops_reading_ends_it() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sim-tests"))
        .args(["replay", "110"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), &*output.stderr), (Some(6), &b""[..]));
}

#[test]
fn runs_that_do_not_fail_end_well() {
    let output = sim(&["explore", "--from", "100", "--seeds", "80"]);
    let text = text(&output);
    assert_eq!(failed(&text), [0_u64; 0], "{text}");
    assert!(text.contains("80 runs") && text.contains(" 0 failed"), "{text}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_replay_ends_at_the_step_that_failed_and_says_so() {
    let output = sim(&["replay", "110", "--canary", "--last", "20"]);
    let text = text(&output);
    assert_eq!(failed(&text), [110], "{text}");
    assert!(text.lines().count() > 20, "{text}");
    assert_eq!(output.status.code(), Some(1));
    let output = sim(&["replay", "110", "--last", "20"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn each_world_that_fails_is_told_of_and_no_other() {
    let output = sim(&["worlds", "--from", "3", "--seeds", "9", "--canary", "4"]);
    let text = text(&output);
    assert_eq!(failed(&text), [4, 8], "{text}");
    assert!(text.contains("9 worlds") && text.contains(" 2 failed"), "{text}");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(sim(&["worlds", "--from", "3", "--seeds", "2"]).status.code(), Some(0));
}

#[test]
fn pairs_that_differ_are_told_of() {
    let output = sim(&["pairs", "--seeds", "20", "--bug", "others-wait-for-a-retry"]);
    let text = text(&output);
    assert!(!failed(&text).is_empty() && text.contains("make pairs SEED="), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn who_is_called_wrongly_says_so() {
    assert_eq!(sim(&["replay", "1", "--bug", "no-such-bug"]).status.code(), Some(2));
    assert_eq!(sim(&["replay", "/no/such/plan"]).status.code(), Some(2));
    assert_eq!(sim(&["replay", "1", "--world", "--plan", "/no/such/plan"]).status.code(), Some(2));
    assert_eq!(
        sim(&["replay", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "--world"]).status.code(),
        Some(2)
    );
    assert_eq!(sim(&["diff", "5", "5", "--without", "no such line"]).status.code(), Some(2));
    assert_eq!(sim(&["diff", "5", "5"]).status.code(), Some(0));
}

#[test]
fn a_file_with_a_plan_stands_for_its_seed() {
    let path = std::env::temp_dir().join(format!("evenkeel-{}.plan", std::process::id()));
    std::fs::write(&path, "seed 1149\nset events 3\nquiet at 2s\n").expect("it can be written");
    let file = path.to_str().expect("its name is text");
    let (same, shown) = (sim(&["diff", file, file]), sim(&["at", file, "--step", "5"]));
    let (other, replayed) = (sim(&["diff", file, "1149"]), sim(&["replay", file]));
    std::fs::remove_file(&path).expect("it can be removed");
    assert_eq!(same.status.code(), Some(0), "{}", text(&same));
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown));
    assert_eq!(other.status.code(), Some(4), "{}", text(&other));
    assert!(text(&replayed).contains("seed 1149 came to rest"), "{}", text(&replayed));
}
