//! A planted mistake, so that the tests beside this one are known to be able to fail.

use evenkeel::{Bus, Event, HandlerError, Kafka, PgTx};
use evenkeel_cluster::DevCluster;
use evenkeel_core::model::TxHandler;
use sqlx::PgPool;

use super::SOON;
use super::postgres::{service, through_a_proxy};
use super::shop::{Books, Customers, ORDERS};

const LOST_COMMITS: &str = "
    seed 13
    chance db-commit-lost 5%
    chance db-commit-reply-lost 5%
";

/// Charges past the transaction that it is given.
struct Outside(PgPool);

impl<'t> TxHandler<'t, PgTx, u64> for Outside {
    async fn handle(&self, _tx: &'t mut PgTx, event: Event<u64>) -> Result<(), HandlerError> {
        sqlx::query("insert into charges (order_number) values ($1)")
            .bind(event.payload as i64)
            .execute(&self.0)
            .await?;
        Ok(())
    }
}

async fn a_doubled_charge() {
    let kafka = DevCluster::builder().start().await.unwrap();
    let bootstrap = kafka.bootstrap();
    let customers = Bus::builder("customers").kafka(Kafka::new([bootstrap.clone()])).open().await.unwrap();
    customers.ensure_topic(ORDERS, 4, []).await.unwrap();
    let (books, proxy, url) = through_a_proxy(LOST_COMMITS.parse().unwrap()).await;
    let mut customers = Customers { bus: &customers, sent: 0 };

    let running = service(&bootstrap, &url, || Outside(books.clone())).await;
    let doubled = async |_| {
        let count = books.count().await;
        count.charges > count.orders
    };
    customers.order(&books, doubled).await;
    let _is_taken_up_by_nobody = running.shutdown().await;
    assert!(proxy.struck().await.contains_key("db-commit-lost"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_outside_of_the_transaction_is_seen_doubled_when_commits_are_lost() {
    tokio::time::timeout(SOON, a_doubled_charge()).await.expect("some order is charged twice");
}
