//! The events of one partition, in order, and the one request that may be out for them.
//!
//! All events stand in one queue. A request covers a number of events at its front and leaves them there: success
//! takes them away, and a failure that calls for another attempt just frees them to be sent again, so that nothing
//! behind can overtake. How far an attempt of unknown fate reached is also a number counted from the front; events up
//! to there can never be reported as "did not happen" any more.
//!
//! ```text
//!            ┌──────── send ────────┐
//!            │                      ▼
//!  ┌──────▶ Ready ◀── answered ──  Out ── failed ──▶ Paused ── time ──▶ Ready
//!  │         │                      │
//!  │   limit not known           too large
//!  │         └──▶ AwaitingLimit ◀───┘
//!  └──── limit told ──┘
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Produced;
use super::ledger::{Event, Ledger};
use super::limit::{Fit, Sizes};
use super::timers::Alarm;
use crate::error::ProduceFailure;
use crate::model::{BrokerId, Offset, Time, TopicPartition};
use crate::ports::{OutgoingRecord, PortError};
use crate::records::BatchSize;

/// What a partition waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing: what is queued may go.
    Ready,
    /// The answer to a request with this many events.
    Out { events: usize },
    /// The end of a pause.
    Paused { until: Time },
    /// The topic's size limit. `refused`: the broker found the first event alone too large.
    AwaitingLimit { refused: bool },
}

/// What to do for a partition next.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Nothing, until something happens or its [`deadline`](Partition::deadline).
    Rest,
    /// Look for its leader.
    FindLeader,
    /// Ask for the topic's size limit.
    AskLimit,
    /// Refuse the first event for its size.
    TooBig,
    /// Send this batch.
    Send { leader: BrokerId, records: Vec<Arc<OutgoingRecord>> },
}

/// One partition.
#[derive(Debug, Clone)]
pub(super) struct Partition {
    pub(super) at: TopicPartition,
    /// Who is believed to lead it; `None` if nobody is, or the belief was wrong.
    pub(super) leader: Option<BrokerId>,
    /// Whether the machine is going to look at it anyway.
    pub(super) listed: bool,
    pub(super) alarm: Alarm,
    state: State,
    queue: VecDeque<Event>,
    weight: usize,
    /// How many events at the front may have been written.
    doubtful: usize,
    /// What became of the last attempt that may have written them.
    doubt: Option<PortError>,
    /// What stood in the way last.
    trouble: Option<PortError>,
    retries: u32,
    /// After a batch was refused as a whole: the most events of the next one.
    cap: Option<usize>,
}

impl Partition {
    pub(super) fn new(at: TopicPartition) -> Self {
        Self {
            at,
            leader: None,
            listed: false,
            alarm: Alarm::default(),
            state: State::Ready,
            queue: VecDeque::new(),
            weight: 0,
            doubtful: 0,
            doubt: None,
            trouble: None,
            retries: 0,
            cap: None,
        }
    }

    /// Appends an event.
    pub(super) fn push(&mut self, event: Event) {
        self.weight += event.weight();
        self.queue.push_back(event);
    }

    /// What the queue weighs in memory.
    pub(super) const fn weight(&self) -> usize {
        self.weight
    }

    /// Whether a new event would have to wait for more than the answer to a request.
    pub(super) fn is_held_up(&self) -> bool {
        self.leader.is_none() || matches!(self.state, State::Paused { .. } | State::AwaitingLimit { .. })
    }

    /// Whether events wait here for a leader.
    pub(super) fn needs_leader(&self) -> bool {
        self.leader.is_none() && self.queue.len() > self.out()
    }

    /// Whether events wait here for the topic's size limit.
    pub(super) fn awaits_limit(&self) -> bool {
        matches!(self.state, State::AwaitingLimit { .. }) && !self.queue.is_empty()
    }

    /// When to look at it again, if nothing happens before.
    pub(super) fn deadline(&self, time_out: Duration) -> Option<Time> {
        let expiry = self.queue.get(self.out())?.submitted + time_out;
        Some(match self.state {
            State::Paused { until } => until.min(expiry),
            State::Ready | State::Out { .. } | State::AwaitingLimit { .. } => expiry,
        })
    }

    /// Decides what to do next. A batch that is to be sent counts as sent.
    pub(super) fn step(&mut self, now: Time, sizes: &Sizes) -> Step {
        match self.state {
            State::Out { .. } | State::AwaitingLimit { .. } => return Step::Rest,
            State::Paused { until } if now < until => return Step::Rest,
            State::Paused { .. } | State::Ready => self.state = State::Ready,
        }
        let Some(first) = self.queue.front() else { return Step::Rest };
        match sizes.judge(BatchSize::alone(first.size).bytes()) {
            Fit::Fits => {}
            Fit::TooBig => return Step::TooBig,
            Fit::Ask => {
                self.state = State::AwaitingLimit { refused: false };
                return Step::AskLimit;
            }
        }
        let Some(leader) = self.leader else { return Step::FindLeader };
        let events = self.batch(sizes.batch());
        self.state = State::Out { events };
        let records = self.queue.iter().take(events).map(|event| Arc::clone(&event.record)).collect();
        Step::Send { leader, records }
    }

