//! An event as a handler gets it.
//!
//! It is cheap to make: one payload is decoded and one time parsed; every other attribute stays where it is in the
//! record's bytes until someone asks for it.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;

use super::headers::{Headers, Span};
use super::{GroupName, Offset, PartitionId, Record, TopicName, WallTime};
use crate::ports::ClaimKey;

/// The way that events take to one handler. Made once and shared by all events that go this way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The topic they are read from: a dead-letter topic when they are delivered again from there.
    pub topic: TopicName,
    /// The topic they were first written to.
    pub base_topic: TopicName,
    /// The consumer group.
    pub group: GroupName,
    /// The handler's name, unique within group and topic.
    pub handler: Arc<str>,
}

/// A record as it arrived, before it is decoded. Its parts are slices of the batch, so a clone copies no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The partition it was read from.
    pub partition: PartitionId,
    /// Its place there.
    pub offset: Offset,
    /// The record's own timestamp.
    pub timestamp: WallTime,
    /// The key; `None` for a keyless record.
    pub key: Option<Bytes>,
    /// The value; `None` for a tombstone.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
}

impl Arrival {
    /// A record of the given partition. Copies the headers into one buffer.
    #[must_use]
    pub fn of(partition: PartitionId, record: Record) -> Self {
        Self {
            partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers.iter().map(|header| (&header.key, header.value.as_ref())).collect(),
        }
    }
}

/// Counts the calls of one handler with one event, from one. What was tried before a restart is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(NonZeroU32);

impl Attempt {
    /// The first call.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The call after `earlier` ones.
    #[must_use]
    pub const fn after(earlier: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(earlier))
    }

    /// The call after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The count, from one.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a record's headers have the CloudEvents attributes. Empty where there is none. All of it is known to be UTF-8.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::model) struct Attributes {
    pub(in crate::model) content_type: Span,
    pub(in crate::model) id: Span,
    pub(in crate::model) source: Span,
    pub(in crate::model) event_type: Span,
    pub(in crate::model) subject: Span,
    pub(in crate::model) time: Span,
    pub(in crate::model) spec_version: Span,
    pub(in crate::model) data_schema: Span,
}

/// One event, decoded for one call of one handler.
///
/// `T` is the payload; for topics [with tombstones](super::Topic::with_tombstones) it is an `Option`.
#[derive(Debug)]
pub struct Event<T> {
    /// The payload.
    pub payload: T,
    pub(in crate::model) route: Arc<Route>,
    pub(in crate::model) arrival: Arrival,
    pub(in crate::model) data: Bytes,
    pub(in crate::model) attributes: Attributes,
    pub(in crate::model) assumed_content_type: Option<&'static str>,
    /// The id of an event that came without one.
    pub(in crate::model) positional_id: Option<String>,
    pub(in crate::model) timestamp: WallTime,
    pub(in crate::model) attempt: Attempt,
}

impl<T> Event<T> {
    /// The payload, when the rest is no longer needed.
    #[must_use]
    pub fn into_payload(self) -> T {
        self.payload
    }

    /// The topic it was read from. A dead-letter topic if [`is_redelivery`](Self::is_redelivery).
    #[must_use]
    pub fn topic(&self) -> &TopicName {
        &self.route.topic
    }

    /// The topic it was first written to, never a dead-letter one.
    #[must_use]
    pub fn base_topic(&self) -> &TopicName {
        &self.route.base_topic
    }

    /// The consumer group that handles it.
    #[must_use]
    pub fn group(&self) -> &GroupName {
        &self.route.group
    }

    /// The name of the handler that is called.
    #[must_use]
    pub fn handler(&self) -> &str {
        &self.route.handler
    }

    /// The partition it was read from.
    #[must_use]
    pub const fn partition(&self) -> PartitionId {
        self.arrival.partition
    }

    /// Its place in that partition.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.arrival.offset
    }

    /// Which call of the handler with this event this is, since the process was given the partition.
    #[must_use]
    pub const fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// Whether it comes back from a dead-letter topic.
    #[must_use]
    pub fn is_redelivery(&self) -> bool {
        self.route.topic != self.route.base_topic
    }

    /// The key's bytes; `None` for a keyless event.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.arrival.key.as_deref()
    }

    /// The key as text, empty for a keyless event. What is not UTF-8 in it shows as replacement characters.
    #[must_use]
    pub fn key_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.key().unwrap_or_default())
    }

    /// The bytes that the payload was decoded from; empty for a tombstone. In structured mode these are the data inside
    /// of the envelope.
    #[must_use]
    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    /// All headers in order, names without `ce_`. Repeated ones are all there. In structured mode the attributes of the
    /// envelope come last.
    pub fn headers(&self) -> impl Iterator<Item = (Cow<'_, str>, Option<&[u8]>)> {
        self.arrival.headers.iter().map(|(name, value)| {
            let name = name.strip_prefix(b"ce_").unwrap_or(name);
            (String::from_utf8_lossy(name), value)
        })
    }

    /// The last header of that name, which is given without `ce_`; `None` if there is none or its value is null.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let named = |key: &[u8]| key.strip_prefix(b"ce_").unwrap_or(key) == name.as_bytes();
        self.arrival.headers.iter().filter(|(key, _)| named(key)).last().and_then(|(_, value)| value)
    }

    /// When it happened: `ce_time`, else the record's timestamp.
    #[must_use]
    pub const fn timestamp(&self) -> WallTime {
        self.timestamp
    }

    /// The record's own timestamp: the producer's time or the broker's, whichever the topic is configured for.
    #[must_use]
    pub const fn record_timestamp(&self) -> WallTime {
        self.arrival.timestamp
    }

    /// The CloudEvents id. An event without one gets `topic/partition/offset/milliseconds` of its record.
    #[must_use]
    pub fn id(&self) -> &str {
        self.positional_id.as_deref().unwrap_or_else(|| self.text(self.attributes.id).unwrap_or_default())
    }

    /// The CloudEvents source; empty if it has none.
    #[must_use]
    pub fn source(&self) -> &str {
        self.text(self.attributes.source).unwrap_or_default()
    }

    /// The CloudEvents type, else the base topic.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.text(self.attributes.event_type).unwrap_or_else(|| self.route.base_topic.as_str())
    }

    /// The CloudEvents subject, else the key as text.
    #[must_use]
    pub fn subject(&self) -> Cow<'_, str> {
        self.text(self.attributes.subject).map_or_else(|| self.key_text(), Cow::Borrowed)
    }

    /// The version of CloudEvents it was written by. Any is accepted.
    #[must_use]
    pub fn spec_version(&self) -> Option<&str> {
        self.text(self.attributes.spec_version)
    }

    /// The data schema.
    #[must_use]
    pub fn data_schema(&self) -> Option<&str> {
        self.text(self.attributes.data_schema)
    }

    /// The content type of [`data`](Self::data), as written, or the one that the topic
    /// [assumes](super::Topic::assume_content_type).
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.text(self.attributes.content_type).or(self.assumed_content_type)
    }

    /// What tells this event from all others for this handler: the key of exactly-once claims.
    #[must_use]
    pub fn claim_key(&self) -> ClaimKey {
        let route = &*self.route;
        ClaimKey::of(
            route.group.as_str(),
            &route.handler,
            route.base_topic.as_str(),
            self.source(),
            self.id(),
        )
    }

    fn text(&self, span: Span) -> Option<&str> {
        // Decoding checked that it is UTF-8.
        std::str::from_utf8(self.arrival.headers.at(span)).ok().filter(|text| !text.is_empty())
    }
}
