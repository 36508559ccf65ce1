//! A cluster in this process, served over TCP: for tests, for demos, as a broker for development.
//!
//! One task owns the machine, so nothing is locked. Each broker has a listener of its own, each connection a
//! task. A connection has one request in work at a time, as with Kafka: answers come in the order of
//! the requests, and a parked one holds those behind it.
//!
//! In a process that does nothing else a current-thread runtime serves best: what goes from connection to machine and
//! back then wakes no other thread.

mod connection;
mod listener;
mod owner;
pub mod sabotage;
mod site;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use evenkeel_core::model::{BrokerId, WallTime};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, ClusterConfig, Input};
use crate::message::{BrokerAddress, Refusal, Text};
use owner::Owner;
use sabotage::{BrokerPlan, Sabotage};
use site::{Place, Site, bind};

/// Why a cluster does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be listened at.
    #[error("cannot listen at {address}: {cause}; choose another port, or 0 for any that is free")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
    /// There are not so many ports.
    #[error(
        "{brokers} brokers do not find room from port {first} on, the last one is 65535; choose a lower port, or 0 for \
         any that are free"
    )]
    Ports {
        /// The first broker's.
        first: u16,
        /// How many brokers.
        brokers: u16,
    },
    /// A topic default is not legal.
    #[error("the defaults for topics are not legal: {}", .0.message.as_deref().unwrap_or_default())]
    Defaults(Refusal),
    /// There is no such broker, or the cluster has been shut down.
    #[error("broker {0} cannot be started: the cluster has none with that number, or has been shut down")]
    Unknown(BrokerId),
}

/// How a [`DevCluster`] is set up.
#[derive(Debug, Clone)]
pub struct DevClusterBuilder {
    brokers: u16,
    host: IpAddr,
    port: u16,
    advertised: Option<Text>,
    seed: Option<u64>,
    faults: Option<BrokerPlan>,
    config: ClusterConfig,
}

impl DevClusterBuilder {
    /// How many brokers. One.
    #[must_use]
    pub const fn brokers(mut self, count: u16) -> Self {
        self.brokers = count;
        self
    }

    /// Where to listen: the first broker at `port`, the next at the ports that follow. Port 0, the default, lets the
    /// system choose for each.
    #[must_use]
    pub const fn listen(mut self, host: IpAddr, port: u16) -> Self {
        self.host = host;
        self.port = port;
        self
    }

    /// The host that clients are told to connect to, if it is not the one that is listened at.
    #[must_use]
    pub fn advertise(mut self, host: impl Into<Text>) -> Self {
        self.advertised = Some(host.into());
        self
    }

    /// How many bytes all records may take in memory together; when more come, the oldest go. No limit.
    #[must_use]
    pub const fn retain(mut self, bytes: u64) -> Self {
        self.config.retained_bytes = Some(bytes);
        self
    }

    /// Creates a topic when a client asks for it that is not there, with so many partitions, as Kafka does unless told
    /// otherwise. Here it is told that there is none.
    #[must_use]
    pub const fn create_topics(mut self, partitions: i32) -> Self {
        self.config.auto_create_topics = true;
        self.config.default_partitions = partitions;
        self
    }

    /// Makes ids repeatable.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// What goes wrong, and when, counted from the [start](Self::start). Nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use evenkeel_cluster::DevCluster;
    ///
    /// let plan = "
    ///     seed 7
    ///     chance commit-applied 5%
    ///     chance reply-torn 0.5%
    ///     at 2s kill-broker 1 down 1.5s
    ///     quiet at 30s";
    /// let kafka = DevCluster::builder().brokers(3).faults(plan.parse()?).start().await?;
    /// // Clients of it are in for something. In the end:
    /// for (fault, times) in kafka.struck().await {
    ///     println!("{fault}: {times}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn faults(mut self, plan: BrokerPlan) -> Self {
        self.faults = Some(plan);
        self
    }

    /// Everything else, [`retain`](Self::retain)'s bound and [`create_topics`](Self::create_topics) included; its brokers and its start time are set by
    /// [`start`](Self::start).
    #[must_use]
    pub fn config(mut self, config: ClusterConfig) -> Self {
        self.config = config;
        self
    }

    /// Starts the cluster within the tokio runtime that this is called in. It takes connections when this returns.
    ///
    /// # Errors
    /// [`StartError`] if a port is taken or a default is not legal.
    pub async fn start(self) -> Result<DevCluster, StartError> {
        let mut listeners = Vec::new();
        let mut places = BTreeMap::new();
        if self.port.checked_add(self.brokers.saturating_sub(1)).is_none() {
            return Err(StartError::Ports { first: self.port, brokers: self.brokers });
        }
        for nth in 0..self.brokers {
            let port = if self.port == 0 { 0 } else { self.port.saturating_add(nth) };
            let wanted = SocketAddr::new(self.host, port);
            let listener = bind(wanted).await?;
            let address =
                listener.local_addr().map_err(|cause| StartError::Listen { address: wanted, cause })?;
            let broker = BrokerId(i32::from(nth) + 1);
            let host = self.advertised.clone().unwrap_or_else(|| advertised(self.host));
            let advertised = BrokerAddress { broker, host, port: address.port() };
            places.insert(broker, Place { address, advertised });
            listeners.push((broker, listener));
        }
        let config = ClusterConfig {
            brokers: places.values().map(|place| place.advertised.clone()).collect(),
            started: wall_now(),
            ..self.config
        };
        let seed = self.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        let owner = Owner::start(Cluster::new(config, seed).map_err(StartError::Defaults)?, wall_now);
        let site = Arc::new(Mutex::new(Site::new(owner.clone(), places.clone())));
        let mut tasks = JoinSet::new();
        let sabotage = self.faults.map(|plan| Sabotage::start(plan, Arc::clone(&site), &mut tasks));
        site.lock().await.open(listeners, sabotage.clone());
        Ok(DevCluster { owner, places, site, sabotage, tasks })
    }
}

