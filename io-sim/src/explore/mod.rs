//! Your own handlers in the simulated world, under plain `cargo test`.
//!
//! ```no_run
//! use evenkeel_core::model::{Event, HandlerError, Topic};
//! use evenkeel_sim::{SimTx, Table, explore};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Order {
//!     cents: u64,
//! }
//! const ORDERS: Topic<Order> = Topic::new("orders");
//!
//! const CHARGES: Table = Table::new("charges");
//!
//! async fn charge(tx: &mut SimTx, order: Event<Order>) -> Result<(), HandlerError> {
//!     tx.put(CHARGES, order.id().to_owned(), order.payload.cents.to_string()).await?;
//!     Ok(())
//! }
//!
//! explore(|world| {
//!     world.table(CHARGES);
//!     world.service("billing", 1..=3, |service| {
//!         service.consume(ORDERS).group("billing").exactly_once("charge-card", charge);
//!     });
//!     world.produce(ORDERS, (0..50).map(|n| (format!("customer-{}", n % 7), Order { cents: n })));
//!     world.law("no order is charged that was not placed", |end| {
//!         let rows = end.rows(CHARGES).len();
//!         if rows <= 50 { Ok(()) } else { Err(format!("{rows} charges for 50 orders")) }
//!     });
//! })
//! .seeds(100);
//! ```
//!
//! What is declared is declared anew for each seed, and runs as it does in production: the same engine, the same
//! handlers, in processes that die, stand still and lose their connections. All laws of the library are judged
//! beside your own. A handler that runs SQL on a real database's types is made generic over a small trait of your own,
//! implemented for the real transaction and, in a few lines, for [`SimTx`](crate::SimTx).

mod service;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::model::{Codec, NewEvent, Time, Topic};

pub(crate) use self::service::register;
pub use self::service::{Service, Subscription};

use crate::faults::plan::FaultPlan;
use crate::faults::swarm;
use crate::faults::{Destroys, Family};
use crate::history::{EventNo, Facts, History, KeyNo, Nature, Sent, ServiceFacts, TopicNo};
use crate::seed::Seed;
use crate::trace::Detail;
use crate::world::scenario::{Custom, PlannedSend, Register, Scenario};
use crate::world::{self, Report, Table};

/// How many seeds run at once.
const THREADS: u64 = 2;

/// Declares a world; see the [module](self).
pub fn explore(declare: impl Fn(&mut World) + Send + Sync + 'static) -> Exploration {
    Exploration { declare: Box::new(declare), active: Duration::from_secs(60) }
}

/// A world that has been declared and not run.
#[must_use = "runs nothing until it is told how many seeds"]
pub struct Exploration {
    declare: Box<dyn Fn(&mut World) + Send + Sync>,
    active: Duration,
}

impl fmt::Debug for Exploration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exploration").field("active", &self.active).finish_non_exhaustive()
    }
}

impl Exploration {
    /// For how long, in virtual time, faults go on. 60 s.
    pub const fn active(mut self, active: Duration) -> Self {
        self.active = active;
        self
    }

    /// Runs the seeds from zero on.
    ///
    /// # Panics
    /// At the least seed that fails: with the law, how it was broken, the plan, and the last steps.
    pub fn seeds(self, count: u64) {
        if let Some(failure) = self.first_failure(0..count) {
            panic!("{failure}");
        }
    }

    /// Runs the seeds from zero on, and demands that each mark is hit in one of them at least.
    ///
    /// # Panics
    /// As [`seeds`](Self::seeds), and if a mark was never hit.
    pub fn seeds_with_marks(self, count: u64) {
        let mut hit = std::collections::BTreeMap::new();
        for seed in 0..count {
            let verdict = self.run(Seed(seed), Detail::Hashes);
            if !verdict.is_clean() {
                panic!("{}", self.replay(seed));
            }
            for (name, happened) in verdict.marks {
                *hit.entry(name).or_insert(false) |= happened;
            }
        }
        let missed: Vec<_> = hit.iter().filter(|(_, hit)| !**hit).map(|(name, _)| name).collect();
        assert!(missed.is_empty(), "never happened in {count} seeds: {missed:?}");
    }

    /// Runs one seed and tells every step of it.
    #[must_use]
    pub fn replay(&self, seed: u64) -> Verdict {
        self.run(Seed(seed), Detail::Lines(0..u64::MAX))
    }

