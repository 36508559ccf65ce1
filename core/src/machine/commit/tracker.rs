//! The tracker of one partition: what is in flight, what is settled, and what to commit.
//!
//! It has plain verbs and owns no clock and no connection. Its owner keeps one for each (topic, partition, epoch) and
//! drops it with the assignment, so a late answer for an older epoch finds no tracker and changes nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::window::{Ticket, Window};
use super::{EpochStart, MetadataLimit, Scope, SettledSet, metadata};
use crate::model::Offset;

/// What becomes of an event that was read from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It goes to the handlers, and comes back with this ticket.
    New(Ticket),
    /// It was settled in an earlier life, as the metadata of the last commit tells. It is not handed out again.
    AlreadySettled,
    /// It lies below the position: it was admitted before, or lies before the start. Nothing is to be done.
    Stale,
}

/// What became of a ticket that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Its event is settled now.
    Settled,
    /// Its event was settled before. Nothing has changed.
    Repeated,
    /// This tracker never gave it out. Nothing has changed.
    Unknown,
}

/// What to commit: everything below `offset` is settled, and so is what `metadata` names beyond it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The offset to commit, that of the next event to read.
    pub offset: Offset,
    /// The settled set beyond it, for [`SettledSet::decode`].
    pub metadata: Arc<str>,
}

/// The tracker has a bug: its frontier was about to move where it must not. Nothing was committed because of it, and
/// nothing will be: the partition stops here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The frontier would have gone back.
    #[error(
        "the commit frontier was about to go back from {from} to {to}; this is a bug in evenkeel, please report it"
    )]
    MovedBack {
        /// Where it stands.
        from: Offset,
        /// Where it would have gone.
        to: Offset,
    },
    /// The frontier would have passed an event that is not settled.
    #[error(
        "the commit frontier was about to pass the unsettled event at offset {event}; this is a bug in evenkeel, please report it"
    )]
    PassedUnsettled {
        /// The event.
        event: Offset,
    },
    /// The two records of what is in flight differ, so neither can be trusted.
    #[error(
        "the records of what is in flight disagree at the commit frontier {frontier}; this is a bug in evenkeel, please report it"
    )]
    Disagreement {
        /// Where the frontier stands.
        frontier: Offset,
    },
}

/// Tracks the events of one topic, partition and assignment epoch. See the [module](super) for the picture.
///
/// Every verb costs a constant amortised time, whatever the size of the window, and once the window has had its widest,
/// admitting and settling allocate nothing.
#[derive(Debug, Clone)]
pub struct CommitTracker {
    window: Window,
    /// The offset that is expected next.
    position: Offset,
    /// The lowest offset that is not settled.
    frontier: Offset,
    /// What an earlier owner settled at or beyond the position.
    inherited: VecDeque<Range<Offset>>,
    /// Grows with every change that a commit would tell.
    revision: u64,
    stored: Stored,
    /// What was given out to be committed and is not answered.
    offered: Option<Offer>,
    broken: Option<Broken>,
}

/// What the group's coordinator is known to keep.
#[derive(Debug, Clone)]
enum Stored {
    /// Nothing certain.
    Unknown,
    /// The state of this revision. There is no snapshot when an earlier owner wrote it.
    Known { revision: u64, snapshot: Option<Snapshot> },
}

#[derive(Debug, Clone)]
struct Offer {
    revision: u64,
    snapshot: Snapshot,
}

impl CommitTracker {
    /// Starts where the group has no commit yet: `start` itself is the first thing to commit.
    #[must_use]
    pub fn new(start: Offset) -> Self {
        Self {
            window: Window::default(),
            position: start,
            frontier: start,
            inherited: VecDeque::new(),
            revision: 0,
            stored: Stored::Unknown,
            offered: None,
            broken: None,
        }
    }

    /// Goes on from the group's commit at `start`, with what its metadata told. Nothing needs to be committed until
    /// something changes.
    ///
    /// `start` may lie beyond the set's base (the log has lost its beginning meanwhile). If it lies below, the log was
    /// rewound, other events may stand at those offsets now, and the set is left out of account.
    #[must_use]
    pub fn resume(start: Offset, settled: &SettledSet) -> Self {
        let inherited = match settled.runs() {
            runs if start >= settled.base() => runs.iter().filter(|run| run.end > start).cloned().collect(),
            _ => VecDeque::new(),
        };
        let stored = match start == settled.base() {
            true => Stored::Known { revision: 0, snapshot: None },
            false => Stored::Unknown,
        };
        Self { inherited, stored, ..Self::new(start) }
    }

    /// Takes an event that was read from the log. Events come in ascending order; offsets that are left out hold no
    /// record and count as settled.
    ///
    /// # Errors
    /// [`Broken`], now and from then on, if the frontier would have moved where it must not.
    pub fn admit(&mut self, offset: Offset) -> Result<Admission, Broken> {
        self.sound()?;
        // The very last offset has no successor, so it cannot be told from its own repetition. No log reaches it.
        if offset < self.position || offset == offset.next() {
            return Ok(Admission::Stale);
        }
        self.position = offset.next();
        let first = self.window.is_empty();
        let admission = if self.inherited(offset) {
            // With nothing in flight before it, it lies below the frontier and needs no slot.
            if !first {
                self.window.push_settled(offset);
            }
            Admission::AlreadySettled
        } else {
            Admission::New(self.window.push(offset))
        };
        if first {
            self.advance()?;
        }
        Ok(admission)
    }

