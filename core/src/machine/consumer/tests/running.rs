//! Which event runs when, and what follows from each outcome.

use super::*;

fn member(config: ConsumerConfig) -> Member {
    Member::reading(config, &[("orders/0", 0)])
}

fn ordered(ordering: Ordering) -> ConsumerConfig {
    let mut config = shop();
    config.handlers[0].ordering = ordering;
    config
}

fn batches(most: usize) -> ConsumerConfig {
    let mut config = shop();
    config.handlers[0].batch = number(most);
    config.handlers[0].concurrency = number(1);
    config
}

#[test]
fn order_is_kept_by_key_by_partition_or_not_at_all() {
    let table: [(Ordering, &[i64]); 3] = [
        (Ordering::Key, &[0, 1, 3, 4]),
        (Ordering::Partition, &[0]),
        (Ordering::Unordered, &[0, 1, 2, 3, 4]),
    ];
    for (ordering, expected) in table {
        let mut member = member(ordered(ordering));
        member.fetched("orders/0", "0a 1b 2a 3- 4-");
        let expected: Vec<String> =
            expected.iter().map(|offset| format!("charge orders/0@{offset}")).collect();
        assert_eq!(member.started(), expected, "{ordering:?}");
    }
}

#[test]
fn the_next_of_a_key_starts_when_the_one_before_is_settled() {
    let mut member = member(shop());
    member.fetched("orders/0", "0a 1a 2a");
    for offset in 0..3 {
        assert_eq!(member.started(), [format!("charge orders/0@{offset}")]);
        member.done(&format!("charge orders/0@{offset}"));
    }
}

#[test]
fn equal_keys_of_two_partitions_do_not_wait_for_each_other() {
    let mut member = Member::reading(shop(), &[("orders/0", 0), ("orders/1", 0)]);
    member.fetched("orders/0", "0a");
    member.fetched("orders/1", "0a");
    assert_eq!(member.started(), ["charge orders/0@0", "charge orders/1@0"]);
}

#[test]
fn handlers_are_independent_and_an_event_is_settled_when_all_have_settled_it() {
    let mut config = shop();
    config.handlers.push(handler("ship", 0, OnFailure::Block));
    let mut member = member(config);
    member.fetched("orders/0", "0a 1a");
    assert_eq!(member.started(), ["ship orders/0@0", "charge orders/0@0"]);
    member.done("ship orders/0@0");
    member.done("ship orders/0@1");
    member.pass(2 * SECOND);
    assert_eq!(member.commit(), Vec::<String>::new(), "charge has not settled anything");
    member.done("charge orders/0@0");
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:1"]);
}

#[test]
fn topics_with_the_same_partition_numbers_are_kept_apart() {
    let mut config = shop();
    config.topics.push(topic("refunds"));
    config.handlers.push(handler("refund", 1, OnFailure::Block));
    let mut member = Member::reading(config, &[("orders/0", 0), ("refunds/0", 7)]);
    member.fetched("orders/0", "0a 1a");
    member.fetched("refunds/0", "7a");
    assert_eq!(member.started(), ["charge orders/0@0", "refund refunds/0@7"]);
    member.done("charge orders/0@0");
    member.done("refund refunds/0@7");
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:1", "refunds/0:8"]);
}

#[test]
fn a_failed_event_waits_holds_its_lane_and_runs_ahead_of_new_ones() {
    let mut config = shop();
    config.concurrency = 1;
    let mut member = member(config);
    member.fetched("orders/0", "0a 1a 2b 3c");
    member.finish("charge orders/0@0", Outcome::Failed);
    assert_eq!(member.started(), ["charge orders/0@0", "charge orders/0@2"]);
    member.pass(999);
    assert_eq!(member.started(), Vec::<String>::new());
    member.pass(1);
    member.done("charge orders/0@2");
    assert_eq!(member.started(), ["charge orders/0@0 #2"], "before orders/0@3");
    member.done("charge orders/0@0 #2");
    assert_eq!(member.started(), ["charge orders/0@3"]);
    member.done("charge orders/0@3");
    assert_eq!(member.started(), ["charge orders/0@1"]);
}

#[test]
fn discard_gives_an_event_up_tells_it_and_goes_on() {
    let mut config = shop();
    config.handlers[0] = handler("charge", 0, OnFailure::Discard);
    config.handlers[0].retry.max_attempts = std::num::NonZeroU32::new(2);
    let mut member = member(config);
    member.fetched("orders/0", "0a 1a");
    member.finish("charge orders/0@0", Outcome::Panicked);
    assert_eq!(member.notices(), []);
    member.pass(SECOND);
    member.finish("charge orders/0@0 #2", Outcome::Failed);
    let given_up = Notice::Discarded {
        handler: "charge".into(),
        at: at("orders/0"),
        offset: Offset(0),
        outcome: Outcome::Failed,
        attempts: 2,
    };
    assert_eq!(member.notices(), [given_up]);
    member.done("charge orders/0@1");
    assert_eq!(member.commit(), ["orders/0:2"]);
}

#[test]
fn block_never_gives_up() {
    let mut member = member(shop());
    member.fetched("orders/0", "0a");
    member.started();
    for attempt in 1..100 {
        let label = if attempt == 1 { String::new() } else { format!(" #{attempt}") };
        member.finish(&format!("charge orders/0@0{label}"), Outcome::Failed);
        member.pass(30 * SECOND);
        assert_eq!(member.started(), [format!("charge orders/0@0 #{}", attempt + 1)]);
        while member.describes() {
            member.described(&[("orders", &[1])]);
        }
    }
    assert_eq!(member.commit(), Vec::<String>::new());
}

