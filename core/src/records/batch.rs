//! A decoded batch, and records as places in it.
//!
//! A batch costs one table for all its records, whatever their number and their headers; its bytes are those that
//! came from the network, or were unpacked from them. A [`RecordRef`] is a pointer and an index: cheap to queue, to
//! clone and to send to another task. It keeps its whole batch alive, and that the answer it came in, until it is
//! [detached](RecordRef::detach).
//!
//! All checks are made when the batch is decoded, so that nothing can fail when a record is read.

use std::sync::Arc;

use bytes::Bytes;

use super::error::{Damage, RecordField};
use super::header::BatchHeader;
use super::varint::Cursor;
use crate::model::{Header, LeaderEpoch, Offset, Record, WallTime};

/// An encoded record has at least this many bytes: its length, attributes, timestamp, offset, the lengths of key and
/// value, the number of headers.
const SMALLEST_RECORD: usize = 7;

/// The records of one batch that were asked for, in order.
#[derive(Debug)]
pub struct DecodedBatch {
    base_offset: i64,
    leader_epoch: Option<LeaderEpoch>,
    bytes: Bytes,
    slots: Vec<Slot>,
}

/// Where the parts of one record are. At most 2^31 bytes hold all records, so 32 bits hold every position.
#[derive(Debug)]
struct Slot {
    timestamp: i64,
    offset_delta: i32,
    key: Span,
    value: Span,
    headers_at: u32,
    headers_end: u32,
    header_count: i32,
    weight: u32,
}

/// Bytes of the batch, or null if the length is negative, as on the wire.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    length: i32,
}

impl Span {
    #[inline]
    fn range(self) -> Option<std::ops::Range<usize>> {
        let length = usize::try_from(self.length).ok()?;
        let start = self.start as usize;
        Some(start..start + length)
    }

    #[inline]
    fn weight(self) -> u32 {
        self.length.max(0) as u32
    }
}

impl DecodedBatch {
    /// Checks all records of a batch and keeps those at or above `from`. `bytes` are the records, unpacked.
    pub(super) fn check(header: &BatchHeader, bytes: Bytes, from: i64) -> Result<Self, Damage> {
        let too_many = Damage::Count { count: header.count, bytes: bytes.len() };
        let count = usize::try_from(header.count).map_err(|_| too_many.clone())?;
        if count > bytes.len() / SMALLEST_RECORD {
            return Err(too_many);
        }
        let mut slots = Vec::with_capacity(count);
        let mut cursor = Cursor::new(&bytes);
        let mut previous = -1;
        for index in 0..header.count {
            let slot = Slot::read(&mut cursor, header).map_err(|field| Damage::Record { index, field })?;
            if slot.offset_delta <= previous || slot.offset_delta > header.last_offset_delta {
                return Err(Damage::Record { index, field: RecordField::OffsetDelta });
            }
            previous = slot.offset_delta;
            if header.base_offset + i64::from(slot.offset_delta) >= from {
                slots.push(slot);
            }
        }
        let leftover = bytes.len() - cursor.position();
        if leftover > 0 {
            return Err(Damage::Leftover(leftover));
        }
        Ok(Self { base_offset: header.base_offset, leader_epoch: header.leader_epoch(), bytes, slots })
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The epoch of the leader that appended the batch, if it is known.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.leader_epoch
    }

    /// The memory that the batch keeps alive: its bytes and its table of records.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.len() + self.slots.capacity() * size_of::<Slot>()
    }

    /// Its records in order.
    pub fn records(self: &Arc<Self>) -> impl ExactSizeIterator<Item = RecordRef> + use<> {
        let batch = Arc::clone(self);
        // A record has 7 bytes or more and a batch less than 2^32, so the index fits.
        (0..self.slots.len()).map(move |index| RecordRef { batch: Arc::clone(&batch), index: index as u32 })
    }

    /// The key of its first record; the kind of a transaction marker is there.
    pub(super) fn first_key(&self) -> Option<&[u8]> {
        self.slice(self.slots.first()?.key)
    }

    #[inline]
    fn slice(&self, span: Span) -> Option<&[u8]> {
        span.range().map(|range| &self.bytes[range])
    }
}

impl Slot {
    fn read(batch: &mut Cursor<'_>, header: &BatchHeader) -> Result<Self, RecordField> {
        use RecordField as Field;
        let length = batch.varint().and_then(|length| usize::try_from(length).ok()).ok_or(Field::Length)?;
        let mut record = batch.part(length).ok_or(Field::Length)?;
        record.byte().ok_or(Field::Attributes)?;
        let timestamp_delta = record.varlong().ok_or(Field::Timestamp)?;
        let offset_delta = record.varint().ok_or(Field::OffsetDelta)?;
        let key = span(&mut record).ok_or(Field::Key)?;
        let value = span(&mut record).ok_or(Field::Value)?;
        let header_count = record.varint().filter(|count| *count >= 0).ok_or(Field::HeaderCount)?;
        let headers_at = record.position() as u32;
        let mut weight = key.weight() + value.weight();
        for _ in 0..header_count {
            let name = span(&mut record).filter(|name| name.length >= 0).ok_or(Field::HeaderKey)?;
            let value = span(&mut record).ok_or(Field::HeaderValue)?;
            weight += name.weight() + value.weight();
        }
        let headers_end = record.position() as u32;
        if !record.is_at_end() {
            return Err(Field::End);
        }
        let timestamp = if header.attributes.log_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp.saturating_add(timestamp_delta)
        };
        Ok(Self { timestamp, offset_delta, key, value, headers_at, headers_end, header_count, weight })
    }
}

