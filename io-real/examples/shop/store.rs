//! The shop's books: the table of charges, and how they are counted.

use evenkeel::{Postgres, Sqlite};
use sqlx::{PgPool, SqlitePool};

use crate::Anyhow;

/// Which database a `--database` names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Url<'a> {
    Postgres(&'a str),
    Sqlite(&'a str),
}

impl<'a> Url<'a> {
    pub(crate) fn parse(database: &'a str) -> Self {
        if database.starts_with("postgres://") || database.starts_with("postgresql://") {
            Self::Postgres(database)
        } else {
            Self::Sqlite(database)
        }
    }
}

/// The books, for reading. Workers write them through their transactions.
pub(crate) enum Books {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// What the books say. Nothing keeps an order from being charged twice but the library.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) charges: u64,
    pub(crate) orders: u64,
    /// Charges of a customer that came after a later one of the same customer.
    pub(crate) disorder: u64,
}

const FORGET: &str = "drop table if exists charges";
const IN_POSTGRES: &str = "create table charges (
    id bigint generated always as identity primary key, order_number bigint not null, customer bigint not null,
    nth bigint not null, cents bigint not null)";
const IN_SQLITE: &str = "create table charges (
    id integer primary key, order_number integer not null, customer integer not null, nth integer not null,
    cents integer not null) strict";
const CHARGES: &str = "select count(*) from charges";
const ORDERS: &str = "select count(distinct order_number) from charges";
const DISORDER: &str = "select count(*) from
    (select nth, max(nth) over (partition by customer order by id rows between unbounded preceding and 1 preceding)
         as before from charges) as steps
    where before > nth";

impl Books {
    /// Opens empty books.
    pub(crate) async fn open(url: Url<'_>) -> Result<Self, Anyhow> {
        Ok(match url {
            Url::Postgres(url) => {
                let pool = Postgres::connect(url).await?.pool().clone();
                sqlx::query(FORGET).execute(&pool).await?;
                sqlx::query(IN_POSTGRES).execute(&pool).await?;
                Self::Postgres(pool)
            }
            Url::Sqlite(file) => {
                let pool = Sqlite::open(file).await?.pool().clone();
                sqlx::query(FORGET).execute(&pool).await?;
                sqlx::query(IN_SQLITE).execute(&pool).await?;
                Self::Sqlite(pool)
            }
        })
    }

    async fn number(&self, question: &'static str) -> Result<u64, Anyhow> {
        let number: i64 = match self {
            Self::Postgres(pool) => sqlx::query_scalar(question).fetch_one(pool).await?,
            Self::Sqlite(pool) => sqlx::query_scalar(question).fetch_one(pool).await?,
        };
        Ok(u64::try_from(number)?)
    }

    pub(crate) async fn charges(&self) -> Result<u64, Anyhow> {
        self.number(CHARGES).await
    }

    pub(crate) async fn count(&self) -> Result<Count, Anyhow> {
        Ok(Count {
            charges: self.number(CHARGES).await?,
            orders: self.number(ORDERS).await?,
            disorder: self.number(DISORDER).await?,
        })
    }
}
