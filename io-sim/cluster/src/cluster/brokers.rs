//! The brokers: where they are and whether they live.

use std::collections::BTreeMap;

use evenkeel_core::model::BrokerId;

use crate::message::{BrokerAddress, Text};

/// All brokers that ever were, in order of their numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Brokers(BTreeMap<BrokerId, Broker>);

#[derive(Debug, Clone)]
struct Broker {
    host: Text,
    port: u16,
    is_alive: bool,
}

impl Brokers {
    pub(super) fn new(addresses: &[BrokerAddress]) -> Self {
        let mut brokers = Self::default();
        for address in addresses {
            brokers.start(address.clone());
        }
        brokers
    }

    pub(super) fn start(&mut self, address: BrokerAddress) {
        let BrokerAddress { broker, host, port } = address;
        self.0.insert(broker, Broker { host, port, is_alive: true });
    }

    /// Whether it was alive.
    pub(super) fn kill(&mut self, broker: BrokerId) -> bool {
        self.0.get_mut(&broker).is_some_and(|broker| std::mem::replace(&mut broker.is_alive, false))
    }

    pub(super) fn is_alive(&self, broker: BrokerId) -> bool {
        self.0.get(&broker).is_some_and(|broker| broker.is_alive)
    }

    pub(super) fn is_known(&self, broker: BrokerId) -> bool {
        self.0.contains_key(&broker)
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = BrokerId> + Clone {
        self.0.iter().filter(|(_, broker)| broker.is_alive).map(|(id, _)| *id)
    }

    pub(super) fn address(&self, broker: BrokerId) -> Option<BrokerAddress> {
        let Broker { host, port, is_alive } = self.0.get(&broker)?;
        is_alive.then(|| BrokerAddress { broker, host: host.clone(), port: *port })
    }

    pub(super) fn addresses(&self) -> Vec<BrokerAddress> {
        self.alive().filter_map(|broker| self.address(broker)).collect()
    }

    /// The broker that does the cluster's own business: the first that lives.
    pub(super) fn controller(&self) -> Option<BrokerId> {
        self.alive().next()
    }
}
