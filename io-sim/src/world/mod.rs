//! The world: the real library on a simulated scheduler, over a simulated network and cluster, under a plan of faults.
//!
//! [`run`] runs one world, on a thread of its own so that nothing of an earlier one is left, and reports. The
//! same scenario and plan give the same [`Report`], hash for hash.

mod clock;
mod database;
mod director;
pub(crate) mod handler;
pub(crate) mod kafka;
pub(crate) mod node;
mod pump;
mod rest;
pub(crate) mod runtime;
pub mod scenario;
mod server;
mod sessions;
mod state;

use std::fmt;
use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_cluster::{Cluster, ClusterConfig};
use evenkeel_core::model::{BrokerId, Time};
use madsim::runtime::{Handle, Runtime};
use madsim::time::TimeHandle;

use self::clock::WALL;
pub use self::database::{SimDatabase, SimTx, Table};
use self::director::{Director, address};
use self::pump::Pump;
use self::runtime::SimRuntime;
use self::scenario::Scenario;
pub(crate) use self::sessions::OWN_TABLES;
use self::sessions::Sessions;
use self::state::Shared;
pub use self::state::Trouble;
use crate::checkers::{Breach, Tested};
use crate::faults::plan::{FaultPlan, Occasion};
use crate::faults::swarm;
use crate::history::{History, Life};
use crate::oversight::logs;
use crate::seed::Seed;
use crate::trace::{Detail, Trace};

/// The thread of a world has this name, by which its planned panics are known.
const THREAD: &str = "evenkeel-world";
/// The process that is none.
const NOBODY: Life = Life { process: u16::MAX, nth: 0 };

/// How a world ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything came to rest, and every law held.
    Clean,
    /// A law was broken.
    Broken {
        /// At which step.
        step: u64,
        /// Which, and how.
        breach: Breach,
    },
    /// Something else is wrong.
    Trouble(Trouble),
}

/// What came of a world.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its seed.
    pub seed: Seed,
    /// The plan it ran under.
    pub plan: Arc<FaultPlan>,
    /// How it ended.
    pub outcome: Outcome,
    /// Every step of it.
    pub trace: Trace,
    /// What happened.
    pub history: History,
    /// How often each law was put to the test.
    pub tested: Tested,
    /// The committed rows of each table of the database at the end.
    pub tables: Vec<Vec<(Bytes, Bytes)>>,
    /// The chances that struck.
    pub struck: Vec<Occasion>,
    /// How much virtual time passed.
    pub elapsed: Duration,
    /// How often tasks were polled.
    pub polls: u64,
    /// How many requests the cluster took.
    pub requests: u64,
}

/// For how long faults go on in the world of a seed.
pub const ACTIVE: Duration = Duration::from_secs(60);

/// Runs the world of a seed: its scenario and its faults are drawn.
#[must_use]
pub fn drawn(seed: Seed, detail: Detail) -> Report {
    let scenario = Scenario::draw(seed, ACTIVE);
    let plan = swarm::draw(seed, &scenario.shape(ACTIVE));
    run(&scenario, &plan, seed, detail)
}

impl Report {
    /// Whether everything came to rest, and every law held.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.outcome == Outcome::Clean
    }
}

impl fmt::Display for Report {
    /// What a person needs who has never seen the run: law, step, seed, hash and plan.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seed = self.seed;
        match &self.outcome {
            Outcome::Clean => {
                writeln!(f, "seed {seed} came to rest after {:.1?}, and all laws held", self.elapsed)?
            }
            Outcome::Broken { step, breach } => writeln!(f, "seed {seed} broke {breach} (step {step})")?,
            Outcome::Trouble(Trouble::Panic(what)) => writeln!(f, "seed {seed}: a task panicked: {what}")?,
            Outcome::Trouble(Trouble::Livelock(polls)) => {
                writeln!(f, "seed {seed}: tasks were polled {polls} times, which is no progress but a loop")?;
            }
        }
        writeln!(f, "hash {} after {} steps", self.trace.hash(), self.trace.steps())?;
        if !self.is_clean() {
            writeln!(f, "the plan:\n{}", self.plan)?;
        }
        Ok(())
    }
}

