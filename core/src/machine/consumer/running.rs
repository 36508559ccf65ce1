//! Running: starting calls, and what follows from how they end.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::{Action, Call, CallId, Consumer, DeliveryState, HandlerId, Kept, Notice, Ready, Standing};
use crate::machine::delivery::{EndedCall, Outcome, Settled, Verdict};
use crate::model::{OnFailure, Ordering, Time};

impl CallId {
    fn new(nonce: u32, index: usize) -> Self {
        Self(u64::from(nonce) << 32 | index as u64)
    }

    fn index(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }
}

impl<P: Kept> Consumer<P> {
    pub(super) fn call_id(&self, index: usize) -> CallId {
        CallId::new(self.calls[index].nonce, index)
    }

    /// Starts what may start, one handler after the other, as long as the limits allow.
    pub(super) fn start_ready(&mut self, now: Time) {
        if !matches!(self.standing, Standing::Assigned(_)) {
            return;
        }
        let mut without = 0;
        while self.calls.len() < self.config.concurrency && without < self.handlers.len() {
            self.turn = (self.turn + 1) % self.handlers.len();
            if self.start_one(now, HandlerId(self.turn)) {
                without = 0;
            } else {
                without += 1;
            }
        }
    }

    fn start_one(&mut self, now: Time, id: HandlerId) -> bool {
        let handler = &mut self.handlers[id.0];
        if handler.running >= handler.config.concurrency.get() {
            return false;
        }
        // A cancelled call of an earlier assignment may still be at work on an event whose turn comes again here.
        if handler.leftover > 0 && handler.config.ordering != Ordering::Unordered {
            return false;
        }
        let Some(first) = next_of(handler) else { return false };
        let mut more = Vec::new();
        while more.len() + 1 < handler.config.batch.get()
            // An event that was tried before goes alone, so that it harms no other.
            && !self.deliveries[first as usize].alone
            && handler.due.is_empty()
            && let Some(next) = next_of(handler)
        {
            more.push(next);
        }
        handler.running += 1;
        for &delivery in std::iter::once(&first).chain(&more) {
            self.deliveries[delivery as usize].state = DeliveryState::Running;
        }
        let event = self.ready(first);
        let events = more.iter().map(|&delivery| self.ready(delivery)).collect();
        self.nonce = self.nonce.wrapping_add(1);
        let call = Call { nonce: self.nonce, handler: id, started: now, deliveries: Some((first, more)) };
        let index = self.calls.insert(call);
        self.live_calls += 1;
        self.actions.push_back(Action::Run { call: self.call_id(index), handler: id, event, more: events });
        true
    }

    fn ready(&self, delivery: u32) -> Ready<P> {
        let delivery = &self.deliveries[delivery as usize];
        let event = &self.events[delivery.event as usize];
        let partition = &self.partitions[event.partition];
        Ready {
            record: event.record.clone(),
            attempt: delivery.history.next_attempt(),
            topic: partition.topic,
            partition: partition.at.partition,
        }
    }

    pub(super) fn on_finished(&mut self, now: Time, id: CallId, outcome: Outcome, waited: Duration) {
        let index = id.index();
        if self.calls.get(index).is_none_or(|call| CallId::new(call.nonce, index) != id) {
            self.marks.hit("outcome of an unknown call ignored");
            return;
        }
        let call = self.calls.remove(index);
        self.handlers[call.handler.0].running -= 1;
        let Some((first, more)) = call.deliveries else {
            self.handlers[call.handler.0].leftover -= 1;
            self.marks.hit("outcome of a call of an ended assignment ignored");
            return;
        };
        self.live_calls -= 1;
        if !more.is_empty() && failed(outcome) {
            self.marks.hit("failed batch taken apart");
            self.take_apart(first, &more);
            return;
        }
        let ended = EndedCall { outcome, started: call.started, waited, now };
        self.conclude(first, ended);
        for delivery in more {
            self.conclude(delivery, ended);
        }
    }

    /// The events of a failed batch are tried again one by one, so that each gets an outcome of its own.
    fn take_apart(&mut self, first: u32, more: &[u32]) {
        for &index in std::iter::once(&first).chain(more) {
            let delivery = &mut self.deliveries[index as usize];
            delivery.alone = true;
            delivery.state = DeliveryState::Queued;
            self.handlers[delivery.handler.0].due.push_back(index);
        }
    }

    fn conclude(&mut self, index: u32, call: EndedCall) {
        let EndedCall { outcome, now, .. } = call;
        let delivery = &mut self.deliveries[index as usize];
        let handler = &self.handlers[delivery.handler.0];
        delivery.alone = true;
        let verdict = delivery.history.conclude(
            call,
            &handler.config.retry,
            handler.config.on_failure,
            &mut self.entropy,
        );
        let is_lost = self.events[delivery.event as usize].ticket.is_none();
        match verdict {
            Verdict::Settle(settled) => self.settle(now, index, outcome, settled),
            Verdict::Hold | Verdict::Retry(_)
                if is_lost && handler.config.on_failure == OnFailure::Block && failed(outcome) =>
            {
                self.let_go(now, index, outcome);
            }
            Verdict::Retry(wait) => {
                self.retry_sequence += 1;
                delivery.state = DeliveryState::Waiting(self.retry_sequence);
                self.retries.push(Reverse((now + wait, self.retry_sequence, index)));
                self.stall(index);
            }
            Verdict::Hold => {
                self.marks.hit("an event blocks");
                delivery.state = DeliveryState::Held;
                // It waits for no attempt any more, so it takes no place from those that do.
                let handler = &mut self.handlers[delivery.handler.0];
                handler.outstanding -= 1;
                let (handler, event) =
                    (Arc::clone(&handler.config.name), &self.events[delivery.event as usize]);
                let (at, offset) = (self.partitions[event.partition].at.clone(), event.offset);
                self.notice(Notice::Blocked { handler, at, offset, outcome });
                self.stall(index);
            }
        }
    }

