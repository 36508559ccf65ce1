//! Requests that wait: for records, for replicas, for a broker that dies meanwhile.

use super::*;

#[test]
fn a_fetch_waits_for_records_and_wakes_at_once() {
    let mut bench = Bench::new(1, |_| {});
    bench.create("t", 1, &[]);
    let fetch = bench.fetch(1, 0, 1);
    assert!(bench.is_parked(fetch));
    let produce = bench.produce(1, Acks::All, &["a"]);
    assert_eq!(bench.produced(produce), Ok(0));
    assert_eq!(bench.fetched(fetch), Ok((1, 1)), "no time has passed");
}

#[test]
fn a_fetch_waits_no_longer_than_it_was_told_and_for_as_many_bytes() {
    let mut bench = Bench::new(1, |_| {});
    bench.create("t", 1, &[]);
    let fetch = bench.fetch(1, 0, 100);
    bench.produce(1, Acks::All, &["a"]);
    assert!(bench.is_parked(fetch), "a batch of one short record is not enough");
    bench.pass(499);
    assert!(bench.is_parked(fetch));
    bench.pass(1);
    assert_eq!(bench.fetched(fetch), Ok((1, 1)), "what there is");
    let beyond = bench.fetch(1, 2, 1);
    assert_eq!(bench.fetched(beyond), Err(ErrorCode::OffsetOutOfRange));
}

#[test]
fn a_cancelled_fetch_is_forgotten() {
    let mut bench = Bench::new(1, |_| {});
    bench.create("t", 1, &[]);
    let fetch = bench.fetch(1, 0, 1);
    bench.tell(Input::Cancel { id: fetch });
    bench.produce(1, Acks::All, &["a"]);
    bench.pass(1_000);
    assert!(bench.is_parked(fetch), "nobody is answered");
    assert_eq!(bench.cluster.marks().count("waiting request cancelled"), 1);
}

