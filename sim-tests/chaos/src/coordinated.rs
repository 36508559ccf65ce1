//! The group coordinators' own log, `__consumer_offsets`: which commits were taken, and which assignments.
//!
//! It is read by code of our own. The formats are Kafka's `OffsetCommitKey`, `OffsetCommitValue`, `GroupMetadataKey` and
//! `GroupMetadataValue`.

use evenkeel_core::model::Generation;
use evenkeel_core::records::RecordRef;
use evenkeel_sim::decode;
use evenkeel_sim::history::Life;

use crate::journal::Position;
use crate::{Anyhow, shop};

/// What each member got.
pub(crate) type Shares = Vec<(Life, Vec<i32>)>;

/// A record of a group coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Coordinated {
    Commit { group: String, position: Position },
    Assignment { group: String, generation: Generation, shares: Shares },
}

/// Reads a record of the coordinators' log; `None` if it is of another kind, or says that something is gone.
pub(crate) fn read(record: &RecordRef) -> Result<Option<Coordinated>, Anyhow> {
    let strange =
        || format!("the coordinator's record at {} cannot be read: {:?}", record.offset(), record.value());
    let (Some(key), Some(value)) = (record.key(), record.value()) else { return Ok(None) };
    let (mut key, mut value) = (Fields::new(key), Fields::new(value));
    Ok(match key.i16().ok_or_else(strange)? {
        0 | 1 => {
            let group = key.text().flatten().ok_or_else(strange)?;
            let topic = key.text().flatten().ok_or_else(strange)?;
            let partition = key.i32().ok_or_else(strange)?;
            let (offset, metadata) = value.committed().ok_or_else(strange)?;
            let ours = *topic == *shop::facts().topics[0].name;
            ours.then_some(Coordinated::Commit { group, position: Position { partition, offset, metadata } })
        }
        2 => {
            let group = key.text().flatten().ok_or_else(strange)?;
            let (generation, shares) = value.assigned().ok_or_else(strange)?;
            Some(Coordinated::Assignment { group, generation: Generation(generation), shares })
        }
        _ => None,
    })
}

/// The rest of a message of Kafka's.
struct Fields<'a> {
    rest: &'a [u8],
    lengths: Lengths,
}

/// How a message writes the lengths of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lengths {
    /// Texts in two bytes, all else in four; -1 is null.
    Fixed,
    /// Variable, and one more than the length; 0 is null. Fields with tags end each structure ("flexible versions").
    Compact,
}

impl<'a> Fields<'a> {
    const fn new(rest: &'a [u8]) -> Self {
        Self { rest, lengths: Lengths::Fixed }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*first)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes.to_vec())
    }

    fn varint(&mut self) -> Option<u32> {
        let mut number = 0;
        for shift in (0..32).step_by(7) {
            let [byte] = self.take()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// `Some(None)` is Kafka's null.
    fn length(&mut self, fixed: impl FnOnce(&mut Self) -> Option<i32>) -> Option<Option<usize>> {
        let length = match self.lengths {
            Lengths::Fixed => i64::from(fixed(self)?),
            Lengths::Compact => i64::from(self.varint()?) - 1,
        };
        Some(usize::try_from(length).ok())
    }

    fn text(&mut self) -> Option<Option<String>> {
        match self.length(|fields| fields.i16().map(i32::from))? {
            None => Some(None),
            Some(length) => String::from_utf8(self.bytes(length)?).ok().map(Some),
        }
    }

    fn count(&mut self) -> Option<usize> {
        self.length(Self::i32).map(Option::unwrap_or_default)
    }

    fn blob(&mut self) -> Option<Vec<u8>> {
        let length = self.count()?;
        self.bytes(length)
    }

    /// Passes over the fields with tags at the end of a structure.
    fn end(&mut self) -> Option<()> {
        if self.lengths == Lengths::Compact {
            for _ in 0..self.varint()? {
                let _tag = self.varint()?;
                let length = self.varint()? as usize;
                self.bytes(length)?;
            }
        }
        Some(())
    }

    /// An `OffsetCommitValue`: offset and metadata.
    fn committed(&mut self) -> Option<(i64, String)> {
        let version = self.i16()?;
        let offset = self.i64()?;
        match version {
            0..=2 => {}
            3 | 4 => {
                let _leader_epoch = self.i32()?;
            }
            _ => return None,
        }
        if version == 4 {
            self.lengths = Lengths::Compact;
        }
        Some((offset, self.text()?.unwrap_or_default()))
    }

    /// A `GroupMetadataValue`: the generation, and what each member got. A member's client id is its life.
    fn assigned(&mut self) -> Option<(i32, Shares)> {
        match self.i16()? {
            3 => {}
            4 => self.lengths = Lengths::Compact,
            _ => return None,
        }
        let _protocol_type = self.text()?;
        let generation = self.i32()?;
        let _protocol = self.text()?;
        let _leader = self.text()?;
        let _since = self.i64()?;
        let mut shares = Vec::new();
        for _ in 0..self.count()? {
            let _member = self.text()?;
            let _instance = self.text()?;
            let life = shop::life_of(&self.text()??)?;
            let _host = self.text()?;
            let _rebalance_timeout = self.i32()?;
            let _session_timeout = self.i32()?;
            let _subscription = self.blob()?;
            let topics = decode::assignment(&self.blob()?)?;
            self.end()?;
            let partitions = topics.into_iter().flat_map(|(_, partitions)| partitions).map(|p| p.0);
            shares.push((life, partitions.collect()));
        }
        Some((generation, shares))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_in_both_forms() {
        let plain = [&[0, 3, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 2][..], b"ab", &[0; 8]].concat();
        let compact = [&[0, 4, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 3][..], b"ab", &[0; 9]].concat();
        for bytes in [plain, compact] {
            assert_eq!(Fields::new(&bytes).committed(), Some((7, "ab".to_owned())));
            assert_eq!(Fields::new(&bytes[..12]).committed(), None);
        }
        assert_eq!(Fields::new(&[0, 5, 0, 0, 0, 0, 0, 0, 0, 7]).committed(), None);
    }

    #[test]
    fn an_assignment_is_read_in_both_forms() {
        let assignment =
            [&[0, 0, 0, 0, 0, 1, 0, 1][..], b"t", &[0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 5]].concat();
        let plain = [
            &[0, 3, 0, 1][..],
            b"c",
            &[0, 0, 0, 9, 255, 255, 0, 1],
            b"m",
            &[0; 8],
            &[0, 0, 0, 1, 0, 1],
            b"m",
            &[255, 255, 0, 3],
            b"2.5",
            &[0, 1],
            b"h",
            &[0; 8],
            &[0, 0, 0, 0, 0, 0, 0, assignment.len() as u8],
            &assignment,
        ]
        .concat();
        let compact = [
            &[0, 4, 2][..],
            b"c",
            &[0, 0, 0, 9, 0, 2],
            b"m",
            &[0; 8],
            &[2, 2],
            b"m",
            &[0, 4],
            b"2.5",
            &[2],
            b"h",
            &[0; 8],
            &[1, assignment.len() as u8 + 1],
            &assignment,
            &[0, 0],
        ]
        .concat();
        for bytes in [plain, compact] {
            let life = Life { process: 2, nth: 5 };
            assert_eq!(Fields::new(&bytes).assigned(), Some((9, vec![(life, vec![3, 5])])));
        }
    }
}