    /// The least of these seeds that fails, told with its last steps.
    ///
    /// # Panics
    /// If a thread does.
    #[must_use]
    pub fn first_failure(&self, seeds: std::ops::Range<u64>) -> Option<Verdict> {
        use std::sync::atomic::{AtomicU64, Ordering};
        let (next, least) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let seed = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end);
                    while let Some(seed) = seed() {
                        if seed > least.load(Ordering::Relaxed) {
                            return;
                        }
                        if !self.run(Seed(seed), Detail::Hashes).is_clean() {
                            least.fetch_min(seed, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let least = least.into_inner();
        (least != u64::MAX).then(|| self.replay(least))
    }

    fn run(&self, seed: Seed, detail: Detail) -> Verdict {
        let mut world = World::new(seed);
        (self.declare)(&mut world);
        world.run(self.active, detail)
    }
}

/// What came of one seed.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// What the library's laws say, and every step.
    pub report: Report,
    /// Your laws that were broken: name and story.
    pub broken: Vec<(String, String)>,
    /// Your marks, and whether they were hit.
    pub marks: Vec<(String, bool)>,
}

impl Verdict {
    /// Whether all laws held.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.report.is_clean() && self.broken.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LAST: usize = 40;
        let lines = self.report.trace.lines();
        for line in &lines[lines.len().saturating_sub(LAST)..] {
            writeln!(f, "{line}")?;
        }
        for (law, story) in &self.broken {
            writeln!(f, "seed {} broke {law:?}: {story}", self.report.seed)?;
        }
        match self.report.is_clean() && !self.broken.is_empty() {
            // The library's own laws held.
            true => {
                writeln!(f, "hash {} after {} steps", self.report.trace.hash(), self.report.trace.steps())?
            }
            false => writeln!(f, "{}", self.report)?,
        }
        if self.report.is_clean() {
            writeln!(f, "the plan:\n{}", self.report.plan)?;
        }
        writeln!(f, "to see every step: `.replay({})` in place of `.seeds(..)`", self.report.seed)
    }
}

/// The end of a run, for your laws.
#[derive(Debug)]
pub struct End<'a> {
    report: &'a Report,
    tables: &'a [Arc<str>],
}

impl End<'_> {
    /// The committed rows of a table, in order of key.
    #[must_use]
    pub fn rows(&self, table: Table) -> Vec<(Bytes, Bytes)> {
        let named = self.tables.iter().position(|name| **name == *table.name());
        let rows = named.and_then(|nth| self.report.tables.get(usize::from(world::OWN_TABLES) + nth));
        rows.cloned().unwrap_or_default()
    }

    /// All that happened.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.report.history
    }
}

