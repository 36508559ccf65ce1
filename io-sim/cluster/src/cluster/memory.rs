//! The bound on what all logs hold together: when it is reached, the oldest records go, whatever their topics' retention
//! says.
//!
//! Logs are weighed only when what was appended since the last time may have reached the bound, and then room is made
//! for more than one batch; so a produce pays next to nothing for it.

use evenkeel_core::model::PartitionId;

use super::Cluster;

/// What part of the bound is made free at a time.
const SLACK: u64 = 64;
/// How much goes from one partition before the oldest is looked for again.
const AT_ONCE: u64 = 1024 * 1024;

impl Cluster {
    /// Takes note of what was appended, and makes room once the bound is reached.
    pub(super) fn note_growth(&mut self, bytes: u64) {
        let Some(limit) = self.config.retained_bytes else { return };
        self.room = self.room.saturating_sub(bytes);
        if self.room == 0 {
            self.make_room(limit);
        }
    }

    fn make_room(&mut self, limit: u64) {
        let slack = (limit / SLACK).max(1);
        let mut weight = self.memory();
        while weight > limit.saturating_sub(slack) {
            let Some((topic, number)) = self.oldest() else { break };
            if let Some(partition) = self.topics.partition_mut(&topic, number) {
                let before = partition.memory();
                partition.shed(AT_ONCE.min(slack));
                weight -= before.saturating_sub(partition.memory());
            }
            self.marks.hit("records dropped for want of room");
            self.touch(&topic, number);
        }
        // Where nothing may go, as while a follower stalls, the next try is some way off.
        self.room = limit.saturating_sub(weight).max(slack);
    }

    /// How much memory all records take.
    fn memory(&self) -> u64 {
        let partitions = self.topics.iter().flat_map(|(_, topic)| &topic.partitions);
        partitions.map(crate::partition::Partition::memory).sum()
    }

    /// The partition that has the oldest batch of those that may go.
    fn oldest(&self) -> Option<(crate::message::Text, PartitionId)> {
        let partitions = self.topics.iter().flat_map(|(name, topic)| {
            let numbered = (0..).map(PartitionId).zip(&topic.partitions);
            numbered.filter_map(move |(number, partition)| Some((partition.oldest()?, name, number)))
        });
        partitions.min().map(|(_, name, number)| (name.clone(), number))
    }
}
