//! The simulation at the command line: `cargo run -p sim-tests -- replay 8231`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use evenkeel_sim::seed::Seed;
use evenkeel_sim::trace::Detail;
use evenkeel_sim::world::{self, Outcome};

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
    /// Runs one seed again and shows every step.
    Replay {
        /// The seed.
        seed: u64,
        /// Only this many steps before the end.
        #[arg(long, default_value_t = u64::MAX)]
        last: u64,
    },
}

fn main() -> ExitCode {
    match Options::parse().command {
        Command::Run { from, seeds, threads } => run(from, seeds, threads),
        Command::Replay { seed, last } => replay(Seed(seed), last),
    }
}

const ACTIVE: Duration = Duration::from_secs(60);

#[expect(clippy::print_stdout, reason = "this is a program for people")]
fn run(from: u64, seeds: u64, threads: u64) -> ExitCode {
    let begun = Instant::now();
    let next = std::sync::atomic::AtomicU64::new(from);
    let totals = std::sync::Mutex::new((0_u64, Duration::ZERO, 0_u64, 0_u64, 0_u64));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= from + seeds {
                        break;
                    }
                    let report = world::drawn(Seed(seed), ACTIVE, Detail::Hashes);
                    let mut totals = totals.lock().expect("nobody panics with it");
                    totals.0 += u64::from(report.outcome != Outcome::Clean);
                    totals.1 += report.elapsed;
                    totals.2 += report.polls;
                    totals.3 += report.requests;
                    totals.4 += report.trace.steps();
                    if report.outcome != Outcome::Clean {
                        println!("seed {seed}: {:?}", report.outcome);
                    }
                }
            });
        }
    });
    let (failed, elapsed, polls, requests, steps) = *totals.lock().expect("nobody panics with it");
    let took = begun.elapsed();
    println!(
        "{seeds} seeds in {took:.1?}, {failed} failed; {:.1} seeds/s; {elapsed:.0?} of virtual time, {:.0} times as fast as real; \
         {polls} polls, {requests} requests, {steps} steps",
        seeds as f64 / took.as_secs_f64(),
        elapsed.as_secs_f64() / took.as_secs_f64(),
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stdout, reason = "this is a program for people")]
fn replay(seed: Seed, last: u64) -> ExitCode {
    let report = world::drawn(seed, ACTIVE, Detail::Lines(0..u64::MAX));
    let lines = report.trace.lines();
    let skip = lines.len().saturating_sub(usize::try_from(last).unwrap_or(usize::MAX));
    for line in &lines[skip..] {
        println!("{line}");
    }
    println!("{}", report.plan);
    println!("{:?}", report.outcome);
    if report.outcome == Outcome::Clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
