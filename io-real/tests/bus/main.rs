//! The bus as a whole on a real Apache Kafka and a real database: what a service sees of it.

#![allow(clippy::print_stdout, reason = "figures are worth reading")]

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod crash;
mod delivery;
mod failure;
mod foreign_metadata;
mod foreign_topic;
mod limits;
mod link;
mod offsets;
mod outage;
mod restart;
mod sigkill;
mod tools;
mod turns;
mod watched;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use evenkeel::{Bus, Kafka, NoDatabase, Topic};

/// Longer than anything here takes, a member's session included; what is not done by then is broken.
const SOON: Duration = Duration::from_secs(60);

/// A name that no other test and no earlier run has used.
fn fresh(name: &str) -> String {
    static USED: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_nanos();
    format!("{name}-{now}-{}", USED.fetch_add(1, Ordering::Relaxed))
}

async fn bus() -> Bus<NoDatabase> {
    Bus::builder("tests").kafka(Kafka::new([support::services::kafka()])).open().await.expect("Kafka answers")
}

/// A topic of its own for a test, which exists.
async fn topic<T>(bus: &Bus, partitions: u32) -> Topic<T> {
    let name: &'static str = fresh("bus").leak();
    bus.ensure_topic(name, partitions, []).await.expect("the topic can be created");
    Topic::new(name)
}

/// Waits until `done` says so, or fails with what is being waited for.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < SOON, "{what}: not within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
