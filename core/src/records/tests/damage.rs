//! Bytes that are not what was written: found out, told where, and at no cost to what lies before them.

use super::*;
use crate::records::{BatchReader, Damage, DecodeError, Ended, RecordField};

/// Reads everything that can be read, by every accessor.
fn exhaust(decoded: &Decoded) -> usize {
    let mut last = None;
    for record in decoded.records() {
        assert!(last < Some(record.offset()), "offsets grow");
        last = Some(record.offset());
        assert_eq!(record.to_record().headers.len(), record.headers().len());
        assert_eq!(record.weight(), record.to_record().weight());
        assert!(record.offset() < decoded.next_offset);
    }
    decoded.records().count()
}

fn damage_of(batch: impl Into<Bytes>) -> Damage {
    match read(batch, 0).ended {
        Ended::Failed(DecodeError::CorruptBatch { offset: _, damage }) => damage,
        other => panic!("expected damage, got {other:?}"),
    }
}

/// The batch with bytes from `at` replaced, and a checksum that agrees.
fn changed(batch: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = batch.to_vec();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    reseal(&mut batch);
    batch
}

#[test]
fn a_corrupt_batch_leaves_those_before_it_and_is_told_with_its_offset() {
    let mut third = batch_at(2, &["c"]).to_vec();
    *third.last_mut().unwrap() ^= 1;
    let bytes = [&batch_at(0, &["a"])[..], &batch_at(1, &["b"]), &third, &batch_at(3, &["d"])].concat();
    let decoded = read(bytes, 0);
    assert_eq!(values(&decoded), [(0, "a".into()), (1, "b".into())]);
    assert_eq!(decoded.next_offset, Offset(2));
    let Ended::Failed(error) = decoded.ended else { panic!("{:?}", decoded.ended) };
    assert_eq!(error.offset(), Offset(2));
    assert!(matches!(error, DecodeError::CorruptBatch { damage: Damage::Checksum { .. }, .. }));
}

#[test]
fn each_contradiction_has_its_name() {
    let batch = &batch_at(0, &["a", "b"])[..];
    // One record is: length 7, attributes, timestamp, offset, key, value of one byte, no headers; at 61 and at 69.
    let record_at = |index, field| Damage::Record { index, field };
    let table: &[(&str, usize, &[u8], Damage)] = &[
        ("no records but bytes", 57, &[0, 0, 0, 0], Damage::Leftover(16)),
        ("fewer records", 57, &[0, 0, 0, 1], Damage::Leftover(8)),
        ("more records than fit", 57, &[0, 0, 0, 3], Damage::Count { count: 3, bytes: 16 }),
        ("very many records", 57, &[0x7f, 0xff, 0xff, 0xff], Damage::Count { count: i32::MAX, bytes: 16 }),
        ("less than no records", 57, &[0xff; 4], Damage::Count { count: -1, bytes: 16 }),
        ("offsets end before they begin", 23, &[0xff; 4], Damage::Offsets { base: 0, last_delta: -1 }),
        ("negative length", 61, &[1], record_at(0, RecordField::Length)),
        ("length past the end", 69, &[16], record_at(1, RecordField::Length)),
        ("length zero", 61, &[0], record_at(0, RecordField::Attributes)),
        ("same offset again", 72, &[0], record_at(1, RecordField::OffsetDelta)),
        ("negative offset", 64, &[1], record_at(0, RecordField::OffsetDelta)),
        ("offset past the last", 72, &[4], record_at(1, RecordField::OffsetDelta)),
        ("key below null", 65, &[3], record_at(0, RecordField::Key)),
        ("key past the record", 65, &[40], record_at(0, RecordField::Key)),
        ("value past the record", 66, &[8], record_at(0, RecordField::Value)),
        ("less than no headers", 68, &[1], record_at(0, RecordField::HeaderCount)),
        ("headers that are not there", 68, &[0x7e], record_at(0, RecordField::HeaderKey)),
        ("a value shorter than the record", 66, &[0], record_at(0, RecordField::HeaderCount)),
        ("bytes left behind the headers", 66, &[0, 0], record_at(0, RecordField::End)),
    ];
    for (name, at, bytes, damage) in table {
        assert_eq!(damage_of(changed(batch, *at, bytes)), *damage, "{name}");
    }
    assert_eq!(values(&read(changed(batch, 61, &[14]), 0)).len(), 2, "the table's places are right");
}

#[test]
fn lengths_that_leave_no_room_for_a_header_are_damage() {
    for length in [i32::MIN, -1, 0, 48] {
        let mut batch = batch_at(0, &["a"]).to_vec();
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(damage_of(batch), Damage::Length(length));
    }
}

#[test]
fn offsets_that_cannot_be_are_damage() {
    for base in [-1, i64::MIN, i64::MAX] {
        let mut batch = batch_at(0, &["a"]).to_vec();
        batch[..8].copy_from_slice(&base.to_be_bytes());
        assert_eq!(damage_of(batch), Damage::Offsets { base, last_delta: 0 });
    }
}

