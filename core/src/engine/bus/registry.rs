//! What was registered: handlers by group, before anything runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::invoke::Invoke;
use crate::error::RegistrationError;
use crate::machine::consumer::{ConsumerConfig, HandlerConfig};
use crate::model::{GroupName, TopicName};

/// All groups of a bus.
#[derive(Default)]
pub(super) struct Registry {
    pub(super) groups: BTreeMap<GroupName, GroupHandlers>,
}

/// The handlers of one group.
pub(super) struct GroupHandlers {
    pub(super) consumer: ConsumerConfig,
    pub(super) invokers: Vec<Arc<dyn Invoke>>,
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
        let handlers = self.groups.entry(group.clone()).or_insert_with(|| GroupHandlers {
            consumer: ConsumerConfig::new(group.clone()),
            invokers: Vec::new(),
        });
        let known = handlers.consumer.topics.iter().position(|known| *known == topic);
        let place = known.unwrap_or(handlers.consumer.topics.len());
        let config = configure(place);
        let twin = |other: &HandlerConfig| other.topic == place && other.name == config.name;
        if handlers.consumer.handlers.iter().any(twin) {
            return Err(RegistrationError::Duplicate { group, topic, handler: config.name });
        }
        if known.is_none() {
            handlers.consumer.topics.push(topic);
        }
        handlers.consumer.handlers.push(config);
        handlers.invokers.push(invoker);
        Ok(())
    }
}
