//! Topics: their names, their settings, their partitions.

pub(crate) mod config;
pub(crate) mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_core::model::PartitionId;

use crate::message::{Text, TopicId, TopicRef};
use crate::partition::Partition;
use config::TopicConfig;

/// One topic.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) config: TopicConfig,
}

impl Topic {
    pub(crate) fn partition(&self, number: PartitionId) -> Option<&Partition> {
        self.partitions.get(usize::try_from(number.0).ok()?)
    }

    pub(crate) fn partition_mut(&mut self, number: PartitionId) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(number.0).ok()?)
    }

    /// How many replicas each partition has.
    pub(crate) fn replication(&self) -> i16 {
        let replicas = self.partitions.first().map_or(0, |partition| partition.replicas().len());
        i16::try_from(replicas).unwrap_or(i16::MAX)
    }
}

/// All topics, by name and by id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topics {
    by_name: BTreeMap<Text, Topic>,
    names: BTreeMap<TopicId, Text>,
    /// Those that share a metric's name, by that.
    by_metric: BTreeMap<String, BTreeSet<Text>>,
}

impl Topics {
    pub(crate) fn get(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.by_name.get_mut(name)
    }

    pub(crate) fn name_of(&self, id: TopicId) -> Option<&Text> {
        self.names.get(&id)
    }

    /// The topic's name, if there is such a topic.
    pub(crate) fn find(&self, topic: &TopicRef) -> Option<&Text> {
        match topic {
            TopicRef::Name(name) => self.by_name.get_key_value(name).map(|(name, _)| name),
            TopicRef::Id(id) | TopicRef::Both(_, id) => self.name_of(*id),
        }
    }

    /// The topic's id, if there is such a topic.
    pub(crate) fn id_of(&self, topic: &TopicRef) -> Option<TopicId> {
        Some(self.get(self.find(topic)?)?.id)
    }

    pub(crate) fn partition(&self, topic: &str, number: PartitionId) -> Option<&Partition> {
        self.get(topic)?.partition(number)
    }

    pub(crate) fn partition_mut(&mut self, topic: &str, number: PartitionId) -> Option<&mut Partition> {
        self.get_mut(topic)?.partition_mut(number)
    }

    /// The first topic whose name would collide with this one.
    pub(crate) fn colliding(&self, name: &str) -> Option<&Text> {
        self.by_metric.get(&names::of_metric(name))?.iter().find(|other| ***other != *name)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// By name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Text, &Topic)> {
        self.by_name.iter()
    }

    /// By name.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&Text, &mut Topic)> {
        self.by_name.iter_mut()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(crate) fn insert(&mut self, name: Text, topic: Topic) {
        self.names.insert(topic.id, Arc::clone(&name));
        self.by_metric.entry(names::of_metric(&name)).or_default().insert(Arc::clone(&name));
        self.by_name.insert(name, topic);
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Topic> {
        let topic = self.by_name.remove(name)?;
        self.names.remove(&topic.id);
        let metric = names::of_metric(name);
        if let Some(alike) = self.by_metric.get_mut(&metric) {
            alike.remove(name);
            if alike.is_empty() {
                self.by_metric.remove(&metric);
            }
        }
        Some(topic)
    }
}