    /// The log was read up to `next` and held no further record: what was left out at its end counts as settled too.
    ///
    /// # Errors
    /// As for [`admit`](Self::admit).
    pub fn pass(&mut self, next: Offset) -> Result<(), Broken> {
        self.sound()?;
        if next > self.position {
            self.position = next;
            if self.window.is_empty() {
                self.advance()?;
            }
        }
        Ok(())
    }

    /// The log now ends at `end`, and goes on from there with other records: what was admitted from there on is
    /// forgotten, and what an earlier owner settled there as well. Its tickets must not come back, since others may be
    /// given the same numbers. The only way for the frontier to go back, and to be committed again.
    ///
    /// # Errors
    /// As for [`admit`](Self::admit).
    pub fn cut(&mut self, end: Offset) -> Result<(), Broken> {
        self.sound()?;
        if end < self.frontier {
            *self = Self::new(end);
            return Ok(());
        }
        self.window.cut(end);
        self.position = self.position.min(end);
        self.disinherit(end);
        self.revision += 1;
        self.recommit();
        self.verify(self.frontier).or_else(|broken| self.stop(broken))
    }

    /// What an earlier owner settled at or beyond `from` was of other records than those that are there now.
    pub fn disinherit(&mut self, from: Offset) {
        let before = self.inherited.len();
        while self.inherited.pop_back_if(|run| run.start >= from).is_some() {}
        let mut is_less = self.inherited.len() < before;
        if let Some(last) = self.inherited.back_mut().filter(|last| last.end > from) {
            last.end = from;
            is_less = true;
        }
        self.revision += u64::from(is_less);
    }

    /// Takes a ticket back: every handler of its event has settled it.
    ///
    /// # Errors
    /// As for [`admit`](Self::admit).
    pub fn settle(&mut self, ticket: Ticket) -> Result<Settlement, Broken> {
        self.sound()?;
        let settlement = self.window.settle(ticket);
        if settlement == Settlement::Settled {
            self.revision += 1;
            if self.window.is_front(ticket) {
                self.advance()?;
            }
        }
        Ok(settlement)
    }

    /// What is to be committed now, if it differs from what is known to be stored; `epochs` ascend, and say who wrote the
    /// log. Until [`committed`](Self::committed) says that it was accepted, it will be given again, as it is then.
    ///
    /// # Errors
    /// As for [`admit`](Self::admit).
    pub fn commit(
        &mut self,
        limit: MetadataLimit,
        scope: impl Into<Scope>,
        epochs: &[EpochStart],
    ) -> Result<Option<Snapshot>, Broken> {
        self.sound()?;
        if !self.dirty() {
            return Ok(None);
        }
        self.verify(self.frontier).or_else(|broken| self.stop(broken))?;
        let snapshot = self.snapshot(limit, scope.into(), epochs);
        if let Stored::Known { revision, snapshot: Some(stored) } = &mut self.stored
            && *stored == snapshot
        {
            *revision = self.revision;
            return Ok(None);
        }
        self.offered = Some(Offer { revision: self.revision, snapshot: snapshot.clone() });
        Ok(Some(snapshot))
    }

    /// The coordinator has accepted the commit of `offset`. Returns whether this answers the last
    /// [`commit`](Self::commit); what does not has no effect.
    pub fn committed(&mut self, offset: Offset) -> bool {
        match self.offered.take_if(|offer| offer.snapshot.offset == offset) {
            Some(Offer { revision, snapshot }) => {
                self.stored = Stored::Known { revision, snapshot: Some(snapshot) };
                true
            }
            None => false,
        }
    }

    /// Forgets what is known to be stored, so that the frontier is committed again. Needed after a lost connection: a
    /// commit that was still under way on it may arrive late and lower the stored offset.
    pub fn recommit(&mut self) {
        self.stored = Stored::Unknown;
        self.offered = None;
    }

    /// Whether something may have to be committed. Cheap: no metadata is written.
    #[must_use]
    pub const fn dirty(&self) -> bool {
        match self.stored {
            Stored::Unknown => true,
            Stored::Known { revision, .. } => revision != self.revision,
        }
    }

    /// The lowest offset that is not settled: what to commit.
    #[must_use]
    pub const fn frontier(&self) -> Offset {
        self.frontier
    }

    /// The offset that is expected next.
    #[must_use]
    pub const fn position(&self) -> Offset {
        self.position
    }

