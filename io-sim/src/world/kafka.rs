//! The `Broker` and `Coordinator` ports of one life of one process, over the world's network.
//!
//! It judges as the real client does. A connection that does not come about means that nothing was sent: unreachable.
//! From the moment a request is handed to a connection, anything but an answer leaves its outcome open; and a request
//! that is not answered in time takes its whole connection with it. Requests that a broker parks have lanes of their own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_channel::Receiver;
use bytes::Bytes;
use evenkeel_cluster::message::{
    self, Acks, Answer, CommitOffsetsRequest, CommitPartition, CoordinatorKind, CreateTopicsRequest,
    DescribeConfigsRequest, FetchOffsetsGroup, FetchOffsetsRequest, FetchSession, FindCoordinatorsRequest,
    JoinGroupRequest, LeaveGroupRequest, LeavingMember, ListOffsetsRequest, ListPartition, MetadataRequest,
    OfTopic, Place as LogPlace, ProducePartition, Request, Resource, SyncGroupRequest, TopicRef,
};
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{BrokerId, GroupName, MemberId, PartitionId, TopicId, TopicName, TopicPartition};
use evenkeel_core::ports::{
    Broker, CommitRequest, Coordinator, EpochEnd, FetchAnswer, FetchRequest, FetchedPartition, FoundOffset,
    HeartbeatRequest, JoinAnswer, JoinMember, JoinRequest, LeaveRequest, ListOffset, ListedOffset, Metadata,
    NewTopic, PartitionMetadata, PortError, ProduceAnswer, ProduceRequest, ResourceLimits, StartAt,
    StoredOffset, SyncRequest, TopicMetadata,
};
use evenkeel_core::records::{self, BatchOptions, Batches};

use super::runtime::SimRuntime;
use super::state::{Reply, Waiting};
use crate::faults::Chance;
use crate::network::link::{Link, Way};
use crate::network::{ConnectionId, Ticket};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a request may go without an answer.
const REQUEST: Duration = Duration::from_secs(30);
/// How long a heartbeat may.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// What a join may take beyond the rebalance timeout.
const GRACE: Duration = Duration::from_secs(5);
/// Stands for no broker in particular.
const ANY: BrokerId = BrokerId(-1);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// What any broker answers.
    Any,
    /// What a certain broker answers at once.
    Data,
    /// Batches of one partition.
    Produce(u64),
    /// Fetches of one session.
    Fetch(u64),
    /// Joins, syncs and heartbeats of one session.
    Membership(u64),
}

/// See the [module](self).
#[derive(Clone)]
pub(crate) struct SimKafka {
    runtime: SimRuntime,
    brokers: Arc<[BrokerId]>,
    sessions: Arc<AtomicU64>,
    session: u64,
    /// The rebalance timeout of the last join in nanoseconds: a sync is parked as long.
    rebalance: Arc<AtomicU64>,
}

impl SimKafka {
    pub(crate) fn new(runtime: SimRuntime, brokers: Arc<[BrokerId]>) -> Self {
        Self { runtime, brokers, sessions: Arc::default(), session: 0, rebalance: Arc::default() }
    }

    /// Asks a broker, or any.
    async fn ask(
        &self,
        lane: Lane,
        broker: Option<BrokerId>,
        limit: Duration,
        request: impl Into<Request>,
    ) -> Result<Answer, PortError> {
        let request = request.into();
        let (connection, broker) = match broker {
            Some(broker) => (self.connection(lane, broker, broker).await?, broker),
            None => self.any().await?,
        };
        let Some(answer) = self.send(connection, broker, limit, request) else {
            return Err(unreachable_(broker, "the connection broke before the request was sent"));
        };
        match answer.recv().await {
            Ok(Reply::Answer(answer)) => Ok(answer),
            Ok(Reply::TimedOut) => Err(unknown(broker, "no answer in time")),
            Ok(Reply::Reset | Reply::Connected(_) | Reply::Refused) | Err(_) => {
                Err(unknown(broker, "the connection broke"))
            }
        }
    }

