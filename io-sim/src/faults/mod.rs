//! What can go wrong, in words that both levels share: what each fault may destroy, what that excuses, how it heals.
//!
//! There are two sorts. A [`Chance`] is put to the dice each time that it could strike (a reply on its way, a call of a
//! handler); the decision is a hash of who and how often before. A [`Stroke`] happens at a time. Both belong to a
//! [`Family`], which a seed turns on or off as a whole ([`swarm`]). A [`FaultPlan`](plan::FaultPlan) holds them all, as
//! data and as text.

pub mod dice;
pub mod plan;
pub mod swarm;

use std::time::Duration;

use crate::checkers::Law;

/// What a fault may destroy for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destroys {
    /// Nothing: what it stops goes on, what it loses is asked again.
    Nothing,
    /// What a process had in memory: runs that had not ended, outcomes that were not committed.
    Memory,
    /// Transactions that were open.
    OpenTransactions,
    /// Records that were acknowledged.
    Records,
}

/// How a fault ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heals {
    /// It is over at once.
    AtOnce,
    /// After its time; in the quiet phase at the latest.
    InTime,
    /// In the quiet phase.
    WhenQuiet,
}

/// What a fault costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// What it may destroy for good.
    pub destroys: Destroys,
    /// Which laws judge less strictly for it. Empty: it excuses nothing.
    pub excuses: &'static [Law],
    /// How it ends.
    pub heals: Heals,
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $text:literal $family:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in plans.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// What has this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.name() == name)
            }

            /// What it belongs to.
            #[must_use]
            pub const fn family(self) -> Family {
                match self {
                    $(Self::$variant => Family::$family,)*
                }
            }
        }
    };
}

/// Faults that are turned on and off together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Processes die.
    Crashes,
    /// Processes stand still and go on.
    Pauses,
    /// Processes are asked to stop and come again.
    Stops,
    /// Wall clocks jump, drift and stand still.
    Clocks,
    /// Requests and replies are lost.
    Loss,
    /// Requests and replies take long.
    Delay,
    /// Connections are reset.
    Resets,
    /// Nodes cannot reach each other.
    Isolation,
    /// Brokers die.
    Brokers,
    /// Followers stop copying for a while.
    Replication,
    /// Partitions change their leaders.
    Leaders,
    /// Replicas that lack records come to lead.
    UncleanElections,
    /// Topics are deleted and made anew.
    Recreations,
    /// Retention overtakes the groups.
    Retention,
    /// Groups change their coordinators.
    Coordinators,
    /// Members are thrown out of their groups without a word.
    Evictions,
    /// Commits are applied, and their replies lost.
    Commits,
    /// Batches are appended, and their acknowledgements lost.
    Acknowledgements,
    /// Connections to the database are lost.
    DatabaseConnections,
    /// The outcome of COMMIT is unknown.
    DatabaseCommits,
    /// Transactions conflict.
    DatabaseConflicts,
    /// The database restarts.
    DatabaseRestarts,
    /// Connections to the database are scarce.
    Pool,
    /// Handlers are slow or hang.
    SlowHandlers,
    /// Handlers fail.
    FailingHandlers,
    /// Handlers panic.
    PanickingHandlers,
    /// Services are rolled out with other handlers.
    Deploys,
    /// Topics get more partitions.
    Growth,
    /// Stored positions are lost, set back, or have their metadata damaged.
    Positions,
    /// Brokers go by an old map of the cluster.
    Metadata,
}

