//! Record batches: Kafka's on-disk and on-wire format, version 2.

mod size;

use bytes::Bytes;

use crate::model::Offset;

pub use size::{BatchSize, RecordSize};

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
