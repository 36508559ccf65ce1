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
    addresses: BTreeMap<BrokerId, Address>,
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

    /// Asks any broker.
    pub(super) async fn ask_any<C: Call>(
        &self,
        limit: Duration,
        build: impl FnOnce(i16) -> C,
    ) -> Result<(C::Answer, Arc<str>), PortError> {
        let connection = self.any.connection(self.connect_any()).await?;
        Ok((connection.call(limit, build).await?, connection.server()))
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
        self.directory()
            .controller
            .ok_or_else(|| PortError::Unreachable { server, cause: "it knows of no controller".into() })
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

    /// Tries all known addresses, one after another.
    async fn connect_known(&self) -> Result<Connection, Vec<Attempt>> {
        let mut addresses = self.bootstrap.clone();
        for known in self.directory().addresses.values() {
            if !addresses.contains(known) {
                addresses.push(known.clone());
            }
        }
        let mut attempts = Vec::with_capacity(addresses.len());
        for address in addresses {
            match self.dial(&address).await {
                Ok(connection) => return Ok(connection),
                Err(attempt) => attempts.push(attempt),
            }
        }
        Err(attempts)
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
                self.metadata(no_topics()).await?;
                self.address(broker).ok_or_else(|| PortError::Unreachable {
                    server: format!("broker {broker}").into(),
                    cause: "the cluster's metadata does not name it".into(),
                })?
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

    fn address(&self, broker: BrokerId) -> Option<Address> {
        self.directory().addresses.get(&broker).cloned()
    }

    fn learn(&self, answer: &MetadataResponse) {
        let mut directory = self.directory();
        for broker in &answer.brokers {
            if let Some(address) = Address::advertised(&broker.host, broker.port) {
                directory.addresses.insert(BrokerId(broker.node_id.0), address);
            }
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
