//! Topics, and what may become of their logs: cut, trimmed, deleted, made anew, grown.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_cluster::Input;
use evenkeel_cluster::message::{
    Answer, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsPartition, DeleteRecordsRequest,
    DeleteTopicsRequest, MorePartitions, NewTopic, OfTopic, Place as LogPlace, TopicRef,
};
use evenkeel_core::model::{BrokerId, LeaderEpoch, Offset};

use super::Oversight;
use crate::history::{Cut, Happening, Place, TopicNo};

/// Makes topics of the run; false if no broker does.
pub(crate) fn create_topics(world: &mut impl Oversight, which: impl Fn(TopicNo) -> bool) -> bool {
    let facts = world.facts();
    let configs = world.topic_configs();
    let wanted = (0..).map(TopicNo).zip(&facts.topics).filter(|(number, _)| which(*number));
    let topics: Vec<_> = wanted
        .map(|(_, topic)| NewTopic {
            name: Arc::clone(&topic.name),
            partitions: Some(topic.partitions as i32),
            replication: None,
            assignment: Vec::new(),
            configs: configs.clone(),
        })
        .collect();
    world.alive().into_iter().any(|broker| {
        let request = CreateTopicsRequest { topics: topics.clone(), validate_only: false };
        let answer = world.query(broker, request.into());
        matches!(answer, Some(Answer::CreateTopics(answer)) if answer.topics.iter().all(|topic| topic.1.is_ok()))
    })
}

/// Deletes a topic with all that is in it; false if it is not there or no broker does it.
pub(crate) fn delete_topic(world: &mut impl Oversight, topic: TopicNo) -> bool {
    let name = Arc::clone(&world.facts().topics[usize::from(topic.0)].name);
    let places = world.places(topic);
    for place in places.iter().copied() {
        // What was acknowledged until now is told, also where nobody has read it.
        world.read_to_the_end(place);
    }
    let deleted = world.alive().into_iter().any(|broker| {
        let request = DeleteTopicsRequest { topics: vec![TopicRef::Name(Arc::clone(&name))] };
        let answer = world.query(broker, request.into());
        matches!(answer, Some(Answer::DeleteTopics(answer)) if answer.topics.iter().all(|topic| topic.2.is_ok()))
    });
    if deleted {
        world.truth().grow(topic, None);
        for place in places {
            world.truth().delete(place);
            world.tell(Happening::Truncated { place, end: Offset::ZERO, why: Cut::Deletion });
        }
    }
    deleted
}

/// A topic gets more partitions, if it is there and a broker does it.
pub(crate) fn grow(world: &mut impl Oversight, topic: TopicNo, by: u32) {
    let name = Arc::clone(&world.facts().topics[usize::from(topic.0)].name);
    let count = world.places(topic).len() as u32 + by;
    let Some(broker) = world.any_broker() else { return };
    let more = MorePartitions { name, count: count as i32, assignment: None };
    let request = CreatePartitionsRequest { topics: vec![more], validate_only: false };
    let answer = world.query(broker, request.into());
    if matches!(answer, Some(Answer::CreatePartitions(answer)) if answer.topics.iter().all(|topic| topic.1.is_ok()))
    {
        world.truth().grow(topic, Some(count));
    }
}

/// A follower stops copying a partition, or goes on.
pub(crate) fn replicate(world: &mut impl Oversight, broker: BrokerId, place: Place, runs: bool) {
    let topic = world.topic_name(place);
    world.strike_cluster(Input::Replication { topic, partition: place.partition, broker, runs });
}

/// A replica that has not copied for a while comes to lead, and goes on.
pub(crate) fn elect_unclean(world: &mut impl Oversight, to: BrokerId, place: Place) {
    // A position that somebody else set does not tell which log it is of: nobody could know that this one parts from it.
    if world.ledger().has_position_set_by_others(place) {
        return replicate(world, to, place, true);
    }
    // What was acknowledged until now is told, also where nobody has read it. Where nobody leads it cannot be.
    if world.read_to_the_end(place).is_some()
        && let Some((_, last)) = world.leader(place)
    {
        let before = epochs(world, place, last);
        let topic = world.topic_name(place);
        world.strike_cluster(Input::ElectUnclean { topic, partition: place.partition, to });
        let after = epochs(world, place, last);
        // The new leader may have records of its own where others were told. Of an epoch that was trimmed away brokers do
        // not tell where it ended: then all may be another's.
        let end = if world.truth().was_trimmed(place) { Offset::ZERO } else { parting(&before, &after) };
        if world.truth().cut(place, end) {
            world.tell(Happening::Truncated { place, end, why: Cut::Election });
            world.read_to_the_end(place);
        }
    }
    replicate(world, to, place, true);
}

/// Where the epochs up to this one end in a log, as far as it has them.
fn epochs(world: &mut impl Oversight, place: Place, last: LeaderEpoch) -> BTreeMap<LeaderEpoch, Offset> {
    let Some((leader, _)) = world.leader(place) else { return BTreeMap::new() };
    let asked = (0..=last.0).map(LeaderEpoch);
    asked.filter_map(|epoch| world.epoch_end(leader, place, epoch)).collect()
}

/// How far two logs are the same.
fn parting(one: &BTreeMap<LeaderEpoch, Offset>, other: &BTreeMap<LeaderEpoch, Offset>) -> Offset {
    let shared = one.iter().filter_map(|(epoch, end)| Some(*end.min(other.get(epoch)?)));
    shared.max().unwrap_or_default()
}

/// Retention takes the beginning of a log: all but so many records are gone, read or not.
pub(crate) fn trim(world: &mut impl Oversight, place: Place, keep: u16) {
    let Some(end) = world.read_to_the_end(place) else { return };
    let Some((leader, _)) = world.leader(place) else { return };
    let before = Offset((end.0 - i64::from(keep)).max(0));
    let wanted = DeleteRecordsPartition { partition: place.partition, before: Some(before) };
    let topics = vec![OfTopic { topic: world.topic_name(place), partitions: vec![wanted] }];
    world.query(leader, DeleteRecordsRequest { topics }.into());
    world.truth().trim(place);
    // The answer speaks of the slowest replica; readers ask the leader.
    if let Some(start) = world.listed(leader, place, LogPlace::Earliest) {
        world.tell(Happening::Destroyed { place, offsets: Offset::ZERO..start });
    }
}
