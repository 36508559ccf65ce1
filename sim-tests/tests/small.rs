//! All orders of small worlds, and how small shrinking makes failures.

use evenkeel_sim::step::planted::Planted;
use evenkeel_sim::step::small::{self, Scope};
use sim_tests::smallest::Row;

#[test]
fn no_order_of_a_small_world_breaks_a_law() {
    for scope in small::quick() {
        let survey = small::explore(&scope, None);
        assert!(survey.found.is_none(), "{survey}");
        assert_eq!(survey.doubts(), [""; 0], "{survey}");
        assert!(survey.ends > 1 && survey.pruned > 0, "{survey}");
        print(&survey.to_string());
    }
}

#[expect(clippy::print_stdout, reason = "how much was tried is worth knowing")]
fn print(text: &str) {
    print!("{text}");
}

fn scope(name: &str) -> Scope {
    small::quick().into_iter().find(|scope| scope.name == name).expect("it is one of them")
}

#[test]
fn a_bug_that_takes_one_fault_at_one_moment_is_found() {
    for (bug, fault) in [
        (Planted::CommitOfLostAssignment, "crash process"),
        (Planted::UnknownCommitIsSuccess, "db-commit-lost strikes"),
        (Planted::InFlightCommitted, "stop process"),
    ] {
        let calm = small::explore(&scope("orders"), Some(bug));
        assert!(calm.found.is_none(), "without a fault there is nothing to find: {calm}");
        let survey = small::explore(&scope("one fault"), Some(bug));
        let found = survey.found.as_ref().unwrap_or_else(|| panic!("{} is not found: {survey}", bug.name()));
        assert!(found.meddling.iter().any(|meddling| meddling.contains(fault)), "{survey}");
        // The order is followed once more to be told: it must be the same.
        assert!(found.lines.iter().any(|line| line.contains("ORDER")), "{:#?}", found.lines);
    }
}

/// What shrinking makes of a failure is not much larger than the smallest that there is.
#[test]
fn shrunk_failures_are_nearly_the_smallest() {
    for bug in [Planted::PanicIsSuccess, Planted::OneTooFar, Planted::ClaimApart] {
        let row = Row::of(bug, 3_000).unwrap_or_else(|| panic!("no seed finds {}", bug.name()));
        assert!(row.ratio() <= 5.0, "{}: {} shrunk, {} at least", bug.name(), row.shrunk.size, row.smallest);
        assert!(row.shrunk.size.total() < row.found.total(), "{}: {} found", bug.name(), row.found);
    }
}
