//! Members of a group: joining, leaving, committing.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use evenkeel::kafka::KafkaClient;
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{
    BrokerId, Generation, GroupName, LeaderEpoch, MemberId, Offset, PartitionId, TopicName,
};
use evenkeel_core::ports::{
    Commit, CommitRequest, Coordinator, HeartbeatRequest, JoinAnswer, JoinRequest, LeaveRequest, PortError,
    Protocol, StoredOffset, SyncRequest,
};

use super::{SOON, at, connect, create, fresh};

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
