//! Leading: who leads which partition, what each leader is wanted for, and how long to leave it or a partition alone.
//!
//! A failure of a whole request pauses its leader; a failure of one partition pauses only that partition. Waits grow
//! until the thing that failed succeeds, so an outage costs a few requests a second at most.

use std::collections::BTreeMap;
use std::mem;

use super::incarnation::Told;
use super::{Action, Consumer, Kept, Notice, Phase, Standing};
use crate::error::{ErrorCode, Remedy};
use crate::machine::backoff::Backoff;
use crate::model::{BrokerId, RequestId, Time, TopicPartition};
use crate::ports::{Metadata, PortError};

/// What a partition wants from its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Nothing now: it is answered, waits, or has no credit or no leader.
    Nothing,
    /// Records.
    Records,
    /// The bounds of its log.
    Bounds,
}

/// What is known of one leader.
#[derive(Debug, Clone, Default)]
pub(super) struct Leader {
    pub(super) slots: Vec<usize>,
    pub(super) fetch: Option<RequestId>,
    pub(super) listing: Option<RequestId>,
    /// How many of its partitions want records.
    records: usize,
    /// How many of its partitions want their bounds.
    bounds: usize,
    not_before: Time,
    failures: u32,
    pub(super) turn: usize,
}

impl Leader {
    pub(super) fn deadline(&self) -> Option<Time> {
        (self.wants_fetch() || self.wants_listing()).then_some(self.not_before)
    }

    pub(super) fn wants_fetch(&self) -> bool {
        self.records > 0 && self.fetch.is_none()
    }

    pub(super) fn wants_listing(&self) -> bool {
        self.bounds > 0 && self.listing.is_none()
    }

    /// A request succeeded.
    pub(super) fn answers(&mut self) {
        self.failures = 0;
    }

    fn count(&mut self, want: Want) -> Option<&mut usize> {
        match want {
            Want::Nothing => None,
            Want::Records => Some(&mut self.records),
            Want::Bounds => Some(&mut self.bounds),
        }
    }
}

/// The look-up of topics, partitions and leaders.
#[derive(Debug, Clone, Default)]
pub(super) struct Survey {
    due: Option<Time>,
    in_flight: Option<RequestId>,
    failures: u32,
}

impl Survey {
    pub(super) fn deadline(&self) -> Option<Time> {
        if self.in_flight.is_some() { None } else { self.due }
    }

