//! What a world is made of: its cluster, its services with their handlers, and what is produced when.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::machine::backoff::Backoff;
use evenkeel_core::model::{NewEvent, OnFailure, Ordering, RetryPolicy, Time};

use crate::explore::Service;
use crate::faults::Family;
use crate::faults::swarm::Shape;
use crate::history::{
    EventNo, Facts, Flavour, GroupFacts, GroupNo, HandlerFacts, KeyNo, Nature, Sent, ServiceFacts,
    TopicFacts, TopicNo,
};
use crate::seed::{Draw, Seed, Stream};

/// The names of topics: a topic is a constant in the library, and so it is here.
pub const TOPICS: [&str; 3] = ["orders", "refunds", "parcels"];

/// The session timeout that the library joins with.
pub const SESSION: Duration = Duration::from_secs(10);

/// One call of `produce`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedSend {
    /// Not before then, and not before the call before it has ended.
    pub at: Time,
    /// The events.
    pub events: Arc<[Sent]>,
}

/// What differs from cluster to cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterSettings {
    /// How long a new coordinator loads its groups.
    pub coordinator_load: Duration,
    /// How long the first member of a group waits for others.
    pub initial_rebalance_delay: Duration,
    /// How many replicas must be in sync for a batch to be acknowledged.
    pub min_in_sync: u16,
    /// The largest batch that topics take.
    pub max_message_bytes: u32,
}

impl ClusterSettings {
    fn draw(brokers: u16, draw: &mut Draw) -> Self {
        let mut sometimes = |most: u64| if draw.once_in(2) { 0 } else { draw.log_uniform(1, most) };
        let load = Duration::from_millis(sometimes(2_000));
        let delay = Duration::from_millis(sometimes(3_000));
        Self {
            coordinator_load: load,
            initial_rebalance_delay: delay,
            min_in_sync: if draw.once_in(3) { brokers.min(2) } else { 1 },
            max_message_bytes: if draw.once_in(2) { 1_048_588 } else { draw.log_uniform(500, 4_000) as u32 },
        }
    }
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct Scenario {
    /// How many brokers.
    pub brokers: u16,
    /// Topics, groups and handlers. The service of each number runs the handlers of the group of that number.
    pub facts: Arc<Facts>,
    /// How many processes each service has.
    pub instances: Vec<u16>,
    /// How many events of each handler may be outstanding.
    pub outstanding: u32,
    /// What each producing process produces, in order.
    pub producers: Vec<Vec<PlannedSend>>,
    /// How many connections to the database each process has.
    pub connections: u32,
    /// What the cluster is like.
    pub cluster: ClusterSettings,
    /// How many bytes the payload of an event has at most beside its number.
    pub padding: u32,
    /// How long an event may be on its way to the log before its producer gives it up.
    pub delivery: Duration,
    /// How long a broker may wait for its replicas.
    pub acknowledgement: Duration,
    /// How long a handler takes at most, when nothing goes wrong.
    pub handling: Duration,
    /// How long everything may take to come to rest once faults are over.
    pub patience: Duration,
    /// What a call takes on top, for whatever reason outside of the world: a leak of determinism, to prove that leaks
    /// are found.
    pub leak: Option<fn() -> Duration>,
    /// Whose handlers and events these are, if they are not the world's own.
    pub(crate) custom: Option<Arc<Custom>>,
}

/// What a user's service registers its handlers with.
pub(crate) type Register = Arc<dyn Fn(&Service<'_>) + Send + Sync>;

/// A user's services and events.
pub(crate) struct Custom {
    /// What each service registers.
    pub(crate) registers: Vec<Register>,
    /// What makes each event.
    pub(crate) makers: Vec<Box<dyn Fn() -> NewEvent + Send + Sync>>,
    /// The tables that handlers use.
    pub(crate) tables: Vec<Arc<str>>,
}

impl std::fmt::Debug for Custom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Custom").field("tables", &self.tables).finish_non_exhaustive()
    }
}