#[test]
fn a_fetch_learns_that_its_topic_is_gone() {
    let mut bench = Bench::new(1, |_| {});
    bench.create("t", 1, &[]);
    let fetch = bench.fetch(1, 0, 1);
    bench.ask(1, DeleteTopicsRequest { topics: vec![TopicRef::Name("t".into())] });
    assert_eq!(bench.fetched(fetch), Err(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn a_partition_that_was_never_there_does_not_hurry_a_fetch_of_others() {
    let mut bench = Bench::new(1, |_| {});
    bench.create("t", 1, &[]);
    let fetch = |bench: &mut Bench, numbers: &[i32]| {
        let partition = |number: &i32| FetchPartition {
            partition: PartitionId(*number),
            leader_epoch: None,
            offset: Offset(0),
            last_epoch: None,
            max_bytes: 1 << 20,
        };
        let partitions = numbers.iter().map(partition).collect();
        let request = FetchRequest {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 1 << 20,
            read_committed: false,
            session: FetchSession::Whole,
            topics: vec![OfTopic { topic: "t".into(), partitions }],
        };
        bench.ask(1, request)
    };
    let of_nothing = fetch(&mut bench, &[8, 9]);
    assert_eq!(bench.fetched(of_nothing), Err(ErrorCode::UnknownTopicOrPartition));
    let late = fetch(&mut bench, &[0, 9]);
    bench.pass(499);
    assert!(bench.is_parked(late));
    bench.pass(1);
    assert_eq!(bench.fetched(late), Ok((0, 0)));
    let early = fetch(&mut bench, &[0, 9]);
    bench.ask(1, DeleteTopicsRequest { topics: vec![TopicRef::Name("t".into())] });
    assert_eq!(bench.fetched(early), Err(ErrorCode::UnknownTopicOrPartition), "this one was there");
}

fn stall(bench: &mut Bench, broker: i32, runs: bool) {
    let (topic, partition, broker) = ("t".into(), PartitionId(0), BrokerId(broker));
    bench.tell(Input::Replication { topic, partition, broker, runs });
}

#[test]
fn a_produce_waits_for_a_stalled_follower_until_it_goes_on_or_time_is_up() {
    let mut bench = Bench::new(2, |_| {});
    bench.create("t", 2, &[]);
    stall(&mut bench, 2, false);
    let leader_only = bench.produce(1, Acks::Leader, &["a"]);
    assert_eq!(bench.produced(leader_only), Ok(0));
    let all = bench.produce(1, Acks::All, &["b"]);
    let fetch = bench.fetch(1, 0, 1);
    assert!(bench.is_parked(all) && bench.is_parked(fetch), "nothing is below the high watermark");
    stall(&mut bench, 2, true);
    assert_eq!((bench.produced(all), bench.fetched(fetch)), (Ok(1), Ok((2, 2))));

    stall(&mut bench, 2, false);
    let late = bench.produce(1, Acks::All, &["c"]);
    bench.pass(5_000);
    assert_eq!(bench.produced(late), Err(ErrorCode::RequestTimedOut));
}

#[test]
fn a_produce_that_waits_learns_that_its_leader_moved_or_that_too_few_replicas_are_left() {
    let mut bench = Bench::new(2, |config| config.replica_lag = Duration::from_secs(1));
    bench.create("t", 2, &[("min.insync.replicas", "2")]);
    stall(&mut bench, 2, false);
    let waits = bench.produce(1, Acks::All, &["a"]);
    bench.tell(Input::MoveLeader { topic: "t".into(), partition: PartitionId(0), to: BrokerId(2) });
    assert_eq!(bench.produced(waits), Err(ErrorCode::NotLeaderOrFollower));

    stall(&mut bench, 1, false);
    let after = bench.produce(2, Acks::All, &["b"]);
    bench.pass(1_000);
    assert_eq!(bench.produced(after), Err(ErrorCode::NotEnoughReplicasAfterAppend));
    let before = bench.produce(2, Acks::All, &["c"]);
    assert_eq!(bench.produced(before), Err(ErrorCode::NotEnoughReplicas));
}

#[test]
fn a_dead_broker_hangs_up_and_the_next_one_leads() {
    let mut bench = Bench::new(2, |_| {});
    bench.create("t", 2, &[]);
    bench.produce(1, Acks::All, &["a"]);
    let fetch = bench.fetch(1, 1, 1);
    bench.tell(Input::BrokerDied { broker: BrokerId(1) });
    assert!(bench.hung_up(fetch));
    let dead = bench.fetch(1, 0, 1);
    assert!(bench.hung_up(dead));
    let next = bench.fetch(2, 0, 1);
    assert_eq!(bench.fetched(next), Ok((1, 1)));
    let alone = bench.produce(2, Acks::All, &["b"]);
    assert_eq!(bench.produced(alone), Ok(1));
    let address = BrokerAddress { broker: BrokerId(1), host: "h".into(), port: 9_000 };
    bench.tell(Input::BrokerStarted { address });
    let follower = bench.produce(1, Acks::All, &["c"]);
    assert_eq!(bench.produced(follower), Err(ErrorCode::NotLeaderOrFollower));
}

#[test]
fn a_groups_requests_go_to_its_coordinator_only_and_it_moves_when_that_dies() {
    let mut bench = Bench::new(3, |config| config.coordinator_load = Duration::from_secs(1));
    bench.create("t", 3, &[]);
    let find = |bench: &mut Bench, broker| {
        let keys = vec!["g".into()];
        let id = bench.ask(broker, FindCoordinatorsRequest { kind: CoordinatorKind::Group, keys });
        match &bench.outcomes[&id] {
            Some(Answer::FindCoordinators(answer)) => answer.coordinators[0].1.as_ref().unwrap().broker.0,
            other => panic!("{other:?}"),
        }
    };
    let commit = |bench: &mut Bench, broker, offset| {
        let entry = CommitPartition {
            partition: PartitionId(0),
            offset: Offset(offset),
            leader_epoch: None,
            metadata: None,
        };
        let id = bench.ask(
            broker,
            CommitOffsetsRequest {
                group: "g".into(),
                generation: evenkeel_core::model::Generation(-1),
                member: "".into(),
                instance: None,
                topics: vec![OfTopic { topic: "t".into(), partitions: vec![entry] }],
            },
        );
        match &bench.outcomes[&id] {
            Some(Answer::CommitOffsets(answer)) => answer.topics[0].partitions[0].1,
            other => panic!("{other:?}"),
        }
    };
    let first = find(&mut bench, 1);
    let other = first % 3 + 1;
    assert_eq!(commit(&mut bench, other, 1), Err(ErrorCode::NotCoordinator));
    assert_eq!(commit(&mut bench, first, 1), Ok(()));
    bench.tell(Input::BrokerDied { broker: BrokerId(first) });
    let second = find(&mut bench, other);
    assert_ne!(first, second);
    assert_eq!(commit(&mut bench, second, 2), Err(ErrorCode::CoordinatorLoadInProgress));
    bench.pass(1_000);
    assert_eq!(commit(&mut bench, second, 2), Ok(()));
}
