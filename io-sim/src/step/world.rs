//! The loop: what is due first happens first, and what follows from it is done before anything else happens.
//!
//! There is one queue by (time, order of entry) for what the world itself plans, and beside it the network's, the
//! clients' patience, the cluster's deadline and each process's; of what is due at one moment these come in this order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_cluster::{Cluster, ClusterConfig};
use evenkeel_core::machine::consumer::CallId;
use evenkeel_core::machine::{Machine, Marks};
use evenkeel_core::model::{BrokerId, Time, TopicName, WallTime};

use super::client::Pending;
use super::coverage::Coverage;
use super::planted::Planted;
use super::process::{Inlet, Process, Role};
use super::setup::{PlannedSend, Setup};
use super::store::Store;
use super::strike::address;
use super::work::Work;
use crate::checkers::{Breach, Judge};
use crate::faults::dice::Dice;
use crate::faults::plan::FaultPlan;
use crate::faults::{Stroke, swarm};
use crate::history::{Facts, Happening, History, Life, Place, ServiceNo, TopicNo};
use crate::network::counter::Counter;
use crate::network::{ConnectionId, Network, Ticket};
use crate::oversight::rollouts::Rollouts;
use crate::oversight::truth::Truth;
use crate::oversight::watch::Asked;
use crate::oversight::{logs, telling};
use crate::seed::Seed;
use crate::trace::{Detail, Kind, Step, Trace};

/// How long everything may take to come to rest once faults are over.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);
/// More steps than this at one place in time, or in one run, are no progress but a loop.
const MOST_STEPS: u64 = 3_000_000;
/// What takes less than this takes no time where orders are what matters.
const MOMENT: Duration = Duration::from_millis(100);
/// What wall clocks show when a run begins: 2023-11-14.
pub(super) const WALL: WallTime = WallTime::from_millis(1_700_000_000_000);

/// Something that the world has planned.
#[derive(Debug, Clone)]
pub(super) enum Todo {
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
    /// A call's next phase; the number tells whether it is still the next.
    Call(Life, CallId, u32),
    /// The next call of `produce` may be due.
    Produce(Life),
    /// A stop has taken long enough.
    StopNow(Life),
    /// The database learns that a client is gone.
    Abandon(crate::history::TxNo),
    /// A planted bug strikes.
    Haunt(Life),
    Quiet,
    Look,
}

#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) at: Time,
    pub(super) sequence: u64,
    pub(super) todo: Todo,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Active,
    /// No more faults begin, and some stay: what does not need what is broken must come to rest until then.
    Frozen {
        until: Time,
    },
    /// Faults are over; everything must come to rest until then.
    Quiet {
        until: Time,
    },
    /// Everybody was asked to stop.
    Stopping,
    Over,
}

/// See the module. Cloning it is a checkpoint.
#[derive(Debug, Clone)]
pub struct World {
    pub(super) now: Time,
    pub(super) setup: Arc<Setup>,
    pub(super) facts: Arc<Facts>,
    pub(super) topics: Arc<[TopicName]>,
    pub(super) plan: Arc<FaultPlan>,
    pub(super) planted: Option<Planted>,
    pub(super) stage: Stage,
    pub(super) trace: Trace,
    pub(super) judge: Judge,
    pub(super) breach: Option<(u64, Breach)>,
    /// What happened, if it is kept.
    pub(super) history: Option<History>,
    pub(super) dice: Dice,
    pub(super) network: Network,
    pub(super) cluster: Cluster,
    pub(super) cluster_due: Option<Time>,
    pub(super) truth: Truth,
    pub(super) alive: BTreeSet<BrokerId>,
    /// When the last fault was healed, or will be if none stays.
    pub(super) healed_at: Time,
    /// Until then members may not have looked at a topic that was made anew.
    pub(super) unnoticed_until: Time,
    pub(super) asked: BTreeMap<Ticket, (ConnectionId, Time, Asked)>,
    pub(super) pending: BTreeMap<Ticket, Pending>,
    pub(super) limits: BTreeSet<(Time, Ticket)>,
    pub(super) todo: BinaryHeap<Reverse<Due>>,
    sequence: u64,
    /// What is less far ahead is due at once.
    moment: Duration,
    pub(super) processes: Vec<Process>,
    pub(super) rollouts: Rollouts,
    pub(super) store: Store,
    pub(super) sends: Arc<[Vec<PlannedSend>]>,
    pub(super) produced: Vec<usize>,
    pub(super) runs: Counter,
    pub(super) calls: Counter,
    pub(super) next_send: u32,
    /// What the machines of ended lives have been through.
    pub(super) marks: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) scratch: super::planted::Memory,
    pub(super) coverage: Coverage,
    pub(super) work: Work,
}

