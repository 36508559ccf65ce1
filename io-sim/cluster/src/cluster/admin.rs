//! Topics: creating, deleting, growing.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{BrokerId, PartitionId};

use super::Cluster;
use crate::message::{
    ConfigChange, CreatePartitionsAnswer, CreatePartitionsRequest, CreateTopicsAnswer, CreateTopicsRequest,
    CreatedTopic, DeleteTopicsAnswer, DeleteTopicsRequest, MorePartitions, NewTopic, Refusal, Text, TopicId,
    TopicRef,
};
use crate::partition::Partition;
use crate::topics::{Topic, names};

/// So many partitions are not made by one request: what it takes to make them grows with their number, not with the
/// request's size. Kafka's bound, too.
const MAX_PARTITIONS: usize = 10_000;

impl Cluster {
    pub(super) fn create_topics(&mut self, request: &CreateTopicsRequest) -> CreateTopicsAnswer {
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<_> =
            request.topics.iter().map(|new| &new.name).filter(|name| !seen.insert(*name)).collect();
        let once = || request.topics.iter().filter(|new| !twice.contains(&new.name));
        let too_many =
            once().map(|new| self.partitions_wanted(new)).fold(0, usize::saturating_add) >= MAX_PARTITIONS;
        // Names collide with those of topics that were there before; those of one request are not compared.
        let colliding: BTreeMap<_, _> = request
            .topics
            .iter()
            .filter(|new| self.topics.get(&new.name).is_none())
            .filter_map(|new| Some((new.name.clone(), self.colliding(&new.name)?.clone())))
            .collect();
        let mut topics: Vec<_> = once()
            .map(|new| {
                let outcome = match colliding.get(&new.name) {
                    _ if too_many => Err(excessive()),
                    Some(other) => Err(collision(&new.name, other)),
                    None => self.create_topic(new, request.validate_only),
                };
                (new.name.clone(), outcome)
            })
            .collect();
        // What was asked twice is answered once, after the others.
        let refused = || Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name."));
        topics.extend(twice.into_iter().map(|name| (name.clone(), refused())));
        CreateTopicsAnswer { topics }
    }

    fn partitions_wanted(&self, new: &NewTopic) -> usize {
        if new.assignment.is_empty() {
            usize::try_from(new.partitions.unwrap_or(self.config.default_partitions)).unwrap_or(0)
        } else {
            new.assignment.len()
        }
    }

    /// A topic whose name would collide.
    pub(super) fn colliding(&self, name: &str) -> Option<&Text> {
        self.topics.colliding(name)
    }

    pub(super) fn create_topic(
        &mut self,
        new: &NewTopic,
        validate_only: bool,
    ) -> Result<CreatedTopic, Refusal> {
        names::check(&new.name)?;
        if names::is_reserved(&new.name) {
            let message = format!("Creation of internal topic {} is prohibited.", new.name);
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        if self.topics.get(&new.name).is_some() {
            let message = format!("Topic '{}' already exists.", new.name);
            return Err(Refusal::new(ErrorCode::TopicAlreadyExists, message));
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
        config.check()?;
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
        let first = self.topics.len();
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
        if !consecutive {
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
            // Nobody of them would be in sync, so that none could ever lead.
            if !chosen.iter().any(|broker| self.brokers.is_alive(*broker)) {
                let message = "All brokers specified in the manual partition assignment are down.";
                return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
            }
        }
        Ok(())
    }

    pub(super) fn delete_topics(&mut self, request: &DeleteTopicsRequest) -> DeleteTopicsAnswer {
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<_> = request.topics.iter().filter(|topic| !seen.insert(*topic)).collect();
        let (mut refused, mut found) = (Vec::new(), BTreeMap::new());
        // What was asked twice is answered once.
        let once = request.topics.iter().filter(|topic| !twice.contains(topic));
        for topic in twice.iter().copied().chain(once) {
            let (name, id) = match topic {
                TopicRef::Name(name) => (Some(name.clone()), TopicId::default()),
                TopicRef::Id(id) => (None, *id),
                TopicRef::Both(name, id) => (Some(name.clone()), *id),
            };
            let is_unclear = name.is_some() != (id == TopicId::default());
            match (self.topics.find(topic).cloned(), self.topics.id_of(topic)) {
                _ if is_unclear || twice.contains(topic) => {
                    refused.push((name, id, Err(ErrorCode::InvalidRequest)));
                }
                (Some(name), Some(id)) => {
                    // By name and by id: the same topic twice.
                    let outcome =
                        if found.contains_key(&id) { Err(ErrorCode::InvalidRequest) } else { Ok(()) };
                    found.insert(id, (name, outcome));
                }
                _ if name.is_some() => refused.push((name, id, Err(ErrorCode::UnknownTopicOrPartition))),
                _ => refused.push((name, id, Err(ErrorCode::UnknownTopicId))),
            }
        }
        for (id, (name, outcome)) in found {
            if outcome.is_ok() {
                self.delete_topic(&name);
            }
            refused.push((Some(name), id, outcome));
        }
        DeleteTopicsAnswer { topics: refused }
    }

    fn delete_topic(&mut self, name: &Text) {
        let Some(topic) = self.topics.remove(name) else { return };
        self.groups.forget_topic(name);
        for (number, _) in (0..).zip(&topic.partitions) {
            self.laggards.note(name, PartitionId(number), None);
        }
        for id in topic.partitions.iter().flat_map(|partition| &partition.waiting) {
            // It finds the topic gone, which is news.
            self.look_again(*id, false);
        }
    }

    pub(super) fn create_partitions(&mut self, request: &CreatePartitionsRequest) -> CreatePartitionsAnswer {
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<_> =
            request.topics.iter().map(|more| &more.name).filter(|name| !seen.insert(*name)).collect();
        let refused = || Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name."));
        // What was asked twice is answered once.
        let mut topics: Vec<_> = twice.iter().map(|name| ((*name).clone(), refused())).collect();
        let mut room = MAX_PARTITIONS;
        for more in request.topics.iter().filter(|more| !twice.contains(&more.name)) {
            topics.push((more.name.clone(), self.grow(more, &mut room, request.validate_only)));
        }
        CreatePartitionsAnswer { topics }
    }

    /// Adds partitions, of which the request has `room` left.
    fn grow(&mut self, more: &MorePartitions, room: &mut usize, validate_only: bool) -> Result<(), Refusal> {
        let Some(topic) = self.topics.get(&more.name) else {
            return Err(ErrorCode::UnknownTopicOrPartition.into());
        };
        let (has, replication) = (topic.partitions.len(), topic.replication());
        let wanted = usize::try_from(more.count).unwrap_or(0);
        if wanted <= has {
            let message = format!(
                "The topic {} currently has {has} partition(s); {} would not be an increase.",
                more.name, more.count
            );
            return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        }
        *room = room.checked_sub(wanted - has).ok_or_else(excessive)?;
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
}

fn excessive() -> Refusal {
    Refusal::new(ErrorCode::PolicyViolation, "Excessively large number of partitions per request.")
}

fn collision(name: &Text, other: &Text) -> Refusal {
    Refusal::new(ErrorCode::InvalidTopic, format!("Topic '{name}' collides with existing topic: {other}"))
}
