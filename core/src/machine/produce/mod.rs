//! Producing: everything that is decided between an event's submission and its acknowledgement.
//!
//! # What it promises
//!
//! - **Acknowledged is durable.** `Ok` means that the record is in the log. Every failure but
//!   [`ProduceFailure::Unknown`] means that it is not and will not be. Once a single attempt may have written an event,
//!   only `Ok` or `Unknown` can follow.
//! - **Order.** The events of a partition stand in one queue with at most one request out for its front. A failed batch
//!   is sent again before anything behind it, so the first occurrences of a key's records keep the order of
//!   submission, through retries and moves of leaders. A retry after a lost answer may write a record twice: readers
//!   tell repeated ids apart. An event that ends as `Unknown` ends this promise for itself, and growth of the topic's
//!   partitions ends it for the keys that move.
//! - **No added wait.** What is submitted while nothing is out for its partition leaves at once, together with
//!   everything else of the same input. What is submitted meanwhile forms the next batch by itself.
//! - **An end.** Every event is finished exactly once: by its delivery time-out at the latest, or, if a request for it
//!   is out then, by that request's answer. A topic that does not exist is given up far sooner, after
//!   [`missing_patience`](ProduceConfig::missing_patience), which covers the moments a new topic takes to be known.
//! - **Bounded work.** Whatever fails is repeated after a growing pause; while everything is out of reach, the cluster
//!   is asked one question a pause. Memory is bounded by whoever submits: see [`Produce::room`].
//!
//! # Its parts
//!
//! `topic` knows partitions and places events, `partition` keeps a queue and forms batches, `limit` knows a
//! topic's size limit, `looks` decides when to ask the cluster, `verdict` what a failed attempt means. This file
//! ties them together.

mod config;
mod ledger;
mod limit;
mod looks;
mod partition;
mod partitioner;
mod surface;
mod timers;
mod topic;
mod verdict;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{ErrorCode, ProduceFailure, Remedy};
use crate::machine::{Entropy, Machine, Marks};
use crate::model::{BrokerId, RequestId, Time, TopicName};
use crate::ports::{
    Metadata, OutgoingRecord, PartitionMetadata, PortError, ProduceAnswer, ProduceRequest, ResourceLimits,
};
use crate::records::{BatchSize, RecordSize};

pub use config::ProduceConfig;
use ledger::{Event, Ledger};
use looks::Looks;
use partition::Step;
pub use surface::{Action, Input, Produced, Submission, Ticket};
use timers::{Timer, Timers};
use topic::Topic;
use verdict::{Next, verdict};

/// One partition of one topic, by their indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    topic: usize,
    partition: usize,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    Closing,
    Closed,
}

/// The producing machine. See the [module](self).
#[derive(Debug, Clone)]
pub struct Produce {
    config: ProduceConfig,
    entropy: Entropy,
    now: Time,
    life: Life,
    /// Only ever grows: by one small entry for every topic that was named.
    topics: Vec<Topic>,
    index: BTreeMap<TopicName, usize>,
    looks: Looks,
    look_alarm: timers::Alarm,
    sends: BTreeMap<RequestId, Slot>,
    limit_requests: BTreeMap<RequestId, usize>,
    last_id: u64,
    ledger: Ledger,
    timers: Timers,
    /// The partitions to look at before the input is done with.
    listed: Vec<Slot>,
    marks: Marks,
}

impl Produce {
    /// A machine without topics or events.
    #[must_use]
    pub fn new(config: ProduceConfig, entropy: Entropy) -> Self {
        Self {
            config,
            entropy,
            now: Time::ZERO,
            life: Life::Open,
            topics: Vec::new(),
            index: BTreeMap::new(),
            looks: Looks::default(),
            look_alarm: timers::Alarm::default(),
            sends: BTreeMap::new(),
            limit_requests: BTreeMap::new(),
            last_id: 0,
            ledger: Ledger::default(),
            timers: Timers::default(),
            listed: Vec::new(),
            marks: Marks::default(),
        }
    }

    /// The bytes of events that may still be taken in before the buffer is full. Whoever submits must stop at zero and
    /// go on when there is room again; an event larger than the room may be submitted as long as there is any.
    #[must_use]
    pub fn room(&self) -> usize {
        self.config.buffer_bytes.saturating_sub(self.ledger.weight())
    }

