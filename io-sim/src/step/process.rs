//! Processes: the machines of one life, what reaches them and when, and what they want done.
//!
//! A process that stands still gets nothing: what arrives meanwhile waits, and when it goes on either what arrived or
//! what timed out comes first, as with a real process. Actions are performed a moment after the input that led to them,
//! up to the run's lag, so that inputs come in between as they do in an engine that is busy.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_cluster::message::Answer;
use evenkeel_core::machine::commit::MetadataLimit;
use evenkeel_core::machine::consumer::{CallId, ConsumerConfig, HandlerConfig};
use evenkeel_core::machine::group::GroupConfig;
use evenkeel_core::machine::member::Member;
use evenkeel_core::machine::produce::{self, Produce, ProduceConfig, Submission};
use evenkeel_core::machine::{Entropy, Machine, member};
use evenkeel_core::model::{GroupName, Header, Time};
use evenkeel_core::ports::OutgoingRecord;

use super::ask::{Input, Item};
use super::calls::Call;
use super::client::Seat;
use super::coverage::Standing;
use super::planted::{Planted, distort_backoff, distort_settings};
use super::world::{Todo, World};
use crate::checkers::{Breach, Law};
use crate::history::{End, Fate, GroupNo, HandlerNo, Happening, Life, SendNo, Sent, ServiceNo, TopicNo};
use crate::network::{ConnectionId, Ticket};
use crate::oversight::rollouts::Rollouts;
use crate::trace::{Kind, digest_bytes};

const INPUT: Kind = Kind::new("input");
const TICK: Kind = Kind::new("tick");

/// What of a stop's time is left for the last commit and the farewell.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a stop may take.
pub(super) const STOP: Duration = Duration::from_secs(30);

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Service(ServiceNo),
    Producer(usize),
}

/// A process, whether it lives or not.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) role: Role,
    pub(super) lives: u16,
    pub(super) present: Option<Present>,
    /// After how long it starts again once it has stopped.
    pub(super) down: Duration,
    /// Which of its group's handlers its next life runs.
    pub(super) deployed: u16,
    lags: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Brain {
    Member(Box<Member<Item>>),
    Produce(Box<Produce>),
}

/// A life that goes on.
#[derive(Debug, Clone)]
pub(super) struct Present {
    pub(super) life: Life,
    pub(super) brain: Brain,
    pub(super) handlers: Vec<HandlerNo>,
    /// The topics it reads, in the order in which its machines know them.
    pub(super) topics: Vec<TopicNo>,
    /// As which deploy it was started.
    pub(super) deployed: u16,
    pub(super) paused: bool,
    /// How a member stands, as far as it told.
    pub(super) standing: Standing,
    inbox: Vec<Inlet>,
    overdue: Vec<Ticket>,
    /// When actions are performed.
    acts_at: Option<Time>,
    wake: Option<Time>,
    pub(super) seats: Vec<Seat>,
    pub(super) calls: BTreeMap<CallId, Call>,
    /// Calls of `produce` that were not answered yet.
    pub(super) sending: BTreeMap<u64, Sending>,
    /// Since when it has been asked to stop.
    pub(super) stopping_since: Option<Time>,
    /// It had no partitions then: what it left undone was lost before.
    pub(super) stops_outside: bool,
    /// The library said that its last assignment left something undone.
    pub(super) untidy: bool,
}

/// A call of `produce`.
#[derive(Debug, Clone)]
pub(super) struct Sending {
    fates: Vec<Option<Fate>>,
    open: usize,
}

/// What reaches a process from outside of its machines.
#[derive(Debug, Clone)]
pub(super) enum Inlet {
    Dialled(Ticket, Option<ConnectionId>),
    Answer(Ticket, Box<Answer>),
    Broken(Ticket),
    TimedOut(Ticket),
    Call(CallId, u32),
    Produce,
    Stop,
}

impl Process {
    pub(super) const fn new(role: Role) -> Self {
        Self { role, lives: 0, present: None, down: Duration::from_secs(1), deployed: Rollouts::ALL, lags: 0 }
    }

    /// When it is to be woken.
    pub(super) fn wake(&self) -> Option<Time> {
        let present = self.present.as_ref().filter(|present| !present.paused)?;
        [present.acts_at, present.wake].into_iter().flatten().min()
    }
}

impl Present {
    fn deadline(&self) -> Option<Time> {
        match &self.brain {
            Brain::Member(member) => member.deadline(),
            Brain::Produce(produce) => produce.deadline(),
        }
    }
}

