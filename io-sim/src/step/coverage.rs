//! Where faults met the machines: by family, how the process stood, and what it waited for.
//!
//! A fault that strikes while nothing is at stake shows little. A cell of this grid says that a family struck at least
//! once while some process stood so and waited for that; cells that other families reach and one does not are where
//! to look for what the faults leave untried.

use std::collections::BTreeSet;

use super::process::Brain;
use super::world::World;
use crate::faults::Family;

/// How a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It produces.
    Producing,
    /// A member without an assignment.
    Outside,
    /// A member with partitions, or with none of its generation.
    Assigned,
    /// A member that gives its partitions up.
    Draining,
    /// It stands still.
    Paused,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Producing, Self::Outside, Self::Assigned, Self::Draining, Self::Paused];
}

/// One place of the grid: what struck, how a process stood, what it waited for.
pub type Cell = (Family, Standing, &'static str);

/// What a process waits for that waits for nothing.
pub const NOTHING: &str = "nothing";

/// The cells that a run reached.
#[derive(Debug, Clone, Default)]
pub(super) struct Coverage {
    pub(super) cells: BTreeSet<Cell>,
    /// So many chances had struck when it was looked at last.
    seen: usize,
}

impl World {
    /// A family strikes now.
    pub(super) fn cover(&mut self, family: Family) {
        let mut cells = std::mem::take(&mut self.coverage.cells);
        for present in self.processes.iter().filter_map(|process| process.present.as_ref()) {
            let standing = match (&present.brain, present.paused) {
                (_, true) => Standing::Paused,
                (Brain::Produce(_), false) => Standing::Producing,
                (Brain::Member(_), false) => present.standing,
            };
            let questions = self.questions(present.life);
            let calls = present.calls.values().map(|call| call.phase_name());
            let mut waits = questions.chain(calls).peekable();
            if waits.peek().is_none() {
                cells.insert((family, standing, NOTHING));
            }
            cells.extend(waits.map(|kind| (family, standing, kind)));
        }
        self.coverage.cells = cells;
    }

    /// Looks whether chances struck in the last step.
    pub(super) fn cover_chances(&mut self) {
        let from = std::mem::replace(&mut self.coverage.seen, self.dice.struck().len());
        for nth in from..self.coverage.seen {
            self.cover(self.dice.struck()[nth].chance.family());
        }
    }
}
