//! Events that cannot be written or read.

use std::fmt;

use crate::model::{BoxError, Offset, PartitionId, TopicName, WallTime};

/// An event that was refused on produce. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("event for topic {topic:?} cannot be produced: {fault}")]
pub struct EncodeError {
    topic: &'static str,
    fault: EncodeFault,
}

/// What is wrong with an event that was refused on produce.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeFault {
    /// The codec could not write the payload.
    #[error("its payload cannot be written: {0}")]
    Payload(BoxError),
    /// A header was given twice.
    #[error("header {0:?} was given twice; give each name once")]
    RepeatedHeader(String),
    /// A header was given by name that has a method of its own.
    #[error(
        "header {0:?} belongs to the event itself; set it by the method of NewEvent that is there for it, or a content \
         type by Topic::raw"
    )]
    ReservedHeader(String),
    /// An attribute that CloudEvents demands was set to the empty string.
    #[error("its {0} is empty; set another one, or leave it unset")]
    Empty(&'static str),
    /// The time lies outside of the calendar.
    #[error("its time of {} µs since 1970 is outside of the years -9999 to 9999", .0.0)]
    Time(WallTime),
}

impl EncodeError {
    pub(crate) const fn new(topic: &'static str, fault: EncodeFault) -> Self {
        Self { topic, fault }
    }

    /// The topic it was meant for.
    #[must_use]
    pub const fn topic(&self) -> &'static str {
        self.topic
    }

    /// What is wrong.
    #[must_use]
    pub const fn fault(&self) -> &EncodeFault {
        &self.fault
    }

    /// What is wrong, to keep.
    #[must_use]
    pub fn into_fault(self) -> EncodeFault {
        self.fault
    }
}

/// A record that is no event of its topic. Reading it again cannot help, so its failure policy applies at once.
#[derive(Debug, thiserror::Error)]
#[error("event at {topic}/{partition}, offset {offset}, cannot be decoded: {fault}")]
pub struct DecodeError {
    topic: TopicName,
    partition: PartitionId,
    offset: Offset,
    fault: DecodeFault,
}

/// What is wrong with a record that is no event of its topic.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeFault {
    /// No header says what the value is.
    #[error(
        "it has no content-type header; have its producer write one, or declare the topic with \
         .assume_content_type(\"application/json\")"
    )]
    NoContentType,
    /// The topic's codec does not read this content type.
    #[error(
        "its content type {:?} is not read here, only {takes}; declare the topic with a codec that takes it",
        Cut(found)
    )]
    ContentType {
        /// The content type as written.
        found: String,
        /// What can be read.
        takes: &'static str,
    },
    /// The value is not a payload of the topic's type.
    #[error("its payload does not read as {:?}: {cause}", Cut(content_type))]
    Payload {
        /// The content type as written.
        content_type: String,
        /// What the codec said.
        cause: BoxError,
    },
    /// `ce_time` is not a time.
    #[error("its time {:?} is not RFC 3339: {cause}", Cut(value))]
    Time {
        /// The time as written.
        value: String,
        /// What is wrong with it.
        cause: String,
    },
    /// An attribute is not UTF-8.
    #[error("its header {0} is not UTF-8")]
    NotText(&'static str),
    /// The value of a structured event is not a JSON object.
    #[error("its value is not a CloudEvent in JSON, which its content type says it is: {0}")]
    Envelope(String),
    /// An attribute of a structured event is not a JSON string.
    #[error("its attribute {0:?} is not a string")]
    NotAString(String),
    /// The data of a structured event is not base64.
    #[error("its data_base64 is not base64: {0}")]
    Base64(String),
    /// A structured event without data, of a topic whose handlers need a payload.
    #[error("it has no data; declare the topic with .with_tombstones() to handle events without a payload")]
    NoData,
}

impl DecodeError {
    pub(crate) const fn new(
        topic: TopicName,
        partition: PartitionId,
        offset: Offset,
        fault: DecodeFault,
    ) -> Self {
        Self { topic, partition, offset, fault }
    }

    /// The topic the record was read from.
    #[must_use]
    pub const fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The record's partition.
    #[must_use]
    pub const fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The record's offset.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// What is wrong.
    #[must_use]
    pub const fn fault(&self) -> &DecodeFault {
        &self.fault
    }

    /// What is wrong, to keep.
    #[must_use]
    pub fn into_fault(self) -> DecodeFault {
        self.fault
    }
}

/// Shows the first hundred characters of what a stranger wrote.
struct Cut<'a>(&'a str);

impl fmt::Debug for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(100) {
            Some((at, _)) => write!(f, "{:?}…", &self.0[..at]),
            None => fmt::Debug::fmt(self.0, f),
        }
    }
}
