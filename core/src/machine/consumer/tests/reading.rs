//! What is fetched, from whom and when.

use super::*;

fn out_of_range() -> Result<Read<Offset>, ErrorCode> {
    Err(ErrorCode::OffsetOutOfRange)
}

#[test]
fn a_position_that_retention_overtook_goes_on_at_the_start_and_tells_the_gap() {
    let mut member = Member::reading(shop(), &[("orders/0", 5)]);
    member.fetched_as("orders/0", out_of_range());
    assert!(member.fetches().is_empty());
    member.listed(&[("orders/0", Ok(20))]);
    let gap = Notice::Gap { at: at("orders/0"), from: Offset(5), to: Offset(20) };
    assert_eq!(member.notices(), [gap]);
    assert_eq!(member.fetches(), ["1: orders/0@20"]);
    assert_eq!(member.commit(), ["orders/0:20"]);
}

#[test]
fn a_gap_does_not_pass_what_is_still_in_flight() {
    let mut member = Member::reading(shop(), &[("orders/0", 5)]);
    member.fetched("orders/0", "5a");
    member.fetched_as("orders/0", out_of_range());
    member.listed(&[("orders/0", Ok(20))]);
    member.pass(2 * SECOND);
    assert_eq!(member.commit(), Vec::<String>::new());
    member.done("charge orders/0@5");
    assert_eq!(member.commit(), ["orders/0:20"]);
}

#[test]
fn a_position_past_the_end_waits_and_never_jumps() {
    let mut member = Member::reading(shop(), &[("orders/0", 50)]);
    let mut waits = Vec::new();
    for _ in 0..12 {
        member.fetched_as("orders/0", out_of_range());
        member.listed(&[("orders/0", Ok(0))]);
        assert_eq!(member.notices(), [Notice::PastEnd { at: at("orders/0"), position: Offset(50) }]);
        let waited = member.wait_for(10, |member| !member.fetches().is_empty());
        assert_eq!(member.fetches(), ["1: orders/0@50"]);
        waits.push(waited);
    }
    assert!(waits[0] < 100 && waits[1] < 200, "{waits:?}");
    assert!(waits[8..].iter().all(|wait| (4_000..=6_010).contains(wait)), "{waits:?}");
    member.fetched("orders/0", "50a");
    assert_eq!(member.started(), ["charge orders/0@50"], "the log grew again");
}

/// Replicas lose their first records at different times: what the next leader has is asked of itself.
#[test]
fn a_leader_that_begins_earlier_than_the_one_before_is_read_and_nothing_is_told() {
    for told_before in [false, true] {
        let mut member = Member::reading(shop(), &[("orders/0", 5)]);
        member.fetched_as("orders/0", out_of_range());
        if told_before {
            member.listed(&[("orders/0", Err(ErrorCode::NotLeaderOrFollower))]);
        }
        member.pass(100);
        member.described(&[("orders", &[2])]);
        assert_eq!(member.fetches(), ["2: orders/0@5"]);
        while member.lists().is_some() {
            member.listed(&[("orders/0", Ok(0))]);
        }
        assert_eq!(member.fetches(), ["2: orders/0@5"]);
        assert!(!member.notices().iter().any(|notice| matches!(notice, Notice::PastEnd { .. })));
        member.fetched_as("orders/0", out_of_range());
        member.listed(&[("orders/0", Ok(20))]);
        let gap = Notice::Gap { at: at("orders/0"), from: Offset(5), to: Offset(20) };
        assert_eq!(member.notices(), [gap], "the next one begins later too");
    }
}

