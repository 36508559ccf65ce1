//! A topic that is deleted and made anew while it is read.

use super::*;

/// A member that reads `orders/0` and `orders/1` of life 1 from offset 5, in leader epoch 7.
fn member() -> Member {
    let mut member = Member::new(shop());
    member.assigned(&["orders/0", "orders/1"]);
    member.looks(1, &[7, 7]);
    member.committed(&[("orders/0", Some((5, ""))), ("orders/1", Some((5, "")))]);
    member
}

/// The next regular look.
fn look(member: &mut Member, id: u128, leader_epochs: &[i32]) {
    let since = member.now;
    while !member.describes() {
        assert!(member.now.since(since) < Duration::from_secs(60), "no look comes");
        member.pass(50);
    }
    member.looks(id, leader_epochs);
}

/// What the open fetch asks for, with its leader epochs.
fn asked(member: &mut Member) -> Vec<(Offset, Option<LeaderEpoch>)> {
    let (_, request) = member.take_fetch();
    request.partitions.iter().map(|asked| (asked.offset, asked.leader_epoch)).collect()
}

#[test]
fn the_new_log_is_read_from_its_start_in_its_own_leader_epoch() {
    let mut member = member();
    member.fetched("orders/0", "5a");
    member.done("charge orders/0@5");
    look(&mut member, 2, &[0, 0]);
    assert_eq!(member.notices(), [Notice::Recreated { topic: topic("orders") }]);
    let late = member.take_fetch().0;
    member.handle(Input::Fetched { id: late, outcome: Ok(vec![(at("orders/0"), Ok(read("6a")))]) });
    assert_eq!(asked(&mut member), [(Offset(0), Some(LeaderEpoch(0))); 2]);
    assert_eq!(member.machine.in_flight(), 0, "what came of the old log is not taken in");
}

#[test]
fn the_new_start_is_committed_at_once_and_replaces_what_a_late_commit_left() {
    let mut member = member();
    member.fetched("orders/0", "5a 6b");
    member.done("charge orders/0@5");
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:6"]);
    look(&mut member, 2, &[0, 0]);
    assert_eq!(member.commit(), ["orders/0:6"], "it is out, and may arrive at the new topic");
    member.commit_accepted();
    assert_eq!(member.commit(), ["orders/0:0", "orders/1:0"]);
    member.commit_accepted();
    member.pass(10 * SECOND);
    assert_eq!(member.commit(), Vec::<String>::new());
}

#[test]
fn calls_of_the_old_log_are_cancelled_and_settle_nothing_of_the_new_one() {
    let mut member = member();
    member.fetched("orders/0", "5a 6a 7b");
    member.finish("charge orders/0@7", Outcome::Failed);
    look(&mut member, 2, &[0, 0]);
    assert_eq!(member.cancelled, ["charge orders/0@5", "charge orders/0@7 #2"]);
    member.commit_accepted();
    member.fetch_fails();
    member.pass(SECOND);
    member.started();
    member.fetched("orders/0", "0a 1b 2c 3d 4e 5a");
    assert_eq!(member.started(), Vec::<String>::new(), "the cancelled call is still at work");
    member.finish("charge orders/0@5", Outcome::Done);
    member.finish("charge orders/0@7 #2", Outcome::Done);
    assert_eq!(member.started().len(), 5);
    member.pass(10 * SECOND);
    assert_eq!(member.commit(), Vec::<String>::new());
    member.done("charge orders/0@0");
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:1"]);
}

