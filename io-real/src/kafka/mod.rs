//! Real Kafka, for the core's `Broker` and `Coordinator` ports.
//!
//! Two planes lead to a cluster. Records are produced through rskafka (`produce`), one attempt a call. All the rest
//! goes over connections of our own (`connection`, `cluster`) that speak the protocol through kafka-protocol's
//! messages, because membership, commits and exact fetches need what rskafka does not have. Both do one request when
//! asked and retry nothing; they decide one thing, what may be concluded from a failure
//! ([`PortError`](evenkeel_core::ports::PortError)).
//!
//! ```text
//!  KafkaClient ─┬─ Cluster ── any ──── one connection to whichever broker answers, and answers usefully
//!   (session)   │     └─ Lane data ─── one a broker: offsets, commits, configurations
//!               ├─ Lane fetch ──────── one a broker: long polls            (a session's own)
//!               ├─ Lane membership ─── one a broker: join, sync, heartbeat (a session's own)
//!               └─ Producer ────────── rskafka, one a partition
//! ```

mod address;
mod api;
mod broker;
mod cluster;
mod connection;
mod coordinator;
#[cfg(test)]
mod fake;
mod produce;
mod pump;
mod seat;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evenkeel_core::engine::bus::AnswerLimits;
use tokio::time::Instant;

use self::address::Address;
pub use self::address::AddressError;
use self::cluster::{Cluster, Lane};
use self::produce::Producer;

/// Time limits and sizes of the connections to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For connecting to one address, the greeting included.
    pub connect: Duration,
    /// How long an address may take before the next one is tried beside it, where any broker will do.
    pub stagger: Duration,
    /// For an answer to a request that the broker does not park.
    pub request: Duration,
    /// For an answer to a heartbeat. With the heartbeat interval it must stay below the session timeout, or a lost
    /// heartbeat costs the membership: a bus refuses to start such a group.
    pub heartbeat: Duration,
    /// What a JoinGroup or SyncGroup may take beyond the rebalance timeout.
    pub rebalance_grace: Duration,
    /// The largest answer that is taken. A bus refuses to start a group whose
    /// [`fetch_answer_bytes`](evenkeel_core::model::GroupSettings::fetch_answer_bytes) are more than fifteen sixteenths.
    pub max_frame_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stagger: Duration::from_secs(1),
            request: Duration::from_secs(30),
            heartbeat: Duration::from_secs(5),
            rebalance_grace: Duration::from_secs(5),
            max_frame_bytes: 100 * 1024 * 1024,
        }
    }
}

/// How to reach a cluster.
#[derive(Debug, Clone)]
pub struct Kafka {
    bootstrap: Vec<String>,
    settings: Settings,
}

/// What all connections to a cluster share.
#[derive(Debug, Clone)]
struct Settings {
    client_id: Arc<str>,
    limits: Limits,
}

/// One address that was tried in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    address: String,
    cause: String,
    took: Duration,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (after {:.1?})", self.address, self.cause, self.took)
    }
}

/// Why a cluster could not be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The bootstrap list is empty.
    #[error("no broker address was given; name at least one, such as localhost:9092")]
    NoAddress,
    /// An address of the bootstrap list cannot be dialled.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// None of the addresses led to a broker.
    #[error("no broker answered within {took:.1?}; tried {}", list(.attempts))]
    Unreachable {
        /// The addresses in the order in which they were tried.
        attempts: Vec<Attempt>,
        /// How long it took in all.
        took: Duration,
    },
}

fn list(attempts: &[Attempt]) -> String {
    attempts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Kafka {
    /// A cluster, found through any of the given addresses (`host:port`).
    pub fn new<A: Into<String>>(bootstrap: impl IntoIterator<Item = A>) -> Self {
        Self {
            bootstrap: bootstrap.into_iter().map(Into::into).collect(),
            settings: Settings { client_id: "evenkeel".into(), limits: Limits::default() },
        }
    }

    /// The name under which the brokers' logs and quotas know this client.
    #[must_use]
    pub fn client_id(mut self, client_id: impl AsRef<str>) -> Self {
        self.settings.client_id = client_id.as_ref().into();
        self
    }

    /// Other time limits and sizes than the [default](Limits::default).
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// What groups' settings must fit.
    pub(crate) fn answer_limits(&self) -> AnswerLimits {
        let limits = &self.settings.limits;
        AnswerLimits { bytes: limits.max_frame_bytes, heartbeat: limits.heartbeat }
    }

    /// Tries the addresses, each a little after the one before ([`Limits::stagger`]), until a broker answers.
    ///
    /// # Errors
    /// [`ConnectError`] if an address is malformed, or if none leads to a broker that speaks our protocol versions.
    pub async fn connect(&self) -> Result<KafkaClient, ConnectError> {
        let bootstrap: Vec<_> =
            self.bootstrap.iter().map(|address| Address::parse(address)).collect::<Result<_, _>>()?;
        if bootstrap.is_empty() {
            return Err(ConnectError::NoAddress);
        }
        let settings = Arc::new(self.settings.clone());
        let cluster = Arc::new(Cluster::new(Arc::clone(&settings), bootstrap));
        let begun = Instant::now();
        cluster
            .greet()
            .await
            .map_err(|attempts| ConnectError::Unreachable { attempts, took: begun.elapsed() })?;
        let producer = Arc::new(Producer::new(self.bootstrap.clone(), settings));
        Ok(KafkaClient::with(cluster, producer))
    }
}

/// A connected cluster: the core's `Broker` and `Coordinator`. A clone is the same session.
#[derive(Debug, Clone)]
pub struct KafkaClient {
    cluster: Arc<Cluster>,
    producer: Arc<Producer>,
    session: Arc<Session>,
}

/// Connections that one user parks requests on.
#[derive(Debug, Default)]
struct Session {
    fetch: Lane,
    membership: Lane,
    /// The rebalance timeout of the last join in milliseconds: the sync that follows is parked as long, and its
    /// request does not say so.
    rebalance_millis: AtomicU64,
}

impl Session {
    fn set_rebalance_timeout(&self, timeout: Duration) {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.rebalance_millis.store(millis, Ordering::Relaxed);
    }

    fn rebalance_timeout(&self) -> Duration {
        Duration::from_millis(self.rebalance_millis.load(Ordering::Relaxed))
    }
}

impl KafkaClient {
    fn with(cluster: Arc<Cluster>, producer: Arc<Producer>) -> Self {
        Self { cluster, producer, session: Arc::default() }
    }

    /// The same cluster, with connections of its own for fetches and for membership. A broker answers the requests of
    /// one connection in turn, so each member of a group takes a session: otherwise one's long poll or join would
    /// hold up the other's.
    #[must_use]
    pub fn session(&self) -> Self {
        Self::with(Arc::clone(&self.cluster), Arc::clone(&self.producer))
    }
}
