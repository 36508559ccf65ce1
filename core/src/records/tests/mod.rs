//! What a batch may be, and what may be done to one.

mod damage;
mod layout;
mod roundtrip;
mod transactions;
mod witness;

use bytes::Bytes;
use proptest::prelude::*;

use super::{BatchOptions, Batches, Compression, Decoded, Producer, ProducerState, decode, encode};
use crate::model::{Header, LeaderEpoch, Offset, Record, WallTime};
use crate::ports::OutgoingRecord;

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn record(value: &'static str) -> OutgoingRecord {
    OutgoingRecord {
        key: None,
        value: Some(Bytes::from(value)),
        headers: Vec::new(),
        timestamp: WallTime::from_millis(1_000),
    }
}

fn batch_at(base_offset: i64, values: &[&'static str]) -> Bytes {
    let records: Vec<_> = values.iter().copied().map(record).collect();
    encode(&records, BatchOptions { base_offset: Offset(base_offset), ..BatchOptions::default() }).unwrap()
}

fn fetched(parts: &[Bytes]) -> Batches {
    Batches { bytes: parts.concat().into(), aborted: Vec::new() }
}

fn read(bytes: impl Into<Bytes>, from: i64) -> Decoded {
    decode(Batches { bytes: bytes.into(), aborted: Vec::new() }, Offset(from))
}

fn records(decoded: &Decoded) -> Vec<Record> {
    decoded.records().map(|record| record.to_record()).collect()
}

/// Offsets with values, for tables.
fn values(decoded: &Decoded) -> Vec<(i64, String)> {
    let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap_or(b"null").to_vec()).unwrap();
    decoded.records().map(|record| (record.offset().0, text(record.value()))).collect()
}

/// What the reader must get back for records written at consecutive offsets.
fn expected(records: &[OutgoingRecord], options: BatchOptions) -> Vec<Record> {
    let in_order = records.iter().zip(options.base_offset.0..);
    in_order
        .map(|(record, offset)| Record {
            offset: Offset(offset),
            timestamp: options.append_time.unwrap_or(record.timestamp),
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
        })
        .collect()
}

/// Sets the checksum of a batch, so that a change reaches what lies behind that check.
fn reseal(batch: &mut [u8]) {
    let checksum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 0..3_000_usize).prop_map(|(byte, count)| vec![byte; count]),
    ]
    .prop_map(Bytes::from)
}

fn any_time() -> impl Strategy<Value = WallTime> {
    prop_oneof![Just(-1), 1_700_000_000_000..1_800_000_000_000_i64, -(1_i64 << 52)..1_i64 << 52]
        .prop_map(WallTime::from_millis)
}

fn any_record() -> impl Strategy<Value = OutgoingRecord> {
    // Few names, so that they repeat.
    let name = prop::sample::select(vec!["", "ce_id", "content-type", "ü"]);
    let header = (name, prop::option::of(any_bytes()))
        .prop_map(|(name, value)| Header { key: Bytes::from(name), value });
    (
        prop::option::of(any_bytes()),
        prop::option::of(any_bytes()),
        prop::collection::vec(header, 0..9),
        any_time(),
    )
        .prop_map(|(key, value, headers, timestamp)| OutgoingRecord { key, value, headers, timestamp })
}

fn any_records() -> impl Strategy<Value = Vec<OutgoingRecord>> {
    prop::collection::vec(any_record(), 1..30)
}

fn any_producer() -> impl Strategy<Value = Producer> {
    let state = (any::<i64>(), any::<i16>(), any::<i32>()).prop_map(|(id, epoch, sequence)| ProducerState {
        id,
        epoch,
        sequence,
    });
    prop_oneof![
        Just(Producer::Anonymous),
        state.clone().prop_map(Producer::Idempotent),
        state.prop_map(Producer::Transactional),
    ]
}

fn any_options() -> impl Strategy<Value = BatchOptions> {
    (
        0..i64::MAX - 100,
        prop::option::of((0..i32::MAX).prop_map(LeaderEpoch)),
        prop::sample::select(CODECS.to_vec()),
        prop::option::of(any_time()),
        any_producer(),
    )
        .prop_map(|(base_offset, leader_epoch, compression, append_time, producer)| BatchOptions {
            base_offset: Offset(base_offset),
            leader_epoch,
            compression,
            append_time,
            producer,
        })
}
