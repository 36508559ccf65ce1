//! Directs a world: starts its processes, lets the plan's faults strike and heal, and sees to it that all comes to rest.

mod strike;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use evenkeel_cluster::Input;
use evenkeel_cluster::message::BrokerAddress;
use evenkeel_core::model::{BrokerId, Time};
use futures_util::{FutureExt, select_biased};
use madsim::runtime::{Handle, NodeHandle};

use super::node::{self, Birth, Exits};
use super::runtime::{SimRuntime, sleep_until};
use super::scenario::Scenario;
use super::state::Shared;
use crate::checkers::{Breach, Law};
use crate::database;
use crate::faults::Stroke;
use crate::faults::plan::FaultPlan;
use crate::history::{End, GroupNo, Happening, Life, Place, ServiceNo, TopicNo};
use crate::oversight::rest::{self, Asking};
use crate::oversight::rollouts::Rollouts;
use crate::oversight::{Oversight, logs, stale};
use crate::seed::Seed;
use crate::trace::Kind;

const STROKE: Kind = Kind::new("FAULT");
/// When a topic that could not be made is tried again.
const CREATE_AGAIN: Duration = Duration::from_millis(500);

/// How long a process that ended by itself stays down.
const RESTART: Duration = Duration::from_secs(1);
/// How long a stop may take beyond the library's own limit.
const STOP: Duration = Duration::from_secs(40);

/// What is to be done at a time.
#[derive(Debug, Clone)]
enum Todo {
    Strike(Stroke),
    Start(u16),
    Resume(Life),
    StartBroker(BrokerId),
    Unstall(BrokerId, Place),
    ElectUnclean(BrokerId, Place),
    /// A topic that was deleted is made anew.
    CreateTopic(TopicNo),
    /// A process's turn in a deploy.
    Deploy(u16),
    StartDatabase,
}

/// A process of the world.
struct Process {
    role: Role,
    lives: u16,
    present: Option<Present>,
    /// After how long it starts again once it has stopped.
    down: Duration,
    /// Which of its group's handlers its next life runs.
    deployed: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Service(ServiceNo),
    Producer(usize),
}

/// A life that goes on.
struct Present {
    life: Life,
    node: NodeHandle,
    stop: Sender<()>,
    paused: bool,
    /// As which deploy it was started.
    deployed: u16,
}

impl Present {
    fn ask_to_stop(&self, shared: &Shared) {
        shared.lock().tell(Happening::StopAsked { life: self.life });
        // A process that has just ended by itself needs no word.
        let _ = self.stop.try_send(());
    }
}

/// See the [module](self).
pub(crate) struct Director {
    shared: Shared,
    scenario: Arc<Scenario>,
    plan: Arc<FaultPlan>,
    seed: Seed,
    brokers: Arc<[BrokerId]>,
    processes: Vec<Process>,
    rollouts: Rollouts,
    todo: BTreeMap<(Time, u64), Todo>,
    sequence: u64,
    exits: (Exits, Receiver<(Life, End)>),
    /// Ended processes start again.
    restarts: bool,
}

impl Director {
    pub(crate) fn new(
        shared: Shared,
        scenario: Arc<Scenario>,
        plan: Arc<FaultPlan>,
        seed: Seed,
        brokers: Arc<[BrokerId]>,
    ) -> Self {
        let services = (0..).map(ServiceNo).zip(&scenario.instances);
        let services = services.flat_map(|(service, count)| (0..*count).map(move |_| Role::Service(service)));
        let producers = (0..scenario.producers.len()).map(Role::Producer);
        let process =
            |role| Process { role, lives: 0, present: None, down: RESTART, deployed: Rollouts::ALL };
        let processes = services.chain(producers).map(process).collect();
        let rollouts = Rollouts::of(scenario.facts.groups.len());
        let mut director = Self {
            shared,
            scenario,
            plan: Arc::clone(&plan),
            seed,
            brokers,
            processes,
            rollouts,
            todo: BTreeMap::new(),
            sequence: 0,
            exits: async_channel::unbounded(),
            restarts: true,
        };
        for (at, stroke) in &plan.strokes {
            director.plan_at(*at, Todo::Strike(*stroke));
        }
        director
    }

    fn plan_at(&mut self, at: Time, todo: Todo) {
        self.sequence += 1;
        self.todo.insert((at, self.sequence), todo);
    }

    /// Runs the world until it has come to rest, or a law is broken.
    pub(crate) async fn direct(&mut self) {
        for nth in 0..self.processes.len() {
            self.start(nth as u16);
        }
        self.until(self.plan.quiet_at).await;
        self.calm();
        let patience = self.shared.now() + self.scenario.patience;
        while !self.is_over() {
            let pending = self.pending();
            if pending.is_empty() {
                break;
            }
            if self.shared.now() >= patience {
                let story = format!(
                    "not at rest {:?} after the last fault: {}",
                    self.scenario.patience,
                    pending.join("; ")
                );
                self.shared.lock().break_law(Breach::new(Law::Liveness, story));
                break;
            }
            self.until(self.shared.now() + Duration::from_secs(1)).await;
        }
        if !self.is_over() {
            self.stop_all().await;
        }
        self.shared.lock().rest();
        self.bury_all().await;
    }

