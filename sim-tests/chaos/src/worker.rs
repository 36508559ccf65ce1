//! A worker: one process that handles orders with all three handlers, and writes down what its handlers do.
//!
//! Beside the journal it is what a service would be: it opens its bus again while its servers are out of reach, and ends
//! when a member is gone for good.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use evenkeel::kafka::Limits;
use evenkeel::runtime::TokioRuntime;
use evenkeel::{Event, HandlerError, Kafka, News, Notice, PgTx, Postgres};
use evenkeel_core::engine::bus::{Bus, BusConfig};
use evenkeel_core::model::{BatchTxHandler, TxHandler};
use evenkeel_core::ports::Database;
use evenkeel_sim::history::{HandlerNo, Life};
use sqlx::PgPool;
use tokio::signal::unix::{SignalKind, signal};

use crate::journal::{Ending, Entry, Journal};
use crate::shop::{self, ANNOUNCE, AUDIT, CHARGE, ORDERS, Order, Temper};
use crate::tapped::Tapped;
use crate::{Anyhow, Plant};

/// How long it waits before it tries to open its bus again.
const AGAIN: Duration = Duration::from_millis(300);

/// What a worker is told by the foreman.
#[derive(Debug, Args)]
pub(crate) struct Orders {
    /// Which process, and which of its lives: `2.5`.
    #[arg(long)]
    life: String,
    /// The brokers, separated by commas.
    #[arg(long)]
    kafka: String,
    /// The database.
    #[arg(long)]
    database: String,
    /// The journal to write.
    #[arg(long)]
    journal: PathBuf,
    #[arg(long)]
    plant: Option<Plant>,
}

impl Orders {
    /// As the arguments of a process.
    pub(crate) fn arguments(
        life: Life,
        kafka: &str,
        database: &str,
        journal: &std::path::Path,
        plant: Option<Plant>,
    ) -> Vec<String> {
        let mut all: Vec<String> =
            ["worker", "--life", &life.to_string(), "--kafka", kafka].map(Into::into).into();
        all.extend(["--database", database, "--journal", &journal.to_string_lossy()].map(Into::into));
        if let Some(Plant::EffectOutsideTheTransaction) = plant {
            all.extend(["--plant", "effect-outside-the-transaction"].map(Into::into));
        }
        all
    }
}

/// What the handlers of a process share.
#[derive(Clone)]
struct Desk {
    life: Life,
    journal: Arc<Journal>,
    numbers: Arc<AtomicU64>,
    /// For the planted bug: a way past the transaction.
    beside: Option<PgPool>,
}

impl Desk {
    /// No other life has this number.
    fn number(&self) -> u64 {
        let nth = self.numbers.fetch_add(1, Ordering::Relaxed);
        u64::from(self.life.process) << 48 | u64::from(self.life.nth) << 32 | nth
    }

    fn begin(&self, handler: HandlerNo, call: u64, event: &Event<Order>) -> Run {
        let run = self.number();
        self.journal.tell(Entry::RunBegan {
            run,
            call,
            handler: handler.0,
            partition: event.partition().0,
            offset: event.offset().0,
            event: event.payload.event,
            attempt: event.attempt().get(),
        });
        Run { journal: Arc::clone(&self.journal), run, end: None }
    }

    /// Notes the effects of a call and takes its time over it.
    async fn note(
        &self,
        handler: HandlerNo,
        tx: &mut PgTx,
        events: &[Event<Order>],
    ) -> Result<(), HandlerError> {
        let call = self.number();
        let runs: Vec<_> = events.iter().map(|event| self.begin(handler, call, event)).collect();
        for event in events {
            let insert = sqlx::query("insert into effects (handler, event, life) values ($1, $2, $3)")
                .bind(handler.0 as i16)
                .bind(i64::from(event.payload.event))
                .bind(self.life.to_string());
            let done = match &self.beside {
                Some(pool) => insert.execute(pool).await,
                None => insert.execute(&mut **tx).await,
            };
            if let Err(error) = done {
                end(runs, Ending::World);
                return Err(error.into());
            }
        }
        self.take_time(handler, events).await;
        answer(runs, events)
    }

    async fn take_time(&self, handler: HandlerNo, events: &[Event<Order>]) {
        for event in events {
            let hangs = event.payload.temper == Temper::Hangs && event.attempt().get() == 1;
            if hangs {
                std::future::pending::<()>().await;
            }
        }
        let longest = events.iter().map(|event| shop::handling(event.payload.event, handler)).max();
        tokio::time::sleep(longest.unwrap_or_default()).await;
    }
}

/// Ends the runs as the tempers of their events demand. A batch fails as a whole.
fn answer(runs: Vec<Run>, events: &[Event<Order>]) -> Result<(), HandlerError> {
    let (mut fails, mut panics) = (false, false);
    for event in events {
        let attempt = event.attempt().get();
        match event.payload.temper {
            Temper::Fails { attempts } => fails |= attempt <= attempts,
            Temper::Panics { attempts } => panics |= attempt <= attempts,
            Temper::Poison => fails = true,
            Temper::Mild | Temper::Hangs => {}
        }
    }
    if panics {
        end(runs, Ending::Panicked);
        panic!("as its event demands");
    }
    if fails {
        end(runs, Ending::Failed);
        return Err(HandlerError::retry("as its event demands"));
    }
    end(runs, Ending::Done);
    Ok(())
}

