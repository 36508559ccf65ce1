//! Stop in every state, and twice.

use super::*;

fn left(bench: &mut Bench) -> String {
    let id = bench.id();
    bench.input(Input::Left { id, outcome: Ok(()) })
}

/// Lost its membership, kept its id, waits to find the coordinator.
fn waiting_to_find(config: GroupConfig) -> Bench {
    let mut bench = Bench::joining(config);
    assert_eq!(bench.refuse(unknown()), "");
    bench
}

/// The same, waiting to join.
fn waiting_to_join(config: GroupConfig) -> Bench {
    let mut bench = Bench::joining(config);
    assert_eq!(bench.refuse(refused(ErrorCode::CoordinatorLoadInProgress)), "");
    bench
}

fn finding_again(config: GroupConfig) -> Bench {
    let mut bench = waiting_to_find(config);
    assert_eq!(bench.wake(), "Find");
    bench
}

fn describing_again(config: GroupConfig) -> Bench {
    let mut bench = Bench::describing(config);
    assert_eq!(bench.refuse(unknown()), "");
    bench
}

fn looking_up_while_draining(config: GroupConfig) -> Bench {
    let mut bench = Bench::draining(config);
    assert_eq!(bench.refuse(unknown()), "");
    assert_eq!(bench.wake(), "Find");
    bench
}

#[test]
fn a_member_that_owns_nothing_leaves_at_once() {
    type Row = (&'static str, fn(GroupConfig) -> Bench, &'static str);
    let table: [Row; 10] = [
        ("idle", Bench::new, "Stopped"),
        ("finding, no id yet", Bench::finding, "Stopped"),
        ("joining, no id yet", Bench::joining_first, "Stopped"),
        ("joining", Bench::joining, "Leave(m1)@1"),
        ("waiting to join", waiting_to_join, "Leave(m1)@1"),
        ("waiting to find", waiting_to_find, "Find"),
        ("describing", Bench::describing, "Leave(m1)@1"),
        ("describing again", describing_again, "Leave(m1)@1"),
        ("syncing", Bench::syncing, "Leave(m1)@1"),
        ("confirming", Bench::confirming, "Leave(m1)@1"),
    ];
    for (name, place, expected) in table {
        let mut bench = place(config());
        assert_eq!(bench.input(Input::Stop), expected, "{name}");
        if expected == "Find" {
            assert_eq!(bench.found(2), "Leave(m1)@2", "{name}");
        }
        if expected != "Stopped" {
            assert_eq!(left(&mut bench), "Stopped", "{name}");
        }
        assert_eq!(bench.group.deadline(), None, "{name}");
        assert_eq!(bench.input(Input::Stop), "", "{name}: nothing follows");
    }
}

#[test]
fn a_lookup_that_is_out_is_waited_for() {
    let mut bench = finding_again(config());
    assert_eq!(bench.input(Input::Stop), "");
    assert_eq!(bench.found(2), "Leave(m1)@2");
    let mut bench = finding_again(config());
    assert_eq!(bench.input(Input::Stop), "");
    assert_eq!(bench.refuse(unknown()), "Stopped", "one attempt");
    let mut bench = finding_again(config());
    assert_eq!(bench.input(Input::Stop), "");
    assert_eq!(bench.input(Input::Stop), "Stopped", "told twice");
}

#[test]
fn an_owner_releases_first() {
    let mut bench = Bench::stable(config());
    assert_eq!(bench.input(Input::Stop), "Revoke");
    assert_eq!(bench.wake(), "Heartbeat@1", "the session lives while the owner drains");
    assert_eq!(bench.alive(), "");
    assert_eq!(bench.released(), "Leave(m1)@1");
    assert_eq!(left(&mut bench), "Stopped");

    let mut bench = Bench::draining(config());
    assert_eq!(bench.input(Input::Stop), "", "the owner drains already");
    assert_eq!(bench.released(), "Leave(m1)@1", "and does not join again");
}

#[test]
fn an_owner_whose_coordinator_moved_finds_it_to_leave() {
    let mut bench = looking_up_while_draining(config());
    assert_eq!(bench.input(Input::Stop), "");
    assert_eq!(bench.released(), "");
    assert_eq!(bench.found(3), "Leave(m1)@3");

    let mut bench = Bench::draining(config());
    assert_eq!(bench.refuse(unknown()), "");
    assert_eq!(bench.input(Input::Stop), "");
    assert_eq!(bench.released(), "Find", "no time to wait");
    assert_eq!(bench.refuse(unknown()), "Stopped");
}

#[test]
fn told_again_it_skips_what_it_waits_for() {
    let mut bench = Bench::stable(config());
    assert_eq!(bench.input(Input::Stop), "Revoke");
    assert_eq!(bench.input(Input::Stop), "Lost Leave(m1)@1");
    assert_eq!(bench.released(), "", "too late");
    assert_eq!(bench.input(Input::Stop), "Stopped");
    assert_eq!(left(&mut bench), "");
    assert_eq!(bench.group.marks().count("late reply ignored"), 2);
}

#[test]
fn leaving_is_tried_once() {
    for error in
        [unknown(), refused(ErrorCode::NotCoordinator), refused(ErrorCode::CoordinatorLoadInProgress)]
    {
        assert_eq!(Bench::leaving(config()).refuse(error), "Stopped");
    }
}

#[test]
fn a_static_member_does_not_leave() {
    let fixed = || GroupConfig { instance: Some(Arc::from("pod-1")), ..config() };
    let mut bench = Bench::stable(fixed());
    assert_eq!(bench.input(Input::Stop), "Revoke");
    assert_eq!(bench.released(), "Stopped");
    assert_eq!(Bench::joining(fixed()).input(Input::Stop), "Stopped");
    assert_eq!(finding_again(fixed()).input(Input::Stop), "Stopped");
    let mut bench = looking_up_while_draining(fixed());
    assert_eq!(bench.input(Input::Stop), "");
    assert_eq!(bench.released(), "Stopped");
}

#[test]
fn a_session_that_ends_while_stopping_is_left_all_the_same() {
    let mut bench = Bench::stable(config());
    assert_eq!(bench.input(Input::Stop), "Revoke");
    assert_eq!(bench.wake(), "Heartbeat@1");
    assert_eq!(bench.wake(), "Lost Leave(m1)@1");
}
