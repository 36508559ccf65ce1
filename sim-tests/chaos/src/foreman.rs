//! The foreman: sets the scene, lets things go wrong, waits until all is at rest, and has it judged.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use evenkeel::kafka::{KafkaClient, Limits};
use evenkeel::{Bus, Kafka};
use evenkeel_core::model::Time;
use evenkeel_sim::checkers::{Breach, Judge, Law};
use evenkeel_sim::history::{Happening, History, ServiceNo};
use evenkeel_sim::seed::Seed;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::{Mutex, watch};

use crate::accidents::{self, Count, Links, Scene};
use crate::crew::{Book, Place};
use crate::link::Link;
use crate::producer::{self, Tally};
use crate::servers::{BROKERS, Cluster, Database};
use crate::shop::{self, ORDERS, PARTITIONS, PRODUCER};
use crate::truth::{self, Truth};
use crate::{Anyhow, Options, chronicle, journal, report};

/// Within this all must have come to rest when nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often it is told how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// Runs the whole; answers whether all laws held.
pub(crate) async fn run(options: &Options) -> Result<bool, Anyhow> {
    let seed = Seed(options.seed.map_or_else(getrandom::u64, Ok)?);
    println!(
        "seed {seed}, {} minutes, {} workers; files in {}",
        options.minutes,
        options.workers,
        options.folder.display()
    );
    let folder = &options.folder;
    if folder.exists() {
        Cluster::end_leftovers(folder).await;
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    let folder = folder.canonicalize()?;
    let mut interrupted = signal_watch()?;
    let database = Database::start().await?;
    let scene = tokio::select! {
        scene = set(options, &folder, &database) => scene,
        _ = interrupted.wait_for(|is| *is) => Err("interrupted before it began".into()),
    };
    let (cluster, links, book, places) = match scene {
        Ok(scene) => scene,
        Err(error) => {
            database.end().await;
            return Err(error);
        }
    };
    let scene = Arc::new(Scene {
        begun: Instant::now(),
        places: places.into_iter().map(Mutex::new).collect(),
        links: links.into_iter().map(Mutex::new).collect(),
        cluster: Mutex::new(cluster),
        database: Mutex::new(database),
    });
    let outcome = play(options, &folder, seed, &scene, &book, interrupted).await;
    for place in &scene.places {
        let _gone = place.lock().await.kill().await;
    }
    scene.cluster.lock().await.end().await;
    scene.database.lock().await.end().await;
    let clean = outcome?;
    if clean {
        std::fs::remove_dir_all(&folder)?;
    } else {
        println!("\nNOT CLEAN; journals and logs are in {}", folder.display());
    }
    Ok(clean)
}

/// Becomes true at Ctrl-C or SIGTERM.
fn signal_watch() -> Result<watch::Receiver<bool>, Anyhow> {
    use tokio::signal::unix::{SignalKind, signal};
    let (told, interrupted) = watch::channel(false);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            println!("       ending early: accidents heal, then all is judged");
            told.send_replace(true);
        }
    });
    Ok(interrupted)
}

type Set = (Cluster, Vec<Links>, Book, Vec<Place>);

/// Starts the cluster and hires the workers.
async fn set(options: &Options, folder: &Path, database: &Database) -> Result<Set, Anyhow> {
    let mut links = Vec::new();
    let name = |client: usize| format!("CLIENT{client}");
    let mut clients = Vec::new();
    for client in 0..=usize::from(options.workers) {
        let mut kafka = Vec::new();
        for _ in 0..BROKERS {
            kafka.push(Link::begin().await?);
        }
        clients.push((name(client), kafka.iter().map(Link::port).collect::<Vec<_>>()));
        let to_database = Link::begin().await?;
        to_database.lead_to(database.port());
        links.push(Links { kafka, database: to_database });
    }
    println!("starting three brokers");
    let cluster = Cluster::start(folder, &clients).await?;
    let book = Book::default();
    let mut places = Vec::new();
    for (client, links) in links.iter().enumerate() {
        for (nth, link) in links.kafka.iter().enumerate() {
            link.lead_to(cluster.port(nth + 1, &name(client))?);
        }
        if client > 0 {
            let database = database.url(links.database.port());
            let kafka = bootstrap(links);
            places.push(Place::new(book.clone(), folder, client as u16, kafka, database, options.plant));
        }
    }
    Ok((cluster, links, book, places))
}

