//! Giving partitions up, in peace and otherwise.

use super::*;

fn member() -> Member {
    let mut member = Member::reading(shop(), &[("orders/0", 0)]);
    member.fetched("orders/0", "0a 1b 2a 3a");
    member.started();
    member
}

#[test]
fn a_revoked_partition_finishes_what_runs_starts_nothing_commits_and_is_released() {
    let mut member = member();
    member.revoke(10 * SECOND);
    member.done("charge orders/0@0");
    assert_eq!(member.started(), Vec::<String>::new());
    assert_eq!(member.commit(), Vec::<String>::new(), "the last call still runs");
    member.done("charge orders/0@1");
    assert_eq!(member.commit(), ["orders/0:2"]);
    assert_eq!(member.released, 0);
    member.commit_accepted();
    assert_eq!((member.released, member.cancelled.len()), (1, 0));
    assert_eq!(member.machine.deadline(), None);
}

#[test]
fn what_a_fetch_brings_while_partitions_are_given_up_is_left_in_the_log() {
    let mut member = member();
    member.revoke(10 * SECOND);
    member.fetched("orders/0", "4c");
    member.pass(SECOND);
    assert_eq!((member.started(), member.fetches()), (vec![], vec![]));
    assert!(member.marked("fetched while draining"));
}

#[test]
fn a_retry_that_comes_due_while_partitions_are_given_up_does_not_run() {
    let mut member = member();
    member.finish("charge orders/0@1", Outcome::Failed);
    member.revoke(10 * SECOND);
    member.pass(5 * SECOND);
    assert_eq!(member.started(), Vec::<String>::new());
    member.done("charge orders/0@0");
    assert_eq!(member.commit(), ["orders/0:1"]);
}

#[test]
fn at_the_deadline_calls_are_cancelled_and_what_is_settled_is_committed() {
    let mut member = member();
    member.revoke(10 * SECOND);
    member.done("charge orders/0@0");
    member.pass(9_999);
    assert_eq!(member.cancelled, Vec::<String>::new());
    member.pass(1);
    assert_eq!(member.cancelled, ["charge orders/0@1"]);
    member.finish("charge orders/0@1", Outcome::Cancelled);
    assert_eq!(member.commit(), ["orders/0:1"]);
    member.commit_accepted();
    assert_eq!(member.released, 1);
}

#[test]
fn partitions_are_released_even_if_calls_and_commits_never_end() {
    for commit_answers in [false, true] {
        let mut member = member();
        member.done("charge orders/0@0");
        member.finish("charge orders/0@2", Outcome::Failed);
        member.pass(SECOND);
        member.revoke(10 * SECOND);
        if commit_answers {
            member.commit_accepted();
        }
        member.pass(14_999);
        assert_eq!(member.released, 0);
        member.pass(1);
        assert_eq!(member.released, 1);
        assert_eq!(member.notices().contains(&Notice::Uncommitted { partitions: 1 }), !commit_answers);
        assert_eq!(member.machine.deadline(), None);
    }
}

#[test]
fn what_a_lost_assignment_leaves_undone_is_told() {
    let mut member = member();
    member.done("charge orders/0@0");
    let calls = member.running.len();
    member.handle(Input::Lost);
    let notices = member.notices();
    assert!(notices.contains(&Notice::Uncommitted { partitions: 1 }), "{notices:?}");
    assert!(calls > 0 && notices.contains(&Notice::Cancelled { calls }), "{notices:?}");
}

#[test]
fn a_last_commit_that_fails_is_repeated_until_there_is_no_time_left() {
    let mut member = member();
    member.done("charge orders/0@0");
    member.pass(SECOND);
    member.commit_answered(Err(unknown()));
    member.revoke(10 * SECOND);
    member.pass(SECOND);
    for label in ["charge orders/0@1", "charge orders/0@2"] {
        if member.running.values().any(|running| running == label) {
            member.done(label);
        }
    }
    assert_eq!(member.commit(), ["orders/0:3"], "an earlier failure is no reason to give up");
    member.commit_answered(Err(unknown()));
    member.pass(200);
    assert_eq!(member.commit(), ["orders/0:3"]);
    member.commit_accepted();
    assert_eq!(member.released, 1);
}

#[test]
fn a_last_commit_that_is_refused_for_good_is_told_and_not_waited_for() {
    for code in [
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::TopicAuthorizationFailed,
        ErrorCode::GroupAuthorizationFailed,
    ] {
        for whole in [false, true] {
            let mut member = member();
            member.revoke(10 * SECOND);
            member.done("charge orders/0@0");
            member.done("charge orders/0@1");
            member.commit_answered(if whole { Err(PortError::Refused(code)) } else { Ok(vec![Err(code)]) });
            assert_eq!(member.released, 1, "{code:?}");
            let notices = member.notices();
            assert!(notices.contains(&Notice::CommitRefused { at: at("orders/0"), code }), "{notices:?}");
            assert!(notices.contains(&Notice::Uncommitted { partitions: 1 }), "{notices:?}");
        }
    }
}

