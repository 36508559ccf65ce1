//! A log that lost its last records, and has grown anew.

use super::*;
use crate::ports::{Commit, EpochEnd};

/// Records that a leader of this epoch wrote.
fn read_in(epoch: i32, records: &str) -> Result<Read<Offset>, ErrorCode> {
    let leader_epoch = Some(LeaderEpoch(epoch));
    let mut read = Read { leader_epoch, ..read(records) };
    for arrival in &mut read.records {
        arrival.leader_epoch = leader_epoch;
    }
    Ok(read)
}

/// What is left of the log: up to `end`, of this epoch.
fn left(epoch: i32, end: i64) -> Result<Read<Offset>, ErrorCode> {
    let left = EpochEnd { epoch: LeaderEpoch(epoch), end: Offset(end) };
    Ok(Read { fault: Some(ReadFault::Diverging(left)), ..read("") })
}

/// The position of the open fetch, and the epoch of what lies before it.
fn asked(member: &Member) -> (i64, Option<i32>) {
    let asked = member.open.iter().find_map(|action| match action {
        Action::Fetch { request, .. } => Some(request.partitions[0].clone()),
        _ => None,
    });
    let asked = asked.expect("a fetch is open");
    (asked.offset.0, asked.last_fetched_epoch.map(|epoch| epoch.0))
}

/// A member that has read `5a 6b 7c` in epoch 3.
fn member() -> Member {
    let mut member = Member::reading(shop(), &[("orders/0", 5)]);
    assert_eq!(asked(&member), (5, None));
    member.fetched_as("orders/0", read_in(3, "5a 6b 7c"));
    assert_eq!(asked(&member), (8, Some(3)));
    assert_eq!(member.started().len(), 3);
    member
}

fn truncated(from: i64, to: i64) -> Notice {
    Notice::Truncated { at: at("orders/0"), from: Offset(from), to: Offset(to) }
}

#[test]
fn what_now_stands_where_events_were_handled_and_committed_is_handled_too() {
    let mut member = member();
    for event in ["5", "6", "7"] {
        member.done(&format!("charge orders/0@{event}"));
    }
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:8"]);
    member.commit_accepted();
    member.fetched_as("orders/0", left(2, 6));
    assert_eq!(member.notices(), [truncated(8, 5)], "all of epoch 3 is gone, whatever there is of epoch 2");
    assert_eq!(asked(&member), (5, Some(2)));
    member.pass(60 * SECOND);
    assert_eq!(member.commit(), Vec::<String>::new(), "the logs may part further down");
    member.fetched_as("orders/0", read_in(4, "5x 6y 7z"));
    assert_eq!(member.commit(), ["orders/0:5"], "whoever comes next must not pass the new records either");
    assert_eq!(member.started(), ["charge orders/0@5", "charge orders/0@6", "charge orders/0@7"]);
}

/// A leader that has not lost its first records would answer that the epoch before the gap ended before its end.
#[test]
fn behind_a_gap_no_leader_is_asked_for_the_epoch_before_it() {
    let mut member = member();
    member.fetched_as("orders/0", Err(ErrorCode::OffsetOutOfRange));
    member.listed(&[("orders/0", Ok(20))]);
    assert_eq!(asked(&member), (20, None));
    member.fetched_as("orders/0", read_in(5, "20x"));
    assert_eq!(asked(&member), (21, Some(5)), "from then on a cut shows again");
    member.fetched_as("orders/0", left(4, 20));
    assert_eq!(asked(&member).0, 20);
}

/// What was not read has epochs, too: those that the log starts with. A log that was cut below its start lacks them, also
/// once it has grown anew.
#[test]
fn a_log_that_is_cut_below_the_start_that_was_told_is_read_from_where_it_ends() {
    let mut behind_a_gap = member();
    for event in ["5", "6", "7"] {
        behind_a_gap.done(&format!("charge orders/0@{event}"));
    }
    behind_a_gap.pass(SECOND);
    behind_a_gap.commit_accepted();
    behind_a_gap.fetched_as("orders/0", Err(ErrorCode::OffsetOutOfRange));
    let mut new_group = Member::new(shop());
    new_group.assigned(&["orders/0"]);
    new_group.described(&[("orders", &[1])]);
    new_group.committed(&[("orders/0", None)]);
    for member in [&mut behind_a_gap, &mut new_group] {
        member.listed_in(Some(LeaderEpoch(5)), &[("orders/0", Ok(20))]);
        assert_eq!(asked(member), (20, Some(5)));
        member.pass(SECOND);
        let committed = member.open.iter().find_map(|action| match action {
            Action::Commit { request, .. } => request.commits.first(),
            _ => None,
        });
        let told = committed.map(|commit| (commit.offset, commit.leader_epoch));
        assert_eq!(told, Some((Offset(20), Some(LeaderEpoch(5)))), "whoever comes next asks for it, too");
        member.notices();
        member.fetched_as("orders/0", left(4, 12));
        assert_eq!((member.notices(), asked(member)), (vec![truncated(20, 12)], (12, Some(4))));
    }
}

