//! Writes the protocol's types. Large byte fields are not copied: a frame is a list of parts.

use bytes::{BufMut, Bytes};
use evenkeel_core::error::ErrorCode;

use crate::message::{OfTopic, Refusal, TopicId};

/// Byte fields from here up become parts of their own.
const LARGE: usize = 2_048;

/// An answer's frame: its parts in order, the first with the length in front.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame(Vec<Bytes>);

impl Frame {
    /// The parts in order.
    #[must_use]
    pub fn into_parts(self) -> Vec<Bytes> {
        self.0
    }

    /// How many bytes all parts have.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }
}

/// A frame on its way.
#[derive(Debug)]
pub(super) struct Writer {
    /// What is whole already.
    parts: Vec<Part>,
    tail: Vec<u8>,
    is_flexible: bool,
}

#[derive(Debug)]
enum Part {
    Own(Vec<u8>),
    Shared(Bytes),
}

impl Writer {
    /// Begins an answer with its header.
    pub(super) fn new(correlation: i32, is_flexible: bool) -> Self {
        let mut writer = Self::without_header_tags(correlation, is_flexible);
        writer.tags();
        writer
    }

    /// Begins an answer in the old format of headers, whatever follows.
    pub(super) fn without_header_tags(correlation: i32, is_flexible: bool) -> Self {
        let mut tail = Vec::with_capacity(128);
        tail.put_i32(0);
        tail.put_i32(correlation);
        Self { parts: Vec::new(), tail, is_flexible }
    }

    /// The frame, with its length in front.
    pub(super) fn finish(mut self) -> Frame {
        self.parts.push(Part::Own(self.tail));
        let size: usize = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Own(bytes) => bytes.len(),
                Part::Shared(bytes) => bytes.len(),
            })
            .sum();
        if let Some(Part::Own(first)) = self.parts.first_mut() {
            // What is read at once is bounded far below 2 GiB.
            let length = i32::try_from(size - 4).unwrap_or(i32::MAX);
            first[..4].copy_from_slice(&length.to_be_bytes());
        }
        let parts = self.parts.into_iter().map(|part| match part {
            Part::Own(bytes) => Bytes::from(bytes),
            Part::Shared(bytes) => bytes,
        });
        Frame(parts.collect())
    }

    pub(super) fn i8(&mut self, value: i8) {
        self.tail.put_i8(value);
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.tail.put_i16(value);
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.tail.put_i32(value);
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.tail.put_i64(value);
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.tail.put_u8(u8::from(value));
    }

    pub(super) fn topic_id(&mut self, id: TopicId) {
        self.tail.put_u128(id.0);
    }

    pub(super) fn error(&mut self, outcome: Option<ErrorCode>) {
        self.i16(outcome.map_or(0, ErrorCode::code));
    }

    pub(super) fn millis(&mut self, duration: std::time::Duration) {
        self.i32(i32::try_from(duration.as_millis()).unwrap_or(i32::MAX));
    }

    /// No throttling.
    pub(super) fn no_throttle(&mut self) {
        self.i32(0);
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.tail.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.tail.put_u8(value as u8);
    }

    /// A length or count; `None` for null.
    fn length(&mut self, length: Option<usize>, inflexible: impl FnOnce(&mut Self, i32)) {
        let length = length.map_or(-1, |length| i32::try_from(length).unwrap_or(i32::MAX));
        if self.is_flexible {
            self.varint((length + 1).cast_unsigned());
        } else {
            inflexible(self, length);
        }
    }

    pub(super) fn nullable_text(&mut self, text: Option<&str>) {
        // Text that is longer than its length can say is cut; none of ours is.
        const LONGEST: usize = i16::MAX as usize;
        let text = text.map(|text| if text.len() > LONGEST { "" } else { text });
        self.length(text.map(str::len), |to, length| to.i16(length as i16));
        self.tail.put_slice(text.unwrap_or_default().as_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.nullable_text(Some(text));
    }

    pub(super) fn bytes(&mut self, bytes: &Bytes) {
        self.chunks(std::slice::from_ref(bytes));
    }

    /// One byte field that lies in several places.
    pub(super) fn chunks(&mut self, chunks: &[Bytes]) {
        let length = chunks.iter().map(Bytes::len).sum();
        self.length(Some(length), Self::i32);
        for chunk in chunks {
            if chunk.len() < LARGE {
                self.tail.put_slice(chunk);
            } else {
                self.parts.push(Part::Own(std::mem::take(&mut self.tail)));
                self.parts.push(Part::Shared(chunk.clone()));
            }
        }
    }

    /// An array of values without fields of their own.
    pub(super) fn list<T>(&mut self, values: &[T], mut one: impl FnMut(&mut Self, &T)) {
        self.length(Some(values.len()), Self::i32);
        for value in values {
            one(self, value);
        }
    }

    /// An array of values with fields.
    pub(super) fn array<T>(&mut self, values: &[T], mut one: impl FnMut(&mut Self, &T)) {
        self.list(values, |to, value| {
            one(to, value);
            to.tags();
        });
    }

    /// An array that is not there.
    pub(super) fn null_array(&mut self) {
        self.length(None, Self::i32);
    }

    /// What nearly every answer has: topics with something for each partition.
    pub(super) fn by_topic<T>(&mut self, topics: &[OfTopic<T>], mut one: impl FnMut(&mut Self, &T)) {
        self.array(topics, |to, entry| {
            to.text(&entry.topic);
            to.array(&entry.partitions, &mut one);
        });
    }

    /// Code and reason of what may have been refused.
    pub(super) fn refusal<T>(&mut self, outcome: &Result<T, Refusal>) {
        let refusal = outcome.as_ref().err();
        self.error(refusal.map(|refusal| refusal.code));
        self.refusal_text(outcome);
    }

    /// The reason alone.
    pub(super) fn refusal_text<T>(&mut self, outcome: &Result<T, Refusal>) {
        let words = outcome.as_ref().err().map(|refusal| match &refusal.message {
            Some(message) => message.to_string(),
            None => refusal.code.to_string(),
        });
        self.nullable_text(words.as_deref());
    }

    /// No tagged fields.
    pub(super) fn tags(&mut self) {
        if self.is_flexible {
            self.tail.put_u8(0);
        }
    }
}
