//! How small shrinking makes failures, beside the smallest that there are.
//!
//! The smallest plan that breaks the same law in the same way is looked for by size: all workloads of so many events and
//! processes, with no fault, with each single fault, with each pair. A workload has a seed, which decides what handlers are
//! like and when events come; that of the shrunk plan is among those that are tried.

use std::fmt;
use std::time::Duration;

use evenkeel_core::model::Time;
use evenkeel_sim::checkers::Law;
use evenkeel_sim::faults::Stroke;
use evenkeel_sim::faults::plan::{FaultPlan, Occasion};
use evenkeel_sim::seed::Seed;
use evenkeel_sim::step::planted::Planted;
use evenkeel_sim::step::setup::{Numbers, Setup};
use evenkeel_sim::step::shrink::{self, Shrunk, Size};
use evenkeel_sim::step::{Plan, occasions, run_with};
use evenkeel_sim::trace::Detail;

/// Other seeds than the shrunk plan's that are tried.
const SEEDS: u64 = 6;
/// For how long events are produced and faults strike.
const ACTIVE: u64 = 4_000;
/// Runs that shrinking may take.
const SHRINKING: u64 = 3_000;

/// A fault of a small plan.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Chance(Occasion),
    Stroke(Time, Stroke),
}

/// A bug, what shrinking made of the first failure, and the smallest.
#[derive(Debug, Clone)]
pub struct Row {
    /// The bug.
    pub bug: Planted,
    /// The seed that found it.
    pub seed: Seed,
    /// The law that it broke.
    pub law: Law,
    /// The size of what was found.
    pub found: Size,
    /// What shrinking made of it.
    pub shrunk: Shrunk,
    /// The smallest that breaks the same law in the same way; that of the shrunk plan if no smaller one was found.
    pub smallest: Size,
    /// The plan of it.
    pub plan: Plan,
    /// In how many runs it was looked for.
    pub runs: u64,
    /// Whether all plans that are smaller were tried, as far as they are of this kind.
    pub is_sure: bool,
}

impl Row {
    /// Finds the bug, makes it small, and looks for the smallest in so many runs. `None` if no seed up to its class's bound
    /// finds it.
    #[must_use]
    pub fn of(bug: Planted, most_runs: u64) -> Option<Self> {
        let mut seeds = (0..bug.class().bound() * 3).map(Seed);
        let report = seeds.find_map(|seed| {
            Some(run_with(&Plan::draw(seed), Some(bug), Detail::Hashes)).filter(|report| !report.is_clean())
        })?;
        let shrunk = shrink::shrink(&report.plan, Some(bug), SHRINKING)?;
        let mut hunt = Hunt { bug, shrunk: &shrunk, runs: 0, most_runs };
        let smallest = hunt.smallest();
        let runs = hunt.runs;
        let (smallest, plan) = smallest.unwrap_or_else(|| (shrunk.size, shrunk.plan.clone()));
        Some(Self {
            bug,
            seed: report.plan.setup.seed,
            law: shrunk.breach.law,
            found: Size::of(&report),
            shrunk,
            smallest,
            plan,
            runs,
            is_sure: runs < most_runs,
        })
    }

    /// How many times larger the shrunk plan is.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.shrunk.size.total() as f64 / self.smallest.total().max(1) as f64
    }
}

struct Hunt<'a> {
    bug: Planted,
    shrunk: &'a Shrunk,
    runs: u64,
    most_runs: u64,
}