impl Family {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Crashes,
        Self::Pauses,
        Self::Stops,
        Self::Clocks,
        Self::Loss,
        Self::Delay,
        Self::Resets,
        Self::Isolation,
        Self::Brokers,
        Self::Replication,
        Self::Leaders,
        Self::UncleanElections,
        Self::Recreations,
        Self::Retention,
        Self::Coordinators,
        Self::Evictions,
        Self::Commits,
        Self::Acknowledgements,
        Self::DatabaseConnections,
        Self::DatabaseCommits,
        Self::DatabaseConflicts,
        Self::DatabaseRestarts,
        Self::Pool,
        Self::SlowHandlers,
        Self::FailingHandlers,
        Self::PanickingHandlers,
        Self::Deploys,
        Self::Growth,
        Self::Positions,
        Self::Metadata,
    ];

    /// What faults of this family cost.
    #[must_use]
    pub const fn cost(self) -> Cost {
        let (destroys, excuses, heals): (_, &'static [Law], _) = match self {
            // What was settled since the last accepted commit is handed out again: the law knows what was committed.
            Self::Crashes => (Destroys::Memory, &[], Heals::InTime),
            // A zombie does not know yet that it is no owner, and may take longer over a call than its limit.
            Self::Pauses => (Destroys::Nothing, &[Law::OneOwner, Law::Attempts], Heals::InTime),
            Self::Stops
            | Self::Isolation
            | Self::Pool
            | Self::Brokers
            | Self::Replication
            | Self::Metadata => (Destroys::Nothing, &[], Heals::InTime),
            // Of the partition that was cut. That nothing of what is left is lost is judged all the same.
            Self::UncleanElections | Self::Recreations => (
                Destroys::Records,
                &[
                    Law::CommitSafety,
                    Law::Epochs,
                    Law::Redelivery,
                    Law::Order,
                    Law::Attempts,
                    Law::Durable,
                    Law::SendOrder,
                ],
                Heals::AtOnce,
            ),
            // Nobody can be asked for what is gone; all laws are about the rest.
            Self::Retention => (Destroys::Records, &[], Heals::AtOnce),
            Self::Clocks => (Destroys::Nothing, &[], Heals::WhenQuiet),
            // A commit on a connection that was given up may come late and take the stored position back for a while.
            Self::Loss | Self::Delay | Self::Resets => (Destroys::Nothing, &[Law::Epochs], Heals::AtOnce),
            // Members do not know of it: the position stays where it was set until they have something new to commit.
            Self::Positions => (Destroys::Nothing, &[Law::Epochs, Law::Liveness], Heals::AtOnce),
            // A handler that joins is not owed what was committed without it, and what a settled set says counts for nobody
            // but the handlers that it was written for. The laws know who committed what.
            Self::Deploys => (Destroys::Nothing, &[], Heals::InTime),
            // Until its session is over an evicted member does not know.
            Self::Evictions => (Destroys::Nothing, &[Law::OneOwner], Heals::AtOnce),
            Self::DatabaseConnections
            | Self::DatabaseCommits
            | Self::DatabaseConflicts
            | Self::DatabaseRestarts => (Destroys::OpenTransactions, &[], Heals::AtOnce),
            Self::Leaders
            | Self::Coordinators
            | Self::Commits
            | Self::Acknowledgements
            | Self::Growth
            | Self::SlowHandlers
            | Self::FailingHandlers
            | Self::PanickingHandlers => (Destroys::Nothing, &[], Heals::AtOnce),
        };
        Cost { destroys, excuses, heals }
    }
}

names! {
    /// A fault that is put to the dice each time that it could strike.
    Chance {
        /// A request to a broker never arrives; its connection is gone when the client gives up.
        RequestLost "request-lost" Loss,
        /// A broker's reply never arrives: what was asked has happened.
        ReplyLost "reply-lost" Loss,
        /// A message takes up to ten seconds, and what follows on its connection waits behind it.
        Slow "slow" Delay,
        /// A connection is reset as a request goes out. The request may arrive or not.
        Reset "reset" Resets,
        /// An offset commit is applied and its reply lost.
        CommitApplied "commit-applied" Commits,
        /// A batch is appended and its acknowledgement lost.
        AppendApplied "append-applied" Acknowledgements,
        /// A connection to the database breaks under a statement.
        StatementLost "statement-lost" DatabaseConnections,
        /// COMMIT never arrives: the transaction is rolled back, which the client cannot know.
        CommitLost "db-commit-lost" DatabaseCommits,
        /// COMMIT is applied and its reply lost.
        CommitReplyLost "db-commit-reply-lost" DatabaseCommits,
        /// The database finds that a transaction cannot be serialised.
        Serialisation "serialisation" DatabaseConflicts,
        /// The database breaks a deadlock by this transaction's end.
        Deadlock "deadlock" DatabaseConflicts,
        /// A connection of the pool takes long to come.
        PoolSlow "pool-slow" Pool,
        /// A handler takes up to half of its limit.
        HandlerSlow "handler-slow" SlowHandlers,
        /// A handler never answers; it answers when tried again, in the end.
        HandlerHangs "handler-hangs" SlowHandlers,
        /// A handler answers an error.
        HandlerFails "handler-fails" FailingHandlers,
        /// A handler panics.
        HandlerPanics "handler-panics" PanickingHandlers,
    }
}

