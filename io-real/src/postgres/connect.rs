//! Settings of a PostgreSQL database, and the connections made by them.
//!
//! Every session gets time limits derived from one setting, the limit of a handler's attempt
//! ([`attempt_limit`](PostgresBuilder::attempt_limit), 60 s): `lock_timeout` is half of it, `statement_timeout` and
//! `idle_in_transaction_session_timeout` are five quarters of it, and `client_connection_check_interval` (PostgreSQL
//! 14 or later) is a quarter of it, at most one second. For an attempt with another limit, BEGIN sets the first three of
//! them anew for its transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqlSafeStr, SqlStr};

use super::{Postgres, verdict};
use crate::database::{ConnectDatabaseError, Limits, Target};

/// A connection that was idle for longer is asked whether it still lives before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(5);

/// Settings of a [`Postgres`] database.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before `connect`"]
pub struct PostgresBuilder {
    url: String,
    pool_size: u32,
    attempt_limit: Duration,
    connect_timeout: Duration,
}

impl PostgresBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            pool_size: 24,
            attempt_limit: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
        }
    }

    /// The most connections that are open at once, and with it the most transactions (24).
    pub fn pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections.max(1);
        self
    }

    /// How long an attempt of a handler may take (60 s); the limits of the sessions follow from it. A handler whose
    /// policy says otherwise gets its own in its transactions, at the price of three more statements in the round trip
    /// of BEGIN: give the same here as to most handlers' policies.
    pub fn attempt_limit(mut self, limit: Duration) -> Self {
        self.attempt_limit = limit;
        self
    }

    /// How long [`connect`](Self::connect) waits for the server (10 s).
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Connects once, so that what is wrong is known now; further connections are made when they are needed.
    ///
    /// # Errors
    /// [`ConnectDatabaseError`] if the address cannot be read or the server does not let us in.
    pub async fn connect(self) -> Result<Postgres, ConnectDatabaseError> {
        let unreadable = |cause: Arc<str>| ConnectDatabaseError::Address {
            cause,
            example: "postgres://USER:PASSWORD@HOST:PORT/DATABASE",
        };
        if !["postgres://", "postgresql://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            return Err(unreadable("it does not begin with postgres://".into()));
        }
        let options: PgConnectOptions =
            self.url.parse().map_err(|cause: sqlx::Error| unreadable(cause.to_string().into()))?;
        let options = match options.get_application_name() {
            None => options.application_name("evenkeel"),
            Some(_) => options,
        };
        let address = address(&options);
        try_once(&options, &address, self.connect_timeout).await?;
        let limits = Limits::of_attempt(self.attempt_limit);
        let pool = PgPoolOptions::new()
            .max_connections(self.pool_size)
            .test_before_acquire(false)
            .before_acquire(|connection, known| {
                Box::pin(async move {
                    if known.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(move |connection, _| Box::pin(set_limits(connection, limits)))
            .connect_lazy_with(options);
        Ok(Postgres { pool, target: Target { address, limits, blame: verdict::blame } })
    }
}

async fn try_once(
    options: &PgConnectOptions,
    address: &Arc<str>,
    limit: Duration,
) -> Result<(), ConnectDatabaseError> {
    let started = Instant::now();
    let attempt = async { PgConnection::connect_with(options).await?.close().await };
    let cause = match tokio::time::timeout(limit, attempt).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the server does not answer".to_owned(),
    };
    Err(ConnectDatabaseError::Unreachable {
        database: address.clone(),
        tried: format!("connect as user {}", options.get_username()).into(),
        elapsed: started.elapsed(),
        limit,
        cause: cause.into(),
    })
}

/// The address as it may be told to anyone.
fn address(options: &PgConnectOptions) -> Arc<str> {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("postgres://{}/{database}", socket.display()).into(),
        None => format!("postgres://{}:{}/{database}", options.get_host(), options.get_port()).into(),
    }
}

/// BEGIN, with limits where they are not the session's, in one round trip. It leaves a mark, see `PgTx::commit`.
pub(super) fn begin(limits: Limits, of_session: Limits) -> SqlStr {
    if limits == of_session {
        return include_str!("sql/begin.sql").into_sql_str();
    }
    let (lock, session) = (limits.lock().as_millis(), limits.session().as_millis());
    AssertSqlSafe(format!(include_str!("sql/begin_within.sql"), lock = lock, session = session))
        .into_sql_str()
}

async fn set_limits(connection: &mut PgConnection, limits: Limits) -> Result<(), sqlx::Error> {
    let setting = |limit: Duration| format!("{}ms", limit.as_millis());
    sqlx::query(include_str!("sql/session_limits.sql"))
        .bind(setting(limits.lock()))
        .bind(setting(limits.session()))
        .persistent(false)
        .execute(&mut *connection)
        .await?;
    let checked = sqlx::query(include_str!("sql/session_client_check.sql"))
        .bind(setting(limits.client_check()))
        .persistent(false)
        .execute(&mut *connection)
        .await;
    // Some of the server's platforms cannot look whether a client is still there.
    match checked {
        Err(error @ sqlx::Error::Database(_)) => {
            tracing::debug!(%error, "the server cannot check for lost clients while a statement runs");
            Ok(())
        }
        checked => checked.map(drop),
    }
}
