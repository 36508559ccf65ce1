//! What may be concluded from a request that did not succeed.

use std::sync::Arc;

use crate::error::ErrorCode;

/// A request that did not succeed. The three kinds are never turned into one another: above all, what may have
/// happened is never treated as if it had not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The server answered, and refused. It did not happen.
    #[error("{0}")]
    Refused(#[from] ErrorCode),
    /// The request never left: no connection could be made, or it was refused before sending. It did not happen.
    #[error("could not reach {server}: {cause}")]
    Unreachable {
        /// Whom the request was meant for, as an address or a name.
        server: Arc<str>,
        /// What stood in the way.
        cause: Arc<str>,
    },
    /// The request left and no answer came. It may have happened.
    #[error("no answer from {server}: {cause}")]
    Unknown {
        /// Whom the request was sent to, as an address or a name.
        server: Arc<str>,
        /// What happened to the answer.
        cause: Arc<str>,
    },
    /// The server answered something that cannot be understood. It may have happened.
    #[error("{server} sent an answer that cannot be read: {cause}")]
    Malformed {
        /// Who sent it.
        server: Arc<str>,
        /// What is wrong with it.
        cause: Arc<str>,
    },
}

impl PortError {
    /// Whether the request may have taken effect all the same.
    #[must_use]
    pub const fn may_have_happened(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Malformed { .. })
    }

    /// The broker's error code, if it answered with one.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(code) => Some(*code),
            Self::Unreachable { .. } | Self::Unknown { .. } | Self::Malformed { .. } => None,
        }
    }
}

/// A database call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// It did not happen, and the database or the way to it is to blame: no connection, pool empty, lock not granted
    /// in time, deadlock, serialisation failure, shutdown. To be tried again.
    #[error("{database}: {cause}")]
    Unavailable {
        /// Which database, as an address without credentials.
        database: Arc<str>,
        /// What it said.
        cause: Arc<str>,
    },
    /// It did not happen, and what was written is to blame: a deferred constraint at COMMIT, a missing table.
    #[error("{database} refused: {cause}")]
    Refused {
        /// Which database, as an address without credentials.
        database: Arc<str>,
        /// What it said.
        cause: Arc<str>,
    },
    /// The transaction is not the one that was begun: the handler ended it. What the handler wrote may be kept without
    /// the record that its event was handled, so trying again may write it again.
    #[error(
        "{database}: the handler ended the transaction that it was given, so what it wrote may be kept although its event counts as not handled; leave COMMIT and ROLLBACK to the library"
    )]
    Ended {
        /// Which database, as an address without credentials.
        database: Arc<str>,
    },
    /// COMMIT was sent and no answer came: it may have happened.
    #[error("{database} did not answer COMMIT, which may have taken effect: {cause}")]
    Unknown {
        /// Which database, as an address without credentials.
        database: Arc<str>,
        /// What happened to the answer.
        cause: Arc<str>,
    },
}