#[test]
fn one_answer_with_several_epochs_tells_where_each_began() {
    for (kept, begins) in [(5, 9), (4, 7), (3, 7), (2, 5)] {
        let mut member = Member::reading(shop(), &[("orders/0", 5)]);
        let mut read = read("5a 6b 7c 8d");
        for (arrival, epoch) in read.records.iter_mut().zip([3, 3, 5, 5]) {
            arrival.leader_epoch = Some(LeaderEpoch(epoch));
        }
        // Of the last batch handlers get nothing.
        read.leader_epoch = Some(LeaderEpoch(6));
        read.next = Offset(10);
        member.fetched_as("orders/0", Ok(read));
        assert_eq!(asked(&member), (10, Some(6)));
        member.fetched_as("orders/0", left(kept, 20));
        assert_eq!(member.notices(), [truncated(10, begins)], "the leader has up to epoch {kept}");
        assert_eq!(asked(&member).0, begins);
    }
}

#[test]
fn events_that_are_lost_run_to_their_end_and_settle_nothing_of_the_new_log() {
    let mut member = member();
    member.fetched_as("orders/0", left(3, 6));
    assert_eq!(member.cancelled, Vec::<String>::new());
    member.fetched_as("orders/0", read_in(4, "6b 7x"));
    assert_eq!(member.commit(), ["orders/0:5"]);
    member.commit_accepted();
    assert_eq!(member.started(), ["charge orders/0@7"], "6b waits for its like, which the log has lost");
    member.done("charge orders/0@5");
    member.done("charge orders/0@6");
    assert_eq!(member.started(), ["charge orders/0@6"]);
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:6"]);
    member.commit_accepted();
    member.done("charge orders/0@6");
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:7"]);
    assert_eq!(member.machine.in_flight(), 2, "both of offset 7");
}

#[test]
fn what_blocks_is_let_go_once_the_log_has_lost_it() {
    let lose = |member: &mut Member| {
        member.fetched_as("orders/0", left(3, 6));
        member.fetched_as("orders/0", read_in(4, "6b 7x"));
        member.commit_accepted();
    };
    let mut before = member();
    before.finish("charge orders/0@6", Outcome::Permanent);
    lose(&mut before);
    assert_eq!(before.started(), ["charge orders/0@6", "charge orders/0@7"], "both of the new log");
    for outcome in [Outcome::Permanent, Outcome::Failed, Outcome::Panicked, Outcome::TimedOut] {
        let mut after = member();
        lose(&mut after);
        assert_eq!(after.started(), ["charge orders/0@7"]);
        after.finish("charge orders/0@6", outcome);
        assert_eq!(after.started(), ["charge orders/0@6"], "{outcome:?}");
        let blocked = |notice: &Notice| matches!(notice, Notice::Blocked { .. });
        assert!(!after.notices().iter().any(blocked), "nothing blocks");
    }
    let mut in_an_outage = member();
    lose(&mut in_an_outage);
    in_an_outage.finish("charge orders/0@6", Outcome::World);
    assert_eq!(in_an_outage.started(), ["charge orders/0@7"], "that was not the handler's failure");
}

#[test]
fn a_new_member_finds_the_cut_by_the_epoch_that_was_committed_and_drops_what_was_settled_beyond() {
    let mut member = successor(3, 7..9);
    assert_eq!(asked(&member), (5, Some(3)));
    member.fetched_as("orders/0", left(2, 8));
    assert_eq!(member.notices(), [], "nothing that was passed is lost");
    member.fetched_as("orders/0", read_in(4, "5a 6b 7c 8d"));
    assert_eq!(member.started().len(), 4, "nothing tells whether 7 is what it was, and 8 is another record");
}

/// A member that begins at 5, where one committed that had read up to this epoch and settled these offsets.
fn successor(epoch: i32, settled: std::ops::Range<i64>) -> Member {
    let mut member = Member::new(shop());
    member.assigned(&["orders/0"]);
    member.described(&[("orders", &[1])]);
    let settled = SettledSet::new(Offset(5), [Offset(settled.start)..Offset(settled.end)]);
    let metadata = settled.encode(Fingerprint::of(["charge"]), shop().metadata_limit);
    let stored = StoredOffset { offset: Offset(5), leader_epoch: Some(LeaderEpoch(epoch)), metadata };
    member.committed_as("orders/0", stored);
    member
}