/// Runs a world.
///
/// # Panics
/// If no thread can be started for it.
#[must_use]
pub fn run(scenario: &Scenario, plan: &FaultPlan, seed: Seed, detail: Detail) -> Report {
    hush();
    let (scenario, plan) = (Arc::new(scenario.clone()), Arc::new(plan.clone()));
    let facts = Arc::clone(&scenario.facts);
    let kept = Arc::clone(&plan);
    let inside = move || {
        let runtime =
            Runtime::with_seed_and_config(seed.stream("scheduler").number(), madsim::Config::default());
        runtime.block_on(live(scenario, plan, seed, detail))
    };
    // A thread of its own, or the world would not be repeatable: hash seeds and thread locals of an earlier one stay.
    let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn(inside);
    let ended = thread.expect("a thread can be started").join();
    ended.unwrap_or_else(|_| Report {
        seed,
        plan: kept,
        outcome: Outcome::Trouble(Trouble::Panic("the world itself panicked".to_owned())),
        trace: Trace::default(),
        history: History::new(facts),
        tested: Tested::default(),
        tables: Vec::new(),
        struck: Vec::new(),
        elapsed: Duration::ZERO,
        polls: 0,
        requests: 0,
    })
}

async fn live(scenario: Arc<Scenario>, plan: Arc<FaultPlan>, seed: Seed, detail: Detail) -> Report {
    let brokers: Arc<[BrokerId]> = (1..=i32::from(scenario.brokers)).map(BrokerId).collect();
    let config = ClusterConfig {
        brokers: brokers.iter().copied().map(address).collect(),
        started: WALL,
        coordinator_load: scenario.cluster.coordinator_load,
        initial_rebalance_delay: scenario.cluster.initial_rebalance_delay,
        replica_lag: swarm::REPLICA_LAG,
        ..ClusterConfig::default()
    };
    let cluster = Cluster::new(config, seed.stream("cluster").number()).expect("the defaults are legal");
    let time = TimeHandle::current();
    let facts = Arc::clone(&scenario.facts);
    let shared = Shared::new(seed, Arc::clone(&plan), facts, cluster, &brokers, detail, time);
    shared.lock().topic_configs = [
        ("min.insync.replicas", scenario.cluster.min_in_sync.to_string()),
        ("max.message.bytes", scenario.cluster.max_message_bytes.to_string()),
    ]
    .map(|(name, value)| (name.into(), Some(value.into())))
    .to_vec();
    if let Some(custom) = &scenario.custom {
        shared.lock().sessions = Sessions::new(seed.stream("sessions"), &custom.tables);
    }
    logs::create_topics(&mut *shared.lock(), |_| true);
    let node = Handle::current().create_node().name("network").build();
    let network = SimRuntime::new(shared.clone(), node.clone(), NOBODY, seed.stream("network"));
    {
        use evenkeel_core::ports::Runtime;
        network.spawn(Pump::new(shared.clone()));
    }
    Director::new(shared.clone(), scenario, Arc::clone(&plan), seed, brokers).direct().await;
    Handle::current().kill(node.id());
    madsim::time::sleep(Duration::from_millis(1)).await;
    let state = shared.lock();
    let outcome = match (&state.breach, &state.trouble) {
        (_, Some(trouble)) => Outcome::Trouble(trouble.clone()),
        (Some((step, breach)), None) => Outcome::Broken { step: *step, breach: breach.clone() },
        (None, None) => Outcome::Clean,
    };
    Report {
        seed,
        plan,
        outcome,
        trace: state.trace.clone(),
        history: state.history.clone(),
        tested: state.judge.tested().clone(),
        tables: state.sessions.rows(),
        struck: state.dice.struck().to_vec(),
        elapsed: state.now().since(Time::ZERO),
        polls: state.polls,
        requests: state.inputs,
    }
}

/// Handlers panic by plan, and what they say is of no interest; who panics outside of a world is heard as ever.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let in_a_world = std::thread::current().name() == Some(THREAD);
            let planned = info.payload_as_str() == Some("planned");
            if !(in_a_world && planned) {
                before(info);
            }
        }));
    });
}
