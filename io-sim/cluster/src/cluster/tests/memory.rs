//! The bound on what the logs hold: it holds, the oldest records go, and those who read them learn it.

use super::*;

/// Of the whole cluster, in bytes.
const LIMIT: u64 = 200_000;

impl Bench {
    /// One record of this size and time, to a topic of one partition.
    fn fill(&mut self, topic: &str, seconds: i64, size: usize) {
        let record = OutgoingRecord {
            key: None,
            value: Some(Bytes::from(vec![b'x'; size])),
            headers: Vec::new(),
            timestamp: WallTime::from_millis(seconds * 1_000),
        };
        let records = encode(&[record], BatchOptions::default()).unwrap();
        let partitions = vec![ProducePartition { partition: PartitionId(0), records }];
        let topics = vec![OfTopic { topic: topic.into(), partitions }];
        let (acks, timeout) = (Acks::All, Duration::from_secs(5));
        let id = self.ask(1, ProduceRequest { acks, timeout, transactional_id: None, topics });
        assert_eq!(self.produced(id).map(drop), Ok(()));
    }

    /// Where the first partition's log begins and ends.
    fn bounds(&mut self, topic: &str) -> (i64, i64) {
        let mut list = |place| {
            let wanted = ListPartition { partition: PartitionId(0), leader_epoch: None, place };
            let topics = vec![OfTopic { topic: topic.into(), partitions: vec![wanted] }];
            let id = self.ask(1, ListOffsetsRequest { read_committed: false, topics });
            match &self.outcomes[&id] {
                Some(Answer::ListOffsets(answer)) => {
                    answer.topics[0].partitions[0].outcome.unwrap().unwrap().offset.0
                }
                other => panic!("{other:?}"),
            }
        };
        (list(Place::Earliest), list(Place::Latest))
    }

    fn with_topics(replication: i16) -> Self {
        let mut bench = Self::new(3, |config| config.retained_bytes = Some(LIMIT));
        for topic in ["t", "u"] {
            bench.create(topic, replication, &[]);
        }
        bench
    }
}

#[test]
fn the_oldest_records_go_whatever_their_topic() {
    let mut bench = Bench::with_topics(1);
    for second in 0..100 {
        bench.fill("t", second, 1_000);
    }
    for second in 100..200 {
        bench.fill("u", second, 1_000);
        assert!(bench.cluster.retained_bytes() <= LIMIT);
    }
    let (t, u) = (bench.bounds("t"), bench.bounds("u"));
    assert_eq!((t.1, u), (100, (0, 100)), "u has the younger ones");
    assert!(t.0 > 0 && t.0 < 60, "not more of t goes than must: {t:?}");
    for second in 200..400 {
        bench.fill("t", second, 1_000);
        assert!(bench.cluster.retained_bytes() <= LIMIT);
    }
    let (t, u) = (bench.bounds("t"), bench.bounds("u"));
    assert_eq!(u, (100, 100), "all of u is older than what t has");
    assert_eq!(t.1, 300);
    let missed = bench.fetch(1, 0, 1);
    assert_eq!(bench.fetched(missed), Err(ErrorCode::OffsetOutOfRange));
    let there = bench.fetch(1, t.0, 1);
    assert_eq!(bench.fetched(there), Ok(((t.1 - t.0) as usize, t.1)));
}

#[test]
fn replicas_share_their_bytes_and_drop_them_together() {
    let mut bench = Bench::with_topics(3);
    for second in 0..100 {
        bench.fill("t", second, 1_000);
    }
    assert_eq!(bench.bounds("t"), (0, 100), "three copies weigh as one");
    bench.tell(Input::BrokerDied { broker: BrokerId(3) });
    for second in 100..400 {
        bench.fill("t", second, 1_000);
        assert!(bench.cluster.retained_bytes() <= 3 * LIMIT, "a dead broker's copy goes with the others");
    }
    bench.tell(Input::BrokerStarted {
        address: BrokerAddress { broker: BrokerId(3), host: "h".into(), port: 9_000 },
    });
    bench.tell(Input::MoveLeader { topic: "t".into(), partition: PartitionId(0), to: BrokerId(3) });
    let fetch = bench.fetch(3, 399, 1);
    assert_eq!(bench.fetched(fetch), Ok((1, 400)), "it has caught up");
}

#[test]
fn small_batches_count_with_what_they_cost_beside_their_bytes() {
    let mut bench = Bench::with_topics(1);
    for second in 0..2_000 {
        bench.fill("t", second, 1);
    }
    let (start, end) = bench.bounds("t");
    assert_eq!(end, 2_000);
    assert!(end - start < 1_000, "{} batches of 70 bytes are held", end - start);
}

#[test]
fn what_is_not_acknowledged_does_not_go() {
    let mut bench = Bench::with_topics(3);
    for broker in [BrokerId(2), BrokerId(3)] {
        let (topic, partition) = ("t".into(), PartitionId(0));
        bench.tell(Input::Replication { topic, partition, broker, runs: false });
    }
    for _ in 0..200 {
        bench.produce(
            1,
            Acks::Leader,
            &["of a log that only its leader has, and that is no shorter than the others"],
        );
    }
    for second in 0..300 {
        bench.fill("u", second, 1_000);
    }
    let fetch = bench.fetch(1, 0, 1);
    assert!(bench.is_parked(fetch), "its start is still there, though nobody may read it yet");
    assert!(bench.bounds("u").0 > 0);
}