#[test]
fn a_refusal_for_good_ends_the_wait_for_its_partition_alone() {
    let mut member = Member::reading(shop(), &[("orders/0", 0), ("orders/1", 0)]);
    member.fetched("orders/0", "0a");
    member.fetched("orders/1", "0b");
    member.done("charge orders/0@0");
    member.revoke(10 * SECOND);
    member.done("charge orders/1@0");
    assert_eq!(member.commit(), ["orders/0:1", "orders/1:1"]);
    member
        .commit_answered(Ok(vec![Err(ErrorCode::UnknownTopicOrPartition), Err(ErrorCode::RequestTimedOut)]));
    assert_eq!(member.released, 0);
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/1:1"]);
    member.commit_answered(Err(unknown()));
    assert_eq!(member.released, 0, "an outcome that is not known is no refusal");
    member.pass(SECOND);
    member.commit_accepted();
    assert_eq!(member.released, 1);
    assert!(member.notices().contains(&Notice::Uncommitted { partitions: 1 }));
}

#[test]
fn what_is_refused_while_partitions_are_kept_is_tried_once_more_at_the_end() {
    let mut member = member();
    member.done("charge orders/0@0");
    member.pass(SECOND);
    member.commit_refused(ErrorCode::TopicAuthorizationFailed);
    member.done("charge orders/0@1");
    member.revoke(10 * SECOND);
    member.done("charge orders/0@2");
    member.pass(SECOND);
    assert_eq!((member.commit(), member.released), (vec!["orders/0:3".to_owned()], 0));
    member.commit_accepted();
    assert_eq!(member.released, 1);
}

#[test]
fn an_idle_member_is_released_at_once() {
    let mut member = Member::new(shop());
    member.revoke(SECOND);
    assert_eq!(member.released, 1, "without partitions");
    let mut member = Member::reading(shop(), &[("orders/0", 0)]);
    member.revoke(SECOND);
    assert_eq!(member.released, 1);
    let mut member = Member::new(shop());
    member.assigned(&["orders/0"]);
    member.revoke(SECOND);
    assert_eq!(member.released, 1, "before the start is known");
}

#[test]
fn giving_up_stops_all_asking() {
    let mut config = shop();
    config.handlers.push(handler("ship", 0, OnFailure::Block));
    let mut member = Member::reading(config, &[("orders/0", 0), ("orders/1", 0)]);
    member.fetched("orders/0", "0a");
    member.fetch_fails();
    member.revoke(10 * SECOND);
    member.requests = 0;
    member.pass(9 * SECOND);
    assert_eq!(member.requests, 0);
}

#[test]
fn a_second_revocation_may_shorten_the_first_but_not_lengthen_it() {
    for (second, cancelled_after) in [(2, 2), (60, 10)] {
        let mut member = member();
        member.revoke(10 * SECOND);
        member.revoke(second * SECOND);
        member.pass(cancelled_after * SECOND - 1);
        assert_eq!(member.cancelled.len(), 0);
        member.pass(1);
        assert_eq!(member.cancelled.len(), 2);
    }
}

#[test]
fn lost_partitions_are_dropped_at_once_and_nothing_is_committed() {
    let mut member = member();
    member.done("charge orders/0@0");
    member.handle(Input::Lost);
    member.cancelled.sort();
    assert_eq!(member.cancelled, ["charge orders/0@1", "charge orders/0@2"]);
    member.finish("charge orders/0@1", Outcome::Done);
    member.pass(60 * SECOND);
    assert_eq!(member.commit(), Vec::<String>::new());
    assert_eq!((member.released, member.machine.in_flight(), member.machine.running()), (0, 0, 1));
}

#[test]
fn lost_in_the_middle_of_giving_up_is_the_end_of_it() {
    let mut member = member();
    member.revoke(10 * SECOND);
    member.handle(Input::Lost);
    member.pass(60 * SECOND);
    assert_eq!(member.released, 0, "the group knows already");
    assert_eq!(member.machine.deadline(), None);
}

/// The last commit is never answered, and the group gives the partitions to another.
#[test]
fn what_is_lost_in_the_middle_of_giving_up_is_told_if_something_was_settled() {
    for settled in [false, true] {
        let mut member = member();
        if settled {
            member.done("charge orders/0@0");
        }
        member.revoke(10 * SECOND);
        member.handle(Input::Lost);
        assert_eq!(member.notices().contains(&Notice::Uncommitted { partitions: 1 }), settled);
    }
}

#[test]
fn what_a_call_of_an_ended_assignment_brings_settles_nothing_of_the_next() {
    let mut member = member();
    member.handle(Input::Lost);
    member.open.clear();
    member.assigned(&["orders/0"]);
    member.begins(&[("orders/0", 0)]);
    member.fetched("orders/0", "0a 1b");
    assert_eq!(member.started(), Vec::<String>::new(), "the cancelled calls are still at work on these");
    member.finish("charge orders/0@0", Outcome::Done);
    member.finish("charge orders/0@1", Outcome::Failed);
    assert_eq!(member.started(), ["charge orders/0@0", "charge orders/0@1"]);
    member.pass(2 * SECOND);
    assert_eq!(member.commit(), Vec::<String>::new());
    assert_eq!(member.started(), Vec::<String>::new(), "and no retry of theirs comes either");
    assert!(member.marked("outcome of a call of an ended assignment ignored"));
}

#[test]
fn a_retry_does_not_outlive_its_assignment() {
    let mut member = member();
    member.finish("charge orders/0@0", Outcome::Failed);
    member.finish("charge orders/0@1", Outcome::Failed);
    member.handle(Input::Lost);
    assert_eq!(member.machine.deadline(), None);
    member.open.clear();
    member.assigned(&["orders/0"]);
    member.begins(&[("orders/0", 0)]);
    member.pass(5 * SECOND);
    assert_eq!(member.started(), Vec::<String>::new());
}
