//! Exactly-once handlers on SQLite, on brokers that misbehave.

use evenkeel::kafka::KafkaClient;
use evenkeel::runtime::TokioRuntime;
use evenkeel::{Bus, Event, Kafka, Sqlite, SqliteTx};
use evenkeel_cluster::DevCluster;

use super::shop::{Books, Count, Customers, GROUP, ORDERS, TABLE};
use super::support::databases::sqlite_file;
use super::{BAD_DAY, SOON, again, missing};

type Running = evenkeel::Running<TokioRuntime, KafkaClient, Sqlite>;

async fn charge(tx: &mut SqliteTx, event: Event<u64>) -> evenkeel::Result<()> {
    sqlx::query("insert into charges (order_number) values ($1)")
        .bind(event.payload as i64)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn service(bootstrap: &str, database: Sqlite) -> Running {
    let kafka = Kafka::new(bootstrap.split(','));
    loop {
        let builder = Bus::builder("shop").kafka(kafka.clone()).database(database.clone());
        let started = match builder.open().await {
            Ok(bus) => {
                bus.consume(ORDERS).group(GROUP).exactly_once("charge", charge).expect("legal");
                bus.start().await.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match started {
            Ok(running) => return running,
            // As a supervisor would.
            Err(error) => again(error).await,
        }
    }
}

async fn a_bad_day() {
    let kafka = DevCluster::builder().brokers(3).faults(BAD_DAY.parse().unwrap()).start().await.unwrap();
    let bootstrap = kafka.bootstrap();
    let customers = Bus::builder("customers").kafka(Kafka::new(bootstrap.split(','))).open().await.unwrap();
    while let Err(error) = customers.ensure_topic(ORDERS, 4, []).await {
        again(error).await;
    }
    let database = Sqlite::open(sqlite_file()).await.unwrap();
    sqlx::query(TABLE).execute(database.pool()).await.unwrap();
    let books = database.pool().clone();
    let mut customers = Customers { bus: &customers, sent: 0 };

    let services = [service(&bootstrap, database.clone()).await, service(&bootstrap, database.clone()).await];
    customers.order(&books, async |_| missing(BAD_DAY, &kafka.struck().await).is_empty()).await;
    books.charged(customers.sent).await;
    for service in services {
        let _comes_again = service.shutdown().await;
    }
    // Whatever has not been committed comes again before what comes now.
    let last = service(&bootstrap, database).await;
    customers.wave().await;
    let count = books.charged(customers.sent).await;
    let _comes_never = last.shutdown().await;
    println!("{count:?} of {}, after {:?}", customers.sent, kafka.struck().await);
    assert_eq!(count, Count { charges: customers.sent, orders: customers.sent });
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_charged_twice_on_a_bad_day_of_the_brokers() {
    tokio::time::timeout(SOON, a_bad_day()).await.expect("the day ends, with every fault of the plan seen");
}
