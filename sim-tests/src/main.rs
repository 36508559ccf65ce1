//! The simulation at the command line: `cargo run -p sim-tests -- replay 8231`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use evenkeel_sim::faults::plan::FaultPlan;
use evenkeel_sim::seed::Seed;
use evenkeel_sim::trace::Detail;
use evenkeel_sim::world::scenario::Scenario;
use evenkeel_sim::world::{self, ACTIVE};
use sim_tests::batch::Batch;

/// Runs simulated worlds.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs many seeds and tells of those that fail.
    Run {
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
    /// Prints the hash of each seed.
    Hash {
        /// The seeds.
        seeds: Vec<u64>,
    },
    /// Runs one seed again and shows every step.
    Replay {
        /// The seed.
        seed: u64,
        /// Only this many steps before the end.
        #[arg(long, default_value_t = u64::MAX)]
        last: u64,
        /// Another plan for the same world, from a file.
        #[arg(long)]
        plan: Option<PathBuf>,
    },
}

#[expect(clippy::print_stdout, reason = "this is a program for people")]
fn main() -> ExitCode {
    match Options::parse().command {
        Command::Run { from, seeds, threads } => {
            let batch = Batch::run(from..from + seeds, threads);
            println!("{batch}");
            if batch.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Command::Hash { seeds } => {
            for seed in seeds {
                println!("{}", world::drawn(Seed(seed), Detail::Hashes).trace.hash());
            }
            ExitCode::SUCCESS
        }
        Command::Replay { seed, last, plan } => replay(Seed(seed), last, plan),
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program for people")]
fn replay(seed: Seed, last: u64, plan: Option<PathBuf>) -> ExitCode {
    let detail = Detail::Lines(0..u64::MAX);
    let report = match plan {
        None => world::drawn(seed, detail),
        Some(path) => {
            let plan = std::fs::read_to_string(&path)
                .map_err(|error| error.to_string())
                .and_then(|text| text.parse::<FaultPlan>().map_err(|error| error.to_string()));
            match plan {
                Ok(plan) => world::run(&Scenario::draw(seed, ACTIVE), &plan, seed, detail),
                Err(error) => {
                    eprintln!("{}: {error}", path.display());
                    return ExitCode::from(2);
                }
            }
        }
    };
    let lines = report.trace.lines();
    let skip = lines.len().saturating_sub(usize::try_from(last).unwrap_or(usize::MAX));
    for line in &lines[skip..] {
        println!("{line}");
    }
    println!("{report}");
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
