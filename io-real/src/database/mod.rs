//! What all databases have in common: their tables' versions, their time limits, and how they fail to be reached.
//!
//! The databases themselves are [`Postgres`](crate::postgres::Postgres) and [`Sqlite`](crate::sqlite::Sqlite).

mod blame;
mod limits;

pub(crate) use blame::{Fault, fault_of};
pub(crate) use limits::Limits;

use std::sync::Arc;
use std::time::Duration;

/// A step from one version of the library's tables to the next, as SQL that may be read, reviewed and run by hand.
///
/// Steps only add: a service of an older release goes on working beside a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// The version that the tables have afterwards.
    pub version: i32,
    /// What it is for.
    pub title: &'static str,
    /// The statements; the last one notes the version in `evenkeel_migrations`.
    pub sql: &'static str,
}

/// A database that could not be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectDatabaseError {
    /// The address itself is wrong. It is not repeated here, because it may hold a password.
    #[error("the database's address cannot be read: {cause}; write it like {example}")]
    Address {
        /// What is wrong with it.
        cause: Arc<str>,
        /// How it should look.
        example: &'static str,
    },
    /// The database did not let us in.
    #[error(
        "{database} could not be reached: tried to {tried}, gave up after {elapsed:.1?} of at most {limit:?}: {cause}"
    )]
    Unreachable {
        /// Which database, as an address without credentials.
        database: Arc<str>,
        /// What was attempted.
        tried: Arc<str>,
        /// How long it took to fail.
        elapsed: Duration,
        /// How long it might have taken.
        limit: Duration,
        /// What stood in the way.
        cause: Arc<str>,
    },
}
