//! From a new event to a record.

use std::str;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use uuid::Builder;

use super::RESERVED;
use crate::error::{EncodeError, EncodeFault};
use crate::machine::Entropy;
use crate::model::{Header, NewEvent, WallTime};
use crate::ports::OutgoingRecord;

/// Microseconds always, so that times of one length sort as text.
const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// Writes an event as a record: its payload as the value, its attributes as headers in a fixed order, then the caller's
/// headers in theirs.
///
/// `now` becomes the record's timestamp and, unless set, the event's time and the time part of its id, whose random part
/// comes from `entropy`. `source` is the source of events that have none of their own.
///
/// ```
/// use evenkeel_core::machine::Entropy;
/// use evenkeel_core::model::{Topic, WallTime, cloudevents};
///
/// const COUNTS: Topic<u64> = Topic::new("plant.counts");
/// let now = WallTime::from_millis(1_700_000_000_000);
/// let record = cloudevents::encode(COUNTS.event(17, &3), now, &mut Entropy::new(1), "checkout")?;
/// assert_eq!(record.value.as_deref(), Some(&b"3"[..]));
/// assert_eq!(record.headers[1].key, "ce_type");
/// # Ok::<(), evenkeel_core::error::EncodeError>(())
/// ```
///
/// # Errors
/// [`EncodeError`] names the topic and says what is wrong with the event: its payload could not be written, a header
/// occurs twice or has a reserved name, id, source or type are empty, or the time is out of the calendar.
pub fn encode(
    event: NewEvent,
    now: WallTime,
    entropy: &mut Entropy,
    source: &str,
) -> Result<OutgoingRecord, EncodeError> {
    let topic = event.topic;
    write(event, now, entropy, source).map_err(|fault| EncodeError::new(topic, fault))
}

fn write(
    event: NewEvent,
    now: WallTime,
    entropy: &mut Entropy,
    source: &str,
) -> Result<OutgoingRecord, EncodeFault> {
    let value = event.value.map_err(EncodeFault::Payload)?;
    check_headers(&event.headers)?;

    // What is new in each event shares one allocation.
    let mut fresh = BytesMut::with_capacity(36 + 27 + source.len());
    let id = event.id.unwrap_or_else(|| fresh_id(now, entropy, &mut fresh));
    let time = print_time(event.time.unwrap_or(now), &mut fresh)?;
    let source = event.source.unwrap_or_else(|| {
        fresh.extend_from_slice(source.as_bytes());
        fresh.split().freeze()
    });
    let event_type = event.event_type.unwrap_or(Bytes::from_static(event.topic.as_bytes()));
    for (name, value) in [("ce_id", &id), ("ce_source", &source), ("ce_type", &event_type)] {
        if value.is_empty() {
            return Err(EncodeFault::Empty(name));
        }
    }
    let subject = event.subject.or_else(|| event.key.clone().filter(|key| str::from_utf8(key).is_ok()));

    let attributes = [
        Some(Bytes::from_static(b"1.0")),
        Some(event_type),
        Some(source),
        Some(id),
        subject.filter(|subject| !subject.is_empty()),
        Some(time),
        event.data_schema.filter(|schema| !schema.is_empty()),
        event.content_type,
    ];
    let mut headers = Vec::with_capacity(RESERVED.len() + event.headers.len());
    for (name, value) in RESERVED.into_iter().zip(attributes) {
        if value.is_some() {
            headers.push(Header { key: Bytes::from_static(name.as_bytes()), value });
        }
    }
    headers.extend(event.headers.into_iter().map(|(key, value)| Header { key, value }));
    Ok(OutgoingRecord { key: event.key, value, headers, timestamp: now })
}

/// A name that comes twice could not be told apart by most consumers, and the client may lose one of them in silence.
fn check_headers(headers: &[(Bytes, Option<Bytes>)]) -> Result<(), EncodeFault> {
    let text = |name: &Bytes| String::from_utf8_lossy(name).into_owned();
    for (index, (name, _)) in headers.iter().enumerate() {
        if RESERVED.iter().any(|reserved| reserved.as_bytes().eq_ignore_ascii_case(name)) {
            return Err(EncodeFault::ReservedHeader(text(name)));
        }
        if headers[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(EncodeFault::RepeatedHeader(text(name)));
        }
    }
    Ok(())
}

fn fresh_id(now: WallTime, entropy: &mut Entropy, out: &mut BytesMut) -> Bytes {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&entropy.next_u64().to_le_bytes());
    random[8..].copy_from_slice(&entropy.next_u64().to_le_bytes()[..2]);
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    let id = Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    let mut text = uuid::Uuid::encode_buffer();
    out.extend_from_slice(id.hyphenated().encode_lower(&mut text).as_bytes());
    out.split().freeze()
}

fn print_time(time: WallTime, out: &mut BytesMut) -> Result<Bytes, EncodeFault> {
    let calendar = Timestamp::from_microsecond(time.0).map_err(|_| EncodeFault::Time(time))?;
    PRINTER
        .print_timestamp(&calendar, jiff::fmt::StdFmtWrite(&mut *out))
        .expect("writing to a growing buffer cannot fail");
    Ok(out.split().freeze())
}
