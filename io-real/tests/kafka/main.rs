//! The Kafka adapter against a real Apache Kafka: each port request, and what its refusals and failures let conclude.

#[path = "../support/mod.rs"]
mod support;

mod groups;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use evenkeel::kafka::{Kafka, KafkaClient};
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{
    BrokerId, Header, LeaderEpoch, Offset, PartitionId, TopicName, TopicPartition, WallTime,
};
use evenkeel_core::ports::{
    Broker, EpochEnd, FetchAnswer, FetchPartition, FetchRequest, FetchedPartition, ListOffset, ListedOffset,
    NewTopic, OutgoingRecord, PortError, ProduceRequest, StartAt,
};
use kafka_protocol::records::{Record, RecordBatchDecoder};

const SOON: Duration = Duration::from_secs(30);

async fn connect() -> KafkaClient {
    Kafka::new([support::services::kafka()]).connect().await.unwrap()
}

/// A name that no other test and no earlier run has used.
fn fresh(name: &str) -> String {
    static USED: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("{name}-{now}-{}", USED.fetch_add(1, Ordering::Relaxed))
}

fn new_topic(topic: &TopicName, partitions: u32, configs: &[(&str, &str)]) -> NewTopic {
    let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    NewTopic { topic: topic.clone(), partitions, replication_factor: Some(1), configs }
}

fn offset(listed: &ListedOffset) -> Result<Option<Offset>, ErrorCode> {
    listed.outcome.map(|found| found.map(|found| found.offset))
}

