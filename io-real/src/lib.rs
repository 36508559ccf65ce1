//! (in work)

pub mod database;
pub mod postgres;
pub mod sqlite;

pub use postgres::{PgTx, Postgres};
pub use sqlite::{Sqlite, SqliteTx};