    /// How many events from the front make the next batch: at least one, however large.
    fn batch(&mut self, most_bytes: usize) -> usize {
        let cap = self.cap.unwrap_or(usize::MAX);
        let mut size = BatchSize::new();
        let mut events = 0;
        for event in self.queue.iter().take(cap) {
            size = size.with(event.size, event.record.timestamp);
            if events > 0 && size.bytes() > most_bytes {
                break;
            }
            events += 1;
        }
        if events < cap {
            self.cap = None;
        }
        events
    }

    /// The request was answered: its events are in the log from `base` on.
    pub(super) fn acknowledged(&mut self, base: Offset, ledger: &mut Ledger) {
        for index in 0..self.out() {
            let Some(event) = self.pop() else { break };
            // A batch has far fewer events than there are offsets, but the base is the broker's word.
            let offset = Offset(base.0.saturating_add(i64::try_from(index).unwrap_or(i64::MAX)));
            ledger.finish(event, Ok(Produced { at: self.at.clone(), offset }));
        }
        self.state = State::Ready;
        self.retries = 0;
        self.trouble = None;
        self.cap = self.cap.map(|cap| cap.saturating_mul(2));
    }

    /// The request failed; its events are free to be sent again. Answers how many they are.
    pub(super) fn failed(&mut self, error: &PortError, doubtful: bool) -> usize {
        let events = self.out();
        self.state = State::Ready;
        self.trouble = Some(error.clone());
        if doubtful {
            self.doubtful = self.doubtful.max(events);
            self.doubt = Some(error.clone());
        }
        events
    }

    /// Nothing is sent for a while, which depends on the number of failures before.
    pub(super) fn pause(&mut self, now: Time, wait: impl FnOnce(u32) -> Duration) {
        self.state = State::Paused { until: now + wait(self.retries) };
        self.retries = self.retries.saturating_add(1);
    }

    /// A batch of `events` was refused as a whole: the next has half as many. False if there was only one.
    pub(super) fn halve(&mut self, events: usize) -> bool {
        if events > 1 {
            self.cap = Some(events / 2);
        }
        events > 1
    }

    /// A batch of `events` was too large: nothing is sent until the topic's limit is known.
    pub(super) fn await_limit(&mut self, events: usize) {
        self.state = State::AwaitingLimit { refused: !self.halve(events) };
    }

    /// The limit is known, or known not to be had. True if the broker refused the first event for its size.
    pub(super) fn limit_settled(&mut self) -> bool {
        let State::AwaitingLimit { refused } = self.state else { return false };
        self.state = State::Ready;
        refused
    }

    /// Gives up those of the first `count` events that are not in a request.
    pub(super) fn give_up(
        &mut self,
        count: usize,
        ledger: &mut Ledger,
        why: impl Fn(&Event) -> ProduceFailure,
    ) {
        let out = self.out();
        let count = count.min(self.queue.len());
        if count <= out {
            return;
        }
        let doubtful = self.doubtful;
        for (index, event) in (out..).zip(self.queue.drain(out..count)) {
            self.weight -= event.weight();
            let failure = match &self.doubt {
                Some(cause) if index < doubtful => {
                    ProduceFailure::Unknown { at: self.at.clone(), cause: cause.clone() }
                }
                _ => why(&event),
            };
            ledger.finish(event, Err(failure));
        }
        self.doubtful -= doubtful.clamp(out, count) - out;
        if matches!(self.state, State::AwaitingLimit { .. }) {
            // The event that needed the limit is gone; whoever is first now is judged anew.
            self.state = State::Ready;
        }
    }

    /// Gives up all events that are not in a request.
    pub(super) fn give_up_all(&mut self, ledger: &mut Ledger, why: impl Fn(&Event) -> ProduceFailure) {
        self.give_up(self.queue.len(), ledger, why);
    }

    /// Gives up the events past their delivery time-out. `trouble` is what is known to stand in the whole topic's way.
    pub(super) fn expire(
        &mut self,
        now: Time,
        time_out: Duration,
        trouble: Option<&PortError>,
        ledger: &mut Ledger,
    ) {
        let late = |event: &&Event| event.submitted + time_out <= now;
        let out = self.out();
        let count = out + self.queue.iter().skip(out).take_while(late).count();
        if count == out {
            return;
        }
        let topic = self.at.topic.clone();
        let cause = self.trouble.clone().or_else(|| trouble.cloned());
        self.give_up(count, ledger, |_| ProduceFailure::TimedOut {
            topic: topic.clone(),
            after: time_out,
            cause: cause.clone(),
        });
    }

    /// How many events are in the request that is out.
    fn out(&self) -> usize {
        match self.state {
            State::Out { events } => events,
            State::Ready | State::Paused { .. } | State::AwaitingLimit { .. } => 0,
        }
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        self.weight -= event.weight();
        self.doubtful = self.doubtful.saturating_sub(1);
        Some(event)
    }

    /// The O(n) invariants, for tests.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert!(self.out() <= self.queue.len());
        assert!(self.doubtful <= self.queue.len());
        assert!(self.doubtful == 0 || self.doubt.is_some());
        assert_eq!(self.weight, self.queue.iter().map(Event::weight).sum::<usize>());
        assert!(self.queue.iter().is_sorted_by_key(|event| event.submitted));
        assert!(self.cap != Some(0));
    }
}
