//! What happened in a run, as plain data with times: the one format that both levels write and all checkers read.
//!
//! It mixes what the library was told (`SendEnded`, `RunBegan`) with what is true (`Logged`, `Committed`,
//! `TxCommitted`): the world owns the cluster and the database, so nothing need be inferred. Things are small numbers; the
//! [`Facts`] of a run have their names and settings. Each event carries its key and its place among the events of that
//! key, so that order is arithmetic.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::error::{ErrorCode, ProduceError};
use evenkeel_core::machine::produce::Produced;
use evenkeel_core::model::{Generation, Offset, OnFailure, Ordering, PartitionId, RetryPolicy, Time};

use crate::oversight::telling;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $letter:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }
    };
}

number! {
    /// A topic's place in [`Facts::topics`].
    TopicNo(u16), "t"
}
number! {
    /// A group's place in [`Facts::groups`].
    GroupNo(u16), "g"
}
number! {
    /// A handler's place in [`Facts::handlers`].
    HandlerNo(u16), "h"
}
number! {
    /// A service's place in [`Facts::services`].
    ServiceNo(u16), "s"
}
number! {
    /// An event that the workload made. Its id in the library is this number in decimal.
    EventNo(u32), "e"
}
number! {
    /// A key of the workload.
    KeyNo(u32), "k"
}
number! {
    /// One call of `produce`.
    SendNo(u32), "p"
}
number! {
    /// One event handed to one handler once.
    RunNo(u64), "r"
}
number! {
    /// One call of a handler: one run, or several if it takes batches.
    CallNo(u64), "c"
}
number! {
    /// One transaction of the database.
    TxNo(u64), "x"
}

/// One partition of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The topic.
    pub topic: TopicNo,
    /// The partition's number within it.
    pub partition: PartitionId,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// One life of one process: a process that is restarted has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life {
    /// Which process of the world.
    pub process: u16,
    /// Which of its lives, counted from zero.
    pub nth: u16,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process, self.nth)
    }
}

/// Whether a handler runs in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// It may see an event more than once.
    Idempotent,
    /// Its effects and its claim commit together.
    ExactlyOnce,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFacts {
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions it begins with.
    pub partitions: u32,
}

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFacts {
    /// Its name.
    pub name: Arc<str>,
    /// How many calls a member may run at once.
    pub concurrency: u32,
    /// After how long without a heartbeat a member has lost its partitions.
    pub session_timeout: Duration,
}

/// A handler and its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerFacts {
    /// Its name.
    pub name: Arc<str>,
    /// Its group.
    pub group: GroupNo,
    /// Its topic.
    pub topic: TopicNo,
    /// Its flavour.
    pub flavour: Flavour,
    /// Which events must not overtake each other.
    pub ordering: Ordering,
    /// How many calls of it a process may run at once.
    pub concurrency: u32,
    /// How many events a call may have.
    pub batch: u32,
    /// How it is retried.
    pub retry: RetryPolicy,
    /// What becomes of events it cannot handle.
    pub on_failure: OnFailure,
}

/// A service: processes alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceFacts {
    /// Its name.
    pub name: Arc<str>,
}

/// What is settled about a run before it begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The topics.
    pub topics: Vec<TopicFacts>,
    /// The groups.
    pub groups: Vec<GroupFacts>,
    /// The handlers of all groups.
    pub handlers: Vec<HandlerFacts>,
    /// The services.
    pub services: Vec<ServiceFacts>,
    /// Whether members may write so little metadata with a commit that not all that is settled beyond it fits.
    pub metadata_is_cut: bool,
    /// What the machine that it runs on may add to any time.
    pub slack: Slack,
}

/// How late what is due may come before a law is broken. In virtual time it is next to nothing; a real machine that has
/// more to do than it can adds its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slack {
    /// What timers and the scheduler may add.
    pub timers: Duration,
    /// How long after a pause, or after a session, a process may take to notice.
    pub notice: Duration,
}

impl Default for Slack {
    fn default() -> Self {
        Self { timers: Duration::from_millis(20), notice: Duration::from_millis(100) }
    }
}

impl Facts {
    /// A handler's settings.
    #[must_use]
    pub fn handler(&self, handler: HandlerNo) -> &HandlerFacts {
        &self.handlers[usize::from(handler.0)]
    }

    /// All handlers with their numbers.
    pub fn numbered_handlers(&self) -> impl Iterator<Item = (HandlerNo, &HandlerFacts)> {
        (0..).map(HandlerNo).zip(&self.handlers)
    }

