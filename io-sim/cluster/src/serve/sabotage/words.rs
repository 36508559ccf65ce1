//! What can go wrong with brokers that are served, in the words of plans.
//!
//! Names are those of the simulated world where the fault is the same. None of them destroys a record that was
//! acknowledged.

use std::fmt;
use std::time::Duration;

use evenkeel_core::model::Time;

use crate::chances;
use crate::faults::plan::{self, number, span};
use crate::faults::{Plan, Span};
use crate::wire::Api;

/// What goes wrong with brokers, and when.
pub type BrokerPlan = Plan<BrokerChance, BrokerStroke>;

chances! {
    /// A fault that is put to the dice for each request, or each connection, that it could strike.
    ///
    /// Whom it strikes is a number: a thousand times the broker's id, plus Kafka's key of the request, if it is about one.
    /// `spare commit-applied of 2008 nth 3` is about the fourth OffsetCommit that broker 2 gets.
    BrokerChance {
        /// A request never arrives; its connection goes silent, and is reset after up to ten seconds.
        RequestLost "request-lost",
        /// The reply never arrives: what was asked has happened. The connection goes silent, and is reset later.
        ReplyLost "reply-lost",
        /// A request or its reply takes up to ten seconds, and what follows on its connection waits behind it.
        Slow "slow",
        /// A connection is reset as a request comes. What was asked has happened or not.
        Reset "reset",
        /// A connection is reset in the middle of a reply's frame.
        ReplyTorn "reply-torn",
        /// A new connection is reset at once.
        Refused "refused",
        /// An offset commit is applied and its reply lost.
        CommitApplied "commit-applied",
        /// Batches are appended and their acknowledgement lost.
        AppendApplied "append-applied",
        /// Batches are appended, and the answer is REQUEST_TIMED_OUT.
        AppendTimedOut "append-timed-out",
        /// The answer is NOT_LEADER_OR_FOLLOWER, by a broker that leads.
        NotLeader "not-leader",
        /// The answer is COORDINATOR_LOAD_IN_PROGRESS.
        Loading "coordinator-loading",
        /// The answer is NOT_COORDINATOR, by a broker that coordinates.
        NotCoordinator "not-coordinator",
        /// Who asks for the coordinator is answered COORDINATOR_NOT_AVAILABLE.
        NoCoordinator "no-coordinator",
        /// The answer is REBALANCE_IN_PROGRESS, though there is none.
        Rebalancing "rebalance-in-progress",
    }
}

impl BrokerChance {
    /// Whether it can strike a request: whether Kafka may behave like that, too.
    pub(super) const fn concerns(self, api: Api) -> bool {
        match self {
            Self::RequestLost | Self::ReplyLost | Self::Slow | Self::Reset | Self::ReplyTorn => true,
            Self::Refused => false,
            Self::CommitApplied => matches!(api, Api::OffsetCommit),
            Self::AppendApplied | Self::AppendTimedOut => matches!(api, Api::Produce),
            Self::NotLeader => {
                matches!(api, Api::Produce | Api::Fetch | Api::ListOffsets | Api::OffsetForLeaderEpoch)
            }
            // While it loads, Kafka answers heartbeats with success and SyncGroup with REBALANCE_IN_PROGRESS.
            Self::Loading => {
                matches!(api, Api::JoinGroup | Api::OffsetCommit | Api::OffsetFetch | Api::LeaveGroup)
            }
            Self::NotCoordinator => matches!(
                api,
                Api::JoinGroup
                    | Api::SyncGroup
                    | Api::Heartbeat
                    | Api::OffsetCommit
                    | Api::OffsetFetch
                    | Api::LeaveGroup
            ),
            Self::NoCoordinator => matches!(api, Api::FindCoordinator),
            Self::Rebalancing => matches!(api, Api::SyncGroup | Api::Heartbeat | Api::OffsetCommit),
        }
    }
}

/// A fault that happens at a time. Brokers go by their ids; partitions are counted from zero over all topics in the order
/// of names, groups and their members likewise. What does not exist is taken modulo what does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BrokerStroke {
    /// A broker dies and comes again with its logs.
    KillBroker {
        /// Which.
        broker: u16,
        /// After how long it comes again.
        down: Duration,
    },
    /// A broker's connections go silent: requests are not read, replies not sent.
    IsolateBroker {
        /// Which.
        broker: u16,
        /// How long.
        lasting: Duration,
    },
    /// A follower stops copying a partition: nothing new is acknowledged until it is out of the in-sync set or goes on.
    StallReplica {
        /// The partition.
        partition: u16,
        /// The follower.
        broker: u16,
        /// How long.
        lasting: Duration,
    },
    /// Another in-sync replica leads a partition.
    MoveLeader {
        /// The partition.
        partition: u16,
        /// The new leader.
        to: u16,
    },
    /// Another broker coordinates a group.
    MoveCoordinator {
        /// The group.
        group: u16,
        /// The new coordinator.
        to: u16,
    },
    /// The coordinator throws a member out without telling it.
    Evict {
        /// The group.
        group: u16,
        /// Which of its members.
        member: u16,
    },
}

