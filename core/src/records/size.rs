//! The exact size of a record batch before it is encoded.
//!
//! A broker compares the whole batch, header included, with `max.message.bytes`. So whoever forms batches must know
//! what a batch will weigh *before* it takes one more record, and at a cost per record that does not grow with the
//! batch. A record's fields weigh the same wherever it stands ([`RecordSize`], computed once); only the two deltas and
//! the length in front depend on its place ([`BatchSize`] adds them).
//!
//! The size is that of an uncompressed batch of format version 2 whose base timestamp is the first record's, with
//! timestamps in whole milliseconds. It is exact for any timestamps, also for those that go backwards; a client that
//! subtracts finer timestamps before it rounds never writes a longer batch.

use crate::model::WallTime;
use crate::ports::OutgoingRecord;

/// What stands before the first record of a batch: base offset 8, length 4, leader epoch 4, magic 1, checksum 4,
/// attributes 2, last offset delta 4, two timestamps 16, producer id 8, its epoch 2, base sequence 4, count 4.
const BATCH_HEADER: usize = 61;

/// The bytes of one record that are the same wherever in a batch it stands: attributes, key, value and headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordSize(usize);

impl RecordSize {
    /// Weighs a record.
    #[must_use]
    pub fn of(record: &OutgoingRecord) -> Self {
        const ATTRIBUTES: usize = 1;
        let headers: usize = record
            .headers
            .iter()
            .map(|header| field(Some(header.key.len())) + field(header.value.as_ref().map(|v| v.len())))
            .sum();
        Self(
            ATTRIBUTES
                + field(record.key.as_ref().map(|k| k.len()))
                + field(record.value.as_ref().map(|v| v.len()))
                + varint(widen(record.headers.len()))
                + headers,
        )
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.0
    }
}

/// The size of a batch that grows record by record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    bytes: usize,
    records: usize,
    base: Option<WallTime>,
}

impl Default for BatchSize {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchSize {
    /// A batch without records: its header alone.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: BATCH_HEADER, records: 0, base: None }
    }

    /// The batch with one more record.
    #[must_use]
    pub fn with(self, record: RecordSize, timestamp: WallTime) -> Self {
        let base = self.base.unwrap_or(timestamp);
        let timestamp_delta = timestamp.as_millis().saturating_sub(base.as_millis());
        let rest = record.0 + varint(timestamp_delta) + varint(widen(self.records));
        Self { bytes: self.bytes + varint(widen(rest)) + rest, records: self.records + 1, base: Some(base) }
    }

    /// The size of a batch of this one record.
    #[must_use]
    pub fn alone(record: RecordSize) -> Self {
        Self::new().with(record, WallTime::default())
    }

    /// The number of bytes, batch header included.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.bytes
    }
}

/// The bytes of a field with its length in front; `None` is null, whose length is written as -1.
fn field(length: Option<usize>) -> usize {
    length.map_or(varint(-1), |length| varint(widen(length)) + length)
}

