//! Runs of one plan with and without what should change nothing for the rest: an event that cannot be handled leaves all
//! others their fate and their time, and faults leave what exactly-once handlers write.

use evenkeel_sim::checkers::Law;
use evenkeel_sim::seed::Seed;
use evenkeel_sim::step::pairs::{Difference, judge};
use evenkeel_sim::step::planted::Planted;
use sim_tests::pairs::Pairs;

#[test]
fn what_should_make_no_difference_makes_none() {
    let pairs = Pairs::run(0..400, 2, None);
    assert!(pairs.failures.is_empty(), "{pairs}");
    for difference in Difference::ALL {
        // What compared nothing has shown nothing.
        let compared = pairs.compared.get(&difference).copied().unwrap_or_default();
        assert!(compared > 10_000, "with and without {difference} only {compared} were compared");
    }
}

#[test]
fn events_that_wait_for_anothers_retry_are_found_by_comparing_alone() {
    let bug = Some(Planted::OthersWaitForRetry);
    let mut pairs = (0..50).map(|seed| judge(Seed(seed), Difference::BadEvents, bug));
    let pair = pairs.find(|pair| pair.breach.as_ref().is_some_and(|breach| breach.law == Law::Independence));
    let told = pair.expect("a pair shows it").to_string();
    for part in
        ["with and without bad events broke C7", "which account for", "make pairs SEED=", "set bad-percent"]
    {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
}
