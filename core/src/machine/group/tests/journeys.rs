//! A member's ways through the protocol, and the rules of sessions, drains and late replies.

use super::*;

#[test]
fn a_follower_gets_its_share_and_keeps_it_by_heartbeats() {
    let mut bench = Bench::joining(config());
    assert_eq!(bench.joined(generation(5, "m2")), "Sync(m1)@1");
    let id = bench.id();
    bench.group.handle(
        bench.now,
        Input::Synced { id, outcome: Ok(assignment(&[partition("t", 2), partition("t", 0)])) },
    );
    let membership = Membership {
        generation: Generation(5),
        member: member_id("m1"),
        instance: None,
        coordinator: BrokerId(1),
    };
    let partitions = vec![partition("t", 0), partition("t", 2)];
    assert_eq!(bench.group.poll(), Some(Action::Assigned { membership, partitions }));
    for _ in 0..5 {
        let before = bench.now;
        assert_eq!(bench.group.timer().map(|(_, timer)| timer), Some(Timer::Heartbeat));
        assert_eq!(bench.wake(), "Heartbeat@1");
        assert_eq!(bench.now.since(before), Duration::from_secs(3));
        assert_eq!(bench.alive(), "");
    }
}

/// The answer was on its way for longer than the session lasts: the member may have been thrown out meanwhile.
#[test]
fn a_share_that_comes_late_is_not_taken_over_before_a_heartbeat_was_accepted() {
    let mut bench = Bench::confirming(config());
    assert_eq!(bench.group.deadline(), None, "the answer is waited for");
    let asked = bench.now;
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.alive(), "Assigned(t/0)");
    assert_eq!(bench.wake(), "Heartbeat@1");
    assert_eq!(bench.now.since(asked), Duration::from_secs(3), "as after any heartbeat");
    assert_eq!(bench.wake(), "Lost");
    assert_eq!(bench.now.since(asked), Duration::from_secs(10), "the session counts from the question");
}

#[test]
fn a_late_share_that_is_confirmed_late_is_asked_about_again() {
    let mut bench = Bench::confirming(config());
    bench.pass(Duration::from_millis(7_001));
    assert_eq!(bench.alive(), "Heartbeat@1");
    bench.pass(Duration::from_secs(7));
    assert_eq!(bench.alive(), "Assigned(t/0)", "time for one heartbeat is left");
    assert_eq!(bench.wake(), "Heartbeat@1");
}

#[test]
fn a_join_tells_what_the_member_is() {
    let mut bench = Bench::joining(GroupConfig { instance: Some(Arc::from("pod-1")), ..config() });
    let Some(Action::Join { request, .. }) = bench.asked.take() else { panic!("it joins") };
    let protocol = |name| crate::ports::Protocol { name, metadata: subscription(&["t"]) };
    assert_eq!(
        request,
        JoinRequest {
            group: config().group,
            member: member_id("m1"),
            instance: Some(Arc::from("pod-1")),
            session_timeout: Duration::from_secs(10),
            rebalance_timeout: Duration::from_secs(60),
            protocols: vec![protocol("range"), protocol("roundrobin")],
        }
    );
}

#[test]
fn a_leader_assigns_to_all() {
    let mut bench = Bench::joining(config());
    let mut answer = generation(5, "m1");
    answer.protocol = Arc::from("roundrobin");
    answer.members[1].metadata = subscription(&["u", "t"]);
    answer.members.push(JoinMember {
        member: member_id("m3"),
        instance: None,
        metadata: Bytes::from_static(b"\0"),
    });
    assert_eq!(bench.joined(answer), "Describe(t,u)");
    let id = bench.id();
    let counts = BTreeMap::from([(topic("t"), 3), (topic("u"), 1)]);
    assert_eq!(bench.input(Input::TopicsDescribed { id, outcome: Ok(counts) }), "Sync(m1 leads 3)@1");
    let Some(Action::Sync { request, .. }) = bench.asked.take() else { panic!("it syncs") };
    assert_eq!(
        request.assignments,
        [
            (member_id("m1"), assignment(&[partition("t", 0), partition("t", 2)])),
            (member_id("m2"), assignment(&[partition("t", 1), partition("u", 0)])),
            (member_id("m3"), assignment(&[])),
        ]
    );
    assert_eq!(bench.group.marks().count("a member's subscription cannot be read"), 1);
}

