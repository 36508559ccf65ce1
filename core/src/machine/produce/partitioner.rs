//! Which partition a key belongs to: the same as for every client that partitions as the Java client does.
//!
//! Order by key, and services in several languages on one topic, rest on this agreement. The hash is Austin Appleby's
//! 32-bit MurmurHash2 with the seed that Kafka chose; its sign bit is dropped before the remainder is taken.

/// Kafka's seed.
const SEED: u32 = 0x9747_b28c;
/// The mixing constants of MurmurHash2.
const MIX: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// The index of the partition, of `partitions`, that `key` belongs to; zero if there are none.
pub(super) fn partition_of(key: &[u8], partitions: usize) -> usize {
    let positive = murmur2(key) & 0x7fff_ffff;
    (positive as usize).checked_rem(partitions).unwrap_or(0)
}

fn murmur2(data: &[u8]) -> u32 {
    // The length enters modulo 2³², as the hash was published for lengths of 32 bits.
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MIX);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MIX) ^ mixed.wrapping_mul(MIX);
    }
    if !tail.is_empty() {
        let rest = tail.iter().rev().fold(0u32, |rest, byte| rest << 8 | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn agrees_with_the_vectors_of_the_java_client() {
        // `UtilsTest.testMurmur2` of Apache Kafka.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn a_negative_hash_loses_its_sign_bit() {
        // -973932308 without its sign bit is 1173551340.
        assert_eq!(partition_of(b"21", 1_000_000_000), 173_551_340);
        assert_eq!(partition_of(b"21", 8), 4);
        assert_eq!(partition_of(b"abc", 8), 3);
    }

    #[test]
    fn no_partitions_is_not_a_crash() {
        assert_eq!(partition_of(b"21", 0), 0);
    }

    proptest! {
        #[test]
        fn stays_below_the_count(key: Vec<u8>, partitions in 1usize..5_000) {
            prop_assert!(partition_of(&key, partitions) < partitions);
        }
    }
}