    /// Events that were handed out and have not come back.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.window.in_flight()
    }

    /// Events that are held: those in flight, and those settled beyond the frontier.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window.len()
    }

    /// Checks everything that must hold, in time that grows with the window. For tests and simulation.
    ///
    /// # Panics
    /// If something does not hold.
    pub fn check(&self) {
        assert_eq!(self.broken, None);
        assert_eq!(self.verify(self.frontier), Ok(()));
        assert!(self.frontier <= self.position, "the frontier stays within what was read");
        assert!(self.inherited.iter().all(|run| run.start < run.end), "no inherited run is empty");
        assert!(
            self.inherited.iter().zip(self.inherited.iter().skip(1)).all(|(a, b)| a.end < b.start),
            "inherited runs ascend and do not touch"
        );
        self.window.check();
    }

    /// Whether an earlier owner settled this event. Forgets the runs that end before it.
    fn inherited(&mut self, offset: Offset) -> bool {
        while self.inherited.pop_front_if(|run| run.end <= offset).is_some() {}
        self.inherited.front().is_some_and(|run| run.start <= offset)
    }

    fn snapshot(&self, limit: MetadataLimit, scope: Scope, epochs: &[EpochStart]) -> Snapshot {
        let unread = self.inherited.iter().map(|run| run.start.max(self.position)..run.end);
        let runs = self.window.settled_runs().chain(unread);
        let metadata = metadata::encode(self.frontier, scope, limit, epochs, runs);
        Snapshot { offset: self.frontier, metadata }
    }

    /// Moves the frontier to the lowest offset that is not settled, after the front of the window has changed.
    fn advance(&mut self) -> Result<(), Broken> {
        if let Err(event) = self.window.reclaim() {
            return self.stop(Broken::PassedUnsettled { event });
        }
        let frontier = self.window.front().unwrap_or(self.position);
        self.verify(frontier).or_else(|broken| self.stop(broken))?;
        if frontier > self.frontier {
            self.frontier = frontier;
            self.revision += 1;
        }
        Ok(())
    }

    /// What stands between a bug in this module and a lost event. Constant time, in release builds too.
    fn verify(&self, frontier: Offset) -> Result<(), Broken> {
        if frontier < self.frontier {
            return Err(Broken::MovedBack { from: self.frontier, to: frontier });
        }
        match self.window.front() {
            Some(event) if event < frontier => return Err(Broken::PassedUnsettled { event }),
            Some(_) | None => {}
        }
        if self.window.agrees() { Ok(()) } else { Err(Broken::Disagreement { frontier: self.frontier }) }
    }

    fn stop<T>(&mut self, broken: Broken) -> Result<T, Broken> {
        self.broken = Some(broken);
        Err(broken)
    }

    fn sound(&self) -> Result<(), Broken> {
        self.broken.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    //! What the checks of the release tier do when the state is wrong. Only a bug makes it so, hence the tests damage it
    //! by hand.

    use super::{Broken, CommitTracker};
    use crate::machine::commit::{Admission, Fingerprint, MetadataLimit, Ticket};
    use crate::model::Offset;

    fn three_in_flight() -> CommitTracker {
        let mut tracker = CommitTracker::new(Offset(10));
        for (arrival, offset) in [10, 11, 12].into_iter().enumerate() {
            assert_eq!(tracker.admit(Offset(offset)), Ok(Admission::New(Ticket(arrival as u64))));
        }
        tracker
    }

    fn stops_for_good(mut tracker: CommitTracker, broken: Broken) {
        let stood_at = tracker.frontier();
        let limit = MetadataLimit::DEFAULT;
        assert_eq!(tracker.settle(Ticket(1)), Err(broken));
        assert_eq!(tracker.admit(Offset(99)), Err(broken));
        assert_eq!(tracker.pass(Offset(99)), Err(broken));
        assert_eq!(tracker.commit(limit, Fingerprint::of([]), &[]), Err(broken), "nothing is committed");
        assert_eq!(tracker.frontier(), stood_at);
    }

    #[test]
    fn an_event_that_is_still_out_is_not_passed() {
        let mut tracker = three_in_flight();
        tracker.window.mark_without_return(Ticket(1));
        let broken = Broken::PassedUnsettled { event: Offset(11) };
        assert_eq!(tracker.settle(Ticket(0)), Err(broken));
        stops_for_good(tracker, broken);
    }

    #[test]
    fn a_slot_that_vanished_stops_the_partition() {
        let mut tracker = three_in_flight();
        tracker.window.drop_front_offset();
        let broken = Broken::Disagreement { frontier: Offset(10) };
        let limit = MetadataLimit::DEFAULT;
        assert_eq!(tracker.commit(limit, Fingerprint::of([]), &[]), Err(broken));
        stops_for_good(tracker, broken);
    }

    #[test]
    fn a_frontier_that_ran_ahead_does_not_go_back_and_commits_nothing() {
        let mut tracker = three_in_flight();
        tracker.frontier = Offset(12);
        let broken = Broken::MovedBack { from: Offset(12), to: Offset(11) };
        assert_eq!(tracker.settle(Ticket(0)), Err(broken));
        stops_for_good(tracker, broken);

        let mut tracker = three_in_flight();
        tracker.frontier = Offset(12);
        let broken = Broken::PassedUnsettled { event: Offset(10) };
        assert_eq!(tracker.commit(MetadataLimit::DEFAULT, Fingerprint::of([]), &[]), Err(broken));
        stops_for_good(tracker, broken);
    }
}
