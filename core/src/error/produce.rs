//! Events that were not produced, or may not have been.

use std::time::Duration;

use super::ErrorCode;
use crate::model::{TopicName, TopicPartition};
use crate::ports::PortError;

/// Why an event was not acknowledged. All but [`Unknown`](Self::Unknown) are definite: the event is not in the log and
/// will not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProduceFailure {
    /// The cluster does not know the topic, and did not while it was looked for.
    #[error("topic \"{0}\" does not exist; create it, or correct the name")]
    UnknownTopic(TopicName),
    /// The cluster tells nothing about the topic, and asking again cannot help.
    #[error("topic \"{topic}\" cannot be produced to: {code}")]
    Inaccessible {
        /// The topic.
        topic: TopicName,
        /// What the cluster said.
        code: ErrorCode,
    },
    /// The event, in a batch of its own, is larger than the topic takes.
    #[error(
        "event of {size} bytes is too big for topic \"{topic}\", {}; make it smaller, or raise max.message.bytes of the topic",
        Limit(*.limit)
    )]
    TooBig {
        /// The topic.
        topic: TopicName,
        /// The bytes of a record batch with this event alone.
        size: usize,
        /// `max.message.bytes` of the topic; `None` if the cluster refused to tell it.
        limit: Option<u32>,
    },
    /// The broker refused the event, and asking again cannot help.
    #[error("partition {at} refused the event: {code}")]
    Refused {
        /// The partition.
        at: TopicPartition,
        /// What the broker said.
        code: ErrorCode,
    },
    /// The event was sent and its fate could not be learnt within the delivery time-out: it may be in the log, once or
    /// several times, or not.
    #[error(
        "it is unknown whether the event is in partition {at}: {cause}; produce it again if its readers tell repeated ids apart"
    )]
    Unknown {
        /// The partition.
        at: TopicPartition,
        /// What became of the last attempt that may have written it.
        cause: PortError,
    },
    /// The event was never written, for the delivery time-out ran out first.
    #[error("event for topic \"{topic}\" was not written within {after:?}: {}; see to the cluster, or raise the delivery time-out", Cause(.cause))]
    TimedOut {
        /// The topic.
        topic: TopicName,
        /// The delivery time-out.
        after: Duration,
        /// What stood in the way last; `None` if events before it took all the time.
        cause: Option<PortError>,
    },
    /// The producer was closed before the event was submitted.
    #[error("event for topic \"{0}\" came after the producer was closed; produce before shutdown")]
    Closed(TopicName),
}

impl ProduceFailure {
    /// Whether the event may be in the log all the same.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// Whether the cluster was out of reach or the producer closed, so that the same event may well be taken later.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::Unknown { .. } | Self::TimedOut { .. } | Self::Closed(_) => true,
            Self::UnknownTopic(_)
            | Self::Inaccessible { .. }
            | Self::TooBig { .. }
            | Self::Refused { .. } => false,
        }
    }
}

struct Limit(Option<u32>);

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(limit) => write!(f, "which takes {limit}"),
            None => f.write_str("which does not tell its limit"),
        }
    }
}

struct Cause<'a>(&'a Option<PortError>);

impl std::fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(cause) => cause.fmt(f),
            None => f.write_str("the events before it took all the time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PartitionId;

    #[test]
    fn every_message_names_the_thing_the_value_and_the_remedy() {
        let topic = TopicName::new("orders").expect("a legal name");
        let at = TopicPartition { topic: topic.clone(), partition: PartitionId(3) };
        let lost = PortError::Unknown { server: "k1:9092".into(), cause: "connection reset".into() };
        let away = PortError::Unreachable { server: "k1:9092".into(), cause: "connection refused".into() };
        let after = Duration::from_secs(120);
        for (failure, message) in [
            (
                ProduceFailure::UnknownTopic(topic.clone()),
                "topic \"orders\" does not exist; create it, or correct the name",
            ),
            (
                ProduceFailure::Inaccessible {
                    topic: topic.clone(),
                    code: ErrorCode::TopicAuthorizationFailed,
                },
                "topic \"orders\" cannot be produced to: not authorized for the topic; grant the principal access to it",
            ),
            (
                ProduceFailure::TooBig { topic: topic.clone(), size: 2_000_100, limit: Some(1_048_588) },
                "event of 2000100 bytes is too big for topic \"orders\", which takes 1048588; make it smaller, or raise max.message.bytes of the topic",
            ),
            (
                ProduceFailure::TooBig { topic: topic.clone(), size: 2_000_100, limit: None },
                "event of 2000100 bytes is too big for topic \"orders\", which does not tell its limit; make it smaller, or raise max.message.bytes of the topic",
            ),
            (
                ProduceFailure::Refused { at: at.clone(), code: ErrorCode::InvalidRecord },
                "partition orders/3 refused the event: the broker refused a record; a compacted topic needs keys",
            ),
            (
                ProduceFailure::Unknown { at, cause: lost },
                "it is unknown whether the event is in partition orders/3: no answer from k1:9092: connection reset; produce it again if its readers tell repeated ids apart",
            ),
            (
                ProduceFailure::TimedOut { topic: topic.clone(), after, cause: Some(away) },
                "event for topic \"orders\" was not written within 120s: could not reach k1:9092: connection refused; see to the cluster, or raise the delivery time-out",
            ),
            (
                ProduceFailure::TimedOut { topic: topic.clone(), after, cause: None },
                "event for topic \"orders\" was not written within 120s: the events before it took all the time; see to the cluster, or raise the delivery time-out",
            ),
            (
                ProduceFailure::Closed(topic),
                "event for topic \"orders\" came after the producer was closed; produce before shutdown",
            ),
        ] {
            assert_eq!(failure.to_string(), message);
            assert_eq!(failure.is_unknown(), message.contains("unknown"));
            let passing = ["unknown", "not written within", "after the producer was closed"];
            assert_eq!(failure.is_outage(), passing.iter().any(|sign| message.contains(sign)));
        }
    }
}