    /// The handlers that a group has for a topic.
    pub fn handlers_of(&self, group: GroupNo, topic: TopicNo) -> impl Iterator<Item = HandlerNo> + '_ {
        self.numbered_handlers()
            .filter(move |(_, handler)| handler.group == group && handler.topic == topic)
            .map(|(number, _)| number)
    }

    /// The handlers of a group that a deploy leaves, in order: the n-th is there if the n-th bit is set, counted from the
    /// lowest and round again after the last. All of them, if none would be left.
    #[must_use]
    pub fn deployed(&self, group: GroupNo, handlers: u16) -> Vec<HandlerNo> {
        let of_group = self.numbered_handlers().filter(|(_, handler)| handler.group == group);
        let all: Vec<_> = of_group.map(|(number, _)| number).collect();
        let left = all.iter().enumerate().filter(|(nth, _)| handlers >> (nth % 16) & 1 == 1);
        let left: Vec<_> = left.map(|(_, number)| *number).collect();
        if left.is_empty() { all } else { left }
    }

    /// The name of a handler with its group's.
    #[must_use]
    pub fn handler_name(&self, handler: HandlerNo) -> String {
        let facts = self.handler(handler);
        format!("{}/{}", self.groups[usize::from(facts.group.0)].name, facts.name)
    }

    /// A place as `topic/partition`.
    #[must_use]
    pub fn place_name(&self, place: Place) -> String {
        format!("{}/{}", self.topics[usize::from(place.topic.0)].name, place.partition)
    }
}

/// What handlers make of an event, by the workload's will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nature {
    /// They can handle it in the end.
    #[default]
    Good,
    /// They fail, whatever is tried.
    Poison,
    /// Its payload cannot be decoded.
    Undecodable,
}

/// An event as the workload made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The event.
    pub event: EventNo,
    /// Where to.
    pub topic: TopicNo,
    /// Its key; `None` for a keyless one.
    pub key: Option<KeyNo>,
    /// Its number among the events of its key and topic, counted from zero in the order of sending.
    pub n: u32,
    /// What handlers make of it.
    pub nature: Nature,
}

/// What a producer was told of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was written there.
    Written(PartitionId, Offset),
    /// It was not written and will not be.
    Rejected,
    /// Either.
    Unknown,
}

impl Fate {
    /// What became of each event of a call of so many, by what the library answered.
    #[must_use]
    pub fn of_call(outcome: &Result<Vec<Produced>, ProduceError>, events: usize) -> Vec<Self> {
        let written = |produced: &Produced| Self::Written(produced.at.partition, produced.offset);
        match outcome {
            Ok(produced) => produced.iter().map(written).collect(),
            Err(ProduceError::Failed(outcomes)) => outcomes
                .iter()
                .map(|outcome| match outcome {
                    Ok(produced) => written(produced),
                    Err(failure) if failure.is_unknown() => Self::Unknown,
                    Err(_) => Self::Rejected,
                })
                .collect(),
            // Nothing of the call was produced.
            Err(_) => vec![Self::Rejected; events],
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// From one moment to the next.
    Crashed,
    /// It was asked to stop; whether nothing was left undone.
    Stopped {
        /// Whether the library said that nothing was left undone.
        clean: bool,
    },
}

/// A member's share of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The member.
    pub life: Life,
    /// Its partitions.
    pub places: Vec<Place>,
}

/// How a handler's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// It answered success.
    Done,
    /// It answered an error that may be tried again.
    Failed,
    /// It answered an error that is not to be tried again.
    Permanent,
    /// It answered an error that is to be passed over.
    Ignored,
    /// It answered an error of the database or the cluster, which is no attempt.
    World,
    /// It panicked.
    Panicked,
    /// Its future was dropped before it answered.
    Dropped,
}