#[test]
fn other_topics_go_on() {
    let mut config = shop();
    config.topics.push(topic("refunds"));
    config.handlers.push(handler("refund", 1, OnFailure::Block));
    let mut member = Member::new(config);
    member.assigned(&["orders/0", "refunds/0"]);
    let both: [(&str, &[i32]); 2] = [("orders", &[1]), ("refunds", &[1])];
    member.metadata = described(&both);
    member.metadata.topics[0].id = Some(TopicId(1));
    member.metadata.topics[1].id = Some(TopicId(9));
    member.described_again();
    member.committed(&[("orders/0", Some((5, ""))), ("refunds/0", Some((5, "")))]);
    member.fetched("refunds/0", "5a 6a");
    member.pass(5 * SECOND);
    member.metadata.topics[0].id = Some(TopicId(2));
    member.described_again();
    assert_eq!(member.commit(), ["orders/0:0"]);
    member.commit_accepted();
    assert_eq!(member.cancelled, Vec::<String>::new());
    member.done("refund refunds/0@5");
    member.pass(SECOND);
    assert_eq!(member.commit(), ["refunds/0:6"]);
}

#[test]
fn a_broker_that_lags_does_not_bring_the_old_log_back() {
    let mut member = member();
    look(&mut member, 2, &[0, 0]);
    member.commit_accepted();
    member.notices();
    for _ in 0..100 {
        look(&mut member, 1, &[7, 7, 7]);
        assert!(!member.counted.values().any(|count| *count == 3), "nor its partitions");
        look(&mut member, 2, &[0, 0]);
    }
    assert_eq!(member.notices(), []);
    assert_eq!(member.commit(), Vec::<String>::new());
}

#[test]
fn an_id_that_alone_is_told_for_long_is_believed_in_the_end() {
    let mut member = member();
    look(&mut member, 2, &[0, 0]);
    member.commit_accepted();
    member.notices();
    let since = member.now;
    while member.notices().is_empty() {
        look(&mut member, 1, &[7, 7]);
    }
    let waited = member.now.since(since);
    assert!((30..60).contains(&waited.as_secs()), "after {waited:?}");
}

#[test]
fn the_number_of_partitions_is_told_to_the_group_and_a_partition_that_is_gone_commits_nothing() {
    let mut member = member();
    look(&mut member, 2, &[0]);
    assert_eq!(member.counted, BTreeMap::from([(topic("orders"), 1)]));
    assert_eq!(member.commit(), ["orders/0:0"]);
    member.commit_accepted();
    member.revoke(SECOND);
    assert_eq!(member.released, 1);
}

#[test]
fn a_drain_commits_the_new_start() {
    let mut member = member();
    member.pass(5 * SECOND);
    member.revoke(10 * SECOND);
    assert_eq!(member.released, 1, "nothing to commit");
    let mut member = self::member();
    member.fetched("orders/0", "5a");
    member.pass(5 * SECOND);
    member.revoke(10 * SECOND);
    member.looks(2, &[0, 0]);
    assert_eq!(member.commit(), ["orders/0:0", "orders/1:0"]);
    member.commit_accepted();
    assert_eq!(member.released, 1);
}

#[test]
fn without_ids_a_leader_that_refuses_the_epoch_is_looked_up_and_its_older_epoch_taken() {
    let mut member = member();
    member.fetched_as("orders/0", Err(ErrorCode::UnknownLeaderEpoch));
    member.pass(100);
    assert!(member.describes(), "the leader is looked for anew");
    member.looks(1, &[0, 0]);
    member.fetch_fails();
    member.wait_for(10, |member| !member.fetches().is_empty());
    let epochs: Vec<_> = asked(&mut member).into_iter().map(|(_, epoch)| epoch).collect();
    assert!(epochs.contains(&Some(LeaderEpoch(0))), "{epochs:?}");
    assert!(epochs.contains(&Some(LeaderEpoch(7))), "the other one keeps the latest it knows: {epochs:?}");
}

/// A member that has heard of life 2, and is assigned anew.
fn assigned_anew() -> Member {
    let mut member = member();
    look(&mut member, 2, &[0, 0]);
    member.handle(Input::Lost);
    member.open.clear();
    member.notices();
    member.assigned(&["orders/0"]);
    member
}

#[test]
fn a_new_assignment_takes_the_life_that_it_is_told_first() {
    for id in [2, 3] {
        let mut member = assigned_anew();
        member.looks(id, &[7]);
        member.committed(&[("orders/0", Some((3, "")))]);
        assert_eq!(member.notices(), []);
        assert_eq!(member.fetches(), ["1: orders/0@3"]);
    }
}

