//! The machines alone under a fixed range of seeds: every run comes to rest, every law holds, a seed gives the same run
//! in whatever company, and planted bugs are found.

use std::time::Duration;

use evenkeel_sim::checkers::{Evidence, Law};
use evenkeel_sim::faults::{Chance, Family};
use evenkeel_sim::seed::Seed;
use evenkeel_sim::step::coverage::Standing;
use evenkeel_sim::step::planted::Class;
use evenkeel_sim::step::{self, Plan};
use evenkeel_sim::trace::Detail;
use sim_tests::coverage::with_effect;
use sim_tests::planted::Table;
use sim_tests::steps::{Steps, marks_of};

const SEEDS: std::ops::Range<u64> = 0..10_000;
/// Each so-manieth seed is run again.
const AGAIN: u64 = 20;
/// What is rare is looked for as far as here.
const FURTHER: u64 = 60_000;
/// No end of patience: all seeds are run.
const ALL: Duration = Duration::MAX;

#[test]
fn every_run_comes_to_rest_and_every_law_holds_in_any_company() {
    let steps = Steps::run(SEEDS, 1, ALL);
    assert!(steps.failures.is_empty(), "{steps}");
    for law in Law::ALL.iter().filter(|law| law.evidence() != Evidence::Pairs) {
        // A law that nothing put to the test did not hold.
        let times = steps.tested.times(*law);
        assert!(times > 10_000, "{law} was put to the test {times} times");
    }
    for chance in Chance::ALL.iter().filter(|chance| chance.family() != Family::Clocks) {
        assert!(steps.struck.contains_key(chance), "{} never struck", chance.name());
    }
    let machines = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src/machine");
    let surprises = steps.surprises(&marks_of(&machines));
    assert!(surprises.is_empty(), "{surprises:#?}");
    let mut rare = steps.rare_missed();
    for from in (SEEDS.end..FURTHER).step_by(2_000) {
        if rare.is_empty() {
            break;
        }
        let missed = Steps::run(from..from + 2_000, 1, ALL).rare_missed();
        rare.retain(|mark| missed.contains(mark));
    }
    assert_eq!(rare, [] as [&str; 0], "not reached before seed {FURTHER} either");
    for family in with_effect() {
        let missed = steps.grid.missed(family, Standing::Assigned);
        assert!(
            missed.is_empty(),
            "{family:?} never struck while a member with partitions waited for {missed:?}"
        );
    }
    // Once more, backwards, on other threads, each after other runs than before.
    let again: Vec<u64> = SEEDS.rev().step_by(AGAIN as usize).collect();
    std::thread::scope(|scope| {
        for half in again.chunks(again.len() / 2 + 1) {
            let steps = &steps;
            scope.spawn(move || {
                for seed in half {
                    let hash = step::drawn(Seed(*seed), Detail::Hashes).trace.hash();
                    assert_eq!(hash, steps.hashes[&Seed(*seed)], "seed {seed} differs in other company");
                }
            });
        }
    });
    println_summary(&steps);
}

#[expect(clippy::print_stdout, reason = "how far and how fast is worth knowing")]
fn println_summary(steps: &Steps) {
    println!("{}", steps.summary());
    for ((machine, mark), (count, runs)) in &steps.marks {
        println!("  {machine}: {mark}: {count} times in {runs} runs");
    }
}

#[test]
fn bugs_of_the_first_class_are_found_at_once() {
    let table = Table::up_to(Class::A, 2);
    assert!(table.late().is_empty(), "{table}");
}

#[test]
fn a_report_says_how_its_own_run_is_seen_again() {
    let of_seed = step::canary(Seed(3), Detail::Hashes);
    let text = of_seed.to_string();
    assert!(text.contains("make replay SEED=3\n") && text.contains("make shrink SEED=3\n"), "{text}");
    let mut of_a_file = of_seed;
    of_a_file.plan.faults.quiet_at = evenkeel_core::model::Time::MAX;
    let text = of_a_file.to_string();
    assert!(text.contains("-- replay FILE, the plan below in the file\n"), "{text}");
}

#[test]
fn a_report_says_all_that_a_person_needs() {
    use evenkeel_sim::step::planted::Planted;
    let bug = Some(Planted::PanicIsSuccess);
    let mut reports = (0..200).map(|seed| step::run_with(&Plan::draw(Seed(seed)), bug, Detail::Hashes));
    let is_unsafe = |report: &step::Report| matches!(&report.breach, Some((_, breach)) if breach.law == Law::CommitSafety);
    let report = reports.find(is_unsafe).expect("a seed finds the bug");
    let text = report.to_string();
    let seed = report.plan.setup.seed;
    for part in [
        format!("seed {seed} broke C2 commit safety: "),
        "at step ".to_owned(),
        format!("hash {}", report.trace.hash()),
        format!("-- replay {seed} --bug panic-is-success\n"),
        format!("-- shrink {seed} --bug panic-is-success\n"),
        "chance handler-panics".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} is not in {text}");
    }
}