    fn submit(&mut self, submission: Submission) {
        let Submission { ticket, topic, record } = submission;
        if self.life != Life::Open {
            self.marks.hit("submission after close refused");
            let outcome = Err(ProduceFailure::Closed(topic));
            self.ledger.actions.push_back(Action::Finish { ticket, outcome });
            return;
        }
        let size = RecordSize::of(&record);
        let event = Event { ticket, record, size, submitted: self.now };
        self.ledger.open(&event);
        let topic = match self.index.get(&topic) {
            Some(index) => *index,
            None => self.add_topic(topic),
        };
        match self.topics[topic].seen_at() {
            Some(since) if self.now.since(since) <= self.config.metadata_age => {}
            _ => self.looks.want(topic),
        }
        self.place(topic, event);
    }

    fn add_topic(&mut self, name: TopicName) -> usize {
        let index = self.topics.len();
        self.index.insert(name.clone(), index);
        self.topics.push(Topic::new(name));
        self.looks.add_topic();
        index
    }

    fn place(&mut self, topic: usize, event: Event) {
        let submitted = event.submitted;
        let placed = self.topics[topic].place(event, self.config.batch_bytes, &mut self.entropy);
        match placed {
            Some(partition) => self.list(Slot { topic, partition }),
            None => {
                let alarm = &mut self.topics[topic].alarm;
                self.timers.arm(alarm, Timer::Unplaced(topic), submitted + self.config.delivery_timeout);
            }
        }
    }

    fn described(&mut self, id: RequestId, outcome: Result<Metadata, PortError>) {
        let Some(asked) = self.looks.answered(id) else {
            self.marks.hit("late metadata ignored");
            return;
        };
        let mut helpless = Vec::new();
        for topic in asked {
            let found = match &outcome {
                // A topic that the answer leaves out is as unknown as one that it calls so.
                Ok(metadata) => match metadata.topics.iter().find(|t| t.topic == self.topics[topic].name) {
                    Some(found) => found.partitions.as_deref().map_err(|code| PortError::Refused(*code)),
                    None => Err(PortError::Refused(ErrorCode::UnknownTopicOrPartition)),
                },
                Err(error) => Err(error.clone()),
            };
            let helped = match found {
                Ok([]) => self.unseen(topic, PortError::Refused(ErrorCode::LeaderNotAvailable)),
                Ok(partitions) => self.seen(topic, partitions),
                // Only an answer about the topic itself can say that it does not exist.
                Err(PortError::Refused(ErrorCode::UnknownTopicOrPartition)) if outcome.is_ok() => {
                    self.missing(topic)
                }
                Err(error) => self.unseen(topic, error),
            };
            if !helped {
                helpless.push(topic);
            }
        }
        self.looks.repeat(helpless, self.now, &self.config.look_backoff, &mut self.entropy);
    }

    /// The partitions are known. True if that helped all events that wait.
    fn seen(&mut self, topic: usize, partitions: &[PartitionMetadata]) -> bool {
        if self.topics[topic].seen(self.now, partitions) {
            self.marks.hit("impossible partition number passed over");
        }
        for event in self.topics[topic].take_unplaced() {
            self.place(topic, event);
        }
        self.list_all(topic);
        let helped = !self.topics[topic].needs_look();
        if !helped {
            self.marks.hit("partition without a leader");
        }
        helped
    }

    /// The topic does not exist, for all the cluster knows. True if there is nothing to look for any more.
    fn missing(&mut self, topic: usize) -> bool {
        let since = self.topics[topic].missing(self.now);
        let over = self.now.since(since) >= self.config.missing_patience;
        if over {
            self.marks.hit("missing topic given up");
            self.topics[topic].give_up_missing(&mut self.ledger);
        }
        over
    }

    /// The cluster did not tell the partitions. True if there is nothing to look for any more.
    fn unseen(&mut self, topic: usize, error: PortError) -> bool {
        let refusal = error.code().filter(|code| code.remedy() == Remedy::GiveUp);
        let topic = &mut self.topics[topic];
        topic.unseen(error);
        if let Some(code) = refusal {
            self.marks.hit("inaccessible topic given up");
            let why = ProduceFailure::Inaccessible { topic: topic.name.clone(), code };
            topic.give_up_waiting(&mut self.ledger, &why);
        }
        // What was seen before and is due to be seen again stays due, whether or not events wait.
        topic.seen_at().is_none() && !topic.needs_look()
    }