#[test]
fn what_a_newer_cluster_might_send_is_told_apart_from_damage() {
    let batch = batch_at(4, &["a"]);
    let offset = Offset(4);
    let codec = read(changed(&batch, 22, &[5]), 0).ended;
    assert_eq!(codec, Ended::Failed(DecodeError::UnknownCompression { offset, codec: 5 }));
    let mut format = batch.to_vec();
    format[16] = 3;
    assert_eq!(read(format, 0).ended, Ended::Failed(DecodeError::UnknownFormat { offset, magic: 3 }));
}

#[test]
fn batches_that_repeat_or_go_back_never_hand_an_offset_out_twice() {
    let parts = [batch_at(0, &["a", "b"]), batch_at(1, &["x", "c"]), batch_at(0, &["y"])];
    let decoded = decode(fetched(&parts), Offset(0));
    assert_eq!(values(&decoded), [(0, "a".into()), (1, "b".into()), (2, "c".into())]);
    assert_eq!(decoded.next_offset, Offset(3));
}

#[test]
fn unpacking_stops_at_the_limit() {
    let large = OutgoingRecord { value: Some(Bytes::from(vec![b'x'; 100_000])), ..record("") };
    for compression in CODECS.into_iter().skip(1) {
        let batch = encode([&large], BatchOptions { compression, ..BatchOptions::default() }).unwrap();
        let read = |limit| {
            BatchReader::with_limit(fetched(std::slice::from_ref(&batch)), Offset(0), limit).next_batch()
        };
        // The record needs 11 bytes around its value.
        let error = DecodeError::TooLarge { offset: Offset(0), limit: 100_010 };
        assert_eq!(read(100_010).unwrap_err(), Ended::Failed(error), "{compression}");
        assert_eq!(read(100_011).unwrap().len(), 1, "{compression}");
    }
}

#[test]
fn snappy_is_not_believed_in_what_it_claims_to_hold() {
    let batch = batch_at(0, &["a"]);
    // One bare block of three bytes that claims 4 GiB less one byte.
    let claims = [&batch[..61], &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, b'a']].concat();
    let mut batch = changed(&claims, 22, &[2]);
    let length = i32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let Damage::Compressed { codec, reason } = damage_of(batch) else { panic!("not refused") };
    assert_eq!((codec, &*reason), (Compression::Snappy, "a block of 7 bytes claims to hold 4294967295"));
}

#[test]
fn flipping_any_bit_under_the_checksum_is_found_out() {
    for compression in CODECS {
        let options = BatchOptions { base_offset: Offset(3), compression, ..BatchOptions::default() };
        let records = [record("some value"), record("another")];
        let batch = encode(&records, options).unwrap();
        for bit in 17 * 8..batch.len() * 8 {
            let mut batch = batch.to_vec();
            batch[bit / 8] ^= 1 << (bit % 8);
            let decoded = read(batch, 0);
            assert!(decoded.batches.is_empty());
            let Ended::Failed(DecodeError::CorruptBatch { offset, damage: Damage::Checksum { .. } }) =
                decoded.ended
            else {
                panic!("{compression}: bit {bit} was not noticed: {:?}", decoded.ended);
            };
            assert_eq!(offset, Offset(3));
        }
    }
}

#[test]
fn flipping_a_bit_of_length_or_format_gives_no_record() {
    let batch = batch_at(3, &["some value", "another"]);
    for bit in (8 * 8..12 * 8).chain(16 * 8..17 * 8) {
        let mut batch = batch.to_vec();
        batch[bit / 8] ^= 1 << (bit % 8);
        let decoded = read(batch, 0);
        assert!(decoded.batches.is_empty(), "bit {bit}");
        assert_ne!(decoded.ended, Ended::Complete, "bit {bit}");
    }
}

proptest! {
    #[test]
    fn a_prefix_gives_whole_batches_only(
        batches in prop::collection::vec((any_records(), any_options()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut bytes, mut ends, mut all, mut next) = (Vec::new(), vec![0], Vec::new(), 0);
        for (records, options) in batches {
            let options = BatchOptions { base_offset: Offset(next), ..options };
            bytes.extend(encode(&records, options).unwrap());
            ends.push(bytes.len());
            all.push(expected(&records, options));
            next += records.len() as i64;
        }
        let cut = cut.index(bytes.len());
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        bytes.truncate(cut);
        let decoded = read(bytes, 0);
        prop_assert_eq!(records(&decoded), all[..whole].concat());
        prop_assert!(!matches!(decoded.ended, Ended::Failed(_)), "{:?}", decoded.ended);
        prop_assert_eq!(matches!(decoded.ended, Ended::TooShort { .. }), whole == 0 && cut > 0);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), from in any::<i64>()) {
        exhaust(&read(bytes, from));
    }

    /// The checksum agrees, so that the change reaches lengths, counts and codecs.
    #[test]
    fn no_change_under_a_good_checksum_makes_it_panic(
        records in any_records(),
        options in any_options(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut batch = encode(&records, options).unwrap().to_vec();
        for (at, byte) in changes {
            let at = 21 + at.index(batch.len() - 21);
            batch[at] = byte;
        }
        reseal(&mut batch);
        exhaust(&read(batch, 0));
    }
}
