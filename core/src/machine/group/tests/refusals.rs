//! Every error at every step: what a member does at once, and what it does when it wakes next.

use super::*;

/// How a member gets to a place in its life.
type Place = fn(GroupConfig) -> Bench;

/// The steps of a membership, each with a request out.
const STEPS: [(&str, Place); 8] = [
    ("find", Bench::finding),
    ("join", Bench::joining),
    ("describe", Bench::describing),
    ("sync", Bench::syncing),
    ("heartbeat", Bench::beating),
    ("heartbeat while draining", Bench::draining),
    ("find while owning", Bench::looking_up),
    ("leave", Bench::leaving),
];

/// At once and, behind the bar, after the wait: in the order of [`STEPS`], then for a refused commit.
type Row = [&'static str; 9];

const ASK_AGAIN: Row = [
    "| Find",
    "| Join(m1)@1",
    "| Describe(t)",
    "| Join(m1)@1",
    "| Heartbeat@1",
    "| Heartbeat@1",
    "| Find",
    "Stopped |",
    "| Heartbeat@1",
];

const LOOK_UP: Row = [
    "| Find",
    "| Find",
    "| Describe(t)",
    "| Find",
    "| Find",
    "| Find",
    "| Find",
    "Stopped |",
    "| Heartbeat@1",
];

const COORDINATOR_GONE: Row = {
    let mut row = LOOK_UP;
    row[8] = "| Find";
    row
};

const REBALANCE: Row = [
    "| Find",
    "| Join(m1)@1",
    "| Describe(t)",
    "| Join(m1)@1",
    "Revoke | Heartbeat@1",
    "| Heartbeat@1",
    "| Find",
    "Stopped |",
    "Revoke | Heartbeat@1",
];

const GENERATION_OVER: Row = [
    "| Find",
    "| Join(m1)@1",
    "| Describe(t)",
    "| Join(m1)@1",
    "Lost | Join(m1)@1",
    "Lost | Join(m1)@1",
    "| Find",
    "Stopped |",
    "Lost | Join(m1)@1",
];

const MEMBER_FORGOTTEN: Row = [
    "| Find",
    "| Join()@1",
    "| Describe(t)",
    "| Join()@1",
    "Lost | Join()@1",
    "Lost | Join()@1",
    "| Find",
    "Stopped |",
    "Lost | Join()@1",
];

const GIVE_UP: Row = [
    "Failed(Find) Stopped |",
    "Failed(Join) Leave(m1)@1 |",
    "Failed(Describe) Leave(m1)@1 |",
    "Failed(Sync) Leave(m1)@1 |",
    "Lost Failed(Heartbeat) Leave(m1)@1 |",
    "Lost Failed(Heartbeat) Leave(m1)@1 |",
    "Lost Failed(Find) Leave(m1)@1 |",
    "Stopped |",
    "| Heartbeat@1",
];

const FENCED: Row = {
    let mut row = GIVE_UP;
    row[8] = "Lost Failed(Commit) Leave(m1)@1 |";
    row
};

fn row(error: &PortError) -> Row {
    let Some(code) = error.code() else { return LOOK_UP };
    match code {
        ErrorCode::CoordinatorLoadInProgress | ErrorCode::UnknownServerError | ErrorCode::Other(_) => {
            ASK_AGAIN
        }
        ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => COORDINATOR_GONE,
        ErrorCode::RebalanceInProgress => REBALANCE,
        ErrorCode::IllegalGeneration => GENERATION_OVER,
        ErrorCode::UnknownMemberId | ErrorCode::MemberIdRequired => MEMBER_FORGOTTEN,
        ErrorCode::InconsistentGroupProtocol
        | ErrorCode::InvalidGroupId
        | ErrorCode::InvalidSessionTimeout
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupMaxSizeReached => GIVE_UP,
        ErrorCode::FencedInstanceId => FENCED,
        // What a coordinator has no reason to say is taken at its remedy.
        other => match other.remedy() {
            Remedy::Wait => ASK_AGAIN,
            Remedy::FindLeader => LOOK_UP,
            Remedy::GiveUp => GIVE_UP,
            Remedy::FindCoordinator | Remedy::Rejoin => panic!("{other:?} deserves a row of its own"),
        },
    }
}

fn all_errors() -> Vec<PortError> {
    let (server, cause) = (Arc::<str>::from("broker 1"), Arc::<str>::from("cut"));
    let mut errors: Vec<PortError> = ErrorCode::ALL.iter().copied().map(refused).collect();
    errors.push(refused(ErrorCode::Other(999)));
    errors.push(PortError::Unreachable { server: server.clone(), cause: cause.clone() });
    errors.push(PortError::Unknown { server: server.clone(), cause: cause.clone() });
    errors.push(PortError::Malformed { server, cause });
    errors
}

/// What happened at once and after the wait, as in the table. A wait is never nothing.
fn then(bench: &mut Bench, at_once: &str) -> String {
    if at_once.is_empty() {
        let deadline = bench.group.deadline().expect("a member that does nothing waits");
        assert!(deadline > bench.now, "it spins");
        assert!(deadline <= bench.now + Duration::from_secs(6), "it sleeps");
    }
    let later = if at_once.contains("Stopped") || at_once.contains("Leave") {
        assert_eq!(bench.group.deadline(), None);
        String::new()
    } else {
        bench.wake()
    };
    format!("{at_once} | {later}").trim().to_owned()
}

#[test]
fn every_error_at_every_step() {
    for error in all_errors() {
        let expected = row(&error);
        for (column, (step, place)) in STEPS.iter().enumerate() {
            let mut bench = place(config());
            let at_once = bench.refuse(error.clone());
            assert_eq!(then(&mut bench, &at_once), expected[column], "{error:?} at {step}");
        }
        let mut bench = Bench::confirming(config());
        let at_once = bench.refuse(error.clone());
        let as_at_sync = expected[3].replace("Failed(Sync)", "Failed(Heartbeat)");
        assert_eq!(then(&mut bench, &at_once), as_at_sync, "{error:?} at a late share");
        if let Some(code) = error.code() {
            let mut bench = Bench::stable(config());
            let at_once = bench.input(Input::CommitRefused { generation: Generation(5), code });
            assert_eq!(then(&mut bench, &at_once), expected[8], "{error:?} at commit");
        }
    }
}

#[test]
fn a_member_that_is_stopping_does_not_come_back() {
    let table = [
        (ErrorCode::RebalanceInProgress, "", "Heartbeat@1"),
        (ErrorCode::CoordinatorLoadInProgress, "", "Heartbeat@1"),
        (ErrorCode::NotCoordinator, "", "Find"),
        (ErrorCode::IllegalGeneration, "Lost Leave(m1)@1", ""),
        (ErrorCode::UnknownMemberId, "Lost Stopped", ""),
        (ErrorCode::GroupAuthorizationFailed, "Lost Failed(Heartbeat) Leave(m1)@1", ""),
    ];
    for (code, at_once, later) in table {
        let mut bench = Bench::stable(config());
        assert_eq!(bench.input(Input::Stop), "Revoke");
        assert_eq!(bench.wake(), "Heartbeat@1");
        assert_eq!(bench.refuse(refused(code)), at_once, "{code:?}");
        assert_eq!(bench.wake(), later, "{code:?}");
    }
}

#[test]
fn a_fenced_static_member_fails_and_does_not_leave() {
    let mut bench = Bench::beating(GroupConfig { instance: Some(Arc::from("pod-1")), ..config() });
    assert_eq!(bench.refuse(refused(ErrorCode::FencedInstanceId)), "Lost Failed(Heartbeat) Stopped");
}

#[test]
fn the_id_that_comes_with_a_refusal_is_used_at_once_but_not_for_ever() {
    let mut bench = Bench::joining_first(config());
    let required = |id: &str| Err((refused(ErrorCode::MemberIdRequired), member_id(id)));
    let id = bench.id();
    assert_eq!(bench.input(Input::Joined { id, outcome: required("m1") }), "Join(m1)@1");
    let id = bench.id();
    assert_eq!(bench.input(Input::Joined { id, outcome: required("m2") }), "", "a coordinator that insists");
    assert_eq!(bench.wake(), "Join()@1");
    let id = bench.id();
    assert_eq!(
        bench.input(Input::Joined { id, outcome: required("") }),
        "",
        "a coordinator that forgot the id"
    );
    assert!(bench.group.deadline() > Some(bench.now));
}

#[test]
fn waits_grow_while_nothing_works() {
    let mut bench = Bench::finding(config());
    let mut waits = Vec::new();
    for _ in 0..10 {
        assert_eq!(bench.refuse(unknown()), "");
        let before = bench.now;
        assert_eq!(bench.wake(), "Find");
        waits.push(bench.now.since(before));
    }
    assert!(
        waits[0] <= Duration::from_millis(60) && waits[1] > waits[0] && waits[4] > waits[1] * 4,
        "{waits:?}"
    );
    assert!(waits[9] >= Duration::from_secs(4) && waits[9] <= Duration::from_secs(6), "{waits:?}");
}

#[test]
fn waits_grow_while_generations_fail_to_form() {
    let mut bench = Bench::syncing(config());
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(bench.refuse(refused(ErrorCode::UnknownMemberId)), "");
        let before = bench.now;
        assert_eq!(bench.wake(), "Join()@1");
        waits.push(bench.now.since(before));
        assert_eq!(bench.joined(generation(5, "m2")), "Sync(m1)@1");
    }
    assert!(waits[7] > Duration::from_secs(3), "good joins alone do not count: {waits:?}");
}

