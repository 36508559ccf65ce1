//! Exactly once on SQLite in batches, beside the same transaction (BEGIN IMMEDIATE, claims, INSERTs, COMMIT) through
//! sqlx alone: a file in WAL mode that is flushed at every COMMIT. One writer at a time, on both sides.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::id;

use evenkeel::{Bus, Event, Kafka, Result as Handled, Sqlite, SqliteTx};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection};

use crate::measure::{Counter, Goal, Sample, Weight, compare};
use crate::shop::{self, Order, filled_topic, fresh, scattered, settle};
use crate::{Anyhow, services};

const ROUNDS: usize = 5;
const EVENTS: u32 = 40_000;
const BATCH: NonZeroUsize = NonZeroUsize::new(100).expect("a hundred is not zero");

const CHARGES: &str = "create table charges (id integer primary key, order_number integer not null) strict";
const CLAIMS: &str = "create table claims (claim_key blob primary key, partition integer not null,
    log_offset integer not null, claimed_at integer not null default (unixepoch())) strict, without rowid";
const CLAIM: &str =
    "insert into claims (claim_key, partition, log_offset) values (?1, ?2, ?3) on conflict do nothing";
const CHARGE: &str = "insert into charges (order_number) values (?1)";

static HANDLED: Counter = Counter::new();

async fn charge_all(tx: &mut SqliteTx, orders: Vec<Event<Order>>) -> Handled<()> {
    for order in &orders {
        sqlx::query(CHARGE).bind(order.payload.number as i64).execute(&mut **tx).await?;
    }
    HANDLED.add(orders.len() as u32);
    Ok(())
}

/// A database file that goes when it is done with.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("evenkeel-bench-{}-{name}.db", id())))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = self.0.clone().into_os_string();
            name.push(suffix);
            let _is_there_no_more = std::fs::remove_file(name);
        }
    }
}

pub(crate) async fn measure() -> Result<bool, Anyhow> {
    let (ours, bare) = (File::new("ours"), File::new("bare"));
    sqlx::query(CHARGES).execute(Sqlite::open(&ours.0).await?.pool()).await?;
    let options = SqliteConnectOptions::new()
        .filename(&bare.0)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    for table in [CHARGES, CLAIMS] {
        sqlx::query(table).execute(&mut connection).await?;
    }
    let topic = filled_topic(&shop::bus().await?, "sqlite", EVENTS).await?;
    let ours = async || {
        let kafka = Kafka::new([services::kafka()]);
        let bus = Bus::builder("bench").kafka(kafka).database(Sqlite::open(&ours.0).await?).open().await?;
        let group = bus.consume(topic).group(fresh("group")?);
        group.batch(BATCH).exactly_once_batch("charge", charge_all)?;
        settle(bus, &HANDLED, EVENTS).await
    };
    let bare = async || Sample::of(EVENTS, bare_batches(&mut connection)).await;
    let aim = (Weight::Aim, Goal::Ratio(0.80));
    compare("exactly once on SQLite, batches of 100", aim, ROUNDS, ours, bare).await
}

async fn bare_batches(connection: &mut SqliteConnection) -> Result<(), Anyhow> {
    for _ in 0..EVENTS / u32::try_from(BATCH.get())? {
        let claims: Vec<_> = (0..BATCH.get()).map(|_| scattered()).collect();
        let mut tx = connection.begin_with("begin immediate").await?;
        for (number, key) in &claims {
            sqlx::query(CLAIM).bind(&key[..]).bind(0).bind(number).execute(&mut *tx).await?;
        }
        for (number, _) in &claims {
            sqlx::query(CHARGE).bind(number).execute(&mut *tx).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}
