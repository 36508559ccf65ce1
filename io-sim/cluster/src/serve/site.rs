//! Where the brokers are: their addresses, and the listeners of those that live.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use evenkeel_core::model::BrokerId;
use tokio::net::TcpListener;

use super::StartError;
use super::listener::{Kept, Listening};
use super::owner::Owner;
use super::sabotage::Sabotage;
use crate::cluster::Input;
use crate::message::BrokerAddress;

/// Where one broker is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// What clients are told.
    pub(super) advertised: BrokerAddress,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Site {
    owner: Owner,
    places: BTreeMap<BrokerId, Place>,
    listening: BTreeMap<BrokerId, Listening>,
    /// The ports of those that are dead.
    kept: BTreeMap<BrokerId, Kept>,
    sabotage: Option<Sabotage>,
}

impl Site {
    /// Nobody listens yet.
    pub(super) const fn new(owner: Owner, places: BTreeMap<BrokerId, Place>) -> Self {
        Self { owner, places, listening: BTreeMap::new(), kept: BTreeMap::new(), sabotage: None }
    }

    /// Lets brokers take connections, and mistreat them if something is given that says how.
    pub(super) fn open(&mut self, listeners: Vec<(BrokerId, TcpListener)>, sabotage: Option<Sabotage>) {
        self.sabotage = sabotage;
        for (broker, listener) in listeners {
            self.listen(broker, listener);
        }
    }

    fn listen(&mut self, broker: BrokerId, listener: TcpListener) {
        let listening = Listening::start(broker, listener, self.owner.clone(), self.sabotage.clone());
        self.listening.insert(broker, listening);
    }

    pub(super) fn owner(&self) -> Owner {
        self.owner.clone()
    }

    pub(super) fn brokers(&self) -> Vec<BrokerId> {
        self.places.keys().copied().collect()
    }

    pub(super) fn alive(&self) -> Vec<BrokerId> {
        self.listening.keys().copied().collect()
    }

    pub(super) async fn kill(&mut self, broker: BrokerId) {
        if let Some(listening) = self.listening.remove(&broker) {
            self.kept.extend(listening.stop().await.map(|kept| (broker, kept)));
            self.owner.tell(Input::BrokerDied { broker }).await;
        }
    }

    pub(super) async fn start(&mut self, broker: BrokerId) -> Result<(), StartError> {
        if self.listening.contains_key(&broker) {
            return Ok(());
        }
        let Place { address, advertised } =
            self.places.get(&broker).cloned().ok_or(StartError::Unknown(broker))?;
        let listener = match self.kept.remove(&broker).map(Kept::listen) {
            Some(Ok(listener)) => listener,
            Some(Err(_)) | None => bind(address).await?,
        };
        self.owner.tell(Input::BrokerStarted { address: advertised }).await;
        self.listen(broker, listener);
        Ok(())
    }

    /// Nobody listens any more.
    pub(super) async fn close(&mut self) {
        for (_, listening) in std::mem::take(&mut self.listening) {
            listening.stop().await;
        }
    }
}

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|cause| StartError::Listen { address, cause })
}
