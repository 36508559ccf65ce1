//! Whether planted bugs are found, by which law, and how soon.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use evenkeel_sim::checkers::Law;
use evenkeel_sim::seed::Seed;
use evenkeel_sim::step::planted::{Class, Planted};
use evenkeel_sim::step::{Plan, run_with};
use evenkeel_sim::trace::Detail;

use crate::each::{HUNT, each};
use crate::pairs;

/// From so many starting points a bug is looked for.
pub const STARTS: u64 = 5;
/// How far the starting points are apart.
const APART: u64 = 1_000_000;

/// How a bug was looked for.
#[derive(Debug, Clone)]
pub struct Hunt {
    /// The bug.
    pub bug: Planted,
    /// From each starting point, how many seeds it took and which law caught it; `None` if none did in time.
    pub found: Vec<Option<(u64, Law)>>,
}

impl Hunt {
    /// Looks for a bug from all starting points.
    #[must_use]
    pub fn of(bug: Planted) -> Self {
        // A bound is for the median: looking a little further tells a late find from none.
        let most = bug.class().bound() * 3;
        let from = |start: u64| {
            let mut seeds = (0..most).map(|nth| (nth + 1, Seed(start * APART + nth)));
            seeds.find_map(|(nth, seed)| {
                let breach = if bug.shows_in_one_run() {
                    run_with(&Plan::draw(seed), Some(bug), Detail::Hashes).breach?.1
                } else {
                    pairs::first_breach(seed, Some(bug))?
                };
                Some((nth, breach.law))
            })
        };
        Self { bug, found: (0..STARTS).map(from).collect() }
    }

    /// The seeds that found it, and the laws by which they did.
    pub fn seeds(&self) -> impl Iterator<Item = (Seed, Law)> {
        let starts = (0..).zip(&self.found);
        starts.filter_map(|(start, found)| found.map(|(nth, law)| (Seed(start * APART + nth - 1), law)))
    }

    /// The median of how many seeds it took; `None` if that is not known.
    #[must_use]
    pub fn median(&self) -> Option<u64> {
        let mut seeds: Vec<_> =
            self.found.iter().map(|found| found.map_or(u64::MAX, |(seeds, _)| seeds)).collect();
        seeds.sort_unstable();
        Some(seeds[seeds.len() / 2]).filter(|median| *median != u64::MAX)
    }

    /// Whether it was found as soon as its class demands.
    #[must_use]
    pub fn is_in_time(&self) -> bool {
        self.median().is_some_and(|median| median <= self.bug.class().bound())
    }
}

/// All hunts of a table.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// One a bug.
    pub hunts: Vec<Hunt>,
}

impl Table {
    /// Looks for all bugs of classes up to this one, on so many threads.
    ///
    /// # Panics
    /// If a thread of it does.
    #[must_use]
    pub fn up_to(class: Class, threads: u64) -> Self {
        let bugs: Vec<_> = Planted::ALL.iter().copied().filter(|bug| bug.class() <= class).collect();
        let mut hunts = BTreeMap::new();
        let hunt = |nth| Hunt::of(bugs[nth as usize]);
        each(0..bugs.len() as u64, HUNT, threads, Duration::MAX, hunt, |hunt| {
            hunts.insert(hunt.bug, hunt);
        });
        Self { hunts: hunts.into_values().collect() }
    }

    /// The bugs that were not found in time.
    #[must_use]
    pub fn late(&self) -> Vec<Planted> {
        self.hunts.iter().filter(|hunt| !hunt.is_in_time()).map(|hunt| hunt.bug).collect()
    }

    /// The laws that caught nothing.
    #[must_use]
    pub fn idle(&self) -> Vec<Law> {
        let caught: Vec<_> =
            self.hunts.iter().flat_map(|hunt| hunt.found.iter().flatten()).map(|(_, law)| *law).collect();
        Law::ALL.iter().copied().filter(|law| !caught.contains(law)).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<34} class  bound  median  caught by", "bug")?;
        for hunt in &self.hunts {
            let mut laws: BTreeMap<Law, u32> = BTreeMap::new();
            for (_, law) in hunt.found.iter().flatten() {
                *laws.entry(*law).or_default() += 1;
            }
            let laws: Vec<_> = laws.iter().map(|(law, times)| format!("{} x{times}", law.number())).collect();
            let median = hunt.median().map_or_else(|| "none".to_owned(), |median| median.to_string());
            writeln!(
                f,
                "{:<34} {:?} {:>10} {:>7}  {}{}",
                hunt.bug.name(),
                hunt.bug.class(),
                hunt.bug.class().bound(),
                median,
                laws.join(", "),
                if hunt.is_in_time() { "" } else { "  LATE" },
            )?;
        }
        // A law may well have its bugs among those that were not looked for.
        if self.hunts.len() == Planted::ALL.len() {
            for law in self.idle() {
                writeln!(f, "no bug was caught by {law}")?;
            }
        }
        Ok(())
    }
}
