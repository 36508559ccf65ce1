//! Reads the protocol's types from a frame that nobody vouches for.

use bytes::{Buf, Bytes};

use super::Form;
use crate::message::{OfTopic, Text, TopicId};

/// How many elements all arrays of one request may have together.
pub const MAX_ELEMENTS: usize = 200_000;

/// Why a frame is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The key stands for no request that is offered.
    #[error("no request with key {0} is offered")]
    UnknownApi(i16),
    /// The request is not offered in that version.
    #[error("the request with key {key} is not offered in version {version}")]
    UnknownVersion {
        /// Its key.
        key: i16,
        /// Its version.
        version: i16,
    },
    /// It ends within a field.
    #[error("it ends within {0}")]
    Short(&'static str),
    /// A length, count or number is negative or too large.
    #[error("{0} has an impossible length")]
    Length(&'static str),
    /// Text that is not UTF-8.
    #[error("there is text that is not UTF-8")]
    Encoding,
    /// More elements than [`MAX_ELEMENTS`].
    #[error("it has more than {MAX_ELEMENTS} elements")]
    TooMany,
    /// Bytes that belong to nothing.
    #[error("{0} bytes follow its end")]
    Leftover(usize),
}

type Read<T> = Result<T, Malformed>;

/// A place in a frame.
#[derive(Debug)]
pub(super) struct Reader {
    rest: Bytes,
    is_flexible: bool,
    elements_left: usize,
    /// What the request says of the form of its answer.
    pub(super) form: Form,
}

impl Reader {
    pub(super) fn new(frame: Bytes) -> Self {
        Self { rest: frame, is_flexible: false, elements_left: MAX_ELEMENTS, form: Form::default() }
    }

    pub(super) const fn set_flexible(&mut self, is_flexible: bool) {
        self.is_flexible = is_flexible;
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Read<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Leftover(self.rest.len())) }
    }

    pub(super) fn i8(&mut self) -> Read<i8> {
        self.rest.try_get_i8().map_err(|_| Malformed::Short("a number"))
    }

    pub(super) fn i16(&mut self) -> Read<i16> {
        self.rest.try_get_i16().map_err(|_| Malformed::Short("a number"))
    }

    pub(super) fn i32(&mut self) -> Read<i32> {
        self.rest.try_get_i32().map_err(|_| Malformed::Short("a number"))
    }

    pub(super) fn i64(&mut self) -> Read<i64> {
        self.rest.try_get_i64().map_err(|_| Malformed::Short("a number"))
    }

    pub(super) fn bool(&mut self) -> Read<bool> {
        Ok(self.i8()? != 0)
    }

    pub(super) fn topic_id(&mut self) -> Read<TopicId> {
        self.rest.try_get_u128().map(TopicId).map_err(|_| Malformed::Short("a UUID"))
    }

    fn varint(&mut self) -> Read<u32> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.rest.try_get_u8().map_err(|_| Malformed::Short("a number"))?;
            let bits = u32::from(byte & 0x7f);
            value |= bits
                .checked_shl(shift)
                .filter(|v| v >> shift == bits)
                .ok_or(Malformed::Length("a number"))?;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Length("a number"))
    }

    /// A length; `None` for null. In flexible versions it is one more than it says.
    fn length(
        &mut self,
        what: &'static str,
        inflexible: impl FnOnce(&mut Self) -> Read<i64>,
    ) -> Read<Option<usize>> {
        let length = if self.is_flexible { i64::from(self.varint()?) - 1 } else { inflexible(self)? };
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length).map(Some).map_err(|_| Malformed::Length(what)),
        }
    }

    fn take(&mut self, length: usize, what: &'static str) -> Read<Bytes> {
        if length > self.rest.len() { Err(Malformed::Short(what)) } else { Ok(self.rest.split_to(length)) }
    }

    pub(super) fn nullable_text(&mut self) -> Read<Option<Text>> {
        let Some(length) = self.length("text", |from| from.i16().map(i64::from))? else { return Ok(None) };
        let bytes = self.take(length, "text")?;
        std::str::from_utf8(&bytes).map(|text| Some(text.into())).map_err(|_| Malformed::Encoding)
    }

    pub(super) fn text(&mut self) -> Read<Text> {
        self.nullable_text()?.ok_or(Malformed::Length("text"))
    }

    pub(super) fn nullable_bytes(&mut self) -> Read<Option<Bytes>> {
        let Some(length) = self.length("bytes", |from| from.i32().map(i64::from))? else { return Ok(None) };
        self.take(length, "bytes").map(Some)
    }

    /// Bytes that are kept for long, and so must not keep the whole frame.
    pub(super) fn own_bytes(&mut self) -> Read<Bytes> {
        let bytes = self.nullable_bytes()?.ok_or(Malformed::Length("bytes"))?;
        Ok(Bytes::copy_from_slice(&bytes))
    }

    /// An array of values without fields of their own.
    pub(super) fn nullable_list<T>(&mut self, one: impl FnMut(&mut Self) -> Read<T>) -> Read<Option<Vec<T>>> {
        let Some(count) = self.length("an array", |from| from.i32().map(i64::from))? else { return Ok(None) };
        // Every element has a byte or more.
        if count > self.rest.len() {
            return Err(Malformed::Short("an array"));
        }
        self.elements_left = self.elements_left.checked_sub(count).ok_or(Malformed::TooMany)?;
        let mut one = one;
        // Each element is believed only when it has been read, so nothing is reserved.
        (0..count).map(|_| one(self)).collect::<Read<Vec<T>>>().map(Some)
    }

    pub(super) fn list<T>(&mut self, one: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.nullable_list(one)?.ok_or(Malformed::Length("an array"))
    }

    /// An array of values with fields, each of which may be followed by tagged ones.
    pub(super) fn nullable_array<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Option<Vec<T>>> {
        self.nullable_list(|from| {
            let value = one(from)?;
            from.tags()?;
            Ok(value)
        })
    }

    pub(super) fn array<T>(&mut self, one: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.nullable_array(one)?.ok_or(Malformed::Length("an array"))
    }

    /// What nearly every request has: topics with something for each partition.
    pub(super) fn by_topic<T>(&mut self, mut one: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<OfTopic<T>>> {
        self.array(|from| Ok(OfTopic { topic: from.text()?, partitions: from.array(&mut one)? }))
    }

    /// Topics with the numbers of partitions.
    pub(super) fn numbers_by_topic(&mut self) -> Read<Vec<OfTopic<evenkeel_core::model::PartitionId>>> {
        self.array(Self::numbers_of_topic)
    }

    pub(super) fn numbers_of_topic(&mut self) -> Read<OfTopic<evenkeel_core::model::PartitionId>> {
        let topic = self.text()?;
        Ok(OfTopic {
            topic,
            partitions: self.list(|from| from.i32().map(evenkeel_core::model::PartitionId))?,
        })
    }

    /// Passes over tagged fields: none of them is known here.
    pub(super) fn tags(&mut self) -> Read<()> {
        if self.is_flexible {
            for _ in 0..self.varint()? {
                let _tag = self.varint()?;
                let length = self.varint()? as usize;
                self.take(length, "a tagged field")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &'static [u8], is_flexible: bool) -> Reader {
        let mut reader = Reader::new(Bytes::from_static(bytes));
        reader.set_flexible(is_flexible);
        reader
    }

    #[test]
    fn impossible_lengths_are_told_before_anything_is_allocated() {
        let numbers = |bytes, is_flexible| reader(bytes, is_flexible).list(Reader::i8);
        assert_eq!(numbers(&[0x7f, 0xff, 0xff, 0xff], false), Err(Malformed::Short("an array")));
        assert_eq!(numbers(&[0xff, 0xff, 0xff, 0xff, 0x0f], true), Err(Malformed::Short("an array")));
        assert_eq!(numbers(&[0xff, 0xff, 0xff, 0xff, 0x7f], true), Err(Malformed::Length("a number")));
        assert_eq!(numbers(&[0xff, 0xff, 0xff, 0xfe], false), Err(Malformed::Length("an array")));
        assert_eq!(numbers(&[0, 0, 0, 2, 7, 9], false), Ok(vec![7, 9]));
        assert_eq!(numbers(&[3, 7, 9], true), Ok(vec![7, 9]));
        assert_eq!(reader(&[0, 5, b'a'], false).text(), Err(Malformed::Short("text")));
        assert_eq!(reader(&[0xff, 0xff], false).nullable_text(), Ok(None));
        assert_eq!(reader(&[2, 0xff], true).text(), Err(Malformed::Encoding));
        assert_eq!(reader(&[1, 0, 5, 1], true).tags(), Err(Malformed::Short("a tagged field")));
        assert_eq!(reader(&[1, 0, 1, 9], true).tags(), Ok(()));
    }

    #[test]
    fn elements_are_counted_over_all_arrays() {
        let bytes = Bytes::from(vec![0; MAX_ELEMENTS + 10]);
        let mut reader = Reader::new(bytes);
        reader.elements_left = 3;
        reader.rest = Bytes::from_static(&[0, 0, 0, 2, 1, 2, 0, 0, 0, 2, 3, 4]);
        assert_eq!(reader.list(Reader::i8), Ok(vec![1, 2]));
        assert_eq!(reader.list(Reader::i8), Err(Malformed::TooMany));
    }
}
