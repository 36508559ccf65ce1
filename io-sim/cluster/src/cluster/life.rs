//! What happens to brokers and replicas, and the cluster's own chores.

use std::time::Duration;

use evenkeel_core::model::{BrokerId, PartitionId, Time};

use super::Cluster;
use super::coordinator::Slot;
use crate::message::{BrokerAddress, Text};
use crate::partition::Partition;
use crate::topics::config::Settings;

/// How often producers are looked at. As seldom as in Kafka: between two looks a producer of old records is safe.
pub(super) const PRODUCER_CHECK: Duration = Duration::from_secs(10 * 60);

impl Cluster {
    pub(super) fn broker_started(&mut self, address: BrokerAddress) {
        let broker = address.broker;
        if self.brokers.is_alive(broker) {
            // A new life of a broker whose death nobody told.
            self.broker_died(broker);
        }
        self.brokers.start(address);
        let now = self.now;
        self.each_partition(|partition, settings| partition.regain(now, broker, settings.unclean_election));
        self.slots.fill(&self.brokers, self.now + self.config.coordinator_load);
    }

    pub(super) fn broker_died(&mut self, broker: BrokerId) {
        if !self.brokers.kill(broker) {
            return;
        }
        self.hang_up(broker);
        let now = self.now;
        self.each_partition(|partition, settings| partition.lose(now, broker, settings.unclean_election));
        let moved = self.slots.vacate(broker);
        self.slots.fill(&self.brokers, self.now + self.config.coordinator_load);
        self.reload_groups(|group| moved.contains(&Slot::of(group)));
    }

    /// Changes every partition, then looks again at who waits there.
    fn each_partition(&mut self, mut change: impl FnMut(&mut Partition, &Settings)) {
        for (name, topic) in self.topics.iter_mut() {
            let settings = topic.config.settings();
            for (number, partition) in (0..).zip(&mut topic.partitions) {
                change(partition, &settings);
                self.laggards.note(name, PartitionId(number), partition.behind_since());
                if !partition.waiting.is_empty() {
                    self.touched.insert((name.clone(), PartitionId(number)));
                }
            }
        }
    }

    /// Where a topic may be led by who is not in sync, lets it where nobody else can. That it may has just been set, perhaps.
    pub(super) fn elect_leaderless(&mut self, topic: &Text) {
        let now = self.now;
        let Some(found) = self.topics.get_mut(topic).filter(|found| found.config.settings().unclean_election)
        else {
            return;
        };
        let mut elected = Vec::new();
        for (number, partition) in (0..).map(PartitionId).zip(&mut found.partitions) {
            if partition.leader().is_none() {
                partition.elect(now, true);
                elected.push(number);
            }
        }
        for number in elected {
            self.note_lag(topic, number);
            self.touch(topic, number);
        }
    }

    pub(super) fn move_leader(&mut self, topic: &Text, number: PartitionId, to: BrokerId, unclean: bool) {
        let now = self.now;
        if let Some(partition) = self.topics.partition_mut(topic, number) {
            if unclean {
                partition.elect_unclean(now, to);
            } else {
                partition.move_leader(now, to);
            }
        }
        self.note_lag(topic, number);
        self.touch(topic, number);
    }

    pub(super) fn set_replication(
        &mut self,
        topic: &Text,
        number: PartitionId,
        broker: BrokerId,
        runs: bool,
    ) {
        let now = self.now;
        if let Some(partition) = self.topics.partition_mut(topic, number) {
            partition.stall(now, broker, !runs);
        }
        self.note_lag(topic, number);
        self.touch(topic, number);
    }

    pub(super) fn move_coordinator(&mut self, group: &Text, to: BrokerId) {
        let slot = Slot::of(group);
        if self.brokers.is_alive(to) && self.slots.coordinator(slot) != Some(to) {
            self.slots.assign(slot, to, self.now + self.config.coordinator_load);
            self.reload_groups(|group| Slot::of(group) == slot);
        }
    }

    /// Takes note of whether a partition's followers are behind, after what may have changed that.
    pub(super) fn note_lag(&mut self, topic: &Text, number: PartitionId) {
        let since = self.topics.partition(topic, number).and_then(Partition::behind_since);
        self.laggards.note(topic, number, since);
    }

    /// When followers that are behind leave the in-sync sets.
    pub(super) fn laggards_due(&self) -> Option<Time> {
        self.laggards.earliest().map(|since| since + self.config.replica_lag)
    }

    pub(super) fn drop_laggards(&mut self) {
        let (now, limit) = (self.now, self.config.replica_lag);
        for (topic, number) in self.laggards.due(now, limit) {
            if let Some(partition) = self.topics.partition_mut(&topic, number) {
                partition.drop_laggards(now, limit);
            }
            self.note_lag(&topic, number);
            self.touch(&topic, number);
        }
    }

    /// Retention, compaction, expiry.
    pub(super) fn upkeep(&mut self) {
        self.next_upkeep = self.now + self.config.upkeep_interval;
        let clock = self.clock();
        self.each_partition(|partition, settings| partition.clean(clock, settings));
        if self.next_producer_expiry <= self.now {
            self.next_producer_expiry = self.now + PRODUCER_CHECK;
            let limit = self.config.producer_expiration;
            self.each_partition(|partition, _| partition.expire_producers(clock.wall, limit));
        }
        self.groups.expire(self.now, self.config.offsets_retention);
        self.quotas.tidy(self.now);
    }
}