#[test]
fn a_new_member_goes_back_below_what_was_committed_where_the_epoch_began_there() {
    let mut first = member();
    for event in ["5", "6", "7"] {
        first.done(&format!("charge orders/0@{event}"));
    }
    first.pass(SECOND);
    let (id, stored) = first.take("commit", |action| match action {
        Action::Commit { id, request, .. } => Some((*id, request.commits[0].clone())),
        _ => None,
    });
    first.handle(Input::CommitDone { id, outcome: Ok(vec![Ok(())]) });
    let mut member = Member::new(shop());
    member.assigned(&["orders/0"]);
    member.described(&[("orders", &[1])]);
    let Commit { offset, leader_epoch, metadata, .. } = stored;
    member.committed_as("orders/0", StoredOffset { offset, leader_epoch, metadata });
    assert_eq!(asked(&member), (8, Some(3)));
    member.fetched_as("orders/0", left(2, 9));
    assert_eq!(member.notices(), [truncated(8, 5)], "the leader has other records where epoch 3 was");
    assert_eq!(asked(&member), (5, Some(2)));
    member.fetched_as("orders/0", read_in(4, "5x 6y 7z"));
    assert_eq!(member.started().len(), 3);
}

#[test]
fn what_an_earlier_owner_settled_is_of_no_later_epoch_than_it_had_read() {
    let mut member = successor(3, 7..9);
    member.fetched_as("orders/0", read_in(3, "5a 6b 7c"));
    assert_eq!(member.started(), ["charge orders/0@5", "charge orders/0@6"], "7 was settled");
    member.fetched_as("orders/0", read_in(4, "8d 9e"));
    assert_eq!(
        member.started(),
        ["charge orders/0@8", "charge orders/0@9"],
        "8 is another record than was settled"
    );
}

#[test]
fn what_an_earlier_owner_settled_ends_with_its_epochs_also_where_no_record_tells() {
    let mut member = successor(3, 7..9);
    let control_markers = Read { next: Offset(7), ..read_in(4, "").expect("it was read") };
    member.fetched_as("orders/0", Ok(control_markers));
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:7"], "and nothing settled beyond");
    member.fetched_as("orders/0", read_in(4, "7c 8d"));
    assert_eq!(member.started(), ["charge orders/0@7", "charge orders/0@8"]);
}

#[test]
fn the_epoch_of_what_was_settled_before_is_not_forgotten_while_older_records_are_read() {
    let mut member = successor(5, 8..10);
    member.fetched_as("orders/0", read_in(3, "5a 6b"));
    assert_eq!(asked(&member), (7, Some(5)), "a leader that lacks epoch 5 must say so");
    member.fetched_as("orders/0", left(3, 7));
    member.started();
    member.fetched_as("orders/0", read_in(6, "7c 8d 9e"));
    assert_eq!(member.started().len(), 3, "8 and 9 are other records than were settled");
}

#[test]
fn a_leader_whose_own_records_were_never_copied_is_read_from_where_the_other_began() {
    let mut member = Member::reading(shop(), &[("orders/0", 5)]);
    member.fetched_as("orders/0", read_in(3, "5a 6b"));
    member.fetched_as("orders/0", read_in(5, "7c 8d 9e"));
    member.fetched_as("orders/0", left(3, 9));
    assert_eq!(member.notices(), [truncated(10, 7)]);
    assert_eq!(asked(&member), (7, Some(3)), "7 and 8 of epoch 3 were never read");
}

#[test]
fn a_leader_that_tells_of_a_cut_that_is_none_is_asked_again_later() {
    let mut member = member();
    for _ in 0..5 {
        member.fetched_as("orders/0", left(3, 8));
        assert_eq!(member.fetches(), Vec::<String>::new(), "not at once");
        assert!(member.wait_for(10, |member| !member.fetches().is_empty()) > 0);
        assert_eq!(asked(&member), (8, Some(3)));
    }
    assert_eq!(member.notices(), []);
}

#[test]
fn while_a_drain_lasts_a_cut_is_left_to_the_next_owner() {
    let mut member = member();
    let (id, _) = member.take_fetch();
    member.revoke(10 * SECOND);
    member.handle(Input::Fetched { id, outcome: Ok(vec![(at("orders/0"), left(2, 6))]) });
    for event in ["5", "6", "7"] {
        member.done(&format!("charge orders/0@{event}"));
    }
    assert_eq!(member.commit(), ["orders/0:8"], "its epoch tells the next owner");
}
