//! The library under a fixed range of seeds: every world comes to rest, and every law holds.

use evenkeel_sim::checkers::Law;
use evenkeel_sim::faults::Chance;
use sim_tests::batch::Batch;

#[test]
fn every_world_comes_to_rest_and_every_law_holds() {
    let batch = Batch::run(0..1_000, 2);
    assert!(batch.failures.is_empty(), "{batch}");
    // A law that nothing put to the test did not hold.
    for law in Law::of_histories() {
        let times = batch.tested.times(law);
        assert!(times >= 1_000, "{law} was put to the test {times} times");
    }
    for chance in Chance::ALL {
        assert!(batch.struck.contains_key(chance), "{} never struck", chance.name());
    }
}
