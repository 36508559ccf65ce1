//! Many pairs of runs: what should be alike in both, and was not.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use evenkeel_sim::checkers::Breach;
use evenkeel_sim::seed::Seed;
use evenkeel_sim::step::pairs::{Difference, Pair, judge};
use evenkeel_sim::step::planted::Planted;

use crate::each::{RUN, each};

/// The first law that a seed's pairs break.
#[must_use]
pub fn first_breach(seed: Seed, bug: Option<Planted>) -> Option<Breach> {
    Difference::ALL.into_iter().find_map(|difference| judge(seed, difference, bug).breach)
}

/// What many pairs came to.
#[derive(Debug, Clone, Default)]
pub struct Pairs {
    /// Those that failed.
    pub failures: BTreeMap<(Seed, Difference), Pair>,
    /// How many fates or effects were compared, by what differed.
    pub compared: BTreeMap<Difference, u64>,
    /// How many pairs there were.
    pub pairs: u64,
    /// How long it took.
    pub took: Duration,
}

impl Pairs {
    /// Runs all pairs of these seeds, so many at once.
    ///
    /// # Panics
    /// If a thread of it does.
    #[must_use]
    pub fn run(seeds: std::ops::Range<u64>, threads: u64, bug: Option<Planted>) -> Self {
        let mut all = Self::default();
        let judged = |seed| Difference::ALL.map(|difference| judge(Seed(seed), difference, bug));
        let took = each(seeds, RUN, threads, Duration::MAX, judged, |pairs| {
            for pair in pairs {
                all.add(pair);
            }
        });
        Self { took, ..all }
    }

    fn add(&mut self, pair: Pair) {
        self.pairs += 1;
        *self.compared.entry(pair.difference).or_default() += pair.compared;
        if pair.breach.is_some() {
            self.failures.insert((pair.seed, pair.difference), pair);
        }
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for pair in self.failures.values().take(SHOWN) {
            writeln!(f, "{pair}")?;
        }
        for ((seed, difference), pair) in self.failures.iter().skip(SHOWN) {
            let breach = pair.breach.as_ref().map(ToString::to_string).unwrap_or_default();
            writeln!(f, "seed {seed} with and without {difference} broke {breach}")?;
        }
        let took = self.took.as_secs_f64().max(0.001);
        writeln!(f, "{} pairs in {took:.1} s, {} failed", self.pairs, self.failures.len())?;
        for (difference, compared) in &self.compared {
            writeln!(f, "  with and without {difference}: {compared} compared")?;
        }
        Ok(())
    }
}