#[test]
fn a_rebalance_revokes_first_and_joins_with_the_same_id() {
    let mut bench = Bench::beating(config());
    assert_eq!(bench.refuse(refused(ErrorCode::RebalanceInProgress)), "Revoke");
    assert_eq!(bench.wake(), "Heartbeat@1", "the session lives while the owner drains");
    assert_eq!(bench.refuse(refused(ErrorCode::RebalanceInProgress)), "");
    assert_eq!(bench.wake(), "Heartbeat@1");
    assert_eq!(bench.released(), "Join(m1)@1");
    assert_eq!(bench.joined(generation(6, "m2")), "Sync(m1)@1");
    assert_eq!(bench.synced(&[]), "Assigned()", "a share may be empty");
}

#[test]
fn an_owner_that_drains_for_too_long_is_given_up_before_the_group_goes_on() {
    let mut bench = Bench::beating(config());
    let last_good = Time::from_millis(1_000);
    assert_eq!(bench.refuse(refused(ErrorCode::RebalanceInProgress)), "Revoke");
    let mut shown = bench.wake();
    while shown == "Heartbeat@1" {
        assert!(bench.now < last_good + Duration::from_secs(90), "it drains for ever");
        assert_eq!(bench.refuse(refused(ErrorCode::RebalanceInProgress)), "");
        shown = bench.wake();
    }
    assert_eq!(shown, "Lost Join(m1)@1");
    assert_eq!(bench.now, last_good + Duration::from_secs(57), "the rebalance timeout less one heartbeat");
    assert_eq!(bench.released(), "", "too late");
    assert_eq!(bench.group.marks().count("owner drained for too long"), 1);
}

#[test]
fn a_session_ends_when_no_heartbeat_succeeds() {
    let mut bench = Bench::beating(config());
    assert_eq!(bench.alive(), "");
    let renewed = bench.now;
    assert_eq!(bench.wake(), "Heartbeat@1");
    let silent = bench.asked.clone();
    assert_eq!(bench.wake(), "Lost");
    assert_eq!(bench.now, renewed + Duration::from_secs(10));
    assert_eq!(bench.wake(), "Find", "the coordinator that was silent may be another by now");
    let id = silent.as_ref().and_then(request_id).expect("a heartbeat");
    assert_eq!(bench.input(Input::HeartbeatDone { id, outcome: Ok(()) }), "", "late");
    assert_eq!(bench.found(2), "Join(m1)@2");
}

#[test]
fn a_session_counts_from_when_the_heartbeat_was_sent() {
    let mut bench = Bench::beating(config());
    let sent = bench.now;
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.alive(), "");
    assert_eq!(bench.wake(), "Heartbeat@1", "overdue already");
    assert_eq!(bench.wake(), "Lost");
    assert_eq!(bench.now, sent + Duration::from_secs(10));
}

#[test]
fn a_member_that_slept_through_its_session_sends_no_heartbeat() {
    let mut bench = Bench::stable(config());
    bench.pass(Duration::from_secs(300));
    assert_eq!(bench.wake(), "Lost");
}

#[test]
fn a_session_may_end_while_the_coordinator_is_looked_for() {
    let mut bench = Bench::looking_up(config());
    let mut shown = bench.refuse(unknown());
    while shown.is_empty() || shown == "Find" {
        assert!(bench.now < Time::from_millis(60_000), "it looks for ever");
        shown = if shown.is_empty() { bench.wake() } else { bench.refuse(unknown()) };
    }
    assert_eq!(shown, "Lost");
    assert_eq!(bench.now, Time::from_millis(11_000), "ten seconds after the sync");
}