impl Hunt<'_> {
    /// A plan that is smaller than the shrunk one, the smallest first.
    fn smallest(&mut self) -> Option<(Size, Plan)> {
        for total in 0..self.shrunk.size.total() {
            for faults in 0..=2 {
                for processes in 2..=4_u64 {
                    let Some(events) = total.checked_sub(faults + processes).filter(|events| *events > 0)
                    else {
                        continue;
                    };
                    for setup in self.setups(processes - 1, events) {
                        // Two faults are many pairs: only where the failure is known to be.
                        if faults == 2 && setup.seed != self.shrunk.plan.setup.seed {
                            continue;
                        }
                        if let Some(found) = self.try_all(setup, faults) {
                            return Some(found);
                        }
                    }
                }
            }
        }
        None
    }

    /// Workloads of so many members and events, with the shrunk plan's limits and with plain ones.
    fn setups(&self, members: u64, events: u64) -> Vec<Setup> {
        let own = &self.shrunk.plan.setup;
        let seeds = std::iter::once(own.seed).chain((0..SEEDS).map(Seed).filter(|seed| *seed != own.seed));
        let mut setups = Vec::new();
        for seed in seeds {
            for (topics, partitions, handlers) in
                [(1, 1, 1), (1, 1, 2), (1, 2, 1), (1, 2, 2), (2, 1, 1), (2, 1, 2), (2, 2, 1)]
            {
                let counts = Numbers {
                    topics,
                    partitions,
                    handlers,
                    members,
                    events,
                    groups: 1,
                    producers: 1,
                    active: ACTIVE,
                    ..Numbers::default()
                };
                let limits = Numbers {
                    per_send: own.numbers.per_send,
                    bad: own.numbers.bad,
                    blocking: own.numbers.blocking,
                    ..counts
                };
                for numbers in [counts, limits] {
                    let setup = Setup { seed, numbers };
                    if setups.last() != Some(&setup) {
                        setups.push(setup);
                    }
                }
            }
        }
        setups
    }

    fn try_all(&mut self, setup: Setup, faults: u64) -> Option<(Size, Plan)> {
        let quiet_at = Time::from_millis(ACTIVE);
        let calm = Plan { faults: FaultPlan { quiet_at, ..FaultPlan::none(setup.seed) }, setup };
        if faults == 0 {
            return self.fails(calm);
        }
        let known: Vec<_> = self.vocabulary(&calm).into_iter().collect();
        for (nth, first) in known.iter().enumerate() {
            let one = with(&calm, *first);
            if faults == 1 {
                if let Some(found) = self.fails(one) {
                    return Some(found);
                }
                continue;
            }
            for second in &known[nth + 1..] {
                if let Some(found) = self.fails(with(&one, *second)) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// The faults that are tried: of each chance all that could strike, and strokes at a few times.
    fn vocabulary(&self, calm: &Plan) -> Vec<Fault> {
        let chances = occasions(calm, Some(self.bug)).into_iter().map(Fault::Chance);
        let down = Duration::from_secs(1);
        let lasting = Duration::from_secs(8);
        let processes = (calm.setup.numbers.members + calm.setup.numbers.producers) as u16;
        let mut strokes = vec![
            Stroke::Evict { group: 0, member: 0 },
            Stroke::Evict { group: 0, member: 1 },
            Stroke::RestartDatabase { down },
            Stroke::KillBroker { broker: 0, down },
            Stroke::Trim { partition: 0, keep: 0 },
        ];
        for process in 0..processes {
            strokes.extend([
                Stroke::Crash { process, down },
                Stroke::Stop { process, down },
                Stroke::Pause { process, lasting },
                Stroke::IsolateProcess { process, lasting },
            ]);
        }
        let times = (0..8).map(|nth| Time::from_millis(200 + nth * 500));
        let strokes = times.flat_map(|at| strokes.iter().map(move |stroke| Fault::Stroke(at, *stroke)));
        chances.chain(strokes.collect::<Vec<_>>()).collect()
    }

    fn fails(&mut self, plan: Plan) -> Option<(Size, Plan)> {
        if self.runs >= self.most_runs {
            return None;
        }
        self.runs += 1;
        let report = run_with(&plan, Some(self.bug), Detail::Hashes);
        let size = Size::of(&report);
        let (_, breach) = report.breach?;
        (shrink::manner(&breach) == shrink::manner(&self.shrunk.breach)).then_some((size, plan))
    }
}

fn with(plan: &Plan, fault: Fault) -> Plan {
    let mut plan = plan.clone();
    match fault {
        Fault::Chance(occasion) => {
            plan.faults.certain.insert(occasion);
        }
        Fault::Stroke(at, stroke) => {
            plan.faults.strokes.push((at, stroke));
            plan.faults.strokes.sort_by_key(|(at, _)| *at);
        }
    }
    plan
}

/// Many bugs.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// One row each.
    pub rows: Vec<Row>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sizes are faults + events + processes")?;
        writeln!(
            f,
            "{:<30} {:>6} law {:>16} {:>12} {:>12} ratio  runs",
            "bug", "seed", "found", "shrunk", "smallest"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:<30} {:>6} {:>3} {:>16} {:>12} {:>12} {:>5.2}  {} + {}{}",
                row.bug.name(),
                row.seed.to_string(),
                row.law.number(),
                row.found.to_string(),
                row.shrunk.size.to_string(),
                row.smallest.to_string(),
                row.ratio(),
                row.shrunk.runs,
                row.runs,
                if row.is_sure { "" } else { ", not all" },
            )?;
        }
        Ok(())
    }
}
