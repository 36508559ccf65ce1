//! What the consumer is told, and what it wants done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::ErrorCode;
use crate::machine::delivery::Outcome;
use crate::machine::group::Membership;
use crate::model::{
    Attempt, BrokerId, Generation, LeaderEpoch, Offset, PartitionId, RequestId, Time, TopicName,
    TopicPartition,
};
use crate::ports::{
    CommitRequest, EpochEnd, FetchRequest, ListOffset, ListedOffset, Metadata, PortError, StoredOffsets,
};
use crate::records::RecordRef;

/// The number of a handler: its place in [`ConsumerConfig::handlers`](super::ConsumerConfig::handlers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HandlerId(pub usize);

/// Names one call of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub(super) u64);

/// A record, as the machine keeps it: handed out as often as needed, and cheaply.
pub trait Kept: Clone {
    /// Lets go of what it shares with the records that came with it, at the price of a copy. It may be kept for long,
    /// and would keep the whole answer of a fetch alive for as long; the window counts only its own bytes. Again is free.
    fn detach(&mut self);
}

impl Kept for RecordRef {
    fn detach(&mut self) {
        Self::detach(self);
    }
}

/// A record that a fetch brought, as far as the machine needs to know it. `P` is the record itself, which the machine
/// only keeps and hands out.
#[derive(Debug, Clone)]
pub struct Arrival<P> {
    /// Its offset.
    pub offset: Offset,
    /// A digest of its key; `None` for a keyless record.
    pub key: Option<u64>,
    /// Its bytes.
    pub weight: u32,
    /// The epoch of the leader that wrote it, if it told one.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The record.
    pub record: P,
}

/// What a fetch read from one partition, decoded.
#[derive(Debug, Clone)]
pub struct Read<P> {
    /// The records in order, without those that are not for handlers (control records, aborted transactions).
    pub records: Vec<Arrival<P>>,
    /// Where to go on: everything below was read or is not there.
    pub next: Offset,
    /// The leader epoch of the last batch, if any was read.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Up to here records are safe with all in-sync replicas.
    pub high_watermark: Offset,
    /// What stood in the way of reading further.
    pub fault: Option<ReadFault>,
}

/// Why a fetched batch could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadFault {
    /// The first batch is larger than what was asked for: ask for this many bytes.
    TooSmall(u32),
    /// The batch cannot be decoded. It is fetched again, and reported.
    Undecodable(Arc<str>),
    /// The log was cut since the last read, and this is what is left of it.
    Diverging(EpochEnd),
}

/// An answer for each partition.
pub type PerPartition<T> = Vec<(TopicPartition, Result<T, ErrorCode>)>;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input<P> {
    /// The group assigned partitions to this member. The ones before were released or lost.
    Assigned {
        /// What commits must name.
        membership: Membership,
        /// The partitions.
        partitions: Vec<TopicPartition>,
    },
    /// The coordinator moved; generation and assignment stay.
    Moved(Membership),
    /// All partitions are to be given up: running calls may finish until `until`.
    Revoke {
        /// When running calls are cancelled.
        until: Time,
    },
    /// The assignment is over already.
    Lost,
    /// The committed positions that were asked for.
    Committed {
        /// Which request this answers.
        id: RequestId,
        /// One entry a partition.
        outcome: Result<StoredOffsets, PortError>,
    },
    /// The description of the topics.
    Described {
        /// Which request this answers.
        id: RequestId,
        /// The description.
        outcome: Result<Metadata, PortError>,
    },
    /// The offsets that were asked for.
    Listed {
        /// Which request this answers.
        id: RequestId,
        /// One entry a partition.
        outcome: Result<Vec<ListedOffset>, PortError>,
    },
    /// A fetch was answered.
    Fetched {
        /// Which request this answers.
        id: RequestId,
        /// One entry a partition.
        outcome: Result<PerPartition<Read<P>>, PortError>,
    },
    /// A call ended. Every call ends exactly once.
    Finished {
        /// Which call.
        call: CallId,
        /// How.
        outcome: Outcome,
        /// How long it waited for a connection and for its claim before the handler began. It is not held against
        /// the handler.
        waited: Duration,
    },
    /// A commit was answered.
    CommitDone {
        /// Which request this answers.
        id: RequestId,
        /// One entry a partition, in the order of the request.
        outcome: Result<Vec<Result<(), ErrorCode>>, PortError>,
    },
}

