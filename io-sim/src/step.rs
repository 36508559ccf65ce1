//! The step level: the machines of production alone in a loop of discrete events, with the simulated cluster, its
//! network and a stand-in for the database. No tasks, no scheduler, nothing but the next thing that happens.
//!
//! What it is for: breadth, and making failures small. A run is a function of its [`Plan`]; [`World`] is `Clone`, so a
//! clone is a checkpoint and running on from it is the same run. It writes the same history and is judged by
//! the same checkers as the world of the real library, which has what this lacks: the engine's tasks, real handlers, a
//! real database's isolation.
//!
//! - [`setup`] draws what a run is made of, as numbers; `world` is the loop.
//! - `process` has the machines of one life, `acts` what they want done; `client` and `broker` the two sides of connections; `calls` what an engine
//!   does around a handler; `store` the database; `strike` the faults, `frozen` those that stay; `rest` says what is not at rest, `work` whether
//!   too much is done in vain or held.
//! - [`planted`] are bugs to be found; [`shrink`] makes a failing plan small; [`coverage`] is where faults met
//!   the machines; [`pairs`] compares two runs of one plan that differ in one thing.

mod acts;
mod ask;
mod broker;
mod calls;
mod client;
pub mod coverage;
mod frozen;
pub mod pairs;
pub mod planted;
mod process;
mod rest;
pub mod setup;
pub mod shrink;
mod store;
mod strike;
mod work;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use evenkeel_core::model::Time;

pub use self::world::World;
use crate::checkers::{Breach, Law, Tested};
use crate::faults::plan::{FaultPlan, Occasion, PlanError};
use crate::faults::swarm;
use crate::history::History;
use crate::seed::Seed;
use crate::trace::{Detail, Trace};
use coverage::Cell;
use planted::Planted;
use setup::Setup;

/// All that a run is determined by, beside the code. It prints and parses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it is made of.
    pub setup: Setup,
    /// What goes wrong.
    pub faults: FaultPlan,
}

impl Plan {
    /// What a seed gives.
    #[must_use]
    pub fn draw(seed: Seed) -> Self {
        let setup = Setup::draw(seed);
        let faults = swarm::draw(seed, &setup.shape());
        Self { setup, faults }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.setup, self.faults)
    }
}

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut numbers = setup::Numbers::default();
        let mut rest = String::new();
        for line in text.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let known = match *words {
                ["set", name, number] => number.parse().is_ok_and(|number| numbers.set(name, number)),
                _ => false,
            };
            // A line that is not understood is refused by its number.
            rest.push_str(if known { "" } else { line });
            rest.push('\n');
        }
        let faults: FaultPlan = rest.parse()?;
        Ok(Self { setup: Setup { seed: faults.seed, numbers }, faults })
    }
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it was determined by.
    pub plan: Plan,
    /// The law that was broken, and at which step.
    pub breach: Option<(u64, Breach)>,
    /// Every step.
    pub trace: Trace,
    /// What happened, if it was to be kept.
    pub history: Option<History>,
    /// How often each law was put to the test.
    pub tested: Tested,
    /// The chances that struck.
    pub struck: Vec<Occasion>,
    /// How much virtual time passed.
    pub elapsed: Duration,
    /// What the machines have been through, by machine and mark.
    pub marks: BTreeMap<(&'static str, &'static str), u64>,
    /// What struck while a process stood how and waited for what.
    pub coverage: BTreeSet<Cell>,
}

impl Report {
    /// Whether everything came to rest, and every law held.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.breach.is_none()
    }
}

impl fmt::Display for Report {
    /// What a person needs who has never seen the run: law, step, seed, hash, plan, and the command that replays it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seed = self.plan.setup.seed;
        match &self.breach {
            None => writeln!(f, "seed {seed} came to rest after {:.1?}, and all laws held", self.elapsed)?,
            Some((step, breach)) => {
                writeln!(f, "seed {seed} broke {breach}\n  at step {step}, {:.6?}", self.elapsed)?;
            }
        }
        writeln!(f, "hash {} after {} steps", self.trace.hash(), self.trace.steps())?;
        if !self.is_clean() {
            writeln!(f, "to see it: make replay SEED={seed}\nto make it small: make shrink SEED={seed}")?;
            writeln!(f, "the plan:\n{}", self.plan)?;
        }
        Ok(())
    }
}

/// Runs a plan.
#[must_use]
pub fn run(plan: &Plan, detail: Detail) -> Report {
    run_with(plan, None, detail)
}

/// Runs what a seed gives.
#[must_use]
pub fn drawn(seed: Seed, detail: Detail) -> Report {
    run(&Plan::draw(seed), detail)
}

/// A run that is made to fail, whatever its plan: who tells of failures must tell of this one.
#[must_use]
pub fn canary(seed: Seed, detail: Detail) -> Report {
    let plan = Plan::draw(seed);
    let mut world = World::new(&plan.setup, &plan.faults, None, detail);
    while world.steps() < 100 && world.step() {}
    world.break_law(Breach::new(Law::NoLoss, CANARY));
    world.run();
    world.into_report(plan)
}

/// What a run says that was made to fail.
pub const CANARY: &str = "a canary, made to fail";

/// Runs a plan with a planted bug.
#[must_use]
pub fn run_with(plan: &Plan, bug: Option<Planted>, detail: Detail) -> Report {
    let mut world = World::new(&plan.setup, &plan.faults, bug, detail);
    world.run();
    world.into_report(plan.clone())
}

impl World {
    /// What came of it.
    #[must_use]
    pub fn into_report(self, plan: Plan) -> Report {
        Report {
            plan,
            breach: self.breach,
            trace: self.trace,
            history: self.history,
            tested: self.judge.tested().clone(),
            struck: self.dice.struck().to_vec(),
            elapsed: self.now.since(Time::ZERO),
            marks: self.marks,
            coverage: self.coverage.cells,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_prints_and_parses() {
        for seed in 0..200 {
            let plan = Plan::draw(Seed(seed));
            assert_eq!(plan.to_string().parse::<Plan>().as_ref(), Ok(&plan));
        }
        let error = "set evnts 3\n".parse::<Plan>().expect_err("there is no such number");
        assert!(error.to_string().contains("set evnts 3"), "{error}");
    }

    #[test]
    fn a_checkpoint_runs_on_as_the_run_it_is_of() {
        for seed in 0..20 {
            let plan = Plan::draw(Seed(seed));
            let mut world = World::new(&plan.setup, &plan.faults, None, Detail::Hashes);
            while world.steps() < 500 && world.step() {}
            let mut copy = world.clone();
            world.run();
            copy.run();
            assert_eq!(world.trace.hash(), copy.trace.hash(), "seed {seed}");
            assert_eq!(world.trace.hash(), run(&plan, Detail::Hashes).trace.hash(), "seed {seed}");
        }
    }
}
