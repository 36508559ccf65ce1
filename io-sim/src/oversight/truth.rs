//! What is true of the cluster and what only the world can know: whose member id it is, which records there are.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use evenkeel_core::model::{BrokerId, Generation, Offset, PartitionId, Time};
use evenkeel_core::records::{self, Batches};

use super::stale::Outdated;
use crate::history::{EventNo, Facts, GroupNo, HandlerNo, Life, Place, Share, TopicNo};

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    /// Who goes by which member id.
    members: BTreeMap<(GroupNo, std::sync::Arc<str>), Life>,
    /// The last generation whose assignment was told.
    generations: BTreeMap<GroupNo, Generation>,
    /// When each process last learnt that it is well in its group.
    well: BTreeMap<Life, Time>,
    /// Who owns what, by the last assignment.
    owners: BTreeMap<(GroupNo, Place), Life>,
    /// Up to where each log was told.
    told: BTreeMap<Place, Offset>,
    /// Logs that lost their first records to retention.
    trimmed: BTreeSet<Place>,
    /// How many partitions topics have that got more.
    grown: BTreeMap<TopicNo, u32>,
    /// Brokers that go by an old map, and the map.
    pub(crate) outdated: BTreeMap<BrokerId, Outdated>,
}

impl Truth {
    /// A member learnt its id.
    pub(crate) fn is_member(&mut self, group: GroupNo, id: std::sync::Arc<str>, life: Life) {
        self.members.insert((group, id), life);
    }

    /// Who goes by a member id.
    pub(crate) fn member(&self, group: GroupNo, id: &std::sync::Arc<str>) -> Option<Life> {
        self.members.get(&(group, std::sync::Arc::clone(id))).copied()
    }

    /// A coordinator told a process that it is well in its group.
    pub(crate) fn is_well(&mut self, life: Life, now: Time) {
        self.well.insert(life, now);
    }

    /// Whether it did so at some time or later.
    pub(crate) fn was_well_since(&self, life: Life, time: Time) -> bool {
        self.well.get(&life).is_some_and(|at| *at >= time)
    }

    /// The group in which a process goes by a member id.
    pub(crate) fn group_of(&self, id: &std::sync::Arc<str>, life: Life) -> Option<GroupNo> {
        let mut known = self.members.iter().filter(|((_, known), of)| known == id && **of == life);
        known.next().map(|((group, _), _)| *group)
    }

    /// Whether the assignment of a generation is news.
    pub(crate) fn is_new(&mut self, group: GroupNo, generation: Generation) -> bool {
        self.generations.insert(group, generation) != Some(generation)
    }

    /// A generation was assigned.
    pub(crate) fn assigned(&mut self, group: GroupNo, shares: &[Share]) {
        self.owners.retain(|(of, _), _| *of != group);
        for share in shares {
            self.owners.extend(share.places.iter().map(|place| ((group, *place), share.life)));
        }
    }

    /// Whether a process owns a partition.
    pub(crate) fn owns_any(&self, life: Life) -> bool {
        self.owners.values().any(|owner| *owner == life)
    }

    /// Who owns a partition, in the first group that has it.
    pub(crate) fn owner(&self, place: Place) -> Option<Life> {
        self.owners.iter().find(|((_, at), _)| *at == place).map(|(_, life)| *life)
    }

    /// How many partitions a topic has that got more than it began with.
    pub(crate) fn grown(&self, topic: TopicNo) -> Option<u32> {
        self.grown.get(&topic).copied()
    }

    /// A topic has so many partitions now; `None` if as many as it began with.
    pub(crate) fn grow(&mut self, topic: TopicNo, partitions: Option<u32>) {
        match partitions {
            Some(partitions) => self.grown.insert(topic, partitions),
            None => self.grown.remove(&topic),
        };
    }

    /// Up to where a log was told.
    pub(crate) fn told(&self, place: Place) -> Offset {
        self.told.get(&place).copied().unwrap_or_default()
    }

    /// A log lost its first records.
    pub(crate) fn trim(&mut self, place: Place) {
        self.trimmed.insert(place);
    }

    /// Whether it ever did, since its topic was made.
    pub(crate) fn was_trimmed(&self, place: Place) -> bool {
        self.trimmed.contains(&place)
    }

    /// A log is gone with its topic.
    pub(crate) fn delete(&mut self, place: Place) {
        self.trimmed.remove(&place);
        self.cut(place, Offset::ZERO);
    }

    /// What lies below an offset is not there to be told.
    pub(crate) fn pass_over(&mut self, place: Place, to: Offset) {
        self.told.insert(place, to);
    }

    /// A log ends there now; false if no more was told.
    pub(crate) fn cut(&mut self, place: Place, end: Offset) -> bool {
        let is_cut = self.told(place) > end;
        if is_cut {
            self.told.insert(place, end);
        }
        is_cut
    }

    /// The records of these batches that were not told yet. They are told now.
    pub(crate) fn news(&mut self, place: Place, batches: &[Bytes]) -> Vec<(Offset, Option<EventNo>)> {
        let from = self.told(place);
        let mut news = Vec::new();
        let mut next = from;
        for bytes in batches {
            let batches = Batches { bytes: bytes.clone(), aborted: Vec::new() };
            let decoded = records::decode(batches, from);
            news.extend(decoded.records().map(|record| (record.offset(), event_of(&record))));
            next = next.max(decoded.next_offset);
        }
        self.told.insert(place, next);
        news
    }
}

/// The workload's events have its number for an id.
pub(crate) fn event_of(record: &records::RecordRef) -> Option<EventNo> {
    let id = record.headers().find(|header| header.key == b"ce_id")?.value?;
    std::str::from_utf8(id).ok()?.parse().ok().map(EventNo)
}

/// Which of a process's handlers is meant by a name, for events of a place.
pub(crate) fn handler(facts: &Facts, handlers: &[HandlerNo], name: &str, place: Place) -> Option<HandlerNo> {
    let is_meant = |known: &HandlerNo| {
        let known = facts.handler(*known);
        *known.name == *name && known.topic == place.topic
    };
    handlers.iter().copied().find(is_meant)
}

/// The place of a topic's partition, if the topic is the world's.
pub(crate) fn place(facts: &Facts, topic: &str, partition: PartitionId) -> Option<Place> {
    let nth = facts.topics.iter().position(|known| *known.name == *topic)?;
    Some(Place { topic: TopicNo(u16::try_from(nth).ok()?), partition })
}

/// A group's number, if the group is the world's.
pub(crate) fn group(facts: &Facts, name: &str) -> Option<GroupNo> {
    let nth = facts.groups.iter().position(|known| *known.name == *name)?;
    u16::try_from(nth).ok().map(GroupNo)
}
