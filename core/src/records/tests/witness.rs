//! Another implementation reads what is written here, and the other way round.
//!
//! It knows no null header values and no repeated names, and here no codecs, so records for it have none of these.

use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as other;

use super::*;

/// Records that both sides can say.
fn simple_records() -> impl Strategy<Value = Vec<OutgoingRecord>> {
    let simple = any_record().prop_map(|mut record| {
        record.headers.retain(|header| header.value.is_some());
        record.headers.sort_by(|a, b| a.key.cmp(&b.key));
        record.headers.dedup_by(|a, b| a.key == b.key);
        record
    });
    prop::collection::vec(simple, 1..20)
}

fn state(producer: Producer) -> (i64, i16, i32) {
    match producer {
        Producer::Anonymous => (-1, -1, -1),
        Producer::Idempotent(state) | Producer::Transactional(state) => {
            (state.id, state.epoch, state.sequence)
        }
    }
}

/// The other side's form of a record at `index` of its batch.
fn theirs(index: usize, record: &OutgoingRecord, options: &BatchOptions) -> other::Record {
    let index = i32::try_from(index).unwrap();
    let (producer_id, producer_epoch, sequence) = state(options.producer);
    let header = |header: &Header| (StrBytes::try_from(header.key.clone()).unwrap(), header.value.clone());
    other::Record {
        transactional: matches!(options.producer, Producer::Transactional(_)),
        control: false,
        delete_horizon: false,
        partition_leader_epoch: options.leader_epoch.map_or(-1, |epoch| epoch.0),
        producer_id,
        producer_epoch,
        timestamp_type: match options.append_time {
            Some(_) => other::TimestampType::LogAppend,
            None => other::TimestampType::Creation,
        },
        offset: options.base_offset.0 + i64::from(index),
        sequence: sequence.wrapping_add(index),
        timestamp: record.timestamp.as_millis(),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.iter().map(header).collect(),
    }
}

proptest! {
    #[test]
    fn another_implementation_reads_what_is_encoded(records in simple_records(), options in any_options()) {
        let options = BatchOptions { compression: Compression::None, append_time: None, ..options };
        let mut batch = encode(&records, options).unwrap();
        let set = other::RecordBatchDecoder::decode(&mut batch).unwrap();
        prop_assert!(batch.is_empty());
        prop_assert_eq!(set.records.len(), records.len());
        for (index, (found, sent)) in set.records.iter().zip(&records).enumerate() {
            prop_assert_eq!(found, &theirs(index, sent, &options));
        }
    }

    #[test]
    fn what_another_implementation_encodes_is_decoded(records_in in simple_records(), options in any_options()) {
        let options = BatchOptions { compression: Compression::None, append_time: None, ..options };
        let theirs: Vec<_> =
            records_in.iter().enumerate().map(|(index, record)| theirs(index, record, &options)).collect();
        let encoding = other::RecordEncodeOptions { version: 2, compression: other::Compression::None };
        let mut bytes = bytes::BytesMut::new();
        other::RecordBatchEncoder::encode(&mut bytes, &theirs, &encoding).unwrap();
        let decoded = read(bytes, 0);
        prop_assert_eq!(records(&decoded), expected(&records_in, options));
    }
}
