//! All orders of a small world. Chance meets the usual orders again and again and some for ever not; here none is left
//! out.
//!
//! # What "all orders" means
//!
//! Messages take no time, and neither does whatever else takes less than a tenth of a second: a statement, a handler.
//! Time passes only from one timer to the next (a deadline of a machine, of the cluster, of a client's patience, of the
//! plan), and does so by itself when nothing else can happen. What remains open at each moment is what happens next:
//!
//! - **now**: the next message of any connection and direction arrives, a connection comes about, a call of a handler
//!   goes on, a process starts. Messages of one connection and direction keep their order, as over TCP. Each choice other
//!   than the oldest costs one of [`Scope::swaps`].
//! - **late**: time goes on to the next timer although something could happen: all of that is late, and comes behind the
//!   timer or behind further ones. It costs one of [`Scope::late`].
//! - **a fault strikes**: one of [`Scope::strokes`], or one of [`Scope::chances`] at one of the moments at which it could
//!   strike. It costs one of [`Scope::faults`]. What else a fault needs (for how long, before or after) is drawn
//!   as ever, by whom it strikes and which time it is.
//!
//! Timers that are due come before messages; what a machine wants done is done before anything else happens. From the
//! quiet phase on nothing is chosen any more, and the world has to come to rest.
//!
//! # What is left out, and why that is nothing
//!
//! A state that was reached before, with at least as many choices left, is not gone on from again: all that the future
//! depends on is equal, the judges' memory included. To make states meet, what a process is given (tickets, numbers of
//! calls) does not show what others did before.
//!
//! With no limit to swaps and none to lateness the search would be over all schedules of the model; with limits it is
//! over all that meddle so many times with the usual order. Few meddlings find most errors: what needs three coincidences
//! is rarely one bug.

mod likeness;
mod scopes;
mod search;
mod turns;

use std::fmt;

pub use self::scopes::{large, quick};
pub use self::search::explore;

use super::Plan;
use crate::checkers::{Breach, Law, Tested};
use crate::faults::{Chance, Stroke};
use crate::history::Flavour;

/// A small world, and how far it is meddled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// What it is called.
    pub name: &'static str,
    /// What it is made of. Of its faults only when they are over counts.
    pub plan: Plan,
    /// How often something else than the oldest happens; `None` for as often as it can.
    pub swaps: Option<u32>,
    /// How often time goes on although something could happen.
    pub late: u32,
    /// How many faults strike.
    pub faults: u32,
    /// The faults that may strike at any moment.
    pub strokes: Vec<Stroke>,
    /// The faults that may strike wherever they could.
    pub chances: Vec<Chance>,
    /// The search is given up after so many states.
    pub most_states: u64,
}

/// What was tried.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Of what.
    pub scope: Scope,
    /// Orders that were followed to their end.
    pub orders: u64,
    /// How many different worlds they led to.
    pub ends: u64,
    /// States in which something was to choose.
    pub states: u64,
    /// Orders that came to a state of another.
    pub pruned: u64,
    /// The greatest number of choices of an order.
    pub deepest: u64,
    /// Steps that were taken.
    pub steps: u64,
    /// How often each law was put to the test in the orders that came to their end.
    pub tested: Tested,
    /// Whether nothing was left out.
    pub is_whole: bool,
    /// The first order that breaks a law.
    pub found: Option<Found>,
}

/// An order that breaks a law.
#[derive(Debug, Clone)]
pub struct Found {
    /// The law, and how it is broken.
    pub breach: Breach,
    /// How it differs from the usual order.
    pub meddling: Vec<String>,
    /// Every step of it.
    pub lines: Vec<String>,
}

impl Scope {
    /// With no other faults than those whose names begin with one of these.
    #[must_use]
    pub fn only(mut self, names: &[String]) -> Self {
        let is_named = |fault: &str| names.iter().any(|name| fault.starts_with(name.as_str()));
        self.strokes.retain(|stroke| is_named(&stroke.to_string()));
        self.chances.retain(|chance| is_named(chance.name()));
        self
    }

    /// Whether its orders must put a law to the test.
    fn tests(&self, law: Law) -> bool {
        let handlers = self.plan.setup.facts().handlers;
        let has = |flavour| handlers.iter().any(|handler| handler.flavour == flavour);
        match law {
            // The run itself judges whether all comes to rest, and what depends on nothing else takes two runs.
            Law::Liveness | Law::Independence => false,
            Law::NoLoss => has(Flavour::Idempotent),
            Law::AtLeastOnce | Law::AtMostOnce | Law::Atomic => has(Flavour::ExactlyOnce),
            _ => true,
        }
    }
}

impl Survey {
    /// Why this proves nothing, if so.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if !self.is_whole {
            doubts.push(format!("given up after {} states", self.states));
        }
        if self.orders < 2 {
            doubts.push(format!("{} orders were followed to their end", self.orders));
        }
        let untested = Law::ALL.iter().filter(|law| self.scope.tests(**law) && self.tested.times(**law) == 0);
        doubts.extend(untested.map(|law| format!("{law} was never put to the test")));
        doubts
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = &self.scope.plan.setup.numbers;
        let swaps = self.scope.swaps.map_or_else(|| "any number of".to_owned(), |swaps| swaps.to_string());
        writeln!(
            f,
            "{}: {} members, {} events; {swaps} swaps, {} late, {} faults of {}",
            self.scope.name,
            numbers.members,
            numbers.events,
            self.scope.late,
            self.scope.faults,
            self.scope.strokes.len() + self.scope.chances.len(),
        )?;
        writeln!(
            f,
            "  {} orders to {} different ends, {} met a state of another; {} states, {} steps, deepest {} choices",
            self.orders, self.ends, self.pruned, self.states, self.steps, self.deepest
        )?;
        match &self.found {
            None => {
                for doubt in self.doubts() {
                    writeln!(f, "  this proves nothing: {doubt}")?;
                }
            }
            Some(found) => {
                writeln!(f, "  broke {}", found.breach)?;
                for meddling in &found.meddling {
                    writeln!(f, "    {meddling}")?;
                }
            }
        }
        Ok(())
    }
}
