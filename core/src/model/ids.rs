//! Newtypes for the numbers and names of Kafka, so that an offset is never taken for a partition.
//!
//! Names are checked when they are made: a [`TopicName`] in hand is a legal one.

use std::fmt;
use std::sync::Arc;

use crate::error::{NameError, NameKind};

/// The longest name that Kafka accepts for a topic; the same limit is kept for groups.
pub const MAX_NAME_LENGTH: usize = 249;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A position in the log of one partition. The offset of a committed position is that of the *next* record.
    Offset(i64)
}
number! {
    /// The number of a partition within its topic.
    PartitionId(i32)
}
number! {
    /// The node id of a broker.
    BrokerId(i32)
}
number! {
    /// A generation of a consumer group: it grows with every completed rebalance.
    Generation(i32)
}
number! {
    /// The leader epoch of a partition: it grows with every change of leader.
    LeaderEpoch(i32)
}
number! {
    /// The id of one life of a topic: a topic that is deleted and made anew has the same name and another id.
    TopicId(u128)
}
number! {
    /// Counts the assignments of one partition to one member. What belongs to an older epoch has no effect any more.
    Epoch(u32)
}
number! {
    /// Names one request that a machine asked for; its reply carries the same number.
    RequestId(u64)
}

impl Offset {
    /// The first offset of a log that never lost its beginning.
    pub const ZERO: Self = Self(0);

    /// The offset after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks a name against Kafka's rules.
            ///
            /// # Errors
            /// [`NameError`] if it is empty, longer than [`MAX_NAME_LENGTH`], `.` or `..`, or has a character other
            /// than ASCII letters, digits, `.`, `_` and `-`.
            pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
                let name = name.as_ref();
                NameError::check($kind, name)?;
                Ok(Self(Arc::from(name)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name! {
    /// A legal Kafka topic name.
    TopicName, NameKind::Topic
}
name! {
    /// A legal consumer group name.
    GroupName, NameKind::Group
}

/// The id that a group's coordinator gave to a member; empty until it gave one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MemberId(pub Arc<str>);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One partition of one topic. Prints as `topic/partition`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition's number within the topic.
    pub partition: PartitionId,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        for good in ["a", "shop.orders.v1", "A_b-c.9", &"x".repeat(249)] {
            assert!(TopicName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "Orders!", "a b", "ä", "a/b", &"x".repeat(250)] {
            assert!(GroupName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_illegal_name_is_told_with_its_remedy() {
        assert_eq!(
            TopicName::new("Orders!").unwrap_err().to_string(),
            "topic \"Orders!\" is not a legal Kafka topic name: '!' is not allowed; use letters, digits, '.', '_' and '-'"
        );
        assert_eq!(
            GroupName::new("").unwrap_err().to_string(),
            "group \"\" is not a legal Kafka group name: it is empty; use 1 to 249 characters"
        );
    }
}
