//! Walks through the batches of a fetch: finds their bounds, leaves out what is not for the reader, hands out the rest.
//!
//! Left out are records below the wanted offset (a broker answers with whole batches), control batches, records of
//! aborted transactions, and a batch that is cut off at the end. All of them but the last move the position on, so the
//! position is where the next fetch begins, even if there was not one record.
//!
//! An aborted transaction is known by its producer and its first offset, which the broker tells with the fetch; it
//! ends at the producer's abort marker, behind which the same producer's records count again. A broker tells of
//! aborted transactions only to those who read committed records, so the reader needs no switch for it.
//!
//! Offsets handed out grow from record to record, whatever the bytes are.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::compression::UnpackError;
use super::error::{Damage, DecodeError};
use super::header::{BatchHeader, HEADER_BYTES, MAGIC, MAGIC_AT, PREFIX_BYTES, checksums};
use super::{AbortedTransaction, Batches, Compression, DecodedBatch};
use crate::model::{LeaderEpoch, Offset};

/// The most bytes that the records of one batch may have when they are unpacked.
pub const MAX_UNPACKED: usize = 128 * 1024 * 1024;

/// Reads batch after batch, so that no more is unpacked at a time than the caller has room for.
#[derive(Debug)]
pub struct BatchReader {
    rest: Bytes,
    position: Offset,
    leader_epoch: Option<LeaderEpoch>,
    max_unpacked: usize,
    saw_whole_batch: bool,
    ended: Option<Ended>,
    transactions: AbortedTransactions,
}

/// Why there are no more batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// All whole batches are read. The next fetch goes on at the position.
    Complete,
    /// Not even the first batch came whole: fetch again with room for this many bytes.
    TooShort {
        /// The size of the batch, or of a header if not even that came.
        needs: usize,
    },
    /// The batch at the position cannot be read.
    Failed(DecodeError),
}

/// One whole batch: its checked header, and its records as they came.
pub(super) struct WholeBatch {
    pub(super) header: BatchHeader,
    records: Bytes,
}

impl WholeBatch {
    fn last_offset(&self) -> Offset {
        Offset(self.header.base_offset + i64::from(self.header.last_offset_delta))
    }
}

impl BatchReader {
    /// Reads `batches` from the offset that was asked for.
    #[must_use]
    pub fn new(batches: Batches, from: Offset) -> Self {
        Self::with_limit(batches, from, MAX_UNPACKED)
    }

    /// Reads `batches` with a limit of one's own on the unpacked bytes of one batch.
    #[must_use]
    pub fn with_limit(batches: Batches, from: Offset, max_unpacked: usize) -> Self {
        Self {
            rest: batches.bytes,
            position: from,
            leader_epoch: None,
            // Positions within a batch have 32 bits.
            max_unpacked: max_unpacked.min(i32::MAX as usize),
            saw_whole_batch: false,
            ended: None,
            transactions: AbortedTransactions::new(batches.aborted),
        }
    }

    /// The offset to fetch next: behind the last batch that was read.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.position
    }

    /// The leader epoch of the last batch that was read, if it has one.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.leader_epoch
    }

    /// The next batch that has records for the reader.
    ///
    /// # Errors
    /// [`Ended`], and then the same again at every call.
    pub fn next_batch(&mut self) -> Result<Arc<DecodedBatch>, Ended> {
        loop {
            match self.step() {
                Ok(Some(batch)) => return Ok(batch),
                Ok(None) => {}
                Err(ended) => {
                    self.ended = Some(ended.clone());
                    return Err(ended);
                }
            }
        }
    }

    /// Reads one batch, and moves behind it only if it can be read.
    fn step(&mut self) -> Result<Option<Arc<DecodedBatch>>, Ended> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let size = self.size_of_next()?;
        let whole = whole_batch(&self.rest.slice(..size)).map_err(Ended::Failed)?;
        let records = self.decode(&whole).map_err(Ended::Failed)?;
        self.rest.advance(size);
        self.saw_whole_batch = true;
        self.position = self.position.max(whole.last_offset().next());
        self.leader_epoch = whole.header.leader_epoch();
        Ok(records.filter(|batch| !batch.is_empty()).map(Arc::new))
    }

    /// The size of the next batch, if it is there as a whole and in a format that can be read.
    fn size_of_next(&self) -> Result<usize, Ended> {
        size_of_first(&self.rest).map_err(|ended| match ended {
            Ended::TooShort { .. } if self.saw_whole_batch => Ended::Complete,
            other => other,
        })
    }

    /// Decodes what is in a batch for the reader; `None` if it is not for readers at all.
    fn decode(&mut self, whole: &WholeBatch) -> Result<Option<DecodedBatch>, DecodeError> {
        let header = &whole.header;
        let offset = Offset(header.base_offset);
        self.transactions.reach(whole.last_offset());
        if header.attributes.control() {
            let marker = self.unpack(whole, i64::MIN)?;
            let aborts = match marker.first_key() {
                _ if marker.is_empty() => false,
                Some([_, _, 0, 0, ..]) => true,
                Some([_, _, _, _, ..]) => false,
                _ => return Err(DecodeError::CorruptBatch { offset, damage: Damage::Marker }),
            };
            if aborts {
                self.transactions.end(header.producer_id);
            }
            return Ok(None);
        }
        if header.attributes.transactional() && self.transactions.is_aborted(header.producer_id) {
            return Ok(None);
        }
        if whole.last_offset() < self.position {
            return Ok(None);
        }
        self.unpack(whole, self.position.0).map(Some)
    }

    fn unpack(&self, whole: &WholeBatch, from: i64) -> Result<DecodedBatch, DecodeError> {
        unpack(&whole.header, whole.records.clone(), self.max_unpacked, from)
    }
}

