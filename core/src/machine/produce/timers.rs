//! When to look at what again.
//!
//! Owners are woken too early rather than re-armed at every event: as long as an alarm is set to a moment before the
//! wanted one it stays, and its owner, once woken, sets the next. So in steady state an event touches no tree, and the
//! machine's deadline stands still for as long as a delivery time-out lasts.

use std::collections::BTreeSet;

use super::Slot;
use crate::model::Time;

/// Whom to wake, and thereby why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Topics are due to be looked up again.
    Look,
    /// A topic's size limit is due to be asked again.
    Limit(usize),
    /// Events that wait for their topic's partitions reach their delivery time-out.
    Unplaced(usize),
    /// A partition's pause ends, or its events reach their delivery time-out.
    Partition(Slot),
}

/// The moment at which an owner will be woken; kept by the owner.
#[derive(Debug, Clone, Default)]
pub(super) struct Alarm(Option<Time>);

/// All alarms in the order of their moments.
#[derive(Debug, Clone, Default)]
pub(super) struct Timers(BTreeSet<(Time, Timer)>);

impl Timers {
    /// Makes sure that the owner is woken at `at` or before.
    pub(super) fn arm(&mut self, alarm: &mut Alarm, timer: Timer, at: Time) {
        match alarm.0 {
            Some(set) if set <= at => return,
            Some(set) => _ = self.0.remove(&(set, timer)),
            None => {}
        }
        self.0.insert((at, timer));
        alarm.0 = Some(at);
    }

    /// The earliest moment.
    pub(super) fn first(&self) -> Option<Time> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The next alarm that has gone off. Its owner must [clear](Alarm::clear) it.
    pub(super) fn pop(&mut self, now: Time) -> Option<Timer> {
        self.first().filter(|at| *at <= now)?;
        self.0.pop_first().map(|(_, timer)| timer)
    }
}

impl Alarm {
    /// It has gone off.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}