fn bootstrap(links: &Links) -> String {
    let all: Vec<_> = links.kafka.iter().map(|link| format!("127.0.0.1:{}", link.port())).collect();
    all.join(",")
}

/// What the foreman looks at past all links.
struct View {
    kafka: KafkaClient,
    pool: PgPool,
}

impl View {
    async fn open(scene: &Scene) -> Result<Self, Anyhow> {
        let direct = scene.cluster.lock().await.direct.clone();
        let limits = Limits { request: Duration::from_secs(5), ..Limits::default() };
        let kafka = Kafka::new(direct).client_id("foreman").limits(limits).connect().await?;
        let database = scene.database.lock().await;
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_secs(3))
            .connect_lazy(&database.url(database.port()))?;
        Ok(Self { kafka, pool })
    }

    /// How many effects there are; `None` while the database does not answer.
    async fn effects(&self) -> Option<i64> {
        let asked = sqlx::query_scalar("select count(*) from effects").fetch_one(&self.pool);
        tokio::time::timeout(Duration::from_secs(3), asked).await.ok()?.ok()
    }
}

/// The play itself, to its last line.
async fn play(
    options: &Options,
    folder: &Path,
    seed: Seed,
    scene: &Arc<Scene>,
    book: &Book,
    mut interrupted: watch::Receiver<bool>,
) -> Result<bool, Anyhow> {
    let view = View::open(scene).await?;
    let direct = scene.cluster.lock().await.direct.clone();
    let bus = Bus::builder(shop::SOURCE).kafka(Kafka::new(direct)).open().await?;
    bus.ensure_topic(ORDERS, PARTITIONS, []).await?;
    book.tell(Happening::LifeBegan { life: PRODUCER, service: ServiceNo(0), handlers: [].into() });
    for place in &scene.places {
        place.lock().await.hire()?;
    }
    let tally = Arc::new(Tally::default());
    let (stop_selling, selling) = watch::channel(false);
    let kafka = bootstrap(&*scene.links[0].lock().await);
    let mut production =
        tokio::spawn(producer::produce(kafka, seed, book.clone(), Arc::clone(&tally), selling));
    let (calm_down, calmed) = watch::channel(false);
    let mut accidents = None;
    let deadline = tokio::time::sleep(Duration::from_secs_f64(options.minutes * 60.0));
    tokio::pin!(deadline);
    let mut progress = tokio::time::interval(PROGRESS);
    loop {
        tokio::select! {
            () = &mut deadline => break,
            _ = interrupted.wait_for(|is| *is) => break,
            ended = &mut production => {
                ended??;
                return Err("the producer ended by itself".into());
            }
            _ = progress.tick() => {
                look_after(scene).await?;
                let effects = view.effects().await;
                tell_progress(scene, &tally, effects, None);
                if accidents.is_none() && effects.is_some_and(|effects| effects > 0) {
                    let (scene, calmed) = (Arc::clone(scene), calmed.clone());
                    accidents =
                        Some(tokio::spawn(accidents::happen(scene, seed, options.calm, options.only, calmed)));
                }
                if accidents.as_ref().is_some_and(tokio::task::JoinHandle::is_finished) {
                    break;
                }
            }
        }
    }
    println!("{:>5.1}s    no more accidents; those that last heal", scene.begun.elapsed().as_secs_f64());
    calm_down.send_replace(true);
    let count = match accidents {
        Some(accidents) => accidents.await??,
        None => return Err("no event was handled, so there was nothing to disturb".into()),
    };
    stop_selling.send_replace(true);
    production.await??;
    book.tell(Happening::Quiet);
    let rested = come_to_rest(scene, &view, &tally).await?;
    for place in &scene.places {
        place.lock().await.dismiss().await?;
    }
    println!("{:>5.1}s    all workers have left", scene.begun.elapsed().as_secs_f64());
    judge(folder, scene, book, &view, &tally, &count, rested).await
}

/// Replaces workers that ended by themselves, as a supervisor would.
async fn look_after(scene: &Scene) -> Result<(), Anyhow> {
    for (nth, place) in scene.places.iter().enumerate() {
        // Who meets with an accident is looked after by it.
        let Ok(mut place) = place.try_lock() else { continue };
        if place.look_after()? {
            println!(
                "{:>5.1}s    worker {} gave up and was replaced",
                scene.begun.elapsed().as_secs_f64(),
                nth + 1
            );
        }
    }
    Ok(())
}

