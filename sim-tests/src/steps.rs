//! Many runs of the machines alone: their seeds, what they came to, how fast they were.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use evenkeel_sim::checkers::{Evidence, Law, Tested};
use evenkeel_sim::faults::Chance;
use evenkeel_sim::seed::Seed;
use evenkeel_sim::step::{self, Report};
use evenkeel_sim::trace::{Detail, Hash};

use crate::coverage::Grid;
use crate::each::{RUN, each};

/// Branches that machines mark and that no run of this level reaches, with the reason. One that is reached after all does
/// not belong here.
pub const OUT_OF_REACH: &[(&str, &str)] = &[
    ("a bug stopped a partition", "there is none that is known"),
    ("a member's subscription cannot be read", "all members are of this library"),
    ("assigned a partition of a topic without handlers", "all members have the same handlers"),
    ("assigned a topic that was not asked for", "all members have the same topics"),
    ("assigned the same partition twice", "leaders assign properly"),
    ("batch halved to isolate a record", "the workload's records are well formed"),
    ("batch refused", "the workload's records are well formed"),
    ("commit metadata limit halved", "the cluster's limit is the library's default"),
    ("commit refused for its own reasons", "there are no access rights"),
    ("impossible partition number passed over", "the cluster answers sensibly"),
    ("inaccessible topic given up", "there are no access rights"),
    ("join's answer makes no sense", "the cluster answers sensibly"),
    ("late limits ignored", "each question is answered once"),
    ("late metadata ignored", "each question is answered once"),
    ("late produce answer ignored", "each question is answered once"),
    ("limit not told", "there are no access rights"),
    ("moved without an assignment", "each half of a member knows what the other does"),
    ("outcome of an unknown call ignored", "each call ends once"),
    ("position past the end of the log", "a log that was cut says where it ends"),
    ("read twice, not handed out again", "no fetch reaches back"),
    ("started twice", "the engine starts a member once"),
    ("stopped twice", "there is no second signal"),
    ("stopped without waiting for the coordinator", "there is no second signal"),
    ("stopped without waiting for the owner", "there is no second signal"),
    ("submission after close refused", "the engine submits nothing after it has closed"),
    ("the assignment cannot be read", "all leaders are of this library"),
    ("told of a cut that is none", "the cluster answers sensibly"),
    ("undecodable batch", "logs are whole"),
];

/// Branches that so few runs reach that a batch may well miss them, with how few.
pub const RARE: &[(&str, &str)] =
    &[("blocked by what the log has lost, and let go", "about one run in 8,000")];

/// All marks in the sources of the machines of a checkout, without those of their tests.
///
/// # Panics
/// If the sources cannot be read.
#[must_use]
pub fn marks_of(machines: &Path) -> BTreeSet<String> {
    let mut marks = BTreeSet::new();
    for entry in std::fs::read_dir(machines).expect("the machines' sources are there") {
        let path = entry.expect("the sources can be listed").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && name != "tests" {
            marks.extend(marks_of(&path));
        } else if name.ends_with(".rs") && !["tests.rs", "marks.rs"].contains(&&*name) {
            let text = std::fs::read_to_string(&path).expect("a source can be read");
            let hits = text.split("hit(\"").skip(1).filter_map(|rest| rest.split('"').next());
            marks.extend(hits.map(str::to_owned));
        }
    }
    marks
}

/// What many runs came to.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    /// How many there were.
    pub runs: u64,
    /// Those that failed, in order of their seeds.
    pub failures: BTreeMap<Seed, Report>,
    /// The hash of each.
    pub hashes: BTreeMap<Seed, Hash>,
    /// How often each law was put to the test.
    pub tested: Tested,
    /// How often each chance struck.
    pub struck: BTreeMap<Chance, u64>,
    /// How often the machines took each branch that they mark, and in how many runs.
    pub marks: BTreeMap<(&'static str, &'static str), (u64, u64)>,
    /// What faults met.
    pub grid: Grid,
    /// How much virtual time passed.
    pub elapsed: Duration,
    /// How long it really took.
    pub took: Duration,
    /// How many steps there were.
    pub steps: u64,
}

