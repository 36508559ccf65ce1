//! Exactly-once handlers on PostgreSQL, on brokers that misbehave, through a proxy that breaks connections.

use evenkeel::kafka::KafkaClient;
use evenkeel::runtime::TokioRuntime;
use evenkeel::{Bus, Event, Kafka, PgTx, Postgres};
use evenkeel_cluster::DevCluster;
use evenkeel_core::model::TxHandler;
use evenkeel_proxy::{DatabasePlan, Proxy};
use sqlx::PgPool;

use super::shop::{Books, Count, Customers, GROUP, ORDERS, TABLE};
use super::support::services;
use super::{BAD_DAY, SOON, again, missing};

const BAD_CONNECTIONS: &str = "
    seed 12
    chance refused 10%
    chance statement-lost 1%
    chance slow 0.2%
    chance silence 0.2%
    chance reply-torn 1%
    chance db-commit-lost 5%
    chance db-commit-reply-lost 5%
    at 2.5s restart-database down 0.5s
    at 4.5s isolate-database for 0.5s
";

pub(super) type Running = evenkeel::Running<TokioRuntime, KafkaClient, Postgres>;

pub(super) async fn charge(tx: &mut PgTx, event: Event<u64>) -> evenkeel::Result<()> {
    sqlx::query("insert into charges (order_number) values ($1)")
        .bind(event.payload as i64)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A database for one test: books that are read past the proxy, the proxy, and the URL that leads through it.
pub(super) async fn through_a_proxy(plan: DatabasePlan) -> (PgPool, Proxy, String) {
    let url = services::postgres().await;
    let books = PgPool::connect(&url).await.unwrap();
    sqlx::query(TABLE).execute(&books).await.unwrap();
    let (_, host) = url.split_once('@').expect("the URL names a user");
    let (host, _) = host.split_once('/').expect("the URL names a database");
    let proxy = Proxy::start("127.0.0.1:0", host, plan).await.unwrap();
    let through = url.replace(host, &proxy.address().to_string());
    (books, proxy, through)
}

/// Starts a service as a supervisor would: again and again.
pub(super) async fn service<H>(bootstrap: &str, url: &str, charge: impl Fn() -> H) -> Running
where
    H: for<'t> TxHandler<'t, PgTx, u64> + Send + Sync + 'static,
{
    loop {
        match start(bootstrap, url, charge()).await {
            Ok(running) => return running,
            Err(error) => again(error).await,
        }
    }
}

async fn start<H>(bootstrap: &str, url: &str, charge: H) -> Result<Running, Box<dyn std::error::Error>>
where
    H: for<'t> TxHandler<'t, PgTx, u64> + Send + Sync + 'static,
{
    let database = Postgres::connect(url).await?;
    let bus = Bus::builder("shop").kafka(Kafka::new(bootstrap.split(','))).database(database).open().await?;
    bus.consume(ORDERS).group(GROUP).exactly_once("charge", charge)?;
    Ok(bus.start().await?)
}

async fn a_bad_day() {
    let kafka = DevCluster::builder().brokers(3).faults(BAD_DAY.parse().unwrap()).start().await.unwrap();
    let bootstrap = kafka.bootstrap();
    let customers = Bus::builder("customers").kafka(Kafka::new(bootstrap.split(','))).open().await.unwrap();
    while let Err(error) = customers.ensure_topic(ORDERS, 4, []).await {
        again(error).await;
    }
    let (books, proxy, url) = through_a_proxy(BAD_CONNECTIONS.parse().unwrap()).await;
    let mut customers = Customers { bus: &customers, sent: 0 };

    let services = [service(&bootstrap, &url, || charge).await, service(&bootstrap, &url, || charge).await];
    let enough = async |_| {
        missing(BAD_DAY, &kafka.struck().await).is_empty()
            && missing(BAD_CONNECTIONS, &proxy.struck().await).is_empty()
    };
    customers.order(&books, enough).await;
    books.charged(customers.sent).await;
    for service in services {
        let _comes_again = service.shutdown().await;
    }
    // Whatever has not been committed comes again before what comes now.
    let last = service(&bootstrap, &url, || charge).await;
    customers.wave().await;
    let count = books.charged(customers.sent).await;
    let _comes_never = last.shutdown().await;
    println!("{count:?} of {}, after {:?}", customers.sent, kafka.struck().await);
    println!("and {:?}", proxy.struck().await);
    assert_eq!(count, Count { charges: customers.sent, orders: customers.sent });
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_charged_twice_on_a_bad_day_of_brokers_and_database() {
    tokio::time::timeout(SOON, a_bad_day()).await.expect("the day ends, with every fault of both plans seen");
}
