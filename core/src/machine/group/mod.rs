//! Consumer-group membership: how one member of a group comes to own partitions, and when it no longer does.
//!
//! Kafka shares a group's partitions out among its members through a *coordinator*, one of the brokers, in
//! *generations*. This machine is one member, speaking the classic protocol, eagerly: it gives up all partitions before
//! it asks for new ones. Its owner sees a stream of assignments and nothing of the protocol, so that cooperative or
//! next-generation membership can stand behind the same stream.
//!
//! # Moves
//!
//! ```text
//! Idle ─► FindingCoordinator ─► Joining ─► Describing ─► Syncing ─► Stable ─► Revoking ─┐
//!             ▲                  ▲   └─── (not leader) ────▲                            │ released
//!             └──── Waiting ─────┴──────────────────────────────────────────────────────┤
//!                                                        Stopped ◄─ Leaving ◄───────────┘
//! ```
//!
//! Whatever fails leads to `Waiting`, whose wait grows and has jitter, and from there to the coordinator again. While
//! partitions are owned (`Stable`, `Revoking`) heartbeats keep the session alive, also while a lost coordinator is
//! looked for. A share that comes so late that the session may have ended meanwhile is `Confirming` before it is
//! `Stable`: a heartbeat asks whether it is this member's still.
//!
//! # An assignment's life
//!
//! Each [`Action::Assigned`] is followed by exactly one end before the next: either [`Action::Revoke`], answered by the
//! owner with [`Input::Released`], or [`Action::Lost`], after which nothing of it may be committed. `Lost` may also
//! follow a `Revoke` that was not answered in time.
//!
//! An assignment is lost when the coordinator says so, or when no heartbeat *that was sent within the last session
//! timeout* has succeeded: from then on another member may own the partitions. The sending counts, not the answer, for
//! the coordinator's clock started somewhere in between.
//!
//! # Requests
//!
//! At most one membership request is out at a time. One that is sent while another is still out replaces it: the
//! earlier reply no longer matters, and the driver may cut it short with its connection (a parked join, when the member
//! leaves instead).

pub mod assignor;
pub mod protocol;

mod member;
mod moves;
mod state;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use assignor::Strategy;
pub use member::Group;
pub use state::Timer;

use super::backoff::Backoff;
use crate::error::{ErrorCode, Remedy};
use crate::model::{BrokerId, Generation, GroupName, MemberId, RequestId, TopicName, TopicPartition};
use crate::ports::{HeartbeatRequest, JoinAnswer, JoinRequest, LeaveRequest, PortError, SyncRequest};

/// What a member is and how patient it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// The group.
    pub group: GroupName,
    /// The topics that this member wants partitions of.
    pub topics: Vec<TopicName>,
    /// Makes the member static: it keeps its partitions over a restart that is shorter than the session timeout, and
    /// does not leave when it stops.
    pub instance: Option<Arc<str>>,
    /// How long the coordinator waits for a heartbeat before it takes the member for dead. 10 s; the broker has limits.
    pub session_timeout: Duration,
    /// How often a heartbeat is sent: at most a third of the session timeout, so that one may be lost. 3 s.
    pub heartbeat_interval: Duration,
    /// How long the coordinator waits for members to join again: no drain may take longer. 60 s.
    pub rebalance_timeout: Duration,
    /// The strategies that the member can live with, most wanted first. A group needs one that all its members offer.
    pub strategies: Vec<Strategy>,
    /// The waits between attempts.
    pub backoff: Backoff,
}

impl GroupConfig {
    /// A dynamic member with the default times and both strategies, `range` first.
    #[must_use]
    pub fn new(group: GroupName, topics: Vec<TopicName>) -> Self {
        Self {
            group,
            topics,
            instance: None,
            session_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout: Duration::from_secs(60),
            strategies: vec![Strategy::Range, Strategy::RoundRobin],
            backoff: Backoff::REQUEST,
        }
    }
}

/// What commits are made under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The generation.
    pub generation: Generation,
    /// This member's id.
    pub member: MemberId,
    /// Its instance id, if it is static.
    pub instance: Option<Arc<str>>,
    /// Where commits go.
    pub coordinator: BrokerId,
}

