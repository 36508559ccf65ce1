//! Retention and compaction as topics' configurations ask for them, and on every replica alike.

use super::*;

/// Not long ago.
const NOW: i64 = 1_700_000_000_000;
const DAY: i64 = 86_400_000;

const COMPACTED: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("internal.segment.bytes", "200"), ("min.cleanable.dirty.ratio", "0")];

impl Bench {
    /// Now and not in 1970.
    fn today(brokers: i32) -> Self {
        Self::new(brokers, |config| config.started = WallTime::from_millis(NOW))
    }

    /// One record of this key, of this time.
    fn put(&mut self, broker: i32, key: &'static str, value: Option<&'static str>, millis: i64) {
        let record = OutgoingRecord {
            key: Some(Bytes::from(key)),
            value: value.map(Bytes::from),
            headers: Vec::new(),
            timestamp: WallTime::from_millis(millis),
        };
        let records = encode(&[record], BatchOptions::default()).unwrap();
        let partitions = vec![ProducePartition { partition: PartitionId(0), records }];
        let topics = vec![OfTopic { topic: "t".into(), partitions }];
        let (acks, timeout) = (Acks::All, Duration::from_secs(5));
        let id = self.ask(broker, ProduceRequest { acks, timeout, transactional_id: None, topics });
        assert_eq!(self.produced(id).map(drop), Ok(()));
    }

    /// Where the batches that are left begin.
    fn left(&self) -> Vec<i64> {
        let log = self.cluster.topics.partition("t", PartitionId(0)).unwrap().log().unwrap();
        log.batches_from(log.start()).map(|batch| batch.base_offset().0).collect()
    }

    fn lead(&mut self, to: i32) {
        self.tell(Input::MoveLeader { topic: "t".into(), partition: PartitionId(0), to: BrokerId(to) });
    }
}

#[test]
fn records_without_a_time_stay_for_the_topics_retention() {
    let mut bench = Bench::today(1);
    bench.create("t", 1, &[("retention.ms", "60000")]);
    bench.put(1, "k", Some("v"), -1);
    bench.pass(59_000);
    assert_eq!(bench.left(), [0]);
    bench.pass(10_000);
    assert!(bench.left().is_empty());
}

#[test]
fn the_tombstone_of_an_old_key_is_not_taken_at_once() {
    let mut bench = Bench::today(1);
    bench.create("t", 1, &COMPACTED);
    bench.put(1, "a", Some("1"), NOW - 2 * DAY);
    bench.put(1, "a", None, NOW - 2 * DAY);
    for value in ["v", "w", "x", "y", "z"] {
        bench.put(1, "b", Some(value), NOW - 2 * DAY);
    }
    bench.pass(6_000);
    let left = bench.left();
    assert!(!left.contains(&0) && left.contains(&1), "{left:?}");
}

#[test]
fn records_stay_uncompacted_as_long_as_the_topic_says() {
    let mut bench = Bench::today(1);
    bench.create("t", 1, &[&COMPACTED[..], &[("min.compaction.lag.ms", "3600000")]].concat());
    for value in ["1", "2", "3", "4", "5", "6"] {
        bench.put(1, "a", Some(value), NOW);
    }
    bench.pass(60_000);
    assert_eq!(bench.left(), [0, 1, 2, 3, 4, 5]);
    bench.pass(3_600_000);
    assert!(bench.left().len() < 6);
}

#[test]
fn who_comes_to_lead_has_cleaned_its_log_as_the_leader_before() {
    for (policy, value) in [("retention.bytes", "500"), ("cleanup.policy", "compact")] {
        let mut bench = Bench::today(2);
        bench.create("t", 2, &[COMPACTED[1], COMPACTED[2], (policy, value)]);
        for nth in 0..40 {
            bench.put(1, ["a", "b", "c"][nth % 3], Some("value"), NOW);
        }
        bench.pass(6_000);
        let before = bench.left();
        assert!(before.len() < 40, "{policy}");
        bench.lead(2);
        assert_eq!(bench.left(), before, "{policy}");
    }
}

#[test]
fn a_leader_cannot_be_told_to_stop_copying() {
    let mut bench = Bench::today(2);
    bench.create("t", 2, &[]);
    bench.put(1, "k", Some("v"), NOW);
    let (topic, partition) = ("t".into(), PartitionId(0));
    bench.tell(Input::Replication { topic, partition, broker: BrokerId(1), runs: false });
    let wanted = DeleteRecordsPartition { partition: PartitionId(0), before: Some(Offset(1)) };
    let topics = vec![OfTopic { topic: "t".into(), partitions: vec![wanted] }];
    let id = bench.ask(1, DeleteRecordsRequest { topics });
    let Some(Answer::DeleteRecords(answer)) = &bench.outcomes[&id] else { panic!("no answer") };
    assert_eq!(answer.topics[0].partitions[0].outcome, Ok(Offset(1)));
    assert!(bench.left().is_empty());
}
