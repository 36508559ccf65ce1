//! A record's headers, kept as the bytes in which the record holds them.
//!
//! A record has many headers and a handler looks at few, so nothing is split up or allocated per header: the section
//! is read again whenever someone asks. Whatever the bytes, reading ends and never panics.

use std::fmt;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

/// The headers of one record, in the order in which they were written. Names may repeat; values may be null.
///
/// Built from a slice of a record batch without copying ([`from_wire`](Self::from_wire)), or collected from pairs.
///
/// ```
/// use evenkeel_core::model::Headers;
///
/// let headers: Headers = [("tenant", Some("acme")), ("note", None)].into_iter().collect();
/// assert_eq!(headers.last("tenant"), Some(&b"acme"[..]));
/// assert_eq!(headers.iter().count(), 2);
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(Bytes);

/// Where something stands in the bytes of a [`Headers`]. Empty for what is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::model) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(range: &Range<usize>) -> Self {
        match (u32::try_from(range.start), u32::try_from(range.end)) {
            (Ok(start), Ok(end)) => Self { start, end },
            // Kafka's records are smaller than 2 GiB.
            _ => Self::default(),
        }
    }
}

/// One header as positions: its name and, unless null, its value.
struct Entry {
    name: Range<usize>,
    value: Option<Range<usize>>,
}

impl Headers {
    /// Takes a record's header section as a version 2 batch holds it, without the leading count: for each header the
    /// name and the value, each behind its length as a zigzag varint, -1 for a null value. What follows a malformed
    /// entry is not seen.
    #[must_use]
    pub const fn from_wire(section: Bytes) -> Self {
        Self(section)
    }

    /// All headers, in order: name, and value unless it is null.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.entries().map(|entry| (&self.0[entry.name], entry.value.map(|value| &self.0[value])))
    }

    /// The value of the last header of that name; `None` if there is none or its value is null.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<&[u8]> {
        self.iter().filter(|(key, _)| *key == name.as_bytes()).last().and_then(|(_, value)| value)
    }

    /// Whether all of it is ASCII, so that no value needs a check of its own for being UTF-8. May say no where that is so.
    pub(in crate::model) fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }

    /// All headers as name and position of the value.
    pub(in crate::model) fn spans(&self) -> impl Iterator<Item = (&[u8], Span)> {
        self.entries()
            .map(|entry| (&self.0[entry.name], entry.value.as_ref().map(Span::new).unwrap_or_default()))
    }

    /// The bytes at a position that came from [`spans`](Self::spans).
    pub(in crate::model) fn at(&self, span: Span) -> &[u8] {
        self.0.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        let bytes: &[u8] = &self.0;
        let mut at = 0;
        std::iter::from_fn(move || {
            if at == bytes.len() {
                return None;
            }
            let entry = read_entry(bytes, &mut at);
            if entry.is_none() {
                at = bytes.len();
            }
            entry
        })
    }
}

#[inline]
fn read_entry(bytes: &[u8], at: &mut usize) -> Option<Entry> {
    let name = read_range(bytes, at)??;
    let value = read_range(bytes, at)?;
    Some(Entry { name, value })
}

/// Reads a length and steps over as many bytes. `Some(None)` is a null, `None` is malformed.
#[inline]
fn read_range(bytes: &[u8], at: &mut usize) -> Option<Option<Range<usize>>> {
    let length = read_varint(bytes, at)?;
    if length == -1 {
        return Some(None);
    }
    let start = *at;
    let end = start.checked_add(usize::try_from(length).ok()?).filter(|end| *end <= bytes.len())?;
    *at = end;
    Some(Some(start..end))
}

#[inline]
fn read_varint(bytes: &[u8], at: &mut usize) -> Option<i32> {
    match bytes.get(*at) {
        // Nearly all lengths are below 64.
        Some(&byte) if byte < 0x80 => {
            *at += 1;
            Some(i32::from(byte >> 1) ^ -i32::from(byte & 1))
        }
        _ => read_long_varint(bytes, at),
    }
}

fn read_long_varint(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let mut zigzag = 0u32;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        zigzag |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((zigzag >> 1) as i32 ^ -((zigzag & 1) as i32));
        }
    }
    None
}

fn write_range(out: &mut BytesMut, bytes: Option<&[u8]>) {
    let length = bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    let mut zigzag = ((length << 1) ^ (length >> 31)) as u32;
    while zigzag >= 0x80 {
        out.put_u8(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.put_u8(zigzag as u8);
    out.put_slice(bytes.unwrap_or_default());
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, Option<V>)> for Headers {
    /// Copies all pairs into one buffer.
    fn from_iter<I: IntoIterator<Item = (N, Option<V>)>>(pairs: I) -> Self {
        let mut out = BytesMut::new();
        for (name, value) in pairs {
            write_range(&mut out, Some(name.as_ref()));
            write_range(&mut out, value.as_ref().map(AsRef::as_ref));
        }
        Self(out.freeze())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        f.debug_map().entries(self.iter().map(|(name, value)| (text(name), value.map(text)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_section_of_a_record_batch() {
        // Lengths are zigzag varints: 0x02 is 1, 0x00 is 0, 0x01 is -1.
        let headers = Headers::from_wire(Bytes::from_static(b"\x02a\x04xy\x02b\x01\x02a\x00"));
        let read: Vec<_> = headers.iter().collect();
        assert_eq!(read, [(&b"a"[..], Some(&b"xy"[..])), (b"b", None), (b"a", Some(b""))]);
        assert_eq!(headers.last("a"), Some(&b""[..]));
        assert_eq!(headers.last("b"), None);
    }

    #[test]
    fn stops_at_a_malformed_entry() {
        for broken in [
            &b"\x02a\x02x\x02"[..],
            b"\x02a\x02x\x01\x00",
            b"\x02a\x02x\x02b\x03",
            b"\x02a\x02x\xff\xff\xff\xff\xff\xff",
        ] {
            let headers = Headers::from_wire(Bytes::copy_from_slice(broken));
            assert_eq!(headers.iter().count(), 1, "{broken:?}");
        }
    }

    #[test]
    fn lengths_of_any_size_read_back() {
        for length in [0, 1, 63, 64, 127, 8_191, 8_192, 1 << 20] {
            let value = vec![b'x'; length];
            let headers: Headers = [(b"a", Some(&value)), (b"b", None)].into_iter().collect();
            assert_eq!(headers.last("a"), Some(&value[..]), "{length}");
            assert_eq!(headers.iter().count(), 2, "{length}");
        }
    }

    proptest! {
        #[test]
        fn collected_headers_read_back(pairs: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
            let headers: Headers = pairs.iter().map(|(name, value)| (name, value.as_ref())).collect();
            let read: Vec<_> = headers.iter().map(|(n, v)| (n.to_vec(), v.map(<[u8]>::to_vec))).collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn arbitrary_bytes_are_read_without_panic(section: Vec<u8>) {
            let length = section.len();
            prop_assert!(Headers::from_wire(section.into()).iter().count() <= length);
        }
    }
}
