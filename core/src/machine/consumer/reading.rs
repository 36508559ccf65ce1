//! Reading: what to ask of which leader, and what becomes of the answer.
//!
//! Each leader has at most one request of each kind in flight; a fetch asks for all of its partitions that have credit.
//! A partition has credit while what is fetched ahead, and its window, are within their settings. Nothing here ever
//! jumps to the end of a log by itself.

use std::time::Duration;

use super::leading::{Leader, Want};
use super::lineage::Lineage;
use super::{
    Action, Arrival, Consumer, Delivery, DeliveryState, Event, Ground, Kept, LaneKey, Notice, PerPartition,
    Phase, Read, ReadFault, Standing,
};
use crate::machine::commit::{Admission, Broken};
use crate::machine::delivery::History;
use crate::model::{BrokerId, Offset, Ordering, RequestId, Time, TopicPartition};
use crate::ports::{FetchPartition, FetchRequest, FoundOffset, ListOffset, ListedOffset, PortError, StartAt};

/// The wait of a fetch that leaves partitions out because they have no credit: they must not wait long for a place in
/// the next one.
const SHORT_WAIT: Duration = Duration::from_millis(20);

impl<P: Kept> Consumer<P> {
    pub(super) fn query_leaders(&mut self, now: Time) {
        if !matches!(self.standing, Standing::Assigned(_)) {
            return;
        }
        let idle = |leader: &Leader| leader.deadline().is_some_and(|at| at <= now);
        while let Some((&broker, leader)) = self.leaders.iter().find(|(_, leader)| idle(leader)) {
            if leader.wants_listing() {
                self.list_offsets(broker);
            } else {
                self.fetch(now, broker);
            }
        }
    }

    fn list_offsets(&mut self, broker: BrokerId) {
        let id = self.request();
        let Some(leader) = self.leaders.get_mut(&broker) else { return };
        leader.listing = Some(id);
        let mut partitions = Vec::new();
        for slot in leader.slots.clone() {
            if self.partitions[slot].want == Want::Bounds {
                self.ask(slot, id);
                let at = self.partitions[slot].at.clone();
                partitions.push(ListOffset { at, start: StartAt::Earliest });
            }
        }
        self.act(Action::ListOffsets { id, broker, partitions });
    }

    fn fetch(&mut self, now: Time, broker: BrokerId) {
        let id = self.request();
        let Some(leader) = self.leaders.get_mut(&broker) else { return };
        leader.fetch = Some(id);
        // Brokers serve the first partitions of a request first: each fetch begins with another one.
        leader.turn = (leader.turn + 1) % leader.slots.len().max(1);
        let (behind, ahead) = leader.slots.split_at(leader.turn);
        let slots: Vec<usize> = ahead.iter().chain(behind).copied().collect();
        let mut partitions = Vec::with_capacity(slots.len());
        let mut max_bytes = 0u32;
        let mut left_out = false;
        for slot in slots {
            if self.partitions[slot].want != Want::Records {
                left_out |= self.returns_soon(now, slot);
                continue;
            }
            self.ask(slot, id);
            let partition = &self.partitions[slot];
            max_bytes = max_bytes.saturating_add(partition.max_bytes);
            partitions.push(FetchPartition {
                at: partition.at.clone(),
                offset: partition.position,
                leader_epoch: partition.leader_epoch,
                last_fetched_epoch: partition.lineage.last(),
                max_bytes: partition.max_bytes,
            });
        }
        // Brokers fill an answer from the first partition on, and the first is another one each time.
        let max_bytes = max_bytes.min(self.config.fetch_answer_bytes);
        let wait = if left_out { SHORT_WAIT.min(self.config.fetch_wait) } else { self.config.fetch_wait };
        let read_committed = self.config.read_committed;
        self.act(Action::Fetch {
            id,
            broker,
            request: FetchRequest { wait, max_bytes, read_committed, partitions },
        });
    }

