//! The `Coordinator` port: the classic group protocol and the group's offsets.
//!
//! Join, sync and heartbeat go over the session's membership connection, for the broker parks the first two. Leaving
//! does not: it must not wait behind a join that is parked.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use evenkeel_core::error::{ErrorCode, Remedy};
use evenkeel_core::model::{
    BrokerId, Generation, GroupName, MemberId, Offset, PartitionId, TopicName, TopicPartition,
};
use evenkeel_core::ports::{
    Commit, CommitRequest, Coordinator, HeartbeatRequest, JoinAnswer, JoinMember, JoinRequest, LeaveRequest,
    PortError, StoredOffset, SyncRequest,
};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{self, GroupId};
use kafka_protocol::protocol::StrBytes;

use super::KafkaClient;
use super::api::OFFSET_FETCH_STABLE;
use super::broker::{by_topic, known_epoch, millis, missing, refusal, text, topic_name, wire_epoch};

/// The kind of group that Kafka's own tools know how to read.
const CONSUMER: StrBytes = StrBytes::from_static_str("consumer");
/// The number of a group among the kinds of things that have a coordinator.
const GROUP_KEY: i8 = 0;
/// The most bytes of metadata in one OffsetCommit. Kafka 4.1 writes a commit as one batch: 250 partitions with 4,096
/// bytes each pass, 260 fail. Half of that leaves room for names and for smaller limits.
const MAX_COMMIT_METADATA: usize = 512 * 1024;

impl Coordinator for KafkaClient {
    fn session(&self) -> Self {
        Self::session(self)
    }

    async fn find_coordinator(&self, group: &GroupName) -> Result<BrokerId, PortError> {
        let limit = self.cluster.settings().limits.request;
        let (answer, server) = self.cluster.ask_any(limit, |_| find_coordinator_request(group)).await?;
        if let Err(code) = refusal(answer.error_code) {
            if code.remedy() != Remedy::GiveUp {
                self.cluster.turn_away(&server).await;
            }
            return Err(code.into());
        }
        let broker = BrokerId(answer.node_id.0);
        self.cluster.learn_address(broker, &answer.host, answer.port);
        Ok(broker)
    }

    async fn join(
        &self,
        broker: BrokerId,
        request: JoinRequest,
    ) -> Result<JoinAnswer, (PortError, MemberId)> {
        self.session.set_rebalance_timeout(request.rebalance_timeout);
        let limit = request.rebalance_timeout.saturating_add(self.cluster.settings().limits.rebalance_grace);
        let lane = &self.session.membership;
        let (answer, server) = self
            .cluster
            .ask_in(lane, broker, limit, |_| join_request(&request))
            .await
            .map_err(|error| (error, request.member.clone()))?;
        if let Err(code) = refusal(answer.error_code) {
            let member = match code {
                ErrorCode::MemberIdRequired => member_id(&answer.member_id),
                _ => request.member,
            };
            return Err((code.into(), member));
        }
        let Some(protocol) = &answer.protocol_name else {
            return Err((missing(&server, "protocol", &request.group), request.member));
        };
        Ok(JoinAnswer {
            generation: Generation(answer.generation_id),
            protocol: Arc::from(&**protocol),
            leader: member_id(&answer.leader),
            member: member_id(&answer.member_id),
            members: answer
                .members
                .into_iter()
                .map(|member| JoinMember {
                    member: member_id(&member.member_id),
                    instance: member.group_instance_id.map(|id| Arc::from(&*id)),
                    metadata: member.metadata,
                })
                .collect(),
        })
    }

    async fn sync(&self, broker: BrokerId, request: SyncRequest) -> Result<Bytes, PortError> {
        let limit =
            self.session.rebalance_timeout().saturating_add(self.cluster.settings().limits.rebalance_grace);
        let lane = &self.session.membership;
        let (answer, _) = self.cluster.ask_in(lane, broker, limit, |_| sync_request(&request)).await?;
        refusal(answer.error_code)?;
        Ok(answer.assignment)
    }

    async fn heartbeat(&self, broker: BrokerId, request: HeartbeatRequest) -> Result<(), PortError> {
        let limit = self.cluster.settings().limits.heartbeat;
        let lane = &self.session.membership;
        let (answer, _) = self.cluster.ask_in(lane, broker, limit, |_| heartbeat_request(&request)).await?;
        Ok(refusal(answer.error_code)?)
    }

