//! Reads anything as a commit's metadata, and checks that what can be read comes back as it was.
//!
//! Three ways in: plain text, which hardly passes the checksum; run lengths under a good header and checksum, to reach
//! what lies behind; and sets, which must come back whole, or as their near end when the limit cuts them.
//! Run with `cargo +nightly fuzz run commit_metadata`.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use evenkeel_core::machine::commit::{CommitTracker, Fingerprint, MetadataLimit, SettledSet};
use evenkeel_core::model::Offset;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const ANY_LENGTH: MetadataLimit = MetadataLimit::new(1 << 24);

#[derive(Debug, Arbitrary)]
enum Input {
    Text { text: String, base: i64 },
    Sealed { lengths: Vec<u8>, base: i64 },
    Set { runs: Vec<(i64, i64)>, base: i64, limit: u16 },
}

fuzz_target!(|input: Input| {
    let handlers = Fingerprint::of(["charge", "ship"]);
    match input {
        Input::Text { text, base } => read(&text, Offset(base), handlers),
        Input::Sealed { lengths, base } => read(&sealed(&lengths, base, handlers), Offset(base), handlers),
        Input::Set { runs, base, limit } => {
            let base = Offset(base);
            let set = SettledSet::new(base, runs.into_iter().map(|(start, end)| Offset(start)..Offset(end)));
            comes_back(&set, handlers);
            let limit = MetadataLimit::new(usize::from(limit));
            let text = set.encode(handlers, limit);
            assert!(text.len() <= limit.characters());
            let near_end = SettledSet::decode(&text, base, handlers).expect("it is our own");
            assert!(set.runs().starts_with(near_end.runs()));
        }
    }
});

/// Whatever was read is a set that can be written and read again, and harms no tracker.
fn read(text: &str, base: Offset, handlers: Fingerprint) {
    if let Ok(set) = SettledSet::decode(text, base, handlers) {
        comes_back(&set, handlers);
        let mut tracker = CommitTracker::resume(base, &set);
        for offset in set.runs().iter().flat_map(|run| [run.start, run.end]).take(100) {
            tracker.admit(offset).expect("the tracker is sound");
            tracker.check();
        }
    }
}

fn comes_back(set: &SettledSet, handlers: Fingerprint) {
    let text = set.encode(handlers, ANY_LENGTH);
    assert_eq!(SettledSet::decode(&text, set.base(), handlers).as_ref(), Ok(set));
}

/// Any bytes in the place of run lengths, under a header taken from a good text, with the right checksum.
fn sealed(lengths: &[u8], base: i64, handlers: Fingerprint) -> String {
    let end = Offset(base).next();
    let good = SettledSet::new(Offset(base), [Offset(base)..end]).encode(handlers, ANY_LENGTH);
    let mut bytes = STANDARD_NO_PAD.decode(&*good).expect("it is base64");
    // Behind the header stand one pair of run lengths, a byte each, and four bytes of checksum.
    bytes.truncate(bytes.len().saturating_sub(6));
    bytes.extend_from_slice(lengths);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    STANDARD_NO_PAD.encode(bytes)
}
