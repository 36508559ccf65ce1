//! A small shop that charges every order exactly once, while its workers are killed.
//!
//! The shop produces orders of several thousand customers over the partitions of a topic. Two worker processes charge
//! them into a database. Half-way one of them is killed without warning and replaced, later another is restarted
//! cleanly. In the end the database is counted: nothing lost, nothing charged twice, no customer's orders out of order.
//!
//! Without `--kafka` the shop starts a broker of its own, `evenkeel broker`, in another process. `make demo` runs it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people: printing is its work")]

mod broker;
mod foreman;
mod store;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use evenkeel::Topic;
use serde::{Deserialize, Serialize};

/// An order, as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OrderPlaced {
    order: u64,
    customer: u64,
    /// Counts the orders of this customer, from one.
    nth: u64,
    cents: u64,
}

/// Charges every order exactly once, while its workers are killed.
#[derive(Debug, Parser)]
#[command(version)]
struct Shop {
    /// The brokers, separated by commas; without it, one is started for this run.
    #[arg(long, env = "KAFKA")]
    kafka: Option<String>,
    /// The process of the broker that --kafka names, to tell its memory in the end.
    #[arg(long, env = "KAFKA_PID", requires = "kafka")]
    kafka_pid: Option<u32>,
    /// The program `evenkeel` that serves as broker without --kafka [default: where cargo puts it beside this one]
    #[arg(long)]
    evenkeel: Option<PathBuf>,
    /// The database: a postgres:// URL, or the file of a SQLite database.
    #[arg(long, env = "DATABASE")]
    database: String,
    /// The topic; a new one for each run, so that runs do not mix.
    #[arg(long)]
    topic: Option<String>,
    #[command(subcommand)]
    role: Option<Role>,
    /// How many orders.
    #[arg(long, default_value_t = 100_000)]
    orders: u64,
    /// How many customers place them.
    #[arg(long, default_value_t = 5_000)]
    customers: u64,
    /// How many partitions the topic has.
    #[arg(long, default_value_t = 8)]
    partitions: u32,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Charges orders until told to stop by SIGTERM. Started by the shop itself.
    Worker {
        /// Its name in the shop's output.
        name: String,
    },
}

/// Anything that ends the demo early.
pub(crate) type Anyhow = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let begun = Instant::now();
    let level = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "error".into());
    tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr).init();
    let shop = Shop::parse();
    let fresh = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        format!("shop.orders.{}", now.as_millis())
    };
    // A topic is a constant in most services; here each run has its own.
    let topic: &'static str = shop.topic.clone().unwrap_or_else(fresh).leak();
    let topic = Topic::new(topic);
    let outcome = match &shop.role {
        Some(Role::Worker { name }) => worker::work(&shop, topic, name).await.map(|()| true),
        None => foreman::run(&shop, topic, begun).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("shop: {error}");
            ExitCode::FAILURE
        }
    }
}
