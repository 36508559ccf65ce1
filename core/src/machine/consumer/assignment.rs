//! Taking partitions over and letting them go.

use super::leading::Want;
use super::lineage::Lineage;
use super::{Action, Consumer, Ground, Kept, Lanes, Notice, Partition, Phase};
use crate::machine::backoff::Backoff;
use crate::machine::commit::{CommitTracker, SettledSet, Unreadable, epochs};
use crate::machine::group::Membership;
use crate::model::{LAST_COMMIT, Offset, PartitionId, RequestId, Time, TopicName, TopicPartition};
use crate::ports::{FoundOffset, PortError, StoredOffset, StoredOffsets};

/// Where the consumer stands with its group.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    /// No partitions.
    Unassigned,
    /// Partitions are ours.
    Assigned(Membership),
    /// Partitions are to be given up as soon as running calls have ended and what is settled is committed.
    Draining {
        /// Whom the partitions still belong to.
        membership: Membership,
        /// When running calls are cancelled, if that is still to come.
        cancel_at: Option<Time>,
        /// When the partitions are given up whatever is still open.
        give_up_at: Time,
    },
}

impl Standing {
    pub(super) fn membership(&self) -> Option<&Membership> {
        match self {
            Self::Unassigned => None,
            Self::Assigned(membership) | Self::Draining { membership, .. } => Some(membership),
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self {
            Self::Unassigned | Self::Assigned(_) => None,
            Self::Draining { cancel_at, give_up_at, .. } => Some(cancel_at.unwrap_or(*give_up_at)),
        }
    }
}

/// The question for committed positions.
#[derive(Debug, Clone, Default)]
pub(super) struct CommittedQuery {
    wanted: bool,
    in_flight: Option<RequestId>,
    not_before: Time,
    failures: u32,
}

impl CommittedQuery {
    /// What is under way is not waited for.
    pub(super) fn ask_anew(&mut self) {
        *self = Self { wanted: self.wanted, ..Self::default() };
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        (self.wanted && self.in_flight.is_none()).then_some(self.not_before)
    }
}

impl<P: Kept> Consumer<P> {
    pub(super) fn on_assigned(&mut self, now: Time, membership: Membership, partitions: Vec<TopicPartition>) {
        self.forget_assignment();
        self.epoch = self.epoch.next();
        for at in partitions {
            let Some(topic) =
                self.topics.iter().position(|topic| topic.name == at.topic && !topic.handlers.is_empty())
            else {
                self.marks.hit("assigned a partition of a topic without handlers");
                continue;
            };
            if self.places.contains_key(&at) {
                self.marks.hit("assigned the same partition twice");
                continue;
            }
            let partition = self.partition(at.clone(), topic);
            let slot = self.partitions.insert(partition);
            self.places.insert(at, slot);
        }
        self.committed.not_before = now;
        self.survey.want(now);
        self.standing = Standing::Assigned(membership);
    }

    pub(super) fn on_moved(&mut self, now: Time, moved: Membership) {
        let coordinator = moved.coordinator;
        let before = match &mut self.standing {
            Standing::Unassigned => return self.marks.hit("moved without an assignment"),
            Standing::Assigned(membership) | Standing::Draining { membership, .. } => {
                std::mem::replace(membership, moved).coordinator
            }
        };
        // A commit on the old connection may still arrive there and lower what is stored.
        self.commit_anew(now);
        if coordinator != before {
            self.commits.moved(now);
        }
    }

    pub(super) fn on_revoke(&mut self, now: Time, until: Time) {
        match std::mem::replace(&mut self.standing, Standing::Unassigned) {
            Standing::Unassigned => self.act(Action::Released),
            Standing::Assigned(membership) => {
                self.commits.hurry(now);
                for (_, partition) in &mut self.partitions {
                    // No more answers come. What is settled where the logs are known to part is worth a commit.
                    if partition.ground == Ground::Parted {
                        partition.ground = Ground::Firm;
                    }
                }
                if self.commits.in_doubt() {
                    self.commit_anew(now);
                    // Who did not come to say it leaves the doubt to the next assignment.
                    if self.partitions.iter().all(|(_, partition)| partition.ground == Ground::Firm) {
                        self.commits.resolve_doubt();
                    }
                }
                let give_up_at = until + LAST_COMMIT;
                self.standing = Standing::Draining { membership, cancel_at: Some(until), give_up_at };
            }
            Standing::Draining { membership, cancel_at, give_up_at } => {
                // A second revocation may shorten the first, never lengthen it.
                let cancel_at = cancel_at.map(|at| at.min(until));
                let give_up_at = give_up_at.min(until + LAST_COMMIT);
                self.standing = Standing::Draining { membership, cancel_at, give_up_at };
            }
        }
    }

    pub(super) fn on_lost(&mut self) {
        self.tell_uncommitted();
        self.tell_cancelled(self.live_calls);
        self.forget_assignment();
        self.standing = Standing::Unassigned;
    }

