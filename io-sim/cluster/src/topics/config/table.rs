//! What a topic may be configured with.

use crate::message::{ConfigType, Refusal};

/// What values a configuration takes.
#[derive(Debug)]
pub(super) enum Values {
    Boolean,
    /// Only `false`: what it would switch on is not there.
    Never,
    /// A number from this up.
    Int(i64),
    /// A number in one of these ranges.
    IntOf(&'static [std::ops::RangeInclusive<i64>]),
    /// A number from this up.
    Long(i64),
    /// From zero to one.
    Ratio,
    OneOf(&'static [&'static str]),
    SomeOf(&'static [&'static str]),
    /// Partitions with brokers, or all: it is remembered and has no effect.
    Replicas,
}

/// Name, default, the broker's own name for what holds where nothing is set (if there is one by default), values.
pub(super) type Definition = (&'static str, &'static str, &'static str, Values);

/// The size of segments that goes before `segment.bytes`. Like Kafka's, it takes sizes that are good for tests only, and is
/// described only where it is set.
pub(super) const INTERNAL_SEGMENT_BYTES: Definition =
    ("internal.segment.bytes", "", "", Values::Int(i32::MIN as i64));

/// All that a topic may be configured with, as in Kafka 4.1.
pub(super) const DEFINITIONS: &[Definition] = &[
    ("cleanup.policy", "delete", "log.cleanup.policy", Values::SomeOf(&["compact", "delete"])),
    ("compression.gzip.level", "-1", "compression.gzip.level", Values::IntOf(&[-1..=-1, 1..=9])),
    ("compression.lz4.level", "9", "compression.lz4.level", Values::IntOf(&[1..=17])),
    ("compression.type", "producer", "compression.type", Values::OneOf(&["producer"])),
    ("compression.zstd.level", "3", "compression.zstd.level", Values::IntOf(&[-131_072..=22])),
    ("delete.retention.ms", "86400000", "log.cleaner.delete.retention.ms", Values::Long(0)),
    ("file.delete.delay.ms", "60000", "log.segment.delete.delay.ms", Values::Long(0)),
    ("flush.messages", "9223372036854775807", "log.flush.interval.messages", Values::Long(1)),
    ("flush.ms", "9223372036854775807", "", Values::Long(0)),
    ("follower.replication.throttled.replicas", "", "", Values::Replicas),
    ("index.interval.bytes", "4096", "log.index.interval.bytes", Values::Int(0)),
    ("leader.replication.throttled.replicas", "", "", Values::Replicas),
    ("local.retention.bytes", "-2", "log.local.retention.bytes", Values::Long(-2)),
    ("local.retention.ms", "-2", "log.local.retention.ms", Values::Long(-2)),
    ("max.compaction.lag.ms", "9223372036854775807", "log.cleaner.max.compaction.lag.ms", Values::Long(1)),
    ("max.message.bytes", "1048588", "message.max.bytes", Values::Int(0)),
    ("message.timestamp.after.max.ms", "3600000", "log.message.timestamp.after.max.ms", Values::Long(0)),
    (
        "message.timestamp.before.max.ms",
        "9223372036854775807",
        "log.message.timestamp.before.max.ms",
        Values::Long(0),
    ),
    (
        "message.timestamp.type",
        "CreateTime",
        "log.message.timestamp.type",
        Values::OneOf(&["CreateTime", "LogAppendTime"]),
    ),
    ("min.cleanable.dirty.ratio", "0.5", "log.cleaner.min.cleanable.ratio", Values::Ratio),
    ("min.compaction.lag.ms", "0", "log.cleaner.min.compaction.lag.ms", Values::Long(0)),
    ("min.insync.replicas", "1", "min.insync.replicas", Values::Int(1)),
    ("preallocate", "false", "log.preallocate", Values::Boolean),
    ("remote.log.copy.disable", "false", "", Values::Boolean),
    ("remote.log.delete.on.disable", "false", "", Values::Boolean),
    ("remote.storage.enable", "false", "", Values::Never),
    ("retention.bytes", "-1", "log.retention.bytes", Values::Long(i64::MIN)),
    ("retention.ms", "604800000", "", Values::Long(-1)),
    ("segment.bytes", "1073741824", "log.segment.bytes", Values::Int(1 << 20)),
    ("segment.index.bytes", "10485760", "log.index.size.max.bytes", Values::Int(4)),
    ("segment.jitter.ms", "0", "", Values::Long(0)),
    ("segment.ms", "604800000", "", Values::Long(1)),
    ("unclean.leader.election.enable", "false", "unclean.leader.election.enable", Values::Boolean),
];

/// The configuration of this name.
///
/// # Errors
/// [`Refusal`] if there is none.
pub(super) fn definition(name: &str) -> Result<&'static Definition, Refusal> {
    let known = DEFINITIONS.iter().chain([&INTERNAL_SEGMENT_BYTES]).find(|known| known.0 == name);
    known.ok_or_else(|| Refusal::config(format!("Unknown topic config name: {name}")))
}

impl Values {
    pub(super) const fn kind(&self) -> ConfigType {
        match self {
            Self::Boolean | Self::Never => ConfigType::Boolean,
            Self::Int(_) | Self::IntOf(_) => ConfigType::Int,
            Self::Long(_) => ConfigType::Long,
            Self::Ratio => ConfigType::Double,
            Self::OneOf(_) => ConfigType::String,
            Self::SomeOf(_) | Self::Replicas => ConfigType::List,
        }
    }

    pub(super) const fn is_list(&self) -> bool {
        matches!(self, Self::SomeOf(_) | Self::Replicas)
    }
}
