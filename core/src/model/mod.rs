//! The nouns of the library: what its users write and what its machines speak of.

pub mod cloudevents;

mod event;
mod handler;
mod headers;
mod identity;
mod ids;
mod new_event;
mod options;
mod payload;
mod policy;
mod record;
mod time;
mod topic;

pub use bytes::Bytes;

pub use event::{Arrival, Attempt, Event, Route};
pub use handler::{BatchHandler, BatchTxHandler, Handler, TxHandler};
pub use headers::Headers;
pub use ids::{
    BrokerId, Epoch, Generation, GroupName, LeaderEpoch, MAX_NAME_LENGTH, MemberId, Offset, PartitionId,
    RequestId, TopicId, TopicName, TopicPartition,
};
pub use new_event::NewEvent;
pub(crate) use options::LAST_COMMIT;
pub use options::{GroupSettings, ProduceSettings};
pub use payload::{BoxError, Codec, Json, MediaType, PayloadError, Raw, Tombstones};
pub use policy::{ErrorKind, HandlerError, OnFailure, Ordering, RetryPolicy};
pub use record::{Header, Record};
pub use time::{Time, WallTime};
pub use topic::Topic;
