//! What is known of a topic, and which partition an event goes to.
//!
//! An event with a key goes to the partition of its key. When the topic has grown by the next look, a key may belong
//! to another partition from then on: order holds on either side of that moment, not across it. Events without a key
//! stick to one partition until a batch leaves for it, then move to another: whole batches instead of one event
//! everywhere, and no partition preferred.

use std::collections::VecDeque;

use super::ledger::{Event, Ledger};
use super::limit::SizeLimit;
use super::partition::Partition;
use super::partitioner::partition_of;
use super::timers::Alarm;
use crate::error::{ErrorCode, ProduceFailure};
use crate::machine::Entropy;
use crate::model::{PartitionId, Time, TopicName, TopicPartition};
use crate::ports::{PartitionMetadata, PortError};

/// What the last look showed.
#[derive(Debug, Clone)]
enum View {
    /// Nothing yet, or that the topic is gone.
    Unseen,
    /// The partitions: how many, which of them had a leader, and when that was.
    Seen { partitions: usize, led: Vec<usize>, since: Time },
}

/// One topic.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub(super) name: TopicName,
    /// All partitions ever seen, by number. Those that a recreated topic lacks stay without a leader.
    pub(super) partitions: Vec<Partition>,
    pub(super) limit: SizeLimit,
    pub(super) alarm: Alarm,
    view: View,
    /// Where events without a key go for now.
    sticky: Option<usize>,
    /// Events that wait for the first look.
    unplaced: VecDeque<Event>,
    /// Since when looks say that the topic does not exist.
    missing_since: Option<Time>,
    /// What was wrong with the last look.
    trouble: Option<PortError>,
}

impl Topic {
    pub(super) fn new(name: TopicName) -> Self {
        Self {
            name,
            partitions: Vec::new(),
            limit: SizeLimit::unasked(),
            alarm: Alarm::default(),
            view: View::Unseen,
            sticky: None,
            unplaced: VecDeque::new(),
            missing_since: None,
            trouble: None,
        }
    }

    /// Since when what is known holds; `None` if nothing is known.
    pub(super) fn seen_at(&self) -> Option<Time> {
        match self.view {
            View::Unseen => None,
            View::Seen { since, .. } => Some(since),
        }
    }

    /// What was wrong with the last look.
    pub(super) fn trouble(&self) -> Option<&PortError> {
        self.trouble.as_ref()
    }

    /// Takes an event in, and answers the partition it went to; `None` if it waits for the first look.
    pub(super) fn place(&mut self, event: Event, batch_bytes: usize, entropy: &mut Entropy) -> Option<usize> {
        let View::Seen { partitions, led, .. } = &self.view else {
            self.unplaced.push_back(event);
            return None;
        };
        let index = match &event.record.key {
            Some(key) => partition_of(key, *partitions),
            None => {
                let kept = self.sticky.filter(|index| {
                    let partition = &self.partitions[*index];
                    !partition.is_held_up() && partition.weight() < batch_bytes
                });
                let index = kept.unwrap_or_else(|| self.draw(*partitions, led, entropy));
                self.sticky = Some(index);
                index
            }
        };
        self.partitions[index].push(event);
        Some(index)
    }

    /// Draws two partitions that had a leader and takes the one with less to do: enough to keep a slow one from
    /// piling up.
    fn draw(&self, partitions: usize, led: &[usize], entropy: &mut Entropy) -> usize {
        let mut one = || {
            let count = if led.is_empty() { partitions } else { led.len() };
            let drawn = entropy.below(u32::try_from(count).unwrap_or(u32::MAX)) as usize;
            led.get(drawn).copied().unwrap_or(drawn)
        };
        let load = |index: usize| (self.partitions[index].is_held_up(), self.partitions[index].weight());
        let (first, second) = (one(), one());
        if load(second) < load(first) { second } else { first }
    }

    /// A batch left for `partition`: events without a key move on.
    pub(super) fn batch_left(&mut self, partition: usize) {
        self.sticky.take_if(|sticky| *sticky == partition);
    }

    /// A look showed these partitions. Numbers that cannot be are passed over; true if there were any.
    pub(super) fn seen(&mut self, now: Time, found: &[PartitionMetadata]) -> bool {
        for number in self.partitions.len()..found.len() {
            // A count that does not fit in Kafka's partition numbers cannot come from its wire.
            let partition = PartitionId(i32::try_from(number).unwrap_or(i32::MAX));
            self.partitions.push(Partition::new(TopicPartition { topic: self.name.clone(), partition }));
        }
        for partition in &mut self.partitions {
            partition.leader = None;
        }
        let mut led = Vec::with_capacity(found.len());
        let mut strange = false;
        for partition in found {
            match usize::try_from(partition.partition.0) {
                Ok(number) if number < found.len() => {
                    self.partitions[number].leader = partition.leader;
                    led.extend(partition.leader.map(|_| number));
                }
                _ => strange = true,
            }
        }
        self.missing_since = None;
        self.trouble = (led.len() < found.len()).then_some(PortError::Refused(ErrorCode::LeaderNotAvailable));
        self.view = View::Seen { partitions: found.len(), led, since: now };
        strange
    }

    /// The events that waited for the first look.
    pub(super) fn take_unplaced(&mut self) -> VecDeque<Event> {
        std::mem::take(&mut self.unplaced)
    }

    /// The look did not succeed. Where nothing is known, or a leader is missing, events go on waiting.
    pub(super) fn unseen(&mut self, error: PortError) {
        self.trouble = Some(error);
    }

    /// A look said that the topic does not exist. Answers since when looks say so.
    pub(super) fn missing(&mut self, now: Time) -> Time {
        self.trouble = Some(PortError::Refused(ErrorCode::UnknownTopicOrPartition));
        *self.missing_since.get_or_insert(now)
    }

    /// Whether events wait for another look.
    pub(super) fn needs_look(&self) -> bool {
        !self.unplaced.is_empty() || self.partitions.iter().any(Partition::needs_leader)
    }

    /// The topic is gone: all of its events that are not in a request are given up, and the next event starts anew.
    pub(super) fn give_up_missing(&mut self, ledger: &mut Ledger) {
        self.missing_since = None;
        self.view = View::Unseen;
        self.sticky = None;
        for partition in &mut self.partitions {
            partition.leader = None;
        }
        self.give_up_waiting(ledger, &ProduceFailure::UnknownTopic(self.name.clone()));
    }

    /// Gives up the events that wait for a look.
    pub(super) fn give_up_waiting(&mut self, ledger: &mut Ledger, why: &ProduceFailure) {
        for event in self.unplaced.drain(..) {
            ledger.finish(event, Err(why.clone()));
        }
        for partition in self.partitions.iter_mut().filter(|partition| partition.needs_leader()) {
            partition.give_up_all(ledger, |_| why.clone());
        }
    }

    /// Gives up the unplaced events past their delivery time-out.
    pub(super) fn expire_unplaced(&mut self, now: Time, time_out: std::time::Duration, ledger: &mut Ledger) {
        while let Some(event) = self.unplaced.pop_front_if(|event| event.submitted + time_out <= now) {
            let (topic, cause) = (self.name.clone(), self.trouble.clone());
            ledger.finish(event, Err(ProduceFailure::TimedOut { topic, after: time_out, cause }));
        }
    }

    /// The oldest event that waits for the first look.
    pub(super) fn oldest_unplaced(&self) -> Option<Time> {
        self.unplaced.front().map(|event| event.submitted)
    }
}
