//! What machines ask of the cluster, as messages; and what was answered, as inputs of the machine that asked.
//!
//! The same judgement as the real client's: an answer that is not what was asked for is malformed, and a refusal after
//! an append leaves the append open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_cluster::message::{
    self, Acks, Answer, CommitOffsetsRequest, CommitPartition, CoordinatorKind, DescribeConfigsRequest,
    FetchOffsetsGroup, FetchOffsetsRequest, FetchSession, FindCoordinatorsRequest, JoinGroupRequest,
    LeaveGroupRequest, LeavingMember, ListOffsetsRequest, ListPartition, MetadataRequest, OfTopic,
    Place as LogPlace, ProducePartition, Request, Resource, SyncGroupRequest, TopicRef,
};
use evenkeel_core::error::{ErrorCode, Remedy};
use evenkeel_core::machine::consumer::{self, Arrival, Kept, PerPartition, Read, ReadFault};
use evenkeel_core::machine::{group, member, produce};
use evenkeel_core::model::{MemberId, Offset, PartitionId, RequestId, TopicId, TopicName, TopicPartition};
use evenkeel_core::ports::{
    CommitRequest, EpochEnd, FetchRequest, FoundOffset, HeartbeatRequest, JoinAnswer, JoinMember,
    JoinRequest, LeaveRequest, ListOffset, ListedOffset, Metadata, PartitionMetadata, PortError,
    ProduceAnswer, ProduceRequest, ResourceLimits, StartAt, StoredOffset, StoredOffsets, SyncRequest,
    TopicMetadata,
};
use evenkeel_core::records::{self, BatchOptions, Batches, Ended, RecordRef};

use crate::history::EventNo;
use crate::oversight::truth::event_of;
use crate::trace::digest_bytes;

/// A record as the machines carry it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    /// The workload's event.
    pub(super) event: EventNo,
    /// Where it was read.
    pub(super) offset: Offset,
}

impl Kept for Item {
    /// It shares nothing.
    fn detach(&mut self) {}
}

/// Something for one of the machines.
#[derive(Debug, Clone)]
pub(super) enum Input {
    Member(member::Input<Item>),
    Produce(produce::Input),
}

/// What was asked, as far as its answer needs it.
#[derive(Debug, Clone)]
pub(super) enum Question {
    Find { id: RequestId },
    Join { id: RequestId, member: MemberId },
    DescribeForGroup { id: RequestId, topics: Vec<TopicName> },
    Sync { id: RequestId },
    Heartbeat { id: RequestId },
    Leave { id: RequestId },
    Committed { id: RequestId, asked: Vec<TopicPartition> },
    Describe { id: RequestId, topics: Vec<TopicName> },
    List { id: RequestId, asked: Vec<TopicPartition> },
    Fetch { id: RequestId, asked: Vec<(TopicPartition, Offset)> },
    Commit { id: RequestId, asked: Vec<TopicPartition> },
    DescribeForProducer { id: RequestId, topics: Vec<TopicName> },
    Limits { id: RequestId },
    Send { id: RequestId, at: TopicPartition },
}

fn text(name: &str) -> Arc<str> {
    name.into()
}

fn by_topic<'a, T>(items: impl IntoIterator<Item = (&'a TopicPartition, T)>) -> Vec<OfTopic<T>> {
    let mut topics: Vec<OfTopic<T>> = Vec::new();
    for (at, item) in items {
        match topics.iter_mut().find(|entry| *entry.topic == *at.topic.as_str()) {
            Some(entry) => entry.partitions.push(item),
            None => topics.push(OfTopic { topic: text(at.topic.as_str()), partitions: vec![item] }),
        }
    }
    topics
}

/// What was told of a partition.
fn told<'a, T>(
    topics: &'a [OfTopic<T>],
    at: &TopicPartition,
    number: impl Fn(&T) -> PartitionId,
) -> Option<&'a T> {
    let topic = topics.iter().find(|entry| *entry.topic == *at.topic.as_str())?;
    topic.partitions.iter().find(|part| number(part) == at.partition)
}

pub(super) fn find(group: &str) -> Request {
    FindCoordinatorsRequest { kind: CoordinatorKind::Group, keys: vec![text(group)] }.into()
}

