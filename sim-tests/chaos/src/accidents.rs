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
use crate::servers::{BROKERS, Cluster, Database, STOPPING, Signal, gone, send};
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
    let of_interest = |kind: &Kind| only.is_none_or(|only| only == *kind);
    let all: Vec<Kind> = Kind::value_variants().iter().copied().filter(of_interest).collect();
    let (mut deck, mut count, mut running) = (Vec::new(), Count::new(), JoinSet::new());
    for nth in 0.. {
        let mut draw = seed.stream("accidents").nth(nth);
        let wait = Duration::from_millis(draw.between(200, calm));
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            () = tokio::time::sleep(wait) => {}
        }
        while let Some(ended) = running.try_join_next() {
            match ended?? {
                Ended::Happened(kind) => *count.entry(kind).or_default() += 1,
                Ended::Impossible(kind) => deck.push(kind),
            }
        }
        if deck.is_empty() {
            deck.clone_from(&all);
        }
        let kind = deck.swap_remove(draw.below(deck.len() as u64) as usize);
        running.spawn(strike(Arc::clone(&scene), kind, draw));
    }
    while let Some(ended) = running.join_next().await {
        if let Ended::Happened(kind) = ended?? {
            *count.entry(kind).or_default() += 1;
        }
    }
    Ok(count)
}

/// What became of an accident.
enum Ended {
    Happened(Kind),
    /// Whoever could have met with it was meeting with another one.
    Impossible(Kind),
}

/// Whoever meets with no other accident: the first from a drawn place on.
fn victim<'a, T>(of: &'a [Mutex<T>], draw: &mut Draw) -> Option<(usize, MutexGuard<'a, T>)> {
    let first = draw.below(of.len() as u64) as usize;
    let mut all = (0..of.len()).map(|nth| (first + nth) % of.len());
    all.find_map(|nth| Some((nth, of[nth].try_lock().ok()?)))
}

async fn strike(scene: Arc<Scene>, kind: Kind, mut draw: Draw) -> Result<Ended, Anyhow> {
    let (least, most) = kind.lasts();
    let lasts = Duration::from_millis(draw.between(least, most));
    let happened = match kind {
        Kind::KillWorker | Kind::PauseWorker | Kind::StopWorker => {
            let Some((nth, place)) = victim(&scene.places, &mut draw) else {
                return Ok(Ended::Impossible(kind));
            };
            worker_fails(&scene, kind, lasts, nth + 1, place).await
        }
        Kind::CutKafka | Kind::SilenceKafka => {
            let Some((client, links)) = victim(&scene.links, &mut draw) else {
                return Ok(Ended::Impossible(kind));
            };
            kafka_is_out_of_reach(&scene, kind, lasts, client, &links.kafka, &mut draw).await;
            Ok(())
        }
        Kind::CutDatabase | Kind::SilenceDatabase => {
            // The producer, who comes first, has no link to it.
            let found = victim(&scene.links[1..], &mut draw);
            let Some((nth, links)) = found else { return Ok(Ended::Impossible(kind)) };
            scene.tell(format_args!("{}: of worker {}, for {lasts:.1?}", kind.name(), nth + 1));
            break_links(&[&links.database], kind, lasts).await;
            Ok(())
        }
        Kind::KillBroker | Kind::StopBroker | Kind::PauseBroker => {
            let Ok(cluster) = scene.cluster.try_lock() else { return Ok(Ended::Impossible(kind)) };
            let node = draw.between(1, BROKERS as u64) as usize;
            broker_fails(&scene, kind, lasts, &cluster, node).await
        }
        Kind::KillDatabase | Kind::StopDatabase | Kind::PauseDatabase => {
            let Ok(database) = scene.database.try_lock() else { return Ok(Ended::Impossible(kind)) };
            database_fails(&scene, kind, lasts, &database).await
        }
    };
    happened.map_err(|error| format!("{}: {error}", kind.name()))?;
    Ok(Ended::Happened(kind))
}

async fn worker_fails(
    scene: &Scene,
    kind: Kind,
    lasts: Duration,
    number: usize,
    mut place: MutexGuard<'_, Place>,
) -> Result<(), Anyhow> {
    scene.tell(format_args!("{}: {number}, for {lasts:.1?}", kind.name()));
    match kind {
        Kind::PauseWorker => {
            place.pause().await?;
            tokio::time::sleep(lasts).await;
            return place.resume().await;
        }
        Kind::StopWorker => {
            let how = if place.dismiss().await? { "cleanly" } else { "in haste" };
            scene.tell(format_args!("worker {number} left {how}"));
        }
        _ => place.kill().await?,
    }
    tokio::time::sleep(lasts).await;
    place.hire()
}

async fn kafka_is_out_of_reach(
    scene: &Scene,
    kind: Kind,
    lasts: Duration,
    client: usize,
    links: &[Link],
    draw: &mut Draw,
) {
    // Of one broker, or of all of them half of the time.
    let one = draw.below(2 * BROKERS as u64) as usize;
    let broken: Vec<&Link> = links.get(one).map_or_else(|| links.iter().collect(), |link| vec![link]);
    let whose = if client == 0 { "the producer".to_owned() } else { format!("worker {client}") };
    scene.tell(format_args!("{}: {} of {whose}, for {lasts:.1?}", kind.name(), broken.len()));
    break_links(&broken, kind, lasts).await;
}

async fn break_links(links: &[&Link], kind: Kind, lasts: Duration) {
    let is_cut = matches!(kind, Kind::CutKafka | Kind::CutDatabase);
    for link in links {
        link.set(if is_cut { State::Cut } else { State::Silent });
    }
    tokio::time::sleep(lasts).await;
    for link in links {
        link.set(State::Whole);
    }
}

async fn broker_fails(
    scene: &Scene,
    kind: Kind,
    lasts: Duration,
    cluster: &Cluster,
    node: usize,
) -> Result<(), Anyhow> {
    let process = cluster.process(node)?;
    scene.tell(format_args!("{}: {node}, for {lasts:.1?}", kind.name()));
    if kind == Kind::PauseBroker {
        send(Signal::Stop, &[process]).await?;
        tokio::time::sleep(lasts).await;
        return send(Signal::Continue, &[process]).await;
    }
    let signal = if kind == Kind::KillBroker { Signal::Kill } else { Signal::Terminate };
    send(signal, &[process]).await?;
    if !gone(&[process], STOPPING).await {
        scene.tell(format_args!("broker {node} did not stop within {STOPPING:?}, so it is killed"));
        send(Signal::Kill, &[process]).await?;
        gone(&[process], STOPPING).await;
    }
    tokio::time::sleep(lasts).await;
    cluster.revive(node).await?;
    scene.tell(format_args!("broker {node} is back"));
    Ok(())
}

async fn database_fails(
    scene: &Scene,
    kind: Kind,
    lasts: Duration,
    database: &Database,
) -> Result<(), Anyhow> {
    scene.tell(format_args!("{}, for {lasts:.1?}", kind.name()));
    match kind {
        Kind::PauseDatabase => {
            let processes = database.processes().await?;
            send(Signal::Stop, &processes).await?;
            tokio::time::sleep(lasts).await;
            return send(Signal::Continue, &processes).await;
        }
        Kind::KillDatabase => database.kill().await?,
        _ => database.stop("fast").await?,
    }
    tokio::time::sleep(lasts).await;
    database.start_again().await
}
