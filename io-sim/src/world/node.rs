//! What runs in a process: a service with the library's own bus, or one that produces.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use evenkeel_core::engine::bus::{Bus, BusConfig};
use evenkeel_core::engine::consume::News;
use evenkeel_core::error::{ProduceError, RegistrationError};
use evenkeel_core::machine::consumer::Notice;
use evenkeel_core::model::{BrokerId, Event, NewEvent, Topic};
use evenkeel_core::ports::Runtime;

use super::database::SimDatabase;
use super::handler::{Item, WithTx, Worker};
use super::kafka::SimKafka;
use super::runtime::SimRuntime;
use super::scenario::{PlannedSend, Scenario, TOPICS};
use crate::checkers::{Breach, Law};
use crate::explore;
use crate::history::{
    End, Fate, Flavour, GroupNo, HandlerFacts, HandlerNo, Happening, Life, Nature, SendNo, Sent, ServiceNo,
};
use crate::oversight::truth;
use crate::seed::Seed;

/// Says that a process has ended by itself.
pub(crate) type Exits = Sender<(Life, End)>;

/// What a process needs to begin.
#[derive(Clone)]
pub(crate) struct Birth {
    pub(crate) runtime: SimRuntime,
    pub(crate) brokers: Arc<[BrokerId]>,
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) seed: Seed,
    pub(crate) stop: Receiver<()>,
    pub(crate) exits: Exits,
}

pub(crate) type SimBus = Bus<SimRuntime, SimKafka, SimDatabase>;

impl Birth {
    fn bus(&self) -> SimBus {
        let kafka = SimKafka::new(self.runtime.clone(), Arc::clone(&self.brokers));
        let database = SimDatabase::new(self.runtime.clone(), self.scenario.connections);
        let mut config = BusConfig::new("world");
        config.produce.delivery_timeout = self.scenario.delivery;
        config.produce.request_timeout = self.scenario.acknowledgement;
        Bus::new(config, self.runtime.clone(), Arc::new(kafka), Arc::new(database))
    }

    /// What runs a handler and tells of it.
    pub(crate) fn worker(&self, number: HandlerNo, handler: &HandlerFacts) -> Worker {
        Worker {
            runtime: self.runtime.clone(),
            handler: number,
            topic: handler.topic,
            handling: self.scenario.handling,
            limit: handler.retry.attempt_limit,
            leak: self.scenario.leak,
            stream: self.seed.stream("handling"),
        }
    }

    /// The event as the library is given it.
    fn new_event(&self, sent: &Sent) -> NewEvent {
        if let Some(custom) = &self.scenario.custom {
            return custom.makers[sent.event.0 as usize]().id(sent.event.0.to_string());
        }
        let topic: Topic<Item> = Topic::new(TOPICS[usize::from(sent.topic.0)]);
        let event = match sent.nature {
            Nature::Undecodable => topic.raw("application/json", "{"),
            Nature::Good | Nature::Poison => {
                let mut draw = self.seed.stream("padding").nth(sent.event.0.into());
                let padding = draw.log_uniform(1, u64::from(self.scenario.padding) + 1) - 1;
                topic.keyless(&Item { event: sent.event.0, padding: "x".repeat(padding as usize) })
            }
        };
        let event = event.id(sent.event.0.to_string());
        match sent.key {
            Some(key) => event.key(key.0),
            None => event,
        }
    }

    async fn exit(&self, end: End) {
        // The world may be over.
        let _ = self.exits.send((self.runtime.life(), end)).await;
    }
}

/// A process of a service: until it is told to stop.
pub(crate) async fn serve(birth: Birth, service: ServiceNo, handlers: Vec<HandlerNo>) {
    let bus = birth.bus();
    match &birth.scenario.custom {
        Some(custom) => explore::register(&birth, &bus, &*custom.registers[usize::from(service.0)]),
        None => {
            for handler in &handlers {
                register(&birth, &bus, *handler).expect("the world's handlers are well formed");
            }
        }
    }
    observe(&birth, &bus, handlers);
    let end = match bus.start().await {
        Ok(running) => {
            birth.runtime.shared().lock().started.insert(birth.runtime.life());
            // The channel closes with the world.
            let _ = birth.stop.recv().await;
            let leftover = running.shutdown().await;
            End::Stopped { clean: leftover.is_clean() }
        }
        Err(_) => End::Stopped { clean: false },
    };
    birth.exit(end).await;
}

/// The handlers of a group that a deploy leaves, in the order in which a service registers them. A user's service always
/// registers all of its own.
pub(crate) fn handlers_of(scenario: &Scenario, group: GroupNo, deployed: u16) -> Vec<HandlerNo> {
    let deployed = if scenario.custom.is_some() { u16::MAX } else { deployed };
    scenario.facts.deployed(group, deployed)
}

