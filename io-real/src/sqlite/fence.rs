//! Keeps what a handler writes inside the transaction that holds its claim.
//!
//! SQLite ends a transaction by itself when the disk is full or fails, and when a statement says `or rollback` or
//! `raise(rollback)`; a handler may send COMMIT or ROLLBACK. Whatever it writes afterwards would commit statement by
//! statement, without the claim, and be there twice when the event comes again. So two hooks of SQLite watch a
//! transaction: from BEGIN until the library lifts the fence nothing commits on the connection, but the transaction
//! that began there, once, and when the library asks for it.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::SqliteConnection;

/// How the transaction of a fence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is the handler's; nothing may commit.
    Open,
    /// The library has sent COMMIT, and SQLite has not come to it.
    Asked,
    /// SQLite was let commit it. Whether it could is what COMMIT answers.
    Allowed,
    /// It ended before the library ended it, and nothing of it remains.
    Lost(Loss),
    /// The library is done with the connection; the fence stops nothing any more.
    Lifted,
}

/// What ended a transaction that was still the handler's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Loss {
    #[error(
        "the handler sent COMMIT, so its transaction was rolled back; leave COMMIT and ROLLBACK to the library"
    )]
    Commit,
    #[error(
        "the transaction was rolled back while the handler went on, by a statement that failed or by ROLLBACK; return \
         the errors of statements, and leave COMMIT and ROLLBACK to the library"
    )]
    Rollback,
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct Fence(Arc<Mutex<Standing>>);

impl Fence {
    /// Puts a connection under a fence of its own, in place of an earlier transaction's.
    pub(super) async fn around(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let fence = Self(Arc::new(Mutex::new(Standing::Open)));
        let (on_commit, on_rollback) = (fence.clone(), fence.clone());
        let mut handle = connection.lock_handle().await?;
        handle.set_commit_hook(move || on_commit.may_commit());
        handle.set_rollback_hook(move || on_rollback.rolled_back());
        Ok(fence)
    }

    pub(super) fn standing(&self) -> Standing {
        self.with(|standing| *standing)
    }

    /// Lets the transaction commit, if it is still there.
    pub(super) fn ask(&self) {
        self.with(|standing| {
            if *standing == Standing::Open {
                *standing = Standing::Asked;
            }
        });
    }

    /// For when the connection is nobody's, and no statement of the handler's waits on it.
    pub(super) fn lift(&self) {
        self.with(|standing| *standing = Standing::Lifted);
    }

    fn may_commit(&self) -> bool {
        self.with(|standing| match *standing {
            Standing::Lifted => true,
            Standing::Asked => {
                *standing = Standing::Allowed;
                true
            }
            Standing::Open => {
                *standing = Standing::Lost(Loss::Commit);
                false
            }
            Standing::Allowed | Standing::Lost(_) => false,
        })
    }

    fn rolled_back(&self) {
        self.with(|standing| {
            if matches!(standing, Standing::Open | Standing::Asked) {
                *standing = Standing::Lost(Loss::Rollback);
            }
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut Standing) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
