//! The positions that a group has stored.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{PartitionId, Time};

use crate::message::{CommitPartition, OfTopic, StoredOffset, Text};

/// The longest metadata that a position may have, in bytes.
pub(crate) const MAX_METADATA: usize = 4_096;

/// The positions of one group, by topic and partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offsets(BTreeMap<Text, BTreeMap<PartitionId, Kept>>);

#[derive(Debug, Clone)]
struct Kept {
    stored: StoredOffset,
    at: Time,
}

impl Offsets {
    /// Stores one position.
    pub(crate) fn commit(
        &mut self,
        now: Time,
        topic: &Text,
        commit: &CommitPartition,
    ) -> Result<(), ErrorCode> {
        if commit.metadata.as_ref().is_some_and(|metadata| metadata.len() > MAX_METADATA) {
            return Err(ErrorCode::OffsetMetadataTooLarge);
        }
        let stored = StoredOffset {
            offset: commit.offset,
            leader_epoch: commit.leader_epoch,
            metadata: commit.metadata.clone().unwrap_or_default(),
        };
        self.set(now, topic, commit.partition, stored);
        Ok(())
    }

    /// Stores one position as it is.
    pub(crate) fn set(&mut self, now: Time, topic: &Text, partition: PartitionId, stored: StoredOffset) {
        self.0.entry(topic.clone()).or_default().insert(partition, Kept { stored, at: now });
    }

    pub(crate) fn get(&self, topic: &str, partition: PartitionId) -> Option<StoredOffset> {
        Some(self.0.get(topic)?.get(&partition)?.stored.clone())
    }

    /// All positions.
    pub(crate) fn all(&self) -> Vec<OfTopic<(PartitionId, Option<StoredOffset>)>> {
        let of_topic = |(topic, partitions): (&Text, &BTreeMap<PartitionId, Kept>)| OfTopic {
            topic: topic.clone(),
            partitions: partitions
                .iter()
                .map(|(number, kept)| (*number, Some(kept.stored.clone())))
                .collect(),
        };
        self.0.iter().map(of_topic).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn remove(&mut self, topic: &str, partition: PartitionId) {
        if let Some(partitions) = self.0.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.0.remove(topic);
            }
        }
    }

    /// The topic is gone.
    pub(crate) fn forget_topic(&mut self, topic: &str) {
        self.0.remove(topic);
    }

    /// Forgets what is older than `limit`; `idle_since` is when the group lost its last member.
    pub(crate) fn expire(&mut self, now: Time, limit: Duration, idle_since: Time) {
        for partitions in self.0.values_mut() {
            partitions.retain(|_, kept| kept.at.max(idle_since) + limit > now);
        }
        self.0.retain(|_, partitions| !partitions.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::model::Offset;

    fn commit(offset: i64, metadata: &str) -> CommitPartition {
        CommitPartition {
            partition: PartitionId(0),
            offset: Offset(offset),
            leader_epoch: None,
            metadata: Some(metadata.into()),
        }
    }

    #[test]
    fn metadata_has_a_limit_and_refused_positions_are_not_stored() {
        let mut offsets = Offsets::default();
        let topic: Text = "t".into();
        let long = "x".repeat(MAX_METADATA);
        assert_eq!(offsets.commit(Time::ZERO, &topic, &commit(5, &long)), Ok(()));
        let refused = offsets.commit(Time::ZERO, &topic, &commit(6, &(long + "x")));
        assert_eq!(refused, Err(ErrorCode::OffsetMetadataTooLarge));
        assert_eq!(offsets.get("t", PartitionId(0)).unwrap().offset, Offset(5));
    }

    #[test]
    fn positions_expire_once_the_group_has_been_idle_for_so_long() {
        let mut offsets = Offsets::default();
        let limit = Duration::from_secs(10);
        offsets.commit(Time::from_millis(1_000), &"t".into(), &commit(5, "")).unwrap();
        offsets.expire(Time::from_millis(10_999), limit, Time::ZERO);
        assert!(!offsets.is_empty());
        offsets.expire(Time::from_millis(12_000), limit, Time::from_millis(5_000));
        assert!(!offsets.is_empty(), "the group was alive meanwhile");
        offsets.expire(Time::from_millis(15_000), limit, Time::from_millis(5_000));
        assert!(offsets.is_empty());
    }
}
