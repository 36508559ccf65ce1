//! When positions are committed, and what follows from the answers.

use super::*;

fn member() -> Member {
    Member::reading(shop(), &[("orders/0", 0)])
}

/// A member with a commit in flight that names `orders/0:1`, and one more event running.
fn committing() -> Member {
    let mut member = member();
    member.fetched("orders/0", "0a 1b");
    member.done("charge orders/0@0");
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:1"]);
    member
}

#[test]
fn while_events_flow_commits_go_out_at_an_interval() {
    let mut member = member();
    member.fetched("orders/0", "0a 1b 2c 3d");
    member.done("charge orders/0@0");
    member.pass(400);
    member.done("charge orders/0@1");
    member.pass(599);
    assert_eq!(member.commit(), Vec::<String>::new());
    member.pass(1);
    assert_eq!(member.commit(), ["orders/0:2"]);
}

#[test]
fn an_idle_consumer_commits_at_once_but_not_all_the_time() {
    let mut member = member();
    member.fetched("orders/0", "0a");
    member.done("charge orders/0@0");
    assert_eq!(member.commit(), ["orders/0:1"]);
    member.commit_accepted();
    member.fetched("orders/0", "1a");
    member.done("charge orders/0@1");
    member.pass(99);
    assert_eq!(member.commit(), Vec::<String>::new());
    member.pass(1);
    assert_eq!(member.commit(), ["orders/0:2"]);
}

#[test]
fn one_commit_is_in_flight_at_a_time() {
    let mut member = committing();
    member.done("charge orders/0@1");
    member.pass(10 * SECOND);
    assert_eq!(member.commit(), ["orders/0:1"]);
    member.commit_accepted();
    assert_eq!(member.commit(), ["orders/0:2"]);
    member.commit_accepted();
    member.pass(60 * SECOND);
    assert_eq!(member.commit(), Vec::<String>::new(), "nothing new, no commit");
}

#[test]
fn a_failed_commit_is_repeated_after_growing_waits_as_it_is_then() {
    let mut member = committing();
    let mut waits = Vec::new();
    for _ in 0..15 {
        member.commit_answered(Err(unknown()));
        waits.push(member.wait_for(5, |member| !member.commit().is_empty()));
    }
    for (nth, wait) in waits.iter().enumerate() {
        let centre = (50u128 << nth).min(5_000);
        assert!((centre * 8 / 10..=centre * 12 / 10 + 5).contains(wait), "{waits:?}");
    }
    member.done("charge orders/0@1");
    member.commit_answered(Err(unknown()));
    member.pass(10 * SECOND);
    assert_eq!(member.commit(), ["orders/0:2"]);
    member.commit_accepted();
    member.fetched("orders/0", "2a");
    member.done("charge orders/0@2");
    assert_eq!(member.commit(), ["orders/0:3"], "all is forgiven");
}

#[test]
fn too_large_metadata_is_halved_and_committed_at_once() {
    let mut member = member();
    let records: Vec<String> = (0..400).map(|offset| format!("{offset}-")).collect();
    let mut config = shop();
    config.concurrency = 400;
    config.handlers[0].outstanding = number(400);
    member.machine = Consumer::new(config, Entropy::new(1));
    member.open.clear();
    member.assigned(&["orders/0"]);
    member.begins(&[("orders/0", 0)]);
    member.fetched("orders/0", &records.join(" "));
    for offset in (1..400).step_by(2) {
        member.done(&format!("charge orders/0@{offset}"));
    }
    member.pass(SECOND);
    let length = |member: &Member| {
        member.open.iter().find_map(|action| match action {
            Action::Commit { request, .. } => Some(request.commits[0].metadata.len()),
            _ => None,
        })
    };
    let mut last = length(&member).expect("a commit");
    assert!((500..=4_096).contains(&last));
    for _ in 0..7 {
        member.commit_refused(ErrorCode::OffsetMetadataTooLarge);
        let next = length(&member).expect("at once");
        assert!(next <= last);
        last = next;
    }
    assert_eq!(last, 0, "down to none");
    member.commit_refused(ErrorCode::OffsetMetadataTooLarge);
    assert_eq!(length(&member), None, "and then not in a loop");
    member.pass(100);
    assert_eq!(length(&member), Some(0));
}

#[test]
fn each_partition_has_its_own_answer() {
    let mut member = Member::reading(shop(), &[("orders/0", 0), ("orders/1", 0)]);
    member.fetched("orders/0", "0a 1b");
    member.fetched("orders/1", "0a 1b");
    member.done("charge orders/0@0");
    member.done("charge orders/1@0");
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:1", "orders/1:1"]);
    member.commit_answered(Ok(vec![Ok(()), Err(ErrorCode::UnknownTopicOrPartition)]));
    member.pass(100);
    assert_eq!(member.commit(), ["orders/1:1"]);
    member.commit_answered(Ok(Vec::new()));
    member.pass(200);
    assert_eq!(member.commit(), ["orders/1:1"], "an answer without it says nothing");
}