/// Reads a length and skips as many bytes. A length of -1 is null; lower ones are not written by anyone.
#[inline]
fn span(record: &mut Cursor<'_>) -> Option<Span> {
    let length = record.varint()?;
    let start = record.position() as u32;
    match length {
        -1 => {}
        _ => record.take(usize::try_from(length).ok()?).map(drop)?,
    }
    Some(Span { start, length })
}

/// One record: a place in a decoded batch.
#[derive(Debug, Clone)]
pub struct RecordRef {
    batch: Arc<DecodedBatch>,
    index: u32,
}

impl RecordRef {
    #[inline]
    fn slot(&self) -> &Slot {
        &self.batch.slots[self.index as usize]
    }

    /// Where it stands in the partition's log.
    #[must_use]
    pub fn offset(&self) -> Offset {
        Offset(self.batch.base_offset + i64::from(self.slot().offset_delta))
    }

    /// The producer's time or the broker's time of appending, whichever the topic is configured for.
    #[must_use]
    pub fn timestamp(&self) -> WallTime {
        WallTime::from_millis(self.slot().timestamp)
    }

    /// The key; `None` for a keyless record.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.batch.slice(self.slot().key)
    }

    /// The value; `None` for a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.batch.slice(self.slot().value)
    }

    /// The key as bytes that outlive the record; nothing is copied.
    #[must_use]
    pub fn key_bytes(&self) -> Option<Bytes> {
        self.slot().key.range().map(|range| self.batch.bytes.slice(range))
    }

    /// The value as bytes that outlive the record; nothing is copied.
    #[must_use]
    pub fn value_bytes(&self) -> Option<Bytes> {
        self.slot().value.range().map(|range| self.batch.bytes.slice(range))
    }

    /// The headers in the order in which they were written; names may repeat.
    #[must_use]
    pub fn headers(&self) -> Headers<'_> {
        let slot = self.slot();
        Headers {
            cursor: Cursor::new(&self.batch.bytes[slot.headers_at as usize..]),
            left: slot.header_count,
        }
    }

    /// The headers as the batch holds them, without their count; nothing is copied.
    #[must_use]
    pub fn header_bytes(&self) -> Bytes {
        let slot = self.slot();
        self.batch.bytes.slice(slot.headers_at as usize..slot.headers_end as usize)
    }

    /// The bytes of key, value and headers: what the record weighs against windows and limits.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.slot().weight as usize
    }

    /// Moves it into a batch of its own, so that it keeps no more alive than itself. Its bytes are copied, once.
    pub fn detach(&mut self) {
        let slot = self.slot();
        let (begin, end) = (slot.key.start, slot.headers_end);
        let alone = self.batch.bytes.len() == (end - begin) as usize;
        if alone {
            return;
        }
        let bytes = Bytes::copy_from_slice(&self.batch.bytes[begin as usize..end as usize]);
        let moved = |span: Span| Span { start: span.start - begin, ..span };
        let slot = Slot {
            key: moved(slot.key),
            value: moved(slot.value),
            headers_at: slot.headers_at - begin,
            headers_end: end - begin,
            ..*slot
        };
        let DecodedBatch { base_offset, leader_epoch, .. } = *self.batch;
        self.batch = Arc::new(DecodedBatch { base_offset, leader_epoch, bytes, slots: vec![slot] });
        self.index = 0;
    }

    /// The batch that it is in.
    #[must_use]
    pub fn batch(&self) -> &Arc<DecodedBatch> {
        &self.batch
    }

    /// The record as a value of its own. Its bytes are still those of the batch.
    #[must_use]
    pub fn to_record(&self) -> Record {
        let bytes = &self.batch.bytes;
        let headers = self.headers().map(|header| Header {
            key: bytes.slice_ref(header.key),
            value: header.value.map(|value| bytes.slice_ref(value)),
        });
        Record {
            offset: self.offset(),
            timestamp: self.timestamp(),
            key: self.key_bytes(),
            value: self.value_bytes(),
            headers: headers.collect(),
        }
    }
}

/// A header of a record, where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    /// The header's name.
    pub key: &'a [u8],
    /// The header's value; `None` is Kafka's null, which is not the same as empty.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record, read one by one.
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    cursor: Cursor<'a>,
    left: i32,
}

impl<'a> Iterator for Headers<'a> {
    type Item = HeaderRef<'a>;

    fn next(&mut self) -> Option<HeaderRef<'a>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        // The checks at decoding make sure that every `?` finds its bytes.
        let length = usize::try_from(self.cursor.varint()?).ok()?;
        let key = self.cursor.take(length)?;
        let value = match usize::try_from(self.cursor.varint()?) {
            Ok(length) => Some(self.cursor.take(length)?),
            Err(_) => None,
        };
        Some(HeaderRef { key, value })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Headers<'_> {}