impl World {
    pub(super) fn start(&mut self, number: u16) {
        let place = usize::from(number);
        if self.processes[place].present.is_some() {
            return;
        }
        let process = &mut self.processes[place];
        let life = Life { process: number, nth: process.lives };
        process.lives += 1;
        process.down = Duration::from_secs(1);
        let (role, deployed) = (process.role, process.deployed);
        let entropy = self.setup.seed.stream("entropy").of(number.into()).of(life.nth.into()).number();
        let (service, brain, handlers) = match role {
            Role::Service(service) => {
                let handlers = self.facts.deployed(GroupNo(service.0), deployed);
                let member = self.member(service, &handlers, Entropy::new(entropy));
                (service, Brain::Member(Box::new(member)), handlers)
            }
            Role::Producer(_) => {
                let produce = Produce::new(self.produce_config(), Entropy::new(entropy));
                let service = ServiceNo(self.facts.services.len() as u16 - 1);
                (service, Brain::Produce(Box::new(produce)), Vec::new())
            }
        };
        let told = handlers.clone().into();
        self.processes[place].present = Some(Present {
            life,
            brain,
            topics: self.read_by(&handlers),
            handlers,
            deployed,
            paused: false,
            standing: Standing::Outside,
            inbox: Vec::new(),
            overdue: Vec::new(),
            acts_at: None,
            wake: None,
            seats: Vec::new(),
            calls: BTreeMap::new(),
            sending: BTreeMap::new(),
            stopping_since: None,
            stops_outside: false,
            untidy: false,
        });
        self.tell(Happening::LifeBegan { life, service, handlers: told });
        match role {
            Role::Service(_) => self.feed(place, "start", Input::Member(member::Input::Start)),
            Role::Producer(_) => self.produce_next(place),
        }
    }