#[test]
fn a_coordinator_that_moved_is_told_to_the_owner() {
    let mut bench = Bench::looking_up(config());
    assert_eq!(bench.found(2), "Moved@2 Heartbeat@2");
    assert_eq!(bench.alive(), "");
    assert_eq!(bench.wake(), "Heartbeat@2");
    assert_eq!(bench.refuse(refused(ErrorCode::RebalanceInProgress)), "Revoke");
    assert_eq!(bench.released(), "Join(m1)@2");
}

#[test]
fn a_coordinator_that_moves_during_a_drain_is_found_before_the_join() {
    let mut bench = Bench::draining(config());
    assert_eq!(bench.refuse(refused(ErrorCode::NotCoordinator)), "");
    assert_eq!(bench.released(), "");
    assert_eq!(bench.wake(), "Find");
    assert_eq!(bench.found(2), "Join(m1)@2");

    let mut bench = Bench::draining(config());
    assert_eq!(bench.refuse(refused(ErrorCode::NotCoordinator)), "");
    assert_eq!(bench.wake(), "Find");
    assert_eq!(bench.released(), "", "the lookup that is out will do");
    assert_eq!(bench.found(2), "Join(m1)@2");
}

#[test]
fn refused_commits_of_an_older_generation_mean_nothing() {
    for code in [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration, ErrorCode::FencedInstanceId] {
        let mut bench = Bench::stable(config());
        assert_eq!(bench.input(Input::CommitRefused { generation: Generation(4), code }), "");
        assert_eq!(bench.wake(), "Heartbeat@1");
    }
}

#[test]
fn many_refused_commits_are_one_lookup() {
    let mut bench = Bench::stable(config());
    let refused = || Input::CommitRefused { generation: Generation(5), code: ErrorCode::NotCoordinator };
    for _ in 0..5 {
        assert_eq!(bench.input(refused()), "");
    }
    assert_eq!(bench.wake(), "Find");
    assert_eq!(bench.input(refused()), "");
    assert_eq!(bench.found(2), "Moved@2 Heartbeat@2");
}

#[test]
fn a_refused_commit_ends_a_drain_whose_generation_is_over() {
    let mut bench = Bench::draining(config());
    let input = Input::CommitRefused { generation: Generation(5), code: ErrorCode::IllegalGeneration };
    assert_eq!(bench.input(input), "Lost");
    assert_eq!(bench.released(), "");
    assert_eq!(bench.wake(), "Join(m1)@1");
}

fn counted(count: u32) -> Input {
    Input::PartitionsCounted(BTreeMap::from([(topic("t"), count)]))
}

#[test]
fn a_leader_rejoins_when_it_assigned_from_other_counts_a_follower_does_not() {
    let mut bench = Bench::describing(config());
    assert_eq!(bench.input(counted(3)), "", "what it assigns from is on its way");
    assert_eq!(bench.described(2), "Sync(m1 leads 2)@1");
    assert_eq!(bench.input(counted(3)), "", "the count will come again");
    assert_eq!(bench.synced(&[]), "Assigned()");
    assert_eq!(bench.input(counted(2)), "");
    assert_eq!(bench.input(Input::PartitionsCounted(BTreeMap::new())), "", "a topic that was not seen");
    assert_eq!(bench.input(counted(3)), "Revoke");
    assert_eq!(bench.input(counted(3)), "");
    assert_eq!(bench.released(), "Join(m1)@1");

    let mut bench = Bench::stable(config());
    assert_eq!(bench.input(counted(3)), "");
    assert_eq!(bench.wake(), "Heartbeat@1");
}

#[test]
fn a_topic_that_was_not_there_is_assigned_when_it_comes() {
    let mut bench = Bench::describing(config());
    let id = bench.id();
    bench.input(Input::TopicsDescribed { id, outcome: Ok(BTreeMap::new()) });
    assert_eq!(bench.synced(&[]), "Assigned()");
    assert_eq!(bench.input(counted(3)), "Revoke");
}

