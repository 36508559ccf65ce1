//! The simulation at the command line: `cargo run --profile sim -p sim-tests -- explore`.
//!
//! It ends with 0 if all is well, 1 if a law was broken, 2 if it was called wrongly, 3 if something did not come to
//! rest, 4 if a run differs from itself, 5 if a planted bug was not found in time.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use evenkeel_sim::checkers::{Breach, Law};
use evenkeel_sim::faults::plan::FaultPlan;
use evenkeel_sim::seed::Seed;
use evenkeel_sim::step::planted::{Class, Planted};
use evenkeel_sim::step::{self, Plan, shrink};
use evenkeel_sim::trace::Detail;
use evenkeel_sim::world::scenario::Scenario;
use evenkeel_sim::world::{self, ACTIVE};
use sim_tests::batch::Batch;
use sim_tests::pairs::Pairs;
use sim_tests::planted::{Hunt, Table};
use sim_tests::steps::{OUT_OF_REACH, Steps};

/// Simulated runs of Evenkeel: its machines alone, step by step, or the real library in a simulated world.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the machines under many seeds and tells of those that fail.
    Explore {
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
        /// No more seeds are begun after so many minutes.
        #[arg(long, default_value_t = 1_440)]
        minutes: u64,
        /// Makes each so-manieth seed fail, to see that it is told; 0 for none.
        #[arg(long, default_value_t = 0)]
        canary: u64,
        /// How many at once.
        #[arg(long, default_value_t = 2)]
        threads: u64,
    },
    /// Runs one seed again and shows every step.
    Replay {
        /// The seed.
        seed: u64,
        /// Only this many steps before the end.
        #[arg(long, default_value_t = u64::MAX)]
        last: u64,
        /// Another plan than the seed's, from a file.
        #[arg(long)]
        plan: Option<PathBuf>,
        /// With a planted bug.
        #[arg(long)]
        bug: Option<String>,
        /// Made to fail.
        #[arg(long)]
        canary: bool,
        /// The world of the real library, not the machines alone.
        #[arg(long)]
        world: bool,
    },
    /// Makes the failing plan of a seed small and prints it as a test.
    Shrink {
        /// The seed.
        seed: u64,
        /// Another plan than the seed's, from a file.
        #[arg(long)]
        plan: Option<PathBuf>,
        /// With a planted bug.
        #[arg(long)]
        bug: Option<String>,
        /// How many runs it may take.
        #[arg(long, default_value_t = 5_000)]
        runs: u64,
    },
    /// Runs the machines under many seeds and prints what faults met, and what they never did.
    Coverage {
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 20_000)]
        seeds: u64,
        /// How many at once.
        #[arg(long, default_value_t = 2)]
        threads: u64,
    },
    /// Runs plans twice, with and without what should change nothing for the rest, and compares.
    Pairs {
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// With a planted bug.
        #[arg(long)]
        bug: Option<String>,
        /// How many at once.
        #[arg(long, default_value_t = 2)]
        threads: u64,
    },
    /// Looks for planted bugs and prints by which law they are caught, and how soon.
    Planted {
        /// Only this one.
        #[arg(long)]
        bug: Option<String>,
        /// Of all classes, not only those that are found at once.
        #[arg(long)]
        full: bool,
        /// How many at once.
        #[arg(long, default_value_t = 2)]
        threads: u64,
    },
    /// Runs worlds of the real library under many seeds.
    Worlds {
        /// Makes each so-manieth seed fail, to see that it is told; 0 for none.
        #[arg(long, default_value_t = 0)]
        canary: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// How many at once.
        #[arg(long, default_value_t = 2)]
        threads: u64,
    },
    /// Prints the hash of each seed's world.
    Hash {
        /// The seeds.
        seeds: Vec<u64>,
    },
}

const BROKEN: u8 = 1;
const MISUSED: u8 = 2;
const NO_REST: u8 = 3;
const NOT_FOUND: u8 = 5;

