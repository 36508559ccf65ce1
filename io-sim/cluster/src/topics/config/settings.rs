//! What follows from a topic's configurations for those who obey them.

use std::time::Duration;

use super::TopicConfig;
use super::value::Value;
use crate::log::compact::Compaction;

/// Which time records bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimestampType {
    /// The producer's.
    Create,
    /// The broker's.
    Append,
}

/// The settings that the cluster obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) compact: bool,
    pub(crate) delete: bool,
    pub(crate) retention_age: Option<Duration>,
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_age: Duration,
    pub(crate) max_message_bytes: usize,
    pub(crate) timestamps: TimestampType,
    pub(crate) timestamp_before: Duration,
    pub(crate) timestamp_after: Duration,
    pub(crate) min_in_sync: usize,
    pub(crate) unclean_election: bool,
    pub(crate) compaction: Compaction,
}

impl Settings {
    pub(super) fn of(config: &TopicConfig) -> Self {
        let number = |name| match config.value(name) {
            Some(Value::Number(number)) => Some(number),
            _ => None,
        };
        // What is below zero means that there is no bound.
        let bytes = |name| number(name).and_then(|bytes| u64::try_from(bytes).ok());
        let count = |name| number(name).and_then(|count| usize::try_from(count).ok());
        let bounded = |name| bytes(name).map(Duration::from_millis);
        let duration = |name| bounded(name).unwrap_or(Duration::MAX);
        let policy = config.value("cleanup.policy");
        let does = |what: &str| matches!(&policy, Some(Value::List(list)) if list.iter().any(|part| **part == *what));
        let is = |name, word: &str| matches!(config.value(name), Some(Value::Word(value)) if *value == *word);
        let internal = number("internal.segment.bytes").map(|bytes| u64::try_from(bytes).unwrap_or(0));
        let segment_age = duration("segment.ms");
        let max_lag = duration("max.compaction.lag.ms");
        let compact = does("compact");
        Self {
            compact,
            delete: does("delete"),
            retention_age: bounded("retention.ms"),
            retention_bytes: bytes("retention.bytes"),
            segment_bytes: internal.or_else(|| bytes("segment.bytes")).unwrap_or(u64::MAX),
            // Only what is closed is compacted.
            segment_age: if compact { segment_age.min(max_lag) } else { segment_age },
            max_message_bytes: count("max.message.bytes").unwrap_or(0),
            timestamps: if is("message.timestamp.type", "LogAppendTime") {
                TimestampType::Append
            } else {
                TimestampType::Create
            },
            timestamp_before: duration("message.timestamp.before.max.ms"),
            timestamp_after: duration("message.timestamp.after.max.ms"),
            min_in_sync: count("min.insync.replicas").unwrap_or(1),
            unclean_election: config.value("unclean.leader.election.enable") == Some(Value::Flag(true)),
            compaction: Compaction {
                min_dirty_thousandths: match config.value("min.cleanable.dirty.ratio") {
                    Some(Value::Ratio(ratio)) if !ratio.is_nan() => (ratio * 1_000.0) as u32,
                    // No part is greater than what is no number.
                    _ => u32::MAX,
                },
                keep_tombstones: duration("delete.retention.ms"),
                min_lag: duration("min.compaction.lag.ms"),
                max_lag,
            },
        }
    }
}
