//! Where in a log each leader's epoch began.
//!
//! By this a replica, or a client, finds where its past and the leader's log part: an epoch's end is the beginning of
//! the next one.

use evenkeel_core::model::{LeaderEpoch, Offset};

/// Epochs with their first offsets, both growing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Epochs(Vec<(LeaderEpoch, Offset)>);

impl Epochs {
    /// Notes that a batch of `epoch` stands at `offset`. An epoch that is known or past changes nothing.
    pub(crate) fn begin(&mut self, epoch: LeaderEpoch, offset: Offset) {
        if self.last().is_none_or(|last| last < epoch) {
            self.0.push((epoch, offset));
        }
    }

    pub(crate) fn last(&self) -> Option<LeaderEpoch> {
        self.0.last().map(|(epoch, _)| *epoch)
    }

    /// Where the first epoch that is known began.
    pub(crate) fn start(&self) -> Option<Offset> {
        self.0.first().map(|(_, first)| *first)
    }

    /// The epoch that `offset` belongs to.
    pub(crate) fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.0.iter().rev().find(|(_, first)| *first <= offset).map(|(epoch, _)| *epoch)
    }

    /// The greatest epoch that is not above `epoch`, and where it ended; `end` is that of the log. `None` if every
    /// epoch here is above.
    pub(crate) fn end_of(&self, epoch: LeaderEpoch, end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let above = self.0.partition_point(|(known, _)| *known <= epoch);
        let found = self.0[..above].last()?.0;
        Some((found, self.0.get(above).map_or(end, |(_, first)| *first)))
    }

    /// Forgets the epochs that began at or above `end`.
    pub(crate) fn forget_from(&mut self, end: Offset) {
        self.0.truncate(self.0.partition_point(|(_, first)| *first < end));
    }

    /// Forgets the epochs that ended at or before `start`; the one that goes on there begins there.
    pub(crate) fn forget_before(&mut self, start: Offset) {
        let ended = self.0.partition_point(|(_, first)| *first <= start).saturating_sub(1);
        self.0.drain(..ended);
        if let Some((_, first)) = self.0.first_mut() {
            *first = (*first).max(start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(list: &[(i32, i64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for (epoch, offset) in list {
            epochs.begin(LeaderEpoch(*epoch), Offset(*offset));
        }
        epochs
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let epochs = epochs(&[(1, 0), (1, 5), (3, 10), (4, 20)]);
        for (asked, answer) in [
            (0, None),
            (1, Some((1, 10))),
            // Epoch 2 wrote nothing here: the one before it, up to where the next began.
            (2, Some((1, 10))),
            (3, Some((3, 20))),
            (4, Some((4, 33))),
            (9, Some((4, 33))),
        ] {
            let expected = answer.map(|(epoch, end)| (LeaderEpoch(epoch), Offset(end)));
            assert_eq!(epochs.end_of(LeaderEpoch(asked), Offset(33)), expected, "epoch {asked}");
        }
        assert_eq!(epochs.at(Offset(19)), Some(LeaderEpoch(3)));
        assert_eq!(epochs.at(Offset(-1)), None);
    }

    #[test]
    fn what_ended_before_the_start_is_forgotten() {
        let mut known = epochs(&[(1, 0), (3, 10), (4, 20)]);
        known.forget_before(Offset(12));
        assert_eq!(known, epochs(&[(3, 12), (4, 20)]));
        known.forget_before(Offset(20));
        assert_eq!(known, epochs(&[(4, 20)]));
    }
}
