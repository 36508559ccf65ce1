//! A tiny cluster for tests: it appends, refuses, loses requests, loses answers, and appends long after everybody
//! stopped waiting. It records what the laws are about and judges nothing itself.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::machine::backoff::Backoff;
use crate::model::{Offset, PartitionId, TopicPartition, WallTime};
use crate::ports::TopicMetadata;

/// The id that a record's value begins with.
pub(super) type Id = u64;

/// What goes wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing: an honest answer.
    None,
    /// The request never reached anybody, and nobody knows.
    Lost,
    /// It was done, but the answer was lost.
    AnswerLost,
    /// It is thought lost, and done later.
    DoneLater,
    /// The answer cannot be read; it was done.
    Garbled,
    /// No connection.
    Unreachable,
    /// Refused with this code without having been done.
    Refused(ErrorCode),
    /// Done, and then refused with this code.
    DoneThenRefused(ErrorCode),
}

/// What happens in a run.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Submit { topic: usize, keys: Vec<Option<u8>>, padding: usize, poisoned: bool },
    Wait { millis: u64 },
    Answer { which: usize, fault: Fault },
    MoveLeader { topic: usize, partition: usize, leader: Option<i32> },
    SetLimit { topic: usize, bytes: u32 },
    Create { topic: usize },
    AppendLate { which: usize },
}

pub(super) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let code_before = prop_oneof![
        Just(ErrorCode::NotLeaderOrFollower),
        Just(ErrorCode::NotEnoughReplicas),
        Just(ErrorCode::MessageTooLarge),
        Just(ErrorCode::TopicAuthorizationFailed),
        Just(ErrorCode::UnknownServerError),
        Just(ErrorCode::UnknownTopicOrPartition),
    ];
    let code_after = prop_oneof![
        Just(ErrorCode::NotLeaderOrFollower),
        Just(ErrorCode::NotEnoughReplicasAfterAppend),
        Just(ErrorCode::RequestTimedOut),
    ];
    let fault = prop_oneof![
        8 => Just(Fault::None),
        1 => Just(Fault::Lost),
        1 => Just(Fault::AnswerLost),
        2 => Just(Fault::DoneLater),
        1 => Just(Fault::Garbled),
        1 => Just(Fault::Unreachable),
        2 => code_before.prop_map(Fault::Refused),
        2 => code_after.prop_map(Fault::DoneThenRefused),
    ];
    let padding = prop_oneof![8 => 0usize..40, 1 => Just(700usize), 1 => Just(1_100), 1 => Just(3_000)];
    let op = prop_oneof![
        6 => (0usize..TOPICS, vec(proptest::option::weighted(0.8, 0u8..4), 1..40), padding, proptest::bool::weighted(0.05))
            .prop_map(|(topic, keys, padding, poisoned)| Op::Submit { topic, keys, padding, poisoned }),
        4 => prop_oneof![0u64..100, 0u64..2_000, Just(11_000u64)].prop_map(|millis| Op::Wait { millis }),
        12 => (any::<usize>(), fault).prop_map(|(which, fault)| Op::Answer { which, fault }),
        1 => (0usize..TOPICS, 0usize..PARTITIONS, proptest::option::weighted(0.8, 1i32..4))
            .prop_map(|(topic, partition, leader)| Op::MoveLeader { topic, partition, leader }),
        1 => (0usize..TOPICS, prop_oneof![Just(400u32), Just(1_200), Just(5_000)])
            .prop_map(|(topic, bytes)| Op::SetLimit { topic, bytes }),
        1 => (0usize..TOPICS).prop_map(|topic| Op::Create { topic }),
        2 => any::<usize>().prop_map(|which| Op::AppendLate { which }),
    ];
    vec(op, 1..120)
}

pub(super) const TOPICS: usize = 3;
pub(super) const PARTITIONS: usize = 3;

pub(super) fn config() -> ProduceConfig {
    ProduceConfig {
        batch_bytes: 900,
        unasked_bytes: 1_000,
        delivery_timeout: Duration::from_secs(10),
        missing_patience: Duration::from_secs(1),
        backoff: Backoff { longest: Duration::from_millis(500), ..Backoff::REQUEST },
        look_backoff: Backoff { longest: Duration::from_millis(500), ..Backoff::REQUEST },
        ..ProduceConfig::default()
    }
}

/// A request that nobody answered yet.
#[derive(Debug)]
enum Out {
    Describe(Vec<TopicName>),
    Limits(TopicName),
    Send(ProduceRequest),
}

