//! Topics, and what may become of their logs: cut, deleted, made anew.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_cluster::Input;
use evenkeel_cluster::message::{Answer, CreateTopicsRequest, DeleteTopicsRequest, NewTopic, TopicRef};
use evenkeel_core::model::{BrokerId, Offset, PartitionId};

use super::world::{Todo, World};
use crate::history::{Happening, Place, TopicNo};
use crate::world::truth;

/// When what did not succeed is tried again.
const AGAIN: Duration = Duration::from_millis(500);

impl World {
    /// Makes topics of the run; false if the broker does not.
    pub(super) fn create_topics(&mut self, broker: BrokerId, which: impl Fn(TopicNo) -> bool) -> bool {
        let numbers = &self.setup.numbers;
        let wanted = (0..).map(TopicNo).zip(&self.facts.topics).filter(|(number, _)| which(*number));
        let topics = wanted.map(|(_, topic)| NewTopic {
            name: Arc::clone(&topic.name),
            partitions: Some(topic.partitions as i32),
            replication: None,
            assignment: Vec::new(),
            configs: vec![
                ("min.insync.replicas".into(), Some(numbers.min_in_sync.to_string().into())),
                ("max.message.bytes".into(), Some(numbers.max_message.to_string().into())),
                ("internal.segment.bytes".into(), Some(numbers.segment.to_string().into())),
            ],
        });
        let request = CreateTopicsRequest { topics: topics.collect(), validate_only: false };
        let answer = self.query(broker, request.into());
        matches!(answer, Some(Answer::CreateTopics(answer)) if answer.topics.iter().all(|topic| topic.1.is_ok()))
    }

    /// Makes a topic that was deleted anew, as soon as there are brokers enough.
    pub(super) fn create_topic(&mut self, topic: TopicNo) {
        let mut brokers = self.alive.clone().into_iter();
        if !brokers.any(|broker| self.create_topics(broker, |wanted| wanted == topic)) {
            self.plan_at(self.now + AGAIN, Todo::CreateTopic(topic));
        }
    }

    /// Deletes a topic with all that is in it; false if it is not there or no broker does it.
    pub(super) fn delete_topic(&mut self, topic: TopicNo) -> bool {
        let Some(any) = self.alive.first().copied() else { return false };
        let facts = &self.facts.topics[usize::from(topic.0)];
        let (name, partitions) = (Arc::clone(&facts.name), facts.partitions);
        let places = (0..partitions as i32).map(|number| Place { topic, partition: PartitionId(number) });
        for place in places.clone() {
            // What was acknowledged until now is told, also where nobody has read it.
            self.read_to_the_end(any, place);
        }
        let deleted = self.alive.clone().into_iter().any(|broker| {
            let request = DeleteTopicsRequest { topics: vec![TopicRef::Name(Arc::clone(&name))] };
            let answer = self.query(broker, request.into());
            matches!(answer, Some(Answer::DeleteTopics(answer)) if answer.topics.iter().all(|topic| topic.2.is_ok()))
        });
        if deleted {
            for place in places {
                self.truth.cut(place, Offset::ZERO);
                self.tell(Happening::Truncated { place, end: Offset::ZERO });
            }
        }
        deleted
    }

    /// A replica that has not copied for a while comes to lead.
    pub(super) fn elect_unclean(&mut self, to: BrokerId, partition: PartitionId, topic: Arc<str>) {
        let place = truth::place(&self.facts, &topic, partition);
        if let (Some(any), Some(place)) = (self.alive.first().copied(), place) {
            // What was acknowledged until now is told, also where nobody has read it, unless nobody leads.
            let is_told = self.read_to_the_end(any, place);
            self.strike_cluster(Input::ElectUnclean { topic: Arc::clone(&topic), partition, to });
            if let Some(end) = self.log_end(any, place)
                && (self.truth.cut(place, end) || !is_told)
            {
                self.tell(Happening::Truncated { place, end });
            }
        }
        self.strike_cluster(Input::Replication { topic, partition, broker: to, runs: true });
    }
}
