//! The same seed gives the same run, whatever company it is in; and a leak of determinism is found.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evenkeel_sim::faults::swarm;
use evenkeel_sim::seed::Seed;
use evenkeel_sim::trace::Detail;
use evenkeel_sim::world::scenario::Scenario;
use evenkeel_sim::world::{self, ACTIVE, Report};
use sim_tests::batch::Batch;

const SEEDS: std::ops::Range<u64> = 10_000..10_200;
const EVERY_STEP: Detail = Detail::Steps(0..u64::MAX);

/// Says which step is the first that differs, of two runs of a seed whose hashes after each step these are.
fn parting(seed: u64, company: &str, one: &[String], other: &[String]) -> String {
    let alike = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let replay = format!("cargo run --profile sim -p sim-tests -- replay {seed} --world");
    if alike == one.len() && alike == other.len() {
        return format!(
            "seed {seed} differs {company}, but did not when it was run again; its steps: {replay}"
        );
    }
    format!("seed {seed} differs {company} from step {alike} on; its steps: {replay}")
}

/// The hash after each step of a seed, run beside all the others.
fn steps_beside_others(seed: u64, threads: u64) -> Vec<String> {
    let steps = Mutex::new(Vec::new());
    let _batch = Batch::run_with(SEEDS, threads, &|drawn| {
        let detail = if drawn == Seed(seed) { EVERY_STEP } else { Detail::Hashes };
        let report = world::drawn(drawn, detail);
        if drawn == Seed(seed) {
            *steps.lock().expect("nobody panicked") = hashes(&report);
        }
        report
    });
    steps.into_inner().expect("nobody panicked")
}

fn hashes(report: &Report) -> Vec<String> {
    report.trace.hashes().iter().map(ToString::to_string).collect()
}

/// What another process prints of these seeds.
fn elsewhere(seeds: &[u64], steps_of: Option<u64>) -> Vec<String> {
    let wanted = steps_of.map(|seed| format!("--steps-of={seed}"));
    let output = Command::new(env!("CARGO_BIN_EXE_sim-tests"))
        .arg("hash")
        .args(seeds.iter().map(ToString::to_string))
        .args(wanted)
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("hashes are text").lines().map(str::to_owned).collect()
}

#[test]
fn a_seed_gives_the_same_run_alone_in_a_batch_beside_others_and_in_another_process() {
    let together = Batch::run(SEEDS, 2);
    let one_by_one = Batch::run(SEEDS, 1);
    for seed in SEEDS {
        if together.hashes[&Seed(seed)] != one_by_one.hashes[&Seed(seed)] {
            let (one, other) = (steps_beside_others(seed, 2), steps_beside_others(seed, 1));
            panic!("{}", parting(seed, "between threads", &one, &other));
        }
    }
    let backwards: Vec<_> = SEEDS.rev().step_by(7).collect();
    let printed = elsewhere(&backwards, None);
    assert_eq!(printed.len(), backwards.len(), "{printed:?}");
    for (seed, hash) in backwards.iter().zip(&printed) {
        if together.hashes[&Seed(*seed)].to_string() != *hash {
            let (one, other) = (steps_beside_others(*seed, 2), elsewhere(&backwards, Some(*seed)));
            panic!("{}", parting(*seed, "in another process", &one, &other));
        }
    }
}

#[test]
fn the_steps_of_a_seed_are_the_same_wherever_they_are_asked_for() {
    let (seed, last) = (SEEDS.start, SEEDS.start + 1);
    let steps = hashes(&world::drawn(Seed(seed), EVERY_STEP));
    assert!(steps.len() > 100, "it has {} steps", steps.len());
    assert_eq!(elsewhere(&[last, seed], Some(seed)), steps);
    assert_eq!(steps_beside_others(seed, 2), steps);
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
    assert_ne!(a.trace.hash(), b.trace.hash(), "the leak makes a difference");
    // The leak goes on, so the two that are looked at closely part where they part.
    let (a, b) = (leaky(EVERY_STEP), leaky(EVERY_STEP));
    let step = a.trace.first_difference(&b.trace).expect("the leak makes a difference");
    assert!(step > 0, "the first step is alike: {:?}", a.history.happenings[0]);
    let said = parting(a.seed.0, "between threads", &hashes(&a), &hashes(&b));
    assert!(said.starts_with(&format!("seed 10000 differs between threads from step {step} on")), "{said}");
    let said = parting(a.seed.0, "between threads", &hashes(&a), &hashes(&a));
    assert!(said.contains("but did not when it was run again"), "{said}");
}
