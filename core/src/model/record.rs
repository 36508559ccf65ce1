//! A record as Kafka keeps it: bytes with a place and a time.

use bytes::Bytes;

use super::{Offset, WallTime};

/// One header of a record. Keys may repeat, and a value may be null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The header's name.
    pub key: Bytes,
    /// The header's value; `None` is Kafka's null, which is not the same as empty.
    pub value: Option<Bytes>,
}

/// One record of one partition. All byte fields are slices of the batch they arrived in, so a clone copies no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands in the partition's log.
    pub offset: Offset,
    /// The producer's time or the broker's time of appending, whichever the topic is configured for.
    pub timestamp: WallTime,
    /// The key; `None` for a keyless record.
    pub key: Option<Bytes>,
    /// The value; `None` for a tombstone.
    pub value: Option<Bytes>,
    /// The headers in the order in which they were written.
    pub headers: Vec<Header>,
}

impl Record {
    /// The bytes of key, value and headers: what the record weighs against windows and limits.
    #[must_use]
    pub fn weight(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|h| h.key.len() + h.value.as_ref().map_or(0, Bytes::len)).sum();
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len) + headers
    }
}
