//! The foreman: places the orders, hires and fires the workers, counts in the end.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use evenkeel::{Bus, Kafka, Topic};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::broker::Broker;
use crate::store::{Books, Count, Url};
use crate::{Anyhow, OrderPlaced, Shop};

/// Without any new charge for so long, something is wrong.
const PATIENCE: Duration = Duration::from_secs(90);
/// How many orders go into one call of `produce`.
const ORDERS_A_CALL: u64 = 1_000;

/// Runs the shop, which opened when it was `begun`; answers whether its books are right.
pub(crate) async fn run(shop: &Shop, topic: Topic<OrderPlaced>, begun: Instant) -> Result<bool, Anyhow> {
    let name = topic.name()?;
    let broker = Broker::find(shop).await?;
    println!("broker {} after {} ms", broker.kafka, begun.elapsed().as_millis());
    let books = Books::open(Url::parse(&shop.database)).await?;
    let bus = Bus::builder("shop").kafka(Kafka::new(broker.kafka.split(','))).open().await?;
    bus.ensure_topic(name.as_str(), shop.partitions, []).await?;
    println!(
        "{} orders of {} customers over {} partitions of {name}; every line is a second",
        shop.orders, shop.customers, shop.partitions
    );

    let produced = Arc::new(AtomicU64::new(0));
    // However fast the workers are, something is left to do at each accident.
    let (allow, allowed) = watch::channel((shop.orders * 3 / 4).max(1));
    let production = produce(bus, topic, shop.orders, shop.customers, allowed, Arc::clone(&produced));
    let production = tokio::spawn(production);
    let mut crew = Crew::new(shop, &broker.kafka, name.as_str());
    let mut first = crew.hire("ann")?;
    let mut second = crew.hire("ben")?;

    let mut plan = Step::KillHalfWay;
    let first_event = first_charge(&books, begun).await?;
    let (mut charged, mut last_news) = (0, Instant::now());
    let mut second_hand = tokio::time::interval(Duration::from_secs(1));
    while charged < shop.orders {
        second_hand.tick().await;
        let now = books.charges().await?;
        println!(
            "{:>4}s  produced {:>7}  charged {:>7}  {:>6}/s  rebalances {}",
            begun.elapsed().as_secs(),
            produced.load(Ordering::Relaxed),
            now,
            now.saturating_sub(charged),
            crew.rebalances.load(Ordering::Relaxed),
        );
        if now != charged {
            last_news = Instant::now();
        } else if last_news.elapsed() > PATIENCE {
            println!("no charge for {PATIENCE:?}: giving up");
            break;
        }
        charged = now;
        match plan {
            Step::KillHalfWay if charged >= shop.orders / 2 => {
                println!("       ann is killed (SIGKILL) in the middle of her work; cat takes over");
                first.kill().await?;
                first = crew.hire("cat")?;
                allow.send_replace((shop.orders * 7 / 8).max(1));
                plan = Step::RestartLater;
            }
            Step::RestartLater if charged >= shop.orders * 3 / 4 => {
                println!("       ben is asked to stop (SIGTERM), and starts again");
                dismiss(&mut second).await?;
                second = crew.hire("ben")?;
                allow.send_replace(shop.orders);
                plan = Step::Done;
            }
            Step::KillHalfWay | Step::RestartLater | Step::Done => {}
        }
    }
    let took = begun.elapsed();
    allow.send_replace(shop.orders);
    let production = production.await?;
    dismiss(&mut first).await?;
    dismiss(&mut second).await?;
    let rebalances = crew.rebalances.load(Ordering::Relaxed);
    if !matches!(plan, Step::Done) {
        println!("the work was over before all of the accidents happened: use more --orders");
    }
    let right = report(produced.load(Ordering::Relaxed), books.count().await?, rebalances);
    println!("events/s              {:>9.0}", charged as f64 / (took - first_event).as_secs_f64());
    println!("first event after     {:>9.3} s", first_event.as_secs_f64());
    println!("all of it             {:>9.3} s", took.as_secs_f64());
    if let Some(memory) = broker.memory().await? {
        println!("the broker's memory   {:>9.1} MiB", memory as f64 / 1_024.0);
    }
    production?;
    Ok(right && matches!(plan, Step::Done))
}

/// Waits for the first charge, and tells how long after the shop `begun` that was.
async fn first_charge(books: &Books, begun: Instant) -> Result<Duration, Anyhow> {
    let mut glance = tokio::time::interval(Duration::from_millis(5));
    while books.charges().await? == 0 && begun.elapsed() < PATIENCE {
        glance.tick().await;
    }
    Ok(begun.elapsed())
}

/// What is to go wrong next.
#[derive(Debug, Clone, Copy)]
enum Step {
    KillHalfWay,
    RestartLater,
    Done,
}

async fn produce(
    bus: Bus,
    topic: Topic<OrderPlaced>,
    orders: u64,
    customers: u64,
    mut allowed: watch::Receiver<u64>,
    produced: Arc<AtomicU64>,
) -> Result<(), Anyhow> {
    let mut first = 0;
    while first < orders {
        let end = (first + ORDERS_A_CALL).min(*allowed.wait_for(|allowed| first < *allowed).await?);
        let call = (first..end).map(|order| {
            let customer = order % customers;
            let placed =
                OrderPlaced { order, customer, nth: order / customers + 1, cents: 100 + order % 900 };
            topic.event(customer, &placed)
        });
        let acknowledged = bus.produce(call).await?.len() as u64;
        produced.fetch_add(acknowledged, Ordering::Relaxed);
        first = end;
    }
    Ok(())
}

/// The workers' terms of employment.
struct Crew<'a> {
    shop: &'a Shop,
    kafka: &'a str,
    topic: &'a str,
    rebalances: Arc<AtomicU64>,
}

impl<'a> Crew<'a> {
    fn new(shop: &'a Shop, kafka: &'a str, topic: &'a str) -> Self {
        Self { shop, kafka, topic, rebalances: Arc::default() }
    }

    fn hire(&mut self, name: &str) -> Result<Child, Anyhow> {
        let mut worker = Command::new(std::env::current_exe()?)
            .args(["--kafka", self.kafka, "--database", &self.shop.database, "--topic", self.topic])
            .args(["worker", name])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let words = worker.stdout.take().ok_or("a worker without a voice")?;
        let (name, rebalances) = (name.to_owned(), Arc::clone(&self.rebalances));
        tokio::spawn(async move {
            let mut lines = BufReader::new(words).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if line.starts_with("assigned") {
                    rebalances.fetch_add(1, Ordering::Relaxed);
                }
                println!("       {name}: {line}");
            }
        });
        Ok(worker)
    }
}

/// Asks a worker to stop, and waits until it has.
async fn dismiss(worker: &mut Child) -> Result<(), Anyhow> {
    if let Some(id) = worker.id() {
        Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
    }
    let status = worker.wait().await?;
    if status.success() { Ok(()) } else { Err(format!("a worker ended with {status}").into()) }
}

/// Prints the table; answers whether the books are right.
fn report(produced: u64, count: Count, rebalances: u64) -> bool {
    let lost = produced.saturating_sub(count.orders);
    let twice = count.charges - count.orders;
    println!();
    println!("produced              {produced:>9}");
    println!("charged               {:>9}", count.charges);
    println!("lost                  {lost:>9}");
    println!("charged twice         {twice:>9}");
    println!("out of order per key  {:>9}", count.disorder);
    println!("rebalances            {rebalances:>9}");
    lost == 0 && twice == 0 && count.disorder == 0
}
