//! Which requests are offered, and in which versions.
//!
//! The lower ends are those of Kafka 4. An upper end is where the next version would bring something that is not here:
//! topic ids (Produce 13, Fetch 13), the next-generation groups (OffsetCommit 9, OffsetFetch 9), tiered storage
//! (ListOffsets 8), share groups (FindCoordinator 6), two-phase commit (InitProducerId 5), or nothing of use.

macro_rules! apis {
    ($($name:ident $key:literal $min:literal ..= $max:literal, flexible from $flexible:literal;)*) => {
        /// A kind of request, by Kafka's name for it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "Kafka's names")]
        pub enum Api {
            $($name,)*
        }

        /// Everything that is offered, in the order of keys.
        pub const OFFERED: &[Offer] = &[
            $(Offer { key: $key, min: $min, max: $max, flexible: $flexible },)*
        ];

        impl Api {
            /// The kind with this key.
            #[must_use]
            pub const fn from_key(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// What is offered of it.
            #[must_use]
            pub const fn offer(self) -> Offer {
                match self {
                    $(Self::$name => Offer { key: $key, min: $min, max: $max, flexible: $flexible },)*
                }
            }
        }
    };
}

/// What is offered of one kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Its number on the wire.
    pub key: i16,
    /// The lowest version.
    pub min: i16,
    /// The highest version.
    pub max: i16,
    /// From this version on lengths are short and tagged fields may follow.
    flexible: i16,
}

impl Offer {
    /// Whether a version is offered.
    #[must_use]
    pub const fn includes(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    pub(super) const fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible
    }
}

apis! {
    Produce 0 3..=11, flexible from 9;
    Fetch 1 4..=12, flexible from 12;
    ListOffsets 2 1..=7, flexible from 6;
    Metadata 3 0..=12, flexible from 9;
    OffsetCommit 8 2..=8, flexible from 8;
    OffsetFetch 9 2..=8, flexible from 6;
    FindCoordinator 10 0..=4, flexible from 3;
    JoinGroup 11 0..=9, flexible from 6;
    Heartbeat 12 0..=4, flexible from 4;
    LeaveGroup 13 0..=5, flexible from 4;
    SyncGroup 14 0..=5, flexible from 4;
    DescribeGroups 15 0..=5, flexible from 5;
    ListGroups 16 0..=4, flexible from 3;
    ApiVersions 18 0..=3, flexible from 3;
    CreateTopics 19 2..=7, flexible from 5;
    DeleteTopics 20 1..=6, flexible from 4;
    DeleteRecords 21 0..=2, flexible from 2;
    InitProducerId 22 0..=4, flexible from 2;
    OffsetForLeaderEpoch 23 2..=4, flexible from 4;
    DescribeConfigs 32 1..=4, flexible from 4;
    AlterConfigs 33 0..=2, flexible from 2;
    CreatePartitions 37 0..=3, flexible from 2;
    DeleteGroups 42 0..=2, flexible from 2;
    IncrementalAlterConfigs 44 0..=1, flexible from 1;
    OffsetDelete 47 0..=0, flexible from 1;
    DescribeCluster 60 0..=1, flexible from 0;
}
