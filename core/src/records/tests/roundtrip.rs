//! What is written is read, whatever the records, the codec and the options.

use std::sync::Arc;

use super::*;
use crate::records::{BatchReader, BatchWriter, EncodeError, Ended, MAX_UNPACKED, RecordRef, decode_within};

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(records_in in any_records(), options in any_options()) {
        let decoded = read(encode(&records_in, options).unwrap(), 0);
        prop_assert_eq!(records(&decoded), expected(&records_in, options));
        prop_assert_eq!(&decoded.ended, &Ended::Complete);
        prop_assert_eq!(decoded.next_offset.0, options.base_offset.0 + records_in.len() as i64);
        prop_assert_eq!(decoded.leader_epoch, options.leader_epoch);
        for record in decoded.records() {
            prop_assert_eq!(record.weight(), record.to_record().weight());
            prop_assert_eq!(record.headers().len(), record.headers().count());
        }
    }

    #[test]
    fn any_start_gives_exactly_the_records_from_there(
        batches in prop::collection::vec((any_records(), any_options(), 0..5_u32), 1..5),
        start in 0..200_i64,
    ) {
        let (mut bytes, mut all, mut next) = (Vec::new(), Vec::new(), 100);
        for (records, options, gap) in batches {
            let options = BatchOptions { base_offset: Offset(next), ..options };
            let mut writer = BatchWriter::new(options);
            records.iter().for_each(|record| writer.append(record));
            writer.leave_gap(gap);
            bytes.extend(writer.finish().unwrap());
            all.extend(expected(&records, options));
            next += records.len() as i64 + i64::from(gap);
        }
        let from = start + 50;
        all.retain(|record| record.offset.0 >= from);
        let decoded = read(bytes, from);
        prop_assert_eq!(records(&decoded), all);
        prop_assert_eq!(decoded.next_offset.0, next.max(from));
    }
}

#[test]
fn a_batch_needs_an_offset() {
    assert_eq!(encode(&[], BatchOptions::default()), Err(EncodeError::Empty));
}

#[test]
fn more_offsets_than_the_format_can_count_are_refused() {
    let mut writer = BatchWriter::new(BatchOptions::default());
    writer.leave_gap(u32::MAX);
    assert_eq!(
        writer.finish().unwrap_err().to_string(),
        "a batch of 61 bytes over 4294967295 offsets: the format ends at 2147483647 of each; send fewer"
    );
}

#[test]
fn bytes_taken_from_a_record_are_those_of_the_fetch() {
    let fetched = batch_at(0, &["a value that is not copied"]);
    let record = read(fetched.clone(), 0).records().next().unwrap();
    let value = record.value_bytes().unwrap();
    assert!(fetched.as_ptr_range().contains(&value.as_ptr()));
    assert_eq!(record.key_bytes(), None);
}

#[test]
fn a_detached_record_is_the_same_and_keeps_nothing_else_alive() {
    let full = OutgoingRecord {
        key: Some("key".into()),
        headers: vec![
            Header { key: "h".into(), value: None },
            Header { key: "i".into(), value: Some("v".into()) },
        ],
        ..record("value")
    };
    let bare = OutgoingRecord { key: None, value: None, headers: Vec::new(), ..record("") };
    let fetched =
        encode([&full, &bare, &full], BatchOptions { base_offset: Offset(7), ..BatchOptions::default() });
    let decoded = read(fetched.expect("it fits"), 0);
    for record in decoded.records() {
        let mut detached = record.clone();
        detached.detach();
        assert_eq!(detached.to_record(), record.to_record());
        assert_eq!((detached.header_bytes(), detached.weight()), (record.header_bytes(), record.weight()));
        assert!(detached.batch().memory() < record.batch().memory() / 2, "{:?}", detached.batch().memory());
        let batch = Arc::clone(detached.batch());
        detached.detach();
        assert!(Arc::ptr_eq(&batch, detached.batch()), "again is free");
    }
}

#[test]
fn decoding_with_little_room_takes_one_batch_and_leaves_the_rest() {
    let parts = [batch_at(0, &["a"]), batch_at(1, &["b"])];
    let decoded = decode_within(fetched(&parts), Offset(0), 1);
    assert_eq!((decoded.batches.len(), decoded.next_offset, decoded.ended), (1, Offset(1), Ended::Complete));
}

#[test]
fn a_record_is_small_and_can_be_sent() {
    fn sendable<T: Send + Sync + Clone + 'static>() {}
    sendable::<RecordRef>();
    assert_eq!(size_of::<RecordRef>(), 16);
}

#[test]
fn a_reader_unpacks_one_batch_at_a_time_and_ends_for_good() {
    let mut reader = BatchReader::new(fetched(&[batch_at(0, &["a"]), batch_at(1, &["b"])]), Offset(0));
    for next in 1..=2 {
        assert_eq!(reader.next_batch().unwrap().len(), 1);
        assert_eq!(reader.position(), Offset(next));
    }
    for _ in 0..2 {
        assert_eq!(reader.next_batch().unwrap_err(), Ended::Complete);
    }
}

#[test]
fn decoding_all_at_once_stops_when_enough_is_held() {
    let half = Bytes::from(vec![7; MAX_UNPACKED / 2 + 1]);
    let big = OutgoingRecord { value: Some(half), ..record("") };
    let parts: Vec<_> = (0..3)
        .map(|at| BatchOptions {
            base_offset: Offset(at),
            compression: Compression::Zstd,
            ..BatchOptions::default()
        })
        .map(|options| encode([&big], options).unwrap())
        .collect();
    let decoded = decode(fetched(&parts), Offset(0));
    assert_eq!((decoded.batches.len(), decoded.next_offset, decoded.ended), (2, Offset(2), Ended::Complete));
}
