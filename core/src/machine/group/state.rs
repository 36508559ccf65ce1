//! The states of a member, each named for what it awaits and carrying what it needs to go on.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Membership;
use super::assignor::Subscriber;
use crate::model::{BrokerId, RequestId, Time, TopicName, TopicPartition};
use crate::ports::JoinAnswer;

/// Why a member wants to be woken. The most serious come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The session may have ended at the coordinator.
    SessionEnd,
    /// The owner takes so long to release its partitions that the group will go on without this member.
    DrainLimit,
    /// A heartbeat is due.
    Heartbeat,
    /// The wait before another attempt is over.
    Retry,
}

/// Where a member stands.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// Not started.
    Idle,
    /// Something failed; try again later.
    Waiting {
        until: Time,
        /// Whom to ask to join; `None` if that must be found out first.
        coordinator: Option<BrokerId>,
    },
    FindingCoordinator {
        id: RequestId,
        errand: Errand,
    },
    Joining {
        id: RequestId,
        coordinator: BrokerId,
    },
    /// This member leads the generation and must know the topics' partitions.
    Describing(Description),
    Syncing {
        id: RequestId,
        /// When it was asked for.
        sent: Time,
        membership: Membership,
        role: Role,
    },
    /// The share came so late that a heartbeat must tell first whether it is this member's still.
    Confirming {
        id: RequestId,
        /// When the heartbeat was sent.
        sent: Time,
        share: Share,
    },
    Stable(Tenure),
    /// The owner drains.
    Revoking {
        id: RequestId,
        tenure: Tenure,
        /// When the group goes on without this member, if it is known to wait for it.
        limit: Option<Time>,
        then: Then,
    },
    Leaving {
        id: RequestId,
    },
    Stopped,
}

/// What the coordinator is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    Join,
    Leave,
}

/// What follows when the owner has released its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Rejoin,
    Leave,
}

/// What a member is in its generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Follower,
    Leader {
        /// How many partitions each topic had when they were assigned. A topic that was not there is not in it.
        assigned: BTreeMap<TopicName, u32>,
    },
}

/// A leader's question about partitions.
#[derive(Debug, Clone)]
pub(super) struct Description {
    pub(super) coordinator: BrokerId,
    pub(super) answer: JoinAnswer,
    pub(super) members: Vec<Subscriber>,
    pub(super) lookup: Lookup,
    /// When the join was answered. A leader that cannot see the topics for a session keeps the group waiting no longer.
    pub(super) joined: Time,
}

/// How far a leader's question is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lookup {
    Out(RequestId),
    Due(Time),
}

/// What a generation gives this member.
#[derive(Debug, Clone)]
pub(super) struct Share {
    pub(super) membership: Membership,
    pub(super) role: Role,
    pub(super) partitions: Vec<TopicPartition>,
}

/// A membership with an assignment.
#[derive(Debug, Clone)]
pub(super) struct Tenure {
    pub(super) membership: Membership,
    pub(super) role: Role,
    /// When the session was last renewed for certain: the last heartbeat with a good answer was *sent* then.
    pub(super) renewed: Time,
    pub(super) pulse: Pulse,
}

/// How a session is kept alive.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pulse {
    /// The next heartbeat.
    Due(Time),
    Out {
        id: RequestId,
        sent: Time,
    },
    /// The coordinator must be found before the next heartbeat.
    LookupDue(Time),
    LookupOut(RequestId),
}

impl Pulse {
    const fn timer(self) -> Option<(Time, Timer)> {
        match self {
            Self::Due(at) => Some((at, Timer::Heartbeat)),
            Self::LookupDue(at) => Some((at, Timer::Retry)),
            Self::Out { .. } | Self::LookupOut(_) => None,
        }
    }
}

impl State {
    /// The membership with an assignment, if there is one.
    pub(super) const fn tenure(&mut self) -> Option<&mut Tenure> {
        match self {
            Self::Stable(tenure) | Self::Revoking { tenure, .. } => Some(tenure),
            Self::Idle
            | Self::Waiting { .. }
            | Self::FindingCoordinator { .. }
            | Self::Joining { .. }
            | Self::Describing(_)
            | Self::Syncing { .. }
            | Self::Confirming { .. }
            | Self::Leaving { .. }
            | Self::Stopped => None,
        }
    }

    /// All that this state waits for by the clock.
    pub(super) fn timers(&self, session: Duration) -> impl Iterator<Item = (Time, Timer)> {
        let timers = match self {
            Self::Waiting { until, .. } => [Some((*until, Timer::Retry)), None, None],
            Self::Describing(Description { lookup, joined, .. }) => {
                let retry = match lookup {
                    Lookup::Due(at) => Some((*at, Timer::Retry)),
                    Lookup::Out(_) => None,
                };
                [Some((*joined + session, Timer::SessionEnd)), retry, None]
            }
            Self::Stable(tenure) => {
                [Some((tenure.renewed + session, Timer::SessionEnd)), tenure.pulse.timer(), None]
            }
            Self::Revoking { tenure, limit, .. } => [
                Some((tenure.renewed + session, Timer::SessionEnd)),
                tenure.pulse.timer(),
                limit.map(|at| (at, Timer::DrainLimit)),
            ],
            Self::Idle
            | Self::FindingCoordinator { .. }
            | Self::Joining { .. }
            | Self::Syncing { .. }
            | Self::Confirming { .. }
            | Self::Leaving { .. }
            | Self::Stopped => [None, None, None],
        };
        timers.into_iter().flatten()
    }
}