#[test]
fn a_new_assignment_does_not_take_a_life_that_was_replaced_before() {
    let mut member = assigned_anew();
    member.looks(1, &[7]);
    assert!(!member.asks_committed(), "a position of the old log is of no use");
    look(&mut member, 2, &[0]);
    member.committed(&[("orders/0", Some((3, "")))]);
    assert_eq!(member.fetches(), ["1: orders/0@3"]);
}

/// What a member commits that has settled 3, and 5 beyond it, of the life with this id.
fn commit_of(id: u128) -> String {
    let settled = SettledSet::new(Offset(3), [Offset(5)..Offset(6)]);
    let scope = Scope { handlers: Fingerprint::of(["charge"]), topic: Some(TopicId(id)) };
    settled.encode(scope, shop().metadata_limit).to_string()
}

/// A new member that is told the life with this id.
fn newcomer(id: u128) -> Member {
    let mut member = Member::new(shop());
    member.assigned(&["orders/0"]);
    member.looks(id, &[0]);
    member
}

#[test]
fn a_commit_tells_which_life_it_is_of() {
    let mut member = newcomer(2);
    member.committed(&[("orders/0", Some((3, &commit_of(2))))]);
    member.fetched("orders/0", "3a 4b 5a 6b");
    assert_eq!(member.started(), ["charge orders/0@3", "charge orders/0@4"]);
    member.done("charge orders/0@3");
    member.pass(SECOND);
    let request = member.open.iter().find_map(|action| match action {
        Action::Commit { request, .. } => Some(request.clone()),
        _ => None,
    });
    let commit = &request.expect("it is time").commits[0];
    let read = |id| {
        let scope = Scope { handlers: Fingerprint::of(["charge"]), topic: Some(TopicId(id)) };
        SettledSet::decode(&commit.metadata, commit.offset, scope)
    };
    assert!(read(2).is_ok());
    let other = Unreadable::OtherTopic { written_for: TopicId(2), present: TopicId(1) };
    assert_eq!(read(1), Err(other));
}

#[test]
fn a_commit_of_the_old_log_that_a_member_left_unawares_is_not_gone_on_from() {
    let mut member = newcomer(2);
    let since = member.now;
    while member.fetches().is_empty() {
        assert!(member.now.since(since) < Duration::from_secs(60), "it waits for ever");
        if member.asks_committed() {
            member.committed(&[("orders/0", Some((3, &commit_of(1))))]);
        }
        if member.describes() {
            member.looks(2, &[0]);
        }
        member.pass(50);
    }
    let waited = member.now.since(since);
    assert!((30..40).contains(&waited.as_secs()), "another broker may know better until {waited:?}");
    assert_eq!(member.fetches(), ["1: orders/0@0"]);
    assert_eq!(member.commit(), ["orders/0:0"]);
    assert!(matches!(&member.notices()[..], [Notice::MetadataIgnored { .. }]));
}

#[test]
fn a_commit_of_a_log_that_was_seen_to_be_replaced_is_not_waited_with() {
    let mut member = assigned_anew();
    member.looks(2, &[0]);
    member.committed(&[("orders/0", Some((3, &commit_of(1))))]);
    assert_eq!(member.fetches(), ["1: orders/0@0"]);
}

#[test]
fn a_commit_of_a_newer_life_than_the_look_told_is_gone_on_from_once_a_look_tells_it() {
    let mut member = newcomer(1);
    member.committed(&[("orders/0", Some((3, &commit_of(2))))]);
    assert_eq!(member.fetches(), Vec::<String>::new());
    assert!(member.describes(), "at once");
    member.looks(2, &[0]);
    member.committed(&[("orders/0", Some((3, &commit_of(2))))]);
    assert_eq!(member.fetches(), ["1: orders/0@3"]);
    assert_eq!(member.commit(), Vec::<String>::new(), "and nothing goes back");
}