#[test]
fn a_leader_that_cannot_see_the_topics_gives_the_lead_up() {
    let mut bench = Bench::describing(config());
    let began = bench.now;
    let mut shown = bench.refuse(unknown());
    while shown.is_empty() && bench.group.marks().count("could not describe topics within a session") == 0 {
        assert!(bench.now < began + Duration::from_secs(60), "it asks for ever");
        shown = bench.wake();
        if shown == "Describe(t)" {
            shown = bench.refuse(unknown());
        }
    }
    assert_eq!(shown, "");
    assert_eq!(bench.now, began + Duration::from_secs(10));
    assert_eq!(bench.wake(), "Find");
    assert_eq!(bench.found(1), "Join(m1)@1");
}

#[test]
fn answers_that_make_no_sense_are_asked_for_again() {
    let spoil: [fn(&mut JoinAnswer); 3] = [
        |answer| answer.protocol = Arc::from("sticky"),
        |answer| answer.member = MemberId::default(),
        |answer| answer.members.clear(),
    ];
    for spoil in spoil {
        let mut bench = Bench::joining(config());
        let mut answer = generation(5, "m1");
        spoil(&mut answer);
        assert_eq!(bench.joined(answer), "");
        assert_eq!(bench.wake(), "Find");
    }
    let mut bench = Bench::syncing(config());
    let id = bench.id();
    assert_eq!(bench.input(Input::Synced { id, outcome: Ok(Bytes::from_static(b"\0\0\0")) }), "");
    assert_eq!(bench.wake(), "Join(m1)@1");
}

#[test]
fn only_what_was_asked_for_is_owned() {
    let mut bench = Bench::syncing(config());
    assert_eq!(bench.synced(&[partition("t", 1), partition("other", 0)]), "Assigned(t/1)");
    assert_eq!(bench.group.marks().count("assigned a topic that was not asked for"), 1);
}

#[test]
fn late_replies_change_nothing() {
    let places: [fn(GroupConfig) -> Bench; 8] = [
        Bench::finding,
        Bench::joining,
        Bench::describing,
        Bench::syncing,
        Bench::confirming,
        Bench::beating,
        Bench::draining,
        Bench::leaving,
    ];
    for place in places {
        let mut bench = place(config());
        let deadline = bench.group.deadline();
        for id in [RequestId(0), RequestId(1_000)] {
            let late = [
                Input::CoordinatorFound { id, outcome: Ok(BrokerId(9)) },
                Input::Joined { id, outcome: Ok(generation(9, "m1")) },
                Input::TopicsDescribed { id, outcome: Ok(BTreeMap::new()) },
                Input::Synced { id, outcome: Ok(Bytes::new()) },
                Input::HeartbeatDone { id, outcome: Err(refused(ErrorCode::UnknownMemberId)) },
                Input::Left { id, outcome: Ok(()) },
                Input::Released { id },
            ];
            for input in late {
                assert_eq!(bench.input(input), "");
            }
        }
        assert_eq!(bench.group.deadline(), deadline);
        assert_eq!(bench.group.marks().count("late reply ignored"), 14);
    }
}

#[test]
fn a_release_of_an_earlier_assignment_does_not_release_the_next() {
    let mut bench = Bench::draining(config());
    let earlier = bench.revoked.expect("something was revoked");
    assert_eq!(bench.refuse(refused(ErrorCode::IllegalGeneration)), "Lost");
    assert_eq!(bench.wake(), "Join(m1)@1");
    assert_eq!(bench.joined(generation(6, "m2")), "Sync(m1)@1");
    assert_eq!(bench.synced(&[partition("t", 1)]), "Assigned(t/1)");
    assert_eq!(bench.wake(), "Heartbeat@1");
    assert_eq!(bench.refuse(refused(ErrorCode::RebalanceInProgress)), "Revoke");
    assert_eq!(bench.input(Input::Released { id: earlier }), "");
    assert_eq!(bench.released(), "Join(m1)@1");
}

#[test]
fn starting_twice_is_starting_once() {
    let mut bench = Bench::finding(config());
    assert_eq!(bench.input(Input::Start), "");
    assert_eq!(bench.found(1), "Join()@1");
    assert_eq!(bench.group.marks().count("started twice"), 1);
}
