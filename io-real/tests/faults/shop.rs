//! A small shop: orders come, services charge them. Nothing keeps an order from being charged twice but the library.

use evenkeel::{Bus, Topic};

pub(super) const ORDERS: Topic<u64> = Topic::new("shop.orders");
pub(super) const GROUP: &str = "billing";
pub(super) const TABLE: &str = "create table charges (order_number bigint not null)";
pub(super) const COUNT: &str = "select count(*), count(distinct order_number) from charges";

/// So many orders come at once.
const WAVE: u64 = 40;
/// So many orders may wait to be charged before more come.
const BACKLOG: u64 = 200;

/// What the books say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) charges: u64,
    pub(super) orders: u64,
}

impl From<(i64, i64)> for Count {
    fn from((charges, orders): (i64, i64)) -> Self {
        Self { charges: charges as u64, orders: orders as u64 }
    }
}

/// The books, read past all that misbehaves.
pub(super) trait Books {
    async fn count(&self) -> Count;

    /// Waits until so many orders are charged.
    async fn charged(&self, orders: u64) -> Count {
        loop {
            let count = self.count().await;
            if count.orders >= orders {
                return count;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

impl Books for sqlx::PgPool {
    async fn count(&self) -> Count {
        let count: (i64, i64) = sqlx::query_as(COUNT).fetch_one(self).await.expect("the database answers");
        count.into()
    }
}

impl Books for sqlx::SqlitePool {
    async fn count(&self) -> Count {
        let count: (i64, i64) = sqlx::query_as(COUNT).fetch_one(self).await.expect("the database answers");
        count.into()
    }
}

/// The customers' side: sends orders, each until it is acknowledged.
pub(super) struct Customers<'a> {
    pub(super) bus: &'a Bus,
    pub(super) sent: u64,
}

impl Customers<'_> {
    /// Sends some orders. What may have been written is sent again under the same ids.
    pub(super) async fn wave(&mut self) {
        let order = |n: u64| ORDERS.event(n % 16, &n).id(format!("order-{n}"));
        while let Err(error) = self.bus.produce((self.sent..self.sent + WAVE).map(order)).await {
            super::again(error).await;
        }
        self.sent += WAVE;
    }

    /// Sends orders until it is enough, no faster than they are charged.
    pub(super) async fn order(&mut self, books: &impl Books, mut enough: impl AsyncFnMut(u64) -> bool) {
        while !enough(self.sent).await {
            self.wave().await;
            books.charged(self.sent.saturating_sub(BACKLOG)).await;
        }
    }
}
