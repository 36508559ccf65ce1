//! A log that was cut: a leader was elected that lacked its last records ("unclean leader election"), and perhaps others
//! have been written in their place since.
//!
//! Offsets alone do not tell: the position may lie within the log again. So each fetch names the leader epoch of what
//! was read before it, and a leader whose log holds something else there answers where the two part (KIP-595, which
//! replaced the separate question of KIP-320). Reading goes back to that offset. What was settled beyond it, by this
//! member or by an earlier one, says nothing of the records that now stand there, so the tracker forgets it, and the
//! lower position is committed at once. A new member finds a cut by the same means: the epoch is committed too.
//!
//! Events that were read before the cut run to their end. They were acknowledged to their producer, and what their
//! handlers do is not undone by the log's loss; only nothing is tracked for them any more.

use super::{Consumer, Kept, Notice};
use crate::model::Time;
use crate::ports::EpochEnd;

impl<P: Kept> Consumer<P> {
    /// The log of a partition parts from what was read at the end of an epoch.
    pub(super) fn truncate(&mut self, now: Time, slot: usize, left: EpochEnd) {
        let partition = &mut self.partitions[slot];
        let (from, to) = (partition.position, partition.position.min(left.end));
        let known = partition.read_epoch;
        // The same question would be answered in the same way.
        if to == from && known.is_none_or(|known| known <= left.epoch) {
            self.marks.hit("told of a cut that is none");
            return self.pause_partition(now, slot);
        }
        self.marks.hit("the log was cut");
        partition.read_epoch = Some(left.epoch.min(known.unwrap_or(left.epoch)));
        partition.position = to;
        partition.failures = 0;
        let outcome = partition.tracker.cut(left.end);
        let at = partition.at.clone();
        for (_, event) in &mut self.events {
            if event.partition == slot && event.offset >= left.end {
                event.ticket = None;
            }
        }
        if to < from {
            self.notice(Notice::Truncated { at, from, to });
        }
        if let Err(broken) = outcome {
            return self.break_partition(slot, &broken.to_string());
        }
        // Perhaps the log is that of a topic that was made anew.
        self.survey.want(now);
        self.commits.due_at(now);
    }
}
