//! Registering handlers, one line each.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::Bus;
use super::turns::InTurn;
use crate::engine::invoke::{Desk, ExactlyOnce, ExactlyOnceBatch, Idempotent, IdempotentBatch, Invoke};
use crate::error::RegistrationError;
use crate::machine::consumer::HandlerConfig;
use crate::model::{
    BatchHandler, BatchTxHandler, Codec, GroupName, Handler, OnFailure, Ordering, RetryPolicy, Route, Topic,
    TxHandler,
};
use crate::ports::{Broker, Coordinator, Database, Runtime};

/// The most events of a batch unless told otherwise.
const BATCH: NonZeroUsize = NonZeroUsize::new(30).expect("thirty is not zero");
/// How many batches of a handler run at once unless told otherwise.
const BATCHES_AT_ONCE: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

/// A topic that handlers are being registered for. Name the group next.
#[must_use = "registers nothing until a handler is named"]
pub struct Subscription<'b, R, K, D, T, C> {
    bus: &'b Bus<R, K, D>,
    topic: Topic<T, C>,
}

impl<'b, R, K, D, T, C> Subscription<'b, R, K, D, T, C> {
    pub(super) fn new(bus: &'b Bus<R, K, D>, topic: Topic<T, C>) -> Self {
        Self { bus, topic }
    }

    /// The consumer group whose members share the topic's partitions. Do not share one between services.
    pub fn group(self, group: &'b str) -> GroupSubscription<'b, R, K, D, T, C> {
        GroupSubscription {
            bus: self.bus,
            topic: self.topic,
            group,
            on_failure: OnFailure::Block,
            retry: None,
            ordering: Ordering::default(),
            concurrency: None,
            outstanding: None,
            batch: None,
        }
    }
}

/// How a handler is to be called. Ends with the handler itself: [`idempotent`](Self::idempotent),
/// [`exactly_once`](Self::exactly_once), or their batch forms.
#[must_use = "registers nothing until a handler is named"]
pub struct GroupSubscription<'b, R, K, D, T, C> {
    bus: &'b Bus<R, K, D>,
    topic: Topic<T, C>,
    group: &'b str,
    on_failure: OnFailure,
    retry: Option<RetryPolicy>,
    ordering: Ordering,
    concurrency: Option<NonZeroUsize>,
    outstanding: Option<NonZeroUsize>,
    batch: Option<NonZeroUsize>,
}