    /// Asks for a look no later than `at`.
    pub(super) fn want(&mut self, at: Time) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl<P: Kept> Consumer<P> {
    pub(super) fn survey_topics(&mut self, now: Time) {
        let assigned = matches!(self.standing, Standing::Assigned(_));
        if !assigned || self.survey.deadline().is_none_or(|due| due > now) {
            return;
        }
        let id = self.request();
        self.survey.in_flight = Some(id);
        self.survey.due = None;
        let topics = self.topics.iter().map(|topic| topic.name.clone()).collect();
        self.act(Action::Describe { id, topics });
    }

    pub(super) fn on_described(&mut self, now: Time, id: RequestId, outcome: Result<Metadata, PortError>) {
        if self.survey.in_flight != Some(id) {
            self.marks.hit("late reply ignored");
            return;
        }
        self.survey.in_flight = None;
        let metadata = match outcome {
            Ok(metadata) => metadata,
            Err(error) => {
                self.notice(Notice::Trouble { request: "describing topics", error });
                self.survey.failures = self.survey.failures.saturating_add(1);
                return self.survey_soon(now);
            }
        };
        let mut unavailable = false;
        let mut counts = BTreeMap::new();
        for described in metadata.topics {
            let Some(topic) = self.topics.iter().position(|topic| topic.name == described.topic) else {
                continue;
            };
            let (count, partitions) = match (described.count(), described.partitions) {
                (Ok(count), Ok(partitions)) => (count, partitions),
                (Err(code), _) | (_, Err(code)) => {
                    unavailable = true;
                    let topic = described.topic;
                    self.notice(Notice::TopicUnavailable { topic, code });
                    continue;
                }
            };
            match self.topics[topic].incarnation.told(now, described.id) {
                Told::Present => {}
                Told::New => self.begin_anew(now, topic, &partitions),
                Told::Old => {
                    self.marks.hit("a broker told of an older life of a topic");
                    unavailable = true;
                    continue;
                }
            }
            self.want_committed(topic);
            counts.insert(described.topic.clone(), count);
            for partition in partitions {
                let at = TopicPartition { topic: described.topic.clone(), partition: partition.partition };
                let Some(&slot) = self.places.get(&at) else { continue };
                let known = &mut self.partitions[slot];
                let refused = mem::take(&mut known.epoch_refused);
                let at_least = known.leader_epoch.filter(|_| !refused);
                known.leader_epoch = partition.leader_epoch.max(at_least);
                self.follow(slot, partition.leader);
            }
        }
        self.act(Action::PartitionsCounted(counts));
        if unavailable || self.partitions.iter().any(|(_, partition)| partition.leader.is_none()) {
            self.survey.failures = self.survey.failures.saturating_add(1);
            self.survey_soon(now);
        } else {
            self.survey.failures = 0;
            self.survey.want(now + self.config.watch_interval);
        }
    }

    /// Asks for another look after a wait that grows while looks do not help.
    fn survey_soon(&mut self, now: Time) {
        let wait = Backoff::REQUEST.wait(self.survey.failures.saturating_sub(1), &mut self.entropy);
        self.survey.want(now + wait.min(self.config.watch_interval));
    }

    /// Notes that a partition is led by another broker, or by none. What was asked of the one before is void, and so is
    /// the wait because of it. What it said of its log is not true of the next one's: replicas lose their first records at
    /// different times.
    pub(super) fn follow(&mut self, slot: usize, leader: Option<BrokerId>) {
        let before = self.partitions[slot].leader;
        if before == leader {
            return;
        }
        self.set_want(slot, Want::Nothing);
        if let Some(old) = before.and_then(|id| self.leaders.get_mut(&id)) {
            old.slots.retain(|&other| other != slot);
        }
        self.unpause(slot);
        let partition = &mut self.partitions[slot];
        partition.asked = None;
        partition.leader = leader;
        if partition.phase == Phase::AwaitingBounds {
            partition.phase = Phase::Reading;
        }
        if let Some(id) = leader {
            self.leaders.entry(id).or_default().slots.push(slot);
        }
        self.reconsider(slot);
    }

    pub(super) fn set_phase(&mut self, slot: usize, phase: Phase) {
        self.partitions[slot].phase = phase;
        self.reconsider(slot);
    }

    /// What a partition wants from its leader may have changed.
    pub(super) fn reconsider(&mut self, slot: usize) {
        let partition = &self.partitions[slot];
        let free = partition.asked.is_none() && partition.paused_until.is_none();
        let want = match partition.phase {
            Phase::AwaitingStart | Phase::AwaitingBounds if free => Want::Bounds,
            Phase::Reading if free && self.has_credit(slot) => Want::Records,
            Phase::AwaitingCommitted
            | Phase::AwaitingStart
            | Phase::AwaitingBounds
            | Phase::Reading
            | Phase::Broken => Want::Nothing,
        };
        self.set_want(slot, want);
    }

    /// Changes what a partition wants, keeping its leader's counts true. Without a leader it wants nothing.
    pub(super) fn set_want(&mut self, slot: usize, want: Want) {
        let partition = &mut self.partitions[slot];
        let leader = partition.leader.and_then(|id| self.leaders.get_mut(&id));
        let want = if leader.is_some() { want } else { Want::Nothing };
        let before = mem::replace(&mut partition.want, want);
        if let Some(leader) = leader
            && before != want
        {
            if let Some(count) = leader.count(before) {
                *count -= 1;
            }
            if let Some(count) = leader.count(want) {
                *count += 1;
            }
        }
    }

    /// One partition of an answer carried an error.
    pub(super) fn partition_failed(
        &mut self,
        now: Time,
        slot: usize,
        request: &'static str,
        code: ErrorCode,
    ) {
        if code == ErrorCode::OffsetOutOfRange && self.partitions[slot].phase == Phase::Reading {
            // Perhaps the log is that of a topic that was made anew: no commit for the old one may come after it.
            self.survey_soon(now);
            return self.set_phase(slot, Phase::AwaitingBounds);
        }
        // The broker lags, or the log is another one than the epoch is of. The next look tells.
        self.partitions[slot].epoch_refused |= code == ErrorCode::UnknownLeaderEpoch;
        self.pause_partition(now, slot);
        match code.remedy() {
            Remedy::FindLeader => self.survey_soon(now),
            Remedy::Wait | Remedy::FindCoordinator | Remedy::Rejoin | Remedy::GiveUp => {
                self.notice(Notice::Trouble { request, error: PortError::Refused(code) });
            }
        }
    }

    /// A whole request to a leader failed: perhaps it leads no more.
    pub(super) fn leader_failed(
        &mut self,
        now: Time,
        broker: BrokerId,
        request: &'static str,
        error: PortError,
    ) {
        self.notice(Notice::Trouble { request, error });
        if let Some(leader) = self.leaders.get_mut(&broker)
            && leader.not_before <= now
        {
            leader.not_before = now + Backoff::REQUEST.wait(leader.failures, &mut self.entropy);
            leader.failures = leader.failures.saturating_add(1);
        }
        self.survey_soon(now);
    }

    /// Leaves a partition alone for a wait that grows until it is answered well.
    pub(super) fn pause_partition(&mut self, now: Time, slot: usize) {
        self.unpause(slot);
        let partition = &mut self.partitions[slot];
        let until = now + Backoff::REQUEST.wait(partition.failures, &mut self.entropy);
        partition.failures = partition.failures.saturating_add(1);
        partition.paused_until = Some(until);
        self.pauses.insert((until, slot));
        self.reconsider(slot);
    }

    fn unpause(&mut self, slot: usize) {
        if let Some(until) = self.partitions[slot].paused_until.take() {
            self.pauses.remove(&(until, slot));
        }
    }

    /// Goes on with the partitions whose wait is over.
    pub(super) fn end_pauses(&mut self, now: Time) {
        while let Some(&(_, slot)) = self.pauses.first().filter(|(until, _)| *until <= now) {
            self.unpause(slot);
            self.reconsider(slot);
        }
    }
}