fn end(mut runs: Vec<Run>, end: Ending) {
    runs.iter_mut().for_each(|run| run.end = Some(end));
}

/// A run that has begun. What ends without having said how was dropped.
struct Run {
    journal: Arc<Journal>,
    run: u64,
    end: Option<Ending>,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.journal.tell(Entry::RunEnded { run: self.run, end: self.end.unwrap_or(Ending::Dropped) });
    }
}

struct Charge(Desk);

impl<'t> TxHandler<'t, PgTx, Order> for Charge {
    async fn handle(&self, tx: &'t mut PgTx, event: Event<Order>) -> Result<(), HandlerError> {
        self.0.note(CHARGE, tx, &[event]).await
    }
}

struct Audit(Desk);

impl<'t> BatchTxHandler<'t, PgTx, Order> for Audit {
    async fn handle(&self, tx: &'t mut PgTx, events: Vec<Event<Order>>) -> Result<(), HandlerError> {
        self.0.note(AUDIT, tx, &events).await
    }
}

async fn announce(desk: Desk, event: Event<Order>) -> Result<(), HandlerError> {
    let run = desk.begin(ANNOUNCE, desk.number(), &event);
    let events = [event];
    desk.take_time(ANNOUNCE, &events).await;
    answer(vec![run], &events)
}

type WorkBus = Bus<TokioRuntime, Tapped, Postgres>;

async fn open(orders: &Orders, desk: &mut Desk) -> Result<WorkBus, Anyhow> {
    let kafka = Kafka::new(orders.kafka.split(',')).client_id(&orders.life).limits(Limits {
        connect: Duration::from_secs(4),
        request: Duration::from_secs(8),
        heartbeat: Duration::from_secs(3),
        ..Limits::default()
    });
    let kafka = Tapped::new(kafka.connect().await?, Arc::clone(&desk.journal));
    let database = Postgres::builder(&orders.database).pool_size(8).connect().await?;
    database.migrate().await?;
    desk.beside = orders.plant.map(|Plant::EffectOutsideTheTransaction| database.pool().clone());
    let bus =
        Bus::new(BusConfig::new(shop::SOURCE), TokioRuntime::current(), Arc::new(kafka), Arc::new(database));
    register(&bus, desk)?;
    Ok(bus)
}

fn register(bus: &WorkBus, desk: &Desk) -> Result<(), Anyhow> {
    let facts = shop::facts();
    for group in &facts.groups {
        bus.group(&group.name, shop::group_settings())?;
    }
    for (number, handler) in facts.numbered_handlers() {
        let limit = |most: u32| NonZeroUsize::new(most as usize).unwrap_or(NonZeroUsize::MIN);
        let subscription = bus
            .consume(ORDERS)
            .group(&facts.groups[usize::from(handler.group.0)].name)
            .on_failure(handler.on_failure)
            .retry(handler.retry)
            .ordering(handler.ordering)
            .concurrency(limit(handler.concurrency));
        let (name, desk) = (&*handler.name, desk.clone());
        match number {
            CHARGE => subscription.exactly_once(name, Charge(desk))?,
            AUDIT => subscription.batch(limit(handler.batch)).exactly_once_batch(name, Audit(desk))?,
            _ => subscription.idempotent(name, move |event| announce(desk.clone(), event))?,
        }
    }
    let journal = Arc::clone(&desk.journal);
    bus.observe(move |group, news| match news {
        News::Notice(Notice::Discarded { handler, at, offset, attempts, .. }) => {
            journal.tell(Entry::GivenUp {
                group: group.to_string(),
                handler: handler.to_string(),
                partition: at.partition.0,
                offset: offset.0,
                attempts: *attempts,
            })
        }
        News::Notice(Notice::Bug { at, what }) => journal.tell(Entry::Bug { what: format!("{at}: {what}") }),
        News::Notice(notice) => tracing::debug!(?notice, "told"),
        _ => {}
    });
    Ok(())
}

/// Works until SIGTERM, or until the library gives up.
pub(crate) async fn work(orders: &Orders) -> Result<(), Anyhow> {
    let life = shop::life_of(&orders.life).ok_or("a life is written process.nth")?;
    let journal = Arc::new(Journal::begin(&orders.journal)?);
    let mut desk = Desk { life, journal: Arc::clone(&journal), numbers: Arc::default(), beside: None };
    let mut stop = signal(SignalKind::terminate())?;
    let bus = loop {
        let opened = tokio::select! {
            opened = open(orders, &mut desk) => opened,
            _ = stop.recv() => {
                journal.tell(Entry::Left { clean: true });
                return Ok(());
            }
        };
        match opened {
            Ok(bus) => break bus,
            Err(error) => {
                tracing::warn!(%error, "could not open");
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    let running = tokio::select! {
        running = bus.start() => running?,
        _ = stop.recv() => {
            journal.tell(Entry::Left { clean: false });
            return Ok(());
        }
    };
    tokio::select! {
        _ = stop.recv() => {}
        failure = running.failed() => return Err(failure.to_string().into()),
    }
    let left = running.shutdown().await;
    tracing::warn!(?left, "left");
    journal.tell(Entry::Left { clean: left.is_clean() });
    Ok(())
}
