//! The database that calls go to, as far as all databases are alike: its name in errors, its limits, and what an error lets
//! conclude.

use std::error::Error;
use std::sync::Arc;

use evenkeel_core::ports::{Blame, DatabaseError};

use super::Limits;

/// See the [module](self).
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Without credentials.
    pub(crate) address: Arc<str>,
    /// Of its sessions, where an attempt has none of its own.
    pub(crate) limits: Limits,
    /// Who is to blame for an error, by what this kind of database says in it.
    pub(crate) blame: fn(&(dyn Error + 'static)) -> Blame,
}

impl Target {
    pub(crate) fn unavailable(&self, cause: impl ToString) -> DatabaseError {
        DatabaseError::Unavailable { database: self.address.clone(), cause: cause.to_string().into() }
    }

    /// For errors of statements before COMMIT, after which nothing remains of the transaction.
    pub(crate) fn failed(&self, error: &sqlx::Error) -> DatabaseError {
        match (self.blame)(error) {
            Blame::World => self.unavailable(error),
            Blame::Handler => {
                DatabaseError::Refused { database: self.address.clone(), cause: error.to_string().into() }
            }
        }
    }
}