impl Scenario {
    /// What it offers to faults that go on for so long.
    #[must_use]
    pub fn shape(&self, active: Duration) -> Shape {
        let processes: u16 = self.instances.iter().sum();
        Shape {
            processes: processes + self.producers.len() as u16,
            brokers: self.brokers,
            partitions: self.facts.topics.iter().map(|topic| topic.partitions as u16).sum(),
            groups: self.facts.groups.len() as u16,
            session_timeout: SESSION,
            active,
            families: Family::ALL.to_vec(),
        }
    }

    /// How many events are produced.
    #[must_use]
    pub fn events(&self) -> usize {
        self.producers.iter().flatten().map(|send| send.events.len()).sum()
    }

    /// A user's world: what is not the user's to say is drawn.
    pub(crate) fn of(
        seed: Seed,
        facts: Arc<Facts>,
        instances: Vec<u16>,
        producers: Vec<Vec<PlannedSend>>,
        custom: Custom,
    ) -> Self {
        // A batch that is too large for its topic is the user's own affair.
        let mut drawn = Self::draw(seed, Duration::from_secs(1));
        drawn.cluster.max_message_bytes = 1_048_588;
        // A user's handlers may be patient: a call may take a minute, and a wait half of one.
        let patience = Duration::from_secs(900);
        Self {
            facts,
            instances,
            producers,
            patience,
            outstanding: 30,
            custom: Some(Arc::new(custom)),
            ..drawn
        }
    }

    /// Draws a world: tiny limits make edges daily.
    #[must_use]
    pub fn draw(seed: Seed, active: Duration) -> Self {
        let stream = seed.stream("workload");
        let mut draw = stream.named("size").nth(0);
        let brokers = if draw.once_in(4) { 1 } else { 3 };
        let topics = draw.between(1, 2);
        let topics = (0..topics as usize)
            .map(|nth| TopicFacts { name: TOPICS[nth].into(), partitions: draw.log_uniform(1, 4) as u32 });
        let mut facts = Facts { topics: topics.collect(), ..Facts::default() };
        let mut instances = Vec::new();
        for nth in 0..draw.between(1, 2) {
            let name: Arc<str> = ["billing", "shipping"][nth as usize].into();
            facts.groups.push(GroupFacts {
                name: Arc::clone(&name),
                concurrency: 20,
                session_timeout: SESSION,
            });
            facts.services.push(ServiceFacts { name });
            instances.push(draw.between(1, 3) as u16);
            add_handlers(&mut facts, GroupNo(nth as u16), stream.named("handlers").of(nth));
        }
        facts.services.push(ServiceFacts { name: "shop".into() });
        let events = draw.log_uniform(10, 300) as u32;
        let producers = draw.between(1, 2) as u32;
        let producers = (0..producers).map(|nth| {
            planned(&facts, stream.named("events").of(nth.into()), (nth, producers, events), active)
        });
        Self {
            brokers,
            producers: producers.collect(),
            facts: Arc::new(facts),
            instances,
            outstanding: draw.log_uniform(4, 30) as u32,
            connections: draw.log_uniform(1, 10) as u32,
            cluster: ClusterSettings::draw(brokers, &mut stream.named("cluster").nth(0)),
            padding: if draw.once_in(2) { 0 } else { draw.log_uniform(10, 2_000) as u32 },
            delivery: Duration::from_millis(draw.log_uniform(2_000, 120_000)),
            acknowledgement: Duration::from_millis(draw.log_uniform(1_000, 30_000)),
            handling: Duration::from_millis(draw.log_uniform(1, 200)),
            patience: Duration::from_secs(300),
            leak: None,
            custom: None,
        }
    }
}

fn add_handlers(facts: &mut Facts, group: GroupNo, stream: Stream) {
    for topic in 0..facts.topics.len() as u16 {
        let mut draw = stream.nth(topic.into());
        for nth in 0..draw.between(1, 2) {
            let mut draw = stream.named("each").of(topic.into()).nth(nth);
            facts.handlers.push(handler(group, TopicNo(topic), nth, &mut draw));
        }
    }
}

