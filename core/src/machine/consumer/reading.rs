//! Reading: who leads which partition, what to fetch from whom, and when.
//!
//! Each leader has at most one request of each kind in flight; a fetch asks for all of its partitions that have credit.
//! A partition has credit while what is fetched ahead, and its window, are within their settings. Nothing here ever
//! jumps to the end of a log by itself.

use std::time::Duration;

use super::{
    Action, Arrival, Consumer, Delivery, DeliveryState, Event, LaneKey, Notice, Phase, Read, ReadFault,
    Standing,
};
use crate::error::{ErrorCode, Remedy};
use crate::machine::backoff::Backoff;
use crate::machine::commit::{Admission, Broken};
use crate::machine::delivery::History;
use crate::model::{BrokerId, Offset, Ordering, RequestId, Time, TopicPartition};
use crate::ports::{FetchPartition, FetchRequest, ListOffset, ListedOffset, Metadata, PortError, StartAt};

/// The wait of a fetch that leaves partitions out because they have no credit: they must not wait long for a place in
/// the next one.
const SHORT_WAIT: Duration = Duration::from_millis(20);

/// What is known of one leader.
#[derive(Debug, Default)]
pub(super) struct Leader {
    slots: Vec<usize>,
    fetch: Option<RequestId>,
    listing: Option<RequestId>,
    /// How many of its partitions want to be fetched.
    hungry: usize,
    /// How many of its partitions wait for an offset to be looked up.
    asking: usize,
    not_before: Time,
    failures: u32,
    turn: usize,
}

impl Leader {
    pub(super) fn deadline(&self) -> Option<Time> {
        let fetch = self.hungry > 0 && self.fetch.is_none();
        let list = self.asking > 0 && self.listing.is_none();
        (fetch || list).then_some(self.not_before)
    }
}

/// The look-up of topics, partitions and leaders.
#[derive(Debug, Default)]
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

