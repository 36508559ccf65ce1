//! Topics and configurations: creating, deleting, growing, changing.

use std::collections::BTreeSet;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{BrokerId, PartitionId};

use super::Cluster;
use crate::message::{
    AlterConfigsAnswer, AlterConfigsRequest, ConfigChange, ConfigEntry, ConfigSource, ConfigType,
    CreatePartitionsAnswer, CreatePartitionsRequest, CreateTopicsAnswer, CreateTopicsRequest, CreatedTopic,
    DeleteTopicsAnswer, DeleteTopicsRequest, DescribeConfigsAnswer, DescribeConfigsRequest, MorePartitions,
    NewTopic, Refusal, Resource, Text, TopicId, TopicRef,
};
use crate::offsets::MAX_METADATA;
use crate::partition::Partition;
use crate::topics::{Topic, names};

/// More partitions than this are taken for a mistake.
const MAX_PARTITIONS: i32 = 10_000;

impl Cluster {
    pub(super) fn create_topics(&mut self, request: &CreateTopicsRequest) -> CreateTopicsAnswer {
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<_> =
            request.topics.iter().map(|new| &new.name).filter(|name| !seen.insert(*name)).collect();
        let create = |new: &NewTopic| {
            let outcome = if twice.contains(&new.name) {
                Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
            } else {
                self.create_topic(new, request.validate_only)
            };
            (new.name.clone(), outcome)
        };
        CreateTopicsAnswer { topics: request.topics.iter().map(create).collect() }
    }

    pub(super) fn create_topic(
        &mut self,
        new: &NewTopic,
        validate_only: bool,
    ) -> Result<CreatedTopic, Refusal> {
        names::check(&new.name)?;
        if self.topics.get(&new.name).is_some() {
            let message = format!("Topic '{}' already exists.", new.name);
            return Err(Refusal::new(ErrorCode::TopicAlreadyExists, message));
        }
        if let Some((other, _)) = self.topics.iter().find(|(other, _)| names::collide(other, &new.name)) {
            let message = format!("Topic '{}' collides with existing topic: {other}", new.name);
            return Err(Refusal::new(ErrorCode::InvalidTopic, message));
        }
        let assignment = if new.assignment.is_empty() {
            self.spread(new.partitions, new.replication)?
        } else {
            self.chosen(new)?
        };
        let mut config = self.topic_defaults.fresh();
        for (name, value) in &new.configs {
            let Some(value) = value else {
                return Err(Refusal::config(format!("Null value not supported for topic configs: {name}")));
            };
            config.change(name, &ConfigChange::Set(value.clone()))?;
        }
        let configs = config.entries();
        let brokers = &self.brokers;
        let partitions: Vec<_> = assignment
            .iter()
            .map(|replicas| Partition::new(replicas, |broker| brokers.is_alive(broker)))
            .collect();
        let id = self.random_topic_id();
        let topic = Topic { id, partitions, config };
        let created = CreatedTopic {
            id,
            partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
            replication: topic.replication(),
            configs,
        };
        if !validate_only {
            self.topics.insert(new.name.clone(), topic);
        }
        Ok(created)
    }

    fn random_topic_id(&mut self) -> TopicId {
        TopicId(u128::from(self.entropy.next_u64()) << 64 | u128::from(self.entropy.next_u64()))
    }

    /// Spreads partitions over the live brokers.
    fn spread(
        &self,
        partitions: Option<i32>,
        replication: Option<i16>,
    ) -> Result<Vec<Vec<BrokerId>>, Refusal> {
        let alive: Vec<_> = self.brokers.alive().collect();
        let count = partitions.unwrap_or(self.config.default_partitions);
        if count < 1 {
            let message = "Number of partitions must be larger than 0.";
            return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        }
        if count > MAX_PARTITIONS {
            let message = format!("{count} partitions are more than this broker takes, {MAX_PARTITIONS}.");
            return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        }
        let replicas = replication.map_or_else(
            || usize::try_from(self.config.default_replication).unwrap_or(1).min(alive.len()),
            |replicas| usize::try_from(replicas).unwrap_or(0),
        );
        if replicas < 1 || replicas > alive.len() {
            let code = ErrorCode::InvalidReplicationFactor;
            let message = match replicas {
                0 => "Replication factor must be larger than 0.".to_owned(),
                _ => format!(
                    "Unable to replicate the partition {replicas} time(s): The target replication factor of \
                     {replicas} cannot be reached because only {} broker(s) are registered.",
                    alive.len()
                ),
            };
            return Err(Refusal::new(code, message));
        }
        // Each topic begins one broker further, so that topics of one partition do not all lead on the first.
        let first = self.topics.iter().count();
        let of_partition = |number: i32| {
            let at = first + usize::try_from(number).unwrap_or(0);
            (at..at + replicas).map(|place| alive[place % alive.len()]).collect()
        };
        Ok((0..count).map(of_partition).collect())
    }