pub(super) fn join(request: JoinRequest) -> Request {
    JoinGroupRequest {
        group: text(request.group.as_str()),
        session_timeout: request.session_timeout,
        rebalance_timeout: request.rebalance_timeout,
        member: request.member.0,
        instance: request.instance,
        protocol_type: text("consumer"),
        protocols: request.protocols.into_iter().map(|p| (p.name.into(), p.metadata)).collect(),
        takes_id_first: true,
        may_skip_assignment: false,
    }
    .into()
}

pub(super) fn describe(topics: &[TopicName]) -> Request {
    let names = topics.iter().map(|topic| TopicRef::Name(text(topic.as_str()))).collect();
    MetadataRequest { topics: Some(names), may_create: false }.into()
}

pub(super) fn sync(request: SyncRequest) -> Request {
    SyncGroupRequest {
        group: text(request.group.as_str()),
        generation: request.generation,
        member: request.member.0,
        instance: request.instance,
        protocol_type: None,
        protocol: None,
        assignments: request.assignments.into_iter().map(|(member, share)| (member.0, share)).collect(),
    }
    .into()
}

pub(super) fn heartbeat(request: HeartbeatRequest) -> Request {
    message::HeartbeatRequest {
        group: text(request.group.as_str()),
        generation: request.generation,
        member: request.member.0,
        instance: request.instance,
    }
    .into()
}

pub(super) fn leave(request: LeaveRequest) -> Request {
    let member = LeavingMember { member: request.member.0, instance: request.instance };
    LeaveGroupRequest { group: text(request.group.as_str()), members: vec![member] }.into()
}

pub(super) fn committed(group: &str, topics: &[(TopicName, Vec<PartitionId>)]) -> Request {
    let wanted = topics
        .iter()
        .map(|(topic, partitions)| OfTopic { topic: text(topic.as_str()), partitions: partitions.clone() });
    let of_group = FetchOffsetsGroup { group: text(group), topics: Some(wanted.collect()) };
    FetchOffsetsRequest { groups: vec![of_group] }.into()
}

pub(super) fn list(partitions: &[ListOffset]) -> Request {
    let topics = by_topic(partitions.iter().map(|list| {
        let place = match list.start {
            StartAt::Earliest => LogPlace::Earliest,
            StartAt::Latest => LogPlace::Latest,
            StartAt::Timestamp(time) => LogPlace::Time(time),
        };
        (&list.at, ListPartition { partition: list.at.partition, leader_epoch: None, place })
    }));
    ListOffsetsRequest { read_committed: true, topics }.into()
}

pub(super) fn fetch(request: &FetchRequest) -> Request {
    let topics = by_topic(request.partitions.iter().map(|wanted| {
        let partition = message::FetchPartition {
            partition: wanted.at.partition,
            leader_epoch: wanted.leader_epoch,
            offset: wanted.offset,
            last_epoch: wanted.last_fetched_epoch,
            max_bytes: wanted.max_bytes as usize,
        };
        (&wanted.at, partition)
    }));
    message::FetchRequest {
        max_wait: request.wait,
        min_bytes: 1,
        max_bytes: request.max_bytes as usize,
        read_committed: request.read_committed,
        session: FetchSession::Whole,
        topics,
    }
    .into()
}

pub(super) fn commit(request: CommitRequest) -> Request {
    let topics = by_topic(request.commits.iter().map(|commit| {
        let part = CommitPartition {
            partition: commit.at.partition,
            offset: commit.offset,
            leader_epoch: commit.leader_epoch,
            metadata: Some(Arc::clone(&commit.metadata)),
        };
        (&commit.at, part)
    }));
    CommitOffsetsRequest {
        group: text(request.group.as_str()),
        generation: request.generation,
        member: request.member.0,
        instance: request.instance,
        topics,
    }
    .into()
}

pub(super) fn limits(topic: &TopicName) -> Request {
    let resource = (Resource::Topic(text(topic.as_str())), Some(vec![text("max.message.bytes")]));
    DescribeConfigsRequest { resources: vec![resource] }.into()
}

