//! The truth about what was committed, for the checkers, and the tail of it that a crash may destroy.
//!
//! The history grows until the world drains it, and is not kept at all unless asked for. The tail is bounded.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use evenkeel_core::model::{RequestId, Time};

use super::message::{CommitSequence, Row, SessionId, TableId};
use super::tables::Version;

/// One thing that became, or ceased to be, true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A transaction that wrote took effect.
    Committed(Commit),
    /// A crash destroyed a commit.
    Lost(CommitSequence),
    /// All sessions ended without an answer. The commits that this destroyed follow, the last first.
    Crashed(Time),
}

/// A commit and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its place in the order of all commits.
    pub sequence: CommitSequence,
    /// Whose it is.
    pub session: SessionId,
    /// The COMMIT, or the statement that committed by itself.
    pub request: RequestId,
    /// When it took effect.
    pub at: Time,
    /// What it wrote, in order of first writing, each key once.
    pub writes: Arc<[Write]>,
}

/// What became of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The table.
    pub table: TableId,
    /// The row's key.
    pub key: Bytes,
    /// The row before.
    pub before: Option<Row>,
    /// Which commit had written that; zero if none is known any more.
    pub before_sequence: CommitSequence,
    /// The row after.
    pub after: Option<Row>,
}

impl Write {
    pub(super) fn undone(&self) -> Version {
        Version { sequence: self.before_sequence, row: self.before.clone() }
    }
}

/// Where commits are written down.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    events: Option<VecDeque<Event>>,
    tail: VecDeque<Commit>,
    limit: usize,
}

impl History {
    pub(super) fn new(kept: bool, limit: usize) -> Self {
        Self { events: kept.then(VecDeque::new), tail: VecDeque::new(), limit }
    }

    /// Whether anybody wants to know what commits write.
    pub(super) fn is_kept(&self) -> bool {
        self.events.is_some() || self.limit > 0
    }

    pub(super) fn commit(&mut self, commit: Commit) {
        if self.limit > 0 {
            if self.tail.len() == self.limit {
                self.tail.pop_front();
            }
            self.tail.push_back(commit.clone());
        }
        if let Some(events) = &mut self.events {
            events.push_back(Event::Committed(commit));
        }
    }

    pub(super) fn crashed(&mut self, at: Time) {
        if let Some(events) = &mut self.events {
            events.push_back(Event::Crashed(at));
        }
    }

    /// Takes the last commit away.
    pub(super) fn lose(&mut self) -> Option<Commit> {
        let commit = self.tail.pop_back()?;
        if let Some(events) = &mut self.events {
            events.push_back(Event::Lost(commit.sequence));
        }
        Some(commit)
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.events.iter_mut().flat_map(|events| events.drain(..))
    }

    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self) {
        assert!(self.tail.len() <= self.limit, "the tail is bounded");
        assert!(
            self.tail.iter().is_sorted_by(|one, next| one.sequence < next.sequence),
            "the tail is in order of commits"
        );
    }
}