#[test]
fn a_partition_that_moved_is_looked_up_and_fetched_from_its_new_leader() {
    let mut member = Member::reading(shop(), &[("orders/0", 5), ("orders/1", 5)]);
    member.fetched_as("orders/0", Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(member.fetches(), ["1: orders/1@5"], "the other one goes on");
    assert!(!member.describes());
    member.pass(100);
    member.described(&[("orders", &[2, 1])]);
    assert_eq!(member.fetches(), ["1: orders/1@5", "2: orders/0@5"]);
}

#[test]
fn a_leader_that_keeps_refusing_while_the_metadata_names_it_is_asked_ever_more_seldom() {
    let mut member = Member::reading(shop(), &[("orders/0", 5)]);
    member.requests = 0;
    for _ in 0..6_000 {
        if !member.fetches().is_empty() {
            member.fetched_as("orders/0", Err(ErrorCode::NotLeaderOrFollower));
        }
        if member.describes() {
            member.described(&[("orders", &[1])]);
        }
        member.pass(10);
    }
    assert!((20..70).contains(&member.requests), "{} requests in a minute", member.requests);
}

#[test]
fn ten_partitions_that_lose_their_leader_at_once_wait_no_longer_than_one() {
    let labels: Vec<String> = (0..10).map(|number| format!("orders/{number}")).collect();
    let from: Vec<(&str, i64)> = labels.iter().map(|label| (&**label, 0)).collect();
    let mut member = Member::reading(shop(), &from);
    let (id, request) = member.take_fetch();
    let gone = |asked: &FetchPartition| (asked.at.clone(), Err(ErrorCode::NotLeaderOrFollower));
    member.handle(Input::Fetched { id, outcome: Ok(request.partitions.iter().map(gone).collect()) });
    member.pass(100);
    member.described(&[("orders", &[0; 10])]);
    member.pass(200);
    member.described(&[("orders", &[2; 10])]);
    let fetches = member.fetches();
    assert!(
        fetches.iter().any(|fetch| fetch.starts_with("2:") && fetch.matches('@').count() == 10),
        "{fetches:?}"
    );
}

#[test]
fn an_answer_of_the_leader_before_changes_nothing() {
    let mut member = Member::reading(shop(), &[("orders/0", 5)]);
    let (old, _) = member.take_fetch();
    member.pass(5 * SECOND);
    member.described(&[("orders", &[2])]);
    member.pass(5 * SECOND);
    member.described(&[("orders", &[1])]);
    let answer = |text: &str| Ok(vec![(at("orders/0"), Ok(read(text)))]);
    member.handle(Input::Fetched { id: old, outcome: answer("5a 6b") });
    assert_eq!(member.started(), Vec::<String>::new());
    assert_eq!(member.fetches().len(), 2, "broker 2 still holds one, broker 1 is asked anew");
    let outdated = member.take_fetch().0;
    member.handle(Input::Fetched { id: outdated, outcome: answer("5a 6b") });
    assert_eq!(member.started(), Vec::<String>::new());
    member.fetched("orders/0", "5a 6b");
    assert_eq!(member.started(), ["charge orders/0@5", "charge orders/0@6"]);
}

#[test]
fn failing_fetches_come_ever_more_seldom() {
    let mut member = Member::reading(shop(), &[("orders/0", 5)]);
    member.pass(SECOND);
    let mut waits = Vec::new();
    for _ in 0..10 {
        member.fetch_fails();
        let waited = member.wait_for(5, |member| !member.fetches().is_empty());
        waits.push(waited);
    }
    for (nth, wait) in waits.iter().enumerate() {
        let centre = (50u128 << nth).min(5_000);
        assert!((centre * 8 / 10..=centre * 12 / 10 + 5).contains(wait), "{waits:?}");
    }
}

#[test]
fn a_throttled_partition_waits_and_the_others_do_not() {
    let mut member = Member::reading(shop(), &[("orders/0", 5), ("orders/1", 5)]);
    for _ in 0..20 {
        member.fetched_as("orders/1", Err(ErrorCode::ThrottlingQuotaExceeded));
        assert_eq!(member.fetches(), ["1: orders/0@5"]);
        for _ in 0..300 {
            if member.fetches()[0].contains("orders/1") {
                break;
            }
            member.fetched("orders/0", "");
            member.pass(50);
            if member.describes() {
                member.described_again();
            }
        }
    }
    member.fetched("orders/1", "5a");
    assert_eq!(member.started(), ["charge orders/1@5"]);
}

#[test]
fn a_damaged_batch_stops_its_partition_alone() {
    let mut member = Member::reading(shop(), &[("orders/0", 5), ("orders/1", 5)]);
    let fault = Some(ReadFault::Undecodable("bad checksum".into()));
    for round in 0..12 {
        let damaged = Read { next: Offset(7), fault: fault.clone(), ..read("5a 6b") };
        member.fetched_as("orders/0", Ok(damaged));
        let told =
            Notice::Undecodable { at: at("orders/0"), offset: Offset(7), reason: "bad checksum".into() };
        assert_eq!(member.notices(), [told]);
        let mut polls = 0;
        while !member.fetches()[0].contains("orders/0@7") && polls < 1_000 {
            polls += 1;
            member.fetched("orders/1", "");
            member.pass(20);
            if member.describes() {
                member.described_again();
            }
        }
        assert!(polls >= 2 << round.min(6), "orders/1 is read on while orders/0 waits, round {round}");
    }
    assert_eq!(member.started(), ["charge orders/0@5", "charge orders/0@6"]);
}

#[test]
fn a_batch_larger_than_the_fetch_is_asked_for_in_its_size_once() {
    let mut member = Member::reading(shop(), &[("orders/0", 5)]);
    let too_small = |bytes| Ok(Read { next: Offset(5), fault: Some(ReadFault::TooSmall(bytes)), ..read("") });
    member.fetched_as("orders/0", too_small(3 << 20));
    let (id, request) = member.take_fetch();
    assert_eq!((request.partitions[0].max_bytes, request.max_bytes), (3 << 20, 3 << 20));
    member.handle(Input::Fetched { id, outcome: Ok(vec![(at("orders/0"), Ok(read("5a")))]) });
    assert_eq!(member.take_fetch().1.partitions[0].max_bytes, 1 << 20);
}

#[test]
fn a_broker_that_never_gets_enough_is_not_asked_in_a_loop() {
    let mut member = Member::reading(shop(), &[("orders/0", 5)]);
    let too_small = Ok(Read { next: Offset(5), fault: Some(ReadFault::TooSmall(17)), ..read("") });
    member.fetched_as("orders/0", too_small);
    assert!(member.fetches().is_empty());
    member.pass(100);
    assert_eq!(member.fetches(), ["1: orders/0@5"]);
}

#[test]
fn a_partition_without_credit_is_left_out_and_comes_back() {
    let mut config = shop();
    config.fetch_bytes = 20;
    config.concurrency = 1;
    let mut member = Member::reading(config, &[("orders/0", 0), ("orders/1", 0)]);
    member.fetched("orders/0", "0a 1b 2c");
    assert_eq!(member.fetches(), ["1: orders/1@0"]);
    let wait = member.open.iter().find_map(|action| match action {
        Action::Fetch { request, .. } => Some(request.wait),
        _ => None,
    });
    assert_eq!(wait, Some(Duration::from_millis(20)), "so that it need not wait long for the next fetch");
    member.done("charge orders/0@0");
    member.fetched("orders/1", "");
    assert_eq!(member.fetches(), ["1: orders/1@0"], "twenty bytes are still ahead");
    member.done("charge orders/0@1");
    member.fetched("orders/1", "");
    assert_eq!(member.fetches(), ["1: orders/0@3 orders/1@0"]);
}

#[test]
fn several_handlers_do_not_starve_each_other() {
    let mut config = shop();
    config.fetch_bytes = 20;
    config.handlers.push(handler("ship", 0, OnFailure::Block));
    config.handlers[0].concurrency = number(1);
    let mut member = Member::reading(config, &[("orders/0", 0)]);
    for offset in 0..50 {
        member.fetched("orders/0", &format!("{offset}-"));
        member.done(&format!("ship orders/0@{offset}"));
    }
    assert_eq!(member.fetches(), ["1: orders/0@50"], "charge is slow, ship is not");
}

#[test]
fn events_parked_behind_a_blocked_one_do_not_stop_reading() {
    let mut config = shop();
    config.fetch_bytes = 20;
    let mut member = Member::reading(config, &[("orders/0", 0)]);
    member.fetched("orders/0", "0a 1a 2a");
    assert!(member.fetches().is_empty());
    member.finish("charge orders/0@0", Outcome::Permanent);
    assert_eq!(member.fetches(), ["1: orders/0@3"]);
    member.fetched("orders/0", "3a 4a 5a 6a");
    assert_eq!(member.fetches(), ["1: orders/0@7"], "more of the same key is parked too");
    member.fetched("orders/0", "7b 8c");
    assert_eq!(member.fetches(), Vec::<String>::new());
    assert_eq!(member.started(), ["charge orders/0@0", "charge orders/0@7", "charge orders/0@8"]);
}

#[test]
fn a_window_full_of_events_or_bytes_stops_reading_until_it_moves() {
    let mut events = shop();
    events.window_events = 3;
    let mut bytes = shop();
    bytes.window_bytes = 30;
    for config in [events, bytes] {
        let mut member = Member::reading(config, &[("orders/0", 0), ("orders/1", 0)]);
        member.fetched("orders/0", "0a 1b 2c");
        let (id, request) = member.take_fetch();
        assert_eq!(request.partitions.len(), 1);
        assert_eq!(request.wait, Duration::from_millis(500), "a full window may stay so for long");
        let outcome = Ok(vec![(at("orders/1"), Ok(Read { next: Offset(0), ..read("") }))]);
        member.done("charge orders/0@0");
        member.handle(Input::Fetched { id, outcome });
        assert_eq!(member.fetches(), ["1: orders/0@3 orders/1@0"]);
    }
}

#[test]
fn the_first_partition_of_a_fetch_changes() {
    let mut member = Member::reading(shop(), &[("orders/0", 0), ("orders/1", 0), ("orders/2", 0)]);
    let mut first = Vec::new();
    for _ in 0..6 {
        let (id, request) = member.take_fetch();
        first.push(request.partitions[0].at.partition.0);
        let nothing = |asked: &FetchPartition| (asked.at.clone(), Ok(read("")));
        member.handle(Input::Fetched { id, outcome: Ok(request.partitions.iter().map(nothing).collect()) });
    }
    first.sort_unstable();
    assert_eq!(first, [0, 0, 1, 1, 2, 2]);
}

#[test]
fn a_partition_that_an_answer_leaves_out_is_asked_for_again_after_a_wait() {
    let mut member = Member::reading(shop(), &[("orders/0", 0)]);
    let (id, _) = member.take_fetch();
    member.handle(Input::Fetched { id, outcome: Ok(Vec::new()) });
    assert!(member.fetches().is_empty());
    member.pass(100);
    assert_eq!(member.fetches(), ["1: orders/0@0"]);
}

#[test]
fn every_count_of_partitions_is_told_to_the_group() {
    let mut member = Member::reading(shop(), &[("orders/0", 0)]);
    for (leaders, told) in [(&[1][..], 1), (&[1, 1], 2), (&[1, 1], 2), (&[1, 1, 1], 3)] {
        member.counted.clear();
        member.pass(5 * SECOND);
        member.described(&[("orders", leaders)]);
        assert_eq!(member.counted, BTreeMap::from([(topic("orders"), told)]));
    }
}

#[test]
fn a_topic_that_does_not_exist_is_told_and_looked_up_again() {
    let mut member = Member::new(shop());
    member.assigned(&["orders/0"]);
    let id = member.take("description", |action| match action {
        Action::Describe { id, .. } => Some(*id),
        _ => None,
    });
    let code = ErrorCode::UnknownTopicOrPartition;
    let topics = vec![TopicMetadata { topic: topic("orders"), id: None, partitions: Err(code) }];
    member.handle(Input::Described { id, outcome: Ok(Metadata { brokers: Vec::new(), topics }) });
    assert_eq!(member.notices(), [Notice::TopicUnavailable { topic: topic("orders"), code }]);
    assert!(!member.describes());
    member.pass(100);
    assert!(member.describes());
}

#[test]
fn the_answer_to_a_fetch_has_a_limit_whatever_the_number_of_partitions() {
    let labels: Vec<String> = (0..60).map(|number| format!("orders/{number}")).collect();
    let from: Vec<(&str, i64)> = labels.iter().map(|label| (&**label, 0)).collect();
    let mut member = Member::reading(shop(), &from);
    let (_, request) = member.take_fetch();
    assert_eq!((request.partitions.len(), request.max_bytes), (60, 50 << 20));
    let mut member = Member::reading(shop(), &from[..3]);
    assert_eq!(member.take_fetch().1.max_bytes, 3 << 20);
}
