//! `evenkeel broker`: a Kafka cluster for development.

use std::io::Write;

use bytesize::ByteSize;
use clap::Args;
use evenkeel_cluster::DevCluster;
use evenkeel_cluster::serve::sabotage;

use super::signals::Signals;
use super::{Failure, faults};

const FAULTS: &str = "\
What goes wrong, for services that are to stand it: a file with a plan, or `seed=N` for a plan drawn from a seed, whose \
faults go on for a minute, or `seed=N,for=300s`.

A plan is lines such as these; times count from the start:

    seed 7                          # decides when a chance strikes
    chance commit-applied 5%        # an offset commit is applied and its reply lost
    chance reply-torn 2000ppm
    at 3s kill-broker 2 down 1.5s
    at 5s move-leader partition 0 to 3
    storms of 2s every 20s          # chances are likelier in bursts
    quiet at 60s                    # after that no fault; without it they go on

Chances: request-lost, reply-lost, slow, reset, reply-torn, refused, commit-applied, append-applied, append-timed-out, \
not-leader, coordinator-loading, not-coordinator, no-coordinator, rebalance-in-progress. Strokes: kill-broker, \
isolate-broker, stall-replica, move-leader, move-coordinator, evict. None of them destroys a record that was \
acknowledged.

Each fault is told on standard error as it strikes, and how often each has struck at the end. A chance is told with \
whom it struck and which time it was; `spare NAME of N nth N` takes that one out and leaves all others.";

#[derive(Debug, Args)]
pub(super) struct Broker {
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
    #[arg(long, value_name = "PLAN", help = "What goes wrong: a file with a plan, or seed=N", long_help = FAULTS)]
    faults: Option<String>,
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

impl Broker {
    pub(super) async fn serve(self) -> Result<(), Failure> {
        let mut signals = Signals::new()?;
        let Self { listen, brokers, retain, advertise, create_topics, faults } = self;
        let resolved = tokio::net::lookup_host(&listen).await.map(|mut found| found.next());
        let address = resolved.and_then(|found| found.ok_or_else(|| std::io::ErrorKind::NotFound.into()));
        let address =
            address.map_err(|cause| Failure::Address { listen, cause, example: "127.0.0.1:9092" })?;
        let mut builder = DevCluster::builder()
            .brokers(brokers)
            .listen(address.ip(), address.port())
            .retain(retain.as_u64());
        if let Some(host) = advertise {
            builder = builder.advertise(host);
        }
        if let Some(partitions) = create_topics {
            builder = builder.create_topics(partitions);
        }
        let plan = faults
            .map(|argument| faults::plan(&argument, |brief| sabotage::draw(brief, brokers)))
            .transpose()?;
        if let Some(plan) = &plan {
            builder = builder.faults(plan.clone());
        }
        let cluster = builder.start().await?;
        tell(&cluster).map_err(|cause| Failure::Io { doing: "cannot print the addresses", cause })?;
        signals.first().await;
        if let Some(plan) = &plan {
            faults::tell(plan, &cluster.struck().await);
        }
        cluster.shutdown().await;
        Ok(())
    }
}

/// The line that says that clients may come, and where to.
fn tell(cluster: &DevCluster) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "export KAFKA={}", cluster.bootstrap())?;
    out.flush()
}