impl World {
    /// A run that has not begun.
    ///
    /// # Panics
    /// If the setup's names are no legal names, which it takes care of.
    #[must_use]
    pub fn new(setup: &Setup, plan: &FaultPlan, planted: Option<Planted>, detail: Detail) -> Self {
        let mut world = Self::made(setup, plan, planted, detail);
        world.begin();
        world
    }

    /// A run that has not begun, in which a moment takes no time: what is less than [`MOMENT`] ahead is due at once. Only
    /// what the dice are told to strikes.
    pub(super) fn at_once(setup: &Setup, plan: &FaultPlan, planted: Option<Planted>, detail: Detail) -> Self {
        let mut world = Self::made(setup, plan, planted, detail);
        world.moment = MOMENT;
        world.dice = Dice::told(Arc::clone(&world.plan));
        world.network.at_once();
        world.store.count_apart();
        world.runs.count_apart();
        world.calls.count_apart();
        world.begin();
        world
    }

    fn made(setup: &Setup, plan: &FaultPlan, planted: Option<Planted>, detail: Detail) -> Self {
        let seed = setup.seed;
        let numbers = &setup.numbers;
        let facts = Arc::new(setup.facts());
        let brokers: Vec<_> = (1..=numbers.brokers as i32).map(BrokerId).collect();
        let config = ClusterConfig {
            brokers: brokers.iter().copied().map(address).collect(),
            started: WALL,
            coordinator_load: Duration::from_millis(numbers.coordinator_load),
            initial_rebalance_delay: Duration::from_millis(numbers.rebalance_delay),
            replica_lag: swarm::REPLICA_LAG,
            default_replication: numbers.brokers.min(3) as i16,
            ..ClusterConfig::default()
        };
        let plan = Arc::new(plan.clone());
        let services = (0..numbers.groups)
            .flat_map(|group| (0..numbers.members).map(move |_| Role::Service(ServiceNo(group as u16))));
        let producers = (0..numbers.producers as usize).map(Role::Producer);
        let topics = facts.topics.iter().map(|topic| TopicName::new(&topic.name).expect("a legal name"));
        let mut world = Self {
            now: Time::ZERO,
            topics: topics.collect(),
            planted,
            stage: Stage::Active,
            trace: Trace::new(detail),
            judge: Judge::new(Arc::clone(&facts)),
            breach: None,
            history: None,
            dice: Dice::new(Arc::clone(&plan)),
            network: Network::new(seed.stream("links")),
            cluster: Cluster::new(config, seed.stream("cluster").number()).expect("the defaults are legal"),
            cluster_due: None,
            truth: Truth::default(),
            alive: brokers.iter().copied().collect(),
            healed_at: plan.quiet_at,
            unnoticed_until: Time::ZERO,
            asked: BTreeMap::new(),
            pending: BTreeMap::new(),
            limits: BTreeSet::new(),
            todo: BinaryHeap::new(),
            sequence: 0,
            moment: Duration::ZERO,
            processes: services.chain(producers).map(Process::new).collect(),
            rollouts: Rollouts::of(numbers.groups as usize),
            store: Store::default(),
            sends: setup.sends().into(),
            produced: vec![0; numbers.producers as usize],
            runs: Counter::default(),
            calls: Counter::default(),
            next_send: 0,
            marks: BTreeMap::new(),
            scratch: super::planted::Memory::default(),
            coverage: Coverage::default(),
            work: Work::default(),
            setup: Arc::new(setup.clone()),
            facts,
            plan,
        };
        logs::create_topics(&mut world, |_| true);
        world
    }

    /// Keeps what happens.
    #[must_use]
    pub fn kept(mut self) -> Self {
        let facts = Arc::clone(&self.facts);
        self.history.get_or_insert_with(|| History::new(facts));
        self
    }

    fn begin(&mut self) {
        for (at, stroke) in &Arc::clone(&self.plan).strokes {
            self.plan_at(*at, Todo::Strike(*stroke));
        }
        self.plan_at(self.plan.quiet_at, Todo::Quiet);
        for number in 0..self.processes.len() {
            // Not all at one moment: services are rolled out.
            let mut draw = self.setup.seed.stream("rollout").nth(number as u64);
            let is_first = self.moment > Duration::ZERO || draw.once_in(2);
            let at = Time::from_millis(if is_first { 0 } else { draw.log_uniform(1, 2_000) });
            self.plan_at(at, Todo::Start(number as u16));
        }
    }

    pub(super) fn plan_at(&mut self, at: Time, todo: Todo) {
        self.sequence += 1;
        let at = if at.since(self.now) < self.moment { self.now } else { at };
        self.todo.push(Reverse(Due { at, sequence: self.sequence, todo }));
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// How many steps there were.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.trace.steps()
    }

