//! Ports: the narrow traits through which the engine acts on the world.
//!
//! A port does one request and reports what came of it. It retries nothing, remembers nothing that matters, and
//! decides only one thing: what may be concluded from a failure ([`PortError`]). An implementation for production is
//! in the `evenkeel` crate; simulation brings its own.

mod broker;
mod coordinator;
mod database;
mod error;
mod runtime;

pub use broker::{
    Broker, CreatedTopics, EpochEnd, FetchAnswer, FetchPartition, FetchRequest, FetchedPartition,
    FoundOffset, ListOffset, ListedOffset, Metadata, NewTopic, OutgoingRecord, PartitionMetadata,
    ProduceAnswer, ProduceRequest, ResourceLimits, StartAt, TopicMetadata,
};
pub use coordinator::{
    Commit, CommitRequest, Coordinator, HeartbeatRequest, JoinAnswer, JoinMember, JoinRequest, LeaveRequest,
    Protocol, StoredOffset, StoredOffsets, SyncRequest,
};
pub use database::{Blame, Claim, ClaimKey, Database};
pub use error::{DatabaseError, PortError};
pub use runtime::Runtime;
