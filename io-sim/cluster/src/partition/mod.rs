//! One partition: its replicas, who leads them, and how far they agree.
//!
//! Followers copy the leader's log in the very step in which it grows, unless they are dead or stalled; so a cluster in
//! good order looks to clients as if replication took no time. What clients can observe of replication is there: the
//! high watermark stays behind a stalled follower until that leaves the in-sync set, a new leader begins a new epoch,
//! and whoever comes back cuts off what the new leader does not have.
//!
//! ```text
//!   leader   ▓▓▓▓▓▓▓▓▓▓▓▓ end            high watermark = the lowest end of the in-sync replicas
//!   follower ▓▓▓▓▓▓▓▓     stalled        consumers read below it, acks=all waits for it
//! ```

mod append;
mod election;
mod follow;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{BrokerId, LeaderEpoch, Offset, RequestId, Time, WallTime};

use crate::log::{BOOKKEEPING, Log};
use crate::topics::config::Settings;

pub(crate) use append::{Clock, Written};

/// One copy of a partition's log.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub(crate) broker: BrokerId,
    log: Log,
    health: Health,
}

/// Whether a replica copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Copying,
    /// It lives, but does not copy.
    Stalled,
    /// Its broker is down.
    Dead,
}

/// One partition.
#[derive(Debug, Clone)]
pub(crate) struct Partition {
    /// In the order of their assignment; the first that can leads.
    replicas: Vec<Replica>,
    leader: Option<BrokerId>,
    epoch: LeaderEpoch,
    in_sync: Vec<BrokerId>,
    high_watermark: Offset,
    /// Since when a stalled replica holds the high watermark back.
    behind_since: Option<Time>,
    /// The requests that wait for it to change.
    pub(crate) waiting: BTreeSet<RequestId>,
}

impl Partition {
    /// An empty partition on `brokers`, of which `is_alive` tells who can lead.
    pub(crate) fn new(brokers: &[BrokerId], is_alive: impl Fn(BrokerId) -> bool) -> Self {
        let replica = |broker: &BrokerId| Replica {
            broker: *broker,
            log: Log::default(),
            health: if is_alive(*broker) { Health::Copying } else { Health::Dead },
        };
        let replicas: Vec<_> = brokers.iter().map(replica).collect();
        let alive = replicas.iter().filter(|replica| replica.health != Health::Dead);
        let in_sync: Vec<_> = alive.map(|replica| replica.broker).collect();
        Self {
            leader: in_sync.first().copied(),
            replicas,
            epoch: LeaderEpoch(0),
            in_sync,
            high_watermark: Offset::ZERO,
            behind_since: None,
            waiting: BTreeSet::new(),
        }
    }

    pub(crate) fn replicas(&self) -> Vec<BrokerId> {
        self.replicas.iter().map(|replica| replica.broker).collect()
    }

    pub(crate) fn in_sync(&self) -> &[BrokerId] {
        &self.in_sync
    }

    pub(crate) fn offline(&self) -> Vec<BrokerId> {
        let dead = self.replicas.iter().filter(|replica| replica.health == Health::Dead);
        dead.map(|replica| replica.broker).collect()
    }

    pub(crate) const fn leader(&self) -> Option<BrokerId> {
        self.leader
    }

