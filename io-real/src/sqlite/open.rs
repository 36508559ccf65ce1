//! Settings of a SQLite database, and how its file is opened.
//!
//! The limit of a handler's attempt ([`attempt_limit`](SqliteBuilder::attempt_limit), 60 s) gives the others: waiting
//! for another process's write lock (`busy_timeout`) is half of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::time::{sleep, timeout};

use super::{Sqlite, verdict};
use crate::database::{ConnectDatabaseError, Limits, Target};

/// Switching a file to WAL mode does not wait for locks by itself.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Settings of a [`Sqlite`] database.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before `open`"]
pub struct SqliteBuilder {
    file: PathBuf,
    pool_size: u32,
    attempt_limit: Duration,
    open_timeout: Duration,
}

impl SqliteBuilder {
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            pool_size: 4,
            attempt_limit: Duration::from_secs(60),
            open_timeout: Duration::from_secs(10),
        }
    }

    /// The most connections for the service's own queries ([`Sqlite::pool`], 4). Transactions have one of their own.
    pub fn pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections.max(1);
        self
    }

    /// How long an attempt of a handler may take (60 s); the limit on waiting for locks follows from it.
    pub fn attempt_limit(mut self, limit: Duration) -> Self {
        self.attempt_limit = limit;
        self
    }

    /// How long [`open`](Self::open) waits while other processes create the file (10 s).
    pub fn open_timeout(mut self, limit: Duration) -> Self {
        self.open_timeout = limit;
        self
    }

    /// Opens the file, creates it if it is not there, and puts it into WAL mode.
    ///
    /// # Errors
    /// [`ConnectDatabaseError`] if the file cannot be opened, created or written.
    pub async fn open(self) -> Result<Sqlite, ConnectDatabaseError> {
        let name = self.file.to_string_lossy();
        if name.is_empty() || name.starts_with(':') {
            return Err(ConnectDatabaseError::Address {
                cause: format!("{name:?} is a database in memory, which one connection alone would see")
                    .into(),
                example: "shop.db",
            });
        }
        let address: Arc<str> = format!("sqlite:{name}").into();
        let limits = Limits::of_attempt(self.attempt_limit);
        let options = SqliteConnectOptions::new()
            .filename(&self.file)
            .create_if_missing(true)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(limits.lock());
        self.prepare(&options, &address).await?;
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
                .connect_lazy_with(options.clone())
        };
        let target = Target { address, limits, blame: verdict::blame };
        Ok(Sqlite { writer: pool(1), pool: pool(self.pool_size), target })
    }

    /// The mode is kept in the file: it is set once, and connections that come later find it.
    async fn prepare(
        &self,
        options: &SqliteConnectOptions,
        address: &Arc<str>,
    ) -> Result<(), ConnectDatabaseError> {
        let started = Instant::now();
        let attempts = async {
            loop {
                match write_ahead(options).await {
                    Err(error) if verdict::is_busy(&error) => sleep(ASK_AGAIN).await,
                    done => return done,
                }
            }
        };
        let cause = match timeout(self.open_timeout, attempts).await {
            Ok(Ok(mode)) if mode == "wal" => return Ok(()),
            Ok(Ok(mode)) => format!("its journal mode stays {mode}; WAL needs a local disk"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it is locked by another process".to_owned(),
        };
        Err(ConnectDatabaseError::Unreachable {
            database: address.clone(),
            tried: "open the file in WAL mode".into(),
            elapsed: started.elapsed(),
            limit: self.open_timeout,
            cause: cause.into(),
        })
    }
}

async fn write_ahead(options: &SqliteConnectOptions) -> Result<String, sqlx::Error> {
    let mut connection = options.clone().busy_timeout(ASK_AGAIN).connect().await?;
    let mode = sqlx::query_scalar(include_str!("sql/write_ahead.sql")).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(mode)
}
