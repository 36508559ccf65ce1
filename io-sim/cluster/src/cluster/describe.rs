//! Describing brokers and topics.

use std::collections::BTreeSet;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::PartitionId;

use super::Cluster;
use crate::message::{
    DescribeClusterAnswer, MetadataAnswer, MetadataRequest, NewTopic, PartitionMetadata, Text, TopicId,
    TopicMetadata, TopicRef,
};
use crate::partition::Partition;
use crate::topics::{Topic, names};

impl Cluster {
    pub(super) fn metadata(&mut self, request: MetadataRequest) -> MetadataAnswer {
        let topics = match request.topics {
            None => self.topics.iter().map(|(name, topic)| described(name, topic)).collect(),
            Some(topics) => self.metadata_of(topics, request.may_create),
        };
        MetadataAnswer {
            brokers: self.brokers.addresses(),
            cluster_id: self.config.cluster_id.clone(),
            controller: self.brokers.controller(),
            topics,
        }
    }

    /// Each topic once, those that are there first. Who names one by its id is told of ids only.
    fn metadata_of(&mut self, topics: Vec<TopicRef>, may_create: bool) -> Vec<TopicMetadata> {
        let by_id = |topic: &TopicRef| match topic {
            TopicRef::Id(id) | TopicRef::Both(_, id) => *id != TopicId::default(),
            TopicRef::Name(_) => false,
        };
        let ids_only = topics.iter().any(by_id);
        let mut seen = BTreeSet::new();
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for topic in topics.into_iter().filter(|topic| !ids_only || by_id(topic)) {
            if seen.insert(topic.clone()) {
                let told = self.topic_metadata(topic, may_create);
                if told.partitions.is_ok() { found.push(told) } else { missing.push(told) }
            }
        }
        if ids_only {
            missing.append(&mut found);
            return missing;
        }
        found.append(&mut missing);
        found
    }

    fn topic_metadata(&mut self, topic: TopicRef, may_create: bool) -> TopicMetadata {
        if let Some(name) = self.topics.find(&topic)
            && let Some(topic) = self.topics.get(name)
        {
            return described(name, topic);
        }
        let (name, id, code) = match topic {
            TopicRef::Id(id) | TopicRef::Both(_, id) => (None, id, ErrorCode::UnknownTopicId),
            TopicRef::Name(name) => {
                let code = match names::check(&name) {
                    Err(refusal) => refusal.code,
                    Ok(()) if may_create && self.config.auto_create_topics => self.create_unasked(&name),
                    Ok(()) => ErrorCode::UnknownTopicOrPartition,
                };
                (Some(name), TopicId::default(), code)
            }
        };
        TopicMetadata { name, id, partitions: Err(code) }
    }

    /// Creates a topic that somebody asked for as if it were there. It is told of the next time, as with a real broker.
    fn create_unasked(&mut self, name: &Text) -> ErrorCode {
        let new = NewTopic {
            name: name.clone(),
            partitions: None,
            replication: None,
            assignment: Vec::new(),
            configs: Vec::new(),
        };
        if self.colliding(name).is_some() {
            return ErrorCode::InvalidTopic;
        }
        match self.create_topic(&new, false) {
            Ok(_) => ErrorCode::LeaderNotAvailable,
            Err(refusal) => refusal.code,
        }
    }

    pub(super) fn describe_cluster(&self) -> DescribeClusterAnswer {
        DescribeClusterAnswer {
            brokers: self.brokers.addresses(),
            cluster_id: self.config.cluster_id.clone(),
            controller: self.brokers.controller(),
        }
    }
}

fn described(name: &Text, topic: &Topic) -> TopicMetadata {
    let partition = |(number, partition): (i32, &Partition)| PartitionMetadata {
        partition: PartitionId(number),
        leader: partition.leader(),
        leader_epoch: partition.epoch(),
        replicas: partition.replicas(),
        in_sync: partition.in_sync().to_vec(),
        offline: partition.offline(),
    };
    let partitions = (0..).zip(&topic.partitions).map(partition).collect();
    TopicMetadata { name: Some(name.clone()), id: topic.id, partitions: Ok(partitions) }
}
