//! What it costs to decode a batch of 1000 records of 100 bytes, and to read every part of them once.
//!
//! `cargo bench -p evenkeel-core --bench records`
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel_core::model::{Header, Offset, WallTime};
use evenkeel_core::ports::OutgoingRecord;
use evenkeel_core::records::{BatchOptions, Batches, Compression, Decoded, decode, encode};

const RECORDS: usize = 1000;
const ROUNDS: usize = 200;
const ROUND: Duration = Duration::from_millis(3);

fn record(number: usize, headers: usize) -> OutgoingRecord {
    let names = ["specversion", "id", "source", "type", "time", "subject", "dataschema", "traceparent"];
    let header = |name: &str| Header {
        key: Bytes::from(format!("ce_{name}")),
        value: Some(Bytes::from(format!("{name}-{number:08}"))),
    };
    let value = format!("{{\"order\":{number},\"state\":\"placed\",\"note\":\"{}", "x".repeat(100));
    OutgoingRecord {
        key: Some(Bytes::from(format!("order-{number}"))),
        value: Some(Bytes::from(value).slice(..100)),
        headers: names[..headers].iter().copied().map(header).collect(),
        timestamp: WallTime::from_millis(1_700_000_000_000 + number as i64),
    }
}

/// Reads what a handler would read.
fn touch(decoded: &Decoded) -> usize {
    let parts = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    decoded
        .records()
        .map(|record| {
            let headers: usize = record.headers().map(|header| header.key.len() + parts(header.value)).sum();
            black_box((record.offset(), record.timestamp()));
            parts(record.key()) + parts(record.value()) + headers
        })
        .sum()
}

/// The best round, in nanoseconds a record: other work on the machine only ever adds to it, and a short round often
/// escapes it.
fn measure(mut work: impl FnMut()) -> f64 {
    let round = |work: &mut dyn FnMut()| {
        let (begin, mut times) = (Instant::now(), 0_u32);
        while begin.elapsed() < ROUND {
            work();
            times += 1;
        }
        begin.elapsed().as_nanos() as f64 / f64::from(times) / RECORDS as f64
    };
    (0..ROUNDS).map(|_| round(&mut work)).fold(f64::INFINITY, f64::min)
}

fn main() {
    println!(
        "{:>7} {:>6} {:>9} {:>8} {:>8} {:>8}",
        "headers", "codec", "bytes", "decode", "+ read", "encode"
    );
    for headers in [3, 8] {
        let records: Vec<_> = (0..RECORDS).map(|number| record(number, headers)).collect();
        for compression in [Compression::None, Compression::Lz4] {
            let options = BatchOptions { compression, ..BatchOptions::default() };
            let bytes = encode(&records, options).expect("a small batch");
            let batches = || Batches { bytes: bytes.clone(), aborted: Vec::new() };
            assert_eq!(decode(batches(), Offset::ZERO).records().count(), RECORDS);
            let decoding = measure(|| drop(black_box(decode(batches(), Offset::ZERO))));
            let reading = measure(|| {
                black_box(touch(&decode(batches(), Offset::ZERO)));
            });
            let encoding = measure(|| drop(black_box(encode(&records, options))));
            let size = bytes.len();
            println!(
                "{headers:>7} {:>6} {size:>9} {decoding:>5.0} ns {reading:>5.0} ns {encoding:>5.0} ns",
                compression.to_string()
            );
        }
    }
}
