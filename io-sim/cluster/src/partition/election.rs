//! Who leads: brokers die and start, leaders move, and what that does to the logs.

use evenkeel_core::model::{BrokerId, LeaderEpoch, Time};

use super::{Health, Partition};
use crate::log::Log;

impl Partition {
    /// A broker died.
    pub(crate) fn lose(&mut self, now: Time, broker: BrokerId, unclean_election: bool) {
        let Some(replica) = self.replica_mut(broker) else { return };
        replica.health = Health::Dead;
        // The last one in sync stays in the set: only it has everything that was acknowledged.
        if self.in_sync.len() > 1 {
            self.in_sync.retain(|member| *member != broker);
        }
        if self.leader == Some(broker) {
            self.leader = None;
            self.elect(now, unclean_election);
        } else {
            self.replicate(now);
        }
    }

    /// A broker is back.
    pub(crate) fn regain(&mut self, now: Time, broker: BrokerId, unclean_election: bool) {
        let Some(replica) = self.replica_mut(broker) else { return };
        replica.health = Health::Copying;
        if self.leader.is_none() {
            self.elect(now, unclean_election);
        } else {
            self.replicate(now);
        }
    }

    /// Lets the first live in-sync replica lead; without one, any live replica if `unclean`.
    pub(crate) fn elect(&mut self, now: Time, unclean: bool) {
        let alive = |health| health != Health::Dead;
        let mut candidates = self.replicas.iter().filter(|replica| alive(replica.health));
        let clean = candidates.clone().find(|replica| self.in_sync.contains(&replica.broker));
        let chosen = if unclean { clean.or_else(|| candidates.next()) } else { clean };
        if let Some(broker) = chosen.map(|replica| replica.broker) {
            self.lead(now, broker);
        }
    }

    /// Makes a live in-sync replica the leader, as a reassignment or a preferred election does.
    pub(crate) fn move_leader(&mut self, now: Time, broker: BrokerId) {
        let alive = self.replica(broker).is_some_and(|replica| replica.health != Health::Dead);
        if alive && self.in_sync.contains(&broker) && self.leader != Some(broker) {
            self.lead(now, broker);
        }
    }

    /// Makes any live replica the leader, in sync or not: what only the others have is lost.
    pub(crate) fn elect_unclean(&mut self, now: Time, broker: BrokerId) {
        if self.replica(broker).is_some_and(|replica| replica.health != Health::Dead) {
            self.lead(now, broker);
        }
    }

    fn lead(&mut self, now: Time, broker: BrokerId) {
        if !self.in_sync.contains(&broker) {
            self.in_sync = vec![broker];
        }
        self.leader = Some(broker);
        self.epoch = LeaderEpoch(self.epoch.0.saturating_add(1));
        self.behind_since = None;
        if let Some(end) = self.log().map(Log::end) {
            self.high_watermark = self.high_watermark.min(end);
        }
        if let Some(leader) = self.replica_mut(broker) {
            leader.health = Health::Copying;
        }
        self.replicate(now);
        // Whoever did not follow has perhaps more than the leader: it counts only as far as it agrees.
        let Some(end) = self.log().map(Log::end) else { return };
        let replicas = &self.replicas;
        self.in_sync.retain(|member| {
            let replica = replicas.iter().find(|replica| replica.broker == *member);
            replica.is_some_and(|replica| replica.log.end() <= end)
        });
    }
}