    /// A connection to any broker: the one that is there, or the first that can be had.
    async fn any(&self) -> Result<(ConnectionId, BrokerId), PortError> {
        let mut last = unreachable_(ANY, "there are no brokers");
        let held = self.held(Lane::Any, ANY);
        if let Some((connection, broker)) = held {
            return Ok((connection, broker));
        }
        for broker in self.brokers.iter().copied() {
            match self.connection(Lane::Any, ANY, broker).await {
                Ok(connection) => return Ok((connection, broker)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The connection of a seat, if its client still holds it.
    fn held(&self, lane: Lane, seat: BrokerId) -> Option<(ConnectionId, BrokerId)> {
        let state = self.runtime.shared().lock();
        let connection = *state.seats.get(&(self.runtime.life(), lane, seat))?;
        let held = state.network.connection(connection).filter(|connection| connection.client_holds)?;
        Some((connection, held.broker))
    }

    async fn connection(
        &self,
        lane: Lane,
        seat: BrokerId,
        broker: BrokerId,
    ) -> Result<ConnectionId, PortError> {
        if let Some((connection, _)) = self.held(lane, seat) {
            return Ok(connection);
        }
        let life = self.runtime.life();
        let dialled = {
            let mut state = self.runtime.shared().lock();
            let now = state.now();
            let ticket = state.network.dial(now, life, broker);
            wait(&mut state, ticket, None, CONNECT)
        };
        match dialled.recv().await {
            Ok(Reply::Connected(connection)) => {
                if let Some((other, _)) = self.held(lane, seat) {
                    // Another caller was faster.
                    let mut state = self.runtime.shared().lock();
                    let now = state.now();
                    state.network.give_up(now, connection);
                    return Ok(other);
                }
                self.runtime.shared().lock().seats.insert((life, lane, seat), connection);
                Ok(connection)
            }
            Ok(Reply::Refused) => Err(unreachable_(broker, "connection refused")),
            Ok(Reply::TimedOut) => Err(unreachable_(broker, "not connected in time")),
            Ok(Reply::Answer(_) | Reply::Reset) | Err(_) => Err(unreachable_(broker, "not connected")),
        }
    }

    /// Hands a request to a connection; `None` if that is gone.
    fn send(
        &self,
        connection: ConnectionId,
        broker: BrokerId,
        limit: Duration,
        request: Request,
    ) -> Option<Receiver<Reply>> {
        let life = self.runtime.life();
        let mut state = self.runtime.shared().lock();
        let state = &mut *state;
        if !state.lives(life) {
            return None;
        }
        let now = state.now();
        let link = Link { process: life.process, broker }.number();
        if state.dice.strikes(now, Chance::RequestLost, link).is_some() {
            state.network.silence(connection, Way::Out);
        }
        let reset = state.dice.strikes(now, Chance::Reset, link);
        let later = state.late(now, link << 1);
        let ticket = state.network.ticket(life.process);
        let goes_out = match &reset {
            Some(draw) => draw.clone().once_in(2),
            None => true,
        };
        if goes_out && !state.network.send(now, connection, ticket, request, later) {
            return None;
        }
        let answer = wait(state, ticket, Some(connection), limit);
        if reset.is_some() {
            state.answer(ticket, Reply::Reset);
            for ticket in state.network.give_up(now, connection) {
                state.answer(ticket, Reply::Reset);
            }
        }
        Some(answer)
    }
}

fn wait(
    state: &mut super::state::State,
    ticket: Ticket,
    connection: Option<ConnectionId>,
    limit: Duration,
) -> Receiver<Reply> {
    let (sender, receiver) = async_channel::bounded(1);
    let since = state.now();
    let until = since + limit;
    state.waiting.insert(ticket, Waiting { since, until, connection, reply: sender });
    state.limits.insert((until, ticket), ());
    state.wake_pump();
    receiver
}

fn server(broker: BrokerId) -> Arc<str> {
    format!("broker {broker}").into()
}

fn unreachable_(broker: BrokerId, cause: &str) -> PortError {
    PortError::Unreachable { server: server(broker), cause: cause.into() }
}

fn unknown(broker: BrokerId, cause: &str) -> PortError {
    PortError::Unknown { server: server(broker), cause: cause.into() }
}

/// An answer of another kind than was asked for.
fn odd() -> PortError {
    PortError::Malformed { server: "the cluster".into(), cause: "it answered something else".into() }
}

/// Puts what belongs to one topic together, in the order of the items.
fn by_topic<'a, T>(items: impl IntoIterator<Item = (&'a TopicPartition, T)>) -> Vec<OfTopic<T>> {
    let mut topics: Vec<OfTopic<T>> = Vec::new();
    for (at, item) in items {
        match topics.iter_mut().find(|entry| *entry.topic == *at.topic.as_str()) {
            Some(entry) => entry.partitions.push(item),
            None => topics.push(OfTopic { topic: at.topic.as_str().into(), partitions: vec![item] }),
        }
    }
    topics
}

/// What was answered for each partition.
fn told<T>(
    topics: Vec<OfTopic<T>>,
    number: impl Fn(&T) -> PartitionId,
) -> BTreeMap<(Arc<str>, PartitionId), T> {
    let each = |entry: OfTopic<T>| {
        let topic = entry.topic;
        entry.partitions.into_iter().map(move |part| (Arc::clone(&topic), part))
    };
    topics.into_iter().flat_map(each).map(|(topic, part)| ((topic, number(&part)), part)).collect()
}

fn key(at: &TopicPartition) -> (Arc<str>, PartitionId) {
    (at.topic.as_str().into(), at.partition)
}

impl Broker for SimKafka {
    async fn metadata(&self, topics: &[TopicName]) -> Result<Metadata, PortError> {
        let names = topics.iter().map(|topic| TopicRef::Name(topic.as_str().into())).collect();
        let request = MetadataRequest { topics: Some(names), may_create: false };
        let Answer::Metadata(answer) = self.ask(Lane::Any, None, REQUEST, request).await? else {
            return Err(odd());
        };
        let topics = topics.iter().map(|topic| {
            let told = answer.topics.iter().find(|told| told.name.as_deref() == Some(topic.as_str()))?;
            let partitions = told.partitions.as_ref().map_err(|code| *code).map(|partitions| {
                let describe = |told: &message::PartitionMetadata| PartitionMetadata {
                    partition: told.partition,
                    leader: told.leader,
                    leader_epoch: Some(told.leader_epoch),
                };
                partitions.iter().map(describe).collect()
            });
            let id = Some(told.id).filter(|id| *id != TopicId::default());
            Some(TopicMetadata { topic: topic.clone(), id, partitions })
        });
        let topics = topics.collect::<Option<_>>().ok_or_else(odd)?;
        Ok(Metadata { brokers: answer.brokers.iter().map(|address| address.broker).collect(), topics })
    }

    async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        timeout: Duration,
    ) -> Result<Vec<(TopicName, Result<(), ErrorCode>)>, PortError> {
        let new = |new: &NewTopic| message::NewTopic {
            name: new.topic.as_str().into(),
            partitions: i32::try_from(new.partitions).ok(),
            replication: new.replication_factor.and_then(|factor| i16::try_from(factor).ok()),
            assignment: Vec::new(),
            configs: new.configs.iter().map(|(k, v)| (k.as_str().into(), Some(v.as_str().into()))).collect(),
        };
        let request = CreateTopicsRequest { topics: topics.iter().map(new).collect(), validate_only: false };
        let answer = self.ask(Lane::Any, None, timeout.saturating_add(REQUEST), request).await?;
        let Answer::CreateTopics(answer) = answer else { return Err(odd()) };
        let outcomes = answer.topics.into_iter().map(|(_, outcome)| outcome);
        let outcomes = topics.into_iter().map(|new| new.topic).zip(outcomes);
        Ok(outcomes
            .map(|(topic, outcome)| (topic, outcome.map(drop).map_err(|refusal| refusal.code)))
            .collect())
    }

    async fn limits(&self, topic: &TopicName) -> Result<ResourceLimits, PortError> {
        let resource = (Resource::Topic(topic.as_str().into()), Some(vec!["max.message.bytes".into()]));
        let request = DescribeConfigsRequest { resources: vec![resource] };
        let Answer::DescribeConfigs(answer) = self.ask(Lane::Any, None, REQUEST, request).await? else {
            return Err(odd());
        };
        let (_, described) = answer.resources.into_iter().next().ok_or_else(odd)?;
        let entries = described.map_err(|refusal| refusal.code)?;
        let value = entries.first().and_then(|entry| entry.value.parse().ok());
        Ok(ResourceLimits { max_message_bytes: value.ok_or_else(odd)? })
    }

    async fn list_offsets(
        &self,
        broker: BrokerId,
        partitions: Vec<ListOffset>,
    ) -> Result<Vec<ListedOffset>, PortError> {
        let topics = by_topic(partitions.iter().map(|list| {
            let place = match list.start {
                StartAt::Earliest => LogPlace::Earliest,
                StartAt::Latest => LogPlace::Latest,
                StartAt::Timestamp(time) => LogPlace::Time(time),
            };
            (&list.at, ListPartition { partition: list.at.partition, leader_epoch: None, place })
        }));
        let request = ListOffsetsRequest { read_committed: true, topics };
        let Answer::ListOffsets(answer) = self.ask(Lane::Data, Some(broker), REQUEST, request).await? else {
            return Err(odd());
        };
        let told = told(answer.topics, |listed| listed.partition);
        let listed = partitions.into_iter().map(|ListOffset { at, .. }| {
            let outcome = told.get(&key(&at))?.outcome.map(|listed| {
                listed.map(|listed| FoundOffset { offset: listed.offset, leader_epoch: listed.leader_epoch })
            });
            Some(ListedOffset { at, outcome })
        });
        listed.collect::<Option<_>>().ok_or_else(odd)
    }

    async fn fetch(
        &self,
        broker: BrokerId,
        request: FetchRequest,
    ) -> Result<Vec<FetchedPartition>, PortError> {
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
        let asked = message::FetchRequest {
            max_wait: request.wait,
            min_bytes: 1,
            max_bytes: request.max_bytes as usize,
            read_committed: request.read_committed,
            session: FetchSession::Whole,
            topics,
        };
        let limit = request.wait.saturating_add(REQUEST);
        let answer = self.ask(Lane::Fetch(self.session), Some(broker), limit, asked).await?;
        let Answer::Fetch(answer) = answer else { return Err(odd()) };
        let mut told = told(answer.outcome?, |fetched| fetched.partition);
        let fetched = request.partitions.into_iter().map(|wanted| {
            let outcome = told.remove(&key(&wanted.at))?.outcome.map(|fetched| FetchAnswer {
                log_start: fetched.log_start,
                high_watermark: fetched.high_watermark,
                diverging: fetched.diverging.map(|(epoch, end)| EpochEnd { epoch, end }),
                batches: Batches { bytes: fetched.batches.concat().into(), aborted: Vec::new() },
            });
            Some(FetchedPartition { at: wanted.at, outcome })
        });
        fetched.collect::<Option<_>>().ok_or_else(odd)
    }

    async fn produce(&self, request: ProduceRequest) -> Result<ProduceAnswer, PortError> {
        let ProduceRequest { at, leader, records, timeout } = request;
        let records = records::encode(records.iter().map(|record| &**record), BatchOptions::default());
        let records = records.map_err(|_| ErrorCode::InvalidRequest)?;
        let batch = ProducePartition { partition: at.partition, records };
        let lane = Lane::Produce(crate::trace::digest_bytes(at.to_string().as_bytes()));
        let asked = message::ProduceRequest {
            acks: Acks::All,
            timeout,
            transactional_id: None,
            topics: by_topic([(&at, batch)]),
        };
        // The real client gives the broker as long as itself.
        let Answer::Produce(answer) = self.ask(lane, Some(leader), timeout, asked).await? else {
            return Err(odd());
        };
        let produced =
            told(answer.topics, |produced| produced.partition).remove(&key(&at)).ok_or_else(odd)?;
        match produced.outcome {
            Ok(appended) => Ok(ProduceAnswer { base_offset: appended.base_offset }),
            Err(refusal) => match refusal.code {
                // The leader has appended it, or may have.
                ErrorCode::RequestTimedOut
                | ErrorCode::NotEnoughReplicasAfterAppend
                | ErrorCode::NetworkException
                | ErrorCode::UnknownServerError => Err(unknown(leader, &refusal.code.to_string())),
                code => Err(code.into()),
            },
        }
    }
}

impl Coordinator for SimKafka {
    fn session(&self) -> Self {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        Self { session, rebalance: Arc::default(), ..self.clone() }
    }

