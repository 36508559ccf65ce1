//! Makes a failing plan small: what still breaks the *same law in the same way* is kept, and nothing else.
//!
//! Whole families of faults go first, then numbers (fewer processes, topics, keys, events), then strokes in ever smaller
//! pieces. What struck by chance is written down as certain, and goes in ever smaller pieces, too; what is left is aimed at
//! what comes first, and gets rounder numbers. That goes round until nothing more can be taken away or the runs are used
//! up.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use evenkeel_core::model::Time;

use super::planted::Planted;
use super::setup::Numbers;
use super::{Plan, Report, occasions, run_with};
use crate::checkers::{Breach, Law};
use crate::faults::plan::{Occasion, Weather};
use crate::faults::{Family, Stroke};
use crate::trace::Detail;

/// How much a person has to take in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// Faults that strike, at times and by chance.
    pub faults: u64,
    /// Events that are produced.
    pub events: u64,
    /// Processes.
    pub processes: u64,
}

impl Size {
    /// The size of what was run.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let numbers = &report.plan.setup.numbers;
        Self {
            faults: (report.plan.faults.strokes.len() + report.struck.len()) as u64,
            events: numbers.events,
            processes: numbers.groups * numbers.members + numbers.producers,
        }
    }

    /// All of it.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.faults + self.events + self.processes
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}+{}+{})", self.total(), self.faults, self.events, self.processes)
    }
}

/// A plan that was made small.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The plan.
    pub plan: Plan,
    /// What it breaks.
    pub breach: Breach,
    /// How many runs that took.
    pub runs: u64,
    /// Its size.
    pub size: Size,
}

impl Shrunk {
    /// A test that fails as long as the bug is there.
    #[must_use]
    pub fn as_test(&self) -> String {
        let lines =
            self.plan.to_string().lines().map(|line| format!("         {line}\\n\\\n")).collect::<String>();
        format!(
            "/// {}\n#[test]\nfn seed_{}() {{\n    holds(\n        \"\\\n{lines}\",\n    );\n}}\n",
            self.breach, self.plan.setup.seed
        )
    }
}

/// How a law is broken: its words without names and numbers.
#[must_use]
pub fn manner(breach: &Breach) -> (Law, Vec<String>) {
    let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == ',' || c == ':');
    (breach.law, breach.story.split_whitespace().filter(is_word).take(8).map(str::to_owned).collect())
}

struct Shrinker {
    bug: Option<Planted>,
    wanted: (Law, Vec<String>),
    best: Plan,
    breach: Breach,
    size: Size,
    struck: Vec<Occasion>,
    runs: u64,
    most: u64,
}

/// Makes a plan small, if it fails.
#[must_use]
pub fn shrink(plan: &Plan, bug: Option<Planted>, most_runs: u64) -> Option<Shrunk> {
    let report = run_with(plan, bug, Detail::Hashes);
    let size = Size::of(&report);
    let (_, breach) = report.breach?;
    let mut shrinker = Shrinker {
        bug,
        wanted: manner(&breach),
        best: plan.clone(),
        breach,
        size,
        struck: report.struck,
        runs: 1,
        most: most_runs,
    };
    loop {
        let before = shrinker.best.clone();
        shrinker.drop_families();
        shrinker.lower_numbers();
        shrinker.drop_strokes();
        shrinker.settle_chances();
        shrinker.drop_certain();
        shrinker.aim_lower();
        shrinker.round_times();
        if shrinker.best == before || shrinker.runs >= shrinker.most {
            break;
        }
    }
    let Shrinker { best: plan, breach, size, runs, .. } = shrinker;
    Some(Shrunk { plan, breach, runs, size })
}

impl Shrinker {
    /// Takes a plan over if it fails as the first one did.
    fn accepts(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.best.clone();
        change(&mut plan);
        if plan == self.best || self.runs >= self.most {
            return false;
        }
        self.runs += 1;
        let report = run_with(&plan, self.bug, Detail::Hashes);
        let size = Size::of(&report);
        match report.breach {
            Some((_, breach)) if manner(&breach) == self.wanted => {
                self.best = plan;
                self.breach = breach;
                self.size = size;
                self.struck = report.struck;
                true
            }
            Some(_) | None => false,
        }
    }

