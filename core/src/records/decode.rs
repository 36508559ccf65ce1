//! Decodes all batches of a fetch at once, for callers that have room for them.

use std::sync::Arc;

use super::reader::{BatchReader, Ended, MAX_UNPACKED};
use super::{Batches, DecodedBatch, RecordRef};
use crate::model::{LeaderEpoch, Offset};

/// What was in the batches of a fetch.
#[derive(Debug)]
pub struct Decoded {
    /// The batches that have records for the reader, in order.
    pub batches: Vec<Arc<DecodedBatch>>,
    /// The offset to fetch next. If reading failed, it is not behind the batch that cannot be read.
    pub next_offset: Offset,
    /// The leader epoch of the last batch that was read, if it has one.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Why it ended there.
    pub ended: Ended,
}

impl Decoded {
    /// All records in order.
    pub fn records(&self) -> impl Iterator<Item = RecordRef> {
        self.batches.iter().flat_map(DecodedBatch::records)
    }
}

/// Decodes `batches` from the offset that was asked for.
///
/// What can be read is returned even if something behind it cannot. Once more than [`MAX_UNPACKED`] bytes are held,
/// the rest is left for another fetch.
#[must_use]
pub fn decode(batches: Batches, from: Offset) -> Decoded {
    decode_within(batches, from, MAX_UNPACKED)
}

/// Like [`decode`], with a limit of one's own on what is held: no further batch is unpacked beyond it. So that reading
/// goes on, the first batch is taken even if it is larger, up to [`MAX_UNPACKED`].
#[must_use]
pub fn decode_within(batches: Batches, from: Offset, limit: usize) -> Decoded {
    let mut reader = BatchReader::new(batches, from);
    let mut batches = Vec::new();
    let mut held = 0_usize;
    let ended = loop {
        match reader.next_batch() {
            Ok(batch) => {
                held += batch.memory();
                batches.push(batch);
            }
            Err(ended) => break ended,
        }
        if held > limit {
            break Ended::Complete;
        }
    };
    Decoded { batches, next_offset: reader.position(), leader_epoch: reader.leader_epoch(), ended }
}
