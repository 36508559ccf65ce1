//! A service as it registers its handlers: once to learn what there will be, and then in each process.

use std::cell::RefCell;
use std::num::NonZeroUsize;

use evenkeel_core::model::{
    BatchHandler, BatchTxHandler, Codec, Handler, OnFailure, Ordering, RetryPolicy, Topic, TxHandler,
};

use crate::history::{Facts, Flavour, GroupFacts, GroupNo, HandlerFacts, TopicFacts, TopicNo};
use crate::seed::Seed;
use crate::world::handler::{Recorded, Worker};
use crate::world::node::{Birth, SimBus};
use crate::world::scenario::SESSION;
use crate::world::{SimDatabase, SimTx};

/// How many calls a group runs at once, unless told otherwise; and how many batches of a handler.
const CALLS: u32 = 20;
const BATCHES: u32 = 3;
/// The most events of a batch unless told otherwise.
const BATCH: u32 = 30;

/// What a process registers its handlers with: spelt as the library's own bus.
pub struct Service<'a>(Mode<'a>);

enum Mode<'a> {
    /// Learns what there will be.
    Survey(&'a RefCell<(&'a mut Facts, Seed)>),
    /// Registers it.
    Live { birth: &'a Birth, bus: &'a SimBus },
}

impl std::fmt::Debug for Service<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Mode::Survey(_) => "Service(survey)",
            Mode::Live { .. } => "Service(live)",
        })
    }
}