/// Unpacks the records of a batch whose checksum is right, and checks each of them.
pub(super) fn unpack(
    header: &BatchHeader,
    records: Bytes,
    limit: usize,
    from: i64,
) -> Result<DecodedBatch, DecodeError> {
    let offset = Offset(header.base_offset);
    let codec = match header.attributes.codec() {
        // Compaction leaves headers behind which there is nothing, not even the frame of a codec.
        _ if records.is_empty() => Compression::None,
        Ok(codec) => codec,
        Err(codec) => return Err(DecodeError::UnknownCompression { offset, codec }),
    };
    let bytes = codec.unpack(records, limit).map_err(|error| match error {
        UnpackError::TooLarge => DecodeError::TooLarge { offset, limit },
        UnpackError::Malformed(reason) => {
            DecodeError::CorruptBatch { offset, damage: Damage::Compressed { codec, reason } }
        }
    })?;
    DecodedBatch::check(header, bytes, from).map_err(|damage| DecodeError::CorruptBatch { offset, damage })
}

/// The size of the first batch, if it is there as a whole and in a format that can be read.
pub(super) fn size_of_first(bytes: &Bytes) -> Result<usize, Ended> {
    if bytes.is_empty() {
        return Err(Ended::Complete);
    }
    let Some(prefix) = bytes.first_chunk::<{ MAGIC_AT + 1 }>() else {
        return Err(Ended::TooShort { needs: HEADER_BYTES });
    };
    let [o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3, .., magic] = *prefix;
    let offset = Offset(i64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]));
    let length = i32::from_be_bytes([l0, l1, l2, l3]);
    match magic {
        0 | 1 => return Err(Ended::Failed(DecodeError::OldFormat { offset, magic })),
        MAGIC => {}
        _ => return Err(Ended::Failed(DecodeError::UnknownFormat { offset, magic })),
    }
    let size = usize::try_from(length).map_or(0, |length| PREFIX_BYTES + length);
    if size < HEADER_BYTES {
        let damage = Damage::Length(length);
        return Err(Ended::Failed(DecodeError::CorruptBatch { offset, damage }));
    }
    if size > bytes.len() { Err(Ended::TooShort { needs: size }) } else { Ok(size) }
}

/// Checks what can be checked of a batch without unpacking it.
pub(super) fn whole_batch(batch: &Bytes) -> Result<WholeBatch, DecodeError> {
    let header = batch.first_chunk().map(BatchHeader::read).expect("the size was found to include a header");
    let corrupt = |damage| DecodeError::CorruptBatch { offset: Offset(header.base_offset), damage };
    let (stated, computed) = checksums(batch);
    if stated != computed {
        return Err(corrupt(Damage::Checksum { stated, computed }));
    }
    let (base, last_delta) = (header.base_offset, header.last_offset_delta);
    // The offset behind the batch must exist too: it is where to go on.
    let end = base.checked_add(i64::from(last_delta)).and_then(|last| last.checked_add(1));
    if base < 0 || last_delta < 0 || end.is_none() {
        return Err(corrupt(Damage::Offsets { base, last_delta }));
    }
    Ok(WholeBatch { header, records: batch.slice(HEADER_BYTES..) })
}

/// Which producers are, at the reader's place, within a transaction that they will abort.
#[derive(Debug)]
struct AbortedTransactions {
    ahead: VecDeque<AbortedTransaction>,
    open: BTreeSet<i64>,
}

impl AbortedTransactions {
    fn new(mut all: Vec<AbortedTransaction>) -> Self {
        all.sort_by_key(|transaction| transaction.first_offset);
        Self { ahead: all.into(), open: BTreeSet::new() }
    }

    /// Opens the transactions that begin up to `offset`.
    fn reach(&mut self, offset: Offset) {
        while let Some(next) = self.ahead.front().filter(|next| next.first_offset <= offset) {
            self.open.insert(next.producer_id);
            self.ahead.pop_front();
        }
    }

    fn is_aborted(&self, producer_id: i64) -> bool {
        self.open.contains(&producer_id)
    }

    fn end(&mut self, producer_id: i64) {
        self.open.remove(&producer_id);
    }
}
