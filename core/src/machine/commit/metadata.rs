//! The text that carries a settled set in a commit's metadata.
//!
//! Base64 (standard alphabet, no padding) over bytes written by bincode in its standard configuration:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | `0xE0` + version: the high half tells our text from others', the low half is the version, 2 |
//! | 8 | the fingerprint of the handler set |
//! | 16 | the topic's id, zero where it is not known |
//! | 1 to 9 | the committed offset that the set belongs to |
//! | 1 | how many leader epochs follow, the latest of those that began below the offset |
//! | 2 to 14 each | the epoch, and how far below the offset its records begin |
//! | 1 to 9 each | run lengths from that offset on: unsettled, settled, unsettled, settled, … |
//! | 4 | CRC-32C of all the bytes before |
//!
//! Whoever may write to the group may put anything here, so reading never panics, and allocates no more than a small
//! multiple of the text. An empty set of a topic without an id is the empty text.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bincode::config::standard;
use bincode::{Decode, Encode};

use super::epochs::{CARRIED, EpochStart, carried};
use super::settled::joined;
use super::{Fingerprint, Scope};
use crate::model::{LeaderEpoch, Offset, TopicId};

const FAMILY: u8 = 0xE0;
const VERSION: u8 = 2;
const CHECKSUM: usize = 4;
/// A pair of run lengths, at its longest: a tag and eight bytes for each.
const LONGEST_PAIR: usize = 18;
const LONGEST_HEADER: usize = 34;

#[derive(Debug, Encode, Decode)]
struct Header {
    version: u8,
    handlers: [u8; 8],
    topic: [u8; 16],
    base: i64,
}

/// How many characters of metadata the broker takes with a commit (`offset.metadata.max.bytes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetadataLimit(usize);

impl MetadataLimit {
    /// A broker's limit unless it is configured otherwise.
    pub const DEFAULT: Self = Self(4096);
    /// No metadata at all.
    pub const NONE: Self = Self(0);

    const SMALLEST: usize = 64;

    /// A limit of so many characters. Below 64, hardly a run would fit, and it becomes [`NONE`](Self::NONE).
    #[must_use]
    pub const fn new(characters: usize) -> Self {
        if characters < Self::SMALLEST { Self::NONE } else { Self(characters) }
    }

    /// What to try after the broker found the metadata too large: half, and at last none.
    #[must_use]
    pub const fn halve(self) -> Self {
        Self::new(self.0 / 2)
    }

    /// The limit in characters.
    #[must_use]
    pub const fn characters(self) -> usize {
        self.0
    }

    /// How many bytes still fit once they are base64.
    const fn bytes(self) -> usize {
        self.0 / 4 * 3 + self.0 % 4 * 3 / 4
    }
}

impl Default for MetadataLimit {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a commit's metadata says nothing about settled events. The committed offset itself stays good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The text is not of this library's making.
    #[error("the commit's metadata was written by another program")]
    Foreign,
    /// It is of this library's making, in a format that this version does not know.
    #[error(
        "the commit's metadata has format version {0}, this is version {VERSION}; another release has written it"
    )]
    OtherVersion(u8),
    /// It is ours, but cut short or altered.
    #[error("the commit's metadata is damaged")]
    Damaged,
    /// It belongs to another committed offset.
    #[error("the commit's metadata was written for offset {written_for}, but the commit is at {committed}")]
    OtherOffset {
        /// The offset that it was written with.
        written_for: Offset,
        /// The offset that it was found with.
        committed: Offset,
    },
    /// It belongs to another life of the topic, and so does the committed offset.
    #[error(
        "the commit was written for the topic's life with id {written_for}, and the topic now has id {present}: it was deleted and made anew"
    )]
    OtherTopic {
        /// The life that the commit is of.
        written_for: TopicId,
        /// The life that the topic is in.
        present: TopicId,
    },
    /// It says what other handlers settled.
    #[error(
        "the commit's metadata was written for the handler set {written_for}, but the group now runs {running}"
    )]
    OtherHandlers {
        /// The handlers that settled the events.
        written_for: Fingerprint,
        /// The handlers that are registered now.
        running: Fingerprint,
    },
}

/// Writes the last of ascending epochs below `base`, and ascending runs at or beyond it. Takes runs only until the text
/// is full.
pub(super) fn encode(
    base: Offset,
    scope: Scope,
    limit: MetadataLimit,
    epochs: &[EpochStart],
    runs: impl Iterator<Item = Range<Offset>>,
) -> Arc<str> {
    if limit == MetadataLimit::NONE {
        return Arc::from("");
    }
    let mut buffer = [0; LONGEST_HEADER + LONGEST_PAIR];
    let header = Header {
        version: FAMILY | VERSION,
        handlers: scope.handlers.to_bytes(),
        topic: scope.topic.map_or(0, |TopicId(id)| id).to_be_bytes(),
        base: base.0,
    };
    let mut bytes = written(&header, &mut buffer).to_vec();
    let room = limit.bytes().saturating_sub(CHECKSUM);
    let written_epochs = write_epochs(carried(epochs, base), base, room, &mut bytes);
    let mut says_something = written_epochs > 0 || scope.topic.is_some();
    let mut end = base;
    for run in joined(base, runs) {
        let lengths = (run.start.0.abs_diff(end.0), run.end.0.abs_diff(run.start.0));
        let pair = written(&lengths, &mut buffer);
        if bytes.len() + pair.len() > room {
            break;
        }
        bytes.extend_from_slice(pair);
        says_something = true;
        end = run.end;
    }
    if !says_something {
        return Arc::from("");
    }
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Arc::from(STANDARD_NO_PAD.encode(&bytes))
}

