//! What goes wrong: drawn from the seed, told as it happens, and healed after a while.
//!
//! A kind of accident happens again only when all others had their turn. Accidents overlap, but not on the same victim,
//! and no two brokers are away at once: what has two replicas in sync stays writable.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use evenkeel_sim::seed::{Draw, Seed};
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::task::JoinSet;

use crate::Anyhow;
use crate::crew::Place;
use crate::link::{Link, State};
use crate::servers::{BROKERS, Cluster, Database, Signal, send};
use crate::shop::SESSION;

/// A kind of accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    KillWorker,
    PauseWorker,
    StopWorker,
    CutKafka,
    SilenceKafka,
    CutDatabase,
    SilenceDatabase,
    KillBroker,
    StopBroker,
    PauseBroker,
    KillDatabase,
    StopDatabase,
    PauseDatabase,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KillWorker => "worker killed",
            Self::PauseWorker => "worker paused",
            Self::StopWorker => "worker restarted",
            Self::CutKafka => "link to brokers cut",
            Self::SilenceKafka => "link to brokers silent",
            Self::CutDatabase => "link to database cut",
            Self::SilenceDatabase => "link to database silent",
            Self::KillBroker => "broker killed",
            Self::StopBroker => "broker restarted",
            Self::PauseBroker => "broker paused",
            Self::KillDatabase => "database killed",
            Self::StopDatabase => "database restarted",
            Self::PauseDatabase => "database paused",
        }
    }

    /// How long it lasts, from and to, in milliseconds.
    const fn lasts(self) -> (u64, u64) {
        let session = SESSION.as_millis() as u64;
        match self {
            Self::KillWorker => (1, 4_000),
            // Beyond the session more often than not: what wakes up then has lost its partitions.
            Self::PauseWorker => (session / 2, session * 5 / 2),
            Self::StopWorker => (1, 2_000),
            Self::CutKafka | Self::SilenceKafka => (500, session * 2),
            Self::CutDatabase | Self::SilenceDatabase => (500, 8_000),
            Self::KillBroker | Self::StopBroker => (200, 8_000),
            Self::PauseBroker => (500, 10_000),
            Self::KillDatabase | Self::StopDatabase => (1, 5_000),
            Self::PauseDatabase => (500, 6_000),
        }
    }
}

/// The links of one client: to each broker, and to the database.
pub(crate) struct Links {
    pub(crate) kafka: Vec<Link>,
    pub(crate) database: Link,
}

/// Everything that accidents happen to.
pub(crate) struct Scene {
    pub(crate) begun: Instant,
    pub(crate) places: Vec<Mutex<Place>>,
    /// The producer's, then those of the workers.
    pub(crate) links: Vec<Mutex<Links>>,
    pub(crate) cluster: Mutex<Cluster>,
    pub(crate) database: Mutex<Database>,
}

impl Scene {
    fn tell(&self, what: impl fmt::Display) {
        println!("{:>5.1}s    {what}", self.begun.elapsed().as_secs_f64());
    }
}

/// How often each kind happened.
pub(crate) type Count = BTreeMap<Kind, u64>;

/// Has accidents happen until told to stop; returns when all of them have healed.
pub(crate) async fn happen(
    scene: Arc<Scene>,
    seed: Seed,
    calm: u64,
    only: Option<Kind>,
    mut stop: watch::Receiver<bool>,
) -> Result<Count, Anyhow> {
    let all: Vec<Kind> = Kind::value_variants().iter().copied().filter(|kind| only.is_none_or(|only| only == *kind)).collect();
    let (mut deck, mut count, mut running) = (Vec::new(), Count::new(), JoinSet::new());
    for nth in 0.. {
        let mut draw = seed.stream("accidents").nth(nth);
        let wait = Duration::from_millis(draw.between(200, calm));
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            () = tokio::time::sleep(wait) => {}
        }
        if deck.is_empty() {
            deck.clone_from(&all);
        }
        let kind = deck.swap_remove(draw.below(deck.len() as u64) as usize);
        running.spawn(strike(Arc::clone(&scene), kind, draw));
        while let Some(done) = running.try_join_next() {
            *count.entry(done??).or_default() += 1;
        }
    }
    while let Some(done) = running.join_next().await {
        *count.entry(done??).or_default() += 1;
    }
    Ok(count)
}