/// What can happen to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The owner wants partitions.
    Start,
    /// [`Action::FindCoordinator`] was answered.
    CoordinatorFound {
        /// The request.
        id: RequestId,
        /// The coordinator.
        outcome: Result<BrokerId, PortError>,
    },
    /// [`Action::Join`] was answered.
    Joined {
        /// The request.
        id: RequestId,
        /// The generation that begins, or the refusal with the member id that came with it.
        outcome: Result<JoinAnswer, (PortError, MemberId)>,
    },
    /// [`Action::DescribeTopics`] was answered.
    TopicsDescribed {
        /// The request.
        id: RequestId,
        /// The number of partitions of each topic that exists.
        outcome: Result<BTreeMap<TopicName, u32>, PortError>,
    },
    /// [`Action::Sync`] was answered.
    Synced {
        /// The request.
        id: RequestId,
        /// This member's assignment, encoded.
        outcome: Result<Bytes, PortError>,
    },
    /// [`Action::Heartbeat`] was answered.
    HeartbeatDone {
        /// The request.
        id: RequestId,
        /// Whether the coordinator still counts on the member.
        outcome: Result<(), PortError>,
    },
    /// [`Action::Leave`] was answered.
    Left {
        /// The request.
        id: RequestId,
        /// Whether it worked; the member is gone either way.
        outcome: Result<(), PortError>,
    },
    /// How many partitions topics have now; those that could not be seen are left out. Only the leader acts on it, if
    /// it assigned from other counts, since only a leader's join makes a stable group rebalance.
    PartitionsCounted(BTreeMap<TopicName, u32>),
    /// The owner drained and committed what [`Action::Revoke`] asked for.
    Released {
        /// The request.
        id: RequestId,
    },
    /// A commit was refused for a reason that may concern the membership.
    CommitRefused {
        /// The generation that the commit was made under.
        generation: Generation,
        /// What the coordinator said.
        code: ErrorCode,
    },
    /// The owner wants no more partitions: give them up, leave. Again: skip what is being waited for.
    Stop,
}

/// What a member wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask any broker for the group's coordinator.
    FindCoordinator {
        /// Comes back with [`Input::CoordinatorFound`].
        id: RequestId,
    },
    /// Ask to be a member of the next generation.
    Join {
        /// Comes back with [`Input::Joined`].
        id: RequestId,
        /// The coordinator.
        broker: BrokerId,
        /// What to ask.
        request: JoinRequest,
    },
    /// Ask how many partitions topics have; this member assigns them. Topics that do not exist are left out of the
    /// answer.
    DescribeTopics {
        /// Comes back with [`Input::TopicsDescribed`].
        id: RequestId,
        /// What any member of the group subscribes to.
        topics: Vec<TopicName>,
    },
    /// Ask for this member's share; the leader hands in everyone's.
    Sync {
        /// Comes back with [`Input::Synced`].
        id: RequestId,
        /// The coordinator.
        broker: BrokerId,
        /// What to ask.
        request: SyncRequest,
    },
    /// Tell the coordinator that this member lives.
    Heartbeat {
        /// Comes back with [`Input::HeartbeatDone`].
        id: RequestId,
        /// The coordinator.
        broker: BrokerId,
        /// What to tell.
        request: HeartbeatRequest,
    },
    /// Tell the coordinator that this member goes.
    Leave {
        /// Comes back with [`Input::Left`].
        id: RequestId,
        /// The coordinator.
        broker: BrokerId,
        /// What to tell.
        request: LeaveRequest,
    },
    /// A new assignment: these partitions and no others, until it ends.
    Assigned {
        /// What to commit under.
        membership: Membership,
        /// All partitions, sorted. There may be none.
        partitions: Vec<TopicPartition>,
    },
    /// The coordinator was looked up again; generation and assignment stay.
    Moved {
        /// What to commit under from now on.
        membership: Membership,
    },
    /// Take no more events, finish those in flight, commit, then answer [`Input::Released`]. The membership lasts
    /// meanwhile. [`Action::Lost`] if it took too long.
    Revoke {
        /// Comes back with [`Input::Released`].
        id: RequestId,
    },
    /// The assignment is over: what is in flight must not be committed.
    Lost,
    /// Trying again cannot help. The member ends as if it had been told to stop; committed positions are untouched.
    Failed {
        /// What was refused, and what to do about it.
        error: GroupError,
    },
    /// The member is no more. Nothing follows.
    Stopped,
}

/// What a member was doing when it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Finding the coordinator.
    Find,
    /// Joining.
    Join,
    /// Describing the topics as the leader.
    Describe,
    /// Syncing.
    Sync,
    /// Sending heartbeats.
    Heartbeat,
    /// Committing, which is the owner's work.
    Commit,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Find => "looking for its coordinator",
            Self::Join => "joining",
            Self::Describe => "describing its topics",
            Self::Sync => "asking for its assignment",
            Self::Heartbeat => "sending a heartbeat",
            Self::Commit => "committing",
        })
    }
}

/// Why a member gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupError {
    /// The group.
    pub group: GroupName,
    /// What was refused.
    pub step: Step,
    /// The coordinator's reason.
    pub code: ErrorCode,
    /// The session timeout that was asked for.
    pub session_timeout: Duration,
}

impl GroupError {
    /// What the code asks for.
    #[must_use]
    pub const fn remedy(&self) -> Remedy {
        self.code.remedy()
    }
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a member of group {:?} gave up {}: {}", self.group, self.step, self.code)?;
        if self.code == ErrorCode::InvalidSessionTimeout {
            write!(f, " (it asked for {:?})", self.session_timeout)?;
        }
        Ok(())
    }
}

impl std::error::Error for GroupError {}

#[cfg(test)]
mod tests;
