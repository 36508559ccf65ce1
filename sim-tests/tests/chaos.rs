//! The library under a fixed range of seeds: every world comes to rest, and every law holds.

use evenkeel_sim::checkers::Law;
use evenkeel_sim::faults::{Chance, Family};
use sim_tests::batch::Batch;

/// Laws of what these worlds do not have yet: a database.
const NOT_YET: [Law; 3] = [Law::AtMostOnce, Law::AtLeastOnce, Law::Atomic];

#[test]
fn every_world_comes_to_rest_and_every_law_holds() {
    let batch = Batch::run(0..400, 2);
    assert!(batch.failures.is_empty(), "{batch}");
    // A law that nothing put to the test did not hold. The world itself judges whether all comes to rest.
    for law in Law::ALL.iter().filter(|law| !NOT_YET.contains(law) && **law != Law::Liveness) {
        assert!(
            batch.tested.times(*law) > 1_000,
            "{law} was put to the test {} times",
            batch.tested.times(*law)
        );
    }
    let of_a_database = |chance: &Chance| {
        matches!(
            chance.family(),
            Family::DatabaseConnections | Family::DatabaseCommits | Family::DatabaseConflicts | Family::Pool
        )
    };
    for chance in Chance::ALL.iter().filter(|chance| !of_a_database(chance)) {
        assert!(batch.struck.contains_key(chance), "{} never struck", chance.name());
    }
}