/// An event that is to be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready<P> {
    /// The record.
    pub record: P,
    /// Which attempt this is.
    pub attempt: Attempt,
    /// The topic's place in [`ConsumerConfig::topics`](super::ConsumerConfig::topics).
    pub topic: usize,
    /// The partition.
    pub partition: PartitionId,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Action<P> {
    /// Ask the coordinator for committed positions; answered by [`Input::Committed`].
    FetchCommitted {
        /// To be given back.
        id: RequestId,
        /// The coordinator.
        coordinator: BrokerId,
        /// The partitions by topic.
        topics: Vec<(TopicName, Vec<PartitionId>)>,
    },
    /// Describe the topics; answered by [`Input::Described`].
    Describe {
        /// To be given back.
        id: RequestId,
        /// The topics.
        topics: Vec<TopicName>,
    },
    /// Look offsets up; answered by [`Input::Listed`].
    ListOffsets {
        /// To be given back.
        id: RequestId,
        /// The leader of the partitions.
        broker: BrokerId,
        /// What to look for.
        partitions: Vec<ListOffset>,
    },
    /// Fetch; answered by [`Input::Fetched`].
    Fetch {
        /// To be given back.
        id: RequestId,
        /// The leader of the partitions.
        broker: BrokerId,
        /// What to fetch.
        request: FetchRequest,
    },
    /// Call a handler; answered by [`Input::Finished`].
    Run {
        /// To be given back.
        call: CallId,
        /// Which handler.
        handler: HandlerId,
        /// The event.
        event: Ready<P>,
        /// More events of the same batch; empty unless the handler takes batches.
        more: Vec<Ready<P>>,
    },
    /// Cancel a call. It still ends with [`Input::Finished`].
    Cancel(CallId),
    /// Commit; answered by [`Input::CommitDone`].
    Commit {
        /// To be given back.
        id: RequestId,
        /// The coordinator.
        coordinator: BrokerId,
        /// The positions.
        request: CommitRequest,
    },
    /// For the group: what [`Input::Revoke`] asked for is done.
    Released,
    /// For the group: the coordinator no longer takes commits of this generation.
    CommitRefused {
        /// The generation that the commit named.
        generation: Generation,
        /// The coordinator's answer.
        code: ErrorCode,
    },
    /// For the group: how many partitions topics have. Those that could not be seen are left out.
    PartitionsCounted(BTreeMap<TopicName, u32>),
    /// For people and dashboards.
    Notice(Notice),
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A handler's policy gave an event up.
    Discarded {
        /// The handler's name, its own within topic and group.
        handler: Arc<str>,
        /// The event's partition.
        at: TopicPartition,
        /// The event's offset.
        offset: Offset,
        /// How the last call ended.
        outcome: Outcome,
        /// How many attempts it took.
        attempts: u32,
    },
    /// A handler blocks on an event that no further attempt can help.
    Blocked {
        /// The handler's name, its own within topic and group.
        handler: Arc<str>,
        /// The event's partition.
        at: TopicPartition,
        /// The event's offset.
        offset: Offset,
        /// How the last call ended.
        outcome: Outcome,
    },
    /// The log lost records before they were read: retention overtook the group.
    Gap {
        /// The partition.
        at: TopicPartition,
        /// The first lost offset.
        from: Offset,
        /// Where reading goes on.
        to: Offset,
    },
    /// The log was cut, and may have grown anew: records that were read are there no longer, for a leader was elected that
    /// lacked them. Reading goes back, and so does what is committed.
    Truncated {
        /// The partition.
        at: TopicPartition,
        /// The position before.
        from: Offset,
        /// Where reading goes on: all from here on is new to the group.
        to: Offset,
    },
    /// The group's position is past the end of the log, and nothing tells since when. Reading waits.
    PastEnd {
        /// The partition.
        at: TopicPartition,
        /// The group's position.
        position: Offset,
    },
    /// The metadata of a committed position was not ours, or damaged: what it said is handled again.
    MetadataIgnored {
        /// The partition.
        at: TopicPartition,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// A batch cannot be decoded.
    Undecodable {
        /// The partition.
        at: TopicPartition,
        /// The offset that was asked for.
        offset: Offset,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// A request failed and will be repeated.
    Trouble {
        /// Which request.
        request: &'static str,
        /// Why.
        error: PortError,
    },
    /// A topic that handlers wait for does not exist, or may not be read.
    TopicUnavailable {
        /// The topic.
        topic: TopicName,
        /// The broker's answer.
        code: ErrorCode,
    },
    /// A topic was deleted and made anew. Its events in flight are forgotten, and the new log is read from its start.
    Recreated {
        /// The topic.
        topic: TopicName,
    },
    /// A check between a bug of this library and a lost event failed: the partition stops, nothing is committed for it.
    Bug {
        /// The partition.
        at: TopicPartition,
        /// What was found.
        what: Arc<str>,
    },
    /// The coordinator refused a commit in a way that trying again does not mend, and the partition is being given up:
    /// what was settled since the last commit will be delivered again, if its topic is still there.
    CommitRefused {
        /// The partition.
        at: TopicPartition,
        /// The coordinator's answer.
        code: ErrorCode,
    },
    /// An assignment ended before everything settled could be committed: it will be delivered again.
    Uncommitted {
        /// How many partitions.
        partitions: usize,
    },
    /// An assignment ended while handlers ran, and they were cancelled: their events will be delivered again.
    Cancelled {
        /// How many calls.
        calls: usize,
    },
}
