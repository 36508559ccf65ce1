//! What is owed to submitters: every event taken in leaves through here, once.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Action, Produced, Ticket};
use crate::error::ProduceFailure;
use crate::model::Time;
use crate::ports::OutgoingRecord;
use crate::records::RecordSize;

/// What an event occupies beside its bytes, roughly: its place in a queue, its record's fields, its ticket's keeper.
const OVERHEAD: usize = 200;

/// An event that was taken in and not finished yet.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) ticket: Ticket,
    pub(super) record: Arc<OutgoingRecord>,
    pub(super) size: RecordSize,
    pub(super) submitted: Time,
}

impl Event {
    /// What it weighs in memory.
    pub(super) const fn weight(&self) -> usize {
        self.size.bytes() + OVERHEAD
    }
}

/// The actions to hand out, and the count and weight of the events that are not finished.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    pub(super) actions: VecDeque<Action>,
    events: usize,
    weight: usize,
}

impl Ledger {
    /// Takes an event in.
    pub(super) fn open(&mut self, event: &Event) {
        self.events += 1;
        self.weight += event.weight();
    }

    /// Finishes an event. Takes it by value: it cannot be finished twice.
    pub(super) fn finish(&mut self, event: Event, outcome: Result<Produced, ProduceFailure>) {
        self.events -= 1;
        self.weight -= event.weight();
        self.actions.push_back(Action::Finish { ticket: event.ticket, outcome });
    }

    /// The weight of all events taken in and not finished.
    pub(super) const fn weight(&self) -> usize {
        self.weight
    }

    /// Whether every event taken in was finished.
    pub(super) const fn is_settled(&self) -> bool {
        self.events == 0
    }
}
