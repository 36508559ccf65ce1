//! A topic that is deleted and made anew: the name stays, the log is another.
//!
//! Brokers give each life of a topic an id. When the id changes, nothing of the old log may be taken for the new one:
//! what is in flight is forgotten, and reading begins at offset 0, where every new log begins. That position is
//! committed at once. The committed position is not asked for: a cluster deletes it with the topic, so what could be
//! found is a commit of this member for the old log that arrived late, and going on there would skip events.
//!
//! Whoever begins to read asks, and may find such a commit of somebody who had not heard yet. So commits carry the id.
//! One of an older life is not gone on from; one of a life that no look has told yet waits for a look.
//!
//! Brokers learn of a new topic one after another, so one that lags may go on telling the old id. An id that was
//! replaced is therefore not believed, unless no look tells another one for [`BELIEVED_AFTER`]: then it was the one
//! before that was wrong. So the member changes its mind once in that time at most, whatever brokers say.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Consumer, Ground, Kept, Notice, Partition, Phase};
use crate::model::{Time, TopicId};
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
    /// Since when commits are found that are of another life.
    foreign: Option<Time>,
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
    /// A new assignment begins, which asks for its positions itself: whatever life is told first is theirs, unless it
    /// was replaced before.
    pub(super) fn forget_present(&mut self) {
        *self = Self { replaced: std::mem::take(&mut self.replaced), ..Self::default() };
    }

    /// Which life is read; `None` until a broker tells.
    pub(super) const fn id(&self) -> Option<TopicId> {
        self.id
    }

    /// Whether positions may be asked for. Not before the first look: they could be of a life that ends in between, and
    /// that the member would never hear of.
    pub(super) const fn seen(&self) -> bool {
        self.seen
    }

    /// A look tells this id.
    pub(super) fn told(&mut self, now: Time, id: Option<TopicId>) -> Told {
        let Some(id) = id else {
            self.seen = true;
            return Told::Present;
        };
        if self.replaced.contains(&id) && *self.doubted.get_or_insert(now) + BELIEVED_AFTER > now {
            return Told::Old;
        }
        self.seen = true;
        self.doubted = None;
        let present = self.id.replace(id).filter(|present| *present != id);
        self.replaced.retain(|old| *old != id);
        let Some(present) = present else { return Told::Present };
        self.replaced.push_back(present);
        if self.replaced.len() > REMEMBERED {
            self.replaced.pop_front();
        }
        self.foreign = None;
        Told::New
    }

    /// Whether a commit for the life with this id, which is not the present one, is known to be of an older life. It is
    /// where this id was replaced, and where no look has told it for long.
    pub(super) fn is_older(&mut self, now: Time, id: TopicId) -> bool {
        self.replaced.contains(&id) || *self.foreign.get_or_insert(now) + BELIEVED_AFTER <= now
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
            let Partition { at, phase, .. } = &self.partitions[slot];
            let (at, phase) = (at.clone(), *phase);
            let exists = found.iter().any(|partition| partition.partition == at.partition);
            self.epoch = self.epoch.next();
            let mut fresh = self.partition(at, topic);
            fresh.ground = Ground::Firm;
            fresh.phase = match phase {
                // The question is still open, and a commit tells which life it is of.
                Phase::AwaitingCommitted => Phase::AwaitingCommitted,
                _ if exists => Phase::Reading,
                // A partition that the new topic lacks waits for the next assignment, or for the topic to grow.
                _ => Phase::AwaitingStart,
            };
            self.partitions[slot] = fresh;
        }
        // An answer that is under way speaks of the life before.
        self.committed.ask_anew();
        // The start is something to commit.
        self.commits.due_at(now);
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
