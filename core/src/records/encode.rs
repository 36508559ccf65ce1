//! Writes one batch: for producers, for the simulated cluster, and for tests of the decoder.

use bytes::Bytes;

use super::attributes::Attributes;
use super::error::EncodeError;
use super::header::{BatchHeader, HEADER_BYTES, NONE, PREFIX_BYTES};
use super::{Compression, varint};
use crate::model::{LeaderEpoch, Offset, WallTime};
use crate::ports::OutgoingRecord;

/// What a batch says of all its records. The default is what a plain producer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchOptions {
    /// The offset of the first record. Producers leave it at zero; the broker sets it.
    pub base_offset: Offset,
    /// The epoch of the leader that appends the batch; set by the broker.
    pub leader_epoch: Option<LeaderEpoch>,
    /// How the records are compressed.
    pub compression: Compression,
    /// The broker's time of appending, on topics that want it instead of the producers' times.
    pub append_time: Option<WallTime>,
    /// Who writes.
    pub producer: Producer,
}

/// What the cluster knows of the producer of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Producer {
    /// Nothing: a batch that is sent twice is there twice.
    #[default]
    Anonymous,
    /// It numbers its records, so that the broker drops repetitions.
    Idempotent(ProducerState),
    /// The batch counts when the producer's transaction commits.
    Transactional(ProducerState),
}

/// A producer's identity and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// The id that the cluster gave to the producer.
    pub id: i64,
    /// Fences earlier lives of the same producer.
    pub epoch: i16,
    /// The number of the batch's first record; -1 in a marker.
    pub sequence: i32,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// Its records do not count.
    Abort,
    /// Its records count.
    Commit,
}

/// Encodes records as one batch with consecutive offsets.
///
/// # Errors
/// [`EncodeError`] if there are none or too many.
pub fn encode<'a>(
    records: impl IntoIterator<Item = &'a OutgoingRecord>,
    options: BatchOptions,
) -> Result<Bytes, EncodeError> {
    let mut batch = BatchWriter::new(options);
    for record in records {
        batch.append(record);
    }
    batch.finish()
}

/// Encodes the control batch that ends a transaction. The options' producer says whose.
///
/// # Errors
/// [`EncodeError`] if the codec fails; without compression there is no error.
pub fn encode_marker(marker: Marker, at: WallTime, options: BatchOptions) -> Result<Bytes, EncodeError> {
    let kind = match marker {
        Marker::Abort => 0,
        Marker::Commit => 1,
    };
    let mut batch = BatchWriter::new(options);
    batch.attributes = batch.attributes.with_control();
    batch.append(&OutgoingRecord {
        // A version and the kind; then a version and the coordinator's epoch.
        key: Some(Bytes::copy_from_slice(&[0, 0, 0, kind])),
        value: Some(Bytes::from_static(&[0; 6])),
        headers: Vec::new(),
        timestamp: at,
    });
    batch.finish()
}

/// Builds a batch record by record, with gaps where compaction took some.
#[derive(Debug)]
pub struct BatchWriter {
    options: BatchOptions,
    attributes: Attributes,
    /// The records so far, behind room for the header.
    bytes: Vec<u8>,
    /// One record without its length, which is written in front of it.
    body: Vec<u8>,
    count: i32,
    next_delta: i64,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
}

impl BatchWriter {
    /// A batch without records.
    #[must_use]
    pub fn new(options: BatchOptions) -> Self {
        let mut attributes = Attributes::new(options.compression);
        if options.append_time.is_some() {
            attributes = attributes.with_log_append_time();
        }
        if let Producer::Transactional(_) = options.producer {
            attributes = attributes.with_transactional();
        }
        Self {
            options,
            attributes,
            bytes: vec![0; HEADER_BYTES],
            body: Vec::new(),
            count: 0,
            next_delta: 0,
            base_timestamp: None,
            max_timestamp: i64::from(NONE),
        }
    }

    /// Adds a record at the next offset.
    pub fn append(&mut self, record: &OutgoingRecord) {
        let timestamp = record.timestamp.as_millis();
        let base_timestamp = *self.base_timestamp.get_or_insert(timestamp);
        self.max_timestamp = if self.count == 0 { timestamp } else { self.max_timestamp.max(timestamp) };

        let body = &mut self.body;
        body.clear();
        // Attributes of a single record: none are defined.
        body.push(0);
        varint::put(body, timestamp - base_timestamp);
        varint::put(body, self.next_delta);
        put_bytes(body, record.key.as_deref());
        put_bytes(body, record.value.as_deref());
        varint::put(body, record.headers.len() as i64);
        for header in &record.headers {
            put_bytes(body, Some(&header.key));
            put_bytes(body, header.value.as_deref());
        }
        varint::put(&mut self.bytes, self.body.len() as i64);
        self.bytes.extend_from_slice(&self.body);
        self.count = self.count.saturating_add(1);
        self.next_delta += 1;
    }

    /// Leaves offsets free, as compaction does: in front, between records or at the end.
    pub fn leave_gap(&mut self, offsets: u32) {
        self.next_delta = self.next_delta.saturating_add(i64::from(offsets));
    }

    /// The batch.
    ///
    /// # Errors
    /// [`EncodeError`] if it spans no offset, or more than its format can say, or if the codec fails.
    pub fn finish(mut self) -> Result<Bytes, EncodeError> {
        if self.next_delta == 0 {
            return Err(EncodeError::Empty);
        }
        // Without a record there is nothing to compress, only a header that says so.
        let mut bytes = if self.options.compression == Compression::None || self.count == 0 {
            std::mem::take(&mut self.bytes)
        } else {
            self.packed()?
        };
        let too_large = EncodeError::TooLarge { bytes: bytes.len(), offsets: self.next_delta };
        let (Ok(length), Ok(last_offset_delta)) =
            (i32::try_from(bytes.len() - PREFIX_BYTES), i32::try_from(self.next_delta - 1))
        else {
            return Err(too_large);
        };
        self.header(last_offset_delta).write(&mut bytes, length);
        Ok(bytes.into())
    }

    fn packed(&self) -> Result<Vec<u8>, EncodeError> {
        let codec = self.options.compression;
        let mut packed = vec![0; HEADER_BYTES];
        codec
            .pack(&self.bytes[HEADER_BYTES..], &mut packed)
            .map_err(|error| EncodeError::Compression { codec, reason: error.to_string() })?;
        Ok(packed)
    }

    fn header(&self, last_offset_delta: i32) -> BatchHeader {
        let options = &self.options;
        let producer = match options.producer {
            Producer::Anonymous => {
                ProducerState { id: i64::from(NONE), epoch: i16::from(NONE), sequence: i32::from(NONE) }
            }
            Producer::Idempotent(state) | Producer::Transactional(state) => state,
        };
        BatchHeader {
            base_offset: options.base_offset.0,
            leader_epoch: options.leader_epoch.map_or(i32::from(NONE), |epoch| epoch.0),
            attributes: self.attributes,
            last_offset_delta,
            base_timestamp: self.base_timestamp.unwrap_or(i64::from(NONE)),
            max_timestamp: options.append_time.map_or(self.max_timestamp, WallTime::as_millis),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: producer.sequence,
            count: self.count,
        }
    }
}

fn put_bytes(buffer: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::put(buffer, bytes.len() as i64);
            buffer.extend_from_slice(bytes);
        }
        None => varint::put(buffer, i64::from(NONE)),
    }
}