impl<R, K, D, T, C> GroupSubscription<'_, R, K, D, T, C>
where
    R: Runtime,
    K: Broker + Coordinator,
    D: Send + Sync + 'static,
    T: Send + 'static,
    C: Codec<T>,
{
    /// What becomes of an event whose retries are used up. Default: [`OnFailure::Block`], which never gives one up.
    pub fn on_failure(mut self, policy: OnFailure) -> Self {
        self.on_failure = policy;
        self
    }

    /// How the handler is retried. Default: [`OnFailure::default_retries`].
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Which events must not overtake each other. Default: those of one key ([`Ordering::Key`]).
    pub fn ordering(mut self, ordering: Ordering) -> Self {
        self.ordering = ordering;
        self
    }

    /// How many calls of this handler may run at once in this process. Default: as many as the group allows (20); for
    /// batches 3. All exactly-once handlers of a bus together never run more than the database has connections: a call
    /// waits for its turn, which is not held against it.
    pub fn concurrency(mut self, calls: NonZeroUsize) -> Self {
        self.concurrency = Some(calls);
        self
    }

    /// How many events of this handler may be running or waiting for another attempt at once. Default: 30, and never
    /// fewer than its running calls need.
    pub fn outstanding(mut self, events: NonZeroUsize) -> Self {
        self.outstanding = Some(events);
        self
    }

    /// The most events of one batch. Default: 30. A handler of single events that is given one is refused.
    pub fn batch(mut self, events: NonZeroUsize) -> Self {
        self.batch = Some(events);
        self
    }

    /// Has events handled at least once: the handler may see an event again after a crash or a lost partition.
    ///
    /// # Errors
    /// [`RegistrationError`]: an illegal name, a name that is taken, a bus that has been started, or a
    /// [`batch`](Self::batch) for a handler of single events.
    pub fn idempotent(self, name: &str, handler: impl Handler<T>) -> Result<(), RegistrationError> {
        self.register(name, None, |desk, _| Arc::new(Idempotent(Arc::new((desk, handler)))))
    }

    /// Like [`idempotent`](Self::idempotent), for a handler that takes batches. A batch of more than one event forms
    /// only from what is waiting.
    ///
    /// # Errors
    /// As for [`idempotent`](Self::idempotent).
    pub fn idempotent_batch(
        self,
        name: &str,
        handler: impl BatchHandler<T>,
    ) -> Result<(), RegistrationError> {
        let batch = self.batch.unwrap_or(BATCH);
        self.register(name, Some(batch), |desk, _| Arc::new(IdempotentBatch(Arc::new((desk, handler)))))
    }

    /// Has events handled exactly once: the handler gets an open transaction, which also records the event. Either
    /// all of it commits, or none.
    ///
    /// # Errors
    /// As for [`idempotent`](Self::idempotent).
    pub fn exactly_once<H>(self, name: &str, handler: H) -> Result<(), RegistrationError>
    where
        D: Database,
        H: for<'t> TxHandler<'t, D::Tx, T>,
    {
        let turns = self.bus.shared.turns();
        self.bounded_by_connections().register(name, None, |desk, database| {
            Arc::new(InTurn { turns, work: ExactlyOnce { database, inner: Arc::new((desk, handler)) } })
        })
    }

    /// Like [`exactly_once`](Self::exactly_once), for a handler that takes batches: one transaction a batch.
    ///
    /// # Errors
    /// As for [`idempotent`](Self::idempotent).
    pub fn exactly_once_batch<H>(self, name: &str, handler: H) -> Result<(), RegistrationError>
    where
        D: Database,
        H: for<'t> BatchTxHandler<'t, D::Tx, T>,
    {
        let mut this = self;
        this.concurrency.get_or_insert(BATCHES_AT_ONCE);
        let (turns, batch) = (this.bus.shared.turns(), this.batch.unwrap_or(BATCH));
        this.bounded_by_connections().register(name, Some(batch), |desk, database| {
            Arc::new(InTurn { turns, work: ExactlyOnceBatch { database, inner: Arc::new((desk, handler)) } })
        })
    }

    /// No handler alone runs more calls than there are connections: those would only wait, in places of its group.
    fn bounded_by_connections(mut self) -> Self
    where
        D: Database,
    {
        let capacity = usize::try_from(self.bus.shared.database.capacity()).unwrap_or(usize::MAX);
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        self.concurrency = Some(self.concurrency.unwrap_or(NonZeroUsize::MAX).min(capacity));
        self
    }

    fn register(
        self,
        name: &str,
        batch: Option<NonZeroUsize>,
        erase: impl FnOnce(Desk<R, T, C>, Arc<D>) -> Arc<dyn Invoke>,
    ) -> Result<(), RegistrationError> {
        let shared = &*self.bus.shared;
        let group = GroupName::new(self.group)?;
        let topic = self.topic.name()?;
        let name: Arc<str> = name.into();
        if name.is_empty() {
            return Err(RegistrationError::Unnamed { group, topic });
        }
        if batch.is_none() && self.batch.is_some() {
            return Err(RegistrationError::NoBatches { group, topic, handler: name });
        }
        let retry = self.retry.unwrap_or_else(|| self.on_failure.default_retries());
        let route = Arc::new(Route {
            topic: topic.clone(),
            base_topic: topic.clone(),
            group: group.clone(),
            handler: Arc::clone(&name),
        });
        let desk =
            Desk { runtime: shared.runtime.clone(), topic: self.topic, route, limit: retry.attempt_limit };
        let invoker = erase(desk, Arc::clone(&shared.database));
        let configure = |place| {
            let mut config = HandlerConfig::new(name, place, self.on_failure);
            config.retry = retry;
            config.ordering = self.ordering;
            config.batch = batch.unwrap_or(NonZeroUsize::MIN);
            if let Some(calls) = self.concurrency.or(batch.map(|_| BATCHES_AT_ONCE)) {
                config.concurrency = calls;
            }
            let least = config.batch.saturating_mul(config.concurrency.min(BATCHES_AT_ONCE));
            config.outstanding = self.outstanding.unwrap_or(config.outstanding.max(least));
            config
        };
        shared.registry.with(|registry| registry.add(group, topic, configure, invoker))
    }
}