    async fn leave(&self, broker: BrokerId, request: LeaveRequest) -> Result<(), PortError> {
        let limit = self.cluster.settings().limits.request;
        let (answer, _) = self.cluster.ask(broker, limit, |_| leave_request(&request)).await?;
        refusal(answer.error_code)?;
        for member in &answer.members {
            refusal(member.error_code)?;
        }
        Ok(())
    }

    async fn commit(
        &self,
        broker: BrokerId,
        request: CommitRequest,
    ) -> Result<Vec<Result<(), ErrorCode>>, PortError> {
        let limit = self.cluster.settings().limits.request;
        let mut outcomes = Vec::with_capacity(request.commits.len());
        for part in commit_parts(&request.commits, MAX_COMMIT_METADATA) {
            let commits = &request.commits[part];
            let build = |_| commit_request(&request, commits);
            let (answer, server) = self.cluster.ask(broker, limit, build).await?;
            let told: BTreeMap<_, _> = answer
                .topics
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(|p| ((&*topic.name.0, p.partition_index), p)))
                .collect();
            for Commit { at, .. } in commits {
                let told = told
                    .get(&(at.topic.as_str(), at.partition.0))
                    .ok_or_else(|| missing(&server, "partition", at))?;
                outcomes.push(refusal(told.error_code));
            }
        }
        Ok(outcomes)
    }

    async fn committed(
        &self,
        broker: BrokerId,
        group: &GroupName,
        topics: Vec<(TopicName, Vec<PartitionId>)>,
    ) -> Result<Vec<(TopicPartition, Result<Option<StoredOffset>, ErrorCode>)>, PortError> {
        let limit = self.cluster.settings().limits.request;
        let build = |version| committed_request(group, &topics, version);
        let (answer, server) = self.cluster.ask(broker, limit, build).await?;
        refusal(answer.error_code)?;
        let told: BTreeMap<_, _> = answer
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|p| ((&*topic.name.0, p.partition_index), p)))
            .collect();
        let asked = topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(|partition| TopicPartition { topic: topic.clone(), partition: *partition })
        });
        asked
            .map(|at| {
                let told = told
                    .get(&(at.topic.as_str(), at.partition.0))
                    .ok_or_else(|| missing(&server, "partition", &at))?;
                let stored = refusal(told.error_code).map(|()| {
                    (told.committed_offset >= 0).then(|| StoredOffset {
                        offset: Offset(told.committed_offset),
                        leader_epoch: known_epoch(told.committed_leader_epoch),
                        metadata: told.metadata.as_deref().unwrap_or_default().into(),
                    })
                });
                Ok((at, stored))
            })
            .collect()
    }
}

fn member_id(id: &StrBytes) -> MemberId {
    MemberId(Arc::from(&**id))
}

fn group_id(group: &GroupName) -> GroupId {
    GroupId(text(group.as_str()))
}

fn instance_id(instance: Option<&Arc<str>>) -> Option<StrBytes> {
    instance.map(|id| text(id))
}

/// Splits commits so that no part carries more metadata than `most`, unless one alone does.
fn commit_parts(commits: &[Commit], most: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut begin, mut weight) = (0, 0);
    for (index, commit) in commits.iter().enumerate() {
        let more = commit.metadata.len();
        if index > begin && weight + more > most {
            parts.push(begin..index);
            (begin, weight) = (index, 0);
        }
        weight += more;
    }
    if begin < commits.len() {
        parts.push(begin..commits.len());
    }
    parts
}

pub(super) fn find_coordinator_request(group: &GroupName) -> messages::FindCoordinatorRequest {
    messages::FindCoordinatorRequest::default().with_key(text(group.as_str())).with_key_type(GROUP_KEY)
}

