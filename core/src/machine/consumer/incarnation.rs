//! A topic that is deleted and made anew: the name stays, the log is another.
//!
//! Brokers give each life of a topic an id. When the id changes, nothing of the old log may be taken for the new one:
//! what is in flight is forgotten, and reading begins at offset 0, where every new log begins. That position is
//! committed at once. The committed position is not asked for: a cluster deletes it with the topic, so what could be
//! found is a commit of this member for the old log that arrived late, and going on there would skip events.
//!
//! Brokers learn of a new topic one after another, so one that lags may go on telling the old id. An id that was
//! replaced is therefore not believed, unless no look tells another one for [`BELIEVED_AFTER`]: then it was the one
//! before that was wrong. So the member changes its mind once in that time at most, whatever brokers say.

use std::collections::VecDeque;
use std::time::Duration;

use super::leading::Want;
use super::{Action, Consumer, Kept, Notice, Partition, Phase};
use crate::machine::commit::CommitTracker;
use crate::model::{Offset, Time, TopicId, TopicPartition};
use crate::ports::PartitionMetadata;

/// How long an id that was replaced must be told, and no other, until it is believed.
pub(super) const BELIEVED_AFTER: Duration = Duration::from_secs(30);

/// How many replaced ids are remembered. Far fewer lives of a topic pass within the lag of a broker.
const REMEMBERED: usize = 16;

/// Which life of a topic is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Incarnation {
    /// Whether a look has told of the topic since the assignment began.
    seen: bool,
    /// Its id; `None` until a broker tells one.
    id: Option<TopicId>,
    /// The ids that were replaced, the latest last.
    replaced: VecDeque<TopicId>,
    /// Since when looks tell replaced ids only.
    doubted: Option<Time>,
}

/// What a look says of a topic's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It is the one that is read, as far as brokers tell.
    Present,
    /// Another one has begun.
    New,
    /// The broker lags: what it says is of an older one.
    Old,
}

impl Incarnation {
    /// A new assignment begins, which asks for its positions itself: whatever life is told first is theirs.
    pub(super) fn forget_present(&mut self) {
        self.seen = false;
        self.id = None;
        self.doubted = None;
    }

    /// Whether positions may be asked for. Not before the first look: they could be of a life that ends in between, and
    /// that the member would never hear of.
    pub(super) const fn seen(&self) -> bool {
        self.seen
    }

    /// A look tells this id.
    pub(super) fn told(&mut self, now: Time, id: Option<TopicId>) -> Told {
        self.seen = true;
        let Some(id) = id else { return Told::Present };
        let Some(present) = self.id.filter(|present| *present != id) else {
            self.replaced.retain(|old| *old != id);
            self.id = Some(id);
            self.doubted = None;
            return Told::Present;
        };
        if self.replaced.contains(&id) && *self.doubted.get_or_insert(now) + BELIEVED_AFTER > now {
            return Told::Old;
        }
        self.replaced.retain(|old| *old != id);
        self.replaced.push_back(present);
        if self.replaced.len() > REMEMBERED {
            self.replaced.pop_front();
        }
        self.id = Some(id);
        self.doubted = None;
        Told::New
    }
}

impl<P: Kept> Consumer<P> {
    /// The log behind a topic's name is another one, with these partitions.
    pub(super) fn begin_anew(&mut self, now: Time, topic: usize, found: &[PartitionMetadata]) {
        self.marks.hit("a topic was recreated");
        let name = self.topics[topic].name.clone();
        self.notice(Notice::Recreated { topic: name });
        self.forget_work(Some(topic));
        let slots: Vec<usize> =
            self.partitions.iter().filter(|(_, p)| p.topic == topic).map(|(slot, _)| slot).collect();
        for slot in slots {
            self.follow(slot, None);
            let at = self.partitions[slot].at.clone();
            let exists = found.iter().any(|partition| partition.partition == at.partition);
            self.epoch = self.epoch.next();
            let mut fresh = self.partition(at, topic);
            // A partition that the new topic lacks waits for the next assignment, or for the topic to grow.
            fresh.phase = if exists { Phase::Reading } else { Phase::AwaitingStart };
            self.partitions[slot] = fresh;
        }
        // The start is something to commit.
        self.commits.due_at(now);
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
            read_epoch: None,
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
            handler.lanes = super::Lanes::default();
            handler.due.clear();
            handler.outstanding = 0;
        }
        let (handlers, partitions) = (&self.handlers, &self.partitions);
        self.deliveries.retain(|_, delivery| !chosen(handlers[delivery.handler.0].config.topic));
        self.events.retain(|_, event| !chosen(partitions[event.partition].topic));
        let deliveries = &self.deliveries;
        self.retries.retain(|entry| deliveries.contains(entry.0.2 as usize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    #[test]
    fn an_id_that_was_replaced_is_believed_only_when_no_other_is_told_for_long() {
        let mut topic = Incarnation::default();
        let mut told = |at, id| topic.told(seconds(at), Some(TopicId(id)));
        assert_eq!([told(0, 1), told(1, 1), told(2, 2)], [Told::Present, Told::Present, Told::New]);
        assert_eq!([told(3, 1), told(32, 1)], [Told::Old, Told::Old]);
        assert_eq!([told(32, 2), told(33, 1), told(62, 1)], [Told::Present, Told::Old, Told::Old]);
        assert_eq!([told(63, 1), told(64, 2)], [Told::New, Told::Old]);
    }

    #[test]
    fn a_broker_that_tells_no_id_says_nothing() {
        let mut topic = Incarnation::default();
        assert_eq!(topic.told(seconds(0), None), Told::Present);
        assert_eq!(topic.told(seconds(1), Some(TopicId(1))), Told::Present);
        assert_eq!(topic.told(seconds(2), None), Told::Present);
        assert_eq!(topic.told(seconds(3), Some(TopicId(2))), Told::New);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut topic = Incarnation::default();
        for id in 0..1_000 {
            topic.told(seconds(1), Some(TopicId(id)));
        }
        assert_eq!(topic.replaced.len(), REMEMBERED);
    }
}