#[test]
fn an_answer_to_a_commit_of_an_older_assignment_changes_nothing() {
    let mut member = committing();
    let (late, _) = member.take_commit();
    member.handle(Input::Lost);
    member.finish("charge orders/0@1", Outcome::Cancelled);
    member.open.clear();
    member.assigned(&["orders/0"]);
    member.begins(&[("orders/0", 0)]);
    member.fetched("orders/0", "0a 1b");
    member.done("charge orders/0@0");
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:1"]);
    member.handle(Input::CommitDone {
        id: late,
        outcome: Err(PortError::Refused(ErrorCode::IllegalGeneration)),
    });
    member.handle(Input::CommitDone { id: late, outcome: Ok(vec![Ok(())]) });
    assert_eq!(member.refused, []);
    member.commit_answered(Err(unknown()));
    member.pass(100);
    assert_eq!(member.commit(), ["orders/0:1"], "it is not taken for stored");
}

#[test]
fn a_commit_of_a_generation_that_is_over_is_told_to_the_group_and_not_repeated() {
    for code in [ErrorCode::IllegalGeneration, ErrorCode::UnknownMemberId] {
        let mut member = committing();
        member.commit_refused(code);
        assert_eq!(member.refused, [(Generation(1), code)]);
        member.pass(60 * SECOND);
        assert_eq!(member.commit(), Vec::<String>::new());
        member.done("charge orders/0@1");
        member.revoke(SECOND);
        assert_eq!(member.released, 1, "nothing to wait for");
        assert!(member.notices().contains(&Notice::Uncommitted { partitions: 1 }));
    }
}

#[test]
fn a_commit_during_a_rebalance_or_to_the_wrong_coordinator_is_told_and_repeated() {
    for code in [ErrorCode::RebalanceInProgress, ErrorCode::NotCoordinator] {
        let mut member = committing();
        member.commit_answered(Ok(vec![Err(code)]));
        assert_eq!(member.refused, [(Generation(1), code)]);
        member.pass(100);
        assert_eq!(member.commit(), ["orders/0:1"]);
    }
}

#[test]
fn after_the_coordinator_moved_the_position_is_committed_again_there() {
    let mut member = committing();
    member.commit_accepted();
    member.pass(10 * SECOND);
    assert_eq!(member.commit(), Vec::<String>::new());
    let moved = Membership { coordinator: BrokerId(8), ..member.membership() };
    member.handle(Input::Moved(moved));
    assert_eq!(member.commit(), ["orders/0:1"]);
    assert!(member.has(|action| matches!(action, Action::Commit { coordinator: BrokerId(8), .. })));
}

/// All open fetches are answered, with nothing: those of former assignments as well.
fn leader_agrees(member: &mut Member) {
    for _ in member.fetches() {
        member.fetched("orders/0", "");
    }
}

/// A member with the commit of a former assignment still under way, its partitions lost and given back.
fn with_a_stray() -> (Member, RequestId) {
    let mut member = committing();
    let (stray, _) = member.take_commit();
    member.handle(Input::Lost);
    member.assigned(&["orders/0"]);
    (member, stray)
}

#[test]
fn a_former_assignments_commit_that_is_taken_late_is_said_over() {
    for outcome in [Ok(vec![Ok(())]), Err(unknown())] {
        let is_known = outcome.is_ok();
        let (mut member, stray) = with_a_stray();
        member.begins(&[("orders/0", 2)]);
        leader_agrees(&mut member);
        member.pass(60 * SECOND);
        assert_eq!(member.commit(), Vec::<String>::new(), "nothing new, no commit");
        member.handle(Input::CommitDone { id: stray, outcome });
        assert_eq!(member.commit(), ["orders/0:2"]);
        member.commit_accepted();
        member.pass(60 * SECOND);
        assert_eq!(member.commit().is_empty(), is_known, "what may still be on its way is said over again");
    }
}

#[test]
fn a_commit_without_an_answer_is_said_over_once_it_can_no_more_be_on_its_way() {
    let mut member = committing();
    member.done("charge orders/0@1");
    member.commit_answered(Err(unknown()));
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:2"]);
    member.commit_accepted();
    member.pass(58 * SECOND);
    assert_eq!(member.commit(), Vec::<String>::new(), "nothing new, no commit");
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:2"]);
    member.commit_accepted();
    member.pass(600 * SECOND);
    assert_eq!(member.commit(), Vec::<String>::new(), "once is enough");
}

