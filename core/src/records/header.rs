//! The fixed 61 bytes in front of the records of a batch.
//!
//! | at | bytes | field | | at | bytes | field |
//! |---:|---:|---|---|---:|---:|---|
//! | 0 | 8 | base offset | | 27 | 8 | base timestamp |
//! | 8 | 4 | bytes after this field | | 35 | 8 | greatest timestamp |
//! | 12 | 4 | partition leader epoch | | 43 | 8 | producer id |
//! | 16 | 1 | magic | | 51 | 2 | producer epoch |
//! | 17 | 4 | CRC-32C of all that follows | | 53 | 4 | sequence of the first record |
//! | 21 | 2 | attributes | | 57 | 4 | number of records |
//! | 23 | 4 | last offset - base offset | | 61 | | the records, perhaps compressed |
//!
//! The first 21 bytes are outside the checksum, because a broker sets offset and epoch without reading the rest.

use bytes::{Buf, BufMut};

use super::attributes::Attributes;
use crate::model::LeaderEpoch;

/// The size of the header.
pub(super) const HEADER_BYTES: usize = 61;
/// The bytes up to and with the length; the length counts what follows them.
pub(super) const PREFIX_BYTES: usize = 12;
/// Where the magic byte is, in this format and in the older ones.
pub(super) const MAGIC_AT: usize = 16;
/// The format that this module reads and writes.
pub(super) const MAGIC: u8 = 2;
/// Where the checksum is.
const CHECKSUM_AT: usize = 17;
/// Where the bytes begin that the checksum covers.
pub(super) const CHECKED_FROM: usize = 21;
/// In place of a producer id, epoch or sequence: there is none.
pub(super) const NONE: i8 = -1;

/// The header's fields, except for length, magic and checksum, which are settled before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) base_offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) attributes: Attributes,
    pub(super) last_offset_delta: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) count: i32,
}

impl BatchHeader {
    pub(super) fn read(bytes: &[u8; HEADER_BYTES]) -> Self {
        let (mut place, mut rest) = (&bytes[..MAGIC_AT], &bytes[CHECKED_FROM..]);
        let base_offset = place.get_i64();
        place.advance(PREFIX_BYTES - size_of::<i64>());
        Self {
            base_offset,
            leader_epoch: place.get_i32(),
            attributes: Attributes(rest.get_i16()),
            last_offset_delta: rest.get_i32(),
            base_timestamp: rest.get_i64(),
            max_timestamp: rest.get_i64(),
            producer_id: rest.get_i64(),
            producer_epoch: rest.get_i16(),
            base_sequence: rest.get_i32(),
            count: rest.get_i32(),
        }
    }

    /// The epoch of the leader that appended the batch, if it is known.
    pub(super) fn leader_epoch(&self) -> Option<LeaderEpoch> {
        (self.leader_epoch >= 0).then_some(LeaderEpoch(self.leader_epoch))
    }

    /// Writes what lies outside the checksum, the length excepted: base offset and leader epoch.
    pub(super) fn write_place(&self, batch: &mut [u8]) {
        (&mut batch[..]).put_i64(self.base_offset);
        (&mut batch[PREFIX_BYTES..]).put_i32(self.leader_epoch);
    }

    /// Writes the header over the first bytes of a batch whose records are in place, length and checksum with it.
    pub(super) fn write(&self, batch: &mut [u8], length: i32) {
        let (mut prefix, checked) = batch.split_at_mut(CHECKED_FROM);
        let mut fields = &mut checked[..];
        fields.put_i16(self.attributes.0);
        fields.put_i32(self.last_offset_delta);
        fields.put_i64(self.base_timestamp);
        fields.put_i64(self.max_timestamp);
        fields.put_i64(self.producer_id);
        fields.put_i16(self.producer_epoch);
        fields.put_i32(self.base_sequence);
        fields.put_i32(self.count);
        prefix.put_i64(self.base_offset);
        prefix.put_i32(length);
        prefix.put_i32(self.leader_epoch);
        prefix.put_u8(MAGIC);
        prefix.put_u32(crc32c::crc32c(checked));
    }
}

/// The checksum that the header states, and the one that the bytes give. `batch` is one whole batch.
pub(super) fn checksums(batch: &[u8]) -> (u32, u32) {
    let stated = (&batch[CHECKSUM_AT..CHECKED_FROM]).get_u32();
    (stated, crc32c::crc32c(&batch[CHECKED_FROM..]))
}