    /// Cancels the calls of a drain that takes too long.
    pub(super) fn cancel_overdue(&mut self, now: Time) {
        if let Standing::Draining { cancel_at, .. } = &mut self.standing
            && cancel_at.is_some_and(|at| at <= now)
        {
            *cancel_at = None;
            self.marks.hit("drain cancelled running calls");
            self.cancel_calls();
        }
    }

    pub(super) fn release_when_drained(&mut self, now: Time) {
        let Standing::Draining { give_up_at, .. } = &self.standing else { return };
        let overdue = *give_up_at <= now;
        if !overdue && (self.live_calls > 0 || self.commits.unfinished(&self.partitions)) {
            return;
        }
        self.tell_uncommitted();
        self.forget_assignment();
        self.standing = Standing::Unassigned;
        self.act(Action::Released);
    }

    /// An assignment ends: what it could not commit will be delivered again.
    fn tell_uncommitted(&mut self) {
        let partitions = self.partitions.iter().filter(|(_, partition)| partition.has_news()).count();
        if partitions > 0 {
            self.marks.hit("released with settled events uncommitted");
            self.notice(Notice::Uncommitted { partitions });
        }
    }

    fn tell_cancelled(&mut self, calls: usize) {
        if calls > 0 {
            self.notice(Notice::Cancelled { calls });
        }
    }

    fn cancel_calls(&mut self) {
        let live: Vec<_> =
            self.calls.iter().filter(|(_, call)| call.deliveries.is_some()).map(|(index, _)| index).collect();
        self.tell_cancelled(live.len());
        for index in live {
            let id = self.call_id(index);
            self.act(Action::Cancel(id));
        }
    }

    /// Drops everything that belongs to the present assignment. Replies and outcomes that still come find nothing.
    fn forget_assignment(&mut self) {
        self.forget_work(None);
        for topic in &mut self.topics {
            topic.incarnation.forget_present();
        }
        self.partitions.clear();
        self.places.clear();
        self.pauses.clear();
        self.leaders.clear();
        self.survey.forget();
        self.committed = CommittedQuery::default();
        self.commits.forget();
    }

    /// A partition of the present epoch of which nothing is known.
    pub(super) fn partition(&self, at: TopicPartition, topic: usize) -> Partition {
        Partition {
            at,
            topic,
            epoch: self.epoch,
            phase: Phase::AwaitingCommitted,
            tracker: CommitTracker::new(Offset::ZERO),
            position: Offset::ZERO,
            leader: None,
            leader_epoch: None,
            epoch_refused: false,
            lineage: Lineage::default(),
            ground: Ground::Untested,
            settled_before: None,
            runnable: vec![0; self.handlers.len()],
            held: 0,
            max_bytes: self.config.fetch_bytes,
            want: Want::Nothing,
            asked: None,
            commit_refused: false,
            paused_until: None,
            failures: 0,
        }
    }

    /// Cancels the calls of one topic's handlers, or of all, and forgets the events that they are about. Outcomes that
    /// still come find nothing.
    pub(super) fn forget_work(&mut self, topic: Option<usize>) {
        let chosen = |of: usize| topic.is_none_or(|topic| topic == of);
        let mut cancelled = Vec::new();
        for (index, call) in &mut self.calls {
            let handler = &mut self.handlers[call.handler.0];
            if chosen(handler.config.topic) && call.deliveries.take().is_some() {
                handler.leftover += 1;
                cancelled.push(index);
            }
        }
        self.live_calls -= cancelled.len();
        for index in cancelled {
            let id = self.call_id(index);
            self.act(Action::Cancel(id));
        }
        for handler in self.handlers.iter_mut().filter(|handler| chosen(handler.config.topic)) {
            handler.lanes = Lanes::default();
            handler.due.clear();
            handler.outstanding = 0;
        }
        let (handlers, partitions) = (&self.handlers, &self.partitions);
        self.deliveries.retain(|_, delivery| !chosen(handlers[delivery.handler.0].config.topic));
        self.events.retain(|_, event| !chosen(partitions[event.partition].topic));
        let deliveries = &self.deliveries;
        self.retries.retain(|entry| deliveries.contains(entry.0.2 as usize));
    }

    pub(super) fn query_committed(&mut self, now: Time) {
        let Standing::Assigned(membership) = &self.standing else { return };
        let coordinator = membership.coordinator;
        if !self.committed.wanted || self.committed.in_flight.is_some() || self.committed.not_before > now {
            return;
        }
        let mut topics: Vec<(TopicName, Vec<PartitionId>)> = Vec::new();
        for (at, &slot) in &self.places {
            if !self.awaits_committed(&self.partitions[slot]) {
                continue;
            }
            match topics.last_mut() {
                Some((topic, partitions)) if *topic == at.topic => partitions.push(at.partition),
                Some(_) | None => topics.push((at.topic.clone(), vec![at.partition])),
            }
        }
        if topics.is_empty() {
            self.committed.wanted = false;
            return;
        }
        let id = self.request();
        self.committed.in_flight = Some(id);
        self.act(Action::FetchCommitted { id, coordinator, topics });
    }

