//! The brokers of a cluster: where they are, and the connections to them.
//!
//! Addresses come from the bootstrap list first and from every metadata answer afterwards. Connections are kept in
//! lanes. A broker serves one request per connection at a time, so requests that the broker parks (long polls, joins)
//! have lanes of their own, and each [`KafkaClient`](super::KafkaClient) session has its own of those.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_core::model::BrokerId;
use evenkeel_core::ports::PortError;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use tokio::time::Instant;

use super::address::Address;
use super::api::Call;
use super::connection::{ConnectFault, Connection};
use super::seat::Seat;
use super::{Attempt, Settings};

/// Connections for one purpose, at most one to each broker.
#[derive(Debug, Default)]
pub(super) struct Lane {
    seats: Mutex<BTreeMap<BrokerId, Arc<Seat>>>,
}

impl Lane {
    fn seat(&self, broker: BrokerId) -> Arc<Seat> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(seats.entry(broker).or_default())
    }
}

/// What is known of the cluster.
#[derive(Debug, Default)]
struct Directory {
    /// Which cluster this is, as the first answer told.
    cluster: Option<Arc<str>>,
    addresses: BTreeMap<BrokerId, Address>,
    /// Where a broker is that was last found to be of no use for what any broker answers: the others come first.
    useless: Option<Arc<str>>,
    controller: Option<BrokerId>,
}

#[derive(Debug)]
pub(super) struct Cluster {
    settings: Arc<Settings>,
    bootstrap: Vec<Address>,
    directory: Mutex<Directory>,
    /// For requests that any broker answers.
    any: Seat,
    /// For requests that a certain broker answers at once.
    data: Lane,
}