fn tell_progress(scene: &Scene, tally: &Tally, effects: Option<i64>, lag: Option<u64>) {
    let mut line = format!(
        "{:>5.1}s  produced {:>7}  effects {:>7}",
        scene.begun.elapsed().as_secs_f64(),
        tally.acknowledged.load(Ordering::Relaxed),
        effects.map_or_else(|| "?".to_owned(), |effects| effects.to_string()),
    );
    if let Some(lag) = lag {
        let _infallible = write!(line, "  lag {lag:>7}");
    }
    println!("{line}");
}

/// Waits until all is committed. Answers whether that came in time.
async fn come_to_rest(scene: &Scene, view: &View, tally: &Tally) -> Result<bool, Anyhow> {
    let begun = Instant::now();
    let mut progress = tokio::time::interval(Duration::from_secs(2));
    while begun.elapsed() < PATIENCE {
        progress.tick().await;
        look_after(scene).await?;
        match truth::lag(&view.kafka).await {
            Ok(lag) => {
                tell_progress(scene, tally, view.effects().await, Some(lag));
                if lag == 0 {
                    return Ok(true);
                }
            }
            Err(error) => println!("{:>5.1}s  lag unknown: {error}", scene.begun.elapsed().as_secs_f64()),
        }
    }
    println!("not at rest after {PATIENCE:?}");
    Ok(false)
}

/// Reads the truth, lets the checkers judge, and prints the table.
async fn judge(
    folder: &Path,
    scene: &Scene,
    book: &Book,
    view: &View,
    tally: &Tally,
    accidents: &Count,
    rested: bool,
) -> Result<bool, Anyhow> {
    let truth = Truth::read(&view.kafka, &view.pool).await?;
    let (mut journals, mut gave_up) = (Vec::new(), 0);
    for place in &scene.places {
        let place = place.lock().await;
        gave_up += place.gave_up;
        for (life, path) in place.journals() {
            // Who was killed at once has written nothing.
            journals.push((life, if path.exists() { journal::read(&path)? } else { Vec::new() }));
        }
    }
    let lives = journals.len();
    let told = chronicle::write(&shop::facts(), book.pages(), &journals, &truth);
    let (judge, last) = judged(&told.history, rested);
    report::tell_accidents(accidents);
    println!("  {:<34} {lives:>9}", "lives of workers");
    println!("  {:<34} {gave_up:>9}", "workers that gave up");
    let unknown = tally.unknown.load(Ordering::Relaxed);
    let acknowledged = tally.acknowledged.load(Ordering::Relaxed);
    let counted = report::tell_figures(&told.history, &truth, acknowledged);
    println!("  {:<34} {unknown:>9}", "of unknown outcome to the producer");
    let lawful = report::tell_laws(&judge);
    for strange in told.strange.iter().take(10) {
        println!("strange: {strange}");
    }
    let clean = counted && lawful && rested && told.strange.is_empty();
    if !clean {
        write_history(&folder.join("history.txt"), &told.history, last)?;
    }
    Ok(clean)
}

/// Lets the checkers of the simulated world judge; answers up to where they read.
fn judged(history: &History, rested: bool) -> (Judge, usize) {
    let mut judge = Judge::new(Arc::clone(&history.facts));
    let mut end = Time::ZERO;
    for (nth, (at, happening)) in history.happenings.iter().enumerate() {
        end = *at;
        if judge.see(*at, happening).is_err() {
            return (judge, nth + 1);
        }
    }
    if rested {
        judge.came_to_rest();
    } else {
        println!(
            "\n{}",
            Breach::new(Law::Liveness, format!("something was open {PATIENCE:?} after all had healed"))
        );
    }
    // A breach is kept, and told with the laws.
    let _ = judge.rest(end);
    (judge, history.happenings.len())
}

/// The history in words, up to the breach.
fn write_history(path: &Path, history: &History, last: usize) -> Result<(), Anyhow> {
    let mut text = String::new();
    for (at, happening) in &history.happenings[..last] {
        let _infallible = writeln!(text, "{:>14.6} {}", at.as_nanos() as f64 / 1e9, history.line(happening));
    }
    std::fs::write(path, text)?;
    println!("the history up to the breach is in {}", path.display());
    Ok(())
}
