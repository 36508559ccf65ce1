//! The bus: what a service holds to produce events and to have them handled.
//!
//! It is generic over the ports, so that the very same bus runs on real servers and in simulation. Whoever makes one
//! hands in the ports; see the `evenkeel` crate for the real ones.

mod consume;
mod fit;
mod herald;
mod registry;
mod running;
mod setup;
mod topics;
mod turns;

use std::sync::atomic::{self, AtomicU64};
use std::sync::{Arc, OnceLock};

use async_channel::{Receiver, Sender};

pub use self::consume::{GroupSubscription, Subscription};
pub use self::fit::AnswerLimits;
pub use self::herald::MemberFailure;
pub use self::running::{Leftover, Running, StartError};

use self::registry::Registry;
use self::setup::Setup;
use self::turns::Turns;
use super::consume::News;
use super::produce::{Call, ProducerTask};
use crate::error::{ProduceError, RegistrationError};
use crate::machine::Entropy;
use crate::machine::produce::{Produce, ProduceConfig, Produced};
use crate::model::{
    Codec, GroupName, GroupSettings, NewEvent, ProduceSettings, Topic, TopicName, cloudevents,
};
use crate::ports::{Broker, Coordinator, Database, Runtime};

/// Stands where a bus has no database: exactly-once handlers and transactions do not compile on it.
#[derive(Debug, Clone, Copy)]
pub struct NoDatabase;

/// Settings of a bus.
#[derive(Debug, Clone)]
pub struct BusConfig {
    /// The CloudEvents source of what it produces: the service's name.
    pub source: Arc<str>,
    /// How it produces.
    pub produce: ProduceConfig,
    /// What the connections allow, if they limit what groups can be set to.
    pub answers: Option<AnswerLimits>,
}

impl BusConfig {
    /// The defaults, for a service of this name.
    #[must_use]
    pub fn new(source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), produce: ProduceConfig::default(), answers: None }
    }

    /// Produces by these settings, which must be [legal](ProduceSettings::check).
    #[must_use]
    pub fn producing(mut self, settings: &ProduceSettings) -> Self {
        let &ProduceSettings { batch_bytes, delivery_timeout, request_timeout } = settings;
        self.produce = ProduceConfig { batch_bytes, delivery_timeout, request_timeout, ..self.produce };
        self
    }

    /// Refuses to start groups whose settings do not fit these limits.
    #[must_use]
    pub fn answering(mut self, limits: AnswerLimits) -> Self {
        self.answers = Some(limits);
        self
    }
}

/// Told of everything that happens to the members of a bus.
pub type Observer = Arc<dyn Fn(&GroupName, &News) + Send + Sync>;

/// Produces events, and has them handled. Cloning it gives another handle on the same bus.
///
/// The bus flushes what is being produced when its last handle is dropped, or on [`Running::shutdown`].
pub struct Bus<R, K, D = NoDatabase> {
    shared: Arc<Shared<R, K, D>>,
}

impl<R, K, D> Clone for Bus<R, K, D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<R, K, D> {
    runtime: R,
    kafka: Arc<K>,
    database: Arc<D>,
    source: Arc<str>,
    calls: Sender<Call>,
    /// Closed when the producer has finished everything.
    produced: Receiver<()>,
    seed: u64,
    produce_calls: AtomicU64,
    answers: Option<AnswerLimits>,
    registry: Setup<Registry>,
    turns: OnceLock<Turns<R>>,
    observer: Setup<Option<Observer>>,
}

impl<R: Runtime, K, D: Database> Shared<R, K, D> {
    /// The database's connections, for exactly-once handlers to share.
    fn turns(&self) -> Turns<R> {
        self.turns.get_or_init(|| Turns::new(self.runtime.clone(), self.database.capacity())).clone()
    }
}

