//! What the program is called with.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Parser, Subcommand};
use evenkeel_sim::seed::Seed;
use evenkeel_sim::step::Plan;

/// Simulated runs of Evenkeel: its machines alone, step by step, or the real library in a simulated world.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
        /// The seed, or a file with a plan.
        run: Run,
        /// Only this many steps before the end.
        #[arg(long, default_value_t = u64::MAX)]
        last: u64,
        /// With a planted bug.
        #[arg(long)]
        bug: Option<String>,
        /// Made to fail.
        #[arg(long, conflicts_with_all = ["bug", "world"])]
        canary: bool,
        /// The world of the real library, not the machines alone. Planted bugs are in the machines' world only.
        #[arg(long, conflicts_with = "bug")]
        world: bool,
        /// With --world: other faults than the seed's, from a file.
        #[arg(long, requires = "world")]
        plan: Option<PathBuf>,
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
        /// The seed, or a file with a plan.
        run: Run,
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
pub(crate) struct Swaps(pub(crate) Option<u32>);

fn swaps(text: &str) -> Result<Swaps, String> {
    if text == "any" {
        return Ok(Swaps(None));
    }
    text.parse().map(|swaps| Swaps(Some(swaps))).map_err(|_| "it is a number, or `any`".to_owned())
}

/// A run by its seed, or by a file with its plan.
#[derive(Debug, Clone)]
pub(crate) enum Run {
    Drawn(Seed),
    Planned(PathBuf),
}

impl FromStr for Run {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(seed) => Ok(Self::Drawn(Seed(seed))),
            Err(_) if Path::new(text).exists() => Ok(Self::Planned(text.into())),
            Err(_) => Err("it is neither a seed, which is a number, nor a file with a plan".to_owned()),
        }
    }
}

impl Run {
    /// The plan of the machines' world.
    pub(crate) fn plan(&self) -> Result<Plan, String> {
        match self {
            Self::Drawn(seed) => Ok(Plan::draw(*seed)),
            Self::Planned(path) => read_plan(path),
        }
    }

    /// The seed, where only a seed will do.
    pub(crate) fn seed(&self, else_what: &str) -> Result<Seed, String> {
        match self {
            Self::Drawn(seed) => Ok(*seed),
            Self::Planned(path) => Err(format!("{} is no seed: {else_what}", path.display())),
        }
    }
}

fn read_plan(path: &Path) -> Result<Plan, String> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    let plan: Plan = text.parse().map_err(|error| format!("{name}: {error}"))?;
    if !text.lines().any(|line| line.split_whitespace().next() == Some("seed")) {
        return Err(format!("{name}: the plan has no line `seed N`, and means nothing without"));
    }
    Ok(plan)
}
