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
//! - `look` puts a world into words; [`at`] and [`compare`] show a run in the middle, and where two part.
//! - [`planted`] are bugs to be found; [`shrink`] makes a failing plan small; [`coverage`] is where faults met
//!   the machines; [`small`] tries all orders of a small world; [`pairs`] compares two runs of one plan that differ in
//!   one thing.

mod acts;
mod ask;
mod broker;
mod calls;
mod client;
pub mod coverage;
mod frozen;
mod look;
pub mod pairs;
pub mod planted;
mod process;
mod rest;
pub mod setup;
pub mod shrink;
pub mod small;
mod store;
mod strike;
mod work;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::model::Time;

pub use self::world::World;
use crate::checkers::{Breach, Law, Tested};
use crate::faults::dice::Dice;
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
        for (nth, line) in (1..).zip(text.lines()) {
            let said = line.split_once('#').map_or(line, |(said, _)| said);
            let words: Vec<_> = said.split_whitespace().collect();
            // What is left keeps its line numbers.
            match *words {
                ["set", name, number] => {
                    numbers.read(name, number).map_err(|why| PlanError::of_line(nth, line, why))?;
                }
                ["set", ..] => {
                    let why = "a number is set by `set NAME N`".to_owned();
                    return Err(PlanError::of_line(nth, line, why));
                }
                _ => rest.push_str(line),
            }
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
    /// The planted bug, if it had one.
    pub bug: Option<Planted>,
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
            let is_drawn = self.plan == Plan::draw(seed);
            if is_drawn && self.bug.is_none() {
                writeln!(f, "to see it: make replay SEED={seed}\nto make it small: make shrink SEED={seed}")?;
            } else {
                let bug = self.bug.map(|bug| format!(" --bug {}", bug.name())).unwrap_or_default();
                let (run, where_it_is) = match is_drawn {
                    true => (seed.to_string(), ""),
                    false => ("FILE".to_owned(), ", the plan below in the file"),
                };
                for (to, word) in [("to see it", "replay"), ("to make it small", "shrink")] {
                    writeln!(
                        f,
                        "{to}: cargo run --profile sim -p sim-tests -- {word} {run}{bug}{where_it_is}"
                    )?;
                }
            }
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

/// Everything that might strike by chance in a run of which nothing but the plan's strokes strikes, up to the quiet
/// phase, in order.
#[must_use]
pub fn occasions(plan: &Plan, bug: Option<Planted>) -> Vec<Occasion> {
    let mut world = World::new(&plan.setup, &plan.faults, bug, Detail::Hashes);
    world.dice = Dice::told(Arc::clone(&world.plan));
    while world.now() < plan.faults.quiet_at && world.step() {}
    world.dice.take_asked()
}

/// A world as it stands behind a step of its trace, with the last lines before that. `None` if the run is shorter.
#[must_use]
pub fn at(plan: &Plan, bug: Option<Planted>, step: u64, lines: u64) -> Option<World> {
    let detail = Detail::Lines(step.saturating_sub(lines.saturating_sub(1))..step.saturating_add(1));
    let mut world = World::new(&plan.setup, &plan.faults, bug, detail);
    while world.steps() <= step {
        if !world.step() && world.steps() <= step {
            return None;
        }
    }
    Some(world)
}

/// Where two runs part, and what each did about there.
#[derive(Debug, Clone)]
pub struct Parting {
    /// The first step that differs.
    pub step: u64,
    /// What both did before it.
    pub before: Vec<String>,
    /// What the first did from there on.
    pub one: Vec<String>,
    /// What the second did.
    pub other: Vec<String>,
}

/// Finds the first step in which two runs differ, with so many lines before and from there on; `None` if there is none.
#[must_use]
pub fn compare(
    one: (&Plan, Option<Planted>),
    other: (&Plan, Option<Planted>),
    lines: u64,
) -> Option<Parting> {
    let traced =
        |detail: &Detail, (plan, bug): (&Plan, Option<Planted>)| run_with(plan, bug, detail.clone()).trace;
    let both = |detail: &Detail| (traced(detail, one), traced(detail, other));
    let (a, b) = both(&Detail::Hashes);
    let detail = Detail::Steps(a.parts_from(&b)?);
    let (a, b) = both(&detail);
    // Of two runs that are alike step by step what differs is the end.
    let step = a.first_difference(&b).unwrap_or_else(|| a.steps().min(b.steps()));
    let from = step.saturating_sub(lines);
    let (a, b) = both(&Detail::Lines(from..step.saturating_add(lines)));
    let shared = (step - from) as usize;
    let rest = |lines: &[String]| lines.get(shared..).unwrap_or_default().to_vec();
    let before = a.lines().iter().take(shared).cloned().collect();
    Some(Parting { step, before, one: rest(a.lines()), other: rest(b.lines()) })
}

impl World {
    /// The lines of its trace that were wanted.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.trace.lines()
    }

    /// What came of it.
    #[must_use]
    pub fn into_report(self, plan: Plan) -> Report {
        Report {
            bug: self.planted,
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
        let told = error.to_string();
        assert!(told.starts_with("line 1 of the plan, \"set evnts 3\", is not understood: "), "{told}");
        assert!(told.contains(", events, "), "{told}");
        for (written, told) in [
            ("seed 1\n\nset events some\n", "line 3 of the plan, \"set events some\","),
            ("set events 0\n", "events is a whole number from 1 to 1000000"),
            ("set members 18446744073709551615\n", "members is a whole number from 1 to 1000"),
            (
                "seed 1\nset events 2\nseed 2\n",
                "line 3 of the plan, \"seed 2\", is not understood: a plan has one seed",
            ),
        ] {
            let error = written.parse::<Plan>().expect_err("it cannot be").to_string();
            assert!(error.contains(told), "{error}");
        }
        let with_comments = "# a story\nset events 2 # few\nseed 1 # any\n";
        assert_eq!(with_comments.parse::<Plan>(), "set events 2\nseed 1\n".parse());
    }

    #[test]
    fn a_world_is_shown_as_it_stands_behind_a_step() {
        let plan = Plan::draw(Seed(5));
        let end = run(&plan, Detail::Hashes).trace.steps();
        assert!(at(&plan, None, end, 5).is_none());
        let world = at(&plan, None, end / 2, 5).expect("it gets so far");
        assert_eq!(world.lines().len(), 5);
        let last = world.lines().last().expect("there are five");
        assert!(last.contains(&format!("#{} ", end / 2)), "{last}");
        let (before, text) = (world.steps(), world.shown());
        for part in ["process 0, member of billing", "brokers 1", "group billing", "database", "planned"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(world.machines_shown().contains("Consumer"));
        let mut looked_at = world.clone();
        looked_at.run();
        assert_eq!(world.steps(), before);
        assert_eq!(
            looked_at.trace.hash(),
            run(&plan, Detail::Hashes).trace.hash(),
            "looking changes nothing"
        );
    }

    #[test]
    fn two_runs_part_at_the_first_step_that_differs() {
        let plan = Plan::draw(Seed(5));
        assert!(compare((&plan, None), (&plan, None), 5).is_none());
        let mut fewer = plan.clone();
        fewer.setup.numbers.handling += 1_000_000;
        let parting = compare((&plan, None), (&fewer, None), 5).expect("handlers take longer");
        assert_eq!(parting.before.len(), 5);
        assert_ne!(parting.one[0], parting.other[0]);
        let all = Detail::Lines(0..u64::MAX);
        let (one, other) = (run(&plan, all.clone()).trace, run(&fewer, all).trace);
        let first = one.lines().iter().zip(other.lines()).position(|(a, b)| a != b);
        assert_eq!(first, Some(parting.step as usize));
        assert_eq!(parting.one[0], one.lines()[parting.step as usize]);
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