fn handler(group: GroupNo, topic: TopicNo, nth: u64, draw: &mut Draw) -> HandlerFacts {
    let on_failure = *draw.pick(&[OnFailure::Block, OnFailure::Discard]);
    let backoff = Backoff {
        first: Duration::from_millis(draw.log_uniform(50, 1_000)),
        longest: Duration::from_secs(draw.log_uniform(1, 10)),
        jitter_percent: 5,
    };
    let limited = on_failure == OnFailure::Discard;
    let retry = RetryPolicy {
        backoff,
        attempt_limit: Duration::from_secs(draw.log_uniform(1, 10)),
        total: limited.then(|| Duration::from_secs(draw.log_uniform(2, 60))),
        max_attempts: limited.then(|| draw.between(1, 6)).and_then(|most| NonZeroU32::new(most as u32)),
    };
    let batch = if draw.once_in(3) { draw.between(2, 8) as u32 } else { 1 };
    HandlerFacts {
        name: ["charge", "mail"][nth as usize].into(),
        group,
        topic,
        flavour: *draw.pick(&[Flavour::Idempotent, Flavour::ExactlyOnce]),
        ordering: *draw.pick(&[Ordering::Key, Ordering::Key, Ordering::Partition, Ordering::Unordered]),
        concurrency: draw.log_uniform(1, 8) as u32,
        batch,
        retry,
        on_failure,
    }
}

/// What a producer sends: keys of its own, some hot, some events poisoned or not decodable.
fn planned(
    facts: &Facts,
    stream: Stream,
    (producer, producers, events): (u32, u32, u32),
    active: Duration,
) -> Vec<PlannedSend> {
    let mut style = stream.named("style").nth(0);
    let keys = style.log_uniform(1, 50);
    let keyless = style.below(30);
    let bad = if style.once_in(2) { 0 } else { style.between(1, 3) };
    let mut numbers = std::collections::BTreeMap::new();
    let mut sends: Vec<PlannedSend> = Vec::new();
    let mut bad_left = 4;
    let mut made = producer;
    let mut nth = 0;
    while made < events {
        let mut draw = stream.nth(nth);
        nth += 1;
        let mut batch = Vec::new();
        for _ in 0..draw.log_uniform(1, 8) {
            if made >= events {
                break;
            }
            let topic = TopicNo(draw.below(facts.topics.len() as u64) as u16);
            let key = (draw.below(100) >= keyless).then(|| {
                let hot = draw.once_in(2);
                let key = if hot { draw.below(keys.min(2)) } else { draw.below(keys) };
                KeyNo(key as u32 * producers + producer)
            });
            let n: &mut u32 = numbers.entry((topic, key)).or_default();
            let is_bad = bad_left > 0 && draw.below(100) < bad;
            let nature = if is_bad {
                bad_left -= 1;
                *draw.pick(&[Nature::Poison, Nature::Undecodable])
            } else {
                Nature::Good
            };
            batch.push(Sent { event: EventNo(made), topic, key, n: *n, nature });
            *n += 1;
            made += producers;
        }
        let at = Time::from_millis(draw.below(active.as_millis() as u64));
        sends.push(PlannedSend { at, events: batch.into() });
    }
    // In order of their times, so that a seed's events are spread over its faults; numbers follow the order of sending.
    let mut times: Vec<_> = sends.iter().map(|send| send.at).collect();
    times.sort_unstable();
    for (send, at) in sends.iter_mut().zip(times) {
        send.at = at;
    }
    sends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_numbered_once_and_in_order_of_their_keys() {
        for seed in 0..200 {
            let scenario = Scenario::draw(Seed(seed), Duration::from_secs(30));
            let mut seen = std::collections::BTreeSet::new();
            let mut numbers = std::collections::BTreeMap::new();
            for send in scenario.producers.iter().flatten() {
                for sent in send.events.iter() {
                    assert!(seen.insert(sent.event), "{} is there twice", sent.event);
                    if sent.key.is_some() {
                        let next: &mut u32 = numbers.entry((sent.topic, sent.key)).or_default();
                        assert_eq!(sent.n, *next);
                        *next += 1;
                    }
                }
            }
            assert_eq!(seen.len(), scenario.events());
            assert!(scenario.producers.iter().all(|sends| sends.is_sorted_by_key(|send| send.at)));
        }
    }
}