    fn limits_known(&mut self, id: RequestId, outcome: Result<ResourceLimits, PortError>) {
        let Some(index) = self.limit_requests.remove(&id) else {
            self.marks.hit("late limits ignored");
            return;
        };
        let topic = &mut self.topics[index];
        match outcome {
            Ok(limits) => topic.limit.told(limits.max_message_bytes, self.now),
            Err(PortError::Refused(code)) if code.remedy() == Remedy::GiveUp => {
                self.marks.hit("limit not told");
                topic.limit.untold(self.now);
            }
            Err(_) => {
                self.marks.hit("limit asked again");
                let until = topic.limit.failed(self.now, |n| self.config.backoff.wait(n, &mut self.entropy));
                self.timers.arm(&mut topic.limit.alarm, Timer::Limit(index), until);
                return;
            }
        }
        for partition in 0..topic.partitions.len() {
            if self.topics[index].partitions[partition].limit_settled() {
                self.refuse_size(Slot { topic: index, partition });
            }
        }
        self.list_all(index);
    }

    fn sent(&mut self, id: RequestId, outcome: Result<ProduceAnswer, PortError>) {
        let Some(slot) = self.sends.remove(&id) else {
            self.marks.hit("late produce answer ignored");
            return;
        };
        self.list(slot);
        let partition = &mut self.topics[slot.topic].partitions[slot.partition];
        let error = match outcome {
            Ok(answer) => return partition.acknowledged(answer.base_offset, &mut self.ledger),
            Err(error) => error,
        };
        let verdict = verdict(&error);
        let events = partition.failed(&error, verdict.doubtful);
        if verdict.doubtful {
            self.marks.hit("attempt of unknown fate");
        }
        let mut wait = |retries| self.config.backoff.wait(retries, &mut self.entropy);
        match verdict.next {
            Next::Again => partition.pause(self.now, &mut wait),
            Next::AgainToLeader => {
                partition.leader = None;
                partition.pause(self.now, &mut wait);
                self.looks.want(slot.topic);
            }
            Next::Shrink => {
                self.marks.hit("batch too large");
                partition.await_limit(events);
                self.ask_limit(slot.topic);
            }
            Next::Isolate(_) if partition.halve(events) => self.marks.hit("batch halved to isolate a record"),
            Next::Isolate(code) | Next::GiveUp(code) => {
                self.marks.hit("batch refused");
                let at = partition.at.clone();
                partition
                    .give_up(events, &mut self.ledger, |_| ProduceFailure::Refused { at: at.clone(), code });
            }
        }
    }

    fn ask_limit(&mut self, topic: usize) {
        if self.topics[topic].limit.ask() {
            self.fetch_limits(topic);
        }
    }

    fn fetch_limits(&mut self, topic: usize) {
        let id = self.next_id();
        self.limit_requests.insert(id, topic);
        let topic = self.topics[topic].name.clone();
        self.ledger.actions.push_back(Action::FetchLimits { id, topic });
    }

    /// The first event of a partition is larger than the topic takes.
    fn refuse_size(&mut self, slot: Slot) {
        self.marks.hit("event too big");
        let topic = &mut self.topics[slot.topic];
        let (name, limit) = (topic.name.clone(), topic.limit.bytes());
        topic.partitions[slot.partition].give_up(1, &mut self.ledger, |event| ProduceFailure::TooBig {
            topic: name.clone(),
            size: BatchSize::alone(event.size).bytes(),
            limit,
        });
    }

    /// Notes that a partition has to be looked at.
    fn list(&mut self, slot: Slot) {
        let partition = &mut self.topics[slot.topic].partitions[slot.partition];
        if !std::mem::replace(&mut partition.listed, true) {
            self.listed.push(slot);
        }
    }

    fn list_all(&mut self, topic: usize) {
        for partition in 0..self.topics[topic].partitions.len() {
            self.list(Slot { topic, partition });
        }
    }

    /// Does what an input or the time has made possible, once all of it is known: that is what makes batches.
    fn settle(&mut self) {
        let mut listed = std::mem::take(&mut self.listed);
        for slot in listed.drain(..) {
            self.look_at(slot);
        }
        self.listed = listed;
        self.describe();
        if self.life == Life::Closing && self.ledger.is_settled() {
            self.life = Life::Closed;
            self.ledger.actions.push_back(Action::Closed);
        }
    }

