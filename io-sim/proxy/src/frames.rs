//! PostgreSQL's framing: a byte stream cut into messages.
//!
//! A message is a letter, its length, its body; only what a client says first has no letter. Large messages are passed
//! on piece by piece and never looked into, so memory stays small.

use bytes::{Buf, Bytes, BytesMut};

/// A letter and the length.
const HEADER: usize = 5;
/// Longer messages are not looked into.
const LARGE: usize = 64 * 1024;
/// The longest first message, as the server limits it.
const LONGEST_HELLO: usize = 10_000;
/// What a client writes where the protocol's version would stand.
const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// What came is not PostgreSQL's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes: this is not PostgreSQL's protocol")]
pub(crate) struct Foreign(u32);

/// A part of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A message: its letter, and all its bytes, header included.
    Message(u8, Bytes),
    /// Some bytes of a large message.
    Part(Bytes),
}

impl Piece {
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Message(_, bytes) | Self::Part(bytes) => bytes,
        }
    }
}

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hello {
    /// It would like to encrypt, and may be told no.
    Encrypt,
    /// It wants a running statement cancelled, and no more.
    Cancel(Bytes),
    /// It begins a session.
    Start(Bytes),
}

/// A stream that is being cut.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pub(crate) buffer: BytesMut,
    /// How much of a large message is still to come.
    rest: usize,
}

impl Frames {
    /// The client's first words, once they are complete.
    pub(crate) fn hello(&mut self) -> Result<Option<Hello>, Foreign> {
        let Some(mut head) = self.buffer.get(..8) else { return Ok(None) };
        let (length, code) = (head.get_u32(), head.get_u32());
        let whole = length as usize;
        if !(8..=LONGEST_HELLO).contains(&whole) {
            return Err(Foreign(length));
        }
        if self.buffer.len() < whole {
            return Ok(None);
        }
        let bytes = self.buffer.split_to(whole).freeze();
        Ok(Some(match code {
            TLS | GSS => Hello::Encrypt,
            CANCEL => Hello::Cancel(bytes),
            _ => Hello::Start(bytes),
        }))
    }

    /// What is there next.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, Foreign> {
        if self.rest > 0 && !self.buffer.is_empty() {
            let taken = self.rest.min(self.buffer.len());
            self.rest -= taken;
            return Ok(Some(Piece::Part(self.buffer.split_to(taken).freeze())));
        }
        let Some(mut head) = self.buffer.get(..HEADER) else { return Ok(None) };
        let (letter, length) = (head.get_u8(), head.get_u32());
        if length < 4 {
            return Err(Foreign(length));
        }
        let whole = length as usize + 1;
        if whole > LARGE {
            let taken = whole.min(self.buffer.len());
            self.rest = whole - taken;
            return Ok(Some(Piece::Part(self.buffer.split_to(taken).freeze())));
        }
        if self.buffer.len() < whole {
            return Ok(None);
        }
        Ok(Some(Piece::Message(letter, self.buffer.split_to(whole).freeze())))
    }
}

/// A message of this letter and body, for tests.
#[cfg(test)]
pub(crate) fn message(letter: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("tests are small");
    [&[letter][..], &length.to_be_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(stream: &[u8], at_once: usize) -> Vec<Piece> {
        let (mut frames, mut pieces) = (Frames::default(), Vec::new());
        for bytes in stream.chunks(at_once) {
            frames.buffer.extend_from_slice(bytes);
            while let Some(piece) = frames.next().expect("it is the protocol") {
                pieces.push(piece);
            }
        }
        assert!(frames.buffer.is_empty());
        pieces
    }

    #[test]
    fn messages_come_whole_however_they_arrive_and_nothing_is_lost() {
        let large = vec![7; LARGE + 3];
        let stream = [message(b'Q', b"COMMIT\0"), message(b'd', &large), message(b'Z', b"I")].concat();
        for at_once in [1, 2, 5, 1_000, usize::MAX] {
            let pieces = cut(&stream, at_once);
            assert_eq!(pieces.first(), Some(&Piece::Message(b'Q', message(b'Q', b"COMMIT\0").into())));
            assert_eq!(pieces.last(), Some(&Piece::Message(b'Z', message(b'Z', b"I").into())));
            let all: Vec<u8> = pieces.into_iter().flat_map(Piece::into_bytes).collect();
            assert!(all == stream, "in steps of {at_once}");
        }
    }

    #[test]
    fn first_words_are_told_apart() {
        let hello = |code: u32, more: &[u8]| {
            let length = 8 + more.len() as u32;
            let bytes = [&length.to_be_bytes()[..], &code.to_be_bytes(), more].concat();
            let mut frames = Frames::default();
            frames.buffer.extend_from_slice(&bytes[..bytes.len() - 1]);
            assert_eq!(frames.hello(), Ok(None));
            frames.buffer.extend_from_slice(&bytes[bytes.len() - 1..]);
            (frames.hello().expect("it is the protocol").expect("it is whole"), Bytes::from(bytes))
        };
        assert_eq!(hello(TLS, b"").0, Hello::Encrypt);
        assert_eq!(hello(GSS, b"").0, Hello::Encrypt);
        let (cancel, bytes) = hello(CANCEL, &[0; 8]);
        assert_eq!(cancel, Hello::Cancel(bytes));
        let (start, bytes) = hello(196_608, b"user\0me\0\0");
        assert_eq!(start, Hello::Start(bytes));
    }

    #[test]
    fn what_is_no_such_protocol_is_told() {
        let mut frames = Frames::default();
        frames.buffer.extend_from_slice(b"GET / HTTP/1.1\r\n");
        assert!(frames.hello().is_err());
        let mut frames = Frames::default();
        frames.buffer.extend_from_slice(&[b'Q', 0, 0, 0, 3]);
        assert_eq!(frames.next(), Err(Foreign(3)));
    }
}