    fn is_over(&self) -> bool {
        self.shared.lock().is_over()
    }

    /// Does what is to be done until then.
    async fn until(&mut self, end: Time) {
        while !self.is_over() {
            let now = self.shared.now();
            if let Some(entry) = self.todo.first_entry().filter(|entry| entry.key().0 <= now) {
                let todo = entry.remove();
                self.perform(todo);
                continue;
            }
            if now >= end {
                return;
            }
            let next = self.todo.first_key_value().map_or(end, |((at, _), _)| end.min(*at));
            // A law that was broken is noticed soon.
            let next = next.min(now + Duration::from_secs(1));
            let exits = self.exits.1.clone();
            let exited = select_biased! {
                exited = exits.recv().fuse() => exited.ok(),
                () = sleep_until(&self.shared, next).fuse() => None,
            };
            if let Some((life, end)) = exited {
                self.exited(life, end);
            }
        }
    }

    fn perform(&mut self, todo: Todo) {
        match todo {
            Todo::Strike(stroke) => self.strike(stroke),
            Todo::Start(process) => self.start(process),
            Todo::Resume(life) => self.resume(life),
            Todo::StartBroker(broker) => self.start_broker(broker),
            Todo::Deploy(process) => self.deploy(process),
            Todo::StartDatabase => {
                let recovery = Duration::from_millis(500);
                self.shared.lock().strike_database(database::Input::Start { recovery });
            }
            Todo::Unstall(broker, place) => logs::replicate(&mut *self.shared.lock(), broker, place, true),
            Todo::ElectUnclean(broker, place) => logs::elect_unclean(&mut *self.shared.lock(), broker, place),
            Todo::CreateTopic(topic) => {
                if !logs::create_topics(&mut *self.shared.lock(), |wanted| wanted == topic) {
                    self.plan_at(self.shared.now() + CREATE_AGAIN, Todo::CreateTopic(topic));
                }
            }
        }
    }

    fn start(&mut self, number: u16) {
        let process = &mut self.processes[usize::from(number)];
        if process.present.is_some() {
            return;
        }
        let life = Life { process: number, nth: process.lives };
        process.lives += 1;
        process.down = RESTART;
        let (role, deployed) = (process.role, process.deployed);
        let node = Handle::current().create_node().name(life.to_string()).build();
        let (stop, stopped) = async_channel::unbounded();
        let (service, handlers) = match role {
            Role::Service(service) => {
                (service, node::handlers_of(&self.scenario, GroupNo(service.0), deployed))
            }
            Role::Producer(_) => (ServiceNo(self.scenario.facts.services.len() as u16 - 1), Vec::new()),
        };
        {
            let mut state = self.shared.lock();
            state.living.insert(number, life);
            state.tell(Happening::LifeBegan { life, service, handlers: handlers.clone().into() });
        }
        let entropy = self.seed.stream("entropy").of(number.into()).of(life.nth.into());
        let runtime = SimRuntime::new(self.shared.clone(), node.clone(), life, entropy);
        let birth = Birth {
            runtime: runtime.clone(),
            brokers: Arc::clone(&self.brokers),
            scenario: Arc::clone(&self.scenario),
            seed: self.seed,
            stop: stopped,
            exits: self.exits.0.clone(),
        };
        use evenkeel_core::ports::Runtime;
        match role {
            Role::Service(service) => runtime.spawn(node::serve(birth, service, handlers)),
            Role::Producer(nth) => runtime.spawn(node::produce(birth, nth)),
        }
        self.processes[usize::from(number)].present =
            Some(Present { life, node, stop, paused: false, deployed });
    }

    /// A life ends: its node goes, and so do its connections.
    fn end(&mut self, number: u16, end: End) {
        let Some(present) = self.processes[usize::from(number)].present.take() else { return };
        {
            let mut state = self.shared.lock();
            let now = state.now();
            state.tell(Happening::LifeEnded { life: present.life, end });
            state.living.remove(&number);
            state.sending.retain(|_, life| *life != present.life);
            for connection in state.network.held_by(present.life) {
                state.network.give_up(now, connection);
            }
            state.seats.retain(|(life, ..), _| *life != present.life);
            for session in state.sessions.of(present.life) {
                state.sessions.gone(now, session);
            }
            state.wake_pump();
        }
        let handle = Handle::current();
        // A node that stands still must go on before it can be killed: destructors run.
        handle.resume(present.node.id());
        handle.kill(present.node.id());
    }

    fn exited(&mut self, life: Life, end: End) {
        let process = &self.processes[usize::from(life.process)];
        if process.present.as_ref().is_some_and(|present| present.life == life) {
            let down = process.down;
            self.end(life.process, end);
            if self.restarts {
                self.plan_at(self.shared.now() + down, Todo::Start(life.process));
            }
        }
    }

    fn resume(&mut self, life: Life) {
        if let Some(present) = &mut self.processes[usize::from(life.process)].present
            && present.life == life
            && present.paused
        {
            present.paused = false;
            self.shared.lock().tell(Happening::Resumed { life });
            Handle::current().resume(present.node.id());
        }
    }