    fn look_at(&mut self, slot: Slot) {
        let time_out = self.config.delivery_timeout;
        let topic = &mut self.topics[slot.topic];
        let trouble = topic.trouble().cloned();
        let sizes = topic.limit.sizes(self.now, &self.config);
        let partition = &mut topic.partitions[slot.partition];
        partition.listed = false;
        partition.expire(self.now, time_out, trouble.as_ref(), &mut self.ledger);
        loop {
            match self.topics[slot.topic].partitions[slot.partition].step(self.now, &sizes) {
                Step::Rest => break,
                Step::TooBig => self.refuse_size(slot),
                Step::AskLimit => break self.ask_limit(slot.topic),
                Step::FindLeader => break self.looks.want(slot.topic),
                Step::Send { leader, records } => break self.send(slot, leader, records),
            }
        }
        let partition = &mut self.topics[slot.topic].partitions[slot.partition];
        #[cfg(test)]
        partition.check();
        if let Some(at) = partition.deadline(time_out) {
            self.timers.arm(&mut partition.alarm, Timer::Partition(slot), at);
        }
    }

    fn send(&mut self, slot: Slot, leader: BrokerId, records: Vec<Arc<OutgoingRecord>>) {
        let id = self.next_id();
        self.sends.insert(id, slot);
        self.topics[slot.topic].batch_left(slot.partition);
        let at = self.topics[slot.topic].partitions[slot.partition].at.clone();
        let request = ProduceRequest { at, leader, records, timeout: self.config.request_timeout };
        self.ledger.actions.push_back(Action::Send { id, request });
    }

    /// Asks about the topics that need it, unless such a request is out.
    fn describe(&mut self) {
        let id = RequestId(self.last_id + 1);
        if let Some(topics) = self.looks.request(self.now, id) {
            self.last_id = id.0;
            let topics = topics.iter().map(|topic| self.topics[*topic].name.clone()).collect();
            self.ledger.actions.push_back(Action::Describe { id, topics });
        }
        if let Some(at) = self.looks.deadline() {
            self.timers.arm(&mut self.look_alarm, Timer::Look, at);
        }
    }

    fn next_id(&mut self) -> RequestId {
        self.last_id += 1;
        RequestId(self.last_id)
    }

    fn wake(&mut self, timer: Timer) {
        match timer {
            Timer::Look => self.look_alarm.clear(),
            Timer::Limit(index) => {
                let topic = &mut self.topics[index];
                topic.limit.alarm.clear();
                let wanted = topic.partitions.iter().any(partition::Partition::awaits_limit);
                if topic.limit.wake(self.now, wanted) {
                    self.fetch_limits(index);
                }
            }
            Timer::Unplaced(index) => {
                let topic = &mut self.topics[index];
                topic.alarm.clear();
                topic.expire_unplaced(self.now, self.config.delivery_timeout, &mut self.ledger);
                if let Some(oldest) = topic.oldest_unplaced() {
                    let at = oldest + self.config.delivery_timeout;
                    self.timers.arm(&mut topic.alarm, timer, at);
                }
            }
            Timer::Partition(slot) => {
                self.topics[slot.topic].partitions[slot.partition].alarm.clear();
                self.list(slot);
            }
        }
    }
}

impl Machine for Produce {
    type Input = Input;
    type Action = Action;

    fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Submit(submissions) => submissions.into_iter().for_each(|one| self.submit(one)),
            Input::Described { id, outcome } => self.described(id, outcome),
            Input::LimitsKnown { id, outcome } => self.limits_known(id, outcome),
            Input::Sent { id, outcome } => self.sent(id, outcome),
            Input::Close => {
                if self.life == Life::Open {
                    self.life = Life::Closing;
                }
            }
        }
        self.settle();
    }

    fn poll(&mut self) -> Option<Action> {
        self.ledger.actions.pop_front()
    }

    fn deadline(&self) -> Option<Time> {
        self.timers.first()
    }

    fn tick(&mut self, now: Time) {
        self.now = self.now.max(now);
        while let Some(timer) = self.timers.pop(self.now) {
            self.wake(timer);
        }
        self.settle();
    }

    fn marks(&self) -> &Marks {
        &self.marks
    }
}