    /// Whether a partition has room for more. It has while any of its handlers may run dry, so that one that is slow or
    /// at its limits starves no other, and only as far as its window reaches.
    pub(super) fn has_credit(&self, slot: usize) -> bool {
        self.runs_dry(slot) && self.has_room(slot)
    }

    fn runs_dry(&self, slot: usize) -> bool {
        let partition = &self.partitions[slot];
        let ahead = u64::from(self.config.fetch_bytes);
        self.topics[partition.topic].handlers.iter().any(|handler| partition.runnable[handler.0] < ahead)
    }

    fn has_room(&self, slot: usize) -> bool {
        let partition = &self.partitions[slot];
        partition.held < self.config.window_bytes && partition.tracker.window() < self.config.window_events
    }

    /// Whether a partition that is left out of a fetch probably wants records again before a long one ends.
    fn returns_soon(&self, now: Time, slot: usize) -> bool {
        let partition = &self.partitions[slot];
        let soon = now + self.config.fetch_wait;
        partition.phase == Phase::Reading
            && partition.paused_until.is_none_or(|until| until <= soon)
            && self.has_room(slot)
    }

    /// Notes which request will speak for a partition.
    fn ask(&mut self, slot: usize, id: RequestId) {
        self.set_want(slot, Want::Nothing);
        self.partitions[slot].asked = Some(id);
    }

    /// The partition that an answer to request `id` speaks for, once: nothing that is late or repeated passes.
    fn answered(&mut self, at: &TopicPartition, id: RequestId) -> Option<usize> {
        let slot = *self.places.get(at)?;
        self.partitions[slot].asked.take_if(|asked| *asked == id).map(|_| slot)
    }