#[derive(Debug)]
struct ModelTopic {
    name: TopicName,
    exists: bool,
    limit: u32,
    leaders: Vec<Option<BrokerId>>,
    logs: Vec<Vec<Id>>,
}

/// An event that was submitted, and what was reported of it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) topic: TopicName,
    pub(super) key: Option<u8>,
    pub(super) submitted: Time,
    pub(super) outcomes: Vec<Result<Produced, ProduceFailure>>,
}

/// A sent batch, and what was known of its topic's limit.
#[derive(Debug)]
pub(super) struct SentBatch {
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// The limit last told; `None` if none ever was.
    pub(super) told: Option<u32>,
    /// The cluster said that it does not tell.
    pub(super) untold: bool,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) produce: Produce,
    pub(super) now: Time,
    topics: Vec<ModelTopic>,
    out: Vec<(RequestId, Out)>,
    late: Vec<ProduceRequest>,
    told_limits: BTreeMap<TopicName, Result<u32, ()>>,
    /// By id, which is the ticket's call.
    pub(super) events: Vec<Told>,
    pub(super) batches: Vec<SentBatch>,
    /// Requests sent while another for the same partition was out.
    pub(super) overlaps: usize,
    /// Events past their delivery time-out, neither finished nor in a request.
    pub(super) overdue: usize,
    pub(super) closed: usize,
    pub(super) requests: usize,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let topics = (0..TOPICS).map(|number| ModelTopic {
            name: TopicName::new(format!("topic-{number}")).expect("a legal name"),
            exists: number + 1 < TOPICS,
            limit: 1_200,
            leaders: (0..PARTITIONS).map(|p| Some(BrokerId(p as i32 + 1))).collect(),
            logs: vec![Vec::new(); PARTITIONS],
        });
        Self {
            produce: Produce::new(config(), Entropy::new(seed)),
            now: Time::from_millis(1),
            topics: topics.collect(),
            out: Vec::new(),
            late: Vec::new(),
            told_limits: BTreeMap::new(),
            events: Vec::new(),
            batches: Vec::new(),
            overlaps: 0,
            overdue: 0,
            closed: 0,
            requests: 0,
        }
    }

    /// Runs the operations, then lets everything come to rest.
    pub(super) fn run(seed: u64, ops: Vec<Op>) -> Self {
        let mut world = Self::new(seed);
        for op in ops {
            world.perform(op);
        }
        world.quiet();
        world
    }

    fn perform(&mut self, op: Op) {
        match op {
            Op::Submit { topic, keys, padding, poisoned } => self.submit(topic, &keys, padding, poisoned),
            Op::Wait { millis } => self.advance(self.now + Duration::from_millis(millis)),
            Op::Answer { which, fault } => {
                if !self.out.is_empty() {
                    self.answer(which % self.out.len(), fault);
                }
            }
            Op::MoveLeader { topic, partition, leader } => {
                self.topics[topic].leaders[partition] = leader.map(BrokerId);
            }
            Op::SetLimit { topic, bytes } => self.topics[topic].limit = bytes,
            Op::Create { topic } => self.topics[topic].exists = true,
            Op::AppendLate { which } => {
                if !self.late.is_empty() {
                    let request = self.late.remove(which % self.late.len());
                    self.append(&request);
                }
            }
        }
    }

    pub(super) fn submit(&mut self, topic: usize, keys: &[Option<u8>], padding: usize, poisoned: bool) {
        let name = self.topics[topic].name.clone();
        let mut submissions = Vec::new();
        for key in keys {
            let id = self.events.len() as Id;
            let mut value = id.to_be_bytes().to_vec();
            value.push(u8::from(poisoned));
            value.resize(value.len() + padding, 0);
            let record = OutgoingRecord {
                key: key.map(|key| Bytes::from(vec![key])),
                value: Some(value.into()),
                headers: Vec::new(),
                timestamp: WallTime::default(),
            };
            let ticket = Ticket { call: id, index: 0 };
            submissions.push(Submission { ticket, topic: name.clone(), record: Arc::new(record) });
            let (topic, submitted) = (name.clone(), self.now);
            self.events.push(Told { topic, key: *key, submitted, outcomes: Vec::new() });
        }
        self.handle(Input::Submit(submissions));
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.produce.handle(self.now, input);
        self.drain();
    }

    /// Lets time pass, waking the machine whenever it asks for it.
    pub(super) fn advance(&mut self, to: Time) {
        while let Some(due) = self.produce.deadline().filter(|due| *due <= to) {
            self.now = self.now.max(due);
            self.produce.tick(self.now);
            self.drain();
            assert!(self.produce.deadline().is_none_or(|due| due > self.now), "tick left a deadline behind");
        }
        self.now = self.now.max(to);
        self.produce.tick(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.produce.poll() {
            match action {
                Action::Describe { id, topics } => self.request(id, Out::Describe(topics)),
                Action::FetchLimits { id, topic } => self.request(id, Out::Limits(topic)),
                Action::Send { id, request } => {
                    let busy =
                        |(_, out): &(RequestId, Out)| matches!(out, Out::Send(r) if r.at == request.at);
                    self.overlaps += usize::from(self.out.iter().any(busy));
                    let told = self.told_limits.get(&request.at.topic);
                    self.batches.push(SentBatch {
                        events: request.records.len(),
                        bytes: bytes(&request),
                        told: told.and_then(|told| told.ok()),
                        untold: told == Some(&Err(())),
                    });
                    self.request(id, Out::Send(request));
                }
                Action::Finish { ticket, outcome } => {
                    self.events[ticket.call as usize].outcomes.push(outcome)
                }
                Action::Closed => self.closed += 1,
            }
        }
        let out: Vec<Id> = self
            .out
            .iter()
            .filter_map(|(_, out)| match out {
                Out::Send(request) => Some(request.records.iter().map(|r| id_of(r))),
                _ => None,
            })
            .flatten()
            .collect();
        let limit = config().delivery_timeout;
        let overdue = self.events.iter().enumerate().filter(|(id, event)| {
            event.outcomes.is_empty() && event.submitted + limit < self.now && !out.contains(&(*id as Id))
        });
        self.overdue += overdue.count();
    }

    fn request(&mut self, id: RequestId, out: Out) {
        self.requests += 1;
        self.out.push((id, out));
    }

    /// Answers one request, or fails to.
    pub(super) fn answer(&mut self, which: usize, fault: Fault) {
        let (id, out) = self.out.remove(which);
        match out {
            Out::Describe(topics) => {
                let outcome = broken(fault).map_or_else(|| Ok(self.metadata(&topics)), Err);
                self.handle(Input::Described { id, outcome });
            }
            Out::Limits(topic) => {
                let outcome = broken(fault).map_or_else(|| Ok(self.limits(&topic)), Err);
                if let Err(PortError::Refused(code)) = &outcome
                    && code.remedy() == Remedy::GiveUp
                {
                    self.told_limits.insert(topic, Err(()));
                } else if let Ok(limits) = &outcome {
                    self.told_limits.insert(topic, Ok(limits.max_message_bytes));
                }
                self.handle(Input::LimitsKnown { id, outcome });
            }
            Out::Send(request) => {
                let outcome = match (fault, broken(fault)) {
                    (Fault::AnswerLost | Fault::Garbled | Fault::DoneThenRefused(_), Some(error)) => {
                        // Whatever would have been refused honestly still is.
                        self.produce_honestly(&request).and(Err(error))
                    }
                    (Fault::DoneLater, Some(error)) => {
                        self.late.push(request);
                        Err(error)
                    }
                    (_, Some(error)) => Err(error),
                    (_, None) => self.produce_honestly(&request),
                };
                self.handle(Input::Sent { id, outcome });
            }
        }
    }

    /// Answers the oldest request, if there is one.
    pub(super) fn answer_any(&mut self, fault: Fault) -> bool {
        let any = !self.out.is_empty();
        if any {
            self.answer(0, fault);
        }
        any
    }

    /// Answers the oldest request: one to produce with `fault`, any other honestly.
    pub(super) fn answer_produce_only(&mut self, fault: Fault) -> bool {
        let produce = matches!(self.out.first(), Some((_, Out::Send(_))));
        self.answer_any(if produce { fault } else { Fault::None })
    }

    fn metadata(&self, topics: &[TopicName]) -> Metadata {
        let topics = topics.iter().map(|name| {
            let topic = self.topic(name);
            let partitions = topic.leaders.iter().enumerate().map(|(number, leader)| PartitionMetadata {
                partition: PartitionId(number as i32),
                leader: *leader,
                leader_epoch: None,
            });
            let partitions =
                if topic.exists { Ok(partitions.collect()) } else { Err(ErrorCode::UnknownTopicOrPartition) };
            TopicMetadata { topic: name.clone(), id: None, partitions }
        });
        Metadata { brokers: vec![BrokerId(1), BrokerId(2), BrokerId(3)], topics: topics.collect() }
    }

    fn limits(&self, topic: &TopicName) -> ResourceLimits {
        ResourceLimits { max_message_bytes: self.topic(topic).limit }
    }

    fn produce_honestly(&mut self, request: &ProduceRequest) -> Result<ProduceAnswer, PortError> {
        let topic = self.topic(&request.at.topic);
        let refused = if !topic.exists {
            Some(ErrorCode::UnknownTopicOrPartition)
        } else if topic.leaders[request.at.partition.0 as usize] != Some(request.leader) {
            Some(ErrorCode::NotLeaderOrFollower)
        } else if bytes(request) > topic.limit as usize {
            Some(ErrorCode::MessageTooLarge)
        } else if request.records.iter().any(|record| is_poisoned(record)) {
            Some(ErrorCode::InvalidRecord)
        } else {
            None
        };
        match refused {
            Some(code) => Err(PortError::Refused(code)),
            None => Ok(ProduceAnswer { base_offset: self.append(request) }),
        }
    }

    /// Appends, if the topic's limit and the records allow.
    fn append(&mut self, request: &ProduceRequest) -> Offset {
        let poisoned = request.records.iter().any(|record| is_poisoned(record));
        let topic =
            self.topics.iter_mut().find(|t| t.name == request.at.topic).expect("a topic of the world");
        let log = &mut topic.logs[request.at.partition.0 as usize];
        let base = Offset(log.len() as i64);
        if !poisoned && topic.exists {
            log.extend(request.records.iter().map(|record| id_of(record)));
        }
        base
    }

    /// Faults stop: everything is answered honestly, time passes, and what was thought lost is done after all.
    fn quiet(&mut self) {
        for topic in &mut self.topics {
            topic.exists = true;
            for leader in &mut topic.leaders {
                leader.get_or_insert(BrokerId(1));
            }
        }
        self.rest();
        // What comes now must succeed: nothing of the past may stand in its way for ever.
        for topic in 0..TOPICS {
            self.submit(topic, &[Some(9), None], 0, false);
        }
        self.handle(Input::Close);
        self.rest();
        while let Some(request) = self.late.pop() {
            self.append(&request);
        }
    }

    /// Answers and waits until every event is finished.
    pub(super) fn rest(&mut self) {
        for _ in 0..20_000 {
            if !self.out.is_empty() {
                self.answer(0, Fault::None);
            } else if self.events.iter().any(|event| event.outcomes.is_empty()) {
                let due = self.produce.deadline().expect("unfinished events have a deadline");
                self.advance(due);
            } else {
                return;
            }
        }
        panic!("does not come to rest: {:?}", self.out);
    }

    /// How many probes the quiet phase ends with.
    pub(super) const PROBES: usize = 2 * TOPICS;

    pub(super) fn log(&self, at: &TopicPartition) -> &[Id] {
        &self.topic(&at.topic).logs[at.partition.0 as usize]
    }

    /// Where an id stands for the first time: partition and place.
    pub(super) fn first_occurrence(&self, topic: &TopicName, id: Id) -> Option<(usize, usize)> {
        let logs = self.topic(topic).logs.iter().enumerate();
        logs.filter_map(|(number, log)| Some((number, log.iter().position(|found| *found == id)?))).next()
    }

    fn topic(&self, name: &TopicName) -> &ModelTopic {
        self.topics.iter().find(|topic| topic.name == *name).expect("a topic of the world")
    }
}

fn broken(fault: Fault) -> Option<PortError> {
    let (server, cause) = ("broker:9092".into(), "fault".into());
    match fault {
        Fault::None => None,
        Fault::Lost | Fault::AnswerLost | Fault::DoneLater => Some(PortError::Unknown { server, cause }),
        Fault::Garbled => Some(PortError::Malformed { server, cause }),
        Fault::Unreachable => Some(PortError::Unreachable { server, cause }),
        Fault::Refused(code) | Fault::DoneThenRefused(code) => Some(PortError::Refused(code)),
    }
}

fn bytes(request: &ProduceRequest) -> usize {
    let grow =
        |size: BatchSize, record: &Arc<OutgoingRecord>| size.with(RecordSize::of(record), record.timestamp);
    request.records.iter().fold(BatchSize::new(), grow).bytes()
}

pub(super) fn id_of(record: &OutgoingRecord) -> Id {
    let value = record.value.as_ref().expect("records of the world have values");
    Id::from_be_bytes(value[..8].try_into().expect("eight bytes"))
}

fn is_poisoned(record: &OutgoingRecord) -> bool {
    record.value.as_ref().is_some_and(|value| value[8] == 1)
}