/// Why a log lost its last records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// A replica without them came to lead.
    Election,
    /// Its topic was deleted, and may be made anew.
    Deletion,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A process began to live.
    LifeBegan {
        /// The life.
        life: Life,
        /// Of what it is a process.
        service: ServiceNo,
        /// The handlers it runs.
        handlers: Arc<[HandlerNo]>,
    },
    /// A process was asked to stop.
    StopAsked {
        /// The life.
        life: Life,
    },
    /// A process ended.
    LifeEnded {
        /// The life.
        life: Life,
        /// How.
        end: End,
    },
    /// A process stands still; its timers go on without it.
    Paused {
        /// The life.
        life: Life,
    },
    /// A process goes on.
    Resumed {
        /// The life.
        life: Life,
    },
    /// The library was given events to produce, in this order.
    SendBegan {
        /// The call.
        send: SendNo,
        /// Who calls.
        life: Life,
        /// The events.
        events: Arc<[Sent]>,
    },
    /// The library answered.
    SendEnded {
        /// The call.
        send: SendNo,
        /// Each event's fate, in the order of the events.
        fates: Arc<[Fate]>,
    },
    /// A record that consumers may see is in a log. Told in the order of offsets, at the latest before anything is told
    /// that depends on it.
    Logged {
        /// The log.
        place: Place,
        /// Its offset.
        offset: Offset,
        /// The workload's event; `None` if the record is somebody else's.
        event: Option<EventNo>,
    },
    /// The world itself destroyed records: nobody is to blame that they are not handled.
    Destroyed {
        /// The log.
        place: Place,
        /// The offsets.
        offsets: Range<Offset>,
    },
    /// A log lost what it had from an offset on, and others may come to stand there.
    Truncated {
        /// The log.
        place: Place,
        /// Where it ends now.
        end: Offset,
        /// Why.
        why: Cut,
    },
    /// The coordinator took a generation's assignment.
    Assigned {
        /// The group.
        group: GroupNo,
        /// The generation.
        generation: Generation,
        /// Who got what.
        shares: Arc<[Share]>,
    },
    /// A member learnt in which generation it is.
    Joined {
        /// The group.
        group: GroupNo,
        /// The member.
        life: Life,
        /// The generation.
        generation: Generation,
    },
    /// The coordinator told a member what is committed.
    PositionServed {
        /// The group.
        group: GroupNo,
        /// The partition.
        place: Place,
        /// Who asked.
        life: Life,
        /// The committed offset; `None` if there is none.
        offset: Option<Offset>,
        /// What the commit's metadata says is settled beyond the offset.
        settled: Arc<[Range<Offset>]>,
    },
    /// The coordinator took a commit, or refused it.
    Committed {
        /// The group.
        group: GroupNo,
        /// The partition.
        place: Place,
        /// Who commits.
        life: Life,
        /// Under which generation.
        generation: Generation,
        /// The next offset to read.
        offset: Offset,
        /// What the metadata says is settled beyond the offset.
        settled: Arc<[Range<Offset>]>,
        /// What the coordinator answered.
        outcome: Result<(), ErrorCode>,
        /// When it was sent: one that was held up on its way may be older than what came before.
        sent: Time,
    },
    /// Somebody who is no member set a group's position, or deleted it, or changed its metadata.
    PositionSet {
        /// The group.
        group: GroupNo,
        /// The partition.
        place: Place,
        /// The next offset to read; `None` if there is none any more.
        offset: Option<Offset>,
    },
    /// A handler was handed an event.
    RunBegan {
        /// The run.
        run: RunNo,
        /// The call; runs of a batch share it.
        call: CallNo,
        /// In which process.
        life: Life,
        /// The handler.
        handler: HandlerNo,
        /// The partition the event came from.
        place: Place,
        /// The event's offset there.
        offset: Offset,
        /// The event.
        event: EventNo,
        /// Which attempt the library says it is, counted from one.
        attempt: u32,
    },
    /// A run ended.
    RunEnded {
        /// The run.
        run: RunNo,
        /// How.
        end: RunEnd,
    },
    /// The library says that a handler's policy gave an event up.
    GivenUp {
        /// In which process.
        life: Life,
        /// The handler.
        handler: HandlerNo,
        /// The event's partition.
        place: Place,
        /// Its offset.
        offset: Offset,
        /// After how many attempts.
        attempts: u32,
    },
    /// A transaction is durable.
    TxCommitted {
        /// The transaction.
        tx: TxNo,
        /// The claims in it.
        claims: Arc<[(HandlerNo, EventNo)]>,
        /// The handlers' effects in it.
        effects: Arc<[(HandlerNo, EventNo)]>,
    },
    /// From here on there are no faults, and what there were have healed.
    Quiet,
}

/// A run's history.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// What is settled beforehand.
    pub facts: Arc<Facts>,
    /// What happened, in order.
    pub happenings: Vec<(Time, Happening)>,
}

impl History {
    /// A history in which nothing has happened yet.
    #[must_use]
    pub const fn new(facts: Arc<Facts>) -> Self {
        Self { facts, happenings: Vec::new() }
    }

    /// Adds something. Times never go back.
    pub fn record(&mut self, at: Time, happening: Happening) {
        debug_assert!(self.happenings.last().is_none_or(|(last, _)| *last <= at), "time goes on");
        self.happenings.push((at, happening));
    }

    /// A happening in words.
    #[must_use]
    pub fn line(&self, happening: &Happening) -> String {
        telling::line(&self.facts, happening)
    }
}