    fn drop_families(&mut self) {
        self.accepts(|plan| {
            plan.faults.chances.clear();
            plan.faults.strokes.clear();
            plan.faults.spared.clear();
            plan.faults.certain.clear();
        });
        for family in Family::ALL {
            self.accepts(|plan| {
                plan.faults.chances.retain(|chance, _| chance.family() != *family);
                plan.faults.strokes.retain(|(_, stroke)| stroke.family() != *family);
                plan.faults.spared.retain(|occasion| occasion.chance.family() != *family);
                plan.faults.certain.retain(|occasion| occasion.chance.family() != *family);
            });
        }
        self.accepts(|plan| plan.faults.weather = Weather::Drizzle);
    }

    fn lower_numbers(&mut self) {
        const COUNTS: [&str; 9] = [
            "groups",
            "members",
            "topics",
            "partitions",
            "handlers",
            "producers",
            "brokers",
            "events",
            "keys",
        ];
        let rest = Numbers::NAMES.iter().map(|(name, ..)| *name).filter(|name| !COUNTS.contains(name));
        for name in COUNTS.into_iter().chain(rest) {
            let Some((_, range, plain)) = Numbers::NAMES.iter().find(|(known, ..)| *known == name) else {
                continue;
            };
            let set = |to: u64| {
                move |plan: &mut Plan| {
                    plan.setup.numbers.set(name, to);
                }
            };
            if !COUNTS.contains(&name) {
                self.accepts(set(*plain));
                continue;
            }
            if self.accepts(set(*range.start())) {
                continue;
            }
            // The least that still fails, as far as halving finds it.
            let mut low = *range.start();
            while let Some(now) = self.best.setup.numbers.get(name).filter(|now| *now > low + 1) {
                let middle = low + (now - low) / 2;
                if !self.accepts(set(middle)) {
                    low = middle;
                }
            }
        }
    }

    fn drop_strokes(&mut self) {
        let mut size = self.best.faults.strokes.len().max(1);
        while size > 0 {
            let mut from = 0;
            while from < self.best.faults.strokes.len() {
                let to = (from + size).min(self.best.faults.strokes.len());
                let dropped = self.accepts(|plan| {
                    plan.faults.strokes.drain(from..to);
                });
                from = if dropped { from } else { to };
            }
            size /= 2;
        }
    }

    /// What struck by chance is certain from here on, and nothing else strikes.
    fn settle_chances(&mut self) {
        let struck: BTreeSet<_> = self.struck.iter().copied().collect();
        self.accepts(|plan| {
            plan.faults.chances.clear();
            plan.faults.spared.clear();
            plan.faults.weather = Weather::Drizzle;
            plan.faults.certain = struck;
        });
    }

    fn drop_certain(&mut self) {
        let mut size = self.best.faults.certain.len();
        while size > 0 {
            let mut from = 0;
            while from < self.best.faults.certain.len() {
                let some: BTreeSet<_> =
                    self.best.faults.certain.iter().skip(from).take(size).copied().collect();
                if !self.accepts(|plan| plan.faults.certain.retain(|occasion| !some.contains(occasion))) {
                    from += size;
                }
            }
            size /= 2;
        }
    }

    /// What strikes strikes something earlier: of later events and of further handlers only what is struck may be left.
    fn aim_lower(&mut self) {
        const TRIED: usize = 6;
        for aimed in self.best.faults.certain.clone() {
            let mut without = self.best.clone();
            without.faults.certain.remove(&aimed);
            self.runs += 1;
            let open = occasions(&without, self.bug).into_iter();
            let lower: BTreeSet<_> =
                open.filter(|other| other.chance == aimed.chance && *other < aimed).collect();
            for other in lower.into_iter().take(TRIED) {
                let is_taken = self.accepts(|plan| {
                    plan.faults.certain.remove(&aimed);
                    plan.faults.certain.insert(other);
                });
                if is_taken {
                    break;
                }
            }
        }
    }

