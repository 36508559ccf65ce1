//! What goes into the producing machine and what comes out.

use std::sync::Arc;

use crate::error::ProduceFailure;
use crate::model::{Offset, RequestId, TopicName, TopicPartition};
use crate::ports::{Metadata, OutgoingRecord, PortError, ProduceAnswer, ProduceRequest, ResourceLimits};

/// Names one submitted event: the call it came with, and its place in the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// The call.
    pub call: u64,
    /// The event's place in the call.
    pub index: u32,
}

/// One event to be produced.
#[derive(Debug, Clone)]
pub struct Submission {
    /// What its outcome is reported under.
    pub ticket: Ticket,
    /// Where it goes.
    pub topic: TopicName,
    /// What it says.
    pub record: Arc<OutgoingRecord>,
}

/// Where an event stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Produced {
    /// The partition.
    pub at: TopicPartition,
    /// The offset of its record.
    pub offset: Offset,
}

/// What can happen to the machine.
#[derive(Debug, Clone)]
pub enum Input {
    /// Events are to be produced, in this order.
    Submit(Vec<Submission>),
    /// The cluster answered an [`Action::Describe`].
    Described {
        /// The action's id.
        id: RequestId,
        /// What it said.
        outcome: Result<Metadata, PortError>,
    },
    /// The cluster answered an [`Action::FetchLimits`].
    LimitsKnown {
        /// The action's id.
        id: RequestId,
        /// What it said.
        outcome: Result<ResourceLimits, PortError>,
    },
    /// A broker answered an [`Action::Send`], or can no longer answer it.
    Sent {
        /// The action's id.
        id: RequestId,
        /// What it said.
        outcome: Result<ProduceAnswer, PortError>,
    },
    /// No more events come. Those that are here go on to their end.
    Close,
}

/// What the machine wants done.
#[derive(Debug, Clone)]
pub enum Action {
    /// Ask the cluster about topics.
    Describe {
        /// To be given back with the answer.
        id: RequestId,
        /// The topics.
        topics: Vec<TopicName>,
    },
    /// Ask for a topic's size limit.
    FetchLimits {
        /// To be given back with the answer.
        id: RequestId,
        /// The topic.
        topic: TopicName,
    },
    /// Send a batch, in a single attempt.
    Send {
        /// To be given back with the answer.
        id: RequestId,
        /// The batch.
        request: ProduceRequest,
    },
    /// Tell whoever submitted an event what became of it.
    Finish {
        /// The event.
        ticket: Ticket,
        /// What became of it.
        outcome: Result<Produced, ProduceFailure>,
    },
    /// Everything is finished after [`Input::Close`].
    Closed,
}
