//! The command line of Evenkeel.
//!
//! Exit status: 0 when a command has done its work, 1 when it could not, 2 for wrong arguments, and 128 plus the
//! signal's number when a second signal ended it at once.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people: printing is its work")]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand};
use evenkeel_cluster::DevCluster;
use evenkeel_cluster::serve::StartError;
use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
    Broker(Broker),
}

#[derive(Debug, Args)]
struct Broker {
    /// Where the first broker listens; the others take the ports that follow. With port 0 the system chooses them all.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,
    /// How many brokers, each at its own port, so that clients see leaders and coordinators in different places.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    brokers: u16,
    /// How much memory the records of all topics may take, in bytes or with a unit (512MiB, 2GB). When more come, the
    /// oldest records go, whatever the retention of their topics says. At least 16MiB.
    #[arg(long, value_name = "BYTES", default_value = "1GiB", value_parser = retained)]
    retain: ByteSize,
    /// The host that clients are told to connect to [default: the one of --listen, or localhost if that is every
    /// interface]
    #[arg(long, value_name = "HOST", value_parser = host)]
    advertise: Option<String>,
    /// Creates a topic that a client asks for and that is not there, with so many partitions. Without this it is told
    /// that there is none, so that a typing error is noticed; Kafka itself creates it.
    #[arg(long, value_name = "PARTITIONS", value_parser = clap::value_parser!(i32).range(1..=1_000))]
    create_topics: Option<i32>,
}

/// Why the broker ends with an error.
#[derive(Debug, thiserror::Error)]
enum BrokerError {
    /// The address means nothing.
    #[error("cannot listen at {listen:?}: {cause}; use --listen HOST:PORT, as in 127.0.0.1:9092")]
    Address {
        /// As it was given.
        listen: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The cluster does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Signals cannot be waited for, or nobody reads where the addresses are printed.
    #[error("{doing}: {cause}")]
    Io {
        /// What could not be done.
        doing: &'static str,
        /// What the system says.
        cause: std::io::Error,
    },
}

fn retained(text: &str) -> Result<ByteSize, String> {
    const LEAST: ByteSize = ByteSize::mib(16);
    let bytes: ByteSize =
        text.parse().map_err(|_| "use a number of bytes, with a unit if you like: 512MiB, 2GB")?;
    if bytes < LEAST { Err(format!("{bytes} is too little, it takes at least {LEAST}")) } else { Ok(bytes) }
}

fn host(text: &str) -> Result<String, String> {
    let is_one = !text.is_empty() && !text.contains([',', '/']) && !text.contains(char::is_whitespace);
    is_one.then(|| text.to_owned()).ok_or_else(|| "use a host's name or address, without a port".to_owned())
}

// One thread: the machine is owned by one task anyway, and what goes on between tasks costs next to nothing then.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let level = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr).with_ansi(colours).init();
    let outcome = match CommandLine::parse().command {
        Command::Broker(broker) => serve(broker).await,
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("evenkeel: {error}");
        ExitCode::FAILURE
    })
}

async fn serve(arguments: Broker) -> Result<ExitCode, BrokerError> {
    // Before anything can be connected to, so that no signal is missed.
    let mut signals =
        Signals::new().map_err(|cause| BrokerError::Io { doing: "cannot wait for signals", cause })?;
    let listen = arguments.listen;
    let resolved = tokio::net::lookup_host(&listen).await.map(|mut found| found.next());
    let address = resolved.and_then(|found| found.ok_or_else(|| std::io::ErrorKind::NotFound.into()));
    let address = address.map_err(|cause| BrokerError::Address { listen, cause })?;
    let mut builder = DevCluster::builder()
        .brokers(arguments.brokers)
        .listen(address.ip(), address.port())
        .retain(arguments.retain.as_u64());
    if let Some(host) = arguments.advertise {
        builder = builder.advertise(host);
    }
    if let Some(partitions) = arguments.create_topics {
        builder = builder.create_topics(partitions);
    }
    let cluster = builder.start().await?;
    tell(&cluster).map_err(|cause| BrokerError::Io { doing: "cannot print the addresses", cause })?;
    signals.first().await;
    cluster.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// The line that says that clients may come, and where to.
fn tell(cluster: &DevCluster) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "export KAFKA={}", cluster.bootstrap())?;
    out.flush()
}

/// What a process is asked to end by.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let number = kind.as_raw_value();
            // The second ends the process from within the signal's handler: whatever keeps the one thread busy, be it
            // an output that nobody reads, would keep it from any other reaction, too.
            flag::register_conditional_shutdown(number, 128 + number, asked.clone())?;
            flag::register(number, asked.clone())?;
        }
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the first.
    async fn first(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
