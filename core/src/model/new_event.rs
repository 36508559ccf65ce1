//! An event on its way out, before it has an id and a time.

use bytes::Bytes;

use super::WallTime;
use super::payload::BoxError;

/// An event to be produced, made by [`Topic::event`](super::Topic::event) and its kin. It does not carry its payload's
/// type, so that events of several topics can be produced together.
///
/// What is not set is filled in when the event is produced: the id (a UUIDv7), the time, the source (the bus's name), the
/// type (the topic), the subject (the key). Mistakes, such as a payload that cannot be written or a header given twice,
/// are refused then too, before anything is sent.
///
/// ```
/// use evenkeel_core::model::{Topic, WallTime};
///
/// const COUNTS: Topic<u64> = Topic::new("plant.counts");
/// let event = COUNTS
///     .event(17, &3)
///     .id("reading-2024-06-01-17")
///     .event_type("plant.count.taken")
///     .time(WallTime::from_millis(1_717_200_000_000))
///     .header("tenant", "acme");
/// # assert_eq!(event.topic(), "plant.counts");
/// ```
#[derive(Debug)]
#[must_use = "an event does nothing until it is produced"]
pub struct NewEvent {
    pub(in crate::model) topic: &'static str,
    pub(in crate::model) key: Option<Bytes>,
    pub(in crate::model) value: Result<Option<Bytes>, BoxError>,
    pub(in crate::model) content_type: Option<Bytes>,
    pub(in crate::model) data_schema: Option<Bytes>,
    pub(in crate::model) id: Option<Bytes>,
    pub(in crate::model) source: Option<Bytes>,
    pub(in crate::model) event_type: Option<Bytes>,
    pub(in crate::model) subject: Option<Bytes>,
    pub(in crate::model) time: Option<WallTime>,
    pub(in crate::model) headers: Vec<(Bytes, Option<Bytes>)>,
}

impl NewEvent {
    pub(in crate::model) fn tombstone(topic: &'static str) -> Self {
        Self {
            topic,
            key: None,
            value: Ok(None),
            content_type: None,
            data_schema: None,
            id: None,
            source: None,
            event_type: None,
            subject: None,
            time: None,
            headers: Vec::new(),
        }
    }

    pub(in crate::model) fn written(
        topic: &'static str,
        content_type: &'static str,
        schema: Option<&'static str>,
        value: Result<Bytes, BoxError>,
    ) -> Self {
        Self {
            value: value.map(Some),
            content_type: Some(Bytes::from_static(content_type.as_bytes())),
            data_schema: schema.map(|schema| Bytes::from_static(schema.as_bytes())),
            ..Self::tombstone(topic)
        }
    }

    pub(in crate::model) fn raw(topic: &'static str, content_type: String, data: Bytes) -> Self {
        Self { value: Ok(Some(data)), content_type: Some(content_type.into()), ..Self::tombstone(topic) }
    }

    /// The name of the topic it goes to, not yet checked.
    #[must_use]
    pub const fn topic(&self) -> &'static str {
        self.topic
    }

    /// Sets the key, as text.
    pub fn key(self, key: impl ToString) -> Self {
        self.key_bytes(key.to_string())
    }

    /// Sets the key as bytes. A key that is not UTF-8 does not become the subject.
    pub fn key_bytes(self, key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Sets the id. Source and id together tell events apart: a consumer that handles exactly once takes a second event
    /// of the same source and id for the first. Default: a UUIDv7.
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into().into()), ..self }
    }

    /// Sets the source: where the event comes from, as a URI reference. Default: the name of the bus.
    pub fn source(self, source: impl Into<String>) -> Self {
        Self { source: Some(source.into().into()), ..self }
    }

    /// Sets the CloudEvents type. Default: the name of the topic.
    pub fn event_type(self, event_type: impl Into<String>) -> Self {
        Self { event_type: Some(event_type.into().into()), ..self }
    }

    /// Sets the subject: what the event is about. Default: the key, if it is text and not empty.
    pub fn subject(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into().into()), ..self }
    }

    /// Sets when it happened. Default: when it is produced. The record's own timestamp is always the latter, so that an
    /// event about the distant past does not fall to the topic's retention at once.
    pub fn time(self, time: WallTime) -> Self {
        Self { time: Some(time), ..self }
    }

    /// Sets the data schema, a URI reference. Default: see [`Codec::schema`](super::Codec::schema).
    pub fn data_schema(self, data_schema: impl Into<String>) -> Self {
        Self { data_schema: Some(data_schema.into().into()), ..self }
    }

    /// Adds a header. A CloudEvents extension attribute is one whose name begins with `ce_`.
    ///
    /// A name that occurs twice, or that one of the methods above is there for, is refused when the event is produced.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into().into(), Some(value.into())));
        self
    }
}

/// One event stands for a call of one, so that `produce` takes one or many.
impl IntoIterator for NewEvent {
    type Item = Self;
    type IntoIter = std::iter::Once<Self>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self)
    }
}
