//! The groups' stored positions.

use evenkeel_core::error::ErrorCode;
use evenkeel_core::machine::group::protocol::Subscription;
use evenkeel_core::model::PartitionId;

use super::Cluster;
use crate::group::Group;
use crate::message::{
    CommitOffsetsAnswer, CommitOffsetsRequest, DeleteOffsetsAnswer, DeleteOffsetsRequest, FetchOffsetsAnswer,
    FetchOffsetsGroup, FetchOffsetsRequest, FetchedOffsets, OfTopic, Origin, StoredOffset, Text,
};

impl Cluster {
    pub(super) fn commit_offsets(
        &mut self,
        origin: &Origin,
        request: &CommitOffsetsRequest,
    ) -> CommitOffsetsAnswer {
        let now = self.now;
        let allowed = self.coordinates(origin, &request.group).and_then(|()| {
            if self.groups.get(&request.group).is_none() && request.generation.0 >= 0 {
                return Err(ErrorCode::IllegalGeneration);
            }
            let CommitOffsetsRequest { group, generation, member, instance, .. } = request;
            self.groups.with(now, group, |entry| {
                entry.group.check_commit(now, *generation, member, instance.as_ref())
            })
        });
        let topics = &self.topics;
        let commit = |offsets: &mut crate::offsets::Offsets| {
            OfTopic::map(&request.topics, |topic, commit| {
                let exists = topics.partition(topic, commit.partition).is_some();
                let outcome = match allowed {
                    Ok(()) if !exists => Err(ErrorCode::UnknownTopicOrPartition),
                    Ok(()) => offsets.commit(now, topic, commit),
                    Err(code) => Err(code),
                };
                (commit.partition, outcome)
            })
        };
        CommitOffsetsAnswer {
            topics: self.groups.with(now, &request.group, |entry| commit(&mut entry.offsets)),
        }
    }

    pub(super) fn fetch_offsets(&self, origin: &Origin, request: &FetchOffsetsRequest) -> FetchOffsetsAnswer {
        let of_group = |wanted: &FetchOffsetsGroup| FetchedOffsets {
            group: wanted.group.clone(),
            outcome: self.coordinates(origin, &wanted.group).map(|()| self.stored(wanted)),
        };
        FetchOffsetsAnswer { groups: request.groups.iter().map(of_group).collect() }
    }

    fn stored(&self, wanted: &FetchOffsetsGroup) -> Vec<OfTopic<(PartitionId, Option<StoredOffset>)>> {
        let offsets = self.groups.get(&wanted.group).map(|entry| &entry.offsets);
        match (&wanted.topics, offsets) {
            (None, offsets) => offsets.map(crate::offsets::Offsets::all).unwrap_or_default(),
            (Some(topics), offsets) => OfTopic::map(topics, |topic, number| {
                (*number, offsets.and_then(|offsets| offsets.get(topic, *number)))
            }),
        }
    }

    pub(super) fn set_position(
        &mut self,
        group: &Text,
        topic: &Text,
        partition: PartitionId,
        position: Option<StoredOffset>,
    ) {
        let now = self.now;
        self.groups.with(now, group, |entry| match position {
            Some(position) => entry.offsets.set(now, topic, partition, position),
            None => entry.offsets.remove(topic, partition),
        });
    }

    pub(super) fn delete_offsets(
        &mut self,
        origin: &Origin,
        request: &DeleteOffsetsRequest,
    ) -> DeleteOffsetsAnswer {
        if request.group.is_empty() {
            return DeleteOffsetsAnswer { outcome: Err(ErrorCode::InvalidGroupId) };
        }
        let found = self
            .coordinates(origin, &request.group)
            .and_then(|()| self.groups.get(&request.group).ok_or(ErrorCode::GroupIdNotFound));
        let subscribed = match found.map(|entry| subscribed_topics(&entry.group)) {
            Ok(Ok(subscribed)) => subscribed,
            Ok(Err(code)) | Err(code) => return DeleteOffsetsAnswer { outcome: Err(code) },
        };
        let topics = &self.topics;
        let outcome = self.groups.with(self.now, &request.group, |entry| {
            OfTopic::map(&request.topics, |topic, number| {
                let outcome =
                    if subscribed.as_ref().is_none_or(|names| names.iter().any(|name| name == &**topic)) {
                        Err(ErrorCode::GroupSubscribedToTopic)
                    } else if topics.partition(topic, *number).is_none() {
                        Err(ErrorCode::UnknownTopicOrPartition)
                    } else {
                        entry.offsets.remove(topic, *number);
                        Ok(())
                    };
                (*number, outcome)
            })
        });
        DeleteOffsetsAnswer { outcome: Ok(outcome) }
    }
}

/// The topics that the group's members want, if it is a group of consumers; others must be empty. `None` if a member's
/// subscription cannot be read: then it may be any.
fn subscribed_topics(group: &Group) -> Result<Option<Vec<String>>, ErrorCode> {
    if group.is_idle() {
        return Ok(Some(Vec::new()));
    }
    if &*group.protocol_type() != "consumer" {
        return Err(ErrorCode::NonEmptyGroup);
    }
    let wanted: Result<Vec<_>, _> =
        group.subscriptions().map(|metadata| Subscription::decode(&metadata)).collect();
    let names = |subscriptions: Vec<Subscription>| {
        let topics = subscriptions.into_iter().flat_map(|subscription| subscription.topics);
        topics.map(|topic| topic.as_str().to_owned()).collect()
    };
    Ok(wanted.ok().map(names))
}
