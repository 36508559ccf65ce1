//! The same seed gives the same run, whatever company it is in; and a leak of determinism is found.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evenkeel_sim::faults::swarm;
use evenkeel_sim::seed::Seed;
use evenkeel_sim::trace::Detail;
use evenkeel_sim::world::scenario::Scenario;
use evenkeel_sim::world::{self, ACTIVE, Report};
use sim_tests::batch::Batch;

const SEEDS: std::ops::Range<u64> = 10_000..10_200;

#[test]
fn a_seed_gives_the_same_run_alone_in_a_batch_beside_others_and_in_another_process() {
    let together = Batch::run(SEEDS, 2);
    let one_by_one = Batch::run(SEEDS, 1);
    for seed in SEEDS {
        let (together, alone) = (together.hashes[&Seed(seed)], one_by_one.hashes[&Seed(seed)]);
        assert_eq!(together, alone, "seed {seed} differs between threads");
    }
    let backwards: Vec<_> = SEEDS.rev().step_by(7).collect();
    let elsewhere = Command::new(env!("CARGO_BIN_EXE_sim-tests"))
        .arg("hash")
        .args(backwards.iter().map(ToString::to_string))
        .output()
        .expect("the program runs");
    let printed = String::from_utf8(elsewhere.stdout).expect("hashes are text");
    assert_eq!(printed.lines().count(), backwards.len(), "{printed}");
    for (seed, hash) in backwards.iter().zip(printed.lines()) {
        assert_eq!(together.hashes[&Seed(*seed)].to_string(), hash, "seed {seed} differs in another process");
    }
}

/// What a process-wide counter does to a handler: it differs from run to run, and only in company.
fn planted() -> Duration {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    Duration::from_micros(CALLS.fetch_add(1, Ordering::Relaxed) * 3_000)
}

fn leaky(detail: Detail) -> Report {
    let seed = Seed(10_000);
    let mut scenario = Scenario::draw(seed, ACTIVE);
    scenario.leak = Some(planted);
    world::run(&scenario, &swarm::draw(seed, &scenario.shape(ACTIVE)), seed, detail)
}

#[test]
fn a_leak_is_found_and_the_first_step_that_differs_is_named() {
    let (a, b) = (leaky(Detail::Hashes), leaky(Detail::Hashes));
    let stretch = a.trace.parts_from(&b.trace).expect("the leak makes a difference");
    // The leak goes on, so the two that are looked at closely part where they part.
    let (a, b) = (leaky(Detail::Steps(0..stretch.end)), leaky(Detail::Steps(0..stretch.end)));
    let step = a.trace.first_difference(&b.trace).expect("the leak makes a difference");
    let (_, first) = &a.history.happenings[0];
    assert!(step > 0, "the first step is alike: {first:?}");
}
