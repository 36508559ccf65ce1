//! The attribute bits of a batch, by name.

use super::Compression;

/// What a batch says of all its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Attributes(pub(super) i16);

impl Attributes {
    const CODEC: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;

    pub(super) fn new(codec: Compression) -> Self {
        Self(codec.code())
    }

    pub(super) fn without_codec(self) -> Self {
        Self(self.0 & !Self::CODEC)
    }

    pub(super) fn with_log_append_time(self) -> Self {
        Self(self.0 | Self::LOG_APPEND_TIME)
    }

    pub(super) fn with_transactional(self) -> Self {
        Self(self.0 | Self::TRANSACTIONAL)
    }

    pub(super) fn with_control(self) -> Self {
        Self(self.0 | Self::CONTROL)
    }

    /// The codec's number, if it is not one of Kafka's five.
    pub(super) fn codec(self) -> Result<Compression, u8> {
        Compression::from_code((self.0 & Self::CODEC) as u8)
    }

    /// Whether every record has the time at which the broker appended the batch.
    pub(super) fn log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    pub(super) fn transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a marker of the cluster's own instead of records.
    pub(super) fn control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }
}
