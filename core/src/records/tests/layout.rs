//! Batches written by hand, byte by byte.

use super::*;
use crate::records::{BatchWriter, DecodeError, Ended};

/// Two records at offsets 5 and 6, in the order of the format's description. `sealed` fills in the checksum.
#[rustfmt::skip]
const TWO_RECORDS: &[u8] = &[
    0, 0, 0, 0, 0, 0, 0, 5,             // base offset
    0, 0, 0, 72,                        // bytes that follow
    0, 0, 0, 9,                         // leader epoch
    2,                                  // magic
    0, 0, 0, 0,                         // checksum
    0, 0,                               // attributes
    0, 0, 0, 1,                         // last offset delta
    0, 0, 0, 0, 0, 0, 0x03, 0xe8,       // base timestamp: 1000
    0, 0, 0, 0, 0, 0, 0x03, 0xf2,       // greatest timestamp: 1010
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // producer id: none
    0xff, 0xff,                         // producer epoch: none
    0xff, 0xff, 0xff, 0xff,             // sequence: none
    0, 0, 0, 2,                         // records
    // length 12, attributes, timestamp + 0, offset + 0, key "k", value "v1", one header "h" = null
    24, 0, 0, 0, 2, b'k', 4, b'v', b'1', 2, 2, b'h', 1,
    // length 9, attributes, timestamp + 10, offset + 1, key null, value null, one header "h" = ""
    18, 0, 20, 2, 1, 1, 2, 2, b'h', 0,
];

fn sealed(batch: &[u8]) -> Vec<u8> {
    let mut batch = batch.to_vec();
    let length = i32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    reseal(&mut batch);
    batch
}

fn the_two() -> Vec<OutgoingRecord> {
    let header = |value| Header { key: Bytes::from("h"), value };
    vec![
        OutgoingRecord {
            key: Some(Bytes::from("k")),
            value: Some(Bytes::from("v1")),
            headers: vec![header(None)],
            timestamp: WallTime::from_millis(1_000),
        },
        OutgoingRecord {
            key: None,
            value: None,
            headers: vec![header(Some(Bytes::new()))],
            timestamp: WallTime::from_millis(1_010),
        },
    ]
}

fn the_options() -> BatchOptions {
    BatchOptions { base_offset: Offset(5), leader_epoch: Some(LeaderEpoch(9)), ..BatchOptions::default() }
}

#[test]
fn a_batch_written_by_hand_is_read() {
    let decoded = read(sealed(TWO_RECORDS), 0);
    assert_eq!(records(&decoded), expected(&the_two(), the_options()));
    assert_eq!(decoded.next_offset, Offset(7));
    assert_eq!(decoded.leader_epoch, Some(LeaderEpoch(9)));
    assert_eq!(decoded.ended, Ended::Complete);
    assert_eq!(decoded.batches[0].leader_epoch(), Some(LeaderEpoch(9)));
}

#[test]
fn encoding_writes_the_same_bytes() {
    assert_eq!(encode(&the_two(), the_options()).unwrap(), sealed(TWO_RECORDS));
}

#[test]
fn the_checksum_is_castagnolis() {
    // The polynomial's check value, so that reading and writing cannot agree on another one.
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    let batch = sealed(TWO_RECORDS);
    assert_eq!(batch[17..21], crc32c::crc32c(&batch[21..]).to_be_bytes());
}

#[test]
fn the_append_time_of_the_broker_stands_for_all_records() {
    let mut batch = TWO_RECORDS.to_vec();
    batch[22] = 1 << 3;
    let times: Vec<_> = read(sealed(&batch), 0).records().map(|record| record.timestamp()).collect();
    assert_eq!(times, [WallTime::from_millis(1_010); 2]);
}

