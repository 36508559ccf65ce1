//! The Kafka adapter against a real Apache Kafka: each port request, and what its refusals and failures let conclude.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use evenkeel::kafka::{Kafka, KafkaClient};
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{
    BrokerId, Generation, GroupName, Header, LeaderEpoch, MemberId, Offset, PartitionId, TopicName,
    TopicPartition, WallTime,
};
use evenkeel_core::ports::{
    Broker, Commit, CommitRequest, Coordinator, EpochEnd, FetchAnswer, FetchPartition, FetchRequest,
    FetchedPartition, HeartbeatRequest, JoinAnswer, JoinRequest, LeaveRequest, ListOffset, NewTopic,
    OutgoingRecord, PortError, ProduceRequest, Protocol, StartAt, StoredOffset, SyncRequest,
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
            if listed.iter().all(|listed| listed.outcome == Ok(Some(Offset(0)))) {
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
        assert_eq!(listed[0].outcome, Ok(found.map(Offset)), "{partition} {start:?}");
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

/// A member of a group, as far as the tests need one.
struct Member {
    kafka: KafkaClient,
    group: GroupName,
    coordinator: BrokerId,
    topic: TopicName,
    id: MemberId,
    generation: Generation,
}

impl Member {
    async fn new(kafka: &KafkaClient, group: &GroupName, topic: &TopicName) -> Self {
        let kafka = kafka.session();
        let coordinator = loop {
            // The first group of a new cluster has to wait until the offsets topic exists.
            match kafka.find_coordinator(group).await {
                Ok(coordinator) => break coordinator,
                Err(error) => assert_eq!(error.code(), Some(ErrorCode::CoordinatorNotAvailable)),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let (group, topic) = (group.clone(), topic.clone());
        Self { kafka, group, coordinator, topic, id: MemberId::default(), generation: Generation(-1) }
    }

    /// A `ConsumerProtocolSubscription`, version 0, of one topic.
    fn subscription(&self) -> Bytes {
        let name = self.topic.as_str();
        let mut bytes = BytesMut::new();
        bytes.put_i16(0);
        bytes.put_i32(1);
        bytes.put_i16(i16::try_from(name.len()).unwrap());
        bytes.put_slice(name.as_bytes());
        bytes.put_i32(-1);
        bytes.freeze()
    }

    async fn join(&mut self) -> JoinAnswer {
        loop {
            let request = JoinRequest {
                group: self.group.clone(),
                member: self.id.clone(),
                instance: None,
                session_timeout: Duration::from_secs(10),
                rebalance_timeout: SOON,
                protocols: vec![Protocol { name: "range", metadata: self.subscription() }],
            };
            match self.kafka.join(self.coordinator, request).await {
                Ok(answer) => {
                    self.id = answer.member.clone();
                    self.generation = answer.generation;
                    return answer;
                }
                Err((error, id)) => {
                    let patience = [
                        ErrorCode::MemberIdRequired,
                        ErrorCode::NotCoordinator,
                        ErrorCode::CoordinatorLoadInProgress,
                    ];
                    assert!(error.code().is_some_and(|code| patience.contains(&code)), "{error}");
                    assert_eq!(error.code() == Some(ErrorCode::MemberIdRequired), id != self.id);
                    self.id = id;
                }
            }
        }
    }

    async fn sync(&self, assignments: Vec<(MemberId, Bytes)>) -> Result<Bytes, PortError> {
        let request = SyncRequest {
            group: self.group.clone(),
            generation: self.generation,
            member: self.id.clone(),
            instance: None,
            protocol: "range".into(),
            assignments,
        };
        self.kafka.sync(self.coordinator, request).await
    }

    async fn heartbeat(&self) -> Result<(), PortError> {
        let request = HeartbeatRequest {
            group: self.group.clone(),
            generation: self.generation,
            member: self.id.clone(),
            instance: None,
        };
        self.kafka.heartbeat(self.coordinator, request).await
    }

    async fn leave(&self) -> Result<(), PortError> {
        let request = LeaveRequest { group: self.group.clone(), member: self.id.clone(), instance: None };
        self.kafka.leave(self.coordinator, request).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<(), ErrorCode>>, PortError> {
        let request = CommitRequest {
            group: self.group.clone(),
            generation: self.generation,
            member: self.id.clone(),
            instance: None,
            commits,
        };
        self.kafka.commit(self.coordinator, request).await
    }

    async fn committed(&self, partitions: &[i32]) -> Vec<Result<Option<StoredOffset>, ErrorCode>> {
        let partitions = partitions.iter().copied().map(PartitionId).collect();
        let asked = vec![(self.topic.clone(), partitions)];
        let stored = self.kafka.committed(self.coordinator, &self.group, asked).await.unwrap();
        stored.into_iter().map(|(_, stored)| stored).collect()
    }
}

fn commit(topic: &TopicName, partition: i32, offset: i64, metadata: &str) -> Commit {
    Commit {
        at: at(topic, partition),
        offset: Offset(offset),
        leader_epoch: Some(LeaderEpoch(0)),
        metadata: metadata.into(),
    }
}

const REFUSED_REBALANCE: Result<(), PortError> = Err(PortError::Refused(ErrorCode::RebalanceInProgress));

#[tokio::test]
async fn two_members_share_a_group_and_keep_its_offsets() {
    let kafka = connect().await;
    let (topic, _) = create(&kafka, 3).await;
    let group = GroupName::new(fresh("group")).unwrap();
    let mut first = Member::new(&kafka, &group, &topic).await;
    let alone = first.join().await;
    assert_eq!(alone.leader, first.id);
    assert_eq!(alone.members.len(), 1);
    assert_eq!(alone.members[0].metadata, first.subscription());
    assert_eq!(first.sync(vec![(first.id.clone(), "all".into())]).await, Ok("all".into()));
    assert_eq!(first.heartbeat().await, Ok(()));
    let old_generation = first.generation;

    // The second one's join is parked until the first has joined again; each on its own connection.
    let mut second = Member::new(&kafka, &group, &topic).await;
    let joining = tokio::spawn(async move {
        let joined = second.join().await;
        (second, joined)
    });
    while first.heartbeat().await != REFUSED_REBALANCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = first.join().await;
    let (mut second, told_second) = joining.await.unwrap();
    assert_eq!(told.generation, told_second.generation);
    assert!(told.generation > old_generation);
    assert_eq!((&*told.protocol, &told.leader), ("range", &told_second.leader));
    assert_ne!(first.id, second.id);
    let (leader, follower) =
        if told.leader == first.id { (&mut first, &mut second) } else { (&mut second, &mut first) };
    let members: BTreeSet<_> = told.members.iter().chain(&told_second.members).map(|m| &m.member).collect();
    assert_eq!(members, BTreeSet::from([&leader.id, &follower.id]));
    let shares =
        vec![(leader.id.clone(), Bytes::from("leader's")), (follower.id.clone(), Bytes::from("follower's"))];
    let (led, followed) = tokio::join!(leader.sync(shares), follower.sync(Vec::new()));
    assert_eq!(led, Ok("leader's".into()));
    assert_eq!(followed, Ok("follower's".into()));

    // Outcomes come in the order of the request, whatever the order of partitions.
    let commits = vec![
        commit(&topic, 2, 7, "notes"),
        commit(&topic, 0, 5, ""),
        commit(&topic, 1, 1, &"x".repeat(4097)),
    ];
    let outcomes = follower.commit(commits).await.unwrap();
    assert_eq!(outcomes, [Ok(()), Ok(()), Err(ErrorCode::OffsetMetadataTooLarge)]);
    let stored = |offset, metadata: &str| {
        let leader_epoch = Some(LeaderEpoch(0));
        Ok(Some(StoredOffset { offset: Offset(offset), leader_epoch, metadata: metadata.into() }))
    };
    assert_eq!(leader.committed(&[0, 1, 2]).await, [stored(5, ""), Ok(None), stored(7, "notes")]);

    // What belongs to the past is refused, and changes nothing.
    let current = std::mem::replace(&mut follower.generation, old_generation);
    let outcomes = follower.commit(vec![commit(&topic, 0, 1, "late")]).await.unwrap();
    assert_eq!(outcomes, [Err(ErrorCode::IllegalGeneration)]);
    assert_eq!(follower.heartbeat().await, Err(PortError::Refused(ErrorCode::IllegalGeneration)));
    follower.generation = current;
    let known = std::mem::replace(&mut follower.id, MemberId("nobody".into()));
    let outcomes = follower.commit(vec![commit(&topic, 0, 1, "stranger")]).await.unwrap();
    assert_eq!(outcomes, [Err(ErrorCode::UnknownMemberId)]);
    assert_eq!(follower.sync(Vec::new()).await, Err(PortError::Refused(ErrorCode::UnknownMemberId)));
    assert_eq!(follower.leave().await, Err(PortError::Refused(ErrorCode::UnknownMemberId)));
    follower.id = known;
    assert_eq!(leader.committed(&[0]).await, [stored(5, "")]);

    assert_eq!(follower.leave().await, Ok(()));
    assert_eq!(leader.heartbeat().await, REFUSED_REBALANCE);
    assert_eq!(leader.leave().await, Ok(()));
}

#[tokio::test]
async fn a_member_can_leave_while_its_join_is_parked() {
    let kafka = connect().await;
    let (topic, _) = create(&kafka, 1).await;
    let group = GroupName::new(fresh("group")).unwrap();
    let mut first = Member::new(&kafka, &group, &topic).await;
    first.join().await;
    first.sync(vec![(first.id.clone(), "all".into())]).await.unwrap();
    let mut second = Member::new(&kafka, &group, &topic).await;
    let leaver = Member::new(&second.kafka, &group, &topic).await;
    let joining = tokio::spawn(async move { second.join().await });
    while first.heartbeat().await != REFUSED_REBALANCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The second member's connection is busy now with a join that nothing will answer soon.
    let stranger = Member { id: MemberId("nobody".into()), ..leaver };
    let left = tokio::time::timeout(Duration::from_secs(5), stranger.leave()).await.unwrap();
    assert_eq!(left, Err(PortError::Refused(ErrorCode::UnknownMemberId)));
    first.leave().await.unwrap();
    joining.await.unwrap();
}

#[tokio::test]
async fn commits_with_more_metadata_than_a_request_may_have_are_split() {
    let kafka = connect().await;
    let (topic, _) = create(&kafka, 300).await;
    let group = GroupName::new(fresh("group")).unwrap();
    let mut member = Member::new(&kafka, &group, &topic).await;
    member.join().await;
    member.sync(vec![(member.id.clone(), "all".into())]).await.unwrap();
    let full = "x".repeat(4096);
    let commits = (0..300).map(|partition| commit(&topic, partition, partition.into(), &full)).collect();
    let outcomes = member.commit(commits).await.unwrap();
    assert_eq!(outcomes, [Ok(()); 300]);
    let stored = member.committed(&[0, 299]).await;
    assert_eq!(stored[1].as_ref().unwrap().as_ref().unwrap().offset, Offset(299));
    assert_eq!(stored[0].as_ref().unwrap().as_ref().unwrap().metadata.len(), 4096);
    member.leave().await.unwrap();
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
