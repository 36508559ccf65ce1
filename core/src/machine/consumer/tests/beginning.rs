//! Where reading begins.

use super::*;

#[test]
fn reading_goes_on_at_the_committed_offset_and_skips_what_was_settled_beyond_it() {
    let fingerprint = Fingerprint::of(["charge"]);
    let settled = SettledSet::new(Offset(5), [Offset(6)..Offset(8)]);
    let metadata = settled.encode(fingerprint, shop().metadata_limit);
    let mut member = Member::new(shop());
    member.assigned(&["orders/0"]);
    member.described(&[("orders", &[1])]);
    member.committed(&[("orders/0", Some((5, &metadata)))]);
    assert_eq!(member.fetches(), ["1: orders/0@5"]);
    member.fetched("orders/0", "5a 6b 7c 8d");
    assert_eq!(member.started(), ["charge orders/0@5", "charge orders/0@8"]);
    member.done("charge orders/0@5");
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:8"]);
}

#[test]
fn a_group_without_a_commit_begins_at_the_start_and_commits_it_at_once() {
    let mut member = Member::new(shop());
    member.assigned(&["orders/0"]);
    member.described(&[("orders", &[1])]);
    member.committed(&[("orders/0", None)]);
    assert_eq!(member.lists(), Some((1, vec!["orders/0".to_owned()])));
    assert!(member.fetches().is_empty());
    member.listed(&[("orders/0", Ok(3))]);
    assert_eq!(member.commit(), ["orders/0:3"]);
    assert_eq!(member.fetches(), ["1: orders/0@3"]);
}

#[test]
fn a_start_that_cannot_be_found_is_looked_up_again_after_a_wait() {
    let mut member = Member::new(shop());
    member.assigned(&["orders/0"]);
    member.described(&[("orders", &[1])]);
    member.committed(&[("orders/0", None)]);
    member.listed(&[("orders/0", Err(ErrorCode::OffsetNotAvailable))]);
    assert_eq!(member.lists(), None);
    member.pass(100);
    assert!(member.lists().is_some());
    member.listed(&[]);
    assert_eq!(member.lists(), None, "an answer that leaves the partition out is no reason to hurry");
    member.pass(200);
    member.listed(&[("orders/0", Err(ErrorCode::OffsetOutOfRange))]);
    assert_eq!(member.lists(), None);
    member.pass(400);
    member.listed(&[("orders/0", Ok(0))]);
    assert_eq!(member.fetches(), ["1: orders/0@0"]);
}

#[test]
fn metadata_of_another_program_is_left_alone_and_told() {
    let mut member = Member::new(shop());
    member.assigned(&["orders/0"]);
    member.described(&[("orders", &[1])]);
    member.committed(&[("orders/0", Some((5, "written by hand")))]);
    assert_eq!(member.fetches(), ["1: orders/0@5"]);
    let notices = member.notices();
    assert!(
        matches!(&notices[..], [Notice::MetadataIgnored { at: place, .. }] if *place == at("orders/0")),
        "{notices:?}"
    );
}

#[test]
fn committed_offsets_are_asked_for_until_all_are_known() {
    let mut member = Member::new(shop());
    member.assigned(&["orders/0", "orders/1"]);
    member.described(&[("orders", &[1, 1])]);
    member.committed(&[("orders/0", Some((5, "")))]);
    assert_eq!(member.fetches(), ["1: orders/0@5"]);
    let asks = |action: &Action<Offset>| matches!(action, Action::FetchCommitted { .. });
    assert!(!member.has(asks), "not at once");
    member.pass(100);
    assert!(member.has(asks));
    member.committed(&[("orders/1", Some((7, ""))), ("orders/0", Some((0, "")))]);
    member.fetched("orders/0", "");
    assert_eq!(member.fetches(), ["1: orders/0@5 orders/1@7"], "a known start is not changed");
}

#[test]
fn a_topic_without_handlers_is_passed_over() {
    let mut config = shop();
    config.topics.push(topic("refunds"));
    let mut member = Member::new(config);
    member.assigned(&["orders/0", "refunds/0"]);
    member.described(&[("orders", &[1]), ("refunds", &[1])]);
    member.committed(&[("orders/0", Some((0, "")))]);
    assert_eq!(member.fetches(), ["1: orders/0@0"]);
    member.pass(20 * SECOND);
    assert!(!member.has(|action| matches!(action, Action::FetchCommitted { .. })));
}

#[test]
fn an_assignment_of_nothing_only_watches_the_topics() {
    let mut member = Member::new(shop());
    member.assigned(&[]);
    member.described(&[("orders", &[1])]);
    member.pass(4 * SECOND);
    assert!(member.open.is_empty());
    member.pass(2 * SECOND);
    member.described(&[("orders", &[1, 1])]);
    assert_eq!(member.counted, BTreeMap::from([(topic("orders"), 2)]));
}
