//! Record batches, made and read by hand: a case may want one that is wrong.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A batch of records to be sent. Each record's value is its number, ten bytes unless said otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) records: i32,
    pub(crate) value: usize,
    pub(crate) key: Option<&'static [u8]>,
    pub(crate) timestamp: i64,
    pub(crate) step: i64,
    pub(crate) producer: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
    pub(crate) attributes: i16,
    pub(crate) magic: u8,
    pub(crate) base_offset: i64,
    /// Added to the sum that is right.
    pub(crate) spoil_crc: u32,
    /// Instead of how many there are.
    pub(crate) count: Option<i32>,
    pub(crate) last_delta: Option<i32>,
}

/// A timestamp that is long past, but within what is retained for ever in these cases.
pub(crate) const THEN: i64 = 1_700_000_000_000;

impl Default for Batch {
    fn default() -> Self {
        Self {
            records: 1,
            value: 10,
            key: None,
            timestamp: THEN,
            step: 0,
            producer: -1,
            epoch: -1,
            sequence: -1,
            attributes: 0,
            magic: 2,
            base_offset: 0,
            spoil_crc: 0,
            count: None,
            last_delta: None,
        }
    }
}

impl Batch {
    pub(crate) fn of(records: i32) -> Self {
        Self { records, ..Self::default() }
    }

    pub(crate) fn by(producer: i64, epoch: i16, sequence: i32, records: i32) -> Self {
        Self { producer, epoch, sequence, records, ..Self::default() }
    }

    pub(crate) fn at(timestamp: i64) -> Self {
        Self { timestamp, ..Self::default() }
    }

    pub(crate) fn bytes(&self) -> Bytes {
        let mut records = BytesMut::new();
        for number in 0..self.records {
            let mut record = BytesMut::new();
            record.put_u8(0);
            put_varint(&mut record, i64::from(number) * self.step);
            put_varint(&mut record, i64::from(number));
            put_bytes(&mut record, self.key);
            put_bytes(&mut record, Some(&vec![b'v'; self.value]));
            put_varint(&mut record, 0);
            put_varint(&mut records, i64::try_from(record.len()).expect("a short record"));
            records.put_slice(&record);
        }
        let payload = compressed(self.attributes & 7, &records);
        let mut tail = BytesMut::new();
        tail.put_i16(self.attributes);
        tail.put_i32(self.last_delta.unwrap_or(self.records - 1));
        tail.put_i64(self.timestamp);
        tail.put_i64(self.timestamp + self.step * i64::from(self.records - 1).max(0));
        tail.put_i64(self.producer);
        tail.put_i16(self.epoch);
        tail.put_i32(self.sequence);
        tail.put_i32(self.count.unwrap_or(self.records));
        tail.put_slice(&payload);
        let mut batch = BytesMut::new();
        batch.put_i64(self.base_offset);
        batch.put_i32(i32::try_from(tail.len() + 9).expect("a short batch"));
        batch.put_i32(-1);
        batch.put_u8(self.magic);
        batch.put_u32(crc(0x82F6_3B78, &tail).wrapping_add(self.spoil_crc));
        batch.put_slice(&tail);
        batch.freeze()
    }
}

/// What a consumer would see of the batches in `bytes`.
pub(crate) fn describe(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = vec![format!("records: {} bytes", bytes.len())];
    while bytes.len() >= 61 {
        let length = usize::try_from((&bytes[8..]).get_i32()).expect("a length") + 12;
        if bytes.len() < length {
            lines.push(format!("half a batch: {} of {length}", bytes.len()));
            break;
        }
        let mut header = &bytes[..61];
        let base = header.get_i64();
        header.advance(4);
        let (leader_epoch, magic) = (header.get_i32(), header.get_u8());
        let right = header.get_u32() == crc(0x82F6_3B78, &bytes[21..length]);
        let (attributes, last) = (header.get_i16(), header.get_i32());
        let (first, max) = (header.get_i64(), header.get_i64());
        let time = |time: i64| if time > THEN + 86_400_000_000 { "now".to_owned() } else { time.to_string() };
        let has_producer = header.get_i64() >= 0;
        let (epoch, sequence, count) = (header.get_i16(), header.get_i32(), header.get_i32());
        lines.push(format!(
            "batch at {base}: epoch {leader_epoch}, magic {magic}, crc {right}, attributes {attributes}, last {last}, \
             times {} {}, producer {has_producer} {epoch} {sequence}, {count} records",
            time(first),
            time(max)
        ));
        bytes = &bytes[length..];
    }
    lines
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

fn put_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, i64::try_from(bytes.len()).expect("short"));
            out.put_slice(bytes);
        }
    }
}

/// A sum of the reflected polynomial, bit by bit: there is little to sum up here.
fn crc(polynomial: u32, bytes: &[u8]) -> u32 {
    let fold = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |s, _| if s & 1 == 1 { (s >> 1) ^ polynomial } else { s >> 1 })
    };
    !bytes.iter().fold(!0, fold)
}

/// The records in a codec's frame, stored and not compressed: every codec knows a way to say that.
fn compressed(codec: i16, records: &[u8]) -> Bytes {
    let length = u32::try_from(records.len()).expect("short");
    let mut out = BytesMut::new();
    match codec {
        1 => {
            out.put_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1]);
            out.put_u16_le(length as u16);
            out.put_u16_le(!(length as u16));
            out.put_slice(records);
            out.put_u32_le(crc(0xEDB8_8320, records));
            out.put_u32_le(length);
        }
        2 => {
            assert!(length <= 60, "one literal");
            out.put_u8(length as u8);
            out.put_u8(((length - 1) << 2) as u8);
            out.put_slice(records);
        }
        3 => {
            out.put_slice(&[0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
            out.put_u32_le(length | 0x8000_0000);
            out.put_slice(records);
            out.put_u32_le(0);
        }
        4 => {
            out.put_slice(&[0x28, 0xb5, 0x2f, 0xfd, 0x20, length as u8]);
            out.put_uint_le(u64::from(length << 3 | 1), 3);
            out.put_slice(records);
        }
        _ => out.put_slice(records),
    }
    out.freeze()
}
