//! The simulation at the command line: `cargo run --profile sim -p sim-tests -- explore`.
//!
//! It ends with 0 if all is well, 1 if a law was broken, 2 if it was called wrongly, 3 if something did not come to
//! rest, 4 if two runs differ, 5 if a planted bug was not found in time.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand};
use evenkeel_sim::checkers::{Breach, Law};
use evenkeel_sim::faults::plan::FaultPlan;
use evenkeel_sim::seed::Seed;
use evenkeel_sim::step::planted::{Class, Planted};
use evenkeel_sim::step::small::{self, Scope};
use evenkeel_sim::step::{self, Plan, shrink};
use evenkeel_sim::trace::Detail;
use evenkeel_sim::world::scenario::Scenario;
use evenkeel_sim::world::{self, ACTIVE};
use sim_tests::batch::Batch;
use sim_tests::pairs::Pairs;
use sim_tests::planted::{Hunt, Table};
use sim_tests::smallest;
use sim_tests::steps::{OUT_OF_REACH, RARE, Steps};

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
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..1 << 62))]
        from: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
        seeds: u64,
        /// No more seeds are begun after so many minutes.
        #[arg(long, default_value_t = 1_440, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
        minutes: u64,
        /// Makes each so-manieth seed fail, to see that it is told; 0 for none.
        #[arg(long, default_value_t = 0)]
        canary: u64,
        /// How many at once.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
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
        #[arg(long, conflicts_with_all = ["plan", "bug", "world"])]
        canary: bool,
        /// The world of the real library, not the machines alone. Planted bugs are in the machines' world only.
        #[arg(long, conflicts_with = "bug")]
        world: bool,
    },
    /// Shows the world of the machines as it stands behind a step: what each process, broker and the database holds.
    At {
        /// The seed, or a file with a plan.
        run: Run,
        /// The step, as replay numbers them.
        #[arg(long)]
        step: u64,
        /// So many lines of the trace up to it.
        #[arg(long, default_value_t = 10)]
        lines: u64,
        /// With a planted bug.
        #[arg(long)]
        bug: Option<String>,
        /// The machines, too, field by field.
        #[arg(long)]
        machines: bool,
    },
    /// Shows the first step in which two runs of the machines differ.
    Diff {
        /// The first: a seed, or a file with a plan.
        one: Run,
        /// The second. It may be the same, in another setting.
        other: Run,
        /// So many lines before the step and from there on.
        #[arg(long, default_value_t = 10)]
        lines: u64,
        /// Both with a planted bug.
        #[arg(long)]
        bug: Option<String>,
        /// Only the second with a planted bug.
        #[arg(long)]
        other_bug: Option<String>,
        /// A line of a plan that is added to the second's, like `set members 2` or `at 3s evict group 0 member 1`; may be
        /// given several times.
        #[arg(long)]
        with: Vec<String>,
        /// The second without the lines of its plan that begin like this, like `at 3s` or `chance slow`.
        #[arg(long)]
        without: Vec<String>,
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
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..1 << 62))]
        from: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
        seeds: u64,
        /// How many at once.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
        threads: u64,
    },
    /// Runs plans twice, with and without what should change nothing for the rest, and compares.
    Pairs {
        /// The first seed.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..1 << 62))]
        from: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
        seeds: u64,
        /// With a planted bug.
        #[arg(long)]
        bug: Option<String>,
        /// How many at once.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
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
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
        threads: u64,
    },
    /// Prints how small shrinking makes the failures of planted bugs, beside the smallest that there are.
    Smallest {
        /// Only of this bug; shows its plans, too.
        #[arg(long)]
        bug: Option<String>,
        /// In how many runs the smallest is looked for.
        #[arg(long, default_value_t = 20_000)]
        runs: u64,
    },
    /// Tries all orders of small worlds: two members, four events, up to two faults.
    Small {
        /// Only the world of this name.
        #[arg(long)]
        scope: Option<String>,
        /// What is tried with every change, not what takes minutes.
        #[arg(long)]
        quick: bool,
        /// With a planted bug.
        #[arg(long)]
        bug: Option<String>,
        /// Shows every step of the first order that breaks a law.
        #[arg(long)]
        steps: bool,
        /// So many things come out of turn, not as many as the world says: a number, or `any`.
        #[arg(long, value_parser = swaps)]
        swaps: Option<Swaps>,
        /// Time goes on so many times although something could happen.
        #[arg(long)]
        late: Option<u32>,
        /// So many faults strike.
        #[arg(long)]
        faults: Option<u32>,
        /// Of the faults only those whose names begin like this, like `crash process 0` or `reply-lost`; may be given
        /// several times.
        #[arg(long)]
        only: Vec<String>,
    },
    /// Runs worlds of the real library under many seeds.
    Worlds {
        /// Makes each so-manieth seed fail, to see that it is told; 0 for none.
        #[arg(long, default_value_t = 0)]
        canary: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..1 << 62))]
        from: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
        seeds: u64,
        /// How many at once.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
        threads: u64,
    },
    /// Prints the hash of each seed's world.
    Hash {
        /// The seeds.
        seeds: Vec<u64>,
        /// Runs them all and prints nothing but the hash after each step of this one's world.
        #[arg(long)]
        steps_of: Option<u64>,
    },
}

