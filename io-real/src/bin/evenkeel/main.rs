//! The command line of Evenkeel.
//!
//! Exit status: 0 when a command has done its work, 1 when it could not, 2 for wrong arguments, and 128 plus the
//! signal's number when a second signal ended it at once.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people: printing is its work")]

mod broker;
mod faults;
mod proxy;
mod signals;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What is logged unless RUST_LOG says otherwise: what is wrong, and what goes wrong by plan.
const LOG: &str = "warn,evenkeel::faults=info";

/// Reliable event processing on Kafka with a SQL database.
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves a Kafka cluster for development and tests, in this one process, in memory.
    ///
    /// Ordinary Kafka clients and tools can use it: topics, consumer groups, idempotent producers. It has no
    /// transactions, no security, and no disk: when it ends, everything is gone.
    ///
    /// Once clients can connect it prints one line, `export KAFKA=HOST:PORT[,HOST:PORT...]`, on standard output. It runs
    /// until SIGINT or SIGTERM and exits with 0; a second signal ends it at once. If it cannot start, as when a port is
    /// taken, it says why on standard error and exits with 1. RUST_LOG=debug tells what it does.
    Broker(broker::Broker),
    /// Stands between a service and its PostgreSQL, and breaks connections by plan, COMMIT above all.
    ///
    /// Point the service's database URL at it. It refuses encryption, so the URL must not insist on TLS.
    ///
    /// Once clients can connect it prints one line, `export PGHOST=HOST PGPORT=PORT`, on standard output. It runs until
    /// SIGINT or SIGTERM and exits with 0; a second signal ends it at once. If it cannot start it says why on standard
    /// error and exits with 1.
    Proxy(proxy::Proxy),
}

/// Why a command ends with an error.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// An address means nothing.
    #[error("cannot listen at {listen:?}: {cause}; use --listen HOST:PORT, as in {example}")]
    Address {
        /// As it was given.
        listen: String,
        /// What the system says.
        cause: std::io::Error,
        /// One that means something.
        example: &'static str,
    },
    /// The cluster does not start.
    #[error(transparent)]
    Cluster(#[from] evenkeel_cluster::serve::StartError),
    /// The proxy does not start.
    #[error(transparent)]
    Proxy(#[from] evenkeel_proxy::ProxyError),
    /// There is no such plan.
    #[error(transparent)]
    Faults(#[from] faults::FaultsError),
    /// Signals cannot be waited for, or nobody reads where the addresses are printed.
    #[error("{doing}: {cause}")]
    Io {
        /// What could not be done.
        doing: &'static str,
        /// What the system says.
        cause: std::io::Error,
    },
}

// One thread: the machine is owned by one task anyway, and what goes on between tasks costs next to nothing then.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let level = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| LOG.into());
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr).with_ansi(colours).init();
    let outcome = match CommandLine::parse().command {
        Command::Broker(broker) => broker.serve().await,
        Command::Proxy(proxy) => proxy.serve().await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("evenkeel: {error}");
            ExitCode::FAILURE
        }
    }
}
