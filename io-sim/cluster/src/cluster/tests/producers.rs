//! Idempotent producers are forgotten once they have not appended for long.

use evenkeel_core::records::{Producer, ProducerState};

use super::*;

const LIMIT: Duration = Duration::from_secs(60 * 60);
/// Longer than two looks at producers are apart.
const CHECKED: Duration = Duration::from_secs(11 * 60);

impl Bench {
    /// One record of a producer, made now.
    fn append(&mut self, broker: i32, producer: i64, sequence: i32) -> Result<i64, ErrorCode> {
        let timestamp = WallTime::from_millis(i64::try_from(self.now.as_nanos() / 1_000_000).unwrap());
        let value = Some(Bytes::from_static(b"v"));
        let record = OutgoingRecord { key: None, value, headers: Vec::new(), timestamp };
        let state = ProducerState { id: producer, epoch: 0, sequence };
        let options = BatchOptions { producer: Producer::Idempotent(state), ..BatchOptions::default() };
        let records = encode(&[record], options).unwrap();
        let partitions = vec![ProducePartition { partition: PartitionId(0), records }];
        let topics = vec![OfTopic { topic: "t".into(), partitions }];
        let (acks, timeout) = (Acks::All, Duration::from_secs(5));
        let id = self.ask(broker, ProduceRequest { acks, timeout, transactional_id: None, topics });
        self.produced(id)
    }

    fn pass_all(&mut self, time: Duration) {
        self.pass(u64::try_from(time.as_millis()).unwrap());
    }
}

#[test]
fn a_producer_that_has_not_appended_for_long_is_forgotten_on_every_replica() {
    let mut bench = Bench::new(3, |config| config.producer_expiration = LIMIT);
    bench.create("t", 3, &[]);
    for producer in 0..3 {
        assert_eq!(bench.append(1, producer, 0), Ok(producer));
    }
    bench.tell(Input::BrokerDied { broker: BrokerId(3) });
    bench.pass_all(LIMIT - CHECKED);
    assert_eq!(bench.append(1, 2, 1), Ok(3), "the third goes on");
    assert_eq!(bench.append(1, 0, 0), Ok(0), "the first repeats, which is no append");
    assert_eq!(bench.append(1, 0, 9), Err(ErrorCode::OutOfOrderSequenceNumber), "it is known yet");
    bench.pass_all(CHECKED + CHECKED);
    assert_eq!(bench.append(1, 0, 9), Ok(4), "a stranger begins anywhere");
    assert_eq!(bench.append(1, 2, 0), Ok(2), "the third is known yet");
    let address = BrokerAddress { broker: BrokerId(3), host: "h".into(), port: 9_000 };
    bench.tell(Input::BrokerStarted { address });
    let (topic, partition) = ("t".into(), PartitionId(0));
    bench.tell(Input::MoveLeader { topic, partition, to: BrokerId(3) });
    assert_eq!(bench.append(3, 2, 9), Err(ErrorCode::OutOfOrderSequenceNumber), "known there, too");
    assert_eq!(bench.append(3, 1, 9), Ok(5), "forgotten there, too");
}
