//! What can be wrong with a batch, where, and what to do about it.

use std::fmt;

use super::Compression;
use crate::model::Offset;

/// A batch that cannot be read. What came before it can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The batch is in a format from before Kafka 0.11.
    #[error(
        "the records at offset {offset} are in message format {magic}, from before Kafka 0.11, which is not read: \
         copy them to a new topic with a current producer, or move the group past them"
    )]
    OldFormat {
        /// The offset in its header.
        offset: Offset,
        /// Its format, 0 or 1.
        magic: u8,
    },
    /// The batch is in a format that is newer than this library, or the bytes are no batch.
    #[error(
        "the batch at offset {offset} is in message format {magic}, which is not known: upgrade this library"
    )]
    UnknownFormat {
        /// The offset in its header.
        offset: Offset,
        /// The format it claims.
        magic: u8,
    },
    /// The batch is compressed by a codec that is newer than this library.
    #[error(
        "the batch at offset {offset} is compressed by codec {codec}, which is not known: upgrade this library"
    )]
    UnknownCompression {
        /// The batch's base offset.
        offset: Offset,
        /// The codec's number.
        codec: u8,
    },
    /// The batch would take more memory than it may.
    #[error("the batch at offset {offset} unpacks to more than {limit} bytes: produce smaller batches")]
    TooLarge {
        /// The batch's base offset.
        offset: Offset,
        /// The limit that it exceeds.
        limit: usize,
    },
    /// The batch is not what was written.
    #[error(
        "the batch at offset {offset} is corrupt: {damage}; fetch it again, from another replica if it stays so"
    )]
    CorruptBatch {
        /// The batch's base offset, as far as a corrupt batch can be believed.
        offset: Offset,
        /// What does not hold.
        damage: Damage,
    },
}

impl DecodeError {
    /// The base offset of the batch that cannot be read.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        match self {
            Self::OldFormat { offset, .. }
            | Self::UnknownFormat { offset, .. }
            | Self::UnknownCompression { offset, .. }
            | Self::TooLarge { offset, .. }
            | Self::CorruptBatch { offset, .. } => *offset,
        }
    }
}

/// What does not hold in a corrupt batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The bytes are not those that the checksum was taken of.
    #[error("its checksum is {stated:#010x}, its bytes give {computed:#010x}")]
    Checksum {
        /// The checksum in the header.
        stated: u32,
        /// The checksum of the bytes that came.
        computed: u32,
    },
    /// The length leaves no room for a header.
    #[error("its length is {0}")]
    Length(i32),
    /// The offsets are negative or pass the greatest offset.
    #[error("its offsets go from {base} to {base} + {last_delta}")]
    Offsets {
        /// The first offset.
        base: i64,
        /// What the last one adds to it.
        last_delta: i32,
    },
    /// The number of records is negative, or greater than the bytes can hold.
    #[error("it claims {count} records in {bytes} bytes")]
    Count {
        /// The number in the header.
        count: i32,
        /// The bytes of all records, unpacked.
        bytes: usize,
    },
    /// The records do not unpack.
    #[error("{codec} does not unpack it: {reason}")]
    Compressed {
        /// The codec.
        codec: Compression,
        /// The codec's own words.
        reason: String,
    },
    /// A record contradicts itself or its batch.
    #[error("record {index} has an impossible {field}")]
    Record {
        /// The record's place in the batch, from 0.
        index: i32,
        /// The first part of it that does not hold.
        field: RecordField,
    },
    /// Bytes are left over after the last record.
    #[error("{0} bytes follow its last record")]
    Leftover(usize),
    /// The key of a transaction marker is too short to say which way the transaction ended.
    #[error("its transaction marker does not say which")]
    Marker,
}

/// A part of an encoded record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordField {
    /// The record's own length.
    Length,
    /// The byte of attributes.
    Attributes,
    /// The timestamp, relative to the batch's.
    Timestamp,
    /// The offset, relative to the batch's: it must grow and stay within the batch's last.
    OffsetDelta,
    /// The key.
    Key,
    /// The value.
    Value,
    /// The number of headers.
    HeaderCount,
    /// A header's name.
    HeaderKey,
    /// A header's value.
    HeaderValue,
    /// The end: bytes of the record are left over.
    End,
}

impl fmt::Display for RecordField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "length",
            Self::Attributes => "attribute byte",
            Self::Timestamp => "timestamp",
            Self::OffsetDelta => "offset",
            Self::Key => "key",
            Self::Value => "value",
            Self::HeaderCount => "number of headers",
            Self::HeaderKey => "header name",
            Self::HeaderValue => "header value",
            Self::End => "end",
        })
    }
}

/// Records that make no batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A batch spans at least one offset.
    #[error("a batch needs a record or a gap; there was neither")]
    Empty,
    /// The batch has more bytes or offsets than its format can count.
    #[error(
        "a batch of {bytes} bytes over {offsets} offsets: the format ends at 2147483647 of each; send fewer"
    )]
    TooLarge {
        /// The bytes it would have.
        bytes: usize,
        /// The offsets it would span.
        offsets: i64,
    },
    /// The codec failed.
    #[error("{codec} does not pack the batch: {reason}")]
    Compression {
        /// The codec.
        codec: Compression,
        /// The codec's own words.
        reason: String,
    },
}