/// Waits for a victim that meets with no other accident: the first free one from a drawn place on.
async fn victim<'a, T>(of: &'a [Mutex<T>], draw: &mut Draw) -> (usize, MutexGuard<'a, T>) {
    let first = draw.below(of.len() as u64) as usize;
    let free = (0..of.len()).map(|nth| (first + nth) % of.len()).find_map(|nth| Some((nth, of[nth].try_lock().ok()?)));
    match free {
        Some(free) => free,
        None => (first, of[first].lock().await),
    }
}

async fn strike(scene: Arc<Scene>, kind: Kind, mut draw: Draw) -> Result<Kind, Anyhow> {
    let (least, most) = kind.lasts();
    let lasts = Duration::from_millis(draw.between(least, most));
    let what = kind.name();
    match kind {
        Kind::KillWorker | Kind::PauseWorker | Kind::StopWorker => {
            let (nth, mut place) = victim(&scene.places, &mut draw).await;
            scene.tell(format_args!("{what}: {}, for {lasts:.1?}", nth + 1));
            match kind {
                Kind::KillWorker => place.kill().await?,
                Kind::PauseWorker => place.pause().await?,
                _ => {
                    let clean = place.dismiss().await?;
                    scene.tell(format_args!("worker {} left {}", nth + 1, if clean { "cleanly" } else { "in haste" }));
                }
            }
            tokio::time::sleep(lasts).await;
            match kind {
                Kind::PauseWorker => place.resume().await?,
                _ => place.hire()?,
            }
        }
        Kind::CutKafka | Kind::SilenceKafka | Kind::CutDatabase | Kind::SilenceDatabase => {
            let to_kafka = matches!(kind, Kind::CutKafka | Kind::SilenceKafka);
            // The producer has no link to the database.
            let clients = if to_kafka { &scene.links[..] } else { &scene.links[1..] };
            let (nth, links) = victim(clients, &mut draw).await;
            let whose = if to_kafka { nth } else { nth + 1 };
            let state =
                if matches!(kind, Kind::CutKafka | Kind::CutDatabase) { State::Cut } else { State::Silent };
            // Of all brokers half of the time, or of one.
            let one = draw.below(2 * BROKERS as u64) as usize;
            let cut: Vec<&Link> = match (to_kafka, links.kafka.get(one)) {
                (false, _) => vec![&links.database],
                (true, Some(link)) => vec![link],
                (true, None) => links.kafka.iter().collect(),
            };
            let whose = if whose == 0 { "the producer".to_owned() } else { format!("worker {whose}") };
            scene.tell(format_args!("{what}: {} of {whose}, for {lasts:.1?}", cut.len()));
            for link in &cut {
                link.set(state);
            }
            tokio::time::sleep(lasts).await;
            for link in &cut {
                link.set(State::Whole);
            }
        }
        Kind::KillBroker | Kind::StopBroker | Kind::PauseBroker => {
            let cluster = scene.cluster.lock().await;
            let node = draw.between(1, BROKERS as u64) as usize;
            let process = cluster.process(node)?;
            scene.tell(format_args!("{what}: {node}, for {lasts:.1?}"));
            if kind == Kind::PauseBroker {
                send(Signal::Stop, &[process]).await?;
                tokio::time::sleep(lasts).await;
                send(Signal::Continue, &[process]).await?;
            } else {
                let signal = if kind == Kind::KillBroker { Signal::Kill } else { Signal::Terminate };
                send(signal, &[process]).await?;
                if tokio::time::timeout(Duration::from_secs(20), cluster.gone(node)).await.is_err() {
                    send(Signal::Kill, &[process]).await?;
                    cluster.gone(node).await?;
                }
                tokio::time::sleep(lasts).await;
                cluster.revive(node).await?;
                scene.tell(format_args!("broker {node} is back"));
            }
        }
        Kind::KillDatabase | Kind::StopDatabase | Kind::PauseDatabase => {
            let database = scene.database.lock().await;
            scene.tell(format_args!("{what}, for {lasts:.1?}"));
            let processes = database.processes().await?;
            match kind {
                Kind::KillDatabase => send(Signal::Kill, &processes).await?,
                Kind::PauseDatabase => send(Signal::Stop, &processes).await?,
                _ => database.stop("fast").await?,
            }
            tokio::time::sleep(lasts).await;
            match kind {
                Kind::PauseDatabase => send(Signal::Continue, &processes).await?,
                _ => database.start_again().await?,
            }
        }
    }
    Ok(kind)
}