fn register(birth: &Birth, bus: &SimBus, number: HandlerNo) -> Result<(), RegistrationError> {
    let facts = Arc::clone(&birth.scenario.facts);
    let handler = facts.handler(number);
    let limit = |most: u32| NonZeroUsize::new(most as usize).unwrap_or(NonZeroUsize::MIN);
    let topic: Topic<Item> = Topic::new(TOPICS[usize::from(handler.topic.0)]);
    let subscription = bus
        .consume(topic)
        .group(&facts.groups[usize::from(handler.group.0)].name)
        .on_failure(handler.on_failure)
        .retry(handler.retry)
        .ordering(handler.ordering)
        .concurrency(limit(handler.concurrency))
        .outstanding(limit(birth.scenario.outstanding.max(handler.batch * handler.concurrency)));
    let worker = birth.worker(number, handler);
    let (name, batch) = (&*handler.name, limit(handler.batch));
    match (handler.flavour, handler.batch > 1) {
        (Flavour::Idempotent, false) => {
            let one = move |event: Event<Item>| {
                let worker = worker.clone();
                async move { worker.handle(event).await }
            };
            subscription.idempotent(name, one)
        }
        (Flavour::Idempotent, true) => {
            let all = move |events: Vec<Event<Item>>| {
                let worker = worker.clone();
                async move { worker.handle_all(events).await }
            };
            subscription.batch(batch).idempotent_batch(name, all)
        }
        (Flavour::ExactlyOnce, false) => subscription.exactly_once(name, WithTx(worker)),
        (Flavour::ExactlyOnce, true) => subscription.batch(batch).exactly_once_batch(name, WithTx(worker)),
    }
}

/// Tells the history what the library says of itself.
fn observe(birth: &Birth, bus: &SimBus, handlers: Vec<HandlerNo>) {
    let runtime = birth.runtime.clone();
    let facts = Arc::clone(&birth.scenario.facts);
    bus.observe(move |_, news| {
        let life = runtime.life();
        let mut state = runtime.shared().lock();
        if !state.lives(life) {
            return;
        }
        match news {
            News::Notice(Notice::Discarded { handler, at, offset, attempts, .. }) => {
                if let Some(place) = truth::place(&facts, at.topic.as_str(), at.partition) {
                    let Some(handler) = truth::handler(&facts, &handlers, handler, place) else { return };
                    let (offset, attempts) = (*offset, *attempts);
                    state.tell(Happening::GivenUp { life, handler, place, offset, attempts });
                }
            }
            News::Notice(Notice::Bug { at, what }) => {
                let story = format!("{life} stopped {at} for a bug that it found in itself: {what}");
                state.break_law(Breach::new(Law::CommitSafety, story));
            }
            _ => {}
        }
    });
}

/// A process that produces what is left of its plan, one call after another.
pub(crate) async fn produce(birth: Birth, producer: usize) {
    let bus = birth.bus();
    let life = birth.runtime.life();
    let shared = birth.runtime.shared().clone();
    loop {
        let place = shared.lock().produced.get(&producer).copied().unwrap_or_default();
        let Some(PlannedSend { at, events }) = birth.scenario.producers[producer].get(place).cloned() else {
            break;
        };
        birth.runtime.sleep_until(at).await;
        let send = {
            let mut state = shared.lock();
            if !state.lives(life) {
                return;
            }
            // From here on the next life goes on behind it, for what becomes of it is unknown if this one ends.
            state.produced.insert(producer, place + 1);
            let send = state.next_send();
            state.sending.insert(send, life);
            state.tell(Happening::SendBegan { send, life, events: Arc::clone(&events) });
            send
        };
        let outcome = bus.produce(events.iter().map(|sent| birth.new_event(sent))).await;
        tell(&birth, send, &events, outcome);
        if !birth.stop.is_empty() {
            break;
        }
    }
    // A process that has nothing more to produce lives on until it is told to stop.
    let _ = birth.stop.recv().await;
    drop(bus);
    birth.runtime.sleep_until(birth.runtime.now() + Duration::from_millis(1)).await;
    birth.exit(End::Stopped { clean: true }).await;
}

fn tell(
    birth: &Birth,
    send: SendNo,
    events: &[Sent],
    outcome: Result<Vec<evenkeel_core::machine::produce::Produced>, ProduceError>,
) {
    let fates = Fate::of_call(&outcome, events.len());
    let mut state = birth.runtime.shared().lock();
    state.sending.remove(&send);
    if state.lives(birth.runtime.life()) {
        state.tell(Happening::SendEnded { send, fates: fates.into() });
    }
}