/// Learns what a service registers.
pub(super) fn survey(facts: &mut Facts, seed: Seed, register: &dyn Fn(&Service<'_>)) {
    let facts = RefCell::new((facts, seed));
    register(&Service(Mode::Survey(&facts)));
}

/// Registers a service's handlers with its bus.
pub(crate) fn register(birth: &Birth, bus: &SimBus, register: &(dyn Fn(&Service<'_>) + Send + Sync)) {
    register(&Service(Mode::Live { birth, bus }));
}

/// The number of a topic; a new one has as many partitions as the seed says.
pub(super) fn topic_number(facts: &mut Facts, seed: Seed, name: &str) -> TopicNo {
    let nth = facts.topics.iter().position(|topic| *topic.name == *name).unwrap_or_else(|| {
        let mut draw = seed.stream("partitions").named(name).nth(0);
        facts.topics.push(TopicFacts { name: name.into(), partitions: draw.log_uniform(1, 4) as u32 });
        facts.topics.len() - 1
    });
    TopicNo(nth as u16)
}

impl<'a> Service<'a> {
    /// Begins the registration of a handler for a topic.
    pub fn consume<T, C: Codec<T>>(&self, topic: Topic<T, C>) -> Subscription<'_, 'a, T, C> {
        let settings = Settings {
            on_failure: OnFailure::Block,
            retry: None,
            ordering: Ordering::default(),
            concurrency: None,
            batch: None,
        };
        Subscription { service: self, topic, group: String::new(), settings }
    }
}

/// How a handler is to be called. Ends with the handler itself.
#[derive(Debug)]
#[must_use = "registers nothing until a handler is named"]
pub struct Subscription<'s, 'a, T, C> {
    service: &'s Service<'a>,
    topic: Topic<T, C>,
    group: String,
    settings: Settings,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    on_failure: OnFailure,
    retry: Option<RetryPolicy>,
    ordering: Ordering,
    concurrency: Option<NonZeroUsize>,
    batch: Option<NonZeroUsize>,
}

impl<T: Send + 'static, C: Codec<T>> Subscription<'_, '_, T, C> {
    /// The consumer group.
    pub fn group(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self
    }

    /// What becomes of an event whose retries are used up.
    pub const fn on_failure(mut self, policy: OnFailure) -> Self {
        self.settings.on_failure = policy;
        self
    }

    /// How the handler is retried.
    pub const fn retry(mut self, retry: RetryPolicy) -> Self {
        self.settings.retry = Some(retry);
        self
    }

    /// Which events must not overtake each other.
    pub const fn ordering(mut self, ordering: Ordering) -> Self {
        self.settings.ordering = ordering;
        self
    }

    /// How many calls of this handler may run at once in a process.
    pub const fn concurrency(mut self, calls: NonZeroUsize) -> Self {
        self.settings.concurrency = Some(calls);
        self
    }

    /// The most events of one batch.
    pub const fn batch(mut self, events: NonZeroUsize) -> Self {
        self.settings.batch = Some(events);
        self
    }

    /// Has events handled at least once.
    pub fn idempotent(self, name: &str, handler: impl Handler<T>) {
        self.registered(name, Flavour::Idempotent, false, |subscription, worker| {
            subscription.idempotent(name, Recorded::one(worker, handler))
        });
    }

    /// Has batches of events handled at least once.
    pub fn idempotent_batch(self, name: &str, handler: impl BatchHandler<T>) {
        self.registered(name, Flavour::Idempotent, true, |subscription, worker| {
            subscription.idempotent_batch(name, Recorded::one(worker, handler))
        });
    }

    /// Has events handled exactly once.
    pub fn exactly_once<H>(self, name: &str, handler: H)
    where
        H: for<'t> TxHandler<'t, SimTx, T>,
    {
        self.registered(name, Flavour::ExactlyOnce, false, |subscription, worker| {
            subscription.exactly_once(name, Recorded::one(worker, handler))
        });
    }

    /// Has batches of events handled exactly once.
    pub fn exactly_once_batch<H>(self, name: &str, handler: H)
    where
        H: for<'t> BatchTxHandler<'t, SimTx, T>,
    {
        self.registered(name, Flavour::ExactlyOnce, true, |subscription, worker| {
            subscription.exactly_once_batch(name, Recorded::one(worker, handler))
        });
    }

    fn registered(
        self,
        name: &str,
        flavour: Flavour,
        batches: bool,
        register: impl FnOnce(
            RealSubscription<'_, T, C>,
            Worker,
        ) -> Result<(), evenkeel_core::error::RegistrationError>,
    ) {
        let Self { service, topic, group, settings } = self;
        let topic_name = topic.name().expect("a topic of a test has a legal name");
        match &service.0 {
            Mode::Survey(facts) => {
                let (facts, seed) = &mut *facts.borrow_mut();
                let topic = topic_number(facts, *seed, topic_name.as_str());
                let handler = settings.facts(name, group_number(facts, &group), topic, flavour, batches);
                facts.handlers.push(handler);
            }
            Mode::Live { birth, bus } => {
                let facts = &birth.scenario.facts;
                let found = facts.numbered_handlers().find(|(_, handler)| {
                    *handler.name == *name
                        && *facts.groups[usize::from(handler.group.0)].name == *group
                        && *facts.topics[usize::from(handler.topic.0)].name == *topic_name.as_str()
                });
                let (number, handler) = found.expect("a service registers the same handlers each time");
                let subscription = bus.consume(topic).group(&group);
                let subscription = settings.applied(subscription);
                register(subscription, birth.worker(number, handler)).expect("the handler can be registered");
            }
        }
    }
}

type RealSubscription<'b, T, C> = evenkeel_core::engine::bus::GroupSubscription<
    'b,
    crate::world::runtime::SimRuntime,
    crate::world::kafka::SimKafka,
    SimDatabase,
    T,
    C,
>;

impl Settings {
    fn facts(
        self,
        name: &str,
        group: GroupNo,
        topic: TopicNo,
        flavour: Flavour,
        batches: bool,
    ) -> HandlerFacts {
        let number = |set: Option<NonZeroUsize>, or: u32| set.map_or(or, |set| set.get() as u32);
        HandlerFacts {
            name: name.into(),
            group,
            topic,
            flavour,
            ordering: self.ordering,
            concurrency: number(self.concurrency, if batches { BATCHES } else { CALLS }),
            batch: if batches { number(self.batch, BATCH) } else { 1 },
            retry: self.retry.unwrap_or_else(|| self.on_failure.default_retries()),
            on_failure: self.on_failure,
        }
    }

    fn applied<T: Send + 'static, C: Codec<T>>(
        self,
        subscription: RealSubscription<'_, T, C>,
    ) -> RealSubscription<'_, T, C> {
        let mut subscription = subscription.on_failure(self.on_failure).ordering(self.ordering);
        if let Some(retry) = self.retry {
            subscription = subscription.retry(retry);
        }
        if let Some(calls) = self.concurrency {
            subscription = subscription.concurrency(calls);
        }
        if let Some(events) = self.batch {
            subscription = subscription.batch(events);
        }
        subscription
    }
}

fn group_number(facts: &mut Facts, name: &str) -> GroupNo {
    let nth = facts.groups.iter().position(|group| *group.name == *name).unwrap_or_else(|| {
        facts.groups.push(GroupFacts { name: name.into(), concurrency: CALLS, session_timeout: SESSION });
        facts.groups.len() - 1
    });
    GroupNo(nth as u16)
}