    pub(super) fn on_committed(
        &mut self,
        now: Time,
        id: RequestId,
        outcome: Result<StoredOffsets, PortError>,
    ) {
        if self.committed.in_flight != Some(id) {
            self.marks.hit("late reply ignored");
            return;
        }
        self.committed.in_flight = None;
        let mut failed = None;
        match outcome {
            Ok(stored) => {
                for (at, outcome) in stored {
                    match outcome {
                        Ok(stored) => self.begin_at(now, &at, stored),
                        Err(code) => failed = Some(PortError::Refused(code)),
                    }
                }
            }
            Err(error) => failed = Some(error),
        }
        if let Some(error) = failed {
            self.report_membership_error(&error);
            self.notice(Notice::Trouble { request: "fetching committed offsets", error });
        }
        let open = self.partitions.iter().any(|(_, partition)| self.awaits_committed(partition));
        self.committed.wanted = open;
        if open {
            // Also where a broker's answer left a partition out.
            self.committed.not_before =
                now + Backoff::REQUEST.wait(self.committed.failures, &mut self.entropy);
            self.committed.failures = self.committed.failures.saturating_add(1);
        } else {
            self.committed.failures = 0;
        }
    }

    /// A look told of this topic: now the positions of its partitions may be asked for.
    pub(super) fn want_committed(&mut self, topic: usize) {
        let awaits = |partition: &Partition| partition.topic == topic && self.awaits_committed(partition);
        self.committed.wanted |= self.partitions.iter().any(|(_, partition)| awaits(partition));
    }

    fn awaits_committed(&self, partition: &Partition) -> bool {
        partition.phase == Phase::AwaitingCommitted && self.topics[partition.topic].incarnation.seen()
    }

    fn begin_at(&mut self, now: Time, at: &TopicPartition, stored: Option<StoredOffset>) {
        let Some(&slot) = self.places.get(at) else { return };
        let Partition { phase, topic, .. } = self.partitions[slot];
        if phase != Phase::AwaitingCommitted {
            return;
        }
        let Some(stored) = stored else {
            return self.set_phase(slot, Phase::AwaitingStart);
        };
        let scope = self.topics[topic].scope();
        let settled = match SettledSet::decode(&stored.metadata, stored.offset, scope) {
            Ok(settled) => settled,
            Err(Unreadable::OtherTopic { written_for, .. })
                if !self.topics[topic].incarnation.is_older(now, written_for) =>
            {
                // The look may have been at a broker that lags.
                self.marks.hit("a commit of a life that no look has told");
                return self.survey.want(now);
            }
            Err(reason) => {
                self.marks.hit("commit metadata ignored");
                self.notice(Notice::MetadataIgnored { at: at.clone(), reason: reason.to_string().into() });
                if let Unreadable::OtherTopic { .. } = reason {
                    // Nothing lies before the first record, so it does not matter who wrote it.
                    let start = FoundOffset { offset: Offset::ZERO, leader_epoch: None };
                    return self.begin_at_start(now, slot, start);
                }
                SettledSet::empty(stored.offset)
            }
        };
        let partition = &mut self.partitions[slot];
        partition.tracker = CommitTracker::resume(stored.offset, &settled);
        if self.commits.overtaken() {
            partition.tracker.recommit();
            self.commits.due_at(now);
        }
        partition.position = stored.offset;
        let below = epochs(&stored.metadata, stored.offset);
        partition.settled_before = stored.leader_epoch;
        partition.lineage = Lineage::committed(stored.leader_epoch, stored.offset, below);
        self.set_phase(slot, Phase::Reading);
    }

    /// The start of a partition's log, for a group that has nothing committed for it: resolved once, then committed.
    pub(super) fn begin_at_start(&mut self, now: Time, slot: usize, start: FoundOffset) {
        let partition = &mut self.partitions[slot];
        partition.tracker = CommitTracker::new(start.offset);
        partition.position = start.offset;
        partition.lineage = Lineage::beginning(start);
        partition.ground = Ground::Firm;
        partition.failures = 0;
        self.commits.due_at(now);
        self.set_phase(slot, Phase::Reading);
    }

    /// Tells the group if an error concerns the membership.
    pub(super) fn report_membership_error(&mut self, error: &PortError) {
        use crate::error::Remedy;
        if let (Some(code), Some(membership)) = (error.code(), self.standing.membership())
            && matches!(code.remedy(), Remedy::Rejoin | Remedy::FindCoordinator)
        {
            let generation = membership.generation;
            self.act(Action::CommitRefused { generation, code });
        }
    }
}
