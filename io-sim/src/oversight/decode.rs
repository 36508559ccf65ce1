//! Reads what members write to the cluster, with code of its own: a judge that read with the library's eyes would not
//! see what the library writes wrongly.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use evenkeel_core::model::{Offset, PartitionId};

/// The bytes before the runs: a version, a fingerprint of eight, a topic's id of sixteen.
const FIXED: usize = 25;
const CHECKSUM: usize = 4;

/// What a commit's metadata says is settled beyond the offset. Nothing, if it is not written for that offset or not
/// understood.
#[must_use]
pub fn settled(metadata: &str, committed: Offset) -> Arc<[Range<Offset>]> {
    runs(metadata, committed).unwrap_or_default().into()
}

/// Whether a commit's metadata is understood and written for that offset.
#[must_use]
pub fn is_readable(metadata: &str, committed: Offset) -> bool {
    runs(metadata, committed).is_some()
}

fn runs(metadata: &str, committed: Offset) -> Option<Vec<Range<Offset>>> {
    let bytes = STANDARD_NO_PAD.decode(metadata).ok()?;
    let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
    if *content.first()? != 0xE2 || castagnoli(content).to_le_bytes() != *checksum {
        return None;
    }
    let mut rest = content.get(FIXED..)?;
    let zigzag = varint(&mut rest)?;
    let base = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
    if base != committed.0 {
        return None;
    }
    for _ in 0..varint(&mut rest)? {
        // An epoch, and how far below the offset its records begin.
        varint(&mut rest)?;
        varint(&mut rest)?;
    }
    let mut end = base;
    let mut runs = Vec::new();
    while !rest.is_empty() {
        let start = end.checked_add_unsigned(varint(&mut rest)?)?;
        end = start.checked_add_unsigned(varint(&mut rest)?)?;
        runs.push(Offset(start)..Offset(end));
    }
    Some(runs)
}

/// CRC-32C, bit by bit.
fn castagnoli(bytes: &[u8]) -> u32 {
    let shift = |sum: u32| if sum & 1 == 1 { sum >> 1 ^ 0x82F6_3B78 } else { sum >> 1 };
    let byte = |sum: u32, byte: &u8| (0..8).fold(sum ^ u32::from(*byte), |sum, _| shift(sum));
    !bytes.iter().fold(!0, byte)
}

/// bincode's variable integers: small ones in one byte, others behind a tag that says how long they are.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let (first, after) = rest.split_first()?;
    let width = match first {
        251 => 2,
        252 => 4,
        253 => 8,
        254.. => return None,
        small => {
            *rest = after;
            return Some(u64::from(*small));
        }
    };
    let (bytes, after) = after.split_at_checked(width)?;
    *rest = after;
    let mut word = [0; 8];
    word[..width].copy_from_slice(bytes);
    Some(u64::from_le_bytes(word))
}

/// A member's share, as the leader encoded it (`ConsumerProtocolAssignment`): topics with their partitions.
#[must_use]
pub fn assignment(bytes: &[u8]) -> Option<Vec<(String, Vec<PartitionId>)>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut rest = bytes.get(2..)?;
    let topics = int(&mut rest)?;
    let mut shares = Vec::new();
    for _ in 0..topics {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (name, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        let partitions = int(&mut rest)?;
        let numbers = (0..partitions).map(|_| int(&mut rest).map(PartitionId)).collect::<Option<_>>()?;
        shares.push((String::from_utf8(name.to_vec()).ok()?, numbers));
    }
    Some(shares)
}

fn int(rest: &mut &[u8]) -> Option<i32> {
    let (word, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(i32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use evenkeel_core::machine::commit::{
        self, CommitTracker, EpochStart, Fingerprint, MetadataLimit, SettledSet,
    };
    use evenkeel_core::machine::group::protocol::Assignment;
    use evenkeel_core::model::{LeaderEpoch, TopicName, TopicPartition};

    use super::*;

    #[test]
    fn metadata_is_read_as_it_is_written() {
        for (base, given) in [
            (0, vec![(3, 4)]),
            (-1, vec![(70_000, 80_000)]),
            (5_000_000_000, vec![(5_000_000_007, 5_000_000_300)]),
        ] {
            let runs: Vec<_> = given.iter().map(|(from, to)| Offset(*from)..Offset(*to)).collect();
            let set = SettledSet::new(Offset(base), runs.clone());
            let text = set.encode(Fingerprint::of(["charge"]), MetadataLimit::DEFAULT);
            assert_eq!(*settled(&text, Offset(base)), runs);
            assert_eq!(*settled(&text, Offset(base + 1)), []);
        }
        let start = |(epoch, from)| EpochStart { epoch: LeaderEpoch(epoch), from: Offset(from) };
        let epochs = [(2, 0), (1 << 30, 70_000)].map(start);
        let set = SettledSet::new(Offset(80_000), [Offset(80_002)..Offset(80_009)]);
        let mut tracker = CommitTracker::resume(Offset(80_000), &set);
        tracker.recommit();
        let handlers = Fingerprint::of(["charge"]);
        let commit = tracker.commit(MetadataLimit::DEFAULT, handlers, &epochs).expect("it is sound");
        let text = commit.expect("it says where it stands").metadata;
        assert_eq!(commit::epochs(&text, Offset(80_000)), epochs);
        assert_eq!(*settled(&text, Offset(80_000)), *set.runs(), "behind the epochs");
        for other in ["", "hello", "4QAA"] {
            assert_eq!(*settled(other, Offset(0)), []);
        }
    }

    #[test]
    fn an_assignment_is_read_as_it_is_written() {
        let at = |topic: &str, partition| TopicPartition {
            topic: TopicName::new(topic).expect("a legal name"),
            partition: PartitionId(partition),
        };
        let partitions = [at("orders", 0), at("orders", 2), at("refunds", 1)].into();
        let written = Assignment { partitions, user_data: None }.encode();
        let read = assignment(&written).expect("it is whole");
        let expected = [
            ("orders".to_owned(), vec![PartitionId(0), PartitionId(2)]),
            ("refunds".to_owned(), vec![PartitionId(1)]),
        ];
        assert_eq!(read, expected);
        assert_eq!(assignment(b""), Some(Vec::new()));
        assert_eq!(assignment(&written[..9]), None);
    }
}