impl BrokerStroke {
    /// Its name, for counting.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillBroker { .. } => "kill-broker",
            Self::IsolateBroker { .. } => "isolate-broker",
            Self::StallReplica { .. } => "stall-replica",
            Self::MoveLeader { .. } => "move-leader",
            Self::MoveCoordinator { .. } => "move-coordinator",
            Self::Evict { .. } => "evict",
        }
    }

    /// After how long it is to be healed, if it does not heal by itself.
    pub(super) const fn lasting(self) -> Option<Duration> {
        match self {
            Self::KillBroker { down, .. } => Some(down),
            Self::IsolateBroker { lasting, .. } | Self::StallReplica { lasting, .. } => Some(lasting),
            Self::MoveLeader { .. } | Self::MoveCoordinator { .. } | Self::Evict { .. } => None,
        }
    }
}

impl fmt::Display for BrokerStroke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match *self {
            Self::KillBroker { broker, down } => write!(f, "{name} {broker} down {}", Span(down)),
            Self::IsolateBroker { broker, lasting } => write!(f, "{name} {broker} for {}", Span(lasting)),
            Self::StallReplica { partition, broker, lasting } => {
                write!(f, "{name} partition {partition} broker {broker} for {}", Span(lasting))
            }
            Self::MoveLeader { partition, to } => write!(f, "{name} partition {partition} to {to}"),
            Self::MoveCoordinator { group, to } => write!(f, "{name} group {group} to {to}"),
            Self::Evict { group, member } => write!(f, "{name} group {group} member {member}"),
        }
    }
}

impl plan::Stroke for BrokerStroke {
    /// Who does not say when it is to be quiet wants a broker that goes on misbehaving.
    const QUIET_AT: Time = Time::MAX;
    const WRITTEN: &'static str = "`kill-broker N down TIME`, `isolate-broker N for TIME`, \
        `stall-replica partition N broker N for TIME`, `move-leader partition N to N`, \
        `move-coordinator group N to N`, `evict group N member N`";

    fn read(words: &[&str]) -> Result<Self, Option<&'static str>> {
        Ok(match *words {
            ["kill-broker", broker, "down", down] => {
                Self::KillBroker { broker: number(broker)?, down: span(down)? }
            }
            ["isolate-broker", broker, "for", lasting] => {
                Self::IsolateBroker { broker: number(broker)?, lasting: span(lasting)? }
            }
            ["stall-replica", "partition", partition, "broker", broker, "for", lasting] => {
                Self::StallReplica {
                    partition: number(partition)?,
                    broker: number(broker)?,
                    lasting: span(lasting)?,
                }
            }
            ["move-leader", "partition", partition, "to", to] => {
                Self::MoveLeader { partition: number(partition)?, to: number(to)? }
            }
            ["move-coordinator", "group", group, "to", to] => {
                Self::MoveCoordinator { group: number(group)?, to: number(to)? }
            }
            ["evict", "group", group, "member", member] => {
                Self::Evict { group: number(group)?, member: number(member)? }
            }
            _ => return Err(None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Brief;
    use crate::serve::sabotage::draw;

    #[test]
    fn what_is_printed_is_read_back() {
        for seed in 0..300 {
            let brief: Brief = format!("seed={seed}").parse().expect("it is one");
            let plan = draw(brief, 3);
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
    }

    #[test]
    fn a_wrong_plan_is_told_with_line_and_remedy() {
        for (text, line, remedy) in [
            ("seed 1\nchance reply-lots 1%", 2, "there are request-lost, reply-lost, slow"),
            ("\n\nat 3s kill-broker 1", 3, "`kill-broker N down TIME`"),
            ("at 3s move-leader partition many to 1", 1, "a number is missing"),
            ("chance reset often", 1, "a rate is written like 1200ppm or 0.25%"),
            ("at soon evict group 0 member 0", 1, "a time is written like 12s, 3.25s or 250ms"),
            ("# fine\nhail", 2, "a line is one of `seed N`"),
        ] {
            let told = text.parse::<BrokerPlan>().expect_err(text).to_string();
            assert!(told.starts_with(&format!("line {line} of the plan, ")), "{told}");
            assert!(told.contains(remedy), "{told}");
        }
    }

    #[test]
    fn without_a_word_on_it_faults_never_end() {
        let plan: BrokerPlan = "chance reset 1%  # one in a hundred".parse().expect("it is a plan");
        assert_eq!(plan.quiet_at, Time::MAX);
        assert_eq!(plan.to_string().parse(), Ok(plan));
    }
}
