//! Requests that wait: fetches for records, produces for replicas.
//!
//! A waiting request is known to every partition it waits for. When something changes there, it is looked at again at
//! once, in the order of request ids; when its time is over, it is answered with what there is.

use std::collections::BTreeSet;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{Offset, PartitionId, RequestId, Time};

use super::{Action, Cluster};
use crate::message::{FetchRequest, OfTopic, Origin, ProduceAnswer, ProducedPartition, Text};

/// A request that waits.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) until: Time,
    pub(super) origin: Origin,
    pub(super) what: What,
}

/// What for.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// Enough records. So many partitions were not there when it came.
    Records { request: FetchRequest, unknown: usize },
    /// The in-sync replicas.
    Replicas { answer: ProduceAnswer, pending: Vec<Pending> },
}

/// A batch that not every in-sync replica has yet.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    /// Its place in the answer.
    pub(super) place: (usize, usize),
    pub(super) topic: Text,
    pub(super) partition: PartitionId,
    pub(super) end: Offset,
}

impl Waiting {
    /// The partitions it waits for.
    fn partitions(&self) -> BTreeSet<(Text, PartitionId)> {
        match &self.what {
            What::Records { request, .. } => {
                let of_topic = |entry: &OfTopic<crate::message::FetchPartition>| {
                    let topic = entry.topic.clone();
                    let numbers: Vec<_> = entry.partitions.iter().map(|p| p.partition).collect();
                    numbers.into_iter().map(move |number| (topic.clone(), number))
                };
                request.topics.iter().flat_map(of_topic).collect()
            }
            What::Replicas { pending, .. } => {
                pending.iter().map(|p| (p.topic.clone(), p.partition)).collect()
            }
        }
    }
}

impl Cluster {
    /// Lets a request wait.
    pub(super) fn park(&mut self, id: RequestId, waiting: Waiting) {
        for (topic, number) in waiting.partitions() {
            if let Some(partition) = self.topics.partition_mut(&topic, number) {
                partition.waiting.insert(id);
            }
        }
        self.due.insert((waiting.until, id));
        self.waiting.insert(id, waiting);
    }

    /// Takes a request from where it waits.
    fn unpark(&mut self, id: RequestId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.due.remove(&(waiting.until, id));
        for (topic, number) in waiting.partitions() {
            if let Some(partition) = self.topics.partition_mut(&topic, number) {
                partition.waiting.remove(&id);
            }
        }
        Some(waiting)
    }

    /// Nobody waits for the answer any more.
    pub(super) fn cancel(&mut self, id: RequestId) {
        self.open.remove(&id);
        if self.unpark(id).is_some() {
            self.marks.hit("waiting request cancelled");
        }
    }

    /// Hangs up on everyone who waits for an answer of this broker.
    pub(super) fn hang_up(&mut self, broker: evenkeel_core::model::BrokerId) {
        let cut: Vec<_> =
            self.open.iter().filter(|(_, asked)| **asked == broker).map(|(id, _)| *id).collect();
        for id in cut {
            self.cancel(id);
            self.actions.push_back(Action::HangUp { id });
        }
    }

    /// Something has changed on a partition.
    pub(super) fn touch(&mut self, topic: &Text, number: PartitionId) {
        if self.topics.partition(topic, number).is_some_and(|partition| !partition.waiting.is_empty()) {
            self.touched.insert((topic.clone(), number));
        }
    }

    /// Looks again at the requests that wait for what has changed.
    pub(super) fn wake(&mut self) {
        while !self.touched.is_empty() {
            let mut woken = BTreeSet::new();
            for (topic, number) in std::mem::take(&mut self.touched) {
                if let Some(partition) = self.topics.partition(&topic, number) {
                    woken.extend(partition.waiting.iter().copied());
                }
            }
            for id in woken {
                self.look_again(id, false);
            }
        }
    }

    /// Answers the requests whose time is over.
    pub(super) fn end_waits(&mut self) {
        while let Some((_, id)) = self.due.first().copied().filter(|(until, _)| *until <= self.now) {
            self.look_again(id, true);
        }
    }

    /// Answers a waiting request if it need not wait any longer.
    pub(super) fn look_again(&mut self, id: RequestId, is_over: bool) {
        let Some(waiting) = self.waiting.get(&id) else { return };
        match &waiting.what {
            What::Records { request, unknown } => {
                let read = self.read(&waiting.origin, request);
                if is_over || read.is_enough(request, *unknown) {
                    let origin = waiting.origin.clone();
                    self.unpark(id);
                    self.answer_fetch(id, &origin, read);
                }
            }
            What::Replicas { pending, .. } => {
                let outcomes: Vec<_> =
                    pending.iter().map(|pending| self.replicated(&waiting.origin, pending)).collect();
                if is_over || outcomes.iter().all(Option::is_some) {
                    self.answer_produce(id, outcomes);
                }
            }
        }
    }

    /// What came of a batch that waits for replicas; `None` if it still waits.
    pub(super) fn replicated(&self, origin: &Origin, pending: &Pending) -> Option<Result<(), ErrorCode>> {
        let Some(topic) = self.topics.get(&pending.topic) else {
            return Some(Err(ErrorCode::UnknownTopicOrPartition));
        };
        let Some(partition) = topic.partition(pending.partition) else {
            return Some(Err(ErrorCode::UnknownTopicOrPartition));
        };
        if let Err(code) = partition.lead_at(origin.broker, None) {
            return Some(Err(code));
        }
        if partition.high_watermark() < pending.end {
            return None;
        }
        let enough =
            partition.in_sync().len() >= topic.config.settings().min_in_sync.min(partition.replicas().len());
        Some(if enough { Ok(()) } else { Err(ErrorCode::NotEnoughReplicasAfterAppend) })
    }

    fn answer_produce(&mut self, id: RequestId, outcomes: Vec<Option<Result<(), ErrorCode>>>) {
        let Some(Waiting { what: What::Replicas { mut answer, pending }, .. }) = self.unpark(id) else {
            return;
        };
        for (pending, outcome) in pending.iter().zip(outcomes) {
            let place = place_of(&mut answer.topics, pending.place);
            if let (Some(place), Err(code)) = (place, outcome.unwrap_or(Err(ErrorCode::RequestTimedOut))) {
                place.outcome = Err(code.into());
            }
        }
        self.reply(id, answer);
    }
}

fn place_of(
    topics: &mut [OfTopic<ProducedPartition>],
    (topic, partition): (usize, usize),
) -> Option<&mut ProducedPartition> {
    topics.get_mut(topic)?.partitions.get_mut(partition)
}
