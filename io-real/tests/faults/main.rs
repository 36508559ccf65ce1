//! Unchanged handlers on a bad day: the bus over the real wire, on brokers and a database that misbehave by plan.

#![allow(clippy::print_stdout, reason = "what struck is worth reading")]

#[path = "../support/mod.rs"]
mod support;

mod cli;
mod drawn;
mod planted;
mod postgres;
mod shop;
mod sqlite;

use std::collections::BTreeMap;
use std::time::Duration;

/// Longer than a bad day takes, on a busy machine.
const SOON: Duration = Duration::from_secs(240);

/// What every broker does all day long.
const BAD_DAY: &str = "
    seed 11
    chance slow 0.2%
    chance reset 1%
    chance reply-torn 1%
    chance refused 10%
    chance append-timed-out 10%
    chance not-leader 2%
    chance coordinator-loading 5%
    chance not-coordinator 5%
    chance no-coordinator 70%
    chance rebalance-in-progress 10%
    chance commit-applied 10%
    at 1s move-leader partition 0 to 2
    at 1s move-leader partition 1 to 3
    at 2s move-coordinator group 0 to 2
    at 3s kill-broker 1 down 1s
    at 4s evict group 0 member 0
    at 5s isolate-broker 3 for 0.5s
    at 6s stall-replica partition 2 broker 2 for 0.5s
";

/// Whoever watches over services waits a little before it starts one again.
async fn again(cause: impl std::fmt::Display) {
    println!("again: {cause}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// What of a plan has not struck yet.
fn missing(plan: &str, struck: &BTreeMap<&'static str, u64>) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let name = |words: Vec<String>| match words.first().map(String::as_str) {
        Some("chance") => words.get(1).cloned(),
        Some("at") => words.get(2).cloned(),
        _ => None,
    };
    let names = plan.lines().filter_map(|line| name(words(line)));
    names.filter(|name| !struck.contains_key(name.as_str())).collect()
}