    /// A delivery is over for its handler; the event, if it was the last.
    pub(super) fn settle(&mut self, now: Time, index: u32, outcome: Outcome, settled: Settled) {
        let delivery = self.deliveries.remove(index as usize);
        let handler = &mut self.handlers[delivery.handler.0];
        handler.outstanding -= 1;
        if let Some(lane) = delivery.lane {
            handler.lanes.leave(lane);
        }
        let event = &mut self.events[delivery.event as usize];
        let (slot, offset, ticket, weight) = (event.partition, event.offset, event.ticket, event.weight);
        event.unsettled -= 1;
        let finished = event.unsettled == 0;
        let partition = &mut self.partitions[slot];
        partition.runnable[delivery.handler.0] -= u64::from(weight);
        if settled == Settled::Discarded {
            self.marks.hit("an event was discarded");
            let (at, attempts) = (partition.at.clone(), delivery.history.attempts());
            let handler = Arc::clone(&self.handlers[delivery.handler.0].config.name);
            self.actions.push_back(Action::Notice(Notice::Discarded {
                handler,
                at,
                offset,
                outcome,
                attempts,
            }));
        }
        if finished {
            self.events.remove(delivery.event as usize);
            let partition = &mut self.partitions[slot];
            partition.held -= u64::from(weight);
            match ticket.map(|ticket| partition.tracker.settle(ticket)) {
                None => self.marks.hit("settled what the log has lost"),
                Some(Ok(_)) => self.note_progress(now, slot),
                Some(Err(broken)) => return self.break_partition(slot, &broken.to_string()),
            }
        }
        self.reconsider(slot);
    }

    /// A delivery will not run soon, and neither will what is parked behind it. Their records may stay for long.
    fn stall(&mut self, index: u32) {
        let delivery = &self.deliveries[index as usize];
        self.events[delivery.event as usize].record.detach();
        if let Some(lane) = delivery.lane {
            for parked in self.handlers[delivery.handler.0].lanes.parked(lane) {
                let event = self.deliveries[parked as usize].event;
                self.events[event as usize].record.detach();
            }
        }
        let (slot, handler, weight) = self.weigh(index, |lanes, lane| lanes.stall(lane));
        self.partitions[slot].runnable[handler.0] -= weight;
        self.reconsider(slot);
    }

    pub(super) fn unstall(&mut self, index: u32) {
        let (slot, handler, weight) = self.weigh(index, |lanes, lane| lanes.resume(lane));
        self.partitions[slot].runnable[handler.0] += weight;
        self.reconsider(slot);
    }

    fn weigh(
        &mut self,
        index: u32,
        verb: impl Fn(&mut super::Lanes, super::LaneId) -> u64,
    ) -> (usize, HandlerId, u64) {
        let delivery = &self.deliveries[index as usize];
        let event = &self.events[delivery.event as usize];
        let lanes = &mut self.handlers[delivery.handler.0].lanes;
        let behind = delivery.lane.map_or(0, |lane| verb(lanes, lane));
        (event.partition, delivery.handler, u64::from(event.weight) + behind)
    }

    /// Makes deliveries ready whose wait is over.
    pub(super) fn wake_retries(&mut self, now: Time) {
        while let Some(&Reverse((at, sequence, index))) = self.retries.peek()
            && at <= now
        {
            self.retries.pop();
            let Some(delivery) = self.deliveries.get_mut(index as usize) else { continue };
            if delivery.state != DeliveryState::Waiting(sequence) {
                continue;
            }
            delivery.state = DeliveryState::Queued;
            let id = delivery.handler;
            self.handlers[id.0].due.push_back(index);
            self.unstall(index);
        }
    }
}

/// The next delivery of a handler that may start; a new one only within its limit of outstanding ones.
fn next_of(handler: &mut super::Handler) -> Option<u32> {
    if let Some(due) = handler.due.pop_front() {
        return Some(due);
    }
    if handler.outstanding >= handler.config.outstanding.get() {
        return None;
    }
    let next = handler.lanes.take_ready()?;
    handler.outstanding += 1;
    Some(next)
}

/// Whether a batch is to be taken apart for how it ended. One event that is ignored says nothing of the others, whose
/// effects went with it.
fn failed(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Done | Outcome::AlreadyDone | Outcome::World | Outcome::Cancelled => false,
        Outcome::Ignored
        | Outcome::Failed
        | Outcome::Permanent
        | Outcome::Panicked
        | Outcome::TimedOut
        | Outcome::Undecodable => true,
    }
}