/// A fault that happens at a time. Processes, brokers and so on are numbers; those that do not exist in a world are
/// taken modulo what does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stroke {
    /// A process dies and is started again.
    Crash {
        /// Which.
        process: u16,
        /// After how long it is started again.
        down: Duration,
    },
    /// A process stands still.
    Pause {
        /// Which.
        process: u16,
        /// How long.
        lasting: Duration,
    },
    /// A process is asked to stop, and started again when it has.
    Stop {
        /// Which.
        process: u16,
        /// After how long it is started again.
        down: Duration,
    },
    /// Whoever owns a partition in the first group that has it dies and is started again.
    CrashOwner {
        /// The partition, counted over all topics.
        partition: u16,
        /// After how long it is started again.
        down: Duration,
    },
    /// Whoever owns a partition in the first group that has it stands still.
    PauseOwner {
        /// The partition, counted over all topics.
        partition: u16,
        /// How long.
        lasting: Duration,
    },
    /// A process's wall clock jumps.
    JumpClock {
        /// Which.
        process: u16,
        /// By how many microseconds.
        by_micros: i64,
    },
    /// Nobody reaches a broker, and it reaches nobody; connections stay and go silent.
    IsolateBroker {
        /// Which.
        broker: u16,
        /// How long.
        lasting: Duration,
    },
    /// A process reaches no broker; connections stay and go silent.
    IsolateProcess {
        /// Which.
        process: u16,
        /// How long.
        lasting: Duration,
    },
    /// One process and one broker do not reach each other.
    Cut {
        /// The process.
        process: u16,
        /// The broker.
        broker: u16,
        /// How long.
        lasting: Duration,
    },
    /// A broker dies and comes again with its logs.
    KillBroker {
        /// Which.
        broker: u16,
        /// After how long it comes again.
        down: Duration,
    },
    /// A follower stops copying a partition: nothing new is acknowledged until it is out of the in-sync set or goes on.
    StallReplica {
        /// The partition, counted over all topics.
        partition: u16,
        /// The follower.
        broker: u16,
        /// How long.
        lasting: Duration,
    },
    /// Another in-sync replica leads a partition.
    MoveLeader {
        /// The partition, counted over all topics.
        partition: u16,
        /// The new leader.
        to: u16,
    },
    /// A follower stops copying a partition for a while, and then leads it: what was written meanwhile is lost.
    ElectUnclean {
        /// The partition, counted over all topics.
        partition: u16,
        /// The follower.
        to: u16,
        /// How long it does not copy.
        behind: Duration,
    },
    /// A topic is deleted, and after a while another of the same name is made.
    Recreate {
        /// A partition of it, counted over all topics.
        partition: u16,
        /// How long there is none.
        gone: Duration,
    },
    /// Retention takes the beginning of a partition's log, whoever has yet to read it.
    Trim {
        /// The partition, counted over all topics.
        partition: u16,
        /// How many records are left.
        keep: u16,
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
    /// The database stops, losing what was not committed, and starts again.
    RestartDatabase {
        /// After how long it starts again.
        down: Duration,
    },
    /// No connection of the pool comes free.
    EmptyPool {
        /// How long.
        lasting: Duration,
    },
    /// A service is rolled out: its processes stop one after another and come again with other handlers, so that old and
    /// new are in one group meanwhile.
    Deploy {
        /// The group whose handlers they run.
        group: u16,
        /// Which of the group's handlers they run from then on; see
        /// [`Facts::deployed`](crate::history::Facts::deployed).
        handlers: u16,
        /// How long after one process the next is asked to stop.
        every: Duration,
    },
    /// A topic gets more partitions, and some of its keys move to them.
    Grow {
        /// A partition of it, counted over all topics.
        partition: u16,
        /// How many more.
        by: u16,
    },
    /// A group's position in a partition is lost, as if it had expired.
    ForgetPosition {
        /// The group.
        group: u16,
        /// The partition, counted over all topics.
        partition: u16,
    },
    /// A group's position in a partition is set to an older one by hand, and bears no metadata.
    SetBack {
        /// The group.
        group: u16,
        /// The partition, counted over all topics.
        partition: u16,
        /// By how many offsets, but not before the log's beginning.
        by: u16,
    },
    /// The metadata of a group's position in a partition is replaced by somebody else's, torn, or damaged.
    SpoilMetadata {
        /// The group.
        group: u16,
        /// The partition, counted over all topics.
        partition: u16,
        /// 0 puts a foreign text there, 1 tears its end off, from 2 on the character of that number is another, counted
        /// round.
        how: u16,
    },
    /// A broker describes the cluster as it was when this began: leaders, partitions, topics, brokers. It learns nothing
    /// new meanwhile, unless it is started again.
    StaleMetadata {
        /// Which.
        broker: u16,
        /// How long.
        lasting: Duration,
    },
    /// A process's wall clock runs faster from then on, or slower.
    DriftClock {
        /// Which.
        process: u16,
        /// By how many microseconds a second.
        ppm: i32,
    },
    /// A process's wall clock stands still, and then shows the right time again.
    FreezeClock {
        /// Which.
        process: u16,
        /// How long.
        lasting: Duration,
    },
}