impl<P: Clone> Consumer<P> {
    pub(super) fn survey_topics(&mut self, now: Time) {
        if self.survey.in_flight.is_some() || self.survey.due.is_none_or(|due| due > now) {
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
                return self.survey_again(now);
            }
        };
        let mut unknown_leaders = false;
        let mut changed = false;
        for described in metadata.topics {
            let Some(topic) = self.topics.iter_mut().find(|topic| topic.name == described.topic) else {
                continue;
            };
            let partitions = match described.partitions {
                Ok(partitions) => partitions,
                Err(code) => {
                    unknown_leaders = true;
                    let topic = described.topic;
                    self.notice(Notice::TopicUnavailable { topic, code });
                    continue;
                }
            };
            changed |= topic.partitions.is_some_and(|before| before != partitions.len());
            topic.partitions = Some(partitions.len());
            for partition in partitions {
                let at = TopicPartition { topic: described.topic.clone(), partition: partition.partition };
                let Some(&slot) = self.places.get(&at) else { continue };
                unknown_leaders |= partition.leader.is_none();
                self.partitions[slot].leader_epoch =
                    partition.leader_epoch.max(self.partitions[slot].leader_epoch);
                self.follow(slot, partition.leader);
            }
        }
        if changed {
            self.act(Action::PartitionsChanged);
        }
        if unknown_leaders || self.partitions.iter().any(|(_, partition)| partition.leader.is_none()) {
            self.survey_again(now);
        } else {
            self.survey.failures = 0;
            self.survey.want(now + self.config.watch_interval);
        }
    }

    /// Another look after a wait that grows while looks do not help.
    fn survey_again(&mut self, now: Time) {
        let wait = Backoff::REQUEST.wait(self.survey.failures, &mut self.entropy);
        self.survey.failures = self.survey.failures.saturating_add(1);
        self.survey.want(now + wait.min(self.config.watch_interval));
    }

    /// Notes that a partition is led by another broker, or by none.
    fn follow(&mut self, slot: usize, leader: Option<BrokerId>) {
        let before = self.partitions[slot].leader;
        if before != leader {
            if let Some(old) = before.and_then(|id| self.leaders.get_mut(&id)) {
                old.slots.retain(|&other| other != slot);
                let partition = &mut self.partitions[slot];
                old.hungry -= usize::from(std::mem::take(&mut partition.hungry));
                old.asking -= usize::from(asks(partition.phase));
                // What is in flight there is answered or not: its reply no longer speaks for this partition.
                partition.in_flight = false;
            }
            self.partitions[slot].leader = leader;
            if let Some(id) = leader {
                let new = self.leaders.entry(id).or_default();
                new.slots.push(slot);
                new.asking += usize::from(asks(self.partitions[slot].phase));
            }
        }
        self.reconsider(slot);
    }

    /// Changes the phase of a partition, keeping its leader's count true.
    fn enter_phase(&mut self, slot: usize, phase: Phase) {
        let partition = &mut self.partitions[slot];
        let before = std::mem::replace(&mut partition.phase, phase);
        if let Some(leader) = partition.leader.and_then(|id| self.leaders.get_mut(&id)) {
            leader.asking = leader.asking + usize::from(asks(phase)) - usize::from(asks(before));
        }
    }

    pub(super) fn set_phase(&mut self, slot: usize, phase: Phase) {
        self.enter_phase(slot, phase);
        self.reconsider(slot);
    }

    /// Whether a partition wants to be fetched may have changed.
    pub(super) fn reconsider(&mut self, slot: usize) {
        let partition = &mut self.partitions[slot];
        let handlers = self.topics[partition.topic].handlers.len() as u64;
        let hungry = partition.phase == Phase::Reading
            && !partition.in_flight
            && partition.runnable < u64::from(self.config.fetch_bytes) * handlers
            && partition.held < self.config.window_bytes
            && partition.tracker.window() < self.config.window_events;
        if hungry != partition.hungry
            && let Some(leader) = partition.leader.and_then(|id| self.leaders.get_mut(&id))
        {
            partition.hungry = hungry;
            leader.hungry = leader.hungry + usize::from(hungry) - usize::from(!hungry);
        }
    }

    pub(super) fn query_leaders(&mut self, now: Time) {
        if !matches!(self.standing, Standing::Assigned(_)) {
            return;
        }
        let idle = |leader: &Leader| leader.deadline().is_some_and(|at| at <= now);
        while let Some((&broker, _)) = self.leaders.iter().find(|(_, leader)| idle(leader)) {
            let leader = &self.leaders[&broker];
            if leader.asking > 0 && leader.listing.is_none() {
                self.list_offsets(broker);
            } else {
                self.fetch(broker);
            }
        }
    }

    fn list_offsets(&mut self, broker: BrokerId) {
        let id = self.request();
        let Some(leader) = self.leaders.get_mut(&broker) else { return };
        leader.listing = Some(id);
        let partitions = leader
            .slots
            .iter()
            .map(|&slot| &self.partitions[slot])
            .filter(|partition| asks(partition.phase))
            .map(|partition| ListOffset { at: partition.at.clone(), start: StartAt::Earliest })
            .collect();
        self.act(Action::ListOffsets { id, broker, partitions });
    }

    fn fetch(&mut self, broker: BrokerId) {
        let id = self.request();
        let Some(leader) = self.leaders.get_mut(&broker) else { return };
        leader.fetch = Some(id);
        leader.hungry = 0;
        // Brokers serve the first partitions of a request first: each fetch begins with another one.
        leader.turn = (leader.turn + 1) % leader.slots.len().max(1);
        let (behind, ahead) = leader.slots.split_at(leader.turn);
        let mut partitions = Vec::with_capacity(leader.slots.len());
        let mut max_bytes = 0u32;
        let mut left_out = false;
        for &slot in ahead.iter().chain(behind) {
            let partition = &mut self.partitions[slot];
            if !std::mem::take(&mut partition.hungry) {
                left_out |= partition.phase == Phase::Reading;
                continue;
            }
            partition.in_flight = true;
            max_bytes = max_bytes.saturating_add(partition.max_bytes);
            partitions.push(FetchPartition {
                at: partition.at.clone(),
                offset: partition.position,
                leader_epoch: partition.leader_epoch,
                max_bytes: partition.max_bytes,
            });
        }
        let wait = if left_out { SHORT_WAIT.min(self.config.fetch_wait) } else { self.config.fetch_wait };
        let read_committed = self.config.read_committed;
        self.act(Action::Fetch {
            id,
            broker,
            request: FetchRequest { wait, max_bytes, read_committed, partitions },
        });
    }

    pub(super) fn on_listed(
        &mut self,
        now: Time,
        id: RequestId,
        outcome: Result<Vec<ListedOffset>, PortError>,
    ) {
        let Some((&broker, leader)) = self.leaders.iter_mut().find(|(_, leader)| leader.listing == Some(id))
        else {
            self.marks.hit("late reply ignored");
            return;
        };
        leader.listing = None;
        let listed = match outcome {
            Ok(listed) => listed,
            Err(error) => return self.leader_failed(now, broker, "listing offsets", error),
        };
        let mut answered = 0;
        for ListedOffset { at, outcome } in listed {
            let Some(&slot) = self.places.get(&at) else { continue };
            if self.partitions[slot].leader != Some(broker) {
                continue;
            }
            match (self.partitions[slot].phase, outcome) {
                (Phase::AwaitingStart, Ok(Some(start))) => {
                    answered += 1;
                    self.enter_phase(slot, Phase::Reading);
                    self.begin_at_start(now, slot, start);
                }
                (Phase::AwaitingBounds, Ok(Some(earliest))) => {
                    answered += 1;
                    self.return_to_log(now, slot, earliest);
                }
                (Phase::AwaitingStart | Phase::AwaitingBounds, Err(code)) => {
                    self.partition_failed(now, slot, "listing offsets", code);
                }
                (_, Ok(_)) | (Phase::AwaitingCommitted | Phase::Reading | Phase::Broken, Err(_)) => {}
            }
        }
        if answered == 0 {
            self.pause_leader(now, broker);
        }
    }

    /// A position was outside of the log, whose first offset is now known.
    fn return_to_log(&mut self, now: Time, slot: usize, earliest: Offset) {
        let partition = &mut self.partitions[slot];
        let (at, position) = (partition.at.clone(), partition.position);
        if position < earliest {
            self.marks.hit("retention overtook the group");
            partition.position = earliest;
            self.notice(Notice::Gap { at, from: position, to: earliest });
            self.pass(now, slot, earliest);
        } else {
            self.marks.hit("position past the end of the log");
            self.notice(Notice::PastEnd { at, position });
            if let Some(broker) = self.partitions[slot].leader {
                self.pause_leader(now, broker);
            }
        }
        if self.partitions.get(slot).is_some_and(|partition| partition.phase == Phase::AwaitingBounds) {
            self.set_phase(slot, Phase::Reading);
        }
    }

    #[allow(clippy::type_complexity, reason = "the shape of the answer")]
    pub(super) fn on_fetched(
        &mut self,
        now: Time,
        id: RequestId,
        outcome: Result<Vec<(TopicPartition, Result<Read<P>, ErrorCode>)>, PortError>,
    ) {
        let Some((&broker, leader)) = self.leaders.iter_mut().find(|(_, leader)| leader.fetch == Some(id))
        else {
            self.marks.hit("late reply ignored");
            return;
        };
        leader.fetch = None;
        let (failures, not_before) = (leader.failures, leader.not_before);
        for &slot in &leader.slots {
            self.partitions[slot].in_flight = false;
        }
        let slots = leader.slots.clone();
        match outcome {
            Ok(answers) => {
                for (at, answer) in answers {
                    let Some(&slot) = self.places.get(&at) else { continue };
                    if self.partitions[slot].leader != Some(broker)
                        || self.partitions[slot].phase != Phase::Reading
                    {
                        continue;
                    }
                    match answer {
                        Ok(read) => self.take_in(now, slot, read),
                        Err(code) => self.partition_failed(now, slot, "fetching", code),
                    }
                }
            }
            Err(error) => self.leader_failed(now, broker, "fetching", error),
        }
        if let Some(leader) = self.leaders.get_mut(&broker)
            && (leader.failures, leader.not_before) == (failures, not_before)
        {
            leader.failures = 0;
        }
        for slot in slots {
            self.reconsider(slot);
        }
    }

    /// Admits what a fetch read.
    fn take_in(&mut self, now: Time, slot: usize, read: Read<P>) {
        let draining = matches!(self.standing, Standing::Draining { .. });
        if draining {
            return self.marks.hit("fetched while draining");
        }
        if read.leader_epoch.is_some() {
            self.partitions[slot].read_epoch = read.leader_epoch;
        }
        for arrival in read.records {
            if let Err(broken) = self.admit(slot, arrival) {
                return self.break_partition(slot, &broken.to_string());
            }
        }
        let partition = &mut self.partitions[slot];
        partition.position = partition.position.max(read.next);
        partition.max_bytes = self.config.fetch_bytes;
        let (at, offset) = (partition.at.clone(), partition.position);
        match read.fault {
            None => {}
            Some(ReadFault::TooSmall(bytes)) => partition.max_bytes = bytes.max(self.config.fetch_bytes),
            Some(ReadFault::Undecodable(reason)) => {
                self.marks.hit("undecodable batch");
                self.notice(Notice::Undecodable { at, offset, reason });
                if let Some(broker) = self.partitions[slot].leader {
                    self.pause_leader(now, broker);
                }
            }
        }
        self.pass(now, slot, read.next);
    }

    fn admit(&mut self, slot: usize, arrival: Arrival<P>) -> Result<(), Broken> {
        let partition = &mut self.partitions[slot];
        let Arrival { offset, key, weight, record } = arrival;
        let ticket = match partition.tracker.admit(offset)? {
            Admission::New(ticket) => ticket,
            Admission::AlreadySettled => {
                self.marks.hit("settled before, not handed out again");
                return Ok(());
            }
            Admission::Stale => {
                self.marks.hit("read twice, not handed out again");
                return Ok(());
            }
        };
        partition.held += u64::from(weight);
        let handlers = self.topics[partition.topic].handlers.len();
        let unsettled = u32::try_from(handlers).unwrap_or(u32::MAX);
        let event =
            self.events.insert(Event { partition: slot, ticket, offset, weight, unsettled, record }) as u32;
        for nth in 0..handlers {
            let id = self.topics[partition.topic].handlers[nth];
            let handler = &mut self.handlers[id.0];
            let lane = match (handler.config.ordering, key) {
                (Ordering::Key, Some(digest)) => Some(LaneKey { partition: slot, digest }),
                (Ordering::Partition, _) => Some(LaneKey { partition: slot, digest: 0 }),
                (Ordering::Key, None) | (Ordering::Unordered, _) => None,
            };
            let entry = self.deliveries.vacant_entry();
            let entered = handler.lanes.enter(entry.key() as u32, lane, weight);
            if entered.moving {
                partition.runnable += u64::from(weight);
            }
            entry.insert(Delivery {
                event,
                handler: id,
                lane: entered.lane,
                history: History::default(),
                alone: false,
                state: DeliveryState::Queued,
            });
        }
        Ok(())
    }

    /// Everything of a partition below `next` was read or is not there.
    fn pass(&mut self, now: Time, slot: usize, next: Offset) {
        let partition = &mut self.partitions[slot];
        match partition.tracker.pass(next) {
            Ok(()) => self.note_progress(now, slot),
            Err(broken) => self.break_partition(slot, &broken.to_string()),
        }
    }

    pub(super) fn break_partition(&mut self, slot: usize, what: &str) {
        self.marks.hit("a bug stopped a partition");
        let at = self.partitions[slot].at.clone();
        self.notice(Notice::Bug { at, what: what.into() });
        self.set_phase(slot, Phase::Broken);
    }

    /// One partition of an answer carried an error.
    fn partition_failed(&mut self, now: Time, slot: usize, request: &'static str, code: ErrorCode) {
        if code == ErrorCode::OffsetOutOfRange {
            return self.set_phase(slot, Phase::AwaitingBounds);
        }
        let broker = self.partitions[slot].leader;
        match code.remedy() {
            Remedy::FindLeader => {
                self.follow(slot, None);
                self.survey_again(now);
            }
            Remedy::Wait | Remedy::FindCoordinator | Remedy::Rejoin | Remedy::GiveUp => {
                self.notice(Notice::Trouble { request, error: PortError::Refused(code) });
                if let Some(broker) = broker {
                    self.pause_leader(now, broker);
                }
            }
        }
    }

    /// A whole request to a leader failed: perhaps it leads no more.
    fn leader_failed(&mut self, now: Time, broker: BrokerId, request: &'static str, error: PortError) {
        self.notice(Notice::Trouble { request, error });
        self.pause_leader(now, broker);
        self.survey_again(now);
    }

    fn pause_leader(&mut self, now: Time, broker: BrokerId) {
        if let Some(leader) = self.leaders.get_mut(&broker)
            && leader.not_before <= now
        {
            leader.not_before = now + Backoff::REQUEST.wait(leader.failures, &mut self.entropy);
            leader.failures = leader.failures.saturating_add(1);
        }
    }
}

/// Whether a partition waits for an offset to be looked up.
fn asks(phase: Phase) -> bool {
    match phase {
        Phase::AwaitingStart | Phase::AwaitingBounds => true,
        Phase::AwaitingCommitted | Phase::Reading | Phase::Broken => false,
    }
}
