//! The nouns of the library: what its users write and what its machines speak of.

mod ids;
mod record;
mod time;

pub use ids::{
    BrokerId, Epoch, Generation, GroupName, LeaderEpoch, MAX_NAME_LENGTH, MemberId, Offset, PartitionId,
    RequestId, TopicName, TopicPartition,
};
pub use record::{Header, Record};
pub use time::{Time, WallTime};