fn kind(breach: &Breach) -> u8 {
    if breach.law == Law::Liveness { NO_REST } else { BROKEN }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program for people")]
fn main() -> ExitCode {
    let code = match Options::parse().command {
        Command::Explore { from, seeds, minutes, canary, threads } => {
            let most = Duration::from_secs(minutes.saturating_mul(60));
            let steps =
                Steps::run_with(from..from + seeds, threads, most, &|seed| match sings(seed, canary) {
                    true => step::canary(seed, Detail::Hashes),
                    false => step::drawn(seed, Detail::Hashes),
                });
            println!("{steps}");
            if !steps.failures.is_empty()
                && let Some(commit) = commit()
            {
                println!("commit {commit}");
            }
            let breaches = steps.failures.values().filter_map(|report| report.breach.as_ref());
            Ok(breaches.map(|(_, breach)| kind(breach)).min().unwrap_or_default())
        }
        Command::Replay { seed, last, plan, world: true, .. } => replay_world(Seed(seed), last, plan),
        Command::Replay { seed, last, canary: true, .. } => {
            Ok(tell(&step::canary(Seed(seed), Detail::Lines(0..u64::MAX)), last))
        }
        Command::Replay { seed, last, plan, bug, .. } => replay(Seed(seed), last, plan, bug),
        Command::Shrink { seed, plan, bug, runs } => make_small(Seed(seed), plan, bug, runs),
        Command::Coverage { from, seeds, threads } => {
            let steps = Steps::run(from..from + seeds, threads, Duration::MAX);
            println!("{}", steps.grid);
            for (mark, why) in OUT_OF_REACH {
                println!("no run reaches the branch {mark:?}: {why}");
            }
            Ok(u8::from(!steps.failures.is_empty()))
        }
        Command::Pairs { from, seeds, bug, threads } => bug_of(bug.as_deref()).map(|bug| {
            let pairs = Pairs::run(from..from + seeds, threads, bug);
            println!("{pairs}");
            pairs
                .failures
                .values()
                .filter_map(|pair| pair.breach.as_ref())
                .map(kind)
                .min()
                .unwrap_or_default()
        }),
        Command::Planted { bug: Some(name), .. } => bug_of(Some(&name)).map(|bug| {
            let hunts = bug.map(Hunt::of).into_iter().collect();
            let table = Table { hunts };
            println!("{table}");
            if table.late().is_empty() { 0 } else { NOT_FOUND }
        }),
        Command::Planted { bug: None, full, threads } => {
            let table = Table::up_to(if full { Class::C } else { Class::A }, threads);
            println!("{table}");
            let is_idle = full && !table.idle().is_empty();
            Ok(if table.late().is_empty() && !is_idle { 0 } else { NOT_FOUND })
        }
        Command::Worlds { canary, from, seeds, threads } => {
            let batch = Batch::run_with(from..from + seeds, threads, &|seed| {
                let report = world::drawn(seed, Detail::Hashes);
                if sings(seed, canary) { made_to_fail(report) } else { report }
            });
            println!("{batch}");
            Ok(u8::from(!batch.failures.is_empty()))
        }
        Command::Hash { seeds } => {
            for seed in seeds {
                println!("{}", world::drawn(Seed(seed), Detail::Hashes).trace.hash());
            }
            Ok(0)
        }
    };
    ExitCode::from(code.unwrap_or_else(|misuse| {
        eprintln!("{misuse}");
        MISUSED
    }))
}

/// The commit that this was built from, as far as it can be told.
fn commit() -> Option<String> {
    let output = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().ok()?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn bug_of(name: Option<&str>) -> Result<Option<Planted>, String> {
    let Some(name) = name else { return Ok(None) };
    let names: Vec<_> = Planted::ALL.iter().map(|bug| bug.name()).collect();
    let unknown = || format!("there is no planted bug {name:?}; there are {}", names.join(", "));
    Planted::named(name).map(Some).ok_or_else(unknown)
}

fn plan_of(seed: Seed, path: Option<PathBuf>) -> Result<Plan, String> {
    let Some(path) = path else { return Ok(Plan::draw(seed)) };
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.parse().map_err(|error| format!("{}: {error}", path.display()))
}

#[expect(clippy::print_stdout, reason = "this is a program for people")]
fn show(lines: &[String], last: u64) {
    let skip = lines.len().saturating_sub(usize::try_from(last).unwrap_or(usize::MAX));
    for line in &lines[skip..] {
        println!("{line}");
    }
}

fn replay(seed: Seed, last: u64, plan: Option<PathBuf>, bug: Option<String>) -> Result<u8, String> {
    let (plan, bug) = (plan_of(seed, plan)?, bug_of(bug.as_deref())?);
    let report = step::run_with(&plan, bug, Detail::Lines(0..u64::MAX));
    Ok(tell(&report, last))
}

#[expect(clippy::print_stdout, reason = "this is a program for people")]
fn tell(report: &step::Report, last: u64) -> u8 {
    show(report.trace.lines(), last);
    println!("{report}");
    report.breach.as_ref().map_or(0, |(_, breach)| kind(breach))
}

/// Whether a seed is one of those that are made to fail.
const fn sings(seed: Seed, every: u64) -> bool {
    every > 0 && seed.0.is_multiple_of(every)
}

fn made_to_fail(report: world::Report) -> world::Report {
    let breach = Breach::new(Law::NoLoss, step::CANARY);
    world::Report { outcome: world::Outcome::Broken { step: 0, breach }, ..report }
}

#[expect(clippy::print_stdout, reason = "this is a program for people")]
fn make_small(seed: Seed, plan: Option<PathBuf>, bug: Option<String>, runs: u64) -> Result<u8, String> {
    let (plan, bug) = (plan_of(seed, plan)?, bug_of(bug.as_deref())?);
    let Some(small) = shrink::shrink(&plan, bug, runs) else {
        println!("nothing is wrong with it");
        return Ok(0);
    };
    println!("{}\n\nafter {} runs:\n\n{}\n{}", small.breach, small.runs, small.plan, small.as_test());
    Ok(kind(&small.breach))
}

#[expect(clippy::print_stdout, reason = "this is a program for people")]
fn replay_world(seed: Seed, last: u64, plan: Option<PathBuf>) -> Result<u8, String> {
    let detail = Detail::Lines(0..u64::MAX);
    let report = match plan {
        None => world::drawn(seed, detail),
        Some(path) => {
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
            let plan: FaultPlan = text.parse().map_err(|error| format!("{}: {error}", path.display()))?;
            world::run(&Scenario::draw(seed, ACTIVE), &plan, seed, detail)
        }
    };
    show(report.trace.lines(), last);
    println!("{report}");
    Ok(u8::from(!report.is_clean()))
}