impl Steps {
    /// Runs these seeds, so many at once, until the time is over.
    ///
    /// # Panics
    /// If a thread of it does.
    #[must_use]
    pub fn run(seeds: std::ops::Range<u64>, threads: u64, most: Duration) -> Self {
        Self::run_with(seeds, threads, most, &|seed| step::drawn(seed, Detail::Hashes))
    }

    /// Runs something for each of these seeds, so many at once, until the time is over.
    ///
    /// # Panics
    /// If a thread of it does.
    #[must_use]
    pub fn run_with(
        seeds: std::ops::Range<u64>,
        threads: u64,
        most: Duration,
        run: &(dyn Fn(Seed) -> Report + Sync),
    ) -> Self {
        let mut all = Self::default();
        let took = each(seeds, RUN, threads, most, |seed| run(Seed(seed)), |report| all.add(report));
        Self { took, ..all }
    }

    fn add(&mut self, report: Report) {
        let seed = report.plan.setup.seed;
        self.runs += 1;
        self.hashes.insert(seed, report.trace.hash());
        self.tested.add(&report.tested);
        for occasion in &report.struck {
            *self.struck.entry(occasion.chance).or_default() += 1;
        }
        for (mark, count) in &report.marks {
            let (all, runs) = self.marks.entry(*mark).or_default();
            *all += count;
            *runs += 1;
        }
        self.grid.add(&report.coverage);
        self.elapsed += report.elapsed;
        self.steps += report.trace.steps();
        if !report.is_clean() {
            self.failures.insert(seed, report);
        }
    }

    /// Rare marks that no run reached.
    #[must_use]
    pub fn rare_missed(&self) -> Vec<&'static str> {
        let is_missed = |mark: &&str| !self.marks.keys().any(|(_, reached)| reached == mark);
        RARE.iter().map(|(mark, _)| *mark).filter(is_missed).collect()
    }

    /// Marks that were not reached and are neither rare nor known to be out of reach, and those that are said to be and
    /// were reached.
    #[must_use]
    pub fn surprises(&self, known: &BTreeSet<String>) -> Vec<String> {
        let reached: BTreeSet<_> = self.marks.keys().map(|(_, mark)| *mark).collect();
        let excused: BTreeSet<_> = OUT_OF_REACH.iter().map(|(mark, _)| *mark).collect();
        let is_rare = |mark: &str| RARE.iter().any(|(rare, _)| *rare == mark);
        let missed = known
            .iter()
            .filter(|mark| !reached.contains(&***mark) && !excused.contains(&***mark) && !is_rare(mark));
        let missed = missed.map(|mark| format!("never reached: {mark}"));
        missed
            .chain(reached.intersection(&excused).map(|mark| format!("reached after all: {mark}")))
            .collect()
    }

    /// In a line, what was done and how fast.
    #[must_use]
    pub fn summary(&self) -> String {
        let took = self.took.as_secs_f64().max(0.001);
        format!(
            "{} runs in {took:.1} s, {} failed; {:.0} runs/s, {:.0} steps/s; {:.1} virtual hours",
            self.runs,
            self.failures.len(),
            self.runs as f64 / took,
            self.steps as f64 / took,
            self.elapsed.as_secs_f64() / 3_600.0,
        )
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for report in self.failures.values().take(SHOWN) {
            writeln!(f, "{report}")?;
        }
        for (seed, report) in self.failures.iter().skip(SHOWN) {
            let breach = report.breach.as_ref().map(|(_, breach)| breach.to_string()).unwrap_or_default();
            writeln!(f, "seed {seed} broke {breach}")?;
        }
        writeln!(f, "{}", self.summary())?;
        for law in Law::ALL.iter().filter(|law| law.evidence() != Evidence::Pairs) {
            writeln!(f, "  {law}: put to the test {} times", self.tested.times(*law))?;
        }
        for chance in Chance::ALL {
            let times = self.struck.get(chance).copied().unwrap_or_default();
            writeln!(f, "  {}: struck {times} times", chance.name())?;
        }
        for ((machine, mark), (count, runs)) in &self.marks {
            writeln!(f, "  {machine}: {mark}: {count} times in {runs} runs")?;
        }
        Ok(())
    }
}
