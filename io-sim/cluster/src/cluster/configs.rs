//! Configurations: describing and changing.

use std::collections::BTreeSet;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::BrokerId;

use super::Cluster;
use crate::message::{
    AlterConfigsAnswer, AlterConfigsRequest, ConfigChange, ConfigEntry, ConfigSource, ConfigType,
    DescribeConfigsAnswer, DescribeConfigsRequest, Refusal, Resource, Synonym, Text,
};
use crate::offsets::MAX_METADATA;
use crate::topics::names;

impl Cluster {
    pub(super) fn describe_configs(&self, request: DescribeConfigsRequest) -> DescribeConfigsAnswer {
        let describe = |(resource, names): (Resource, Option<Vec<Text>>)| {
            let entries = self.configs_of(&resource).map(|entries| {
                let is_wanted = |entry: &ConfigEntry| {
                    // No names at all are taken for all of them.
                    names.as_ref().is_none_or(|names| {
                        names.is_empty() || names.iter().any(|name| **name == *entry.name)
                    })
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
        // Name, Kafka's default, value, type.
        [
            ("auto.create.topics.enable", "true", config.auto_create_topics.to_string(), Boolean),
            ("default.replication.factor", "1", config.default_replication.to_string(), Int),
            ("group.initial.rebalance.delay.ms", "3000", millis(config.initial_rebalance_delay), Int),
            ("group.max.session.timeout.ms", "1800000", millis(config.max_session_timeout), Int),
            ("group.max.size", "2147483647", config.max_group_size.min(i32::MAX as usize).to_string(), Int),
            ("group.min.session.timeout.ms", "6000", millis(config.min_session_timeout), Int),
            ("log.cleanup.policy", "delete", topic("cleanup.policy"), ConfigType::List),
            ("log.retention.bytes", "-1", topic("retention.bytes"), Long),
            ("log.retention.ms", "", topic("retention.ms"), Long),
            ("log.segment.bytes", "1073741824", topic("segment.bytes"), Int),
            ("message.max.bytes", "1048588", topic("max.message.bytes"), Int),
            ("min.insync.replicas", "1", topic("min.insync.replicas"), Int),
            ("node.id", "", broker.to_string(), Int),
            ("num.partitions", "1", config.default_partitions.to_string(), Int),
            ("offset.metadata.max.bytes", "4096", MAX_METADATA.to_string(), Int),
            (
                "offsets.retention.minutes",
                "10080",
                (config.offsets_retention.as_secs() / 60).to_string(),
                Int,
            ),
            ("replica.lag.time.max.ms", "30000", millis(config.replica_lag), Long),
            ("socket.request.max.bytes", "104857600", crate::wire::MAX_FRAME.to_string(), Int),
        ]
        .into_iter()
        .map(|(name, default, value, kind)| {
            let source = if value == default { ConfigSource::Default } else { ConfigSource::Broker };
            let value = Text::from(value);
            let mut synonyms = vec![Synonym { name, value: value.clone(), source }];
            if source == ConfigSource::Broker && !default.is_empty() {
                synonyms.push(Synonym { name, value: default.into(), source: ConfigSource::Default });
            }
            ConfigEntry { name, value, source, kind, read_only: true, synonyms }
        })
        .collect()
    }

    pub(super) fn alter_configs(&mut self, request: &AlterConfigsRequest) -> AlterConfigsAnswer {
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<_> =
            request.resources.iter().map(|(resource, _)| resource).filter(|r| !seen.insert(*r)).collect();
        let alter = |(resource, changes): &(Resource, Vec<(Text, ConfigChange)>)| {
            let outcome = if twice.contains(resource) {
                Err(Refusal::new(ErrorCode::InvalidRequest, "Each resource must appear at most once."))
            } else {
                self.alter(resource, changes, request.replace, request.validate_only)
            };
            (resource.clone(), outcome)
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
        if name.is_empty() {
            return Err(Refusal::new(ErrorCode::InvalidRequest, "Default topic resources are not allowed."));
        }
        names::check(name)?;
        // Whether there is such a topic comes last.
        let before = self.topics.get(name).map_or(&self.topic_defaults, |topic| &topic.config);
        let mut config = if replace { before.fresh() } else { before.clone() };
        let mut seen = BTreeSet::new();
        for (name, change) in changes {
            if !seen.insert(name) {
                let message = format!("Error due to duplicate config keys: {name}");
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            config.change(name, change)?;
        }
        config.check()?;
        let Some(topic) = self.topics.get_mut(name) else {
            let message = format!("The topic '{name}' does not exist.");
            return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message));
        };
        if !validate_only {
            topic.config = config;
            self.elect_leaderless(name);
        }
        Ok(())
    }
}
