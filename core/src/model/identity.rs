//! What makes two events the same event.
//!
//! An event is told by its source and id. One that came without an id is told by where it stands: topic, partition,
//! offset, and the record's timestamp, since offsets recur when a topic is deleted and created again. A hash of the
//! contents would take two equal events for one.

use sha2::{Digest, Sha256};

use super::{Offset, PartitionId, TopicName, WallTime};
use crate::ports::ClaimKey;

/// The id of an event that came without one: `topic/partition/offset/milliseconds`. No topic name has a slash, so two
/// places never share an id. It is part of claim keys: it must never change.
pub(in crate::model) fn positional_id(
    origin: &TopicName,
    partition: PartitionId,
    offset: Offset,
    timestamp: WallTime,
) -> String {
    format!("{origin}/{partition}/{offset}/{}", timestamp.as_millis())
}

impl ClaimKey {
    /// The identity of one event for one handler. Each part is hashed behind its length in bytes (eight bytes, big
    /// endian), so that no two different lists of parts run together.
    ///
    /// `topic` is the base topic, never a dead-letter one: an event keeps its claim on its way through dead letters.
    ///
    /// ```
    /// use evenkeel_core::ports::ClaimKey;
    ///
    /// let once = ClaimKey::of("billing", "charge-card", "shop.orders.v1", "checkout", "order-17");
    /// let other = ClaimKey::of("billing", "charge-car", "dshop.orders.v1", "checkout", "order-17");
    /// assert_ne!(once, other);
    /// ```
    #[must_use]
    pub fn of(group: &str, handler: &str, topic: &str, source: &str, id: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [group, handler, topic, source, id] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use proptest::prelude::*;

    fn hex(key: ClaimKey) -> String {
        key.0.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
            text
        })
    }

    /// Computed with another implementation (Python's hashlib). A change here forgets every claim ever stored.
    #[test]
    fn claim_keys_never_change() {
        let vectors = [
            (["", "", "", "", ""], "2c34ce1df23b838c5abf2a7f6437cca3d3067ed509ff25f11df6b11b582b51eb"),
            (
                ["billing", "charge-card", "shop.orders.v1", "checkout", "order-17"],
                "ae9c4d23258d4a06a0fad39861b8f0e5284fb7966a19b67bd713dfb11540d67c",
            ),
            (
                ["g", "h", "t", "s\0", "zahlung-ü "],
                "4926b555a4c8b6ce7fc1f9abfb8d3fb3a643e216e03ac4ee84c9a0b167e89cf8",
            ),
        ];
        for ([group, handler, topic, source, id], expected) in vectors {
            assert_eq!(hex(ClaimKey::of(group, handler, topic, source, id)), expected, "{id}");
        }
    }

    #[test]
    fn a_position_is_an_id() {
        let topic = TopicName::new("shop.orders.v1").unwrap();
        let id = positional_id(&topic, PartitionId(3), Offset(17), WallTime::from_millis(1_700_000_000_123));
        assert_eq!(id, "shop.orders.v1/3/17/1700000000123");
    }

    proptest! {
        #[test]
        fn moving_text_between_parts_changes_the_key(parts: [String; 5], at in 0usize..4, moved: char) {
            let mut left = parts.clone();
            left[at].push(moved);
            let mut right = parts;
            right[at + 1].insert(0, moved);
            let key = |p: &[String; 5]| ClaimKey::of(&p[0], &p[1], &p[2], &p[3], &p[4]);
            prop_assert_ne!(key(&left), key(&right));
        }
    }
}
