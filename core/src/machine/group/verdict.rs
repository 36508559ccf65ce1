//! What a refusal means for a membership, whichever request it answered.
//!
//! The one place where error codes are read. What a verdict leads to depends on the state; see `member`.

use crate::error::{ErrorCode, Remedy};
use crate::ports::PortError;

/// What to conclude from a request that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The coordinator is busy: ask it again after a wait.
    AskAgain,
    /// It may be another broker by now: look it up again after a wait.
    LookUp,
    /// The group is about to begin a new generation, and counts on this member.
    Rebalance,
    /// The generation is over for this member.
    GenerationOver {
        /// Whether the coordinator also forgot the member's id.
        forgotten: bool,
    },
    /// Asking again cannot help.
    GiveUp(ErrorCode),
}

impl Verdict {
    pub(super) const fn of(error: &PortError) -> Self {
        match error {
            PortError::Refused(code) => Self::of_code(*code),
            // An answer that cannot be read says no more than none; a silent broker may be coordinator no longer.
            PortError::Unreachable { .. } | PortError::Unknown { .. } | PortError::Malformed { .. } => {
                Self::LookUp
            }
        }
    }

    pub(super) const fn of_code(code: ErrorCode) -> Self {
        match code {
            ErrorCode::RebalanceInProgress => Self::Rebalance,
            ErrorCode::IllegalGeneration => Self::GenerationOver { forgotten: false },
            // Outside of a join, which looks at the code itself, being asked to get an id means to have none.
            ErrorCode::UnknownMemberId | ErrorCode::MemberIdRequired => {
                Self::GenerationOver { forgotten: true }
            }
            _ => match code.remedy() {
                Remedy::Wait => Self::AskAgain,
                Remedy::FindLeader | Remedy::FindCoordinator => Self::LookUp,
                Remedy::Rejoin => Self::GenerationOver { forgotten: false },
                Remedy::GiveUp => Self::GiveUp(code),
            },
        }
    }
}