/// Records that the workload makes can be encoded.
pub(super) fn send(request: &ProduceRequest, timeout: Duration) -> Option<Request> {
    let records = request.records.iter().map(|record| &**record);
    let records = records::encode(records, BatchOptions::default()).ok()?;
    let batch = ProducePartition { partition: request.at.partition, records };
    let topics = by_topic([(&request.at, batch)]);
    Some(message::ProduceRequest { acks: Acks::All, timeout, transactional_id: None, topics }.into())
}

/// An answer of another kind than was asked for.
fn odd() -> PortError {
    PortError::Malformed { server: "the cluster".into(), cause: "it answered something else".into() }
}

impl Question {
    /// What it is, for traces.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Find { .. } => "find-coordinator",
            Self::Join { .. } => "join",
            Self::DescribeForGroup { .. } | Self::Describe { .. } | Self::DescribeForProducer { .. } => {
                "describe"
            }
            Self::Sync { .. } => "sync",
            Self::Heartbeat { .. } => "heartbeat",
            Self::Leave { .. } => "leave",
            Self::Committed { .. } => "fetch-offsets",
            Self::List { .. } => "list-offsets",
            Self::Fetch { .. } => "fetch",
            Self::Commit { .. } => "commit",
            Self::Limits { .. } => "limits",
            Self::Send { .. } => "produce",
        }
    }

    /// The partition that it is about, if it is about one.
    pub(super) fn about(&self) -> u64 {
        match self {
            Self::Send { at, .. } => digest_bytes(at.to_string().as_bytes()),
            _ => 0,
        }
    }

    /// The answer as an input.
    pub(super) fn answer(self, answer: Result<Answer, PortError>) -> Input {
        use consumer::Input as C;
        use group::Input as G;
        use produce::Input as P;
        let of_group = |input| Input::Member(member::Input::Group(input));
        let of_consumer = |input| Input::Member(member::Input::Consumer(input));
        match self {
            Self::Find { id } => of_group(G::CoordinatorFound { id, outcome: answer.and_then(found) }),
            Self::Join { id, member } => of_group(G::Joined { id, outcome: joined(answer, member) }),
            Self::DescribeForGroup { id, topics } => {
                let outcome = answer.and_then(|answer| described(answer, &topics)).and_then(counted);
                of_group(G::TopicsDescribed { id, outcome })
            }
            Self::Sync { id } => {
                let outcome = answer.and_then(|answer| match answer {
                    Answer::SyncGroup(answer) => Ok(answer.outcome?.assignment),
                    _ => Err(odd()),
                });
                of_group(G::Synced { id, outcome })
            }
            Self::Heartbeat { id } => {
                let outcome = answer.and_then(|answer| match answer {
                    Answer::Heartbeat(answer) => Ok(answer.outcome?),
                    _ => Err(odd()),
                });
                of_group(G::HeartbeatDone { id, outcome })
            }
            Self::Leave { id } => of_group(G::Left { id, outcome: answer.and_then(left) }),
            Self::Committed { id, asked } => {
                let outcome = answer.and_then(|answer| stored(answer, asked));
                of_consumer(C::Committed { id, outcome })
            }
            Self::Describe { id, topics } => {
                let outcome = answer.and_then(|answer| described(answer, &topics));
                of_consumer(C::Described { id, outcome })
            }
            Self::List { id, asked } => {
                let outcome = answer.and_then(|answer| listed(answer, asked));
                of_consumer(C::Listed { id, outcome })
            }
            Self::Fetch { id, asked } => {
                let outcome = answer.and_then(|answer| fetched(answer, asked));
                of_consumer(C::Fetched { id, outcome })
            }
            Self::Commit { id, asked } => {
                let outcome = answer.and_then(|answer| commit_done(answer, &asked));
                of_consumer(C::CommitDone { id, outcome })
            }
            Self::DescribeForProducer { id, topics } => {
                let outcome = answer.and_then(|answer| described(answer, &topics));
                Input::Produce(P::Described { id, outcome })
            }
            Self::Limits { id } => Input::Produce(P::LimitsKnown { id, outcome: answer.and_then(limits_of) }),
            Self::Send { id, at } => {
                let outcome = answer.and_then(|answer| appended(answer, &at));
                Input::Produce(P::Sent { id, outcome })
            }
        }
    }
}

