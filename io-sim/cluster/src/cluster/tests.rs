//! The machine as a whole: requests in, answers out, time between.

mod admin;
mod cleaning;
mod deadlines;
mod memory;
mod producers;
mod waits;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::error::ErrorCode;
use evenkeel_core::machine::Machine;
use evenkeel_core::model::{BrokerId, Offset, PartitionId, RequestId, Time, WallTime};
use evenkeel_core::ports::OutgoingRecord;
use evenkeel_core::records::{BatchOptions, encode};

use super::{Action, Cluster, ClusterConfig, Input};
use crate::message::*;

/// A cluster, its time, and what came of requests.
struct Bench {
    cluster: Cluster,
    now: Time,
    next: u64,
    outcomes: BTreeMap<RequestId, Option<Answer>>,
}

impl Bench {
    fn new(brokers: i32, change: impl FnOnce(&mut ClusterConfig)) -> Self {
        let address = |number| BrokerAddress { broker: BrokerId(number), host: "h".into(), port: 9_000 };
        let mut config =
            ClusterConfig { brokers: (1..=brokers).map(address).collect(), ..ClusterConfig::default() };
        change(&mut config);
        let cluster = Cluster::new(config, 1).expect("legal defaults");
        Self { cluster, now: Time::ZERO, next: 0, outcomes: BTreeMap::new() }
    }

    fn drain(&mut self) {
        while let Some(action) = self.cluster.poll() {
            let (id, outcome) = match action {
                Action::Answer { id, answer } => (id, Some(answer)),
                Action::HangUp { id } => (id, None),
            };
            assert!(self.outcomes.insert(id, outcome).is_none(), "{id} has two outcomes");
        }
        self.cluster.check();
    }

    fn tell(&mut self, input: Input) {
        self.cluster.handle(self.now, input);
        self.drain();
    }

    fn ask(&mut self, broker: i32, request: impl Into<Request>) -> RequestId {
        self.next += 1;
        let id = RequestId(self.next);
        let origin = Origin { broker: BrokerId(broker), client: "c".into(), host: "/h".into() };
        self.tell(Input::Request { id, origin, request: request.into() });
        id
    }

    /// Lets time pass, stopping at every deadline.
    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while let Some(at) = self.cluster.deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.cluster.tick(self.now);
            self.drain();
            assert!(self.cluster.deadline().is_none_or(|next| next > self.now), "a deadline is dealt with");
        }
        self.now = end;
    }

    fn is_parked(&self, id: RequestId) -> bool {
        !self.outcomes.contains_key(&id)
    }

    fn hung_up(&self, id: RequestId) -> bool {
        matches!(self.outcomes.get(&id), Some(None))
    }

    fn create(&mut self, topic: &str, replication: i16, configs: &[(&str, &str)]) {
        let new = NewTopic {
            name: topic.into(),
            partitions: None,
            replication: None,
            // On the brokers from the first on, so that broker 1 leads.
            assignment: vec![(PartitionId(0), (1..=i32::from(replication)).map(BrokerId).collect())],
            configs: configs.iter().map(|(name, value)| ((*name).into(), Some((*value).into()))).collect(),
        };
        let id = self.ask(1, CreateTopicsRequest { topics: vec![new], validate_only: false });
        let Some(Some(Answer::CreateTopics(answer))) = self.outcomes.get(&id) else { panic!("no answer") };
        assert!(answer.topics[0].1.is_ok(), "{answer:?}");
    }

    fn produce(&mut self, broker: i32, acks: Acks, values: &[&'static str]) -> RequestId {
        let record = |value: &&'static str| OutgoingRecord {
            key: None,
            value: Some(Bytes::from(*value)),
            headers: Vec::new(),
            timestamp: WallTime::default(),
        };
        let records: Vec<_> = values.iter().map(record).collect();
        let records = encode(&records, BatchOptions::default()).unwrap();
        let partitions = vec![ProducePartition { partition: PartitionId(0), records }];
        self.ask(
            broker,
            ProduceRequest {
                acks,
                timeout: Duration::from_secs(5),
                transactional_id: None,
                topics: vec![OfTopic { topic: "t".into(), partitions }],
            },
        )
    }

    fn produced(&self, id: RequestId) -> Result<i64, ErrorCode> {
        match &self.outcomes[&id] {
            Some(Answer::Produce(answer)) => match &answer.topics[0].partitions[0].outcome {
                Ok(appended) => Ok(appended.base_offset.0),
                Err(refusal) => Err(refusal.code),
            },
            other => panic!("{other:?}"),
        }
    }

    fn fetch(&mut self, broker: i32, offset: i64, min_bytes: usize) -> RequestId {
        let partition = FetchPartition {
            partition: PartitionId(0),
            leader_epoch: None,
            offset: Offset(offset),
            last_epoch: None,
            max_bytes: 1 << 20,
        };
        self.ask(
            broker,
            FetchRequest {
                max_wait: Duration::from_millis(500),
                min_bytes,
                max_bytes: 1 << 20,
                read_committed: false,
                session: FetchSession::Whole,
                topics: vec![OfTopic { topic: "t".into(), partitions: vec![partition] }],
            },
        )
    }

    /// How many batches a fetch brought, and the high watermark.
    fn fetched(&self, id: RequestId) -> Result<(usize, i64), ErrorCode> {
        match &self.outcomes[&id] {
            Some(Answer::Fetch(answer)) => answer.outcome.as_ref().map_err(|code| *code)?[0].partitions[0]
                .outcome
                .as_ref()
                .map(|fetched| (fetched.batches.len(), fetched.high_watermark.0))
                .map_err(|code| *code),
            other => panic!("{other:?}"),
        }
    }
}
