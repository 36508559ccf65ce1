//! What was registered: handlers by group, before anything runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{AnswerLimits, StartError};
use crate::engine::invoke::Invoke;
use crate::error::RegistrationError;
use crate::machine::consumer::{ConsumerConfig, HandlerConfig};
use crate::machine::group::GroupConfig;
use crate::model::{GroupName, GroupSettings, TopicName};

/// All groups of a bus.
#[derive(Default)]
pub(super) struct Registry {
    groups: BTreeMap<GroupName, GroupEntry>,
    /// Kept with the groups, so that what comes while the bus is started is either started or refused.
    started: bool,
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
    /// All topics that handlers wait for, each with a group that has one of them, if what was registered can be started.
    pub(super) fn topics(
        &self,
        answers: Option<&AnswerLimits>,
    ) -> Result<BTreeMap<TopicName, GroupName>, StartError> {
        self.check(answers)?;
        let of_group = |(group, entry): (&GroupName, &GroupEntry)| {
            entry.topics.iter().map(|topic| (topic.clone(), group.clone())).collect::<Vec<_>>()
        };
        Ok(self.groups.iter().flat_map(of_group).collect())
    }

    /// Hands out what was registered, once. If it cannot be started, all is as before.
    pub(super) fn begin(
        &mut self,
        answers: Option<&AnswerLimits>,
    ) -> Result<BTreeMap<GroupName, GroupEntry>, StartError> {
        self.check(answers)?;
        self.started = true;
        Ok(std::mem::take(&mut self.groups))
    }

    fn check(&self, answers: Option<&AnswerLimits>) -> Result<(), StartError> {
        if self.started {
            return Err(StartError::Twice);
        }
        for (group, entry) in &self.groups {
            if entry.handlers.is_empty() {
                return Err(StartError::NoHandlers { group: group.clone() });
            }
            if let Some(Err(cause)) = answers.map(|limits| limits.check(&entry.settings)) {
                return Err(StartError::Setting { group: group.clone(), cause });
            }
        }
        Ok(())
    }

    /// Sets how a group behaves.
    pub(super) fn set(&mut self, group: GroupName, settings: GroupSettings) -> Result<(), RegistrationError> {
        if self.started {
            return Err(RegistrationError::LateSettings { group });
        }
        self.groups.entry(group).or_default().settings = settings;
        Ok(())
    }

    /// Adds a handler. `configure` gets the place of its topic.
    pub(super) fn add(
        &mut self,
        group: GroupName,
        topic: TopicName,
        configure: impl FnOnce(usize) -> HandlerConfig,
        invoker: Arc<dyn Invoke>,
    ) -> Result<(), RegistrationError> {
        // The place does not count where nothing is added.
        if self.started {
            let handler = configure(0).name;
            return Err(RegistrationError::Started { group, topic, handler });
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::engine::invoke::{Conclusion, Invocation};
    use crate::model::OnFailure;

    struct Idle;

    impl Invoke for Idle {
        fn invoke(&self, _: Invocation) -> BoxFuture<'static, Conclusion> {
            Box::pin(std::future::pending())
        }
    }

    fn billing() -> GroupName {
        GroupName::new("billing").expect("a legal name")
    }

    fn register(registry: &mut Registry) -> Result<(), RegistrationError> {
        let topic = TopicName::new("orders").expect("a legal name");
        let configure = |place| HandlerConfig::new("charge", place, OnFailure::Block);
        registry.add(billing(), topic, configure, Arc::new(Idle))
    }

    #[test]
    fn what_comes_once_the_bus_has_begun_is_refused() {
        let mut registry = Registry::default();
        register(&mut registry).expect("nothing runs yet");
        assert_eq!(registry.begin(None).expect("it has a handler").len(), 1);
        let late = register(&mut registry);
        assert!(matches!(late, Err(RegistrationError::Started { .. })), "{late:?}");
        let late = registry.set(billing(), GroupSettings::default());
        assert!(matches!(late, Err(RegistrationError::LateSettings { .. })), "{late:?}");
        assert!(matches!(registry.begin(None), Err(StartError::Twice)));
    }

    #[test]
    fn a_group_that_does_not_fit_the_connections_starts_nothing_until_it_does() {
        let mut registry = Registry::default();
        register(&mut registry).expect("nothing runs yet");
        let limits = AnswerLimits { bytes: 1 << 20, heartbeat: Duration::from_secs(5) };
        let refused = registry.begin(Some(&limits)).map(|groups| groups.len());
        assert!(
            matches!(&refused, Err(StartError::Setting { group, .. }) if *group == billing()),
            "{refused:?}"
        );
        registry
            .set(billing(), GroupSettings::default().fetch_answer_bytes(1 << 19))
            .expect("nothing runs yet");
        assert_eq!(registry.begin(Some(&limits)).expect("it fits").len(), 1);
    }
}
