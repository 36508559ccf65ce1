//! A whole batch as a broker keeps it: checked, given its place in a log, and otherwise left as its producer wrote it.
//!
//! A broker must not unpack and write again what it only passes on. Three things of a batch are the broker's: the base
//! offset and the leader epoch, which lie outside the checksum, and on topics with append time the timestamp, for which
//! the checksum is computed again. [`StoredBatch::placed`] sets them; everything else is read from the header.

use std::sync::Arc;

use bytes::Bytes;

use super::encode::{Producer, ProducerState};
use super::header::{BatchHeader, HEADER_BYTES, PREFIX_BYTES};
use super::reader::{Ended, MAX_UNPACKED, size_of_first, unpack, whole_batch};
use super::{Compression, DecodeError, DecodedBatch};
use crate::model::{LeaderEpoch, Offset, WallTime};

/// One whole batch whose checksum has been found right.
#[derive(Debug, Clone)]
pub struct StoredBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl StoredBatch {
    /// Cuts the first batch off `bytes`.
    ///
    /// # Errors
    /// [`Ended::Complete`] if there are no bytes, [`Ended::TooShort`] if the batch is cut off, [`Ended::Failed`] if it
    /// is damaged or in a format older than version 2. `bytes` is then as it was.
    pub fn split_first(bytes: &mut Bytes) -> Result<Self, Ended> {
        let size = size_of_first(bytes)?;
        let batch = bytes.slice(..size);
        let header = whole_batch(&batch).map_err(Ended::Failed)?.header;
        let _its_bytes = bytes.split_to(size);
        Ok(Self { header, bytes: batch })
    }

    /// A copy of the batch at its place in a log. With an `append_time` every record has that time from now on.
    ///
    /// The copy has memory of its own, so that a log does not keep whole requests alive.
    #[must_use]
    pub fn placed(&self, base_offset: Offset, epoch: LeaderEpoch, append_time: Option<WallTime>) -> Self {
        let mut header = self.header;
        header.base_offset = base_offset.0;
        header.leader_epoch = epoch.0;
        let mut bytes = self.bytes.to_vec();
        match append_time {
            Some(time) => {
                header.attributes = header.attributes.with_log_append_time();
                header.max_timestamp = time.as_millis();
                // The length was an i32 when the batch was found whole, and is the same.
                header.write(&mut bytes, (self.bytes.len() - PREFIX_BYTES) as i32);
            }
            None => header.write_place(&mut bytes),
        }
        Self { header, bytes: bytes.into() }
    }

    /// A copy without its records: offsets, times and numbers stay. So compaction leaves the last batch of a producer.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let attributes = self.header.attributes.without_codec();
        let base_timestamp = self.header.max_timestamp;
        let header = BatchHeader { attributes, base_timestamp, count: 0, ..self.header };
        let mut bytes = vec![0; HEADER_BYTES];
        header.write(&mut bytes, (HEADER_BYTES - PREFIX_BYTES) as i32);
        Self { header, bytes: bytes.into() }
    }

    /// The offset of its first record, or of the place where that was before compaction.
    #[must_use]
    pub const fn base_offset(&self) -> Offset {
        Offset(self.header.base_offset)
    }

    /// The offset of its last record, or of the place where that was before compaction.
    #[must_use]
    pub const fn last_offset(&self) -> Offset {
        Offset(self.header.base_offset + self.header.last_offset_delta as i64)
    }

    /// How many offsets it spans.
    #[must_use]
    pub const fn span(&self) -> i64 {
        self.header.last_offset_delta as i64 + 1
    }

    /// How many records it says it has.
    #[must_use]
    pub const fn count(&self) -> i32 {
        self.header.count
    }

    /// The epoch of the leader that appended it, if it is known.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.header.leader_epoch()
    }

    /// The timestamp of its first record.
    #[must_use]
    pub const fn base_timestamp(&self) -> WallTime {
        WallTime::from_millis(self.header.base_timestamp)
    }

    /// The greatest timestamp of its records.
    #[must_use]
    pub const fn max_timestamp(&self) -> WallTime {
        WallTime::from_millis(self.header.max_timestamp)
    }

    /// Whether all its records have the time at which they were appended.
    #[must_use]
    pub fn has_append_time(&self) -> bool {
        self.header.attributes.log_append_time()
    }

    /// Whether it is a marker of the cluster's own.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.header.attributes.control()
    }

    /// How it is compressed; `None` if the codec is not one of Kafka's.
    #[must_use]
    pub fn compression(&self) -> Option<Compression> {
        self.header.attributes.codec().ok()
    }

    /// Who wrote it.
    #[must_use]
    pub fn producer(&self) -> Producer {
        let header = &self.header;
        let state = ProducerState {
            id: header.producer_id,
            epoch: header.producer_epoch,
            sequence: header.base_sequence,
        };
        match state.id {
            ..0 => Producer::Anonymous,
            _ if header.attributes.transactional() => Producer::Transactional(state),
            _ => Producer::Idempotent(state),
        }
    }

    /// Its bytes, header included.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Unpacks and checks all its records. A control batch has none for readers.
    ///
    /// # Errors
    /// [`DecodeError`] if a record is damaged, or if they cannot be unpacked.
    pub fn decode(&self) -> Result<Option<Arc<DecodedBatch>>, DecodeError> {
        if self.is_control() {
            return Ok(None);
        }
        // The checksum was found right when the batch came in, and nobody can have changed the bytes since.
        let records = self.bytes.slice(HEADER_BYTES..);
        let batch = unpack(&self.header, records, MAX_UNPACKED, self.header.base_offset)?;
        Ok(Some(batch).filter(|batch| !batch.is_empty()).map(Arc::new))
    }
}
