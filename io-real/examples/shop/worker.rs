//! A worker: one process that charges orders.

use std::io::Write;
use std::num::NonZeroUsize;

use evenkeel::{Bus, Event, HandlerError, Kafka, News, PgTx, Postgres, Sqlite, SqliteTx, Topic};
use tokio::signal::unix::{SignalKind, signal};

use crate::store::Url;
use crate::{Anyhow, OrderPlaced, Shop};

pub(crate) const GROUP: &str = "shop-billing";
const HANDLER: &str = "charge";
const BATCH: NonZeroUsize = NonZeroUsize::new(100).expect("a hundred is not zero");

async fn charge_in_postgres(tx: &mut PgTx, orders: Vec<Event<OrderPlaced>>) -> Result<(), HandlerError> {
    let of =
        |field: fn(&OrderPlaced) -> u64| orders.iter().map(|o| field(&o.payload) as i64).collect::<Vec<_>>();
    sqlx::query(
        "insert into charges (order_number, customer, nth, cents)
         select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])",
    )
    .bind(of(|order| order.order))
    .bind(of(|order| order.customer))
    .bind(of(|order| order.nth))
    .bind(of(|order| order.cents))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn charge_in_sqlite(tx: &mut SqliteTx, orders: Vec<Event<OrderPlaced>>) -> Result<(), HandlerError> {
    for order in orders.iter().map(|event| &event.payload) {
        sqlx::query("insert into charges (order_number, customer, nth, cents) values ($1, $2, $3, $4)")
            .bind(order.order as i64)
            .bind(order.customer as i64)
            .bind(order.nth as i64)
            .bind(order.cents as i64)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// Charges orders until SIGTERM, telling of its assignments on standard output.
pub(crate) async fn work(shop: &Shop, topic: Topic<OrderPlaced>, name: &str) -> Result<(), Anyhow> {
    let kafka = shop.kafka.as_deref().ok_or("a worker needs --kafka")?;
    let mut stop = signal(SignalKind::terminate())?;
    let builder = Bus::builder("shop").kafka(Kafka::new(kafka.split(',')).client_id(name));
    macro_rules! charge {
        ($database:expr, $handler:expr) => {{
            let bus = builder.database($database).open().await?;
            bus.consume(topic).group(GROUP).batch(BATCH).exactly_once_batch(HANDLER, $handler)?;
            bus.observe(|_, news| {
                if let News::Assigned { partitions } = news {
                    tell(&format!("assigned {partitions}"));
                }
            });
            let running = bus.start().await?;
            stop.recv().await;
            let left = running.shutdown().await;
            tell(if left.is_clean() { "left" } else { "left in haste" });
        }};
    }
    match Url::parse(&shop.database) {
        Url::Postgres(url) => charge!(Postgres::connect(url).await?, charge_in_postgres),
        Url::Sqlite(file) => charge!(Sqlite::open(file).await?, charge_in_sqlite),
    }
    Ok(())
}

/// Says something to the foreman, who may have gone home.
fn tell(what: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{what}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("the foreman does not listen");
    }
}