    /// Partitions that were asked for, and that the answer leaves out.
    fn left_out(&mut self, broker: BrokerId, id: RequestId) -> Vec<usize> {
        let Some(leader) = self.leaders.get(&broker) else { return Vec::new() };
        let asked = |slot: &usize| self.partitions[*slot].asked == Some(id);
        let slots: Vec<usize> = leader.slots.iter().copied().filter(asked).collect();
        for &slot in &slots {
            self.partitions[slot].asked = None;
            self.reconsider(slot);
        }
        slots
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
            Err(error) => {
                self.left_out(broker, id);
                return self.leader_failed(now, broker, "listing offsets", error);
            }
        };
        leader.answers();
        for ListedOffset { at, outcome } in listed {
            let Some(slot) = self.answered(&at, id) else { continue };
            match (self.partitions[slot].phase, outcome) {
                (Phase::AwaitingStart, Ok(Some(start))) => self.begin_at_start(now, slot, start),
                (Phase::AwaitingBounds, Ok(Some(earliest))) => self.return_to_log(now, slot, earliest),
                (_, Ok(_)) => self.pause_partition(now, slot),
                (_, Err(code)) => self.partition_failed(now, slot, "listing offsets", code),
            }
        }
        for slot in self.left_out(broker, id) {
            self.pause_partition(now, slot);
        }
    }

    /// A position was outside of the log, whose first offset is now known.
    fn return_to_log(&mut self, now: Time, slot: usize, start: FoundOffset) {
        let partition = &mut self.partitions[slot];
        let (at, position, earliest) = (partition.at.clone(), partition.position, start.offset);
        if position < earliest {
            self.marks.hit("retention overtook the group");
            partition.position = earliest;
            // What was read before the gap does not tell who wrote what is right before its end: a leader that has those
            // records would take the difference for a parting.
            partition.lineage = Lineage::beginning(start);
            partition.ground = Ground::Firm;
            self.notice(Notice::Gap { at, from: position, to: earliest });
            self.pass(now, slot, earliest);
            self.partitions[slot].failures = 0;
        } else {
            self.marks.hit("position past the end of the log");
            self.notice(Notice::PastEnd { at, position });
            self.pause_partition(now, slot);
        }
        if self.partitions[slot].phase == Phase::AwaitingBounds {
            self.set_phase(slot, Phase::Reading);
        }
    }

    pub(super) fn on_fetched(
        &mut self,
        now: Time,
        id: RequestId,
        outcome: Result<PerPartition<Read<P>>, PortError>,
    ) {
        let Some((&broker, leader)) = self.leaders.iter_mut().find(|(_, leader)| leader.fetch == Some(id))
        else {
            self.marks.hit("late reply ignored");
            return;
        };
        leader.fetch = None;
        let answers = match outcome {
            Ok(answers) => answers,
            Err(error) => {
                self.left_out(broker, id);
                return self.leader_failed(now, broker, "fetching", error);
            }
        };
        leader.answers();
        for (at, answer) in answers {
            let Some(slot) = self.answered(&at, id) else { continue };
            match answer {
                Ok(read) => self.take_in(now, slot, read),
                Err(code) => self.partition_failed(now, slot, "fetching", code),
            }
            self.reconsider(slot);
        }
        for slot in self.left_out(broker, id) {
            self.pause_partition(now, slot);
        }
    }

    /// Admits what a fetch read.
    fn take_in(&mut self, now: Time, slot: usize, read: Read<P>) {
        let draining = matches!(self.standing, Standing::Draining { .. });
        if draining {
            return self.marks.hit("fetched while draining");
        }
        let partition = &mut self.partitions[slot];
        if !matches!(read.fault, Some(ReadFault::Diverging(_)))
            && std::mem::replace(&mut partition.ground, Ground::Firm) != Ground::Firm
            && partition.tracker.dirty()
        {
            self.commits.due_at(now);
        }
        let partition = &mut self.partitions[slot];
        let (mut from, mut epoch) = (partition.position, None);
        for arrival in read.records {
            // Each epoch began behind the last record of the one before: what lies between may be of either.
            if let Some(later) = arrival.leader_epoch.filter(|later| epoch != Some(*later)) {
                self.partitions[slot].lineage.read(later, from, arrival.offset.next());
                epoch = Some(later);
            }
            from = from.max(arrival.offset.next());
            if let Err(broken) = self.admit(slot, arrival) {
                return self.break_partition(slot, &broken.to_string());
            }
        }
        let fetch_bytes = self.config.fetch_bytes;
        let partition = &mut self.partitions[slot];
        if let Some(last) = read.leader_epoch {
            partition.lineage.read(last, from, read.next);
        }
        // What follows is of that epoch or a later one, also where what was read has no records for handlers.
        partition.disinherit(read.leader_epoch, read.next);
        partition.position = partition.position.max(read.next).max(partition.tracker.position());
        let asked_for = std::mem::replace(&mut partition.max_bytes, fetch_bytes);
        let (at, offset) = (partition.at.clone(), partition.position);
        match read.fault {
            None => partition.failures = 0,
            // Asking for what was asked for already cannot help at once.
            Some(ReadFault::TooSmall(bytes)) if bytes <= asked_for => self.pause_partition(now, slot),
            Some(ReadFault::TooSmall(bytes)) => partition.max_bytes = bytes,
            Some(ReadFault::Undecodable(reason)) => {
                self.marks.hit("undecodable batch");
                self.notice(Notice::Undecodable { at, offset, reason });
                self.pause_partition(now, slot);
            }
            Some(ReadFault::Diverging(left)) => return self.truncate(now, slot, left),
        }
        self.pass(now, slot, read.next);
    }

    fn admit(&mut self, slot: usize, arrival: Arrival<P>) -> Result<(), Broken> {
        let partition = &mut self.partitions[slot];
        let Arrival { offset, key, weight, leader_epoch, record } = arrival;
        partition.disinherit(leader_epoch, offset);
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
        let event = Event { partition: slot, ticket: Some(ticket), offset, weight, unsettled, record };
        let event = self.events.insert(event) as u32;
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
                partition.runnable[id.0] += u64::from(weight);
            } else {
                self.events[event as usize].record.detach();
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
}
