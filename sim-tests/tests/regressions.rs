//! Bugs that the simulation found: each with its story and the plan of faults that showed it.

use evenkeel_sim::faults::plan::FaultPlan;
use evenkeel_sim::trace::Detail;
use evenkeel_sim::world::scenario::Scenario;
use evenkeel_sim::world::{self, ACTIVE};

/// Runs the world of the plan's seed under exactly this plan.
fn comes_to_rest(plan: &str) {
    let plan: FaultPlan = plan.parse().expect("it is a plan");
    let report = world::run(&Scenario::draw(plan.seed, ACTIVE), &plan, plan.seed, Detail::Hashes);
    assert!(report.is_clean(), "{report}");
}

/// A member wanted to commit, but its coordinator was out of reach: the request waited for a connection. The member
/// stood still, lost its partitions, and got them again *under the same generation*, since the group had been stable
/// all the while. It went on and committed further. Then the first request got its connection, was sent at last,
/// and took the stored position back; nothing would have committed it again. A commit that was not sent when its
/// assignment ends is never sent.
#[test]
fn a_commit_that_waits_for_its_connection_ends_with_its_assignment() {
    comes_to_rest(
        "seed 202058
         quiet at 60s
         chance slow 99384ppm
         chance reset 24374ppm
         chance statement-lost 21214ppm
         chance db-commit-lost 49204ppm
         chance db-commit-reply-lost 5801ppm
         chance serialisation 5004ppm
         chance deadlock 25430ppm
         chance pool-slow 1015ppm
         at 2.721s move-coordinator group 0 to 2
         at 3.084s crash process 1 down 0.837s
         at 3.907s restart-database down 27.679s
         at 3.913s evict group 0 member 1
         at 8.466s pause process 2 for 1s
         at 8.676s empty-pool for 3.948s
         at 9.934s move-coordinator group 0 to 2
         at 13.461s move-coordinator group 0 to 1
         at 13.611s move-coordinator group 0 to 0
         at 14.372s pause owner of partition 1 for 30s
         at 16.199s crash owner of partition 1 down 0.1535s
         at 26.349s evict group 0 member 1
         at 27.454s cut process 0 from broker 0 for 0.842s
         at 32.254s isolate-broker 2 for 28.32s
         at 32.735s restart-database down 15.327s
         at 34.831s isolate-process 1 for 0.286s
         at 45.776s move-coordinator group 0 to 1
         at 45.972s crash process 3 down 0.8215s
         at 51.382s move-coordinator group 0 to 2
         at 53.618s move-coordinator group 0 to 1
         at 55.194s move-coordinator group 0 to 1
         at 55.496s move-coordinator group 0 to 1
         at 55.862s restart-database down 0.166s
         at 56.351s pause process 0 for 30s
         at 57.591s move-coordinator group 0 to 2
         at 58.7s cut process 2 from broker 2 for 2.972s",
    );
}

/// A member was evicted, and its next commit was refused: its partitions were lost, with what it had done since. Asked to stop
/// before it had joined again, it said that nothing was left undone.
#[test]
fn a_shutdown_that_could_not_commit_says_so() {
    comes_to_rest(
        "seed 562
         quiet at 60s
         at 1.25s evict group 0 member 2
         at 2.364s deploy group 0 handlers 52594 every 0.1445s
        ",
    );
}
