//! A log that was cut: a leader was elected that lacked its last records ("unclean leader election"), and perhaps others
//! have been written in their place since.
//!
//! Offsets alone do not tell: the position may lie within the log again. So each fetch names the leader epoch of what
//! was read before it, and a leader whose log holds something else there says what it has instead (KIP-595, which
//! replaced the separate question of KIP-320). Reading goes back to where the two part (`lineage`). What was settled
//! beyond it, by this member or by an earlier one, says nothing of the records that now stand there, so the tracker
//! forgets it, and the lower position is committed at once.
//!
//! A new member finds a cut by the same means: the epoch is committed too, and where the last epochs began travels in the
//! commit's metadata. (Where brokers take so little of it that they do not fit, a new member goes back to the committed
//! offset at most.) What an earlier owner settled beyond its commit may lie beyond the cut, where the position does not
//! reach yet: records that a later leader wrote than it had read from are none of it.
//!
//! Events that were read before the cut run to their end. They were acknowledged to their producer, and what their
//! handlers do is not undone by the log's loss; only nothing is tracked for them any more. One that fails where the policy
//! is to block is let go: it would hold up others for the sake of a record that is not there.
//!
//! Two logs may part more than once, and each answer tells of one place. What is committed meanwhile would bind the next
//! owner to a log that is lost, so nothing is until the leader has answered with what follows where reading went on
//! ([`Ground`]).

use super::{Consumer, DeliveryState, Ground, Kept, Notice};
use crate::machine::delivery::{Outcome, Settled};
use crate::model::Time;
use crate::ports::EpochEnd;

impl<P: Kept> Consumer<P> {
    /// A leader's log of a partition is not the one that was read, and this is what it has instead.
    pub(super) fn truncate(&mut self, now: Time, slot: usize, left: EpochEnd) {
        let partition = &mut self.partitions[slot];
        let from = partition.position;
        // The same question would be answered in the same way.
        if left.end >= from && partition.lineage.last().is_none_or(|known| known <= left.epoch) {
            self.marks.hit("told of a cut that is none");
            return self.pause_partition(now, slot);
        }
        self.marks.hit("the log was cut");
        let end = partition.lineage.part(left);
        let to = from.min(end);
        partition.position = to;
        partition.failures = 0;
        if partition.ground == Ground::Firm {
            partition.ground = Ground::Parted;
        }
        let outcome = partition.tracker.cut(end);
        let at = partition.at.clone();
        for (_, event) in &mut self.events {
            if event.partition == slot && event.offset >= end {
                event.ticket = None;
            }
        }
        if to < from {
            self.notice(Notice::Truncated { at, from, to });
        }
        if let Err(broken) = outcome {
            return self.break_partition(slot, &broken.to_string());
        }
        self.release_lost(now);
        // Perhaps the log is that of a topic that was made anew.
        self.survey.want(now);
        self.commits.due_at(now);
    }

    fn release_lost(&mut self, now: Time) {
        let is_lost = |index: u32| self.events[index as usize].ticket.is_none();
        let held: Vec<_> = self
            .deliveries
            .iter()
            .filter(|(_, delivery)| delivery.state == DeliveryState::Held && is_lost(delivery.event))
            .map(|(index, _)| index as u32)
            .collect();
        for index in held {
            let id = self.deliveries[index as usize].handler;
            self.handlers[id.0].outstanding += 1;
            self.unstall(index);
            self.let_go(now, index, Outcome::Permanent);
        }
    }

    /// A delivery that would block is over, for its record is lost.
    pub(super) fn let_go(&mut self, now: Time, index: u32, outcome: Outcome) {
        self.marks.hit("blocked by what the log has lost, and let go");
        self.settle(now, index, outcome, Settled::Ignored);
    }
}
