//! Transactions of several producers in one log.

use super::*;
use crate::records::{AbortedTransaction, Damage, DecodeError, Ended, Marker, encode_marker};

/// One batch of a log; each record, and each marker, takes one offset.
enum Entry {
    Plain(&'static str),
    Data(i64, &'static [&'static str]),
    Idempotent(i64, &'static str),
    End(i64, Marker),
}
use Entry::{Data, End, Idempotent, Plain};

fn log(entries: &[Entry]) -> Bytes {
    let mut bytes = Vec::new();
    let mut offset = 0;
    for entry in entries {
        let state = |id| ProducerState { id, epoch: 0, sequence: 0 };
        let base = BatchOptions { base_offset: Offset(offset), ..BatchOptions::default() };
        let of = |producer| BatchOptions { producer, ..base };
        let (batch, count) = match entry {
            Plain(value) => (encode(&[record(value)], base), 1),
            Idempotent(id, value) => (encode(&[record(value)], of(Producer::Idempotent(state(*id)))), 1),
            Data(id, values) => {
                let records: Vec<_> = values.iter().copied().map(record).collect();
                (encode(&records, of(Producer::Transactional(state(*id)))), values.len())
            }
            End(id, marker) => {
                (encode_marker(*marker, WallTime(0), of(Producer::Transactional(state(*id)))), 1)
            }
        };
        bytes.extend_from_slice(&batch.unwrap());
        offset += i64::try_from(count).unwrap();
    }
    bytes.into()
}

fn aborted(ranges: &[(i64, i64)]) -> Vec<AbortedTransaction> {
    let range = |&(producer_id, first)| AbortedTransaction { producer_id, first_offset: Offset(first) };
    ranges.iter().map(range).collect()
}

fn interleaved() -> Bytes {
    log(&[
        Data(1, &["a0", "a1"]), // 0, 1: aborted
        Data(2, &["b2"]),       // 2: committed
        Plain("c3"),            // 3
        Data(1, &["a4"]),       // 4: aborted
        Idempotent(1, "d5"),    // 5: in no transaction
        End(2, Marker::Commit), // 6
        Data(2, &["b7"]),       // 7: aborted
        End(1, Marker::Abort),  // 8
        Data(1, &["a9"]),       // 9: committed
        End(2, Marker::Abort),  // 10
        Data(2, &["b11"]),      // 11: committed
        End(1, Marker::Commit), // 12
        Data(1, &["a13"]),      // 13: aborted
        End(2, Marker::Commit), // 14
        End(1, Marker::Abort),  // 15
    ])
}

#[test]
fn records_of_aborted_transactions_are_left_out_until_their_marker() {
    // In no order, since the protocol promises none.
    let ranges = aborted(&[(1, 13), (2, 7), (1, 0)]);
    let table: &[(i64, &[(i64, &str)])] = &[
        (0, &[(2, "b2"), (3, "c3"), (5, "d5"), (9, "a9"), (11, "b11")]),
        (3, &[(3, "c3"), (5, "d5"), (9, "a9"), (11, "b11")]),
        (10, &[(11, "b11")]),
    ];
    for &(from, wanted) in table {
        let decoded = decode(Batches { bytes: interleaved(), aborted: ranges.clone() }, Offset(from));
        let wanted: Vec<_> = wanted.iter().map(|&(offset, value)| (offset, value.to_owned())).collect();
        assert_eq!(values(&decoded), wanted, "from {from}");
        assert_eq!((decoded.next_offset, decoded.ended), (Offset(16), Ended::Complete));
    }
}

#[test]
fn markers_are_never_handed_out_and_without_aborted_ranges_all_records_are() {
    let offsets: Vec<_> = values(&read(interleaved(), 0)).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5, 7, 9, 11, 13]);
}

#[test]
fn only_an_abort_marker_ends_an_aborted_range() {
    // No broker writes a commit into an aborted transaction; if it comes, it does not make the rest count.
    let bytes = log(&[
        Data(1, &["a0"]),
        End(1, Marker::Commit),
        Data(1, &["a2"]),
        End(2, Marker::Abort),
        Data(1, &["a4"]),
    ]);
    let decoded = decode(Batches { bytes, aborted: aborted(&[(1, 0)]) }, Offset(0));
    assert_eq!((values(&decoded), decoded.next_offset), (vec![], Offset(5)));
}

#[test]
fn a_fetch_of_markers_alone_goes_on_behind_them() {
    let decoded = decode(
        Batches { bytes: log(&[End(1, Marker::Abort), End(2, Marker::Commit)]), aborted: aborted(&[(1, 0)]) },
        Offset(0),
    );
    assert!(decoded.batches.is_empty());
    assert_eq!((decoded.next_offset, decoded.ended), (Offset(2), Ended::Complete));
}

#[test]
fn a_marker_that_does_not_say_how_the_transaction_ended_is_damage() {
    // Taking it for a commit would leave out the producer's later records, silently.
    let mut batch = log(&[End(1, Marker::Abort)]).to_vec();
    // The marker's key, cut to its version: one record with a key of 2 bytes, and a value of 8.
    batch[61 + 4] = 2 << 1;
    batch[61 + 7] = 8 << 1;
    batch[61 + 8..61 + 16].fill(0);
    reseal(&mut batch);
    let damage = Damage::Marker;
    let error = DecodeError::CorruptBatch { offset: Offset(0), damage };
    assert_eq!(read(batch, 0).ended, Ended::Failed(error));
}
