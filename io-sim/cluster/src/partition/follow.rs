//! Following: how replicas copy the leader's log, and what is acknowledged by that.

use std::time::Duration;

use evenkeel_core::model::{BrokerId, Time};

use super::{Health, Partition};
use crate::log::Log;

impl Partition {
    /// Lets every live follower copy what the leader has, then sets in-sync replicas and high watermark accordingly.
    pub(crate) fn replicate(&mut self, now: Time) {
        let Some(leader) = self.leader else { return };
        if self.replicas.len() > 1 {
            self.copy(leader);
        }
        let Some(end) = self.log().map(Log::end) else { return };
        for replica in &self.replicas {
            let caught_up = replica.health == Health::Copying && replica.log.end() == end;
            if caught_up && !self.in_sync.contains(&replica.broker) {
                self.in_sync.push(replica.broker);
            }
        }
        let in_sync = self.replicas.iter().filter(|replica| self.in_sync.contains(&replica.broker));
        let agreed = in_sync.map(|replica| replica.log.end()).min().unwrap_or(end);
        // It never goes back while the leader stays: an in-sync replica has what was acknowledged.
        self.high_watermark = self.high_watermark.max(agreed);
        self.behind_since = if agreed < end { self.behind_since.or(Some(now)) } else { None };
    }

    fn copy(&mut self, leader: BrokerId) {
        let Some(at) = self.replicas.iter().position(|replica| replica.broker == leader) else { return };
        let mut replicas = std::mem::take(&mut self.replicas);
        let (before, rest) = replicas.split_at_mut(at);
        if let Some((leader, after)) = rest.split_first_mut() {
            for replica in before.iter_mut().chain(after) {
                if replica.health == Health::Copying {
                    follow(&mut replica.log, &leader.log);
                }
            }
        }
        self.replicas = replicas;
    }

    /// Drops followers from the in-sync set that have been behind for longer than `limit`.
    pub(crate) fn drop_laggards(&mut self, now: Time, limit: Duration) {
        if self.behind_since.is_none_or(|since| since + limit > now) {
            return;
        }
        let Some(end) = self.log().map(Log::end) else { return };
        let leader = self.leader;
        let replicas = &self.replicas;
        self.in_sync.retain(|broker| {
            let replica = replicas.iter().find(|replica| replica.broker == *broker);
            Some(*broker) == leader || replica.is_some_and(|replica| replica.log.end() == end)
        });
        self.replicate(now);
    }

    /// Since when followers are behind; so much later [`drop_laggards`](Self::drop_laggards) is due.
    pub(crate) fn behind_since(&self) -> Option<Time> {
        // A partition that is behind for want of a leader waits for that.
        self.leader?;
        self.behind_since
    }

    /// Stops a follower from copying, or lets it go on. A leader does not copy, so there is nothing to stop.
    pub(crate) fn stall(&mut self, now: Time, broker: BrokerId, stalled: bool) {
        if self.leader == Some(broker) {
            return;
        }
        if let Some(replica) = self.replica_mut(broker).filter(|replica| replica.health != Health::Dead) {
            replica.health = if stalled { Health::Stalled } else { Health::Copying };
        }
        self.replicate(now);
    }
}

/// Cuts off where `log` and the leader's part, then copies the rest.
fn follow(log: &mut Log, leader: &Log) {
    while let Some(last) = log.last_epoch() {
        match leader.epochs().end_of(last, leader.end()) {
            Some((epoch, end)) if epoch == last => {
                log.truncate(end);
                break;
            }
            // The leader never had the epoch: what it wrote goes, up to where the leader's last earlier one ended.
            Some((epoch, end)) => {
                let own = log.epochs().end_of(epoch, log.end()).map_or(log.start(), |(_, own)| own);
                log.truncate(end.min(own));
            }
            None => log.restart_at(leader.start()),
        }
    }
    if log.end() < leader.start() || log.end() > leader.end() {
        log.restart_at(leader.start());
    }
    log.copy_end_of(leader);
    log.advance_start(leader.start());
}