impl Cluster {
    pub(super) fn new(settings: Arc<Settings>, bootstrap: Vec<Address>) -> Self {
        Self { settings, bootstrap, directory: Mutex::default(), any: Seat::default(), data: Lane::default() }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks any broker. One that does not answer is not asked again before the others.
    pub(super) async fn ask_any<C: Call>(
        &self,
        limit: Duration,
        build: impl FnOnce(i16) -> C,
    ) -> Result<(C::Answer, Arc<str>), PortError> {
        let connection = self.any.connection(self.connect_any()).await?;
        let server = connection.server();
        match connection.call(limit, build).await {
            Ok(answer) => Ok((answer, server)),
            Err(error) => {
                self.turn_away(&server).await;
                Err(error)
            }
        }
    }

    /// What the broker behind the connection to any broker said is of no use, though another one may know better: it
    /// may be cut off from the rest. The next question goes to the others first.
    pub(super) async fn turn_away(&self, server: &Arc<str>) {
        if self.addresses().len() > 1 {
            self.directory().useless = Some(Arc::clone(server));
            self.any.leave(server).await;
        }
    }

    /// Asks one broker for something that it answers at once.
    pub(super) async fn ask<C: Call>(
        &self,
        broker: BrokerId,
        limit: Duration,
        build: impl FnOnce(i16) -> C,
    ) -> Result<(C::Answer, Arc<str>), PortError> {
        self.ask_in(&self.data, broker, limit, build).await
    }

    /// Asks one broker over the connection of a given lane.
    pub(super) async fn ask_in<C: Call>(
        &self,
        lane: &Lane,
        broker: BrokerId,
        limit: Duration,
        build: impl FnOnce(i16) -> C,
    ) -> Result<(C::Answer, Arc<str>), PortError> {
        let connection = lane.seat(broker).connection(self.connect(broker)).await?;
        Ok((connection.call(limit, build).await?, connection.server()))
    }

    /// Asks any broker for metadata and remembers the addresses it tells. Topics are never created by asking.
    pub(super) async fn metadata(
        &self,
        request: MetadataRequest,
    ) -> Result<(MetadataResponse, Arc<str>), PortError> {
        let limit = self.settings.limits.request;
        let (answer, server) = self.ask_any(limit, |_| request).await?;
        self.learn(&answer);
        Ok((answer, server))
    }

    /// The broker that creates topics.
    pub(super) async fn controller(&self) -> Result<BrokerId, PortError> {
        let known = self.directory().controller;
        if let Some(controller) = known {
            return Ok(controller);
        }
        let (_, server) = self.metadata(no_topics()).await?;
        let told = self.directory().controller;
        match told {
            Some(controller) => Ok(controller),
            None => {
                self.turn_away(&server).await;
                Err(PortError::Unreachable { server, cause: "it knows of no controller".into() })
            }
        }
    }

    /// Remembers where a broker is.
    pub(super) fn learn_address(&self, broker: BrokerId, host: &str, port: i32) {
        if let Some(address) = Address::advertised(host, port) {
            self.directory().addresses.insert(broker, address);
        }
    }

    /// Makes the first connection, so that a cluster that cannot be reached is told at once.
    pub(super) async fn greet(&self) -> Result<(), Vec<Attempt>> {
        let connection = self.connect_known().await?;
        // The seat is empty still, so it takes what it is given.
        let _ = self.any.connection(std::future::ready(Ok(connection))).await;
        Ok(())
    }

    /// Tries all known addresses, each as soon as the one before has failed or takes long. The first broker that
    /// answers is kept.
    async fn connect_known(&self) -> Result<Connection, Vec<Attempt>> {
        let mut waiting = self.addresses().into_iter().enumerate();
        let mut dials = FuturesUnordered::new();
        let mut attempts = Vec::new();
        loop {
            let begun = waiting.next();
            let more = begun.is_some();
            dials.extend(begun.map(|(nth, address)| async move { (nth, self.dial_member(&address).await) }));
            let ended = if more {
                tokio::time::timeout(self.settings.limits.stagger, dials.next()).await
            } else {
                Ok(dials.next().await)
            };
            match ended {
                Ok(Some((_, Ok(connection)))) => return Ok(connection),
                Ok(Some((nth, Err(attempt)))) => attempts.push((nth, attempt)),
                Ok(None) => break,
                Err(_takes_long) => {}
            }
        }
        attempts.sort_by_key(|(nth, _)| *nth);
        Err(attempts.into_iter().map(|(_, attempt)| attempt).collect())
    }

    /// All known addresses, in the order in which they are to be tried.
    fn addresses(&self) -> Vec<Address> {
        let mut addresses = self.bootstrap.clone();
        let directory = self.directory();
        for known in directory.addresses.values() {
            if !addresses.contains(known) {
                addresses.push(known.clone());
            }
        }
        let useless = directory.useless.as_deref();
        if let Some(last) = addresses.iter().position(|address| Some(&*address.to_string()) == useless) {
            addresses.rotate_left(last + 1);
        }
        addresses
    }

    async fn connect_any(&self) -> Result<Connection, PortError> {
        self.connect_known().await.map_err(|attempts| {
            let names: Vec<_> = attempts.iter().map(|attempt| attempt.address.as_str()).collect();
            let causes: Vec<_> = attempts.iter().map(ToString::to_string).collect();
            PortError::Unreachable { server: names.join(", ").into(), cause: causes.join("; ").into() }
        })
    }

    async fn connect(&self, broker: BrokerId) -> Result<Connection, PortError> {
        let address = match self.address(broker) {
            Some(address) => address,
            None => {
                let (_, server) = self.metadata(no_topics()).await?;
                let Some(address) = self.address(broker) else {
                    self.turn_away(&server).await;
                    return Err(PortError::Unreachable {
                        server: format!("broker {broker}").into(),
                        cause: "the cluster's metadata does not name it".into(),
                    });
                };
                address
            }
        };
        self.dial(&address).await.map_err(|attempt| PortError::Unreachable {
            server: format!("broker {broker} at {address}").into(),
            cause: attempt.to_string().into(),
        })
    }

    async fn dial(&self, address: &Address) -> Result<Connection, Attempt> {
        let begun = Instant::now();
        Connection::open(address, &self.settings).await.map_err(|fault: ConnectFault| {
            let attempt =
                Attempt { address: address.to_string(), cause: fault.to_string(), took: begun.elapsed() };
            tracing::debug!(%attempt, "could not connect");
            attempt
        })
    }

    /// Dials an address that need not belong to the cluster any more: of another cluster no offset would be ours.
    async fn dial_member(&self, address: &Address) -> Result<Connection, Attempt> {
        let begun = Instant::now();
        let connection = self.dial(address).await?;
        let Some(ours) = self.directory().cluster.clone() else { return Ok(connection) };
        let told = connection.call(self.settings.limits.connect, |_| no_topics()).await;
        let cause = match told {
            Ok(MetadataResponse { cluster_id: Some(theirs), .. }) if *theirs != *ours => {
                let cause = format!(
                    "it belongs to cluster {:?} and not to {ours:?}; take it out of the list of brokers",
                    &*theirs
                );
                tracing::warn!(%address, %cause, "an address is not used");
                cause
            }
            Ok(_) => return Ok(connection),
            Err(error) => error.to_string(),
        };
        Err(Attempt { address: address.to_string(), cause, took: begun.elapsed() })
    }

    fn address(&self, broker: BrokerId) -> Option<Address> {
        self.directory().addresses.get(&broker).cloned()
    }

    fn learn(&self, answer: &MetadataResponse) {
        let mut directory = self.directory();
        if directory.cluster.is_none() {
            directory.cluster = answer.cluster_id.as_deref().map(Arc::from);
        }
        let told = answer.brokers.iter().filter_map(|broker| {
            Some((BrokerId(broker.node_id.0), Address::advertised(&broker.host, broker.port)?))
        });
        let told: BTreeMap<_, _> = told.collect();
        // What is not named has left, and others may get its address. A broker that has just started may name none.
        if !told.is_empty() {
            directory.addresses = told;
        }
        directory.controller = (answer.controller_id.0 >= 0).then_some(BrokerId(answer.controller_id.0));
    }

    fn directory(&self) -> std::sync::MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A metadata request for the brokers alone.
fn no_topics() -> MetadataRequest {
    MetadataRequest::default().with_topics(Some(Vec::new())).with_allow_auto_topic_creation(false)
}
