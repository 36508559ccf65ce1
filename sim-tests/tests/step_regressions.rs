//! What was found by a seed and made small, as plans: a seed means nothing once code has moved, a plan still does.

use evenkeel_sim::step::{Plan, run};
use evenkeel_sim::trace::Detail;

fn holds(plan: &str) {
    let plan: Plan = plan.parse().expect("the plan is understood");
    let report = run(&plan, Detail::Hashes);
    assert!(report.is_clean(), "{report}");
}

/// A member was thrown out while its share was on its way to it. The share came after ten seconds, and the member went by
/// its own clock from then on: for as long as a session it handled partitions that another had.
#[test]
fn a_share_that_comes_late_is_not_trusted_for_a_whole_session() {
    holds(
        "\
         set members 3\n\
         set events 2\n\
         set bad-percent 4\n\
         seed 6515\n\
         quiet at 6.762s\n\
         storms of 0.746s every 11.132s\n\
         chance slow 5423ppm\n\
         at 0.08s evict group 0 member 1\n\
         at 0.1s evict group 0 member 2\n\
         at 0.2s evict group 0 member 3\n\
         spare slow of 2 nth 2\n\
         ",
    );
}
