//! What all databases have in common: their tables' versions, their time limits, and how they fail to be reached.
//!
//! The databases themselves are [`Postgres`](crate::postgres::Postgres) and [`Sqlite`](crate::sqlite::Sqlite).

mod blame;
mod guard;
mod limits;
mod target;

pub(crate) use blame::{Fault, fault_of};
pub(crate) use guard::{Guard, made_now};
pub(crate) use limits::Limits;
pub(crate) use target::Target;

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

impl Migration {
    /// The steps that tables of a version lack. Tables of a newer release than this lack none.
    pub(crate) fn missing(steps: &'static [Self], version: i32) -> impl Iterator<Item = &'static Self> {
        steps.iter().filter(move |step| step.version > version)
    }
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