#[test]
fn a_group_that_keeps_growing_does_not_slow_its_members() {
    let mut bench = Bench::syncing(config());
    for generations in 0..20 {
        assert_eq!(bench.refuse(refused(ErrorCode::RebalanceInProgress)), "");
        let before = bench.now;
        assert_eq!(bench.wake(), "Join(m1)@1");
        assert!(bench.now.since(before) < Duration::from_millis(100), "after {generations}");
        assert_eq!(bench.joined(generation(5 + generations, "m2")), "Sync(m1)@1");
    }
}

#[test]
fn an_error_names_the_group_the_value_and_the_remedy() {
    let error = |step, code| GroupError {
        group: GroupName::new("billing").expect("a legal name"),
        step,
        code,
        session_timeout: Duration::from_secs(10),
    };
    assert_eq!(
        error(Step::Join, ErrorCode::InconsistentGroupProtocol).to_string(),
        "a member of group \"billing\" gave up joining: the group's members share no assignment strategy; \
         give all of them the same ones"
    );
    assert_eq!(
        error(Step::Join, ErrorCode::InvalidSessionTimeout).to_string(),
        "a member of group \"billing\" gave up joining: the session timeout is outside of the broker's \
         group.min.session.timeout.ms and group.max.session.timeout.ms (it asked for 10s)"
    );
    assert_eq!(error(Step::Heartbeat, ErrorCode::GroupAuthorizationFailed).remedy(), Remedy::GiveUp);
}
