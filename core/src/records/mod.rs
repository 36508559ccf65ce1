//! Record batches: Kafka's on-disk and on-wire format, version 2.
//!
//! Written here, and not taken from a client library, because a consumer that keeps its promises needs what those
//! leave out: the next offset after empty and control batches, aborted transactions, null and repeated headers, both
//! kinds of timestamp, the leader epoch.
//!
//! - [`decode`] and [`BatchReader`] turn what a fetch returned into [`RecordRef`]s. Bytes from the network are
//!   believed in nothing: every length, count and checksum is tested once, here, so that reading a record afterwards
//!   cannot fail. A damaged batch costs nothing of the batches before it.
//! - [`encode`], [`BatchWriter`] and [`encode_marker`] write batches.
//! - [`StoredBatch`] is the broker's view: a whole batch that gets its place in a log and is otherwise left alone.
//!
//! Nothing is copied on the way in except to decompress: a record is a place in its batch.

mod attributes;
mod batch;
mod compression;
mod decode;
mod encode;
mod error;
mod header;
mod reader;
mod size;
mod stored;
mod varint;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::model::Offset;

pub use batch::{DecodedBatch, HeaderRef, Headers, RecordRef};
pub use compression::Compression;
pub use decode::{Decoded, decode, decode_within};
pub use encode::{BatchOptions, BatchWriter, Marker, Producer, ProducerState, encode, encode_marker};
pub use error::{Damage, DecodeError, EncodeError, RecordField};
pub use reader::{BatchReader, Ended, MAX_UNPACKED};
pub use size::{BatchSize, RecordSize};
pub use stored::StoredBatch;

/// Encoded record batches as a fetch returned them, with the aborted transactions that touch them.
#[derive(Debug, Clone, Default)]
pub struct Batches {
    /// The bytes of consecutive batches; the last may be cut off.
    pub bytes: Bytes,
    /// The aborted transactions in the range: producer id and first offset.
    pub aborted: Vec<AbortedTransaction>,
}

/// An aborted transaction in a fetch's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer that aborted.
    pub producer_id: i64,
    /// The first offset of the transaction in this partition.
    pub first_offset: Offset,
}
