//! Everything of a world that is not a task: one state behind a lock that is never contended, since a world runs on one
//! thread, and never held across an await.

#![allow(clippy::disallowed_types, reason = "ports of many nodes share the world; one thread runs them all")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use async_channel::Sender;
use evenkeel_cluster::Cluster;
use evenkeel_cluster::message::Answer;
use evenkeel_core::model::{BrokerId, Time};
use evenkeel_core::ports::ClaimKey;
use madsim::time::TimeHandle;

use super::clock::WallClock;
use super::kafka::Lane;
use super::sessions::Sessions;
use crate::checkers::{Breach, Judge};
use crate::faults::dice::Dice;
use crate::faults::plan::FaultPlan;
use crate::history::{CallNo, EventNo, Facts, HandlerNo, Happening, History, Life, RunNo, SendNo};
use crate::network::{ConnectionId, Network, Ticket};
use crate::oversight::truth::Truth;
use crate::oversight::watch::Asked;
use crate::oversight::{TopicConfig, telling};
use crate::seed::Seed;
use crate::trace::{Detail, Kind, Step, Trace};

/// Somebody who waits for a connection or an answer.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) since: Time,
    pub(crate) until: Time,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) reply: Sender<Reply>,
}

/// What becomes of something that a client waits for.
#[derive(Debug)]
pub(crate) enum Reply {
    /// It has the connection that it dialled.
    Connected(ConnectionId),
    /// The host is there and nobody listens.
    Refused,
    /// An answer.
    Answer(Answer),
    /// The connection was reset.
    Reset,
    /// It took too long.
    TimedOut,
}

/// Why a world cannot go on, beside a broken law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// A task of the library panicked.
    Panic(String),
    /// Tasks were polled so often that virtual time hardly passed.
    Livelock(u64),
}

/// See the [module](self).
#[derive(Clone)]
pub(crate) struct Shared {
    state: Arc<Mutex<State>>,
    time: TimeHandle,
}

pub(crate) struct State {
    time: TimeHandle,
    pub(crate) trace: Trace,
    pub(crate) judge: Judge,
    pub(crate) history: History,
    pub(crate) breach: Option<(u64, Breach)>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) dice: Dice,
    pub(crate) network: Network,
    pub(crate) cluster: Cluster,
    pub(crate) truth: Truth,
    /// The database and the connections to it.
    pub(crate) sessions: Sessions,
    pub(crate) topic_configs: Vec<TopicConfig>,
    /// The brokers that run.
    pub(crate) alive: BTreeSet<BrokerId>,
    /// What brokers are at work on.
    pub(crate) asked: BTreeMap<Ticket, (ConnectionId, Time, Asked)>,
    /// The connections that processes use, by what for and to whom.
    pub(crate) seats: BTreeMap<(Life, Lane, BrokerId), ConnectionId>,
    /// Who waits for what.
    pub(crate) waiting: BTreeMap<Ticket, Waiting>,
    pub(crate) limits: BTreeMap<(Time, Ticket), ()>,
    /// Processes that live; what others still do has no effect.
    pub(crate) living: BTreeMap<u16, Life>,
    /// The wall clocks of processes that are not right.
    pub(crate) clocks: BTreeMap<u16, WallClock>,
    /// Which claims stand for which event, as handlers saw them.
    pub(crate) claims: BTreeMap<ClaimKey, (HandlerNo, EventNo)>,
    /// How far each producer is in its plan.
    pub(crate) produced: BTreeMap<usize, usize>,
    /// Services that have had their first assignment.
    pub(crate) started: BTreeSet<Life>,
    /// Calls of `produce` that were not answered yet.
    pub(crate) sending: BTreeMap<SendNo, Life>,
    pub(crate) polls: u64,
    pub(crate) inputs: u64,
    next_run: u64,
    next_call: u64,
    next_send: u32,
    pump: Option<Waker>,
}

