//! Exactly once on PostgreSQL, beside the same four statements (BEGIN, claim, INSERT, COMMIT) sent through sqlx alone,
//! on a table of claims of the same shape and by as many tasks.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use evenkeel::{Bus, Event, Kafka, PgTx, Postgres, Result as Handled};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::measure::{Counter, Goal, Sample, Weight, compare};
use crate::shop::{self, Order, filled_topic, fresh, scattered, settle, side_by_side};
use crate::{Anyhow, services};

const ROUNDS: usize = 5;
const SINGLES: u32 = 16_000;
const SINGLES_AT_ONCE: NonZeroUsize = NonZeroUsize::new(8).expect("eight is not zero");
const BATCHED: u32 = 80_000;
const BATCH: NonZeroUsize = NonZeroUsize::new(100).expect("a hundred is not zero");
const BATCHES_AT_ONCE: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

const TABLES: [&str; 3] = [
    "create table charges (id bigint generated always as identity primary key, order_number bigint not null)",
    "create table bare_charges (like charges including all)",
    "create table bare_claims (claim_key bytea primary key, partition integer not null, log_offset bigint not null,
        claimed_at timestamptz not null default now())",
];

/// Events handled in this round. Handlers are plain functions, so it is where they can reach it.
static HANDLED: Counter = Counter::new();

async fn charge(tx: &mut PgTx, order: Event<Order>) -> Handled<()> {
    let number = order.payload.number as i64;
    sqlx::query("insert into charges (order_number) values ($1)").bind(number).execute(&mut **tx).await?;
    HANDLED.add(1);
    Ok(())
}

async fn charge_all(tx: &mut PgTx, orders: Vec<Event<Order>>) -> Handled<()> {
    let numbers: Vec<i64> = orders.iter().map(|order| order.payload.number as i64).collect();
    sqlx::query("insert into charges (order_number) select * from unnest($1::bigint[])")
        .bind(numbers)
        .execute(&mut **tx)
        .await?;
    HANDLED.add(orders.len() as u32);
    Ok(())
}

pub(crate) async fn measure() -> Result<bool, Anyhow> {
    let url = services::postgres().await;
    let most = u32::try_from(SINGLES_AT_ONCE.get())?;
    // Without sqlx's question to the server before each use: the peer does the four statements and no more.
    let pool = PgPoolOptions::new().max_connections(most).test_before_acquire(false).connect(&url).await?;
    for table in TABLES {
        sqlx::query(table).execute(&pool).await?;
    }
    let filling = shop::bus().await?;

    let topic = filled_topic(&filling, "exactly-once", SINGLES).await?;
    let ours = async || {
        let bus = bus(&url).await?;
        let group = bus.consume(topic).group(fresh("group")?);
        group.concurrency(SINGLES_AT_ONCE).exactly_once("charge", charge)?;
        settle(bus, &HANDLED, SINGLES).await
    };
    let bare = async || bare_singles(&pool).await;
    let gate = (Weight::Gate, Goal::Ratio(0.80));
    let passed = compare("exactly once, one INSERT an event, 8 at once", gate, ROUNDS, ours, bare).await?;

    let topic = filled_topic(&filling, "exactly-once-batches", BATCHED).await?;
    let ours = async || {
        let bus = bus(&url).await?;
        let group = bus.consume(topic).group(fresh("group")?);
        group.batch(BATCH).concurrency(BATCHES_AT_ONCE).exactly_once_batch("charge", charge_all)?;
        settle(bus, &HANDLED, BATCHED).await
    };
    let bare = async || bare_batches(&pool).await;
    let gate = (Weight::Gate, Goal::Rate(15_000));
    Ok(compare("exactly once, batches of 100, 3 at once", gate, ROUNDS, ours, bare).await? && passed)
}

async fn bus(url: &str) -> Result<Bus<Postgres>, Anyhow> {
    let kafka = Kafka::new([services::kafka()]);
    Ok(Bus::builder("bench").kafka(kafka).database(Postgres::connect(url).await?).open().await?)
}

async fn bare_singles(pool: &PgPool) -> Result<Sample, Anyhow> {
    let tasks = u32::try_from(SINGLES_AT_ONCE.get())?;
    let work = side_by_side(tasks, |_| {
        let pool = pool.clone();
        async move {
            for _ in 0..SINGLES / tasks {
                let (number, key) = scattered();
                let mut tx = pool.begin().await?;
                sqlx::query(
                    "insert into bare_claims (claim_key, partition, log_offset) values ($1, $2, $3)
                     on conflict do nothing",
                )
                .bind(&key[..])
                .bind(0_i32)
                .bind(number)
                .execute(&mut *tx)
                .await?;
                sqlx::query("insert into bare_charges (order_number) values ($1)")
                    .bind(number)
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await?;
            }
            Ok(())
        }
    });
    Sample::of(SINGLES, work).await
}

async fn bare_batches(pool: &PgPool) -> Result<Sample, Anyhow> {
    let tasks = u32::try_from(BATCHES_AT_ONCE.get())?;
    let size = u32::try_from(BATCH.get())?;
    let batches = BATCHED / size;
    let taken = Arc::new(AtomicU32::new(0));
    let work = side_by_side(tasks, |_| {
        let (pool, taken) = (pool.clone(), Arc::clone(&taken));
        async move {
            while taken.fetch_add(1, Ordering::Relaxed) < batches {
                let mut claims: Vec<_> = (0..size).map(|_| scattered()).collect();
                claims.sort_unstable_by_key(|(_, key)| *key);
                let numbers: Vec<i64> = claims.iter().map(|(number, _)| *number).collect();
                let keys: Vec<&[u8]> = claims.iter().map(|(_, key)| &key[..]).collect();
                let mut tx = pool.begin().await?;
                let fresh: Vec<Vec<u8>> = sqlx::query_scalar(
                    "insert into bare_claims (claim_key, partition, log_offset)
                     select * from unnest($1::bytea[], $2::integer[], $3::bigint[])
                     on conflict do nothing returning claim_key",
                )
                .bind(keys)
                .bind(vec![0_i32; claims.len()])
                .bind(&numbers)
                .fetch_all(&mut *tx)
                .await?;
                assert_eq!(fresh.len(), claims.len(), "no key was used before");
                sqlx::query("insert into bare_charges (order_number) select * from unnest($1::bigint[])")
                    .bind(&numbers)
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await?;
            }
            Ok(())
        }
    });
    Sample::of(BATCHED, work).await
}