    fn start_broker(&mut self, broker: BrokerId) {
        let mut state = self.shared.lock();
        if !state.alive.contains(&broker) {
            state.strike_cluster(Input::BrokerStarted { address: address(broker) });
        }
    }

    /// All faults are over and healed.
    fn calm(&mut self) {
        {
            let mut state = self.shared.lock();
            state.network.links.heal();
            stale::end_all(&mut *state);
            state.sessions.empty_until = Time::ZERO;
        }
        for todo in std::mem::take(&mut self.todo).into_values() {
            match todo {
                Todo::Strike(_) => {}
                Todo::ElectUnclean(broker, place) => self.perform(Todo::Unstall(broker, place)),
                Todo::StartDatabase
                | Todo::Start(_)
                | Todo::Resume(_)
                | Todo::StartBroker(_)
                | Todo::CreateTopic(_)
                | Todo::Deploy(_)
                | Todo::Unstall(..) => self.perform(todo),
            }
        }
        let mut state = self.shared.lock();
        state.tell(Happening::Quiet);
        state.wake_pump();
    }

    /// What is not at rest.
    fn pending(&self) -> Vec<String> {
        let mut pending = Vec::new();
        for process in self.processes.iter().filter(|process| process.present.is_none()) {
            pending.push(format!("a process of {:?} is down", process.role));
        }
        for process in &self.processes {
            if process.present.as_ref().is_some_and(|present| present.deployed != process.deployed) {
                pending.push(format!(
                    "a process of {:?} has yet to come again with other handlers",
                    process.role
                ));
            }
        }
        let members: Vec<usize> = (0..self.scenario.facts.groups.len())
            .map(|group| {
                let is_member = |process: &&Process| {
                    process.role == Role::Service(ServiceNo(group as u16)) && process.present.is_some()
                };
                self.processes.iter().filter(is_member).count()
            })
            .collect();
        let mut state = self.shared.lock();
        for (nth, sends) in self.scenario.producers.iter().enumerate() {
            let done = state.produced.get(&nth).copied().unwrap_or_default();
            if done < sends.len() {
                pending.push(format!("producer {nth} is at {done} of {}", sends.len()));
            }
        }
        // A start waits a minute for partitions, and then the process is started again.
        let present = self.processes.iter().filter(|process| matches!(process.role, Role::Service(_)));
        for present in present.filter_map(|process| process.present.as_ref()) {
            if !state.started.contains(&present.life) {
                pending.push(format!("{} has not started yet", present.life));
            }
            if !state.truth.was_well_since(present.life, self.plan.quiet_at) {
                pending.push(format!("{} has not heard from its coordinator since the quiet", present.life));
            }
        }
        let quiet_at = self.plan.quiet_at;
        let old = state.waiting.values().filter(|waiting| waiting.since < quiet_at).count();
        if old > 0 {
            pending.push(format!("{old} requests of before the quiet are not answered"));
        }
        let batches = state.network.batches_on_the_way();
        if batches > 0 {
            pending.push(format!("{batches} batches are on their way"));
        }
        for (send, life) in &state.sending {
            pending.push(format!("{life} waits for {send}"));
        }
        rest::pending(&mut *state, &members, None, Asking::What, &mut pending);
        pending
    }

    /// Everybody is asked to stop, and has to, cleanly.
    async fn stop_all(&mut self) {
        self.restarts = false;
        let deadline = self.shared.now() + STOP;
        // What a process without partitions left undone was lost before.
        let mut outside = BTreeSet::new();
        for present in self.processes.iter().filter_map(|process| process.present.as_ref()) {
            if !self.shared.lock().truth.owns_any(present.life) {
                outside.insert(present.life);
            }
            present.ask_to_stop(&self.shared);
        }
        while self.processes.iter().any(|process| process.present.is_some()) && !self.is_over() {
            if self.shared.now() >= deadline {
                let story = format!("a process did not stop within {STOP:?}");
                self.shared.lock().break_law(Breach::new(Law::Liveness, story));
                return;
            }
            let exits = self.exits.1.clone();
            let exited = select_biased! {
                exited = exits.recv().fuse() => exited.ok(),
                () = sleep_until(&self.shared, self.shared.now() + Duration::from_secs(1)).fuse() => None,
            };
            let Some((life, end)) = exited else { continue };
            if end == (End::Stopped { clean: false }) && !outside.contains(&life) {
                let story = format!("{life} left work undone although nothing was wrong any more");
                self.shared.lock().break_law(Breach::new(Law::Liveness, story));
            }
            self.exited(life, end);
        }
    }

    /// Nothing of the world is left running.
    async fn bury_all(&mut self) {
        for number in 0..self.processes.len() {
            self.end(number as u16, End::Crashed);
        }
        madsim::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Where a broker is said to be.
pub(crate) fn address(broker: BrokerId) -> BrokerAddress {
    BrokerAddress { broker, host: format!("broker-{broker}").into(), port: 9092 }
}