    /// Whether the run has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over || self.breach.is_some()
    }

    /// Lets happen what is due next. False when the run has ended.
    pub fn step(&mut self) -> bool {
        if self.is_over() {
            return false;
        }
        if !self.has_an_end() {
            return false;
        }
        let limit = self.limits.first().map(|(at, _)| *at);
        let todo = self.todo.peek().map(|Reverse(due)| due.at);
        let mut first = (Time::MAX, usize::MAX);
        for (nth, at) in [limit, self.network.next(), self.cluster_due, todo].into_iter().enumerate() {
            if let Some(at) = at
                && at < first.0
            {
                first = (at, nth);
            }
        }
        for (nth, process) in self.processes.iter().enumerate() {
            if let Some(at) = process.wake()
                && at < first.0
            {
                first = (at, 4 + nth);
            }
        }
        let (at, what) = first;
        self.now = self.now.max(at);
        match what {
            0 => self.time_out(),
            1 => {
                if let Some(delivery) = self.network.arrive(self.now) {
                    self.deliver(delivery);
                }
            }
            2 => {
                self.cluster.tick(self.now);
                self.drain_cluster();
            }
            3 => {
                if let Some(Reverse(due)) = self.todo.pop() {
                    self.perform_todo(due.todo);
                }
            }
            usize::MAX => self.stand_still(),
            process => self.wake(process - 4),
        }
        self.cover_chances();
        !self.is_over()
    }

    /// Whether it can still come to its end; a run that goes round in circles is broken off.
    pub(super) fn has_an_end(&mut self) -> bool {
        if self.trace.steps() > MOST_STEPS {
            let story = format!("{MOST_STEPS} steps were taken and the run has no end");
            self.break_law(Breach::new(crate::checkers::Law::Liveness, story));
        }
        !self.is_over()
    }

    pub(super) fn stand_still(&mut self) {
        let story = "nothing is due any more, and the run has no end".to_owned();
        self.break_law(Breach::new(crate::checkers::Law::Liveness, story));
    }

    /// Runs to the end.
    pub fn run(&mut self) {
        while self.step() {}
        self.gather_all_marks();
        let words = [self.now.as_nanos(), u64::from(self.next_send), self.runs.count()];
        self.trace.seal(crate::trace::digest(words));
    }

    pub(super) fn perform_todo(&mut self, todo: Todo) {
        match todo {
            Todo::Strike(stroke) => self.strike(stroke),
            Todo::Start(process) => self.start(process),
            Todo::Resume(life) => self.resume(life),
            Todo::StartBroker(broker) => self.start_broker(broker),
            Todo::Unstall(broker, place) => logs::replicate(self, broker, place, true),
            Todo::ElectUnclean(broker, place) => logs::elect_unclean(self, broker, place),
            Todo::CreateTopic(topic) => self.create_topic(topic),
            Todo::Deploy(process) => self.deploy(process),
            Todo::Call(life, call, turn) => self.receive(life, Inlet::Call(call, turn)),
            Todo::Produce(life) => self.receive(life, Inlet::Produce),
            Todo::StopNow(life) => self.stop_now(life),
            Todo::Abandon(tx) => self.end_tx(tx),
            Todo::Haunt(life) => self.haunted(life),
            Todo::Quiet => self.fall_quiet(),
            Todo::Look => self.look(),
        }
    }

    /// Something happened: it goes into the trace and before the judges.
    pub(super) fn tell(&mut self, happening: Happening) {
        let (entity, kind, digest) = telling::digest(&happening);
        let facts = &self.facts;
        self.trace.step(Step { at: self.now, entity, kind, digest }, || telling::line(facts, &happening));
        if self.breach.is_none()
            && let Err(breach) = self.judge.see(self.now, &happening)
        {
            self.break_law(breach);
        }
        if let Some(history) = &mut self.history {
            history.record(self.now, happening);
        }
    }

    /// Something happened that is not for judges.
    pub(super) fn note(&mut self, kind: Kind, entity: u64, digest: u64, line: impl FnOnce() -> String) {
        self.trace.step(Step { at: self.now, entity, kind, digest }, line);
    }

    /// The first broken law ends the run.
    pub(super) fn break_law(&mut self, breach: Breach) {
        let step = self.trace.steps().saturating_sub(1);
        self.breach.get_or_insert((step, breach));
    }

    pub(super) fn gather(&mut self, of: &'static str, marks: &Marks) {
        for (mark, count) in marks.iter() {
            *self.marks.entry((of, mark)).or_default() += count;
        }
    }

    pub(super) fn seed(&self) -> Seed {
        self.setup.seed
    }
}