#[test]
fn a_batch_that_begins_below_the_wanted_offset_gives_the_rest() {
    let bytes = fetched(&[batch_at(10, &["a", "b", "c"]), batch_at(13, &["d"])]).bytes;
    let table: &[(i64, &[&str], i64)] = &[
        (0, &["a", "b", "c", "d"], 14),
        (10, &["a", "b", "c", "d"], 14),
        (12, &["c", "d"], 14),
        (13, &["d"], 14),
        (14, &[], 14),
        (99, &[], 99),
    ];
    for &(from, wanted, next) in table {
        let decoded = read(bytes.clone(), from);
        let found: Vec<_> = values(&decoded).into_iter().map(|(_, value)| value).collect();
        assert_eq!(
            (found, decoded.next_offset),
            (wanted.iter().map(|&v| v.into()).collect(), Offset(next)),
            "{from}"
        );
        assert_eq!(decoded.ended, Ended::Complete);
    }
}

#[test]
fn gaps_and_empty_batches_of_compaction_move_the_position_on() {
    for compression in CODECS {
        let batch = |base| {
            BatchWriter::new(BatchOptions {
                base_offset: Offset(base),
                compression,
                ..BatchOptions::default()
            })
        };
        let mut empty = batch(0);
        empty.leave_gap(20);
        let mut thinned = batch(20);
        thinned.leave_gap(2);
        thinned.append(&record("a"));
        thinned.leave_gap(3);
        thinned.append(&record("b"));
        thinned.leave_gap(4);
        let mut empty_again = batch(31);
        empty_again.leave_gap(5);
        let decoded = read([empty, thinned, empty_again].map(|batch| batch.finish().unwrap()).concat(), 0);
        assert_eq!(values(&decoded), [(22, "a".into()), (26, "b".into())], "{compression}");
        assert_eq!((decoded.next_offset, decoded.ended), (Offset(36), Ended::Complete), "{compression}");
    }
}

#[test]
fn a_batch_cut_off_at_the_end_is_left_for_the_next_fetch() {
    let (first, second) = (batch_at(0, &["a"]), batch_at(1, &["b"]));
    for length in 0..second.len() {
        let decoded = read([&first[..], &second[..length]].concat(), 0);
        assert_eq!(values(&decoded), [(0, "a".into())], "{length} bytes of the second");
        assert_eq!((decoded.next_offset, decoded.ended), (Offset(1), Ended::Complete), "{length}");
    }
}

#[test]
fn a_first_batch_that_is_cut_off_says_how_much_it_needs() {
    let batch = batch_at(7, &["a", "b"]);
    for length in 1..batch.len() {
        let decoded = read(batch.slice(..length), 7);
        // The length field alone is not enough: the format must be known to believe it.
        let needs = if length < 17 { 61 } else { batch.len() };
        assert_eq!(decoded.ended, Ended::TooShort { needs }, "{length} bytes");
        assert_eq!(decoded.next_offset, Offset(7));
        assert!(decoded.batches.is_empty());
    }
    assert_eq!(read(Bytes::new(), 7).ended, Ended::Complete);
}

#[test]
fn old_formats_are_told_with_their_remedy() {
    for magic in [0, 1] {
        // Offset 3, a size, a checksum, the magic byte, attributes, null key and value.
        let old = [&[0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 14, 1, 2, 3, 4, magic, 0][..], &[0xff; 8]].concat();
        let decoded = read([&batch_at(2, &["a"])[..], &old].concat(), 0);
        assert_eq!(values(&decoded), [(2, "a".into())]);
        assert_eq!(decoded.next_offset, Offset(3));
        assert_eq!(decoded.ended, Ended::Failed(DecodeError::OldFormat { offset: Offset(3), magic }));
    }
    assert_eq!(
        DecodeError::OldFormat { offset: Offset(3), magic: 1 }.to_string(),
        "the records at offset 3 are in message format 1, from before Kafka 0.11, which is not read: copy them to a \
         new topic with a current producer, or move the group past them"
    );
}

#[test]
fn snappy_is_read_framed_and_bare() {
    let plain = sealed(TWO_RECORDS);
    let bare = snap::raw::Encoder::new().compress_vec(&plain[61..]).unwrap();
    let mut batch = [&plain[..61], &bare].concat();
    batch[22] = 2;
    assert_eq!(records(&read(sealed(&batch), 0)), expected(&the_two(), the_options()));

    let framed =
        encode(&the_two(), BatchOptions { compression: Compression::Snappy, ..the_options() }).unwrap();
    assert_eq!(framed[61..77], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    assert_eq!(records(&read(framed, 0)), expected(&the_two(), the_options()));
}
