//! What a coordinator must answer, case by case.

use evenkeel_core::error::ErrorCode;

use super::*;
use crate::message::GroupState;

#[test]
fn a_single_member_leads_at_once() {
    let mut bench = Bench::new();
    let join = bench.join("", |_| {});
    assert_eq!(bench.answer(join), "leads 1 of 1");
    let member = bench.member(join);
    let sync = bench.sync(&member, 1, &[(&member, "all")]);
    assert_eq!(bench.answer(sync), "all");
    assert_eq!(bench.group.state(), GroupState::Stable);
    assert_eq!(bench.heartbeat(&member, 1), "ok");
}

#[test]
fn a_client_that_can_be_told_its_id_first_is_and_holds_the_others_up_no_longer_than_its_session() {
    let (mut bench, leader, follower) = Bench::of_two();
    let told = bench.join("", |join| join.takes_id_first = true);
    assert_eq!(bench.answer(told), "MemberIdRequired");
    assert_eq!(bench.heartbeat(&leader, 2), "ok", "an id alone disturbs nobody");
    let (first, second) = (bench.join(&leader, |_| {}), bench.join(&follower, |_| {}));
    assert_eq!(bench.answer(first), "parked", "the one with the id may still come");
    bench.pass(9);
    assert_eq!(bench.answer(first), "parked");
    bench.pass(1);
    assert_eq!((bench.answer(first), bench.answer(second)), ("leads 3 of 2".into(), "follows 3 of 0".into()));
    let third = bench.member(told);
    let late = bench.join(&third, |_| {});
    assert_eq!(bench.answer(late), "UnknownMemberId");
}

#[test]
fn heartbeats_tell_of_a_rebalance_and_who_does_not_join_in_time_is_out() {
    let (mut bench, leader, follower) = Bench::of_two();
    let third = bench.join("", |_| {});
    assert_eq!(bench.heartbeat(&follower, 2), "RebalanceInProgress");
    assert_eq!(bench.answer(third), "parked");
    let again = bench.join(&leader, |_| {});
    // The follower lives, but does not join.
    for _ in 0..19 {
        bench.pass(1);
        assert_eq!(bench.heartbeat(&follower, 2), "RebalanceInProgress");
        assert_eq!(bench.answer(again), "parked");
    }
    bench.pass(1);
    assert_eq!(bench.answer(again), "leads 3 of 2");
    assert_eq!(bench.heartbeat(&follower, 2), "UnknownMemberId");
}

#[test]
fn a_member_without_heartbeats_dies_when_its_session_ends() {
    let (mut bench, leader, follower) = Bench::of_two();
    bench.pass(9);
    assert_eq!(bench.heartbeat(&leader, 2), "ok");
    bench.pass(1);
    assert_eq!(bench.heartbeat(&leader, 2), "RebalanceInProgress");
    assert_eq!(bench.heartbeat(&follower, 2), "UnknownMemberId");
    let alone = bench.join(&leader, |_| {});
    assert_eq!(bench.answer(alone), "leads 3 of 1");
}

#[test]
fn the_last_one_out_leaves_an_empty_group_of_a_new_generation() {
    let (mut bench, leader, follower) = Bench::of_two();
    assert_eq!(bench.leave(&follower, None), "ok");
    assert_eq!(bench.leave(&follower, None), "UnknownMemberId");
    assert_eq!(bench.leave(&leader, None), "ok");
    assert_eq!(bench.group.state(), GroupState::Empty);
    let new = bench.join("", |_| {});
    // One for the empty group, one for the new member.
    assert_eq!(bench.answer(new), "leads 4 of 1");
}

#[test]
fn wrong_generations_members_and_protocols_are_refused() {
    let (mut bench, leader, _) = Bench::of_two();
    assert_eq!(bench.heartbeat(&leader, 1), "IllegalGeneration");
    assert_eq!(bench.heartbeat(&leader, 3), "IllegalGeneration");
    assert_eq!(bench.heartbeat("nobody", 2), "UnknownMemberId");
    let sync = bench.sync(&leader, 1, &[]);
    assert_eq!(bench.answer(sync), "IllegalGeneration");
    let stranger = bench.join("nobody", |_| {});
    assert_eq!(bench.answer(stranger), "UnknownMemberId");
    let other = bench.join("", |join| join.protocols = vec![("sticky".into(), Bytes::new())]);
    assert_eq!(bench.answer(other), "InconsistentGroupProtocol");
    let connect = bench.join("", |join| join.protocol_type = "connect".into());
    assert_eq!(bench.answer(connect), "InconsistentGroupProtocol");
    bench.limits.max_size = 2;
    let third = bench.join("", |_| {});
    assert_eq!(bench.answer(third), "GroupMaxSizeReached");
}