fn found(answer: Answer) -> Result<evenkeel_core::model::BrokerId, PortError> {
    let Answer::FindCoordinators(answer) = answer else { return Err(odd()) };
    let (_, found) = answer.coordinators.into_iter().next().ok_or_else(odd)?;
    Ok(found.map_err(|refusal| refusal.code)?.broker)
}

fn joined(answer: Result<Answer, PortError>, own: MemberId) -> Result<JoinAnswer, (PortError, MemberId)> {
    let answer = match answer {
        Ok(Answer::JoinGroup(answer)) => answer,
        Ok(_) => return Err((odd(), own)),
        Err(error) => return Err((error, own)),
    };
    match answer.outcome {
        Ok(joined) => Ok(JoinAnswer {
            generation: joined.generation,
            protocol: joined.protocol,
            leader: MemberId(joined.leader),
            member: MemberId(answer.member),
            members: joined
                .members
                .into_iter()
                .map(|member| JoinMember {
                    member: MemberId(member.member),
                    instance: member.instance,
                    metadata: member.metadata,
                })
                .collect(),
        }),
        Err(ErrorCode::MemberIdRequired) => {
            Err((ErrorCode::MemberIdRequired.into(), MemberId(answer.member)))
        }
        Err(code) => Err((code.into(), own)),
    }
}

fn described(answer: Answer, topics: &[TopicName]) -> Result<Metadata, PortError> {
    let Answer::Metadata(answer) = answer else { return Err(odd()) };
    let topics = topics.iter().map(|topic| {
        let told = answer.topics.iter().find(|told| told.name.as_deref() == Some(topic.as_str()))?;
        let partitions = told.partitions.as_ref().map_err(|code| *code).map(|partitions| {
            let one = |told: &message::PartitionMetadata| PartitionMetadata {
                partition: told.partition,
                leader: told.leader,
                leader_epoch: Some(told.leader_epoch),
            };
            partitions.iter().map(one).collect()
        });
        let id = Some(told.id).filter(|id| *id != TopicId::default());
        Some(TopicMetadata { topic: topic.clone(), id, partitions })
    });
    let topics = topics.collect::<Option<_>>().ok_or_else(odd)?;
    Ok(Metadata { brokers: answer.brokers.iter().map(|address| address.broker).collect(), topics })
}

/// As the engine counts partitions for the group's leader.
fn counted(metadata: Metadata) -> Result<BTreeMap<TopicName, u32>, PortError> {
    let mut counts = BTreeMap::new();
    for described in metadata.topics {
        match described.partitions {
            Ok(partitions) => {
                counts.insert(described.topic, u32::try_from(partitions.len()).unwrap_or(u32::MAX));
            }
            Err(code) if code == ErrorCode::UnknownTopicOrPartition || code.remedy() == Remedy::GiveUp => {}
            Err(code) => return Err(PortError::Refused(code)),
        }
    }
    Ok(counts)
}

fn left(answer: Answer) -> Result<(), PortError> {
    let Answer::LeaveGroup(answer) = answer else { return Err(odd()) };
    for (_, outcome) in answer.outcome? {
        outcome?;
    }
    Ok(())
}

fn stored(answer: Answer, asked: Vec<TopicPartition>) -> Result<StoredOffsets, PortError> {
    let Answer::FetchOffsets(answer) = answer else { return Err(odd()) };
    let topics = answer.groups.into_iter().next().ok_or_else(odd)?.outcome?;
    let positions = asked.into_iter().map(|at| {
        let (_, stored) = told(&topics, &at, |(partition, _)| *partition)?;
        let stored = stored.as_ref().map(|stored| StoredOffset {
            offset: stored.offset,
            leader_epoch: stored.leader_epoch,
            metadata: Arc::clone(&stored.metadata),
        });
        Some((at, Ok(stored)))
    });
    positions.collect::<Option<_>>().ok_or_else(odd)
}