impl<R: Runtime, K: Broker + Coordinator, D: Send + Sync + 'static> Bus<R, K, D> {
    /// A bus over the given ports. Starts the producer's task.
    #[must_use]
    pub fn new(config: BusConfig, runtime: R, kafka: Arc<K>, database: Arc<D>) -> Self {
        let (calls, incoming) = async_channel::bounded(256);
        let (done, produced) = async_channel::bounded(1);
        let seed = runtime.seed();
        let machine = Produce::new(config.produce, Entropy::new(seed).fork());
        let task =
            ProducerTask { runtime: runtime.clone(), kafka: Arc::clone(&kafka), calls: incoming, done };
        runtime.spawn(task.run(machine));
        let shared = Shared {
            runtime,
            kafka,
            database,
            source: config.source,
            calls,
            produced,
            seed,
            produce_calls: AtomicU64::new(0),
            answers: config.answers,
            registry: Setup::default(),
            turns: OnceLock::new(),
            observer: Setup::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Produces one event or many, of one topic or several, and waits until all in-sync replicas have them.
    ///
    /// Answers where each event stands, in the order of the events. Events of one partition are written in that order.
    ///
    /// # Errors
    /// [`ProduceError`]. If an event cannot be encoded, or names an illegal topic, nothing of the call is produced.
    /// Otherwise the error tells for each event whether it was written, was not, or may have been.
    ///
    /// # Cancellation
    /// Dropping the future does not take the events back: they are produced, and nobody is told.
    pub async fn produce(
        &self,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<Vec<Produced>, ProduceError> {
        let shared = &*self.shared;
        let nth = shared.produce_calls.fetch_add(1, atomic::Ordering::Relaxed);
        let mut entropy = Entropy::new(shared.seed.wrapping_add(nth)).fork();
        let now = shared.runtime.wall_now();
        let mut encoded: Vec<(TopicName, Arc<_>)> = Vec::new();
        for event in events {
            let topic = match encoded.last() {
                Some((topic, _)) if topic.as_str() == event.topic() => topic.clone(),
                Some(_) | None => TopicName::new(event.topic())?,
            };
            encoded.push((topic, Arc::new(cloudevents::encode(event, now, &mut entropy, &shared.source)?)));
        }
        if encoded.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, outcomes) = async_channel::bounded(1);
        shared.calls.send(Call { events: encoded, reply }).await.map_err(|_| ProduceError::Closed)?;
        let outcomes = outcomes.recv().await.map_err(|_| ProduceError::Closed)?;
        if outcomes.iter().all(Result::is_ok) {
            Ok(outcomes.into_iter().flatten().collect())
        } else {
            Err(ProduceError::Failed(outcomes))
        }
    }

    /// Begins the registration of a handler for a topic.
    pub fn consume<T, C: Codec<T>>(&self, topic: Topic<T, C>) -> Subscription<'_, R, K, D, T, C> {
        Subscription::new(self, topic)
    }

    /// Sets how this process's member of a group behaves, for all its handlers, in place of earlier settings.
    ///
    /// # Errors
    /// [`RegistrationError`]: an illegal name, a setting that cannot work, or a bus that has been started.
    pub fn group(&self, group: &str, settings: GroupSettings) -> Result<(), RegistrationError> {
        let group = GroupName::new(group)?;
        if let Err(cause) = settings.check() {
            return Err(RegistrationError::Setting { group, cause });
        }
        self.shared.registry.with(|registry| registry.set(group, settings))
    }

    /// Has `observer` told of assignments, notices and ends, in place of an earlier one. Set it before the bus is
    /// started. It is called on the tasks that do the work, so it must be quick and must not block; if it panics, that
    /// is logged, and the work goes on. What happens is logged through `tracing` as well.
    pub fn observe(&self, observer: impl Fn(&GroupName, &News) + Send + Sync + 'static) {
        self.shared.observer.with(|told| *told = Some(Arc::new(observer)));
    }

    /// Joins the groups of all registered handlers. Ready when each of them has its partitions.
    ///
    /// # Errors
    /// [`StartError`]: the bus was started before, a group has settings and no handlers or settings that do not fit the
    /// connections, a handler's topic does not exist, a member failed for good, or a group's partitions did not come within its rebalance timeout and half
    /// a minute more. What had been started by then is stopped, calls that run are cancelled, and the error comes once
    /// all members have ended, some seconds later at most.
    ///
    /// # Cancellation
    /// Dropping the future stops the members as [`Running::shutdown`] does, without waiting. The bus cannot be started
    /// again.
    pub async fn start(&self) -> Result<Running<R, K, D>, StartError> {
        running::start(self).await
    }
}