type Law = Box<dyn Fn(&End<'_>) -> Result<(), String>>;
type Mark = Box<dyn Fn(&End<'_>) -> bool>;
type Make = Box<dyn Fn() -> NewEvent + Send + Sync>;

/// A world as it is declared.
pub struct World {
    seed: Seed,
    facts: Facts,
    tables: Vec<Arc<str>>,
    services: Vec<(Register, u16)>,
    sends: Vec<(TopicNo, Option<Vec<u8>>)>,
    makers: Vec<Make>,
    families: Vec<Family>,
    plan: Option<FaultPlan>,
    laws: Vec<(String, Law)>,
    marks: Vec<(String, Mark)>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("seed", &self.seed).field("facts", &self.facts).finish_non_exhaustive()
    }
}

const fn destroys_records(family: Family) -> bool {
    matches!(family.cost().destroys, Destroys::Records)
}

impl World {
    fn new(seed: Seed) -> Self {
        Self {
            seed,
            facts: Facts::default(),
            tables: Vec::new(),
            services: Vec::new(),
            sends: Vec::new(),
            makers: Vec::new(),
            families: Family::ALL.iter().copied().filter(|family| !destroys_records(*family)).collect(),
            plan: None,
            laws: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// The seed of this run, for workloads of your own.
    #[must_use]
    pub const fn seed(&self) -> Seed {
        self.seed
    }

    /// A table of the simulated database.
    pub fn table(&mut self, table: Table) {
        self.tables.push(table.name().into());
    }

    /// A service: so many processes alike, each of which registers its handlers as in production. A service has one
    /// consumer group.
    ///
    /// # Panics
    /// If it registers no handler, or for more than one group.
    pub fn service(
        &mut self,
        name: &str,
        processes: RangeInclusive<u16>,
        register: impl Fn(&Service<'_>) + Send + Sync + 'static,
    ) {
        let nth = self.services.len();
        self.facts.services.push(ServiceFacts { name: name.into() });
        service::survey(&mut self.facts, self.seed, &register);
        assert_eq!(
            self.facts.groups.len(),
            nth + 1,
            "service {name} must register handlers for one group of its own"
        );
        let mut draw = self.seed.stream("processes").nth(nth as u64);
        let count = draw.between((*processes.start()).into(), (*processes.end()).into()) as u16;
        self.services.push((Arc::new(register), count));
    }

    /// Events that are produced while faults go on, each with its key, in this order.
    pub fn produce<T, C, K>(&mut self, topic: Topic<T, C>, events: impl IntoIterator<Item = (K, C::Body)>)
    where
        T: 'static,
        C: Codec<T>,
        C::Body: Sized + Send + Sync + 'static,
        K: Into<String>,
    {
        let name = topic.name().expect("a topic of a test has a legal name");
        let number = service::topic_number(&mut self.facts, self.seed, name.as_str());
        for (key, body) in events {
            let key: String = key.into();
            self.sends.push((number, Some(key.clone().into_bytes())));
            self.makers.push(Box::new(move || topic.event(key.clone(), &body)));
        }
    }

    /// Puts families of faults in that are out by themselves: those that destroy records that were acknowledged. Laws of
    /// your own must then allow for events that are gone.
    pub fn with(&mut self, families: &[Family]) {
        self.families.extend(families);
        self.families.sort_unstable();
        self.families.dedup();
    }

    /// Takes families of faults out. All are in unless this is called, but for those that destroy records.
    pub fn without(&mut self, families: &[Family]) {
        self.families.retain(|family| !families.contains(family));
    }

    /// These faults and no others, as a plan's text: for a bad day that has a name.
    ///
    /// # Panics
    /// If the text is no plan.
    pub fn plan(&mut self, text: &str) {
        match text.parse::<FaultPlan>() {
            Ok(plan) => self.plan = Some(FaultPlan { seed: self.seed, ..plan }),
            Err(error) => panic!("{error}"),
        }
    }

    /// What must hold when all has come to rest, beside the library's own laws.
    pub fn law(&mut self, name: &str, holds: impl Fn(&End<'_>) -> Result<(), String> + 'static) {
        self.laws.push((name.to_owned(), Box::new(holds)));
    }

    /// What should happen in some run: a test that never reaches what it is for proves nothing.
    pub fn sometimes(&mut self, name: &str, happened: impl Fn(&End<'_>) -> bool + 'static) {
        self.marks.push((name.to_owned(), Box::new(happened)));
    }

    fn run(mut self, active: Duration, detail: Detail) -> Verdict {
        self.facts.services.push(ServiceFacts { name: "producer".into() });
        let producers = vec![self.planned(active)];
        let instances = self.services.iter().map(|(_, count)| *count).collect();
        let registers = self.services.into_iter().map(|(register, _)| register).collect();
        let facts = Arc::new(self.facts);
        let custom = Custom { registers, makers: self.makers, tables: self.tables.clone() };
        let scenario = Scenario::of(self.seed, facts, instances, producers, custom);
        let mut shape = scenario.shape(active);
        shape.families = self.families;
        let plan = self.plan.unwrap_or_else(|| swarm::draw(self.seed, &shape));
        let report = world::run(&scenario, &plan, self.seed, detail);
        let end = End { report: &report, tables: &self.tables };
        // A run that did not come to rest has no end to judge.
        let judged = report.is_clean().then_some(&self.laws).into_iter().flatten();
        let broken = judged.filter_map(|(name, law)| Some((name.clone(), law(&end).err()?))).collect();
        let marks = self.marks.iter().map(|(name, mark)| (name.clone(), mark(&end))).collect();
        Verdict { broken, marks, report }
    }

    /// When what is produced: calls of one to five events, spread over the time of faults.
    fn planned(&self, active: Duration) -> Vec<PlannedSend> {
        let stream = self.seed.stream("sends");
        let mut keys: Vec<&[u8]> = self.sends.iter().filter_map(|(_, key)| key.as_deref()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut numbers = std::collections::BTreeMap::new();
        let mut events = (0..).zip(&self.sends).map(|(nth, (topic, key))| {
            let key =
                key.as_deref().and_then(|key| keys.binary_search(&key).ok()).map(|nth| KeyNo(nth as u32));
            let n: &mut u32 = numbers.entry((*topic, key)).or_default();
            *n += 1;
            Sent { event: EventNo(nth), topic: *topic, key, n: *n - 1, nature: Nature::Good }
        });
        let mut calls: Vec<Vec<Sent>> = Vec::new();
        loop {
            let size = stream.named("size").nth(calls.len() as u64).between(1, 5) as usize;
            let call: Vec<_> = events.by_ref().take(size).collect();
            if call.is_empty() {
                break;
            }
            calls.push(call);
        }
        let millis = active.as_millis() as u64;
        let times: BTreeSet<_> =
            (0..calls.len() as u64).map(|nth| (stream.named("time").nth(nth).below(millis), nth)).collect();
        let times = times.into_iter().map(|(at, _)| Time::from_millis(at));
        times.zip(calls).map(|(at, events)| PlannedSend { at, events: events.into() }).collect()
    }
}