#[test]
fn an_event_that_no_attempt_can_help_is_held_and_its_lane_with_it() {
    for outcome in [Outcome::Undecodable, Outcome::Permanent] {
        let mut member = member(shop());
        member.fetched("orders/0", "0a 1a 2b");
        member.started();
        member.finish("charge orders/0@0", outcome);
        let (handler, at, offset) = ("charge".into(), at("orders/0"), Offset(0));
        assert_eq!(member.notices(), [Notice::Blocked { handler, at, offset, outcome }]);
        member.done("charge orders/0@2");
        member.pass(SECOND);
        assert_eq!(member.commit(), ["orders/0:0+[2..3]"], "what lies beyond it is told in the metadata");
        member.commit_accepted();
        member.pass(3_000 * SECOND);
        assert_eq!(member.started(), Vec::<String>::new());
    }
}

#[test]
fn an_outage_of_the_world_is_no_attempt() {
    let mut config = shop();
    config.handlers[0] = handler("charge", 0, OnFailure::Discard);
    config.handlers[0].retry.max_attempts = std::num::NonZeroU32::new(1);
    let mut member = member(config);
    member.fetched("orders/0", "0a");
    for _ in 0..100 {
        member.finish("charge orders/0@0", Outcome::World);
        member.pass(6 * SECOND);
    }
    assert_eq!(member.notices(), []);
    member.done("charge orders/0@0");
    assert_eq!(member.commit(), ["orders/0:1"]);
}

#[test]
fn a_batch_is_made_of_what_is_ready() {
    let mut member = member(batches(3));
    member.fetched("orders/0", "0a 1a 2b 3c 4d 5e");
    assert_eq!(member.started(), ["charge orders/0@0 orders/0@2 orders/0@3"], "1a waits for 0a");
    member.done("charge orders/0@0 orders/0@2 orders/0@3");
    assert_eq!(member.started(), ["charge orders/0@4 orders/0@5 orders/0@1"]);
    member.done("charge orders/0@4 orders/0@5 orders/0@1");
    assert_eq!(member.commit(), ["orders/0:6"]);
    member.commit_accepted();
    member.fetched("orders/0", "6a");
    assert_eq!(member.started(), ["charge orders/0@6"], "a batch does not wait to be full");
}

#[test]
fn a_failed_batch_is_taken_apart_and_its_poison_harms_no_other() {
    let mut config = batches(3);
    config.handlers[0].on_failure = OnFailure::Discard;
    let mut member = member(config);
    member.fetched("orders/0", "0a 1b 2c 3d 4e");
    member.finish("charge orders/0@0 orders/0@1 orders/0@2", Outcome::Panicked);
    let run = |member: &mut Member, label: &str, outcome| {
        assert_eq!(member.started(), [label]);
        member.finish(label, outcome);
    };
    member.started.remove(0);
    run(&mut member, "charge orders/0@0", Outcome::Done);
    run(&mut member, "charge orders/0@1", Outcome::Failed);
    run(&mut member, "charge orders/0@2", Outcome::Done);
    assert_eq!(member.started(), ["charge orders/0@3 orders/0@4"]);
    member.pass(SECOND);
    assert_eq!(member.commit(), ["orders/0:1+[2..3]"]);
    member.done("charge orders/0@3 orders/0@4");
    run(&mut member, "charge orders/0@1 #2", Outcome::Permanent);
    assert!(matches!(
        member.notices()[..],
        [Notice::Discarded { offset: Offset(1), outcome: Outcome::Permanent, attempts: 2, .. }]
    ));
}

#[test]
fn an_outage_does_not_take_a_batch_for_poison() {
    let mut member = member(batches(2));
    member.fetched("orders/0", "0a 1b");
    member.finish("charge orders/0@0 orders/0@1", Outcome::World);
    member.started();
    member.pass(100);
    assert_eq!(member.started().len(), 1);
    assert!(!member.marked("failed batch taken apart"));
}

#[test]
fn a_broken_partition_is_never_committed_again() {
    let mut member = member(shop());
    member.fetched("orders/0", "0a");
    let slot = member.machine.places[&at("orders/0")];
    member.machine.break_partition(slot, "found by a test");
    member.drain();
    member.done("charge orders/0@0");
    member.pass(10 * SECOND);
    assert_eq!(member.commit(), Vec::<String>::new());
    assert!(matches!(member.notices()[..], [Notice::Bug { .. }]));
    member.revoke(SECOND);
    assert_eq!(member.released, 1);
}

/// A handler of batches may not settle a neighbour's event by ignoring its own: what it did for the batch is undone.
#[test]
fn an_ignored_batch_is_taken_apart() {
    let mut config = shop();
    config.handlers[0].batch = number(3);
    let mut member = Member::reading(config, &[("orders/0", 0)]);
    member.fetched("orders/0", "0a 1b 2c");
    assert_eq!(member.started(), ["charge orders/0@0 orders/0@1 orders/0@2"]);
    member.finish("charge orders/0@0 orders/0@1 orders/0@2", Outcome::Ignored);
    assert_eq!(member.started(), ["charge orders/0@0", "charge orders/0@1", "charge orders/0@2"]);
}