/// The bytes of a number in zigzag base-128, which serves lengths, counts and deltas alike.
const fn varint(number: i64) -> usize {
    let zigzag = ((number << 1) ^ (number >> 63)).cast_unsigned();
    let bits = 64 - (zigzag | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn widen(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Header;
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    /// Writes the batch as the format's description says, byte by byte, sharing nothing with the code above.
    fn encode(records: &[OutgoingRecord]) -> Vec<u8> {
        fn put(out: &mut Vec<u8>, number: i64) {
            let mut rest = if number < 0 { !number as u64 * 2 + 1 } else { number as u64 * 2 };
            while rest > 127 {
                out.push(rest as u8 | 128);
                rest /= 128;
            }
            out.push(rest as u8);
        }
        fn put_field(out: &mut Vec<u8>, bytes: Option<&Bytes>) {
            match bytes {
                None => put(out, -1),
                Some(bytes) => {
                    put(out, bytes.len() as i64);
                    out.extend_from_slice(bytes);
                }
            }
        }
        let mut body = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let mut one = vec![0u8];
            put(&mut one, record.timestamp.as_millis() - records[0].timestamp.as_millis());
            put(&mut one, index as i64);
            put_field(&mut one, record.key.as_ref());
            put_field(&mut one, record.value.as_ref());
            put(&mut one, record.headers.len() as i64);
            for header in &record.headers {
                put_field(&mut one, Some(&header.key));
                put_field(&mut one, header.value.as_ref());
            }
            put(&mut body, one.len() as i64);
            body.extend(one);
        }
        let first = records.first().map_or(0, |r| r.timestamp.as_millis());
        let last = records.iter().map(|r| r.timestamp.as_millis()).max().unwrap_or(0);
        let mut batch = Vec::new();
        batch.extend(0i64.to_be_bytes());
        batch.extend((body.len() as i32 + 49).to_be_bytes());
        batch.extend((-1i32).to_be_bytes());
        batch.push(2);
        batch.extend(0u32.to_be_bytes());
        batch.extend(0i16.to_be_bytes());
        batch.extend((records.len() as i32 - 1).to_be_bytes());
        batch.extend(first.to_be_bytes());
        batch.extend(last.to_be_bytes());
        batch.extend((-1i64).to_be_bytes());
        batch.extend((-1i16).to_be_bytes());
        batch.extend((-1i32).to_be_bytes());
        batch.extend((records.len() as i32).to_be_bytes());
        batch.extend(body);
        batch
    }

    fn size(records: &[OutgoingRecord]) -> usize {
        records.iter().fold(BatchSize::new(), |size, r| size.with(RecordSize::of(r), r.timestamp)).bytes()
    }

    fn bytes(longest: usize) -> impl Strategy<Value = Bytes> {
        prop_oneof![
            0..=longest,
            // Where a length takes one byte more.
            Just(63usize),
            Just(64),
            Just(8191),
            Just(8192),
        ]
        .prop_map(|length| Bytes::from(vec![7u8; length]))
    }

    fn record() -> impl Strategy<Value = OutgoingRecord> {
        let header = (bytes(20), option::of(bytes(70))).prop_map(|(key, value)| Header { key, value });
        let timestamp = prop_oneof![
            -200i64..200,
            Just(0i64),
            Just(63),
            Just(64),
            Just(-64),
            Just(-65),
            any::<i32>().prop_map(i64::from),
            (i64::MIN / 4_000)..(i64::MAX / 4_000),
        ];
        (option::of(bytes(100)), option::of(bytes(300)), vec(header, 0..4), timestamp).prop_map(
            |(key, value, headers, millis)| OutgoingRecord {
                key,
                value,
                headers,
                timestamp: WallTime::from_millis(millis),
            },
        )
    }

    #[test]
    fn an_empty_record_in_a_batch_of_its_own() {
        let record = OutgoingRecord {
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp: WallTime::from_millis(9),
        };
        // Length, attributes, two deltas, two nulls and the count of headers: a byte each.
        assert_eq!(size(&[record]), 61 + 7);
        assert_eq!(BatchSize::default().bytes(), 61);
    }

    #[test]
    fn the_offset_delta_takes_a_second_byte_from_the_65th_record_on() {
        let record =
            OutgoingRecord { key: None, value: None, headers: Vec::new(), timestamp: WallTime::default() };
        assert_eq!(size(&vec![record.clone(); 64]), 61 + 64 * 7);
        assert_eq!(size(&vec![record; 66]), 61 + 64 * 7 + 2 * 8);
    }

    #[test]
    fn many_headers_and_a_large_value() {
        let record = OutgoingRecord {
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from(vec![1u8; 2_000_000])),
            headers: vec![Header { key: Bytes::from_static(b"h"), value: None }; 70],
            timestamp: WallTime::default(),
        };
        let alone = BatchSize::alone(RecordSize::of(&record)).bytes();
        let batch = [record];
        assert_eq!(size(&batch), encode(&batch).len());
        assert_eq!(size(&batch), alone);
    }

    proptest! {
        #[test]
        fn the_size_is_that_of_the_encoded_batch(records in vec(record(), 0..80)) {
            prop_assert_eq!(size(&records), encode(&records).len());
        }
    }
}