/// A cluster in this process. It ends when this is dropped.
///
/// Any Kafka client can use it, at [`bootstrap`](Self::bootstrap). What happens to real clusters is done to it by hand:
/// [`kill`](Self::kill) and [`start`](Self::start) for brokers, [`tell`](Self::tell) for the rest. All have happened when
/// they return.
///
/// ```
/// use evenkeel_cluster::{BrokerId, DevCluster, Input, PartitionId};
/// # use rskafka::client::partition::{Compression, OffsetAt, UnknownTopicHandling::Retry};
/// # use rskafka::{client::ClientBuilder, record::Record};
/// # fn record() -> Record {
/// #     let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
/// #     let timestamp = rskafka::chrono::DateTime::UNIX_EPOCH + since;
/// #     Record { key: None, value: Some(b"hello".to_vec()), headers: Default::default(), timestamp }
/// # }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut kafka = DevCluster::builder().brokers(3).start().await?;
///
/// // Here with the client rskafka.
/// let brokers = kafka.bootstrap().split(',').map(str::to_owned).collect();
/// let client = ClientBuilder::new(brokers).build().await?;
/// client.controller_client()?.create_topic("orders", 1, 3, 5_000).await?;
/// let orders = client.partition_client("orders", 0, Retry).await?;
/// orders.produce(vec![record()], Compression::NoCompression).await?;
///
/// // Another broker leads; then it dies and a third one does.
/// let (topic, partition) = ("orders".into(), PartitionId(0));
/// kafka.tell(Input::MoveLeader { topic, partition, to: BrokerId(2) }).await;
/// orders.produce(vec![record()], Compression::NoCompression).await?;
/// kafka.kill(BrokerId(2)).await;
/// orders.produce(vec![record()], Compression::NoCompression).await?;
///
/// assert_eq!(orders.get_offset(OffsetAt::Latest).await?, 3);
/// # kafka.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DevCluster {
    owner: Owner,
    places: BTreeMap<BrokerId, Place>,
    site: Arc<Mutex<Site>>,
    sabotage: Option<Sabotage>,
    /// What strikes by plan. It ends when this is dropped, and with it the last hold on the site.
    tasks: JoinSet<()>,
}

impl DevCluster {
    /// One broker at a free port of the loopback interface, unless told otherwise.
    #[must_use]
    pub fn builder() -> DevClusterBuilder {
        DevClusterBuilder {
            brokers: 1,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            advertised: None,
            seed: None,
            faults: None,
            config: ClusterConfig::default(),
        }
    }

    /// Where each broker listens, dead ones included.
    pub fn addresses(&self) -> impl Iterator<Item = (BrokerId, SocketAddr)> + '_ {
        self.places.iter().map(|(broker, place)| (*broker, place.address))
    }

    /// What a client takes as bootstrap servers: where each broker is advertised, with commas between them.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let address = |place: &Place| match &place.advertised {
            BrokerAddress { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            BrokerAddress { host, port, .. } => format!("{host}:{port}"),
        };
        self.places.values().map(address).collect::<Vec<_>>().join(",")
    }

    /// Kills a broker: its connections break, its partitions and groups move. Its logs stay. Without effect if it is
    /// dead.
    pub async fn kill(&mut self, broker: BrokerId) {
        self.site.lock().await.kill(broker).await;
    }

    /// Starts a broker that was killed, at the same address. Without effect if it lives.
    ///
    /// # Errors
    /// [`StartError`] if there is no such broker, or it cannot listen. Its port was kept meanwhile.
    pub async fn start(&mut self, broker: BrokerId) -> Result<(), StartError> {
        self.site.lock().await.start(broker).await
    }

    /// Lets something happen to the cluster: a leader or a coordinator moves, a follower stalls. To kill and start brokers
    /// use [`kill`](Self::kill) and [`start`](Self::start), which see to their connections, too.
    pub async fn tell(&self, input: Input) {
        self.owner.tell(input).await;
    }

    /// What all logs weigh, replicas counted each.
    pub async fn retained_bytes(&self) -> u64 {
        self.owner.retained_bytes().await
    }

    /// How often each fault of the plan has struck, by its name. Nothing without a [plan](DevClusterBuilder::faults).
    pub async fn struck(&self) -> BTreeMap<&'static str, u64> {
        match &self.sabotage {
            Some(sabotage) => sabotage.struck().await.iter().collect(),
            None => BTreeMap::new(),
        }
    }

    /// Ends the cluster, and returns when nothing of it is left.
    pub async fn shutdown(mut self) {
        // Before the brokers, or it might start one again.
        self.tasks.shutdown().await;
        self.site.lock().await.close().await;
    }
}

/// The host that clients of this machine reach a listener at.
fn advertised(host: IpAddr) -> Text {
    if host.is_unspecified() { "localhost".into() } else { host.to_string().into() }
}

#[allow(clippy::disallowed_methods, reason = "the one place that tells the machine what time it is")]
fn wall_now() -> WallTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    WallTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
