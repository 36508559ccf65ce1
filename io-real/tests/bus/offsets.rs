//! The committed offsets of a group, read and written by someone who is no member of it.

use std::time::{Duration, Instant};

use evenkeel::kafka::KafkaClient;
use evenkeel::{GroupName, Kafka, TopicName};
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{BrokerId, Generation, MemberId, Offset, PartitionId, TopicPartition};
use evenkeel_core::ports::{Commit, CommitRequest, Coordinator, PortError, StoredOffset};

use super::SOON;
use super::support::services;

/// See the [module](self). All topics have one partition.
pub(crate) struct Offsets {
    kafka: KafkaClient,
    group: GroupName,
    coordinator: BrokerId,
}

fn named(topic: &str) -> TopicName {
    TopicName::new(topic).expect("legal")
}

impl Offsets {
    pub(crate) async fn of(group: &str) -> Self {
        let group = GroupName::new(group).expect("legal");
        let kafka = Kafka::new([services::kafka()]).connect().await.expect("Kafka answers");
        let begun = Instant::now();
        let coordinator = loop {
            match kafka.find_coordinator(&group).await {
                Ok(coordinator) => break coordinator,
                // The first group of a fresh cluster finds the coordinators still being set up.
                Err(error) => assert!(begun.elapsed() < SOON, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        Self { kafka, group, coordinator }
    }

    /// What is committed for a topic's partition.
    pub(crate) async fn committed(&self, topic: &str) -> Option<StoredOffset> {
        let asked = vec![(named(topic), vec![PartitionId(0)])];
        let answered = self.kafka.committed(self.coordinator, &self.group, asked).await;
        let (_, stored) = answered.expect("the coordinator answers").remove(0);
        stored.expect("the partition is there")
    }

    pub(crate) async fn until_committed(&self, topic: &str, offset: i64) {
        let begun = Instant::now();
        loop {
            let stored = self.committed(topic).await;
            if stored.as_ref().is_some_and(|stored| stored.offset == Offset(offset)) {
                return;
            }
            assert!(begun.elapsed() < SOON, "not {offset}, but {stored:?} after {SOON:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Commits as tools do that reset a group without members.
    pub(crate) async fn commit(&self, topic: &str, offset: i64, metadata: &str) {
        let begun = Instant::now();
        loop {
            let commit = Commit {
                at: TopicPartition { topic: named(topic), partition: PartitionId(0) },
                offset: Offset(offset),
                leader_epoch: None,
                metadata: metadata.into(),
            };
            let request = CommitRequest {
                group: self.group.clone(),
                generation: Generation(-1),
                member: MemberId("".into()),
                instance: None,
                commits: vec![commit],
            };
            match self.kafka.commit(self.coordinator, request).await.as_deref() {
                Ok([Ok(())]) => return,
                Ok([Err(ErrorCode::CoordinatorLoadInProgress)]) | Err(PortError::Refused(_)) => {}
                refused => panic!("{topic} at {offset}: {refused:?}"),
            }
            assert!(begun.elapsed() < SOON, "the coordinator is not ready after {SOON:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