#[test]
fn a_follower_that_joins_again_unchanged_gets_the_same_generation_and_the_leader_a_new_one() {
    let (mut bench, leader, follower) = Bench::of_two();
    let again = bench.join(&follower, |_| {});
    assert_eq!(bench.answer(again), "follows 2 of 0");
    let changed =
        bench.join(&follower, |join| join.protocols = vec![("range".into(), Bytes::from_static(b"more"))]);
    assert_eq!(bench.answer(changed), "parked");
    let led = bench.join(&leader, |_| {});
    assert_eq!((bench.answer(led), bench.answer(changed)), ("leads 3 of 2".into(), "follows 3 of 0".into()));
    // Nobody has synced yet: a repeated join is answered again.
    let repeated = bench.join(&leader, |_| {});
    assert_eq!(bench.answer(repeated), "leads 3 of 2");
}

#[test]
fn a_parked_sync_is_turned_away_when_someone_joins() {
    let (mut bench, leader, follower) = Bench::of_two();
    let led = bench.join(&leader, |_| {});
    bench.join(&follower, |_| {});
    assert_eq!(bench.answer(led), "leads 3 of 2");
    let parked = bench.sync(&follower, 3, &[]);
    assert_eq!(bench.answer(parked), "parked");
    bench.join("", |_| {});
    assert_eq!(bench.answer(parked), "RebalanceInProgress");
    let late = bench.sync(&leader, 3, &[(&leader, "p0")]);
    assert_eq!(bench.answer(late), "RebalanceInProgress");
}

