//! What was registered: handlers by group, before anything runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::invoke::Invoke;
use crate::error::RegistrationError;
use crate::machine::consumer::{ConsumerConfig, HandlerConfig};
use crate::machine::group::GroupConfig;
use crate::model::{GroupName, GroupSettings, TopicName};

/// All groups of a bus.
#[derive(Default)]
pub(super) struct Registry {
    pub(super) groups: BTreeMap<GroupName, GroupEntry>,
}

/// One group: its handlers, and how its members behave.
#[derive(Default)]
pub(super) struct GroupEntry {
    pub(super) settings: GroupSettings,
    pub(super) topics: Vec<TopicName>,
    pub(super) handlers: Vec<HandlerConfig>,
    pub(super) invokers: Vec<Arc<dyn Invoke>>,
}

impl GroupEntry {
    pub(super) fn group_config(&self, group: &GroupName) -> GroupConfig {
        GroupConfig {
            session_timeout: self.settings.session_timeout,
            heartbeat_interval: self.settings.heartbeat_interval,
            rebalance_timeout: self.settings.rebalance_timeout,
            ..GroupConfig::new(group.clone(), self.topics.clone())
        }
    }

    pub(super) fn consumer_config(&self, group: &GroupName) -> ConsumerConfig {
        ConsumerConfig {
            topics: self.topics.clone(),
            handlers: self.handlers.clone(),
            concurrency: self.settings.concurrency,
            window_events: self.settings.window_events,
            window_bytes: self.settings.window_bytes,
            fetch_bytes: self.settings.fetch_bytes,
            fetch_answer_bytes: self.settings.fetch_answer_bytes,
            fetch_wait: self.settings.fetch_wait,
            commit_interval: self.settings.commit_interval,
            ..ConsumerConfig::new(group.clone())
        }
    }
}

impl Registry {
    /// Adds a handler. `configure` gets the place of its topic.
    pub(super) fn add(
        &mut self,
        group: GroupName,
        topic: TopicName,
        configure: impl FnOnce(usize) -> HandlerConfig,
        invoker: Arc<dyn Invoke>,
    ) -> Result<(), RegistrationError> {
        let entry = self.groups.entry(group.clone()).or_default();
        let known = entry.topics.iter().position(|known| *known == topic);
        let place = known.unwrap_or(entry.topics.len());
        let config = configure(place);
        let twin = |other: &HandlerConfig| other.topic == place && other.name == config.name;
        if entry.handlers.iter().any(twin) {
            return Err(RegistrationError::Duplicate { group, topic, handler: config.name });
        }
        if known.is_none() {
            entry.topics.push(topic);
        }
        entry.handlers.push(config);
        entry.invokers.push(invoker);
        Ok(())
    }
}
