//! Opening a bus on real servers.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel_core::engine::bus::{self, BusConfig, NoDatabase};
use evenkeel_core::error::{NameError, SettingError};
use evenkeel_core::model::{ProduceSettings, TopicName};
use evenkeel_core::ports::{Broker, Database, DatabaseError, NewTopic, PortError};

use crate::kafka::{ConnectError, Kafka, KafkaClient};
use crate::runtime::TokioRuntime;

/// How long the creation of a topic may take.
const CREATION: Duration = Duration::from_secs(30);

/// Produces events and has them handled, on Kafka and, if it has one, on a SQL database. A clone is another handle on
/// the same bus.
///
/// What it can do is on [`evenkeel_core::engine::bus::Bus`], to which it dereferences.
pub struct Bus<D = NoDatabase>(bus::Bus<TokioRuntime, KafkaClient, D>, KafkaClient);

impl<D> Clone for Bus<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1.clone())
    }
}

impl<D> Deref for Bus<D> {
    type Target = bus::Bus<TokioRuntime, KafkaClient, D>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Bus {
    /// Begins a bus for the service of this name, which becomes the source of its events.
    pub fn builder(source: impl Into<Arc<str>>) -> BusBuilder {
        BusBuilder {
            source: source.into(),
            produce: ProduceSettings::default(),
            kafka: Kafka::new(["localhost:9092"]),
            database: NoDatabase,
        }
    }
}

impl<D: Send + Sync + 'static> Bus<D> {
    /// Creates a topic if it does not exist. An existing one is left as it is. The topic is the constant that events
    /// are made with, or its name.
    ///
    /// `configs` go by Kafka's names. The defaults are 3 replicas where there are as many brokers, one fewer of them in
    /// sync to acknowledge, and the broker's time as the records' timestamp.
    ///
    /// ```no_run
    /// # async fn example(bus: evenkeel::Bus) -> Result<(), evenkeel::TopicError> {
    /// const COUNTS: evenkeel::Topic<u64> = evenkeel::Topic::new("shop.counts");
    ///
    /// bus.ensure_topic(COUNTS, 8, [("retention.ms", "86400000")]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TopicError`] if the name is illegal or the cluster refuses.
    pub async fn ensure_topic(
        &self,
        topic: impl TryInto<TopicName, Error = NameError>,
        partitions: u32,
        configs: impl IntoIterator<Item = (&str, &str)>,
    ) -> Result<(), TopicError> {
        let topic: TopicName = topic.try_into()?;
        let refused = |cause| TopicError::Refused { topic: topic.clone(), cause };
        let brokers = self.1.metadata(&[]).await.map_err(refused)?.brokers.len();
        let replicas = u16::try_from(brokers.clamp(1, 3)).unwrap_or(1);
        let mut all = BTreeMap::from([
            ("min.insync.replicas".to_owned(), (replicas - 1).max(1).to_string()),
            ("message.timestamp.type".to_owned(), "LogAppendTime".to_owned()),
        ]);
        all.extend(configs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())));
        let new =
            NewTopic { topic: topic.clone(), partitions, replication_factor: Some(replicas), configs: all };
        let outcomes = self.1.create_topics(vec![new], CREATION).await.map_err(refused)?;
        match outcomes.into_iter().next() {
            Some((_, Ok(()) | Err(evenkeel_core::error::ErrorCode::TopicAlreadyExists))) | None => Ok(()),
            Some((_, Err(code))) => Err(refused(PortError::Refused(code))),
        }
    }
}

/// A topic that could not be created.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TopicError {
    /// The name is illegal.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The cluster refused, or did not answer.
    #[error("topic {topic:?} could not be created: {cause}")]
    Refused {
        /// The topic.
        topic: TopicName,
        /// Why.
        cause: PortError,
    },
}

/// Why a bus could not be opened. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting cannot work. Nothing was tried.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// No broker could be reached.
    #[error(transparent)]
    Kafka(#[from] ConnectError),
    /// The database's tables could not be brought up to date.
    #[error("the tables of the bus could not be prepared, given up after {took:.1?}: {cause}")]
    Database {
        /// What stood in the way, and at which database.
        cause: DatabaseError,
        /// How long it took in all.
        took: Duration,
    },
}

/// In a [`BusBuilder`]: the bus gets this database.
#[derive(Debug, Clone)]
pub struct WithDatabase<D>(D);

/// Says what a bus runs on.
#[derive(Debug, Clone)]
#[must_use = "opens nothing until `open` is called"]
pub struct BusBuilder<D = NoDatabase> {
    source: Arc<str>,
    produce: ProduceSettings,
    kafka: Kafka,
    database: D,
}

impl<D> BusBuilder<D> {
    /// The Kafka cluster. Default: `localhost:9092`, without encryption.
    pub fn kafka(mut self, kafka: Kafka) -> Self {
        self.kafka = kafka;
        self
    }

    /// How events are produced.
    pub fn producing(mut self, settings: ProduceSettings) -> Self {
        self.produce = settings;
        self
    }

    /// The service's own database: with it, handlers can be [exactly once](bus::GroupSubscription::exactly_once).
    pub fn database<E: Database>(self, database: E) -> BusBuilder<WithDatabase<E>> {
        let Self { source, produce, kafka, database: _ } = self;
        BusBuilder { source, produce, kafka, database: WithDatabase(database) }
    }

    fn config(&self) -> Result<BusConfig, SettingError> {
        self.produce.check()?;
        let config = BusConfig::new(Arc::clone(&self.source)).producing(&self.produce);
        Ok(config.answering(self.kafka.answer_limits()))
    }
}

impl BusBuilder<NoDatabase> {
    /// Connects to the cluster.
    ///
    /// # Errors
    /// [`OpenError`]. That of the cluster names every address that was tried and what came of it.
    pub async fn open(self) -> Result<Bus, OpenError> {
        let config = self.config()?;
        let client = self.kafka.connect().await?;
        let kafka = Arc::new(client.clone());
        Ok(Bus(bus::Bus::new(config, TokioRuntime::current(), kafka, Arc::new(NoDatabase)), client))
    }
}

impl<D: Database> BusBuilder<WithDatabase<D>> {
    /// Connects to the cluster and brings the library's tables up to date.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(self) -> Result<Bus<D>, OpenError> {
        let config = self.config()?;
        let client = self.kafka.connect().await?;
        let WithDatabase(database) = self.database;
        let begun = Instant::now();
        let failed = |cause| OpenError::Database { cause, took: begun.elapsed() };
        database.migrate().await.map_err(failed)?;
        let kafka = Arc::new(client.clone());
        Ok(Bus(bus::Bus::new(config, TokioRuntime::current(), kafka, Arc::new(database)), client))
    }
}