#[test]
fn who_joins_and_never_syncs_is_out_after_the_rebalance_timeout() {
    let (mut bench, leader, follower) = Bench::of_two();
    bench.join(&leader, |_| {});
    bench.join(&follower, |_| {});
    let sync = bench.sync(&follower, 3, &[]);
    for _ in 0..4 {
        bench.pass(5);
        if bench.group.state() == GroupState::CompletingRebalance {
            assert_eq!(bench.heartbeat(&leader, 3), "ok");
        }
    }
    assert_eq!(bench.answer(sync), "RebalanceInProgress");
    assert_eq!(bench.heartbeat(&leader, 3), "UnknownMemberId");
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_its_old_self() {
    let mut bench = Bench::new();
    let is_static = |join: &mut JoinGroupRequest| join.instance = Some("i1".into());
    let first = bench.join("", is_static);
    let old = bench.member(first);
    bench.sync(&old, 1, &[(&old, "all")]);
    let back = bench.join("", is_static);
    let new = bench.member(back);
    assert_ne!(old, new);
    assert_eq!(bench.answer(back), "leads 1 of 1", "the generation goes on");
    let share = bench.sync(&new, 1, &[]);
    assert_eq!(bench.answer(share), "all");
    let zombie = bench.join(&old, is_static);
    assert_eq!(bench.answer(zombie), "FencedInstanceId");
    assert_eq!(bench.leave(&old, Some("i1")), "FencedInstanceId");
    assert_eq!(bench.leave("", Some("i2")), "UnknownMemberId");
    assert_eq!(bench.leave("", Some("i1")), "ok");
}

#[test]
fn the_first_join_waits_for_others_if_it_is_told_to() {
    let mut bench = Bench::new();
    bench.limits.initial_delay = Duration::from_secs(3);
    let first = bench.join("", |_| {});
    bench.pass(2);
    let second = bench.join("", |_| {});
    bench.pass(1);
    assert_eq!(bench.answer(first), "parked", "somebody came, so it waits as long again");
    bench.pass(3);
    let mut answers = [bench.answer(first), bench.answer(second)];
    answers.sort();
    assert_eq!(answers, ["follows 1 of 0", "leads 1 of 2"]);
}

#[test]
fn commits_are_judged_by_membership() {
    let (mut bench, leader, _) = Bench::of_two();
    let mut check = |generation, member: &str| {
        let now = bench.now;
        bench.group.check_commit(now, Generation(generation), &member.into(), None)
    };
    assert_eq!(check(2, &leader), Ok(()));
    assert_eq!(check(1, &leader), Err(ErrorCode::IllegalGeneration));
    assert_eq!(check(2, "nobody"), Err(ErrorCode::UnknownMemberId));
    assert_eq!(check(-1, ""), Err(ErrorCode::UnknownMemberId), "outsiders may not commit for members");
    bench.join("", |_| {});
    let now = bench.now;
    let member: Text = leader.as_str().into();
    assert_eq!(bench.group.check_commit(now, Generation(2), &member, None), Ok(()), "before it joins again");
    let mut empty = Group::default();
    assert_eq!(empty.check_commit(now, Generation(-1), &"".into(), None), Ok(()));
}

#[test]
fn a_new_coordinator_knows_what_was_settled_last() {
    let (mut bench, leader, follower) = Bench::of_two();
    let parked = bench.join("", |_| {});
    let mut out = Vec::new();
    bench.group.reload(bench.now, &mut out);
    bench.keep(out);
    assert_eq!(bench.answer(parked), "NotCoordinator");
    assert_eq!(bench.group.state(), GroupState::Stable);
    assert_eq!((bench.heartbeat(&leader, 2), bench.heartbeat(&follower, 2)), ("ok".into(), "ok".into()));
    let shares: Vec<_> = bench.group.assignments().map(|(_, share)| share.clone()).collect();
    assert_eq!(shares.len(), 2);
    bench.pass(10);
    assert_eq!(bench.heartbeat(&leader, 2), "UnknownMemberId", "sessions go on from the move");
}

#[test]
fn a_static_member_that_comes_back_before_it_ever_joined_waits_as_long_as_others() {
    let (mut bench, leader, _follower) = Bench::of_two();
    let is_static = |join: &mut JoinGroupRequest| join.instance = Some("i1".into());
    let lost = bench.join("", is_static);
    let again = bench.join("", is_static);
    assert_eq!(bench.answer(lost), "FencedInstanceId");
    // The others take longer to join than its session lasts.
    for _ in 0..6 {
        bench.pass(3);
        assert_eq!(bench.heartbeat(&leader, 2), "RebalanceInProgress");
    }
    assert_eq!(bench.answer(again), "parked");
    bench.pass(2);
    assert_ne!(bench.answer(again), "UnknownMemberId");
}

#[test]
fn who_joins_while_others_sync_waits_as_long_as_others() {
    let (mut bench, leader, follower) = Bench::of_two();
    bench.join(&leader, |_| {});
    bench.join(&follower, |_| {});
    assert_eq!(bench.group.state(), GroupState::CompletingRebalance);
    let third = bench.join("", |_| {});
    for _ in 0..6 {
        bench.pass(3);
        assert_eq!(bench.heartbeat(&leader, 3), "RebalanceInProgress");
    }
    assert_eq!(bench.answer(third), "parked", "longer than its session lasts");
    bench.pass(2);
    assert_eq!(bench.answer(third), "leads 4 of 1");
}

#[test]
fn a_new_coordinator_does_not_wait_for_syncs_of_its_predecessors_time() {
    let (mut bench, leader, follower) = Bench::of_two();
    bench.join(&leader, |_| {});
    bench.join(&follower, |_| {});
    bench.sync(&leader, 3, &[(&leader, "p0"), (&follower, "p1")]);
    // The group is settled before the follower syncs.
    let share = bench.sync(&follower, 3, &[]);
    assert_eq!(bench.answer(share), "p1");
    for _ in 0..7 {
        bench.pass(3);
        assert_eq!(bench.heartbeat(&leader, 3), "ok");
        assert_eq!(bench.heartbeat(&follower, 3), "ok");
    }
    let mut out = Vec::new();
    bench.group.reload(bench.now, &mut out);
    bench.keep(out);
    bench.pass(1);
    assert_eq!((bench.heartbeat(&leader, 3), bench.heartbeat(&follower, 3)), ("ok".into(), "ok".into()));
}

#[test]
fn the_first_generation_does_not_wait_for_ids_that_were_handed_out() {
    let mut bench = Bench::new();
    let first = bench.join("", |request| request.takes_id_first = true);
    let other = bench.join("", |request| request.takes_id_first = true);
    let id = |bench: &Bench, request| match &bench.answers[&request] {
        Answer::JoinGroup(answer) => answer.member.clone(),
        answer => panic!("{answer:?}"),
    };
    let member = id(&bench, first);
    assert_ne!(member, id(&bench, other));
    let join = bench.join(&member, |request| request.takes_id_first = true);
    assert!(bench.answers.contains_key(&join), "nobody else has joined");
}

#[test]
fn who_is_taken_out_while_it_joins_has_no_id_any_more() {
    let (mut bench, leader, _) = Bench::of_two();
    let parked = bench.join("", |_| {});
    let ids: Vec<_> = bench.group.assignments().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids.len(), 3);
    let again = bench.join(&leader, |_| {});
    for id in ids {
        bench.leave(&id, None);
    }
    for request in [parked, again] {
        let Answer::JoinGroup(answer) = &bench.answers[&request] else { panic!("no join") };
        assert_eq!((&*answer.member, answer.outcome.as_ref().err()), ("", Some(&ErrorCode::UnknownMemberId)));
    }
}

#[test]
fn a_client_that_names_very_many_protocols_costs_the_others_nothing() {
    let named = |number: u32| (Text::from(format!("p{number}")), Bytes::new());
    let many: Vec<_> = (0..50_000).map(named).collect();
    let mut bench = Bench::new();
    let first = bench.join("", |join| join.protocols.clone_from(&many));
    let leader = bench.member(first);
    // Looked for one by one it would be 2,500,000,000 comparisons.
    bench.join("", |join| join.protocols = many.iter().rev().cloned().collect());
    let again = bench.join(&leader, |join| join.protocols.clone_from(&many));
    assert_eq!(bench.answer(again), "leads 2 of 2");
    assert_eq!(bench.group.protocol, Some("p0".into()), "of equals the leader's first");
    bench.join("", |join| join.protocols = vec![named(50_000)]);
}
