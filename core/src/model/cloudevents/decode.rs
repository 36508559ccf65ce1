//! From a record to an event.

use std::str;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimeParser;

use super::structured::{self, Data};
use crate::error::{DecodeError, DecodeFault};
use crate::model::event::Attributes;
use crate::model::headers::{Headers, Span};
use crate::model::identity::positional_id;
use crate::model::payload::{Codec, MediaType, PayloadError};
use crate::model::{Arrival, Attempt, Event, Route, Topic, WallTime};

/// What a record turned out to be.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are events, and none is kept: a box would only cost"
)]
pub enum Decoded<T> {
    /// An event for the handler.
    Event(Event<T>),
    /// A tombstone of a topic whose handlers do not take them: to be counted and passed over.
    UntakenTombstone,
}

/// Reads a record as an event of `topic`, on its way to one handler.
///
/// # Errors
/// [`DecodeError`] names the record and says what is wrong with it. Reading the same record again gives the same error,
/// so the failure policy applies at once.
pub fn decode<T, C: Codec<T>>(
    topic: &Topic<T, C>,
    route: &Arc<Route>,
    arrival: Arrival,
    attempt: Attempt,
) -> Result<Decoded<T>, DecodeError> {
    let at = (arrival.partition, arrival.offset);
    read(topic, route, arrival, attempt)
        .map_err(|fault| DecodeError::new(route.topic.clone(), at.0, at.1, fault))
}

fn read<T, C: Codec<T>>(
    topic: &Topic<T, C>,
    route: &Arc<Route>,
    mut arrival: Arrival,
    attempt: Attempt,
) -> Result<Decoded<T>, DecodeFault> {
    let absent = C::absent();
    if arrival.value.is_none() && absent.is_none() {
        return Ok(Decoded::UntakenTombstone);
    }
    let mut attributes = find_attributes(&arrival.headers)?;
    let mut data = arrival.value.clone().map_or(Data::Absent, Data::Bytes);
    if let Data::Bytes(value) = &data
        && let Some(written) = text(&arrival.headers, attributes.content_type)
        && MediaType::new(written).is_cloudevent()
    {
        if !MediaType::new(written).is("application/cloudevents+json") {
            return Err(DecodeFault::ContentType {
                found: written.to_owned(),
                takes: "application/cloudevents+json or a content type of the payload itself",
            });
        }
        (arrival.headers, data) = structured::open(value, &arrival.headers)?;
        attributes = find_attributes(&arrival.headers)?;
    }

    let written = text(&arrival.headers, attributes.content_type).or(topic.assumed_content_type());
    let (payload, data) = match (data, absent) {
        (Data::Absent, Some(absent)) => (absent, Bytes::new()),
        (Data::Absent, None) => return Err(DecodeFault::NoData),
        (data, _) => {
            let written = written.ok_or(DecodeFault::NoContentType)?;
            read_payload::<T, C>(MediaType::new(written), data)
                .map_err(|error| payload_fault(written, error))?
        }
    };
    let timestamp = match text(&arrival.headers, attributes.time) {
        Some(time) => parse_time(time)?,
        None => arrival.timestamp,
    };
    let positional_id = text(&arrival.headers, attributes.id)
        .is_none()
        .then(|| positional_id(&route.base_topic, arrival.partition, arrival.offset, arrival.timestamp));
    Ok(Decoded::Event(Event {
        payload,
        route: Arc::clone(route),
        arrival,
        data,
        attributes,
        assumed_content_type: topic.assumed_content_type(),
        positional_id,
        timestamp,
        attempt,
    }))
}

/// Reads the payload, and tells which bytes it came from.
fn read_payload<T, C: Codec<T>>(content_type: MediaType<'_>, data: Data) -> Result<(T, Bytes), PayloadError> {
    match data {
        Data::Absent => Err(PayloadError::malformed("there is no data")),
        Data::Bytes(bytes) => Ok((C::decode(content_type, &bytes)?, bytes)),
        Data::Text { json, text } if content_type.is_json() => match C::decode(content_type, &json) {
            Ok(payload) => Ok((payload, json)),
            Err(PayloadError::Malformed(_)) => Ok((C::decode(content_type, &text)?, text)),
            Err(refused @ PayloadError::ContentType { .. }) => Err(refused),
        },
        Data::Text { text, .. } => Ok((C::decode(content_type, &text)?, text)),
    }
}

fn payload_fault(content_type: &str, error: PayloadError) -> DecodeFault {
    let found = content_type.to_owned();
    match error {
        PayloadError::ContentType { takes } => DecodeFault::ContentType { found, takes },
        PayloadError::Malformed(cause) => DecodeFault::Payload { content_type: found, cause },
    }
}

fn find_attributes(headers: &Headers) -> Result<Attributes, DecodeFault> {
    let mut found = Attributes::default();
    for (name, value) in headers.spans() {
        let slot = match name {
            b"content-type" => &mut found.content_type,
            b"ce_id" => &mut found.id,
            b"ce_source" => &mut found.source,
            b"ce_type" => &mut found.event_type,
            b"ce_subject" => &mut found.subject,
            b"ce_time" => &mut found.time,
            b"ce_specversion" => &mut found.spec_version,
            b"ce_dataschema" => &mut found.data_schema,
            _ => continue,
        };
        *slot = value;
    }
    if headers.is_ascii() {
        return Ok(found);
    }
    let Attributes { content_type, id, source, event_type, subject, time, spec_version, data_schema } = found;
    for (name, span) in [
        ("content-type", content_type),
        ("ce_id", id),
        ("ce_source", source),
        ("ce_type", event_type),
        ("ce_subject", subject),
        ("ce_time", time),
        ("ce_specversion", spec_version),
        ("ce_dataschema", data_schema),
    ] {
        if str::from_utf8(headers.at(span)).is_err() {
            return Err(DecodeFault::NotText(name));
        }
    }
    Ok(found)
}

fn text(headers: &Headers, span: Span) -> Option<&str> {
    str::from_utf8(headers.at(span)).ok().filter(|text| !text.is_empty())
}

fn parse_time(time: &str) -> Result<WallTime, DecodeFault> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    match PARSER.parse_timestamp(time) {
        Ok(parsed) => Ok(WallTime(Timestamp::as_microsecond(parsed))),
        Err(cause) => Err(DecodeFault::Time { value: time.to_owned(), cause: cause.to_string() }),
    }
}