    /// The replicas that the client chose.
    fn chosen(&self, new: &NewTopic) -> Result<Vec<Vec<BrokerId>>, Refusal> {
        if new.partitions.is_some() || new.replication.is_some() {
            let message = "Both numPartitions or replicationFactor and an assignment were given: give one.";
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        let mut by_number = new.assignment.clone();
        by_number.sort_by_key(|(number, _)| *number);
        let consecutive = by_number.iter().zip(0..).all(|((number, _), expected)| number.0 == expected);
        if !consecutive || by_number.len() > MAX_PARTITIONS as usize {
            let message = "partitions should be a consecutive 0-based integer sequence";
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        let assignment: Vec<_> = by_number.into_iter().map(|(_, replicas)| replicas).collect();
        self.check_assignment(&assignment, assignment.first().map_or(0, Vec::len))?;
        Ok(assignment)
    }

    fn check_assignment(&self, assignment: &[Vec<BrokerId>], replicas: usize) -> Result<(), Refusal> {
        for chosen in assignment {
            let distinct: BTreeSet<_> = chosen.iter().collect();
            let known = chosen.iter().all(|broker| self.brokers.is_known(*broker));
            if chosen.is_empty() || distinct.len() != chosen.len() || !known || chosen.len() != replicas {
                let message = "every partition needs the same number of distinct, known brokers";
                return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
            }
        }
        Ok(())
    }

    pub(super) fn delete_topics(&mut self, request: &DeleteTopicsRequest) -> DeleteTopicsAnswer {
        let delete = |topic: &TopicRef| match self.topics.find(topic).cloned() {
            Some(name) => {
                let id = self.delete_topic(&name);
                (Some(name), id, Ok(()))
            }
            None => match topic {
                TopicRef::Name(name) => {
                    (Some(name.clone()), TopicId::default(), Err(ErrorCode::UnknownTopicOrPartition))
                }
                TopicRef::Id(id) => (None, *id, Err(ErrorCode::UnknownTopicId)),
            },
        };
        DeleteTopicsAnswer { topics: request.topics.iter().map(delete).collect() }
    }

    fn delete_topic(&mut self, name: &Text) -> TopicId {
        let Some(topic) = self.topics.remove(name) else { return TopicId::default() };
        self.groups.forget_topic(name);
        for id in topic.partitions.iter().flat_map(|partition| &partition.waiting) {
            // It finds the topic gone, which is news.
            self.look_again(*id, false);
        }
        topic.id
    }

    pub(super) fn create_partitions(&mut self, request: &CreatePartitionsRequest) -> CreatePartitionsAnswer {
        let grow = |more: &MorePartitions| (more.name.clone(), self.grow(more, request.validate_only));
        CreatePartitionsAnswer { topics: request.topics.iter().map(grow).collect() }
    }

    fn grow(&mut self, more: &MorePartitions, validate_only: bool) -> Result<(), Refusal> {
        let Some(topic) = self.topics.get(&more.name) else {
            return Err(ErrorCode::UnknownTopicOrPartition.into());
        };
        let (has, replication) = (topic.partitions.len(), topic.replication());
        let wanted = usize::try_from(more.count).unwrap_or(0);
        if wanted <= has || more.count > MAX_PARTITIONS {
            let message = format!(
                "The topic {} currently has {has} partition(s); {} would not be an increase this broker takes.",
                more.name, more.count
            );
            return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        }
        let added = match &more.assignment {
            Some(chosen) if chosen.len() == wanted - has => {
                self.check_assignment(chosen, usize::try_from(replication).unwrap_or(0))?;
                chosen.clone()
            }
            Some(chosen) => {
                let message =
                    format!("{} partitions are to be added, {} are assigned", wanted - has, chosen.len());
                return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
            }
            None => self.spread(Some(more.count), Some(replication))?.split_off(has),
        };
        if validate_only {
            return Ok(());
        }
        let brokers = &self.brokers;
        let added = added.iter().map(|replicas| Partition::new(replicas, |broker| brokers.is_alive(broker)));
        if let Some(topic) = self.topics.get_mut(&more.name) {
            topic.partitions.extend(added);
        }
        // Somebody may wait for a partition that was not there.
        for number in has..wanted {
            self.touch(&more.name, PartitionId(i32::try_from(number).unwrap_or(i32::MAX)));
        }
        Ok(())
    }

    pub(super) fn describe_configs(&self, request: DescribeConfigsRequest) -> DescribeConfigsAnswer {
        let describe = |(resource, names): (Resource, Option<Vec<Text>>)| {
            let entries = self.configs_of(&resource).map(|entries| {
                let is_wanted = |entry: &ConfigEntry| {
                    names.as_ref().is_none_or(|names| names.iter().any(|name| **name == *entry.name))
                };
                entries.into_iter().filter(is_wanted).collect()
            });
            (resource, entries)
        };
        DescribeConfigsAnswer { resources: request.resources.into_iter().map(describe).collect() }
    }

    fn configs_of(&self, resource: &Resource) -> Result<Vec<ConfigEntry>, Refusal> {
        match resource {
            Resource::Topic(name) => match self.topics.get(name) {
                Some(topic) => Ok(topic.config.entries()),
                None => {
                    names::check(name)?;
                    Err(ErrorCode::UnknownTopicOrPartition.into())
                }
            },
            // The default of all brokers, of which nothing is set.
            Resource::Broker(name) if name.is_empty() => Ok(Vec::new()),
            Resource::Broker(name) => match name.parse().map(BrokerId) {
                Ok(broker) if self.brokers.is_alive(broker) => Ok(self.broker_configs(broker)),
                Ok(_) | Err(_) => {
                    let message = format!("Unexpected broker id, expected a live broker but received {name}");
                    Err(Refusal::new(ErrorCode::InvalidRequest, message))
                }
            },
            Resource::Other(kind, _) => {
                let message = format!("Resource type {kind} has no configurations here.");
                Err(Refusal::new(ErrorCode::InvalidRequest, message))
            }
        }
    }

    fn broker_configs(&self, broker: BrokerId) -> Vec<ConfigEntry> {
        use ConfigType::{Boolean, Int, Long};
        let config = &self.config;
        let millis = |duration: std::time::Duration| duration.as_millis().to_string();
        let topic = |name: &str| {
            let entries = self.topic_defaults.entries();
            entries
                .into_iter()
                .find(|entry| entry.name == name)
                .map_or_else(String::new, |e| e.value.to_string())
        };
        [
            ("auto.create.topics.enable", config.auto_create_topics.to_string(), Boolean),
            ("default.replication.factor", config.default_replication.to_string(), Int),
            ("group.initial.rebalance.delay.ms", millis(config.initial_rebalance_delay), Int),
            ("group.max.session.timeout.ms", millis(config.max_session_timeout), Int),
            ("group.max.size", config.max_group_size.min(i32::MAX as usize).to_string(), Int),
            ("group.min.session.timeout.ms", millis(config.min_session_timeout), Int),
            ("log.cleanup.policy", topic("cleanup.policy"), ConfigType::List),
            ("log.retention.bytes", topic("retention.bytes"), Long),
            ("log.retention.ms", topic("retention.ms"), Long),
            ("log.segment.bytes", topic("segment.bytes"), Int),
            ("message.max.bytes", topic("max.message.bytes"), Int),
            ("min.insync.replicas", topic("min.insync.replicas"), Int),
            ("node.id", broker.to_string(), Int),
            ("num.partitions", config.default_partitions.to_string(), Int),
            ("offset.metadata.max.bytes", MAX_METADATA.to_string(), Int),
            ("offsets.retention.minutes", (config.offsets_retention.as_secs() / 60).to_string(), Int),
            ("replica.lag.time.max.ms", millis(config.replica_lag), Long),
            ("socket.request.max.bytes", crate::wire::MAX_FRAME.to_string(), Int),
        ]
        .into_iter()
        .map(|(name, value, kind)| ConfigEntry {
            name,
            value: value.into(),
            source: ConfigSource::Broker,
            kind,
            read_only: true,
        })
        .collect()
    }

    pub(super) fn alter_configs(&mut self, request: &AlterConfigsRequest) -> AlterConfigsAnswer {
        let alter = |(resource, changes): &(Resource, Vec<(Text, ConfigChange)>)| {
            (resource.clone(), self.alter(resource, changes, request.replace, request.validate_only))
        };
        AlterConfigsAnswer { resources: request.resources.iter().map(alter).collect() }
    }

    fn alter(
        &mut self,
        resource: &Resource,
        changes: &[(Text, ConfigChange)],
        replace: bool,
        validate_only: bool,
    ) -> Result<(), Refusal> {
        let name = match resource {
            Resource::Topic(name) => name,
            Resource::Broker(_) => {
                let message = "The brokers' own configurations are set when the cluster starts.";
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            Resource::Other(kind, _) => {
                let message = format!("Resource type {kind} has no configurations here.");
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
        };
        let Some(topic) = self.topics.get_mut(name) else {
            return Err(Refusal::new(
                ErrorCode::UnknownTopicOrPartition,
                format!("The topic '{name}' does not exist."),
            ));
        };
        let mut config = if replace { topic.config.fresh() } else { topic.config.clone() };
        let mut seen = BTreeSet::new();
        for (name, change) in changes {
            if !seen.insert(name) {
                let message = format!("Error due to duplicate config keys: {name}");
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            config.change(name, change)?;
        }
        if !validate_only {
            topic.config = config;
        }
        Ok(())
    }
}
