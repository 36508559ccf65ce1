//! Arbitrary bytes never make the decoder panic, and what is encoded is decoded.
//!
//! The first byte chooses: bytes as they are; bytes made to look like a whole batch, so that they pass the checksum
//! and reach lengths, counts and codecs; or records, written and read again.
#![no_main]

use evenkeel_core::model::{Header, LeaderEpoch, Offset, Record, WallTime};
use evenkeel_core::ports::OutgoingRecord;
use evenkeel_core::records::{
    AbortedTransaction, BatchOptions, BatchReader, Batches, Compression, Decoded, Ended, Producer,
    ProducerState, decode, encode,
};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

/// Small, so that a hostile input cannot slow the search down.
const MAX_UNPACKED: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else { return };
    match mode % 3 {
        0 => read_all(data.to_vec(), Vec::new()),
        1 => read_all(sealed(data), vec![AbortedTransaction { producer_id: 0, first_offset: Offset(0) }]),
        _ => {
            let _ = roundtrip(&mut Unstructured::new(data));
        }
    }
});

/// Reads everything that can be read, by every accessor.
fn read_all(bytes: Vec<u8>, aborted: Vec<AbortedTransaction>) {
    let mut reader =
        BatchReader::with_limit(Batches { bytes: bytes.into(), aborted }, Offset(0), MAX_UNPACKED);
    let mut last = None;
    while let Ok(batch) = reader.next_batch() {
        for record in batch.records() {
            assert!(last < Some(record.offset()), "offsets grow");
            assert!(record.offset() < reader.position());
            last = Some(record.offset());
            let whole = record.to_record();
            assert_eq!(whole.headers.len(), record.headers().len());
            assert_eq!(whole.weight(), record.weight());
        }
    }
}

/// A batch of the input's bytes with length, format and checksum set right.
fn sealed(data: &[u8]) -> Vec<u8> {
    let mut batch = data.to_vec();
    batch.resize(batch.len().max(61), 0);
    let length = (batch.len() - 12) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[16] = 2;
    let checksum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    batch
}

fn roundtrip(input: &mut Unstructured<'_>) -> Result<()> {
    let state =
        ProducerState { id: input.arbitrary()?, epoch: input.arbitrary()?, sequence: input.arbitrary()? };
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let options = BatchOptions {
        base_offset: Offset(i64::from(input.arbitrary::<u32>()?)),
        leader_epoch: input.arbitrary::<Option<u16>>()?.map(|epoch| LeaderEpoch(i32::from(epoch))),
        compression: *input.choose(&codecs)?,
        append_time: input.arbitrary::<Option<i32>>()?.map(|time| WallTime::from_millis(i64::from(time))),
        producer: *input.choose(&[
            Producer::Anonymous,
            Producer::Idempotent(state),
            Producer::Transactional(state),
        ])?,
    };
    let mut records = vec![record(input)?];
    while !input.is_empty() && records.len() < 100 {
        records.push(record(input)?);
    }
    let bytes = encode(&records, options).expect("a few records make a batch");
    let Decoded { batches, next_offset, leader_epoch, ended } =
        decode(Batches { bytes, aborted: Vec::new() }, Offset(0));
    assert_eq!(ended, Ended::Complete);
    assert_eq!(leader_epoch, options.leader_epoch);
    assert_eq!(next_offset.0, options.base_offset.0 + records.len() as i64);
    let found: Vec<Record> = batches[0].records().map(|record| record.to_record()).collect();
    let sent: Vec<Record> = (options.base_offset.0..)
        .zip(records)
        .map(|(offset, record)| Record {
            offset: Offset(offset),
            timestamp: options.append_time.unwrap_or(record.timestamp),
            key: record.key,
            value: record.value,
            headers: record.headers,
        })
        .collect();
    assert_eq!(found, sent);
    Ok(())
}

fn record(input: &mut Unstructured<'_>) -> Result<OutgoingRecord> {
    let mut headers = Vec::new();
    for _ in 0..input.int_in_range(0..=8)? {
        headers.push(Header {
            key: input.arbitrary::<Vec<u8>>()?.into(),
            value: input.arbitrary::<Option<Vec<u8>>>()?.map(Into::into),
        });
    }
    Ok(OutgoingRecord {
        key: input.arbitrary::<Option<Vec<u8>>>()?.map(Into::into),
        value: input.arbitrary::<Option<Vec<u8>>>()?.map(Into::into),
        headers,
        timestamp: WallTime::from_millis(i64::from(input.arbitrary::<i32>()?)),
    })
}