/// How many things come out of turn; `None` for any number.
#[derive(Debug, Clone, Copy)]
struct Swaps(Option<u32>);

fn swaps(text: &str) -> Result<Swaps, String> {
    if text == "any" {
        return Ok(Swaps(None));
    }
    text.parse().map(|swaps| Swaps(Some(swaps))).map_err(|_| "it is a number, or `any`".to_owned())
}

/// A run by its seed, or by a file with its plan.
#[derive(Debug, Clone)]
enum Run {
    Drawn(Seed),
    Planned(PathBuf),
}

impl FromStr for Run {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(seed) => Ok(Self::Drawn(Seed(seed))),
            Err(_) if Path::new(text).exists() => Ok(Self::Planned(text.into())),
            Err(_) => Err("it is neither a number nor a file with a plan".to_owned()),
        }
    }
}

impl Run {
    fn plan(&self) -> Result<Plan, String> {
        match self {
            Self::Drawn(seed) => Ok(Plan::draw(*seed)),
            Self::Planned(path) => read_plan(path),
        }
    }
}

const BROKEN: u8 = 1;
const MISUSED: u8 = 2;
const NO_REST: u8 = 3;
const DIFFERS: u8 = 4;
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
        Command::At { run, step, lines, bug, machines } => show_at(&run, step, lines, bug, machines),
        Command::Diff { one, other, lines, bug, other_bug, with, without } => {
            let bug_of_other = other_bug.or_else(|| bug.clone());
            differ(&one, &other, lines, [bug, bug_of_other], (&with, &without))
        }
        Command::Shrink { seed, plan, bug, runs } => make_small(Seed(seed), plan, bug, runs),
        Command::Coverage { from, seeds, threads } => {
            let steps = Steps::run(from..from + seeds, threads, Duration::MAX);
            println!("{}", steps.grid);
            for (mark, why) in OUT_OF_REACH {
                println!("no run reaches the branch {mark:?}: {why}");
            }
            for (mark, how_few) in RARE {
                println!("few runs reach the branch {mark:?}: {how_few}");
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
            let hunts: Vec<_> = bug.map(Hunt::of).into_iter().collect();
            for (seed, law) in hunts.iter().flat_map(Hunt::seeds) {
                let seen = if hunts.iter().any(|hunt| hunt.bug.shows_in_one_run()) {
                    format!("replay {seed} --bug '{name}'")
                } else {
                    format!("pairs --from {seed} --seeds 1 --bug '{name}'")
                };
                println!("{law}: {seen}");
            }
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
        Command::Smallest { bug, runs } => compare_sizes(bug, runs),
        Command::Small { scope, quick, bug, steps, swaps, late, faults, only } => {
            let all = if quick { small::quick() } else { small::large() };
            let all = all.into_iter().map(|scope| Scope {
                swaps: swaps.map_or(scope.swaps, |Swaps(swaps)| swaps),
                late: late.unwrap_or(scope.late),
                faults: faults.unwrap_or(scope.faults),
                ..if only.is_empty() { scope } else { scope.only(&only) }
            });
            try_small(&all.collect::<Vec<_>>(), scope.as_deref(), bug, steps)
        }
        Command::Worlds { canary, from, seeds, threads } => {
            let batch = Batch::run_with(from..from + seeds, threads, &|seed| {
                let report = world::drawn(seed, Detail::Hashes);
                if sings(seed, canary) { made_to_fail(report) } else { report }
            });
            println!("{batch}");
            Ok(u8::from(!batch.failures.is_empty()))
        }
        Command::Hash { seeds, steps_of } => {
            for seed in seeds {
                let detail = if steps_of == Some(seed) { Detail::Steps(0..u64::MAX) } else { Detail::Hashes };
                let trace = world::drawn(Seed(seed), detail).trace;
                if steps_of.is_none() {
                    println!("{}", trace.hash());
                }
                for hash in trace.hashes() {
                    println!("{hash}");
                }
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

fn read_plan(path: &Path) -> Result<Plan, String> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    let plan: Plan = text.parse().map_err(|error| format!("{name}: {error}"))?;
    if !text.lines().any(|line| line.trim_start().starts_with("seed ")) {
        return Err(format!("{name}: the plan has no line `seed N`, and means nothing without"));
    }
    Ok(plan)
}

fn plan_of(seed: Seed, path: Option<PathBuf>) -> Result<Plan, String> {
    let Some(path) = path else { return Ok(Plan::draw(seed)) };
    let plan = read_plan(&path)?;
    if plan.setup.seed != seed {
        return Err(format!("{}: the plan is of seed {}, not {seed}", path.display(), plan.setup.seed));
    }
    Ok(plan)
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
fn show_at(run: &Run, step: u64, lines: u64, bug: Option<String>, machines: bool) -> Result<u8, String> {
    let (plan, bug) = (run.plan()?, bug_of(bug.as_deref())?);
    let Some(world) = step::at(&plan, bug, step, lines) else {
        let report = step::run_with(&plan, bug, Detail::Hashes);
        return Err(format!(
            "the run has {} steps, counted from 0: --step is too large",
            report.trace.steps()
        ));
    };
    show(world.lines(), u64::MAX);
    println!("\n{}", world.shown());
    if machines {
        println!("{}", world.machines_shown());
    }
    Ok(0)
}

#[expect(clippy::print_stdout, reason = "this is a program for people")]
fn differ(
    one: &Run,
    other: &Run,
    lines: u64,
    bugs: [Option<String>; 2],
    (with, without): (&[String], &[String]),
) -> Result<u8, String> {
    let (one, drawn) = (one.plan()?, other.plan()?.to_string());
    if let Some(idle) =
        without.iter().find(|words| !drawn.lines().any(|line| line.starts_with(words.as_str())))
    {
        return Err(format!("the second plan has no line that begins like {idle:?}"));
    }
    let kept =
        drawn.lines().filter(|line| !without.iter().any(|beginning| line.starts_with(beginning.as_str())));
    let other = kept.chain(with.iter().map(String::as_str)).collect::<Vec<_>>().join("\n");
    let other: Plan = other.parse().map_err(|error| format!("the second run: {error}"))?;
    let [bug, other_bug] = [bug_of(bugs[0].as_deref())?, bug_of(bugs[1].as_deref())?];
    let (text, other_text) = (one.to_string(), other.to_string());
    let lacks = |text: &str, line: &str| !text.lines().any(|other| other == line);
    for line in text.lines().filter(|line| lacks(&other_text, line)) {
        println!("plan - {line}");
    }
    for line in other_text.lines().filter(|line| lacks(&text, line)) {
        println!("plan + {line}");
    }
    let Some(parting) = step::compare((&one, bug), (&other, other_bug), lines) else {
        println!("the runs are the same in every step");
        return Ok(0);
    };
    println!("the runs part at step {}", parting.step);
    for (sign, lines) in [(' ', &parting.before), ('-', &parting.one), ('+', &parting.other)] {
        for line in lines {
            println!("{sign} {line}");
        }
        if sign != ' ' && lines.is_empty() {
            println!("{sign} (it is over)");
        }
    }
    Ok(DIFFERS)
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

/// Shrinking is as good as it should be if it comes this near to the smallest.
const NEAR: f64 = 5.0;

#[expect(clippy::print_stdout, reason = "this is a program for people")]
fn compare_sizes(bug: Option<String>, runs: u64) -> Result<u8, String> {
    let one = bug_of(bug.as_deref())?;
    let bugs: Vec<_> = Planted::ALL
        .iter()
        .copied()
        .filter(|bug| one.map_or(bug.class() == Class::A, |one| one == *bug))
        .collect();
    let table =
        smallest::Table { rows: bugs.iter().filter_map(|bug| smallest::Row::of(*bug, runs)).collect() };
    println!("{table}");
    if let (Some(_), [row]) = (one, &*table.rows) {
        println!("{}\n\nshrunk:\n{}\nthe smallest:\n{}", row.shrunk.breach, row.shrunk.plan, row.plan);
    }
    let is_near = table.rows.len() == bugs.len() && table.rows.iter().all(|row| row.ratio() <= NEAR);
    Ok(if is_near { 0 } else { NOT_FOUND })
}

#[expect(clippy::print_stdout, reason = "this is a program for people")]
fn try_small(all: &[Scope], name: Option<&str>, bug: Option<String>, steps: bool) -> Result<u8, String> {
    let bug = bug_of(bug.as_deref())?;
    let names: Vec<_> = all.iter().map(|scope| scope.name).collect();
    let unknown = || {
        let name = name.unwrap_or_default();
        format!("there is no small world {name:?}; there are {}", names.join(", "))
    };
    let chosen: Vec<_> = all.iter().filter(|scope| name.is_none_or(|name| name == scope.name)).collect();
    if chosen.is_empty() {
        return Err(unknown());
    }
    for scope in chosen {
        let begun = std::time::Instant::now();
        let survey = small::explore(scope, bug);
        print!("{survey}");
        println!("  in {:.1} s", begun.elapsed().as_secs_f64());
        if let Some(found) = &survey.found {
            if steps {
                show(&found.lines, u64::MAX);
            }
            return Ok(kind(&found.breach));
        }
        if !survey.doubts().is_empty() {
            return Ok(NOT_FOUND);
        }
    }
    Ok(0)
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
