//! Which leaders wrote what was read: the leader epochs, and no later than where each began.
//!
//! A leader that is asked for what follows an epoch that its log lacks answers the largest epoch below it that it has,
//! and where that ends in *its* log. This is not where the two logs part: its own may go on beyond what was read of that
//! epoch. They part no later than where the first epoch that it lacks began here, and both bounds hold (KIP-595, where
//! followers of a leader do the same).

use crate::machine::commit::EpochStart;
use crate::model::{LeaderEpoch, Offset};
use crate::ports::{EpochEnd, FoundOffset};

/// How many epochs are told apart. A leader changes rarely, so what is older is long committed.
const REMEMBERED: usize = 32;

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub(super) struct Lineage {
    /// Ascending in both.
    began: Vec<EpochStart>,
}

impl Lineage {
    /// What was committed at an offset was read up to this epoch, and these began below it.
    pub(super) fn committed(epoch: Option<LeaderEpoch>, offset: Offset, below: Vec<EpochStart>) -> Self {
        let mut began = below;
        if let Some(epoch) = epoch {
            began.retain(|start| start.epoch <= epoch);
            if began.last().is_none_or(|last| last.epoch < epoch) {
                began.push(EpochStart { epoch, from: offset });
            }
        }
        Self { began }
    }

    /// Nothing was read, and reading begins at the start of a log. What lay before it may be gone from this leader's log
    /// and yet stand in another's, which a cut can make the one that counts; so the epoch that the log starts with is what
    /// whoever leads next must have there.
    pub(super) fn beginning(start: FoundOffset) -> Self {
        Self::committed(start.leader_epoch, start.offset, Vec::new())
    }

    /// Where each epoch began, ascending.
    pub(super) fn began(&self) -> &[EpochStart] {
        &self.began
    }

    /// The last epoch of which something was read, now or by whoever committed.
    pub(super) fn last(&self) -> Option<LeaderEpoch> {
        self.began.last().map(|start| start.epoch)
    }

    /// Records up to an epoch were read from one offset to before another.
    pub(super) fn read(&mut self, epoch: LeaderEpoch, from: Offset, next: Offset) {
        if self.last().is_none_or(|last| last < epoch) {
            if self.began.len() == REMEMBERED {
                // The second is said to begin where the first did: too early is safe.
                self.began[1].from = self.began[0].from;
                self.began.remove(0);
            }
            self.began.push(EpochStart { epoch, from });
        }
        // What whoever committed had read ahead begins behind this.
        for later in self.began.iter_mut().rev().take_while(|later| later.epoch > epoch) {
            later.from = next.max(later.from);
        }
    }

    /// Where what was read parts from the log of a leader that answers so. From there on it is forgotten.
    pub(super) fn part(&mut self, left: EpochEnd) -> Offset {
        let kept = self.began.partition_point(|start| start.epoch <= left.epoch);
        let end = self.began.get(kept).map_or(left.end, |first| left.end.min(first.from));
        self.began.truncate(kept);
        // The leader's own epoch was not read: it may differ before it, too, and the next question must find that out.
        if self.began.is_empty() {
            self.began.push(EpochStart { epoch: left.epoch, from: end });
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(began: &[(i32, i64)]) -> Vec<EpochStart> {
        let start = |(epoch, at): &(i32, i64)| EpochStart { epoch: LeaderEpoch(*epoch), from: Offset(*at) };
        began.iter().map(start).collect()
    }

    fn lineage(began: &[(i32, i64)]) -> Lineage {
        Lineage { began: starts(began) }
    }

    fn told(lineage: &Lineage) -> Vec<(i32, i64)> {
        lineage.began.iter().map(|start| (start.epoch.0, start.from.0)).collect()
    }

    #[test]
    fn logs_part_where_the_leader_ends_or_what_it_lacks_began() {
        // What was read; what the leader has; where they part; what is still known.
        type Began<'a> = &'a [(i32, i64)];
        let cases: [(Began<'_>, (i32, i64), i64, Began<'_>); 5] = [
            (&[(3, 5)], (3, 7), 7, &[(3, 5)]),
            (&[(3, 5), (5, 7)], (3, 9), 7, &[(3, 5)]),
            (&[(3, 5), (5, 7)], (3, 6), 6, &[(3, 5)]),
            (&[(3, 5), (5, 7)], (4, 9), 7, &[(3, 5)]),
            (&[(3, 5), (5, 7)], (2, 9), 5, &[(2, 5)]),
        ];
        for (began, (epoch, end), parts, kept) in cases {
            let mut lineage = lineage(began);
            let left = EpochEnd { epoch: LeaderEpoch(epoch), end: Offset(end) };
            assert_eq!(lineage.part(left), Offset(parts), "{began:?} and {left:?}");
            assert_eq!(told(&lineage), kept);
        }
    }

    #[test]
    fn an_epoch_that_was_committed_begins_behind_what_is_read_of_older_ones() {
        let mut lineage = Lineage::committed(Some(LeaderEpoch(5)), Offset(10), Vec::new());
        lineage.read(LeaderEpoch(3), Offset(10), Offset(12));
        assert_eq!((told(&lineage), lineage.last()), (vec![(5, 12)], Some(LeaderEpoch(5))));
        lineage.read(LeaderEpoch(6), Offset(12), Offset(20));
        lineage.read(LeaderEpoch(6), Offset(20), Offset(30));
        assert_eq!(told(&lineage), [(5, 12), (6, 12)]);
    }

    #[test]
    fn logs_that_part_more_than_once_are_followed_down_to_where_they_agree() {
        let mut lineage = lineage(&[(3, 5), (5, 7)]);
        // The leader has epoch 3 up to 6, epoch 4 up to 9, and others behind it.
        assert_eq!(lineage.part(EpochEnd { epoch: LeaderEpoch(4), end: Offset(9) }), Offset(7));
        assert_eq!(lineage.last(), Some(LeaderEpoch(3)), "that is what it is asked for next");
        assert_eq!(lineage.part(EpochEnd { epoch: LeaderEpoch(3), end: Offset(6) }), Offset(6));
        assert_eq!(told(&lineage), [(3, 5)]);
    }

    #[test]
    fn what_was_committed_below_tells_how_far_logs_part() {
        let committed =
            |epoch, below| Lineage::committed(Some(LeaderEpoch(epoch)), Offset(10), starts(below));
        assert_eq!(told(&committed(5, &[(3, 2), (5, 7)])), [(3, 2), (5, 7)]);
        assert_eq!(told(&committed(5, &[(3, 2)])), [(3, 2), (5, 10)]);
        let left = EpochEnd { epoch: LeaderEpoch(4), end: Offset(12) };
        assert_eq!(committed(5, &[(3, 2), (5, 7)]).part(left), Offset(7));
        assert_eq!(committed(5, &[]).part(left), Offset(10));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_errs_on_the_safe_side() {
        let mut lineage = Lineage::default();
        for epoch in 0..100 {
            lineage.read(LeaderEpoch(epoch), Offset(epoch.into()), Offset(epoch.into()));
        }
        assert_eq!(lineage.began.len(), REMEMBERED);
        assert_eq!(told(&lineage)[..2], [(68, 0), (69, 69)]);
    }
}