    /// As the library does it: what no handler is for is not read.
    pub(super) fn read_by(&self, handlers: &[HandlerNo]) -> Vec<TopicNo> {
        let mut topics: Vec<_> = handlers.iter().map(|handler| self.facts.handler(*handler).topic).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    fn member(&self, service: ServiceNo, handlers: &[HandlerNo], entropy: Entropy) -> Member<Item> {
        let n = &self.setup.numbers;
        let millis = Duration::from_millis;
        let number = |number: u64| NonZeroUsize::new(number as usize).unwrap_or(NonZeroUsize::MIN);
        let group = GroupName::new(&self.facts.groups[usize::from(service.0)].name).expect("a legal name");
        let mut config = ConsumerConfig::new(group.clone());
        let topics = self.read_by(handlers);
        config.topics = topics.iter().map(|topic| self.topics[usize::from(topic.0)].clone()).collect();
        config.concurrency = n.concurrency as usize;
        config.window_events = n.window as usize;
        config.window_bytes = n.window_bytes;
        config.fetch_bytes = n.fetch as u32;
        config.fetch_wait = millis(n.fetch_wait);
        config.commit_interval = millis(n.commit);
        config.watch_interval = millis(n.watch);
        config.metadata_limit = MetadataLimit::new(n.metadata as usize);
        for facts in handlers.iter().map(|handler| self.facts.handler(*handler)) {
            let topic = topics.iter().position(|topic| *topic == facts.topic).unwrap_or_default();
            let mut wanted = HandlerConfig::new(std::sync::Arc::clone(&facts.name), topic, facts.on_failure);
            wanted.ordering = facts.ordering;
            wanted.concurrency = number(facts.concurrency.into());
            wanted.batch = number(facts.batch.into());
            wanted.outstanding = number(n.outstanding);
            wanted.retry = facts.retry;
            config.handlers.push(wanted);
        }
        distort_settings(self.planted, &mut config);
        let mut of_group = GroupConfig::new(group, config.topics.clone());
        of_group.session_timeout = millis(n.session);
        of_group.heartbeat_interval = millis(n.session / 3);
        of_group.rebalance_timeout = millis(n.rebalance);
        distort_backoff(self.planted, Planted::JoinBackoffReset, &mut of_group.backoff);
        Member::new(of_group, config, millis(n.drain), entropy)
    }

    fn produce_config(&self) -> ProduceConfig {
        let n = &self.setup.numbers;
        let mut config = ProduceConfig {
            batch_bytes: n.batch as usize,
            delivery_timeout: Duration::from_millis(n.delivery),
            request_timeout: Duration::from_millis(n.acknowledgement),
            ..ProduceConfig::default()
        };
        distort_backoff(self.planted, Planted::SendBackoffReset, &mut config.backoff);
        config
    }

    /// Something reaches a process, if it still lives.
    pub(super) fn receive(&mut self, life: Life, inlet: Inlet) {
        let process = usize::from(life.process);
        let Some(present) = self.processes[process].present.as_mut().filter(|present| present.life == life)
        else {
            return;
        };
        if present.paused {
            match inlet {
                Inlet::TimedOut(ticket) => present.overdue.push(ticket),
                other => present.inbox.push(other),
            }
            return;
        }
        match inlet {
            Inlet::Dialled(ticket, connection) => self.dialled(ticket, connection),
            Inlet::Answer(ticket, answer) => self.answer_came(ticket, *answer),
            Inlet::Broken(ticket) => self.broken(ticket),
            Inlet::TimedOut(ticket) => self.timed_out(ticket),
            Inlet::Call(call, turn) => self.go_on(process, call, turn),
            Inlet::Produce => self.produce_next(process),
            Inlet::Stop => self.stop(process),
        }
    }

    pub(super) fn resume(&mut self, life: Life) {
        let process = usize::from(life.process);
        let Some(present) = self.processes[process].present.as_mut().filter(|present| present.life == life)
        else {
            return;
        };
        if !std::mem::replace(&mut present.paused, false) {
            return;
        }
        let inbox = std::mem::take(&mut present.inbox);
        let overdue: Vec<_> = std::mem::take(&mut present.overdue).into_iter().map(Inlet::TimedOut).collect();
        self.tell(Happening::Resumed { life });
        let mut draw = self.setup.seed.stream("resume").of(process as u64).nth(self.now.as_nanos());
        // Timers of the machines come first, in between or last.
        let order = draw.below(3);
        if order == 0 {
            self.wake(process);
        }
        let (first, second) = if draw.once_in(2) { (inbox, overdue) } else { (overdue, inbox) };
        for inlet in first {
            self.receive(life, inlet);
        }
        if order == 1 {
            self.wake(process);
        }
        for inlet in second {
            self.receive(life, inlet);
        }
    }

    /// Gives a machine an input.
    pub(super) fn feed(&mut self, process: usize, name: &'static str, input: Input) {
        if self.planted.is_some() {
            return self.distort_input(process, name, input);
        }
        self.feed_as_it_is(process, name, input);
    }

    pub(super) fn feed_as_it_is(&mut self, process: usize, name: &'static str, input: Input) {
        let now = self.now;
        let most = self.setup.numbers.lag;
        let seed = self.seed();
        let entry = &mut self.processes[process];
        let Some(present) = entry.present.as_mut() else { return };
        let life = present.life;
        match (&mut present.brain, input) {
            (Brain::Member(member), Input::Member(input)) => member.handle(now, input),
            (Brain::Produce(produce), Input::Produce(input)) => produce.handle(now, input),
            (Brain::Member(_), Input::Produce(_)) | (Brain::Produce(_), Input::Member(_)) => {}
        }
        if present.acts_at.is_none() {
            let lag = if most == 0 {
                Duration::ZERO
            } else {
                entry.lags += 1;
                let mut draw = seed.stream("lag").of(process as u64).nth(entry.lags);
                Duration::from_micros(draw.below(most + 1))
            };
            present.acts_at = Some(now + lag);
        }
        present.wake = present.deadline();
        self.note(INPUT, process as u64, digest_bytes(name.as_bytes()), || format!("{life} learns: {name}"));
    }

    /// A process's time has come: to perform actions, or by its own deadline.
    pub(super) fn wake(&mut self, process: usize) {
        let now = self.now;
        let Some(present) = self.processes[process].present.as_mut() else { return };
        if present.wake.is_some_and(|due| due <= now) {
            match &mut present.brain {
                Brain::Member(member) => member.tick(now),
                Brain::Produce(produce) => produce.tick(now),
            }
            let life = present.life;
            self.note(TICK, process as u64, 0, || format!("{life} is woken"));
        }
        self.act(process);
    }

    fn act(&mut self, process: usize) {
        loop {
            let Some(present) = self.processes[process].present.as_mut() else { return };
            present.acts_at = None;
            match &mut present.brain {
                Brain::Member(member) => match member.poll() {
                    Some(member::Action::Group(action)) => self.act_for_group(process, action),
                    Some(member::Action::Consumer(action)) => self.act_for_consumer(process, action),
                    None => break,
                },
                Brain::Produce(produce) => match produce.poll() {
                    Some(action) => self.act_for_producer(process, action),
                    None => break,
                },
            }
        }
        let now = self.now;
        let Some(present) = self.processes[process].present.as_mut() else { return };
        present.wake = present.deadline();
        if present.wake.is_some_and(|due| due <= now) && present.acts_at.is_none() {
            let life = present.life;
            // The contract: after a tick and a drain the next deadline is later. An input may have come in between.
            match &mut present.brain {
                Brain::Member(member) => member.tick(now),
                Brain::Produce(produce) => produce.tick(now),
            }
            present.acts_at = Some(now);
            present.wake = present.deadline();
            if present.wake.is_some_and(|due| due <= now) {
                let story = format!("{life} has a deadline that is due after it was woken for it");
                self.break_law(Breach::new(Law::Liveness, story));
            }
        }
    }

    pub(super) fn finish_send(&mut self, process: usize, ticket: produce::Ticket, fate: Fate) {
        let Some(present) = self.processes[process].present.as_mut() else { return };
        let Some(sending) = present.sending.get_mut(&ticket.call) else { return };
        sending.fates[ticket.index as usize] = Some(fate);
        sending.open -= 1;
        if sending.open > 0 {
            return;
        }
        let fates = present.sending.remove(&ticket.call).map(|sending| sending.fates).unwrap_or_default();
        let send = SendNo(ticket.call as u32);
        self.tell(Happening::SendEnded { send, fates: fates.into_iter().flatten().collect() });
        self.produce_next(process);
    }

    /// Calls `produce` for what is due of the plan.
    fn produce_next(&mut self, process: usize) {
        let Role::Producer(nth) = self.processes[process].role else { return };
        loop {
            let Some(present) = self.processes[process].present.as_ref() else { return };
            let life = present.life;
            let Some(planned) = self.sends[nth].get(self.produced[nth]).cloned() else { return };
            if present.stopping_since.is_some() || present.sending.len() as u64 >= self.setup.numbers.pipeline
            {
                return;
            }
            if planned.at > self.now {
                return self.plan_at(planned.at, Todo::Produce(life));
            }
            // From here on the next life goes on behind it: what becomes of it is unknown if this one ends.
            self.produced[nth] += 1;
            self.next_send += 1;
            let send = SendNo(self.next_send);
            let events = planned.events;
            let submissions = (0..).zip(events.iter()).map(|(index, sent)| Submission {
                ticket: produce::Ticket { call: send.0.into(), index },
                topic: self.topics[usize::from(sent.topic.0)].clone(),
                record: std::sync::Arc::new(self.record(sent)),
            });
            let submissions = submissions.collect();
            let sending = Sending { fates: vec![None; events.len()], open: events.len() };
            if let Some(present) = self.processes[process].present.as_mut() {
                present.sending.insert(send.0.into(), sending);
            }
            self.tell(Happening::SendBegan { send, life, events });
            self.feed(process, "submit", Input::Produce(produce::Input::Submit(submissions)));
        }
    }

    fn record(&self, sent: &Sent) -> OutgoingRecord {
        let most = self.setup.numbers.payload;
        let value = if most == 0 {
            Bytes::new()
        } else {
            let mut draw = self.setup.seed.stream("payloads").nth(sent.event.0.into());
            Bytes::from(vec![b'x'; draw.below(most + 1) as usize])
        };
        let id = Bytes::from(sent.event.0.to_string());
        OutgoingRecord {
            key: sent.key.map(|key| Bytes::from(key.0.to_string())),
            value: Some(value),
            headers: vec![Header { key: Bytes::from_static(b"ce_id"), value: Some(id) }],
            timestamp: super::world::WALL,
        }
    }

    /// A process was asked to stop.
    fn stop(&mut self, process: usize) {
        let Some(present) = self.processes[process].present.as_mut() else { return };
        if present.stopping_since.is_some() {
            return;
        }
        present.stopping_since = Some(self.now);
        present.stops_outside =
            matches!(present.brain, Brain::Member(_)) && present.standing == Standing::Outside;
        let life = present.life;
        let input = match present.brain {
            Brain::Member(_) => Input::Member(member::Input::Stop { until: self.now + (STOP - FAREWELL) }),
            Brain::Produce(_) => Input::Produce(produce::Input::Close),
        };
        self.plan_at(self.now + STOP, Todo::StopNow(life));
        self.feed(process, "stop", input);
    }

    /// A stop has taken long enough: the library returns and says what is left undone.
    pub(super) fn stop_now(&mut self, life: Life) {
        let process = usize::from(life.process);
        if self.processes[process].present.as_ref().is_some_and(|present| present.life == life) {
            self.exited(process, End::Stopped { clean: false });
        }
    }
}
