//! Brokers that go by an old map of the cluster: what they tell of leaders, partitions, topics and brokers is what was
//! true when it began. What they do is not: whoever believes them is refused where the map is wrong.

use evenkeel_cluster::message::{Answer, MetadataAnswer, MetadataRequest, TopicId, TopicMetadata};
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{BrokerId, Time};

use super::Oversight;

/// What a broker goes by, and until when.
#[derive(Debug, Clone)]
pub(crate) struct Outdated {
    until: Time,
    map: MetadataAnswer,
}

/// A broker learns nothing new until then.
pub(crate) fn begin(world: &mut impl Oversight, broker: BrokerId, until: Time) {
    if let Some(outdated) = world.truth().outdated.get_mut(&broker) {
        outdated.until = outdated.until.max(until);
        return;
    }
    let request = MetadataRequest { topics: None, may_create: false };
    if world.alive().contains(&broker)
        && let Some(Answer::Metadata(map)) = world.query(broker, request.into())
    {
        world.truth().outdated.insert(broker, Outdated { until, map });
    }
}

/// All brokers know the cluster as it is; false if they did before.
pub(crate) fn end_all(world: &mut impl Oversight) -> bool {
    !std::mem::take(&mut world.truth().outdated).is_empty()
}

/// The answer as a broker gives it that goes by what it knows.
pub(crate) fn as_known(world: &mut impl Oversight, now: Time, broker: BrokerId, answer: Answer) -> Answer {
    let Answer::Metadata(answer) = answer else { return answer };
    let outdated = &mut world.truth().outdated;
    if outdated.get(&broker).is_some_and(|outdated| outdated.until <= now) {
        outdated.remove(&broker);
    }
    match outdated.get(&broker) {
        Some(Outdated { map, .. }) => by_map(map, answer),
        None => answer,
    }
    .into()
}

/// What was asked for, as the map has it.
fn by_map(map: &MetadataAnswer, answer: MetadataAnswer) -> MetadataAnswer {
    let of_map = |told: TopicMetadata| {
        let known = map.topics.iter().find(|known| known.name.is_some() && known.name == told.name);
        known.cloned().unwrap_or(TopicMetadata {
            name: told.name,
            id: TopicId::default(),
            partitions: Err(ErrorCode::UnknownTopicOrPartition),
        })
    };
    MetadataAnswer {
        brokers: map.brokers.clone(),
        controller: map.controller,
        topics: answer.topics.into_iter().map(of_map).collect(),
        ..answer
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::message::{BrokerAddress, PartitionMetadata};
    use evenkeel_core::model::{LeaderEpoch, PartitionId};

    use super::*;

    fn map(leader: i32, partitions: i32, topics: &[&str]) -> MetadataAnswer {
        let partition = |number| PartitionMetadata {
            partition: PartitionId(number),
            leader: Some(BrokerId(leader)),
            leader_epoch: LeaderEpoch(leader),
            replicas: Vec::new(),
            in_sync: Vec::new(),
            offline: Vec::new(),
        };
        let topic = |name: &&str| TopicMetadata {
            name: Some((*name).into()),
            id: TopicId::default(),
            partitions: Ok((0..partitions).map(partition).collect()),
        };
        MetadataAnswer {
            brokers: vec![BrokerAddress { broker: BrokerId(leader), host: "broker".into(), port: 9092 }],
            cluster_id: "cluster".into(),
            controller: Some(BrokerId(leader)),
            topics: topics.iter().map(topic).collect(),
        }
    }

    #[test]
    fn what_was_asked_for_is_told_as_it_was() {
        let old = map(1, 2, &["orders", "refunds"]);
        let told = by_map(&old, map(3, 4, &["orders", "parcels"]));
        assert_eq!(told.topics[0], old.topics[0]);
        assert_eq!(told.topics[1].partitions, Err(ErrorCode::UnknownTopicOrPartition), "it came later");
        assert_eq!((told.topics.len(), told.brokers, told.controller), (2, old.brokers, old.controller));
    }
}
