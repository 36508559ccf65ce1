//! Produces orders, and keeps what it was told of each. It does so in lanes: those of a key are all of one lane, and each
//! lane waits for an answer before it goes on, so that the order of sending is certain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use evenkeel::kafka::Limits;
use evenkeel::{Bus, Kafka, ProduceSettings};
use evenkeel_sim::history::{EventNo, Fate, Happening, SendNo, Sent};
use evenkeel_sim::seed::Seed;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Anyhow;
use crate::crew::Book;
use crate::shop::{self, ORDERS, Order, PRODUCER, TOPIC, Temper};

const LANES: u32 = 6;
/// How often each lane sends.
const PACE: Duration = Duration::from_millis(120);
/// The most orders of one call.
const MOST: u64 = 4;

/// How far it is.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) acknowledged: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) rejected: AtomicU64,
}

struct Desk {
    bus: Bus,
    seed: Seed,
    book: Book,
    tally: Arc<Tally>,
    events: AtomicU32,
    sends: AtomicU32,
}

/// Produces until told to stop, and waits for the answers.
pub(crate) async fn produce(
    kafka: String,
    seed: Seed,
    book: Book,
    tally: Arc<Tally>,
    stop: watch::Receiver<bool>,
) -> Result<(), Anyhow> {
    let limits =
        Limits { connect: Duration::from_secs(4), request: Duration::from_secs(8), ..Limits::default() };
    let settings = ProduceSettings::default()
        .delivery_timeout(Duration::from_secs(40))
        .request_timeout(Duration::from_secs(8));
    let bus = Bus::builder(shop::SOURCE)
        .kafka(Kafka::new(kafka.split(',')).client_id("producer").limits(limits))
        .producing(settings)
        .open()
        .await?;
    let desk = Arc::new(Desk { bus, seed, book, tally, events: AtomicU32::new(0), sends: AtomicU32::new(0) });
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        lanes.spawn(sell(Arc::clone(&desk), lane, stop.clone()));
    }
    while let Some(lane) = lanes.join_next().await {
        lane?;
    }
    Ok(())
}

async fn sell(desk: Arc<Desk>, lane: u32, stop: watch::Receiver<bool>) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut numbers = BTreeMap::new();
    while !*stop.borrow() {
        pace.tick().await;
        let send = SendNo(desk.sends.fetch_add(1, Ordering::Relaxed));
        let count = desk.seed.stream("calls").nth(send.0.into()).between(1, MOST) as u32;
        let first = desk.events.fetch_add(count, Ordering::Relaxed);
        let sent: Arc<[Sent]> = (first..first + count)
            .map(|event| {
                let key = shop::key_of(desk.seed, event, lane, LANES);
                let n = numbers.entry(key).or_insert(0);
                *n += 1;
                let nature = Temper::of(desk.seed, event).nature();
                Sent { event: EventNo(event), topic: TOPIC, key: Some(key), n: *n - 1, nature }
            })
            .collect();
        let events = sent.iter().filter_map(|sent| {
            let order = Order { event: sent.event.0, temper: Temper::of(desk.seed, sent.event.0) };
            Some(ORDERS.event(sent.key?, &order).id(shop::id(sent.event)))
        });
        desk.book.tell(Happening::SendBegan { send, life: PRODUCER, events: Arc::clone(&sent) });
        let outcome = desk.bus.produce(events).await;
        let fates: Arc<[Fate]> = Fate::of_call(&outcome, sent.len()).into();
        for fate in fates.iter() {
            let counter = match fate {
                Fate::Written(..) => &desk.tally.acknowledged,
                Fate::Unknown => &desk.tally.unknown,
                Fate::Rejected => &desk.tally.rejected,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        desk.book.tell(Happening::SendEnded { send, fates });
    }
}