/// Creates a topic and waits until the broker leads all its partitions. It says so in its metadata a moment before it
/// does.
async fn create(kafka: &KafkaClient, partitions: u32) -> (TopicName, BrokerId) {
    let topic = TopicName::new(fresh("adapter")).unwrap();
    let created = kafka.create_topics(vec![new_topic(&topic, partitions, &[])], SOON).await.unwrap();
    assert_eq!(created, [(topic.clone(), Ok(()))]);
    let numbers = 0..i32::try_from(partitions).unwrap();
    loop {
        let metadata = kafka.metadata(std::slice::from_ref(&topic)).await.unwrap();
        let leader = metadata.topics[0].partitions.as_ref().ok().and_then(|known| known.first()?.leader);
        if let Some(leader) = leader {
            let ask = |partition| ListOffset { at: at(&topic, partition), start: StartAt::Latest };
            let listed = kafka.list_offsets(leader, numbers.clone().map(ask).collect()).await.unwrap();
            if listed.iter().all(|listed| offset(listed) == Ok(Some(Offset(0)))) {
                return (topic, leader);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn at(topic: &TopicName, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.clone(), partition: PartitionId(partition) }
}

fn record(key: Option<&'static str>, value: Option<&'static str>, millis: i64) -> Arc<OutgoingRecord> {
    let header = |key, value| Header { key: Bytes::from_static(key), value: Some(Bytes::from_static(value)) };
    Arc::new(OutgoingRecord {
        key: key.map(Bytes::from),
        value: value.map(Bytes::from),
        headers: vec![header(b"ce_id", b"1"), header(b"empty", b"")],
        timestamp: WallTime::from_millis(millis),
    })
}

async fn produce(
    kafka: &KafkaClient,
    at: TopicPartition,
    leader: BrokerId,
    records: Vec<Arc<OutgoingRecord>>,
) -> Result<Offset, PortError> {
    let request = ProduceRequest { at, leader, records, timeout: SOON };
    kafka.produce(request).await.map(|answer| answer.base_offset)
}

fn fetch_of(partitions: &[(TopicPartition, i64)], wait: Duration) -> FetchRequest {
    let partition = |(at, offset): &(TopicPartition, i64)| FetchPartition {
        at: at.clone(),
        offset: Offset(*offset),
        leader_epoch: Some(LeaderEpoch(0)),
        last_fetched_epoch: None,
        max_bytes: 1 << 20,
    };
    FetchRequest {
        wait,
        max_bytes: 10 << 20,
        read_committed: true,
        partitions: partitions.iter().map(partition).collect(),
    }
}

fn only(mut fetched: Vec<FetchedPartition>) -> Result<FetchAnswer, ErrorCode> {
    assert_eq!(fetched.len(), 1);
    fetched.remove(0).outcome
}

fn decode(answer: &FetchAnswer) -> Vec<Record> {
    RecordBatchDecoder::decode_all(&mut answer.batches.bytes.clone())
        .unwrap()
        .into_iter()
        .flat_map(|batch| batch.records)
        .collect()
}

#[tokio::test]
async fn an_unknown_topic_is_told_and_not_created() {
    let kafka = connect().await;
    let (known, leader) = create(&kafka, 2).await;
    let unknown = TopicName::new(fresh("unknown")).unwrap();
    for _ in 0..2 {
        let metadata = kafka.metadata(&[unknown.clone(), known.clone()]).await.unwrap();
        assert!(!metadata.brokers.is_empty());
        assert_eq!(metadata.topics[0].topic, unknown);
        assert_eq!(metadata.topics[0].partitions, Err(ErrorCode::UnknownTopicOrPartition));
        assert_eq!(metadata.topics[1].topic, known);
        assert_eq!(metadata.topics[0].id, None);
        assert!(metadata.topics[1].id.is_some(), "Kafka tells ids since 2.8");
        let partitions = metadata.topics[1].partitions.as_ref().unwrap();
        let numbers: Vec<_> = partitions.iter().map(|p| p.partition.0).collect();
        assert_eq!(numbers, [0, 1]);
        assert!(partitions.iter().all(|p| p.leader.is_some() && p.leader_epoch.is_some()));
    }
    let unknown_error = Err(PortError::Refused(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(kafka.limits(&unknown).await, unknown_error.clone().map(|()| unreachable!()));
    let produced = produce(&kafka, at(&unknown, 0), leader, vec![record(None, None, 1)]).await;
    assert_eq!(produced, unknown_error.map(|()| unreachable!()));
    let listed = vec![ListOffset { at: at(&unknown, 0), start: StartAt::Latest }];
    let listed = kafka.list_offsets(leader, listed).await.unwrap();
    assert_eq!(listed[0].outcome, Err(ErrorCode::UnknownTopicOrPartition));
    let fetched = kafka.fetch(leader, fetch_of(&[(at(&unknown, 0), 0)], Duration::ZERO)).await.unwrap();
    assert_eq!(only(fetched).unwrap_err(), ErrorCode::UnknownTopicOrPartition);
}

#[tokio::test]
async fn topics_are_created_with_their_configurations() {
    let kafka = connect().await;
    let topic = || TopicName::new(fresh("configured")).unwrap();
    let (good, bad, none, again) = (topic(), topic(), topic(), topic());
    let limit = &[("max.message.bytes", "54321"), ("cleanup.policy", "compact")][..];
    let asked = vec![
        new_topic(&good, 3, limit),
        new_topic(&bad, 1, &[("cleanup.policy", "burn")]),
        new_topic(&none, 0, &[]),
        NewTopic { replication_factor: Some(9), ..new_topic(&again, 1, &[]) },
    ];
    let created = kafka.create_topics(asked, SOON).await.unwrap();
    let expected = [
        (good.clone(), Ok(())),
        (bad, Err(ErrorCode::InvalidConfig)),
        (none, Err(ErrorCode::InvalidPartitions)),
        (again.clone(), Err(ErrorCode::InvalidReplicationFactor)),
    ];
    assert_eq!(created, expected);
    let asked =
        vec![new_topic(&good, 1, &[]), NewTopic { replication_factor: None, ..new_topic(&again, 1, &[]) }];
    let created = kafka.create_topics(asked, SOON).await.unwrap();
    assert_eq!(created, [(good.clone(), Err(ErrorCode::TopicAlreadyExists)), (again.clone(), Ok(()))]);
    // A new topic's configuration reaches the broker a moment later.
    let limits = loop {
        match kafka.limits(&good).await {
            Ok(limits) => break limits,
            Err(error) => assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition)),
        }
    };
    assert_eq!(limits.max_message_bytes, 54_321);
}

#[tokio::test]
async fn what_was_produced_is_fetched() {
    let kafka = connect().await;
    let (topic, leader) = create(&kafka, 2).await;
    let records = vec![
        record(Some("k"), Some("first"), 1_000),
        record(None, Some(""), 2_000),
        record(Some("k"), None, 3_000),
    ];
    let base = produce(&kafka, at(&topic, 0), leader, records.clone()).await;
    assert_eq!(base, Ok(Offset(0)));
    assert_eq!(produce(&kafka, at(&topic, 0), leader, records).await, Ok(Offset(3)));
    let both = [(at(&topic, 0), 1), (at(&topic, 1), 0)];
    let fetched = kafka.fetch(leader, fetch_of(&both, Duration::from_millis(100))).await.unwrap();
    let outcomes: BTreeMap<_, _> = fetched.into_iter().map(|f| (f.at, f.outcome.unwrap())).collect();
    let full = &outcomes[&at(&topic, 0)];
    assert_eq!((full.log_start, full.high_watermark), (Offset(0), Offset(6)));
    assert!(full.batches.aborted.is_empty());
    let records = decode(full);
    // Whole batches come, from the one with the wanted offset on.
    let offsets: Vec<_> = records.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5]);
    let bytes = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    assert_eq!((&records[0].key, &records[0].value), (&bytes("k"), &bytes("first")));
    assert_eq!((&records[1].key, &records[1].value), (&None, &bytes("")));
    assert_eq!((&records[2].key, &records[2].value), (&bytes("k"), &None));
    assert_eq!(records[2].timestamp, 3_000);
    let headers: Vec<_> = records[0].headers.iter().map(|(key, value)| (&**key, value.clone())).collect();
    assert_eq!(headers, [("ce_id", bytes("1")), ("empty", bytes(""))]);
    let empty = &outcomes[&at(&topic, 1)];
    assert_eq!((empty.high_watermark, empty.batches.bytes.len()), (Offset(0), 0));
}

#[tokio::test]
async fn a_log_that_ends_before_what_was_read_of_it_says_where() {
    let kafka = connect().await;
    let (topic, leader) = create(&kafka, 1).await;
    let records = vec![record(None, Some("a"), 1_000), record(None, Some("b"), 2_000)];
    assert_eq!(produce(&kafka, at(&topic, 0), leader, records).await, Ok(Offset(0)));
    let told = async |offset, last_fetched_epoch| {
        let mut request = fetch_of(&[(at(&topic, 0), offset)], Duration::from_millis(100));
        request.partitions[0].last_fetched_epoch = last_fetched_epoch;
        let answer = only(kafka.fetch(leader, request).await.unwrap());
        answer.map(|answer| (answer.diverging, answer.batches.bytes.is_empty()))
    };
    let epoch = LeaderEpoch(0);
    assert_eq!(told(2, Some(epoch)).await, Ok((None, true)), "all was read");
    assert_eq!(told(0, Some(epoch)).await, Ok((None, false)));
    let left = EpochEnd { epoch, end: Offset(2) };
    assert_eq!(told(5, Some(epoch)).await, Ok((Some(left), true)));
    assert_eq!(told(5, None).await, Err(ErrorCode::OffsetOutOfRange), "nothing is known of what was read");
}

#[tokio::test]
async fn offsets_are_found_by_position_and_by_time() {
    let kafka = connect().await;
    let (topic, leader) = create(&kafka, 2).await;
    let records = [1_000, 2_000, 3_000].map(|millis| record(None, Some("x"), millis));
    produce(&kafka, at(&topic, 0), leader, records.to_vec()).await.unwrap();
    for (partition, start, found) in [
        (0, StartAt::Earliest, Some(0)),
        (0, StartAt::Latest, Some(3)),
        (0, StartAt::Timestamp(WallTime::from_millis(2_000)), Some(1)),
        (0, StartAt::Timestamp(WallTime(2_000_001)), Some(2)),
        (0, StartAt::Timestamp(WallTime::from_millis(3_001)), None),
        (1, StartAt::Earliest, Some(0)),
        (1, StartAt::Latest, Some(0)),
        (1, StartAt::Timestamp(WallTime::from_millis(1)), None),
    ] {
        let asked = vec![ListOffset { at: at(&topic, partition), start }];
        let listed = kafka.list_offsets(leader, asked).await.unwrap();
        assert_eq!(offset(&listed[0]), Ok(found.map(Offset)), "{partition} {start:?}");
        if (partition, start) == (0, StartAt::Earliest) {
            let epoch = listed[0].outcome.unwrap().unwrap().leader_epoch;
            assert_eq!(epoch, Some(LeaderEpoch(0)), "a cut below the start is told by it");
        }
    }
}

#[tokio::test]
async fn a_fetch_waits_for_records_and_only_as_long_as_it_was_told() {
    let kafka = connect().await;
    let (topic, leader) = create(&kafka, 1).await;
    let wanted = [(at(&topic, 0), 0)];
    let begun = std::time::Instant::now();
    let fetched = kafka.fetch(leader, fetch_of(&wanted, Duration::from_millis(300))).await.unwrap();
    assert!(only(fetched).unwrap().batches.bytes.is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let reader = kafka.session();
    let waiting = tokio::spawn(async move { reader.fetch(leader, fetch_of(&wanted, SOON)).await });
    produce(&kafka, at(&topic, 0), leader, vec![record(None, Some("at last"), 1)]).await.unwrap();
    assert_eq!(decode(&only(waiting.await.unwrap().unwrap()).unwrap()).len(), 1);
    let beyond = kafka.fetch(leader, fetch_of(&[(at(&topic, 0), 99)], Duration::ZERO)).await.unwrap();
    assert_eq!(only(beyond).unwrap_err(), ErrorCode::OffsetOutOfRange);
    let mut newer = fetch_of(&[(at(&topic, 0), 0)], Duration::ZERO);
    newer.partitions[0].leader_epoch = Some(LeaderEpoch(99));
    let fetched = kafka.fetch(leader, newer).await.unwrap();
    assert_eq!(only(fetched).unwrap_err(), ErrorCode::UnknownLeaderEpoch);
}

#[tokio::test]
async fn batches_to_many_partitions_are_produced_at_once() {
    let kafka = connect().await;
    let (topic, leader) = create(&kafka, 8).await;
    let calls = (0..64).map(|n| {
        let (kafka, at) = (kafka.clone(), at(&topic, n % 8));
        tokio::spawn(async move { produce(&kafka, at, leader, vec![record(None, Some("x"), 1)]).await })
    });
    let mut offsets = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        offsets.push(call.await.unwrap().unwrap().0);
    }
    offsets.sort_unstable();
    let expected: Vec<_> = (0..8).flat_map(|offset| [offset; 8]).collect();
    assert_eq!(offsets, expected);
}

#[tokio::test]
async fn a_batch_over_the_topics_limit_is_refused() {
    let kafka = connect().await;
    let (topic, leader) = create(&kafka, 1).await;
    let large = OutgoingRecord {
        key: None,
        value: Some(vec![b'x'; 2_000_000].into()),
        headers: Vec::new(),
        timestamp: WallTime::from_millis(1),
    };
    let produced = produce(&kafka, at(&topic, 0), leader, vec![Arc::new(large)]).await;
    assert_eq!(produced, Err(PortError::Refused(ErrorCode::MessageTooLarge)));
    assert_eq!(produce(&kafka, at(&topic, 0), leader, vec![record(None, None, 1)]).await, Ok(Offset(0)));
}

/// A broker of a test's own, which it may kill.
struct OwnBroker {
    directory: String,
    address: String,
}

impl OwnBroker {
    fn script(arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("services/kafka");
        let output = Command::new(script).args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn start() -> Self {
        let directory = format!("{}/{}", env!("CARGO_TARGET_TMPDIR"), fresh("broker"));
        let printed = Self::script(&["start", "--dir", &directory]);
        let address = printed.trim().split_once('=').unwrap().1.to_owned();
        Self { directory, address }
    }

    fn kill(&self) {
        let pid = std::fs::read_to_string(format!("{}/node-1/pid", self.directory)).unwrap();
        assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        Self::script(&["stop", "--dir", &self.directory]);
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test]
async fn a_broker_killed_in_the_middle_of_a_request_leaves_the_outcome_open() {
    let broker = OwnBroker::start();
    let kafka = Kafka::new([broker.address.clone()]).connect().await.unwrap();
    let (topic, leader) = create(&kafka, 1).await;
    produce(&kafka, at(&topic, 0), leader, vec![record(None, None, 1)]).await.unwrap();
    let reader = kafka.session();
    let wanted = [(at(&topic, 0), 1)];
    // The first fetch connects, so that the second is at the broker when it dies.
    reader.fetch(leader, fetch_of(&wanted, Duration::ZERO)).await.unwrap();
    let waiting = tokio::spawn(async move { reader.fetch(leader, fetch_of(&wanted, SOON)).await });
    // This runtime has one thread: by now each task has done all it can, so the request has left.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    broker.kill();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, PortError::Unknown { .. }), "{error}");
    let error = produce(&kafka, at(&topic, 0), leader, vec![record(None, None, 1)]).await.unwrap_err();
    assert!(!matches!(error, PortError::Refused(_)), "{error}");
    // The connections learn one by one that the broker has gone; then its port is closed.
    let error = loop {
        let error = kafka.metadata(&[]).await.unwrap_err();
        if error.to_string().contains("refused") {
            break error;
        }
    };
    let text = error.to_string();
    assert!(matches!(error, PortError::Unreachable { .. }), "{text}");
    assert!(text.contains(&broker.address) && text.contains("after"), "{text}");
}
