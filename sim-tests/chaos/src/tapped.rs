//! Kafka as a worker's ports, with a tap on what the coordinator is asked and answers: commits, assignments, positions.
//!
//! Every call is handed on as it is. That a commit was asked for is written before it leaves, so that no commit can be in
//! the coordinator's log of which no journal knows.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use evenkeel::kafka::KafkaClient;
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{BrokerId, GroupName, MemberId, PartitionId, TopicName};
use evenkeel_core::ports::{
    Broker, CommitRequest, Coordinator, CreatedTopics, FetchRequest, FetchedPartition, HeartbeatRequest,
    JoinAnswer, JoinRequest, LeaveRequest, ListOffset, ListedOffset, Metadata, NewTopic, PortError,
    ProduceAnswer, ProduceRequest, ResourceLimits, StoredOffsets, SyncRequest,
};

use crate::journal::{Answer, Entry, Journal, Position};

/// See the [module](self).
#[derive(Clone)]
pub(crate) struct Tapped {
    kafka: KafkaClient,
    journal: Arc<Journal>,
    asked: Arc<AtomicU64>,
}

impl Tapped {
    pub(crate) fn new(kafka: KafkaClient, journal: Arc<Journal>) -> Self {
        Self { kafka, journal, asked: Arc::default() }
    }

    fn next(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::Relaxed)
    }

    fn ask(&self, group: &GroupName, what: String) -> u64 {
        let nth = self.next();
        self.journal.tell(Entry::MemberAsked { nth, group: group.to_string(), what });
        nth
    }

    fn answer<T, E: fmt::Debug>(&self, nth: u64, answer: &Result<T, E>, say: impl FnOnce(&T) -> String) {
        let outcome = match answer {
            Ok(answer) => say(answer),
            Err(error) => format!("{error:?}"),
        };
        self.journal.tell(Entry::MemberAnswered { nth, outcome });
    }
}

fn answer(outcome: Result<(), ErrorCode>) -> Answer {
    match outcome {
        Ok(()) => Answer::Taken,
        Err(
            ErrorCode::IllegalGeneration
            | ErrorCode::UnknownMemberId
            | ErrorCode::RebalanceInProgress
            | ErrorCode::FencedInstanceId
            | ErrorCode::OffsetMetadataTooLarge,
        ) => Answer::Refused,
        Err(_) => Answer::Unsure,
    }
}

impl Coordinator for Tapped {
    fn session(&self) -> Self {
        Self { kafka: self.kafka.session(), ..self.clone() }
    }

    async fn find_coordinator(&self, group: &GroupName) -> Result<BrokerId, PortError> {
        self.kafka.find_coordinator(group).await
    }

    async fn join(
        &self,
        broker: BrokerId,
        request: JoinRequest,
    ) -> Result<JoinAnswer, (PortError, MemberId)> {
        let what = format!("join at {broker} as {:?}", request.member.0);
        let nth = self.ask(&request.group, what);
        let answer = self.kafka.join(broker, request).await;
        self.answer(nth, &answer, |joined| {
            format!("{:?}, generation {}", joined.member.0, joined.generation)
        });
        answer
    }

    async fn sync(&self, broker: BrokerId, request: SyncRequest) -> Result<Bytes, PortError> {
        let (nth, group, generation) = (self.next(), request.group.to_string(), request.generation.0);
        self.journal.tell(Entry::SyncAsked { nth, group, generation });
        let answer = self.kafka.sync(broker, request).await?;
        self.journal.tell(Entry::SyncAnswered { nth });
        Ok(answer)
    }

    async fn heartbeat(&self, broker: BrokerId, request: HeartbeatRequest) -> Result<(), PortError> {
        let nth = self.ask(&request.group, format!("heartbeat at {broker} in {}", request.generation));
        let answer = self.kafka.heartbeat(broker, request).await;
        self.answer(nth, &answer, |()| "well".to_owned());
        answer
    }

    async fn leave(&self, broker: BrokerId, request: LeaveRequest) -> Result<(), PortError> {
        let nth = self.ask(&request.group, format!("leave at {broker} as {:?}", request.member.0));
        let answer = self.kafka.leave(broker, request).await;
        self.answer(nth, &answer, |()| "left".to_owned());
        answer
    }

    async fn commit(
        &self,
        broker: BrokerId,
        request: CommitRequest,
    ) -> Result<Vec<Result<(), ErrorCode>>, PortError> {
        let (nth, group, generation) = (self.next(), request.group.to_string(), request.generation.0);
        let position = |commit: &evenkeel_core::ports::Commit| Position {
            partition: commit.at.partition.0,
            offset: commit.offset.0,
            metadata: commit.metadata.to_string(),
        };
        let positions = request.commits.iter().map(position).collect();
        self.journal.tell(Entry::CommitAsked { nth, group, generation, positions });
        let outcomes = self.kafka.commit(broker, request).await?;
        let answers = outcomes.iter().map(|outcome| answer(*outcome)).collect();
        self.journal.tell(Entry::CommitAnswered { nth, answers });
        Ok(outcomes)
    }

    async fn committed(
        &self,
        broker: BrokerId,
        group: &GroupName,
        topics: Vec<(TopicName, Vec<PartitionId>)>,
    ) -> Result<StoredOffsets, PortError> {
        let stored = self.kafka.committed(broker, group, topics).await?;
        for (at, position) in &stored {
            let Ok(position) = position else { continue };
            self.journal.tell(Entry::Served {
                group: group.to_string(),
                partition: at.partition.0,
                offset: position.as_ref().map(|position| position.offset.0),
                metadata: position.as_ref().map(|position| position.metadata.to_string()).unwrap_or_default(),
            });
        }
        Ok(stored)
    }
}

impl Broker for Tapped {
    async fn metadata(&self, topics: &[TopicName]) -> Result<Metadata, PortError> {
        self.kafka.metadata(topics).await
    }

    async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        timeout: Duration,
    ) -> Result<CreatedTopics, PortError> {
        self.kafka.create_topics(topics, timeout).await
    }

    async fn limits(&self, topic: &TopicName) -> Result<ResourceLimits, PortError> {
        self.kafka.limits(topic).await
    }

    async fn list_offsets(
        &self,
        broker: BrokerId,
        partitions: Vec<ListOffset>,
    ) -> Result<Vec<ListedOffset>, PortError> {
        self.kafka.list_offsets(broker, partitions).await
    }

    async fn fetch(
        &self,
        broker: BrokerId,
        request: FetchRequest,
    ) -> Result<Vec<FetchedPartition>, PortError> {
        self.kafka.fetch(broker, request).await
    }

    async fn produce(&self, request: ProduceRequest) -> Result<ProduceAnswer, PortError> {
        self.kafka.produce(request).await
    }
}
