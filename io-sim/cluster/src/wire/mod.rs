//! Kafka's frames.

/// The largest request that is read: `socket.request.max.bytes`.
pub const MAX_FRAME: usize = 100 * 1024 * 1024;