impl Shared {
    /// A world in which nothing has happened yet.
    pub(crate) fn new(
        seed: Seed,
        plan: Arc<FaultPlan>,
        facts: Arc<Facts>,
        cluster: Cluster,
        brokers: &[BrokerId],
        detail: Detail,
        time: TimeHandle,
    ) -> Self {
        let state = State {
            time: time.clone(),
            trace: Trace::new(detail),
            judge: Judge::new(Arc::clone(&facts)),
            history: History::new(facts),
            breach: None,
            trouble: None,
            dice: Dice::new(plan),
            network: Network::new(seed.stream("links")),
            cluster,
            truth: Truth::default(),
            sessions: Sessions::new(seed.stream("sessions"), &[]),
            topic_configs: Vec::new(),
            alive: brokers.iter().copied().collect(),
            asked: BTreeMap::new(),
            seats: BTreeMap::new(),
            waiting: BTreeMap::new(),
            limits: BTreeMap::new(),
            living: BTreeMap::new(),
            clocks: BTreeMap::new(),
            claims: BTreeMap::new(),
            produced: BTreeMap::new(),
            started: BTreeSet::new(),
            sending: BTreeMap::new(),
            polls: 0,
            inputs: 0,
            next_run: 0,
            next_call: 0,
            next_send: 0,
            pump: None,
        };
        Self { state: Arc::new(Mutex::new(state)), time }
    }

    /// The state. A panic of whoever held it is told elsewhere.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world's time.
    pub(crate) fn now(&self) -> Time {
        now(&self.time)
    }

    /// The scheduler's clock.
    pub(crate) fn time(&self) -> &TimeHandle {
        &self.time
    }
}

fn now(time: &TimeHandle) -> Time {
    Time::from_nanos(u64::try_from(time.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

impl State {
    /// The world's time.
    pub(crate) fn now(&self) -> Time {
        now(&self.time)
    }

    /// Something happened: it goes into the trace, the history, and before the judges.
    pub(crate) fn tell(&mut self, happening: Happening) {
        let at = self.now();
        let facts = &self.history.facts;
        let (entity, kind, digest) = telling::digest(&happening);
        self.trace.step(Step { at, entity, kind, digest }, || telling::line(facts, &happening));
        if let Err(breach) = self.judge.see(at, &happening) {
            self.break_law(breach);
        }
        self.history.record(at, happening);
    }

    /// A law is broken: the first time ends the run.
    pub(crate) fn break_law(&mut self, breach: Breach) {
        let step = self.trace.steps().saturating_sub(1);
        self.breach.get_or_insert((step, breach));
    }

    /// Something happened that is not for judges.
    pub(crate) fn note(&mut self, kind: Kind, entity: u64, digest: u64, line: impl FnOnce() -> String) {
        let at = self.now();
        self.trace.step(Step { at, entity, kind, digest }, line);
    }

    /// Whether a process still has this life.
    pub(crate) fn lives(&self, life: Life) -> bool {
        self.living.get(&life.process) == Some(&life)
    }

    /// Whether the run is to end early.
    pub(crate) fn is_over(&self) -> bool {
        self.breach.is_some() || self.trouble.is_some()
    }

    /// A number for a run of a handler.
    pub(crate) fn next_run(&mut self) -> RunNo {
        self.next_run += 1;
        RunNo(self.next_run)
    }

    /// A number for a call of a handler.
    pub(crate) fn next_call(&mut self) -> CallNo {
        self.next_call += 1;
        CallNo(self.next_call)
    }

    /// A number for a call of `produce`.
    pub(crate) fn next_send(&mut self) -> SendNo {
        self.next_send += 1;
        SendNo(self.next_send)
    }

    /// There may be something to do earlier than the pump thinks.
    pub(crate) fn wake_pump(&mut self) {
        if let Some(pump) = self.pump.take() {
            pump.wake();
        }
    }

    /// Whom to wake.
    pub(crate) fn pump_sleeps(&mut self, waker: &Waker) {
        match &mut self.pump {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Tells who waits with a ticket what came of it.
    pub(crate) fn answer(&mut self, ticket: Ticket, reply: Reply) {
        if let Some(waiting) = self.waiting.remove(&ticket) {
            self.limits.remove(&(waiting.until, ticket));
            // Who waited may have gone.
            let _ = waiting.reply.try_send(reply);
        }
    }
}