/// The latest of them that fit, behind their number; answers the number.
fn write_epochs(epochs: &[EpochStart], base: Offset, room: usize, bytes: &mut Vec<u8>) -> u8 {
    let mut buffer = [0; LONGEST_PAIR];
    let count = bytes.len();
    bytes.push(0);
    for start in epochs.iter().rev() {
        let pair = written(&(start.epoch.0, base.0.abs_diff(start.from.0)), &mut buffer);
        if bytes.len() + pair.len() > room {
            break;
        }
        bytes.extend_from_slice(pair);
        bytes[count] += 1;
    }
    bytes[count]
}

fn written<'a>(value: &impl Encode, buffer: &'a mut [u8]) -> &'a [u8] {
    let length = bincode::encode_into_slice(value, buffer, standard())
        .expect("the buffer holds the longest header and the longest pair");
    &buffer[..length]
}

/// Where epochs began that a commit at `base` carries, ascending; whoever has settled the events. Nothing if the text is
/// not this library's, or not of that commit.
#[must_use]
pub fn epochs(text: &str, base: Offset) -> Vec<EpochStart> {
    let bytes = STANDARD_NO_PAD.decode(text).unwrap_or_default();
    open(&bytes, base).map_or_else(|_| Vec::new(), |content| content.epochs)
}

/// What stands under a good checksum, up to the run lengths.
struct Content<'a> {
    header: Header,
    epochs: Vec<EpochStart>,
    rest: &'a [u8],
}

fn open(bytes: &[u8], base: Offset) -> Result<Content<'_>, Unreadable> {
    match bytes.first() {
        Some(first) if first & 0xF0 != FAMILY => return Err(Unreadable::Foreign),
        Some(first) if first & 0x0F != VERSION => return Err(Unreadable::OtherVersion(first & 0x0F)),
        Some(_) | None => {}
    }
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(Unreadable::Damaged)?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*checksum) {
        return Err(Unreadable::Damaged);
    }
    let (header, rest): (Header, &[u8]) = read(content)?;
    if header.base != base.0 {
        return Err(Unreadable::OtherOffset { written_for: Offset(header.base), committed: base });
    }
    let (count, mut rest) = read::<u8>(rest)?;
    if usize::from(count) > CARRIED {
        return Err(Unreadable::Damaged);
    }
    let mut epochs: Vec<EpochStart> = Vec::new();
    for _ in 0..count {
        let ((epoch, below), after) = read::<(i32, u64)>(rest)?;
        let from = base.0.checked_sub_unsigned(below).ok_or(Unreadable::Damaged)?;
        let (epoch, from) = (LeaderEpoch(epoch), Offset(from));
        if from >= base || epochs.last().is_some_and(|later| later.epoch <= epoch || later.from < from) {
            return Err(Unreadable::Damaged);
        }
        epochs.push(EpochStart { epoch, from });
        rest = after;
    }
    epochs.reverse();
    Ok(Content { header, epochs, rest })
}

/// Reads ascending runs beyond `base`, if the text was written for that offset, that topic and those handlers.
pub(super) fn decode(text: &str, base: Offset, scope: Scope) -> Result<Vec<Range<Offset>>, Unreadable> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| Unreadable::Foreign)?;
    let Content { header, mut rest, .. } = open(&bytes, base)?;
    let written_for = TopicId(u128::from_be_bytes(header.topic));
    if let Some(present) = scope.topic
        && written_for != TopicId(0)
        && written_for != present
    {
        return Err(Unreadable::OtherTopic { written_for, present });
    }
    let written_for = Fingerprint::from_bytes(header.handlers);
    if written_for != scope.handlers {
        return Err(Unreadable::OtherHandlers { written_for, running: scope.handlers });
    }
    let mut runs: Vec<Range<Offset>> = Vec::new();
    let mut end = base;
    while !rest.is_empty() {
        let ((unsettled, settled), after) = read::<(u64, u64)>(rest)?;
        let start = end.0.checked_add_unsigned(unsettled).ok_or(Unreadable::Damaged)?;
        let stop = start.checked_add_unsigned(settled).ok_or(Unreadable::Damaged)?;
        if settled == 0 || (unsettled == 0 && !runs.is_empty()) {
            return Err(Unreadable::Damaged);
        }
        end = Offset(stop);
        runs.push(Offset(start)..end);
        rest = after;
    }
    Ok(runs)
}

fn read<T: Decode<()>>(bytes: &[u8]) -> Result<(T, &[u8]), Unreadable> {
    let (value, length) = bincode::decode_from_slice(bytes, standard()).map_err(|_| Unreadable::Damaged)?;
    Ok((value, bytes.get(length..).ok_or(Unreadable::Damaged)?))
}