    fn round_times(&mut self) {
        const UNITS: [Duration; 3] =
            [Duration::from_secs(1), Duration::from_millis(100), Duration::from_millis(10)];
        let round = |span: Duration, unit: Duration| {
            Duration::from_millis((span.as_millis() / unit.as_millis() * unit.as_millis()) as u64)
        };
        for nth in 0..self.best.faults.strokes.len() {
            for unit in UNITS {
                let moved = self.accepts(|plan| {
                    let (at, stroke) = plan.faults.strokes[nth];
                    let at = Time::ZERO + round(at.since(Time::ZERO), unit);
                    plan.faults.strokes[nth] = (at, rounder(stroke, |span| round(span, unit).max(unit)));
                    plan.faults.strokes.sort_by_key(|(at, _)| *at);
                });
                if moved {
                    break;
                }
            }
        }
    }
}

fn rounder(mut stroke: Stroke, round: impl Fn(Duration) -> Duration) -> Stroke {
    match &mut stroke {
        Stroke::Crash { down: span, .. }
        | Stroke::Stop { down: span, .. }
        | Stroke::CrashOwner { down: span, .. }
        | Stroke::KillBroker { down: span, .. }
        | Stroke::RestartDatabase { down: span }
        | Stroke::Pause { lasting: span, .. }
        | Stroke::PauseOwner { lasting: span, .. }
        | Stroke::IsolateBroker { lasting: span, .. }
        | Stroke::IsolateProcess { lasting: span, .. }
        | Stroke::Cut { lasting: span, .. }
        | Stroke::StallReplica { lasting: span, .. }
        | Stroke::ElectUnclean { behind: span, .. }
        | Stroke::Recreate { gone: span, .. }
        | Stroke::Deploy { every: span, .. }
        | Stroke::StaleMetadata { lasting: span, .. }
        | Stroke::FreezeClock { lasting: span, .. }
        | Stroke::EmptyPool { lasting: span } => *span = round(*span),
        Stroke::JumpClock { .. }
        | Stroke::DriftClock { .. }
        | Stroke::MoveLeader { .. }
        | Stroke::Trim { .. }
        | Stroke::Grow { .. }
        | Stroke::ForgetPosition { .. }
        | Stroke::SetBack { .. }
        | Stroke::SpoilMetadata { .. }
        | Stroke::MoveCoordinator { .. }
        | Stroke::Evict { .. } => {}
    }
    stroke
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn a_failing_plan_becomes_small_and_fails_in_the_same_way() {
        let bug = Some(Planted::PanicIsSuccess);
        let mut plans = (0..300).map(|seed| Plan::draw(Seed(seed)));
        let failing = plans.find(|plan| run_with(plan, bug, Detail::Hashes).breach.is_some());
        let plan = failing.expect("a seed finds the bug");
        let small = shrink(&plan, bug, 400).expect("it fails");
        assert!(small.plan.to_string().lines().count() < plan.to_string().lines().count());
        let (_, again) = run_with(&small.plan, bug, Detail::Hashes).breach.expect("it still fails");
        assert_eq!(again, small.breach);
        assert!(run_with(&small.plan, None, Detail::Hashes).is_clean(), "without the bug it holds");
        assert!(small.as_test().contains("#[test]"));
        assert!(small.plan.faults.chances.is_empty(), "what struck is certain");
        assert_eq!(
            (small.size.faults, small.size.events),
            (1, 1),
            "the first event and its handler are enough"
        );
        assert_eq!(
            small.size.faults as usize,
            small.plan.faults.certain.len() + small.plan.faults.strokes.len()
        );
    }

    #[test]
    fn the_same_way_means_other_numbers_and_names() {
        let breach = |story| manner(&Breach::new(Law::CommitSafety, story));
        let one = breach("0.0 committed 3 of orders/0 while 2 was not settled by billing/charge");
        let same = breach("2.1 committed 9 of refunds/1 while 4 was not settled by audit/mail");
        let other = breach("2.1 committed 9 of refunds/1, which ends at 4");
        assert_eq!(one, same);
        assert_ne!(one, other);
    }
}
