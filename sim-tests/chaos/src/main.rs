//! Real chaos: worker processes of the library on Apache Kafka and PostgreSQL, while processes, servers and links die,
//! stand still and come back at random, for minutes. In the end the checkers of the simulated world judge what happened.
//!
//! `make chaos` runs it. The foreman ([`foreman`]) starts three brokers and a database of its own, hires workers ([`worker`]),
//! has events produced ([`producer`]) and accidents happen ([`accidents`]). Everybody keeps a [`journal`]. When all has
//! healed and come to rest, what is true is read from the servers ([`truth`]) and put into order with the journals
//! ([`chronicle`]): the history that [`evenkeel_sim::checkers`] judge. [`report`] tells what came of it.
//!
//! It ends with 0 if all laws held and each was put to the test, with 1 if not, with 2 if it could not be run.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people: printing is its work")]

mod accidents;
mod chronicle;
mod coordinated;
mod crew;
mod foreman;
mod journal;
mod link;
mod producer;
mod report;
mod requests;
mod servers;
mod shop;
mod tapped;
mod truth;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Kills, pauses and cuts off workers, brokers and a database while events are handled, and judges what came of it.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    role: Option<Role>,
    /// How long accidents happen.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// What is drawn of the accidents and events follows from it; without it, it is drawn itself.
    #[arg(long)]
    seed: Option<u64>,
    /// How many worker processes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    workers: u16,
    /// The longest time between two accidents, in milliseconds.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(100..))]
    calm: u64,
    /// Only accidents of this kind.
    #[arg(long)]
    only: Option<accidents::Kind>,
    /// Where servers, journals and logs are kept. Emptied at the start, left as it is if a law was broken.
    #[arg(long, default_value = ".services/chaos")]
    folder: PathBuf,
    /// A bug to be found.
    #[arg(long, hide = true)]
    plant: Option<Plant>,
}

/// A bug in a handler, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Plant {
    /// An exactly-once handler writes over a connection of its own.
    EffectOutsideTheTransaction,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Handles events until told to stop by SIGTERM. Started by the foreman.
    #[command(hide = true)]
    Worker(worker::Orders),
}

/// Anything that ends the program early.
type Anyhow = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let level = tracing_subscriber::EnvFilter::try_from_default_env();
    let options = Options::parse();
    let quiet = if options.role.is_some() { "warn" } else { "off" };
    tracing_subscriber::fmt()
        .with_env_filter(level.unwrap_or_else(|_| quiet.into()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let outcome = match &options.role {
        Some(Role::Worker(orders)) => worker::work(orders).await.map(|()| true),
        None => foreman::run(&options).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::from(2)
        }
    }
}
