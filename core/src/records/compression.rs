//! The five codecs of a batch's records, each by its library, never unpacking more than a given limit.
//!
//! A codec's input may be hostile: the size of the output is never taken from the input's word alone.

use std::fmt;
use std::io::{self, Read, Write};

use bytes::Bytes;
use lz4_flex::frame::{BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy. Read in the framing of Java clients and as one bare block; written in the framing.
    Snappy,
    /// LZ4 frames of independent 64 KiB blocks, the kind that Java clients read.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// Why bytes were not unpacked.
#[derive(Debug)]
pub(super) enum UnpackError {
    /// They hold more than the limit.
    TooLarge,
    /// They are not what the codec writes.
    Malformed(String),
}

impl<E: std::error::Error> From<E> for UnpackError {
    fn from(error: E) -> Self {
        Self::Malformed(error.to_string())
    }
}

const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const SNAPPY_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The version of the framing, and the oldest version whose readers understand it; readers ignore both.
const SNAPPY_VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// The block that Java clients write.
const SNAPPY_BLOCK_BYTES: usize = 32 * 1024;
/// Three bytes of Snappy make at most 64, and the length in front costs one byte at least.
const SNAPPY_MAX_RATIO: usize = 22;

impl Compression {
    pub(super) const fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    pub(super) const fn from_code(code: u8) -> Result<Self, u8> {
        match code {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(other),
        }
    }

    /// Unpacks the records of a batch. Without compression these are the same bytes, and no limit is needed.
    pub(super) fn unpack(self, packed: Bytes, limit: usize) -> Result<Bytes, UnpackError> {
        match self {
            Self::None => Ok(packed),
            Self::Gzip => read_bounded(flate2::bufread::GzDecoder::new(&packed[..]), packed.len(), limit),
            Self::Snappy => unsnap(&packed, limit),
            Self::Lz4 if packed.starts_with(&LZ4_MAGIC) => {
                read_bounded(FrameDecoder::new(&packed[..]), packed.len(), limit)
            }
            Self::Lz4 => Err(UnpackError::Malformed("no frame begins here".into())),
            Self::Zstd => read_bounded(zstd::Decoder::with_buffer(&packed[..])?, packed.len(), limit),
        }
    }

    /// Appends the packed form of `plain` to `output`.
    pub(super) fn pack(self, plain: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::None => output.write_all(plain),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(output, flate2::Compression::default());
                encoder.write_all(plain)?;
                encoder.finish().map(drop)
            }
            Self::Snappy => snap(plain, output),
            Self::Lz4 => {
                let frame = FrameInfo::new().block_size(BlockSize::Max64KB);
                let mut encoder = FrameEncoder::with_frame_info(frame, output);
                encoder.write_all(plain)?;
                encoder.finish()?;
                Ok(())
            }
            Self::Zstd => zstd::stream::copy_encode(plain, output, zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }
}

/// Reads to the end, but no further than one byte over the limit. The buffer grows with what really comes.
fn read_bounded(reader: impl Read, packed: usize, limit: usize) -> Result<Bytes, UnpackError> {
    let mut plain = Vec::with_capacity(packed.saturating_mul(4).min(limit));
    reader.take(limit as u64 + 1).read_to_end(&mut plain)?;
    if plain.len() > limit { Err(UnpackError::TooLarge) } else { Ok(plain.into()) }
}

fn unsnap(packed: &[u8], limit: usize) -> Result<Bytes, UnpackError> {
    let mut plain = Vec::new();
    let Some(framed) = packed.strip_prefix(&SNAPPY_MAGIC) else {
        unsnap_block(packed, &mut plain, limit)?;
        return Ok(plain.into());
    };
    let cut_off = || UnpackError::Malformed("a block is cut off".into());
    let mut rest = framed.get(SNAPPY_VERSIONS.len()..).ok_or_else(cut_off)?;
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk().ok_or_else(cut_off)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, behind) = behind.split_at_checked(length).ok_or_else(cut_off)?;
        unsnap_block(block, &mut plain, limit)?;
        rest = behind;
    }
    Ok(plain.into())
}

fn unsnap_block(block: &[u8], plain: &mut Vec<u8>, limit: usize) -> Result<(), UnpackError> {
    let claimed = snap::raw::decompress_len(block)?;
    if claimed > block.len().saturating_mul(SNAPPY_MAX_RATIO) {
        let reason = format!("a block of {} bytes claims to hold {claimed}", block.len());
        return Err(UnpackError::Malformed(reason));
    }
    let begin = plain.len();
    if claimed > limit - begin.min(limit) {
        return Err(UnpackError::TooLarge);
    }
    plain.resize(begin + claimed, 0);
    let written = snap::raw::Decoder::new().decompress(block, &mut plain[begin..])?;
    plain.truncate(begin + written);
    Ok(())
}

fn snap(plain: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    output.extend_from_slice(&SNAPPY_MAGIC);
    output.extend_from_slice(&SNAPPY_VERSIONS);
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(SNAPPY_BLOCK_BYTES) {
        let packed = encoder.compress_vec(block)?;
        let length = u32::try_from(packed.len()).map_err(io::Error::other)?;
        output.extend_from_slice(&length.to_be_bytes());
        output.extend_from_slice(&packed);
    }
    Ok(())
}