impl Stroke {
    /// What it belongs to.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Crash { .. } | Self::CrashOwner { .. } => Family::Crashes,
            Self::Pause { .. } | Self::PauseOwner { .. } => Family::Pauses,
            Self::Stop { .. } => Family::Stops,
            Self::JumpClock { .. } | Self::DriftClock { .. } | Self::FreezeClock { .. } => Family::Clocks,
            Self::IsolateBroker { .. } | Self::IsolateProcess { .. } | Self::Cut { .. } => Family::Isolation,
            Self::KillBroker { .. } => Family::Brokers,
            Self::StallReplica { .. } => Family::Replication,
            Self::MoveLeader { .. } => Family::Leaders,
            Self::ElectUnclean { .. } => Family::UncleanElections,
            Self::Recreate { .. } => Family::Recreations,
            Self::Trim { .. } => Family::Retention,
            Self::MoveCoordinator { .. } => Family::Coordinators,
            Self::Evict { .. } => Family::Evictions,
            Self::RestartDatabase { .. } => Family::DatabaseRestarts,
            Self::EmptyPool { .. } => Family::Pool,
            Self::Deploy { .. } => Family::Deploys,
            Self::Grow { .. } => Family::Growth,
            Self::StaleMetadata { .. } => Family::Metadata,
            Self::ForgetPosition { .. } | Self::SetBack { .. } | Self::SpoilMetadata { .. } => {
                Family::Positions
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        for chance in Chance::ALL {
            assert_eq!(Chance::named(chance.name()), Some(*chance));
        }
        assert_eq!(Chance::named("meteor"), None);
    }

    #[test]
    fn every_family_has_a_fault() {
        let chances = Chance::ALL.iter().map(|chance| chance.family());
        let drawn = swarm::STROKES.iter().copied();
        let with_faults: std::collections::BTreeSet<_> = chances.chain(drawn).collect();
        assert!(Family::ALL.iter().all(|family| with_faults.contains(family)));
    }
}