    async fn find_coordinator(&self, group: &GroupName) -> Result<BrokerId, PortError> {
        let request =
            FindCoordinatorsRequest { kind: CoordinatorKind::Group, keys: vec![group.as_str().into()] };
        let Answer::FindCoordinators(answer) = self.ask(Lane::Any, None, REQUEST, request).await? else {
            return Err(odd());
        };
        let (_, found) = answer.coordinators.into_iter().next().ok_or_else(odd)?;
        Ok(found.map_err(|refusal| refusal.code)?.broker)
    }

    async fn join(
        &self,
        broker: BrokerId,
        request: JoinRequest,
    ) -> Result<JoinAnswer, (PortError, MemberId)> {
        let nanos = u64::try_from(request.rebalance_timeout.as_nanos()).unwrap_or(u64::MAX);
        self.rebalance.store(nanos, Ordering::Relaxed);
        let limit = request.rebalance_timeout.saturating_add(GRACE);
        let own = request.member.clone();
        let asked = JoinGroupRequest {
            group: request.group.as_str().into(),
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            member: request.member.0,
            instance: request.instance,
            protocol_type: "consumer".into(),
            protocols: request.protocols.into_iter().map(|p| (p.name.into(), p.metadata)).collect(),
            takes_id_first: true,
            may_skip_assignment: false,
        };
        let lane = Lane::Membership(self.session);
        let answer = match self.ask(lane, Some(broker), limit, asked).await {
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

    async fn sync(&self, broker: BrokerId, request: SyncRequest) -> Result<Bytes, PortError> {
        let limit = Duration::from_nanos(self.rebalance.load(Ordering::Relaxed)).saturating_add(GRACE);
        let asked = SyncGroupRequest {
            group: request.group.as_str().into(),
            generation: request.generation,
            member: request.member.0,
            instance: request.instance,
            protocol_type: None,
            protocol: None,
            assignments: request.assignments.into_iter().map(|(member, share)| (member.0, share)).collect(),
        };
        let lane = Lane::Membership(self.session);
        let Answer::SyncGroup(answer) = self.ask(lane, Some(broker), limit, asked).await? else {
            return Err(odd());
        };
        Ok(answer.outcome?.assignment)
    }

    async fn heartbeat(&self, broker: BrokerId, request: HeartbeatRequest) -> Result<(), PortError> {
        let asked = message::HeartbeatRequest {
            group: request.group.as_str().into(),
            generation: request.generation,
            member: request.member.0,
            instance: request.instance,
        };
        let lane = Lane::Membership(self.session);
        let Answer::Heartbeat(answer) = self.ask(lane, Some(broker), HEARTBEAT, asked).await? else {
            return Err(odd());
        };
        Ok(answer.outcome?)
    }

    async fn leave(&self, broker: BrokerId, request: LeaveRequest) -> Result<(), PortError> {
        let member = LeavingMember { member: request.member.0, instance: request.instance };
        let asked = LeaveGroupRequest { group: request.group.as_str().into(), members: vec![member] };
        let Answer::LeaveGroup(answer) = self.ask(Lane::Data, Some(broker), REQUEST, asked).await? else {
            return Err(odd());
        };
        for (_, outcome) in answer.outcome? {
            outcome?;
        }
        Ok(())
    }

    async fn commit(
        &self,
        broker: BrokerId,
        request: CommitRequest,
    ) -> Result<Vec<Result<(), ErrorCode>>, PortError> {
        let topics = by_topic(request.commits.iter().map(|commit| {
            let part = CommitPartition {
                partition: commit.at.partition,
                offset: commit.offset,
                leader_epoch: commit.leader_epoch,
                metadata: Some(Arc::clone(&commit.metadata)),
            };
            (&commit.at, part)
        }));
        let asked = CommitOffsetsRequest {
            group: request.group.as_str().into(),
            generation: request.generation,
            member: request.member.0,
            instance: request.instance,
            topics,
        };
        let Answer::CommitOffsets(answer) = self.ask(Lane::Data, Some(broker), REQUEST, asked).await? else {
            return Err(odd());
        };
        let told = told(answer.topics, |(partition, _)| *partition);
        let outcomes =
            request.commits.iter().map(|commit| told.get(&key(&commit.at)).map(|(_, outcome)| *outcome));
        outcomes.collect::<Option<_>>().ok_or_else(odd)
    }

    async fn committed(
        &self,
        broker: BrokerId,
        group: &GroupName,
        topics: Vec<(TopicName, Vec<PartitionId>)>,
    ) -> Result<Vec<(TopicPartition, Result<Option<StoredOffset>, ErrorCode>)>, PortError> {
        let wanted = topics.iter().map(|(topic, partitions)| OfTopic {
            topic: topic.as_str().into(),
            partitions: partitions.clone(),
        });
        let of_group = FetchOffsetsGroup { group: group.as_str().into(), topics: Some(wanted.collect()) };
        let asked = FetchOffsetsRequest { groups: vec![of_group] };
        let Answer::FetchOffsets(answer) = self.ask(Lane::Data, Some(broker), REQUEST, asked).await? else {
            return Err(odd());
        };
        let fetched = answer.groups.into_iter().next().ok_or_else(odd)?;
        let mut told = told(fetched.outcome?, |(partition, _)| *partition);
        let asked = topics.into_iter().flat_map(|(topic, partitions)| {
            partitions.into_iter().map(move |partition| TopicPartition { topic: topic.clone(), partition })
        });
        let positions = asked.map(|at| {
            let (_, stored) = told.remove(&key(&at))?;
            let stored = stored.map(|stored| StoredOffset {
                offset: stored.offset,
                leader_epoch: stored.leader_epoch,
                metadata: stored.metadata,
            });
            Some((at, Ok(stored)))
        });
        positions.collect::<Option<_>>().ok_or_else(odd)
    }
}