#[test]
fn a_drain_says_over_what_is_in_doubt() {
    let mut member = committing();
    member.done("charge orders/0@1");
    member.commit_answered(Err(unknown()));
    member.pass(SECOND);
    member.commit_accepted();
    member.revoke(SECOND);
    assert_eq!(member.commit(), ["orders/0:2"]);
    member.commit_accepted();
    assert_eq!(member.released, 1);
}

#[test]
fn a_former_assignments_commit_that_is_taken_before_positions_are_read_is_said_over_too() {
    let (mut member, stray) = with_a_stray();
    member.handle(Input::CommitDone { id: stray, outcome: Ok(vec![Ok(())]) });
    member.begins(&[("orders/0", 2)]);
    member.pass(60 * SECOND);
    assert_eq!(member.commit(), Vec::<String>::new(), "the log may be another by now");
    leader_agrees(&mut member);
    assert_eq!(member.commit(), ["orders/0:2"]);
}

#[test]
fn a_drain_leaves_a_doubt_to_the_next_assignment_where_no_leader_was_asked() {
    let (mut member, stray) = with_a_stray();
    member.begins(&[("orders/0", 2)]);
    member.handle(Input::CommitDone { id: stray, outcome: Err(unknown()) });
    member.revoke(SECOND);
    assert_eq!((member.commit(), member.released), (Vec::new(), 1));
    member.assigned(&["orders/0"]);
    member.begins(&[("orders/0", 2)]);
    leader_agrees(&mut member);
    member.pass(60 * SECOND);
    assert_eq!(member.commit(), ["orders/0:2"]);
}

#[test]
fn a_former_assignments_commit_that_did_not_happen_changes_nothing() {
    let (mut member, stray) = with_a_stray();
    member.begins(&[("orders/0", 2)]);
    let refused = Err(PortError::Refused(ErrorCode::IllegalGeneration));
    member.handle(Input::CommitDone { id: stray, outcome: refused });
    member.pass(60 * SECOND);
    assert_eq!(member.commit(), Vec::<String>::new());
}

/// A member whose commits have failed so often that the next one is seconds away.
fn given_up_for_now() -> Member {
    let mut member = committing();
    for _ in 0..10 {
        member.commit_answered(Err(unknown()));
        member.wait_for(5, |member| !member.commit().is_empty());
    }
    member.commit_answered(Err(unknown()));
    assert_eq!(member.commit(), Vec::<String>::new());
    member
}

#[test]
fn a_new_coordinator_is_not_made_to_wait_for_what_failed_at_the_old_one() {
    let mut member = given_up_for_now();
    let moved = Membership { coordinator: BrokerId(8), ..member.membership() };
    member.handle(Input::Moved(moved));
    assert_eq!(member.commit(), ["orders/0:1"]);
}

#[test]
fn a_drain_commits_at_once_whatever_has_failed_before() {
    let mut member = given_up_for_now();
    member.done("charge orders/0@1");
    member.revoke(SECOND);
    assert_eq!(member.commit(), ["orders/0:2"]);
    member.commit_answered(Err(unknown()));
    assert!(member.wait_for(5, |member| !member.commit().is_empty()) < 100, "and soon again");
}

#[test]
fn what_is_in_doubt_stays_in_doubt_when_the_assignment_ends() {
    // Its answer came as unknown while nothing was assigned, as it does where the request is given up with the assignment.
    let mut aborted = committing();
    let (stray, _) = aborted.take_commit();
    aborted.handle(Input::Lost);
    aborted.handle(Input::CommitDone { id: stray, outcome: Err(unknown()) });
    // Or before, and another commit was taken since.
    let mut answered = committing();
    answered.commit_answered(Err(unknown()));
    answered.pass(SECOND);
    answered.commit_accepted();
    answered.handle(Input::Lost);
    for mut member in [aborted, answered] {
        member.assigned(&["orders/0"]);
        member.begins(&[("orders/0", 2)]);
        leader_agrees(&mut member);
        member.pass(58 * SECOND);
        assert_eq!(member.commit(), Vec::<String>::new(), "nothing new, no commit");
        member.pass(2 * SECOND);
        assert_eq!(member.commit(), ["orders/0:2"]);
    }
}

#[test]
fn a_doubt_disturbs_nobody_who_has_no_partitions() {
    let mut member = committing();
    member.commit_answered(Err(unknown()));
    member.handle(Input::Lost);
    member.pass(600 * SECOND);
    assert_eq!(member.machine.deadline(), None);
}

#[test]
fn a_coordinator_that_is_found_again_is_no_reason_to_commit_at_once() {
    let mut member = given_up_for_now();
    let again = member.membership();
    member.handle(Input::Moved(again));
    assert_eq!(member.commit(), Vec::<String>::new());
}