    pub(crate) const fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The end of what consumers may read.
    pub(crate) const fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    fn replica(&self, broker: BrokerId) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.broker == broker)
    }

    fn replica_mut(&mut self, broker: BrokerId) -> Option<&mut Replica> {
        self.replicas.iter_mut().find(|replica| replica.broker == broker)
    }

    /// The leader's log, as `broker` may serve it to a client that knows `epoch`.
    pub(crate) fn log_at(&self, broker: BrokerId, epoch: Option<LeaderEpoch>) -> Result<&Log, ErrorCode> {
        self.lead_at(broker, epoch)?;
        self.log().ok_or(ErrorCode::NotLeaderOrFollower)
    }

    /// Whether `broker` leads, and in the epoch that the client knows.
    pub(crate) fn lead_at(&self, broker: BrokerId, epoch: Option<LeaderEpoch>) -> Result<(), ErrorCode> {
        match epoch {
            Some(known) if known < self.epoch => return Err(ErrorCode::FencedLeaderEpoch),
            Some(known) if known > self.epoch => return Err(ErrorCode::UnknownLeaderEpoch),
            Some(_) | None => {}
        }
        if self.leader == Some(broker) { Ok(()) } else { Err(ErrorCode::NotLeaderOrFollower) }
    }

    /// The leader's log, if there is a leader.
    pub(crate) fn log(&self) -> Option<&Log> {
        self.replica(self.leader?).map(|replica| &replica.log)
    }

    /// Moves the log's start up, on the leader and on those that follow it.
    pub(crate) fn delete_before(&mut self, before: Option<Offset>) -> Result<Offset, ErrorCode> {
        let end = self.high_watermark;
        let start = before.unwrap_or(end);
        if start > end || start.0 < 0 {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        for replica in self.replicas.iter_mut().filter(|replica| replica.health == Health::Copying) {
            replica.log.advance_start(start);
        }
        self.log().map(Log::start).ok_or(ErrorCode::NotLeaderOrFollower)
    }

    /// Lets retention and compaction at all live replicas' logs.
    pub(crate) fn clean(&mut self, clock: Clock, settings: &Settings) {
        let until = self.high_watermark;
        for replica in self.replicas.iter_mut().filter(|replica| replica.health == Health::Copying) {
            if settings.delete {
                replica.log.retain(clock.wall, settings.retention_age, settings.retention_bytes, until);
            }
            if settings.compact {
                replica.log.compact(clock.wall, until, settings.compaction);
            }
        }
    }

    /// Forgets producers, on dead replicas too: a broker that comes back begins without those that are too old.
    pub(crate) fn expire_producers(&mut self, now: WallTime, limit: Duration) {
        for replica in &mut self.replicas {
            replica.log.expire_producers(now, limit);
        }
    }

    /// What all replicas' logs weigh together.
    pub(crate) fn bytes(&self) -> u64 {
        self.replicas.iter().map(|replica| replica.log.bytes()).sum()
    }

    /// How much memory the records take. Replicas share their bytes, so the fullest one tells.
    pub(crate) fn memory(&self) -> u64 {
        let fullest = self.replicas.iter().map(|replica| replica.log.bytes()).max().unwrap_or_default();
        fullest + self.replicas.iter().map(|replica| replica.log.bookkeeping()).sum::<u64>()
    }

    /// How much memory a batch of so many bytes takes here.
    pub(crate) fn memory_of(&self, bytes: usize) -> u64 {
        bytes as u64 + BOOKKEEPING * self.replicas.len() as u64
    }

    /// The log that begins first, of those that hold something: that of a broker that is long dead may not.
    fn longest(&self) -> Option<&Log> {
        let logs = self.replicas.iter().map(|replica| &replica.log);
        logs.filter(|log| log.bytes() > 0).min_by_key(|log| log.start())
    }

    /// The time of the oldest batch that may go.
    pub(crate) fn oldest(&self) -> Option<WallTime> {
        self.longest()?.oldest(self.high_watermark)
    }

    /// Drops the oldest batches of about so many bytes, on all replicas, dead ones too: their memory is the same.
    pub(crate) fn shed(&mut self, bytes: u64) {
        if let Some(start) = self.longest().map(|log| log.behind_oldest(bytes, self.high_watermark)) {
            for replica in &mut self.replicas {
                replica.log.drop_before(start);
            }
        }
    }

    /// Everything that must hold of a partition.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check(&self) {
        for replica in &self.replicas {
            replica.log.check();
        }
        let Some(log) = self.log() else { return };
        assert!(self.high_watermark <= log.end(), "consumers read what the leader has");
        assert!(self.leader.is_some_and(|leader| self.in_sync.contains(&leader)), "the leader is in sync");
        for replica in self.replicas.iter().filter(|replica| self.in_sync.contains(&replica.broker)) {
            assert!(
                replica.log.end() >= self.high_watermark,
                "what is acknowledged is on every in-sync replica"
            );
        }
    }
}
