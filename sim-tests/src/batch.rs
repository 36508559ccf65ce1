//! Many worlds at once: their seeds, what they came to, how fast they were.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use evenkeel_sim::checkers::{Law, Tested};
use evenkeel_sim::faults::Chance;
use evenkeel_sim::seed::Seed;
use evenkeel_sim::trace::{Detail, Hash};
use evenkeel_sim::world::{self, Report};

use crate::each::{RUN, each};

/// What many worlds came to.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// How many there were.
    pub worlds: u64,
    /// Those that failed, in order of their seeds.
    pub failures: BTreeMap<Seed, Report>,
    /// The hash of each.
    pub hashes: BTreeMap<Seed, Hash>,
    /// How often each law was put to the test.
    pub tested: Tested,
    /// How often each chance struck.
    pub struck: BTreeMap<Chance, u64>,
    /// How much virtual time passed in all of them.
    pub elapsed: Duration,
    /// How long it really took.
    pub took: Duration,
    /// How often tasks were polled.
    pub polls: u64,
    /// How many requests clusters took.
    pub requests: u64,
    /// How many steps there were.
    pub steps: u64,
}

impl Batch {
    /// Runs the worlds of these seeds, so many at once.
    ///
    /// # Panics
    /// If a thread of it does.
    #[must_use]
    pub fn run(seeds: std::ops::Range<u64>, threads: u64) -> Self {
        Self::run_with(seeds, threads, &|seed| world::drawn(seed, Detail::Hashes))
    }

    /// Runs something for each of these seeds, so many at once.
    ///
    /// # Panics
    /// If a thread of it does.
    #[must_use]
    pub fn run_with(
        seeds: std::ops::Range<u64>,
        threads: u64,
        run: &(dyn Fn(Seed) -> Report + Sync),
    ) -> Self {
        let mut batch = Self::default();
        let took =
            each(seeds, RUN, threads, Duration::MAX, |seed| run(Seed(seed)), |report| batch.add(report));
        Self { took, ..batch }
    }

    fn add(&mut self, report: Report) {
        self.worlds += 1;
        self.hashes.insert(report.seed, report.trace.hash());
        self.tested.add(&report.tested);
        for occasion in &report.struck {
            *self.struck.entry(occasion.chance).or_default() += 1;
        }
        self.elapsed += report.elapsed;
        self.polls += report.polls;
        self.requests += report.requests;
        self.steps += report.trace.steps();
        if !report.is_clean() {
            self.failures.insert(report.seed, report);
        }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for report in self.failures.values() {
            writeln!(f, "{report}\nto see it: make replay WORLD=1 SEED={}\n", report.seed)?;
        }
        let took = self.took.as_secs_f64();
        let per_second = |count: u64| count as f64 / took;
        writeln!(
            f,
            "{} worlds in {took:.1} s, {} failed; {:.1} worlds/s; {:.1} virtual hours, {:.0} times as fast as real",
            self.worlds,
            self.failures.len(),
            per_second(self.worlds),
            self.elapsed.as_secs_f64() / 3_600.0,
            self.elapsed.as_secs_f64() / took,
        )?;
        writeln!(
            f,
            "{:.0} polls/s, {:.0} requests/s, {:.0} steps/s",
            per_second(self.polls),
            per_second(self.requests),
            per_second(self.steps),
        )?;
        for law in Law::of_histories() {
            writeln!(f, "  {law}: put to the test {} times", self.tested.times(law))?;
        }
        for chance in Chance::ALL {
            writeln!(
                f,
                "  {}: struck {} times",
                chance.name(),
                self.struck.get(chance).copied().unwrap_or_default()
            )?;
        }
        Ok(())
    }
}