fn listed(answer: Answer, asked: Vec<TopicPartition>) -> Result<Vec<ListedOffset>, PortError> {
    let Answer::ListOffsets(answer) = answer else { return Err(odd()) };
    let listed = asked.into_iter().map(|at| {
        let told = told(&answer.topics, &at, |listed| listed.partition)?;
        Some(ListedOffset {
            at,
            outcome: told.outcome.map(|listed| {
                listed.map(|listed| FoundOffset { offset: listed.offset, leader_epoch: listed.leader_epoch })
            }),
        })
    });
    listed.collect::<Option<_>>().ok_or_else(odd)
}

fn fetched(
    answer: Answer,
    asked: Vec<(TopicPartition, Offset)>,
) -> Result<PerPartition<Read<Item>>, PortError> {
    let Answer::Fetch(answer) = answer else { return Err(odd()) };
    let topics = answer.outcome?;
    let fetched = asked.into_iter().map(|(at, from)| {
        let told = told(&topics, &at, |fetched| fetched.partition)?;
        let outcome = told.outcome.as_ref().map_err(|code| *code).map(|fetched| read(fetched, from));
        Some((at, outcome))
    });
    fetched.collect::<Option<_>>().ok_or_else(odd)
}

/// As the engine decodes what a fetch brought.
fn read(fetched: &message::Fetched, from: Offset) -> Read<Item> {
    let bytes = match &*fetched.batches {
        [] => bytes::Bytes::new(),
        [one] => one.clone(),
        many => many.concat().into(),
    };
    let decoded = records::decode(Batches { bytes, aborted: Vec::new() }, from);
    let fault = match &decoded.ended {
        Ended::Complete => {
            fetched.diverging.map(|(epoch, end)| ReadFault::Diverging(EpochEnd { epoch, end }))
        }
        Ended::TooShort { needs } => Some(ReadFault::TooSmall(u32::try_from(*needs).unwrap_or(u32::MAX))),
        Ended::Failed(error) => Some(ReadFault::Undecodable(error.to_string().into())),
    };
    let arrival = |record: RecordRef| Arrival {
        offset: record.offset(),
        key: record.key().map(digest_bytes),
        weight: u32::try_from(record.weight()).unwrap_or(u32::MAX).saturating_add(128),
        leader_epoch: record.batch().leader_epoch(),
        record: Item { event: event_of(&record).unwrap_or_default(), offset: record.offset() },
    };
    Read {
        records: decoded.records().map(arrival).collect(),
        next: decoded.next_offset,
        leader_epoch: decoded.leader_epoch,
        high_watermark: fetched.high_watermark,
        fault,
    }
}

fn commit_done(answer: Answer, asked: &[TopicPartition]) -> Result<Vec<Result<(), ErrorCode>>, PortError> {
    let Answer::CommitOffsets(answer) = answer else { return Err(odd()) };
    let outcomes =
        asked.iter().map(|at| told(&answer.topics, at, |(number, _)| *number).map(|(_, outcome)| *outcome));
    outcomes.collect::<Option<_>>().ok_or_else(odd)
}

fn limits_of(answer: Answer) -> Result<ResourceLimits, PortError> {
    let Answer::DescribeConfigs(answer) = answer else { return Err(odd()) };
    let (_, described) = answer.resources.into_iter().next().ok_or_else(odd)?;
    let entries = described.map_err(|refusal| refusal.code)?;
    let value = entries.first().and_then(|entry| entry.value.parse().ok());
    Ok(ResourceLimits { max_message_bytes: value.ok_or_else(odd)? })
}

fn appended(answer: Answer, at: &TopicPartition) -> Result<ProduceAnswer, PortError> {
    let Answer::Produce(answer) = answer else { return Err(odd()) };
    match &told(&answer.topics, at, |produced| produced.partition).ok_or_else(odd)?.outcome {
        Ok(appended) => Ok(ProduceAnswer { base_offset: appended.base_offset }),
        Err(refusal) => match refusal.code {
            // The leader has appended it, or may have.
            ErrorCode::RequestTimedOut
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::NetworkException
            | ErrorCode::UnknownServerError => Err(PortError::Unknown {
                server: "the leader".into(),
                cause: refusal.code.to_string().into(),
            }),
            code => Err(code.into()),
        },
    }
}