pub(super) fn join_request(request: &JoinRequest) -> messages::JoinGroupRequest {
    let protocols = request.protocols.iter().map(|protocol| {
        JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str(protocol.name))
            .with_metadata(protocol.metadata.clone())
    });
    messages::JoinGroupRequest::default()
        .with_group_id(group_id(&request.group))
        .with_session_timeout_ms(millis(request.session_timeout))
        .with_rebalance_timeout_ms(millis(request.rebalance_timeout))
        .with_member_id(text(&request.member.0))
        .with_group_instance_id(instance_id(request.instance.as_ref()))
        .with_protocol_type(CONSUMER)
        .with_protocols(protocols.collect())
}

pub(super) fn sync_request(request: &SyncRequest) -> messages::SyncGroupRequest {
    let assignments = request.assignments.iter().map(|(member, assignment)| {
        SyncGroupRequestAssignment::default()
            .with_member_id(text(&member.0))
            .with_assignment(assignment.clone())
    });
    messages::SyncGroupRequest::default()
        .with_group_id(group_id(&request.group))
        .with_generation_id(request.generation.0)
        .with_member_id(text(&request.member.0))
        .with_group_instance_id(instance_id(request.instance.as_ref()))
        .with_assignments(assignments.collect())
}

pub(super) fn heartbeat_request(request: &HeartbeatRequest) -> messages::HeartbeatRequest {
    messages::HeartbeatRequest::default()
        .with_group_id(group_id(&request.group))
        .with_generation_id(request.generation.0)
        .with_member_id(text(&request.member.0))
        .with_group_instance_id(instance_id(request.instance.as_ref()))
}

pub(super) fn leave_request(request: &LeaveRequest) -> messages::LeaveGroupRequest {
    let member = MemberIdentity::default()
        .with_member_id(text(&request.member.0))
        .with_group_instance_id(instance_id(request.instance.as_ref()));
    messages::LeaveGroupRequest::default().with_group_id(group_id(&request.group)).with_members(vec![member])
}

pub(super) fn commit_request(request: &CommitRequest, commits: &[Commit]) -> messages::OffsetCommitRequest {
    let topics = by_topic(commits.iter().map(|commit| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(commit.at.partition.0)
            .with_committed_offset(commit.offset.0)
            .with_committed_leader_epoch(wire_epoch(commit.leader_epoch))
            .with_committed_metadata(Some(text(&commit.metadata)));
        (&commit.at, partition)
    }));
    let topics = topics.into_iter().map(|(topic, partitions)| {
        OffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(partitions)
    });
    messages::OffsetCommitRequest::default()
        .with_group_id(group_id(&request.group))
        .with_generation_id_or_member_epoch(request.generation.0)
        .with_member_id(text(&request.member.0))
        .with_group_instance_id(instance_id(request.instance.as_ref()))
        .with_topics(topics.collect())
}

/// Where the broker can, it answers only once open transactions have decided the group's offsets.
pub(super) fn committed_request(
    group: &GroupName,
    topics: &[(TopicName, Vec<PartitionId>)],
    version: i16,
) -> messages::OffsetFetchRequest {
    let topics = topics.iter().map(|(topic, partitions)| {
        OffsetFetchRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partition_indexes(partitions.iter().map(|partition| partition.0).collect())
    });
    messages::OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_topics(Some(topics.collect()))
        .with_require_stable(version >= OFFSET_FETCH_STABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(partition: i32, metadata: usize) -> Commit {
        Commit {
            at: TopicPartition {
                topic: TopicName::new("orders").unwrap(),
                partition: PartitionId(partition),
            },
            offset: Offset(1),
            leader_epoch: None,
            metadata: "x".repeat(metadata).into(),
        }
    }

    #[test]
    fn commits_are_split_by_the_weight_of_their_metadata() {
        for (weights, sizes) in [
            (&[][..], &[][..]),
            (&[0, 0, 0], &[3]),
            (&[5, 5], &[2]),
            (&[5, 6], &[1, 1]),
            (&[11], &[1]),
            (&[1, 11, 1], &[1, 1, 1]),
            (&[4, 4, 4, 4, 4], &[2, 2, 1]),
        ] {
            let commits: Vec<_> = weights.iter().map(|weight| commit(0, *weight)).collect();
            let parts = commit_parts(&commits, 10);
            assert_eq!(parts.iter().map(Range::len).collect::<Vec<_>>(), sizes, "{weights:?}");
            assert!(parts.into_iter().flatten().eq(0..weights.len()), "{weights:?}");
        }
    }
}
